"""A left hand of 21 points that opens and closes, its fingers together or one by one.

The usual order of hand landmarks: wrist, then thumb to little finger from the base to the tip. Lengths in
metres; joints close to the limits of an adult hand. The palm faces the camera, fingers up, the thumb
to the left in the image.
"""

import dataclasses
import itertools

import numpy as np

from jnrsfm.datasets.articulated import Joint, Skeleton
from jnrsfm.datasets.config import DatasetConfig
from jnrsfm.datasets.motion import Motion, clip_lengths, drift, heading_of

# Finger: its knuckle in the palm (palm normal, across towards the little finger, up), its three bones.
_FINGERS = {
    "index": ((0.004, -0.026, 0.090), (0.043, 0.025, 0.020)),
    "middle": ((0.006, -0.004, 0.093), (0.047, 0.029, 0.021)),
    "ring": ((0.004, 0.016, 0.087), (0.043, 0.027, 0.021)),
    "little": ((0.0, 0.035, 0.077), (0.033, 0.019, 0.018)),
}


def _finger(name: str) -> tuple[Joint, ...]:
    knuckle, (first, second, third) = _FINGERS[name]
    return (
        Joint(f"{name}_mcp", "wrist", knuckle, {"flex": (-20, 90), "abd": (-20, 20)}),
        Joint(f"{name}_pip", f"{name}_mcp", (0, 0, first), {"flex": (0, 105)}),
        Joint(f"{name}_dip", f"{name}_pip", (0, 0, second), {"flex": (0, 80)}),
        Joint(f"{name}_tip", f"{name}_dip", (0, 0, third)),
    )


_CHAINS = {"thumb": ("cmc", "mcp", "ip", "tip")} | dict.fromkeys(_FINGERS, ("mcp", "pip", "dip", "tip"))

HAND = Skeleton(
    joints=(
        Joint("wrist", None, (0, 0, 0), {"flex": (-60, 60), "abd": (-25, 25), "twist": (-60, 60)}),
        Joint(
            "thumb_cmc", "wrist", (0.012, -0.028, 0.022),
            {"flex": (-15, 55), "abd": (-5, 65), "twist": (-90, 20)},
        ),
        Joint("thumb_mcp", "thumb_cmc", (0.0, 0.0, 0.046), {"flex": (-5, 60)}),
        Joint("thumb_ip", "thumb_mcp", (0.0, 0.0, 0.034), {"flex": (-10, 80)}),
        Joint("thumb_tip", "thumb_ip", (0.0, 0.0, 0.027)),
        *(joint for name in _FINGERS for joint in _finger(name)),
    ),
    edges=tuple(
        edge
        for finger, parts in _CHAINS.items()
        for edge in (
            ("wrist", f"{finger}_{parts[0]}"),
            *((f"{finger}_{a}", f"{finger}_{b}") for a, b in itertools.pairwise(parts)),
        )
    ),
    groups={f: tuple(f"{f}_{p}" for p in parts[1:]) for f, parts in _CHAINS.items()},
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class HandConfig(DatasetConfig):
    """A left hand whose fingers curl by slowly changing synergies, each clip its own."""


def hand(config: HandConfig, rng: np.random.Generator) -> Motion:
    """Clips of a hand: every finger curls by a common wave and one of its own, as a hand does."""
    parts, headings = [], []
    lengths = clip_lengths(config.frames, config.clips)
    for n in lengths:
        time = np.arange(n) / config.fps
        turn = 2 * np.pi * (rng.uniform() + rng.uniform(0.3, 0.5) * time)
        common, lag = rng.uniform(0.3, 1.0), rng.uniform(-0.9, 0.9)
        spread = 6 + 5 * drift(rng, time)
        angles: dict[str, np.ndarray] = {}
        for i, finger in enumerate(("thumb", *_FINGERS)):
            wave = common * np.cos(turn + lag * (i - 2)) + 0.55 * drift(rng, time, (1.5, 4.0))
            curl = 1 / (1 + np.exp(-1.8 * wave))
            if finger == "thumb":
                angles["thumb_cmc.flex"] = 5 + 32 * curl
                angles["thumb_cmc.abd"] = 48 - 30 * curl
                angles["thumb_cmc.twist"] = -20 - 40 * curl
                angles["thumb_mcp.flex"] = 6 + 34 * curl
                angles["thumb_ip.flex"] = 8 + 46 * curl
                continue
            angles[f"{finger}_mcp.flex"] = 2 + 74 * curl
            # The joint next to the tip follows the middle one by about two thirds (a tendon couples them).
            angles[f"{finger}_pip.flex"] = 6 + 88 * curl
            angles[f"{finger}_dip.flex"] = 0.65 * angles[f"{finger}_pip.flex"]
            # Fingers spread when they are open: a fist has no room. Positive tilts towards the thumb.
            angles[f"{finger}_mcp.abd"] = (2.3 - i) * spread * (1 - 0.8 * curl)
        angles["wrist.flex"] = 18 * drift(rng, time)
        angles["wrist.abd"] = 8 * drift(rng, time)
        parts.append(HAND.pose(angles, n))
        headings.append(heading_of(time, config.turning, rng))
    sequence = np.repeat(np.arange(config.clips, dtype=np.int32), lengths)
    return HAND.motion(np.concatenate(parts), np.concatenate(headings), sequence)
