"""HDF5 read with bounds: no external links or storage, no shapes beyond what the file can hold, nothing of variable
length through the library (`_hdf5_guard`), one line of error."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._hdf5_guard import Damaged, Elements, check_plain, is_variable, text_attribute

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
        if is_variable(item.id.get_type()):
            value = self._elements(item, name).one(number)
            return np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
        if float(np.prod(np.asarray(item.shape[1:], float))) * item.dtype.itemsize > self._most:
            raise InputError(f"{self.path}: '{name}' declares elements that are more than the file can hold")
        return np.asarray(item[number])

    def _elements(self, item: Any, name: str) -> Elements:
        """The elements of an array of variable length. Raises InputError for a record with such parts."""
        if item.dtype.metadata is None or "vlen" not in item.dtype.metadata:
            raise InputError(f"{self.path}: '{name}' has parts of variable length: write plain columns")
        return Elements(item, self.path, self._most)

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
        check_plain(item.id.get_type())
        return item

    def array(self, name: str) -> np.ndarray:
        """An array, read whole. Raises InputError where it is absent, lies elsewhere, or is too large to be true."""
        item = self._dataset(name)
        size = float(np.prod(np.asarray(item.shape, float))) * max(item.dtype.itemsize, 1)
        if size > self._most or (size > _FREE and item.id.get_storage_size() * 1000.0 < size):
            raise InputError(
                f"{self.path}: '{name}' declares {item.dtype} of shape {item.shape}, more than the file can hold"
            )
        for axis in item.chunks or ():
            if axis * item.dtype.itemsize > self._most:
                raise InputError(
                    f"{self.path}: '{name}' declares chunks of {item.chunks}: the file is damaged"
                )
        if is_variable(item.id.get_type()):
            return self._elements(item, name).all()
        return np.asarray(item[()])

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

    def has_attribute(self, name: str, group: str = "/") -> bool:
        """Whether there is an attribute of that name."""
        item = self._find(group)
        return item is not None and name in item.attrs

    def attribute(self, name: str, group: str = "/") -> Any:
        """An attribute, None where absent; of text of variable length only a single one."""
        if not self.has_attribute(name, group):
            return None
        item = self._find(group)
        attribute = item.attrs.get_id(name)
        if attribute.get_storage_size() > self._most:
            raise InputError(f"{self.path}: attribute '{name}' is larger than the file can hold")
        check_plain(attribute.get_type())
        if is_variable(attribute.get_type()):
            return text_attribute(self.path, str(item.name), name)
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
        raise InputError(f"{path}: HDF5 files need h5py: pip install h5py") from error
    try:
        with h5py.File(path, "r") as file:
            yield Hdf5(file, path)
    except InputError:
        raise
    except Damaged as error:
        raise InputError(f"{path}: is a damaged HDF5 file ({error}): write or copy it again") from error
    except MemoryError as error:
        raise InputError(f"{path}: an array is too large for this machine's memory") from error
    # A damaged file can raise nearly anything from the parser.
    except Exception as error:
        cause = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as HDF5 ({cause}): write or copy it again") from error
