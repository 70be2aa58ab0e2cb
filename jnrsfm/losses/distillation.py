r"""What a depth hypothesis costs under a dictionary of shapes: the loss that distils non-rigid structure from motion.

A teacher found a dictionary D, and for an image its rotation and code $\varphi_0$; B is the dictionary in the camera
frame. Depths z leave the codes $B_z\varphi = z$; the cost of a code is $\|B_{xy}\varphi - w\| + \lambda
\|\varphi\|_1$. Its minimum over those codes is bounded from above by the cost of the nearest one,

$$\tilde\varphi(z) = \varphi_0 + B_z^\top (B_z B_z^\top + \epsilon I)^{-1}(z - B_z\varphi_0).$$

Source: Wang, thesis, 2022, eq. 4.8 to 4.14. The ridge is ours (centred dictionaries leave $B_z B_z^\top$ singular), and
so are missing points: the rows of w that were not seen are left out of the residual.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class CodeTerms(NamedTuple):
    """What the bound needs of an image, computed once: `code (*batch, k)`: the teacher's; `rows (*batch, 3, 3)`: its
    rotation; `inverse (*batch, point, point)`: of $B_z B_z^T + \\epsilon I$."""

    code: Any
    rows: Any
    inverse: Any


def code_terms(
    dictionary: Float[Array, "point 3 k"],
    code: Float[Array, "*batch k"],
    rotation: Float[Array, "*batch 3 3"],
    ridge: float = 1e-3,
) -> CodeTerms:
    """`CodeTerms` of images; `ridge`: epsilon as a share of the mean of the diagonal of B_z B_z^T."""
    b_z = jnp.einsum("...i,pik->...pk", rotation[..., 2, :], dictionary)
    gram = jnp.einsum("...pk,...qk->...pq", b_z, b_z)
    p = dictionary.shape[0]
    size = jnp.trace(gram, axis1=-2, axis2=-1)[..., None, None] / p
    eye = jnp.eye(p, dtype=gram.dtype)
    return CodeTerms(code, rotation, jnp.linalg.inv(gram + (ridge * size + 1e-12) * eye))


def projected_code(
    dictionary: Float[Array, "point 3 k"], terms: CodeTerms, depth: Float[Array, "*batch point"]
) -> Float[Array, "*batch k"]:
    """The code nearest to the teacher's that gives depths `depth`, each relative to its image's own offset."""
    b_z = jnp.einsum("...i,pik->...pk", terms.rows[..., 2, :], dictionary)
    own = jnp.einsum("...pk,...k->...p", b_z, terms.code)
    gap = depth - own
    gap = gap - gap.mean(-1, keepdims=True)  # the offset of the depths is free
    return terms.code + jnp.einsum("...pk,...pq,...q->...k", b_z, terms.inverse, gap)


def code_bound(
    dictionary: Float[Array, "point 3 k"],
    terms: CodeTerms,
    depth: Float[Array, "*batch point"],
    points: Float[Array, "*batch point 2"],
    weights: Float[Array, "*batch point"],
    sparsity: float,
) -> Float[Array, "*batch"]:
    r"""The bound of each image: $\|W(B_{xy}\tilde\varphi - w)\| + \lambda\|\tilde\varphi\|_1$, `sparsity` lambda.

    `points` w and depths in the unit of the dictionary; the translation of the image is free. `weights` 0: not seen.
    """
    code = projected_code(dictionary, terms, depth)
    b_xy = jnp.einsum("...ai,pik,...k->...pa", terms.rows[..., :2, :], dictionary, code)
    gap = jnp.where(weights[..., None] > 0, points - b_xy, 0.0)
    total = jnp.maximum(weights.sum(-1), 1e-6)[..., None, None]
    gap = gap - (weights[..., None] * gap).sum(-2, keepdims=True) / total
    square = (weights[..., None] * gap**2).sum((-2, -1))
    return jnp.sqrt(square + 1e-12) + sparsity * jnp.abs(code).sum(-1)
