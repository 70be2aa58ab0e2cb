r"""Which proposal answers for which keypoint: one to one, at the least total cost.

A proposal q costs, for a keypoint of type k,

    C_qk = -p_q(k) + w |place_q - y_k|_1              ("probability", bounded)
    C_qk = -log p_q(k) + w |place_q - y_k|_1          ("cross-entropy", as published)

where the keypoint is labelled; a keypoint that the object has and nobody labelled costs by its type alone; one that the
object does not have costs nothing, and takes what is left over. Gradients do not pass through the choice.

Source: Carion et al., End-to-end object detection with transformers, ECCV 2020 (matching and the weight 5; the bounded
cost); Can et al. 2021, section 4.2 (cross-entropy); the assignment: Kuhn, The Hungarian method, 1955, by Optax.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

MatchingCost = Literal["probability", "cross-entropy"]


def matching_cost(
    place: Float[Array, "*batch query 2"],
    types: Float[Array, "*batch query _"],
    points: Float[Array, "*image type 2"],
    labelled: Bool[Array, "*image type"],
    defined: Bool[Array, "*image type"],
    weight: float = 5.0,
    kind: MatchingCost = "probability",
) -> Float[Array, "*batch query type"]:
    """C of the module docstring; `types` are logits of the types and of "none", the last. Leading axes broadcast: the
    proposals of several layers are held against the same keypoints."""
    count = points.shape[-2]
    if kind == "probability":
        said = -jax.nn.softmax(types, -1)[..., :count]
    else:
        said = -jax.nn.log_softmax(types, -1)[..., :count]
    away = jnp.abs(place[..., :, None, :] - points[..., None, :, :]).sum(-1)
    away = jnp.where(labelled[..., None, :], weight * away, 0.0)
    return jnp.where(defined[..., None, :], said + away, 0.0)


def matched(cost: Float[Array, "*batch query type"]) -> Int[Array, "*batch type"]:
    """The query of each type, all different, at the least total cost (at least as many queries as types). A cost that
    is not finite counts as the largest finite one there is, so that a diverged step does not hang the search."""
    import optax  # here alone: the other losses need no network library

    *batch, n_queries, n_types = cost.shape
    if n_queries < n_types:
        raise ValueError(f"{n_queries} queries cannot answer for {n_types} types")
    cost = jax.lax.stop_gradient(jnp.clip(jnp.nan_to_num(cost, nan=1e4, posinf=1e4, neginf=-1e4), -1e4, 1e4))

    def one(c):
        types, queries = optax.assignment.hungarian_algorithm(c.T)  # rows: types, each assigned
        return jnp.zeros(n_types, queries.dtype).at[types].set(queries)

    flat = jax.vmap(one)(cost.reshape(-1, n_queries, n_types))
    return flat.reshape(*batch, n_types).astype(jnp.int32)
