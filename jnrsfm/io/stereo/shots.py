"""Shots of a stereo video: where they begin, and whether their stereo is of use.

Source: Wang, thesis, 2022, section 5.3: the checks and their numbers. Which eye is which is ours.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jnrsfm.io.stereo.frames import StereoFrames
from jnrsfm.io.stereo.matching import Matcher, Stereo, histogram
from jnrsfm.io.stereo.settings import StereoSettings

UNSURE = 0.15  # mean correlation below which nothing tells the eyes apart
REASONS = {
    "short": "shorter than the shortest shot",
    "black": "black picture",
    "inconsistent": "left and right do not match (no stereo, or another layout)",
    "vertical": "vertical disparity: the pictures are not level, or the lens distorts",
    "flat": "hardly any range of disparity: one picture twice, or far away",
}


@dataclasses.dataclass(frozen=True)
class Shot:
    """Frames `first` to `last` (included); `reason` why it is refused, or None; what was measured of its middle frame:
    `brightness`, `consistent`, `vertical` (shares), `range` (pixels), and `lower`, the rank correlation of disparity
    with the height in the picture, positive where what is lower is nearer."""

    first: int
    last: int
    reason: str | None = None
    brightness: float = 0.0
    consistent: float = 0.0
    vertical: float = 0.0
    range: float = 0.0
    lower: float = 0.0

    @property
    def middle(self) -> int:
        """The frame that is judged."""
        return (self.first + self.last) // 2


def cuts(frames: StereoFrames, settings: StereoSettings, say: Callable[[str, int, int], None]) -> list[Shot]:
    """The shots, by differences of colour histograms of the first eye (half the sum of absolute differences)."""
    found, start, before = [], 0, None
    for number in range(frames.count):
        now = histogram(frames.read(number)[0])
        if before is not None and 0.5 * np.abs(now - before).sum() > settings.cut:
            found.append(Shot(start, number - 1))
            start = number
        before = now
        say("shots", number + 1, frames.count)
    return [*found, Shot(start, frames.count - 1)]


def judged(shot: Shot, frames: StereoFrames, settings: StereoSettings, matcher: Matcher) -> Shot:
    """The shot with what its middle frame says."""
    if shot.last - shot.first + 1 < settings.shortest:
        return dataclasses.replace(shot, reason="short")
    one, two = frames.read(shot.middle)
    brightness = float(max(one.mean(), two.mean()))
    if brightness < settings.dark:
        return dataclasses.replace(shot, reason="black", brightness=brightness)
    found = matcher.stereo(one, two)
    good = found.consistent(settings.check)
    # a strip that the other eye does not show is no fault of the stereo
    share = float(good.sum() / max(int(found.inside.sum()), 1)) if found.inside.mean() > 0.3 else 0.0
    measured: dict[str, Any] = {"brightness": brightness, "consistent": share}
    if good.any():
        measured["vertical"] = float(np.mean(np.abs(found.vertical[good]) > settings.vertical))
    if share < settings.consistent or not good.any():
        tilted = share >= 0.5 * settings.consistent and measured["vertical"] > settings.vertical_share
        tilted = tilted and _smooth(found, good, settings) < 0.5 * measured["vertical"]
        return dataclasses.replace(shot, reason="vertical" if tilted else "inconsistent", **measured)
    low, high = np.percentile(found.disparity[good], [1, 99])
    measured |= {"range": float(high - low), "lower": _lower(found, good)}
    reason = None
    if measured["vertical"] > settings.vertical_share:
        reason = "vertical"
    elif measured["range"] < settings.range:
        reason = "flat"
    return dataclasses.replace(shot, reason=reason, **measured)


def _smooth(found: Stereo, good: np.ndarray, settings: StereoSettings) -> float:
    """The share of pixels that are still off their row once a cubic of the place is taken away: rigs that are not level
    and lenses that bend shift rows smoothly, and such pictures match badly, too; wrong matches are off anyhow."""
    y, x = np.nonzero(good)
    v = found.vertical[good].astype(np.float64)
    if len(v) > 20_000:
        pick = np.linspace(0, len(v) - 1, 20_000).astype(int)
        y, x, v = y[pick], x[pick], v[pick]
    high, wide = good.shape
    x, y = 2 * x / wide - 1, 2 * y / high - 1
    basis = np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], 1)
    near = np.ones(len(v), bool)
    for _ in range(3):  # without what the last fit leaves far off
        fit = basis @ np.linalg.lstsq(basis[near], v[near], rcond=None)[0]
        near = np.abs(v - fit) <= max(settings.vertical, float(np.median(np.abs(v - fit))))
    return float(np.mean(np.abs(v - fit) > settings.vertical))


def _lower(found: Stereo, good: np.ndarray) -> float:
    """Correlation of the median disparity of each row, by rank, with the row."""
    rows = np.flatnonzero(good.sum(1) >= 8)
    if len(rows) < 8:
        return 0.0
    middle = np.array([np.median(found.disparity[r][good[r]]) for r in rows])
    if np.ptp(middle) < 1e-3:
        return 0.0
    rank = np.argsort(np.argsort(middle, kind="stable"), kind="stable")
    return float(np.corrcoef(rank, np.arange(len(rows)))[0, 1])


def swapped(shots: list[Shot]) -> tuple[bool, float]:
    """Whether the halves are those of the other eye, and how surely: the mean of the good shots' correlations of
    disparity with the height in the picture. Floors, tables and roads lie below; ceilings are rarer. Where nothing
    tells they stay as they are."""
    of = [s.lower for s in shots if s.reason is None]
    mean = float(np.mean(of)) if of else 0.0
    return mean < -UNSURE, abs(mean)


def moving(
    shot: Shot, frames: StereoFrames, settings: StereoSettings, matcher: Matcher, other: bool
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], np.ndarray | None]]:
    """`(number, eyes, next eyes, flow)` of each frame of a shot but the last; flow None where it is static. `other`:
    the halves change places."""

    def turned(number: int) -> tuple[np.ndarray, np.ndarray]:
        one, two = frames.read(number)
        return (two, one) if other else (one, two)

    eyes = turned(shot.first)
    for number in range(shot.first, shot.last):
        after = turned(number + 1)
        flow = matcher.flow(matcher.grey(eyes[0]), matcher.grey(after[0]))
        fast = np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 99.5) >= settings.flow
        yield number, eyes, after, flow if fast else None
        eyes = after
