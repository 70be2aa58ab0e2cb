"""Settings on disk: frozen config dataclasses to YAML and back, with no room for a typo.

A config is plain: numbers, strings, booleans, None, literals, tuples of these, and nested config dataclasses.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from jnrsfm.errors import InputError

Config = TypeVar("Config")

DEFAULT_METHOD = "auto"  # where nobody names one


def to_plain(config: Any) -> Any:
    """A config as YAML and JSON hold it: dataclasses as mappings, tuples as lists."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_plain(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}
    if isinstance(config, Mapping):
        return {key: to_plain(value) for key, value in config.items()}
    if isinstance(config, tuple | list):
        return [to_plain(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def to_yaml(config: Any) -> str:
    """A config as YAML, keys in the order of the fields."""
    return yaml.safe_dump(to_plain(config), sort_keys=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises InputError where the file is missing, not YAML (with the line), or not a mapping.
    """
    path = Path(path).expanduser()
    try:
        plain = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file: give a YAML file of settings") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{path}{line}: not YAML ({getattr(error, 'problem', None) or 'bad text'})"
        ) from error
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise InputError(f"{path}: holds a {type(plain).__name__}: settings are lines of 'name: value'")
    return plain


def from_plain(plain: Mapping[str, Any], default: Config, where: str) -> Config:
    """`default` with the settings that a mapping names.

    Raises InputError, led by `where`, for a name that the config does not have (with the nearest one) and
    for a value of the wrong type.
    """
    hints = typing.get_type_hints(type(default))
    fields = {f.name: getattr(default, f.name) for f in dataclasses.fields(default) if f.init}  # type: ignore[arg-type]
    changes = {}
    for name, value in plain.items():
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"settings are {', '.join(fields)}"
            raise InputError(f"{where}: no setting {name!r}: {hint}")
        nested = dataclasses.is_dataclass(fields[name])
        if nested and isinstance(value, Mapping):
            changes[name] = from_plain(value, fields[name], f"{where}: {name}")
            continue
        try:
            changes[name] = _typed(value, hints[name])
        except TypeError:
            kind = getattr(hints[name], "__name__", None) if isinstance(hints[name], type) else hints[name]
            text = str(kind).replace("typing.", "")
            raise InputError(f"{where}: setting {name!r} is {value!r}: it must be {text}") from None
    try:
        return dataclasses.replace(default, **changes)  # type: ignore[type-var]
    except InputError:
        raise
    except ValueError as error:  # the config's own checks
        raise InputError(f"{where}: {error}") from error


def _typed(value: Any, hint: Any) -> Any:
    """`value` as the type hint wants it, lists as tuples and integers as floats. Raises TypeError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _typed(value, args[0])
    if hint is Any:
        return value
    if origin is typing.Literal:
        if value in args:
            return value
    elif origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return _typed(value, option)
            except TypeError:
                continue
    elif origin is tuple and isinstance(value, list | tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_typed(v, args[0]) for v in value)
        if len(args) == len(value):
            return tuple(_typed(v, a) for v, a in zip(value, args, strict=True))
    elif hint in (None, type(None)):
        if value is None:
            return None
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3, which has no dot, as a string.
        try:
            return float(value)
        except ValueError:
            raise TypeError(value) from None
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise TypeError(value)
