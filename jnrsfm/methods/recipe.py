"""What learned landmark methods share beside their objective: held-out points and scale."""

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.inputs.observations import Observations


def heldout_residual(turned: Any, seen: Observations, perspective: bool):
    """`(frame, point, 2)` residual of camera-frame shapes `turned (frame, point, 3)` in units of the object's size,
    with the translation from the points that were seen."""
    weights = seen.weights[..., None]
    total = jnp.maximum(weights.sum(1, keepdims=True), 1e-6)
    depth = seen.depth[:, None, None]
    if perspective:
        z = turned[..., 2:] + depth
        t = (weights * (seen.points * z - turned[..., :2])).sum(1, keepdims=True) / total
        return ((turned[..., :2] + t) / jnp.maximum(z, 1e-3) - seen.points) * depth
    image = turned[..., :2] * depth
    return image + (weights * (seen.points - image)).sum(1, keepdims=True) / total - seen.points


def heldout_item(criteria: dict[str, float], hidden: Observations, share: float) -> dict[str, Any] | None:
    """The held-out error for the report card; its baseline puts every hidden point at the mean of the seen ones."""
    count = int((hidden.heldout > 0).sum())
    if not count:
        return None
    total = jnp.maximum(hidden.weights.sum(1, keepdims=True), 1e-6)
    middle = (hidden.weights[..., None] * hidden.points).sum(1) / total
    gap = jnp.sqrt(((hidden.points - middle[:, None]) ** 2).sum(-1)) * hidden.depth[:, None]
    baseline = float((hidden.heldout * gap).sum() / hidden.heldout.sum())
    note = f"{share:.0%} of the observed points, hidden until the final phase, predicted at its start"
    return {"error": criteria["heldout"], "baseline": baseline, "count": count, "note": note}


def corrected_scale(
    data: Observations,
    shapes: np.ndarray,
    perspective: bool,
    edges: np.ndarray | None,
    by: Literal["auto", "norm", "bones"],
) -> Observations:
    """One round of scale correction: t_z divided by the size of the shape over the mean size of all `shapes (frame,
    point, 3)`, so that all come out of one size (Frobenius norm, or mean bone length). The overall unit is kept."""
    if by == "bones" or (by == "auto" and edges is not None):
        if edges is None:
            raise InputError("scale_by is 'bones', but the landmarks have no edges: give edges, or say norm")
        ends = shapes[:, edges[:, 0]] - shapes[:, edges[:, 1]]
        size = np.linalg.norm(ends, axis=-1).mean(1)
    else:
        size = np.linalg.norm(shapes.reshape(len(shapes), -1), axis=1)
    ratio = np.clip(size / np.exp(np.log(np.maximum(size, 1e-9)).mean()), 0.25, 4.0)
    ratio = jnp.asarray(ratio, jnp.float32)
    # weak perspective: points of a frame are divided by `depth`, and its shape comes out smaller
    return data._replace(depth=data.depth / ratio if perspective else data.depth * ratio)
