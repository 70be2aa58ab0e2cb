"""The reconstruction in plain words: what was done, and how far to rely on it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jnrsfm.metrics.quality_report import REPROJECTION_IS_NOT_PROOF
from jnrsfm.report.scene import HIDDEN, SEEN, Scene

VERDICTS = ("good", "fair", "poor", "unknown")
MARKS = {"good": "✓", "fair": "!", "poor": "✕", "unknown": "?"}

CAMERAS = {
    "orthographic": "an orthographic camera (far away, no perspective)",
    "weak-perspective": "a weak-perspective camera (size changes with distance, no other perspective)",
    "perspective": "a perspective camera",
}
REFLECTION = {
    "none": "Each frame may be reflected in depth on its own: near may be far. One such camera cannot tell.",
    "sequence": "Near and far were made to agree over the frames of each clip. The whole clip may still be "
    "reflected in depth: one such camera cannot tell.",
    "set": "Near and far were made to agree over the whole set. The whole set may still be reflected in "
    "depth: one such camera cannot tell.",
    "perspective": "The perspective of the images tells near from far, so no reflected twin is expected.",
    "reference": "Near and far were taken from the reference.",
}

# The items of the quality report for a reader: a name, and the question that the value answers.
ITEMS = {
    "held_out_gradients": (
        "New scenes",
        "How well does depth follow the disparity of shots that training never saw?",
    ),
    "flicker": ("Steady in time", "Does depth stay what it was from a frame to the next?"),
    "free": ("What stays free", "What can the network not know?"),
    "reprojection": (
        "Fit to the 2D points",
        "How far does the 3D, seen through the camera, miss the points?",
    ),
    "held_out_reprojection": (
        "Hidden test points",
        "How well are points predicted that the method never saw?",
    ),
    "bone_length_variation": ("Steady bone lengths", "Do links keep their length over time, as bones do?"),
    "size_variation": ("Steady size", "Does the whole shape keep its size over time?"),
    "left_right_asymmetry": ("Left-right symmetry", "Are left and right links equally long?"),
    "restart_spread": ("Agreement of repeated runs", "Do runs from other random starts give the same shape?"),
    "mirror_margin": ("Near against far", "Is it clear which of the two depth reflections is right?"),
    "camera_motion": (
        "Range of views",
        "Was the object seen from directions different enough to show depth?",
    ),
    "depth_evidence": ("Evidence of depth", "Do the 2D tracks hold more than a flat object would show?"),
    "depth_over_width": (
        "Depth against width",
        "Is the shape neither flat nor stretched towards the camera?",
    ),
    "missing_points": ("Missing points", "How much of the input was not seen?"),
    "outliers": ("Wrong points", "Do observed points contradict their own track and the rest of the body?"),
}

# What a reader meets on the page, in the words that a colleague would use.
GLOSSARY = (
    ("Reconstruction", "The 3D positions worked out from the 2D points alone. No 3D labels were used."),
    (
        "Reprojection",
        "The 3D points seen again through the camera. It should fall on the observed points. A small "
        "distance is necessary, but a flat or reflected shape can have it too: it is no proof of good 3D.",
    ),
    (
        "Held-out points",
        "Observed points that were hidden from the method and then predicted. They test it honestly.",
    ),
    ("Hidden point", "A point without an observation in that frame; its place is a prediction."),
    (
        "Depth reflection (twin)",
        "A shape and its mirror image in depth look the same to a distant camera. The twin shows the other "
        "answer. Decide from what you know, such as a knee that bends only one way.",
    ),
    (
        "Steadied view",
        "Every frame is turned onto the average shape, so that you see the shape change and not "
        "the camera or the body turn.",
    ),
    ("Camera view", "The shape as the camera faces it: x to the right, y down, z away from you."),
    ("Object view", "The axes in which the method itself gave the shape. They may turn from frame to frame."),
    (
        "Uncertainty",
        "How much repeated runs disagree about a point, in units of the shape. Runs may agree and be wrong.",
    ),
    ("Units", "One camera cannot tell size: units are free unless a known length was given."),
    (
        "Ground truth",
        "Known 3D that the result is held against. It is fitted by one scale for the whole set.",
    ),
)


def seconds_in_words(seconds: float) -> str:
    """`0.8 s`, `42 s`, `3.5 min`, `2.1 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def number(value: Any, unit: str = "") -> str:
    """A value for a reader: four digits, percent for `unit="%"`, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        text = value
    else:
        try:
            x = float(value)
        except (TypeError, ValueError):
            return str(value)
        if math.isnan(x):
            return "–"
        text = f"{x:.0f}" if x.is_integer() and abs(x) < 1e6 else f"{x:.4g}"
    return f"{text} {unit}".strip() if unit != "°" else text + unit


def score(metric: str, value: Any) -> str:
    """A metric of a protocol for a reader: errors and rates that are fractions in percent."""
    if metric.startswith(("normalized_error", "handedness", "success")) and not isinstance(value, str | None):
        return f"{100 * float(value):.3g} %"
    return number(value)


class Check(NamedTuple):
    """One row of the quality report as it is shown."""

    name: str
    value: str
    verdict: str
    question: str
    detail: str


def checks(quality: Mapping | None) -> list[Check]:
    """The items of a quality report for a reader: fractions in percent, plain names and questions."""
    rows = []
    for item in (quality or {}).get("items", ()):
        key, value, unit = str(item.get("name", "")), item.get("value"), str(item.get("unit") or "")
        name, question = ITEMS.get(key, (key.replace("_", " ").strip().capitalize(), ""))
        if unit.startswith("fraction") and isinstance(value, int | float):
            shown = f"{100 * value:.3g} %" + unit.removeprefix("fraction")
        else:
            shown = number(value, {"degrees": "°"}.get(unit, unit))
        verdict = str(item.get("verdict", "unknown"))
        rows.append(
            Check(
                name,
                shown,
                verdict if verdict in VERDICTS else "unknown",
                question,
                str(item.get("explain") or ""),
            )
        )
    return rows


def alerts(quality: Mapping | None) -> list[str]:
    """The warnings of a quality report, without the reminder that each ends with: the page says it anyway."""
    return [str(w) for w in (quality or {}).get("warnings", ()) if w != REPROJECTION_IS_NOT_PROOF]


def method_name(settings: Mapping | None) -> str | None:
    """`settings["method"]`, or its `"name"` where it is a group."""
    method = (settings or {}).get("method")
    if isinstance(method, Mapping):
        method = method.get("name")
    return method if isinstance(method, str) and method else None


def elapsed(history: Sequence[dict], settings: Mapping | None) -> float | None:
    """Seconds that the run took: `settings["seconds"]`, or steps over `steps_per_s` of the history."""
    known = (settings or {}).get("seconds")
    if isinstance(known, int | float) and not isinstance(known, bool):
        return float(known)
    total, last = 0.0, 0.0
    for row in history:
        step, rate = row.get("step"), row.get("steps_per_s")
        if isinstance(step, int | float) and isinstance(rate, int | float) and rate > 0:
            total += max(float(step) - last, 0.0) / float(rate)
            last = float(step)
    return total or None


def what_was_done(scene: Scene, history: Sequence[dict], settings: Mapping | None) -> str:
    """One sentence: frames, points, camera, method, time."""
    frames = f"{scene.total:,} frame" + ("s" if scene.total != 1 else "")
    if len(scene.clips) > 1:
        frames += f" in {len(scene.clips)} clips"
    if scene.fps and scene.total > 1:
        frames += f" ({seconds_in_words(scene.total / scene.fps)} at {scene.fps:g} frames per second)"
    points = len(scene.names)
    camera = CAMERAS.get(scene.model, scene.model)
    text = f"The 3D positions of {points:,} point{'s' if points != 1 else ''} in {frames} were worked out "
    text += f"from their 2D positions alone, with {camera}"
    method = method_name(settings)
    text += f", by the method {method}" if method else ""
    seconds = elapsed(history, settings)
    text += f", in {seconds_in_words(seconds)}" if seconds else ""
    hidden, seen = int((scene.state == HIDDEN).sum()), int((scene.state == SEEN).sum())
    share = hidden / max(hidden + seen, 1)
    if hidden:
        told = f"{100 * share:.0f} %" if share >= 0.005 else "under 1 %"
        return f"{text}. {told} of the points were not seen and are predicted."
    return text + ". Every point was seen in every frame."


def worst_verdict(quality: Mapping | None) -> str:
    """The worst of poor, fair, good in the quality report; `"unknown"` where nothing was judged."""
    given = {check.verdict for check in checks(quality)}
    return next((v for v in ("poor", "fair", "good") if v in given), "unknown")


def summarise(quality: Mapping | None) -> tuple[str, str]:
    """The worst verdict, and what it means for the reader in one or two sentences."""
    worst = worst_verdict(quality)
    told = (quality or {}).get("verdict")
    if told:
        text = str(told["text"])
        return str(told["word"]), f"{text[:1].upper()}{text[1:]}."
    named = ", ".join(c.name for c in checks(quality) if c.verdict == worst)
    if worst == "poor":
        return worst, f"Do not rely on this 3D yet. Poor: {named}."
    if worst == "fair":
        return worst, f"Use this 3D with care. Only fair: {named}."
    if worst == "good" and alerts(quality):
        return "fair", "The checks that need no 3D labels found it good, but read the warnings."
    if worst == "good":
        return (
            worst,
            "The checks that need no 3D labels found nothing against it. They cannot prove it right.",
        )
    return worst, "Nothing here says whether this 3D can be relied on: no check was made."
