r"""A normal distribution of shapes for each category, and what it says of one image.

Shapes of a category are $X \sim N(\mu, B B^T + \tau I)$ in its object frame, B (3P x modes); an image shows $y = \Pi R
X + t$ at the visible points, t free. Given R all is linear: with $A = [\Pi R B, 1_x, 1_y]$ over the visible rows and
$e = y - \Pi R \mu$,

    M = I + A^T A / tau,   z = M^{-1} A^T e / tau,   X | y = mu + B z,
    -2 log p(y | R) = (e^T e - e^T A z) / tau + log det M + n log tau + const.

`learn` finds distribution, cameras and shapes of a category's samples by expectation maximisation (`procrustean_em`)
from several starts of the cameras, and keeps the one of highest likelihood. Cameras of a category often agree on what
is up: $R_f v \approx m$ for an axis v of the object. Where they do, the two shapes of an image, which mirror each other
in depth, put m on two sides, and the one that looks like the others is the likelier: `learn` finds the posterior of
its samples under the distribution that it has, fits anew from those cameras, and keeps that where the likelihood of
images and cameras is higher.

Source: the model of Lee et al., Procrustean normal distribution, CVPR 2013; posterior and likelihood: Tipping and
Bishop, JRSS B 61(3), 1999. One distribution for each category, the axis and the conditional lifting are ours.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jnrsfm.factorization.camera_search import search_cameras
from jnrsfm.factorization.measurements import measure
from jnrsfm.geometry.cameras import posit_points
from jnrsfm.geometry.normalization import masked_mean
from jnrsfm.geometry.rotations import GENERATORS, axis_angle_to_matrix
from jnrsfm.linalg.damped_newton import Damping, damped_step, minimise, shorten
from jnrsfm.shape_prior import procrustean_em as em
from jnrsfm.shape_prior.procrustean_normal import ProcrusteanNormal, code_posterior
from jnrsfm.types import Landmarks

_MIRROR = np.diag([1.0, 1.0, -1.0])
_LEAST_NOISE = (
    0.02  # standard deviation of an image point, in units of the object's size, that lifting counts on
)
_STARTS = (1, 2)  # ranks of the metric upgrade whose cameras are tried
_STEPS, _COOLING, _FLOOR = 80, 0.93, 0.005
_LARGEST_TURN = 0.3  # radians a step
_CORRECTIONS = 2  # more rounds of lifting, each of images corrected by the depths of the one before
_REFITS = 3  # fits to images that were corrected so


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


class Posterior(NamedTuple):
    """Shapes and cameras of images: `shape (*batch, point, 3)` and `rotation (*batch, 3, 3)`; `spread (*batch, point)`
    standard deviation of a point's place (root of the mean over x, y, z) given image and rotation; `log_likelihood
    (*batch,)` of the image and its camera, but for a constant; `margin (*batch,)` probability of the depth
    reflection that was taken over the other."""

    shape: Any
    rotation: Any
    spread: Any
    log_likelihood: Any
    margin: Any


def empty(n_categories: int, n_points: int, modes: int) -> Prior:
    """Zeros of the right shapes."""
    z = lambda *shape: jnp.zeros((n_categories, *shape))
    return Prior(z(n_points, 3), z(n_points, 3, modes), jnp.ones(n_categories), z(3), z(3), z(), z(3, 3))


class _Conditional(NamedTuple):
    """What an image says under one rotation: `cost (*batch,)`, negative log likelihood of the image and its camera;
    its `gradient (*batch, 3)` and `curvature (*batch, 3, 3)` in a turn of the camera; posterior mean `code (*batch,
    mode)`; `factor (*batch, mode + 2, mode + 2)`, the Cholesky factor of M."""

    cost: Any
    gradient: Any
    curvature: Any
    code: Any
    factor: Any


def _conditional(own: Prior, points, weights, rotation) -> _Conditional:
    """The module docstring's formulas under the prior of each sample's category (`own`, leading axes of the batch).

    Gradient by Fisher's identity, curvature J^T V^{-1} J at the posterior mean, both in closed form: differentiating
    the Cholesky factorisation twice costs more, and such a program was seen to wait for itself on two CPU threads.
    """
    noise = jnp.maximum(own.noise, _LEAST_NOISE**2)[..., None, None]
    *batch, p, _ = points.shape
    modes = own.basis.shape[-1]
    # a weight below 1 is a share of the precision: the noise of such a point is tau / weight
    seen = jnp.sqrt(jnp.clip(weights, 0.0, 1.0))[..., None]
    rows = rotation[..., :2, :]
    flat = lambda x: x.reshape(*batch, 2 * p, -1)
    e = flat(seen * (points - jnp.einsum("...ai,...pi->...pa", rows, own.mean)))
    moved = jnp.einsum("...ai,...pik->...pak", rows, own.basis)
    ones = jnp.broadcast_to(jnp.eye(2, dtype=points.dtype), (*batch, p, 2, 2))
    a = flat(seen[..., None] * jnp.concatenate([moved, ones], -1))
    z, factor, half, cov, u, log_det = code_posterior(a, e, noise)
    count = jnp.sum((weights > 0).astype(points.dtype), -1)
    log_det = log_det + 2 * count * jnp.log(noise[..., 0, 0])
    code = z[..., :modes, 0]

    turns = jnp.einsum("kij,...jl->...kil", jnp.asarray(GENERATORS, points.dtype), rotation)[..., :2, :]
    shape = own.mean + jnp.einsum("...pik,...k->...pi", own.basis, code)
    jac = jnp.einsum("...pa,...kai,...pi->...pak", jnp.broadcast_to(seen, points.shape), turns, shape)
    jac = flat(jac)
    ac = (a @ cov)[..., :modes].reshape(*batch, p, 2, modes)
    cross = jnp.einsum("...pam,...pim->...ai", seen[..., None] * ac, own.basis)
    noise_part = jnp.einsum("...kai,...ai->...k", turns, cross) / noise[..., 0]
    jac_t = jnp.swapaxes(jac, -1, -2)
    score = (jac_t @ u)[..., 0] - noise_part
    inner = half @ (jnp.swapaxes(a, -1, -2) @ jac)
    curvature = (jac_t @ jac - jnp.swapaxes(inner, -1, -2) @ inner / noise) / noise

    up = jnp.einsum("...ij,...j->...i", rotation, own.axis)
    k = own.agreement[..., None]
    gradient = -score - k * jnp.cross(up, jnp.broadcast_to(own.side, up.shape))
    tangent = (
        jnp.eye(3, dtype=up.dtype) * jnp.sum(up**2, -1)[..., None, None] - up[..., :, None] * up[..., None, :]
    )
    cost = 0.5 * (jnp.sum(e * u, (-2, -1)) + log_det) - k[..., 0] * jnp.sum(own.side * up, -1)
    return _Conditional(cost, gradient, curvature + k[..., None] * tangent, code, factor)


def _polished(own: Prior, points, weights, rotation, steps):
    """`(rotation, _Conditional)` after damped scoring steps; a step that does not help is not taken."""

    def propose(point, damping):
        r, at = point
        diagonal = jnp.diagonal(at.curvature, axis1=-2, axis2=-1)
        ridge = damping * jnp.mean(diagonal, -1) + 1e-6
        move = shorten(damped_step(at.curvature, -at.gradient, ridge[..., None]), _LARGEST_TURN)
        new = axis_angle_to_matrix(move) @ r
        after = _conditional(own, points, weights, new)
        return (new, after), after.cost

    at = _conditional(own, points, weights, rotation)
    schedule = Damping(fall=4, rise=4, lift=0.1)
    return minimise(propose, (rotation, at), at.cost, damping=0.01, schedule=schedule, steps=steps).point


class _NearView(NamedTuple):
    """`image (*batch, point, 2)`: what an orthographic camera would see of shapes of the prior's size; `ratio
    (*batch,)`: how much larger the shapes are in the unit of the perspective points."""

    image: Any
    ratio: Any


def _sizes(own: Prior, shape):
    """`(*batch,)` size of shapes over the distribution's, root mean squares about the mean of the category's points."""
    has = (jnp.sum(jnp.abs(own.mean), -1) > 0).astype(shape.dtype)

    def square(x):
        weights = jnp.broadcast_to(has, x.shape[:-1])
        return jnp.sum(weights[..., None] * (x - masked_mean(x, weights)) ** 2, (-2, -1))

    usual = square(own.mean) + square(own.basis.reshape(*own.mean.shape[:-1], -1))
    return jnp.sqrt(square(shape) / jnp.maximum(usual, 1e-12))


def _near_view(own: Prior, points, weights, nearness, rotation, code, ratio) -> _NearView:
    """Points corrected for the depths of the shapes that were found (in the prior's unit, `ratio` of them before), and
    rescaled so that the shape that explains them best has the size of the distribution's shapes."""
    shape = own.mean + jnp.einsum("...pik,...k->...pi", own.basis, code)
    camera = jnp.einsum("...pj,...ij->...pi", shape, rotation)
    seen = posit_points(points, ratio[..., None] * camera[..., 2], weights, nearness)
    flat = lambda x: weights[..., None] * (x - masked_mean(x, weights))
    image = flat(camera[..., :2])
    scale = jnp.sum(image * flat(seen), (-2, -1)) / jnp.maximum(jnp.sum(image**2, (-2, -1)), 1e-6)
    ratio = jnp.clip(scale * _sizes(own, shape), 0.2, 5.0)
    return _NearView(seen / ratio[..., None, None], ratio)


@jax.jit
def posterior(
    prior: Prior,
    points: Float[Array, "frame point 2"],
    weights: Float[Array, "frame point"],
    category: Array,
    rotation: Float[Array, "frame 3 3"],
    steps: int | Array = 4,
    nearness: Float[Array, " frame"] | None = None,
) -> Posterior:
    """Shapes of images from a first rotation of each, which `steps` scoring steps on the likelihood improve.

    The depth reflection, (X, R) to (X', diag(1, 1, -1) R F) with F the reflection that leaves the mean shape most
    alike, is improved too, and the likelier of the two taken. `points` are centred, in units of the category's size.

    Under perspective the points are rays about the axis of the camera that looks at the object, not centred. With
    `nearness` one over the depth of its centre in that unit, each of the two corrects them by the depths that it has
    found (`geometry.cameras.posit_points`), and the depth of the centre so that the shape has the size of the others;
    its rotation is improved again, twice. Shapes come out in the unit of `points`.
    """
    points = jnp.where(weights[..., None] > 0, points, 0.0)
    own = jax.tree.map(lambda x: x[category], prior)
    mirrored = jnp.asarray(_MIRROR, rotation.dtype) @ rotation @ own.mirror
    owns, images, seen = jax.tree.map(lambda x: jnp.stack([x, x]), (own, points, weights))
    rotations, ratio = jnp.stack([rotation, mirrored]), None
    if nearness is None:
        rotations, at = _polished(owns, images, seen, rotations, steps)
    else:
        near = jnp.stack([nearness, nearness])

        def improved(carry, _):
            view, turned = carry
            turned, at = _polished(owns, view.image, seen, turned, steps)
            return (_near_view(owns, images, seen, near, turned, at.code, view.ratio), turned), (view, at)

        code = jnp.zeros((*rotations.shape[:2], own.basis.shape[-1]), points.dtype)
        view = _near_view(owns, images, seen, near, rotations, code, jnp.ones_like(near))
        (_, rotations), rounds = lax.scan(improved, (view, rotations), None, length=1 + _CORRECTIONS)
        view, at = jax.tree.map(lambda x: x[-1], rounds)
        ratio = view.ratio
        # the density of the points as they were seen, which each of the two has divided by a ratio of its own
        count = jnp.sum(seen > 0, -1)
        at = at._replace(cost=at.cost + 2 * (count - 1) * jnp.log(ratio))
    second = at.cost[1] < at.cost[0]
    take = lambda x: jnp.where(second.reshape(second.shape + (1,) * (x.ndim - 2)), x[1], x[0])
    best = jax.tree.map(take, at)
    shape = own.mean + jnp.einsum("fpik,fk->fpi", own.basis, best.code)
    n, p, _, modes = own.basis.shape
    flat = jnp.pad(own.basis.reshape(n, 3 * p, modes), ((0, 0), (0, 0), (0, 2)))
    root = lax.linalg.triangular_solve(best.factor, jnp.swapaxes(flat, 1, 2), left_side=True, lower=True)
    spread = jnp.sqrt(jnp.sum(root**2, 1).reshape(n, p, 3).mean(-1) + own.noise[:, None])
    if ratio is not None:
        ratio = take(ratio)
        shape, spread = ratio[:, None, None] * shape, ratio[:, None] * spread
    margin = jnp.tanh(0.5 * jnp.abs(at.cost[0] - at.cost[1]))
    return Posterior(shape, take(rotations), spread, -best.cost, margin)


def _fit(points: np.ndarray, weights: np.ndarray, rows: np.ndarray, modes: int) -> em.State:
    """EM from cameras; points `(frame, 2, point)`."""
    return ProcrusteanNormal.fit(
        points, weights, rows, modes=modes, steps=_STEPS, cooling=_COOLING, floor=_FLOOR
    )[1]


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
    samples, and diagnostics."""

    prior: Prior
    shapes: np.ndarray
    rotations: np.ndarray
    diagnostics: dict[str, Any]


def learn(
    points: np.ndarray, weights: np.ndarray, modes: int, seed: int, nearness: np.ndarray | None = None
) -> Learned:
    """Distribution, cameras and shapes of the samples of one category.

    `points (frame, point, 2)` centred and in units of the category's size, `weights (frame, point)` 0 where hidden;
    a point that no sample sees is allowed, and stays at 0. Under perspective, with `nearness (frame,)` as `posterior`
    takes it, what an orthographic camera would find is the start: the posterior under it corrects the points for its
    depths and sizes, expectation maximisation goes on from its cameras, and both some times more; so too from the depth
    reflection of all, and the likelier is kept.
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
        prior, rotations = _prior(ends[best]), _full(np.asarray(ends[best].rows))
    f32 = partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float32))
    one, first = (
        f32(jax.tree.map(lambda x: x[None], prior)),
        f32((data.points.transpose(0, 2, 1), seen, rotations)),
    )
    again = posterior(one, first[0], first[1], jnp.zeros(n, jnp.int32), first[2], 4)
    rotations = np.asarray(again.rotation, np.float64)
    with jax.enable_x64(True):
        ends["posterior"] = _fit(data.points, seen, rotations[:, :2], modes)
        evidence["posterior"] = _evidence(ends["posterior"])
        best = max(evidence, key=lambda k: np.nan_to_num(evidence[k], nan=-np.inf))
        state = jax.tree.map(np.asarray, ends[best])
    if nearness is not None:
        # far away a set and its depth reflection are as likely; near by they are not
        with jax.enable_x64(True):
            reflected = _fit(data.points, seen, np.asarray(state.rows) * np.array([1, 1, -1.0]), modes)
        found = [
            _refitted(points, weights, nearness, data, s, modes)
            for s in (state, jax.tree.map(np.asarray, reflected))
        ]
        likely = {
            name: _evidence(f.state) for name, f in zip(("near", "near, reflected"), found, strict=True)
        }
        evidence, best = evidence | likely, max(likely, key=lambda k: np.nan_to_num(likely[k], nan=-np.inf))
        data, state, ratio = found[list(likely).index(best)]
    else:
        ratio = np.ones(n)
    unit = float(data.size[0])  # of the completed points; back to that of the input
    prior = _prior(state)
    prior = prior._replace(mean=unit * prior.mean, basis=unit * prior.basis, noise=unit**2 * prior.noise)
    diagnostics = {
        "start": best, "evidence": {k: round(e, 3) for k, e in evidence.items()},
        "noise": float(prior.noise) ** 0.5, "agreement": float(prior.agreement),
    }  # fmt: skip
    shapes = unit * ratio[:, None, None] * state.shapes.transpose(0, 2, 1)
    return Learned(prior, shapes, _full(state.rows), diagnostics)


class _Refit(NamedTuple):
    """Measurements of corrected images, the state fitted to them, and `ratio (frame,)` of the shapes' sizes in the unit
    of the images as they were."""

    data: Any
    state: em.State
    ratio: np.ndarray


def _refitted(points, weights, nearness, data, state: em.State, modes: int) -> _Refit:
    """Expectation maximisation on perspective images that are corrected by the posterior, `_REFITS` times."""
    n, p, _ = points.shape
    seen = np.asarray(data.seen, np.float64)
    f32 = partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float32))
    for _ in range(_REFITS):
        unit = float(data.size[0])
        one = f32(jax.tree.map(lambda x: x[None], _prior(state)))
        images, near, turned = f32(
            (points / unit, unit * np.asarray(nearness), _full(np.asarray(state.rows)))
        )
        again = posterior(one, images, f32(seen), jnp.zeros(n, jnp.int32), turned, 4, near)
        depths = jnp.einsum("fpi,fi->fp", again.shape, again.rotation[:, 2])
        ratio = np.asarray(_sizes(jax.tree.map(lambda x: x[0], one), again.shape), np.float64)
        image = unit * np.asarray(posit_points(images, depths, f32(seen), near), np.float64)
        image = image / ratio[:, None, None]
        data = measure(
            Landmarks(points2d=image, visible=weights > 0), "orthographic", min(3, max(1, (p - 1) // 3))
        )
        with jax.enable_x64(True):
            state = _fit(data.points, seen, np.asarray(again.rotation, np.float64)[:, :2], modes)
        state = jax.tree.map(np.asarray, state)
    return _Refit(data, state, ratio)


def _prior(state: em.State) -> Prior:
    """The distribution where EM stands (no leading axis), in NumPy."""
    with jax.enable_x64(True):
        shapes = ProcrusteanNormal.from_state(jax.tree.map(jnp.asarray, state))
        mean, basis, noise = (np.asarray(x) for x in (shapes.mean, shapes.basis, shapes.noise))
    v, m, agreement = _common_axis(_full(np.asarray(state.rows)))
    return Prior(mean, basis, noise, v, m, np.float64(agreement), _reflection(mean.T))
