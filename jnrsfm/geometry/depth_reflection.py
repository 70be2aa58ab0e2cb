r"""Which frames of a reconstruction are mirrored in depth, told from the shapes alone.

Under orthography `(S, R)` and `(-S, diag(-1, -1, 1) R)` have the same image, so every frame may come out
mirrored (z -> -z in the camera frame) and no reprojection can tell. Two shapes of one deforming object can:
with the better proper rotation in between, the right relation leaves a smaller distance than the mirrored
one. For centred shapes A, B (rows are points) with `M = A^T B` and singular values s1 >= s2 >= s3,

    max_R <A R^T, B> = s1 + s2 + sign(det M) s3,      mirrored: s1 + s2 - sign(det M) s3,

so both distances of a pair come from M alone, whatever the cameras were. Along a clip the relations of all
pairs up to `window` frames apart are weighed against each other by exact dynamic programming; clips and
unordered frames are joined by synchronizing the signs of nearest neighbours over the set (`resolve_mirrors`).

These are solvers on the host (NumPy, float64): pure functions, outside `jit`, with nothing to differentiate.
"""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Array, Bool, Float, Int
from scipy.spatial import cKDTree

from jnrsfm.errors import InputError
from jnrsfm.linalg.sign_synchronization import (
    cuts,
    held_links,
    solve_chain,
    support,
    synchronize_signs,
)
from jnrsfm.types import Reconstruction

_CHUNK = 1 << 14  # pairs at a time: bounds the memory of the gathered shapes
_FLOOR = 1e-6  # squared: distances below 0.1 % of the size of a shape are rounding, not evidence
_CERTAIN = np.log(10.0)  # a pair is certain when the mirrored squared distance is ten times the other
_REACH = 4.0
_NOTHING = 1e-3  # evidence below this is rounding
_MAX_WINDOW = 12  # 2^window states
_NEIGHBOURS = 12
_MAX_LANDMARKS = 10_000
_TOSS = 0.06  # of flawless evidence at a cut (margin 0.5): time may be wrong about its side
_MIN_COHERENCE = 0.6  # random signs on a graph of this degree can be made to agree to about 0.4


@dataclasses.dataclass(frozen=True, eq=False)
class MirrorResolution:
    """What `resolve_mirrors` found.

    `flip (frame,)`: mirror these frames and the set is of one hand (up to one mirror for each `component`).
    `margin (frame,)` in [0, 1]: how firmly the frame is tied to the others of its clip (of the set for frames
    without a clip). With `x` the loss of evidence when the frame takes the other hand and all others do their
    best, as a share of what flawless evidence would lose, it is `tanh(10 x)`: 0 is a coin toss, 0.3 wants a
    look, near 1 the frame stands on several times the evidence that sufficed in trials with known flips. It
    is no probability, and it cannot see that shapes are wrong in the same way in frame after frame.
    `method`: "sequence" (continuity in time), "set" (neighbours over the set) or "none" (no evidence, or
    evidence that contradicts itself: nothing is flipped).
    `clips (clip,)`: the clip ids; `clip_margin (clip,)`: the same figure for the weakest cut of the clip in
    time: at 0 its two sides may differ in hand. `clip_frustration (clip,)`: share of the evidence inside the
    clip that the solution overrules.
    `component (frame,)`: frames with the same number share one hand. One number for all where the clips could
    be joined; else one for each clip that stays on its own. `n_components` of them.
    `set_margin`: mean agreeing evidence of the pairs that join clips or lone frames (0 where nothing was to
    be joined or where it is not well posed); `set_frustration`: the share of that evidence that is overruled;
    `spectral_gap`: relative gap of the two leading eigenvalues of the signed affinity, 1 - lambda2 / lambda1.
    """

    flip: Bool[np.ndarray, " frame"]
    margin: Float[np.ndarray, " frame"]
    method: Literal["sequence", "set", "none"]
    clips: Int[np.ndarray, " clip"]
    clip_margin: Float[np.ndarray, " clip"]
    clip_frustration: Float[np.ndarray, " clip"]
    component: Int[np.ndarray, " frame"]
    n_components: int
    set_margin: float = 0.0
    set_frustration: float = 0.0
    spectral_gap: float = 0.0

    def summary(self) -> dict:
        """The figures for a report, as plain numbers; None where there is nothing to measure."""

        def figure(function, values):
            return float(function(values)) if values.size else None

        return {
            "mirror": self.method,
            "flipped": figure(np.mean, self.flip),
            "margin_median": figure(np.median, self.margin),
            "margin_lowest_5_percent": figure(lambda m: np.quantile(m, 0.05), self.margin),
            "clip_margin_lowest": figure(np.min, self.clip_margin),
            "clip_frustration_highest": figure(np.max, self.clip_frustration),
            "components": self.n_components,
            "set_margin": self.set_margin,
            "set_frustration": self.set_frustration,
            "spectral_gap": self.spectral_gap,
        }


def mirror_distances(
    a: Float[np.ndarray, "pair point 3"],
    b: Float[np.ndarray, "pair point 3"],
    weights: Float[np.ndarray, "pair point"] | None = None,
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    r"""Aligned squared distances of two shapes, as they are and with one of them mirrored.

        d^2 = min over proper R and translation of |A/|A| - B/|B| R^T|^2 = 2 - 2 (s1 + s2 +- s3 sign(det M)),

    with centred, unit-size shapes and the singular values of `M = A^T W B` in closed form: eigenvalues of
    `M^T M` by the trigonometric formula, and `sign(det) s3 = det M / (s1 s2)`, which keeps full relative
    accuracy where the shapes are nearly planar. Both lie in [0, 2]; a pair without size (all points in one
    place, or no weight in common) gives 2 and 2, that is, no evidence. `weights` count each point in the
    centroid, the size and M. Source: Umeyama, TPAMI 13(4), 1991 for the alignment.
    """
    w = np.ones(a.shape[:2]) if weights is None else weights
    total = np.maximum(w.sum(1), 1e-300)[:, None, None]
    a = a - np.einsum("np,npi->ni", w, a)[:, None] / total
    b = b - np.einsum("np,npi->ni", w, b)[:, None] / total
    size = np.sqrt(np.einsum("np,npi,npi->n", w, a, a) * np.einsum("np,npi,npi->n", w, b, b))
    m = (a * w[..., None]).mT @ b
    m = np.divide(m, size[:, None, None], out=np.zeros_like(m), where=size[:, None, None] > 0)
    k = m.mT @ m
    mean = np.trace(k, axis1=1, axis2=2) / 3
    k = k - mean[:, None, None] * np.eye(3)
    spread = np.sqrt(np.einsum("nij,nij->n", k, k) / 6)
    k = k / np.maximum(spread, 1e-300)[:, None, None]
    angle = np.arccos(np.clip(_det3(k) / 2, -1, 1)) / 3
    first = mean + 2 * spread * np.cos(angle)
    third = mean + 2 * spread * np.cos(angle + 2 * np.pi / 3)
    s1, s2 = np.sqrt(np.maximum([first, 3 * mean - first - third], 0))
    signed = _det3(m) / np.maximum(s1 * s2, 1e-300)
    signed = np.clip(signed, -s2, s2)  # of rank one: s1 s2 is rounding
    same, mirrored = 2 - 2 * (s1 + s2 + signed), 2 - 2 * (s1 + s2 - signed)
    return np.clip(same, 0, 2), np.clip(mirrored, 0, 2)


def _det3(m):
    """Determinants of 3x3 matrices, written out: an LU factorisation each costs ten times as much."""
    return np.einsum("ni,ni->n", m[:, 0], np.cross(m[:, 1], m[:, 2]))


def _pair_distances(shapes, weights, i, j):
    """`mirror_distances` of the frames i and j, a chunk of pairs at a time."""
    out = np.empty((2, len(i)))
    for start in range(0, len(i), _CHUNK):
        cut = slice(start, start + _CHUNK)
        w = None if weights is None else weights[i[cut]] * weights[j[cut]]
        out[:, cut] = mirror_distances(shapes[i[cut]], shapes[j[cut]], w)
    return out


def _evidence(same, mirrored, noise):
    """Evidence in [-1, 1] that a pair has the same hand: the clipped log ratio of the two squared distances.

    `noise` is the squared distance that pairs of the right relation typically have: differences below it say
    little. A pair that is far apart under both relations (a fast movement, a bad frame, a neighbour that is
    none) is discounted, to one half where its nearer relation exceeds the noise by `_REACH` times the noise.
    Planar and mirror-symmetric pairs have equal distances and no evidence at all.
    """
    evidence = np.clip(np.log((noise + mirrored) / (noise + same)) / _CERTAIN, -1, 1)
    excess = np.maximum(np.minimum(same, mirrored) - noise, 0)
    evidence *= _REACH * noise / (_REACH * noise + excess)
    return np.where(np.abs(evidence) < _NOTHING, 0.0, evidence)


def _margin(loss, flawless):
    """The margin of `MirrorResolution` from a loss of evidence and what flawless evidence would lose."""
    share = np.maximum(loss, 0) / np.maximum(flawless, 1e-300)
    return np.tanh(10 * np.where(flawless > 0, share, 0.0))


# --- along a clip ------------------------------------------------------------------------------------------


def _resolve_clip(shapes, weights, window):
    """Mask, margins, weakest cut and frustration of the frames of one clip in time order; and the evidence at the cut
    that speaks most against leaving all hands as they are, as a share of flawless evidence (negative: against)."""
    n = len(shapes)
    if n < 2:
        return np.zeros(n, bool), np.zeros(n), 0.0, 0.0, 0.0
    window = min(window, n - 1)
    distances = np.full((2, window, n), 2.0)
    for k in range(1, window + 1):
        later = np.arange(k, n)
        distances[:, k - 1, k:] = _pair_distances(shapes, weights, later, later - k)
    noise = max(float(np.median(distances[:, 0, 1:].min(0))), _FLOOR)
    room = _lag_weights(distances)
    links = room * _evidence(distances[0], distances[1], noise)
    mask, loss = solve_chain(links)
    held = held_links(links, np.where(mask, -1, 1))
    margin = _margin(loss, 2 * support(room))
    severed = _margin(cuts(held), cuts(room))
    # One frame at an end says little about the clip: cuts count from `window` frames on where there are more.
    inner = slice(window - 1, n - window) if n >= 2 * window else slice(None)
    total = np.abs(links).sum()
    frustration = np.abs(np.minimum(held, 0)).sum() / total if total > 0 else 0.0
    given = float((cuts(links) / np.maximum(cuts(room), 1e-300)).min())
    return mask, margin, float(severed[inner].min()), float(frustration), given


def _lag_weights(distances):
    r"""`(lag, frame)`: what flawless evidence would give each link, 0 where it would leave the clip.

        1 / k^2 / (1 + (10 m k^2 / a)^2)

    In a few frames a body moves out of its pose: a mirrored left step comes to look like the right step that
    follows, and the votes of all links of that length are wrong together. That begins where the movement in k
    frames, `m k^2` in squared distance, is not small against `a`, by how much mirrored neighbours are farther
    apart than right ones. `m` is read from the growth of the typical distance between lags 1 and 2, which the
    noise does not enter. So a slow or finely sampled clip uses its whole window, a fast one its neighbours.
    """
    lag, n = distances.shape[1:]
    k = np.arange(1, lag + 1)[:, None]
    weights = 1.0 / k**2
    if lag > 1:
        near = [float(np.median(distances[:, i, i + 1 :].min(0))) for i in (0, 1)]
        apart = float(np.median(distances[:, 0, 1:].max(0))) - near[0]
        movement = max(near[1] - near[0], 0.0) / 3
        weights = weights / (1 + (10 * movement * k**2 / max(apart, _FLOOR)) ** 2)
    return np.where(np.arange(n) >= k, weights, 0.0)


# --- over a set --------------------------------------------------------------------------------------------


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
    for start in range(0, len(shapes), _CHUNK // 8):
        cut = slice(start, start + _CHUNK // 8)
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


class _Votes(NamedTuple):
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


def _resolve_set(shapes, weights, group, mask) -> _Votes:
    """Join groups of frames, whose inner solution is `mask`, by the votes of nearest neighbours.

    A group that no vote ties to others is a component of its own.
    """
    n_groups = int(group.max()) + 1
    points = _descriptors(shapes, weights)
    chosen = _landmarks(group, n_groups)
    i, j = _neighbours(points, group, chosen, chosen)
    distances = _pair_distances(shapes, weights, i, j)
    # What a right pair is like is told by the nearest neighbour of each frame; the others may be far.
    nearest = np.full(len(shapes), np.inf)
    np.minimum.at(nearest, i, distances.min(0))
    noise = max(float(np.median(nearest[chosen])), _FLOOR)
    evidence = _evidence(distances[0], distances[1], noise) * np.where(mask[i] == mask[j], 1.0, -1.0)

    shape = (n_groups, n_groups)
    affinity = sparse.coo_matrix((evidence, (group[i], group[j])), shape).tocsr()
    affinity = ((affinity + affinity.T) / 2).tocsr()
    affinity.eliminate_zeros()
    present = np.zeros(n_groups, bool)
    present[group[chosen]] = True
    _, component = sparse.csgraph.connected_components(affinity, directed=False)
    turn, gap = np.zeros(n_groups, bool), 1.0
    for members in _split(component, present):
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
        same, mirrored = _pair_distances(shapes, weights, i2, j2)
        vote = _evidence(same, mirrored, noise) * np.where(mask[i2] == mask[j2], 1.0, -1.0)
        total = np.bincount(group[i2], vote * sign[group[j2]], n_groups)
        voted, vote_of = np.unique(group[i2], return_index=True)
        missing = ~present
        turn[missing] = total[missing] < 0
        gained[missing] = np.abs(total[missing])
        count[missing] = np.bincount(group[i2], minlength=n_groups)[missing]
        component[voted] = component[group[j2[vote_of]]]
    margin = _margin(gained, count)
    weight = np.abs(evidence).sum()
    agreement = float(agree.sum() / max(len(i), 1))
    frustration = float(np.abs(np.minimum(agree, 0)).sum() / weight) if weight > 0 else 0.0
    return _Votes(turn, margin, component, agreement, frustration, gap)


def _split(component, present):
    """The members of each component, of those nodes that are present."""
    nodes = np.flatnonzero(present)
    nodes = nodes[np.argsort(component[nodes], kind="stable")]
    return np.split(nodes, np.flatnonzero(np.diff(component[nodes])) + 1)


# --- both --------------------------------------------------------------------------------------------------


def resolve_mirrors(
    shapes: Array | np.ndarray,
    sequence: Array | np.ndarray | None = None,
    weights: Array | np.ndarray | None = None,
    window: int = 6,
    join: bool = True,
) -> MirrorResolution:
    r"""Which frames to mirror so that the reconstruction has one hand.

    `shapes (frame, point, 3)`, in any rotation, scale and translation of each frame: object-frame or
    camera-frame, cameras may be random. `sequence (frame,)`: clip ids; the frames of a clip are in time order
    (they need not be contiguous). `weights (frame, point)` >= 0: points that count (all where absent; a
    reconstruction knows its hidden points too).

    *In a clip*, every pair up to `window` frames apart votes by its aligned distances (`mirror_distances`):
    the log ratio of the two, against the distance that neighbours of this clip typically have, clipped and
    discounted so that neither a fast movement nor a bad frame dominates. Planar or mirror-symmetric shapes
    have no vote. Longer links bridge bad frames; they count less, and the less the faster the clip moves. The
    labelling with the most agreeing votes is found exactly (`solve_chain`).

    *Between clips*, each of which has one free mirror, and for frames without a clip, nearest neighbours
    over the set vote (`synchronize_signs`). These votes do not change a relation inside a clip: a body
    that is nearly left-right symmetric looks, mirrored at the left step, like itself at the right step,
    so over a set the nearest neighbour can be a mirror image where continuity in time is right. They are
    dropped where a fifth of them is overruled: clips then keep a hand of their own each (`component`),
    lone frames are not flipped and have margin 0. With one exception: where they contradict each other,
    they agree on the hands as given, and time has little against those at any cut, nothing is flipped
    inside the clips: a network brings shapes of one hand, which one coin toss along a clip would spoil.
    The margin of a lone frame is that of turning it alone; it does not see that a whole part of the set
    may be turned against the rest (`set_frustration`, `spectral_gap` tell of that).

    `join=False` leaves clips and lone frames apart. Of two answers that mirror each other, the one that flips
    fewer frames is returned. Memory O(frames (window + points + 2^window)).

    Raises InputError: shapes that are not (frame, point, 3), fewer than four points (three are always
    planar), non-finite points of positive weight, lengths that do not match, a window outside 1..12.
    """
    x, w, groups = _checked(shapes, sequence, weights, window)
    n = len(x)
    if n == 0:
        empty = np.zeros(0)
        none = np.zeros(0, int)
        return MirrorResolution(np.zeros(0, bool), empty, "none", none, empty, empty, none, 0)
    clips = np.zeros(0, int)
    clip_margin = clip_frustration = given = np.zeros(0)
    mask, margin = np.zeros(n, bool), np.zeros(n)
    if groups is None:
        group = np.arange(n)
    else:
        clips, group = np.unique(groups, return_inverse=True)
        order = np.argsort(group, kind="stable")
        found = []
        for frames in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
            mask[frames], margin[frames], *rest = _resolve_clip(
                x[frames], None if w is None else w[frames], window
            )
            found.append(rest)
        clip_margin, clip_frustration, given = np.array(found).T
    size = np.bincount(group)
    lone = size[group] == 1
    in_time = bool(margin.max() > 0)

    component = group.copy()
    agreement = frustration = gap = 0.0
    by_set = False
    if join and len(size) > 1:
        votes = _resolve_set(x, w, group, mask)
        if mask.any() and len(given) and given.min() > -_TOSS and not votes.coherent:
            # A clip that was cut on next to no evidence makes its own votes contradict each other.
            as_given = _resolve_set(x, w, group, np.zeros(n, bool))
            if as_given.coherent:
                votes, mask = as_given, np.zeros(n, bool)
        turn, tie, part, agreement, frustration, gap = votes
        if votes.coherent:
            by_set = True
            mask = mask ^ turn[group]
            margin = np.where(lone, tie[group], margin)
            component = part[group]
        else:
            agreement = 0.0
    for frames in _split(component, np.ones(n, bool)):
        if 2 * mask[frames].sum() > len(frames):
            mask[frames] ^= True
    numbers, component = np.unique(component, return_inverse=True)
    method: Literal["sequence", "set", "none"] = "sequence" if in_time else "set" if by_set else "none"
    return MirrorResolution(
        mask, margin, method, clips, clip_margin, clip_frustration, component, len(numbers),
        agreement, frustration, gap,
    )  # fmt: skip


def _checked(shapes, sequence, weights, window):
    """The arguments as float64 arrays, points of no weight set to zero."""
    x = np.array(shapes, np.float64)
    if x.ndim != 3 or x.shape[2] != 3:
        raise InputError(f"resolve_mirrors: shapes are {x.shape}; give (frame, point, 3)")
    if x.shape[1] < 4:
        raise InputError(f"resolve_mirrors: {x.shape[1]} points; fewer than 4 are planar and have no hand")
    if not 1 <= window <= _MAX_WINDOW:
        raise InputError(f"resolve_mirrors: window is {window}; give 1 to {_MAX_WINDOW} frames")
    w = None
    if weights is not None:
        w = np.asarray(weights, np.float64)
        if w.shape != x.shape[:2] or not np.all(np.isfinite(w)) or np.any(w < 0):
            raise InputError(f"resolve_mirrors: weights are {w.shape}; give {x.shape[:2]} numbers >= 0")
        x = np.where(w[..., None] > 0, x, 0.0)
    bad = np.flatnonzero(~np.isfinite(x).all((1, 2)))
    if len(bad):
        raise InputError(
            f"resolve_mirrors: frame {bad[0]} has points that are not finite; give them weight 0"
        )
    groups = None
    if sequence is not None:
        groups = np.asarray(sequence)
        if groups.shape != x.shape[:1]:
            raise InputError(
                f"resolve_mirrors: sequence is {groups.shape}; give one clip id for each of {len(x)} frames"
            )
    return x, w, groups


def relabel(
    reconstruction: Reconstruction, window: int = 6, join: bool = True
) -> tuple[Reconstruction, MirrorResolution]:
    """The reconstruction with its frames mirrored to one hand, and how that was found (`resolve_mirrors`).

    Uses its `sequence`; fills `mirror` and `mirror_margin`. With a perspective camera there is no free
    mirror: do not call it there.
    """
    if reconstruction.cameras.model == "perspective":
        raise InputError("relabel: a perspective reconstruction has no free mirror; keep it as it is")
    found = resolve_mirrors(reconstruction.points3d, reconstruction.sequence, window=window, join=join)
    margin = found.margin.astype(np.float32)
    return reconstruction.flip(found.flip).replace(mirror=found.method, mirror_margin=margin), found
