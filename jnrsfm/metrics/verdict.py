"""One verdict on a whole fit, without 3D labels: the error to be expected, with an interval, and what spoils it.

The error is that of `expected_error`. On real sets it ranks fits well and is too high for excellent ones
(`experiments/quality`), so that a verdict names the error but not the interval, and names neither where a check or a
warning says that lengths are no evidence.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jnrsfm.metrics.expected_error import NO_TURN, Prediction, evidence, predict
from jnrsfm.types import Landmarks, Reconstruction

_NOISE = 0.4  # of the 2D motion beyond rank 3: no body moves like this
_SHAKY = 0.12  # noise of the tracks over the sine of the views' turn: what depth is read from drowns
_FLAT = 0.12  # depth over width
_THIN = 0.1  # third extent over the second: a flat thing, which looks the same reflected in depth
_ONE_SIDED = 0.5  # of the left-right pairs
_EXCHANGED = 0.02  # of the frames: the shape of a whole set bends to make sense of them
_LEAST_SPARE = 0.2  # of the coordinates; four points in every frame leave a quarter
_GOOD, _POOR = 0.08, 0.2  # expected error


def judge(
    landmarks: Landmarks, result: Reconstruction, items: Sequence[Mapping[str, Any]], weights: Any = None, *,
    doubtful_input: bool = False, warned: bool = False, exchanged: Any = None, repeated: bool = False,
    keeps_lengths: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """`{"word", "text", "error", "low", "high", "reasons", "frames"}`: good, fair or poor; one line on why;
    the expected normalised error with its interval, fractions; what spoils it; frames to look at first. `warned`: the
    quality report has warnings, with which no fit is better than fair. `exchanged (frame,)`: frames in which left and
    right are exchanged and were fitted so. `repeated`: the spread is that of fits from other starts, not the method's
    own word on how sure its points are; `keeps_lengths`: as in `evidence`."""
    spread = next((i for i in items if i["name"] == "restart_spread" and i["value"] is not None), None)
    found = evidence(landmarks, result, weights, keeps_lengths)
    if spread is not None:
        found = found._replace(spread=float(spread["value"]))
    expected = predict(found)
    grave, reasons = (["the coordinates look wrong (see the first warning)"] if doubtful_input else []), []
    if _spare(landmarks, result) < _LEAST_SPARE:
        grave.append("so few points are seen in a frame that any shape would fit them")
    if found.beyond > _NOISE:
        grave.append("the tracks move like noise, not like one object")
    elif found.view < NO_TURN:
        grave.append(f"no evidence of depth: the views turn by {math.degrees(found.view):.0f} degrees only")
    elif found.unsteady:
        grave.append("no evidence of depth: lengths are hardly steadier in 3D than in the image")
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
