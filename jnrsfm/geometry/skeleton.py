"""Bones: likely ones, their tree, and which of them are each other's left-right image."""

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree


def twin_bones(
    edges: Int[ArrayLike, "edge 2"] | None, symmetric: Int[ArrayLike, "pair 2"] | None
) -> Int[np.ndarray, "twin 2"]:
    """`(twin, 2)` numbers of edges that are each other's left-right image under the point pairs `symmetric`. A bone
    that is its own image is in no pair."""
    if edges is None or symmetric is None:
        return np.zeros((0, 2), int)
    swap = {}
    for a, b in np.asarray(symmetric):
        swap[int(a)], swap[int(b)] = int(b), int(a)
    index = {frozenset(map(int, e)): i for i, e in enumerate(np.asarray(edges))}
    pairs = set()
    for edge, i in index.items():
        image = index.get(frozenset(swap.get(p, p) for p in edge))
        if image is not None and image != i:
            pairs.add((min(i, image), max(i, image)))
    return np.array(sorted(pairs), int).reshape(-1, 2)


def guess_links(
    shape: Float[np.ndarray, "frame point 3"],
    drawn: Bool[np.ndarray, "frame point"],
    max_points: int = 300,
    max_frames: int = 200,
) -> Int[np.ndarray, "edge 2"]:
    """Likely links: the minimum spanning tree of how much the distance of two points varies.

    The weight of a pair is std(d) + 0.1 mean(d), with d the distance over the frames where both points
    are drawn: points of one rigid limb keep their distance, and of several such the near ones are
    joined. Pairs never drawn together are not joined. Empty beyond `max_points`, where a tree says
    little and the pairs cost P^2. It is a guess for the eye and is called one on the page.
    """
    frames, points = drawn.shape
    if points < 2 or points > max_points or frames == 0:
        return np.zeros((0, 2), np.int32)
    keep = np.unique(np.linspace(0, frames - 1, min(frames, max_frames)).astype(int))
    count = np.zeros((points, points))
    total = np.zeros((points, points))
    square = np.zeros((points, points))
    for f in keep:  # a frame at a time, so that memory stays at P^2
        both = drawn[f][:, None] & drawn[f][None]
        x = np.where(drawn[f][:, None], shape[f], 0.0).astype(np.float64)
        d = np.where(both, np.linalg.norm(x[:, None] - x[None], axis=-1), 0.0)
        count, total, square = count + both, total + d, square + d * d
    n = np.maximum(count, 1)
    mean = total / n
    weight = np.sqrt(np.maximum(square / n - mean**2, 0.0)) + 0.1 * mean
    # zero means "no edge" to csgraph; adding one to every weight changes no spanning tree
    weight = np.where(count > 0, 1.0 + weight / max(float(weight.max()), 1e-300), 0.0)
    tree = minimum_spanning_tree(np.triu(weight, 1)).tocoo()
    edges = np.stack([tree.row, tree.col], -1).astype(np.int32)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def bone_tree(
    edges: Int[ArrayLike, "edge 2"], n_points: int
) -> tuple[Int[np.ndarray, " point"], Bool[np.ndarray, "point point"]]:
    """`(parent (point,), below (point, point))` of a tree over the bones, from the most joined point of each piece:
    `below[p, q]` where q is p or hangs on it. A root, and a point without a bone, has the parent -1."""
    edges = np.asarray(edges, int).reshape(-1, 2)
    graph = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n_points, n_points))
    joined = np.bincount(edges.ravel(), minlength=n_points)
    parent, below, seen = np.full(n_points, -1), np.eye(n_points, dtype=bool), np.zeros(n_points, bool)
    for root in np.argsort(-joined, kind="stable"):
        if not seen[root]:
            order, before = breadth_first_order(graph, root, directed=False)
            seen[order] = True
            parent[order[1:]] = before[order[1:]]
            for p in order[:0:-1]:  # from the leaves
                below[parent[p]] |= below[p]
    return parent, below
