r"""Expectation maximisation for a normal distribution of aligned shapes that are seen through unknown cameras.

A frame shows $W_f = c_f R_f X_f + t_f 1^T$ with $X_f \sim N(\bar X, \Sigma)$ in $R^{3P}$,
$\Sigma = U \Lambda U^T + \tau I$. The third coordinate of every point, and all of a hidden one, are latent. With
$A_f$ the rows of $c_f R_f U \Lambda^{1/2}$ that were observed, everything comes from matrices of size r x r:

    S_f = (I + A_f^T A_f / tau)^{-1},  z_f = S_f A_f^T e_f / tau,  u_f = V_f^{-1} e_f = (e_f - A_f z_f) / tau

* E step: the posterior mean of the shape is $\bar X + U \Lambda^{1/2} z_f + \tau c_f R_f^T u_f$.
* M step: mean and covariance of the posterior, the covariance kept to rank r plus a multiple of the identity by one
  step of subspace iteration, $Y = \Sigma_{new} U$ and the Nyström approximation $Y (U^T Y)^{-1} Y^T$. No matrix of
  size 3P x 3P is formed: O(F (P r + r^3)) a step.
* Poses: one damped scoring step of each frame on its marginal likelihood (not on the expected complete one, which
  stalls as tau goes to 0): gradient by Fisher's identity, curvature $J^T V_f^{-1} J$ at the posterior mean.
* $\tau$ falls at most by a constant factor a step, and not below what the data leave unexplained: a continuation
  from a wide, nearly isotropic distribution (where EM moves fast) to a narrow one.
* Weights: a coordinate of weight v in (0, 1] has the variance $\tau / v$ about the subspace, so its residual counts by
  v in all of the above (rows of $A_f$ and $e_f$ times $\sqrt v$), and the posterior mean goes the share v to it.
* Every matrix that is factorised is kept positive, each frame's camera moves only where its step is finite, and under a
  free scale the log of it has a prior, flat with normal ends: finite data give a finite state.

Source: Lee, Cho, Choi, Oh: Procrustean normal distribution for non-rigid structure from motion, CVPR 2013 and TPAMI
39(7), 2017 (the model, EM over depths); Tipping and Bishop, JRSS B 61(3), 1999 (low rank plus noise). The subspace
step, the scoring of the marginal likelihood and the continuation are ours.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jnrsfm.geometry.rotations import GENERATORS, axis_angle_to_matrix
from jnrsfm.linalg.damped_newton import Damping, damped_step, shorten

_LARGEST_TURN = 0.2  # radians a step
_DAMPING = Damping(fall=2, rise=3, lowest=1e-3, highest=1e3)
_USUAL_SCALE = 0.7  # of the log of a frame's scale: up to here all are equally likely
_SCALES = 0.3  # beyond: standard deviation
_MOST_SCALE = 2.0  # of the log of a frame's scale
_LEAST = 1e-3  # of tau: no direction of the subspace dies out, so that it can come back as tau falls


class State(NamedTuple):
    """Where EM stands: `rows (frame, 2, 3)` scaled camera rows c R; `shift (frame, 2)`; `mean (3, point)`; `basis (3
    point, r)` orthonormal U, axis-major; `variances (r,)` Lambda; `noise` tau; `damping (frame,)` of the poses;
    `likelihood (frame,)` marginal log likelihood but for a constant; `shapes (frame, 3, point)` posterior means;
    `tail` the variance left outside the subspace in each direction."""

    rows: Float[Array, "frame 2 3"]
    shift: Float[Array, "frame 2"]
    mean: Float[Array, "3 point"]
    basis: Float[Array, "coordinate r"]
    variances: Float[Array, " r"]
    noise: Float[Array, ""]
    damping: Float[Array, " frame"]
    likelihood: Float[Array, " frame"]
    shapes: Float[Array, "frame 3 point"]
    tail: Float[Array, ""]


def start(
    points: Float[Array, "frame 2 point"], rows: Float[Array, "frame 2 3"], modes: int, heat: float
) -> State:
    """The rigid shape under the cameras, and its back-projected residuals as the first covariance.

    `modes` is the r of the module docstring; tau starts at `heat` times the mean squared residual.
    """
    points, rows = np.asarray(points), np.asarray(rows)  # type: ignore[assignment]
    n, _, p = points.shape
    mean = np.linalg.lstsq(rows.reshape(2 * n, 3), points.reshape(2 * n, p), rcond=None)[0]
    mean -= mean.mean(1, keepdims=True)
    residual = points - rows @ mean
    noise = max(float((residual**2).mean()), 1e-12)
    back = np.einsum("fai,fap->fip", rows, residual).reshape(n, 3 * p)
    _, s, vt = np.linalg.svd(back, full_matrices=False)
    f = lambda a: jnp.asarray(np.array(a, np.float64))
    return State(
        f(rows), f(np.zeros((n, 2))), f(mean), f(vt[:modes].T), f(np.maximum(s[:modes] ** 2 / n, 0.1 * noise)),
        f(heat * noise), f(np.full(n, 0.3)), f(np.full(n, -np.inf)), f(np.zeros((n, 3, p))), f(noise),
    )  # fmt: skip


@partial(jax.jit, static_argnames=("gaps", "free_scale"))
def iterate(
    state: State,
    points: Float[Array, "frame 2 point"],
    weights: Float[Array, "frame point"],
    *,
    cooling: float | Array,
    floor: float | Array,
    steps: int | Array,
    gaps: bool,
    free_scale: bool,
    tangent: float | Array,
) -> State:
    """`steps` EM steps. `weights` in [0, 1] are 0 where a point was not observed; `gaps` says whether any is below 1
    (then translations are estimated too), `free_scale` whether each frame has a scale. With `tangent` 1 the covariance
    is kept to the tangent space of the Procrustes-aligned shapes at the mean; with 0 only translation is removed.
    """
    root = jnp.sqrt(jnp.asarray(weights, points.dtype))
    return lax.fori_loop(
        0, steps, lambda _, s: _step(s, points, root, cooling, floor, gaps, free_scale, tangent), state
    )


def _step(s, points, root, cooling, floor, gaps, free_scale, tangent):
    """One EM step: what the images say of the shapes, then the cameras, then the distribution."""
    views = _view(s, root, gaps)
    found = _posterior(s, views, points, root)
    rows, shift, damping = _move_cameras(s, views, found, root, free_scale)
    mean, basis, variances, noise, tail = _update_distribution(s, views, found, root, cooling, floor, tangent)
    return State(rows, shift, mean, basis, variances, noise, damping, found.likelihood, found.shapes, tail)


class _Views(NamedTuple):
    """The subspace U as the cameras see it. `basis (3, point, r)` is U; `overlap (frame, r, r)` = U^T R^T R U over the
    observed points; `gram (frame, 9)` = R^T R. With gaps `seen (frame, 2 point, r)` = R U times the roots of the
    weights, else `products (9, r r)` = sum_p u_p u_p^T for every pair of axes, from which the frames' overlaps are one
    product."""

    basis: Array
    overlap: Array
    gram: Array
    seen: Array | None
    products: Array | None


def _view(s, root, gaps) -> _Views:
    n, p, r = s.rows.shape[0], s.mean.shape[1], s.basis.shape[1]
    u3 = s.basis.reshape(3, p, r)
    gram = jnp.einsum("fai,faj->fij", s.rows, s.rows).reshape(n, 9)
    if gaps:
        seen = jnp.einsum("fai,ipk->fapk", s.rows, u3) * root[:, None][..., None]
        seen = seen.reshape(n, 2 * p, r)
        return _Views(u3, jnp.swapaxes(seen, 1, 2) @ seen, gram, seen, None)
    products = jnp.einsum("ipk,jpl->ijkl", u3, u3).reshape(9, r * r)
    return _Views(u3, (gram @ products).reshape(n, r, r), gram, None, products)


class _Posterior(NamedTuple):
    """E step. `cov (frame, r, r)` S_f and `half` with S_f = half^T half; `weighted (frame, 2, point)` u_f = V_f^{-1}
    e_f, both times the roots of the weights; `deviation (frame, 3 point)` of the posterior mean shape from the mean;
    `shapes (frame, 3, point)`, that shape;
    `likelihood (frame,)` = -(e^T V^{-1} e + log det V) / 2."""

    cov: Array
    half: Array
    weighted: Array
    deviation: Array
    shapes: Array
    likelihood: Array


def _back_project(rows, v):
    """R_f^T v, `(frame, ..., 2, point)` to `(frame, ..., 3 point)`."""
    return jnp.einsum("fai,f...ap->f...ip", rows, v).reshape(*v.shape[:-2], 3 * v.shape[-1])


def _posterior(s, views, points, root) -> _Posterior:
    """S, z and u of the module docstring, with A^T A = Lambda^{1/2} overlap Lambda^{1/2}."""
    n, _, p = points.shape
    eye = jnp.eye(s.basis.shape[1], dtype=points.dtype)
    seen, tau, d = root[:, None], s.noise, jnp.sqrt(s.variances)
    chol = jnp.linalg.cholesky(views.overlap * (d[:, None] * d / tau) + eye)
    half = lax.linalg.triangular_solve(chol, jnp.broadcast_to(eye, chol.shape), left_side=True, lower=True)
    cov = jnp.swapaxes(half, 1, 2) @ half
    e = seen * (points - s.rows @ s.mean - s.shift[..., None])
    z = jnp.einsum("fkl,fl->fk", cov, _back_project(s.rows, seen * e) @ s.basis * d / tau)
    moved = ((z * d) @ s.basis.T).reshape(n, 3, p)
    u = (e - seen * (s.rows @ moved)) / tau
    logdet = jnp.log(jnp.diagonal(chol, axis1=1, axis2=2)).sum(1) + (root > 0).sum(1) * jnp.log(tau)
    likelihood = -0.5 * (e * u).sum((1, 2)) - logdet
    deviation = moved.reshape(n, 3 * p) + tau * _back_project(s.rows, seen * u)
    return _Posterior(cov, half, u, deviation, s.mean + deviation.reshape(n, 3, p), likelihood)


def _move_cameras(s, views, found, root, free_scale):
    r"""One damped scoring step of each frame's camera: `rows`, `shift` and `damping` after it.

    Unknowns, in this order: a turn (3), with `free_scale` the log of the scale, with gaps the shift (2). With J the
    derivative of the image of the posterior mean shape, the score is $J^\top u$ less the trace of the posterior
    covariance with the derivative of the motion (Fisher's identity), and the curvature, times tau, is
    $J^\top J - J^\top A S A^\top J / \tau$.
    """
    n, p, r = s.rows.shape[0], s.mean.shape[1], s.basis.shape[1]
    dtype, tau, d = s.mean.dtype, s.noise, jnp.sqrt(s.variances)
    scale = d[:, None] * d
    seen, gaps = root[:, None], views.seen is not None
    turns = jnp.einsum("fai,kij->fkaj", s.rows, GENERATORS)
    motions = jnp.concatenate([turns, s.rows[:, None]], 1) if free_scale else turns
    jac = jnp.einsum("fkai,fip->fkap", motions, found.shapes) * seen[:, None]
    if gaps:
        spread = (views.seen @ (found.cov * scale)) * jnp.tile(root, 2)[..., None]
        cross = jnp.einsum("fapk,ipk->fai", spread.reshape(n, 2, p, r), views.basis)
        noise_part = jnp.einsum("fkai,fai->fk", motions, cross) / tau
        shift = jnp.broadcast_to(jnp.eye(2, dtype=dtype)[..., None], (n, 2, 2, p)) * seen[:, None]
        jac = jnp.concatenate([jac, shift], 1)
        noise_part = jnp.concatenate([noise_part, jnp.zeros((n, 2), dtype)], 1)
    else:
        cross = ((found.cov * scale).reshape(n, r * r) @ views.products.T).reshape(n, 3, 3)
        noise_part = jnp.einsum("fkai,fij,faj->fk", motions, cross, s.rows) / tau
    score = jnp.einsum("fkap,fap->fk", jac, found.weighted) - noise_part
    inner = jnp.einsum("fkl,fjl->fjk", found.half, _back_project(s.rows, seen[:, None] * jac) @ s.basis * d)
    curvature = jnp.einsum("fkap,flap->fkl", jac, jac) - jnp.einsum("fkm,flm->fkl", inner, inner) / tau
    # Every step is taken, as those of the distribution are: a likelihood that fell only raises the damping.
    damping = _DAMPING.update(s.damping, found.likelihood > s.likelihood)
    diagonal = jnp.diagonal(curvature, axis1=1, axis2=2)
    least = 1e-9 * jnp.einsum("fkap->fk", jac**2)
    ridge = damping[:, None] * jnp.mean(diagonal[:, :3], 1, keepdims=True) * jnp.ones_like(diagonal)
    if free_scale or gaps:  # their own units
        ridge = ridge.at[:, 3:].set(damping[:, None] * diagonal[:, 3:])
    score = tau * score
    if free_scale:  # the prior of its log
        log_scale = 0.5 * jnp.log(jnp.maximum((s.rows**2).sum((1, 2)) / 2, 1e-30))
        beyond = log_scale - jnp.clip(log_scale, -_USUAL_SCALE, _USUAL_SCALE)
        score = score.at[:, 3].add(-tau / _SCALES**2 * beyond)
        curvature = curvature.at[:, 3, 3].add(jnp.where(beyond == 0, 0.0, tau / _SCALES**2))
    step = damped_step(curvature, score, ridge + least)
    step = jnp.where(jnp.isfinite(step).all(1, keepdims=True), step, 0.0)
    step = shorten(step, _LARGEST_TURN, jnp.linalg.norm(step[:, :3], axis=1))
    rows = s.rows @ axis_angle_to_matrix(step[:, :3])
    if free_scale:
        grow = jnp.clip(step[:, 3], -_LARGEST_TURN, _LARGEST_TURN)
        grow = jnp.clip(log_scale + grow, -_MOST_SCALE, _MOST_SCALE) - log_scale
        rows = rows * jnp.exp(grow - (log_scale + grow).mean())[:, None, None]  # the mean scale is a gauge
    return rows, s.shift + step[:, -2:] if gaps else s.shift, damping


def _update_distribution(s, views, found, root, cooling, floor, tangent):
    r"""M step: `mean`, `basis`, `variances`, `noise` and `tail` of the covariance of the posterior.

    That covariance is $\Sigma_{new} = \Sigma - \tfrac1F \sum_f \Sigma P_f^\top V_f^{-1} P_f \Sigma + \tfrac1F \sum_f
    (x_f - \bar x)(x_f - \bar x)^\top$ with x the posterior means; `y` is its product with U, `total` its trace. Mean of
    the part beyond the r leading directions is the `tail`, which tau follows down.
    """
    n, p, r = s.rows.shape[0], s.mean.shape[1], s.basis.shape[1]
    tau, d = s.noise, jnp.sqrt(s.variances)
    middle = found.deviation.mean(0)
    centred = found.deviation - middle
    if views.seen is not None:
        filtered = views.seen @ (found.cov * (d[:, None] / d)) * jnp.tile(root, 2)[..., None]
        filtered = filtered.reshape(n, 2, p, r)
        hidden = jnp.einsum("fai,fapk->ipk", s.rows, filtered).reshape(3 * p, r) / n
    else:
        mixed = (views.gram.T @ found.cov.reshape(n, r * r)).reshape(3, 3, r, r) / n * (d[:, None] / d)
        hidden = jnp.einsum("jpk,ijkl->ipl", views.basis, mixed).reshape(3 * p, r)
    hidden = hidden * ((s.variances + tau) / tau)
    lost = s.basis @ (s.variances[:, None] * (s.basis.T @ hidden)) + tau * hidden
    y = s.basis * (s.variances + tau) - lost + centred.T @ (centred @ s.basis) / n
    kept = jnp.diagonal(found.cov, axis1=1, axis2=2).mean(0)
    total = s.variances.sum() + 3 * p * tau - ((1 - kept) * (s.variances + 2 * tau)).sum()
    if views.seen is None:
        explained = 2 * p - r + kept.sum()
    else:  # trace of V^{-1} times the weights, tau times it
        square = jnp.tile(root, 2)[..., None] ** 2 * views.seen
        covered = jnp.einsum("fak,fkl,fal->", square, found.cov * (d[:, None] * d), views.seen) / tau
        explained = 2 * (root**2).sum(1).mean() - covered / n
    total = total - tau * explained + (centred**2).sum() / n
    mean = s.mean + middle.reshape(3, p)
    normal = _normal_space(mean, tangent)
    core = s.basis.T @ y
    y = y - normal @ (normal.T @ y)
    core = (core + core.T) / 2
    inside, axes = jnp.linalg.eigh(core)
    inside = jnp.maximum(inside, 1e-12 * jnp.maximum(jnp.abs(inside).max(), 1e-200))
    factor = (y @ axes) / jnp.sqrt(inside)
    values, vectors = jnp.linalg.eigh(factor.T @ factor)
    basis = jnp.linalg.qr(factor @ vectors / jnp.sqrt(jnp.maximum(values, 1e-30)))[0]
    tail = (total - values.sum()) / max(3 * p - 6 - r, 1)
    noise = jnp.maximum(jnp.maximum(tau * cooling, floor), jnp.minimum(tail, tau))
    variances = jnp.maximum(values - noise, _LEAST * noise)
    return mean, basis, variances, noise, tail


def _normal_space(mean, tangent):
    """Orthonormal directions of R^{3P} in which no aligned shape may leave the mean: translations, and where
    `tangent` is 1, infinitesimal rotations of the mean (0: zero columns in their place)."""
    p = mean.shape[1]
    moves = jnp.kron(jnp.eye(3, dtype=mean.dtype), jnp.ones((p, 1), mean.dtype))
    turns = jnp.stack([(g @ mean).reshape(-1) for g in jnp.asarray(GENERATORS, mean.dtype)], 1)
    directions = jnp.linalg.qr(jnp.concatenate([moves, turns], 1))[0]
    return directions * jnp.concatenate([jnp.ones(3, mean.dtype), jnp.full(3, tangent, mean.dtype)])
