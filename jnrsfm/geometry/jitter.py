r"""How noisy tracks are, and tracks without the part of it that jumps from frame to frame.

A path seen at every frame, y_t = x_t + e_t with white noise of standard deviation s, has second differences over a
stride k of variance

    Var(y_t+k - 2 y_t + y_t-k) = 6 s^2 + k^4 m^2,

where m is the standard deviation of the path's own second difference: noise does not grow with the stride, smooth
motion grows with its fourth power. Two strides tell them apart, with the median absolute deviation in place of the
variance, since detections have outliers, and of each frame the median over its points is taken out, since a camera may
shake. What is smooth in the errors of a detector counts as motion.

Source: ours; the smoother: Whittaker, 1923, with Student's t weights.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded

STRIDES = (1, 4)
_LOOSE = 0.5  # of the deviation over a clip: white noise of tracks that are in no order
_FAR = 0.1  # of the object's size: less is noise even where the object keeps still
_LEAST = 40  # second differences from which a variance is read


class TrackNoise(NamedTuple):
    """`noise`: standard deviation of a coordinate's white noise; `motion`: of the second difference of its path, per
    frame squared; both in the units of the points, NaN where no clip is long enough to tell."""

    noise: float
    motion: float


def track_noise(
    points: Float[np.ndarray, "frame point 2"],
    visible: Bool[np.ndarray, "frame point"],
    sequence: Any = None,
) -> TrackNoise:
    """The noise of `points (frame, point, 2)`: the module docstring. `sequence (frame,)`: the clip of each frame, whose
    frames follow each other; None: loose frames, of which nothing is known."""
    near, far = (bend[seen] for bend, seen in (_bends(points, visible, sequence, k) for k in STRIDES))
    return _told_apart(near, far, _LEAST)


def _told_apart(near: np.ndarray, far: np.ndarray, least: int) -> TrackNoise:
    """Noise and motion by second differences over the two strides; NaN where either are fewer than `least`."""
    if min(near.size, far.size) < least:
        return TrackNoise(np.nan, np.nan)
    va, vb = ((float(np.median(np.abs(x))) / 0.6745) ** 2 for x in (near, far))
    a, b = STRIDES
    motion = max((vb - va) / (b**4 - a**4), 0.0)
    noise = max((va - a**4 * motion) / 6, 0.0)
    return TrackNoise(noise**0.5, motion**0.5)


def _bends(
    points: np.ndarray, visible: np.ndarray, sequence: Any, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Second differences `(frame - 2 stride, point, 2)` and which are known `(frame - 2 stride, point)`."""
    k = stride
    if sequence is None or len(points) <= 2 * k:
        return np.zeros((0, *points.shape[1:])), np.zeros((0, points.shape[1]), bool)
    clip = np.asarray(sequence)
    seen = visible[2 * k :] & visible[k:-k] & visible[: -2 * k]
    seen = seen & ((clip[2 * k :] == clip[: -2 * k]) & (clip[k:-k] == clip[: -2 * k]))[:, None]
    bend = np.where(seen[..., None], points[2 * k :] - 2 * points[k:-k] + points[: -2 * k], 0.0)
    shake = np.ma.median(np.ma.masked_array(bend, np.broadcast_to(~seen[..., None], bend.shape)), 1)
    return bend - np.ma.filled(shake, 0.0)[:, None], seen


def point_motion(
    points: Float[np.ndarray, "frame point 2"],
    visible: Bool[np.ndarray, "frame point"],
    sequence: Any,
    known: TrackNoise,
) -> Float[np.ndarray, " point"]:
    """`(point,)` standard deviation of the second difference of each point's path where it moves most: a foot swings
    and stands, and paths of the mean motion would cut its swing off. Twice the 90th percentile (as of a normal) of
    those over the longer stride, less the noise: too free costs less than too stiff. At least the `known` motion of
    all, and a tenth of the noise."""
    k = STRIDES[1]
    bend, seen = _bends(points, visible, sequence, k)
    least = max(known.motion, 0.1 * known.noise)
    out = np.full(points.shape[1], least)
    for p in range(points.shape[1]):
        own = np.abs(bend[seen[:, p], p])
        if own.size >= _LEAST:
            high = float(np.quantile(own, 0.9)) / 1.645  # of a normal's absolute value
            out[p] = max(least, 2 * max((high**2 - 6 * known.noise**2) / k**4, 0.0) ** 0.5)
    return out


def clip_sizes(
    points: Float[np.ndarray, "frame point 2"], visible: Bool[np.ndarray, "frame point"], sequence: Any
) -> Float[np.ndarray, " frame"]:
    """`(frame,)` the median size of the object in the image in the frame's clip: of each frame the root mean square
    distance of what is seen from its mean; above 0."""
    xy = np.where(visible[..., None], points, 0.0)
    count = np.maximum(visible.sum(1), 1)
    gap = np.where(visible[..., None], xy - xy.sum(1, keepdims=True) / count[:, None, None], 0.0)
    own = np.sqrt((gap**2).sum((1, 2)) / count)
    clips = np.zeros(len(xy), int) if sequence is None else np.asarray(sequence)
    out = np.ones(len(xy))
    for clip in np.unique(clips):
        sizes = own[(clips == clip) & (own > 0)]
        out[clips == clip] = float(np.median(sizes)) if len(sizes) else 1.0
    return out


def clip_noise(
    points: Float[np.ndarray, "frame point 2"], visible: Bool[np.ndarray, "frame point"], sequence: Any = None
) -> TrackNoise:
    """`track_noise` in shares of the object's size in the image. The noise is infinite where frames do not follow each
    other, whatever the record says: points jump far, and from frame to frame about as far as over the whole clip."""
    xy = np.where(visible[..., None], points, 0.0) / clip_sizes(points, visible, sequence)[:, None, None]
    found = track_noise(xy, visible, sequence)
    if not np.isfinite(found.noise):
        return found
    count = np.maximum(visible.sum(1), 1)[:, None, None]
    gap = np.where(visible[..., None], xy - xy.sum(1, keepdims=True) / count, np.nan)
    clips, spreads = np.asarray(sequence), []
    for clip in np.unique(clips):
        own = gap[clips == clip][:, visible[clips == clip].sum(0) >= 5]
        if own.size:
            spreads.append(np.nanstd(own, 0).ravel())
    spread = float(np.median(np.concatenate(spreads))) if spreads else 0.0
    return TrackNoise(np.inf, np.nan) if found.noise > max(_LOOSE * spread, _FAR) else found


def restlessness(
    points: Float[np.ndarray, "frame point 2"], visible: Bool[np.ndarray, "frame point"], sequence: Any
) -> float:
    """Noise of the coordinates that wander most over a clip, as a share of how far they wander (standard deviation, the
    frame's mean taken out): near 1 for frames in no order, small for a clip however noisy. NaN where nothing tells."""
    count = np.maximum(visible.sum(1), 1)[:, None, None]
    xy = np.where(visible[..., None], points, 0.0)
    gap = np.where(visible[..., None], xy - xy.sum(1, keepdims=True) / count, np.nan)
    clips, square, enough = np.asarray(sequence), np.zeros(points.shape[1:]), np.zeros(points.shape[1])
    for clip in np.unique(clips):
        own = visible[clips == clip].sum(0) >= 5
        square[own] += np.nanvar(gap[clips == clip][:, own], 0)
        enough += own
    wander = np.sqrt(square / np.maximum(enough, 1)[:, None])
    both, shares = [_bends(points, visible, sequence, k) for k in STRIDES], []
    for i in np.argsort(wander.ravel())[::-1][: max(4, wander.size // 5)]:
        p, axis = divmod(int(i), 2)
        near, far = (bend[seen[:, p], p, axis] for bend, seen in both)
        noise = _told_apart(near, far, _LEAST // 2).noise
        if np.isfinite(noise) and wander[p, axis] > 0:
            shares.append(noise / wander[p, axis])
    return float(np.median(shares)) if shares else float("nan")


def smooth_tracks(
    points: Float[np.ndarray, "frame point 2"],
    visible: Bool[np.ndarray, "frame point"],
    sequence: Any,
    noise: float,
    motion: Float[np.ndarray, " point"],
    rounds: int = 5,
) -> Float[np.ndarray, "frame point 2"]:
    """Paths of least sum |x - y|^2 / noise^2 + sum |second difference of x|^2 / motion^2 in each clip,
    with a `motion (point,)` for each point.

    A point far from its path counts less (Student's t with four degrees of freedom). Points that are not visible, and
    clips of fewer than 5 frames, stay as they are; `noise`, `motion` above 0."""
    out = np.array(points, np.float64)
    clips = np.asarray(sequence)
    for clip in np.unique(clips):
        frames = np.flatnonzero(clips == clip)
        n = len(frames)
        if n < 5:
            continue
        # the bands of D'D, D the second difference
        bend = np.zeros((3, n))
        for place, value in ((0, 1.0), (1, -2.0), (2, 1.0)):
            for other, factor in ((0, 1.0), (1, -2.0), (2, 1.0)):
                if other >= place:
                    bend[other - place, place : n - 2 + place] += value * factor
        for p in range(points.shape[1]):
            seen = visible[frames, p]
            if seen.sum() < 5:
                continue
            y = np.where(seen[:, None], points[frames, p], 0.0)
            weight = seen.astype(np.float64)
            for _ in range(rounds):
                bands = bend / motion[p] ** 2
                bands[0] += weight / noise**2 + 1e-9 / noise**2
                path = solveh_banded(bands, weight[:, None] * y / noise**2, lower=True)
                gap = ((path - y) ** 2).sum(-1) / noise**2
                weight = seen * 5 / (4 + gap)
            out[frames[seen], p] = path[seen]
    return out
