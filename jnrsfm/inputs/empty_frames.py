"""Frames that show too little to be used: left out of a fit, and put back into its result."""

import numpy as np
from jaxtyping import Bool
from scipy.spatial.transform import Rotation, Slerp

from jnrsfm.types import Cameras, Landmarks, Reconstruction


def put_back(
    result: Reconstruction, landmarks: Landmarks, used: Bool[np.ndarray, " frame"]
) -> Reconstruction:
    """The result of the frames `used` of `landmarks` as one of all its frames, numbers kept.

    A frame between two used ones of its clip is interpolated: points, translation and log of the scale along a line,
    the rotation by the shortest turn. Any other is NaN. Both are marked: `valid3d` is False and `mirror_margin` 0.
    """
    n, kept = len(used), np.flatnonzero(used)
    before, after, share = _neighbours(landmarks, kept, n)
    known = before >= 0
    blend = lambda x: _blend(np.asarray(x, np.float64), before, after, share)
    camera = result.cameras
    rotations = np.tile(np.eye(3), (n, 1, 1))
    rotations[kept] = np.asarray(camera.rotations, np.float64)
    for f in np.flatnonzero(known & ~used):
        ends = Rotation.from_matrix(np.asarray(camera.rotations, np.float64)[[before[f], after[f]]])
        rotations[f] = Slerp([0.0, 1.0], ends)(share[f]).as_matrix()
    k = camera.intrinsics
    if k is not None and np.ndim(k) == 3:
        k = landmarks.intrinsics
    f32 = lambda x: np.asarray(x, np.float32)
    cameras = Cameras(
        rotations=f32(rotations),
        translations=None if camera.translations is None else f32(np.nan_to_num(blend(camera.translations))),
        scale=None if camera.scale is None else f32(np.exp(np.nan_to_num(blend(np.log(camera.scale))))),
        intrinsics=k,
        model=camera.model,
    )
    there = np.zeros((n, result.n_points), bool)
    there[kept] = True if result.valid3d is None else np.asarray(result.valid3d)
    spread, deviation = (None if x is None else f32(blend(x)) for x in (result.score, result.deviation))
    margin = None
    if result.mirror_margin is not None:
        margin = np.zeros(n, np.float32)
        margin[kept] = np.asarray(result.mirror_margin)
    visible = np.zeros((n, result.n_points), bool)
    visible[kept] = np.asarray(landmarks.visible)[kept] if result.visible is None else result.visible
    return result.replace(
        points3d=f32(blend(result.points3d)), cameras=cameras, visible=visible, score=spread,
        deviation=deviation, valid3d=there, sequence=landmarks.sequence, category=landmarks.category,
        mirror_margin=margin,
    )  # fmt: skip


def _neighbours(landmarks: Landmarks, kept: np.ndarray, n: int):
    """For each frame the places in `kept` of the used frames before and after it in its clip (itself where it is
    used; -1 where there are not both), and how far it is on the way."""
    before, after, share = np.full(n, -1), np.full(n, -1), np.zeros(n)
    before[kept] = after[kept] = np.arange(len(kept))
    if landmarks.sequence is None:
        return before, after, share
    sequence = np.asarray(landmarks.sequence)
    for clip in np.unique(sequence):
        frames = np.flatnonzero(sequence == clip)
        place = np.flatnonzero(before[frames] >= 0)
        for i in np.flatnonzero(before[frames] < 0):
            j = np.searchsorted(place, i)
            if 0 < j < len(place):
                a, b = place[j - 1], place[j]
                before[frames[i]], after[frames[i]] = before[frames[a]], after[frames[b]]
                share[frames[i]] = (i - a) / (b - a)
    return before, after, share


def _blend(x: np.ndarray, before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rows of `x` along the line between two of them, NaN where there are none."""
    s = share.reshape(-1, *(1,) * (x.ndim - 1))
    out = (1 - s) * x[before] + s * x[after]
    out[before < 0] = np.nan
    return out
