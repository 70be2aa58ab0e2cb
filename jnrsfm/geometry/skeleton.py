"""Bones: which of them are each other's left-right image."""

import numpy as np
from jaxtyping import ArrayLike, Int


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
