"""Matrices with gaps completed at low rank."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

_HEAVY = 2.0  # degrees of freedom of the noise where its tails are heavy
_LEAST = 1e-13  # of the largest loading: the ridge of a point that is almost never seen


class Completion(NamedTuple):
    """`mean (frame, 2, point)` posterior mean everywhere; `gap (frame, point)` distance of each point from what the
    *other* points of its frame predict; `noise` variance of a coordinate."""

    mean: Float[Array, "frame 2 point"]
    gap: Float[Array, "frame point"]
    noise: Float[Array, ""]


@partial(jax.jit, static_argnames=("basis", "steps", "heavy_tails"))
def complete(
    points: Float[Array, "frame 2 point"],
    weights: Float[Array, "frame point"] | Bool[Array, "frame point"],
    basis: int,
    steps: int = 150,
    heavy_tails: bool = False,
) -> Completion:
    r"""Low-rank completion: probabilistic PCA with gaps, a translation for each row of the image, by EM.

    $w_{fp} = N_p m_f + t_f + \epsilon$ with $m_f \sim N(0, I)$ in `basis` dimensions and $\epsilon \sim N(0, \tau /
    v_{fp})$, v the `weights` (0: not seen); x and y of a frame share their gaps and so their posterior covariance,
    which the M step counts: unlike alternating least squares it does not overfit where a frame or a point has few
    observations. With `heavy_tails` the noise is Student's t with two degrees of freedom, and a point's residual is
    taken against what the others predict, $e / (1 - h)$ with h its leverage: a wrong point cannot hide in its own fit.
    Source: Tipping and Bishop, JRSS B 61(3), 1999; Ilin and Raiko, JMLR 11, 2010 (gaps); Lange, Little, Taylor, JASA
    84, 1989 (t by reweighting).
    """
    given = weights.astype(points.dtype)
    n_points = points.shape[2]
    points = jnp.where(given[:, None] > 0, points, 0.0)
    total = jnp.maximum((given > 0).sum(), 1)
    # Start: gaps at 0, the mean of the frame's visible points.
    _, s, vt = jnp.linalg.svd((points * given[:, None]).reshape(-1, n_points), full_matrices=False)
    loading = (vt[:basis] * s[:basis, None]).T / jnp.sqrt(2.0 * points.shape[0])
    prior = jnp.ones(basis + 1, points.dtype).at[-1].set(1e-9)  # the translation is free
    ones = jnp.ones((n_points, 1), points.dtype)

    def body(_, state):
        loading, noise, v, _, _ = state
        w = points * v[:, None]
        n = jnp.concatenate([loading, ones], 1)
        h = jnp.einsum("fp,pi,pj->fij", v, n, n) / noise + jnp.diag(prior)
        cov = jnp.linalg.inv(h)
        m = jnp.einsum("fij,pj,fap->fai", cov, n, w) / noise
        t, m_shape = m[..., -1], m[..., :-1]
        second = jnp.einsum("fai,faj->fij", m_shape, m_shape) + 2 * cov[:, :-1, :-1]
        a = jnp.einsum("fp,fij->pij", v, second)
        ridge = _LEAST * jnp.trace(a, axis1=1, axis2=2).max() / basis + 1e-9
        b = jnp.einsum("fai,fap->pi", m_shape, w - t[..., None] * v[:, None])
        b = b - 2 * jnp.einsum("fp,fi->pi", v, cov[:, :-1, -1])
        new = jnp.linalg.solve(a + ridge * jnp.eye(basis, dtype=a.dtype), b[..., None])[..., 0]
        full = jnp.concatenate([new, ones], 1)
        mean = jnp.einsum("pi,fai->fap", new, m_shape) + t[..., None]
        square = jnp.sum((points - mean) ** 2, 1)
        own = jnp.einsum("pi,fij,pj->fp", full, cov, full)
        left = jnp.clip(1 - v * own / noise, 0.02, 1.0)  # 1 - h
        noise_new = jnp.maximum(jnp.sum(v * (square + 2 * own)) / (2 * total), 1e-12)
        if heavy_tails:
            v = given * (_HEAVY + 2) / (_HEAVY + given * square / left / noise_new)
        return new, noise_new, v, mean, jnp.sqrt(square) / left

    state = (loading, jnp.asarray(0.1, points.dtype), given, jnp.zeros_like(points), jnp.zeros_like(given))
    _, noise, _, mean, gap = lax.fori_loop(0, steps, body, state)
    return Completion(mean, jnp.where(given > 0, gap, 0.0), noise)
