"""The registry of file formats: one `Format` record each, found by name, by extension or by a look inside."""

import dataclasses
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jnrsfm.errors import InputError
from jnrsfm.types import Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True)
class Format:
    """One file format.

    `read_landmarks(path, **options)` is required; its keyword-only arguments are the options that a user
    may pass. `read_reference(path, **options)` returns None where the file holds no 3D. `sniff(path)` looks
    at the first bytes of a file whose extension says nothing (or is shared) and must not raise InputError.
    `write(path, landmarks, reference, **options)` is None for formats that are only read. `parse(path)` is what a
    pose tool's file holds as stored (`jnrsfm.io.Pose`), where that is settled afterwards. `folder`: it may be a
    folder of files.
    """

    name: str
    extensions: tuple[str, ...]
    description: str
    read_landmarks: Callable[..., Landmarks]
    read_reference: Callable[..., Reconstruction | None] | None = None
    write: Callable[..., None] | None = None
    sniff: Callable[[Path], bool] | None = None
    parse: Callable[[Path], Any] | None = None
    folder: bool = False


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


def existing(path) -> Path:
    """`path` as a Path to a readable file, or to a folder that a format reads. Raises InputError."""
    try:
        folder = Path(path).expanduser()
        if folder.is_dir() and any(
            f.folder and f.sniff is not None and f.sniff(folder) for f in _formats.values()
        ):
            return folder
    except (OSError, ValueError, RuntimeError, TypeError):
        return existing_file(path)
    return existing_file(path)


def detect(path: Path) -> Format:
    """The format of a file: by a look inside where one says, first at those of its extension; else the only one with
    its extension. A format without `sniff` goes by its extension alone. Raises InputError."""
    suffix = path.suffix.lower()
    named = [f for f in _formats.values() if suffix and suffix in f.extensions]
    if path.is_dir():
        named = [f for f in _formats.values() if f.folder]
    silent = [f for f in named if f.sniff is None]
    for fmt in (*named, *(f for f in _formats.values() if f not in named)):
        if fmt.sniff is not None and (fmt is not _formats.get(GENERIC)) and fmt.sniff(path):
            return fmt
    if len(named) == 1 or silent:
        return (silent or named)[0]
    generic = _formats.get(GENERIC)
    if generic is not None and (generic in named or (generic.sniff is not None and generic.sniff(path))):
        return generic
    among = named or _formats.values()
    known = "; ".join(f"{f.name} ({' '.join(f.extensions)})" for f in among)
    raise InputError(
        f"{path}: the format is not recognised: name it with --format (in Python format=) from {known}"
    )


GENERIC = "npz"
"""The format of an archive that no other claims: its reader says best what is missing."""


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
