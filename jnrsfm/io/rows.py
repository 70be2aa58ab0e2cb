"""Rows of an array on disk, read where they are needed: for training sets larger than memory."""

import itertools
import os
from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError


class RowFile:
    """The rows of a `.npy` file, `file[numbers] -> (row, ...)`.

    Read by position, not mapped: pages of a map count as this process's memory as long as the system leaves them, and
    a million frames drawn at random touch all of them. Rows that stand one after the other are read in one piece.
    Raises InputError where the file is missing, no array of plain numbers in C order, or shorter than it says.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        try:
            with self.path.open("rb") as stream:
                version = np.lib.format.read_magic(stream)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                self.shape, fortran, self.dtype = read(stream)
                self._start = stream.tell()
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror or error}: check the path") from error
        except ValueError as error:
            raise InputError(f"{self.path}: not a .npy array ({error}): save it with numpy.save") from error
        if fortran or self.dtype.hasobject or not self.shape:
            raise InputError(
                f"{self.path}: give an array of plain numbers in C order with frames along its first axis"
            )
        self._size = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if self.path.stat().st_size < self._start + self._size * self.shape[0]:
            raise InputError(f"{self.path}: is shorter than its header says: write it again")
        self._file = os.open(self.path, os.O_RDONLY)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """Rows in the order of `numbers (row,)`."""
        numbers = np.asarray(numbers)
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        flat = memoryview(out).cast("B") if out.size else None  # type: ignore[arg-type]
        starts = np.r_[0, np.flatnonzero(np.diff(numbers) != 1) + 1, len(numbers)]
        for first, end in itertools.pairwise(starts.tolist()):
            if flat is not None and end > first:
                place = self._start + int(numbers[first]) * self._size
                os.preadv(self._file, [flat[first * self._size : end * self._size]], place)
        return out

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)
