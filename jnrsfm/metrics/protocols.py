"""The evaluation protocols of the literature, each by its name and with its gauge spelled out.

One number means little without its gauge: what is aligned before the distance is taken (translation, scale,
rotation, mirror) and whether once for a frame, a clip or the set. The same reconstruction can score 4 % under
one protocol and 53 % under another, so every number is reported with the protocol's name.

A protocol is a mergeable metric: `state = update(estimate, reference)` for any chunk of frames,
`merge(a, b)`, `compute(state)`. Chunks give the result of the whole, whatever their sizes.

Common to all: points where the reference's `valid3d` is False take no part, whatever is stored there;
frames with fewer than two valid points (or with all of them in one place) are not counted. The arithmetic is
NumPy float64 on the host.
"""

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.polar import align_frames, polar_factor
from jnrsfm.metrics import distances
from jnrsfm.metrics.matching import (
    MIRROR,
    camera_points,
    category_names,
    check_match,
    clip_names,
    matched,
    mirror_where,
    on_host,
    size_text,
)
from jnrsfm.types import Landmarks, Reconstruction

_FRAMES_AT_ONCE = 16384

State = dict[str, Any]  # group (category or clip; "" where there is none) -> sums over its frames


class Aligned(NamedTuple):
    """Shapes after a protocol's gauge is removed, float64; 0 at points that are not valid."""

    estimate: np.ndarray  # (frame, point, 3)
    reference: np.ndarray  # (frame, point, 3)
    valid: np.ndarray  # (frame, point) bool; no point of a frame that does not count

    @property
    def counted(self) -> np.ndarray:
        """`(frame,)` bool: the frames that enter the means."""
        return np.any(self.valid, axis=1)


class Protocol(abc.ABC):
    """A named evaluation: `align` removes its gauge, `update`, `merge` and `compute` make the numbers."""

    name: str
    gauge: str
    metrics: tuple[str, ...]

    @abc.abstractmethod
    def align(self, estimate: Reconstruction, reference: Reconstruction) -> Aligned:
        """Both shapes with the gauge of the protocol removed; alignments over a set or a clip are fitted
        to the frames given. Raises `InputError` where the two do not match."""

    @abc.abstractmethod
    def update(self, estimate: Reconstruction, reference: Reconstruction) -> State:
        """The state of a chunk of frames."""

    def merge(self, a: State, b: State) -> State:
        """The state of two disjoint chunks; neither is changed."""
        return {k: a[k] + b[k] if k in a and k in b else a.get(k, b.get(k)) for k in a | b}

    @abc.abstractmethod
    def compute(self, state: State) -> dict[str, float]:
        """`{metric: value}`. Raises `InputError` where no frame counts."""


def _sums(groups: np.ndarray, columns: Sequence[np.ndarray], counted: np.ndarray) -> State:
    """Per group: the number of counted frames, then the sum of each column over them."""
    table = np.stack([np.ones(len(counted)), *columns], 1)[counted]
    names = groups[counted]
    return {str(g): table[names == g].sum(0) for g in np.unique(names)}


def _means(state: State) -> np.ndarray:
    """`(group, column)` means over the frames of each group."""
    if not state:
        raise InputError(
            "no frame can be scored: none has two distinct points with known 3D; "
            "check `valid3d` of the reference"
        )
    table = np.stack(list(state.values()))
    return table[:, 1:] / table[:, :1]


class _ByFrame(Protocol):
    """A protocol whose numbers are means over frames, or over categories of means over frames."""

    by_category = False

    @abc.abstractmethod
    def _columns(self, shapes: Aligned) -> Sequence[np.ndarray]:
        """One `(frame,)` array for each of `metrics`."""

    def update(self, estimate: Reconstruction, reference: Reconstruction) -> State:
        shapes = self.align(estimate, reference)
        groups = category_names(reference) if self.by_category else np.full(len(shapes.valid), "")
        return _sums(groups, self._columns(shapes), shapes.counted)

    def compute(self, state: State) -> dict[str, float]:
        return dict(zip(self.metrics, _means(state).mean(0).tolist(), strict=True))


class Kong(_ByFrame):
    """`kong`: the evaluation of Deep NRSfM (Kong and Lucey, ICCV 2019).

    Gauge, for each frame: centred; rescaled to the reference's Frobenius norm (ratio of norms, not least
    squares); orthogonal alignment S U V^T, mirror allowed. Mean over frames of
    `normalized_error` = |S - S*|_F / |S*|_F and of `mpjpe` = mean point distance.
    Forgives: translation, scale, rotation and mirror of every frame on its own.
    """

    name = "kong"
    gauge = "each frame: centred, rescaled to the reference norm, rotated or mirrored onto the reference"
    metrics = ("normalized_error", "mpjpe")

    def align(self, estimate: Reconstruction, reference: Reconstruction) -> Aligned:
        """Every frame of the estimate rescaled, rotated or mirrored onto the reference."""
        s, g, valid = matched(estimate, reference)
        s = distances.match_size(s, g)
        return Aligned(align_frames(s, g, mirror=True), g, valid)

    def _columns(self, shapes: Aligned) -> Sequence[np.ndarray]:
        s, g, valid = shapes
        return distances.relative_error(s, g), distances.mean_distance(s, g, valid)


class FrameMirror(_ByFrame):
    """`frame-mirror`: camera-frame shapes, one mirror a frame (the habit of published tables).

    Gauge, for each frame: camera-frame shape, centred; the better of z and -z. No rotation, no scale fit.
    Mean over frames of `normalized_error` = |S - S*|_F / |S*|_F.
    """

    name = "frame-mirror"
    gauge = "each frame: camera frame, centred, the better of z and -z; no rotation, no scale fit"
    metrics = ("normalized_error",)

    def align(self, estimate: Reconstruction, reference: Reconstruction) -> Aligned:
        """Every frame of the estimate in the better of its two mirrors."""
        s, g, valid = matched(estimate, reference)
        flip = distances.relative_error(s * MIRROR, g) < distances.relative_error(s, g)
        return Aligned(mirror_where(s, flip), g, valid)

    def _columns(self, shapes: Aligned) -> Sequence[np.ndarray]:
        return (distances.relative_error(shapes.estimate, shapes.reference),)


class OneMirror(Protocol):
    """`one-mirror`: camera-frame shapes, one mirror a clip: what a user sees.

    Gauge: camera-frame shapes, centred in each frame; one choice of z or -z for each clip of the reference's
    `sequence` (one for the whole set where it has none), the one with the smaller mean error. No rotation,
    no scale fit. Mean over all frames of `normalized_error` = |S - S*|_F / |S*|_F; `handedness` is the
    fraction of frames for which the clip's choice is no worse than the other.
    """

    name = "one-mirror"
    gauge = "camera frame, centred each frame, one choice of z or -z for each clip; no rotation, no scale fit"
    metrics = ("normalized_error", "handedness")

    scaled = False

    def _matched(self, estimate: Reconstruction, reference: Reconstruction):
        s, g, valid = matched(estimate, reference)
        return distances.match_size(s, g) if self.scaled else s, g, valid

    def _errors(self, s: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return distances.relative_error(s, g), distances.relative_error(s * MIRROR, g)

    def align(self, estimate: Reconstruction, reference: Reconstruction) -> Aligned:
        """Every clip of the estimate in the better of its two mirrors."""
        s, g, valid = self._matched(estimate, reference)
        kept, flipped = self._errors(s, g)
        clips, counted = clip_names(reference), valid.any(1)
        flip = np.zeros(len(g), bool)
        for clip in np.unique(clips):
            inside = (clips == clip) & counted
            flip[clips == clip] = flipped[inside].sum() < kept[inside].sum()
        return Aligned(mirror_where(s, flip), g, valid)

    def update(self, estimate: Reconstruction, reference: Reconstruction) -> State:
        """Sums of both choices for each clip, and how many frames prefer each."""
        s, g, valid = self._matched(estimate, reference)
        kept, flipped = self._errors(s, g)
        # both choices are summed: which one serves a clip is known only when all of its chunks are merged
        return _sums(
            clip_names(reference), (kept, flipped, kept <= flipped, flipped <= kept), np.any(valid, axis=1)
        )

    def compute(self, state: State) -> dict[str, float]:
        """The better choice of each clip, over all of its chunks."""
        _means(state)
        error = agree = count = 0.0
        for n, kept, flipped, agree_kept, agree_flipped in state.values():
            count += n
            error += min(kept, flipped)
            agree += agree_kept if kept <= flipped else agree_flipped
        return {"normalized_error": float(error / count), "handedness": float(agree / count)}


class OneMirrorScaled(OneMirror):
    """`one-mirror-scaled`: as `one-mirror`, each frame of the estimate first rescaled to the reference's Frobenius
    norm: for weak-perspective and perspective fits, whose unit is free. Held against `deep-nrsfm++`, whose gauge is
    the same but for the mirror, it shows what the choice of one mirror a clip costs.
    """

    name = "one-mirror-scaled"
    gauge = (
        "camera frame, centred and rescaled to the reference norm each frame, one choice of z or -z for each clip; "
        "no rotation"
    )
    scaled = True


class Akhter(Protocol):
    """`akhter`: the classical sequences (Akhter et al., NIPS 2008; evaluation code of Dai et al., CVPR 2012).

    Gauge: shapes centred in each frame; **one** orthogonal matrix for the whole set (least-squares 3 x 3 map,
    then polar factor; determinant not forced, so one global mirror is forgiven); no scale fit. Mean over
    frames and points of the point distance, divided by the mean over the 3F rows of the standard deviation
    (population) of the reference's rows.
    `e3d`: object-frame shapes `points3d`; `e3d_camera`: camera-frame shapes (for sequences whose camera is
    the identity: walking, face); `rotation_error`: mean spectral norm of the difference of the 2 x 3 cameras
    after one orthogonal alignment, fitted to the cameras.
    The alignment needs every shape at once, so the state keeps the shapes: its size grows with the frames.
    `align` gives the object-frame shapes.
    """

    name = "akhter"
    gauge = "centred each frame, one orthogonal alignment (mirror forgiven) for the whole set, no scale fit"
    metrics = ("e3d", "e3d_camera", "rotation_error")

    def align(self, estimate: Reconstruction, reference: Reconstruction) -> Aligned:
        """The object-frame shapes of the estimate under the one orthogonal map."""
        s, g, valid = matched(estimate, reference, object_frame=True)
        return Aligned(self._one_alignment(s[valid], g[valid], s), g, valid)

    def update(self, estimate: Reconstruction, reference: Reconstruction) -> State:
        """The valid points of both, their deviations, and the cameras."""
        state: State = {}
        for frame in ("object", "camera"):
            s, g, valid = matched(estimate, reference, object_frame=frame == "object")
            counted = valid.any(1)
            n = np.maximum(valid.sum(1), 1)[:, None]
            deviation = np.sqrt((g**2).sum(1) / n)[counted]  # rows are centred, so this is their deviation
            state[frame] = [(s[valid], g[valid], deviation)]
        r, q = (np.asarray(x.rotations, float)[counted, :2] for x in (estimate, reference))
        state["cameras"] = [(r, q)]
        return state

    def compute(self, state: State) -> dict[str, float]:
        """Fit the one alignment of each metric, then average."""
        out = {}
        for name, frame in (("e3d", "object"), ("e3d_camera", "camera")):
            s, g, deviation = (np.concatenate(parts) for parts in zip(*state[frame], strict=True))
            if not len(s):
                _means({})
            out[name] = float(
                np.linalg.norm(self._one_alignment(s, g, s) - g, axis=-1).mean() / deviation.mean()
            )
        r, q = (np.concatenate(parts) for parts in zip(*state["cameras"], strict=True))
        turn = polar_factor(np.einsum("fki,fkj->ij", r, q))
        out["rotation_error"] = float(np.linalg.norm(r @ turn - q, ord=2, axis=(1, 2)).mean())
        return out

    @staticmethod
    def _one_alignment(s: np.ndarray, g: np.ndarray, moved: np.ndarray) -> np.ndarray:
        return moved @ polar_factor(np.linalg.lstsq(s, g, rcond=None)[0])


class C3dpo(_ByFrame):
    """`c3dpo`: the evaluation of C3DPO on Pascal3D+ and UP3D (Novotny et al., ICCV 2019).

    Gauge, for each sample: camera-frame shape; the mean depth of the valid points subtracted from both; the
    better of z and -z for `mpjpe`; no scale fit, no rotation, x and y compared where they are. `stress`
    (see `distances.stress`) without scale fit. Means over the samples of each category (the reference's
    `category`), then the mean over categories. Units of the reference.

    `centre="xyz"` removes the mean of x and y too; `root=i` subtracts point i instead of a mean (the
    authors' choice for Human3.6M: the hip) and ignores `centre`; samples whose root is not valid do not
    count. The authors overwrite the visible x and y of the estimate by the input before scoring: pass the
    estimate through `overwrite_visible_xy` for the same.
    """

    name = "c3dpo"
    gauge = (
        "each sample: camera frame, mean depth subtracted, the better of z and -z; no scale fit, "
        "no rotation; means by category, then over categories"
    )
    metrics = ("mpjpe", "stress")
    by_category = True

    def __init__(self, centre: str = "z", root: int | None = None):
        if centre not in ("z", "xyz"):
            raise InputError(f"c3dpo: centre must be 'z' or 'xyz', not {centre!r}")
        self.centre, self.root = centre, root

    def align(self, estimate: Reconstruction, reference: Reconstruction) -> Aligned:
        """Every sample in the better of its two mirrors, depths centred."""
        s, g, valid = matched(estimate, reference, centre="" if self.root is not None else self.centre)
        if self.root is not None:
            if not 0 <= self.root < valid.shape[1]:
                raise InputError(f"c3dpo: root {self.root} is no point of a shape of {valid.shape[1]} points")
            valid = valid & valid[:, self.root, None]
            s, g = (np.where(valid[..., None], x - x[:, self.root, None], 0.0) for x in (s, g))
        flip = distances.mean_distance(s * MIRROR, g, valid) < distances.mean_distance(s, g, valid)
        return Aligned(mirror_where(s, flip), g, valid)

    def _columns(self, shapes: Aligned) -> Sequence[np.ndarray]:
        return distances.mean_distance(*shapes), distances.stress(*shapes)


class DeepNrsfmPP(_ByFrame):
    """`deep-nrsfm++`: the evaluation of Deep NRSfM++ (Wang et al., "Evaluation metrics").

    Gauge, for each sample: camera-frame shape, centred; rescaled to the reference's Frobenius norm (ratio of
    norms); the one of z and -z with the smaller mean point distance, for all metrics but `pa_mpjpe`.
    `mpjpe`: mean point distance. `pa_mpjpe`: the same after a rigid alignment (rotation, det +1, no further
    scale) of the shape or of its mirror, whichever is nearer. `stress`: see `distances.stress`.
    `normalized_error`: |S - S*|_F / |S*|_F (the paper's Table 2 on motion capture is the `kong` number).
    Means over the samples of each category, then over categories where the reference has them; units of the
    reference. The paper does not print how the scale is matched, nor whether the mirror is tried for
    PA-MPJPE; that is how we understand it.
    """

    name = "deep-nrsfm++"
    gauge = (
        "each sample: camera frame, centred, rescaled to the reference norm, the better of z and -z; "
        "means by category, then over categories"
    )
    metrics = ("mpjpe", "pa_mpjpe", "stress", "normalized_error")
    by_category = True

    def align(self, estimate: Reconstruction, reference: Reconstruction) -> Aligned:
        """Every sample rescaled, in the better of its two mirrors."""
        s, g, valid = matched(estimate, reference)
        s = distances.match_size(s, g)
        flip = distances.mean_distance(s * MIRROR, g, valid) < distances.mean_distance(s, g, valid)
        return Aligned(mirror_where(s, flip), g, valid)

    def _columns(self, shapes: Aligned) -> Sequence[np.ndarray]:
        s, g, valid = shapes
        rigid = [distances.mean_distance(align_frames(x, g, mirror=False), g, valid) for x in (s, s * MIRROR)]
        return (
            distances.mean_distance(s, g, valid),
            np.minimum(*rigid),
            distances.stress(s, g, valid),
            distances.relative_error(s, g),
        )


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (Kong(), FrameMirror(), OneMirror(), OneMirrorScaled(), Akhter(), C3dpo(), DeepNrsfmPP())
}
"""Every protocol by name, with its default settings."""


def protocol(name: str | Protocol) -> Protocol:
    """A protocol by name; an instance is returned as it is. Raises `InputError` that lists the names."""
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def evaluate(
    estimate: Reconstruction,
    reference: Reconstruction,
    protocols: Sequence[str | Protocol] | None = None,
) -> dict[str, dict[str, float]]:
    """Score a reconstruction against a reference: `{protocol: {metric: value}}`.

    `protocols`: names of `PROTOCOLS` or instances with other settings; all of `PROTOCOLS` by default. Errors
    named `normalized_error` and `e3d` are fractions; `mpjpe`, `pa_mpjpe` and `stress` are in the units of the
    reference. Long sets are scored in chunks of frames.
    Raises `InputError` for an unknown protocol, shapes that do not match, values that are not finite at
    valid points, and a reference without any scorable frame.

    >>> from jnrsfm import datasets
    >>> _, truth = datasets.make("walker", frames=6, clips=1, camera="orthographic")
    >>> reflected = truth.flip([True] * 6)  # the same images
    >>> scores = evaluate(reflected, truth, ["kong", "one-mirror"])
    >>> {name: round(s["normalized_error"], 3) for name, s in scores.items()}
    {'kong': 0.0, 'one-mirror': 0.0}
    >>> evaluate(truth, truth.flip([True, False] * 3), ["one-mirror"])["one-mirror"]["handedness"]
    0.5
    """
    chosen = [protocol(name) for name in (PROTOCOLS if protocols is None else protocols)]
    check_match(estimate, reference)
    estimate, reference = on_host(estimate), on_host(reference)
    out = {}
    for p in chosen:
        state: State = {}
        for start in range(0, reference.n_frames, _FRAMES_AT_ONCE):
            part = slice(start, start + _FRAMES_AT_ONCE)
            state = p.merge(state, p.update(estimate.select(part), reference.select(part)))
        out[p.name] = p.compute(state)
    return out


def evaluate_by_category(
    estimate: Reconstruction, reference: Reconstruction, protocols: Sequence[str | Protocol] | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """`{category: {protocol: {metric: value}}}`: `evaluate` on each category of the reference."""
    check_match(estimate, reference)
    names = category_names(reference)
    estimate, reference = on_host(estimate), on_host(reference)
    return {
        str(name): evaluate(estimate.select(names == name), reference.select(names == name), protocols)
        for name in np.unique(names)
    }


def overwrite_visible_xy(estimate: Reconstruction, landmarks: Landmarks) -> Reconstruction:
    """The camera-frame shape with x and y of every visible point replaced by the input, for `c3dpo`.

    What C3DPO's evaluation does before scoring, so that its numbers measure mostly depth. The result is in
    the camera frame (identity cameras). Raises `InputError` for a perspective camera, whose image coordinates
    are no camera coordinates, and for shapes that do not match.
    """
    if estimate.cameras.model == "perspective":
        raise InputError("x and y can be overwritten by the input only under an orthographic camera")
    if estimate.points3d.shape[:2] != landmarks.points2d.shape[:2]:
        raise InputError(
            f"reconstruction has {size_text(estimate.points3d)}, the landmarks have {size_text(landmarks.points2d)}"
        )
    points = camera_points(estimate)
    seen = np.asarray(landmarks.visible, bool)[..., None]
    points[..., :2] = np.where(seen, np.asarray(landmarks.points2d, float), points[..., :2])
    identity = np.broadcast_to(np.eye(3), (len(points), 3, 3))
    cameras = estimate.cameras.replace(rotations=identity, scale=None, translations=None)
    return estimate.replace(points3d=points, cameras=cameras)
