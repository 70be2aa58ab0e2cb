"""Distances between point sets with gaps, in NumPy float64: the arithmetic that the protocols are made of.

Arrays are `(frame, point, 3)` with a mask `valid (frame, point)`. Points outside the mask must hold 0 (as
`centre` leaves them); they then take no part in any norm, alignment or mean below. Errors of frames without
enough points are NaN and never enter a mean: the protocols count the frames that remain.
"""

import numpy as np
from jaxtyping import Bool, Float

_TINY = 1e-12
_PAIRS_AT_ONCE = 1_000_000  # bounds the memory of `stress` to some tens of MB


def centre(
    points: Float[np.ndarray, "frame point 3"], valid: Bool[np.ndarray, "frame point"], axes: str = "xyz"
) -> Float[np.ndarray, "frame point 3"]:
    """Subtract each frame's mean over its valid points; 0 at the other points, whatever is stored there.

    `axes` names the coordinates that are centred: `"xyz"`, or `"z"` for the mean depth alone.
    """
    count = np.maximum(valid.sum(1), 1)[:, None, None]
    points = np.where(valid[..., None], points, 0.0)
    moved = np.array([a in axes for a in "xyz"])
    points = points - np.where(moved, points.sum(1, keepdims=True) / count, 0.0)
    return np.where(valid[..., None], points, 0.0)


def frobenius(points: Float[np.ndarray, "frame point 3"]) -> Float[np.ndarray, " frame"]:
    """Frobenius norm |S|_F of each frame, in the units of the points."""
    return np.sqrt(np.einsum("fpi,fpi->f", points, points))


def relative_error(
    estimate: Float[np.ndarray, "frame point 3"], reference: Float[np.ndarray, "frame point 3"]
) -> Float[np.ndarray, " frame"]:
    """|S - S*|_F / |S*|_F of each frame: a fraction, not percent. NaN where |S*|_F = 0."""
    size = frobenius(reference)
    return np.divide(frobenius(estimate - reference), size, out=np.full_like(size, np.nan), where=size > 0)


def point_distances(
    estimate: Float[np.ndarray, "frame point 3"],
    reference: Float[np.ndarray, "frame point 3"],
    valid: Bool[np.ndarray, "frame point"],
) -> Float[np.ndarray, "frame point"]:
    """Euclidean distance of each point, in the units of the points; NaN where not valid."""
    return np.where(valid, np.linalg.norm(estimate - reference, axis=-1), np.nan)


def mean_distance(
    estimate: Float[np.ndarray, "frame point 3"],
    reference: Float[np.ndarray, "frame point 3"],
    valid: Bool[np.ndarray, "frame point"],
) -> Float[np.ndarray, " frame"]:
    """Mean distance over the valid points of each frame (its MPJPE); NaN where there are none."""
    count = valid.sum(1)
    total = np.where(valid, np.linalg.norm(estimate - reference, axis=-1), 0.0).sum(1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def stress(
    estimate: Float[np.ndarray, "frame point 3"],
    reference: Float[np.ndarray, "frame point 3"],
    valid: Bool[np.ndarray, "frame point"],
) -> Float[np.ndarray, " frame"]:
    """Mean over the unordered pairs i < j of valid points of | |x_i - x_j| - |x*_i - x*_j| |, each frame.

    Invariant to rotation, translation and mirror; not to scale. The difference counts in both directions, as
    in C3DPO's evaluation; the one-sided ( )_+ printed in the multi-category paper is another number. NaN
    with fewer than two valid points. Units of the points.
    """
    frames, points = valid.shape
    out = np.full(frames, np.nan)
    i, j = np.triu_indices(points, 1)
    step = max(1, _PAIRS_AT_ONCE // max(1, len(i)))
    for start in range(0, frames, step):
        part = slice(start, start + step)
        pairs = valid[part][:, i] & valid[part][:, j]
        gap = np.abs(_lengths(estimate[part], i, j) - _lengths(reference[part], i, j))
        count = pairs.sum(1)
        total = np.where(pairs, gap, 0.0).sum(1)
        out[part] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return out


def _lengths(points: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """`(frame, pair)` distances of points i and j, by differences: the Gram form loses half of the digits."""
    return np.sqrt(sum((points[:, i, axis] - points[:, j, axis]) ** 2 for axis in range(3)))


def match_size(
    estimate: Float[np.ndarray, "frame point 3"], reference: Float[np.ndarray, "frame point 3"]
) -> Float[np.ndarray, "frame point 3"]:
    """Rescale each frame of the estimate to the Frobenius norm of the reference: S |S*|_F / |S|_F.

    The ratio of norms of the published evaluations, not the least-squares scale (which shrinks with error).
    """
    factor = frobenius(reference) / np.maximum(frobenius(estimate), _TINY)
    return estimate * factor[:, None, None]
