"""From paths to landmarks: several files or a pattern make one set, a clip each, and what was settled is said."""

import dataclasses
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io import _archive, checks, openpose, settle
from jnrsfm.io._pose import Pose, checked
from jnrsfm.io._registry import Format, by_name, check_options, detect, existing
from jnrsfm.io.adjust import Wishes, adjusted, remarks
from jnrsfm.types import Landmarks

MOST_FILES = 100_000
_LENS = ("distortion", "dist", "dist_coeffs", "distcoeffs", "distortion_coefficients")
_WISHES = tuple(f.name for f in dataclasses.fields(Wishes))


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """What was read: the landmarks, the formats of the files, what was settled, and what looks wrong, a line each."""

    landmarks: Landmarks
    files: tuple[Path, ...]
    formats: tuple[str, ...]
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    image_size: tuple[float, float] | None = None


def expand(paths: Any) -> list[Path]:
    """The files that a path, a pattern (`*.h5`) or a list of these names. Raises InputError where one names nothing."""
    if isinstance(paths, str | Path) or not isinstance(paths, Sequence):
        paths = [paths]
    found: list[Path] = []
    for path in paths:
        text = str(path)
        try:
            there = Path(text).expanduser().exists()
        except (OSError, ValueError):
            there = True  # the reader says what is wrong
        if not there and any(c in text for c in "*?["):
            matches = sorted(glob.glob(str(Path(text).expanduser())))
            if not matches:
                raise InputError(f"{text}: no file fits this pattern: check it (relative to {Path.cwd()})")
            found += [Path(m) for m in matches]
        else:
            found.append(path if isinstance(path, Path) else Path(text))
    if not found:
        raise InputError("no file is named: give at least one")
    if len(found) > MOST_FILES:
        raise InputError(f"{len(found)} files are too many: name their folder, or fewer")
    return found


def read(paths: Any, format: str | None = None, **options: Any) -> Reading:
    """Landmarks of one file or several, with what was settled. `options`: those of `Wishes`, and the format's own.

    Several files need the same points (by name, in any order); each is a clip. Raises InputError.
    """
    files = [existing(p) for p in expand(paths)]
    wishes = Wishes.of({k: v for k, v in options.items() if k in _WISHES and v is not None})
    own = {k: v for k, v in options.items() if k not in _WISHES and v is not None}
    if len(files) > 1 and all(f.suffix.lower() == ".json" for f in files) and openpose.sniff(files[0]):
        pose = checked(openpose.parse_files(files), files[0].parent)
        return _of_pose(pose, openpose.FORMAT, files, wishes, **own)
    readings = [_one(f, format, wishes, own) for f in files]
    return readings[0] if len(readings) == 1 else _joined(readings)


def _one(path: Path, format: str | None, wishes: Wishes, options: dict[str, Any]) -> Reading:
    fmt = by_name(format) if format else detect(path)
    check_options(fmt.read_landmarks, options, fmt)
    if fmt.parse is not None:
        return _of_pose(checked(fmt.parse(path), path), fmt, [path], wishes, **options)
    landmarks = fmt.read_landmarks(path, **options)
    checks.check_landmarks(landmarks, where=str(path))
    landmarks, notes = adjusted(landmarks, wishes, path)
    lens = [k for k in _archive.names(path) if k.lower() in _LENS] if fmt.name == "npz" else []
    if lens:
        notes.append(
            f"key '{lens[0]}' is not used: lens distortion is not modelled, undistort the points first"
        )
    return _finished(landmarks, [path], fmt, notes, wishes.image_size)


def _of_pose(
    pose: Pose, fmt: Format, files: list[Path], wishes: Wishes, individual: str | None = None
) -> Reading:
    where = files[0] if len(files) == 1 else files[0].parent
    landmarks, notes = settle.landmarks_of(pose, where, None if individual is None else str(individual))
    landmarks, said = adjusted(landmarks, wishes, where, pose.threshold, pose.unit_range)
    checks.check_landmarks(landmarks, where=str(where))
    return _finished(landmarks, files, fmt, [*notes, *said], wishes.image_size or pose.image_size)


def _finished(landmarks: Landmarks, files: list[Path], fmt: Format, notes: list[str], size: Any) -> Reading:
    looks = remarks(landmarks)
    if any("--image-size" in note for note in notes):
        looks = [line for line in looks if "--image-size" not in line]
    size = None if size is None else (float(size[0]), float(size[1]))
    return Reading(landmarks, tuple(files), (fmt.name,), tuple(notes), tuple(looks), size)


def _joined(readings: list[Reading]) -> Reading:
    """One set of several files, a clip (or its clips) each."""
    first = readings[0].landmarks
    parts, sequence, count = [], [], 0
    for reading in readings:
        part = _alike(reading, readings[0])
        own = np.zeros(part.n_frames, int) if part.sequence is None else np.asarray(part.sequence)
        own = np.cumsum(np.r_[0, own[1:] != own[:-1]])
        sequence.append(own + count)
        count += int(own[-1]) + 1
        parts.append(part)

    def together(name: str, fill: Any) -> Any:
        values = [getattr(p, name) for p in parts]
        if all(v is None for v in values):
            return None
        return np.concatenate(
            [fill(p) if v is None else np.asarray(v) for v, p in zip(values, parts, strict=True)]
        )

    ones = lambda p: np.ones(np.asarray(p.visible).shape, np.float32)
    k: Any = _intrinsics(parts)
    rates = {p.fps for p in parts}
    categories = {p.categories for p in parts}
    landmarks = Landmarks(
        points2d=together("points2d", None), visible=together("visible", None), confidence=together("confidence", ones),
        defined=together("defined", lambda p: ones(p).astype(bool)), intrinsics=k,
        sequence=np.concatenate(sequence).astype(np.int32), edges=first.edges, symmetric=first.symmetric,
        category=together("category", None) if len(categories) == 1 and None not in categories else None,
        categories=first.categories if len(categories) == 1 else None, names=first.names,
        camera=first.camera if len({p.camera for p in parts}) == 1 else None,
        fps=rates.pop() if len(rates) == 1 else None,
        frame_index=together("frame_index", lambda p: np.arange(p.n_frames, dtype=np.int32)),
    )  # fmt: skip
    notes = [f"{r.files[0].name}: {note}" for r in readings for note in r.notes]
    sizes = {r.image_size for r in readings}
    return Reading(
        landmarks, tuple(f for r in readings for f in r.files),
        tuple(dict.fromkeys(f for r in readings for f in r.formats)),
        (f"{len(readings)} files, {count} clips", *notes), tuple(remarks(landmarks)),
        sizes.pop() if len(sizes) == 1 else None,
    )  # fmt: skip


def _intrinsics(parts: list[Landmarks]) -> np.ndarray | None:
    """One matrix where all parts have the same, one a frame where all have one, else None."""
    each = [np.asarray(p.intrinsics) for p in parts if p.intrinsics is not None]
    if len(each) < len(parts):
        return None
    if all(k.shape == (3, 3) and np.array_equal(k, each[0]) for k in each):
        return each[0]
    return np.concatenate([np.broadcast_to(k, (p.n_frames, 3, 3)) for k, p in zip(each, parts, strict=True)])


def _alike(reading: Reading, first: Reading) -> Landmarks:
    """The points of a file in the order of the first one's. Raises InputError where they are others."""
    from jnrsfm.io.adjust import select_points

    names, part = first.landmarks.names, reading.landmarks
    if part.names == names and part.n_points == first.landmarks.n_points:
        return part
    if part.names is None or names is None or set(part.names) != set(names):
        other = (
            "" if names is None or part.names is None else ", ".join(sorted(set(names) ^ set(part.names))[:6])
        )
        raise InputError(
            f"{reading.files[0]}: its points are not those of {first.files[0]}{f' ({other})' if other else ''}: name "
            "the common ones with --points"
        )
    return select_points(part, names, reading.files[0])
