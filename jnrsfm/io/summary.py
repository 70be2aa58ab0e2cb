"""What is in a file of landmarks: `info` as a dictionary of plain values, `format_info` as text."""

from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.checks import MIN_VISIBLE, check_landmarks, usable_frames
from jnrsfm.types import Landmarks, Reconstruction

FEW_FRAMES = 6  # what the default method and most others need


UNUSED_INTRINSICS = (
    "there are intrinsics and no camera is named, so they are not used: say --camera perspective (in Python "
    "camera='perspective')"
)


def describe(landmarks: Landmarks, reference: Reconstruction | None = None) -> dict[str, Any]:
    """What there is to say of landmarks, as plain Python values that JSON can hold.

    `frames`, `points`, `names`, `camera`, `intrinsics`, `fps`, `observed` (fraction of the defined points
    that is visible), `fewest_visible` points in a frame, `gaps` (for each point: `point`, `name`, `missing`
    frames, `longest` run of them inside a clip and where it `start`s), `longest_gap` (the worst of these, or
    None), `clips` (`count`, `shortest`, `longest`), `confidence` (counts in ten bins from 0 to 1, of the
    visible points, or None), `ranges` (`x`, `y`: least and greatest), `categories` (frames by name),
    `edges`, `symmetric` (counts), `reference` (None, or `camera`, `known`: the fraction of 3D points known),
    `problem` (why a fit would refuse it, with the camera that `fit` takes: the file's own, weak perspective for a
    perspective one without intrinsics, else orthographic; or None), `fit_camera` (that camera).
    """
    visible = np.asarray(landmarks.visible)
    defined = np.ones_like(visible) if landmarks.defined is None else np.asarray(landmarks.defined)
    n_frames, n_points = visible.shape
    sequence = np.zeros(n_frames, int) if landmarks.sequence is None else np.asarray(landmarks.sequence)
    starts = np.flatnonzero(np.r_[True, sequence[1:] != sequence[:-1]])
    lengths = np.diff(np.r_[starts, n_frames])
    names = landmarks.names
    gaps: list[dict[str, Any]] = []
    for p in range(n_points):
        start, length = _longest_run(defined[:, p] & ~visible[:, p], starts)
        missing = int((defined[:, p] & ~visible[:, p]).sum())
        name = names[p] if names is not None else str(p)
        gaps.append({"point": p, "name": name, "missing": missing, "longest": length, "start": start})
    worst = max(gaps, key=lambda g: g["longest"])
    seen = np.asarray(landmarks.points2d)[visible]
    ranges = None
    if len(seen):
        low, high = seen.min(0).tolist(), seen.max(0).tolist()
        ranges = {"x": [low[0], high[0]], "y": [low[1], high[1]]}
    histogram = None
    if landmarks.confidence is not None:
        histogram = np.histogram(np.asarray(landmarks.confidence)[visible], bins=10, range=(0, 1))[0].tolist()
    categories = None
    if landmarks.category is not None:
        labels = landmarks.categories or [str(c) for c in range(int(np.max(landmarks.category)) + 1)]
        counts = np.bincount(np.asarray(landmarks.category), minlength=len(labels))
        categories = {str(label): int(c) for label, c in zip(labels, counts, strict=True)}
    camera = landmarks.camera or "orthographic"
    if camera == "perspective" and landmarks.intrinsics is None:
        camera = "weak-perspective"  # as `fit` does
    try:
        used = usable_frames(landmarks, camera) if camera in MIN_VISIBLE else np.zeros(0, bool)
        check_landmarks(landmarks.select(used) if used.any() else landmarks, camera, "the landmarks")
        problem = None
    except InputError as error:
        problem = str(error)
    return {
        "frames": n_frames,
        "points": n_points,
        "names": None if names is None else list(names),
        "camera": landmarks.camera,
        "intrinsics": landmarks.intrinsics is not None,
        "fps": landmarks.fps,
        "observed": float(visible.sum() / max(defined.sum(), 1)),
        "fewest_visible": int(visible.sum(1).min()),
        "gaps": gaps,
        "longest_gap": worst if worst["longest"] else None,
        "clips": {"count": len(lengths), "shortest": int(lengths.min()), "longest": int(lengths.max())},
        "confidence": histogram,
        "ranges": ranges,
        "categories": categories,
        "edges": 0 if landmarks.edges is None else len(landmarks.edges),
        "symmetric": 0 if landmarks.symmetric is None else len(landmarks.symmetric),
        "reference": None if reference is None else _describe_reference(reference),
        "problem": problem,
        "fit_camera": camera,
    }


def _describe_reference(reference: Reconstruction) -> dict[str, Any]:
    known = 1.0 if reference.valid3d is None else float(np.mean(np.asarray(reference.valid3d)))
    return {"camera": reference.cameras.model, "known": known}


def _longest_run(missing: np.ndarray, starts: np.ndarray) -> tuple[int | None, int]:
    """First frame and length of the longest run of True that does not cross a clip start."""
    if not missing.any():
        return None, 0
    # A run begins at a missing frame after a present one or at a clip start, and ends likewise.
    fresh = np.zeros(len(missing) + 1, bool)
    fresh[starts] = True
    fresh[-1] = True
    before = np.r_[False, missing[:-1]] & ~fresh[:-1]
    after = np.r_[missing[1:], False] & ~fresh[1:]
    first, last = np.flatnonzero(missing & ~before), np.flatnonzero(missing & ~after)
    longest = int(np.argmax(last - first))
    return int(first[longest]), int(last[longest] - first[longest] + 1)


def format_info(found: dict[str, Any], rows: int = 20) -> str:
    """What `info` or `describe` found, as text for people; at most `rows` points are listed, worst first."""
    lines = []

    def line(label: str, text: object) -> None:
        lines.append(f"{label:<14}{text}")

    if "path" in found:
        line("file", f"{found['path']} ({found['format']})")
    for note in found.get("notes", ()):
        line("settled", note)
    for note in found.get("remarks", ()):
        line("look at", note)
    line("frames", found["frames"])
    line("points", found["points"])
    clips = found["clips"]
    if clips["count"] > 1:
        line("clips", f"{clips['count']}, of {clips['shortest']} to {clips['longest']} frames")
    line("camera", f"{found['camera'] or 'not stated'}{', with intrinsics' if found['intrinsics'] else ''}")
    if found["fps"]:
        line("rate", f"{found['fps']:g} frames per second")
    if found["ranges"]:
        (x0, x1), (y0, y1) = found["ranges"]["x"], found["ranges"]["y"]
        line("range", f"x {x0:.6g} to {x1:.6g}, y {y0:.6g} to {y1:.6g}")
    if found["categories"]:
        line("categories", ", ".join(f"{name} {count}" for name, count in found["categories"].items()))
    line("skeleton", f"{found['edges']} edges, {found['symmetric']} left-right pairs")
    line(
        "observed",
        f"{100 * found['observed']:.1f} % of the points, at least {found['fewest_visible']} a frame",
    )
    if found["longest_gap"]:
        gap = found["longest_gap"]
        line("longest gap", f"{gap['name']}: {gap['longest']} frames from frame {gap['start']}")
    if found["reference"]:
        line(
            "reference 3D", f"{found['reference']['camera']}, {100 * found['reference']['known']:.1f} % known"
        )
    else:
        line("reference 3D", "none")
    ready = f"yes, {found['fit_camera']} camera"
    if found["camera"] == "perspective" != found["fit_camera"]:
        ready += " (perspective needs intrinsics)"
    if found["frames"] < FEW_FRAMES:
        ready += f"; with {found['frames']} frames by few methods, most need {FEW_FRAMES}"
    line("ready to fit", ready if found["problem"] is None else f"no: {found['problem']}")
    if found["confidence"]:
        top = max(found["confidence"]) or 1
        lines.append("confidence of the visible points")
        for i, count in enumerate(found["confidence"]):
            lines.append(f"  {i / 10:.1f}-{(i + 1) / 10:.1f}  {'#' * round(30 * count / top):<30} {count}")
    gaps = [g for g in found["gaps"] if g["missing"]]
    if gaps:
        gaps.sort(key=lambda g: -g["missing"])
        width = max(4, *(len(g["name"]) for g in gaps[:rows]))
        lines.append(f"points with gaps ({len(gaps)} of {found['points']})")
        lines.append(f"  {'name':<{width}}  missing  longest  from")
        for g in gaps[:rows]:
            lines.append(f"  {g['name']:<{width}}  {g['missing']:>7}  {g['longest']:>7}  {g['start']:>4}")
        if len(gaps) > rows:
            lines.append(f"  and {len(gaps) - rows} more")
    if found["names"]:
        shown = found["names"][: 3 * rows]
        lines.append("names: " + ", ".join(shown) + (" ..." if len(found["names"]) > len(shown) else ""))
    return "\n".join(lines)
