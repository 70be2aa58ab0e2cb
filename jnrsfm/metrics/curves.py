"""Errors frame by frame and point by point under a protocol's gauge, and what they depend on.

The analyses of Deep NRSfM++ (Figure 4): the share of samples below a threshold, and the error by number of
observed points, by distance from the camera and by azimuth of the view.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jnrsfm.errors import InputError
from jnrsfm.metrics import distances
from jnrsfm.metrics.protocols import Protocol, camera_points, protocol
from jnrsfm.types import Reconstruction


class Binned(NamedTuple):
    """Means of an error over bins of another quantity: bin i is [low[i], high[i]), the last one closed."""

    low: np.ndarray  # (bin,)
    high: np.ndarray  # (bin,)
    mean: np.ndarray  # (bin,) NaN where the bin is empty
    frames: np.ndarray  # (bin,) how many


def point_errors(
    estimate: Reconstruction, reference: Reconstruction, by: str | Protocol = "frame-mirror"
) -> Float[np.ndarray, "frame point"]:
    """Distance of each point under the gauge of protocol `by`, in the reference's units; NaN where not valid.

    `by="akhter"` aligns the object-frame shapes of the frames given; its distances are not divided by the
    spread of the reference. Raises `InputError` as `evaluate` does.
    """
    return distances.point_distances(*protocol(by).align(estimate, reference))


def frame_errors(
    estimate: Reconstruction,
    reference: Reconstruction,
    by: str | Protocol = "frame-mirror",
    metric: str = "normalized_error",
) -> Float[np.ndarray, " frame"]:
    """Error of each frame under the gauge of protocol `by`; NaN for frames that do not count.

    `metric`: `"normalized_error"` (a fraction), `"mpjpe"` or `"stress"` (units of the reference).
    """
    s, g, valid = shapes = protocol(by).align(estimate, reference)
    if metric == "normalized_error":
        error = distances.relative_error(s, g)
    elif metric == "mpjpe":
        error = distances.mean_distance(s, g, valid)
    elif metric == "stress":
        error = distances.stress(s, g, valid)
    else:
        raise InputError(f"unknown frame error {metric!r}; choose from normalized_error, mpjpe, stress")
    return np.where(shapes.counted, error, np.nan)


def success_rate(
    errors: Float[np.ndarray, "*any"], thresholds: Float[np.ndarray, " threshold"]
) -> Float[np.ndarray, " threshold"]:
    """Fraction of the finite errors (of samples, or of points) strictly below each threshold."""
    finite = np.sort(errors[np.isfinite(errors)])
    if not len(finite):
        return np.full(len(thresholds), np.nan)
    return np.searchsorted(finite, thresholds, side="left") / len(finite)


def by_bins(
    errors: Float[np.ndarray, " frame"],
    values: Float[np.ndarray, " frame"],
    edges: Float[np.ndarray, " edge"],
) -> Binned:
    """Mean error over the frames whose value falls in each bin; frames with a NaN in either are left out."""
    used = np.isfinite(errors) & np.isfinite(values)
    count, _ = np.histogram(values[used], edges)
    total, _ = np.histogram(values[used], edges, weights=errors[used])
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return Binned(edges[:-1], edges[1:], mean, count)


def visible_fraction(
    visible: Bool[np.ndarray, "frame point"], defined: Bool[np.ndarray, "frame point"] | None = None
) -> Float[np.ndarray, " frame"]:
    """Share of each frame's points that were observed, among the `defined` ones (all by default)."""
    defined = np.ones_like(visible) if defined is None else defined
    count = defined.sum(1)
    seen = (visible & defined).sum(1)
    return np.divide(seen, count, out=np.full(len(count), np.nan), where=count > 0)


def camera_distance(record: Reconstruction) -> Float[np.ndarray, " frame"]:
    """Distance of the camera from the mean (valid) point, in the units of the shape.

    Raises `InputError` where the record has no translations: without them there is no distance.
    """
    if record.translations is None:
        raise InputError("error by distance needs camera translations; this reference has none")
    points = camera_points(record)
    valid = np.ones(points.shape[:2], bool) if record.valid3d is None else np.asarray(record.valid3d, bool)
    total = np.where(valid[..., None], points, 0.0).sum(1)
    count = valid.sum(1)[:, None]
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return np.linalg.norm(mean, axis=1)


def view_angles(
    rotations: Float[np.ndarray, "frame 3 3"],
    *,
    up: Sequence[float] = (0.0, -1.0, 0.0),
    front: Sequence[float] = (0.0, 0.0, -1.0),
) -> tuple[Float[np.ndarray, " frame"], Float[np.ndarray, " frame"]]:
    """Azimuth in [-180, 180) and elevation in [-90, 90] of the camera as seen from the object, in degrees.

    The direction from object to camera is -R^T e_z in the object frame. Azimuth turns right-handed about
    `up`, from 0 where the camera is in the direction `front`; elevation is positive above. `front` is made
    orthogonal to `up`. The defaults make R = I the view from the front of an object whose y points down.
    Raises `InputError` where `up` and `front` are parallel.
    """
    axis = np.asarray(up, float) / np.linalg.norm(up)
    ahead = np.asarray(front, float) - np.dot(front, axis) * axis
    if np.linalg.norm(ahead) < 1e-9:
        raise InputError("view angles: `up` and `front` must not be parallel")
    ahead /= np.linalg.norm(ahead)
    towards = -np.asarray(rotations, float)[:, 2]
    azimuth = np.degrees(np.arctan2(towards @ np.cross(axis, ahead), towards @ ahead))
    azimuth = np.where(azimuth >= 180.0, -180.0, azimuth)
    return azimuth, np.degrees(np.arcsin(np.clip(towards @ axis, -1.0, 1.0)))


def error_curves(
    estimate: Reconstruction,
    reference: Reconstruction,
    by: str | Protocol = "deep-nrsfm++",
    metric: str = "mpjpe",
    *,
    thresholds: Sequence[float] | None = None,
    bins: int = 8,
    up: Sequence[float] = (0.0, -1.0, 0.0),
    front: Sequence[float] = (0.0, 0.0, -1.0),
) -> dict:
    """Success rate by threshold and error by visibility, azimuth and distance: one JSON-able dictionary.

    `{"protocol", "metric", "success": {"threshold", "rate"}, "visibility" | "azimuth" | "distance":
    {"low", "high", "mean", "count"}}`; means of empty bins are None. `visibility` is there where either
    record has `visible`, `distance` where the reference has translations. Default thresholds: 51 from 0 to
    0.5 (`normalized_error`) or to the largest error.
    """
    errors = frame_errors(estimate, reference, by, metric)
    if not np.isfinite(errors).any():
        raise InputError("no frame can be scored: check `valid3d` of the reference")
    if thresholds is None:
        largest = 0.5 if metric == "normalized_error" else float(np.nanmax(errors))
        limits = np.linspace(0.0, largest, 51)
    else:
        limits = np.asarray(thresholds, float)
    out: dict = {
        "protocol": protocol(by).name,
        "metric": metric,
        "success": {"threshold": limits.tolist(), "rate": success_rate(errors, limits).tolist()},
    }
    azimuth, _ = view_angles(np.asarray(reference.rotations, float), up=up, front=front)
    out["azimuth"] = _plain(by_bins(errors, azimuth, np.linspace(-180.0, 180.0, bins + 1)))
    seen = estimate.visible if estimate.visible is not None else reference.visible
    if seen is not None:
        defined = None if reference.valid3d is None else np.asarray(reference.valid3d, bool)
        fraction = visible_fraction(np.asarray(seen, bool), defined)
        out["visibility"] = _plain(by_bins(errors, fraction, np.linspace(0.0, 1.0, bins + 1)))
    if reference.translations is not None:
        distance = camera_distance(reference)
        limits = np.linspace(np.nanmin(distance), np.nanmax(distance) + 1e-9, bins + 1)
        out["distance"] = _plain(by_bins(errors, distance, limits))
    return out


def _plain(binned: Binned) -> dict:
    mean = [None if np.isnan(m) else m for m in binned.mean.tolist()]
    return {
        "low": binned.low.tolist(),
        "high": binned.high.tolist(),
        "mean": mean,
        "count": binned.frames.tolist(),
    }
