r"""Hidden points filled in for a network's input by the linear prediction from the visible ones.

Within a frame the x coordinates of the P centred points are one sample of a P-vector and the y coordinates another,
with one covariance C since the camera's roll is free. Given the visible coordinates `a_v`, the best linear
prediction of the hidden ones is `C_hv (C_vv + r I)^{-1} a_v`; C is estimated from the incomplete samples by
expectation maximisation for a normal distribution. Only the input of the encoder is filled; no loss ever sees it.

Source: the missing-data EM of Little and Rubin, Statistical Analysis with Missing Data, ch. 11.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

MOST_POINTS = 256  # a P x P system a frame: beyond this the fill costs more than the network
_RIDGE = 1e-3  # of the mean variance: below the noise of any landmark
_ROUNDS = 15
_SAMPLE = 8192


def _conditional(points, seen, covariance):
    """Coordinates with the hidden ones predicted `(frame, point, 2)`, and the covariance `(frame, point, point)`
    that is left of them."""
    n = covariance.shape[0]
    eye = jnp.eye(n, dtype=points.dtype)
    ridge = _RIDGE * jnp.trace(covariance) / n + 1e-12
    both = seen[:, :, None] * seen[:, None, :]
    # hidden rows and columns replaced by the identity: one solve of fixed size whatever the mask
    system = both * (covariance + ridge * eye) + eye * (1 - seen)[:, :, None]
    cross = covariance[None] * seen[:, None, :]  # columns of the visible
    gain = jnp.swapaxes(jnp.linalg.solve(system, jnp.swapaxes(cross, 1, 2)), 1, 2)
    hidden = (1 - seen)[:, :, None]
    filled = seen[..., None] * points + hidden * (gain @ (seen[..., None] * points))
    left = hidden * (covariance - gain @ jnp.swapaxes(cross, 1, 2)) * (1 - seen)[:, None, :]
    return filled, left


@jax.jit
def _round(points, seen, covariance, count):
    filled, left = _conditional(points, seen, covariance)
    outer = jnp.einsum("fpi,fqi->pq", filled, filled) + 2 * left.sum(0)
    return outer / jnp.maximum(count, 1)


_fill = jax.jit(lambda points, seen, covariance: _conditional(points, seen, covariance)[0])


def landmark_covariance(
    points: Float[ArrayLike, "frame point 2"], weights: Float[ArrayLike, "frame point"], seed: int = 0
) -> Float[Array, "point point"]:
    """C of the module docstring, from frames centred on their visible points; at most 8192 frames are used."""
    points, seen = np.asarray(points), (np.asarray(weights) > 0).astype(np.float32)
    if len(points) > _SAMPLE:
        which = np.sort(np.random.default_rng(seed).choice(len(points), _SAMPLE, replace=False))
        points, seen = points[which], seen[which]
    points, seen = jnp.asarray(points, jnp.float32), jnp.asarray(seen)  # type: ignore[assignment]
    total = jnp.maximum(2 * seen.sum(0), 1.0)
    variance = ((points**2).sum(-1) * seen).sum(0) / total
    covariance = jnp.diag(variance)
    for _ in range(_ROUNDS):
        covariance = _round(points, seen, covariance, 2.0 * len(points))
    return covariance


def fill_hidden(
    points: Float[ArrayLike, "frame point 2"],
    weights: Float[ArrayLike, "frame point"],
    covariance: Float[ArrayLike, "point point"],
    block: int = 4096,
) -> Float[Array, "frame point 2"]:
    """Points with the hidden ones predicted; visible ones untouched. A block of frames at a time."""
    points, seen = jnp.asarray(points), (jnp.asarray(weights) > 0).astype(jnp.float32)
    out = []
    for first in range(0, len(points), block):
        out.append(_fill(points[first : first + block], seen[first : first + block], covariance))
    return jnp.concatenate(out)
