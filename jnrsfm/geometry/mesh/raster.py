"""Pictures of a mesh by a z-buffer on the host: which face each pixel shows, and where in it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Raster(NamedTuple):
    """`face (height, width)`: the face that each pixel's centre shows, -1 for none; `weights (height, width, 3)`: its
    barycentric coordinates there; `depth (height, width)`, infinite where there is none."""

    face: Int[np.ndarray, "height width"]
    weights: Float[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"]

    def of_vertices(
        self, values: Float[np.ndarray, "vertex c"], faces: Int[np.ndarray, "face 3"]
    ) -> Float[np.ndarray, "height width c"]:
        """Values at the vertices, interpolated; 0 where nothing is shown."""
        corner = values[faces[np.maximum(self.face, 0)]]
        return np.where((self.face >= 0)[..., None], (self.weights[..., None] * corner).sum(-2), 0.0)


def rasterise(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], size: tuple[int, int]
) -> Raster:
    """Of camera-frame `vertices`, x and y in pixels, along parallel rays; `size` (height, width)."""
    height, width = size
    corners = np.asarray(vertices, np.float64)[faces]
    a, b, c = (corners[:, i] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    low = np.maximum(np.ceil(corners[..., :2].min(1)), 0).astype(int)
    high = np.minimum(np.floor(corners[..., :2].max(1)), [width - 1, height - 1]).astype(int)
    face = np.full((height, width), -1, np.int32)
    weights, depth = np.zeros((height, width, 3)), np.full((height, width), np.inf)
    for i in np.flatnonzero((area < 0) & (high >= low).all(1)):
        x, y = np.meshgrid(np.arange(low[i, 0], high[i, 0] + 1), np.arange(low[i, 1], high[i, 1] + 1))
        side = lambda p, q, x=x, y=y: (q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])
        u, v = side(b[i], c[i]) / area[i], side(c[i], a[i]) / area[i]
        w = np.stack([u, v, 1 - u - v], -1)
        z = w @ corners[i, :, 2]
        rows, columns = slice(low[i, 1], high[i, 1] + 1), slice(low[i, 0], high[i, 0] + 1)
        nearer = (w >= 0).all(-1) & (z < depth[rows, columns])
        face[rows, columns][nearer] = i
        weights[rows, columns][nearer] = w[nearer]
        depth[rows, columns][nearer] = z[nearer]
    return Raster(face, weights, depth)
