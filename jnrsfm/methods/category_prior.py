r"""A normal distribution of shapes for each category, and what it says of one image.

Shapes of a category are $X \sim N(\mu, B B^T + \tau I)$ in its object frame, B (3P x modes); an image shows $y = \Pi R
X + t$ at the visible points, t free. Given R all is linear: with $A = [\Pi R B, 1_x, 1_y]$ over the visible rows and
$e = y - \Pi R \mu$,

    M = I + A^T A / tau,   z = M^{-1} A^T e / tau,   X | y = mu + B z,
    -2 log p(y | R) = (e^T e - e^T A z) / tau + log det M + n log tau + const.

`learn` finds distribution, cameras and shapes of a category's samples by expectation maximisation (`procrustean_em`)
from several starts of the cameras, and keeps the one of highest likelihood. Cameras of a category often agree on what
is up: $R_f v \approx m$ for an axis v of the object. Where they do, an image's two mirrored readings put m on two
sides, and the one that looks like the others is the likelier: `learn` reads its samples once more by the distribution
that it has found, fits anew from there, and keeps that where the likelihood of images and cameras is higher.

Source: the model of Lee et al., Procrustean normal distribution, CVPR 2013; posterior and likelihood: Tipping and
Bishop, JRSS B 61(3), 1999. One distribution for each category, the axis and the conditional lifting are ours.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnrsfm.geometry.rotations import axis_angle_to_matrix
from jnrsfm.methods import procrustean_em as em
from jnrsfm.methods.camera_search import search_cameras
from jnrsfm.methods.factorization import measure
from jnrsfm.types import Landmarks

_MIRROR = np.diag([1.0, 1.0, -1.0])
_LEAST_NOISE = (
    0.02  # standard deviation of an image point, in units of the object's size, that lifting counts on
)
_STARTS = (1, 2)  # ranks of the metric upgrade whose cameras are tried
_STEPS, _COOLING, _FLOOR = 80, 0.93, 0.005
_LARGEST_TURN = 0.3  # radians a step


class Prior(NamedTuple):
    """The distribution of each category; leading axis category.

    `mean (category, point, 3)`, `basis (category, point, 3, mode)`, `noise (category,)` variance tau; `axis` and
    `side (category, 3)`: v and m of the module docstring, and `agreement (category,)`: their concentration; `mirror
    (category, 3, 3)`: the reflection that leaves the mean most alike. All 0 at points that a category has not.
    """

    mean: Any
    basis: Any
    noise: Any
    axis: Any
    side: Any
    agreement: Any
    mirror: Any


class Reading(NamedTuple):
    """What a prior says of images: `shape (*batch, point, 3)` and `rotation (*batch, 3, 3)`; `spread (*batch, point)`
    standard deviation of a point's place (root of the mean over x, y, z) given image and rotation; `log_likelihood
    (*batch,)` of the image and its camera, but for a constant; `margin (*batch,)` probability of the hand that was
    taken over the other."""

    shape: Any
    rotation: Any
    spread: Any
    log_likelihood: Any
    margin: Any


def empty(n_categories: int, n_points: int, modes: int) -> Prior:
    """Zeros of the right shapes."""
    z = lambda *shape: jnp.zeros((n_categories, *shape))
    return Prior(z(n_points, 3), z(n_points, 3, modes), jnp.ones(n_categories), z(3), z(3), z(), z(3, 3))


def _conditional(prior: Prior, points, weights, rotation):
    """`(-log likelihood, z, chol M)` of one image under the prior of its category (no leading axis)."""
    noise = jnp.maximum(prior.noise, _LEAST_NOISE**2)
    seen = (weights > 0).astype(points.dtype)[:, None]
    rows = rotation[:2]
    e = (seen * (points - prior.mean @ rows.T)).reshape(-1)
    a = jnp.einsum("ai,pik->pak", rows, prior.basis)
    a = jnp.concatenate([a, jnp.broadcast_to(jnp.eye(2, dtype=a.dtype), (len(points), 2, 2))], -1)
    a = (seen[..., None] * a).reshape(2 * len(points), -1)
    chol = jnp.linalg.cholesky(jnp.eye(a.shape[1], dtype=a.dtype) + a.T @ a / noise)
    pull = a.T @ e
    z = jax.scipy.linalg.cho_solve((chol, True), pull / noise)
    square = (e @ e - pull @ z) / noise
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(chol))) + 2 * jnp.sum(seen) * jnp.log(noise)
    return 0.5 * (square + log_det), z, chol


def _cost(turn, prior: Prior, points, weights, rotation):
    """Negative log likelihood of one image and of its camera, the rotation turned by `turn (3,)`."""
    r = axis_angle_to_matrix(turn) @ rotation
    camera = prior.agreement * (prior.side @ r @ prior.axis)
    return _conditional(prior, points, weights, r)[0] - camera


def _polished(prior: Prior, points, weights, rotation, steps: int):
    """`(rotation, cost)` after damped Newton steps; a step that does not help is not taken."""
    cost = partial(_cost, prior=prior, points=points, weights=weights)
    zero = jnp.zeros(3, points.dtype)

    def step(_, state):
        r, value, damping = state
        g, h = jax.grad(cost)(zero, rotation=r), jax.hessian(cost)(zero, rotation=r)
        values, vectors = jnp.linalg.eigh(h)
        curvature = jnp.maximum(jnp.abs(values), 1e-3 * jnp.max(jnp.abs(values)) + 1e-6) * (1 + damping)
        move = -vectors @ ((vectors.T @ g) / curvature)
        move = move * jnp.minimum(1.0, _LARGEST_TURN / jnp.maximum(jnp.linalg.norm(move), 1e-12))
        new = axis_angle_to_matrix(move) @ r
        after = cost(zero, rotation=new)
        better = after < value
        return (
            jnp.where(better, new, r),
            jnp.where(better, after, value),
            jnp.where(better, damping / 4, 4 * damping + 1),
        )

    start = (rotation, cost(zero, rotation=rotation), jnp.zeros((), points.dtype))
    rotation, value, _ = jax.lax.fori_loop(0, steps, step, start)
    return rotation, value


@partial(jax.jit, static_argnames=("steps",))
def read(
    prior: Prior,
    points: Float[Array, "frame point 2"],
    weights: Float[Array, "frame point"],
    category: Array,
    rotation: Float[Array, "frame 3 3"],
    steps: int = 4,
) -> Reading:
    """Shapes of images from a first rotation of each, which `steps` Newton steps on the likelihood improve.

    The mirrored reading, (X, R) to (X', diag(1, 1, -1) R F) with F the reflection that leaves the mean shape most
    alike, is improved too, and the likelier of the two taken. `points` are centred, in units of the category's size.
    """

    def one(points, weights, category, rotation):
        own = jax.tree.map(lambda x: x[category], prior)
        starts = jnp.stack([rotation, jnp.asarray(_MIRROR, rotation.dtype) @ rotation @ own.mirror])
        rotations, costs = jax.vmap(lambda r: _polished(own, points, weights, r, steps))(starts)
        best = jnp.argmin(costs)
        rotation = rotations[best]
        _, z, chol = _conditional(own, points, weights, rotation)
        modes = own.basis.shape[-1]
        shape = own.mean + own.basis @ z[:modes]
        flat = jnp.concatenate([own.basis.reshape(-1, modes), jnp.zeros((own.basis.size // modes, 2))], -1)
        root = jax.scipy.linalg.solve_triangular(chol, flat.T, lower=True)
        spread = jnp.sqrt(jnp.sum(root**2, 0).reshape(-1, 3).mean(-1) + own.noise)
        margin = jnp.tanh(0.5 * jnp.abs(costs[0] - costs[1]))
        return Reading(shape, rotation, spread, -costs[best], margin)

    return jax.vmap(one)(points, weights, category, rotation)


def _fit(points: np.ndarray, weights: np.ndarray, rows: np.ndarray, modes: int) -> em.State:
    """EM from cameras; points `(frame, 2, point)`."""
    state = em.start(jnp.asarray(points), jnp.asarray(rows), modes, 1.0)
    return em.iterate(
        state, jnp.asarray(points), jnp.asarray(weights), cooling=_COOLING, floor=_FLOOR**2, steps=_STEPS,
        gaps=not (weights > 0).all(), free_scale=False, tangent=0.0,
    )  # fmt: skip


def _full(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)


def _common_axis(rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """`(v, m, concentration)`: the axis v of the object whose image R_f v varies least, its mean direction m, and the
    concentration of the von Mises-Fisher distribution about it (Banerjee's approximation)."""
    u, s, vt = np.linalg.svd(rotations.mean(0))
    r = min(float(s[0]), 0.999)
    return vt[0], u[:, 0], r * (3 - r * r) / (1 - r * r)


def _reflection(mean: np.ndarray) -> np.ndarray:
    """The reflection of the object frame across the plane in which the mean shape `(3, point)` extends most."""
    mean = mean[:, np.abs(mean).max(0) > 0]  # a point that nobody sees stays at 0
    centred = mean - mean.mean(1, keepdims=True)
    normal = np.linalg.eigh(centred @ centred.T)[1][:, 0]
    return np.eye(3) - 2 * np.outer(normal, normal)


def _evidence(state: em.State) -> float:
    """Mean log likelihood of images and cameras."""
    rotations = _full(np.asarray(state.rows))
    v, m, k = _common_axis(rotations)
    log_norm = np.log(k / (1 - np.exp(-2 * k))) - k if k > 1e-6 else np.log(0.5)
    return float(state.likelihood.mean() + log_norm + k * np.mean(rotations @ v @ m))


class Learned(NamedTuple):
    """The prior of one category (no leading axis), `shapes (frame, point, 3)` and `rotations (frame, 3, 3)` of its
    samples, and plain figures."""

    prior: Prior
    shapes: np.ndarray
    rotations: np.ndarray
    facts: dict[str, Any]


def learn(points: np.ndarray, weights: np.ndarray, modes: int, seed: int) -> Learned:
    """Distribution, cameras and shapes of the samples of one category.

    `points (frame, point, 2)` centred and in units of the category's size, `weights (frame, point)` 0 where hidden;
    a point that no sample sees is allowed, and stays at 0.
    """
    n, p, _ = points.shape
    modes = max(1, min(modes, 3 * p - 7, n - 1))
    data = measure(
        Landmarks(points2d=points, visible=weights > 0), "orthographic", min(3, max(1, (p - 1) // 3))
    )
    seen = np.asarray(data.seen, np.float64)
    with jax.enable_x64(True):
        starts = {rank: search_cameras(data.points, rank, 4, seed)[0] for rank in _STARTS}
        ends = {f"rank {rank}": _fit(data.points, seen, rows, modes) for rank, rows in starts.items()}
        evidence = {name: _evidence(s) for name, s in ends.items()}
        best = max(evidence, key=lambda k: np.nan_to_num(evidence[k], nan=-np.inf))
        prior, rotations = _prior(ends[best], modes), _full(np.asarray(ends[best].rows))
    f32 = partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float32))
    one, first = (
        f32(jax.tree.map(lambda x: x[None], prior)),
        f32((data.points.transpose(0, 2, 1), seen, rotations)),
    )
    again = read(one, first[0], first[1], jnp.zeros(n, jnp.int32), first[2], 4)
    turned = np.asarray(again.rotation, np.float64)
    with jax.enable_x64(True):
        ends["read again"] = _fit(data.points, seen, turned[:, :2], modes)
        evidence["read again"] = _evidence(ends["read again"])
        best = max(evidence, key=lambda k: np.nan_to_num(evidence[k], nan=-np.inf))
        state = jax.tree.map(np.asarray, ends[best])
    unit = float(data.size[0])  # of the completed points; back to that of the input
    prior = _prior(state, modes)
    prior = prior._replace(mean=unit * prior.mean, basis=unit * prior.basis, noise=unit**2 * prior.noise)
    facts = {
        "start": best, "evidence": {k: round(e, 3) for k, e in evidence.items()},
        "noise": float(prior.noise) ** 0.5, "agreement": float(prior.agreement),
    }  # fmt: skip
    return Learned(prior, unit * state.shapes.transpose(0, 2, 1), _full(state.rows), facts)


def _prior(state: em.State, modes: int) -> Prior:
    """The distribution where EM stands (no leading axis), in NumPy."""
    rows, mean, directions, variances, noise = (
        np.asarray(x) for x in (state.rows, state.mean, state.basis, state.variances, state.noise)
    )
    v, m, agreement = _common_axis(_full(rows))
    basis = (directions * np.sqrt(variances)).reshape(3, -1, modes).transpose(1, 0, 2)
    return Prior(mean.T, basis, noise, v, m, np.float64(agreement), _reflection(mean))
