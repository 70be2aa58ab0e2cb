"""A folder of depth maps of a video of any length: written part by part, gone on with after a stop, read by part.

`depth.json` says what is there; `part_00000.npz` is a `DepthMaps` of `PART` frames, its inverse depth and flow float16.
A part is written whole and then listed: what is not listed is not there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import runs
from jnrsfm.depth_maps import DepthMaps
from jnrsfm.errors import InputError
from jnrsfm.io.depth.maps import depth_arrays, read_depth

INDEX = "depth.json"
PART = 64
HALVES = ("inverse_depth", "flow", "metres", "deviation")


class DepthFolder:
    """Depth maps on their way into a folder. `done`: frames that are stored."""

    def __init__(self, folder: Path, about: dict[str, Any]):
        """Begin, or go on with a folder of the same source and model (`about`). Raises InputError for another's."""
        self.folder = folder
        path = folder / INDEX
        if path.is_file():
            self.index = _index(path)
            if self.index["about"] != about:
                raise InputError(f"{folder}: holds the depth of another video or model: name a new folder")
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists and holds no depth maps: name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        self.index = {"kind": "depth maps", "about": about, "done": 0, "finished": False, "parts": []}
        self._write()

    @property
    def done(self) -> int:
        """Frames that are stored."""
        return self.index["done"]

    def add(self, maps: DepthMaps) -> None:
        """Store a part."""
        name = f"part_{len(self.index['parts']):05d}.npz"
        _write_part(self.folder / name, maps)
        self.index["parts"].append(name)
        self.index["done"] += maps.n_frames
        self._write()

    def replace(self, number: int, maps: DepthMaps) -> None:
        """Write a part again, with more in it."""
        _write_part(self.folder / self.index["parts"][number], maps)

    def finish(self, **said: Any) -> None:
        """All frames are stored; `said` goes into the index."""
        self.index |= {"finished": True, **said}
        self._write()

    def parts(self) -> Iterator[DepthMaps]:
        """Its parts, one at a time."""
        for name in self.index["parts"]:
            yield read_depth(self.folder / name)

    def _write(self) -> None:
        runs.write_json(self.folder / INDEX, self.index)


def _write_part(path: Path, maps: DepthMaps) -> None:
    arrays = depth_arrays(maps)
    half = {name: arrays[name].astype(np.float16) for name in HALVES if name in arrays}
    runs.write_arrays(path, arrays | half)


def _index(path: Path) -> dict[str, Any]:
    found = runs.read_json(path)
    names = found.get("parts") if isinstance(found, dict) else None
    sound = isinstance(names, list) and all(isinstance(n, str) and Path(n).name == n for n in names)
    if not sound or found.get("kind") != "depth maps" or not {"about", "done", "finished"} <= found.keys():
        raise InputError(f"{path}: is no index of depth maps: name another folder")
    return found


def read_depth_folder(folder: str | Path) -> DepthFolder:
    """The finished depth maps of a folder that `jnrsfm lift` wrote. Raises InputError."""
    folder = Path(folder).expanduser()
    path = folder / INDEX
    if not path.is_file():
        raise InputError(f"{folder}: holds no {INDEX}: make it by jnrsfm lift RUN VIDEO --out {folder}")
    index = _index(path)
    if not index["finished"]:
        raise InputError(f"{folder}: its depth is not finished: run jnrsfm lift again, it goes on")
    return DepthFolder(folder, index["about"])
