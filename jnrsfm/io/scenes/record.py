"""From poses, times and files to a checked `DynamicScene`: what the readers of scenes share."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jnrsfm import pixels as px
from jnrsfm.errors import InputError
from jnrsfm.scenes import DynamicScene, check_poses, check_scene

Background = Literal["auto", "none", "black", "white"]
_FACING = 25.0  # degrees from the mean viewing direction
WORDS = {"train": "train", "val": "test", "test": "test", "valid": "test"}


@dataclasses.dataclass(frozen=True, eq=False)
class OverColour:
    """Images whose transparent parts show `colour` (three numbers in [0, 255])."""

    base: px.FilePixels
    colour: tuple[int, int, int]

    @property
    def sizes(self) -> np.ndarray:
        """`(image, 2)` width and height."""
        return self.base.sizes

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files."""
        return self.base.names

    def read(self, number: int) -> np.ndarray:
        """Image `number`, uint8 `(height, width, 3)`. Raises InputError for what cannot be decoded."""
        path = self.base.files[number]
        with px.library().Image.open(path) as image:
            if image.mode not in ("RGBA", "LA", "P"):
                return px.read_image(path)
            values = np.asarray(image.convert("RGBA"), np.float32)
        alpha = values[..., 3:] / 255
        return np.round(alpha * values[..., :3] + (1 - alpha) * np.array(self.colour)).astype(np.uint8)


def assembled(
    where: Any,
    files: Sequence[Path],
    poses: np.ndarray,
    intrinsics: np.ndarray,
    time: np.ndarray,
    bounds: np.ndarray | None,
    split: Sequence[str] | None = None,
    path: bool | None = None,
    hold_out: int = 0,
    background: Background = "auto",
) -> DynamicScene:
    """The record, checked. `intrinsics (3, 3)` or one a frame; `bounds` None: from where the cameras look;
    `hold_out` n: every n-th image is for testing; `path` None: the training images are one path unless the cameras
    jump. Raises InputError."""
    n = len(files)
    poses = np.asarray(poses, np.float64)
    if poses.shape != (n, 3, 4):
        raise InputError(
            f"{where}: poses have shape {poses.shape} for {n} images: give one 3 x 4 [R | t] for each"
        )
    check_poses(poses, where, [f.name for f in files])
    if hold_out < 0 or hold_out == 1 or (hold_out and split is not None and len(set(split)) > 1):
        raise InputError(
            f"{where}: hold_out is {hold_out}: give 2 or more images, where the file names no test images"
        )
    if hold_out:
        split = ["test" if i % hold_out == hold_out - 1 else "train" for i in range(n)]
    if split is not None:
        strange = sorted(set(split) - set(WORDS))
        if strange:
            raise InputError(f"{where}: split {strange[0]!r} is unknown: it is train, val or test")
        split = [WORDS[s] for s in split]
    base = px.FilePixels.of(list(files))
    if background not in ("auto", "none", "black", "white"):
        raise InputError(f"{where}: background={background!r}: choose auto, none, black or white")
    colour = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}.get(background)
    behind = (0, 0, 0) if background != "white" else (255, 255, 255)
    images = OverColour(base, behind)
    scene = DynamicScene(
        images, poses, np.broadcast_to(np.asarray(intrinsics, np.float64), (n, 3, 3)).copy(),
        np.asarray(time, np.float64), bounds_of(poses) if bounds is None else np.asarray(bounds, np.float64),
        None if split is None else tuple(split), background=colour, facing=facing(poses),
    )  # fmt: skip
    check_scene(scene, where)
    if background == "auto":
        scene = dataclasses.replace(scene, background=_seen_background(scene))
    return dataclasses.replace(scene, path=_is_path(scene) if path is None else path)


def look_point(poses: np.ndarray) -> tuple[np.ndarray, float]:
    """The point nearest to all optical axes, and the median depth at which the cameras see it; where the axes run side
    by side, the point one unit before the mean camera."""
    eyes, axes = poses[:, :, 3], poses[:, :, 2]
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(0)
    if np.linalg.eigvalsh(total)[0] < 1e-3 * len(poses):
        return eyes.mean(0) + axes.mean(0), 1.0
    point = np.linalg.solve(total, np.einsum("fij,fj->i", across, eyes))
    depth = float(np.median(((point - eyes) * axes).sum(1)))
    return (point, depth) if depth > 0 else (eyes.mean(0) + axes.mean(0), 1.0)


def bounds_of(poses: np.ndarray) -> np.ndarray:
    """`(frame, 2)`: half and one and a half times the depth of the point that the cameras look at."""
    point, depth = look_point(poses)
    each = ((point - poses[:, :, 3]) * poses[:, :, 2]).sum(1)
    each = np.where(each > 0.2 * depth, each, depth)
    return np.stack([0.5 * each, 1.5 * each], 1)


def facing(poses: np.ndarray) -> bool:
    """Whether all cameras look within 25 degrees of their mean direction."""
    axes = poses[:, :, 2]
    mean = axes.mean(0) / max(np.linalg.norm(axes.mean(0)), 1e-9)
    return bool((axes @ mean > np.cos(np.radians(_FACING))).all())


def _is_path(scene: DynamicScene) -> bool:
    """Whether the training cameras move little from one time to the next against all that they move."""
    train = scene.part("train")
    eyes = train.camera_to_world[:, :, 3]
    if len(eyes) < 3:
        return True
    steps = np.linalg.norm(np.diff(eyes, axis=0), axis=1)
    spread = np.linalg.norm(eyes - eyes.mean(0), axis=1).max()
    return bool(np.median(steps) < 0.8 * spread or spread < 1e-9)


def _seen_background(scene: DynamicScene) -> tuple[float, float, float] | None:
    """The one colour of the borders of half the images, where there is one."""
    which = np.unique(np.linspace(0, len(scene) - 1, 8).astype(int))
    alike, first = 0, None
    for i in which:
        image = scene.pixels.read(int(i))
        ring = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        first = ring[0] if first is None else first
        alike += bool((ring == first).all())
    if first is None or alike < len(which) / 2:
        return None
    return (float(first[0]) / 255, float(first[1]) / 255, float(first[2]) / 255)
