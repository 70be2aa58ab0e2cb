"""npz archives with bounds: names, and single arrays, also those that NumPy would have to unpickle."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io import _plain_pickle

MOST_BYTES = 8_000_000_000
_FREE = 256_000_000
_RATIO = 200


def names(path: Path) -> list[str]:
    """Names of the arrays; none where the file is no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [n.removesuffix(".npy") for n in archive.namelist()]
    # A damaged directory raises nearly anything.
    except Exception:
        return []


def check_sizes(path: Path) -> None:
    """Raise InputError where a zip would unpack to more than it can be meant to."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                large = entry.file_size > _FREE and entry.file_size > _RATIO * max(entry.compress_size, 1)
                if large or entry.file_size > MOST_BYTES:
                    raise InputError(
                        f"{path}: '{entry.filename[:40]}' would unpack to {entry.file_size / 1e6:.0f} MB from "
                        f"{entry.compress_size / 1e6:.2f} MB: not read"
                    )
    except InputError:
        raise
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError):
        return  # the reader says what is wrong


def load(path: Path, key: str) -> Any:
    """An array, or the plain values of an object array, read without unpickling. Raises InputError."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as stream:
            data = stream.read(MOST_BYTES)
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            value = _plain_pickle.loads(data[file.tell() :])
            return value[0] if shape == () and isinstance(value, list) and len(value) == 1 else value
        return np.frombuffer(data, dtype, count=int(np.prod(shape)), offset=file.tell()).reshape(
            shape, order="F" if fortran else "C"
        )
    except MemoryError as error:
        raise InputError(f"{path}: '{key}' is too large for this machine's memory") from error
    except _plain_pickle.Refused as error:
        raise InputError(f"{path}: '{key}': {error}") from error
    # A damaged archive raises nearly anything.
    except Exception as error:
        cause = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path}: '{key}' cannot be read ({cause}): write or copy the file again") from error
