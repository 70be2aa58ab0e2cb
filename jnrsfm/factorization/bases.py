"""Least squares for the shapes once cameras are known: coefficients of each point over what was seen."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jnrsfm.factorization.measurements import Measurements


@jax.jit
def solve_points(
    motion: Float[Array, "frame 2 basis"],
    points: Float[Array, "frame 2 point"],
    weights: Float[Array, "frame point"],
    penalty: Float[ArrayLike, "..."] = 0.0,
) -> Float[Array, "point basis"]:
    """Least squares of each point's coefficients over the frames that saw it:
    min |V^(1/2) (W_p - M b_p)|^2 + b_p^T Q b_p with V its `weights` and the `penalty` Q."""
    v = jnp.asarray(weights, motion.dtype)
    square = jnp.einsum("fai,faj->fij", motion, motion)
    h = jnp.einsum("fp,fij->pij", v, square) + penalty
    b = jnp.einsum("fp,fai,fap->pi", v, motion, points)
    # a point seen too seldom for its coefficients takes the smallest ones
    ridge = 1e-10 * jnp.maximum(jnp.trace(h, axis1=1, axis2=2), 1e-30)[:, None, None]
    return jnp.linalg.solve(h + ridge * jnp.eye(h.shape[-1], dtype=h.dtype), b[..., None])[..., 0]


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
        b = solve_points(motion, jnp.asarray(data.observed), jnp.asarray(data.weights), q)
        return np.asarray(jnp.einsum("fk,pki->fpi", c, b.reshape(data.n_points, -1, 3)))
