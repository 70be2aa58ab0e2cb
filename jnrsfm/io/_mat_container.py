"""Variables of a MATLAB file as NumPy arrays, whichever version wrote it.

Versions 4 to 7.2 by a bounded reader of our own (`_mat5`); 7.3 is HDF5 and needs h5py (the extra `files`). Numbers,
logicals, text and cells of text come back; all else (structs, objects, function handles) is refused where its name is
wanted.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io import _mat5
from jnrsfm.io._hdf5 import as_text, open_hdf5

HDF5 = b"\x89HDF\r\n\x1a\n"


def load_variables(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The variables called `names` that the file has. Raises InputError for a file that is not sound."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SciPy warns of what it skips; the wanted ones are checked here
            if _is_hdf5(path):
                found = _load_hdf5(path, names)
            else:
                found = _load_classic(path, names)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: a variable is too large for this machine's memory") from error
    # A damaged file can raise nearly anything from the parsers.
    except Exception as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: cannot be read as a MATLAB file ({cause}): write or copy it again"
        ) from error
    return found


def _is_hdf5(path: Path) -> bool:
    """MATLAB 7.3 writes a 512-byte header before the HDF5 signature; plain HDF5 has none."""
    with open(path, "rb") as stream:
        start = stream.read(520)
    return start.startswith(HDF5) or start[512:520] == HDF5


def _load_classic(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    found, present = _mat5.load(path, names)
    if not found:
        _refuse_without(path, present)
    return {n: _plain(path, n, value) for n, value in found.items()}


def _refuse_without(path: Path, present: Sequence[str]) -> None:
    have = ", ".join(sorted(present)[:12]) or "nothing"
    raise InputError(f"{path}: key 'W' is absent (it has {have}): name the 2F x P matrix of image points W")


def _plain(path: Path, name: str, value: Any) -> np.ndarray:
    """A dense array of numbers or text."""
    if isinstance(value, _mat5.Other):
        raise InputError(
            f"{path}: key '{name}': is a {value.kind}, expected numbers or text: save a plain matrix"
        )
    array = np.asarray(value)
    if array.dtype == object:
        cells = [np.asarray(cell) for cell in array.reshape(-1, order="F")]
        cells = [c if c.dtype.kind == "U" or c.size else np.array([""]) for c in cells]
        if not all(c.dtype.kind == "U" and c.size <= 1 for c in cells):
            raise InputError(f"{path}: key '{name}': is a cell or struct, expected numbers or a cell of text")
        return np.array([str(c.reshape(())) if c.size else "" for c in cells])
    if array.dtype.kind not in "biufcU":
        raise InputError(
            f"{path}: key '{name}': is a {array.dtype}, expected numbers or text: save a plain matrix"
        )
    return array


def _load_hdf5(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path}: MATLAB 7.3 files need h5py: pip install h5py, or save with -v7 in MATLAB"
        ) from error
    found = {}
    with open_hdf5(path) as file:
        present = [n for n in file.names() if not n.startswith("#")]
        wanted = [n for n in names if n in present]
        if not wanted:
            _refuse_without(path, present)
        for name in wanted:
            if not file.is_array(name):
                raise InputError(f"{path}: key '{name}': is a struct or sparse matrix: save a plain matrix")
            value = file.array(name)
            if value.dtype == h5py.ref_dtype:
                cells = [file.array(file.named(ref)) for ref in value.reshape(-1)]
                found[name] = np.array([_text(cell) for cell in cells])
                continue
            if file.attribute("MATLAB_empty", name):
                shape = tuple(int(n) for n in value.reshape(-1))
                if not 0 < len(shape) < 8 or np.prod(np.asarray(shape, float)) > 0:
                    raise InputError(f"{path}: key '{name}': is marked empty and is not: save it again")
                value = np.zeros(shape)
            if as_text(file.attribute("MATLAB_class", name) or "") == "char":
                found[name] = np.array(_text(value))
            else:
                # MATLAB stores by columns, so HDF5 shows every array with its axes reversed.
                found[name] = _plain(path, name, value.T)
    return found


def _text(codes: np.ndarray) -> str:
    """A char array of UTF-16 codes as str."""
    return codes.astype("<u2").tobytes().decode("utf-16-le")
