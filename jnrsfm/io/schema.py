"""From checked fields to `Landmarks` and to the reference `Reconstruction`: what the keys of a file mean."""

from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.fields import (
    Fields,
    frames_text,
    read_camera,
    read_category,
    read_intrinsics,
    read_names,
    read_pairs,
    read_rotations,
    read_sequence,
    read_text,
)
from jnrsfm.types import Cameras, Landmarks, Reconstruction

LANDMARK_KEYS = (
    "points2d", "visible", "confidence", "defined", "intrinsics", "clip", "sequence", "category",
    "categories", "category_order", "edges", "symmetric", "names", "camera", "fps", "frame_index",
)  # fmt: skip
REFERENCE_KEYS = (
    "points3d", "valid3d", "rotations", "translations", "scale", "rotations_fit", "scale_fit",
    "score", "deviation", "mirror", "mirror_margin", "gauge",
)  # fmt: skip
KEYS = LANDMARK_KEYS + REFERENCE_KEYS


def split_missing(
    points: np.ndarray, visible: np.ndarray | None, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """`(points2d, visible)` with 0 stored where nothing is visible.

    NaN in either coordinate means missing. Where a mask is given it decides, and a visible NaN is an error.
    """
    finite = ~np.isnan(points).any(-1)
    if visible is None:
        visible = finite
    clash = visible & ~finite
    if clash.any():
        frame, point = np.argwhere(clash)[0]
        raise InputError(
            f"{where}: frame {frame}, point {point}: visible but its coordinate is NaN: mark it not visible"
        )
    return np.where(visible[..., None], points, np.float32(0)), visible


def landmarks_from_fields(fields: Fields) -> Landmarks:
    """`Landmarks` from arrays by key, checked; see the package documentation for the keys."""
    where = fields.where
    fields.require("points2d", hint=": it holds the landmarks as (frame, point, 2)")
    raw = np.asarray(fields.arrays["points2d"])
    stored = fields.mask("visible", raw.shape[:2]) if "visible" in fields and raw.ndim == 3 else None
    if stored is not None and raw.dtype.kind == "f":
        # What is stored under a missing point is ignored, infinities too.
        fields.arrays = {
            **fields.arrays,
            "points2d": np.where((stored | np.isnan(raw).any(-1))[..., None], raw, 0),
        }
    points = fields.floats("points2d", ("F", "P", 2), nan=True)
    if 0 in points.shape:
        raise fields.error(
            "points2d", f"is empty, shape {points.shape}: give at least one frame and one point"
        )
    points, visible = split_missing(points, stored, where)

    defined = fields.mask("defined", ("F", "P")) if "defined" in fields else None
    if defined is not None and (visible & ~defined).any():
        frame, point = np.argwhere(visible & ~defined)[0]
        raise fields.error(
            "defined", f"frame {frame}, point {point}: visible but not defined: mend one of the masks"
        )

    confidence = None
    if "confidence" in fields:
        # NaN is how trackers say "no detection": confidence 0. A point of confidence 0 is no observation.
        confidence = np.nan_to_num(fields.floats("confidence", ("F", "P"), nan=True), nan=0.0)
        if (confidence < 0).any() or (confidence > 1).any():
            low, high = float(confidence.min()), float(confidence.max())
            raise fields.error("confidence", f"is in [{low:g}, {high:g}], expected [0, 1]: rescale it")
        visible = visible & (confidence > 0)
        points = np.where(visible[..., None], points, np.float32(0))

    sequence_key = fields.first("sequence", "clip")
    category, categories = read_category(fields)
    return Landmarks(
        points2d=points,
        visible=visible,
        confidence=confidence,
        defined=defined,
        intrinsics=read_intrinsics(fields),
        sequence=None if sequence_key is None else read_sequence(fields, sequence_key),
        category=category,
        edges=read_pairs(fields, "edges"),
        symmetric=read_pairs(fields, "symmetric"),
        names=read_names(fields),
        categories=categories,
        camera=read_camera(fields),
        fps=read_fps(fields),
        frame_index=read_frame_index(fields),
    )


def read_fps(fields: Fields) -> float | None:
    """Frames per second."""
    if "fps" not in fields:
        return None
    fps = float(fields.floats("fps", (), (1,)).reshape(()))
    if fps <= 0:
        raise fields.error("fps", f"is {fps:g}, expected a rate above 0")
    return fps


def read_frame_index(fields: Fields) -> np.ndarray | None:
    """`(frame,)` int32 numbers of the frames in their source."""
    return fields.integers("frame_index", ("F",)).astype(np.int32) if "frame_index" in fields else None


def reference_from_fields(fields: Fields) -> Reconstruction | None:
    """The reference 3D with its cameras, or None where the file has no `points3d`.

    Cameras, by the first of these that the file has:

    * `rotations` (with `translations`, `scale`, `intrinsics` where stored); an orthographic reference
      without translations takes the image offset of each frame from `points2d`;
    * `rotations_fit`, `scale_fit`: a scaled-orthographic camera a frame. Frames without a finite one
      count as unknown 3D (`valid3d` False);
    * none: the identity where the 3D projects to the 2D as it stands (camera-frame 3D), else a
      scaled-orthographic camera a frame is fitted to the 2D (`fit_scaled_orthographic`).

    3D is known (`valid3d`) where the file's own `valid3d` and `defined` say so; without a `valid3d`, a
    point stored as exactly (0, 0, 0) that is not visible counts as unknown.
    """
    if "points3d" not in fields:
        return None
    points3d = fields.floats("points3d", ("F", "P", 3), nan=True)
    if 0 in points3d.shape:
        raise fields.error("points3d", f"is empty, shape {points3d.shape}")
    finite = np.isfinite(points3d).all(-1)
    landmarks = landmarks_from_fields(fields) if "points2d" in fields else None
    visible = landmarks.visible if landmarks is not None else None
    if landmarks is None and "visible" in fields:
        visible = fields.mask("visible", ("F", "P"))

    if "valid3d" in fields:
        valid = fields.mask("valid3d", ("F", "P"))
        if (valid & ~finite).any():
            frame, point = np.argwhere(valid & ~finite)[0]
            raise fields.error(
                "points3d", f"frame {frame}, point {point}: NaN where valid3d is set: mend one"
            )
    else:
        valid = finite.copy()
        if visible is not None:
            valid &= visible | (points3d != 0).any(-1)
    if "defined" in fields:
        valid = valid & fields.mask("defined", ("F", "P"))
    points3d = np.where(valid[..., None], points3d, np.float32(0))

    cameras, usable = reference_cameras(fields, points3d, valid, landmarks)
    valid = valid & usable[:, None]
    sequence_key = fields.first("sequence", "clip")
    category, categories = read_category(fields)
    return Reconstruction(
        points3d=points3d,
        cameras=cameras,
        visible=visible,
        valid3d=None if valid.all() and "valid3d" not in fields else valid,
        score=fields.floats("score", ("F", "P"), nan=True) if "score" in fields else None,
        deviation=fields.floats("deviation", ("F", "P"), nan=True) if "deviation" in fields else None,
        sequence=None if sequence_key is None else read_sequence(fields, sequence_key),
        category=category,
        mirror_margin=fields.floats("mirror_margin", ("F",)) if "mirror_margin" in fields else None,
        edges=read_pairs(fields, "edges"),
        symmetric=read_pairs(fields, "symmetric"),
        names=read_names(fields),
        categories=categories,
        mirror=read_text(fields, "mirror", "reference"),
        gauge=read_text(fields, "gauge", "reference"),
        frame_index=read_frame_index(fields),
    )


def read_scale(fields: Fields) -> np.ndarray | None:
    """`(frame,)` scale above 0; one number stands for all frames."""
    if "scale" not in fields:
        return None
    scale = np.broadcast_to(fields.floats("scale", (), ("F",)), (fields.sizes["F"],))
    if (scale <= 0).any():
        raise fields.error("scale", f"{frames_text(scale <= 0)}: must be above 0")
    return np.ascontiguousarray(scale)


def reference_cameras(
    fields: Fields, points3d: np.ndarray, valid: np.ndarray, landmarks: Landmarks | None
) -> tuple[Cameras, np.ndarray]:
    """The cameras of a reference and `(frame,)` which frames have one (see `reference_from_fields`)."""
    n_frames = len(points3d)
    everywhere = np.ones(n_frames, bool)
    intrinsics = read_intrinsics(fields)
    model = read_camera(fields) or ("orthographic" if intrinsics is None else "perspective")
    scale = read_scale(fields)
    translations = fields.floats("translations", ("F", 3)) if "translations" in fields else None
    if "rotations" in fields:
        rotations = read_rotations(fields, "rotations", np.asarray(valid.any(1)))
        cameras = Cameras(rotations, translations, scale, intrinsics, model)
        if model != "perspective" and translations is None and landmarks is not None:
            offset = image_offset(cameras, points3d, valid, landmarks)
            # Rounding is no translation: files whose 2D is the projection keep exactly t = 0.
            if np.abs(offset).max(initial=0) > 1e-5 * np.abs(landmarks.points2d).max(initial=0):
                cameras = cameras.replace(translations=offset)
        return cameras, everywhere

    if "rotations_fit" in fields:
        rotations = np.asarray(fields.floats("rotations_fit", ("F", 3, 3), nan=True))
        scale = fields.floats("scale_fit", ("F",), nan=True) if "scale_fit" in fields else np.ones(n_frames)
        usable: Any = np.isfinite(rotations).all((1, 2)) & np.isfinite(scale) & (scale > 0)
        rotations = read_rotations(fields, "rotations_fit", usable)
        scale = np.where(usable, scale, 1).astype(np.float32)
        cameras = Cameras(rotations, None, scale, None, "weak-perspective")
        if landmarks is not None:
            offset = image_offset(cameras, points3d, valid, landmarks)
            cameras = cameras.replace(translations=offset)
        return cameras, usable

    identity = np.broadcast_to(np.eye(3, dtype=np.float32), (n_frames, 3, 3))
    cameras = Cameras(identity, translations, scale, intrinsics, model)
    if landmarks is None or _explains(cameras, points3d, valid, landmarks):
        return cameras, everywhere
    return fit_scaled_orthographic(points3d, valid, landmarks)


def image_offset(cameras: Cameras, points3d, valid, landmarks: Landmarks) -> np.ndarray:
    """`(frame, 3)` translations, t_z = 0: the mean over visible points of image minus projection."""
    both = (np.asarray(landmarks.visible) & valid)[..., None]
    rest = np.where(both, np.asarray(landmarks.points2d) - _plane(cameras, points3d), 0)
    offset = rest.sum(1, dtype=np.float64) / np.maximum(both.sum(1), 1)
    return np.pad(offset, ((0, 0), (0, 1))).astype(np.float32)


def _plane(cameras: Cameras, points3d) -> np.ndarray:
    """x and y of the camera-frame points without translation, in NumPy."""
    plane = np.einsum("fpj,fij->fpi", points3d, cameras.rotations[:, :2])
    return plane if cameras.scale is None else plane * np.asarray(cameras.scale)[:, None, None]


def _explains(cameras: Cameras, points3d, valid, landmarks: Landmarks) -> bool:
    """Whether the 3D, seen by the cameras, falls on the 2D within 1 % of its extent (median over points)."""
    both = landmarks.visible & valid
    if not both.any():
        return True
    if cameras.model == "perspective" and cameras.intrinsics is None:
        return False
    if cameras.model != "perspective":
        t = image_offset(cameras, points3d, valid, landmarks) if cameras.translations is None else None
        cameras = cameras if t is None else cameras.replace(translations=t)
    gap = np.linalg.norm(np.asarray(cameras.project(points3d)) - landmarks.points2d, axis=-1)[both]
    extent = float(np.ptp(landmarks.points2d[both], axis=0).max())
    return bool(np.median(gap) <= 0.01 * extent)


def fit_scaled_orthographic(points3d, valid, landmarks: Landmarks) -> tuple[Cameras, np.ndarray]:
    r"""A scaled-orthographic camera a frame between given 3D and 2D, and `(frame,)` where it is determined.

    Least squares for the affine camera A (2x3) of the centred points, then the nearest scaled pair of
    orthonormal rows: `A = U diag(a, b) V^T -> s = (a + b) / 2, R_12 = U V^T`, third row by cross product.
    Needs 4 points that are not coplanar; other frames get the identity and False.
    """
    n_frames = len(points3d)
    rotations = np.tile(np.eye(3, dtype=np.float32), (n_frames, 1, 1))
    scale = np.ones(n_frames, np.float32)
    usable = np.zeros(n_frames, bool)
    for f in range(n_frames):
        both = landmarks.visible[f] & valid[f]
        if both.sum() < 4:
            continue
        x = points3d[f, both].astype(np.float64)
        w = landmarks.points2d[f, both].astype(np.float64)
        a, _, rank, _ = np.linalg.lstsq(x - x.mean(0), w - w.mean(0), rcond=1e-6)
        u, s, vt = np.linalg.svd(a.T, full_matrices=False)
        if rank < 3 or s[1] <= 1e-6 * s[0]:
            continue
        rows = u @ vt
        rotations[f] = np.stack([rows[0], rows[1], np.cross(rows[0], rows[1])])
        scale[f] = s.mean()
        usable[f] = True
    cameras = Cameras(rotations, None, scale, None, "weak-perspective")
    return cameras.replace(translations=image_offset(cameras, points3d, valid, landmarks)), usable
