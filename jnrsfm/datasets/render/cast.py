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
    cone; `bounds (cones and boxes, 4)` in the image, of `shapes.bounds_of`. The order is cones, boxes,
    planes, one dome."""

    inverse: Any
    eye: Any
    size: Any
    live: Any
    bounds: Any


def first_hit(scene: Shapes, cones: int, u, v):
    """Depth `(group, ray)` and index of the shape that each ray meets first, for rays `u, v (group, ray)`.

    The dome, which comes last, is always met.
    """
    total = scene.inverse.shape[0]
    boxes = scene.bounds.shape[0] - cones
    depth = shapes.dome_depth(scene.inverse[-1], scene.eye[-1], u, v)
    which = jnp.full(u.shape, total - 1, jnp.int32)
    for k in range(cones + boxes, total - 1):
        t = jnp.where(scene.live[k], shapes.plane_depth(scene.inverse[k], scene.eye[k], u, v), shapes.FAR)
        which, depth = jnp.where(t < depth, k, which), jnp.minimum(t, depth)

    reach = _reach(scene.bounds, u, v)

    def meeting(meet, k, g, state):
        depth, which = state
        t = meet(
            *shapes.local_ray(_at(scene.inverse, k), _at(scene.eye, k), _at(u, g), _at(v, g)),
            _at(scene.size, k),
        )
        before = _at(depth, g)
        which = _put(which, jnp.where(t < before, k.astype(jnp.int32), _at(which, g)), g, 0)
        return _put(depth, jnp.minimum(t, before), g, 0), which

    return _work(reach, cones, meeting, (depth, which))


def in_the_shade(scene: Shapes, bounds, across, lamp, cones: int, points):
    """Whether something stands between `points` (three arrays `(group, ray)`) and the lamp in direction
    `lamp (3,)`.

    `bounds (cones and boxes, 4)` along `across (2, 3)`, two directions at right angles to the lamp's.
    """
    a, b = (sum(across[i, j] * points[j] for j in range(3)) for i in (0, 1))
    reach = _reach(bounds, a, b)

    def meeting(meet, k, g, dark):
        m, eye = _at(scene.inverse, k), _at(scene.eye, k)
        p = [_at(x, g) for x in points]
        d = [m[i, 0] * lamp[0] + m[i, 1] * lamp[1] + m[i, 2] * lamp[2] for i in range(3)]
        o = [eye[i] + m[i, 0] * p[0] + m[i, 1] * p[1] + m[i, 2] * p[2] for i in range(3)]
        return _put(dark, _at(dark, g) | (meet(d, o, _at(scene.size, k)) < shapes.FAR), g, 0)

    return _work(reach, cones, meeting, jnp.zeros(points[0].shape, bool))


def _at(x, index):
    return jax.lax.dynamic_index_in_dim(x, index, keepdims=False)


_put = jax.lax.dynamic_update_index_in_dim


def _reach(box, u, v):
    """`(shape, group)`: whether the bounds of a shape and those of a group of rays overlap."""
    pad = 1e-4  # rounding
    return (
        (box[:, :1] - pad <= u.max(1))
        & (box[:, 1:2] + pad >= u.min(1))
        & (box[:, 2:3] - pad <= v.max(1))
        & (box[:, 3:] + pad >= v.min(1))
    )


def _work(reach, cones: int, meeting, state):
    """`meeting(meet, shape, group, state)` for all pairs of `reach`, cones first, then boxes."""
    groups = reach.shape[1]
    kinds = (
        (0, cones, shapes.cone_depth),
        (cones, reach.shape[0], lambda d, o, _: shapes.box_depth(d, o)),
    )
    for first, last, meet in kinds:
        pairs = reach[first:last].ravel()
        (order,) = jnp.nonzero(pairs, size=pairs.shape[0], fill_value=0)
        state = jax.lax.fori_loop(
            0,
            pairs.sum(),
            lambda i, state, meet=meet, order=order, first=first: meeting(
                meet, first + order[i] // groups, order[i] % groups, state
            ),
            state,
        )
    return state


def tiled(image, tile: int):
    """`(tiles, tile * tile)` of an image `(h, w)` whose sides are multiples of `tile`."""
    h, w = image.shape
    return image.reshape(h // tile, tile, w // tile, tile).swapaxes(1, 2).reshape(-1, tile * tile)


def untiled(tiles, h: int, w: int, tile: int):
    """The image `(h, w)` of `tiled`."""
    return tiles.reshape(h // tile, w // tile, tile, tile).swapaxes(1, 2).reshape(h, w)
