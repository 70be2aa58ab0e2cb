"""What can be measured without 3D labels: residuals, bones, spread of restarts, motion of the cameras.

Plain measures, in NumPy float64; `assess` turns them into verdicts and words.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jnrsfm.errors import InputError
from jnrsfm.geometry import disagreement
from jnrsfm.metrics import distances
from jnrsfm.metrics.protocols import camera_points
from jnrsfm.types import Landmarks, Reconstruction


def image_size(
    points2d: Float[np.ndarray, "frame point 2"], visible: Bool[np.ndarray, "frame point"]
) -> Float[np.ndarray, " frame"]:
    """Longer side of the box around the visible points of each frame; NaN where it has no extent."""
    inside = visible[..., None]
    high = np.where(inside, points2d, -np.inf).max(1, initial=-np.inf)
    low = np.where(inside, points2d, np.inf).min(1, initial=np.inf)
    side = (high - low).max(1)
    return np.where(side > 0, side, np.nan)


def reprojection(landmarks: Landmarks, reconstruction: Reconstruction) -> Float[np.ndarray, "frame point 2"]:
    """Image points of the reconstruction, float64; the landmarks' intrinsics serve where it has none."""
    x = camera_points(reconstruction)
    camera = reconstruction.cameras
    if camera.model != "perspective":
        return x[..., :2]
    intrinsics = camera.intrinsics if camera.intrinsics is not None else landmarks.intrinsics
    if intrinsics is not None:
        x = x @ np.broadcast_to(np.asarray(intrinsics, float), (len(x), 3, 3)).mT
    return x[..., :2] / x[..., 2:]


def reprojection_errors(landmarks: Landmarks, reconstruction: Reconstruction) -> Float[np.ndarray, " frame"]:
    """Root mean square residual of each frame's visible points over the frame's `image_size`: a fraction.

    NaN where fewer than two points are visible. Raises `InputError` on a projection that is not finite.
    """
    visible = np.asarray(landmarks.visible, bool)
    observed = np.where(visible[..., None], np.asarray(landmarks.points2d, float), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # points that are not visible may be anywhere
        predicted = np.where(visible[..., None], reprojection(landmarks, reconstruction), 0.0)
    if not np.isfinite(predicted).all():
        frame, point, _ = np.argwhere(~np.isfinite(predicted))[0]
        raise InputError(
            f"reconstruction: point {point} of frame {frame} does not project to a finite position"
        )
    square = ((predicted - observed) ** 2).sum(-1).sum(1)
    count = visible.sum(1)
    rms = np.sqrt(np.divide(square, count, out=np.full(len(count), np.nan), where=count > 0))
    return rms / image_size(observed, visible)


class BoneVariation(NamedTuple):
    """Coefficients of variation (deviation over mean, fractions) over the frames."""

    edges: np.ndarray  # (edge,) of each edge's length, overall size removed; NaN where it cannot be told
    size: float  # of the overall size


def bone_lengths(
    points3d: Float[np.ndarray, "frame point 3"], edges: Int[np.ndarray, "edge 2"]
) -> Float[np.ndarray, "frame edge"]:
    """Length of every edge in every frame, in the units of the shape."""
    return np.linalg.norm(points3d[:, edges[:, 0]] - points3d[:, edges[:, 1]], axis=-1)


def bone_variation(
    lengths: Float[np.ndarray, "frame edge"], groups: np.ndarray | None = None
) -> BoneVariation:
    """How much bones change in length over the frames of a group (a category); groups are averaged.

    Scale is free under one camera, so proportions and size are told apart: in each frame the lengths are
    divided by s_f = sum_e l_fe m_e / sum_e m_e^2 (m: mean lengths of the group), the least-squares size.
    NaN lengths (points that a class does not have) are left out; edges shorter than 1 % of the mean edge
    have no proportion and give NaN, as do groups of fewer than two frames.
    """
    groups = np.zeros(len(lengths), int) if groups is None else groups
    variation, size, weight = [], [], []
    for group in np.unique(groups):
        inside = lengths[groups == group]
        inside = inside[np.isfinite(inside).any(1)]
        if len(inside) < 2:
            continue
        known = np.isfinite(inside)
        filled = np.where(known, inside, 0.0)
        scale = np.ones(len(inside))
        for _ in range(20):  # alternate mean lengths and sizes; two rounds are enough without gaps
            mean = _ratio((filled / scale[:, None]).sum(0), known.sum(0))
            m = np.where(known, np.nan_to_num(mean), 0.0)
            scale = _ratio((filled * m).sum(1), (m * m).sum(1))
            scale = np.where(scale > 0, scale, 1.0)
        relative = filled / scale[:, None]
        mean = _ratio(relative.sum(0), known.sum(0))
        square = np.where(known, (relative - np.nan_to_num(mean)) ** 2, 0.0).sum(0)
        enough = (known.sum(0) >= 2) & (np.nan_to_num(mean) > 0.01 * np.nanmean(mean))
        spread = np.sqrt(_ratio(square, known.sum(0)))
        variation.append(np.where(enough, spread / np.where(enough, mean, 1.0), np.nan))
        size.append(scale.std() / scale.mean())
        weight.append(len(inside))
    if not variation:
        return BoneVariation(np.full(lengths.shape[1], np.nan), float("nan"))
    table = np.stack(variation)
    w = np.where(np.isfinite(table), np.array(weight, float)[:, None], 0.0)
    return BoneVariation(
        _ratio((np.nan_to_num(table) * w).sum(0), w.sum(0)), float(np.average(size, weights=weight))
    )


def asymmetry(
    lengths: Float[np.ndarray, "frame edge"], pairs: Int[np.ndarray, "match 2"]
) -> Float[np.ndarray, " match"]:
    """Mean over frames of |l - r| / ((l + r) / 2) for each pair of mirrored edges, a fraction."""
    left, right = lengths[:, pairs[:, 0]], lengths[:, pairs[:, 1]]
    middle = (left + right) / 2
    known = np.isfinite(middle) & (middle > 0)
    value = np.where(known, np.abs(left - right) / np.where(known, middle, 1.0), 0.0)
    return _ratio(value.sum(0), known.sum(0))


def restart_spread(
    restarts, *, chosen: int = 0, defined: Bool[np.ndarray, "frame point"] | None = None
) -> Float[np.ndarray, "frame point"]:
    """How far the restarts of a fit disagree about each point: the `score` of a `Reconstruction`.

    restarts: `(restart, frame, point, 3)` camera-frame shapes, at least two; see `geometry.disagreement`. In the units
    of the shape, 0 at points that are not defined. Raises `InputError` for fewer than two restarts.
    """
    return disagreement(restarts, chosen, defined)


def shape_size(
    points3d: Float[np.ndarray, "frame point 3"], defined: Bool[np.ndarray, "frame point"]
) -> float:
    """Root mean square distance of the defined points from their frame's mean, over all frames."""
    x = distances.centre(points3d, defined)
    return float(np.sqrt((x**2).sum() / max(int(defined.sum()), 1)))


def view_spread(rotations: Float[np.ndarray, "frame 3 3"]) -> float:
    """How much the viewing direction turns in the object frame: root mean square angle, degrees.

    The directions d_f are the third rows of the rotations; with the eigenvalues l1 >= l2 >= l3 of their
    mean d d^T (trace 1) the answer is asin(sqrt(l2 + l3)): 0 where all cameras look along one axis, however
    much they roll; 45 for a full turntable; 54.7 for uniformly random views.
    """
    d = np.asarray(rotations, float)[:, 2]
    values = np.linalg.eigvalsh(d.T @ d / len(d))
    return float(np.degrees(np.arcsin(np.sqrt(np.clip(values[:2].sum(), 0.0, 1.0)))))


def beyond_rank(
    points2d: Float[np.ndarray, "frame point 2"], visible: Bool[np.ndarray, "frame point"]
) -> tuple[float, float]:
    """Share of the centred, size-normalised 2D motion that rank 2 and rank 3 leave unexplained.

    The singular values of the 2F x P measurement matrix: a rigid object whose views do not turn has rank 2
    (the images are affine copies of each other and hold nothing about depth), a rigid object seen from many
    sides rank 3 (Tomasi and Kanade, IJCV 9(2), 1992); what is beyond rank 3 is deformation and noise. Points
    that are not visible are filled by an iterative rank-3 completion. NaN where there are too few points.
    """
    count = np.maximum(visible.sum(1), 1)[:, None, None]
    points = visible.sum(0) > 0
    if points.sum() < 4 or len(visible) < 2:
        return float("nan"), float("nan")
    x = np.where(visible[..., None], points2d, 0.0)
    x = np.where(visible[..., None], x - x.sum(1, keepdims=True) / count, 0.0)
    size = np.sqrt((x**2).sum((1, 2), keepdims=True) / count)
    x = (x / np.where(size > 0, size, 1.0))[:, points]
    known = np.broadcast_to(visible[:, points, None], x.shape).transpose(0, 2, 1).reshape(-1, points.sum())
    w = x.transpose(0, 2, 1).reshape(known.shape)
    filled = w
    for _ in range(0 if known.all() else 50):
        _, vectors = np.linalg.eigh(filled.T @ filled)
        guess = filled @ vectors[:, -3:] @ vectors[:, -3:].T
        # the mean of the visible points is not the mean of all: the offset of each row is fitted as well
        offset = _ratio(np.where(known, w - guess, 0.0).sum(1), known.sum(1))
        filled = np.where(known, w - np.nan_to_num(offset)[:, None], guess)
        filled = filled - filled.mean(1, keepdims=True)
    energy = np.clip(np.linalg.eigvalsh(filled.T @ filled)[::-1], 0.0, None)
    total = max(energy.sum(), 1e-300)
    return float(energy[2:].sum() / total), float(energy[3:].sum() / total)


def depth_ratio(
    points3d: Float[np.ndarray, "frame point 3"], defined: Bool[np.ndarray, "frame point"]
) -> float:
    """Root mean square depth over that of x and y (per axis) of centred camera-frame shapes."""
    square = (distances.centre(points3d, defined) ** 2).sum((0, 1))
    flat = square[:2].mean()
    return float(np.sqrt(square[2] / flat)) if flat > 0 else float("nan")


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)
