"""MATLAB files of versions 4 to 7.2, read within bounds: every size that a file declares is held against its bytes.

Written because a library's reader can die of a signal on damaged files. A variable is read when it is wanted; numbers,
logicals, text, cells and sparse matrices come back, other classes as `Other`.

Source: MAT-File Format, MathWorks (level 4 and level 5).
"""

import dataclasses
import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError

_MATRIX, _COMPRESSED = 14, 15
_CELL, _CHAR, _SPARSE = 1, 4, 5
_STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1", 17: "u2",
    18: "u4",
}  # fmt: skip
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_NAMES = {2: "struct", 3: "object", 16: "function", 17: "object"}
_LEVEL4 = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
_MOST_DENSE = 50_000_000
_MOST_BYTES = 8_000_000_000
_DEEPEST = 8


class Damaged(ValueError):
    """The file does not hold what it declares."""


@dataclasses.dataclass(frozen=True)
class Other:
    """A variable of a class that is not read, by its name."""

    kind: str


def load(path: Path, names: Sequence[str]) -> tuple[dict[str, np.ndarray | Other], list[str]]:
    """The variables called `names`, and the names of all. Raises InputError for a file that is not sound."""
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise InputError(f"{path}: is over 8 GB: save fewer variables")
    data = path.read_bytes()
    try:
        found: dict[str, np.ndarray | Other] = {}
        present = []
        for name, read in _level4(data) if _is_level4(data) else _level5(data):
            present.append(name)
            if name in names:
                found[name] = read()
        return found, present
    except (Damaged, zlib.error, ValueError, OverflowError, IndexError) as error:
        raise InputError(
            f"{path}: cannot be read as a MATLAB file ({str(error)[:100]}): write or copy it again"
        ) from error


def _is_level4(data: bytes) -> bool:
    """Level 5 starts with text, which has no zero byte."""
    return len(data) >= 20 and 0 in data[:4]


def _level5(data: bytes) -> Iterator:
    """`(name, read)` of each variable."""
    if len(data) < 128:
        raise Damaged("it is shorter than a header")
    mark = data[126:128]
    if mark not in (b"IM", b"MI"):
        raise Damaged("its header has no byte order")
    order = "<" if mark == b"IM" else ">"
    at = 128
    while at + 8 <= len(data):
        kind, length, start, following = _tag(data, at, order)
        body = data[start : start + length]
        if len(body) < length:
            raise Damaged("it is truncated")
        if kind == _COMPRESSED:
            following = start + length  # not padded
            inner = zlib.decompressobj()
            head = inner.decompress(body, 8)
            if len(head) < 8:
                raise Damaged("a variable is empty")
            kind, size, _, _ = _tag(head, 0, order)
            if size > 1100 * len(body) + 4096:
                raise Damaged(f"a variable declares {size} bytes in {len(body)}")
            body = inner.decompress(inner.unconsumed_tail, size) if size else b""
        if kind == _MATRIX and body:
            name, read = _matrix(body, order, 0)
            if name:
                yield name, read
        at = following


def _tag(data: bytes, at: int, order: str) -> tuple[int, int, int, int]:
    """Type, length, start and the place after an element; small elements hold both in four bytes."""
    if at + 8 > len(data):
        raise Damaged("an element is cut off")
    kind, length = (int(v) for v in np.frombuffer(data, f"{order}u4", 2, at))
    if kind >> 16:
        kind, length = kind & 0xFFFF, kind >> 16
        if length > 4:
            raise Damaged("a small element is too long")
        return kind, length, at + 4, at + 8
    return kind, length, at + 8, at + 8 + -(-length // 8) * 8


def _element(data: bytes, at: int, order: str) -> tuple[np.ndarray, int, int]:
    """The numbers of an element, its type, and the place after it."""
    kind, length, start, following = _tag(data, at, order)
    if kind not in _STORED:
        raise Damaged(f"an element has the unknown type {kind}")
    dtype = np.dtype(f"{order}{_STORED[kind]}")
    if start + length > len(data) or length % dtype.itemsize:
        raise Damaged("an element is cut off")
    return np.frombuffer(data, dtype, length // dtype.itemsize, start), kind, following


def _matrix(data: bytes, order: str, depth: int):
    """Name of a matrix and the function that reads it."""
    if depth > _DEEPEST:
        raise Damaged("cells are nested too deeply")
    flags, _, at = _element(data, 0, order)
    if not len(flags):
        raise Damaged("a variable has no class")
    word = int(flags[0])
    kind, complex_, logical = word & 0xFF, bool(word & 0x0800), bool(word & 0x0200)
    if kind == 17:  # opaque: no dimensions follow
        text, _, _ = _element(data, at, order)
        return text.tobytes().decode("latin-1"), lambda: Other("object")
    dims, _, at = _element(data, at, order)
    letters, _, at = _element(data, at, order)
    name = letters.tobytes().decode("latin-1")
    shape = tuple(int(n) for n in dims)
    if len(shape) < 2 or len(shape) > 16 or min(shape) < 0:
        raise Damaged(f"variable {name[:30]!r} has the dimensions {shape[:16]}")
    if kind in _NAMES:
        return name, lambda: Other(_NAMES[kind])
    if kind == _CELL:
        return name, lambda: _cell(data, at, order, shape, depth)
    if kind == _SPARSE:
        return name, lambda: _sparse(data, at, order, shape)
    if kind == _CHAR:
        return name, lambda: _chars(data, at, order, shape)
    if kind not in _CLASSES:
        return name, lambda: Other(f"class {kind}")
    return name, lambda: _numbers(data, at, order, shape, "b1" if logical else _CLASSES[kind], complex_)


def _numbers(
    data: bytes, at: int, order: str, shape: tuple[int, ...], dtype: str, complex_: bool
) -> np.ndarray:
    values, _, at = _element(data, at, order)
    if len(values) != math.prod(shape):
        raise Damaged(f"{len(values)} numbers for the shape {shape}")
    array = values.astype(dtype)
    if complex_:
        imaginary, _, _ = _element(data, at, order)
        if len(imaginary) != len(values):
            raise Damaged("the imaginary part is cut off")
        array = values.astype("f8") + 1j * imaginary.astype("f8")
    return array.reshape(shape, order="F")


def _chars(data: bytes, at: int, order: str, shape: tuple[int, ...]) -> np.ndarray:
    """Rows of text."""
    if 0 in shape:
        return np.zeros(shape[0] if shape[0] else 0, "U1")
    values, kind, _ = _element(data, at, order)
    raw = values.tobytes()
    wide = "utf-16-le" if order == "<" else "utf-16-be"
    if kind in (16, 1, 2):
        text = raw.decode("utf-8", "replace")
    elif kind in (17, 4, 3):
        text = raw.decode(wide, "replace")
    else:
        text = "".join(chr(int(c)) if int(c) < 0xD800 else "?" for c in values)
    rows = shape[0]
    if rows == 1 or len(text) != math.prod(shape):
        return np.array([text])
    width = len(text) // rows
    return np.array(["".join(text[r + rows * c] for c in range(width)) for r in range(rows)])


def _cell(data: bytes, at: int, order: str, shape: tuple[int, ...], depth: int) -> np.ndarray:
    """An object array, by columns as the file has it."""
    count = math.prod(shape)
    if count > len(data) // 8:
        raise Damaged(f"{count} cells in {len(data)} bytes")
    cells = np.empty(count, object)
    for i in range(count):
        kind, length, start, following = _tag(data, at, order)
        if kind != _MATRIX or start + length > len(data):
            raise Damaged("a cell is cut off")
        cells[i] = np.zeros((0, 0))
        if length:
            value = _matrix(data[start : start + length], order, depth + 1)[1]()
            cells[i] = value
        at = following
    return cells.reshape(shape, order="F")


def _sparse(data: bytes, at: int, order: str, shape: tuple[int, ...]) -> np.ndarray:
    """A sparse matrix, dense."""
    rows, at2 = _element(data, at, order)[::2]
    starts, at3 = _element(data, at2, order)[::2]
    values = _element(data, at3, order)[0]
    return _dense(rows.astype(np.int64), starts.astype(np.int64), values.astype(np.float64), shape)


def _dense(rows: np.ndarray, starts: np.ndarray, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) != 2 or math.prod(shape) > _MOST_DENSE:
        raise Damaged(f"a sparse matrix of shape {shape} is too large")
    if len(starts) != shape[1] + 1 or (np.diff(starts) < 0).any() or starts[0] != 0:
        raise Damaged("a sparse matrix does not fit its columns")
    n = int(starts[-1])
    if n > min(len(rows), len(values)) or (n and (rows[:n].min() < 0 or rows[:n].max() >= shape[0])):
        raise Damaged("a sparse matrix names rows that there are not")
    out = np.zeros(shape)
    out[rows[:n], np.repeat(np.arange(shape[1]), np.diff(starts))] = values[:n]
    return out


def _level4(data: bytes) -> Iterator:
    """`(name, read)` of each matrix of a level 4 file."""
    at = 0
    while at + 20 <= len(data):
        order = "<"
        head = np.frombuffer(data, "<i4", 5, at)
        if not 0 <= int(head[0]) < 5000:
            order, head = ">", np.frombuffer(data, ">i4", 5, at)
        kind, rows, columns, imaginary, letters = (int(v) for v in head)
        machine, rest = divmod(kind, 1000)
        precision, form = rest // 10 % 10, rest % 10
        if kind < 0 or machine > 1 or rest // 100 or precision not in _LEVEL4 or form > 2:
            raise Damaged("it is of no known version")
        if min(rows, columns) < 0 or not 0 < letters <= 256 or imaginary not in (0, 1):
            raise Damaged("a variable's header is damaged")
        dtype = np.dtype(f"{order}{_LEVEL4[precision]}")
        start = at + 20 + letters
        length = rows * columns * dtype.itemsize * (1 + imaginary)
        if start + length > len(data):
            raise Damaged("it is truncated")
        name = data[at + 20 : start].split(b"\0")[0].decode("latin-1")
        values = np.frombuffer(data, dtype, rows * columns, start)

        def read(values=values, rows=rows, columns=columns, form=form, imaginary=imaginary):
            matrix = values.reshape((rows, columns), order="F")
            if imaginary:
                return Other("complex matrix")
            if form == 1:
                codes = np.clip(matrix, 0, 0x10FF).astype(int)
                return np.array(["".join(map(chr, row)) for row in codes])
            if form == 2:
                return _triplets(matrix)
            return matrix

        if name:
            yield name, read
        at = start + length


def _triplets(matrix: np.ndarray) -> np.ndarray:
    """A sparse matrix of level 4: rows of (row, column, value) from 1, the last one its size."""
    if matrix.shape[1] != 3 or not len(matrix) or not np.isfinite(matrix).all() or (matrix[:, :2] < 0).any():
        raise Damaged("a sparse matrix is damaged")
    shape = (int(matrix[-1, 0]), int(matrix[-1, 1]))
    if math.prod(shape) > _MOST_DENSE:
        raise Damaged(f"a sparse matrix of shape {shape} is too large")
    rows, columns = matrix[:-1, 0].astype(int) - 1, matrix[:-1, 1].astype(int) - 1
    if len(rows) and (
        min(rows.min(), columns.min()) < 0 or rows.max() >= shape[0] or columns.max() >= shape[1]
    ):
        raise Damaged("a sparse matrix names rows that there are not")
    out = np.zeros(shape)
    out[rows, columns] = matrix[:-1, 2]
    return out
