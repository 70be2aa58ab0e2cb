"""Samples of many categories: what a lifter sees of landmarks with a category each.

A category owns a block of keypoints. A keypoint that a sample's category does not have (not `defined`), and one that it
has and that is hidden, are different things: the first is not there in 3D, the second is found.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.cameras import camera_model
from jnrsfm.geometry.normalization import masked_mean
from jnrsfm.inputs.observations import Frames, two_d_size
from jnrsfm.types import Landmarks


class Samples(NamedTuple):
    """What training sees of each sample; leading axis frame.

    `points (frame, point, 2)`: centred on the visible ones (rays: as they are), in units of the category's size;
    `weights` and `heldout (frame, point)`: of the points that training may use, and of those that it must not; `defined
    (frame, point)`: the keypoints of the category; `category (frame,)`. With a prior: `shape (frame, point, 3)` and
    `rotation (frame, 3, 3)` as its fit found them. `nearness (frame,)`: one over the depth of the object's centre in
    the unit of the points, 0 but under perspective.
    """

    points: Any
    weights: Any
    heldout: Any
    defined: Any
    category: Any
    shape: Any
    rotation: Any
    nearness: Any


def centred(points, weights):
    """Points minus their weighted mean, 0 where the weight is 0."""
    return jnp.where(weights[..., None] > 0, points - masked_mean(points, weights), 0.0)


def kept(samples: Samples, seen, heldout) -> Samples:
    """The samples with the points of weights `seen` alone, those of `heldout` held out; centred anew, but for rays."""
    points = jnp.where(seen[..., None] > 0, samples.points, 0.0)
    near = samples.nearness[:, None, None] > 0
    return samples._replace(
        weights=seen, heldout=heldout, points=jnp.where(near, points, centred(points, seen))
    )


def category_codes(landmarks: Landmarks, known: tuple[str, ...] | None) -> np.ndarray:
    """`(frame,)` index into `known` of each sample's category. Raises InputError for an unknown one."""
    if known is None or (landmarks.category is None and len(known) == 1):
        return np.zeros(landmarks.n_frames, int)
    if landmarks.category is None:
        raise InputError(f"the landmarks have no category: name one of {', '.join(known)} for each frame")
    names = category_names(landmarks)
    new = ~np.isin(names, known)
    if new.any():
        raise InputError(
            f"frame {np.flatnonzero(new)[0]}: category {str(names[new][0])!r} was not in the training "
            f"({', '.join(known)}): leave such frames out ({new.sum()} here), or fit again with them"
        )
    return np.array([known.index(str(name)) for name in names])


def category_names(landmarks: Landmarks) -> np.ndarray:
    """`(frame,)` names of the categories; their numbers as text where they have no names."""
    codes = np.asarray(landmarks.category)
    return codes.astype(str) if landmarks.categories is None else np.asarray(landmarks.categories)[codes]


def keypoints_of(landmarks: Landmarks, category: np.ndarray, count: int) -> np.ndarray:
    """`(category, point)` bool: the keypoints that some sample of a category has (`defined`, else `visible`)."""
    has = np.asarray(landmarks.visible if landmarks.defined is None else landmarks.defined)
    return np.stack([has[category == c].any(0) for c in range(count)])


def observe(
    landmarks: Landmarks, category: np.ndarray, keypoints, size: np.ndarray, camera: str
) -> tuple[Samples, Frames]:
    """What is seen of landmarks: points centred, in units of their category's `size (category,)`, or of their own where
    the camera model gives each frame a scale; and the way back. Under perspective the points are rays of the camera
    that looks at the object, as they are: what depth does to a ray goes by its angle to the axis. Raises InputError for
    a perspective without intrinsics."""
    model = camera_model(camera)
    weights = np.asarray(landmarks.weights, np.float32)
    xy = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
    intrinsics = None if landmarks.intrinsics is None else np.asarray(landmarks.intrinsics, np.float64)
    plane, turn = model.view(xy, weights, intrinsics)
    unit = two_d_size(plane, weights, "rms") if model.frame_scale else size[category]
    middle = (weights[..., None] * plane).sum(1) / weights.sum(1)[:, None] * (model.columns < 3)
    points = np.where(weights[..., None] > 0, (plane - middle[:, None]) / unit[:, None, None], 0.0)
    # an object of size 1 has rays of this size at a depth of one over it
    nearness = unit if model.columns == 3 else np.zeros(len(unit))
    defined = keypoints[category] if landmarks.defined is None else np.asarray(landmarks.defined)
    f32 = lambda a: jnp.asarray(a, jnp.float32)
    n, p = weights.shape
    samples = Samples(
        f32(points), f32(weights), f32(np.zeros((n, p))), f32(defined), jnp.asarray(category, jnp.int32),
        jnp.zeros((n, p, 3)), jnp.broadcast_to(jnp.eye(3), (n, 3, 3)),
        f32(nearness),
    )  # fmt: skip
    return samples, Frames(plane, unit, turn)
