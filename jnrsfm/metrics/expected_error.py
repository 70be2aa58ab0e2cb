r"""The error to be expected of a result, without 3D labels: of the whole, and of every point.

**The whole.** The expected normalised error is a formula of what can be measured on tracks and result, fitted on
generated figures of known 3D (script `experiments/quality/calibrate.py`): linear in the logarithms of its evidence,

$$\log \hat e = c_0 + \sum_k c_k \log x_k,$$

and its interval is that of the residuals on generated sets that the fit had not seen (split conformal prediction). It
is a prediction for objects like those: bodies with limbs, and says nothing of what no figure of the generators does.

**Each point** (`deviations`). What is wrong with a whole is shared out over its points by how freely each may move when
the image is known: with the distribution of the result's own shapes, mean $\mu$ and principal directions $B$ in
the object's frame, and the images $R_f S_f$ of frame $f$ known to $\tau$ where points were seen, the posterior
covariance of a point is

$$C_{fp} = B_p (I + \tau^{-2} \textstyle\sum_{q \text{ seen}} B_q^T R_f^T R_f B_q)^{-1} B_p^T,$$

large for what swings, what is hidden, and depth; a camera whose rotation is wrong by $\gamma$ moves a point by
$\gamma r_{fp}$, $r$ its distance from the middle. So

$$\sigma_{fp} = \hat e\, s\, w_{fp} / \operatorname{rms}(w), \qquad
w_{fp}^2 = \operatorname{tr} C_{fp} + \gamma^2 r_{fp}^2 + \epsilon^2,$$

with $s$ the size of the frame's shape; $\tau, \gamma, \epsilon$ are those of greatest likelihood on the generated
sets, where the distances within which shares of the points lie, in these deviations, are measured too (`RADII`).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jnrsfm.geometry import clip_noise, thickness
from jnrsfm.metrics import quality
from jnrsfm.metrics.protocols import camera_points
from jnrsfm.types import Landmarks, Reconstruction

_LONG = 0.5  # of the root mean square radius: shorter pairs tell nothing of their constancy
_ENOUGH = 20_000  # frames, to see how noisy tracks are
NO_TURN = math.radians(8.0)
NO_GAIN = 0.5  # of the foreshortening of lengths in the image is left in space
_STEADY = 0.2  # share of the pairs that are taken for rigid
_STEADY_BONES = 0.5  # the same of bones


class Evidence(NamedTuple):
    """What speaks for and against a result; fractions unless said.

    `steadiness`: how much lengths vary in 3D (deviation over mean), of bones or pairs of points that keep theirs best
    for how they vary in the image;
    `foreshortening`: the same of their distance in the image, which views that turn must change; `view`: root mean
    square angle of the viewing directions, radians; `beyond`: 2D motion beyond rank 3; `residual`: of the image,
    beyond the tracks' own noise;
    `depth_jitter`: second differences of depth in time over those of the image, 1 where they are alike; `depth`: over
    width; `thickness`: third extent of a frame's shape over the second, median; `one_sided`: of the left-right pairs of
    which anything was seen, the share of which one side was (NaN: no pairs). `jitter`: white noise of a coordinate of
    the tracks, a share of the object's size in the image (NaN: no clips to tell it from). `spread`: of a point over
    fits from other starts, or as the method gives it, a share of the shape's size, median (NaN: there is none).
    `kept`: the method keeps the lengths of bones, so that those of other pairs speak.
    """

    steadiness: float
    foreshortening: float
    view: float
    beyond: float
    residual: float
    depth_jitter: float
    depth: float
    thickness: float
    one_sided: float
    jitter: float = float("nan")
    spread: float = float("nan")
    kept: bool = False

    @property
    def gain(self) -> float:
        """What is left in space of how distances vary in the image: depth is there to take it out."""
        return self.steadiness / self.foreshortening if self.foreshortening > 0 else float("nan")

    @property
    def unsteady(self) -> bool:
        """Whether bones, or the steadiest pairs, are hardly steadier in space than in the image. Other pairs than bones
        need not be steady in a figure that bends."""
        return not self.kept and bool(self.gain > NO_GAIN)

    @property
    def guessed(self) -> bool:
        """Whether nothing speaks for the depths: views that do not turn, or lengths that they do not make steadier."""
        return self.unsteady or bool(self.view < NO_TURN)


def evidence(
    landmarks: Landmarks, result: Reconstruction, weights: Any = None, keeps_lengths: bool = False
) -> Evidence:
    """Measured on the points that were seen and of weight above a half (`weights (frame, point)`); NaN where there is
    nothing to measure. `keeps_lengths`: the method keeps the lengths of bones (`methods.Fitted`)."""
    seen = np.asarray(landmarks.weights) > 0.5
    if weights is not None:
        seen = seen & (np.asarray(weights) > 0.5)
    if not seen.any():
        seen = np.asarray(landmarks.visible, bool)
    landmarks = landmarks.replace(visible=seen)
    x = camera_points(result)
    x = x - x.mean(1, keepdims=True)
    steady, flat = _distances(x, seen, landmarks.edges, keeps_lengths)
    residual = float(np.nanmean(quality.reprojection_errors(landmarks, result)))
    jitter = _jitter(landmarks)
    # a record without clips may be one: its noise is no error either
    noise = (
        jitter
        if landmarks.sequence is not None
        else _jitter(landmarks.replace(sequence=np.zeros(len(x), int)))
    )
    if math.isfinite(noise):
        residual = math.sqrt(max(residual**2 - (_NOISE_LEFT * noise) ** 2, 0.0))
    frames = np.arange(len(x))[:: -(-len(x) // 2000)]
    beyond = quality.beyond_rank(np.asarray(landmarks.points2d, float)[frames], seen[frames])[1]
    view = np.radians(quality.view_spread(np.asarray(result.rotations)))
    depth = quality.depth_ratio(x, np.ones_like(seen))
    return Evidence(
        steady, flat, view, beyond, residual, _depth_jitter(x, landmarks.sequence), depth,
        thickness(x[frames]), _one_sided(landmarks), jitter, kept=keeps_lengths,
    )  # fmt: skip


def _one_sided(landmarks: Landmarks) -> float:
    """Of the left-right pairs of which anything was seen, the share of which one side was."""
    if landmarks.symmetric is None or not len(np.asarray(landmarks.symmetric)):
        return float("nan")
    left, right = np.moveaxis(np.asarray(landmarks.visible)[:, np.asarray(landmarks.symmetric)], 2, 0)
    return float((left ^ right).sum() / max(int((left | right).sum()), 1))


def _jitter(landmarks: Landmarks) -> float:
    """Noise of the tracks in shares of the object's size; NaN for frames without clips, or where they do not follow
    each other."""
    landmarks = landmarks.select(slice(0, _ENOUGH))
    seen, xy = np.asarray(landmarks.visible, bool), np.asarray(landmarks.points2d, float)
    noise = clip_noise(xy, seen, landmarks.sequence).noise
    return noise if math.isfinite(noise) else float("nan")


def _distances(x: np.ndarray, seen: np.ndarray, edges: Any, keeps_lengths: bool) -> tuple[float, float]:
    """Variation, in space and in the image, of lengths: of bones, or where there are none, or their lengths are kept
    whatever is true, of other pairs of points. Of those that are steadiest in space for how they vary in the image, the
    median: only what a turn foreshortens tells depth."""
    frames = np.arange(len(x))[:: -(-len(x) // 500)]
    x, seen = x[frames], seen[frames]
    points = np.flatnonzero(seen.mean(0) > 0.3)[:60]
    i, j = points[np.array(np.triu_indices(len(points), 1))]
    share, least = _STEADY, _LONG
    if edges is not None and len(edges) >= 3:
        if keeps_lengths:
            bones = np.zeros((x.shape[1],) * 2, bool)
            bones[tuple(np.asarray(edges).T)] = True
            others = ~(bones | bones.T)[i, j]
            i, j = i[others], j[others]
        else:
            (i, j), share, least = np.asarray(edges).T, _STEADY_BONES, 0.0
    space, plane = (np.linalg.norm(y[:, i] - y[:, j], axis=-1) for y in (x, x[..., :2]))
    both = seen[:, i] & seen[:, j]
    long = (space.mean(0) > least * np.sqrt((x**2).sum(-1).mean())) & (both.sum(0) >= 3)
    if not long.any():
        return float("nan"), float("nan")
    in_space, in_plane = (_variation(d[:, long], both[:, long]) for d in (space, plane))
    kept = np.argsort(in_space / np.maximum(in_plane, 1e-12))[: max(1, int(share * len(in_space)))]
    return float(np.median(in_space[kept])), float(np.median(in_plane[kept]))


def _variation(d: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Deviation over mean of each column, where known, the size of the frame taken out."""
    mean = (d * known).sum(0) / known.sum(0)
    size = (d * known).sum(1) / np.maximum((known * mean).sum(1), 1e-12)
    d = d / np.where(size > 0, size, 1.0)[:, None]
    mean = (d * known).sum(0) / known.sum(0)
    return np.sqrt((known * (d - mean) ** 2).sum(0) / known.sum(0)) / np.maximum(mean, 1e-12)


def _depth_jitter(x: np.ndarray, sequence: Any) -> float:
    if sequence is None or len(x) < 4:
        return 1.0
    s = np.asarray(sequence)
    within = (s[2:] == s[1:-1]) & (s[1:-1] == s[:-2])
    if not within.any():
        return 1.0
    second = np.abs(x[2:] - 2 * x[1:-1] + x[:-2])[within]
    return float(np.median(second[..., 2]) / max(float(np.median(second[..., :2])), 1e-12))


class Prediction(NamedTuple):
    """The normalised error to be expected, a fraction, and the interval that holds nine of ten true ones."""

    error: float
    low: float
    high: float


def predict(found: Evidence) -> Prediction:
    """The module docstring's formula, and no less than follows from what the image is missed by, since a rigid shape
    keeps its lengths whatever it leaves unexplained; nor than where depths are guessed."""
    log_error = _COEFFICIENTS["one"] + sum(_COEFFICIENTS[k] * v for k, v in terms(found).items())
    error = min(max(math.exp(log_error), least(found)), 2.0)
    return Prediction(error, error * math.exp(-_HALF_WIDTH), min(error * math.exp(_HALF_WIDTH), 2.0))


def terms(found: Evidence) -> dict[str, float]:
    """The logarithms of the evidence, bounded: what is not known stands at what is usual."""
    log = lambda x, low, high, usual: math.log(min(max(x if math.isfinite(x) else usual, low), high))
    return {
        "steadiness": log(found.steadiness, 3e-3, 1.0, 0.05),
        "gain": log(found.gain, 0.01, 2.0, 0.3),
        "spread": log(found.spread, 5e-3, 0.5, 0.05),
    }


def least(found: Evidence) -> float:
    """The error that what is left in the image speaks for, or that of guessed depths."""
    missed = _RESIDUAL * found.residual if math.isfinite(found.residual) else 0.0
    return max(missed, _GUESSED if found.guessed else 0.0)


def deviations(
    landmarks: Landmarks, result: Reconstruction, error: float, weights: Any = None
) -> Float[np.ndarray, "frame point"]:
    """`(frame, point)` root of the mean square distance to be expected between a point and its true place, shapes
    centred and of one size, in the units of `points3d`, by the module docstring's formula; 0 at points that are not
    defined or not finite. `error`: the expected normalised error of the whole, a fraction (`predict`). `weights (frame,
    point)`: seen are points that were and whose weight is above a half. Finite for finite shapes."""
    defined = np.isfinite(np.asarray(result.points3d)).all(-1)
    if landmarks.defined is not None:
        defined &= np.asarray(landmarks.defined, bool)
    seen = defined & (np.asarray(landmarks.weights) > 0.5)
    if weights is not None:
        seen = seen & (np.asarray(weights) > 0.5)
    x = np.where(defined[..., None], np.asarray(result.points3d, np.float64), 0.0)
    count = np.maximum(defined.sum(1), 1)[:, None]
    x = np.where(defined[..., None], x - x.sum(1, keepdims=True) / count[..., None], 0.0)
    size = np.maximum(np.sqrt((x**2).sum((1, 2)) / count[:, 0]), 1e-12)
    x = x / size[:, None, None]
    kinds = np.zeros(len(x), int) if result.category is None else np.asarray(result.category)
    variance = np.zeros(defined.shape)
    for kind in np.unique(kinds):
        own = np.flatnonzero(kinds == kind)
        variance[own] = _posterior(x[own], np.asarray(result.rotations, np.float64)[own], seen[own])
    variance = np.where(defined, variance + (_ROTATION_ERROR**2) * (x**2).sum(-1) + _LEAST**2, 0.0)
    share = np.sqrt(variance / (variance.sum(1, keepdims=True) / count).mean())
    return (error * size[:, None] * share).astype(np.float32)


def _posterior(x: np.ndarray, rotations: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """`(frame, point)` trace of a point's posterior covariance (module docstring) under the distribution of the shapes
    `x (frame, point, 3)`."""
    frames, points, _ = x.shape
    some = x[:: -(-frames // _SOME)]
    mean = some.mean(0)
    _, s, directions = np.linalg.svd((some - mean).reshape(len(some), -1), full_matrices=False)
    variances = s**2 / len(some)
    modes = min(_MODES, len(s))
    basis = (directions[:modes] * np.sqrt(variances[:modes])[:, None]).reshape(modes, points, 3)
    rest = variances[modes:].sum() / (3 * points)  # of a coordinate
    precision = 1.0 / (_KNOWN**2 + rest)
    found = np.empty((frames, points))
    for start in range(0, frames, _CHUNK):
        part = slice(start, start + _CHUNK)
        image = np.einsum("fij,kpj->fkpi", rotations[part, :2], basis) * seen[part, None, :, None]
        image = image.reshape(len(image), modes, 2 * points)
        inverse = np.linalg.inv(np.eye(modes) + precision * image @ image.transpose(0, 2, 1))
        found[part] = np.einsum("fkl,kpi,lpi->fp", inverse, basis, basis, optimize=True)
    return found + 3 * rest


# Of `experiments/quality/calibration.json`.
_COEFFICIENTS = {"one": 0.1537, "steadiness": 0.3043, "gain": 0.3359, "spread": 0.2934}
_HALF_WIDTH = 0.736
_GUESSED = 0.519  # the error where nothing speaks for the depths
RADII = {0.1: 0.2, 0.2: 0.31, 0.3: 0.41, 0.4: 0.52, 0.5: 0.66, 0.6: 0.82, 0.7: 1.04, 0.8: 1.39, 0.9: 2.09}
"""Distances, in deviations, within which a share of the points lies (`deviations`)."""

_RESIDUAL = 6.0  # a residual is over the longer side of the points' box, an error over their norm, with depth
_NOISE_LEFT = 0.35  # of the noise of the tracks stands in the residual of a fit, at least

_KNOWN = 0.1  # of the size: how well the images are known, for what is expected of a point
_ROTATION_ERROR = 0.045  # radians by which a camera may be wrong
_LEAST = 0.014  # of the size
_MODES = 12  # directions of the distribution
_SOME, _CHUNK = 600, 500  # frames that it is of; frames at a time
