r"""The low-rank cost of aligned shapes: Procrustean regression.

For camera-frame shapes `X_1 ... X_L`, aligned with each other to Y by generalised Procrustes analysis, the cost is
`g(Y / sqrt(L P))`, with g the nuclear norm of the L x 3P matrix, or the log-determinant surrogate of the rank of its
deviations from the mean. No camera is estimated: the alignment removes it, and its derivative
(`geometry.generalized_procrustes`) teaches the depths.

Source: Park, Lee, Kwak, Procrustean Regression, IEEE TIP 27(1), 2018; Procrustean Regression Networks, 2020. The
log-determinant is ours.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jnrsfm.geometry.generalized_procrustes import align
from jnrsfm.linalg.proximal import log_determinant, nuclear_norm

_ALIGN = {"max_iterations": 30, "tolerance": 1e-4}  # a step needs no more: rounding of the network is larger


def low_rank_cost(
    shapes: Float[Array, "*batch frame point 3"],
    present: Float[Array, "*batch frame"],
    cost: str = "log-determinant",
    epsilon: Any = 0.002,
) -> Float[Array, "*batch"]:
    """g of the module docstring: nuclear norm of Y ("nuclear"), or `epsilon / 2 * log det(I + D^T D / epsilon^2)` of
    its deviations D from the mean shape, in units of the object's size.

    The shapes may come from any network; frames with `present` 0 do not count.
    """
    aligned, _ = align(shapes, present, **_ALIGN)  # type: ignore[arg-type]
    *batch, frames, points, _ = aligned.shape
    count = jnp.maximum(jnp.sum(present, -1), 1.0)[..., None, None]
    rows = (aligned * present[..., None, None]).reshape(*batch, frames, 3 * points)
    if cost == "nuclear":
        return nuclear_norm(rows / jnp.sqrt(count * points))
    # the mean may be as large as it likes: its logarithm would draw weakly seen depths to it
    rows = rows - present[..., None] * jnp.sum(rows, -2, keepdims=True) / count
    return epsilon * log_determinant(rows / jnp.sqrt(count * points), epsilon)
