"""From landmarks to what the energy wants: tracks, and standard deviations."""

import jax.numpy as jnp
import numpy as np

from jnrsfm.factorization.measurements import Measurements
from jnrsfm.geometry import TrackNoise, twin_bones
from jnrsfm.inputs.jittery import NOISY
from jnrsfm.methods.articulated.settings import Articulated
from jnrsfm.shape_prior.articulated import Sigmas, Tracks
from jnrsfm.types import Landmarks

_ANY = 1e3  # standard deviation of depths of which nothing is said


def tracks_of(landmarks: Landmarks, data: Measurements, bones: np.ndarray) -> Tracks:
    """The measurements as the energy wants them."""
    n = data.n_frames
    sequence = landmarks.sequence
    follows = np.zeros(n - 1) if sequence is None else np.diff(np.asarray(sequence)) == 0
    single = lambda a: jnp.asarray(a, jnp.float32)
    length_of = np.arange(len(bones))
    for a, b in twin_bones(bones, landmarks.symmetric):
        length_of[b] = a
    length_of = np.unique(length_of, return_inverse=True)[1]
    return Tracks(
        single(data.observed.transpose(0, 2, 1)), single(data.weights), single(follows), jnp.asarray(bones),
        jnp.asarray(length_of), single(data.size / np.exp(np.log(data.size).mean())),
    )  # fmt: skip


def sigmas_of(tracks: Tracks, known: TrackNoise, config: Articulated, camera: str, noise: float) -> Sigmas:
    """Standard deviations; those of motion, pixels and depths by what x and y do. Twice the noise, since what is smooth
    in the errors of a detector does not show in it."""
    motion = config.motion or (
        float(np.clip(30 * known.motion, 0.02, 0.4)) if np.isfinite(known.motion) else 0.05
    )
    own = max(noise, 2 * known.noise) if np.isfinite(known.noise) else noise
    pixel = config.pixel or float(np.clip(own, 0.003, 0.2))
    free = float(camera == "weak-perspective")
    extent = _middling(tracks)
    # noisy: each frame is about as deep as wide; else only the whole is, and weakly
    noisy = known.noise > NOISY
    depth = config.depth or (extent if noisy else _ANY)
    relief = _ANY if noisy else config.relief
    parts = (pixel, config.bone, motion, config.scale, config.shape, depth, free, config.near, extent, relief)
    return Sigmas(*map(jnp.float32, parts))


def _middling(tracks: Tracks) -> float:
    """Geometric mean of the object's two extents in the image (root mean squares), median over the frames."""
    w, xy = np.asarray(tracks.weights) > 0, np.asarray(tracks.points, np.float64)
    spread = np.einsum("fp,fpi,fpj->fij", w, xy, xy) / np.maximum(w.sum(1), 1)[:, None, None]
    return float(np.median(np.maximum(np.linalg.det(spread), 1e-8) ** 0.25))
