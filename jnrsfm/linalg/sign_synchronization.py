r"""Signs from relative signs: `s_f = +-1` that agree best with noisy votes on the products `s_f s_g`.

Synchronization over Z2: exact along a chain with links of bounded reach, by eigenvector
and local search on a general graph. Knows nothing of shapes: `geometry.depth_reflection` and others make the
votes. NumPy, host side.
"""

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg
from jaxtyping import Bool, Float


def solve_chain(
    links: Float[np.ndarray, "lag frame"],
    votes: Float[np.ndarray, " frame"] | None = None,
) -> tuple[Bool[np.ndarray, " frame"], Float[np.ndarray, " frame"]]:
    r"""Signs s_f = +-1 that maximise `sum_{f,k} links[k-1, f] s_f s_{f-k} + sum_f votes[f] s_f`: exact, and exact
    max-marginals.

    The state is the last `lag` signs, so 2^lag states and `O(frames 2^lag)` operations. Links that reach
    before the first frame are ignored. Returns the signs as a mask (True: -1; without votes, which alone tell the
    overall sign, the fewer of the two) and `loss (frame,)`: by how much the best labelling in which the frame has the
    other sign *relative to an anchor frame* is worse. Some frame must stand for "the rest": the best
    supported frame on the longer side of the weakest cut of the clip. The anchor's own loss is that of
    turning it alone.
    """
    lag, n = links.shape
    links = np.where(np.arange(n) >= np.arange(1, lag + 1)[:, None], links, 0.0)
    # Bit j of a state is the sign of the j-th last frame (1: negative). field[f, state] is what frame f gains
    # by being positive after that state.
    bits = 1.0 - 2.0 * ((np.arange(1 << lag)[:, None] >> np.arange(lag)) & 1)
    own = np.zeros(n) if votes is None else votes
    linked = links.T @ bits.T
    field = linked + own[:, None]

    after = _backward(field)
    sign = np.empty(n, int)
    state = 0
    half, last = 1 << (lag - 1), (1 << lag) - 1
    for f in range(n):
        follow = (state << 1) & last
        plus, minus = after[f + 1, follow] + field[f, state], after[f + 1, follow | 1] - field[f, state]
        sign[f] = 1 if plus >= minus else -1
        state = follow | int(plus < minus)

    held = held_links(links, sign)
    anchor = _anchor(held)
    # The same program again with the anchor held positive, in both directions; only votes know a negative one.
    own = own * sign[anchor]
    field = linked + own[:, None]
    after = _backward(field, anchor)
    before = np.zeros(1 << lag)
    best = np.empty((n, 2))
    for f in range(n):
        plus, minus = before + field[f], before - field[f]
        before = np.empty_like(plus)
        np.maximum(plus[:half], plus[half:], out=before[0::2])
        np.maximum(minus[:half], minus[half:], out=before[1::2])
        if f == anchor:
            before[1::2] = -np.inf
        total = before + after[f + 1]
        best[f] = total[0::2].max(), total[1::2].max()
    loss = np.abs(best[:, 0] - best[:, 1])
    loss[anchor] = 2 * max(support(held)[anchor] + own[anchor], 0.0)
    mask = sign < 0
    return (~mask if votes is None and 2 * mask.sum() > n else mask), loss


def _backward(field, anchor=-1):
    """`after[f, state]`: the best that the frames f, f+1, ... can gain from the state before them."""
    n, states = field.shape
    after = np.zeros((n + 1, states))
    for f in range(n - 1, -1, -1):
        # The states that follow from q and from q + states/2 are the same pair (2q, 2q + 1).
        plus, minus = np.tile(after[f + 1, 0::2], 2), np.tile(after[f + 1, 1::2], 2)
        after[f] = plus + field[f] if f == anchor else np.maximum(plus + field[f], minus - field[f])
    return after


def held_links(links, sign):
    """The links with the sign they have in the solution: positive where it agrees with the evidence."""
    held = np.zeros_like(links)
    for k in range(1, min(len(links), len(sign) - 1) + 1):
        held[k - 1, k:] = links[k - 1, k:] * sign[k:] * sign[:-k]
    return held


def support(held):
    """`(frame,)` sum over the links of each frame, to both sides."""
    total = held.sum(0)
    for k in range(1, min(len(held), held.shape[1] - 1) + 1):
        total[:-k] += held[k - 1, k:]
    return total


def cuts(held):
    """`(frame - 1,)` sum of the links that a cut between frames f and f + 1 severs."""
    n = held.shape[1]
    total = np.zeros(n + 1)
    for k in range(1, min(len(held), n - 1) + 1):
        # The link f-k .. f is severed by the cuts after f-k, ..., f-1.
        total[: n - k] += held[k - 1, k:]
        total[k:n] -= held[k - 1, k:]
    return np.cumsum(total)[: n - 1]


def _anchor(held):
    """The best supported frame on the longer side of the weakest cut."""
    n = held.shape[1]
    total = support(held)
    if n > 2:
        cut = int(np.argmin(cuts(held))) + 1
        side = np.arange(n) >= cut if 2 * cut < n else np.arange(n) < cut
        total = np.where(side, total, -np.inf)
    return int(np.argmax(total))


def synchronize_signs(
    affinity: sparse.csr_matrix,
) -> tuple[Bool[np.ndarray, " node"], float]:
    r"""Signs that maximise `s^T A s` for a symmetric signed affinity A (nearly): the synchronization over Z2.

    The sign of the leading eigenvector of `D^-1/2 A D^-1/2`, `D = sum |A|` (Singer, ACHA 30(1), 2011), and
    the signs along the strongest spanning tree, each improved node by node until no single change helps; the
    better one. Up to 14 nodes the exact optimum by enumeration. Returns the mask of the negative nodes (the
    fewer) and the relative gap of the leading eigenvalues. The nodes of A must be connected.
    """
    n = affinity.shape[0]
    if n < 2:
        return np.zeros(n, bool), 1.0
    degree = np.maximum(np.asarray(abs(affinity).sum(1)).ravel(), 1e-300)
    root = sparse.diags(1 / np.sqrt(degree))
    values, vectors = _leading(root @ affinity @ root)
    gap = float(np.clip(1 - values[1] / values[0], 0, 1)) if values[0] > 0 else 0.0
    if n <= 14:
        bits = 1 - 2 * ((np.arange(1 << (n - 1))[:, None] >> np.arange(n)) & 1)
        sign = bits[np.argmax(np.einsum("si,si->s", bits @ affinity.toarray(), bits))]
    else:
        starts = (np.where(vectors < 0, -1, 1), _tree_signs(affinity))
        ends = [_improve(affinity, sign) for sign in starts]
        sign = max(ends, key=lambda s: s @ (affinity @ s))
    mask = sign < 0
    return (~mask if 2 * mask.sum() > n else mask), gap


def _leading(matrix):
    """The two largest eigenvalues and the vector of the first."""
    n = matrix.shape[0]
    if n <= 512:
        values, vectors = np.linalg.eigh(matrix.toarray())
        return values[:-3:-1], vectors[:, -1]
    start = np.random.default_rng(0).standard_normal(n)
    try:
        values, vectors = scipy.sparse.linalg.eigsh(matrix, k=2, which="LA", v0=start, tol=1e-4, maxiter=500)
    except scipy.sparse.linalg.ArpackNoConvergence:
        # Long thin families have many eigenvalues near one. The spanning tree serves them well.
        return np.ones(2), start
    return values[::-1], vectors[:, 1]


def _tree_signs(affinity):
    """Signs along the spanning tree of the strongest pairs, from its first node outwards."""
    strength = abs(affinity).tocsr()
    strength.data = 2.0 - strength.data / strength.data.max()  # positive, the strongest the shortest
    tree = sparse.csgraph.minimum_spanning_tree(strength)
    order, parent = sparse.csgraph.breadth_first_order(tree, 0, directed=False)
    relation = np.sign(np.asarray(affinity[order[1:], parent[order[1:]]]).ravel())
    sign = np.ones(affinity.shape[0], int)
    for node, r in zip(order[1:], relation, strict=True):
        sign[node] = sign[parent[node]] * (1 if r >= 0 else -1)
    return sign


def _improve(affinity, sign):
    """Turn the worst supported node until every node is supported by its neighbours. `s^T A s` only grows."""
    sign = sign.copy()
    field = affinity @ sign
    for _ in range(4 * len(sign)):
        node = int(np.argmin(sign * field))
        if sign[node] * field[node] >= -1e-12:
            break
        sign[node] = -sign[node]
        row = slice(affinity.indptr[node], affinity.indptr[node + 1])
        field[affinity.indices[row]] += 2 * sign[node] * affinity.data[row]
    return sign
