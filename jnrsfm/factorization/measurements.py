"""What the factorisation solvers share: centred measurements, gaps, cameras, the record, the choice of rank.

Frames are divided by one image size for the set (orthographic) or by one each (weak perspective), so that solvers see
numbers of size 1 and one orthographic model; the record is in the user's units again. All in float64.
Confidence is not used as a weight here: a point counts or does not.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jnrsfm.linalg.completion import complete
from jnrsfm.types import Cameras, Landmarks, Reconstruction, reconstruction_of

CAMERAS = ("orthographic", "weak-perspective")


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements:
    """Centred image points `points (frame, 2, point)` of size 1, gaps filled; `seen (frame, point)` where there is an
    observation; `size (frame,)` and `centre (frame, 2)` lead back: `image = size * points + centre`."""

    points: Float[np.ndarray, "frame 2 point"]
    seen: Bool[np.ndarray, "frame point"]
    size: Float[np.ndarray, " frame"]
    centre: Float[np.ndarray, "frame 2"]
    sequence: np.ndarray | None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.points.shape[0]

    @property
    def n_points(self) -> int:
        """Number of points."""
        return self.points.shape[2]


def measure(
    landmarks: Landmarks, camera: str, rank: int, seen: Bool[np.ndarray, "frame point"] | None = None
) -> Measurements:
    """Measurements of landmarks for `rank` shape bases; `seen` replaces the mask of observed points.

    A missing point takes part in nothing: it is filled by `complete`, with a factorisation of rank 3 `rank`.
    """
    seen = np.asarray(landmarks.weights) > 0 if seen is None else seen
    image = np.where(seen[..., None], np.asarray(landmarks.points2d, np.float64), 0.0).transpose(0, 2, 1)
    count = np.maximum(seen.sum(1), 1)[:, None]
    centre = image.sum(2) / count
    w = np.where(seen[:, None], image - centre[..., None], 0.0)
    size = np.sqrt((w**2).sum((1, 2)) / count[:, 0])
    if camera == "orthographic":
        size = np.full(len(w), np.sqrt(np.mean(size**2)))
    w = w / size[:, None, None]
    if not seen.all():
        basis = min(3 * rank, w.shape[2] - 2)
        with jax.enable_x64(True):
            filled = np.asarray(complete(jnp.asarray(w), jnp.asarray(seen), basis))
        w = np.where(seen[:, None], w, filled)
        middle = w.mean(2)
        centre = centre + size[:, None] * middle
        w = w - middle[..., None]
    sequence = None if landmarks.sequence is None else np.asarray(landmarks.sequence)
    return Measurements(w, seen, size, centre, sequence)


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
