"""What the HDF5 library is not trusted with: datatypes checked before it converts them, and all of variable length
read without it.

Texts and lists of variable length lie in heaps of the file, and an array holds their lengths and places. The library
follows those without holding them against each other, and has ended the process at damaged ones. Arrays are therefore
followed here, every size held against the file; text attributes, whose bytes the library does not hand out, are read
in a process of their own with bounds of time and memory. Numbers and text of fixed length pay nothing of this.

Source: HDF5 File Format Specification 3.0, III.E (global heap) and IV.A.2.d (datatype of variable length).
"""

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_PLACE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("number", "<u4")])
_NUMBER = struct.Struct("<H6xQ")  # number of an object and its size; between them how often it is used
_NOWHERE = 2**64 - 1
_SECONDS, _MEMORY = 20, 1_000_000_000
_ATTRIBUTES = """
import json, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[3]),) * 2)
except (ImportError, ValueError, OSError):
    pass
import h5py
with h5py.File(sys.argv[1], "r") as file:
    value = file[sys.argv[2]].attrs[sys.argv[4]]
    value = value if isinstance(value, (str, bytes)) else value.reshape(-1)[0] if value.size == 1 else ""
    print(json.dumps(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)))
"""


class Damaged(ValueError):
    """The file does not hold what it declares."""


def is_variable(kind: Any) -> bool:
    """Whether a datatype (`h5py.h5t.TypeID`) has variable length, itself or in a part of it."""
    from h5py import h5t

    if isinstance(kind, h5t.TypeVlenID):
        return True
    if isinstance(kind, h5t.TypeStringID):
        return bool(kind.is_variable_str())
    if isinstance(kind, h5t.TypeArrayID):
        return is_variable(kind.get_super())
    if isinstance(kind, h5t.TypeCompoundID):
        return any(is_variable(kind.get_member_type(i)) for i in range(kind.get_nmembers()))
    return False


def check_plain(kind: Any) -> None:
    """Raise Damaged for a datatype with numbers of no machine, or with parts that overlap: the library has written
    beside its memory where it converts these."""
    from h5py import h5t

    if isinstance(kind, h5t.TypeCompoundID):
        end = 0
        members = [(kind.get_member_offset(i), kind.get_member_type(i)) for i in range(kind.get_nmembers())]
        for offset, member in sorted(members, key=lambda m: m[0]):
            check_plain(member)
            if offset < end:
                raise Damaged("parts of its records overlap")
            end = offset + member.get_size()
        if end > kind.get_size():
            raise Damaged("its records are longer than they say")
    elif isinstance(kind, h5t.TypeArrayID | h5t.TypeEnumID | h5t.TypeVlenID):
        check_plain(kind.get_super())
    elif isinstance(kind, h5t.TypeFloatID):
        known = [getattr(h5t, f"IEEE_F{bits}{order}") for bits in (16, 32, 64) for order in ("LE", "BE")]
        if not any(kind.equal(k) for k in known):
            raise Damaged("its floating-point numbers are of no known kind")
    elif isinstance(kind, h5t.TypeIntegerID | h5t.TypeBitfieldID):
        size = kind.get_size()
        if size not in (1, 2, 4, 8) or kind.get_precision() != 8 * size or kind.get_offset():
            raise Damaged("its whole numbers are of no known kind")
    elif not isinstance(kind, h5t.TypeStringID | h5t.TypeReferenceID | h5t.TypeOpaqueID):
        raise Damaged("it holds things of an unknown kind")


def text_attribute(path: Path, group: str, name: str) -> str:
    """An attribute that is one text of variable length, read by another process; "" for a list. Raises Damaged where
    that process ends otherwise than with a text."""
    command = [sys.executable, "-I", "-c", _ATTRIBUTES, str(path), group, str(_MEMORY), name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Damaged(f"attribute '{name}' takes over {_SECONDS} s to read") from error
    if done.returncode:
        raise Damaged(f"attribute '{name}' cannot be read")
    return str(json.loads(done.stdout))


class Elements:
    """The elements of a one-typed array of variable length (text, or lists of numbers), each followed when wanted."""

    def __init__(self, item: Any, path: Path, most: int):
        self._item, self._path, self._most = item, path, most
        self._size = path.stat().st_size
        self._heaps: dict[int, dict[int, bytes]] = {}
        self._held = 0
        kind = item.id.get_type()
        self._base = (
            np.dtype("S1") if item.dtype.metadata.get("vlen") in (str, bytes) else kind.get_super().dtype
        )
        if self._base.hasobject or self._base.itemsize < 1:
            raise Damaged("its elements hold lists of lists")
        if item.file.userblock_size or tuple(item.file.id.get_create_plist().get_sizes()) != (8, 8):
            raise Damaged("it has a layout that is not read: write it with h5py's defaults")

    def all(self) -> np.ndarray:
        """All of them, as bytes or as arrays of numbers, in the shape of the array."""
        shape = self._item.shape
        out, total = np.empty(shape, object), 0
        for where, places in self._blocks():
            values = np.empty(places.size, object)
            for i, place in enumerate(places.reshape(-1)):
                values[i] = self._follow(place)
                total += len(values[i]) + 8
                if total > self._most:
                    raise Damaged("its texts are more than the file can hold")
            room = tuple(slice(w, w + n) for w, n in zip(where, places.shape, strict=True))
            inside = tuple(slice(0, n - w) for n, w in zip(shape, where, strict=True))
            out[room] = values.reshape(places.shape)[inside]
        flat = out.reshape(-1)
        for i in range(len(flat)):
            flat[i] = self._value(b"") if flat[i] is None else flat[i]  # of blocks that were never written
        return out

    def one(self, number: int) -> np.ndarray | bytes:
        """The element of a row of numbers or texts."""
        if self._item.ndim != 1 or not 0 <= number < self._item.shape[0]:
            raise Damaged(f"it has no element {number}")
        for where, places in self._blocks(number):
            if where[0] <= number < where[0] + len(places):
                return self._follow(places[number - where[0]])
        return self._value(b"")

    def _blocks(self, number: int | None = None) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """`(where it starts, lengths and places)` of each stored block; only that of one element where asked."""
        item = self._item
        if item.chunks is None:
            offset, count = item.id.get_offset(), int(np.prod(item.shape, dtype=float))
            if offset is None:
                if item.id.get_storage_size():
                    raise Damaged("it is stored in its own header: write it as a plain array")
                return
            if number is None:
                yield (0,) * item.ndim, self._places(self._bytes(offset, count * _PLACE.itemsize), item.shape)
            else:
                start = offset + number * _PLACE.itemsize
                yield (number,), self._places(self._bytes(start, _PLACE.itemsize), (1,))
            return
        filters = _filters(item)
        for i in range(item.id.get_num_chunks()):
            info = item.id.get_chunk_info(i)
            where = info.chunk_offset
            if number is not None and not where[0] <= number < where[0] + item.chunks[0]:
                continue
            if any(not 0 <= w < n for w, n in zip(where, item.shape, strict=True)):
                raise Damaged("a block lies outside of it")
            raw = self._bytes(info.byte_offset, info.size)
            size = int(np.prod(item.chunks, dtype=float)) * _PLACE.itemsize
            if size > self._most:
                raise Damaged("its blocks are more than the file can hold")
            for k, (code, more) in reversed(list(enumerate(filters))):
                if not info.filter_mask >> k & 1:
                    raw = _unfiltered(raw, code, more, size)
            yield where, self._places(raw, item.chunks)

    def _places(self, raw: bytes, shape: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(shape, dtype=float))
        if len(raw) < count * _PLACE.itemsize:
            raise Damaged("it is cut off")
        return np.frombuffer(raw, _PLACE, count).reshape(shape)

    def _follow(self, place: Any) -> np.ndarray | bytes:
        """The content of an element. Raises Damaged where its length and that of the heap's object differ."""
        length, heap, number = int(place["length"]), int(place["heap"]), int(place["number"])
        if not length or heap in (0, _NOWHERE):
            return self._value(b"")
        size = length * self._base.itemsize
        if size > self._size:
            raise Damaged("it has a text longer than the file")
        if heap not in self._heaps:
            self._heaps[heap] = self._heap(heap)
        raw = self._heaps[heap].get(number)
        if raw is None or len(raw) != size:
            raise Damaged("a length is not that of the heap")
        return self._value(raw)

    def _value(self, raw: bytes) -> np.ndarray | bytes:
        return raw.split(b"\0")[0] if self._base.kind == "S" else np.frombuffer(raw, self._base)

    def _heap(self, at: int) -> dict[int, bytes]:
        """The objects of a heap by their numbers."""
        head = self._bytes(at, 16)
        size = int.from_bytes(head[8:], "little")
        self._held += size
        if head[:5] != b"GCOL\x01" or size < 16 or self._held > 2 * self._size:  # heaps do not overlap
            raise Damaged("a heap is damaged")
        data, objects, place = self._bytes(at, size), {}, 16
        while place + 16 <= size:
            number, held = _NUMBER.unpack_from(data, place)
            place += 16
            if number == 0:  # the free rest
                break
            if held > size - place:
                raise Damaged("an object of a heap is damaged")
            objects[number] = data[place : place + held]
            place += -(-held // 8) * 8
        return objects

    def _bytes(self, at: int, size: int) -> bytes:
        if not 0 <= at <= self._size or size > self._size - at:
            raise Damaged("it is cut off")
        with open(self._path, "rb") as stream:
            stream.seek(at)
            return stream.read(size)


def _filters(item: Any) -> list[tuple[int, tuple[int, ...]]]:
    """`(code, settings)` of the filters of an array, in the order in which they were used."""
    plan = item.id.get_create_plist()
    found = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    return [(int(f[0]), tuple(int(v) for v in f[2])) for f in found]


def _unfiltered(raw: bytes, code: int, settings: tuple[int, ...], size: int) -> bytes:
    """A block before a filter: 1 deflate, 2 shuffle."""
    if code == 1:
        try:
            return zlib.decompressobj().decompress(raw, size)
        except zlib.error as error:
            raise Damaged("it cannot be unpacked") from error
    if code == 2:
        width = settings[0] if settings else 1
        count = len(raw) // max(width, 1)
        whole = np.frombuffer(raw, "u1", count * width).reshape(width, count).T
        return whole.tobytes() + raw[count * width :]
    raise Damaged(f"it is packed by filter {code}, which is not read: write it with gzip")
