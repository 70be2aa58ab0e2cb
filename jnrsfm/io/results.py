"""How each type of result is written and read: a registry by type, so that a new kind of result is one entry."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jnrsfm.io.reconstruction import read_reconstruction, write_reconstruction
from jnrsfm.types import ByType, Reconstruction, Result

R = TypeVar("R", bound=Result)


@dataclasses.dataclass(frozen=True)
class ResultFile:
    """The file of one type of result: its `name` in a run folder, `write(path, result)` and `read(path)`."""

    name: str
    write: Callable[[Any, Any], object]
    read: Callable[[Any], Any]

    @property
    def extension(self) -> str:
        """The extension of its name, with the dot."""
        return Path(self.name).suffix


RESULTS: ByType[ResultFile] = ByType("file format")
"""The file of each type of result."""
RESULTS.register(Reconstruction, ResultFile("reconstruction.npz", write_reconstruction, read_reconstruction))


def write_result(path, result: Result) -> Path:
    """Write a result in the format of its type, whole or not at all; returns the path.

    Raises InputError where it cannot be written, holds values that are not finite, or its type has no format.
    """
    path = Path(path).expanduser()
    RESULTS[type(result)].write(path, result)
    return path


def read_result(path, kind: type[R] = Reconstruction) -> R:  # type: ignore[assignment]
    """Read a result of a type as `write_result` wrote it. Raises InputError naming file and key."""
    return RESULTS[kind].read(path)
