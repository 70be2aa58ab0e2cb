"""How each type of result is written and read: a registry by type, so that a new kind of result is one entry."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jnrsfm.by_type import ByType
from jnrsfm.depth_maps import DepthMaps
from jnrsfm.geometry.mesh.sequence import MeshSequence
from jnrsfm.io.depth.maps import read_depth, write_depth
from jnrsfm.io.meshes import read_meshes, write_mesh_files, write_meshes
from jnrsfm.io.reconstruction import read_reconstruction, write_reconstruction
from jnrsfm.io.trajectory_field import read_field, write_field
from jnrsfm.scenes import TrajectoryField
from jnrsfm.types import Reconstruction, Result

R = TypeVar("R", bound=Result)


@dataclasses.dataclass(frozen=True)
class ResultFile:
    """The file of one type of result: its `name` in a run folder, `write(path, result)` and `read(path)`;
    `beside(folder, result, stem)` writes what a run folder holds besides, for other programs."""

    name: str
    write: Callable[[Any, Any], object]
    read: Callable[[Any], Any]
    beside: Callable[[Path, Any, str], object] | None = None

    @property
    def extension(self) -> str:
        """The extension of its name, with the dot."""
        return Path(self.name).suffix


RESULTS: ByType[ResultFile] = ByType("file format")
"""The file of each type of result."""
RESULTS.register(Reconstruction, ResultFile("reconstruction.npz", write_reconstruction, read_reconstruction))
RESULTS.register(MeshSequence, ResultFile("meshes.npz", write_meshes, read_meshes, write_mesh_files))
RESULTS.register(TrajectoryField, ResultFile("field.npz", write_field, read_field))
RESULTS.register(DepthMaps, ResultFile("depth.npz", write_depth, read_depth))


def write_result(path, result: Result) -> Path:
    """Write a result in the format of its type, whole or not at all; returns the path.

    Raises InputError where it cannot be written, holds values that are not finite, or its type has no format.
    """
    path = Path(path).expanduser()
    RESULTS[type(result)].write(path, result)
    return path


def write_beside(folder, result: Result, stem: str | None = None) -> None:
    """Write what a run folder holds of a result besides its file, for other programs; nothing for most types. `stem`:
    how these files are called, else as in a run folder."""
    beside = RESULTS[type(result)].beside
    if beside is not None:
        beside(Path(folder), result, stem or Path(RESULTS[type(result)].name).stem)


def read_result(path, kind: type[R] = Reconstruction) -> R:  # type: ignore[assignment]
    """Read a result of a type as `write_result` wrote it. Raises InputError naming file and key."""
    return RESULTS[kind].read(path)
