"""OpenPose: a folder with one JSON file a frame (or one such file), `people[].pose_keypoints_2d` flat x, y, c.

People are unordered; (0, 0, 0) is not found. File names are numbered, `NAME_000000000012_keypoints.json`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import number, read_json, start_of

_SKELETON = {25: "body-25", 21: "hand-21"}
_KEYS = ("pose_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
MOST_FILES = 2_000_000


def parse(path: Path) -> Pose:
    """What a folder (or a single frame) holds. Raises InputError."""
    if not path.is_dir():
        return parse_files([path])
    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".json")
    if not files:
        raise InputError(f"{path}: holds no JSON files of OpenPose")
    return parse_files(files)


def parse_files(files: Sequence[Path]) -> Pose:
    """The frames of one video, a file each."""
    if len(files) > MOST_FILES:
        raise InputError(f"{files[0].parent}: {len(files)} files are too many")
    numbers = [re.findall(r"\d{1,12}", p.stem) for p in files]
    if all(numbers):
        order = sorted(range(len(files)), key=lambda i: int(numbers[i][-1]))
        files = [files[i] for i in order]
        frames = np.array([int(numbers[i][-1]) for i in order], np.int64)
    else:
        frames = np.arange(len(files))
    people = []
    key = _KEYS[0]
    for i, file in enumerate(files):
        content = read_json(file)
        found = content.get("people") if isinstance(content, dict) else None
        if not isinstance(found, list):
            raise InputError(f"{file}: no OpenPose frame: key 'people' is absent")
        found = [p for p in found if isinstance(p, dict)]
        if i == 0 and found:
            key = next((k for k in _KEYS if found[0].get(k)), key)
        people.append([p[key] for p in found if isinstance(p.get(key), list) and p[key]])
    sizes = {len(p) for row in people for p in row}
    if len(sizes) != 1 or next(iter(sizes)) % 3:
        raise InputError(
            f"{files[0].parent}: people have {', '.join(map(str, sorted(sizes))) or 'no'} numbers in '{key}': expected "
            "three for each point, the same for all"
        )
    n, most = next(iter(sizes)) // 3, max(len(row) for row in people)
    refuse_large((len(files), most, n, 3), files[0].parent)
    values = np.full((len(files), most, n, 3), np.nan)
    for f, row in enumerate(people):
        for i, flat in enumerate(row):
            values[f, i] = np.array([number(v) for v in flat]).reshape(n, 3)
    missing = (values == 0).all(-1)
    absent = np.isnan(values).any(-1)
    inside = values[..., :2][~missing & ~absent]
    return Pose(
        points=np.where((missing | absent)[..., None], np.nan, values[..., :2]), confidence=values[..., 2],
        labels=tuple(f.name for f in files), numbers=frames, linked=most == 1, skeleton=_SKELETON.get(n),
        threshold=0.05, unit_range=bool(len(inside)) and bool(np.abs(inside).max() <= 1.0),
    )  # fmt: skip


def sniff(path: Path) -> bool:
    """Whether a JSON file, or the first one of a folder, has people with key points."""
    if path.is_dir():
        first = next((p for p in sorted(path.iterdir()) if p.suffix.lower() == ".json"), None)
        return first is not None and sniff(first)
    start = start_of(path)
    return start.lstrip()[:1] == b"{" and b'"people"' in start


FORMAT = pose_format(
    "openpose", (".json",), "OpenPose: a folder with a JSON file for each frame", parse, sniff, folder=True
)
