r"""Losses of a mesh that is fitted to images: motion, keypoints, mask, boundary, texture, local rigidity.

Lengths are in any unit of the image; callers divide by the size of the object, so that weights mean the same in every
clip. Leading axes are batch axes: one value for each.

Source: Kokkinos and Kokkinos, CVPR 2021, eq. 6 and section 3.3.1. Departures, each named below.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

EPSILON = 1e-12


def _mean(values, weights, axes=-1):
    """Weighted mean over axes; 0 where nothing weighs."""
    return (values * weights).sum(axes) / jnp.maximum(weights.sum(axes), 1e-6)


def _norm(x):
    """Euclidean length of the last axis, with derivative 0 at 0."""
    return jnp.sqrt((x**2).sum(-1) + EPSILON)


def motion(
    now: Float[Array, "*batch vertex 2"],
    then: Float[Array, "*batch vertex 2"],
    flow: Float[Array, "*batch vertex 2"],
    weights: Float[Array, "*batch vertex"],
) -> Float[Array, "*batch"]:
    r"""Motion reprojection, eq. 6: $\sum_i v_i \| (p_{i,t+1} - p_{i,t}) - u_i \|_1 / \sum_i v_i$.

    `flow` u: measured where each vertex lies in the first frame; `weights` v: seen in both frames, inside the mask.
    """
    return _mean(jnp.abs(then - now - flow).sum(-1), weights)


def keypoints(
    found: Float[Array, "*batch point 2"],
    labels: Float[Array, "*batch point 2"],
    weights: Float[Array, "*batch point"],
) -> Float[Array, "*batch"]:
    """Mean distance of keypoints from their labels. What stands at a label of weight 0 is ignored."""
    gap = jnp.where(weights[..., None] > 0, found - labels, 0.0)
    return _mean(_norm(gap), weights)


def mask(
    found: Float[Array, "*batch height width"], given: Float[Array, "*batch height width"]
) -> Float[Array, "*batch"]:
    """Sum of |S - S*| over the pixels, divided by the area of S* (of at least a pixel): about 1 - IoU near the end. The
    paper has the sum; the division makes far and near objects weigh alike."""
    return jnp.abs(found - given).sum((-2, -1)) / jnp.maximum(given.sum((-2, -1)), 1.0)


def outside(
    away: Float[Array, "*batch vertex"],
) -> Float[Array, "*batch"]:
    """Boundary, first term: mean distance of projected vertices to the mask (0 inside). Plain, where the paper in print
    squares the second term alone: a distance pulls far limbs no harder than near ones."""
    return away.mean(-1)


def uncovered(
    points: Float[Array, "*batch vertex 2"],
    rim: Float[Array, "*batch rim 2"],
    weights: Float[Array, "*batch rim"],
) -> Float[Array, "*batch"]:
    """Boundary, second term: mean distance of points `rim` on the edge of the mask to the nearest projected vertex."""
    gap = sum((rim[..., :, None, i] - points[..., None, :, i]) ** 2 for i in range(2))
    nearest = jnp.argmin(gap, -1)  # its derivative is that of the distance to the nearest, a gather
    return _mean(_norm(rim - jnp.take_along_axis(points, nearest[..., None], -2)), weights)


def local_rigidity(
    vertices: Float[Array, "*batch vertex 3"],
    pairs: Int[Array, "pair 2"],
    lengths: Float[Array, " pair"],
) -> Float[Array, "*batch"]:
    r"""Mean over pairs of neighbours of $(|V_a - V_b| / l_{ab} - 1)^2$, l the distance in the template.

    The paper prints the absolute change of length, its code squares it; a relative one does not depend on how fine the
    mesh is.
    """
    edge = _norm(vertices[..., pairs[:, 0], :] - vertices[..., pairs[:, 1], :])
    return ((edge / lengths - 1) ** 2).mean(-1)


def texture(
    colours: Float[Array, "frame vertex 3"], weights: Float[Array, "frame vertex"]
) -> tuple[Float[Array, " frame"], Float[Array, "vertex 3"]]:
    r"""What vertices look like where they are seen, against one texture for all frames.

    $\sum_v w_{fv} |I_f(p_{fv}) - c_v|_1 / \sum_v w_{fv}$ with $c_v = \sum_f w_{fv} I_f(p_{fv}) / \sum_f w_{fv}$:
    the texture is the mean of what is seen, a closed form that takes part in the derivative; also returned. The paper
    decodes a texture by a network and compares rendered images. `colours` in [0, 1]; weight 0: ignored.
    """
    shown = jnp.where(weights[..., None] > 0, colours, 0.0)
    middle = (weights[..., None] * shown).sum(0) / jnp.maximum(weights.sum(0), 1e-6)[:, None]
    gap = jnp.sqrt((shown - middle) ** 2 + 1e-6).sum(-1) - 3e-3
    return _mean(gap, weights), middle


def steadiness(
    now: Float[Array, "*batch handle 3"], then: Float[Array, "*batch handle 3"]
) -> Float[Array, "*batch"]:
    """Mean squared step of the handles from one frame to the next. Ours: where nothing is seen of a limb, it stays."""
    return ((then - now) ** 2).sum(-1).mean(-1)
