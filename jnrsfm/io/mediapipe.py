"""MediaPipe: dumps of its landmarks, for which there is no standard. Wide csv with `_visibility` columns, and JSON:
a list of frames, each a list of landmarks `{x, y, z, visibility}`, or such lists under `pose_landmarks`, `landmarks`.

x and y are fractions of the image's width and height: `--image-size W H` gives them their proportion. z is a guess.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import number, read_json, start_of
from jnrsfm.io.tables import _header, columns_of, parse_wide

_KEYS = ("pose_landmarks", "poseLandmarks", "hand_landmarks", "landmarks", "landmark", "keypoints")
_FRAMES = ("frames", "results", "data")
_SKELETON = {33: "mediapipe-33", 21: "hand-21"}


def parse(path: Path) -> Pose:
    """What a dump holds. Raises InputError."""
    if start_of(path, 64).lstrip()[:1] in (b"[", b"{"):
        return parse_json(path)
    pose = parse_wide(path)
    return _settled(pose.replace(world=False, skeleton=_SKELETON.get(pose.points.shape[2])))


def parse_json(path: Path) -> Pose:
    """Frames of landmarks."""
    content = read_json(path)
    if isinstance(content, dict):
        content = next((content[k] for k in _FRAMES if isinstance(content.get(k), list)), [content])
    if isinstance(content, list) and content and _is_landmark(content[0]):
        content = [content]
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: no frames of landmarks: expected [[{{'x': ..., 'y': ...}}, ...], ...]")
    frames = [_people(frame) for frame in content]
    n = max((len(p) for people in frames for p in people), default=0)
    most = max((len(people) for people in frames), default=0)
    if not n:
        raise InputError(f"{path}: not one frame has landmarks with x and y")
    refuse_large((len(frames), most, n, 4), path)
    values = np.full((len(frames), most, n, 4), np.nan)
    for f, people in enumerate(frames):
        for i, person in enumerate(people):
            if len(person) != n:
                raise InputError(
                    f"{path}: frame {f} has {len(person)} landmarks, others {n}: give the same to all"
                )
            for p, mark in enumerate(person):
                seen = mark.get("visibility", mark.get("presence", mark.get("score")))
                values[f, i, p] = [number(mark.get(k)) for k in ("x", "y", "z")] + [number(seen)]
    numbers = [number(f.get("frame", f.get("frame_id"))) if isinstance(f, dict) else np.nan for f in content]
    numbered = all(0 <= k < 1e9 for k in numbers)
    scored = np.isfinite(values[..., 3]).any()
    flat = not np.isfinite(values[..., 2]).any()
    return _settled(
        Pose(
            points=values[..., :2] if flat else values[..., :3],
            confidence=values[..., 3] if scored else None,
            numbers=np.array(numbers, np.int64) if numbered else None,
            skeleton=_SKELETON.get(n),
            linked=most == 1,
        )
    )


def _settled(pose: Pose) -> Pose:
    """The threshold that MediaPipe draws with, and whether coordinates are fractions."""
    with np.errstate(invalid="ignore"):
        inside = (
            np.nanmedian(np.abs(pose.points[..., :2])) <= 1.5 if np.isfinite(pose.points).any() else False
        )
    return pose.replace(unit_range=bool(inside), threshold=0.5 if pose.confidence is not None else 0.0)


def _is_landmark(value: Any) -> bool:
    return isinstance(value, dict) and "x" in value and "y" in value


def _people(frame: Any, depth: int = 0) -> list[list[dict[str, Any]]]:
    """The lists of landmarks in a frame, however they are wrapped."""
    if depth > 6:
        return []
    if isinstance(frame, dict):
        inner = next((frame[k] for k in _KEYS if frame.get(k)), None)
        return [] if inner is None else _people(inner, depth + 1)
    if isinstance(frame, list) and frame and all(_is_landmark(m) for m in frame):
        return [frame]
    if isinstance(frame, list):
        return [person for inner in frame for person in _people(inner, depth + 1)]
    return []


def sniff(path: Path) -> bool:
    """Whether a wide table has visibilities, or JSON has landmarks with x, y and visibility."""
    start = start_of(path)
    if start.lstrip()[:1] in (b"[", b"{"):
        return (
            b'"x"' in start and b'"y"' in start and (b'"visibility"' in start or b"landmark" in start.lower())
        )
    return any("visibility" in c for c in columns_of(_header(path)).values())


FORMAT = pose_format(
    "mediapipe", (".csv", ".json"), "MediaPipe landmarks: wide csv or JSON dumps", parse, sniff
)
