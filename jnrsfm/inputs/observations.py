"""Landmarks as a network sees them: scaled, looked at, masked; and the way back to the camera.

Orthographic: one scale for the whole set. Weak perspective: one for each frame, from its 2D size. Perspective:
rays of a virtual camera turned (exactly, by a homography) to look at the object, and a depth of the object's
centre for each frame, from its 2D size. The unit is the object's size: what comes out has an image of size about 1.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.cameras import look_at, pixels_to_rays, rotate_rays
from jnrsfm.geometry.normalization import translation_perspective, translation_weak
from jnrsfm.inputs.inpainting import MOST_POINTS, fill_hidden, landmark_covariance
from jnrsfm.types import Cameras, Landmarks, Reconstruction, reconstruction_of

SizeMeasure = Literal["rms", "longer", "shorter"]


class Observations(NamedTuple):
    """What training sees of each frame; leading axis frame.

    `points (frame, point, 2)`: centred and scaled plane coordinates, or rays of the virtual camera; `weights
    (frame, point)`: confidence of the points that may be used, 0 elsewhere; `inputs (frame, point, 2)` and `trust
    (frame, point)`: the same for the encoder, hidden points filled in where they can be (`inpainting`);
    `depth (frame,)`: t_z (perspective, else 1); `heldout (frame, point)`: weights of the observed points that
    training must not see; `z (frame, point)` and `z_weight (frame,)`: depths of the resolved hand to train on, and
    how much to trust them; `loose (frame,)`: 0 where training begins with one rigid shape, 1 where shapes are free.
    """

    points: Any
    weights: Any
    inputs: Any
    trust: Any
    depth: Any
    heldout: Any
    z: Any
    z_weight: Any
    loose: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Normalizer:
    """How landmarks become observations, and shapes become a reconstruction.

    `scale`: the one scale of an orthographic set; `measure`: the measure of 2D size; `covariance (point, point)`
    fills in hidden points for the encoder (None: they stay 0).
    """

    camera: str
    measure: SizeMeasure
    scale: float = 1.0
    covariance: Any = None

    def __call__(self, landmarks: Landmarks) -> tuple[Observations, "Frames"]:
        """Observations of all frames, and what is needed to go back."""
        weights = np.asarray(landmarks.weights, np.float32)
        xy = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
        turn = None
        if self.camera == "perspective":
            if landmarks.intrinsics is None:
                raise InputError(
                    "perspective needs intrinsics (3, 3): add them, or choose camera weak-perspective"
                )
            xy, turn = _virtual_view(xy, weights, np.asarray(landmarks.intrinsics, np.float64))
        size = two_d_size(xy, weights, self.measure)
        if self.camera == "orthographic":
            size = np.full(len(xy), self.scale)
        if self.camera == "perspective":
            points, depth = xy, 1.0 / size
        else:
            middle = (weights[..., None] * xy).sum(1) / weights.sum(1)[:, None]
            points, depth = (xy - middle[:, None]) / size[:, None, None], np.ones(len(xy))
        points = np.where(weights[..., None] > 0, points, 0.0)
        f32 = lambda a: jnp.asarray(np.asarray(a, np.float32))
        nothing, frame = f32(np.zeros(weights.shape)), np.ones(len(xy))
        seen = Observations(
            points=f32(points), weights=f32(weights), inputs=f32(points), trust=f32(weights), depth=f32(depth),
            heldout=nothing, z=nothing, z_weight=f32(0 * frame), loose=f32(frame),
        )  # fmt: skip
        return self.filled(seen, landmarks.defined), Frames(
            np.asarray(xy, np.float32), size.astype(np.float32), turn
        )

    def filled(self, data: Observations, defined: Any = None) -> Observations:
        """The data with the encoder's inputs made from the points of positive weight, the others filled in."""
        weights = np.asarray(data.weights)
        points = np.where(weights[..., None] > 0, np.asarray(data.points), 0.0).astype(np.float32)
        if self.covariance is None or (weights > 0).all():
            return data._replace(inputs=jnp.asarray(points), trust=data.weights)
        centred, middle = _centred(points, weights)
        inputs = np.asarray(fill_hidden(centred, weights, jnp.asarray(self.covariance))) + middle
        known = np.ones(weights.shape, bool) if defined is None else np.asarray(defined)
        # a class's missing keypoints stay out; a confidence counts for what was seen, 1 for what was predicted
        trust = np.where(weights > 0, weights, known).astype(np.float32)
        inputs = np.where(trust[..., None] > 0, inputs, 0.0).astype(np.float32)
        return data._replace(inputs=jnp.asarray(inputs), trust=jnp.asarray(trust))

    def with_covariance(self, data: Observations) -> "Normalizer":
        """With the covariance that fills in hidden points, estimated on the points of positive weight; None where
        there are too many points for it. Complete sets have one too: frames lifted later may have gaps."""
        weights = np.asarray(data.weights)
        if weights.shape[1] > MOST_POINTS:
            return dataclasses.replace(self, covariance=None)
        centred, _ = _centred(np.asarray(data.points) * np.asarray(data.depth)[:, None, None], weights)
        return dataclasses.replace(self, covariance=np.asarray(landmark_covariance(centred, weights)))

    def fitted(self, landmarks: Landmarks) -> "Normalizer":
        """With the scale of an orthographic set measured on these landmarks (root mean square over frames)."""
        if self.camera != "orthographic":
            return self
        weights = np.asarray(landmarks.weights, np.float32)
        xy = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
        size = two_d_size(xy, weights, self.measure)
        return dataclasses.replace(self, scale=float(np.sqrt(np.mean(size**2))))

    def reconstruction(
        self, landmarks: Landmarks, frames: "Frames", shapes: Any, rotations: Any, depth: Any
    ) -> Reconstruction:
        """The record in the user's units and camera of object-frame shapes `(frame, point, 3)`.

        `depth (frame,)` is t_z over the scale of the frame: 1 unless scale correction changed it.
        """
        weights = jnp.asarray(landmarks.weights)
        shapes = jnp.asarray(shapes)
        turned = jnp.einsum("fpj,fij->fpi", shapes, rotations)
        if self.camera == "perspective":
            t = translation_perspective(turned, jnp.asarray(frames.plane), weights, jnp.asarray(depth))
            # back from the virtual camera: x = G^T x_virtual
            g = jnp.asarray(frames.turn, turned.dtype)
            rotations = jnp.einsum("fji,fjk->fik", g, rotations)
            t = jnp.einsum("fji,fj->fi", g, t)
            scale, gauge = (
                None,
                f"1 is the object's image size ({self.measure}) times its depth over the focal length",
            )
        else:
            scale = jnp.asarray(frames.size) * jnp.asarray(depth)
            t = translation_weak(turned[..., :2] * scale[:, None, None], jnp.asarray(frames.plane), weights)
            t = jnp.concatenate([t, jnp.zeros_like(t[:, :1])], -1)
            what = "of the set" if self.camera == "orthographic" else "of the frame"
            gauge = f"1 is the image size {what} ({self.measure}); `scale` restores the input's units"
        cameras = Cameras(
            rotations=np.asarray(rotations),
            translations=np.asarray(t),
            scale=None if scale is None else np.asarray(scale),
            intrinsics=landmarks.intrinsics if self.camera == "perspective" else None,
            model=self.camera,
        )
        mirror = "perspective" if self.camera == "perspective" else "none"
        return reconstruction_of(landmarks, np.asarray(shapes), cameras, gauge=gauge, mirror=mirror)


class Frames(NamedTuple):
    """Per frame: `plane (frame, point, 2)` plane points or virtual rays; `size (frame,)` what 1 stands for in the
    image; `turn (frame, 3, 3)` the rotation to the virtual camera (perspective)."""

    plane: Any
    size: Any
    turn: Any


def two_d_size(points: np.ndarray, weights: np.ndarray, measure: SizeMeasure) -> np.ndarray:
    """`(frame,)` size of the visible points: root mean square distance from their mean ("rms"), or the longer or
    the shorter side of their bounding box (as Deep NRSfM++ uses for people and for cars)."""
    seen = weights > 0
    count = np.maximum(seen.sum(1), 1)
    if measure == "rms":
        middle = (seen[..., None] * points).sum(1) / count[:, None]
        square = (seen[..., None] * (points - middle[:, None]) ** 2).sum((1, 2))
        size = np.sqrt(square / count)
    else:
        high = np.where(seen[..., None], points, -np.inf).max(1)
        low = np.where(seen[..., None], points, np.inf).min(1)
        side = np.where(np.isfinite(high - low), high - low, 0.0)
        size = side.max(1) if measure == "longer" else side.min(1)
    bad = np.flatnonzero(~(size > 0))
    if len(bad):
        raise InputError(
            f"frame {bad[0]}: the visible points have no size: drop such frames (jnrsfm.io.drop_empty)"
        )
    return size


def hold_out(weights: np.ndarray, fraction: float, least: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split weights into those for training and those held out: a random `fraction` of the observed points, never
    leaving a frame with fewer than `least`."""
    rng = np.random.default_rng(seed)
    seen = weights > 0
    order = np.where(seen, rng.random(weights.shape), np.inf)
    rank = np.argsort(np.argsort(order, axis=1), axis=1)  # of the visible points of a frame, in random order
    count = seen.sum(1)
    wanted = np.floor(fraction * count + rng.random(len(weights))).astype(int)
    wanted = np.clip(np.minimum(wanted, count - least), 0, None)
    held = seen & (rank < wanted[:, None])
    return np.where(held, 0, weights).astype(np.float32), np.where(held, weights, 0).astype(np.float32)


def _centred(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points minus the mean of the visible, 0 where hidden; and that mean `(frame, 1, 2)`."""
    middle = ((weights[..., None] * points).sum(1) / np.maximum(weights.sum(1), 1e-6)[:, None])[:, None]
    return np.where(weights[..., None] > 0, points - middle, 0.0).astype(np.float32), middle


def _virtual_view(pixels, weights, intrinsics):
    """Rays of the camera turned to look at the mean visible ray of each frame, and the rotations."""
    rays = np.asarray(pixels_to_rays(jnp.asarray(pixels), jnp.asarray(intrinsics)))
    rays = np.where(weights[..., None] > 0, rays, 0.0)
    middle = (weights[..., None] * rays).sum(1) / weights.sum(1)[:, None]
    direction = np.concatenate([middle, np.ones((len(middle), 1))], 1)
    turn = np.asarray(look_at(jnp.asarray(direction)))
    turned = np.asarray(rotate_rays(jnp.asarray(rays), jnp.asarray(turn)))
    return np.where(weights[..., None] > 0, turned, 0.0), turn
