"""The sets: clips rendered from a template that moves at random, and the real ones in the form that `fit` takes."""

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from jnrsfm import io
from jnrsfm.geometry.mesh import TriangleMesh, handle_model, rasterise, read_mesh
from jnrsfm.inputs.masks import largest_piece
from jnrsfm.pixels import ArrayPixels
from jnrsfm.types import LabelledImages, Landmarks

DATA = (
    Path(os.environ.get("JNRSFM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    / "images"
    / "video"
)
SIZE = 128
TRUE_HANDLES = 24  # of other places and another stiffness than those that are fitted
UP = {"horse": "z", "tiger": "z", "cow": "y"}

# Points of Horse-30 and the nearest points of the template; the others of either have no partner.
HORSE = {
    "Nearknee": "frontLeftKnee", "Offknee": "frontRightKnee", "Nearfrontfoot": "frontLeftHoof",
    "Offfrontfoot": "frontRightHoof", "Nearhindhock": "backLeftKnee", "Offhindhock": "backRightKnee",
    "Nearhindfoot": "backLeftHoof", "Offhindfoot": "backRightHoof", "Nose": "chin", "Eye": "leftEye",
    "Ischium": "tailStart",
}  # fmt: skip


class Truth(NamedTuple):
    """`vertices (frame, vertex, 3)` camera-frame, x and y in pixels; `rotations (frame, 3, 3)` of the template as the
    fit knows it (normalised); `points (frame, point, 2)` of all keypoints."""

    vertices: np.ndarray
    rotations: np.ndarray
    points: np.ndarray


def template(name: str) -> Path:
    """The file of a template."""
    return DATA / f"mesh_{name}.npz"


def smooth(rng: np.random.Generator, frames: int, *shape: int) -> np.ndarray:
    """Random curves of unit deviation, a few slow waves each."""
    t = np.arange(frames)[:, None] / 24.0
    rate, phase = rng.uniform(0.3, 1.2, (2, 3, int(np.prod(shape)))) * np.array([1, 2 * np.pi])[:, None, None]
    waves = np.sin(2 * np.pi * rate[:, None] * t[None] + phase[:, None]).sum(0) / 1.5**0.5
    return waves.reshape(frames, *shape)


def rendered(name: str, seed: int, frames: int = 40, amplitude: float = 0.06) -> tuple[LabelledImages, Truth]:
    """A clip of a template whose handles move by `amplitude` (of a diameter of 2, each axis), before a camera that goes
    round it by 60 to 120 degrees; textured, before a textured wall; masks are exact, keypoints visible ones."""
    rng = np.random.default_rng(seed)
    mesh = read_mesh(template(name)).normalised()
    model = handle_model(mesh, TRUE_HANDLES, stiffness=0.3)
    moved = amplitude * smooth(rng, frames, TRUE_HANDLES, 3)
    vertices = model.rest + np.einsum("vk,fkj->fvj", model.basis, moved)
    turn = np.deg2rad(rng.uniform(60, 120)) * rng.choice([-1, 1])
    azimuth = rng.uniform(0, 2 * np.pi) + np.linspace(0, turn, frames)
    tilt = np.deg2rad(rng.uniform(0, 20)) + 0 * azimuth
    rotations = np.stack([_view(a, e, UP[name]) for a, e in zip(azimuth, tilt, strict=True)])
    scale = 46 * (1 + 0.1 * smooth(rng, frames)[:, None, None] / 2)
    shift = np.array([SIZE / 2, SIZE / 2]) + 4 * smooth(rng, frames, 2)
    camera = np.einsum("fvj,fij->fvi", vertices, rotations) * scale
    camera[..., :2] += shift[:, None]
    colours = _texture(mesh, rng)
    wall = _noise(rng, SIZE)
    images, masks, seen = [], [], []
    for v in camera:
        drawn = rasterise(v, mesh.faces, (SIZE, SIZE))
        inside = drawn.face >= 0
        picture = np.where(inside[..., None], drawn.of_vertices(colours, mesh.faces), wall)
        picture = picture + rng.normal(0, 0.01, picture.shape)
        images.append((255 * np.clip(picture, 0, 1)).astype(np.uint8))
        masks.append(np.repeat(255 * inside[..., None].astype(np.uint8), 3, -1))
        x, y = np.clip(np.round(v[mesh.keypoints, :2]).astype(int), 0, SIZE - 1).T
        seen.append(drawn.depth[y, x] > v[mesh.keypoints, 2] - 3)
    points = camera[:, mesh.keypoints, :2]
    inside = ((points >= 0) & (points <= SIZE - 1)).all(-1)
    landmarks = Landmarks(
        points2d=points.astype(np.float32), visible=np.stack(seen) & inside, names=mesh.names,
        sequence=np.zeros(frames, np.int32), fps=24.0,
    )  # fmt: skip
    found = LabelledImages(ArrayPixels(np.stack(images)), landmarks, masks=ArrayPixels(np.stack(masks)))
    return found, Truth(camera, rotations, points)


def _view(azimuth: float, tilt: float, up: str) -> np.ndarray:
    from jnrsfm.methods.mesh_video.stages import upright

    c, s, a, b = np.cos(azimuth), np.sin(azimuth), np.cos(tilt), np.sin(tilt)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[1, 0, 0], [0, a, -b], [0, b, a]]) @ turn @ upright(up)


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    layers = [ndimage.gaussian_filter(rng.normal(size=(size, size, 3)), (s, s, 0)) for s in (1.5, 6)]
    return np.clip(0.55 + 0.1 * sum(x / x.std() for x in layers), 0, 1)


def _texture(mesh: TriangleMesh, rng: np.random.Generator) -> np.ndarray:
    """`(vertex, 3)` brown, with blotches of all sizes."""
    waves = rng.normal(0, 9, (24, 3))
    tone = np.sin(mesh.vertices @ waves.T + rng.uniform(0, 6, 24)).mean(1)
    fine = rng.normal(0, 0.1, len(mesh.vertices))
    return np.clip(np.array([0.45, 0.3, 0.2]) + (0.5 * tone + fine)[:, None], 0.02, 0.98)


def without(
    images: LabelledImages, keypoints: bool = False, masks: bool = False, points: Any = ()
) -> LabelledImages:
    """Images without their keypoints, without masks, or without labels of some points."""
    landmarks = images.landmarks
    visible = np.array(landmarks.visible)
    visible[:, list(points)] = False
    if keypoints:
        visible[:] = False
    return dataclasses.replace(
        images, landmarks=landmarks.replace(visible=visible), masks=None if masks else images.masks
    )


def horse_walk() -> LabelledImages:
    """The clip, its points under the template's names where they have one."""
    images = io.read_images(DATA / "horse_walk.npz")
    names = tuple(HORSE.get(n, n) for n in images.landmarks.names)
    return dataclasses.replace(images, landmarks=images.landmarks.replace(names=names))


def horses_masked() -> LabelledImages:
    """The stills with masks."""
    return io.read_images(DATA / "horses_masked.npz")


def walker_masks(images: LabelledImages) -> list[np.ndarray]:
    """Masks of a clip before a camera that stands still, to score by: what differs from the median image, near the
    labelled points. No mesh has a part in it."""
    import cv2

    frames = np.stack([images.pixels.read(i) for i in range(len(images))]).astype(np.int32)
    still = np.median(frames[:: max(1, len(frames) // 80)], axis=0)
    edges, masks = np.asarray(images.landmarks.edges), []
    for i, frame in enumerate(frames):
        visible, points = np.asarray(images.landmarks.visible[i]), np.asarray(images.landmarks.points2d[i])
        drawn = np.zeros(frame.shape[:2], np.uint8)
        for a, b in edges.tolist():
            if visible[a] and visible[b]:
                ends = [tuple(np.round(points[k]).astype(int).tolist()) for k in (a, b)]
                cv2.line(drawn, *ends, 255, 3)
        size = max(float(np.ptp(points[visible], axis=0).max()), 8.0) if visible.sum() > 1 else 8.0
        away = (
            ndimage.distance_transform_edt(drawn == 0) / size if drawn.any() else np.full(drawn.shape, np.inf)
        )
        change = ndimage.gaussian_filter(np.abs(frame - still).sum(-1).astype(float), 1.0)
        mask = ((change > 45) & (away < 0.11)) | (away < 0.02)
        whole = ndimage.binary_fill_holes(
            ndimage.binary_closing(mask, iterations=3)
        )  # dark coat before a dark tree
        masks.append(largest_piece(ndimage.binary_opening(whole)) if mask.any() else mask)
    return masks
