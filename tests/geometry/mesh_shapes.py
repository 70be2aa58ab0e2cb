"""Closed meshes for tests."""

import numpy as np

from jnrsfm.geometry.mesh import TriangleMesh


def icosphere(times: int = 2, stretch=(1.0, 1.0, 1.0)) -> TriangleMesh:
    """An ellipsoid of 12, 42, 162, 642 vertices, outward."""
    g = (1 + 5**0.5) / 2
    v = np.array([[-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g], [0, -1, -g], [0, 1, -g],
                  [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]], float)  # fmt: skip
    f = np.array([[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2],
                  [10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5], [2, 4, 11],
                  [6, 2, 10], [8, 6, 7], [9, 8, 1]])  # fmt: skip
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    for _ in range(times):
        edges = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), 1)
        unique, number = np.unique(edges, axis=0, return_inverse=True)
        number = number.reshape(3, -1).T + len(v)
        middle = v[unique].mean(1)
        v = np.concatenate([v, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
        a, b, c = f.T
        ab, bc, ca = number.T
        f = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
    return TriangleMesh((v * np.array(stretch)).astype(np.float32), f.astype(np.int32))


def animal() -> TriangleMesh:
    """A lump with four legs and a head, 162 vertices: something whose views differ."""
    mesh = icosphere(2)
    v = mesh.vertices.astype(np.float64)
    ends = np.array([[0.5, 1, 0.3], [0.5, 1, -0.3], [-0.5, 1, 0.3], [-0.5, 1, -0.3], [1.0, -0.7, 0]])
    ends /= np.linalg.norm(ends, axis=1, keepdims=True)
    out = 1 + (1.2 * np.exp(-((1 - v @ ends.T) / 0.05))).sum(1)
    return TriangleMesh((v * out[:, None] * [1.5, 0.8, 0.6]).astype(np.float32), mesh.faces)
