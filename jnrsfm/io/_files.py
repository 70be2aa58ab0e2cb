"""Writing beside and renaming, so that a reader never meets half a file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from jnrsfm.errors import InputError


def write_beside(path, write: Callable[[BinaryIO], object]) -> Path:
    """Write `path` through a temporary name in the same folder, then `os.replace`.

    Raises InputError (one line, with the cause) where the folder is missing or not writable, or the disk
    is full; the former file, if any, is then untouched and no temporary one is left.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise InputError(f"{path}: is a folder: give the name of a file to write")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist: create it first")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with open(beside, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        cause = error.strerror or str(error)
        raise InputError(
            f"{path}: cannot be written ({cause}): free space or choose another folder"
        ) from error
    return path


def write_json(path, value: Any) -> Path:
    """Write plain data as JSON, beside and then renamed. Raises InputError where it cannot be written."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    return write_beside(path, lambda stream: stream.write(text.encode()))


def read_json(path) -> Any:
    """Read JSON. Raises InputError for a missing or damaged file."""
    path = Path(path).expanduser()
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}): write it again") from error
