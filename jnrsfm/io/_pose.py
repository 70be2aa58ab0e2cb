"""What a pose tool's file holds, as stored (`Pose`), before anything is settled."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._registry import Format
from jnrsfm.io.fields import LARGEST
from jnrsfm.types import Landmarks, Reconstruction

LARGEST_FILE = 4_000_000_000
MOST_NUMBERS = 400_000_000
"""Most numbers in one array: 3.2 GB in double precision; a file that declares more is refused before it is read."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """The points of one file, as its tool stored them.

    `points (frame, individual, point, 2 or 3)`, NaN where missing; `confidence (frame, individual, point)` as stored,
    not yet within [0, 1]. `labels`: what the file calls each row (a number, an image, a time). `numbers (frame,)`: the
    frame of the video, where the file says. `defined (individual, point)`: which points an individual has at all.
    `image`: `(frame,)` which image a row is of, where each row is one detection; `track (frame,)` its identity, -1
    unknown. `linked`: column i is one individual all along. `ordered`: rows are in time order. `world`: 3D points, of
    use as a reference only. `unit_range`: coordinates are fractions of the image. `flags`:
    scores only say labelled (1, 2) or not (0). `threshold`: the confidence under
    which the tool itself does not show a point.
    """

    points: np.ndarray
    confidence: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    individuals: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    numbers: np.ndarray | None = None
    defined: np.ndarray | None = None
    image: np.ndarray | None = None
    track: np.ndarray | None = None
    clip: np.ndarray | None = None
    edges: tuple[tuple[int, int], ...] | None = None
    symmetric: tuple[tuple[int, int], ...] | None = None
    fps: float | None = None
    image_size: tuple[float, float] | None = None
    units: str | None = None
    skeleton: str | None = None
    linked: bool = True
    ordered: bool = True
    world: bool = False
    unit_range: bool = False
    flags: bool = False
    threshold: float = 0.0
    notes: tuple[str, ...] = ()

    def replace(self, **changes: Any) -> "Pose":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def n_frames(self) -> int:
        """Rows."""
        return self.points.shape[0]

    @property
    def missing(self) -> np.ndarray:
        """`(frame, individual, point)`: has no coordinates."""
        return ~np.isfinite(self.points).all(-1)


def checked(pose: Pose, where: Path | str) -> Pose:
    """The pose, its arrays as float64 and of shapes that agree. Raises InputError."""
    points = np.asarray(pose.points, np.float64)
    if points.ndim != 4 or points.shape[-1] not in (2, 3):
        raise InputError(
            f"{where}: its points have shape {points.shape}, expected frames, individuals, points, 2"
        )
    if 0 in points.shape:
        raise InputError(f"{where}: holds no points (shape {points.shape}): check the file")
    with np.errstate(invalid="ignore"):
        large = (points > LARGEST) | (points < -LARGEST)
    if large.any():
        frame, _, point = np.argwhere(large.any(-1))[0]
        raise InputError(
            f"{where}: row {frame}, point {point}: a coordinate above {LARGEST:g}: mend the file"
        )
    half = np.asarray(~np.isfinite(points).all(-1) & ~np.isnan(points).all(-1))
    if half.any():  # one coordinate alone says nothing
        points = np.where(half[..., None], np.nan, points)
    confidence = pose.confidence
    if confidence is not None:
        confidence = np.asarray(confidence, np.float64)
        if confidence.shape != points.shape[:3]:
            raise InputError(
                f"{where}: scores have shape {confidence.shape}, points say {points.shape[:3]}: mend one of them"
            )
    for what, names, n in (
        ("names", pose.names, points.shape[2]),
        ("individuals", pose.individuals, points.shape[1]),
    ):
        if names is not None and len(names) != n:
            raise InputError(f"{where}: {len(names)} {what} for {n}: the file does not agree with itself")
    if pose.names is not None and len(set(pose.names)) != len(pose.names):
        twice = next(n for n in pose.names if pose.names.count(n) > 1)
        raise InputError(f"{where}: two points are called {twice!r}: rename one of them")
    for what, pairs in (("edge", pose.edges), ("pair", pose.symmetric)):
        for a, b in pairs or ():
            if not (0 <= a < points.shape[2] and 0 <= b < points.shape[2]) or a == b:
                raise InputError(
                    f"{where}: {what} {a}-{b} names a point that there is not (0 to {points.shape[2] - 1})"
                )
    if pose.fps is not None and not (0 < pose.fps < 1e6):
        pose = pose.replace(
            fps=None, notes=(*pose.notes, f"its rate of {pose.fps:g} frames per second is ignored")
        )
    return pose.replace(points=points, confidence=confidence)


def refuse_large(shape: tuple[int, ...], where: Path | str) -> None:
    """Raise InputError where an array of that shape would not fit."""
    if float(np.prod(np.asarray(shape, float))) > MOST_NUMBERS:
        raise InputError(
            f"{where}: declares an array of shape {tuple(shape)}: too large to be true, check the file"
        )


def pose_format(
    name: str,
    extensions: tuple[str, ...],
    description: str,
    parse: Callable[[Path], Pose],
    sniff: Callable[[Path], bool],
    write: Callable[..., None] | None = None,
    folder: bool = False,
) -> Format:
    """The registry's entry of a pose tool's file: what it holds is settled by `jnrsfm.io.settle`."""
    from jnrsfm.io import settle

    def read_landmarks(path: Path, *, individual: str | None = None) -> Landmarks:
        return settle.landmarks_of(checked(parse(path), path), path, individual)[0]

    def read_reference(path: Path, *, individual: str | None = None) -> Reconstruction | None:
        pose = checked(parse(path), path)
        return settle.reference_of(pose, path, individual)[0] if pose.world else None

    return Format(name, extensions, description, read_landmarks, read_reference, write, sniff, parse, folder)
