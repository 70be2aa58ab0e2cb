"""LLFF and NSFF: `poses_bounds.npy` beside a folder of images in order of time.

A row is a 3 x 5 matrix, `[R | t | height, width, focal]`, and the nearest and farthest depth. Its axes are down, right,
backwards; here they are turned to right, down, forward. The images are the frames of one clip: time is their order.
"""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.images.record import SUFFIXES
from jnrsfm.io.scenes.record import Background, assembled
from jnrsfm.pixels import FilePixels
from jnrsfm.scenes import DynamicScene

NAME = "poses_bounds.npy"
FOLDERS = ("images", "images_*", "images_colmap")


def find(path: Path) -> Path | None:
    """The file of poses of a scene's folder, or `path` itself."""
    if path.is_file():
        return path if path.name == NAME else None
    return path / NAME if (path / NAME).is_file() else None


def read(
    path: Path, *, images: str | None = None, hold_out: int = 0, background: Background = "none"
) -> DynamicScene:
    """The scene; `images` names their folder (unset: `images`, else the first `images_*`). Raises InputError."""
    file = find(path)
    if file is None:
        raise InputError(f"{path}: has no {NAME}")
    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}): write it again") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not np.issubdtype(rows.dtype, np.number):
        raise InputError(f"{file}: has shape {rows.shape}, expected one row of 17 numbers for each image")
    rows = rows.astype(np.float64)
    folder = _folder(file.parent, images)
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES)
    if len(files) != len(rows):
        raise InputError(
            f"{file}: {len(rows)} poses for {len(files)} images in {folder}: give one pose for each image"
        )
    matrix = rows[:, :15].reshape(-1, 3, 5)
    turn = np.stack([matrix[:, :, 1], matrix[:, :, 0], -matrix[:, :, 2]], -1)
    poses = np.concatenate([turn, matrix[:, :, 3:4]], -1)
    width, height = FilePixels.of(files[:1]).sizes[0]
    full = matrix[:, :, 4]
    if not (full[:, 1] > 0).all():
        raise InputError(f"{file}: the width of the images is 0: write height, width and focal length")
    k = np.tile(np.eye(3), (len(rows), 1, 1))
    k[:, 0, 0] = full[:, 2] * width / full[:, 1]
    k[:, 1, 1] = full[:, 2] * height / full[:, 0]
    k[:, 0, 2], k[:, 1, 2] = (width - 1) / 2, (height - 1) / 2
    time = np.linspace(0, 1, len(rows))
    return assembled(
        file, files, poses, k, time, rows[:, 15:], path=True, hold_out=hold_out, background=background
    )


def _folder(root: Path, name: str | None) -> Path:
    if name is not None:
        if not (root / name).is_dir():
            raise InputError(f"{root / name}: no such folder of images")
        return root / name
    there = [f for pattern in FOLDERS for f in sorted(root.glob(pattern)) if f.is_dir()]
    if not there:
        raise InputError(
            f"{root}: has {NAME} but no folder images: put the images there, or name it (images=...)"
        )
    return there[0]
