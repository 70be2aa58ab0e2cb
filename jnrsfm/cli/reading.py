"""What verbs have in common, and what those that read landmarks take."""

import abc
import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from jnrsfm.cli.answers import Answer
from jnrsfm.errors import InputError


@dataclasses.dataclass(frozen=True)
class Verb(abc.ABC):
    """What all verbs take."""

    json: bool = dataclasses.field(default=False, kw_only=True)
    """Print one JSON object on stdout and nothing else there."""
    debug: bool = dataclasses.field(default=False, kw_only=True)
    """Show the traceback of an error."""

    @abc.abstractmethod
    def run(self) -> Answer:
        """Do it. Raises InputError for what the user can mend."""

    def resume_hint(self) -> str:
        """How to go on after an interrupt; empty where there is nothing to go on with."""
        return ""


@dataclasses.dataclass(frozen=True)
class Reader(Verb):
    """What the verbs take that read landmarks."""

    format: Annotated[str | None, arg(metavar="NAME")] = dataclasses.field(default=None, kw_only=True)
    """Format of the input file; unset goes by its extension and content."""
    option: Annotated[tuple[str, ...], arg(metavar="KEY=VALUE ...")] = dataclasses.field(
        default=(), kw_only=True
    )
    """Options of the input's format, such as rows=blocked for a MATLAB file."""
    individual: Annotated[str | None, arg(metavar="NAME|all")] = dataclasses.field(default=None, kw_only=True)
    """Which animal or person of a pose tool's file; all makes a clip of each. Unset takes the one seen most."""
    points: Annotated[str | None, arg(metavar="A,B,...")] = dataclasses.field(default=None, kw_only=True)
    """Points to keep, in this order, by name or number from 0."""
    rename: Annotated[Path | None, arg(metavar="MAP.yaml")] = dataclasses.field(default=None, kw_only=True)
    """New names of points, lines of 'old: new'."""
    min_confidence: Annotated[float | None, arg(metavar="C")] = dataclasses.field(default=None, kw_only=True)
    """Points less sure than this are missing; unset takes the tool's own threshold and says so."""
    skeleton: Annotated[str | None, arg(metavar="NAME|FILE.yaml")] = dataclasses.field(
        default=None, kw_only=True
    )
    """Skeleton: one of the library (docs/files.md), a YAML file with edges, or DeepLabCut's config.yaml."""
    fps: Annotated[float | None, arg(metavar="FPS")] = dataclasses.field(default=None, kw_only=True)
    """Frames per second, where the file does not say."""
    image_size: Annotated[tuple[float, float] | None, arg(metavar="W H")] = dataclasses.field(
        default=None, kw_only=True
    )
    """Width and height of the image; coordinates from 0 to 1 are multiplied by them."""
    missing: Annotated[Literal["nan", "zeros", "minus-one"], arg(metavar="nan|zeros|minus-one")] = (
        dataclasses.field(default="nan", kw_only=True)
    )
    """What stands for a missing point: NaN, exactly (0, 0), or a coordinate -1."""
    y: Annotated[Literal["down", "up"], arg(metavar="down|up")] = dataclasses.field(
        default="down", kw_only=True
    )
    """Which way y points in the file; up is turned around."""

    @property
    def reading(self) -> dict[str, Any]:
        """Keyword arguments for the readers of `jnrsfm.io`. Raises InputError for what is no KEY=VALUE."""
        names = ("individual", "points", "rename", "min_confidence", "skeleton", "fps", "image_size")
        options: dict[str, Any] = {n: v for n in names if (v := getattr(self, n)) is not None}
        options |= {} if self.missing == "nan" else {"missing": self.missing}
        options |= {} if self.y == "down" else {"y": self.y}
        for text in self.option:
            key, equals, value = text.partition("=")
            if not (key.isidentifier() and equals):
                raise InputError(f"--option {text!r}: expected KEY=VALUE, such as rows=blocked")
            options[key] = _scalar(value)
        return {"format": self.format, **options}


def read_said(paths: Any, options: dict[str, Any], quiet: bool = False) -> Any:
    """Landmarks of the files, with what was settled said on stderr, a line each; what looks wrong always."""
    from jnrsfm import io

    found = io.read(list(paths), **options)
    for line in found.notes if not quiet else ():
        print(f"jnrsfm: {line}", file=sys.stderr)
    for line in found.remarks:
        print(f"jnrsfm: warning: {found.files[0]}: {line}", file=sys.stderr)
    return found.landmarks


def _scalar(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
