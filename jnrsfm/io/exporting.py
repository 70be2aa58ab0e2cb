"""Results and landmarks in the files of other tools: one writer a format, by extension or by name.

3D is written in the frame of the camera, so that what moved in the image moves in the file. Tables and arrays keep the
camera's axes (x right, y down, z forward); TRC, C3D, BVH and GLB are y up (x right, y up, z towards the camera), a half
turn about x. Scale is free under one camera: `scale_by` fixes it by the length of one edge, in metres.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.types import Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True, eq=False)
class Export:
    """What a writer gets: `points (frame, point, 2 or 3)`, NaN where there is none; `confidence (frame, point)` in
    [0, 1]; `uncertainty (frame, point)` in the units of the points, or None; `frames (frame,)` numbers; `fps` (30 where
    the file does not say); `units`, `"m"` where `scale_by` fixed them, else `""`."""

    points: np.ndarray
    confidence: np.ndarray
    names: tuple[str, ...]
    uncertainty: np.ndarray | None = None
    edges: np.ndarray | None = None
    fps: float = 30.0
    frames: np.ndarray | None = None
    units: str = ""
    turned: bool = False

    @property
    def numbers(self) -> np.ndarray:
        """The number of each frame."""
        return np.arange(len(self.points)) if self.frames is None else self.frames

    @property
    def y_up(self) -> np.ndarray:
        """The points with y up: a half turn about x, unless they are in such axes already (`turned`)."""
        return self.points if self.turned else self.points * np.array([1.0, -1.0, -1.0])


@dataclasses.dataclass(frozen=True)
class Writer:
    """A format that results are written in: its name, the ends of file names that stand for it, whether it needs 3D,
    and `write(path, export)`."""

    name: str
    endings: tuple[str, ...]
    description: str
    write: Callable[[Path, Export], object]
    needs_3d: bool = True


def export_of(
    record: Landmarks | Reconstruction, landmarks: Landmarks | None = None, scale_by: str | None = None
) -> Export:
    """What to write of a reconstruction (camera-frame points) or of landmarks.

    The confidence of a 3D point is `exp(-uncertainty / size)`, size the RMS distance of the frame's points from their
    mean, halved where the point was not observed. `landmarks` gives a reconstruction its rate. `scale_by`: `A-B=LENGTH`
    or the number of an edge, `3=LENGTH`. Raises InputError.
    """
    names = record.names or tuple(f"point{p}" for p in range(record.n_points))
    edges = None if record.edges is None else np.asarray(record.edges)
    frames = None if record.frame_index is None else np.asarray(record.frame_index)
    if isinstance(record, Landmarks):
        if scale_by is not None:
            raise InputError("--scale-by takes 3D: convert a run or a reconstruction")
        visible = np.asarray(record.visible)
        points = np.where(visible[..., None], np.asarray(record.points2d, np.float64), np.nan)
        return Export(
            points, np.asarray(record.weights, np.float64), names, None, edges, record.fps or 30.0, frames
        )
    points = np.array(record.camera_points, np.float64)
    if record.valid3d is not None:
        points = np.where(np.asarray(record.valid3d)[..., None], points, np.nan)
    scale = np.ones(len(points)) if record.scale is None else np.asarray(record.scale, np.float64)
    spread = record.uncertainty
    spread = None if spread is None else np.asarray(spread, np.float64) * scale[:, None]
    factor, units = 1.0, ""
    if scale_by is not None:
        factor, units = _factor(points, names, edges, scale_by), "m"
    points = points * factor
    spread = None if spread is None else spread * factor
    with np.errstate(invalid="ignore"):
        known = np.isfinite(points).all(-1, keepdims=True)
        n = np.maximum(known.sum(1, keepdims=True), 1)
        centred = np.where(known, points - np.where(known, points, 0).sum(1, keepdims=True) / n, 0)
        size = np.sqrt((centred**2).sum((1, 2)) / n[:, 0, 0])
        confidence = np.ones(points.shape[:2])
        if spread is not None:
            confidence = np.exp(-np.nan_to_num(spread) / np.maximum(size, 1e-12)[:, None])
    if record.visible is not None:
        confidence = confidence * np.where(np.asarray(record.visible), 1.0, 0.5)
    confidence = np.where(np.isfinite(points).all(-1), confidence, 0.0)
    fps = landmarks.fps if landmarks is not None and landmarks.fps else 30.0
    return Export(points, confidence, names, spread, edges, fps, frames, units)


def _factor(points: np.ndarray, names: tuple[str, ...], edges: np.ndarray | None, wish: str) -> float:
    """What to multiply by so that the median length of an edge is as wished."""
    edge, equals, length = wish.rpartition("=")
    try:
        wanted = float(length)
    except ValueError:
        wanted = -1.0
    if not equals or not np.isfinite(wanted) or wanted <= 0:
        raise InputError(f"--scale-by {wish!r}: give an edge and its length, such as hip-knee=0.45")
    a = b = -1
    if edge.isdigit() and edges is not None and int(edge) < len(edges):
        a, b = map(int, edges[int(edge)])
    for cut in range(len(edge)):
        if edge[cut] == "-" and edge[:cut] in names and edge[cut + 1 :] in names:
            a, b = names.index(edge[:cut]), names.index(edge[cut + 1 :])
    if a < 0 or a == b:
        raise InputError(f"--scale-by: there is no edge {edge!r}: join two of {', '.join(names[:12])} by '-'")
    lengths = np.linalg.norm(points[:, a] - points[:, b], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    if not len(lengths) or np.median(lengths) <= 0:
        raise InputError(f"--scale-by: edge {edge!r} has no length in the result")
    return wanted / float(np.median(lengths))


def write_export(
    path: Any, record: Landmarks | Reconstruction, writer: Writer, landmarks: Landmarks | None = None,
    scale_by: str | None = None,
) -> list[Path]:  # fmt: skip
    """Write a record; a file for each clip where there are several, `NAME_0.trc`, `NAME_1.trc`. Returns the files.

    Raises InputError where the format needs 3D that there is not, or a file cannot be written.
    """
    path = Path(path).expanduser()
    if writer.needs_3d and isinstance(record, Landmarks):
        raise InputError(f"{path}: {writer.name} holds 3D: convert the run, jnrsfm convert RUN {path.name}")
    export = export_of(record, landmarks, scale_by)
    clips = np.zeros(len(export.points), int) if record.sequence is None else np.asarray(record.sequence)
    starts = np.flatnonzero(np.r_[True, clips[1:] != clips[:-1]])
    if len(starts) == 1:
        writer.write(path, export)
        return [path]
    ending = next((e for e in writer.endings if path.name.lower().endswith(e)), path.suffix)
    stem = path.name[: len(path.name) - len(ending)]
    files = []
    for k, part in enumerate(np.split(np.arange(len(clips)), starts[1:])):
        file = path.with_name(f"{stem}_{k}{ending}")
        writer.write(file, _part(export, part))
        files.append(file)
    return files


def _part(export: Export, rows: np.ndarray) -> Export:
    """Some frames of it."""
    return dataclasses.replace(
        export, points=export.points[rows], confidence=export.confidence[rows],
        uncertainty=None if export.uncertainty is None else export.uncertainty[rows],
        frames=None if export.frames is None else export.frames[rows],
    )  # fmt: skip


_writers: dict[str, Writer] = {}


def register_writer(writer: Writer) -> Writer:
    """Add a writer. Raises ValueError where the name is taken."""
    if writer.name in _writers:
        raise ValueError(f"a writer named {writer.name!r} is registered already")
    _writers[writer.name] = writer
    return writer


def writers() -> dict[str, Writer]:
    """The writers by name."""
    return dict(_writers)


def writer_for(path: Any, name: str | None = None) -> Writer | None:
    """The writer of that name, or the one that the end of the file's name stands for; None where there is none.

    Raises InputError for an unknown name.
    """
    if name is not None:
        if name not in _writers:
            raise InputError(
                f"unknown format to write {name!r}: choose from npz, matlab, c3dpo, {', '.join(_writers)}"
            )
        return _writers[name]
    lower = Path(path).name.lower()
    fitting = [(len(e), w) for w in _writers.values() for e in w.endings if lower.endswith(e)]
    return max(fitting, key=lambda f: f[0])[1] if fitting else None
