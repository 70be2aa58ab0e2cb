"""Whole files or none: write beside the target, then rename."""

import os
import secrets
from pathlib import Path

from jnrsfm.errors import InputError


def write_beside(path: str | os.PathLike, content: bytes) -> Path:
    """Put `content` into `path` so that a reader sees the old file or the new one, never a half.

    Raises `InputError` where the folder is absent, the place is a folder, or the system refuses.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file in it")
    temporary = path.parent / f".{path.name[:80]}.{secrets.token_hex(4)}.part"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: the folder {path.parent} does not exist; make it first") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); choose another place") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return path
