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
from jnrsfm.geometry.cameras import CameraModel, camera_model
from jnrsfm.inputs.inpainting import MOST_POINTS, fill_hidden, landmark_covariance
from jnrsfm.types import Cameras, Landmarks, Reconstruction, reconstruction_of

SizeMeasure = Literal["rms", "longer", "shorter"]


class Observations(NamedTuple):
    """What training sees of each frame; leading axis frame.

    `points (frame, point, 2)`: plane coordinates or rays, as the camera model has them; `weights (frame, point)`:
    confidence of the points that may be used, 0 elsewhere; `inputs (frame, point, 2)` and `input_confidence (frame,
    point)`: the same for the encoder, hidden points filled in where they can be (`inpainting`); `depth (frame,)`: what
    ties the image to the object's unit (`geometry.cameras`); `heldout (frame, point)`: weights of the observed points
    that training must not see.
    """

    points: Any
    weights: Any
    inputs: Any
    input_confidence: Any
    depth: Any
    heldout: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Normalizer:
    """How landmarks become observations, and shapes become a reconstruction.

    `camera`: name of the camera model; `measure`: the measure of 2D size; `scale`: the 2D size of the set; `covariance
    (point, point)` fills in hidden points for the encoder (None: they stay 0).
    """

    camera: str
    measure: SizeMeasure
    scale: float = 1.0
    covariance: Any = None

    @property
    def model(self) -> CameraModel:
        """The camera model."""
        return camera_model(self.camera)

    def __call__(self, landmarks: Landmarks) -> tuple[Observations, "Frames"]:
        """Observations of all frames, and what is needed to go back."""
        weights = np.asarray(landmarks.weights, np.float32)
        xy = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
        k = None if landmarks.intrinsics is None else np.asarray(landmarks.intrinsics, np.float64)
        plane, turn = self.model.view(xy, weights, k)
        size = self.model.frame_sizes(two_d_size(plane, weights, self.measure), self.scale)
        points, depth = self.model.scaled(plane, weights, size)
        points = np.where(weights[..., None] > 0, points, 0.0)
        f32 = lambda a: jnp.asarray(np.asarray(a, np.float32))
        seen = Observations(
            points=f32(points), weights=f32(weights), inputs=f32(points), input_confidence=f32(weights),
            depth=f32(depth), heldout=f32(np.zeros(weights.shape)),
        )  # fmt: skip
        frames = Frames(np.asarray(plane, np.float32), size.astype(np.float32), turn)
        return self.filled(seen, landmarks.defined), frames

    def filled(self, data: Observations, defined: Any = None) -> Observations:
        """The data with the encoder's inputs made from the points of positive weight, the others filled in."""
        weights = np.asarray(data.weights)
        points = np.where(weights[..., None] > 0, np.asarray(data.points), 0.0).astype(np.float32)
        if self.covariance is None or (weights > 0).all():
            return data._replace(inputs=jnp.asarray(points), input_confidence=data.weights)
        centred, middle = _centred(points, weights)
        inputs = np.asarray(fill_hidden(centred, weights, jnp.asarray(self.covariance))) + middle
        known = np.ones(weights.shape, bool) if defined is None else np.asarray(defined)
        # a class's missing keypoints stay out; a confidence counts for what was seen, 1 for what was predicted
        confidence = np.where(weights > 0, weights, known).astype(np.float32)
        inputs = np.where(confidence[..., None] > 0, inputs, 0.0).astype(np.float32)
        return data._replace(inputs=jnp.asarray(inputs), input_confidence=jnp.asarray(confidence))

    def with_covariance(self, data: Observations) -> "Normalizer":
        """With the covariance that fills in hidden points, estimated on the points of positive weight; None where
        there are too many points for it. Complete sets have one too: frames lifted later may have gaps."""
        weights = np.asarray(data.weights)
        if weights.shape[1] > MOST_POINTS:
            return dataclasses.replace(self, covariance=None)
        centred, _ = _centred(np.asarray(data.points) * np.asarray(data.depth)[:, None, None], weights)
        return dataclasses.replace(self, covariance=np.asarray(landmark_covariance(centred, weights)))

    def fitted(self, landmarks: Landmarks) -> "Normalizer":
        """With the size of the set measured on these landmarks (root mean square over frames), where frames have no
        scale of their own."""
        if self.model.frame_scale:
            return self
        weights = np.asarray(landmarks.weights, np.float32)
        xy = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
        size = two_d_size(xy, weights, self.measure)
        return dataclasses.replace(self, scale=float(np.sqrt(np.mean(size**2))))

    def reconstruction(
        self, landmarks: Landmarks, frames: "Frames", shapes: Any, rotations: Any, depth: Any
    ) -> Reconstruction:
        """The record in the user's units and camera of object-frame shapes `(frame, point, 3)`.

        `depth (frame,)` is that of the observations, as scale correction left it.
        """
        weights = jnp.asarray(landmarks.weights)
        shapes = jnp.asarray(shapes)
        turned = jnp.einsum("fpj,fij->fpi", shapes, rotations)
        place = self.model.placed(turned, rotations, frames.plane, weights, frames.size, depth, frames.turn)
        needs_k = self.model.columns == 3
        cameras = Cameras(
            rotations=np.asarray(place.rotations),
            translations=np.asarray(place.translations),
            scale=None if place.scale is None else np.asarray(place.scale),
            intrinsics=landmarks.intrinsics if needs_k else None,
            model=self.camera,
        )
        mirror = "perspective" if self.model.shows_reflection else "none"
        gauge = self.model.gauge(self.measure)
        return reconstruction_of(landmarks, np.asarray(shapes), cameras, gauge=gauge, mirror=mirror)


class Frames(NamedTuple):
    """Per frame: `plane (frame, point, 2)` plane points or virtual rays; `size (frame,)` what 1 stands for in the
    image; `turn (frame, 3, 3)` the rotation to the virtual camera, None where it is the user's own."""

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
            f"frame {bad[0]}: the visible points have no size: mark them missing there, as NaN or visible=False"
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
