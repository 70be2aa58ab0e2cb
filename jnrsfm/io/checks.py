"""Whether landmarks are sound, and whether they suffice for a camera model.

`check_landmarks(landmarks)` looks at the structure, as every reader does; with a camera it also looks at
what a fit needs. Each refusal is one `InputError` line.
"""

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.fields import LARGEST, check_intrinsics, check_pairs, frames_text
from jnrsfm.types import CAMERA_MODELS, Landmarks

# Three image points fix a (weak-)orthographic camera on a known shape up to the depth reflection; with three
# the perspective pose has up to four answers, with four it has one. Three landmarks in all are always
# coplanar, so there is no shape to find.
MIN_VISIBLE = {"orthographic": 3, "weak-perspective": 3, "perspective": 4}
MIN_POINTS = 4
MIN_FRAMES = 2

_CHUNK = 1 << 16  # frames handled at once in double precision
_FLAT = 1e-5  # second to first singular value of points on one line; above float32 rounding


def check_landmarks(
    landmarks: Landmarks, camera: str | None = None, where: str = "landmarks", min_frames: int = MIN_FRAMES
) -> None:
    """Raise InputError where landmarks are unsound or, given a `camera` model, do not suffice for a fit.

    Structure: shapes, real numbers, visible points finite and below 1e15, `visible` within `defined`,
    confidence in [0, 1], point pairs and codes in range, one name for each point, sound intrinsics.
    With `camera`: at least `min_frames` frames (2; 1 for lifting) and 4 points; in every frame at least 3
    visible points (perspective: 4) that do not all coincide; no two landmarks that are the same in every
    frame; not all frames on a line; intrinsics for perspective. `drop_empty` removes the frames that fail.
    """
    _check_structure(landmarks, where)
    if camera is None:
        return
    if camera not in MIN_VISIBLE:
        raise InputError(f"{where}: camera {camera!r} is unknown: use one of {', '.join(CAMERA_MODELS)}")
    if camera == "perspective" and landmarks.intrinsics is None:
        raise InputError(
            f"{where}: perspective needs key 'intrinsics' (3, 3): add it, or choose camera weak-perspective"
        )
    n_frames, n_points = landmarks.n_frames, landmarks.n_points
    if n_frames < min_frames:
        raise InputError(f"{where}: has {n_frames} frame, at least {min_frames} are needed: give more frames")
    if n_points < MIN_POINTS:
        raise InputError(
            f"{where}: has {n_points} points, at least {MIN_POINTS} are needed: three are always flat"
        )
    visible = np.asarray(landmarks.visible)
    count = visible.sum(1)
    mend = "leave them out (--drop-empty; in Python jnrsfm.io.drop_empty) or fill them in"
    if (count == 0).any():
        raise InputError(f"{where}: {frames_text(count == 0)}: all points are missing: {mend}")
    few = count < MIN_VISIBLE[camera]
    if few.any():
        least = MIN_VISIBLE[camera]
        raise InputError(f"{where}: {frames_text(few)}: fewer than {least} visible points ({camera}): {mend}")
    size, flatness = _extent(np.asarray(landmarks.points2d), visible)
    if _is_zero(size).any():
        raise InputError(f"{where}: {frames_text(_is_zero(size))}: all visible points coincide: {mend}")
    if (flatness <= _FLAT).all():
        raise InputError(
            f"{where}: the points lie on one line in every frame: no 3D can come of it, check the columns"
        )
    pair = _duplicates(np.asarray(landmarks.points2d), visible)
    if pair is not None:
        named = (
            ""
            if landmarks.names is None
            else f" ({landmarks.names[pair[0]]!r} and {landmarks.names[pair[1]]!r})"
        )
        raise InputError(
            f"{where}: points {pair[0]} and {pair[1]}{named} are the same in every frame: remove one of them"
        )


def usable_frames(landmarks: Landmarks, camera: str = "orthographic") -> np.ndarray:
    """`(frame,)` bool: enough visible points for the camera model, and they do not all coincide."""
    visible = np.asarray(landmarks.visible)
    size, _ = _extent(np.asarray(landmarks.points2d), visible)
    return (visible.sum(1) >= MIN_VISIBLE[camera]) & ~_is_zero(size)


def drop_empty(landmarks: Landmarks, camera: str = "orthographic") -> tuple[Landmarks, np.ndarray]:
    """The landmarks without the frames that a fit refuses, and the indices of the frames kept.

    Dropping is never silent: a clip then steps over the dropped frames, and a reference must be cut
    alike (`reference.select(kept)`). The numbers of the frames kept are in `frame_index`. Raises InputError where no
    frame is left.
    """
    kept = np.flatnonzero(usable_frames(landmarks, camera))
    if not len(kept):
        least = MIN_VISIBLE[camera]
        raise InputError(f"landmarks: no frame has {least} visible points ({camera}): check the file's gaps")
    if landmarks.frame_index is None:
        landmarks = landmarks.replace(frame_index=np.arange(landmarks.n_frames, dtype=np.int32))
    return landmarks.select(kept), kept


def _check_structure(landmarks: Landmarks, where: str) -> None:
    points = np.asarray(landmarks.points2d)
    if points.ndim != 3 or points.shape[-1] != 2:
        raise InputError(f"{where}: points2d has shape {points.shape}, expected (frame, point, 2)")
    if points.dtype.kind not in "fiu":
        raise InputError(f"{where}: points2d holds {points.dtype}, expected real numbers")
    if 0 in points.shape:
        raise InputError(
            f"{where}: points2d is empty, shape {points.shape}: give at least one frame and one point"
        )
    n_frames, n_points = points.shape[:2]
    masks = {}
    for key in ("visible", "defined", "confidence"):
        value = getattr(landmarks, key)
        if value is None:
            continue
        masks[key] = value = np.asarray(value)
        if value.shape != (n_frames, n_points):
            raise InputError(
                f"{where}: {key} has shape {value.shape}, but points2d says ({n_frames}, {n_points})"
            )
        if key != "confidence" and value.dtype != bool:
            raise InputError(
                f"{where}: {key} holds {value.dtype}, expected booleans: compare with a threshold"
            )
    if "visible" not in masks:
        raise InputError(f"{where}: visible is absent: give ~np.isnan(points2d).any(-1)")
    visible = masks["visible"]
    with np.errstate(invalid="ignore"):
        bad = visible & ~(np.abs(points) <= LARGEST).all(-1)
    if bad.any():
        frame, point = np.argwhere(bad)[0]
        raise InputError(
            f"{where}: frame {frame}, point {point}: visible but {points[frame, point]}: mark it missing"
        )
    if "defined" in masks and (visible & ~masks["defined"]).any():
        frame, point = np.argwhere(visible & ~masks["defined"])[0]
        raise InputError(
            f"{where}: frame {frame}, point {point}: visible but not defined: mend one of the masks"
        )
    if "confidence" in masks:
        c = masks["confidence"][visible]
        if c.dtype.kind not in "fiu" or not ((c >= 0) & (c <= 1)).all():
            raise InputError(f"{where}: confidence of visible points must be numbers in [0, 1]: rescale it")
    for key in ("edges", "symmetric"):
        pairs = getattr(landmarks, key)
        if pairs is None:
            continue
        pairs = np.asarray(pairs)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise InputError(f"{where}: {key} has shape {pairs.shape}, expected whole numbers (n, 2)")
        check_pairs(pairs, n_points, where, key)
    if landmarks.names is not None and len(landmarks.names) != n_points:
        raise InputError(
            f"{where}: {len(landmarks.names)} names for {n_points} points: give one for each point"
        )
    for key in ("sequence", "category"):
        value = getattr(landmarks, key)
        if value is not None and (np.shape(value) != (n_frames,) or np.asarray(value).dtype.kind not in "iu"):
            raise InputError(f"{where}: {key} has shape {np.shape(value)}, expected one whole number a frame")
    if landmarks.category is not None and landmarks.categories is not None:
        codes = np.asarray(landmarks.category)
        if codes.min() < 0 or codes.max() >= len(landmarks.categories):
            raise InputError(
                f"{where}: category must be 0 to {len(landmarks.categories) - 1}, as there are categories"
            )
    if landmarks.intrinsics is not None:
        k = np.asarray(landmarks.intrinsics)
        if k.shape not in ((3, 3), (n_frames, 3, 3)):
            raise InputError(
                f"{where}: intrinsics has shape {k.shape}, expected (3, 3) or ({n_frames}, 3, 3)"
            )
        if k.dtype.kind not in "fiu" or not np.isfinite(k).all():
            raise InputError(f"{where}: intrinsics holds values that are not finite numbers")
        check_intrinsics(k, f"{where}: intrinsics")


def _extent(points: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each frame the RMS distance of the visible points from their mean, and how flat they lie.

    Flatness is the ratio of the singular values of the centred points: 0 on a line, 1 round.
    """
    size, flatness = np.zeros(len(points)), np.zeros(len(points))
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        seen = visible[part, :, None]
        n = np.maximum(seen.sum(1, keepdims=True), 1)
        x = np.where(seen, points[part], 0).astype(np.float64)
        x = np.where(seen, x - x.sum(1, keepdims=True) / n, 0)
        total = np.einsum("fpi,fpi->f", x, x)
        # Distances across the main axis, not the smaller eigenvalue, which squaring would drown.
        cov = np.einsum("fpi,fpj->fij", x, x)
        axis = np.linalg.eigh(cov)[1][:, :, 0]
        across = np.einsum("fpi,fi->fp", x, axis)
        size[part] = np.sqrt(total / n[:, 0, 0])
        flatness[part] = np.sqrt((across**2).sum(1) / np.where(total > 0, total, 1))
    return size, flatness


def _is_zero(size: np.ndarray) -> np.ndarray:
    """Frames whose size is nothing beside the usual one."""
    return size <= 1e-6 * np.median(size)


def _duplicates(points: np.ndarray, visible: np.ndarray) -> tuple[int, int] | None:
    """The first two points that agree exactly wherever both are visible, in at least two frames."""
    n_frames, n_points = visible.shape
    # Candidates from a sample of frames, then a look at all frames: P^2 F comparisons would be too many.
    sample = np.unique(np.linspace(0, n_frames - 1, 64 if n_points <= 512 else 8).astype(int))
    x, v = points[sample], visible[sample]
    for p in range(n_points - 1):
        both = v[:, p : p + 1] & v[:, p + 1 :]
        same = (x[:, p : p + 1] == x[:, p + 1 :]).all(-1)
        for q in p + 1 + np.flatnonzero((same | ~both).all(0) & (both.sum(0) >= min(2, len(sample)))):
            seen = visible[:, p] & visible[:, q]
            if (points[seen, p] == points[seen, q]).all():
                return p, int(q)
    return None
