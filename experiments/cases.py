"""What experiments reconstruct: a case is a file, the views made of it, and the settings of one fit.

No run looks at 3D: references are for scoring.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import Landmarks, Reconstruction, io
from jnrsfm.types import Cameras

Data = tuple[Landmarks, Reconstruction]
CMU = ("walking", "running", "jumping", "basketball", "directing_traffic")


@dataclasses.dataclass(frozen=True)
class Case:
    """One fit: `file` below the data folder, `change` makes the views; `protocol` is the one that the README shows."""

    name: str
    set: str
    setting: str
    file: str
    camera: str
    change: Callable[[Data], Data] = lambda data: data
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    unseen: float = 0.0
    headline: bool = False
    picture: bool = False
    method: str = "deep-nrsfm++"
    seed: int = 0

    def load(self, folder: Path) -> Data:
        """Landmarks and reference."""
        path = folder / f"{self.file}.npz"
        reference = io.read_reference(path)
        assert reference is not None, path
        return self.change((io.read_landmarks(path), reference))


def hide_random(fraction: float, noise: float = 0.0, seed: int = 0) -> Callable[[Data], Data]:
    """Hide points at random, and add normal noise of `noise` times the RMS size of the frame's image."""

    def change(data: Data) -> Data:
        landmarks, reference = data
        rng = np.random.default_rng(seed)
        visible = landmarks.visible & (rng.random(landmarks.visible.shape) >= fraction)
        short = visible.sum(1) < 4  # keep what a camera needs
        visible[short] = landmarks.visible[short]
        points = np.asarray(landmarks.points2d)
        size = np.sqrt(((points - points.mean(1, keepdims=True)) ** 2).sum(-1).mean(1))
        points = points + noise * size[:, None, None] * rng.normal(size=points.shape)
        points = np.where(visible[..., None], points, 0).astype(np.float32)
        return landmarks.replace(points2d=points, visible=visible), reference

    return change


def hide_limbs(data: Data, frames: int = 40, seed: int = 0) -> Data:
    """Hide one limb (an arm or a leg below the trunk) for stretches of `frames` in turn with stretches without."""
    landmarks, reference = data
    names = [n.lower() for n in landmarks.names or ()]
    parts = ("femur", "tibia", "foot", "toes"), ("humerus", "radius", "wrist", "hand", "fingers", "thumb")
    limbs = [[i for i, n in enumerate(names) if n[0] == side and n[1:] in p] for side in "lr" for p in parts]
    rng = np.random.default_rng(seed)
    visible = np.array(landmarks.visible)
    for first in range(0, len(visible), 2 * frames):
        visible[first : first + frames, limbs[rng.integers(len(limbs))]] = False
    points = np.where(visible[..., None], landmarks.points2d, 0)
    return landmarks.replace(points2d=points, visible=visible), reference


def perspective_views(distance: float) -> Callable[[Data], Data]:
    """The stored random cameras moved to `distance` times the object's size (longest side of a frame's box, mean),
    with a pinhole of unit focal length."""

    def change(data: Data) -> Data:
        landmarks, reference = data
        shapes = np.asarray(reference.points3d)
        size = np.ptp(shapes, axis=1).max(1).mean()
        t = np.zeros((len(shapes), 3), np.float32)
        t[:, 2] = distance * size
        cameras = Cameras(reference.rotations, t, None, np.eye(3, dtype=np.float32), "perspective")
        points = np.asarray(cameras.project(shapes), np.float32)
        landmarks = landmarks.replace(
            points2d=points, intrinsics=np.eye(3, dtype=np.float32), camera="perspective"
        )
        return landmarks, reference.replace(cameras=cameras)

    return change


def split_clips(landmarks: Landmarks, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the first `share` of the clips, and of the rest."""
    clips = np.unique(np.asarray(landmarks.sequence))
    first = np.isin(np.asarray(landmarks.sequence), clips[: round(share * len(clips))])
    return np.flatnonzero(first), np.flatnonzero(~first)


def cmu(name: str) -> str:
    """File of a CMU set."""
    return f"cmu_mocap/cmu_{name}"
