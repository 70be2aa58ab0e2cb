"""Cleaning of landmarks along time, on request: what jumps, changed sides, stands still, or is briefly gone.

Nothing here looks at 3D, and `fit` calls none of it. Each step says what it changed.

* outliers: the residual of a point from the median of the means of its neighbours 1, 2 and 3 frames before and after,
  less the median residual of the frame (so that a body that jerks is none); above 6 robust deviations of that point
  and 8 % of the size of the body it is hidden. Twice, since neighbours may be wrong too.
* left-right swaps: for all pairs together by the votes of `inputs.swaps`; then for each limb, whose few points say
  less: a chain of two states, kept or exchanged, by the least sum of accelerations `|x_t - 2 x_{t-1} + x_{t-2}|`
  (truncated), with a price for a change of state. The state of most frames counts as right. Exchanged points are
  exchanged back.
* static tracks: a point that stays within 0.5 % of the body's size while the others move by more than half of it.
* gaps: up to `gap` frames between two observations are bridged by a cubic (Hermite) curve, at half the confidence.
"""

from typing import Any

import numpy as np

from jnrsfm.inputs.swaps import SURE, swaps_of_clip
from jnrsfm.types import Landmarks

_DEVIATIONS, _SHARE = 6.0, 0.08
_CHANGE, _EXCHANGED = 6.0, 0.05


def clean(
    landmarks: Landmarks, *, outliers: bool = True, swaps: bool = True, static: bool = True, gap: int = 5
) -> tuple[Landmarks, dict[str, Any]]:
    """Cleaned landmarks and a report: `outliers` and `filled` as [frame, point], `swaps` as {first, last, points},
    `static` as {point, first, last}; frames are row numbers, points by name where there are names. `gap=0` bridges
    none.
    """
    points = np.array(landmarks.points2d, np.float64)
    visible = np.asarray(landmarks.visible, bool)
    points[~visible] = np.nan
    confidence = None if landmarks.confidence is None else np.array(landmarks.confidence, np.float32)
    names: list[Any] = list(landmarks.names or range(landmarks.n_points))
    report: dict[str, Any] = {"swaps": [], "static": [], "outliers": [], "filled": []}
    sequence = np.zeros(len(points), int) if landmarks.sequence is None else np.asarray(landmarks.sequence)
    starts = np.flatnonzero(np.r_[True, sequence[1:] != sequence[:-1]])
    pairs = np.zeros((0, 2), int) if landmarks.symmetric is None else np.asarray(landmarks.symmetric)
    for rows in np.split(np.arange(len(points)), starts[1:]):
        first = int(rows[0])
        clip = points[rows]
        if swaps and len(pairs) and len(rows) >= 4:
            for frames, group in _exchange(clip, pairs, landmarks.edges):
                _swap(clip, frames, group)
                if confidence is not None:
                    part = confidence[rows]
                    _swap(part, frames, group)
                    confidence[rows] = part
                involved = [[names[a], names[b]] for a, b in group]
                report["swaps"] += [
                    {"first": first + a, "last": first + b, "points": involved} for a, b in _runs(frames)
                ]
        if static:
            for p, a, b in _standing(clip):
                clip[a : b + 1, p] = np.nan
                report["static"].append({"point": names[p], "first": first + a, "last": first + b})
        if outliers and len(rows) >= 5:
            for _ in range(2):
                bad = _jumps(clip)
                clip[bad] = np.nan
                report["outliers"] += [[first + int(f), names[p]] for f, p in np.argwhere(bad)]
        if gap:
            for f, p in _bridge(clip, gap):
                report["filled"].append([first + f, names[p]])
                if confidence is not None:
                    confidence[first + f, p] = 0.5 * np.nanmax(confidence[rows, p])
        points[rows] = clip
    report["outliers"].sort(key=lambda row: row[0])
    seen = np.asarray(np.isfinite(points).all(-1))
    if confidence is None and report["filled"]:
        index = {n: i for i, n in enumerate(names)}
        confidence = np.ones(seen.shape, np.float32)
        for frame, name in report["filled"]:
            confidence[frame, index[name]] = 0.5
    defined = landmarks.defined
    cleaned = landmarks.replace(
        points2d=np.where(seen[..., None], points, 0).astype(np.float32), visible=seen,
        confidence=None if confidence is None else np.where(seen, confidence, 0).astype(np.float32),
        defined=None if defined is None else np.asarray(defined) | seen,
    )  # fmt: skip
    return cleaned, report


def _body_size(clip: np.ndarray) -> float:
    """Median over frames of the RMS distance of the points from their mean."""
    seen = np.isfinite(clip).all(-1, keepdims=True)
    n = np.maximum(seen.sum(1, keepdims=True), 1)
    mean = np.where(seen, clip, 0).sum(1, keepdims=True) / n
    square = np.where(seen, (clip - mean) ** 2, 0).sum((1, 2)) / n[:, 0, 0]
    return (
        float(np.sqrt(np.median(square[seen[..., 0].sum(1) > 1]))) if (seen[..., 0].sum(1) > 1).any() else 0.0
    )


def _shifted(clip: np.ndarray, k: int) -> np.ndarray:
    """The clip k frames later, NaN beyond its ends."""
    out = np.full_like(clip, np.nan)
    if abs(k) < len(clip):
        if k > 0:
            out[:-k] = clip[k:]
        else:
            out[-k:] = clip[:k]
    return out


def _quiet_median(values: np.ndarray, axis: int | None = None) -> Any:
    """The median without NaN; NaN where there is nothing, without a warning."""
    ordered = np.ma.masked_invalid(values)
    return np.ma.filled(np.ma.median(ordered, axis=axis).astype(float), np.nan)


def _jumps(clip: np.ndarray) -> np.ndarray:
    """`(frame, point)`: jumps out of its own path."""
    middle = [(_shifted(clip, k) + _shifted(clip, -k)) / 2 for k in (1, 2, 3)]
    ahead = 2 * _shifted(clip, 1) - _shifted(clip, 2)
    behind = 2 * _shifted(clip, -1) - _shifted(clip, -2)
    expected = _quiet_median(np.stack(middle), 0)
    ends = np.where(np.isfinite(ahead), ahead, behind)
    expected = np.where(np.isfinite(expected), expected, ends)
    residual = clip - expected
    if clip.shape[1] >= 4:
        common = _quiet_median(residual, 1)[:, None]
        residual = residual - np.where(np.isfinite(common), common, 0)
    distance = np.linalg.norm(residual, axis=-1)
    spread = 1.4826 * _quiet_median(distance, 0)
    limit = np.maximum(_DEVIATIONS * np.nan_to_num(spread), _SHARE * _body_size(clip))
    with np.errstate(invalid="ignore"):
        return np.isfinite(distance) & (distance > limit)


def _limbs(pairs: np.ndarray, edges: Any) -> list[np.ndarray]:
    """Pairs in groups whose points hang together by edges within a side: an arm, a leg."""
    group = list(range(len(pairs)))
    where = {int(p): i for i, pair in enumerate(pairs) for p in pair}
    for a, b in [] if edges is None else np.asarray(edges).tolist():
        i, j = where.get(a), where.get(b)
        if i is None or j is None or i == j:
            continue
        same = (pairs[i, 0] == a) == (pairs[j, 0] == b)
        if same:
            old, new = group[j], group[i]
            group = [new if g == old else g for g in group]
    return [pairs[[k for k, g in enumerate(group) if g == name]] for name in sorted(set(group))]


def _exchange(clip: np.ndarray, pairs: np.ndarray, edges: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """`(frames, pairs)` to exchange: all pairs together first, then each limb of what is then left."""
    working, found = clip.copy(), []
    frames, loss = swaps_of_clip(clip[:, pairs], _body_size(clip))
    frames = frames & (loss > SURE)
    if frames.any():
        _swap(working, frames, pairs)
        found.append((frames, pairs))
    for limb in _limbs(pairs, edges):
        frames = _states(working, limb)
        if frames.any():
            _swap(working, frames, limb)
            found.append((frames, limb))
    return found


def _swap(clip: np.ndarray, frames: np.ndarray, pairs: np.ndarray) -> None:
    """Exchange the points of pairs in some frames, in place."""
    rows = np.flatnonzero(frames)
    for a, b in pairs:
        clip[rows, a], clip[rows, b] = clip[rows, b].copy(), clip[rows, a].copy()


def _states(clip: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`(frame,)`: exchanged. The best chain of states by accelerations, over pairs of neighbouring states."""
    straight = clip[:, pairs.reshape(-1)]
    crossed = clip[:, pairs[:, ::-1].reshape(-1)]
    options = np.stack([straight, crossed])  # (state, frame, point, 2)
    usual = np.linalg.norm(straight[2:] - 2 * straight[1:-1] + straight[:-2], axis=-1)
    size = _quiet_median(np.linalg.norm(straight[:, ::2] - straight[:, 1::2], axis=-1))
    scale = max(float(np.nan_to_num(_quiet_median(usual))), 0.02 * float(np.nan_to_num(size)), 1e-9)
    n = len(clip)
    cost = np.zeros((n, 2, 2, 2))  # of states at t - 2, t - 1, t
    for a in range(2):
        for b in range(2):
            for c in range(2):
                bend = (
                    np.linalg.norm(options[c, 2:] - 2 * options[b, 1:-1] + options[a, :-2], axis=-1) / scale
                )
                cost[2:, a, b, c] = np.minimum(np.nan_to_num(bend), 12.0).mean(-1)
                cost[2:, a, b, c] += _CHANGE * (b != c) / np.sqrt(len(pairs)) + _EXCHANGED * c
    best = np.zeros((2, 2))  # of states at t - 1, t
    best[0, 1] = best[1, 0] = _CHANGE / np.sqrt(len(pairs))
    back = np.zeros((n, 2, 2), int)
    for t in range(2, n):
        total = best[:, :, None] + cost[t]
        back[t] = total.argmin(0)
        best = total.min(0)
    states = np.zeros(n, int)
    states[n - 2], states[n - 1] = np.unravel_index(int(best.argmin()), best.shape)
    for t in range(n - 1, 1, -1):
        states[t - 2] = back[t, states[t - 1], states[t]]
    exchanged = states == 1
    return ~exchanged if exchanged.mean() > 0.5 else exchanged


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and last frame of each run of True."""
    edges = np.diff(np.r_[0, mask.astype(int), 0])
    return list(
        zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)
    )


def _standing(clip: np.ndarray) -> list[tuple[int, int, int]]:
    """`(point, first, last)` of runs of at least 10 frames in which a point stands and the others do not."""
    size = _body_size(clip)
    if size == 0 or clip.shape[1] < 4:
        return []
    found = []
    centre = _quiet_median(clip, 1)
    for p in range(clip.shape[1]):
        step = np.linalg.norm(np.diff(clip[:, p], axis=0), axis=-1)
        with np.errstate(invalid="ignore"):
            still = np.r_[step <= 0.005 * size, False]
        for first, last in _runs(still):
            last = min(last + 1, len(clip) - 1)
            if last - first + 1 < 10:
                continue
            part = centre[first : last + 1]
            own = clip[first : last + 1, p]
            part = part[np.isfinite(part).all(-1)]
            drift = np.linalg.norm(np.nanmax(own, 0) - np.nanmin(own, 0))
            if len(part) and np.linalg.norm(np.ptp(part, axis=0)) > 0.5 * size and drift <= 0.02 * size:
                found.append((p, first, last))
    return found


def _bridge(clip: np.ndarray, gap: int) -> list[tuple[int, int]]:
    """Fill short gaps in place; returns what was filled."""
    found = []
    seen = np.isfinite(clip).all(-1)
    for p in range(clip.shape[1]):
        for first, last in _runs(~seen[:, p]):
            before, after = first - 1, last + 1
            if before < 0 or after >= len(clip) or last - first + 1 > gap:
                continue
            width = after - before
            slope0 = clip[before, p] - clip[before - 1, p] if before > 0 and seen[before - 1, p] else None
            slope1 = (
                clip[after + 1, p] - clip[after, p] if after + 1 < len(clip) and seen[after + 1, p] else None
            )
            chord = (clip[after, p] - clip[before, p]) / width
            m0, m1 = (chord if s is None else s for s in (slope0, slope1))
            for f in range(first, last + 1):
                u = (f - before) / width
                clip[f, p] = (
                    (2 * u**3 - 3 * u**2 + 1) * clip[before, p] + (u**3 - 2 * u**2 + u) * width * m0
                    + (3 * u**2 - 2 * u**3) * clip[after, p] + (u**3 - u**2) * width * m1
                )  # fmt: skip
                found.append((f, p))
    return found
