r"""Terms of the objective of a trajectory field, of samples along rays: `(ray, sample)`, a loss for each ray.

`start` is the time of the ray's pixel, t0; `end` another time, t1; a prime marks what belongs to the point there.
Source: Wang, thesis, 2022, eq. 6.6-6.16. Where the print is broken it is derived anew, as said at each term.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

EMPTY_SLOPE, EMPTY_OFFSET = 2.0, 3.0  # k1, k2 of eq. 6.10


def emptiness(
    density: Float[Array, "*batch"], slope=EMPTY_SLOPE, offset=EMPTY_OFFSET
) -> Float[Array, "*batch"]:
    r"""Probability that space is empty, eq. 6.10: `sigmoid(-k1 s + k2)`; density per unit of field length."""
    return jax.nn.sigmoid(offset - slope * density)


def occlusion(
    density_start: Float[Array, "*batch"], density_end: Float[Array, "*batch"], attached: bool = True
) -> Float[Array, "*batch"]:
    r"""Probability that space that is empty at t0 is taken at t1, eq. 6.11: `p_e (1 - p_e')`. Without `attached` no
    gradient passes, so that it cannot be raised to excuse what is badly rendered."""
    found = emptiness(density_start) * (1 - emptiness(density_end))
    return found if attached else jax.lax.stop_gradient(found)


def blended(
    p: Float[Array, "*batch"],
    start: tuple[Float[Array, "*batch"], Float[Array, "*batch 3"]],
    end: tuple[Float[Array, "*batch"], Float[Array, "*batch 3"]],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch 3"]]:
    r"""Density and colour of a warped field, eq. 6.12: emitted `p s c + (1 - p) s' c'` over density `p s + (1 - p) s'`.

    `start`, `end`: density and colour at t0, and at t1 of the point's place there. Eq. 6.5 leaves open whose
    attenuation is meant; with that of the blended density the weights of a ray add up to one.
    """
    a, b = p * start[0], (1 - p) * end[0]
    total = a + b
    share = (a / jnp.maximum(total, 1e-8))[..., None]
    return total, share * start[1] + (1 - share) * end[1]


def photometric(found: Float[Array, "*batch 3"], truth: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """Mean over channels of the squared difference, eq. 6.6 and 6.8; colours in [0, 1]."""
    return ((found - truth) ** 2).mean(-1)


def cycle(
    p: Float[Array, "ray sample"],
    coefficients: tuple[Any, Any],
    density: tuple[Any, Any],
    colour: tuple[Any, Any],
) -> Float[Array, " ray"]:
    r"""Cycle consistency, eq. 6.14: `(1 - p_occ)(|phi - phi'|_1 + 0.1 |s - s'| + 0.1 |c - c'|_1)`, mean over samples.

    Pairs are values at (p, t0) and at the point's place at t1, the colours both at time t0 and direction d; shapes
    `coefficients (ray, sample, basis, 3)`, `density (ray, sample)`, `colour (ray, sample, 3)`. Zero where every point
    of a path has the same path.
    """
    a, b = coefficients
    paths = jnp.abs(a - b).sum((-2, -1))
    other = jnp.abs(density[0] - density[1]) + jnp.abs(colour[0] - colour[1]).sum(-1)
    return ((1 - p) * (paths + 0.1 * other)).mean(-1)


def single_surface(
    weights: Float[Array, "ray sample"], shares: Float[Array, "ray sample"], window: float
) -> Float[Array, " ray"]:
    r"""Single visible surface, eq. 6.13: one less the largest part of a ray's weight within a window of its length.

    Printed with the attenuation A; what is concentrated at a surface is its loss, the rendering weights, normalised
    here to sum to one. `shares` in [0, 1] rise along the ray. A ray that meets nothing costs nothing.
    """
    total = weights.sum(-1, keepdims=True)
    normal = weights / jnp.maximum(total, 1e-6)
    ahead = shares[:, None, :] - shares[:, :, None]
    inside = ((ahead >= 0) & (ahead <= window)).astype(normal.dtype)
    most = (inside * normal[:, None, :]).sum(-1).max(-1)
    return jnp.where(total[:, 0] > 1e-6, 1 - most, 0.0)


def path_terms(
    points: Float[Array, "ray sample 3"],
    near: Float[Array, "ray sample 3"],
    far: Float[Array, "ray sample 3"],
    empty: Float[Array, "ray sample"],
) -> tuple[Float[Array, " ray"], Float[Array, " ray"], Float[Array, " ray"]]:
    r"""Regularisers of paths, eq. 6.15, in world coordinates: smooth in space, as rigid as possible, small flow.

    `points` at t0, `near` the same at t0 +- 1, `far` at t1; neighbours p, p' are samples next to each other on the ray.
    Space: `|(p - p_near) - (p' - p'_near)|_1`. Rigid: `(1 - p_e) |(p - p') - (p_far - p'_far)|_1`.
    Flow: `|p - p_near|_1`
    (the print repeats the first line; the text says the L1 norm of the scene flow). Means over samples.
    """
    flow = near - points
    space = jnp.abs(jnp.diff(flow, axis=1)).sum(-1).mean(-1)
    gap = jnp.diff(far - points, axis=1)
    rigid = ((1 - empty[:, :-1]) * jnp.abs(gap).sum(-1)).mean(-1)
    return space, rigid, jnp.abs(flow).sum(-1).mean(-1)


def flow_distance(
    found: Float[Array, "ray 2"],
    pixel: Float[Array, "ray 2"],
    flow: Float[Array, "ray 2"],
    valid: Bool[Array, " ray"],
    unit: float,
) -> Float[Array, " ray"]:
    """L1 distance of where a pixel's surface is seen in the next image, `found`, from where optical flow says, in
    `unit` pixels; 0 where the flow is not valid."""
    gap = jnp.where(valid[:, None], found - (pixel + flow), 0.0)
    return jnp.abs(gap).sum(-1) / unit


def affine_depth(
    found: Float[Array, " ray"],
    given: Float[Array, " ray"],
    weight: Float[Array, " ray"],
    image: Int[Array, " ray"],
    images: int,
) -> Float[Array, " ray"]:
    r"""Squared distance of inverse depths of which scale and offset are free in each image.

    Both are centred at their weighted mean over the rays of an image and divided by their mean absolute deviation:
    `((f - m(f)) / d(f) - (g - m(g)) / d(g))^2`. (Ranftl et al. take the median; means merge over rays of many images.)
    """

    def normal(x):
        add = lambda v: jax.ops.segment_sum(v, image, images)
        count = jnp.maximum(add(weight), 1e-6)
        x = x - (add(weight * x) / count)[image]
        spread = add(weight * jnp.abs(x)) / count
        return x / jnp.maximum(spread, 1e-4)[image]

    return weight * (normal(found) - normal(given)) ** 2
