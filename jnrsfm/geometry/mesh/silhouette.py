r"""Silhouettes of closed meshes, differentiable: coverage of pixels by scan lines over the outline.

The number of front faces above a point of the image is, for a closed mesh, the signed count of *contour* edges (between
a face towards the camera and one away from it) to its left. Along a scan line each such edge is met in at most one
point; a pixel's share right of that point is a clamped linear function of it, the sum over edges is the number of
layers there, and min(layers, 1) its coverage. The derivative lives where the outline cuts a pixel, which is exact for
the area of coverage; a contour in front of the body, with a layer behind it, has none. Horizontal edges move no scan
line: scan lines in x and in y are averaged. Against sums over all pairs of faces and pixels, this costs edges times
rows.

No renderer is needed, on any device; `geometry.mesh.silhouette_deodr` has the same function through DEODR on CPU.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jnrsfm.geometry.mesh.record import edge_table

HIGHEST = jax.lax.Precision.HIGHEST
SPAN = 16  # pixels that an edge spans at most, of usual templates; or a quarter of the image


class Outline(NamedTuple):
    """What of a mesh the silhouette needs: `faces (face, 3)`; `ends (edge, 2)` and `beside (edge, 2)` as in
    `record.EdgeTable`."""

    faces: Int[np.ndarray, "face 3"]
    ends: Int[np.ndarray, "edge 2"]
    beside: Int[np.ndarray, "edge 2"]


def outline_of(faces: Int[np.ndarray, "face 3"]) -> Outline:
    """Of the faces of a closed mesh."""
    table = edge_table(faces)
    return Outline(np.asarray(faces, np.int32), table.ends, table.faces)


def contour(outline: Outline, points: Float[Array, "vertex 2"], most: int):
    """The contour edges: `ends (most, 2)`, sorted first, and `sign (most,)` +1 where a front face lies on the first
    side, -1 on the second, 0 beyond the number of contour edges."""
    a, b, c = (points[outline.faces[:, i]] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    front = area < 0  # counter-clockwise from outside is clockwise in an image whose y points down
    one, two = front[outline.beside[:, 0]], front[outline.beside[:, 1]]
    which = jnp.nonzero(one != two, size=most, fill_value=len(outline.ends))[0]
    inside = which < len(outline.ends)
    which = jnp.where(inside, which, 0)
    sign = jnp.where(inside, jnp.where(one[which], 1.0, -1.0), 0.0)
    return jnp.asarray(outline.ends)[which], sign.astype(points.dtype)


def _scan(start, end, sign, rows: int, columns: int, lines: int, span: int):
    """Layers `(rows, columns)`: edges from `start` to `end (edge, 2)` cut by `lines` scan lines in each row, each edge
    by the first `span` of the lines that it meets."""
    count = rows * lines
    low, high = jnp.minimum(start[:, 1], end[:, 1]), jnp.maximum(start[:, 1], end[:, 1])
    first = jnp.zeros_like(low) if span >= count else jnp.ceil(jax.lax.stop_gradient(low + 0.5) * lines - 0.5)
    line = jnp.clip(first, 0, count)[:, None] + jnp.arange(span, dtype=start.dtype)  # (edge, span)
    y = (line + 0.5) / lines - 0.5
    met = (y >= low[:, None]) & (y < high[:, None]) & (line < count)
    rise = end[:, 1] - start[:, 1]
    slope = (end[:, 0] - start[:, 0]) / jnp.where(rise == 0, 1.0, rise)
    x = start[:, :1] + slope[:, None] * (y - start[:, 1:])
    x = jnp.clip(x, -0.5, columns - 0.5)
    # front faces are counter-clockwise as seen: right of their edges that go down in the image
    weight = jnp.where(met, (sign * jnp.where(rise > 0, 1.0, -1.0))[:, None], 0.0)
    at = jnp.clip(jnp.floor(jax.lax.stop_gradient(x) + 0.5), 0, columns - 1)
    share = (at + 0.5 - x) * weight
    # pixel `at` has its share, all right of it the whole
    row = jnp.clip(line, 0, count - 1).astype(jnp.int32) // lines
    place = row * (columns + 1) + at.astype(jnp.int32)
    change = jnp.zeros(rows * (columns + 1), start.dtype)
    change = change.at[place].add(share).at[place + 1].add(weight - share)
    # running sums as a product with ones: a cumulative sum is many times slower on CPU
    ones = jnp.triu(jnp.ones((columns + 1, columns), start.dtype))
    return jnp.matmul(change.reshape(rows, columns + 1), ones, precision=HIGHEST) / lines


def coverage(
    outline: Outline,
    points: Float[Array, "*batch vertex 2"],
    size: tuple[int, int],
    *,
    lines: int = 1,
    most: int | None = None,
) -> Float[Array, "*batch height width"]:
    """Share of each pixel that the projected mesh covers, in [0, 1]; pixel centres at integers, y down.

    `points`: projected vertices in pixels. `size`: (height, width), static. `lines` of each direction in a pixel.
    `most`: contour edges that are kept at most (default: half of all edges, more than any outline has). Derivatives for
    `points` in reverse mode.
    """
    height, width = size
    most = len(outline.ends) // 2 if most is None else min(most, len(outline.ends))
    whole = max(size) * lines
    short = min(whole, max(SPAN, max(size) // 4) * lines)
    batch = points.shape[:-2]
    flat = points.reshape(-1, *points.shape[-2:])

    def one(span, points):
        ends, sign = contour(outline, points, most)
        start, end = points[ends[:, 0]], points[ends[:, 1]]
        across = _scan(start, end, sign, height, width, lines, min(span, height * lines))
        turn = lambda p: p[:, ::-1]  # transposed, the orientation changes
        down = _scan(turn(start), turn(end), -sign, width, height, lines, min(span, width * lines)).T
        clip = lambda layers: jnp.clip(layers, 0.0, 1.0)
        return 0.5 * (clip(across) + clip(down))

    every = lambda span: lambda flat: jax.vmap(lambda p: one(span, p))(flat)
    if short == whole:
        return every(whole)(flat).reshape(*batch, height, width)
    # long edges are rare: where there is one, all edges are tried against all lines
    reach = lambda flat: jnp.abs(flat[:, outline.ends[:, 0]] - flat[:, outline.ends[:, 1]]).max()
    choose = lambda f, flat, *rest: jax.lax.cond(
        reach(flat) * lines < short - 1, f(every(short)), f(every(whole)), flat, *rest
    )

    # A derivative of `cond` keeps what both branches need: four times as slow as to go forward again.
    @jax.custom_vjp
    def covered(flat):
        return choose(lambda g: g, flat)

    back = lambda g: lambda flat, cotangent: jax.vjp(g, flat)[1](cotangent)[0]
    covered.defvjp(
        lambda flat: (covered(flat), flat), lambda flat, cotangent: (choose(back, flat, cotangent),)
    )
    return covered(flat).reshape(*batch, height, width)
