r"""One verdict on a whole fit, without 3D labels: the error to be expected, with an interval, and what spoils it.

The expected normalised error is a formula of what can be measured on tracks and result, fitted on generated figures of
known 3D (script `experiments/quality/calibrate.py`): linear in the logarithms of its evidence,

$$\log \hat e = c_0 + \sum_k c_k \log x_k,$$

and its interval is that of the residuals on generated sets that the fit had not seen (split conformal prediction). It
is a prediction for objects like those: bodies with limbs, and says nothing of what no figure of the generators does. On
real sets it ranks fits well and is too low for bad ones (`experiments/quality`), so that a verdict names the error but
not the interval, and names neither where a check or a warning says that lengths are no evidence.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jnrsfm.geometry import clip_noise, thickness
from jnrsfm.metrics import quality
from jnrsfm.metrics.protocols import camera_points
from jnrsfm.types import Landmarks, Reconstruction

_LONG = 0.5  # of the root mean square radius: shorter pairs tell nothing of their constancy
_STEADY = 0.2  # share of the pairs that are taken for rigid


class Evidence(NamedTuple):
    """What speaks for and against a result; fractions unless said.

    `steadiness`: how much the pairs of points that keep their distance best vary in 3D (deviation over mean);
    `foreshortening`: the same of their distance in the image, which views that turn must change; `view`: root mean
    square angle of the viewing directions, radians; `beyond`: 2D motion beyond rank 3; `residual`: of the image;
    `depth_jitter`: second differences of depth in time over those of the image, 1 where they are alike; `depth`: over
    width; `thickness`: third extent of a frame's shape over the second, median; `one_sided`: of the left-right pairs of
    which anything was seen, the share of which one side was (NaN: no pairs). `jitter`: white noise of a coordinate of
    the tracks, a share of the object's size in the image (NaN: no clips to tell it from).
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


def evidence(landmarks: Landmarks, result: Reconstruction, weights: Any = None) -> Evidence:
    """Measured on the points that were seen and of weight above a half (`weights (frame, point)`); NaN where there is
    nothing to measure."""
    seen = np.asarray(landmarks.weights) > 0.5
    if weights is not None:
        seen = seen & (np.asarray(weights) > 0.5)
    if not seen.any():
        seen = np.asarray(landmarks.visible, bool)
    landmarks = landmarks.replace(visible=seen)
    x = camera_points(result)
    x = x - x.mean(1, keepdims=True)
    steady, flat = _distances(x, seen, landmarks.edges)
    residual = quality.reprojection_errors(landmarks, result)
    frames = np.arange(len(x))[:: -(-len(x) // 2000)]
    beyond = quality.beyond_rank(np.asarray(landmarks.points2d, float)[frames], seen[frames])[1]
    view = np.radians(quality.view_spread(np.asarray(result.rotations)))
    depth = quality.depth_ratio(x, np.ones_like(seen))
    return Evidence(
        steady, flat, view, beyond, float(np.nanmean(residual)), _depth_jitter(x, landmarks.sequence), depth,
        thickness(x[frames]), _one_sided(landmarks), _jitter(landmarks),
    )  # fmt: skip


def _one_sided(landmarks: Landmarks) -> float:
    """Of the left-right pairs of which anything was seen, the share of which one side was."""
    if landmarks.symmetric is None or not len(np.asarray(landmarks.symmetric)):
        return float("nan")
    left, right = np.moveaxis(np.asarray(landmarks.visible)[:, np.asarray(landmarks.symmetric)], 2, 0)
    return float((left ^ right).sum() / max(int((left | right).sum()), 1))


def _jitter(landmarks: Landmarks) -> float:
    """Noise of the tracks in shares of the object's size; NaN for loose frames, or where they do not follow each
    other."""
    landmarks = landmarks.select(slice(0, _ENOUGH))
    seen, xy = np.asarray(landmarks.visible, bool), np.asarray(landmarks.points2d, float)
    noise = clip_noise(xy, seen, landmarks.sequence).noise
    return noise if math.isfinite(noise) else float("nan")


def _distances(x: np.ndarray, seen: np.ndarray, edges: Any) -> tuple[float, float]:
    """Variation of the distances of bones (else of the steadiest pairs of points) in space, and in the image."""
    frames = np.arange(len(x))[:: -(-len(x) // 500)]
    x, seen = x[frames], seen[frames]
    points = np.flatnonzero(seen.mean(0) > 0.3)[:60]
    radius = np.sqrt((x**2).sum(-1).mean())
    if edges is not None and len(edges) >= 3:
        i, j = np.asarray(edges).T
    else:
        a, b = np.triu_indices(len(points), 1)
        i, j = points[a], points[b]
    if not len(i):
        return float("nan"), float("nan")
    both = seen[:, i] & seen[:, j]
    space, plane = (np.linalg.norm(y[:, i] - y[:, j], axis=-1) for y in (x, x[..., :2]))
    long = (space.mean(0) > (0.0 if edges is not None and len(edges) >= 3 else _LONG) * radius) & (
        both.sum(0) >= 3
    )
    if not long.any():
        return float("nan"), float("nan")
    in_space, in_plane = (_variation(d[:, long], both[:, long]) for d in (space, plane))
    if edges is not None and len(edges) >= 3:
        return float(np.median(in_space)), float(np.median(in_plane))
    kept = np.argsort(in_space)[: max(1, int(_STEADY * len(in_space)))]
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
    """The module docstring's formula, and no less than what the image itself is missed by: a rigid shape keeps all its
    lengths whatever it leaves unexplained."""
    terms = _terms(found)
    log_error = sum(_COEFFICIENTS[name] * value for name, value in terms.items()) + _COEFFICIENTS["one"]
    missed = _RESIDUAL * found.residual if math.isfinite(found.residual) else 0.0
    error = min(max(math.exp(log_error), missed), 2.0)
    return Prediction(error, error * math.exp(-_HALF_WIDTH), min(error * math.exp(_HALF_WIDTH), 2.0))


def _terms(found: Evidence) -> dict[str, float]:
    """The logarithms of the evidence, bounded: what is not known stands at what is usual."""
    log = lambda x, low, high, usual: math.log(min(max(x if math.isfinite(x) else usual, low), high))
    gain = found.steadiness / found.foreshortening if found.foreshortening > 0 else 1.0
    return {"steadiness": log(found.steadiness, 3e-3, 1.0, 0.05), "gain": log(gain, 0.01, 2.0, 0.3)}


# Of `experiments/quality/calibration.json`.
_COEFFICIENTS = {"one": -0.7718, "steadiness": 0.3107, "gain": 0.5655}
_HALF_WIDTH = 0.821

_RESIDUAL = 4.0  # a residual is over the longer side of the points' box, an error over their norm, with depth
_NOISE = 0.4  # of the 2D motion beyond rank 3: no body moves like this
_NO_GAIN = 0.8  # of the foreshortening of lengths in the image is left in space
_ENOUGH = 20_000  # frames, to see how noisy tracks are
_SHAKY = 0.12  # noise of the tracks over the sine of the views' turn: what depth is read from drowns
_NO_TURN = math.radians(8.0)
_FLAT = 0.12  # depth over width
_THIN = 0.1  # third extent over the second: a flat thing, which looks the same reflected in depth
_ONE_SIDED = 0.5  # of the left-right pairs
_EXCHANGED = 0.02  # of the frames: the shape of a whole set bends to make sense of them
_LEAST_SPARE = 0.2  # of the coordinates; four points in every frame leave a quarter
_GOOD, _POOR = 0.08, 0.2  # expected error


def judge(
    landmarks: Landmarks, result: Reconstruction, items: Sequence[Mapping[str, Any]], weights: Any = None, *,
    doubtful_input: bool = False, warned: bool = False, exchanged: Any = None, repeated: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """`{"word", "text", "error", "low", "high", "reasons", "frames"}`: good, fair or poor; one line on why;
    the expected normalised error with its interval, fractions; what spoils it; frames to look at first. `warned`: the
    quality report has warnings, with which no fit is better than fair. `exchanged (frame,)`: frames in which left and
    right are exchanged and were fitted so. `repeated`: the spread is that of fits from other starts, not the method's
    own word on how sure its points are."""
    found = evidence(landmarks, result, weights)
    expected = predict(found)
    grave, reasons = (["the coordinates look wrong (see the first warning)"] if doubtful_input else []), []
    gain = found.steadiness / found.foreshortening if found.foreshortening > 0 else float("nan")
    if _spare(landmarks, result) < _LEAST_SPARE:
        grave.append("so few points are seen in a frame that any shape would fit them")
    if found.beyond > _NOISE:
        grave.append("the tracks move like noise, not like one object")
    elif found.view < _NO_TURN:
        grave.append(f"no evidence of depth: the views turn by {math.degrees(found.view):.0f} degrees only")
    elif gain > _NO_GAIN:
        grave.append("no evidence of depth: lengths are no steadier in 3D than in the image")
    if found.jitter > _SHAKY * max(math.sin(found.view), 1e-6):
        grave.append(
            f"the tracks jitter by {100 * found.jitter:.0f} % of the object's size while the views turn by "
            f"{math.degrees(found.view):.0f} degrees: depths are guessed"
        )
    if found.thickness < _THIN and result.cameras.model != "perspective":
        grave.append(
            "the shapes are flat, and a flat thing looks the same reflected in depth: single frames may be"
        )
    if found.one_sided > _ONE_SIDED:
        grave.append(
            "one side of the body is hidden: nothing tells a left step from a right one reflected in depth"
        )
    sides = 0 if exchanged is None else int(np.asarray(exchanged).sum())
    if sides > _EXCHANGED * landmarks.n_frames:
        grave.append(f"left and right change sides in {sides} frames: exchange them back")
    if found.depth < _FLAT:
        reasons.append("the shapes are nearly flat")
    margin = result.mirror_margin
    weak = np.zeros(0, int) if margin is None else np.flatnonzero(np.asarray(margin) < 0.1)
    if margin is None or result.mirror == "none":
        reasons.append("each frame may be reflected in depth")
    elif len(weak) > 0.05 * len(np.asarray(margin)):
        reasons.append(f"{len(weak)} frames may be reflected in depth")
    spread = next((i for i in items if i["name"] == "restart_spread" and i["value"] is not None), None)
    if spread is not None:
        # what is true lies at most with one of several that differ; lengths may be steady in all of them
        least = min(max(expected.error, float(spread["value"])), 2.0)
        expected = Prediction(least, min(expected.low, least), max(expected.high, least))
        if spread["verdict"] == "fair":
            what = "repeated fits differ" if repeated else "points are uncertain"
            reasons.append(f"{what} by {100 * float(spread['value']):.0f} % of the size")
        elif spread["verdict"] == "poor":  # at least one of fits that disagree is wrong
            grave.append("repeated fits disagree" if repeated else "points are very uncertain")
    for name in (str(i["name"]) for i in items if i["verdict"] == "poor"):  # good is what has no poor item
        if name != "restart_spread":
            reasons.append(_SPOILS.get(name, f"{name.replace('_', ' ')} is poor"))
    if warned and not reasons:
        reasons.append("read the warnings")
    if expected.error > _POOR or grave:
        word = "poor"
    else:
        word = "fair" if expected.error > _GOOD or reasons else "good"
    why = "; ".join(grave + reasons) or {
        "good": "no check speaks against it", "fair": "lengths in 3D are not as steady as those of good fits",
        "poor": "lengths in 3D vary, or the image is missed, as in fits that are wrong",
    }[word]  # fmt: skip
    # lengths that the method keeps, or that nothing turned, say nothing of the error
    about = "" if grave or warned else f", expected error about {_rounded(100 * expected.error)} %"
    return {
        "word": word, "text": f"{word}{about}: {why}", **expected._asdict(),
        "reasons": grave + reasons, "frames": [int(f) for f in weak[:20]],
    }  # fmt: skip


def _spare(landmarks: Landmarks, result: Reconstruction) -> float:
    """The share of the observed coordinates that is left when every frame's camera has taken its own: what can speak
    against a shape."""
    count = (np.asarray(landmarks.weights) > 0).sum(1)
    camera = 5 if result.cameras.model == "orthographic" else 6  # rotation, place, and scale or distance
    return float(np.maximum(2 * count - camera, 0).sum() / max(2 * count.sum(), 1))


def _rounded(percent: float) -> str:
    """Two digits are more than the formula knows."""
    return f"{percent:.0f}" if percent >= 1 else f"{percent:.1f}"


_SPOILS = {
    "outliers": "many points are wrong",
    "held_out_reprojection": "hidden points are predicted badly",
    "missing_points": "most points are missing",
}
