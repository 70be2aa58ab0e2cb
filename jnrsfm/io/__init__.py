"""Files: landmarks and references in, reconstructions in and out. Formats live in one file each."""

from pathlib import Path
from typing import Any

from jnrsfm.io import c3dpo, checks, matlab, npz
from jnrsfm.io._registry import Format as Format
from jnrsfm.io._registry import by_name, check_options, detect, existing_file, for_writing
from jnrsfm.io._registry import formats as formats
from jnrsfm.io._registry import register as register
from jnrsfm.io.checks import check_landmarks as check_landmarks
from jnrsfm.io.checks import drop_empty as drop_empty
from jnrsfm.io.checks import usable_frames as usable_frames
from jnrsfm.io.images import IMAGE_FORMATS as IMAGE_FORMATS
from jnrsfm.io.images import check_images as check_images
from jnrsfm.io.images import describe_images as describe_images
from jnrsfm.io.images import format_images as format_images
from jnrsfm.io.images import holds_images as holds_images
from jnrsfm.io.images import image_info as image_info
from jnrsfm.io.images import read_images as read_images
from jnrsfm.io.reconstruction import read_reconstruction as read_reconstruction
from jnrsfm.io.reconstruction import write_reconstruction as write_reconstruction
from jnrsfm.io.results import RESULTS as RESULTS
from jnrsfm.io.results import ResultFile as ResultFile
from jnrsfm.io.results import read_result as read_result
from jnrsfm.io.results import write_result as write_result
from jnrsfm.io.summary import describe as describe
from jnrsfm.io.summary import format_info as format_info
from jnrsfm.types import Landmarks, Reconstruction

__all__ = [
    "IMAGE_FORMATS", "RESULTS", "Format", "ResultFile", "check_images", "check_landmarks", "convert", "describe",
    "describe_images", "drop_empty", "format_images", "format_info", "formats", "holds_images", "image_info", "info",
    "read_images", "read_landmarks", "read_reconstruction", "read_reference", "read_result", "register",
    "usable_frames", "write_landmarks", "write_reconstruction", "write_result",
]  # fmt: skip

# One line a format.
register(npz.FORMAT)
register(matlab.FORMAT)
register(c3dpo.FORMAT)


def read_landmarks(path, format: str | None = None, **options) -> Landmarks:
    """Landmarks of a file in any registered format, structurally checked.

    `format` names the format; without it, the extension or the content decides. `options` are those of
    the format's reader. Missing points come back with `visible` False and coordinate 0. Whether the data
    suffice for a camera model is another question: `check_landmarks(landmarks, camera)`.
    Raises InputError: one line with file, key or frame, and what to do.
    """
    path = existing_file(path)
    fmt = by_name(format) if format else detect(path)
    check_options(fmt.read_landmarks, options, fmt)
    landmarks = fmt.read_landmarks(path, **options)
    checks.check_landmarks(landmarks, where=str(path))
    return landmarks


def read_reference(path, format: str | None = None, **options) -> Reconstruction | None:
    """The reference 3D of a file with its cameras, `mirror="reference"`; None where it holds none.

    See `jnrsfm.io.schema.reference_from_fields` for which cameras it gets. Raises InputError.
    """
    path = existing_file(path)
    fmt = by_name(format) if format else detect(path)
    if fmt.read_reference is None:
        return None
    check_options(fmt.read_reference, options, fmt)
    return fmt.read_reference(path, **options)


def write_landmarks(
    path, landmarks: Landmarks, reference: Reconstruction | None = None, format: str | None = None, **options
) -> None:
    """Write landmarks, and the reference 3D where given, in the extension's format. Raises InputError."""
    path = Path(path)
    fmt = for_writing(path, format)
    assert fmt.write is not None
    check_options(fmt.write, options, fmt)
    fmt.write(path, landmarks, reference, **options)


def info(path, format: str | None = None, **options) -> dict[str, Any]:
    """What a file holds: `path`, `format` and what `describe` says, as plain values. Raises InputError."""
    path = existing_file(path)
    fmt = by_name(format) if format else detect(path)
    landmarks = read_landmarks(path, format, **options)
    reference = read_reference(path, format, **options)
    return {"path": str(path), "format": fmt.name, **describe(landmarks, reference)}


def convert(src, dst, *, format: str | None = None, drop_empty: bool = False, **options) -> None:
    """Copy landmarks, and the 3D where there is any, into the format that the extension of `dst` names.

    `format` and `options` are those of the source's reader. `drop_empty` leaves out the frames with fewer
    visible points than the file's camera (else an orthographic one) needs. Raises InputError.
    """
    landmarks = read_landmarks(src, format, **options)
    reference = read_reference(src, format, **options)
    if drop_empty:
        landmarks, kept = checks.drop_empty(landmarks, landmarks.camera or "orthographic")
        reference = None if reference is None else reference.select(kept)
    write_landmarks(dst, landmarks, reference)
