"""`convert`: from a run, a reconstruction or landmarks of any tool to a file of another."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io import _archive, checks, exporting, settle
from jnrsfm.io._pose import checked
from jnrsfm.io._registry import by_name, detect, existing, for_writing, formats
from jnrsfm.io.reading import expand, read
from jnrsfm.io.reconstruction import read_reconstruction
from jnrsfm.io.results import RESULTS
from jnrsfm.runs import LANDMARKS_FILE
from jnrsfm.types import Landmarks, Reconstruction

RESULT_FILE = RESULTS[Reconstruction].name


def convert(
    src: Any, dst: Any, *, format: str | None = None, to: str | None = None, scale_by: str | None = None,
    drop_empty: bool = False, **options: Any,
) -> list[Path]:  # fmt: skip
    """Write a run folder, a reconstruction, or landmarks (with 3D where there is any) in another format.

    The end of `dst` names the format, or `to` does: npz, matlab, c3dpo, or one of `jnrsfm.io.writers()`. `format` and
    `options` are those of the source's reader. `scale_by` ("hip-knee=0.45") gives a result units. `drop_empty` leaves
    out the frames with fewer visible points than the file's camera (else an orthographic one) needs; the numbers of the
    others are kept. Several clips become several files in formats that hold one. Returns the files. Raises InputError.
    """
    dst = Path(dst).expanduser()
    writer = None if to in _own() else exporting.writer_for(dst, to)
    if to is None and dst.suffix.lower() in {e for f in _own().values() for e in f.extensions}:
        writer = None
    result, landmarks = _result(src, writer)
    if result is not None and writer is not None:
        return exporting.write_export(dst, result, writer, landmarks, scale_by)
    if scale_by is not None:
        raise InputError(
            "--scale-by takes a result and a format of 3D: jnrsfm convert RUN out.trc --scale-by A-B=0.45"
        )
    if result is not None and landmarks is None:
        landmarks = read(Path(src), "npz").landmarks
    if landmarks is not None:
        _write_own(dst, to, landmarks, result)
        return [dst]
    world = _world(src, format, options)
    if world is not None:
        if writer is None:
            raise InputError(
                f"{src}: holds 3D points, no landmarks: write one of {', '.join(exporting.writers())}"
            )
        return exporting.write_export(dst, world, dataclasses.replace(writer, write=_untouched(writer)))
    reading = read(src, format, **options)
    landmarks = reading.landmarks
    reference = _reference(reading.files, format, options)
    if drop_empty:
        landmarks, kept = checks.drop_empty(landmarks, landmarks.camera or "orthographic")
        reference = None if reference is None else reference.select(kept)
    if writer is not None:
        return exporting.write_export(dst, landmarks, writer)
    _write_own(dst, to, landmarks, reference)
    return [dst]


def _own() -> dict[str, Any]:
    """The formats of landmarks that can be written."""
    return {name: f for name, f in formats().items() if f.write is not None}


def _write_own(path: Path, to: str | None, landmarks: Landmarks, reference: Reconstruction | None) -> None:
    fmt = for_writing(path, to)
    assert fmt.write is not None
    fmt.write(path, landmarks, reference)


def _result(src: Any, writer: Any) -> tuple[Reconstruction | None, Landmarks | None]:
    """The reconstruction of a run folder or of its file, and the landmarks of the run."""
    if not isinstance(src, str | Path):
        return None, None
    path = Path(src).expanduser()
    if path.is_dir() and (path / RESULT_FILE).is_file():
        stored = path / LANDMARKS_FILE
        return read_reconstruction(path / RESULT_FILE), read(stored).landmarks if stored.is_file() else None
    if writer is not None and path.suffix.lower() == ".npz" and path.is_file():
        have = _archive.names(path)
        if "rotations" in have and "points3d" in have and ("mirror" in have or writer.needs_3d):
            return read_reconstruction(path), None
    return None, None


def _world(src: Any, format: str | None, options: dict[str, Any]) -> Reconstruction | None:
    """The 3D of a file that holds nothing else."""
    files = expand(src)
    if len(files) != 1:
        return None
    path = existing(files[0])
    fmt = by_name(format) if format else detect(path)
    if fmt.parse is None:
        return None
    pose = checked(fmt.parse(path), path)
    return settle.reference_of(pose, path, options.get("individual"))[0] if pose.world else None


def _untouched(writer: Any) -> Any:
    """A writer for points that are in a file's own axes already: no half turn."""
    return lambda path, export: writer.write(path, dataclasses.replace(export, turned=True))


def _reference(files: tuple[Path, ...], format: str | None, options: dict[str, Any]) -> Reconstruction | None:
    """The 3D that stands beside landmarks, where the options leave their points as they are."""
    if len(files) != 1 or any(options.get(name) is not None for name in ("points", "image_size", "y")):
        return None
    fmt = by_name(format) if format else detect(files[0])
    if fmt.parse is not None or fmt.read_reference is None:
        return None
    takes = inspect.signature(fmt.read_reference).parameters
    return fmt.read_reference(files[0], **{k: v for k, v in options.items() if k in takes and v is not None})


def world_landmarks(reference: Reconstruction, fps: float | None) -> Landmarks:
    """x and y of a 3D file, for a look at it."""
    known = (
        np.ones(reference.points3d.shape[:2], bool)
        if reference.valid3d is None
        else np.asarray(reference.valid3d)
    )
    return Landmarks(
        np.asarray(reference.points3d)[..., :2], known, names=reference.names, fps=fps, edges=reference.edges,
        symmetric=reference.symmetric, sequence=reference.sequence,
    )  # fmt: skip
