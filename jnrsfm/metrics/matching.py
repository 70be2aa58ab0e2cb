"""Two reconstructions made comparable: checked against each other, masked, centred, on the host in float64."""

import jax
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.metrics import distances
from jnrsfm.types import Reconstruction

MIRROR = np.array([1.0, 1.0, -1.0])


def check_match(estimate: Reconstruction, reference: Reconstruction) -> None:
    """Raise `InputError` unless the two hold the same frames and points in 3D, under the same names."""
    for name, record in (("reconstruction", estimate), ("reference", reference)):
        if np.ndim(record.points3d) != 3 or record.points3d.shape[-1] != 3:
            raise InputError(
                f"{name}: points3d has shape {np.shape(record.points3d)}; expected (frame, point, 3)"
            )
    if estimate.points3d.shape != reference.points3d.shape:
        raise InputError(
            f"the reconstruction has {size_text(estimate.points3d)}, "
            f"the reference has {size_text(reference.points3d)}; score the same frames and points"
        )
    for p, (mine, its) in enumerate(zip(estimate.names or (), reference.names or (), strict=False)):
        if mine != its:
            raise InputError(
                f"reconstruction: point {p} is {mine!r}, but {its!r} in the reference: use one point order"
            )


def category_names(record: Reconstruction) -> np.ndarray:
    """`(frame,)` category of each frame as text; "" where the record has none."""
    if record.category is None:
        return np.full(record.n_frames, "")
    index = np.asarray(record.category)
    if record.categories and not ((index >= 0) & (index < len(record.categories))).all():
        raise InputError(f"category indices must lie in 0..{len(record.categories) - 1}, one for each name")
    return np.asarray(record.categories)[index] if record.categories else index.astype(str)


def camera_points(record: Reconstruction) -> np.ndarray:
    """`(frame, point, 3)` camera-frame points in NumPy float64; the record's own are float32 without x64."""
    x = np.asarray(record.points3d, float) @ np.asarray(record.rotations, float).mT
    if record.scale is not None:
        x = x * np.asarray(record.scale, float)[:, None, None]
    if record.translations is not None:
        x = x + np.asarray(record.translations, float)[:, None]
    return x


def clip_names(record: Reconstruction) -> np.ndarray:
    """`(frame,)` clip of each frame as text; "" where the record has none."""
    return (
        np.full(record.n_frames, "") if record.sequence is None else np.asarray(record.sequence).astype(str)
    )


def size_text(points) -> str:
    """The counts of frames and points, for messages."""
    return f"{points.shape[0]} frames of {points.shape[1]} points"


def mirror_where(shapes: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Shapes with z negated in the frames where `flip (frame,)` is True."""
    return np.where(flip[:, None, None], shapes * MIRROR, shapes)


def on_host(record: Reconstruction) -> Reconstruction:
    """NumPy arrays throughout, so that chunks are views and nothing travels twice."""
    return jax.tree_util.tree_map(np.asarray, record)


def matched(
    estimate: Reconstruction, reference: Reconstruction, *, object_frame: bool = False, centre: str = "xyz"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checked shapes of both `(frame, point, 3)`, 0 outside the mask, and the mask of points that count."""
    check_match(estimate, reference)
    shape = reference.points3d.shape[:2]
    valid = np.ones(shape, bool) if reference.valid3d is None else np.asarray(reference.valid3d, bool)
    if valid.shape != shape:
        raise InputError(f"reference: valid3d has shape {valid.shape}; expected {shape} as points3d")
    shapes = []
    for name, record in (("reconstruction", estimate), ("reference", reference)):
        # masked entries may hold anything; they must not warn or leak on the way
        record = record.replace(points3d=np.where(valid[..., None], np.asarray(record.points3d, float), 0.0))
        x = record.points3d if object_frame else camera_points(record)
        bad = valid & ~np.isfinite(x).all(-1)
        if bad.any():
            frame, point = np.argwhere(bad)[0]
            raise InputError(
                f"{name}: point {point} of frame {frame} is not finite, though its 3D is to be scored"
            )
        shapes.append(x)
    # a frame without extent, to rounding, has no size to be compared with
    extent = distances.frobenius(distances.centre(shapes[1], valid))
    place = distances.frobenius(distances.centre(shapes[1], valid, ""))
    valid = valid & (extent > 1e-12 * place)[:, None]
    s, g = (distances.centre(x, valid, centre) for x in shapes)
    return s, g, valid
