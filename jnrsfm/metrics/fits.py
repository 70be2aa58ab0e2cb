"""What a fit is worth: its uncertainty and quality report without ground truth, also as text; its errors where there is
some."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jnrsfm.metrics.expected_error import deviations
from jnrsfm.metrics.protocols import evaluate
from jnrsfm.metrics.quality import restart_spread
from jnrsfm.metrics.quality_report import assess
from jnrsfm.types import Landmarks, Reconstruction, Result

_MOST_FRAMES = 20  # to look at first
_STANDS_OUT = 1.5  # times the median


def judge_fit(
    landmarks: Landmarks,
    fitted: Any,
    *,
    reliability: Any = None,
    exchanged: np.ndarray | None = None,
    remarks: Sequence[str] = (),
    said: Sequence[str] = (),
) -> tuple[Result, dict[str, Any]]:
    """The result of a fit (`methods.Fitted`) with the spread over restarts and the error to be expected of each point,
    and its quality report.

    `reliability`: what the tracks said of their points (`assess`); `exchanged (frame,)`: frames in which left and right
    are exchanged and were fitted so, whose margin of the depth reflection is put to 0; `remarks`: what is wrong with
    the coordinates (`assess`); `said`: further warnings, beside those of the fit.
    """
    result = fitted.reconstruction
    if fitted.restarts is not None and isinstance(result, Reconstruction):
        spread = np.asarray(restart_spread(fitted.restarts, defined=landmarks.defined))
        if result.scale is not None:  # from camera units to those of the shape
            spread = spread / np.asarray(result.scale)[:, None]
        result = result.replace(score=spread.astype(np.float32))
    if exchanged is not None and isinstance(result, Reconstruction) and result.mirror_margin is not None:
        result = result.replace(mirror_margin=np.where(exchanged, 0, result.mirror_margin).astype(np.float32))
    return judged(
        landmarks, result, heldout=fitted.heldout, reliability=reliability, exchanged=exchanged, remarks=remarks,
        said=[*said, *fitted.said], keeps_lengths=fitted.keeps_lengths,
    )  # fmt: skip


def judged(landmarks: Any, result: Result, **evidence: Any) -> tuple[Result, dict[str, Any]]:
    """A result with the error to be expected of each of its points (`Reconstruction.deviation`), and its quality report
    (`assess`, whose keywords `evidence` are)."""
    quality = assess(landmarks, result, **evidence)
    if isinstance(result, Reconstruction):
        reliability = evidence.get("reliability")
        weights = None if reliability is None else reliability.weights
        expected = deviations(landmarks, result, quality["verdict"]["error"], weights)
        result = result.replace(deviation=expected)
        frames = [*quality["verdict"]["frames"], *_unsure_frames(expected)]
        quality["verdict"]["frames"] = list(dict.fromkeys(frames))[:_MOST_FRAMES]
    return result, quality


def _unsure_frames(expected: np.ndarray) -> list[int]:
    """The frames whose points are the least sure, the worst first, where they stand out."""
    of_frame = np.sqrt((expected.astype(np.float64) ** 2).mean(1))
    usual = np.median(of_frame)
    order = np.argsort(-of_frame, kind="stable")[: _MOST_FRAMES // 2]
    return [int(f) for f in order if of_frame[f] > _STANDS_OUT * usual]


def score_fit(result: Result, reference: Reconstruction | None) -> dict[str, Any] | None:
    """Errors by protocol, where there is a reference of points; None where there is none."""
    if reference is None or not isinstance(result, Reconstruction):
        return None
    points: Reconstruction = result
    found = np.isfinite(np.asarray(points.points3d)).all((1, 2))
    if points.valid3d is not None:  # what was interpolated is not scored
        found &= np.asarray(points.valid3d).any(1)
    if not found.all():
        points, reference = points.select(found), reference.select(found)
    # Where every frame has a scale of its own the unit is free: only protocols that fit the scale say something.
    free = points.cameras.model != "orthographic"
    return evaluate(points, reference, ["deep-nrsfm++", "one-mirror-scaled", "kong"] if free else None)


def format_quality(quality: Mapping[str, Any]) -> str:
    """The quality report as plain text: a line for each item, then the warnings."""
    items = quality["items"]
    width = max((len(i["name"]) for i in items), default=0)
    lines = []
    if "verdict" in quality:
        lines.append(f"verdict: {quality['verdict']['text']}")
    for item in items:
        value, unit = item["value"], item["unit"]
        if value is None:
            shown = "-"
        elif unit.startswith("fraction"):
            shown = f"{value:.1%}{unit.removeprefix('fraction')}"
        else:
            shown = f"{value:.3g} {unit}".rstrip()
        lines.append(f"{item['name'].replace('_', ' '):<{width}}  {item['verdict']:<7}  {shown}")
        lines.append(f"{'':<{width}}           {item['explain']}")
    lines += [f"! {warning}" for warning in quality["warnings"]]
    return "\n".join(lines)
