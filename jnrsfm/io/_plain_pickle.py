"""Pickled lists, tuples, texts, numbers and NumPy arrays as values, without running anything that a pickle names.

`pickle.load` calls whatever a file says. This reads the opcodes (`pickletools`) and builds plain containers and arrays
of numbers itself; any other object is refused. PyTables keeps the column names of a pandas table as such a text, and
VideoPose3D keeps dictionaries in its npz.
"""

import pickletools
from typing import Any

import numpy as np

_MOST_OPCODES = 5_000_000
_MARK = object()


class Refused(ValueError):
    """The pickle holds something else than plain values and arrays of numbers."""


class _Named:
    """A function or class that the pickle names: only recognised, never called."""

    def __init__(self, module: str, name: str):
        self.full = f"{module}.{name}"


class _Made:
    """What a recognised call would make: an array or a data type under construction."""

    def __init__(self, kind: str, value: Any = None):
        self.kind, self.value = kind, value


_RECONSTRUCT = {f"{m}._reconstruct" for m in ("numpy.core.multiarray", "numpy._core.multiarray")}
_SCALAR = {f"{m}.scalar" for m in ("numpy.core.multiarray", "numpy._core.multiarray")}
_FROM_BUFFER = {f"{m}._frombuffer" for m in ("numpy.core.numeric", "numpy._core.numeric")}


def loads(data: bytes) -> Any:
    """The value. Raises Refused, one line, for anything that is not plain."""
    try:
        return _run(data)
    except Refused:
        raise
    # Damaged opcodes raise nearly anything from the decoder.
    except Exception as error:
        raise Refused(f"the pickle is damaged ({type(error).__name__})") from error


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def to_mark() -> list[Any]:
        at = max(i for i, v in enumerate(stack) if v is _MARK)
        items = stack[at + 1 :]
        del stack[at:]
        return items

    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count > _MOST_OPCODES:
            raise Refused("the pickle is too long")
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return _plain(stack[-1])
        if name == "MARK":
            stack.append(_MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(str(argument))] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(str(argument))])
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            to_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in _LITERALS:
            stack.append(_LITERALS[name])
        elif name in _VALUES:
            stack.append(argument)
        elif name in ("EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT"):
            stack.append({"EMPTY_LIST": [], "EMPTY_TUPLE": (), "EMPTY_DICT": {}}[name])
        elif name == "LIST":
            stack.append(list(to_mark()))
        elif name == "TUPLE":
            stack.append(tuple(to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            last = tuple(stack[-n:])
            del stack[-n:]
            stack.append(last)
        elif name == "DICT":
            items = to_mark()
            stack.append(dict(zip(items[::2], items[1::2], strict=True)))
        elif name == "APPEND":
            value = stack.pop()
            _list(stack[-1]).append(value)
        elif name == "APPENDS":
            items = to_mark()
            _list(stack[-1]).extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _dict(stack[-1])[key] = value
        elif name == "SETITEMS":
            items = to_mark()
            _dict(stack[-1]).update(zip(items[::2], items[1::2], strict=True))
        elif name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            stack.append(_Named(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_Named(str(module), str(attribute)))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_called(function, arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1] = _built(stack[-1], state)
            # The memo may hold the unfinished one: it is the same object (`_Made`), finished in place.
        else:
            raise Refused(f"the pickle uses {name}, which plain values do not need")
    raise Refused("the pickle has no end")


_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Refused("the pickle appends to what is no list")
    return value


def _dict(value: Any) -> dict[Any, Any]:
    if isinstance(value, _Made) and value.kind == "dict":
        return value.value
    if not isinstance(value, dict):
        raise Refused("the pickle sets a key of what is no dictionary")
    return value


def _called(function: Any, arguments: Any) -> Any:
    """The array or data type that a recognised call makes. Everything else is refused, unnamed calls too."""
    full = function.full if isinstance(function, _Named) else "something"
    if full in _RECONSTRUCT:
        return _Made("array")
    if full == "numpy.dtype":
        return _Made("dtype", np.dtype(_dtype_text(arguments[0])))
    if full == "collections.OrderedDict" and arguments == ():
        return {}
    if full == "collections.defaultdict":
        return {}
    if full == "_codecs.encode" and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
        return str(arguments[0]).encode("latin-1")
    if full in ("__builtin__.bytes", "builtins.bytes") and arguments == ():
        return b""
    if full in _SCALAR:
        dtype = arguments[0]
        if not isinstance(dtype, _Made) or dtype.kind != "dtype":
            raise Refused("the pickle is damaged")
        return np.frombuffer(_bytes(arguments[1]), dtype.value)[0].item()
    if full in _FROM_BUFFER:
        buffer, dtype, shape, order = arguments
        if not isinstance(dtype, _Made) or dtype.value.hasobject:
            raise Refused("the pickle is damaged")
        made = _Made("array")
        made.value = np.frombuffer(_bytes(buffer), dtype.value).reshape(shape, order=order)
        return made
    raise Refused(
        f"the pickle names {full}: only plain values and arrays of numbers are read, nothing is unpickled"
    )


def _dtype_text(text: Any) -> str:
    text = text.decode("ascii") if isinstance(text, bytes) else str(text)
    if text.lstrip("<>=|")[:1] not in "biufSUcO?" or len(text) > 12:
        raise Refused(f"the pickle has the data type {text[:20]!r}")
    return text


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes | bytearray):
        raise Refused("the pickle has an array without its bytes")
    return bytes(value)


def _built(target: Any, state: Any) -> Any:
    """An array or data type with its state."""
    if not isinstance(target, _Made) or not isinstance(state, tuple):
        raise Refused("the pickle sets the state of what is no array")
    if target.kind == "dtype":
        order = state[1]
        order = order.decode("ascii") if isinstance(order, bytes) else str(order)
        if order in "<>":
            target.value = target.value.newbyteorder(order)  # type: ignore[arg-type]
        return target
    _, shape, dtype, fortran, content = state
    if not isinstance(dtype, _Made) or dtype.kind != "dtype" or not isinstance(shape, tuple):
        raise Refused("the pickle has an array without shape or data type")
    if dtype.value.hasobject:
        if not isinstance(content, list) or len(content) != int(np.prod(shape)):
            raise Refused("the pickle has an array of objects that does not fit its shape")
        target.kind, target.value = "objects", (shape, content)
        return target
    target.value = np.frombuffer(_bytes(content), dtype.value).reshape(shape, order="F" if fortran else "C")
    return target


def _plain(value: Any, depth: int = 0) -> Any:
    """The value with its arrays in place, an array of one object as that object."""
    if depth > 50:
        raise Refused("the pickle is nested too deeply")
    if isinstance(value, _Made):
        if value.kind == "objects":
            shape, content = value.value
            items = [_plain(v, depth + 1) for v in content]
            return items[0] if shape == () else items
        if value.kind == "dtype" or value.value is None:
            raise Refused("the pickle holds a bare data type")
        return value.value
    if isinstance(value, _Named):
        raise Refused(f"the pickle names {value.full}: nothing is unpickled")
    if isinstance(value, list):
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, tuple):
        return tuple(_plain(v, depth + 1) for v in value)
    if isinstance(value, dict):
        return {_plain(k, depth + 1): _plain(v, depth + 1) for k, v in value.items()}
    return value
