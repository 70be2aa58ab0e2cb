"""Tracks of point trackers as npz: `tracks (point, frame, 2)` and `visible (point, frame)` (TAPIR, TAP-Vid), or
`pred_tracks (1, frame, point, 2)` and `pred_visibility` (CoTracker). `occluded` is the opposite of `visible`."""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io import _archive
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import start_of

_SEEN = ("visible", "visibles", "visibility", "pred_visibility", "occluded")


def parse(path: Path) -> Pose:
    """What the file holds. Raises InputError."""
    _archive.check_sizes(path)
    have = _archive.names(path)
    key = "tracks" if "tracks" in have else "pred_tracks"
    tracks = np.asarray(_archive.load(path, key))
    while tracks.ndim > 3 and tracks.shape[0] == 1:
        tracks = tracks[0]
    if tracks.ndim != 3 or tracks.shape[-1] != 2 or tracks.dtype.kind not in "fiu":
        raise InputError(f"{path}: '{key}' has shape {tracks.shape}, expected (point, frame, 2)")
    by_frame = key == "pred_tracks"
    points = tracks if by_frame else tracks.transpose(1, 0, 2)
    refuse_large(points.shape, path)
    name = next((k for k in _SEEN if k in have), None)
    notes: tuple[str, ...] = (
        () if by_frame else (f"tracks are read as (point, frame, 2): {tracks.shape[0]} points",)
    )
    confidence = None
    if name is not None:
        seen = np.asarray(_archive.load(path, name))
        while seen.ndim > 2 and 1 in (seen.shape[0], seen.shape[-1]):
            seen = seen[0] if seen.shape[0] == 1 else seen[..., 0]
        seen = seen if by_frame else seen.T
        if seen.shape != points.shape[:2] or seen.dtype.kind not in "biuf":
            raise InputError(f"{path}: '{name}' has shape {seen.T.shape}, which is not that of '{key}'")
        if seen.dtype.kind == "f" and name != "occluded":
            confidence = seen[:, None].astype(np.float64)
        else:
            seen = seen == 0 if name == "occluded" else seen != 0
            points = np.where(seen[..., None], points, np.nan)
    threshold = 0.0 if confidence is None else 0.5
    return Pose(
        points=points[:, None].astype(np.float64), confidence=confidence, notes=notes, threshold=threshold
    )


def sniff(path: Path) -> bool:
    """Whether the archive has tracks and none of our own keys."""
    if start_of(path, 2) != b"PK":
        return False
    have = _archive.names(path)
    return ("tracks" in have or "pred_tracks" in have) and "points2d" not in have


FORMAT = pose_format(
    "tracks", (".npz",), "tracks of point trackers: tracks (point, frame, 2), visible", parse, sniff
)
