"""What the factorisation solvers share: centred measurements, gaps, cameras, the record, the choice of rank.

Frames are divided by one image size for the set (orthographic) or by one each (weak perspective), so that solvers see
numbers of size 1 and one orthographic model; the record is in the user's units again. All in float64.
Confidence is not used as a weight here: a point counts or does not.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry.metric_upgrade import Scale, metric_upgrade, orthonormal_rows, resolve_camera_signs
from jnrsfm.methods.base import record
from jnrsfm.methods.observations import hold_out
from jnrsfm.training import Session
from jnrsfm.types import Cameras, Landmarks, Reconstruction

CAMERAS = ("orthographic", "weak-perspective")
CANDIDATES = (1, 2, 3, 4, 6, 8, 10, 12, 15)
HELD_OUT = 0.1
_AS_GOOD = 1.15  # times the least held-out error
_NOISE_FLOOR = 1e-5  # components below this share of the first are rounding of float32 input


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements:
    """Centred image points `points (frame, 2, point)` of size 1, gaps filled; `seen (frame, point)` where there is an
    observation; `size (frame,)` and `centre (frame, 2)` lead back: `image = size * points + centre`."""

    points: Float[np.ndarray, "frame 2 point"]
    seen: Bool[np.ndarray, "frame point"]
    size: Float[np.ndarray, " frame"]
    centre: Float[np.ndarray, "frame 2"]
    sequence: np.ndarray | None

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.points.shape[0]

    @property
    def n_points(self) -> int:
        """Number of points."""
        return self.points.shape[2]


def measure(
    landmarks: Landmarks, camera: str, rank: int, seen: Bool[np.ndarray, "frame point"] | None = None
) -> Measurements:
    """Measurements of landmarks for `rank` shape bases; `seen` replaces the mask of observed points.

    A missing point takes part in nothing: it is filled by `complete`, with a factorisation of rank 3 `rank`.
    """
    seen = np.asarray(landmarks.weights) > 0 if seen is None else seen
    image = np.where(seen[..., None], np.asarray(landmarks.points2d, np.float64), 0.0).transpose(0, 2, 1)
    count = np.maximum(seen.sum(1), 1)[:, None]
    centre = image.sum(2) / count
    w = np.where(seen[:, None], image - centre[..., None], 0.0)
    size = np.sqrt((w**2).sum((1, 2)) / count[:, 0])
    if camera == "orthographic":
        size = np.full(len(w), np.sqrt(np.mean(size**2)))
    w = w / size[:, None, None]
    if not seen.all():
        basis = min(3 * rank, w.shape[2] - 2)
        with jax.enable_x64(True):
            filled = np.asarray(complete(jnp.asarray(w), jnp.asarray(seen), basis))
        w = np.where(seen[:, None], w, filled)
        middle = w.mean(2)
        centre = centre + size[:, None] * middle
        w = w - middle[..., None]
    sequence = None if landmarks.sequence is None else np.asarray(landmarks.sequence)
    return Measurements(w, seen, size, centre, sequence)


@partial(jax.jit, static_argnames=("basis", "steps"))
def complete(
    points: Float[Array, "frame 2 point"], seen: Bool[Array, "frame point"], basis: int, steps: int = 150
) -> Float[Array, "frame 2 point"]:
    r"""Low-rank completion: probabilistic PCA with gaps, a translation for each row of the image, by EM.

    $w_{fp} = N_p m_f + t_f + \epsilon$ with $m_f \sim N(0, I)$ in `basis` dimensions; x and y of a frame share their
    gaps and so their posterior covariance, which the M step counts: unlike alternating least squares it does
    not overfit where a frame or a point has few observations. Returns the posterior mean everywhere.
    Source: Tipping and Bishop, JRSS B 61(3), 1999; Ilin and Raiko, JMLR 11, 2010 (gaps).
    """
    v = seen.astype(points.dtype)
    n_points = points.shape[2]
    w = points * v[:, None]
    total = jnp.maximum(v.sum(), 1.0)
    # Start: gaps at 0, the mean of the frame's visible points.
    _, s, vt = jnp.linalg.svd(w.reshape(-1, n_points), full_matrices=False)
    loading = (vt[:basis] * s[:basis, None]).T / jnp.sqrt(1.0 * w.shape[0] * 2)
    prior = jnp.ones(basis + 1, points.dtype).at[-1].set(1e-9)  # the translation is free

    def body(_, state):
        loading, noise, _ = state
        n = jnp.concatenate([loading, jnp.ones((n_points, 1), points.dtype)], 1)
        h = jnp.einsum("fp,pi,pj->fij", v, n, n) / noise + jnp.diag(prior)
        cov = jnp.linalg.inv(h)
        m = jnp.einsum("fij,pj,fap->fai", cov, n, w) / noise
        t, m_shape = m[..., -1], m[..., :-1]
        second = jnp.einsum("fai,faj->fij", m_shape, m_shape) + 2 * cov[:, :-1, :-1]
        a = jnp.einsum("fp,fij->pij", v, second) + 1e-9 * jnp.eye(basis, dtype=points.dtype)
        b = jnp.einsum("fai,fap->pi", m_shape, w - t[..., None] * v[:, None])
        b = b - 2 * jnp.einsum("fp,fi->pi", v, cov[:, :-1, -1])
        new = jnp.linalg.solve(a, b[..., None])[..., 0]
        mean = jnp.einsum("pi,fai->fap", new, m_shape) + t[..., None]
        full = jnp.concatenate([new, jnp.ones((n_points, 1), points.dtype)], 1)
        spread = 2 * jnp.einsum("fp,pi,fij,pj->", v, full, cov, full)
        noise = (jnp.sum(v[:, None] * (w - mean) ** 2) + spread) / (2 * total)
        return new, jnp.maximum(noise, 1e-12), mean

    state = (loading, jnp.asarray(0.1, points.dtype), jnp.zeros_like(points))
    return lax.fori_loop(0, steps, body, state)[2]


def motion_factor(
    points: Float[np.ndarray, "frame 2 point"], basis: int
) -> Float[np.ndarray, "frame 2 basis"]:
    """U sqrt(Sigma) of the leading `basis` components, without those that are rounding; at least three."""
    n = points.shape[0]
    u, s, _ = np.linalg.svd(points.reshape(2 * n, -1), full_matrices=False)
    basis = max(3, min(basis, int((s > _NOISE_FLOOR * s[0]).sum())))
    return (u[:, :basis] * np.sqrt(s[:basis])).reshape(n, 2, basis)


def recover_cameras(
    data: Measurements, basis: int, scale: Scale
) -> tuple[Float[np.ndarray, "frame 3 3"], Float[np.ndarray, " frame"], Float[np.ndarray, " frame"]]:
    """Rotations by the metric upgrade of the leading `basis` components, the scale |c_f| of each frame (1 on the
    mean of squares), and how firmly its sign is tied to the others."""
    with jax.enable_x64(True):
        upgrade = metric_upgrade(jnp.asarray(motion_factor(data.points, basis)), scale)
        cameras = np.asarray(upgrade.cameras)
    rows = orthonormal_rows(cameras)
    flip, margin = resolve_camera_signs(rows, data.points, data.sequence)
    rows = rows * np.where(flip, -1.0, 1.0)[:, None, None]
    rotations = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    return rotations, np.sqrt((cameras**2).sum((1, 2)) / 2), margin


@jax.jit
def solve_points(
    motion: Float[Array, "frame 2 basis"],
    points: Float[Array, "frame 2 point"],
    seen: Bool[Array, "frame point"],
    penalty: Float[ArrayLike, "..."] = 0.0,
) -> Float[Array, "point basis"]:
    """Least squares of each point's coefficients over the frames that saw it: min |V (W_p - M b_p)|^2 + b_p^T Q b_p
    with the `penalty` Q."""
    v = seen.astype(motion.dtype)
    square = jnp.einsum("fai,faj->fij", motion, motion)
    h = jnp.einsum("fp,fij->pij", v, square) + penalty
    b = jnp.einsum("fp,fai,fap->pi", v, motion, points)
    # a point seen too seldom for its coefficients takes the smallest ones
    ridge = 1e-10 * jnp.maximum(jnp.trace(h, axis1=1, axis2=2), 1e-30)[:, None, None]
    return jnp.linalg.solve(h + ridge * jnp.eye(h.shape[-1], dtype=h.dtype), b[..., None])[..., 0]


def reconstruction(
    landmarks: Landmarks,
    camera: str,
    data: Measurements,
    shapes: Float[np.ndarray, "frame point 3"],
    rotations: Float[np.ndarray, "frame 3 3"],
    margin: Float[np.ndarray, " frame"],
) -> Reconstruction:
    """The record: `scale * (points3d @ R.T) + t` has its x and y in the user's image units; orthographic: scale 1."""
    unit = float(np.exp(np.log(data.size).mean()))
    shapes = np.asarray(shapes, np.float64) * unit
    scale = None if camera == "orthographic" else (data.size / unit).astype(np.float32)
    middle = np.einsum("fi,fji->fj", shapes.mean(1), rotations)
    t = np.concatenate([data.centre, np.zeros((len(shapes), 1))], 1)
    t[:, 2] -= (1.0 if scale is None else scale) * middle[:, 2]  # depth is free: the centroid is put at 0
    gauge = "the input's units"
    if scale is not None:
        gauge = "every frame's image (rms) has one size, the geometric mean over frames in the input's units"
    cameras = Cameras(
        rotations=rotations.astype(np.float32), translations=t.astype(np.float32), scale=scale, model=camera
    )
    return record(
        landmarks,
        shapes.astype(np.float32),
        cameras,
        gauge=gauge,
        mirror="set" if landmarks.sequence is None else "sequence",
        mirror_margin=margin.astype(np.float32),
    )


def weighted_bases(
    data: Measurements,
    rotations: Float[np.ndarray, "frame 3 3"],
    weights: Float[ArrayLike, "frame basis"],
    penalty: Float[ArrayLike, "basis basis"] | None = None,
) -> Float[np.ndarray, "frame point 3"]:
    r"""Shapes $X_f = \sum_k C_{fk} S_k$ of given `weights` C, the bases S by least squares over what was seen, each
    point's coefficients along every axis with the `penalty` of `solve_points`."""
    with jax.enable_x64(True):
        c = jnp.asarray(weights)
        motion = jnp.einsum("fk,fai->faki", c, jnp.asarray(rotations[:, :2])).reshape(len(c), 2, -1)
        q = 0.0 if penalty is None else jnp.kron(jnp.asarray(penalty), jnp.eye(3))
        b = solve_points(motion, jnp.asarray(data.points), jnp.asarray(data.seen), q)
        return np.asarray(jnp.einsum("fk,pki->fpi", c, b.reshape(data.n_points, -1, 3)))


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
    session: Session,
    method: str,
    solve: Solve,
) -> tuple[Reconstruction, dict[str, Any] | None, dict[str, Any]]:
    """Run `solve(measurements, rank) -> shapes, rotations, margin` at a given rank, or at the one of least error at
    observed points that are held out (a tenth, at random by `seed`). Returns the record, the held-out item of the
    report card where there is one, and facts."""
    heldout, facts = None, {}
    if rank is None:
        possible = [k for k in CANDIDATES if _fits(landmarks, k)]
        if not possible:
            check_rank(landmarks, 1, method)
        rank, heldout, facts = _choose(landmarks, camera, possible, seed, session, method, solve)
    check_rank(landmarks, rank, method)
    data = measure(landmarks, camera, rank)
    shapes, rotations, margin = solve(data, rank)
    if not np.isfinite(shapes).all():
        raise InputError(f"{method}: no finite shape at rank {rank}: lower the rank")
    return (
        reconstruction(landmarks, camera, data, shapes, rotations, margin),
        heldout,
        {"rank": rank, **facts},
    )


def _fits(landmarks, rank):
    try:
        check_rank(landmarks, rank, "")
    except InputError:
        return False
    return True


def _choose(landmarks, camera, candidates: Sequence[int], seed, session, method, solve):
    """The smallest rank whose held-out error is within `_AS_GOOD` of the least; stops once two larger ranks in a row
    are worse. A larger rank that predicts images no better has more depths to choose from, which nothing checks."""
    weights = np.asarray(landmarks.weights)
    seen, held = (w > 0 for w in hold_out(weights, HELD_OUT, 4, seed))
    image = np.asarray(landmarks.points2d, np.float64)
    unit = np.sqrt(np.mean(measure(landmarks, camera, 1, seen).size ** 2))
    errors: dict[int, float] = {}
    for rank in candidates:
        data = measure(landmarks, camera, rank, seen)
        shapes, rotations, _ = solve(data, rank)
        plane = (
            np.einsum("fpj,faj->fpa", shapes, rotations[:, :2]) * data.size[:, None, None]
            + data.centre[:, None]
        )
        error = np.linalg.norm(plane - image, axis=-1)[held].mean() / unit
        errors[rank] = float(error) if np.isfinite(error) else float("inf")
        session.say(f"{method}: rank {rank}: held-out error {errors[rank]:.4f} of the object's size")
        if len(errors) > 2 and min(errors, key=errors.__getitem__) in list(errors)[:-2]:
            break
    least = min(errors.values())
    best = min(rank for rank, error in errors.items() if error <= _AS_GOOD * least)
    mean = (seen[..., None] * np.where(seen[..., None], image, 0)).sum(1) / np.maximum(seen.sum(1), 1)[
        :, None
    ]
    baseline = float(np.linalg.norm(image - mean[:, None], axis=-1)[held].mean() / unit)
    item = {
        "error": errors[best], "baseline": baseline, "count": int(held.sum()),
        "note": f"{HELD_OUT:.0%} of the observed points, by which the rank was chosen",
    }  # fmt: skip
    return best, item, {"held_out_by_rank": {str(k): round(e, 5) for k, e in errors.items()}}
