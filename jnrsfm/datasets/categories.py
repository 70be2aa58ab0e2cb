"""Chairs, each another one, and sets of several categories with a block of keypoints for each."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jnrsfm.datasets.config import DatasetConfig, some_of
from jnrsfm.datasets.hand import HandConfig, hand
from jnrsfm.datasets.motion import Motion, clip_lengths
from jnrsfm.datasets.quadruped import QuadrupedConfig, quadruped
from jnrsfm.datasets.sheet import SheetConfig, sheet
from jnrsfm.datasets.walker import WalkerConfig, walker
from jnrsfm.errors import InputError

_CORNERS = ("front_left", "front_right", "back_left", "back_right")


@dataclasses.dataclass(frozen=True)
class ChairConfig(DatasetConfig):
    """Rigid chairs of varied proportions, each frame another one; half have arms, the others lack these
    points (`defined`). Every frame is a clip of its own, so that `clips` has no say here and stays 1."""

    clips: int = 1
    view: str = "ring"

    def __post_init__(self):
        """Check the values."""
        super().__post_init__()
        if self.clips != 1:
            raise InputError(f"clips={self.clips}: every frame is another chair; leave clips at 1")


def chair(config: ChairConfig, rng: np.random.Generator) -> Motion:
    """Chairs of 16 points: feet, seat corners, top of the back, middle of the back, elbow rests."""
    n = config.frames
    width, depth, height, back = (
        rng.uniform(a, b, n) for a, b in ((0.38, 0.6), (0.38, 0.58), (0.38, 0.52), (0.3, 0.65))
    )
    splay, lean, taper = rng.uniform(0, 0.06, n), rng.uniform(0.0, 0.18, n), rng.uniform(0.75, 1.1, n)
    rest = rng.uniform(0.16, 0.26, n)
    points: dict[str, np.ndarray] = {}
    # Its front faces the camera (-z); its own left is at +x.
    for name in _CORNERS:
        z = -1 if name.startswith("front") else 1
        x = 1 if name.endswith("left") else -1
        foot = np.stack([x * (width / 2 + splay), 0 * width, z * (depth / 2 + splay)], 1)
        points[f"foot_{name}"] = foot
        points[f"seat_{name}"] = np.stack([x * width / 2, -height, z * depth / 2], 1)
    for side, x in (("left", 1), ("right", -1)):
        for part, share in (("middle", 0.5), ("top", 1.0)):
            half = x * width / 2 * (1 + share * (taper - 1))
            points[f"back_{part}_{side}"] = np.stack(
                [half, -height - share * back, depth / 2 + share * lean * back / 0.5], 1
            )
        for part, along in (("front", -0.6), ("back", 0.8)):
            points[f"arm_{part}_{side}"] = np.stack([x * width / 2, -height - rest, along * depth / 2], 1)
    names = tuple(points)
    at = names.index
    edges = [(f"foot_{c}", f"seat_{c}") for c in _CORNERS]
    edges += [(f"seat_{a}", f"seat_{b}") for a, b in (
        ("front_left", "front_right"), ("front_right", "back_right"),
        ("back_right", "back_left"), ("back_left", "front_left"),
    )]  # fmt: skip
    for side in ("left", "right"):
        edges += [
            (f"seat_back_{side}", f"back_middle_{side}"), (f"back_middle_{side}", f"back_top_{side}"),
            (f"seat_front_{side}", f"arm_front_{side}"), (f"arm_front_{side}", f"arm_back_{side}"),
        ]  # fmt: skip
    edges += [("back_top_left", "back_top_right")]
    defined = np.ones((n, len(names)), bool)
    arms = [i for i, name in enumerate(names) if name.startswith("arm")]
    defined[:, arms] = (rng.uniform(size=n) < 0.5)[:, None]
    stacked = np.stack([points[name] for name in names], 1)
    return Motion(
        points=np.where(defined[..., None], stacked, 0.0),
        heading=rng.uniform(0, 2 * np.pi, n),
        sequence=np.arange(n, dtype=np.int32),
        names=names,
        edges=np.array([[at(a), at(b)] for a, b in edges], np.int32),
        symmetric=np.array([[at(a), at(a[:-4] + "right")] for a in names if a.endswith("left")], np.int32),
        groups={
            "legs": tuple(i for i, name in enumerate(names) if name.startswith("foot")),
            "back": tuple(i for i, name in enumerate(names) if name.startswith("back")),
            "left": tuple(i for i, name in enumerate(names) if name.endswith("left")),
            "right": tuple(i for i, name in enumerate(names) if name.endswith("right")),
        },
        defined=defined,
    )


MEMBERS: dict[str, tuple[type[DatasetConfig], Callable[[Any, np.random.Generator], Motion]]] = {
    "walker": (WalkerConfig, walker),
    "quadruped": (QuadrupedConfig, quadruped),
    "hand": (HandConfig, hand),
    "sheet": (SheetConfig, sheet),
    "chair": (ChairConfig, chair),
}


@dataclasses.dataclass(frozen=True)
class CategoriesConfig(DatasetConfig):
    """Several categories in one set, `members` out of the other generators at their defaults.

    `frames` and `clips` are shared out evenly, at least one clip each. Every member has a block of keypoints
    of its own, named `member:point`, and is scaled so that the RMS norm of its centred points is 1.
    """

    frames: int = 1500
    clips: int = 15
    view: str = "ring"
    members: tuple[str, ...] = ("walker", "quadruped", "hand", "sheet", "chair")

    def __post_init__(self):
        """Check the values."""
        super().__post_init__()
        some_of(self, "members", tuple(MEMBERS))
        if len(set(self.members)) < len(self.members):
            raise InputError(f"members={self.members!r}: name each category once")
        if self.clips < len(self.members):
            raise InputError(f"clips={self.clips}: give at least one for each of {len(self.members)} members")


def categories(config: CategoriesConfig, rng: np.random.Generator) -> Motion:
    """The members one after the other, each in its block."""
    parts: list[Motion] = []
    frames = clip_lengths(config.frames, len(config.members))
    clips = clip_lengths(config.clips, len(config.members))
    for name, n, c in zip(config.members, frames, clips, strict=True):
        kind, generate = MEMBERS[name]
        own = kind(frames=n, clips=1 if name == "chair" else c, fps=config.fps, turning=config.turning)
        parts.append(generate(own, rng.spawn(1)[0]))
    starts = np.cumsum([0, *(p.points.shape[1] for p in parts)])
    total, width = sum(frames), int(starts[-1])
    points, defined = np.zeros((total, width, 3)), np.zeros((total, width), bool)
    sequence, first, row = np.zeros(total, np.int32), 0, 0
    for part, start in zip(parts, starts, strict=False):
        n, p = part.points.shape[:2]
        rows, block = slice(row, row + n), slice(start, start + p)
        known = np.ones((n, p), bool) if part.defined is None else part.defined
        centred = (
            part.points - (part.points * known[..., None]).sum(1, keepdims=True) / known.sum(1)[:, None, None]
        )
        scale = np.sqrt((centred[known] ** 2).sum(-1).mean())
        points[rows, block] = np.where(known[..., None], part.points / scale, 0)
        defined[rows, block] = known
        sequence[rows] = first + part.sequence
        first, row = int(sequence[rows][-1]) + 1, row + n
    pairs = [p.symmetric + s for p, s in zip(parts, starts, strict=False) if p.symmetric is not None]
    return Motion(
        points=points,
        heading=np.concatenate([p.heading for p in parts]),
        sequence=sequence,
        names=tuple(f"{m}:{n}" for m, p in zip(config.members, parts, strict=True) for n in p.names),
        edges=np.concatenate([p.edges + s for p, s in zip(parts, starts, strict=False)]).astype(np.int32),
        symmetric=np.concatenate(pairs).astype(np.int32) if pairs else None,
        groups={
            f"{m}:{g}": tuple(int(s) + i for i in indices)
            for m, p, s in zip(config.members, parts, starts, strict=False)
            for g, indices in p.groups.items()
        },
        defined=defined,
        category=np.repeat(np.arange(len(parts), dtype=np.int32), frames),
        categories=config.members,
    )
