"""Shapes that a non-rigid fit may start from: the rigid model of the images."""

import numpy as np
from jaxtyping import Float

_ROUNDS = 30
_FLATTEST = 1e-3  # least eigenvalue of the Gram matrix over its largest: cameras that hardly turn leave it undetermined


def rigid_shapes(
    points: Float[np.ndarray, "frame point 2"],
    weights: Float[np.ndarray, "frame point"],
    filled: Float[np.ndarray, "frame point 2"] | None = None,
) -> Float[np.ndarray, "frame point 3"]:
    """Camera-frame shapes: the points as seen, the hidden ones and all depths from the rigid model. Where a
    non-rigid fit may start from: one linear solve, and never a failure.

    The upgrade makes the rows of each frame orthogonal and of one length by linear least squares for `G G^T`, made
    positive definite; hidden points are filled in by the factorisation in turn.
    `filled` is a first guess of the hidden points (their frame's mean where absent). One of the two mirrored
    solutions, the same for all frames. With fewer than three frames or four points the depths are 0.
    """
    points = np.asarray(points, np.float64)
    seen = np.asarray(weights) > 0
    n, p, _ = points.shape
    guess = np.zeros_like(points) if filled is None else np.asarray(filled, np.float64)
    xy = np.where(seen[..., None], points, guess)
    if n < 3 or p < 4:
        return np.concatenate([xy, np.zeros((n, p, 1))], -1)
    for _ in range(1 if seen.all() else _ROUNDS):
        middle = xy.mean(1, keepdims=True)
        rows = np.swapaxes(xy - middle, 1, 2).reshape(2 * n, p)
        _, basis = np.linalg.eigh(rows.T @ rows)
        basis = basis[:, ::-1][:, :3].T  # (3, point), by the P x P Gram matrix: linear in frames
        motion = (rows @ basis.T).reshape(n, 2, 3)
        model = np.swapaxes(motion @ basis, 1, 2) + middle
        xy = np.where(seen[..., None], points, model)
    upgrade = _linear_upgrade(motion)
    shape = np.linalg.solve(upgrade, basis).T  # (point, 3)
    u, s, vt = np.linalg.svd(motion @ upgrade, full_matrices=False)
    rows3 = u @ vt
    axis = np.cross(rows3[:, 0], rows3[:, 1]) * s.mean(1)[:, None]
    return np.concatenate([xy, (axis @ shape.T)[..., None]], -1)


def _linear_upgrade(motion):
    """G (3, 3) that makes the rows of `motion (frame, 2, 3)` orthogonal pairs of equal length, 1 in the mean."""
    a, b = motion[:, 0], motion[:, 1]
    i, j = np.triu_indices(3)
    share = np.where(i == j, 0.5, 1.0)  # u^T Q v over the six entries of a symmetric Q

    def quadratic(u, v):
        return share * (u[:, i] * v[:, j] + u[:, j] * v[:, i])

    aa, bb, ab = quadratic(a, a), quadratic(b, b), quadratic(a, b)
    system = np.vstack([(aa - bb), 2 * ab, len(a) * (aa + bb).mean(0, keepdims=True)])
    target = np.r_[np.zeros(2 * len(a)), 2.0 * len(a)]
    q = np.linalg.lstsq(system, target, rcond=None)[0]
    gram = np.zeros((3, 3))
    gram[i, j] = gram[j, i] = q
    values, vectors = np.linalg.eigh(gram)
    return vectors * np.sqrt(np.maximum(values, _FLATTEST * max(values[-1], 1e-12)))
