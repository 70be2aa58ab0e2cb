"""The registry of file formats: one `Format` record each, found by name, by extension or by a look inside."""

import dataclasses
import inspect
import os
from collections.abc import Callable
from pathlib import Path

from jnrsfm.errors import InputError
from jnrsfm.types import Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True)
class Format:
    """One file format.

    `read_landmarks(path, **options)` is required; its keyword-only arguments are the options that a user
    may pass. `read_reference(path, **options)` returns None where the file holds no 3D. `sniff(path)` looks
    at the first bytes of a file whose extension says nothing (or is shared) and must not raise InputError.
    `write(path, landmarks, reference, **options)` is None for formats that are only read.
    """

    name: str
    extensions: tuple[str, ...]
    description: str
    read_landmarks: Callable[..., Landmarks]
    read_reference: Callable[..., Reconstruction | None] | None = None
    write: Callable[..., None] | None = None
    sniff: Callable[[Path], bool] | None = None


_formats: dict[str, Format] = {}


def register(fmt: Format) -> Format:
    """Add a format. Raises ValueError where the name is taken."""
    if fmt.name in _formats:
        raise ValueError(f"a format named {fmt.name!r} is registered already")
    _formats[fmt.name] = fmt
    return fmt


def formats() -> dict[str, Format]:
    """The registered formats by name."""
    return dict(_formats)


def by_name(name: str) -> Format:
    """The format of that name. Raises InputError where there is none."""
    if name not in _formats:
        raise InputError(f"unknown format {name!r}: choose from {', '.join(_formats)}")
    return _formats[name]


def existing_file(path) -> Path:
    """`path` as a Path to a readable file. Raises InputError where it is missing or a folder."""
    try:
        path = Path(path).expanduser()
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a file: name the file inside it")
        if not path.exists():
            raise InputError(f"{path}: no such file: check the path (relative to {Path.cwd()})")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty: write or copy it again")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path}: no permission to read it: change its mode or owner")
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be opened: {error}") from error
    return path


def detect(path: Path) -> Format:
    """The format of a file: the only one with its extension, else the first whose `sniff` accepts it."""
    suffix = path.suffix.lower()
    named = [f for f in _formats.values() if suffix and suffix in f.extensions]
    if len(named) == 1:
        return named[0]
    for fmt in named or _formats.values():
        if fmt.sniff is not None and fmt.sniff(path):
            return fmt
    known = "; ".join(f"{f.name} ({' '.join(f.extensions)})" for f in _formats.values())
    raise InputError(f"{path}: the format is not recognised: name it with format=... from {known}")


def for_writing(path: Path, name: str | None) -> Format:
    """The format to write `path` in, by name or by extension."""
    if name is not None:
        fmt = by_name(name)
    else:
        named = [f for f in _formats.values() if path.suffix.lower() in f.extensions and f.write]
        if not named:
            known = ", ".join(e for f in _formats.values() if f.write for e in f.extensions)
            raise InputError(f"{path}: no format writes the extension {path.suffix!r}: use one of {known}")
        fmt = named[0]
    if fmt.write is None:
        raise InputError(f"{path}: the format {fmt.name!r} can be read only: write npz")
    return fmt


def check_options(function: Callable, options: dict, fmt: Format) -> None:
    """Raise InputError for an option that the format's function does not take (a typo must not pass)."""
    takes = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for name in options:
        if name not in takes:
            known = ", ".join(takes) if takes else "none"
            raise InputError(f"format {fmt.name!r} has no option {name!r}: its options are: {known}")
