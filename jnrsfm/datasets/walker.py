"""A human-like figure of 19 points that walks, runs, jumps, waves, squats and dances.

Joint angles are smooth periodic curves of a gait phase; those of walking and running follow the shape of
the normal curves of gait analysis (Winter, The Biomechanics and Motor Control of Human Gait, 1991), rounded.
Lengths are those of a person of 1.73 m, in metres (segment proportions after Drillis and Contini, 1966).
The figure stays in place, as on a treadmill; its turning is kept apart in `Motion.heading`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from jnrsfm.datasets.articulated import Joint, Skeleton, stand
from jnrsfm.datasets.config import DatasetConfig, some_of, within
from jnrsfm.datasets.motion import Motion, clip_lengths, drift, heading_of, periodic, pulse


def _leg(side: str, sign: int) -> tuple[Joint, ...]:
    return (
        Joint(
            f"{side}_hip", "pelvis", (0.0, 0.10 * sign, -0.04),
            {"flex": (-25, 125), "abd": (-20, 45), "twist": (-30, 40)}, bend=-1,
        ),
        Joint(f"{side}_knee", f"{side}_hip", (0.0, 0.0, -0.43), {"flex": (0, 145)}),
        Joint(
            f"{side}_ankle", f"{side}_knee", (0.0, 0.0, -0.42), {"flex": (-50, 35), "abd": (-15, 15)}, bend=-1
        ),
        Joint(f"{side}_toe", f"{side}_ankle", (0.19, 0.015 * sign, -0.07)),
    )  # fmt: skip


def _arm(side: str, sign: int) -> tuple[Joint, ...]:
    return (
        Joint(
            f"{side}_shoulder", "spine", (0.0, 0.19 * sign, 0.23),
            {"flex": (-60, 175), "abd": (-20, 165), "twist": (-80, 95)}, bend=-1,
        ),
        Joint(f"{side}_elbow", f"{side}_shoulder", (0.0, 0.0, -0.31), {"flex": (0, 150)}, bend=-1),
        Joint(f"{side}_wrist", f"{side}_elbow", (0.0, 0.0, -0.27)),
    )  # fmt: skip


WALKER = Skeleton(
    joints=(
        Joint("pelvis", None, (0, 0, 0), {"flex": (-20, 60), "abd": (-20, 20), "twist": (-45, 45)}),
        Joint("spine", "pelvis", (0, 0, 0.24), {"flex": (-25, 60), "abd": (-30, 30), "twist": (-45, 45)}),
        Joint("neck", "spine", (0, 0, 0.27), {"flex": (-50, 50), "abd": (-35, 35), "twist": (-75, 75)}),
        Joint("nose", "neck", (0.11, 0, 0.12)),
        Joint("head_top", "neck", (0.0, 0, 0.26)),
        *_arm("left", 1),
        *_arm("right", -1),
        *_leg("left", 1),
        *_leg("right", -1),
    ),
    edges=(
        ("pelvis", "spine"), ("spine", "neck"), ("neck", "nose"), ("nose", "head_top"),
        ("neck", "left_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
        ("neck", "right_shoulder"), ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
        ("pelvis", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
        ("left_ankle", "left_toe"),
        ("pelvis", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
        ("right_ankle", "right_toe"),
    ),
    groups={
        "left arm": ("left_shoulder", "left_elbow", "left_wrist"),
        "right arm": ("right_shoulder", "right_elbow", "right_wrist"),
        "left leg": ("left_knee", "left_ankle", "left_toe"),
        "right leg": ("right_knee", "right_ankle", "right_toe"),
        "feet": ("left_ankle", "left_toe", "right_ankle", "right_toe"),
        "head": ("nose", "head_top"),
    },
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Style:
    """How one clip differs from another: factors near 1, and slow unit-variance functions of time."""

    phase: np.ndarray  # (frame,) turns of the gait
    slow: np.ndarray  # (8, frame) unit-variance drifts
    stride: float
    swing: float
    lean: float
    left: bool  # which arm leads


Angles = dict[str, np.ndarray]

# Ten values a turn from heel strike, degrees.
_WALK_HIP = (29, 24, 14, 4, -5, -11, -5, 12, 26, 31)
_WALK_KNEE = (5, 15, 16, 9, 5, 9, 32, 60, 52, 18)
_WALK_ANKLE = (0, -5, 3, 7, 10, 6, -16, -8, 1, 2)
_RUN_HIP = (38, 32, 18, 2, -12, -12, 6, 32, 52, 50)
_RUN_KNEE = (18, 36, 40, 26, 16, 38, 80, 104, 84, 38)
_RUN_ANKLE = (5, 16, 20, 6, -22, -18, -6, 2, 6, 6)


def _stride(style: Style, hip, knee, ankle) -> Angles:
    """Legs in opposite phase, and the pelvis and trunk that go with them."""
    out: Angles = {}
    amplitude = style.stride * (1 + 0.06 * style.slow[0])
    for side, shift in (("left", 0.0), ("right", 0.5)):
        phase = style.phase + shift
        out[f"{side}_hip.flex"] = amplitude * periodic(hip, phase)
        out[f"{side}_knee.flex"] = 3 + amplitude * periodic(knee, phase)
        out[f"{side}_ankle.flex"] = amplitude * periodic(ankle, phase)
        out[f"{side}_hip.abd"] = 1 + 2 * style.slow[1] * 0.5
        out[f"{side}_hip.twist"] = np.full_like(phase, 4.0)
    turn = 2 * np.pi * style.phase
    # The left leg leads at phase 0: that side of the pelvis goes forward, the shoulders counter it.
    out["pelvis.twist"] = -5 * amplitude * np.cos(turn)
    out["pelvis.abd"] = 3.0 * amplitude * np.sin(turn)
    out["spine.twist"] = 9 * amplitude * np.cos(turn) + 4 * style.slow[2]
    out["spine.abd"] = -3.0 * amplitude * np.sin(turn) + 2 * style.slow[3]
    out["neck.twist"] = 12 * style.slow[4]
    out["neck.flex"] = 4 + 4 * style.slow[5]
    return out


def _arms(style: Style, amplitude: int, elbow: int, elbow_swing: int, abd: int) -> Angles:
    """Arms that swing against the leg of their side."""
    out: Angles = {}
    for side, shift in (("left", 0.0), ("right", 0.5)):
        swing = -np.cos(2 * np.pi * (style.phase + shift - 0.03))
        out[f"{side}_shoulder.flex"] = 2 + style.swing * amplitude * swing
        out[f"{side}_shoulder.abd"] = abd + 2 * style.slow[6]
        out[f"{side}_shoulder.twist"] = np.full_like(swing, -12.0)
        out[f"{side}_elbow.flex"] = elbow + elbow_swing * style.swing * swing
    return out


def _walk(style: Style) -> tuple[Angles, np.ndarray | float]:
    angles = _stride(style, _WALK_HIP, _WALK_KNEE, _WALK_ANKLE) | _arms(style, 22, 24, 12, 8)
    angles["pelvis.flex"] = 2 + 2 * style.lean + 0 * style.phase
    return angles, 0.0


def _run(style: Style) -> tuple[Angles, np.ndarray | float]:
    angles = _stride(style, _RUN_HIP, _RUN_KNEE, _RUN_ANKLE) | _arms(style, 42, 88, 14, 12)
    angles["pelvis.flex"] = 7 + 3 * style.lean + 0 * style.phase
    angles["spine.flex"] = 4 + 0 * style.phase
    # Both feet are off the ground shortly before each heel strike.
    flight = np.clip(np.cos(4 * np.pi * (style.phase + 0.06)), 0, None) ** 2
    return angles, 0.06 * style.stride * flight


def _wave(style: Style) -> tuple[Angles, np.ndarray | float]:
    """Walking, with one arm raised from time to time that waves."""
    angles, _ = _walk(style)
    side = "left" if style.left else "right"
    up = pulse(style.phase / 5 + 0.1 * style.slow[7])
    wave = np.sin(2 * np.pi * 1.9 * style.phase)
    for dof, target in (
        ("shoulder.flex", 15 + 0 * wave),
        ("shoulder.abd", 105 + 10 * style.slow[6]),
        ("shoulder.twist", 80 + 8 * wave),
        ("elbow.flex", 72 + 32 * wave),
    ):
        name = f"{side}_{dof}"
        angles[name] = angles[name] * (1 - up) + target * up
    angles["neck.twist"] = angles["neck.twist"] + (18 if style.left else -18) * up
    return angles, 0.0


def _both(style: Style, **curves) -> Angles:
    """The same curves left and right: `hip_flex=...` becomes `left_hip.flex` and `right_hip.flex`."""
    return {f"{side}_{k.replace('_', '.')}": v for k, v in curves.items() for side in ("left", "right")}


def _jump(style: Style) -> tuple[Angles, np.ndarray | float]:
    """Countermovement jumps: dip with the arms back, take off with the arms up, land, stand."""
    phase, s = style.phase, style.stride
    dip = periodic((0, 4, 30, 78, 92, 48, 0, 0, 10, 60, 52, 18), phase)
    dip = np.clip(dip, 0, None) * s
    tuck = 18 * s * np.exp(-(((phase % 1 - 0.58) / 0.07) ** 2))
    arms = periodic((0, -8, -26, -40, -24, 36, 100, 128, 104, 52, 20, 6), phase)
    angles = _both(
        style,
        hip_flex=dip * 0.95 + 1.2 * tuck,
        knee_flex=4 + 1.12 * dip + 2 * tuck,
        ankle_flex=0.3 * dip - 34 * np.exp(-(((phase % 1 - 0.55) / 0.1) ** 2)),
        hip_abd=6 + 0.05 * dip,
        hip_twist=8 + 0 * phase,
        shoulder_flex=style.swing * arms,
        shoulder_abd=12 + 5 * style.slow[6],
        elbow_flex=20 + 12 * np.sin(2 * np.pi * phase + 1.0) ** 2,
    )
    angles |= {
        "pelvis.flex": 0.38 * dip,
        "spine.flex": 0.14 * dip,
        "spine.twist": 5 * style.slow[2],
        "neck.flex": -0.3 * dip,
        "neck.twist": 10 * style.slow[4],
    }
    # Ballistic: a parabola in the air, from phase 0.46 to 0.72.
    air = (phase % 1 - 0.46) / 0.26
    return angles, 0.24 * s * np.clip(4 * air * (1 - air), 0, None)


def _crouch(style: Style) -> tuple[Angles, np.ndarray | float]:
    """Slow squats with the arms stretched forward, the trunk turning from side to side."""
    dip = (0.5 - 0.5 * np.cos(2 * np.pi * style.phase)) * 100 * style.stride
    sway = np.sin(np.pi * style.phase + 0.5)
    angles = _both(
        style,
        hip_flex=1.0 * dip,
        knee_flex=4 + 1.15 * dip,
        ankle_flex=0.28 * dip,
        hip_abd=12 + 0.06 * dip,
        hip_twist=14 + 0 * dip,
        elbow_flex=14 + 10 * style.slow[5] ** 2,
    )
    for side, sign in (("left", 1), ("right", -1)):
        angles[f"{side}_shoulder.flex"] = style.swing * (0.85 * dip) + 6 * sign * sway
        angles[f"{side}_shoulder.abd"] = 10 + 14 * np.clip(sign * sway, 0, None) + 3 * style.slow[6]
    angles |= {
        "pelvis.flex": 0.30 * dip,
        "spine.flex": 0.10 * dip + 3 * style.slow[3],
        "spine.twist": 22 * sway,
        "spine.abd": 5 * style.slow[1],
        "neck.flex": -0.25 * dip,
        "neck.twist": 10 * sway + 6 * style.slow[4],
    }
    return angles, 0.0


def _dance(style: Style) -> tuple[Angles, np.ndarray | float]:
    """Knee lifts from side to side, arms that open and rise, a trunk that sways."""
    turn = 2 * np.pi * style.phase
    out: Angles = {}
    for side, shift, sign in (("left", 0.0, 1), ("right", 0.5, -1)):
        lift = np.clip(periodic((0, 0.7, 1, 0.7, 0, 0, 0, 0, 0, 0), style.phase + shift), 0, None)
        lift = style.stride * lift
        beat = 0.5 - 0.5 * np.cos(2 * turn)
        out[f"{side}_hip.flex"] = 8 + 66 * lift + 5 * beat
        out[f"{side}_knee.flex"] = 12 + 84 * lift + 10 * beat
        out[f"{side}_ankle.flex"] = 6 - 22 * lift + 4 * beat
        out[f"{side}_hip.abd"] = 7 + 8 * lift
        out[f"{side}_hip.twist"] = 8 + 10 * lift
        rise = 0.5 - 0.5 * np.cos(turn / 2 + sign * 0.9 + 0.4 * style.slow[7])
        out[f"{side}_shoulder.abd"] = 18 + 105 * style.swing * rise
        out[f"{side}_shoulder.flex"] = 18 + 14 * np.sin(turn + sign * 0.8)
        out[f"{side}_shoulder.twist"] = 10 + 60 * rise
        out[f"{side}_elbow.flex"] = 35 + 30 * np.sin(turn + sign * 0.6) + 12 * style.slow[6]
    out |= {
        "pelvis.twist": 8 * np.sin(turn),
        "pelvis.abd": 5 * np.sin(turn + 0.4),
        "pelvis.flex": 3 + 0 * turn,
        "spine.abd": -10 * np.sin(turn) + 3 * style.slow[3],
        "spine.twist": -14 * np.sin(turn + 0.3) + 5 * style.slow[2],
        "neck.twist": 16 * style.slow[4],
        "neck.abd": 7 * np.sin(turn),
        "neck.flex": 5 * style.slow[5],
    }
    return out, 0.0


# Gait: its curves, turns a second, and by how much it turns about the vertical (factor of `turning`).
GAITS: dict[str, tuple[Callable[[Style], tuple[Angles, np.ndarray | float]], float, float]] = {
    "walk": (_walk, 0.95, 1.0),
    "run": (_run, 1.4, 0.8),
    "jump": (_jump, 0.62, 0.5),
    "wave": (_wave, 0.85, 1.0),
    "crouch": (_crouch, 0.36, 0.6),
    "dance": (_dance, 0.7, 1.2),
}


def _clip(skeleton: Skeleton, gait: str, n: int, fps: float, turning: float, rng):
    """One clip: `(frame, point, 3)` in the anatomical frame and the heading `(frame,)`."""
    curves, rate, turn = GAITS[gait]
    time = np.arange(n) / fps
    slow = np.stack([drift(rng, time) for _ in range(8)])
    speed = rate * rng.uniform(0.88, 1.12) * (1 + 0.05 * drift(rng, time))
    style = Style(
        phase=rng.uniform() + np.cumsum(speed) / fps,
        slow=slow,
        stride=rng.uniform(0.85, 1.08),
        swing=rng.uniform(0.75, 1.15),
        lean=rng.uniform(-1, 1),
        left=bool(rng.uniform() < 0.5),
    )
    angles, flight = curves(style)
    feet = [skeleton.index(f"{s}_{p}") for s in ("left", "right") for p in ("ankle", "toe")]
    # A heel touches the ground when its ankle is 7 cm up, as in the flat foot; a toe when it is at 0.
    posed = stand(skeleton.pose(angles, n), feet, clearance=(0.07, 0.0, 0.07, 0.0))
    posed[..., 2] += np.broadcast_to(flight, (n,))[:, None]
    return posed, heading_of(time, turning * turn, rng)


@dataclasses.dataclass(frozen=True)
class WalkerConfig(DatasetConfig):
    """A human-like figure; `gaits` are taken by the clips in turn. `body_variation`: standard deviation
    of the log bone lengths from clip to clip (0: one person throughout)."""

    gaits: tuple[str, ...] = ("walk", "run", "jump", "wave", "crouch", "dance")
    body_variation: float = 0.0

    def __post_init__(self):
        """Check the values."""
        super().__post_init__()
        some_of(self, "gaits", tuple(GAITS))
        within(self, "body_variation", 0, 0.3)


def walker(config: WalkerConfig, rng: np.random.Generator) -> Motion:
    """Clips of a figure in motion, the gaits in turn."""
    parts, headings = [], []
    lengths = clip_lengths(config.frames, config.clips)
    for i, n in enumerate(lengths):
        gait = config.gaits[i % len(config.gaits)]
        skeleton = WALKER.varied(config.body_variation, rng)
        points, heading = _clip(skeleton, gait, n, config.fps, config.turning, rng)
        parts.append(points)
        headings.append(heading)
    sequence = np.repeat(np.arange(config.clips, dtype=np.int32), lengths)
    return WALKER.motion(np.concatenate(parts), np.concatenate(headings), sequence)
