"""The number of shape bases: what a set can carry, and the choice by points that are held out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.factorization.measurements import Measurements, measure, reconstruction
from jnrsfm.inputs.observations import hold_out
from jnrsfm.types import Landmarks, Reconstruction

CANDIDATES = (1, 2, 3, 4, 6, 8, 10, 12, 15)
HELD_OUT = 0.1
_AS_GOOD = 1.15  # times the least held-out error


def check_rank(landmarks: Landmarks, rank: int, method: str) -> None:
    """Raise InputError where there are too few frames or points for `rank` shape bases."""
    if landmarks.n_points < 3 * rank + 1:
        raise InputError(
            f"{method}: rank {rank} needs at least {3 * rank + 1} points and there are {landmarks.n_points}: lower the "
            "rank"
        )
    least = max(4, -(-3 * rank // 2) + 1)
    if landmarks.n_frames < least:
        raise InputError(
            f"{method}: rank {rank} needs at least {least} frames and there are {landmarks.n_frames}: lower the rank "
            "or give more frames"
        )


def check_config_rank(rank: int | None) -> None:
    """Raise InputError for a rank below 1."""
    if rank is not None and rank < 1:
        raise InputError(f"rank is {rank}: give at least 1, or leave it out to choose by held-out points")


Solve = Callable[[Measurements, int], tuple[np.ndarray, np.ndarray, np.ndarray]]


def solve_with_rank(
    landmarks: Landmarks,
    camera: str,
    rank: int | None,
    seed: int,
    say: Callable[[str], None],
    method: str,
    solve: Solve,
) -> tuple[Reconstruction, dict[str, Any] | None, dict[str, Any]]:
    """Run `solve(measurements, rank) -> shapes, rotations, margin` at a given rank, or at the one of least error at
    observed points that are held out (a tenth, at random by `seed`). Returns the record, the held-out item of the
    quality report where there is one, and diagnostics."""
    heldout, diagnostics = None, {}
    if rank is None:
        possible = [k for k in CANDIDATES if _fits(landmarks, k)]
        if not possible:
            check_rank(landmarks, 1, method)
        rank, heldout, diagnostics = _choose(landmarks, camera, possible, seed, say, method, solve)
    check_rank(landmarks, rank, method)
    data = measure(landmarks, camera, rank)
    shapes, rotations, margin = solve(data, rank)
    if not np.isfinite(shapes).all():
        raise InputError(f"{method}: no finite shape at rank {rank}: lower the rank")
    return (
        reconstruction(landmarks, camera, data, shapes, rotations, margin),
        heldout,
        {"rank": rank, **diagnostics},
    )


def _fits(landmarks, rank):
    try:
        check_rank(landmarks, rank, "")
    except InputError:
        return False
    return True


def _choose(landmarks, camera, candidates: Sequence[int], seed, say, method, solve):
    """The smallest rank whose held-out error is within `_AS_GOOD` of the least; stops once two larger ranks in a row
    are worse. A larger rank that predicts images no better has more depths to choose from, which nothing checks. The
    smallest of all where no frame has a point to spare."""
    weights = np.asarray(landmarks.weights)
    kept, held = hold_out(weights, HELD_OUT, 4, seed)
    if not (held > 0).any():
        say(f"{method}: too few points in each frame to hold any out: rank {candidates[0]}")
        return candidates[0], None, {}
    image = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
    unit = np.sqrt(np.mean(measure(landmarks, camera, 1, kept).size ** 2))
    errors: dict[int, float] = {}
    for rank in candidates:
        data = measure(landmarks, camera, rank, kept)
        shapes, rotations, _ = solve(data, rank)
        plane = (
            np.einsum("fpj,faj->fpa", shapes, rotations[:, :2]) * data.size[:, None, None]
            + data.centre[:, None]
        )
        error = np.average(np.linalg.norm(plane - image, axis=-1), weights=held) / unit
        errors[rank] = float(error) if np.isfinite(error) else float("inf")
        say(f"{method}: rank {rank}: held-out error {errors[rank]:.4f} of the object's size")
        if len(errors) > 2 and min(errors, key=errors.__getitem__) in list(errors)[:-2]:
            break
    least = min(errors.values())
    best = min(rank for rank, error in errors.items() if error <= _AS_GOOD * least)
    mean = (kept[..., None] * image).sum(1) / np.maximum(kept.sum(1), 1e-9)[:, None]
    baseline = float(np.average(np.linalg.norm(image - mean[:, None], axis=-1), weights=held) / unit)
    item = {
        "error": errors[best], "baseline": baseline, "count": int((held > 0).sum()),
        "note": f"{HELD_OUT:.0%} of the observed points, by which the rank was chosen",
    }  # fmt: skip
    return best, item, {"held_out_by_rank": {str(k): round(e, 5) for k, e in errors.items()}}
