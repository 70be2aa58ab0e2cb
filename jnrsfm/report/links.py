"""What can be told of a skeleton that the file leaves out: likely links and left-right pairs."""

import re

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import minimum_spanning_tree


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


def pairs_from_names(names: tuple[str, ...] | None) -> Int[np.ndarray, "pair 2"]:
    """(left, right) pairs told by names: `left_hip`, `right_hip`; `lfoot`, `rfoot`; `hip_L`, `hip_R`.

    A bare first or last letter counts only where every `l` so found has its `r` and there are at least
    two pairs, for words such as "lip" begin with l as well.
    """
    if not names:
        return np.zeros((0, 2), np.int32)
    lower = [n.lower() for n in names]
    index = {n: i for i, n in enumerate(lower)}
    for whole_words in (True, False):
        pairs = []
        for i, name in enumerate(lower):
            if whole_words:
                other = name.replace("left", "right") if "left" in name else None
            elif name.startswith("l"):
                other = "r" + name[1:]
            elif re.search(r"[_\-. ]l$", name):
                other = name[:-1] + "r"
            else:
                other = None
            if other in index:
                pairs.append((i, index[other]))
        if len(pairs) >= (1 if whole_words else 2):
            return np.asarray(pairs, np.int32)
    return np.zeros((0, 2), np.int32)
