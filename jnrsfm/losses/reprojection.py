"""Losses of image residuals, over the points that were seen."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def reprojection_loss(
    residual: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"],
    robust: float = 0.0,
) -> Float[Array, "*batch"]:
    r"""`sqrt(mean_w |r|^2)` of each frame (Deep NRSfM++, eq. 13, per visible point), or pseudo-Huber `mean_w d (sqrt(1
    + |r|^2 / d^2) - 1)` with `d = robust > 0`, which grows linearly for the outliers of a detector. 0 where nothing has
    weight. In the unit of the residual."""
    residual, weights = jnp.asarray(residual), jnp.asarray(weights)
    square = (residual**2).sum(-1)
    total = jnp.maximum(weights.sum(-1), 1e-6)
    if robust > 0:
        return (weights * pseudo_huber(square, robust)).sum(-1) / total
    return jnp.sqrt((weights * square).sum(-1) / total + 1e-12)


def pseudo_huber(square: Float[ArrayLike, "*shape"], scale: float) -> Float[Array, "*shape"]:
    """`d (sqrt(1 + r^2 / d^2) - 1)` of squared distances `r^2`, `d` the `scale`: finite slope at 0, linear far off."""
    return scale * (jnp.sqrt(1 + jnp.asarray(square) / scale**2) - 1)
