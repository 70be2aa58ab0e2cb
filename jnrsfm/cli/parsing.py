"""From a command line to a verb: the parser is built from the dataclasses, and complains in one line."""

import contextlib
import dataclasses
import io as streams
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from tyro.conf import arg, subcommand

from jnrsfm.cli import verbs
from jnrsfm.cli.verbs import VERBS, Fit, Verb, method_info
from jnrsfm.errors import InputError


def parse(argv: Sequence[str]) -> Verb:
    """The verb of a command line, ready to run.

    Raises InputError with one line for an unknown verb or option, a missing one or a bad value; prints help
    and raises SystemExit(0) for `--help`.
    """
    if not argv:
        argv = ["--help"]
    if list(argv) == ["--version"]:
        print(f"jnrsfm {_version()}")
        raise SystemExit(0)
    classes = dict(VERBS)
    if argv[0] == "fit":
        classes["fit"] = _fit_with_settings(argv[1:])
    commands = Union[  # noqa: UP007  (built from a list)
        tuple(Annotated[cls, subcommand(name, description=cls.__doc__)] for name, cls in classes.items())
    ]
    complaint = streams.StringIO()
    wanted_help = any(a in ("-h", "--help", "-H", "--help-verbose") for a in argv)
    try:
        with _wide_terminal(not wanted_help), contextlib.redirect_stderr(complaint):
            return tyro.cli(  # type: ignore[call-overload]
                commands,
                args=list(argv),
                prog="jnrsfm",
                description="2D landmarks of a deforming object in, 3D shapes and cameras out, no 3D labels.",
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(one_line(complaint.getvalue(), argv[0] if argv[0] in VERBS else "")) from None


def one_line(box: str, verb: str = "") -> str:
    """The sense of the parser's error box in one line, with its nearest match and where to get help."""
    lines = [line.strip("│").rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    if "╭" not in box and len(lines) > 1:  # no box where the terminal is ASCII: a title and a rule
        lines = lines[2:]
    lines = [line for line in lines if line.strip() and line[0] not in "╭╰"]
    deep = 8 + min((len(line) - len(line.lstrip()) for line in lines), default=0)
    parts: list[list[str]] = [[]]
    for line in lines:
        if set(line.strip()) <= set("─-"):
            parts.append([])
        elif not line.startswith(" " * deep):  # deeper lines repeat the help texts
            parts[-1].append(line.strip())
    message = " ".join(parts[0])
    for part in parts[1:]:
        if part[:1] == ["Perhaps you meant:"] and len(part) > 1:
            message += f": did you mean {part[1].split()[0]}?"
        elif part and part[0].startswith("Available subcommands"):
            message += f": verbs are {part[0].partition(': ')[2]}"
    for theirs, ours in (
        ("Unrecognized options", "unknown option"),
        ("Error parsing ", ""),
        ("Missing from", "missing from"),
    ):
        message = message.replace(theirs, ours)
    return f"{message or 'the command line was not understood'} (jnrsfm {f'{verb} ' if verb else ''}--help)"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jnrsfm")
    except PackageNotFoundError:
        return "(run from its sources, not installed)"


def _fit_with_settings(argv: Sequence[str]) -> type[Fit]:
    """`Fit` with the options of the method that the command line names, starting from its `--config`.

    A setting that `fit` takes itself (the camera, the seed) is fixed here, so that it is not offered twice.
    """
    method, config = _option(argv, "--method") or verbs.DEFAULT_METHOD, _option(argv, "--config")
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
    made = dataclasses.make_dataclass(
        "Fit", [("settings", Annotated[offered, arg(name="")], option)], bases=(Fit,), frozen=True
    )
    made.__doc__ = Fit.__doc__
    return made


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


@contextlib.contextmanager
def _wide_terminal(wide: bool) -> Iterator[None]:
    """Keep the parser from breaking the lines of its error box, which become one line here."""
    before = os.environ.get("COLUMNS")
    try:
        if wide:
            os.environ["COLUMNS"] = "2000"
        yield
    finally:
        if before is not None:
            os.environ["COLUMNS"] = before
        elif wide:
            del os.environ["COLUMNS"]
