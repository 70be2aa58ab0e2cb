r"""Votes of nearest neighbours over a set: they join clips and lone frames to one depth reflection.

The sets' side of `depth_reflection`. Neighbours are near in coordinates that no rotation and no reflection changes;
their votes are weighed against each other by synchronization of signs. NumPy, float64, on the host.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from scipy.spatial import cKDTree

from jnrsfm.geometry.mirror_evidence import CHUNK, FLOOR, margin_of, pair_distances, pair_evidence
from jnrsfm.linalg.sign_synchronization import synchronize_signs

_NEIGHBOURS = 12
_MAX_LANDMARKS = 10_000
_MIN_COHERENCE = 0.6  # random signs on a graph of this degree can be made to agree to about 0.4


def _descriptors(shapes, weights):
    """`(frame, d)`: coordinates in which near frames have near shapes, whatever the rotation and the mirror.

    The distances between the points of a shape of unit size (at most 256 pairs), in their leading 16
    principal directions. A pair without both points takes its mean over the frames.
    """
    n_points = shapes.shape[1]
    first, second = np.triu_indices(n_points, 1)
    if len(first) > 256:
        chosen = np.random.default_rng(0).choice(len(first), 256, replace=False)
        first, second = first[chosen], second[chosen]
    distances = np.empty((len(shapes), len(first)), np.float32)
    for start in range(0, len(shapes), CHUNK // 8):
        cut = slice(start, start + CHUNK // 8)
        distances[cut] = np.linalg.norm(shapes[cut, first] - shapes[cut, second], axis=-1)
    if weights is not None:
        known = (weights[:, first] > 0) & (weights[:, second] > 0)
        mean = (distances * known).sum(0) / np.maximum(known.sum(0), 1)
        distances = np.where(known, distances, mean)
    distances /= np.maximum(np.sqrt(np.mean(distances**2, 1, keepdims=True)), 1e-30)
    distances -= distances.mean(0)
    _, vectors = np.linalg.eigh(distances.T @ distances)
    return distances @ vectors[:, -16:]


def _landmarks(group, n_groups):
    """Frames that stand for their groups: evenly spaced in each, about `_MAX_LANDMARKS` in all."""
    n = len(group)
    if n_groups > _MAX_LANDMARKS and n_groups == n:
        return np.linspace(0, n - 1, _MAX_LANDMARKS).astype(int)
    # Between clips some tens of frames of each suffice; they must be many where the clips are few.
    each = max(1, min(256, _MAX_LANDMARKS // n_groups))
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], np.arange(n_groups))
    size = np.bincount(group, minlength=n_groups)
    within = np.arange(n) - start[group[order]]
    take = np.minimum(size, each)[group[order]]
    # The c-th of `take` evenly spaced positions starts where floor(position * take / size) steps up.
    step = within * take // size[group[order]]
    first = np.r_[True, (step[1:] != step[:-1]) | (within[1:] == 0)]
    return np.sort(order[first])


def _neighbours(points, group, queries, candidates):
    """Pairs `(query, candidate)` of near frames from different groups."""
    largest = int(np.bincount(group[candidates]).max())
    count = min(len(candidates), _NEIGHBOURS + largest)
    near = cKDTree(points[candidates]).query(points[queries], k=count)[1].reshape(len(queries), -1)
    near = candidates[near]
    foreign = group[near] != group[queries][:, None]
    keep = foreign & (np.cumsum(foreign, 1) <= _NEIGHBOURS)
    return np.broadcast_to(queries[:, None], near.shape)[keep], near[keep]


class Votes(NamedTuple):
    """What neighbours over the set say of groups of frames: `turn`, `margin`, `component (group,)`; the mean agreeing
    vote; the share of the votes overruled; the spectral gap."""

    turn: np.ndarray
    margin: np.ndarray
    component: np.ndarray
    agreement: float
    frustration: float
    gap: float

    @property
    def coherent(self) -> bool:
        """They hardly contradict each other."""
        return self.agreement > 0 and 1 - 2 * self.frustration >= _MIN_COHERENCE


def resolve_set(shapes, weights, group, mask) -> Votes:
    """Join groups of frames, whose inner solution is `mask`, by the votes of nearest neighbours.

    A group that no vote ties to others is a component of its own.
    """
    n_groups = int(group.max()) + 1
    points = _descriptors(shapes, weights)
    chosen = _landmarks(group, n_groups)
    i, j = _neighbours(points, group, chosen, chosen)
    distances = pair_distances(shapes, weights, i, j)
    # What a right pair is like is told by the nearest neighbour of each frame; the others may be far.
    nearest = np.full(len(shapes), np.inf)
    np.minimum.at(nearest, i, distances.min(0))
    noise = max(float(np.median(nearest[chosen])), FLOOR)
    evidence = pair_evidence(distances[0], distances[1], noise) * np.where(mask[i] == mask[j], 1.0, -1.0)

    shape = (n_groups, n_groups)
    affinity = sparse.coo_matrix((evidence, (group[i], group[j])), shape).tocsr()
    affinity = ((affinity + affinity.T) / 2).tocsr()
    affinity.eliminate_zeros()
    present = np.zeros(n_groups, bool)
    present[group[chosen]] = True
    _, component = sparse.csgraph.connected_components(affinity, directed=False)
    turn, gap = np.zeros(n_groups, bool), 1.0
    for members in split_components(component, present):
        if len(members) > 1:
            turn[members], g = synchronize_signs(affinity[members][:, members])
            gap = min(gap, g)
    sign = np.where(turn, -1.0, 1.0)
    agree = evidence * sign[group[i]] * sign[group[j]]
    count = np.bincount(group[i], minlength=n_groups) + np.bincount(group[j], minlength=n_groups)
    gained = np.bincount(group[i], agree, n_groups) + np.bincount(group[j], agree, n_groups)

    # Lone frames that are no landmarks take the sign for which their neighbours among the landmarks vote.
    rest = np.flatnonzero(~present[group])
    if len(rest):
        i2, j2 = _neighbours(points, group, rest, chosen)
        same, mirrored = pair_distances(shapes, weights, i2, j2)
        vote = pair_evidence(same, mirrored, noise) * np.where(mask[i2] == mask[j2], 1.0, -1.0)
        total = np.bincount(group[i2], vote * sign[group[j2]], n_groups)
        voted, vote_of = np.unique(group[i2], return_index=True)
        missing = ~present
        turn[missing] = total[missing] < 0
        gained[missing] = np.abs(total[missing])
        count[missing] = np.bincount(group[i2], minlength=n_groups)[missing]
        component[voted] = component[group[j2[vote_of]]]
    margin = margin_of(gained, count)
    weight = np.abs(evidence).sum()
    agreement = float(agree.sum() / max(len(i), 1))
    frustration = float(np.abs(np.minimum(agree, 0)).sum() / weight) if weight > 0 else 0.0
    return Votes(turn, margin, component, agreement, frustration, gap)


def split_components(component, present):
    """The members of each component, of those nodes that are present."""
    nodes = np.flatnonzero(present)
    nodes = nodes[np.argsort(component[nodes], kind="stable")]
    return np.split(nodes, np.flatnonzero(np.diff(component[nodes])) + 1)
