"""Which vertices of a mesh a camera sees: no face is nearer on the ray to them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int


def vertex_visible(
    vertices: Float[ArrayLike, "*batch vertex 3"], faces: Int[ArrayLike, "face 3"], margin: float = 1e-3
) -> Bool[Array, "*batch vertex"]:
    """Whether each vertex is seen, of camera-frame `vertices` under parallel rays along z (x, y as in the image).

    A vertex is hidden where a face that does not hold it covers it and is nearer by more than `margin` times the
    mesh's extent in x and y. Every vertex is tried against every face, one mesh of a batch after the other: exact, and
    without a buffer whose pixels would be coarse. No derivative.
    """
    vertices, faces = jnp.asarray(vertices), jnp.asarray(faces)

    def one(points):
        points = jax.lax.stop_gradient(points)
        size = jnp.ptp(points[:, :2], axis=0).max()
        a, b, c = (points[faces[:, i]] for i in range(3))
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        safe = jnp.where(jnp.abs(area) < 1e-12, 1.0, area)
        front = area < 0  # of a closed mesh the nearest face looks at the camera
        x, y, z = (points[:, i, None] for i in range(3))
        # barycentric coordinates, linear in x and y
        side = lambda p, q: (q[:, 0] - p[:, 0]) * (y - p[:, 1]) - (q[:, 1] - p[:, 1]) * (x - p[:, 0])
        u, v = side(b, c) / safe, side(c, a) / safe
        w = 1 - u - v
        depth = u * a[:, 2] + v * b[:, 2] + w * c[:, 2]
        inside = jnp.minimum(jnp.minimum(u, v), w) > -1e-5  # on an edge is under both its faces
        over = front & inside & (depth < z - margin * size)
        return ~over.any(1)

    batch = vertices.shape[:-2]
    found = jax.lax.map(one, vertices.reshape(-1, *vertices.shape[-2:]))
    return found.reshape(*batch, vertices.shape[-2])
