"""Photographs on the page: which of a set are shown, in which order, and cut to the object."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnrsfm import pixels
from jnrsfm.geometry.mesh.sequence import MeshSequence
from jnrsfm.runs import write_arrays
from jnrsfm.types import LabelledImages, Landmarks

MOST = 160  # photographs on a page: some megabytes
MESHES = 24  # of meshes, each with three pictures
_SIDE = 224  # pixels of each
_MARGIN = 1.35  # of the box of the points


class Photo(NamedTuple):
    """A square cut of a photograph: JPEG bytes; `left`, `top` (pixels of the photograph, edges) and `side`."""

    jpeg: bytes
    left: float
    top: float
    side: float


def shown_images(landmarks: Landmarks, result: Any, most: int = MOST) -> np.ndarray:
    """Numbers of the images that a page shows: of a clip evenly spaced frames in order of time; of loose photographs
    the worst by the error of x and y first, those without labels after them."""
    n = result.n_frames
    if isinstance(result, MeshSequence):
        return np.unique(np.linspace(0, n - 1, min(n, MESHES)).astype(int))
    if landmarks.sequence is not None:
        return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
    visible = np.asarray(landmarks.visible)
    gap = np.asarray(result.points2d) - np.where(visible[..., None], np.asarray(landmarks.points2d), 0)
    square = np.where(visible, (gap**2).sum(-1), 0).sum(1)
    scale = np.ones(n) if result.scale is None else np.asarray(result.scale)
    error = np.sqrt(square / np.maximum(visible.sum(1), 1)) / scale
    order = np.argsort(np.where(visible.any(1), -error, np.inf), kind="stable")
    if n <= most:
        return order
    worst = order[: most // 2]  # and an even sample of all others
    rest = order[most // 2 :]
    return np.concatenate([worst, rest[np.linspace(0, len(rest) - 1, most - len(worst)).astype(int)]])


def photographs(images: LabelledImages, result: Any) -> tuple[Photo, ...]:
    """The photographs of a set, each cut around its points (found and labelled) or its mesh."""
    whole = isinstance(result, MeshSequence)
    found = np.asarray(result.camera_vertices[..., :2] if whole else result.points2d, np.float64)
    photos = []
    for i in range(len(images)):
        points = found[i][np.isfinite(found[i]).all(-1)]
        visible = np.asarray(images.landmarks.visible[i])
        if visible.shape == found.shape[1:2]:
            points = np.concatenate([points, np.asarray(images.landmarks.points2d[i])[visible]])
        low, high = points.min(0), points.max(0)
        side = float(max(_MARGIN * (high - low).max(), 16.0))
        left, top = (low + high - side) / 2
        cut = pixels.cut(images.pixels.read(i), (low + high) / 2, side, _SIDE, fill=24)
        photos.append(Photo(pixels.jpeg(cut), float(left), float(top), side))
    return tuple(photos)


def write_photos(path: Path, shown: np.ndarray, photos: tuple[Photo, ...]) -> None:
    """Keep photographs beside a run, so that its page can be written again without the images."""
    ends = np.cumsum([len(p.jpeg) for p in photos])
    arrays = {
        "shown": shown, "ends": ends, "jpeg": np.frombuffer(b"".join(p.jpeg for p in photos), np.uint8),
        "place": np.array([[p.left, p.top, p.side] for p in photos]),
    }  # fmt: skip
    write_arrays(path, arrays)


def read_photos(path: Path) -> tuple[np.ndarray, tuple[Photo, ...]]:
    """What `write_photos` wrote: numbers of the images that are shown, and their photographs."""
    with np.load(path, allow_pickle=False) as file:
        a: Mapping[str, np.ndarray] = {name: file[name] for name in ("shown", "ends", "jpeg", "place")}
    starts = [0, *a["ends"][:-1]]
    photos = [
        Photo(a["jpeg"][s:e].tobytes(), *map(float, place))
        for s, e, place in zip(starts, a["ends"], a["place"], strict=True)
    ]
    return a["shown"], tuple(photos)
