"""Errors of meshes: overlap of masks, PCK of keypoints, vertices and cameras against a reference; and the quality
report of a mesh sequence, without any."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jnrsfm.geometry.mesh.sequence import MeshSequence
from jnrsfm.metrics.quality_report import CHECKS, Threshold
from jnrsfm.types import Landmarks


def iou(
    found: Bool[np.ndarray, "*batch y x"], given: Bool[np.ndarray, "*batch y x"]
) -> Float[np.ndarray, "*batch"]:
    """Intersection over union of masks; 1 where both are empty."""
    both, either = (found & given).sum((-2, -1)), (found | given).sum((-2, -1))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def pck(
    found: Float[np.ndarray, "frame point 2"],
    labels: Float[np.ndarray, "frame point 2"],
    visible: Bool[np.ndarray, "frame point"],
    boxes: Float[np.ndarray, "frame 4"],
    share: float = 0.1,
) -> float:
    """Share of the visible labels that are found within `share` of the longer side of the object's box (left, top,
    right, bottom). NaN without labels."""
    side = (boxes[:, 2:] - boxes[:, :2]).max(1)
    near = np.linalg.norm(found - labels, axis=-1) <= share * side[:, None]
    return float((near & visible).sum() / visible.sum()) if visible.any() else float("nan")


def vertex_error(
    found: Float[np.ndarray, "frame vertex 3"], reference: Float[np.ndarray, "frame vertex 3"]
) -> Float[np.ndarray, " frame"]:
    """Mean distance of camera-frame vertices (x, y in pixels) from the reference's, each frame's mean depth taken away
    (one camera does not see it), as a share of the reference's diameter (the diagonal of its box along its principal
    axes in that frame). No rotation or scale is fitted."""
    level = lambda v: v - v.mean(1, keepdims=True) * np.array([0, 0, 1.0])
    gap = np.linalg.norm(level(found) - level(reference), axis=-1).mean(1)
    diameters = []
    for frame in reference:
        centred = frame - frame.mean(0)
        diameters.append(
            np.linalg.norm(np.ptp(centred @ np.linalg.svd(centred, full_matrices=False)[2].T, axis=0))
        )
    return gap / np.array(diameters)


def camera_error(
    found: Float[np.ndarray, "frame 3 3"], reference: Float[np.ndarray, "frame 3 3"]
) -> Float[np.ndarray, " frame"]:
    """Angle in degrees between rotations, for one template in one object frame."""
    relative = np.einsum("fij,fkj->fik", found, reference)
    cosine = (np.trace(relative, axis1=1, axis2=2) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


THRESHOLDS = {
    "mask_overlap": Threshold(0.8, 0.65, higher=True),
    "keypoint_distance": Threshold(0.02, 0.05),
    "stretch": Threshold(0.1, 0.25),
    "frames_with_evidence": Threshold(0.9, 0.5, higher=True),
}
"""Rules of thumb. Fractions."""
_ASKS = {
    "mask_overlap": "Do the mesh and the mask cover the same pixels (intersection over union)?",
    "keypoint_distance": "How far from their labels are the keypoints, as a share of the object's size in the image?",
    "stretch": "How much do edges of the mesh change their length (RMS)? A mesh that tears at itself fits by force.",
    "frames_with_evidence": "Which share of the frames had a mask or keypoints? The others are interpolated, or what "
    "the network says.",
}


def assess_meshes(landmarks: Landmarks, result: MeshSequence, **_: Any) -> dict[str, Any]:
    """The quality report of a mesh sequence: `metrics.assess`."""
    vertices, rest = np.asarray(result.vertices, np.float64), np.asarray(result.rest, np.float64)
    faces = np.asarray(result.faces)
    length = lambda v: np.linalg.norm(v[..., faces, :] - v[..., faces[:, [1, 2, 0]], :], axis=-1)
    stretch = float(np.sqrt(((length(vertices) / length(rest) - 1) ** 2).mean()))
    mean = lambda x: (
        float("nan") if x is None or not np.isfinite(x).any() else float(np.nanmean(np.asarray(x)))
    )
    size = np.ptp(np.asarray(result.camera_vertices)[..., :2], axis=1).max(-1)
    share = None if result.score is None else np.asarray(result.score) / size
    known = 1.0 if result.known is None else float(np.mean(np.asarray(result.known)))
    values = {
        "mask_overlap": mean(result.iou), "keypoint_distance": mean(share), "stretch": stretch,
        "frames_with_evidence": known,
    }  # fmt: skip
    items = [
        {
            "name": name, "value": value if np.isfinite(value) else None, "unit": "fraction",
            "verdict": THRESHOLDS[name].verdict(value), "explain": _ASKS[name],
        }
        for name, value in values.items() if np.isfinite(value)
    ]  # fmt: skip
    words = [str(i["verdict"]) for i in items]
    word = "poor" if "poor" in words else "fair"
    reasons = [str(i["name"]).replace("_", " ") for i in items if i["verdict"] == word]
    # Nothing is held out, so that the best that these figures can say is that nothing speaks against the meshes.
    reasons = reasons or ["the meshes fit what they were fitted to, and nothing was held out to tell more"]
    text = f"{word}: {', '.join(reasons)}"
    warnings = ["How far the sides that no frame shows are right, no image tells: they follow the template."]
    verdict = {
        "word": word,
        "text": text,
        "error": None,
        "low": None,
        "high": None,
        "reasons": reasons,
        "frames": [],
    }
    return {"verdict": verdict, "items": items, "warnings": warnings}


CHECKS.register(MeshSequence, assess_meshes)
