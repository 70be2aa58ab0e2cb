"""Files: landmarks and references in, reconstructions in and out. Formats live in one file each."""

from pathlib import Path

from jnrsfm.io import npz
from jnrsfm.io._registry import Format as Format
from jnrsfm.io._registry import by_name, check_options, detect, existing_file, for_writing
from jnrsfm.io._registry import formats as formats
from jnrsfm.io._registry import register as register
from jnrsfm.io.reconstruction import check_match as check_match
from jnrsfm.io.reconstruction import read_reconstruction as read_reconstruction
from jnrsfm.io.reconstruction import write_reconstruction as write_reconstruction
from jnrsfm.types import Landmarks, Reconstruction

register(npz.FORMAT)


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
    return fmt.read_landmarks(path, **options)


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
