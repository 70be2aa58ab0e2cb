"""What experiments do to the data before a fit: hide points, add noise, look from elsewhere.

A `Change` takes and gives landmarks with their reference. A `Step` changes landmarks alone and draws from a
generator; `degraded` makes a change of steps, with one generator for all of them in order, so that a seed says it all.
No step looks at 3D. Sizes are those of the visible points.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from jnrsfm import Landmarks, Reconstruction
from jnrsfm.types import Cameras

Data = tuple[Landmarks, Reconstruction]
Change = Callable[[Data], Data]
Step = Callable[[Landmarks, np.random.Generator], Landmarks]

_LIMBS = ("femur", "tibia", "foot", "toes"), ("humerus", "radius", "wrist", "hand", "fingers", "thumb")


def unchanged(data: Data) -> Data:
    """As the file has it."""
    return data


def in_turn(*changes: Change) -> Change:
    """One change after the other."""

    def change(data: Data) -> Data:
        for each in changes:
            data = each(data)
        return data

    return change


def degraded(*steps: Step, seed: int = 0) -> Change:
    """The steps in order, all of them drawing from one generator."""

    def change(data: Data) -> Data:
        landmarks, reference = data
        rng = np.random.default_rng(seed)
        for step in steps:
            landmarks = step(landmarks, rng)
        return landmarks, reference

    return change


def hide_random(share: float, least: int = 4) -> Step:
    """Hide each point with probability `share`; a frame that would keep fewer than `least` loses none."""

    def step(landmarks: Landmarks, rng: np.random.Generator) -> Landmarks:
        before = np.asarray(landmarks.visible)
        visible = before & (rng.random(before.shape) >= share)
        short = visible.sum(1) < least
        visible[short] = before[short]
        return _seen(landmarks, visible)

    return step


def hide_share(share: float, least: int = 3) -> Step:
    """Hide this share of each frame's visible points, never leaving fewer than `least`."""

    def step(landmarks: Landmarks, rng: np.random.Generator) -> Landmarks:
        visible = np.asarray(landmarks.visible)
        order = np.argsort(np.where(visible, rng.random(visible.shape), np.inf), axis=1)
        count = visible.sum(1)
        gone = np.minimum(np.round(share * count).astype(int), np.maximum(count - least, 0))
        return _seen(landmarks, visible & (np.argsort(order, axis=1) >= gone[:, None]))

    return step


def hide_limbs(frames: int = 40) -> Step:
    """Hide one limb (an arm or a leg below the trunk) for stretches of `frames` in turn with stretches without."""

    def step(landmarks: Landmarks, rng: np.random.Generator) -> Landmarks:
        names = [n.lower() for n in landmarks.names or ()]
        limbs = [
            [i for i, n in enumerate(names) if n[0] == side and n[1:] in parts]
            for side in "lr"
            for parts in _LIMBS
        ]
        visible = np.array(landmarks.visible)
        for first in range(0, len(visible), 2 * frames):
            visible[first : first + frames, limbs[rng.integers(len(limbs))]] = False
        return _seen(landmarks, visible)

    return step


def noise(share: float, of: Literal["frame", "clip"] = "frame") -> Step:
    """Add normal noise of `share` times the RMS distance of an image point from its frame's centre, that of each
    `frame` or the mean one of the `clip`."""

    def step(landmarks: Landmarks, rng: np.random.Generator) -> Landmarks:
        visible = np.asarray(landmarks.visible)
        points = np.where(visible[..., None], np.asarray(landmarks.points2d, float), 0)
        count = np.maximum(visible.sum(1), 1)
        centred = np.where(visible[..., None], points - (points.sum(1) / count[:, None])[:, None], 0)
        squares = (centred**2).sum((1, 2))
        if of == "frame":
            size = np.sqrt(squares / count)[:, None, None]
        else:
            size = np.sqrt(squares.sum() / max(visible.sum(), 1))
        points = points + share * size * rng.normal(size=points.shape)
        return _seen(landmarks.replace(points2d=points), visible)

    return step


def _seen(landmarks: Landmarks, visible: np.ndarray) -> Landmarks:
    """With only these points visible, 0 in place of the others."""
    points = np.where(visible[..., None], np.asarray(landmarks.points2d), 0).astype(np.float32)
    return landmarks.replace(points2d=points, visible=visible)


def one_clip(data: Data) -> Data:
    """The frames as one clip in order, which some files do not say."""
    landmarks, reference = data
    return landmarks.replace(sequence=np.zeros(landmarks.n_frames, int)), reference


def perspective_views(distance: float) -> Change:
    """The stored cameras moved to `distance` times the object's size (longest side of a frame's box, mean), with a
    pinhole of unit focal length."""

    def change(data: Data) -> Data:
        landmarks, reference = data
        shapes = np.asarray(reference.points3d)
        size = np.ptp(shapes, axis=1).max(1).mean()
        t = np.zeros((len(shapes), 3), np.float32)
        t[:, 2] = distance * size
        pinhole = np.eye(3, dtype=np.float32)
        cameras = Cameras(reference.rotations, t, None, pinhole, "perspective")
        points = np.asarray(cameras.project(shapes), np.float32)
        landmarks = landmarks.replace(points2d=points, intrinsics=pinhole, camera="perspective")
        return landmarks, reference.replace(cameras=cameras)

    return change


def orbit(frames: int, step: float = 5.0, tilt: float = 10.0) -> np.ndarray:
    """`(frame, 3, 3)` rotations of a camera that turns by `step` degrees a frame about the vertical, y, and looks at
    it by `tilt` degrees from the side: the smooth camera of the CMU sets (`rotations_orbit`)."""
    a, t = np.deg2rad(step * np.arange(frames)), np.deg2rad(tilt)
    o, i = np.zeros(frames), np.ones(frames)
    yaw = np.stack([np.cos(a), o, np.sin(a), o, i, o, -np.sin(a), o, np.cos(a)], -1).reshape(-1, 3, 3)
    return np.array([[1, 0, 0], [0, np.cos(t), -np.sin(t)], [0, np.sin(t), np.cos(t)]]) @ yaw


def orbit_views(data: Data) -> Data:
    """Seen by the camera of `orbit`."""
    landmarks, reference = data
    reference = reference.replace(cameras=Cameras(rotations=np.float32(orbit(landmarks.n_frames))))
    return landmarks.replace(points2d=np.asarray(reference.points2d, np.float32)), reference
