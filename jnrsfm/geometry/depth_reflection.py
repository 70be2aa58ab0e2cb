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
from typing import Literal

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jnrsfm.errors import InputError
from jnrsfm.geometry.mirror_evidence import FLOOR, margin_of, pair_distances, pair_evidence
from jnrsfm.geometry.reflection_votes import resolve_set, split_components
from jnrsfm.linalg.sign_synchronization import cuts, held_links, solve_chain, support
from jnrsfm.types import Reconstruction

_MAX_WINDOW = 12  # 2^window states
_IMAGE = 0.1  # of a pair's vote: images of neighbouring frames err together
_TOSS = 0.06  # of flawless evidence at a cut (margin 0.5): time may be wrong about its side


@dataclasses.dataclass(frozen=True, eq=False)
class MirrorResolution:
    """What `resolve_mirrors` found.

    `flip (frame,)`: reflect these frames in depth and the set agrees (up to one reflection for each `component`).
    `margin (frame,)` in [0, 1]: how firmly the frame is tied to the others of its clip (of the set for frames
    without a clip). With `x` the loss of evidence when the frame is reflected and all others do their
    best, as a share of what flawless evidence would lose, it is `tanh(10 x)`: 0 is a coin toss, 0.3 wants a
    look, near 1 the frame stands on several times the evidence that sufficed in trials with known flips. It
    is no probability, and it cannot see that shapes are wrong in the same way in frame after frame.
    `method`: "sequence" (continuity in time), "set" (neighbours over the set) or "none" (no evidence, or
    evidence that contradicts itself: nothing is flipped).
    `clips (clip,)`: the clip ids; `clip_margin (clip,)`: the same figure for the weakest cut of the clip in
    time: at 0 its two sides may be reflections. `clip_frustration (clip,)`: share of the evidence inside the
    clip that the solution overrules.
    `component (frame,)`: frames with the same number agree. One number for all where the clips could
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


# --- along a clip ------------------------------------------------------------------------------------------


def _resolve_clip(shapes, weights, window, votes):
    """Mask, margins, weakest cut and frustration of the frames of one clip in time order; and the evidence at the cut
    that speaks most against leaving all frames as they are, as a share of flawless evidence (negative: against)."""
    n = len(shapes)
    if n < 2:
        return np.zeros(n, bool), np.zeros(n), 0.0, 0.0, 0.0
    window = min(window, n - 1)
    distances = np.full((2, window, n), 2.0)
    for k in range(1, window + 1):
        later = np.arange(k, n)
        distances[:, k - 1, k:] = pair_distances(shapes, weights, later, later - k)
    noise = max(float(np.median(distances[:, 0, 1:].min(0))), FLOOR)
    room = _lag_weights(distances)
    links = room * pair_evidence(distances[0], distances[1], noise)
    mask, loss = solve_chain(links, votes)
    held = held_links(links, np.where(mask, -1, 1))
    margin = margin_of(loss, 2 * support(room))
    severed = margin_of(cuts(held), cuts(room))
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
    apart than right ones. `m` is taken from the growth of the typical distance between lags 1 and 2, which the
    noise does not enter. So a slow or finely sampled clip uses its whole window, a fast one its neighbours.
    """
    lag, n = distances.shape[1:]
    k = np.arange(1, lag + 1)[:, None]
    weights = 1.0 / k**2
    if lag > 1:
        near = [float(np.median(distances[:, i, i + 1 :].min(0))) for i in (0, 1)]
        apart = float(np.median(distances[:, 0, 1:].max(0))) - near[0]
        movement = max(near[1] - near[0], 0.0) / 3
        weights = weights / (1 + (10 * movement * k**2 / max(apart, FLOOR)) ** 2)
    return np.where(np.arange(n) >= k, weights, 0.0)


# --- both --------------------------------------------------------------------------------------------------


def resolve_mirrors(
    shapes: Array | np.ndarray,
    sequence: Array | np.ndarray | None = None,
    weights: Array | np.ndarray | None = None,
    window: int = 6,
    join: bool = True,
    images: Array | np.ndarray | None = None,
) -> MirrorResolution:
    r"""Which frames to mirror so that the reconstruction has one depth reflection.

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
    dropped where a fifth of them is overruled: clips then keep a reflection of their own each (`component`),
    lone frames are not flipped and have margin 0. With one exception: where they contradict each other,
    they agree on the frames as given, and time has little against those at any cut, nothing is flipped
    inside the clips: a network brings shapes of one reflection, which one coin toss along a clip would spoil.
    The margin of a lone frame is that of reflecting it alone; it does not see that a whole part of the set
    may be reflected against the rest (`set_frustration`, `spectral_gap` tell of that).

    *Images.* Under perspective an image tells its reflection too, though not well from afar: `images (frame,)` in
    [-1, 1] (`image_votes`), above 0 for frames that fit their image better as they are. They count a tenth of a pair,
    since neighbouring images err together: a run of some ten frames outweighs a weak cut in time, no single image does.

    `join=False` leaves clips and lone frames apart. Of two answers that mirror each other, the one that the images
    prefer is returned, without images the one that flips fewer frames. Memory O(frames (window + points + 2^window)).

    Raises InputError: shapes that are not (frame, point, 3), fewer than four points (three are always
    planar), non-finite points of positive weight, lengths that do not match, a window outside 1..12, images that are
    not finite.
    """
    x, w, groups = _checked(shapes, sequence, weights, window)
    n = len(x)
    if images is not None:
        images = np.asarray(images, np.float64)
        if images.shape != (n,) or not np.isfinite(images).all():
            raise InputError(f"resolve_mirrors: images are {images.shape}; give {n} finite numbers")
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
                x[frames],
                None if w is None else w[frames],
                window,
                None if images is None else _IMAGE * images[frames],
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
        votes = resolve_set(x, w, group, mask)
        if mask.any() and len(given) and given.min() > -_TOSS and not votes.coherent:
            # A clip that was cut on next to no evidence makes its own votes contradict each other.
            as_given = resolve_set(x, w, group, np.zeros(n, bool))
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
    for frames in split_components(component, np.ones(n, bool)):
        # the one that flips fewer frames, or the one that the images prefer
        against = 2 * mask[frames].sum() - len(frames)
        if images is not None:
            against = (np.where(mask[frames], 1, -1) * images[frames]).sum() or against
        if against > 0:
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
        raise InputError(
            f"resolve_mirrors: {x.shape[1]} points; fewer than 4 are planar and equal their reflection"
        )
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
    """The reconstruction with its frames mirrored to agree, and how that was found (`resolve_mirrors`).

    Uses its `sequence`; fills `mirror` and `mirror_margin`. With a perspective camera there is no free
    mirror: do not call it there.
    """
    if reconstruction.cameras.model == "perspective":
        raise InputError("relabel: a perspective reconstruction has no free mirror; keep it as it is")
    found = resolve_mirrors(reconstruction.points3d, reconstruction.sequence, window=window, join=join)
    margin = found.margin.astype(np.float32)
    return reconstruction.flip(found.flip).replace(mirror=found.method, mirror_margin=margin), found
