"""The image sets of these experiments: rendered people (made once, kept in a scratch folder), real labelled sets."""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jnrsfm import LabelledImages, Landmarks, Reconstruction, io
from jnrsfm.datasets import RenderedFigures, render_figures
from jnrsfm.pixels import ArrayPixels
from jnrsfm.types import Cameras

SCRATCH = Path(os.environ.get("JNRSFM_SCRATCH", tempfile.gettempdir())) / "jnrsfm-rendered"


class Rendered(NamedTuple):
    """Rendered photographs: `images` with exact labels, and the truth: `points3d (image, point, 3)` in the camera
    frame, and `points2d (image, point, 2)` of all points, hidden ones too."""

    images: LabelledImages
    points3d: np.ndarray
    points2d: np.ndarray

    def select(self, which: np.ndarray) -> "Rendered":
        """The set at some images."""
        return Rendered(self.images.select(which), self.points3d[which], self.points2d[which])


def people(count: int, seed: int, clip: int = 1, size: int = 96) -> Rendered:
    """Photographs of people in many poses, bodies, clothes, rooms and views."""
    path = SCRATCH / f"people-{count}-{clip}-{size}-{seed}.npz"
    if not path.is_file():
        made = render_figures(RenderedFigures(images=count, clip=clip, size=size, seed=seed))
        landmarks = made.landmarks
        SCRATCH.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.npz")
        sequence = {} if clip == 1 else {"sequence": np.asarray(made.sequence)}
        np.savez(
            beside, images=made.images, points2d=np.asarray(landmarks.points2d),
            visible=np.asarray(landmarks.visible), points3d=np.asarray(made.reference.camera_points),
            edges=np.asarray(landmarks.edges), symmetric=np.asarray(landmarks.symmetric),
            names=np.array(landmarks.names), **sequence,
        )  # fmt: skip
        beside.replace(path)
    with np.load(path, allow_pickle=False) as file:
        a = {name: file[name] for name in file.files}
    landmarks = Landmarks(
        a["points2d"].astype(np.float32), a["visible"], edges=a["edges"], symmetric=a["symmetric"],
        names=tuple(map(str, a["names"])), sequence=a.get("sequence"),
    )  # fmt: skip
    return Rendered(LabelledImages(ArrayPixels(a["images"]), landmarks), a["points3d"], a["points2d"])


def spoilt(data: Rendered, missing: float, noise: float, seed: int) -> Rendered:
    """The set as people label it: a share of the labels `missing`, the others off by `noise` of the object's 2D size
    (standard deviation). Images with fewer than 6 labels left are dropped."""
    rng = np.random.default_rng(1000 + seed)
    landmarks = data.images.landmarks
    visible = np.asarray(landmarks.visible)
    visible = visible & (rng.random(visible.shape) >= missing)
    keep = np.flatnonzero(visible.sum(1) >= 6)
    points = np.asarray(landmarks.points2d, np.float64)
    weight = visible[..., None]
    middle = (weight * points).sum(1, keepdims=True) / np.maximum(weight.sum(1, keepdims=True), 1)
    size = np.sqrt((weight * (points - middle) ** 2).sum((1, 2)) / np.maximum(visible.sum(1), 1))
    points = points + noise * size[:, None, None] * rng.standard_normal(points.shape)
    points = np.clip(points, 0, data.images.pixels.sizes[:, None] - 1)  # nobody clicks beside the photograph
    points = np.where(weight, points, 0).astype(np.float32)
    images = LabelledImages(data.images.pixels, landmarks.replace(points2d=points, visible=visible))
    return Rendered(images, data.points3d, data.points2d).select(keep)


def reference_of(data: Rendered) -> Reconstruction:
    """The truth as a record."""
    n = len(data.points3d)
    eye = np.broadcast_to(np.eye(3, dtype=np.float32), (n, 3, 3))
    return Reconstruction(data.points3d.astype(np.float32), Cameras(eye), mirror="reference")


# Several cameras of one instant stay together: blocks of time are held out, not images.
REAL = {
    "openfield_mouse": "keypoints/openfield_mouse.npz",
    "reaching_mouse": "keypoints/reaching_mouse.npz",
    "mirror_mouse": "keypoints/mirror_mouse.npz",
    "fly_top": "keypoints/fly_top.npz",
    "fly_pair": "keypoints/fly_pair.npz",
    "sleap_mouse_4cam": "keypoints/sleap_mouse_4cam.npz",
    "horse_walk": "video/horse_walk.npz",
}


def real(name: str, folder: Path) -> LabelledImages:
    """A labelled set of the data folder."""
    return io.read_images(folder / "images" / REAL[name])
