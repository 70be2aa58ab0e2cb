"""D-NeRF and Blender: `transforms_train.json`, `transforms_test.json`, ... with a pose and a time for each image.

`camera_angle_x` is the horizontal field of view; `transform_matrix (4, 4)` camera to world with x right, y up, z
backwards, turned here to x right, y down, z forward. The images jump between views: there is no camera path.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.scenes.npz import normalised
from jnrsfm.io.scenes.record import Background, assembled
from jnrsfm.pixels import FilePixels
from jnrsfm.scenes import DynamicScene


def find(path: Path) -> list[Path] | None:
    """The files of transforms of a scene's folder, or `path` itself; those for training first."""
    if path.is_file():
        return [path] if path.name.startswith("transforms") and path.suffix == ".json" else None
    there = sorted(path.glob("transforms*.json"), key=lambda f: ("train" not in f.stem, f.stem))
    return there or None


def read(path: Path, *, background: Background = "auto", hold_out: int = 0) -> DynamicScene:
    """The scene. Raises InputError, one line, naming file and frame."""
    found = find(path)
    if found is None:
        raise InputError(f"{path}: has no transforms_*.json")
    files, poses, times, split, angles = [], [], [], [], []
    for file in found:
        about = _load(file)
        word = file.stem.removeprefix("transforms").strip("_") or "train"
        for i, frame in enumerate(about["frames"]):
            files.append(_image(file.parent, file, i, frame))
            poses.append(_pose(file, i, frame))
            if not isinstance(frame.get("time"), int | float):
                raise InputError(
                    f"{file}: frame {i} has no time: a dynamic scene has one for each image, from 0 to 1"
                )
            times.append(float(frame["time"]))
            split.append(word)
            angles.append(float(about.get("camera_angle_x", frame.get("camera_angle_x", float("nan")))))
    if not files:
        raise InputError(f"{found[0]}: has no frames")
    pixels = FilePixels.of(files)
    width, height = pixels.sizes[0]
    angle = np.array(angles)
    if not ((angle > 0) & (angle < np.pi)).all():
        raise InputError(f"{found[0]}: no camera_angle_x: it is the horizontal field of view in radians")
    k = np.tile(np.eye(3), (len(files), 1, 1))
    k[:, 0, 0] = k[:, 1, 1] = 0.5 * width / np.tan(0.5 * angle)
    k[:, 0, 2], k[:, 1, 2] = (width - 1) / 2, (height - 1) / 2
    turned = np.stack(poses) @ np.diag([1.0, -1.0, -1.0, 1.0])
    chosen = split if len(set(split)) > 1 else None
    return assembled(
        found[0], files, turned[:, :3], k, normalised(np.array(times), found[0]), None, chosen,
        path=None, hold_out=hold_out, background=background,
    )  # fmt: skip


def _load(file: Path) -> dict[str, Any]:
    try:
        about = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as JSON ({error}): write it again") from error
    if not isinstance(about, dict) or not isinstance(about.get("frames"), list):
        raise InputError(f"{file}: has no list 'frames': not the transforms of a scene")
    return about


def _image(root: Path, file: Path, i: int, frame: Any) -> Path:
    name = frame.get("file_path") if isinstance(frame, dict) else None
    if not isinstance(name, str):
        raise InputError(f"{file}: frame {i} has no file_path: name its image")
    place = root / name
    for there in (place, *(place.with_name(place.name + end) for end in (".png", ".jpg", ".jpeg"))):
        if there.is_file():
            return there
    raise InputError(f"{file}: frame {i}: image {name} is not in {root}: put the images there")


def _pose(file: Path, i: int, frame: dict[str, Any]) -> np.ndarray:
    try:
        pose = np.array(frame.get("transform_matrix"), np.float64)
    except (TypeError, ValueError):
        pose = np.zeros(0)
    if pose.shape != (4, 4):
        raise InputError(f"{file}: frame {i} has no pose: give its transform_matrix, 4 x 4 camera to world")
    return pose
