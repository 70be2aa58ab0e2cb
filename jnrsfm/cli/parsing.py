"""From a command line to a verb: the parser is built from the dataclasses, and complains in one line."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from tyro.conf import arg, subcommand

from jnrsfm.cli import verbs
from jnrsfm.cli.complaints import in_one_line, unknown_verb
from jnrsfm.cli.finding import FIRST_STEPS
from jnrsfm.cli.verbs import VERBS, Fit, Verb, method_info
from jnrsfm.errors import InputError


def parse(argv: Sequence[str]) -> Verb:
    """The verb of a command line, ready to run.

    Raises InputError with one line for an unknown verb or option, a missing one or a bad value; prints help
    and raises SystemExit(0) for `--help`.
    """
    if not argv:
        print(FIRST_STEPS)
        raise SystemExit(0)
    if list(argv) == ["--version"]:
        import jnrsfm

        print(f"jnrsfm {jnrsfm.__version__}")
        raise SystemExit(0)
    classes = dict(VERBS)
    if argv[0] == "fit":
        classes["fit"] = _fit_with_settings(argv[1:])
    elif argv[0] not in VERBS and not argv[0].startswith("-"):
        raise unknown_verb(argv[0], VERBS)
    commands = Union[  # noqa: UP007  (built from a list)
        tuple(Annotated[cls, subcommand(name, description=cls.__doc__)] for name, cls in classes.items())
    ]
    with in_one_line(argv, classes.get(argv[0], Verb)):
        verb: Verb = tyro.cli(  # type: ignore[call-overload]
            commands,
            args=list(argv),
            prog="jnrsfm",
            description="2D landmarks of a deforming object in, 3D shapes and cameras out, no 3D labels.",
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    # Files may be several, and must be one at least.
    for field in dataclasses.fields(verb):
        if field.name in ("input", "file") and getattr(verb, field.name) == ():
            raise InputError(f"missing from jnrsfm {argv[0]}: FILE (jnrsfm {argv[0]} --help)")
    return verb


def _fit_with_settings(argv: Sequence[str]) -> type[Fit]:
    """`Fit` with the options of the method that the command line names, starting from its `--config`.

    Where no method is named, that of the run whose `--config` it is. A setting that `fit` takes itself (the camera, the
    seed) is fixed here, so that it is not offered twice.
    """
    config = _option(argv, "--config")
    method = _option(argv, "--method") or _method_of(config) or verbs.DEFAULT_METHOD
    cls = method_info(method).config
    default = cls() if config is None else _read_config(Path(config), method, cls())
    taken = {f.name for f in dataclasses.fields(Fit)}
    fixed = [
        (
            f.name,
            Annotated[Any, tyro.conf.Fixed, tyro.conf.Suppress, arg(name=f"fixed.{f.name}")],
            dataclasses.field(default=getattr(default, f.name)),
        )
        for f in dataclasses.fields(cls)
        if f.name in taken
    ]
    offered = dataclasses.make_dataclass(cls.__name__, fixed, bases=(cls,), frozen=True)
    values = {f.name: getattr(default, f.name) for f in dataclasses.fields(cls)}
    option = dataclasses.field(default=offered(**values), kw_only=True)
    fields = [
        ("method", str, dataclasses.field(default=method)),
        ("settings", Annotated[offered, arg(name="")], option),
    ]
    made = dataclasses.make_dataclass("Fit", fields, bases=(Fit,), frozen=True)
    made.__doc__ = Fit.__doc__
    return made


def _method_of(config: str | None) -> str | None:
    """The method that a run's `config.yaml` names; None for another file, or one that cannot be read."""
    from jnrsfm.config import read_yaml

    if config is None:
        return None
    try:
        named = read_yaml(Path(config)).get("method")
    except InputError:
        return None  # said when it is read for its settings
    return named if isinstance(named, str) else None


def _read_config(path: Path, method: str, default: Any) -> Any:
    """`default` with the settings of a YAML file, or those of a run whose `config.yaml` it is.

    Raises InputError, also where the run was another method's.
    """
    from jnrsfm.config import from_plain, read_yaml

    plain = read_yaml(path)
    if "method" in plain and isinstance(plain.get("config"), dict):
        if plain["method"] != method:
            raise InputError(f"{path}: is of method {plain['method']}: say --method {plain['method']}")
        plain = plain["config"]
    return from_plain(plain, default, str(path))


def _option(argv: Sequence[str], name: str) -> str | None:
    """The value of an option, looked up before the parser is built."""
    for i, token in enumerate(argv):
        if token == name and i + 1 < len(argv):
            return argv[i + 1]
        if token.startswith(f"{name}="):
            return token.partition("=")[2]
    return None
