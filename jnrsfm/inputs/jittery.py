"""Landmarks whose tracks jitter: how much, whether their frames follow each other, and their paths without the jitter.

Solvers take noise for shape: what jumps from frame to frame is taken out before, where the tracks themselves tell it
from motion (`geometry.jitter`).
"""

import numpy as np

from jnrsfm.geometry import (
    TrackNoise,
    clip_noise,
    clip_sizes,
    point_motion,
    restlessness,
    smooth_tracks,
    track_noise,
)
from jnrsfm.types import Landmarks

NOISY = 0.01
"""Noise of tracks, in shares of the object's size, above which they are smoothed."""
_RESTLESS = 0.4  # clips are below 0.3 under a tenth of noise, frames in no order above 0.45


def noise_of(landmarks: Landmarks) -> TrackNoise:
    """Noise and motion of the tracks in shares of the object's size; NaN where nothing tells them."""
    return clip_noise(*_tracks(landmarks), landmarks.sequence)


def in_order(landmarks: Landmarks) -> Landmarks:
    """Without clips where their frames do not follow each other."""
    return landmarks.replace(sequence=None) if np.isinf(noise_of(landmarks).noise) else landmarks


def smoothed(landmarks: Landmarks) -> tuple[Landmarks, float]:
    """The landmarks on smooth paths, and their noise; as they are, and 0, where they do not jitter by more than `NOISY`
    or are in no order, whatever the record says. A record without clips may be one."""
    xy, seen = _tracks(landmarks)
    clips = (
        np.zeros(landmarks.n_frames, int) if landmarks.sequence is None else np.asarray(landmarks.sequence)
    )
    sizes = clip_sizes(xy, seen, clips)[:, None, None]
    known = track_noise(xy / sizes, seen, clips)
    if not known.noise > max(known.motion, NOISY) or not restlessness(xy / sizes, seen, clips) < _RESTLESS:
        return landmarks, 0.0
    motion = point_motion(xy / sizes, seen, clips, known)
    smooth = sizes * smooth_tracks(xy / sizes, seen, clips, known.noise, motion)
    points = np.where(seen[..., None], smooth, np.asarray(landmarks.points2d))
    return landmarks.replace(points2d=points.astype(np.float32)), known.noise


def _tracks(landmarks: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(landmarks.points2d, np.float64), np.asarray(landmarks.weights) > 0
