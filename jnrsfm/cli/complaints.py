"""What the parser could not take, in one line: wrong, missing or unknown arguments, with the nearest match.

tyro tells a hook what was wrong as typed events before it would print them. The hook is no stable interface, so it is
used here alone and carefully: where it is gone, or says something new, the line is general and still one.
"""

import contextlib
import dataclasses
import difflib
import io
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tyro.conf import Positional

from jnrsfm.errors import InputError


@contextlib.contextmanager
def in_one_line(argv: Sequence[str], verb: type) -> Iterator[None]:
    """While inside, what the parser refuses is raised as InputError with one line, and nothing is printed.

    `argv` is the command line (its first word the verb's name), `verb` the dataclass of its arguments.
    """
    help_of = "(jnrsfm --help)" if argv[0].startswith("-") else f"(jnrsfm {argv[0]} --help)"

    def hook(event: Any) -> None:
        said = _said(event, argv, option_names(verb))
        raise InputError(f"{said or 'the command line was not understood'} {help_of}")

    errors = _hooks()
    try:
        told = errors.on_parse_error(hook) if errors else contextlib.nullcontext()
        with contextlib.redirect_stderr(io.StringIO()), told:
            yield
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(f"the command line was not understood {help_of}") from None


def unknown_verb(name: str, verbs: Iterable[str]) -> InputError:
    """The error of a first word that is no verb."""
    return InputError(
        f"unknown verb {name!r}{_near(name, verbs)}: verbs are {', '.join(verbs)} (jnrsfm --help)"
    )


def option_names(cls: type, lead: str = "") -> list[str]:
    """Names of the options of a dataclass as they are typed, those of nested dataclasses led by the field's name."""
    names = []
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        marks: list[Any] = []
        if typing.get_origin(hint) is typing.Annotated:
            hint, *marks = typing.get_args(hint)
        if Positional in marks:
            continue
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            # the method's settings stand among the verb's own options
            names += option_names(hint, "" if field.name == "settings" else f"{lead}{field.name}.")
            continue
        name = f"{lead}{field.name}".replace("_", "-")
        names.append(f"--{name}")
        if hint is bool and field.default is True:
            names[-1] = f"--{lead}no-{field.name}".replace("_", "-")
    return names


def _hooks() -> Any:
    """tyro's module of parse errors, or None where this version has none."""
    try:
        from tyro import _errors
    except ImportError:
        return None
    return _errors if hasattr(_errors, "on_parse_error") else None


def _said(event: Any, argv: Sequence[str], options: Sequence[str]) -> str | None:
    """An event in words; None for what is new or has another form than it had."""
    kind = type(event).__name__
    try:
        if kind == "UnrecognizedArgs" or (kind == "MissingArgs" and event.unrecognized_tokens):
            tokens = event.tokens if kind == "UnrecognizedArgs" else event.unrecognized_tokens
            return _unknown(tokens, options)
        if kind == "MissingArgs":
            return (
                f"missing from jnrsfm {argv[0]}: {', '.join(_shown(a.arg) for a in event.missing_arguments)}"
            )
        argument = event.argument
        name = "" if argument is None else argument.display_name()
        if kind == "InvalidChoice":
            near = _near(event.value, event.choices)
            return f"{name} is {event.value!r}{near}: choose from {', '.join(event.choices)}"
        if kind == "BadValue":
            return f"{name} lacks its value: it takes {argument.lowered.metavar}"
        if kind == "InstantiationFailure":
            if argument is None:
                return event.message.splitlines()[0]
            takes = argument.lowered.metavar.replace("{None}|", "")
            return f"{name} is {_value(argv, name)}: it takes {takes}"
    except AttributeError:
        return None
    return None


def _unknown(tokens: Sequence[str], options: Sequence[str]) -> str:
    named = [t.partition("=")[0] for t in tokens if t.startswith("-")]
    # An option that there is comes along where an argument before it was one too many.
    named = [n for n in named if n.replace("_", "-") not in options]
    if not named:
        return f"one argument too many: {next((t for t in tokens if not t.startswith('-')), tokens[0])!r}"
    if len(named[0]) == 2:  # there are no short options
        long = " or ".join([n for n in options if n.startswith(f"-{named[0]}")][:4])
        return f"unknown option {named[0]}" + (f": did you mean {long}?" if long else "")
    return f"unknown option {named[0]}{_near(named[0].replace('_', '-'), options)}"


def _shown(argument: Any) -> str:
    name, metavar = argument.display_name(), argument.lowered.metavar
    return metavar if argument.is_positional() else f"{name} {metavar}"


def _value(argv: Sequence[str], name: str) -> str:
    """What was typed for an option."""
    for i, token in enumerate(argv):
        if token == name:
            given = []
            for value in argv[i + 1 :]:
                if value.startswith("--"):
                    break
                given.append(value)
            return repr(" ".join(given))
        if token.startswith(f"{name}="):
            return repr(token.partition("=")[2])
    return "of another kind"


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": did you mean {found[0]}?" if found else ""
