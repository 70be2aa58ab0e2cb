"""The triangle mesh: vertices, faces, named keypoints; and the checks that a template must pass, one line each."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from jnrsfm.errors import InputError

LEAST_VERTICES, MOST_VERTICES = 12, 6000
"""Bounds of a template: the systems of the handles are dense, a matrix of vertices by vertices."""


@dataclasses.dataclass(frozen=True, eq=False)
class TriangleMesh:
    """`vertices (vertex, 3)` in any unit; `faces (face, 3)`, counter-clockwise seen from outside. Optional: `keypoints
    (point,)`, the vertex of each named point, with `names`."""

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    keypoints: Int[np.ndarray, " point"] | None = None
    names: tuple[str, ...] | None = None

    @property
    def diameter(self) -> float:
        """The diagonal of its bounding box along the principal axes."""
        centred = np.asarray(self.vertices, np.float64) - np.mean(self.vertices, 0, dtype=np.float64)
        axes = np.linalg.svd(centred, full_matrices=False)[2]
        turned = centred @ axes.T
        return float(np.linalg.norm(np.ptp(turned, axis=0)))

    def normalised(self) -> "TriangleMesh":
        """Centred at the mean of its vertices, of diameter 2."""
        centred = np.asarray(self.vertices, np.float64)
        centred = (centred - centred.mean(0)) * (2 / self.diameter)
        return dataclasses.replace(self, vertices=centred.astype(np.float32))


class EdgeTable(NamedTuple):
    """Edges of a closed mesh: `ends (edge, 2)`, and the two faces beside each, `faces (edge, 2)`: the first has the
    edge in the order of `ends`, the second against it."""

    ends: Int[np.ndarray, "edge 2"]
    faces: Int[np.ndarray, "edge 2"]


def _directed(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All directed edges `(3 face, 2)` and the face of each."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return ends, np.tile(np.arange(len(faces)), 3)


def edge_table(faces: Int[np.ndarray, "face 3"]) -> EdgeTable:
    """The edges of a closed, consistently oriented mesh (`check_mesh`), each once."""
    ends, owner = _directed(np.asarray(faces, np.int64))
    n = int(ends.max()) + 1
    key, against = ends[:, 0] * n + ends[:, 1], ends[:, 1] * n + ends[:, 0]
    order = np.argsort(key)
    partner = owner[order[np.searchsorted(key, against, sorter=order)]]
    first = ends[:, 0] < ends[:, 1]
    pairs = np.stack([owner[first], partner[first]], 1)
    return EdgeTable(ends[first].astype(np.int32), pairs.astype(np.int32))


def vertex_normals(
    vertices: Float[np.ndarray, "*batch vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "*batch vertex 3"]:
    """Unit normals: of the faces around each vertex, weighed by their areas."""
    a, b, c = (vertices[..., faces[:, i], :] for i in range(3))
    face = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(out, (..., faces[:, i], slice(None)), face)  # type: ignore[arg-type]
    return out / np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-12)


def volume(vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]) -> float:
    """Signed volume: positive where the faces are counter-clockwise seen from outside."""
    a, b, c = (np.asarray(vertices, np.float64)[faces[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def check_mesh(mesh: TriangleMesh, where: Any = "template") -> None:
    """Raise InputError, one line led by `where`, for a mesh that cannot serve as a template.

    It must be finite, in one piece, closed (every edge in two faces), manifold, consistently oriented outwards, of 12
    to 6000 vertices, none of which is unused, and its keypoints must be vertices with names of their own.
    """
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    fail = lambda text: InputError(f"{where}: {text}")
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise fail(
            f"vertices {vertices.shape} and faces {faces.shape}: a triangle mesh has (vertex, 3), (face, 3)"
        )
    n = len(vertices)
    if not LEAST_VERTICES <= n <= MOST_VERTICES:
        raise fail(
            f"has {n} vertices: a template has {LEAST_VERTICES} to {MOST_VERTICES}"
            + (
                ": decimate it (Blender: Decimate; MeshLab: Quadric Edge Collapse)"
                if n > MOST_VERTICES
                else ""
            )
        )
    if not np.isfinite(vertices).all():
        raise fail("has vertices that are not finite: export it again")
    if not len(faces) or faces.min() < 0 or faces.max() >= n:
        raise fail(f"faces name vertices outside 0 to {n - 1}: export it again")
    if mesh.diameter <= 0:
        raise fail("all vertices are in one place: export it again")
    same = (faces == faces[:, [1, 2, 0]]).any(1)
    if same.any():
        raise fail(
            f"face {int(np.flatnonzero(same)[0])} names a vertex twice: merge by distance, triangulate"
        )
    unused = np.setdiff1d(np.arange(n), faces)
    if len(unused):
        raise fail(f"vertex {unused[0]} is in no face ({len(unused)} such): delete loose geometry")
    ends, owner = _directed(faces.astype(np.int64))
    undirected, back, count = np.unique(np.sort(ends, 1), axis=0, return_inverse=True, return_counts=True)
    if (count == 1).any():
        a, b = undirected[np.flatnonzero(count == 1)[0]]
        raise fail(
            f"is open: edge {a}-{b} is in one face ({int((count == 1).sum())} such edges): close its holes, and merge "
            "vertices that lie in one place"
        )
    if (count > 2).any():
        a, b = undirected[np.flatnonzero(count > 2)[0]]
        raise fail(f"is not manifold: edge {a}-{b} is in {int(count[count > 2][0])} faces: mend it there")
    if len(np.unique(ends, axis=0)) < len(ends):
        raise fail("its faces are not oriented alike: recalculate the normals outside")
    # faces around a vertex must hang together by edges at that vertex
    pairs = np.argsort(back.reshape(-1), kind="stable").reshape(-1, 2)
    corner_of = lambda half, end: _corner(faces, owner[half], ends[half, end])
    links = [
        (corner_of(pairs[:, 0], 0), corner_of(pairs[:, 1], 1)),
        (corner_of(pairs[:, 0], 1), corner_of(pairs[:, 1], 0)),
    ]
    rows, columns = (np.concatenate([link[i] for link in links]) for i in (0, 1))
    size = 3 * len(faces)
    fans = connected_components(coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, size)))[1]
    around = np.bincount(np.unique(np.stack([fans, faces.reshape(-1)], 1), axis=0)[:, 1], minlength=n)
    if (around > 1).any():
        raise fail(
            f"is not manifold: two surfaces touch in vertex {int(np.flatnonzero(around > 1)[0])}: part them"
        )
    pieces = connected_components(coo_matrix((np.ones(len(ends)), ends.T), shape=(n, n)))[0]
    if pieces > 1:
        raise fail(f"consists of {pieces} pieces: a template is one: delete or join the others")
    if volume(vertices, faces) <= 0:
        raise fail("is turned inside out: flip its normals")
    _check_keypoints(mesh, n, fail)


def _corner(faces: np.ndarray, owner: np.ndarray, vertex: np.ndarray) -> np.ndarray:
    """Number of the corner of each face `owner` at a vertex."""
    return 3 * owner + np.argmax(faces[owner] == vertex[:, None], axis=1)


def _check_keypoints(mesh: TriangleMesh, n: int, fail: Any) -> None:
    if mesh.keypoints is None:
        return
    points = np.asarray(mesh.keypoints)
    if points.ndim != 1 or (len(points) and (points.min() < 0 or points.max() >= n)):
        raise fail(f"keypoints name vertices outside 0 to {n - 1}: mend them")
    if mesh.names is not None and len(mesh.names) != len(points):
        raise fail(f"has {len(points)} keypoints and {len(mesh.names)} names: give one name for each")
    if mesh.names is not None and len(set(mesh.names)) < len(mesh.names):
        twice = next(n for n in mesh.names if mesh.names.count(n) > 1)
        raise fail(f"two keypoints are called {twice!r}: rename one of them")
