"""Writing beside and renaming, so that a reader never meets half a file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

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
