"""`depth.npz`: `DepthMaps`, key by key."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.depth_maps import FREEDOM, DepthMaps
from jnrsfm.errors import InputError
from jnrsfm.io import _archive
from jnrsfm.runs import write_arrays

ARRAYS = ("inverse_depth", "frames", "flow", "number", "disparity", "valid", "metres", "deviation")
KINDS: dict[str, Any] = {"frames": np.uint8, "number": np.int64, "valid": np.bool_}


def depth_arrays(maps: DepthMaps) -> dict[str, np.ndarray]:
    """The arrays of a file: those of `ARRAYS` that are there, `gauge` (what is free), `fps`. Depth is 1 / inverse_depth
    in the unit of the gauge."""
    found = {name: np.asarray(getattr(maps, name)) for name in ARRAYS if getattr(maps, name) is not None}
    found["gauge"] = np.array(maps.gauge)
    return found if maps.fps is None else found | {"fps": np.array(maps.fps)}


def write_depth(path, maps: DepthMaps) -> None:
    """Write depth maps as npz. Raises InputError where inverse depths are not positive and finite."""
    q = np.asarray(maps.inverse_depth)
    bad = ~(np.isfinite(q) & (q > 0)).all((1, 2))
    if bad.any():
        raise InputError(f"{path}: not written, frame {int(np.argmax(bad))}: inverse depth is not positive")
    write_arrays(path, depth_arrays(maps))


def read_depth(path) -> DepthMaps:
    """Read what `write_depth` wrote. Raises InputError for what is no such file."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: no such file: depth maps are written by jnrsfm fit and lift")
    _archive.check_sizes(path)
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            a = {name: np.asarray(file[name], KINDS.get(name, np.float32)) for name in ARRAYS if name in file}
            gauge = str(file["gauge"]) if "gauge" in file else FREEDOM
            fps = float(file["fps"]) if "fps" in file else None
        shape = a["inverse_depth"].shape
        more = {"frames": (3,), "flow": (2,)}
        for name, value in a.items():
            if value.shape != (shape[:1] if name == "number" else shape + more.get(name, ())):
                raise ValueError(f"{name} has the shape {value.shape}")
        if len(shape) != 3 or not {"frames", "flow"} <= a.keys():
            raise ValueError("frames or flow are absent")
        return DepthMaps(**a, gauge=gauge, fps=fps)
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: holds no depth maps ({error}): write them again") from error
