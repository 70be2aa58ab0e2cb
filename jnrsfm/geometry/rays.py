r"""Rays of a pinhole camera, depths along them, and volume rendering in log space.

A ray is `x(z) = origin + z direction` with `direction` of depth one in its camera, so that `z` is the depth in the
camera frame (OpenCV axes: x right, y down, z forward). Pixel centres are at integers. `camera_to_world (3, 4)` is
`[R | t]`, `x_world = R x_cam + t`.

Volume rendering: a sample of density s over a stretch of length d lets `exp(-s d)` through. With optical depths
`tau_i = s_i d_i` the weight of sample i is `exp(-sum_{j<i} tau_j) (1 - exp(-tau_i))`: a sum of logarithms and `expm1`,
so that values and gradients are finite at density zero and at any density. Reference: Max, IEEE TVCG 1(2), 1995;
Mildenhall et al., ECCV 2020; Wang's thesis, eq. 6.5.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Spacing = Literal["depth", "disparity"]


def pixel_rays(
    camera_to_world: Float[Array, "*batch 3 4"],
    intrinsics: Float[Array, "*batch 3 3"],
    pixels: Float[Array, "*batch 2"],
) -> tuple[Float[Array, "*batch 3"], Float[Array, "*batch 3"]]:
    r"""Origins and directions in the world of the rays through `pixels` (x, y): `R K^{-1} (x, y, 1)`, K without skew.

    Directions are not of unit length: their depth is one.
    """
    x = (pixels[..., 0] - intrinsics[..., 0, 2]) / intrinsics[..., 0, 0]
    y = (pixels[..., 1] - intrinsics[..., 1, 2]) / intrinsics[..., 1, 1]
    local = jnp.stack([x, y, jnp.ones_like(x)], -1)
    turn = camera_to_world[..., :3]
    return camera_to_world[..., 3], (turn * local[..., None, :]).sum(-1)


def project(
    camera_to_world: Float[Array, "*#batch 3 4"],
    intrinsics: Float[Array, "*#batch 3 3"],
    points: Float[Array, "*#batch 3"],
    least_depth: float = 1e-3,
) -> Float[Array, "*#batch 2"]:
    """Pixels of world points, the inverse of `pixel_rays`; one camera serves any number of points, and a depth below
    `least_depth` counts as that."""
    from_eye = points - camera_to_world[..., 3]
    local = (camera_to_world[..., :3] * from_eye[..., :, None]).sum(-2)
    depth = jnp.maximum(local[..., 2], least_depth)
    x = intrinsics[..., 0, 0] * local[..., 0] / depth + intrinsics[..., 0, 2]
    y = intrinsics[..., 1, 1] * local[..., 1] / depth + intrinsics[..., 1, 2]
    return jnp.stack([x, y], -1)


def depth_of(
    share: Float[Array, "*#batch"], near, far, spacing: Spacing = "depth"
) -> Float[Array, "*#batch"]:
    """Depth at a share in [0, 1] of the way from `near` to `far`: linear in depth, or in disparity 1 / depth."""
    if spacing == "depth":
        return near + share * (far - near)
    return 1.0 / (1.0 / near + share * (1.0 / far - 1.0 / near))


def stratified(key, shape: tuple[int, ...], count: int) -> Float[Array, "..."]:
    """Shares `(*shape, count)` in [0, 1], rising, one in each of `count` equal strata; `key` None: the middles."""
    offset = jnp.full((*shape, count), 0.5) if key is None else jax.random.uniform(key, (*shape, count))
    return (jnp.arange(count) + offset) / count


def resampled(
    key,
    shares: Float[Array, "*batch sample"],
    weights: Float[Array, "*batch sample"],
    count: int,
    floor: float = 0.01,
) -> Float[Array, "*batch count"]:
    """`count` rising shares drawn where `weights` say that there is something: the inverse of their distribution.

    Each weight counts for the stretch around its share, halfway to its neighbours; `floor` of the whole is spread
    evenly, so that nothing is lost from sight. Stratified; `key` None: the middles of the strata. No gradient.
    """
    shares, weights = jax.lax.stop_gradient((shares, weights))
    size = shares.shape[-1]
    middles = (shares[..., 1:] + shares[..., :-1]) / 2
    edges = jnp.concatenate([jnp.zeros_like(shares[..., :1]), middles, jnp.ones_like(shares[..., :1])], -1)
    total = weights.sum(-1, keepdims=True)
    mass = jnp.where(total > 1e-8, weights / jnp.maximum(total, 1e-8), 1.0 / size)
    mass = (1 - floor) * mass + floor / size
    cumulated = jnp.concatenate([jnp.zeros_like(mass[..., :1]), jnp.cumsum(mass, -1)], -1)
    cumulated = cumulated / cumulated[..., -1:]
    wanted = stratified(key, shares.shape[:-1], count)
    # The stretch of each: the number of edges below it. Products of comparisons are cheaper here than searches.
    index = (wanted[..., :, None] >= cumulated[..., None, 1:-1]).sum(-1)
    low, high = (jnp.take_along_axis(cumulated, index + i, -1) for i in (0, 1))
    first, last = (jnp.take_along_axis(edges, index + i, -1) for i in (0, 1))
    return first + (last - first) * (wanted - low) / jnp.maximum(high - low, 1e-8)


def chords(
    points: Float[Array, "*batch sample 3"], end: Float[Array, "*batch 3"]
) -> Float[Array, "*batch sample"]:
    """Length of the straight stretch from each sample to the next, from the last one to `end`, in units of `points`.

    Its gradient is finite where two samples meet."""
    step = jnp.concatenate([jnp.diff(points, axis=-2), (end - points[..., -1, :])[..., None, :]], -2)
    return jnp.sqrt(jnp.maximum((step * step).sum(-1), 1e-16))


def volume_weights(
    density: Float[Array, "*batch sample"], length: Float[Array, "*batch sample"]
) -> tuple[Float[Array, "*batch sample"], Float[Array, "*batch"]]:
    """Weights of the samples, and what passes all of them: together they add up to one (module docstring)."""
    optical = density * length
    through = jnp.cumsum(optical, -1)
    before = through - optical
    return jnp.exp(-before) * -jnp.expm1(-optical), jnp.exp(-through[..., -1])
