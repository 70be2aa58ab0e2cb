"""How far several shapes of the same frames differ, where each frame may be reflected in depth; how flat they are."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jnrsfm.errors import InputError


def disagreement(
    shapes: Any, chosen: int = 0, defined: Bool[np.ndarray, "frame point"] | None = None
) -> Float[np.ndarray, "frame point"]:
    """`(frame, point)` root of the unbiased variance sum_n |x_n - mean|^2 / (N - 1) of `shapes (shape, frame, point,
    3)` in the camera frame, in their unit; 0 at points that are not `defined` (all by default).

    Each shape is centred in each frame on its defined points and takes the depth reflection, z or -z, that is nearer to
    shape `chosen`: the reflection of a single frame is no disagreement under orthography. Raises `InputError` for fewer
    than two.
    """
    x = np.asarray(shapes, float)
    if x.ndim != 4 or x.shape[-1] != 3 or len(x) < 2:
        raise InputError(
            f"the spread over restarts needs two or more shapes (restart, frame, point, 3), not {x.shape}"
        )
    there = np.ones(x.shape[1:3], bool) if defined is None else np.asarray(defined)
    x = np.where(there[..., None], x, 0.0)
    x = x - x.sum(2, keepdims=True) / np.maximum(there.sum(1), 1)[:, None, None]
    x = np.where(there[..., None], x, 0.0)
    base = x[chosen]
    mirrored = x * np.array([1.0, 1.0, -1.0])
    flip = ((mirrored - base) ** 2).sum((2, 3)) < ((x - base) ** 2).sum((2, 3))
    x = np.where(flip[..., None, None], mirrored, x)
    return np.sqrt(((x - x.mean(0)) ** 2).sum(-1).sum(0) / (len(x) - 1))


def thickness(points: Float[np.ndarray, "frame point 3"]) -> float:
    """Third extent of a frame's shape over the second (ratio of singular values of the centred points), the median of
    the frames: 0 for a flat thing."""
    extents = np.linalg.svd(points - points.mean(1, keepdims=True), compute_uv=False)
    return float(np.median(extents[:, 2] / np.maximum(extents[:, 1], 1e-12)))
