"""COLMAP's text model (`cameras.txt`, `images.txt`, `points3D.txt`) beside a folder of images: time is their order.

A line of `images.txt` is a world-to-camera quaternion (w, x, y, z) and translation, a camera and a name; COLMAP counts
pixels from the corner of the first one, half a pixel before its centre. Only cameras without distortion are read. The
bounds of an image are those of the points that it sees, a tenth wider.
"""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.images.record import image_files
from jnrsfm.io.scenes.record import Background, assembled
from jnrsfm.scenes import DynamicScene

FOLDERS = ("sparse/0", "sparse", "colmap", ".")
_MODELS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4}


def find(path: Path) -> Path | None:
    """The folder of the model of a scene's folder, text or binary."""
    if not path.is_dir():
        return None
    names = ("images.txt", "images.bin")
    return next((path / f for f in FOLDERS if any((path / f / n).is_file() for n in names)), None)


def _rows(file: Path) -> list[list[str]]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: cannot be read: write the model as text (colmap model_converter --output_type TXT)"
        ) from error
    return [line.split() for line in lines if not line.startswith("#")]


def read(path: Path, *, hold_out: int = 0, background: Background = "none") -> DynamicScene:
    """The scene. Raises InputError, one line, naming the file."""
    folder = find(path)
    if folder is None:
        raise InputError(f"{path}: has no model of COLMAP")
    cameras = {r[0]: _camera(folder, r) for r in _rows(folder / "cameras.txt") if r}
    rows = _rows(folder / "images.txt")[::2]  # each second line lists the points of an image
    try:
        rows = sorted((r for r in rows if r), key=lambda r: r[9])
        names = [" ".join(r[9:]) for r in rows]
        numbers = np.array([[float(x) for x in r[1:8]] for r in rows])
        k = np.stack([cameras[r[8]] for r in rows])
    except (IndexError, ValueError, KeyError) as error:
        raise InputError(f"{folder / 'images.txt'}: is damaged ({error}): export the model again") from error
    turn = _rotations(numbers[:, :4])
    poses = np.concatenate([turn.mT, -(turn.mT @ numbers[:, 4:, None])], -1)
    roots = [r for r in (path / "images", path, *sorted(path.glob("images_*"))) if r.is_dir()]
    files = image_files(names, roots, folder / "images.txt")
    bounds = _bounds(folder / "points3D.txt", [r[0] for r in rows], poses)
    time = np.linspace(0, 1, len(rows)) if len(rows) > 1 else np.zeros(len(rows))
    return assembled(
        folder, files, poses, k, time, bounds, path=True, hold_out=hold_out, background=background
    )


def _camera(folder: Path, row: list[str]) -> np.ndarray:
    model = row[1] if len(row) > 1 else ""
    if model not in _MODELS or len(row) < 4 + _MODELS[model]:
        raise InputError(
            f"{folder / 'cameras.txt'}: camera {row[0]} is {model}: undistort the images first (colmap "
            "image_undistorter), which gives PINHOLE"
        )
    *focal, x, y = (float(v) for v in row[4 : 4 + _MODELS[model]])
    return np.array([[focal[0], 0, x - 0.5], [0, focal[-1], y - 0.5], [0, 0, 1]])


def _rotations(q: np.ndarray) -> np.ndarray:
    """Of quaternions `(n, 4)`, real part first."""
    w, x, y, z = (q / np.maximum(np.linalg.norm(q, axis=1, keepdims=True), 1e-12)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(r, -1) for r in rows], -2)


def _bounds(file: Path, ids: list[str], poses: np.ndarray) -> np.ndarray | None:
    """Nearest and farthest depth of what each image sees, hundredths left out; None without points."""
    if not file.is_file():
        return None
    depths: list[list[float]] = [[] for _ in ids]
    place = {name: i for i, name in enumerate(ids)}
    for row in _rows(file):
        if len(row) < 9:
            continue
        point = np.array([float(v) for v in row[1:4]])
        for name in row[8::2]:
            if (i := place.get(name)) is not None:
                depths[i].append(float((point - poses[i, :, 3]) @ poses[i, :, 2]))
    known = [np.array([d for d in row if d > 0]) for row in depths]
    if not all(len(d) >= 4 for d in known):
        return None
    return np.array([[0.9 * np.quantile(d, 0.01), 1.1 * np.quantile(d, 0.99)] for d in known])
