"""MMPose: the demo's JSON (`meta_info`, `instance_info`) and the inferencer's list of frames or of instances."""

from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import number, read_json, start_of


def parse(path: Path) -> Pose:
    """What an MMPose file holds. Raises InputError."""
    content = read_json(path)
    meta: dict[str, Any] = {}
    frames = content
    if isinstance(content, dict):
        meta = content.get("meta_info") if isinstance(content.get("meta_info"), dict) else {}  # type: ignore[assignment]
        frames = content.get("instance_info", content.get("predictions"))
    if isinstance(frames, list) and frames and all(isinstance(f, dict) and "keypoints" in f for f in frames):
        frames = [frames]  # the instances of one image
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{path}: no MMPose predictions: expected 'instance_info', or a list of frames")
    numbers, rows, tracks = [], [], []
    for i, frame in enumerate(frames):
        instances = frame.get("instances") if isinstance(frame, dict) else frame
        if not isinstance(instances, list):
            raise InputError(f"{path}: frame {i} has no list of instances")
        instances = [x for x in instances if isinstance(x, dict) and isinstance(x.get("keypoints"), list)]
        identity = number(frame.get("frame_id")) if isinstance(frame, dict) else np.nan
        numbers.append(int(identity) if 0 <= identity < 1e12 else -1)
        rows.append(instances)
        tracks.append([x.get("track_id") for x in instances])
    n = max((len(x["keypoints"]) for row in rows for x in row), default=0)
    most = max((len(row) for row in rows), default=0)
    if not n:
        raise InputError(f"{path}: not one instance has keypoints")
    refuse_large((len(rows), most, n, 2), path)
    points, score = np.full((len(rows), most, n, 2), np.nan), np.full((len(rows), most, n), np.nan)
    scored = False
    for f, row in enumerate(rows):
        for i, instance in enumerate(row):
            points[f, i] = _array(instance["keypoints"], (n, 2), path, f)
            if isinstance(instance.get("keypoint_scores"), list):
                score[f, i] = _array(instance["keypoint_scores"], (n,), path, f)
                scored = True
    numbered = all(k >= 0 for k in numbers)
    names = _names(meta, n)
    pose = Pose(
        points=points, confidence=score if scored else None, names=names,
        labels=tuple(str(k) for k in numbers) if numbered else None, numbers=np.array(numbers) if numbered else None,
        edges=_edges(meta, n), linked=most == 1, threshold=0.3 if scored else 0.0,
        skeleton={17: "coco-17", 26: "halpe-26", 21: "hand-21"}.get(n) if names is None else None,
    )  # fmt: skip
    return _by_track(pose, tracks)


def _by_track(pose: Pose, tracks: list[list[Any]]) -> Pose:
    """Columns by `track_id`, where every instance has one."""
    ids = sorted({t for row in tracks for t in row if type(t) is int})
    if not ids or not all(type(t) is int for row in tracks for t in row) or len(ids) > 1000:
        return pose
    if any(len(set(row)) < len(row) for row in tracks):
        return pose
    points = np.full((pose.n_frames, len(ids), *pose.points.shape[2:]), np.nan)
    score = None if pose.confidence is None else np.full(points.shape[:3], np.nan)
    for f, row in enumerate(tracks):
        for i, t in enumerate(row):
            points[f, ids.index(t)] = pose.points[f, i]
            if score is not None and pose.confidence is not None:
                score[f, ids.index(t)] = pose.confidence[f, i]
    return pose.replace(points=points, confidence=score, individuals=tuple(map(str, ids)), linked=True)


def _array(value: list[Any], shape: tuple[int, ...], path: Path, frame: int) -> np.ndarray:
    try:
        array = np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        array = np.zeros(0)
    if array.ndim == 2 and array.shape[1] == 3 and len(shape) == 2:
        array = array[:, :2]
    if array.shape != shape:
        raise InputError(
            f"{path}: frame {frame}: an instance has keypoints of another kind than {shape} numbers"
        )
    return array


def _names(meta: dict[str, Any], n: int) -> tuple[str, ...] | None:
    named = meta.get("keypoint_id2name")
    if not isinstance(named, dict):
        return None
    names = [named.get(str(i), named.get(i)) for i in range(n)]  # type: ignore[call-overload]
    return tuple(map(str, names)) if all(isinstance(x, str) for x in names) else None


def _edges(meta: dict[str, Any], n: int) -> tuple[tuple[int, int], ...] | None:
    links = meta.get("skeleton_links")
    if not isinstance(links, list):
        return None
    pairs = [
        tuple(p) for p in links if isinstance(p, list) and len(p) == 2 and all(type(v) is int for v in p)
    ]
    return tuple((a, b) for a, b in pairs if 0 <= a < n and 0 <= b < n and a != b) or None


def sniff(path: Path) -> bool:
    """Whether the JSON names instances or scores as MMPose does."""
    start = start_of(path, 1 << 20)
    return start.lstrip()[:1] in (b"{", b"[") and (
        b'"keypoint_scores"' in start or b'"instance_info"' in start
    )


FORMAT = pose_format("mmpose", (".json",), "MMPose predictions: demo and inferencer JSON", parse, sniff)
