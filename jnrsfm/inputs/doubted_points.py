r"""How far each observed point can be believed, told from the tracks alone.

A detector that is sure of a wrong point is common, and one such point spoils a whole frame of a least-squares fit. Two
witnesses are heard: the other points of the frame, through a low-rank model of the set with heavy-tailed noise
(`linalg.completion`), and where frames are in time order the point's own track just before and after; frames of which
nobody told an order are in order where each is much nearer to the next than to others. A point is doubted only where
both miss it by more than six times what they miss typical points by, so that a fast or an unusual movement, which one
of them does not follow, costs nothing, and clean data keep the weight 1 everywhere. Where the track cannot speak, the
others must miss by more than ten times, for an unusual pose is missed by six, and by a tenth of the object's size.
Single views of several categories are believed: one chair among others is no wrong one.

Persistent errors (a limb confused for many frames) agree with their own track and are not found here.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jnrsfm.linalg.completion import complete
from jnrsfm.types import Landmarks

_DOUBT = 6.0  # typical misses
_ALONE = 10.0  # typical misses of the other points, where the track says nothing
_LARGE = 0.1  # of the object's size: what a point must miss by there
_NEAR = 0.25  # of the distance of any two frames: what the next one is within, where frames are in order
_OUT = 20.0  # typical misses: not used at all, where the frame has enough other points
_LEAST = 1e-3  # weight of any other point
_SWING = 0.125  # of the speed of its neighbours in time, the least of three, which a wrong neighbour does not raise
_SURE = 0.5  # confidence from which on a point may swing
_ROUNDING = 2e-3  # of the object's size: nobody's tracks are better
_OFTEN = 20  # observations from which on a point has a scale of its own
_FEWEST = 7  # points that a low-rank model of them can say something with
_FEWEST_FRAMES = 25  # from which on it has more equations than unknowns by far
_BASIS = 6
_RAYLEIGH = 1.1774  # median of the length of a vector of two unit normals


class Reliability(NamedTuple):
    """`weights (frame, point)` in [0, 1], 1 where nothing speaks against a point; `doubted (frame, point)` the observed
    points of weight below a half; `noise`, how far a typical point lies from what the others predict, as a fraction
    of the object's size."""

    weights: Float[np.ndarray, "frame point"]
    doubted: Bool[np.ndarray, "frame point"]
    noise: float


def reliability(landmarks: Landmarks) -> Reliability:
    """What the tracks say of their own points. Never raises: too little to tell gives the weight 1."""
    seen = np.asarray(landmarks.weights) > 0
    flat = Reliability(np.ones(seen.shape, np.float32), np.zeros(seen.shape, bool), 0.0)
    xy = np.where(seen[..., None], np.asarray(landmarks.points2d, np.float64), np.nan)
    if not seen.any() or len(seen) < _FEWEST_FRAMES:
        return flat
    if landmarks.category is not None and landmarks.sequence is None:
        return flat
    with np.errstate(all="ignore"):
        shown = seen.sum(1) >= 2
        middle = np.full((len(xy), 1, 2), np.nan)
        middle[shown] = np.nanmedian(xy[shown], 1, keepdims=True)
        radius = np.full(len(xy), np.nan)
        radius[shown] = np.sqrt(np.nanmedian(((xy[shown] - middle[shown]) ** 2).sum(-1), 1))
        typical = np.nanmedian(radius)
    if not (np.isfinite(typical) and typical > 0):
        return flat
    radius = np.clip(np.where(np.isfinite(radius), radius, typical), 0.1 * typical, 10 * typical)
    x = (xy - np.where(shown[:, None, None], middle, 0.0)) / radius[:, None, None]
    given = np.asarray(landmarks.weights, np.float64)
    among, gap, noise = _among_others(x, seen, given)
    sequence = landmarks.sequence
    if sequence is None and _in_order(x):
        sequence = np.zeros(len(x), int)
    in_time = _in_time(xy / typical, sequence, given > _SURE)
    alone = np.where(gap > _LARGE, among * _DOUBT / _ALONE, 0.0)
    # a witness that cannot speak is NaN
    miss = np.where(np.isfinite(in_time), np.fmin(among, in_time), alone)
    # a point that its detector doubts itself needs less to be doubted here
    miss = miss / np.sqrt(np.clip(given, _LEAST, 1.0))
    miss = np.where(seen & np.isfinite(miss), miss, 0.0)
    weights = np.where(miss > _DOUBT, np.maximum((_DOUBT / np.maximum(miss, _DOUBT)) ** 4, _LEAST), 1.0)
    out = seen & (miss > _OUT)
    enough = (seen & ~out).sum(1) >= np.maximum(_FEWEST, seen.sum(1) / 2)
    weights[out & enough[:, None]] = 0.0
    return Reliability(weights.astype(np.float32), seen & (weights < 0.5), noise)


def reweighed(landmarks: Landmarks) -> tuple[Landmarks, Reliability]:
    """The landmarks with their confidence times the reliability of each point, and that reliability."""
    found = reliability(landmarks)
    if (found.weights == 1).all():
        return landmarks, found
    given = 1.0 if landmarks.confidence is None else np.asarray(landmarks.confidence, np.float32)
    return dataclasses.replace(landmarks, confidence=given * found.weights), found


def _typical(miss: np.ndarray) -> np.ndarray:
    """`(point,)` scale of the misses of each point, as a normal distribution has it from its median: that of the point,
    for paws move more than hips do, or that of all points where it is the larger."""
    known = np.isfinite(miss)
    if not known.any():
        return np.full(miss.shape[1], np.inf)
    scale = np.full(miss.shape[1], np.median(miss[known]))
    often = known.sum(0) >= _OFTEN
    scale[often] = np.maximum(scale[often], np.nanmedian(miss[:, often], 0))
    return np.maximum(scale / _RAYLEIGH, _ROUNDING)


def _in_order(x: np.ndarray) -> bool:
    """Whether frames whose order nobody told follow one another: each near to the next, as two of them are not."""
    n = len(x)
    other = x[np.random.default_rng(0).permutation(n)]
    with np.errstate(all="ignore"):
        steps = np.nanmedian(np.linalg.norm(x[1:] - x[:-1], axis=-1))
        usual = np.nanmedian(np.linalg.norm(other - x, axis=-1))
    return bool(steps < _NEAR * usual)


def _among_others(
    x: np.ndarray, seen: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Misses of what the other points of the frame predict, over the typical one and as they are; NaN where they
    cannot predict. And the typical one."""
    n, p = seen.shape
    usual = seen.mean(0) > 0.02
    basis = min(_BASIS, (int(usual.sum()) - 1) // 2, (n - 1) // 2)
    if usual.sum() < _FEWEST or basis < 2:
        return np.full((n, p), np.nan), np.full((n, p), np.nan), 0.0
    with jax.enable_x64(True):
        found = complete(
            jnp.asarray(np.nan_to_num(x[:, usual]).transpose(0, 2, 1)), jnp.asarray(weights[:, usual]), basis,
            heavy_tails=True,
        )  # fmt: skip
        gap = np.full((n, p), np.nan)
        gap[:, usual] = np.asarray(found.gap)
    gap[~seen] = np.nan
    gap[seen.sum(1) < basis + 2] = np.nan
    scale = _typical(gap)
    typical = float(scale.min())
    return gap / scale, gap, typical if np.isfinite(typical) else 0.0


def _in_time(x: np.ndarray, sequence, sure: np.ndarray) -> np.ndarray:
    """Misses of the best of six predictions from the frames about it, over the typical one; NaN where there is none
    and everywhere for frames without an order. `sure (frame, point)`: points that may swing."""
    n, p, _ = x.shape
    miss, speed = np.full((n, p), np.nan), np.full((n, p), np.nan)
    if sequence is None:
        return miss
    sequence = np.asarray(sequence)
    for clip in np.unique(sequence):
        frames = np.flatnonzero(sequence == clip)
        y = np.full((len(frames) + 4, p, 2), np.nan)
        y[2:-2] = x[frames]
        b2, b1, a1, a2 = y[:-4], y[1:-3], y[3:-1], y[4:]
        guesses = ((b1 + a1) / 2, 2 * b1 - b2, 2 * a1 - a2, (b2 + a2) / 2, b1, a1)
        for guess in guesses:
            miss[frames] = np.fmin(miss[frames], np.linalg.norm(x[frames] - guess, axis=-1))
        steps = np.linalg.norm([b1 - b2, (a1 - b1) / 2, a2 - a1], axis=-1)
        speed[frames] = np.fmin(np.fmin(steps[0], steps[1]), steps[2])
    # A paw that stands most of the time has a small typical miss, and swings fast: where its neighbours move, it may.
    return miss / (_typical(miss) + _SWING * sure * np.nan_to_num(speed))
