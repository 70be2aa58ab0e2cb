"""What is known of bones without labels: those of the left and of the right side are of one length."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int


def bone_asymmetry(
    shape: Float[ArrayLike, "frame point 3"], edges: Int[ArrayLike, "edge 2"], twins: Int[ArrayLike, "pair 2"]
) -> Float[Array, ""]:
    """Mean difference of the lengths of left-right bone pairs `twins` (numbers of edges: `geometry.skeleton`), as a
    fraction of the frame's mean bone length."""
    shape, edges, twins = jnp.asarray(shape), jnp.asarray(edges), jnp.asarray(twins)
    ends = shape[:, edges[:, 0]] - shape[:, edges[:, 1]]
    length = jnp.sqrt((ends**2).sum(-1) + 1e-12)
    return (jnp.abs(length[:, twins[:, 0]] - length[:, twins[:, 1]]) / length.mean(-1, keepdims=True)).mean()
