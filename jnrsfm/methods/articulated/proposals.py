"""Other sides to which bones may point: proposals for the search, which keep the image and the lengths of all bones."""

import numpy as np
from jaxtyping import Bool, Float, Int


def flips(
    x: Float[np.ndarray, "frame point 3"],
    parent: Int[np.ndarray, " point"],
    below: Bool[np.ndarray, "point point"],
    most: int = 3,
) -> list[np.ndarray]:
    """Copies of `x (frame, point, 3)` in which one bone points to the camera instead of away from it, or the other way,
    for a stretch of frames: what hangs on it moves along, or is reflected with it. Stretches begin and end where the
    bone lies in the image plane (where a wrong sign can have set in), or with the clip."""
    out = []
    for p in range(x.shape[1]):
        if parent[p] < 0:
            continue
        z = x[:, p, 2] - x[:, parent[p], 2]
        for first, last in _stretches(np.abs(z), most):
            rows, own = np.arange(first, last), np.flatnonzero(below[p])
            moved = x.copy()
            moved[rows[:, None], own, 2] -= 2 * z[rows, None]
            out.append(moved)
            if len(own) > 1:
                limb = x.copy()
                limb[rows[:, None], own, 2] = 2 * x[rows, parent[p], 2][:, None] - x[rows[:, None], own, 2]
                out.append(limb)
    return out


def _stretches(size: np.ndarray, most: int) -> list[tuple[int, int]]:
    """The whole, and what lies between at most `most` of the deepest minima of `size (frame,)`."""
    n = len(size)
    low = [
        i for i in range(2, n - 2)
        if size[i] <= size[i - 1] and size[i] <= size[i + 1] and size[i] < 0.5 * np.median(size)
    ]  # fmt: skip
    cuts = [0, *sorted(sorted(low, key=lambda i: size[i])[:most]), n]
    parts = {(0, n)} | {(a, b) for i, a in enumerate(cuts) for b in cuts[i + 1 :] if b - a > 2}
    return sorted(parts)
