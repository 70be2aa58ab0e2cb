r"""Procrustes alignments: the motion that brings source points nearest to target points, in closed form.

$$\min \sum_p w_p \| s R x_p + t - y_p \|^2$$

Points are rows, `(*batch, point, 3)`; column convention, so that aligned rows are `s * x @ R.T + t`.
`weights` >= 0 `(*batch, point)`, default 1: where 0, the coordinates are ignored (NaN included) and get no
gradient. If no point has weight the result is the identity. All of them differentiate in reverse mode to any
order, finite everywhere, by the rule of `rotations.project_to_so3`; every function raises `InputError` at
trace time for shapes that do not fit together.

Which alignment a published number uses decides the number, so the gauge is in the names: `align_rigid`
(rotation), `align_similarity` (and scale), `align_orthogonal` (mirror allowed), `align_set` (one matrix for
all frames). Reference: Umeyama, TPAMI 13(4), 1991.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry.rotations import project_to_so3

_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST)  # full float32 products on accelerators too


class Alignment(NamedTuple):
    """`y = scale * x @ rotation.T + translation`; det `rotation` is -1 where a mirror was allowed and helped."""

    rotation: Float[Array, "*batch 3 3"]
    translation: Float[Array, "*batch 3"]
    scale: Float[Array, "*batch"]


def apply(
    alignment: Alignment, points: Float[ArrayLike, "*batch point 3"]
) -> Float[Array, "*#batch point 3"]:
    """Aligned points `scale * points @ R.T + t`. The axes of the alignment broadcast against the batch axes."""
    moved = _einsum("...pj,...ij->...pi", jnp.asarray(points), alignment.rotation)
    return alignment.scale[..., None, None] * moved + alignment.translation[..., None, :]


def align_rigid(
    source: Float[ArrayLike, "*batch point 3"],
    target: Float[ArrayLike, "*batch point 3"],
    weights: Float[ArrayLike, "*batch point"] | None = None,
    *,
    translate: bool = True,
) -> Alignment:
    r"""Best proper rotation, and translation unless `translate` is False (then 0, and nothing is centred).

    Ambiguous where the cross-covariance $\sum w\,y x^\top$ has its two smallest signed singular values
    summing to 0: collinear points, and a target that is the mirror image of a shape with symmetries. There
    one minimiser comes back with derivative 0.

    >>> import numpy as np
    >>> triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    >>> turned = triangle @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + [3, 0, 1]
    >>> found = align_rigid(triangle, turned)
    >>> np.asarray(found.translation).round(3).tolist()
    [3.0, 0.0, 1.0]
    """
    return _align(source, target, weights, translate, scaled=False, mirror=False)


def align_similarity(
    source: Float[ArrayLike, "*batch point 3"],
    target: Float[ArrayLike, "*batch point 3"],
    weights: Float[ArrayLike, "*batch point"] | None = None,
    *,
    translate: bool = True,
) -> Alignment:
    r"""As `align_rigid`, with the best scale $s = \mathrm{tr}(R^\top H) / \sum w\|x\|^2$ (1 for a point source).

    s >= 0 always. This minimises the distance to the target in the target's units; it is not symmetric.
    """
    return _align(source, target, weights, translate, scaled=True, mirror=False)


def align_orthogonal(
    source: Float[ArrayLike, "*batch point 3"],
    target: Float[ArrayLike, "*batch point 3"],
    weights: Float[ArrayLike, "*batch point"] | None = None,
    *,
    translate: bool = True,
    scale: bool = False,
) -> Alignment:
    r"""As `align_rigid`, over rotations and mirrors: of both determinants the larger $\mathrm{tr}(R^\top H)$.

    `scale` adds the best scale. Flat shapes do not tell a mirror from a rotation; the rotation is returned.
    """
    return _align(source, target, weights, translate, scaled=scale, mirror=True)


def align_set(
    sources: Float[ArrayLike, "*batch frame point 3"],
    targets: Float[ArrayLike, "*batch frame point 3"],
    weights: Float[ArrayLike, "*batch frame point"] | None = None,
) -> Alignment:
    r"""One orthogonal matrix for a whole set of frames: the protocol of Akhter et al.

    The least-squares 3x3 map $\arg\min_X \sum_{fp} w\|X x - y\|^2$, projected to the nearest orthogonal
    matrix, mirror allowed. No translation and no scale: centre the frames first. With noise this is not the
    least-squares *orthogonal* map (`align_orthogonal` of all points as one set), but it is what the
    published numbers use. A ridge of rounding size serves sources that span a plane only.
    """
    x, y, weights = _check(sources, targets, weights, axes=(-2, -1))
    h = _einsum("...fp,...fpi,...fpj->...ij", weights, y, x)
    c = _einsum("...fp,...fpi,...fpj->...ij", weights, x, x)
    ridge = 10 * jnp.finfo(c.dtype).eps * jnp.trace(c, axis1=-2, axis2=-1)[..., None, None]
    c = c + jnp.where(ridge > 0, ridge, 1.0) * jnp.eye(3, dtype=c.dtype)
    rotation = _nearest(jnp.swapaxes(jnp.linalg.solve(c, jnp.swapaxes(h, -1, -2)), -1, -2), mirror=True)
    return Alignment(rotation, jnp.zeros_like(rotation[..., 0]), jnp.ones_like(rotation[..., 0, 0]))


def _check(source, target, weights, axes=-1):
    """Arrays, hidden points set to 0, weights scaled to sum 1 along `axes` (0 where there are none)."""
    source, target = jnp.asarray(source), jnp.asarray(target)
    if source.shape != target.shape or source.shape[-1] != 3:
        raise InputError(
            f"alignment: source {source.shape} and target {target.shape} must have one shape (..., point, 3)"
        )
    if weights is None:
        weights = jnp.ones(source.shape[:-1], source.dtype)
    weights = jnp.asarray(weights).astype(source.dtype)
    if weights.shape != source.shape[:-1]:
        raise InputError(
            f"alignment: weights {weights.shape} must be one for each point, {source.shape[:-1]}"
        )
    used = weights[..., None] > 0
    total = jnp.sum(weights, axes, keepdims=True)
    weights = jnp.where(total > 0, weights / jnp.where(total > 0, total, 1.0), 0.0)
    return jnp.where(used, source, 0.0), jnp.where(used, target, 0.0), weights


def _nearest(h, mirror):
    rotation = project_to_so3(h)
    if not mirror:
        return rotation
    reflection = -project_to_so3(-h)
    turn, flip = (jnp.sum(r * h, (-2, -1), keepdims=True) for r in (rotation, reflection))
    # Of a flat shape both traces are equal but for rounding, which must not choose a mirror.
    return jnp.where(flip > turn + 16 * jnp.finfo(h.dtype).eps * jnp.abs(turn), reflection, rotation)


def _align(source, target, weights, translate, scaled, mirror):
    x, y, weights = _check(source, target, weights)
    mean_x, mean_y = (_einsum("...p,...pi->...i", weights, v) for v in (x, y))
    if not translate:
        mean_x, mean_y = jnp.zeros_like(mean_x), jnp.zeros_like(mean_y)
    x, y = x - mean_x[..., None, :], y - mean_y[..., None, :]
    # Divided by sizes, which cancel in the result and so carry no gradient: squares stay in range.
    size_x, size_y = (lax.stop_gradient(jnp.max(jnp.abs(v), (-2, -1), initial=0.0)) for v in (x, y))
    size_x, size_y = (jnp.where(size > 0, size, 1.0) for size in (size_x, size_y))
    x, y = x / size_x[..., None, None], y / size_y[..., None, None]
    h = _einsum("...p,...pi,...pj->...ij", weights, y, x)
    rotation = _nearest(h, mirror)
    scale = jnp.ones_like(size_x)
    if scaled:
        power = _einsum("...p,...pi->...", weights, x * x)
        best = jnp.sum(rotation * h, (-2, -1)) / jnp.where(power > 0, power, 1.0) * (size_y / size_x)
        scale = jnp.where(power > 0, jnp.maximum(best, 0.0), 1.0)
    translation = mean_y - scale[..., None] * _einsum("...ij,...j->...i", rotation, mean_x)
    return Alignment(rotation, translation, scale)
