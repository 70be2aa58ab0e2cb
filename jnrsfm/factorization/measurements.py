"""What the factorisation solvers share: centred measurements, gaps, cameras, the record, the choice of rank.

Frames are divided by one image size for the set (orthographic) or by one each (weak perspective), so that solvers see
numbers of size 1 and one orthographic model; the record is in the user's units again. All in float64.
Confidence is a weight in [0, 1]: the precision of a point over that of a point that is sure.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jnrsfm.linalg.completion import complete
from jnrsfm.types import Cameras, Landmarks, Reconstruction, reconstruction_of

CAMERAS = ("orthographic", "weak-perspective")
_SMALLEST = 1e-3  # of the typical size of a frame: one whose points all but coincide is not blown up


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements:
    """Centred image points of size 1. `points (frame, 2, point)`, gaps filled, a point of little confidence drawn to
    what the others predict; `observed`, the same as they were observed; `weights (frame, point)` the confidence of
    each, 0 where there is no observation; `size (frame,)` and `centre (frame, 2)` lead back: `image = size * points +
    centre`."""

    points: Float[np.ndarray, "frame 2 point"]
    observed: Float[np.ndarray, "frame 2 point"]
    weights: Float[np.ndarray, "frame point"]
    size: Float[np.ndarray, " frame"]
    centre: Float[np.ndarray, "frame 2"]
    sequence: np.ndarray | None

    @property
    def seen(self) -> Bool[np.ndarray, "frame point"]:
        """`(frame, point)` where there is an observation."""
        return self.weights > 0

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.points.shape[0]

    @property
    def n_points(self) -> int:
        """Number of points."""
        return self.points.shape[2]


def measure(
    landmarks: Landmarks,
    camera: str,
    rank: int,
    weights: Float[np.ndarray, "frame point"] | Bool[np.ndarray, "frame point"] | None = None,
) -> Measurements:
    """Measurements of landmarks for `rank` shape bases; `weights` replace the landmarks' own.

    A missing point takes part in nothing: it is filled by `complete`, with a factorisation of rank 3 `rank`; a point
    of weight w goes the way 1 - w to what that predicts.
    """
    v = np.asarray(landmarks.weights if weights is None else weights, np.float64)
    image = np.where(v[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0).transpose(0, 2, 1)
    total = np.maximum(v.sum(1), 1e-12)
    centre = (v[:, None] * image).sum(2) / total[:, None]
    w = np.where(v[:, None] > 0, image - centre[..., None], 0.0)
    size = np.sqrt((v[:, None] * w**2).sum((1, 2)) / total)
    if camera == "orthographic":
        size = np.full(len(w), np.sqrt(np.mean(size**2)))
    size = np.maximum(size, _SMALLEST * max(float(np.median(size)), 1e-300))
    w = w / size[:, None, None]
    points = w
    if not (v == 1).all():
        basis = max(1, min(3 * rank, w.shape[2] - 2))
        with jax.enable_x64(True):
            filled = np.asarray(complete(jnp.asarray(w), jnp.asarray(v), basis).mean)
        points = v[:, None] * w + (1 - v[:, None]) * filled
        middle = points.mean(2)
        centre = centre + size[:, None] * middle
        points, w = points - middle[..., None], w - middle[..., None]
    sequence = None if landmarks.sequence is None else np.asarray(landmarks.sequence)
    return Measurements(points, np.where(v[:, None] > 0, w, points), v, size, centre, sequence)


def reconstruction(
    landmarks: Landmarks,
    camera: str,
    data: Measurements,
    shapes: Float[np.ndarray, "frame point 3"],
    rotations: Float[np.ndarray, "frame 3 3"],
    margin: Float[np.ndarray, " frame"],
) -> Reconstruction:
    """The record: `scale * (points3d @ R.T) + t` has its x and y in the user's image units; orthographic: scale 1."""
    unit = float(np.exp(np.log(data.size).mean()))
    shapes = np.asarray(shapes, np.float64) * unit
    scale = None if camera == "orthographic" else (data.size / unit).astype(np.float32)
    middle = np.einsum("fi,fji->fj", shapes.mean(1), rotations)
    t = np.concatenate([data.centre, np.zeros((len(shapes), 1))], 1)
    t[:, 2] -= (1.0 if scale is None else scale) * middle[:, 2]  # depth is free: the centroid is put at 0
    gauge = "the input's units"
    if scale is not None:
        gauge = "every frame's image (rms) has one size, the geometric mean over frames in the input's units"
    cameras = Cameras(
        rotations=rotations.astype(np.float32), translations=t.astype(np.float32), scale=scale, model=camera
    )
    return reconstruction_of(
        landmarks,
        shapes.astype(np.float32),
        cameras,
        gauge=gauge,
        mirror="set" if landmarks.sequence is None else "sequence",
        mirror_margin=margin.astype(np.float32),
    )
