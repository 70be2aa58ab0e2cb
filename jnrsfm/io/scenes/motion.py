r"""Optical flow between the frames of a scene, and what moves: flow that the camera's own motion does not explain.

Flow is OpenCV's dense inverse search, trusted where flow there and back ends where it began. A pixel moves where its
flow lies off its epipolar line, by Sampson's distance, in the flow to either side. What moves along its epipolar
line is not found this way.
"""

import dataclasses

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.stereo.matching import Matcher, library
from jnrsfm.scenes import DynamicScene, Motion2D

RETURN = 1.0  # pixels, and a share of the flow's length, within which flow comes back
SHARE = 0.05
OFF = 1.0  # pixels from the epipolar line
LEAST = 3e-3  # of the width: `OFF` is no less


def has_flow_library() -> bool:
    """Whether OpenCV is installed."""
    try:
        library()
    except InputError:
        return False
    return True


def with_motion(scene: DynamicScene) -> DynamicScene:
    """The scene with optical flow and what moves, worked out from its images, which must follow each other in time.

    Raises InputError without OpenCV (the extra `field`)."""
    if len(scene) < 2:
        raise InputError(f"the scene has {len(scene)} image: flow needs two")
    match = Matcher()
    grey = [match.grey(scene.pixels.read(i)) for i in range(len(scene))]
    h, w = grey[0].shape
    n = len(grey)
    forward, backward = (np.zeros((n, h, w, 2), np.float32) for _ in range(2))
    valid = np.zeros((2, n, h, w), bool)
    off = np.zeros((n, h, w), np.float32)
    for i in range(n - 1):
        forward[i], backward[i + 1] = match.flow(grey[i], grey[i + 1]), match.flow(grey[i + 1], grey[i])
        valid[0, i] = comes_back(forward[i], backward[i + 1])
        valid[1, i + 1] = comes_back(backward[i + 1], forward[i])
        for a, b, flow, good in (
            (i, i + 1, forward[i], valid[0, i]), (i + 1, i, backward[i + 1], valid[1, i + 1])
        ):  # fmt: skip
            found = epipolar_distance(
                flow,
                scene.camera_to_world[a],
                scene.camera_to_world[b],
                scene.intrinsics[a],
                scene.intrinsics[b],
            )
            off[a] = np.maximum(off[a], np.where(good, found, 0))
    moving = np.stack([_cleaned(x > max(OFF, LEAST * w)) for x in off])
    return dataclasses.replace(scene, motion=Motion2D(forward, backward, valid[0], valid[1], moving))


def comes_back(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """`(h, w)`: flow there and then back ends near where it began, within the image."""
    h, w = there.shape[:2]
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    u, v = x + there[..., 0], y + there[..., 1]
    inside = (u >= 0) & (u <= w - 1) & (v >= 0) & (v <= h - 1)
    # nearest pixel: the flow is smooth where it is right
    col, row = np.clip(np.round(u), 0, w - 1).astype(int), np.clip(np.round(v), 0, h - 1).astype(int)
    rest = np.linalg.norm(there + back[row, col], axis=-1)
    return inside & (rest < np.maximum(RETURN, SHARE * np.linalg.norm(there, axis=-1)))


def epipolar_distance(
    flow: np.ndarray, pose: np.ndarray, other: np.ndarray, k: np.ndarray, k_other: np.ndarray
) -> np.ndarray:
    r"""Sampson's distance `(h, w)` in pixels of the matches `x -> x + flow` from the epipolar geometry of two poses.

    With `x_other = R x + t` between the cameras and `F = K'^{-T} [t]_x R K^{-1}`:
    `|x'^T F x| / sqrt((F x)_1^2 + (F x)_2^2 + (F^T x')_1^2 + (F^T x')_2^2)`. Cameras in one place have no epipolar
    lines: then the distance from where the rotation alone takes the pixel."""
    h, w = flow.shape[:2]
    x, y = np.meshgrid(np.arange(w, dtype=np.float64), np.arange(h, dtype=np.float64))
    one = np.stack([x, y, np.ones_like(x)], -1)
    two = one + np.concatenate([flow, np.zeros_like(flow[..., :1])], -1)
    turn = other[:, :3].T @ pose[:, :3]
    shift = other[:, :3].T @ (pose[:, 3] - other[:, 3])
    size = np.linalg.norm(shift)
    if size < 1e-9:
        seen = one @ (k_other @ turn @ np.linalg.inv(k)).T
        return np.linalg.norm(seen[..., :2] / seen[..., 2:] - two[..., :2], axis=-1)
    a, b, c = shift / size
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    f = np.linalg.inv(k_other).T @ cross @ turn @ np.linalg.inv(k)
    fx, ftx = one @ f.T, two @ f
    top = np.abs((two * fx).sum(-1))
    return top / np.sqrt(np.maximum((fx[..., :2] ** 2).sum(-1) + (ftx[..., :2] ** 2).sum(-1), 1e-18))


def _cleaned(mask: np.ndarray) -> np.ndarray:
    """Without specks, and a little wider: the border of what moves moves too."""
    cv2 = library()
    kernel = np.ones((3, 3), np.uint8)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return cv2.dilate(closed, kernel) > 0
