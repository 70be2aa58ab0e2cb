"""A dog-like animal of 25 points that walks, trots, gallops with a bending spine, and grazes.

Joint angles are smooth periodic curves, each leg with the phase that defines the gait (Hildebrand,
Symmetrical gaits of horses, Science 150, 1965). Lengths in metres. As the walker, it stays in place.
"""

import dataclasses

import numpy as np

from jnrsfm.datasets.articulated import Joint, Skeleton, stand
from jnrsfm.datasets.config import DatasetConfig, some_of, within
from jnrsfm.datasets.motion import Motion, clip_lengths, drift, heading_of, periodic, pulse


def _legs(side: str, sign: int) -> tuple[Joint, ...]:
    return (
        Joint(
            f"{side}_shoulder", "withers", (-0.02, 0.09 * sign, -0.15),
            {"flex": (-60, 60), "abd": (-10, 15)}, bend=-1,
        ),
        Joint(f"{side}_elbow", f"{side}_shoulder", (-0.11, 0.0, -0.18), {"flex": (-25, 110)}, bend=-1),
        Joint(f"{side}_wrist", f"{side}_elbow", (0.06, 0.0, -0.22), {"flex": (-10, 120)}),
        Joint(f"{side}_front_paw", f"{side}_wrist", (0.04, 0.0, -0.10)),
        Joint(
            f"{side}_hip", "rump", (0.03, 0.08 * sign, -0.05), {"flex": (-60, 70), "abd": (-10, 20)}, bend=-1
        ),
        Joint(f"{side}_knee", f"{side}_hip", (0.11, 0.0, -0.22), {"flex": (-25, 95)}),
        Joint(f"{side}_hock", f"{side}_knee", (-0.16, 0.0, -0.19), {"flex": (-35, 85)}, bend=-1),
        Joint(f"{side}_hind_paw", f"{side}_hock", (0.05, 0.0, -0.17)),
    )  # fmt: skip


_LIMB_EDGES = tuple(
    edge
    for side in ("left", "right")
    for edge in (
        ("withers", f"{side}_shoulder"), (f"{side}_shoulder", f"{side}_elbow"),
        (f"{side}_elbow", f"{side}_wrist"), (f"{side}_wrist", f"{side}_front_paw"),
        ("rump", f"{side}_hip"), (f"{side}_hip", f"{side}_knee"),
        (f"{side}_knee", f"{side}_hock"), (f"{side}_hock", f"{side}_hind_paw"),
    )
)  # fmt: skip

QUADRUPED = Skeleton(
    joints=(
        Joint("rump", None, (0, 0, 0), {"flex": (-40, 40), "abd": (-10, 10), "twist": (-20, 20)}),
        Joint("spine", "rump", (0.34, 0, 0.02), {"flex": (-40, 75), "abd": (-10, 10), "twist": (-30, 30)}),
        Joint("withers", "spine", (0.34, 0, 0.02)),
        Joint("neck", "withers", (0.06, 0, 0.0), {"flex": (-50, 110), "twist": (-60, 60)}),
        Joint("head", "neck", (0.20, 0, 0.20), {"flex": (-40, 60), "abd": (-30, 30), "twist": (-40, 40)}),
        Joint("nose", "head", (0.19, 0, -0.06)),
        Joint("tail_base", "rump", (-0.09, 0, 0.01), {"flex": (-70, 60), "twist": (-60, 60)}),
        Joint("tail_middle", "tail_base", (-0.22, 0, -0.10), {"flex": (-50, 50), "twist": (-60, 60)}),
        Joint("tail_tip", "tail_middle", (-0.22, 0, 0.0)),
        *_legs("left", 1),
        *_legs("right", -1),
    ),
    edges=(
        ("rump", "spine"), ("spine", "withers"), ("withers", "neck"), ("neck", "head"), ("head", "nose"),
        ("rump", "tail_base"), ("tail_base", "tail_middle"), ("tail_middle", "tail_tip"),
        *_LIMB_EDGES,
    ),
    groups={
        "left fore leg": ("left_elbow", "left_wrist", "left_front_paw"),
        "right fore leg": ("right_elbow", "right_wrist", "right_front_paw"),
        "left hind leg": ("left_knee", "left_hock", "left_hind_paw"),
        "right hind leg": ("right_knee", "right_hock", "right_hind_paw"),
        "tail": ("tail_base", "tail_middle", "tail_tip"),
        "head": ("neck", "head", "nose"),
    },
)  # fmt: skip

# Ten values a turn from touch-down, degrees: shoulder and hip sweep back on the ground, then swing forward.
_SWEEP = (22, 17, 11, 4, -4, -12, -19, -12, 12, 25)
_ELBOW = (0, 2, 2, 2, 0, 0, 12, 50, 44, 10)
_WRIST = (0, 0, -2, -2, -2, 0, 34, 78, 42, 4)
_KNEE = (0, 6, 8, 6, 2, 0, 14, 44, 34, 4)
_HOCK = (0, 8, 10, 6, -4, -10, 8, 40, 30, 2)

# Gait: turns a second, sweep, and the phases of left hind, right hind, left fore and right fore leg.
GAITS: dict[str, tuple[float, float, tuple[float, float, float, float]]] = {
    "walk": (0.95, 1.0, (0.0, 0.5, 0.75, 0.25)),
    "trot": (1.5, 1.15, (0.0, 0.5, 0.5, 0.0)),
    "gallop": (1.9, 1.75, (0.0, 0.1, 0.55, 0.43)),
    "graze": (0.3, 0.0, (0.0, 0.5, 0.75, 0.25)),
}


@dataclasses.dataclass(frozen=True)
class QuadrupedConfig(DatasetConfig):
    """A dog-like animal; `gaits` are taken by the clips in turn. `body_variation`: standard deviation
    of the log bone lengths from clip to clip (0: one animal throughout)."""

    gaits: tuple[str, ...] = ("walk", "trot", "gallop", "graze")
    body_variation: float = 0.0

    def __post_init__(self):
        """Check the values."""
        super().__post_init__()
        some_of(self, "gaits", tuple(GAITS))
        within(self, "body_variation", 0, 0.3)


def _angles(gait: str, phase, time, rng) -> dict[str, np.ndarray]:
    """Joint angles of one clip, degrees."""
    _, sweep, beats = GAITS[gait]
    slow = [drift(rng, time) for _ in range(8)]
    sweep = sweep * rng.uniform(0.85, 1.1) * (1 + 0.06 * slow[0])
    fold = np.minimum(sweep, 1.3)
    turn = 2 * np.pi * phase
    out: dict[str, np.ndarray] = {}
    for side, hind, fore in (("left", beats[0], beats[2]), ("right", beats[1], beats[3])):
        out[f"{side}_hip.flex"] = sweep * periodic(_SWEEP, phase - hind)
        out[f"{side}_knee.flex"] = fold * periodic(_KNEE, phase - hind)
        out[f"{side}_hock.flex"] = fold * periodic(_HOCK, phase - hind)
        out[f"{side}_shoulder.flex"] = sweep * periodic(_SWEEP, phase - fore)
        out[f"{side}_elbow.flex"] = fold * periodic(_ELBOW, phase - fore)
        out[f"{side}_wrist.flex"] = fold * periodic(_WRIST, phase - fore)
    # Galloping, the back arches when the hind legs reach forward and stretches when they push off.
    arch = 26 * np.cos(turn - 0.3) if gait == "gallop" else 1.5 * np.cos(2 * turn)
    down = 88 * pulse(phase + 0.1 * slow[1], 3.0) if gait == "graze" else 0.0
    nod = {"walk": 5, "trot": 2, "gallop": 9, "graze": 1}[gait]
    out |= {
        "spine.flex": 6 + arch,
        "rump.flex": -3 - 0.55 * arch,
        "spine.twist": 5 * slow[2] + (3 * np.sin(turn) if gait == "walk" else 0),
        "neck.flex": 8 + 5 * slow[3] + nod * np.sin(2 * turn if gait != "gallop" else turn) + down,
        "neck.twist": 12 * slow[4],
        "head.flex": 5 + 5 * slow[5] - 0.15 * down - 0.4 * arch,
        "head.twist": 8 * slow[4],
        "tail_base.flex": -10 + 10 * slow[6] - (20 if gait == "gallop" else 0),
        "tail_base.twist": 14 * np.sin(turn + 0.5) + 8 * slow[7],
        "tail_middle.flex": -8 + 8 * slow[6],
        "tail_middle.twist": 16 * np.sin(turn - 0.6),
    }
    return out


def quadruped(config: QuadrupedConfig, rng: np.random.Generator) -> Motion:
    """Clips of an animal in motion, the gaits in turn."""
    parts, headings = [], []
    lengths = clip_lengths(config.frames, config.clips)
    feet = [QUADRUPED.index(f"{s}_{p}_paw") for s in ("left", "right") for p in ("front", "hind")]
    for i, n in enumerate(lengths):
        gait = config.gaits[i % len(config.gaits)]
        skeleton, time = QUADRUPED.varied(config.body_variation, rng), np.arange(n) / config.fps
        speed = GAITS[gait][0] * rng.uniform(0.88, 1.12) * (1 + 0.05 * drift(rng, time))
        phase = rng.uniform() + np.cumsum(speed) / config.fps
        posed = stand(skeleton.pose(_angles(gait, phase, time, rng), n), feet, clearance=(0.0,) * 4)
        if gait == "gallop":
            posed[..., 2] += 0.05 * np.clip(np.sin(2 * np.pi * (phase - 0.55)), 0, None)[:, None]
        parts.append(posed)
        headings.append(heading_of(time, config.turning, rng))
    sequence = np.repeat(np.arange(config.clips, dtype=np.int32), lengths)
    return QUADRUPED.motion(np.concatenate(parts), np.concatenate(headings), sequence)
