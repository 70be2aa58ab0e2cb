"""What page and still picture show, worked out once in NumPy: a `Scene`."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, UInt8

from jnrsfm.errors import InputError
from jnrsfm.geometry import guess_links
from jnrsfm.report.contents import Contents, input_of
from jnrsfm.report.links import pairs_from_names
from jnrsfm.report.steady import steady_rotations, upright
from jnrsfm.types import Landmarks, Reconstruction

UNDEFINED, HIDDEN, SEEN = 0, 1, 2  # the values of `Scene.state`

# A page of some megabytes is the most that one sends by mail; 1500 frames are a minute of video.
MAX_FRAMES = 1500
MAX_POINT_FRAMES = 400_000
# Median turn from frame to frame, in degrees, above which a camera-frame animation is hard to watch.
CALM_DEGREES = 4.0
# The same, above which frames are taken for a loose set of pictures where nothing says that they are a video.
VIDEO_DEGREES = 20.0


@dataclasses.dataclass(frozen=True)
class Scene:
    """The frames that are shown.

    `frames` their numbers in the input (of `total`). `shape` is centred, in camera orientation (x right,
    y down, z away), in object units with the camera's scale taken out; `steady @ shape` and
    `world @ shape` are the other two views. `state` is UNDEFINED (not drawn), HIDDEN or SEEN.
    `observed` is NaN where not seen. `reference` is in the same frame, units and, clip by clip, depth reflection as
    `shape`, NaN where unknown; `flipped` names the clips whose reference had to be reflected in depth.
    `error2d` per frame: RMS residual over the longer side of the seen points' box; `error3d`: over the RMS
    radius of the reference.
    """

    frames: Int[np.ndarray, " frame"]
    total: int
    shape: Float[np.ndarray, "frame point 3"]
    state: UInt8[np.ndarray, "frame point"]
    observed: Float[np.ndarray, "frame point 2"]
    reprojected: Float[np.ndarray, "frame point 2"]
    steady: Float[np.ndarray, "frame 3 3"]
    world: Float[np.ndarray, "frame 3 3"]
    edges: Int[np.ndarray, "edge 2"]
    guessed: bool
    pairs: Int[np.ndarray, "pair 2"]
    guessed_pairs: bool
    names: tuple[str, ...]
    clip: Int[np.ndarray, " frame"]
    clips: tuple[int, ...]
    category: tuple[str, ...] | None
    ordered: bool
    fps: float | None
    stride: int
    model: str
    mirror: str
    margin: Float[np.ndarray, " frame"] | None
    score: Float[np.ndarray, "frame point"] | None
    error2d: Float[np.ndarray, " frame"]
    turn: float
    up_from: str
    reference: Float[np.ndarray, "frame point 3"] | None = None
    error3d: Float[np.ndarray, " frame"] | None = None
    flipped: tuple[int, ...] = ()

    @property
    def start_view(self) -> str:
        """`"camera"` where the camera turns calmly, else `"steady"`."""
        return "camera" if self.ordered and self.turn <= CALM_DEGREES else "steady"

    @property
    def radius(self) -> float:
        """Distance from the centre within which nearly all points of all frames lie."""
        norm = np.linalg.norm(self.shape, axis=-1)[self.state != UNDEFINED]
        return float(max(np.percentile(norm, 98.0), 1e-12)) if norm.size else 1.0


def _check(landmarks: Landmarks, other: Reconstruction, what: str) -> None:
    if other.points3d.shape[:2] != landmarks.points2d.shape[:2]:
        f, p = other.points3d.shape[:2]
        raise InputError(
            f"report: the {what} has {f} frames x {p} points, the landmarks have {landmarks.n_frames} x "
            f"{landmarks.n_points}; give the {what} of these landmarks"
        )


def pick_frames(
    sequence: Int[np.ndarray, " frame"], points: int, limit: int | None = None
) -> tuple[Int[np.ndarray, " kept"], int]:
    """Every k-th frame of each clip (its first included), k the least that keeps within the page's limits.

    Returns the frames and k. More clips than the limit allows are thinned evenly.
    """
    limit = limit or max(2, min(MAX_FRAMES, MAX_POINT_FRAMES // max(points, 1)))
    total = len(sequence)
    stride = 1
    starts = np.flatnonzero(np.r_[True, np.diff(sequence) != 0])
    within = np.arange(total) - np.repeat(starts, np.diff(np.r_[starts, total]))
    while np.count_nonzero(within % stride == 0) > limit and stride < total:
        stride += 1
    kept = np.flatnonzero(within % stride == 0)
    if len(kept) > limit:
        kept = kept[np.linspace(0, len(kept) - 1, limit).astype(int)]
    return kept, stride


def _error(residual: np.ndarray, points: np.ndarray, mask: np.ndarray, box: bool) -> np.ndarray:
    """`(frame,)` RMS of `residual` over the size of `points`, where `mask`; NaN where there is no size.

    The size is the longer side of the points' box, as in the quality report, or their RMS radius, which makes
    the 3D error |S - S*|_F / |S*|_F, as in the protocols.
    """
    count = np.maximum(mask.sum(1), 1)
    error = np.sqrt((np.where(mask[..., None], residual, 0.0) ** 2).sum((1, 2)) / count)
    if box:
        low = np.where(mask[..., None], points, np.inf).min(1)
        high = np.where(mask[..., None], points, -np.inf).max(1)
        size = np.maximum(high - low, 0.0).max(1)
    else:
        centred = np.where(mask[..., None], _centre(np.where(mask[..., None], points, 0.0), mask), 0.0)
        size = np.sqrt((centred**2).sum((1, 2)) / count)
    return np.where((size > 0) & mask.any(1), error / np.where(size > 0, size, 1.0), np.nan)


def _camera_shape(record: Reconstruction) -> np.ndarray:
    """`R @ x`: object units in camera orientation, neither scaled nor moved."""
    x = np.asarray(record.points3d, np.float64)
    return np.einsum("fpj,fij->fpi", x, np.asarray(record.cameras.rotations, np.float64))


def _centre(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`x` minus its mean over the points in `mask`."""
    count = np.maximum(mask.sum(1), 1)[:, None, None]
    return x - np.where(mask[..., None], x, 0.0).sum(1, keepdims=True) / count


def _fit_reference(shape, drawn, reference: Reconstruction, clip, free_mirror: bool):
    """The reference in the reconstruction's camera frame: one scale for all, one depth sign a clip."""
    g = _camera_shape(reference)
    known = drawn & np.isfinite(g).all(-1)
    if reference.valid3d is not None:
        known &= np.asarray(reference.valid3d, bool)
    g = np.where(known[..., None], g, 0.0)
    x = np.where(known[..., None], _centre(shape, known), 0.0)
    g = np.where(known[..., None], _centre(g, known), 0.0)
    flipped = []
    cross = (x * g).sum(1)
    if free_mirror:
        flipped = [int(c) for c in np.unique(clip) if cross[clip == c, 2].sum() < 0]
        g[np.isin(clip, flipped), :, 2] *= -1
        # a frame whose reflection is wrong still tells the size, so it must not shrink the others' reference
        cross[:, 2] = np.abs(cross[:, 2])
    scale = cross.sum() / max((g * g).sum(), 1e-300)
    g *= scale if scale > 0 else 1.0
    error = _error(x - g, g, known, box=False)
    # back to where the reconstruction's own centre is, which hidden or unknown points shift
    offset = np.where(known[..., None], shape, 0.0).sum(1, keepdims=True)
    offset = offset / np.maximum(known.sum(1), 1)[:, None, None]
    return np.where(known[..., None], g + offset, np.nan), error, tuple(flipped)


def build_scene(
    landmarks: Landmarks, reconstruction: Reconstruction, reference: Reconstruction | None = None
) -> Scene:
    """The `Scene` of a reconstruction.

    Raises `InputError` where there is no frame or point, or where frames and points do not agree.
    """
    if landmarks.n_frames == 0 or landmarks.n_points == 0:
        raise InputError(
            f"report: nothing to show, the landmarks have {landmarks.n_frames} frames x "
            f"{landmarks.n_points} points"
        )
    _check(landmarks, reconstruction, "reconstruction")
    if reference is not None:
        _check(landmarks, reference, "reference")
    total, points = landmarks.n_frames, landmarks.n_points
    sequence = landmarks.sequence if landmarks.sequence is not None else reconstruction.sequence
    clip = np.zeros(total, int) if sequence is None else np.asarray(sequence).astype(int)
    frames, stride = pick_frames(clip, points)
    landmarks, reconstruction = landmarks.select(frames), reconstruction.select(frames)
    clip = clip[frames]

    shape = _camera_shape(reconstruction)
    image = np.asarray(reconstruction.points2d, np.float64)
    seen = np.asarray(landmarks.visible, bool)
    drawn = np.isfinite(shape).all(-1)
    if landmarks.defined is not None:
        drawn &= np.asarray(landmarks.defined, bool)
    shape = np.where(drawn[..., None], _centre(shape, drawn), 0.0)
    state = np.where(drawn, np.where(seen, SEEN, HIDDEN), UNDEFINED).astype(np.uint8)

    observed = np.where(seen[..., None], np.asarray(landmarks.points2d, np.float64), np.nan)
    image = np.where(drawn[..., None] & np.isfinite(image), image, np.nan)
    both = seen & np.isfinite(image).all(-1) & np.isfinite(observed).all(-1)
    residual = np.where(both[..., None], observed - image, 0.0)
    if reconstruction.cameras.translations is None and reconstruction.cameras.model != "perspective":
        # a method that works on centred points need not say where they were: show them there
        shift = residual.sum(1, keepdims=True) / np.maximum(both.sum(1), 1)[:, None, None]
        image, residual = image + shift, residual - shift
    error2d = _error(residual, observed, both, box=True)

    category, labels = None, landmarks.categories or reconstruction.categories
    number = landmarks.category if landmarks.category is not None else reconstruction.category
    if number is not None:
        number = np.asarray(number).astype(int)
        category = tuple(labels[i] if labels and 0 <= i < len(labels) else f"class {i}" for i in number)
    names = landmarks.names or reconstruction.names
    pairs = landmarks.symmetric if landmarks.symmetric is not None else reconstruction.symmetric
    guessed_pairs = pairs is None
    pairs = pairs_from_names(names) if pairs is None else np.asarray(pairs).reshape(-1, 2)
    edges = landmarks.edges if landmarks.edges is not None else reconstruction.edges
    guessed = edges is None
    edges = guess_links(shape, drawn) if edges is None else np.asarray(edges).reshape(-1, 2)

    steady, mean = steady_rotations(shape, drawn, number)
    stand, up_from = upright(mean, steady, names, pairs)
    same = np.diff(clip) == 0
    cosine = (np.einsum("fij,fij->f", steady[1:], steady[:-1]) - 1.0) / 2.0
    turns = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))[same]
    turn = float(np.median(turns)) if turns.size else 0.0
    ordered = sequence is not None or landmarks.fps is not None or (turns.size > 0 and turn < VIDEO_DEGREES)
    world = np.swapaxes(np.asarray(reconstruction.cameras.rotations, np.float64), 1, 2)

    score, margin = reconstruction.uncertainty, reconstruction.mirror_margin
    scene = Scene(
        frames=frames, total=total, shape=shape, state=state, observed=observed, reprojected=image,
        steady=stand @ steady, world=world, edges=edges.astype(np.int32), guessed=guessed,
        pairs=pairs.astype(np.int32), guessed_pairs=guessed_pairs,
        names=tuple(names or (f"point {i}" for i in range(points))),
        clip=clip, clips=tuple(int(c) for c in dict.fromkeys(clip.tolist())), category=category,
        ordered=ordered, fps=None if landmarks.fps is None else float(landmarks.fps), stride=stride,
        model=reconstruction.cameras.model, mirror=reconstruction.mirror,
        margin=None if margin is None else np.asarray(margin, np.float64),
        score=None if score is None else np.asarray(score, np.float64), error2d=error2d,
        turn=turn, up_from=up_from,
    )  # fmt: skip
    if reference is None:
        return scene
    fitted, error3d, flipped = _fit_reference(
        shape, drawn, reference.select(frames), clip, scene.model != "perspective"
    )
    return dataclasses.replace(scene, reference=fitted, error3d=error3d, flipped=flipped)


def scene_of(contents: Contents) -> Scene:
    """The scene of what a report shows, for results that are reconstructions of points."""
    assert isinstance(contents.result, Reconstruction)
    return build_scene(input_of(contents), contents.result, contents.reference)
