"""BVH motion capture: a tree of joints with offsets, and channels for each frame; positions by forward kinematics.

`x = x_parent + R_parent @ (offset + translation)`, `R = R_parent @ R_1 @ R_2 @ R_3` with the rotations in the order of
the joint's channels, degrees. End sites have no name and are left out.
"""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import read_text, start_of

_MOST_JOINTS = 4096


def parse(path: Path) -> Pose:
    """Joint positions: 3D, a reference. Raises InputError."""
    words = read_text(path).split()
    try:
        return _parse(words, path)
    except (IndexError, ValueError) as error:
        raise InputError(
            f"{path}: the BVH is damaged or truncated ({str(error)[:60]}): export it again"
        ) from error


def _parse(words: list[str], path: Path) -> Pose:
    if not words or words[0].upper() != "HIERARCHY":
        raise InputError(f"{path}: no BVH file: its first word must be HIERARCHY")
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []
    stack: list[int] = []  # joints whose braces are open; -1 for an end site
    at, current = 1, -1
    while words[at].upper() != "MOTION":
        word = words[at].upper()
        if word in ("ROOT", "JOINT"):
            end = words.index("{", at)
            names.append(" ".join(words[at + 1 : end]))
            parents.append(stack[-1] if stack else -1)
            offsets.append([0.0, 0.0, 0.0])
            channels.append([])
            current, at = len(names) - 1, end
            if len(names) > _MOST_JOINTS:
                raise InputError(f"{path}: over {_MOST_JOINTS} joints")
        elif word == "END":
            current, at = -1, words.index("{", at)
        elif word == "{":
            stack.append(current)
            at += 1
        elif word == "}":
            stack.pop()
            at += 1
        elif word == "OFFSET":
            if stack[-1] >= 0:
                offsets[stack[-1]] = [float(v) for v in words[at + 1 : at + 4]]
            at += 4
        elif word == "CHANNELS":
            count = int(words[at + 1])
            if not 0 <= count <= 6:
                raise ValueError("channels")
            channels[stack[-1]] = [c.lower() for c in words[at + 2 : at + 2 + count]]
            at += 2 + count
        else:
            raise ValueError(f"unexpected {words[at][:20]!r}")
    at += 1
    if words[at].upper() != "FRAMES:" or words[at + 2].upper() != "FRAME":
        raise ValueError("no frames")
    frames, step = int(words[at + 1]), float(words[at + 4])
    total = sum(map(len, channels))
    refuse_large((max(frames, 0), len(names), 9), path)
    numbers = words[at + 5 :]
    if frames <= 0 or not names or len(numbers) < frames * total:
        raise InputError(f"{path}: says {frames} frames of {total} channels and holds {len(numbers)} numbers")
    motion = np.array(numbers[: frames * total], np.float64).reshape(frames, total)
    points = forward(np.array(parents), np.array(offsets), channels, motion)
    edges = tuple((p, j) for j, p in enumerate(parents) if p >= 0)
    return Pose(
        points=points[:, None], names=tuple(names) if len(set(names)) == len(names) else None, edges=edges, world=True,
        fps=1 / step if step > 0 else None,
    )  # fmt: skip


def forward(
    parents: np.ndarray, offsets: np.ndarray, channels: list[list[str]], motion: np.ndarray
) -> np.ndarray:
    """`(frame, joint, 3)` positions of a tree whose parents come before their children."""
    frames = len(motion)
    points = np.zeros((frames, len(parents), 3))
    turns = np.zeros((frames, len(parents), 3, 3))
    column = 0
    for j, parent in enumerate(parents):
        shift = np.tile(offsets[j], (frames, 1))
        turn = np.tile(np.eye(3), (frames, 1, 1))
        for channel in channels[j]:
            value = motion[:, column]
            column += 1
            axis = "xyz".index(channel[0])
            if channel.endswith("position"):
                shift[:, axis] += value
            elif channel.endswith("rotation"):
                turn = turn @ axis_rotation(axis, np.deg2rad(value))
            else:
                raise ValueError(f"channel {channel[:20]!r}")
        if parent < 0:
            points[:, j], turns[:, j] = shift, turn
        else:
            points[:, j] = points[:, parent] + np.einsum("fij,fj->fi", turns[:, parent], shift)
            turns[:, j] = turns[:, parent] @ turn
    return points


def axis_rotation(axis: int, angle: np.ndarray) -> np.ndarray:
    """`(frame, 3, 3)` rotations about one axis, angles in radians."""
    c, s = np.cos(angle), np.sin(angle)
    out = np.tile(np.eye(3), (len(angle), 1, 1))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    out[:, a, a] = out[:, b, b] = c
    out[:, a, b], out[:, b, a] = -s, s
    return out


def sniff(path: Path) -> bool:
    """Whether the first word is HIERARCHY."""
    return start_of(path, 64).lstrip()[:9].upper() == b"HIERARCHY"


FORMAT = pose_format("bvh", (".bvh",), "BVH motion capture; a reference", parse, sniff)
