r"""Object-centric normalisation: measurements and shapes with the translation eliminated, under any mask.

Deep NRSfM++ (Table 1, eq. 15-29) removes the unknown translation by asking that the shape be centred on the
mean of *all* its points while only some are seen; a hidden point stands in with its own projection. With
weights `m_i` (0 where hidden; confidences may lie between), `P~ = sum_i m_i`, and a camera-frame shape
`(x', y', z') = S R^T` without translation, the normalised bilinear equations read `m_i (w~_i - x~_i) = 0` with

    weak perspective: w~_i = w_i - mean_m(w),         x~_i = x'_i + h(x'),
    perspective:      w~_i = (u_i - mean_m(u)) t_z,   x~_i = x'_i + h(x') - u_i z'_i + mean_m(u z'),

where `mean_m(a) = sum m_j a_j / P~` and `h(a) = sum (1 - m_j) a_j / P~`; the same for v and y. `t_z` is the
depth of the object's centre. (The thesis's Table 3.1 prints 1/P for 1/P~; see eq. 21.)

Both sides are linear in the shape, so `x~ = D~ Psi` for a normalised dictionary `D~` that depends on the mask
and, in perspective, on the rays of the sample. `D~` is the shared dictionary plus rank-one corrections, so it
is never built here: `reproject_*` applies it to a shape in O(P), and `adjoint_*` applies its transpose to the
measurements as three P-vectors that meet the shared dictionary in one matrix product. `dictionary_*` builds
it densely, for tests and teaching.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

_TINY = 1e-12


def masked_mean(
    values: Float[ArrayLike, "*batch point k"], weights: Float[ArrayLike, "*batch point"]
) -> Float[Array, "*batch 1 k"]:
    """`sum_i m_i a_i / sum_i m_i` over points; 0 where no point has weight."""
    values, weights = jnp.asarray(values), jnp.asarray(weights)
    total = jnp.maximum(weights.sum(-1), _TINY)[..., None, None]
    return (weights[..., None] * values).sum(-2, keepdims=True) / total


def hidden_sum(
    values: Float[ArrayLike, "*batch point k"], weights: Float[ArrayLike, "*batch point"]
) -> Float[Array, "*batch 1 k"]:
    """`sum_i (1 - m_i) a_i / sum_i m_i` over points: what hidden points add to the translation (eq. 19)."""
    values, weights = jnp.asarray(values), jnp.asarray(weights)
    total = jnp.maximum(weights.sum(-1), _TINY)[..., None, None]
    return ((1.0 - weights)[..., None] * values).sum(-2, keepdims=True) / total


def measure_weak(
    points2d: Float[ArrayLike, "*batch point 2"], weights: Float[ArrayLike, "*batch point"]
) -> Float[Array, "*batch point 2"]:
    """Normalised weak-perspective measurements `w~` (eq. 21): minus the mean of the visible, 0 where hidden."""
    points2d, weights = jnp.asarray(points2d), jnp.asarray(weights)
    seen = weights[..., None] > 0
    points2d = jnp.where(
        seen, points2d, 0.0
    )  # whatever is stored for a hidden point must not leak, NaN included
    return jnp.where(seen, points2d - masked_mean(points2d, weights), 0.0)


def measure_perspective(
    rays: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"],
    depth: Float[ArrayLike, "*batch"],
) -> Float[Array, "*batch point 2"]:
    """Normalised perspective measurements `w~` (eq. 28): `(u - mean_m u) t_z`, 0 where hidden."""
    rays, weights, depth = map(jnp.asarray, (rays, weights, depth))
    return measure_weak(rays, weights) * depth[..., None, None]


def reproject_weak(
    shape_xy: Float[ArrayLike, "*batch point 2"], weights: Float[ArrayLike, "*batch point"]
) -> Float[Array, "*batch point 2"]:
    """Normalised weak-perspective reprojection `x~ = D~ Psi` of `(S R^T)_xy`."""
    shape_xy, weights = jnp.asarray(shape_xy), jnp.asarray(weights)
    return shape_xy + hidden_sum(shape_xy, weights)


def reproject_perspective(
    shape: Float[ArrayLike, "*batch point 3"],
    rays: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"],
) -> Float[Array, "*batch point 2"]:
    """Normalised perspective reprojection `x~ = D~ vec(Psi)` of `S R^T` (eq. 28-29)."""
    shape, rays, weights = map(jnp.asarray, (shape, rays, weights))
    rays = jnp.where(weights[..., None] > 0, rays, 0.0)  # a hidden ray must not leak, NaN included
    xy, back = shape[..., :2], rays * shape[..., 2:]
    return xy + hidden_sum(xy, weights) - back + masked_mean(back, weights)


def adjoint_weak(
    measured: Float[ArrayLike, "*batch point 2"], weights: Float[ArrayLike, "*batch point"]
) -> Float[Array, "*batch 2 point"]:
    r"""The vectors `g` with `(M D~)^T w~ = g D#`: here just the weighted measurements.

    The rank-one term of `D~` meets `sum_i m_i w~_i`, which is zero, so it drops out.
    """
    measured, weights = jnp.asarray(measured), jnp.asarray(weights)
    return jnp.swapaxes(weights[..., None] * measured, -1, -2)


def adjoint_perspective(
    measured: Float[ArrayLike, "*batch point 2"],
    rays: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"],
) -> Float[Array, "*batch 3 point"]:
    r"""The vectors `g` with `(M D~)^T w~ = g D#`: rows `m w~_u`, `m w~_v` and `-m (u w~_u + v w~_v)`.

    The masked means in `D~` again meet `sum_i m_i w~_i = 0` and drop out.
    """
    measured, rays, weights = map(jnp.asarray, (measured, rays, weights))
    rays = jnp.where(weights[..., None] > 0, rays, 0.0)
    g = weights[..., None] * measured
    gz = -(rays * g).sum(-1, keepdims=True)
    return jnp.swapaxes(jnp.concatenate([g, gz], -1), -1, -2)


def translation_weak(
    shape_xy: Float[ArrayLike, "*batch point 2"],
    points2d: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"],
) -> Float[Array, "*batch 2"]:
    """`t_xy = [sum m_i w_i + sum (1 - m_i) x'_i] / P~` (eq. 19), of a shape centred on all its points.

    For a shape that is not exactly centred this is off by `P/P~` times its mean; the least-squares
    translation `mean_m(w - x')` is the same where it is centred and better where it is not: it is used.
    """
    shape_xy, points2d, weights = map(jnp.asarray, (shape_xy, points2d, weights))
    points2d = jnp.where(weights[..., None] > 0, points2d, 0.0)
    return masked_mean(points2d - shape_xy, weights)[..., 0, :]


def translation_perspective(
    shape: Float[ArrayLike, "*batch point 3"],
    rays: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"],
    depth: Float[ArrayLike, "*batch"],
) -> Float[Array, "*batch 3"]:
    """`t = (mean_m(u (z' + t_z) - x'), mean_m(v (z' + t_z) - y'), t_z)`: least squares of eq. 23."""
    shape, rays, weights, depth = map(jnp.asarray, (shape, rays, weights, depth))
    rays = jnp.where(weights[..., None] > 0, rays, 0.0)
    z = shape[..., 2:] + depth[..., None, None]
    xy = masked_mean(rays * z - shape[..., :2], weights)[..., 0, :]
    return jnp.concatenate([xy, depth[..., None]], -1)


def dictionary_weak(
    dictionary: Float[ArrayLike, "point k"], weights: Float[ArrayLike, "*batch point"]
) -> Float[Array, "*batch point k"]:
    """The normalised dictionary `D~` of eq. 21, dense: one row a point. For tests; see the module docstring."""
    dictionary, weights = jnp.asarray(dictionary), jnp.asarray(weights)
    d = jnp.broadcast_to(dictionary, (*weights.shape, dictionary.shape[-1]))
    return d + hidden_sum(d, weights)


def dictionary_perspective(
    dictionary: Float[ArrayLike, "point k"],
    rays: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"],
) -> Float[Array, "*batch point 2 columns"]:
    r"""The normalised dictionary `D~` of eq. 29, dense: rows u and v of each point, columns `[x | y | z]` blocks.

    Corrected for visibility (d~) in the x and y blocks, the plain d in `-u_i d_i` and the masked mean in the z
    block. For tests; see the module docstring.
    """
    dictionary, rays, weights = map(jnp.asarray, (dictionary, rays, weights))
    rays = jnp.where(weights[..., None] > 0, rays, 0.0)
    d = jnp.broadcast_to(dictionary, (*weights.shape, dictionary.shape[-1]))
    corrected, zero = d + hidden_sum(d, weights), jnp.zeros_like(d)
    rows = []
    for i in range(2):
        back = rays[..., i : i + 1] * d
        rows.append(
            jnp.concatenate(
                [
                    corrected if i == 0 else zero,
                    corrected if i == 1 else zero,
                    masked_mean(back, weights) - back,
                ],
                -1,
            )
        )
    return jnp.stack(rows, -2)
