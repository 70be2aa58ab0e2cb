"""Which surface each ray meets first, exactly: shapes are tried only on the groups of rays that they can reach.

Rays come in groups `(group, ray)` with coordinates u, v near one another (tiles of the image, say). A
shape's bounds in the image and a group's bounds tell whether they can meet; the pairs that can are worked
off one after the other, which on a CPU is some ten times less arithmetic than every shape for every pixel,
with the same result."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnrsfm.datasets.render import shapes


class Shapes(NamedTuple):
    """The shapes of one picture in the camera frame, padded ones with `live` False.

    `inverse (shape, 3, 3)` and `eye (shape, 3)` as in `shapes`; `size (shape, 3)` length and radii of a
    cone; `bounds (cones and boxes, 4)` of `shapes.image_bounds`. The order is cones, boxes, planes, one
    dome."""

    inverse: Any
    eye: Any
    size: Any
    live: Any
    bounds: Any


def first_hit(scene: Shapes, cones: int, boxes: int, u, v):
    """Depth `(group, ray)` and index of the shape that each ray meets first, for rays `u, v (group, ray)`.

    The dome, which comes last, is always met.
    """
    groups = u.shape[0]
    total = scene.inverse.shape[0]
    depth = shapes.dome_depth(scene.inverse[-1], scene.eye[-1], u, v)
    which = jnp.full(u.shape, total - 1, jnp.int32)
    for k in range(cones + boxes, total - 1):
        t = jnp.where(scene.live[k], shapes.plane_depth(scene.inverse[k], scene.eye[k], u, v), shapes.FAR)
        which, depth = jnp.where(t < depth, k, which), jnp.minimum(t, depth)

    box = scene.bounds
    pad = 1e-4  # rounding of the bounds, in ray coordinates
    reach = (
        (box[:, :1] - pad <= u.max(1))
        & (box[:, 1:2] + pad >= u.min(1))
        & (box[:, 2:3] - pad <= v.max(1))
        & (box[:, 3:] + pad >= v.min(1))
    )

    def work(first, last, meet, state):
        pairs = reach[first:last].ravel()
        (order,) = jnp.nonzero(pairs, size=pairs.shape[0], fill_value=0)

        def step(i, state):
            depth, which = state
            k, g = first + order[i] // groups, order[i] % groups
            at = lambda x, j: jax.lax.dynamic_index_in_dim(x, j, keepdims=False)
            t = meet(at(scene.inverse, k), at(scene.eye, k), at(scene.size, k), at(u, g), at(v, g))
            before = at(depth, g)
            closer = t < before
            put = jax.lax.dynamic_update_index_in_dim
            which = put(which, jnp.where(closer, k.astype(jnp.int32), at(which, g)), g, 0)
            return put(depth, jnp.minimum(t, before), g, 0), which

        return jax.lax.fori_loop(0, pairs.sum(), step, state)

    state = work(0, cones, shapes.cone_depth, (depth, which))
    if boxes:
        state = work(cones, cones + boxes, lambda a, b, _, u, v: shapes.box_depth(a, b, u, v), state)
    return state


def tiled(image, tile: int):
    """`(tiles, tile * tile)` of an image `(h, w)` whose sides are multiples of `tile`."""
    h, w = image.shape
    return image.reshape(h // tile, tile, w // tile, tile).swapaxes(1, 2).reshape(-1, tile * tile)


def untiled(tiles, h: int, w: int, tile: int):
    """The image `(h, w)` of `tiled`."""
    return tiles.reshape(h // tile, w // tile, tile, tile).swapaxes(1, 2).reshape(h, w)
