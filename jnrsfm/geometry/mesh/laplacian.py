r"""Laplacians and geodesic distances of a triangle mesh.

The weak (integrated) Laplacian L is symmetric, positive semi-definite, with rows that sum to zero, and has no unit:
$(LV)_i = \sum_j w_{ij} (V_i - V_j)$. Weights: `intrinsic`, cotangents over the intrinsic Delaunay triangulation, never
negative (`robust_laplacian`); `cotangent`, $(\cot\alpha_{ij} + \cot\beta_{ij}) / 2$ over the triangles as they are,
negative where two angles add to more than a half turn (a sixth of the edges of usual templates); `uniform`, 1.

Sources: Pinkall and Polthier, Experimental Mathematics 2(1), 1993; Sharp and Crane, A Laplacian for nonmanifold
triangle meshes, SGP 2020; Crane, Weischedel and Wardetzky, Geodesics in heat, TOG 32(5), 2013.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from jnrsfm.errors import InputError
from jnrsfm.geometry.mesh.record import TriangleMesh

LaplacianKind = Literal["intrinsic", "cotangent", "uniform"]


def laplacian(mesh: TriangleMesh, kind: LaplacianKind = "intrinsic") -> csr_matrix:
    """`(vertex, vertex)` weak Laplacian, float64. Raises InputError without `robust_laplacian` (intrinsic)."""
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces)
    if kind == "intrinsic":
        try:
            import robust_laplacian
        except ImportError as error:
            raise InputError(
                "the intrinsic Laplacian needs robust_laplacian: pip install 'jnrsfm[mesh]', or choose "
                "laplacian=cotangent"
            ) from error
        return csr_matrix(robust_laplacian.mesh_laplacian(vertices, faces)[0])
    rows, columns, weights = [], [], []
    for i in range(3):
        at, a, b = faces[:, i], faces[:, (i + 1) % 3], faces[:, (i + 2) % 3]
        if kind == "uniform":  # each edge stands in two faces
            half = np.full(len(faces), 0.5)
        else:
            u, v = vertices[a] - vertices[at], vertices[b] - vertices[at]
            area = np.linalg.norm(np.cross(u, v), axis=1)
            half = 0.5 * (u * v).sum(1) / np.maximum(area, 1e-12 * mesh.diameter**2)
        rows += [a, b]
        columns += [b, a]
        weights += [half, half]
    n = len(vertices)
    r, c, w = (np.concatenate(x) for x in (rows, columns, weights))
    off = csr_matrix((w, (r, c)), shape=(n, n))
    return csr_matrix(
        csr_matrix((np.asarray(off.sum(1)).ravel(), (np.arange(n), np.arange(n))), shape=(n, n)) - off
    )


class _Heat:
    """Geodesic distances from single vertices by the heat method."""

    def __init__(self, mesh: TriangleMesh):
        try:
            import potpourri3d
        except ImportError as error:
            raise InputError("geodesics need potpourri3d: pip install 'jnrsfm[mesh]'") from error
        vertices = np.ascontiguousarray(mesh.vertices, np.float64)
        self.solver = potpourri3d.MeshHeatMethodDistanceSolver(
            vertices, np.ascontiguousarray(mesh.faces, np.int64)
        )

    def __call__(self, vertex: int) -> np.ndarray:
        return np.maximum(np.asarray(self.solver.compute_distance(int(vertex))), 0.0)


def geodesic_distances(
    mesh: TriangleMesh, sources: Int[np.ndarray, " source"]
) -> Float[np.ndarray, "source vertex"]:
    """Distances along the surface from each source vertex to all vertices. Raises InputError without `potpourri3d`."""
    heat = _Heat(mesh)
    return np.stack([heat(s) for s in sources])


def farthest_vertices(
    mesh: TriangleMesh, count: int
) -> tuple[Int[np.ndarray, " count"], Float[np.ndarray, "count vertex"]]:
    """`count` vertices spread evenly over the surface, each the farthest (along it) from those before, the first the
    farthest from the mean of all; and their distances to all vertices. Raises InputError for more than there are."""
    n = len(mesh.vertices)
    if not 1 <= count <= n:
        raise InputError(f"handles={count}: the template has {n} vertices: choose from 1 to {n}")
    heat = _Heat(mesh)
    chosen = [int(np.argmax(np.linalg.norm(mesh.vertices - mesh.vertices.mean(0), axis=1)))]
    distances = [heat(chosen[0])]
    while len(chosen) < count:
        nearest = np.min(distances, axis=0)
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
        distances.append(heat(chosen[-1]))
    return np.array(chosen, np.int32), np.stack(distances)
