"""Filmed scenes with camera poses: readers of one format a file, into `jnrsfm.scenes.DynamicScene`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jnrsfm.errors import InputError
from jnrsfm.io.scenes import colmap, dnerf, llff, npz
from jnrsfm.io.scenes.motion import has_flow_library as has_flow_library
from jnrsfm.io.scenes.motion import with_motion as with_motion
from jnrsfm.io.scenes.record import look_point as look_point
from jnrsfm.scenes import DynamicScene


class SceneFormat(NamedTuple):
    """How a kind of scene is found and read; keyword-only arguments of `read` are its options."""

    name: str
    description: str
    find: Callable[[Path], Any]
    read: Callable[..., DynamicScene]


SCENE_FORMATS: dict[str, SceneFormat] = {
    f.name: f
    for f in (
        SceneFormat("llff", "poses_bounds.npy and a folder of images (LLFF, NSFF)", llff.find, llff.read),
        SceneFormat("dnerf", "transforms_*.json with a time a frame (D-NeRF)", dnerf.find, dnerf.read),
        SceneFormat("colmap", "COLMAP's text model and a folder of images", colmap.find, colmap.read),
        SceneFormat("scene-npz", "images and an npz with cam_to_world and time", npz.find, npz.read),
    )
}


def read_scene(path: str | Path, format: str | None = None, **options: Any) -> DynamicScene:
    """A filmed scene with poses, checked (`jnrsfm.scenes.check_scene`); its format is found, or named.

    Options: `hold_out` (every n-th image is for testing), `background` ("auto", "none", "black", "white": the colour
    behind everything), those of the format. Raises InputError: one line with file, image, and what to do."""
    place = Path(path).expanduser()
    if not place.exists():
        raise InputError(f"{path}: no such file or folder: check the path (relative to {Path.cwd()})")
    if format is not None and format not in SCENE_FORMATS:
        raise InputError(f"unknown scene format {format!r}: choose from {', '.join(SCENE_FORMATS)}")
    known = "; ".join(f"{f.name} ({f.description})" for f in SCENE_FORMATS.values())
    fmt = (
        SCENE_FORMATS[format] if format else next((f for f in SCENE_FORMATS.values() if f.find(place)), None)
    )
    if fmt is None:
        raise InputError(f"{path}: no scene with camera poses: known are {known}")
    takes = [p.name for p in inspect.signature(fmt.read).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in takes:
            raise InputError(
                f"format {fmt.name!r} has no option {name!r}: its options are: {', '.join(takes)}"
            )
    return fmt.read(place, **options)
