"""HDF5 read with bounds: no external links or storage, no shapes beyond what the file can hold, one line of error."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FREE = 16_000_000  # bytes that any file may ask for
_RATIO = 200  # bytes of array for each byte of file: more than compressed coordinates ever reach


def is_hdf5(path: Path) -> bool:
    """Whether a file starts like HDF5."""
    with open(path, "rb") as stream:
        return stream.read(8) == SIGNATURE


class Hdf5:
    """An open HDF5 file: names of a group, arrays and attributes by path."""

    def __init__(self, file: Any, path: Path):
        self._file, self.path = file, path
        self._most = max(_FREE, _RATIO * path.stat().st_size)

    def names(self, group: str = "/") -> list[str]:
        """What a group holds, sorted; empty where there is no such group."""
        item = self._find(group)
        return sorted(str(n) for n in item) if hasattr(item, "keys") else []

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def _find(self, name: str) -> Any:
        """The object at a path. Raises InputError for a link that leaves the file."""
        import h5py

        item = self._file
        for part in [p for p in name.split("/") if p]:
            if not isinstance(item, h5py.Group):
                return None
            link = item.get(part, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise InputError(
                    f"{self.path}: '{name}' is a link to another place: copy the data into the file"
                )
            item = item[part]
        return item

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array; () where there is none."""
        item = self._find(name)
        return tuple(getattr(item, "shape", None) or ())

    def is_array(self, name: str) -> bool:
        """Whether there is an array of that name."""
        import h5py

        return isinstance(self._find(name), h5py.Dataset)

    def named(self, reference: Any) -> str:
        """The path of the object that a reference of the file leads to."""
        return str(self._file[reference].name)

    def row(self, name: str, number: int) -> np.ndarray:
        """One element along the first axis of an array that is too large to be read whole. Raises InputError where it
        lies elsewhere, or is longer than the file."""
        item = self._dataset(name)
        if item.dtype == object:
            self._check_lengths(item, name)
        elif float(np.prod(np.asarray(item.shape[1:], float))) * item.dtype.itemsize > self._most:
            raise InputError(f"{self.path}: '{name}' declares elements that are more than the file can hold")
        return np.asarray(item[number])

    def _dataset(self, name: str) -> Any:
        """The array of a path, not read. Raises InputError where it is absent or lies elsewhere."""
        import h5py

        item = self._find(name)
        if not isinstance(item, h5py.Dataset):
            raise InputError(
                f"{self.path}: '{name}' is absent or no array (it has {', '.join(self.names())[:200]})"
            )
        if item.external or item.is_virtual:
            raise InputError(f"{self.path}: '{name}' keeps its data in another file: copy them into this one")
        if item.shape is None:
            raise InputError(f"{self.path}: '{name}' is empty: check the file")
        return item

    def array(self, name: str) -> np.ndarray:
        """An array, read whole. Raises InputError where it is absent, lies elsewhere, or is too large to be true."""
        import h5py

        item = self._dataset(name)
        size = float(np.prod(np.asarray(item.shape, float))) * max(item.dtype.itemsize, 1)
        if size > self._most or (size > _FREE and item.id.get_storage_size() * 1000.0 < size):
            raise InputError(
                f"{self.path}: '{name}' declares {item.dtype} of shape {item.shape}, more than the file can hold"
            )
        vlen = (
            h5py.check_vlen_dtype(item.dtype) is not None or h5py.check_string_dtype(item.dtype) is not None
        )
        if vlen and item.dtype == object and not self._file.userblock_size:
            self._check_lengths(item, name)
        for axis in item.chunks or ():
            if axis * item.dtype.itemsize > self._most:
                raise InputError(
                    f"{self.path}: '{name}' declares chunks of {item.chunks}: the file is damaged"
                )
        return np.asarray(item[()])

    def _check_lengths(self, item: Any, name: str) -> None:
        """Raise InputError where an element of variable length says that it is longer than the file: the library would
        make room for it first. An element is stored as its length (4 bytes), a heap's address and a number."""
        width = item.id.get_type().get_size()
        places = []
        if item.chunks is None and item.id.get_offset() is not None:
            places = [(item.id.get_offset(), item.id.get_storage_size())]
        elif (
            item.chunks is not None and item.compression is None and not item.shuffle and not item.fletcher32
        ):
            infos = [item.id.get_chunk_info(i) for i in range(min(item.id.get_num_chunks(), 100_000))]
            places = [(i.byte_offset, i.size) for i in infos]
        most = self.path.stat().st_size
        stored = width if width >= 16 else 16
        with open(self.path, "rb") as stream:
            for offset, size in places:
                stream.seek(offset)
                raw = stream.read(min(size, most))
                lengths = np.frombuffer(raw[: len(raw) // stored * stored], "<u4").reshape(-1, stored // 4)[
                    :, 0
                ]
                if (lengths > most).any():
                    raise InputError(f"{self.path}: '{name}' has a text longer than the file: it is damaged")

    def dimensions(self, name: str) -> list[str]:
        """Names of the dimensions of an array, as netCDF attaches them; "" where one has none.

        From the lists that the dimensions keep of the arrays that they belong to. The list of the array itself has
        variable length, and the library ends the process at one that is damaged.
        """
        import h5py

        item = self._find(name)
        if not isinstance(item, h5py.Dataset):
            return []
        names = [""] * len(item.shape or ())
        for scale in self.names():
            uses = self.attribute("REFERENCE_LIST", scale) if self.is_array(scale) else None
            fields = uses.dtype.names if isinstance(uses, np.ndarray) else None
            if fields is None or len(fields) != 2:
                continue
            array, axis = fields
            for use in np.asarray(uses).reshape(-1):
                known = isinstance(use[array], h5py.Reference) and 0 <= int(use[axis]) < len(names)
                if known and self._file[use[array]] == item:
                    names[int(use[axis])] = scale
        return names

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of text; () where it is absent or holds something else."""
        if name not in self or not self.shape(name):
            return ()
        array = self.array(name).reshape(-1)
        return tuple(as_text(v) for v in array) if array.dtype.kind in "SUO" else ()

    def attribute(self, name: str, group: str = "/") -> Any:
        """An attribute, None where absent."""
        item = self._find(group)
        if item is None or name not in item.attrs:
            return None
        attribute = item.attrs.get_id(name)
        if attribute.get_storage_size() > self._most:
            raise InputError(f"{self.path}: attribute '{name}' is larger than the file can hold")
        return item.attrs[name]


def as_text(value: Any) -> str:
    """Bytes or text as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray) and value.size == 1:
        return as_text(value.reshape(-1)[0])
    return str(value)


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5]:
    """The file, open for reading. Raises InputError, one line, whatever is wrong inside."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: HDF5 files need h5py: pip install 'jnrsfm[files]'") from error
    try:
        with h5py.File(path, "r") as file:
            yield Hdf5(file, path)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: an array is too large for this machine's memory") from error
    # A damaged file can raise nearly anything from the parser.
    except Exception as error:
        cause = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as HDF5 ({cause}): write or copy it again") from error
