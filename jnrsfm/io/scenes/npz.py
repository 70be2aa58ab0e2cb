"""A folder of images and one npz with a pose and a time for each.

Keys (N images): `files (N,)`, `cam_to_world (N, 3 or 4, 4)` `[R | t]` in the house's axes, `time (N,)`, `intrinsics
(3, 3)` or `(N, 3, 3)`; optional `bounds (N, 2)` nearest and farthest depth, `split (N,)` train, val or test. The npz
lies beside the folder under its name or in it.
"""

import zipfile
from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.images.record import image_files
from jnrsfm.io.npz import load_fields
from jnrsfm.io.scenes.record import Background, assembled
from jnrsfm.scenes import DynamicScene

KEYS = ("files", "cam_to_world", "time", "intrinsics", "bounds", "split", "image_size")


def find(path: Path) -> Path | None:
    """The npz of a scene: `path` itself, beside the folder under its name, or in it; one with poses first."""
    if path.is_file():
        return path if path.suffix == ".npz" and "files.npy" in _names(path) else None
    if not path.is_dir():
        return None
    folder = path.resolve()
    there = [folder.with_name(folder.name + ".npz"), *sorted(folder.glob("*.npz"))]
    there = [f for f in there if f.is_file() and "files.npy" in _names(f)]
    return next((f for f in there if "cam_to_world.npy" in _names(f)), there[0] if there else None)


def _names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return set()


def read(path: Path, *, hold_out: int = 0, background: Background = "auto") -> DynamicScene:
    """The scene. Raises InputError, one line, naming file and key."""
    file = find(path)
    if file is None:
        raise InputError(f"{path}: has no npz with the key 'files': it names the image of each pose")
    fields = load_fields(file, KEYS)
    fields.require("cam_to_world", hint=": no pose: a scene has one 3 x 4 [R | t] an image")
    fields.require("time", hint=": a scene has the time of each image, from 0 to 1")
    fields.require("intrinsics", hint=": a scene has its 3 x 3 camera matrix")
    names = [str(n) for n in fields.texts("files", ("N",))]
    n = len(names)
    roots = [r for r in (path, file.with_suffix(""), file.parent, file.parent / "images") if r.is_dir()]
    arrays = fields.arrays
    poses = np.asarray(arrays["cam_to_world"], np.float64)
    if poses.shape == (n, 4, 4):
        poses = poses[:, :3]
    time = np.asarray(arrays["time"], np.float64)
    if time.shape != (n,):
        raise InputError(
            f"{file}: key 'time' has shape {time.shape}, expected ({n},): give the time of each image"
        )
    intrinsics = np.asarray(arrays["intrinsics"], np.float64)
    if intrinsics.shape not in ((3, 3), (n, 3, 3)):
        raise InputError(
            f"{file}: key 'intrinsics' has shape {intrinsics.shape}, expected (3, 3) or ({n}, 3, 3)"
        )
    bounds = np.asarray(arrays["bounds"], np.float64) if "bounds" in fields else None
    if bounds is not None and bounds.shape != (n, 2):
        raise InputError(f"{file}: key 'bounds' has shape {bounds.shape}, expected ({n}, 2): near and far")
    split = [str(s) for s in fields.texts("split", ("N",))] if "split" in fields else None
    return assembled(
        file, image_files(names, roots, file), poses, intrinsics, normalised(time, file), bounds, split,
        hold_out=hold_out, background=background,
    )  # fmt: skip


def normalised(time: np.ndarray, where: object) -> np.ndarray:
    """Times as they are if in [0, 1], else from 0 to 1 over the clip. Raises InputError for missing ones."""
    if not np.isfinite(time).all():
        raise InputError(f"{where}: image {int(np.flatnonzero(~np.isfinite(time))[0])} has no time")
    if time.min() >= 0 and time.max() <= 1:
        return time
    return (time - time.min()) / max(float(np.ptp(time)), 1e-12)
