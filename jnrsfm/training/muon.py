"""Muon: steps along the nearest orthogonal matrix of the momentum, for parameters that are matrices.

A step moves all directions of a matrix that the gradient knows at all by one amount; Adam's follow the few that
dominate the gradient. Sources: Jordan et al., Muon, 2024; Amsel et al., The Polar Express, 2025, for the polynomials;
the factor `0.2 sqrt(max(m, n))`, by which entries move as far as Adam's: Liu et al., Muon is scalable for LLM training,
2025.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

_POLYNOMIALS = (  # x -> a x + b x^3 + c x^5 on the singular values, the best in turn from [1e-3, 1]
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
)


class _State(NamedTuple):
    count: Any
    first: Any  # momentum
    second: Any  # Adam's, of what is no matrix


def orthogonalized(x: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """Near the orthogonal factor of a matrix: its singular values of more than a hundredth of the largest go to about
    1, smaller ones grow; 0 stays 0. Three odd polynomials of degree 5, matrix products only."""
    if x.shape[0] > x.shape[1]:
        return orthogonalized(x.T).T
    x = x / (1.01 * jnp.sqrt(jnp.sum(x**2)) + 1e-7)
    for a, b, c in _POLYNOMIALS:
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x


def scale_by_muon(
    matrix: Callable[[Any, Any], bool] = lambda path, x: x.ndim > 1,
    momentum: float = 0.95,
    b1: float = 0.9,
    b2: float = 0.999,
) -> optax.GradientTransformation:
    """Muon (Nesterov momentum) for the leaves of which `matrix(path, leaf)` is true, their leading axes taken as one,
    and Adam for the rest. `matrix` must not depend on values."""
    tree_map = jax.tree_util.tree_map_with_path

    def init(params):
        second = tree_map(lambda p, x: jnp.zeros((), x.dtype) if matrix(p, x) else jnp.zeros_like(x), params)
        return _State(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params), second)

    def update(grads, state, params=None):
        count = state.count + 1
        moment = lambda p, g, m: m + (1 - (momentum if matrix(p, g) else b1)) * (g - m)
        first = tree_map(moment, grads, state.first)
        second = tree_map(
            lambda p, g, v: v if matrix(p, g) else v + (1 - b2) * (g * g - v), grads, state.second
        )

        def step(path, g, m, v):
            if matrix(path, g):
                ahead = (g + momentum * (m - g)).reshape(-1, g.shape[-1])
                return (0.2 * max(ahead.shape) ** 0.5 * orthogonalized(ahead)).reshape(g.shape)
            t = count.astype(jnp.float32)
            return (m / (1 - b1**t)) / (jnp.sqrt(v / (1 - b2**t)) + 1e-8)

        return tree_map(step, grads, first, second), _State(count, first, second)

    return optax.GradientTransformation(init, update)
