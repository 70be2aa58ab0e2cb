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

# Points of Horse-30 and the nearest points of the template that have a name; the others of either have no partner.
HORSE = {
    "Nearknee": "frontLeftKnee", "Offknee": "frontRightKnee", "Nearfrontfoot": "frontLeftHoof",
    "Offfrontfoot": "frontRightHoof", "Nearhindhock": "backLeftKnee", "Offhindhock": "backRightKnee",
    "Nearhindfoot": "backLeftHoof", "Offhindfoot": "backRightHoof", "Nose": "chin", "Eye": "leftEye",
    "Ischium": "tailStart",
}  # fmt: skip
# The rest: a place of the template (left, back, up; as stored) whose nearest vertex is meant. The horse shows its right
# side. Fetlocks lie three tenths of the way from hoof to knee.
PLACES = {
    "Shoulder": (-0.12, -0.5, 0.1), "Midshoulder": (-0.15, -0.4, 0.25), "Elbow": (-0.16, -0.38, -0.07),
    "Girth": (-0.1, -0.27, -0.12), "Wither": (0.0, -0.33, 0.45), "Hip": (-0.1, 0.4, 0.42),
    "Stifle": (-0.18, 0.4, -0.05),
}  # fmt: skip
FETLOCKS = {
    f"{side}{end}fetlock": (
        f"{end.replace('hind', 'back')}{name}Hoof",
        f"{end.replace('hind', 'back')}{name}Knee",
    )
    for side, name in (("Near", "Left"), ("Off", "Right"))
    for end in ("front", "hind")
}


def horse_keypoints() -> dict[str, int]:
    """The vertex of each point of Horse-30."""
    mesh = read_mesh(template("horse"))
    named = dict(zip(mesh.names or (), np.asarray(mesh.keypoints).tolist(), strict=True))
    found = {theirs: named[ours] for theirs, ours in HORSE.items()}
    vertices = np.asarray(mesh.vertices)
    near = lambda place: int(np.linalg.norm(vertices - np.asarray(place), axis=1).argmin())
    found |= {name: near(place) for name, place in PLACES.items()}
    for name, (hoof, knee) in FETLOCKS.items():
        found[name] = near(0.7 * vertices[named[hoof]] + 0.3 * vertices[named[knee]])
    return found


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
    """The clip with all of its points."""
    return io.read_images(DATA / "horse_walk.npz")


def horses_masked() -> LabelledImages:
    """The stills with masks."""
    return io.read_images(DATA / "horses_masked.npz")


TRUNK = (
    "Wither", "Hip", "Ischium", "Stifle", "Girth", "Elbow", "Shoulder", "Midshoulder",
)  # fmt: skip
NECK = ("Wither", "Midshoulder", "Eye")


def walker_masks(images: LabelledImages) -> list[np.ndarray]:
    """Masks of the dark horse before a camera that stands still, to score by: what is darker than shadows on the
    ground, differs from the median image and lies near the skeleton of *all* labelled points, with the hulls of trunk
    and neck, which are as dark as the trees behind them. No mesh has a part in it; looked at."""
    import cv2

    frames = np.stack([images.pixels.read(i) for i in range(len(images))]).astype(np.int32)
    still = np.median(frames[:: max(1, len(frames) // 80)], axis=0)
    edges, masks = np.asarray(images.landmarks.edges), []
    names = images.landmarks.names or ()
    for i, frame in enumerate(frames):
        visible, points = np.asarray(images.landmarks.visible[i]), np.asarray(images.landmarks.points2d[i])
        drawn, hulls = np.zeros(frame.shape[:2], np.uint8), np.zeros(frame.shape[:2], np.uint8)
        if visible.sum() < 2:
            masks.append(drawn > 0)
            continue
        for a, b in edges.tolist():
            if visible[a] and visible[b]:
                cv2.line(drawn, *[tuple(np.round(points[k]).astype(int).tolist()) for k in (a, b)], 255, 2)
        for part in (TRUNK, NECK):
            corners = [points[k] for k, n in enumerate(names) if n in part and visible[k]]
            if len(corners) > 2:
                hull = cv2.convexHull(np.round(np.array(corners)).astype(np.int32))
                cv2.fillConvexPoly(hulls, hull, 255)
        away = ndimage.distance_transform_edt((drawn == 0) & (hulls == 0))
        away = away / max(float(np.ptp(points[visible], axis=0).max()), 8.0)
        change = ndimage.gaussian_filter(np.abs(frame - still).sum(-1).astype(float), 1.0)
        dark = ndimage.gaussian_filter(frame.sum(-1).astype(float), 0.7) < 150
        mask = (dark & (change > 30) & (away < 0.08)) | (away < 0.012)
        masks.append(largest_piece(ndimage.binary_opening(ndimage.binary_closing(mask))))
    return masks
