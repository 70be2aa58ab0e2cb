r"""Consensus of non-rigid reconstructions: many small parts are reconstructed, and agree on the whole.

A small part of a deforming body is much simpler than the body. Random parts of about ten points that move together,
each point in several of them, are reconstructed one by one; each part is free in its depth offset of every frame, and
in one mirror for all frames. Mirrors are made consistent by the depths of shared points,
$\langle D_g, D_h \rangle$ over all frames, with signs by synchronization. The whole is then the shape that the parts
agree on,

    min_{S, o}  sum_g sum_f |S_{f,g} - (Y_{gf} + o_{gf})|_F        (norms, not squares: bad parts are outvoted)

over camera-frame shapes S and offsets o, by iteratively reweighted least squares.

The reconstruction of a part is the low-rank normal distribution of aligned shapes (`procrustean_em`) with few modes:
minus its log likelihood is, as the noise goes to 0, the log-determinant surrogate of the rank of the aligned part.
Parts start from common cameras (`camera_search`) and refine them on their own, since a part may turn against the body.

Source: Lee, Cho, Oh: Consensus of non-rigid reconstructions, CVPR 2016 (random parts, mirrors, robust consensus).
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jnrsfm.errors import InputError
from jnrsfm.factorization.camera_search import search_cameras
from jnrsfm.factorization.cameras import aligned_rotations
from jnrsfm.factorization.measurements import CAMERAS, Measurements, measure, reconstruction
from jnrsfm.factorization.upgrade import resolve_camera_signs
from jnrsfm.linalg.sign_synchronization import synchronize_signs
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.shape_prior import procrustean_em as em
from jnrsfm.training import Session
from jnrsfm.types import Landmarks, ResultCode

_LEAST_FRAMES = 6
_LEAST_POINTS = 5
_AGREEMENT_STEPS = 60
_AT_ONCE = 32  # parts solved together: memory is parts x frames x modes^2
_SAMPLED_FRAMES = 64  # for the distances by which parts are drawn


@dataclasses.dataclass(frozen=True)
class Consensus:
    """Settings of consensus."""

    part_size: int = 10
    """Points in a part."""
    coverage: int = 6
    """Parts that every point is in, at least."""
    locality: float = 1.0
    """Width of a part in units of the typical distance between points: small parts are simple, wide ones tie."""
    modes: int = 10
    """Directions in which the covariance of a part is free."""
    steps: int = 80
    """EM steps of a part."""
    cooling: float = 0.9
    """Factor by which the noise variance of a part falls at most in a step."""
    floor: float = 1e-4
    """Least standard deviation of the noise of a part, in units of the object's image size."""

    def __post_init__(self):
        """Raise InputError for settings that cannot work."""
        if self.part_size < _LEAST_POINTS:
            raise InputError(f"part_size is {self.part_size}: a part needs at least {_LEAST_POINTS} points")
        for name in ("coverage", "modes", "steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give at least 1")
        for name in ("cooling", "floor"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give a number between 0 and 1")
        if not self.locality > 0:
            raise InputError(f"locality is {self.locality}: give a positive width")


def draw_parts(
    points: Float[np.ndarray, "frame 2 point"], size: int, coverage: int, locality: float, seed: int
) -> Int[np.ndarray, "part size"]:
    r"""Random parts, every point in at least `coverage` of them, consecutive ones tied by shared points.

    Each part grows around the point that is in the fewest so far; others are drawn without replacement with
    probability proportional to $\exp(-d^2 / (2 l^2 m^2))$, d being the largest distance of the two image points over
    the frames, m its median and l the `locality`: points that are ever far apart belong to different parts.
    """
    rng = np.random.default_rng(seed)
    n_points = points.shape[2]
    size = min(size, n_points)
    frames = np.unique(np.linspace(0, len(points) - 1, _SAMPLED_FRAMES).astype(int))
    count, parts = np.zeros(n_points, int), []
    while count.min() < coverage:
        centre = rng.choice(np.flatnonzero(count == count.min()))
        gap = points[frames] - points[frames][:, :, centre, None]
        distance = np.sqrt((gap**2).sum(1).max(0))
        typical = max(float(np.median(distance)), 1e-12)
        # the largest of log weight plus Gumbel noise: a draw without replacement
        rank = -0.5 * (distance / (locality * typical)) ** 2 + rng.gumbel(size=n_points)
        rank[centre] = np.inf
        part = np.sort(np.argsort(-rank)[:size])
        parts.append(part)
        count[part] += 1
    return np.stack(parts)


@partial(jax.jit, static_argnames=("steps", "gaps", "free_scale"))
def _solve_parts(states, points, weights, cooling, floor, steps, gaps, free_scale):
    """EM of every part; camera-frame shapes `(part, frame, 3, point)`, and the log likelihood of each part."""

    def one(part):
        state, w, v = part
        end = em.iterate(
            state, w, v, cooling=cooling, floor=floor, steps=steps, gaps=gaps, free_scale=free_scale,
            tangent=0.0,
        )  # fmt: skip
        third = jnp.cross(end.rows[:, 0], end.rows[:, 1])
        third = third / jnp.sqrt(jnp.linalg.norm(third, axis=-1, keepdims=True))  # length c, as the rows
        rotated = jnp.concatenate([end.rows, third[:, None]], 1) @ end.shapes
        return rotated.at[:, :2].add(end.shift[..., None]), end.likelihood.mean()

    return lax.map(one, (states, points, weights), batch_size=_AT_ONCE)


def mirror_parts(
    shapes: Float[np.ndarray, "part frame 3 size"], parts: Int[np.ndarray, "part size"]
) -> Bool[np.ndarray, " part"]:
    """Which parts to mirror in depth so that parts with at least three points in common agree on their depths."""
    n = len(parts)
    members = np.zeros((n, int(parts.max()) + 1), bool)
    np.put_along_axis(members, parts, True, 1)
    shared = members.astype(int) @ members.T.astype(int)
    i, j = np.nonzero(np.triu(shared >= 3, 1))
    vote = np.zeros(len(i))
    for k, (a, b) in enumerate(zip(i, j, strict=True)):
        _, first, second = np.intersect1d(parts[a], parts[b], return_indices=True)
        x, y = shapes[a, :, 2][:, first], shapes[b, :, 2][:, second]
        x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        vote[k] = (x * y).sum() / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-300)
    vote = np.where(np.abs(vote) < 1e-12, 1e-12, vote)
    half = sparse.coo_matrix((vote, (i, j)), shape=(n, n))
    affinity = sparse.csr_matrix(half + half.T)
    flip = np.zeros(n, bool)
    count, group = sparse.csgraph.connected_components(affinity, directed=False)
    for c in range(
        count
    ):  # groups that share too little cannot be compared: each keeps a reflection of its own
        nodes = np.flatnonzero(group == c)
        flip[nodes] = synchronize_signs(affinity[nodes][:, nodes])[0]
    return flip


@partial(jax.jit, static_argnames=("n_points", "steps"))
def agree(
    shapes: Float[Array, "part frame 3 size"],
    parts: Int[Array, "part size"],
    n_points: int,
    steps: int = _AGREEMENT_STEPS,
) -> Float[Array, "frame 3 point"]:
    """The minimiser over S of the module docstring, each frame centred: reweighted alternation of S and offsets.

    The weight of a part in a frame is one over its disagreement, not below a thousandth of the median one.
    """
    n_parts, n_frames, _, size = shapes.shape
    flat = parts.reshape(-1)
    centred = shapes - shapes.mean(-1, keepdims=True)

    def gather(s):
        return jnp.moveaxis(s[..., flat].reshape(n_frames, 3, n_parts, size), 2, 0)

    def average(values, weight):
        spread = jnp.moveaxis(weight[..., None, None] * values, 0, 2).reshape(n_frames, 3, n_parts * size)
        top = jax.ops.segment_sum(jnp.moveaxis(spread, 2, 0), flat, n_points)
        low = jax.ops.segment_sum(jnp.repeat(weight, size, axis=0), flat, n_points)
        return jnp.moveaxis(top / low[..., None], 0, 2)

    def body(_, state):
        s, weight = state
        own = gather(s)
        s = average(centred + own.mean(-1, keepdims=True), weight)
        own = gather(s)
        gap = jnp.sqrt(jnp.sum((own - own.mean(-1, keepdims=True) - centred) ** 2, (2, 3)))
        return s, 1.0 / jnp.maximum(gap, 1e-3 * jnp.median(gap) + 1e-12)

    start = jnp.zeros((n_frames, 3, n_points), shapes.dtype), jnp.ones((n_parts, n_frames), shapes.dtype)
    s = lax.fori_loop(0, steps, body, start)[0]
    return s - s.mean(-1, keepdims=True)


def fit(landmarks: Landmarks, camera: str, config: Consensus, seed: int, session: Session) -> Fitted:
    """Parts, their mirrors, the consensus; cameras by aligning the camera-frame shapes to their mean.

    Raises InputError where there are fewer than 6 frames or 5 points, ; a part whose likelihood is not finite is
    taken as rigid, and the code says so.
    """
    if landmarks.n_frames < _LEAST_FRAMES or landmarks.n_points < _LEAST_POINTS:
        raise InputError(
            f"consensus: needs at least {_LEAST_FRAMES} frames and {_LEAST_POINTS} points and there are "
            f"{landmarks.n_frames} and {landmarks.n_points}: give more, or use rigid"
        )
    data = measure(landmarks, camera, max(1, min(3, (landmarks.n_points - 1) // 3)))
    rows, cost = search_cameras(data.points, seed=seed)
    parts = draw_parts(data.points, config.part_size, config.coverage, config.locality, seed)
    session.say(f"consensus: {len(parts)} parts of {parts.shape[1]} points")
    free_scale = camera == "weak-perspective"
    with jax.enable_x64(True):
        states, points, weights = _starts(data, rows, parts, config.modes)
        shapes, likelihood = _solve_parts(
            states, points, weights, config.cooling, config.floor**2,
            config.steps, not (data.weights == 1).all(), free_scale,
        )  # fmt: skip
        shapes = np.array(shapes)
        bad = ~(np.isfinite(np.asarray(likelihood)) & np.isfinite(shapes).all((1, 2, 3)))
        if bad.any():  # a part that broke down is put as the rigid shape under the common cameras
            shapes[bad] = _rigid_parts(data.points, rows, parts[bad])
        flip = mirror_parts(shapes, parts)
        shapes[flip, :, 2] *= -1
        whole = np.array(agree(jnp.asarray(shapes), jnp.asarray(parts), data.n_points))
    # what was observed is kept; a hidden point takes its place among the visible ones
    v = data.weights[:, None]
    offset = ((data.observed - whole[:, :2]) * v).sum(2) / np.maximum(v.sum(2), 1e-9)
    there = whole[:, :2] + offset[..., None]
    whole[:, :2] = there + v * (data.observed - there)
    with jax.enable_x64(True):
        full = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
        rotations = np.asarray(aligned_rotations(jnp.asarray(whole), jnp.asarray(full)))
    _, margin = resolve_camera_signs(rotations[:, :2], data.points, data.sequence)
    objects = np.einsum("fij,fip->fpj", rotations, whole)
    record = reconstruction(landmarks, camera, data, objects, rotations, margin)
    diagnostics = {
        "parts": len(parts), "mirrored_parts": int(flip.sum()), "camera_start_residual": cost,
        "rigid_parts": int(bad.sum()),
    }  # fmt: skip
    code = ResultCode.NOT_CONVERGED if bad.any() else ResultCode.CONVERGED
    return Fitted(record, diagnostics=diagnostics, code=code)


def _starts(data: Measurements, rows, parts, modes: int):
    """The states that EM starts from, the centred images and the weights of all parts, stacked."""
    filled, images = (np.moveaxis(x[:, :, parts], 2, 0) for x in (data.points, data.observed))
    middle = filled.mean(-1, keepdims=True)
    filled, images = filled - middle, images - middle  # (part, frame, 2, size)
    weights = np.moveaxis(data.weights[:, parts], 1, 0)
    free = max(1, min(modes, 3 * parts.shape[1] - 7, data.n_frames - 1))
    each = [em.start(jnp.asarray(w), jnp.asarray(rows), free, 1.0) for w in filled]
    return jax.tree.map(lambda *x: jnp.stack(x), *each), jnp.asarray(images), jnp.asarray(weights)


def _rigid_parts(points, rows, parts):
    """`(part, frame, 3, size)` camera-frame shapes of one rigid body under given camera rows, images as observed."""
    n, _, p = points.shape
    mean = np.linalg.lstsq(rows.reshape(2 * n, 3), points.reshape(2 * n, p), rcond=None)[0]
    depth = np.cross(rows[:, 0], rows[:, 1]) @ mean
    return np.moveaxis(np.concatenate([points, depth[:, None]], 1)[:, :, parts], 2, 0)


INFO = MethodInfo(
    name="consensus",
    kind="solver",
    summary="consensus of non-rigid reconstructions: random parts, solved one by one, vote on the whole",
    cameras=CAMERAS,
    missing=True,
    needs_order=False,
    unseen=False,
    source="Lee, Cho, Oh: Consensus of non-rigid reconstructions, CVPR 2016",
    cites=("lee2016consensus",),
    config=Consensus,
    fit=fit,
)
