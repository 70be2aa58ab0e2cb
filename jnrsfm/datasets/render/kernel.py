"""One picture on the device: rays, textures, light, anti-aliased edges, and what is exactly true of each
pixel."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnrsfm.datasets.render import appearance, shapes
from jnrsfm.datasets.render.appearance import WIDTHS, Light, Looks
from jnrsfm.datasets.render.cast import Shapes, first_hit, in_the_shade, tiled, untiled

TILE = 16
# Where a pixel is looked at: its centre for the truth, and four points for the colour of its edges.
CORNERS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


class Picture(NamedTuple):
    """What one picture is made from: `shapes`, `looks`, `light`, and `camera (3,)`: focal length, principal
    point."""

    shapes: Shapes
    looks: Looks
    light: Light
    camera: Any


class Layout(NamedTuple):
    """What is fixed at compilation: size of the image, numbers of cones and boxes, whether edges are
    smoothed, whether shadows are cast."""

    width: int
    height: int
    cones: int
    boxes: int
    smooth: bool = True
    shadows: bool = True


class Seen(NamedTuple):
    """What one picture shows: `image (h, w, 3)` uint8, `shape (h, w)` index of the shape at the pixel's
    centre, `depth (h, w)`, `local (h, w, 3)` the point in that shape's local frame."""

    image: Any
    shape: Any
    depth: Any
    local: Any


def rays(layout: Layout, camera, offset=(0.0, 0.0)):
    """Ray coordinates u, v, each `(tile, pixel)`, at pixel centres moved by `offset`; sides are padded to
    whole tiles."""
    h, w = padded(layout)
    y, x = jnp.meshgrid(jnp.arange(h, dtype=jnp.float32), jnp.arange(w, dtype=jnp.float32), indexing="ij")
    u, v = (x + offset[0] - camera[1]) / camera[0], (y + offset[1] - camera[2]) / camera[0]
    return tiled(u, TILE), tiled(v, TILE)


def padded(layout: Layout) -> tuple[int, int]:
    """Height and width in whole tiles."""
    return -(-layout.height // TILE) * TILE, -(-layout.width // TILE) * TILE


def apart(x):
    """`x`, computed once: without it the compiler computes it anew in every place that uses it."""
    return jax.lax.optimization_barrier(x)


def _columns(table, widths):
    out, at = [], 0
    for n in widths:
        out.append([table[..., at + i] for i in range(n)])
        at += n
    return out


def _rows(picture: Picture):
    """One row of numbers for each shape, all that shading a point of it needs, and their widths."""
    s = picture.shapes
    n = s.inverse.shape[0]
    parts = (s.inverse.reshape(n, 9), s.eye, s.size, *picture.looks)
    return jnp.concatenate(parts, -1), (9, 3, 3, *WIDTHS)


def surface(picture: Picture, layout: Layout, u, v, depth, which):
    """Texture coordinates, unit normals (camera frame), local points, and looks of what the rays meet."""
    table, widths = _rows(picture)
    inverse, eye, size, *looks = _columns(table[which], widths)
    q = [
        eye[i] + depth * (inverse[3 * i] * u + inverse[3 * i + 1] * v + inverse[3 * i + 2]) for i in range(3)
    ]
    total = picture.shapes.inverse.shape[0]
    cone, box = which < layout.cones, which < layout.cones + layout.boxes
    dome = which == total - 1
    of_cone, of_box = shapes.cone_normal(size, q), shapes.box_normal(q)
    flat = (0.0, 0.0, 1.0)
    local = [
        jnp.where(cone, a, jnp.where(box, b, jnp.where(dome, -x, c)))
        for a, b, c, x in zip(of_cone, of_box, flat, q, strict=True)
    ]
    # Normals go by the transposed inverse of the map that points go by.
    n = [sum(inverse[3 * j + i] * local[j] for j in range(3)) for i in range(3)]
    size_n = jax.lax.rsqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + 1e-20)
    normal = [x * size_n for x in n]
    looks = Looks(*looks)
    m = looks.texture
    p = [m[4 * i] * q[0] + m[4 * i + 1] * q[1] + m[4 * i + 2] * q[2] + m[4 * i + 3] for i in range(3)]
    return p, normal, q, looks


def _smoothed(colour, centre, corners, h: int, w: int):
    """Colours (three arrays) averaged over four points in each pixel, each with the colour of a pixel
    nearby whose centre shows the same shape; a pixel's own colour where there is none."""
    edge = jnp.pad(centre, 1, mode="edge")
    moved = lambda x, dx, dy: x[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
    out = []
    for c in colour:
        around, total = jnp.pad(c, 1, mode="edge"), 0.0
        for (x, y), which in zip(CORNERS, corners, strict=True):
            sx, sy = (1 if x > 0 else -1), (1 if y > 0 else -1)
            there = c
            for dx, dy in ((sx, sy), (0, sy), (sx, 0), (0, 0)):
                there = jnp.where(moved(edge, dx, dy) == which, moved(around, dx, dy), there)
            total = total + there
        out.append(total / len(CORNERS))
    return out


def _lit(picture: Picture, layout: Layout, depth, u, v, normal, shape):
    """`(h, w)`: 0 in the shade, 1 in the light; edges of shadows are averaged over the neighbours of the
    same shape."""
    h, w = depth.shape
    light = picture.light
    # From a little above the surface, so that it does not shade itself.
    points = [depth * d + 3e-4 * depth * n for d, n in zip((u, v, 1.0), normal, strict=True)]
    dark = in_the_shade(
        picture.shapes,
        light.bounds,
        light.across,
        light.direction,
        layout.cones,
        [tiled(x, TILE) for x in points],
    )
    lit = 1.0 - untiled(dark, h, w, TILE).astype(jnp.float32)
    wide, same = jnp.pad(lit, 1, mode="edge"), jnp.pad(shape, 1, mode="edge")
    total, count = 0.0, 0.0
    for dx in (0, 1, 2):
        for dy in (0, 1, 2):
            mine = (same[dy : dy + h, dx : dx + w] == shape).astype(jnp.float32)
            total, count = total + mine * wide[dy : dy + h, dx : dx + w], count + mine
    return total / count


def draw(picture: Picture, layout: Layout) -> Seen:
    """The picture and what is exactly true of it. See `Layout` for what is fixed at compilation."""
    h, w = padded(layout)
    places = ((0.0, 0.0), *(CORNERS if layout.smooth else ()))
    pairs = [rays(layout, picture.camera, place) for place in places]
    u, v = (jnp.concatenate([p[i] for p in pairs], 1) for i in (0, 1))
    depth, which = first_hit(picture.shapes, layout.cones, u, v)
    size = TILE * TILE
    image_of = lambda x: untiled(x, h, w, TILE)
    u, v = (image_of(x[:, :size]) for x in (u, v))
    depth, centre = image_of(depth[:, :size]), image_of(which[:, :size])
    corners = [image_of(which[:, i * size : (i + 1) * size]) for i in range(1, len(places))]

    p, normal, q, looks = apart(surface(picture, layout, u, v, depth, centre))
    per = jax.lax.rsqrt(1 + u * u + v * v)
    view = [-u * per, -v * per, -per]
    facing = jnp.abs(sum(a * b for a, b in zip(view, normal, strict=True)))
    footprint = depth / picture.camera[0] / jnp.maximum(facing, 0.15)
    colour = apart(appearance.albedo(looks, p, footprint))
    lit = 1.0
    if layout.shadows:
        lit = _lit(picture, layout, depth, u, v, normal, centre)
    colour = apart(appearance.shaded(colour, looks.gloss[0], normal, view, lit, picture.light))
    if layout.smooth:
        colour = _smoothed(colour, centre, corners, h, w)
    colour = appearance.grain(colour, picture.light)
    colour = apart([jnp.clip(jnp.round(255 * c), 0, 255).astype(jnp.uint8) for c in colour])
    crop = lambda x: x[: layout.height, : layout.width]
    return Seen(crop(jnp.stack(colour, -1)), crop(centre), crop(depth), crop(jnp.stack(q, -1)))


@partial(jax.jit, static_argnames="layout")
def draw_all(pictures: Picture, layout: Layout) -> Seen:
    """`draw` for a batch, one picture after the other, so that none depends on the others."""
    return jax.lax.map(lambda picture: draw(picture, layout), pictures)


@partial(jax.jit, static_argnames="layout")
def probe_all(pictures: Picture, body, layout: Layout, points):
    """Depth of the first body shape and of the first other shape on the rays to `points (picture, point, 3)`.

    Camera-frame points; `body (picture, shape)` says which shapes belong to the figure. Two arrays
    `(picture, point)`."""

    def one(args):
        picture, body, points = args
        s = picture.shapes
        u, v = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
        last = layout.cones + layout.boxes
        cut = lambda a, b: (s.inverse[a:b], s.eye[a:b], s.size[a:b])

        def cone_of(m, e, size):
            d, o = shapes.local_ray(m, e, u, v)
            return shapes.cone_depth(d, o, size)

        cone = jax.vmap(cone_of)
        box = jax.vmap(lambda m, e, _: shapes.box_depth(*shapes.local_ray(m, e, u, v)))
        plane = jax.vmap(lambda m, e, _: shapes.plane_depth(m, e, u, v))
        depths = [cone(*cut(0, layout.cones)), box(*cut(layout.cones, last)), plane(*cut(last, -1))]
        t = jnp.where(s.live[:-1, None], jnp.concatenate(depths), shapes.FAR)
        mine = body[:-1, None]
        return jnp.where(mine, t, shapes.FAR).min(0), jnp.where(mine, shapes.FAR, t).min(0)

    return jax.lax.map(one, (pictures, body, points))


class Placed(NamedTuple):
    """Where shapes are at some time, in the frame of a camera: `linear (shape, 3, 3)`, `centre (shape, 3)`
    from local coordinates."""

    linear: Any
    centre: Any


def follow(shape, local, placed: Placed, there: Picture, layout: Layout):
    """Flow `(h, w, 2)` in pixels to another picture, and whether each pixel's surface point is `hidden (h,
    w)` there.

    A pixel's point is `local (h, w, 3)` on `shape (h, w)`; `placed` puts the shapes in the other picture's
    camera frame. Hidden: behind the camera, outside the image, or something else is met on its ray before it.
    """
    high, wide = padded(layout)
    grow = ((0, high - layout.height), (0, wide - layout.width))
    shape = jnp.pad(shape, grow, mode="edge")
    q = [jnp.pad(local[..., i], grow, mode="edge") for i in range(3)]
    n = placed.linear.shape[0]
    table = jnp.concatenate([placed.linear.reshape(n, 9), placed.centre], 1)
    m = apart([table[:, i][shape] for i in range(12)])
    x, y, z = (m[3 * i] * q[0] + m[3 * i + 1] * q[1] + m[3 * i + 2] * q[2] + m[9 + i] for i in range(3))
    ahead = z > shapes.NEAR
    safe = jnp.where(ahead, z, 1.0)
    u, v = apart((x / safe, y / safe))
    depth, _ = first_hit(there.shapes, layout.cones, tiled(u, TILE), tiled(v, TILE))
    depth = untiled(depth, high, wide, TILE)
    px, py = there.camera[0] * u + there.camera[1], there.camera[0] * v + there.camera[2]
    outside = (px < -0.5) | (py < -0.5) | (px > layout.width - 0.5) | (py > layout.height - 0.5)
    hidden = ~ahead | outside | (depth < z * (1 - 1e-3))
    rows, columns = jnp.meshgrid(jnp.arange(high), jnp.arange(wide), indexing="ij")
    flow = jnp.stack([px - columns, py - rows], -1)
    cut = (slice(0, layout.height), slice(0, layout.width))
    return flow[cut], hidden[cut]


@partial(jax.jit, static_argnames="layout")
def follow_all(shape, local, placed: Placed, there: Picture, layout: Layout):
    """`follow` for a batch, one picture after the other."""
    return jax.lax.map(lambda x: follow(x[0], x[1], x[2], x[3], layout), (shape, local, placed, there))
