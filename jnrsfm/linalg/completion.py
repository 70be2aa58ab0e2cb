"""Matrices with gaps completed at low rank."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


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
