"""The body of the walking person: flesh and clothes on the 19 points of `walker`."""

import numpy as np

from jnrsfm.datasets.motion import Motion
from jnrsfm.datasets.render import colours
from jnrsfm.datasets.render.anatomy import (
    Body,
    Dress,
    Figure,
    Frames,
    Material,
    Part,
    assemble,
    axes,
    ball,
    rest_of,
)
from jnrsfm.datasets.walker import GAITS, WALKER, WalkerConfig, walker

APART = {f"{s}_{k}": v for s in ("left", "right") for k, v in (("shoulder.abd", 55), ("hip.abd", 14))}
FEET = ("left_ankle", "left_toe", "right_ankle", "right_toe")
SIDES = (("left", 1), ("right", -1))


def _motion(frames: int, fps: float, turning: float, rng) -> Motion:
    gait = list(GAITS)[rng.integers(len(GAITS))]
    config = WalkerConfig(
        frames=max(frames, 2), clips=1, fps=fps, turning=turning, gaits=(gait,), body_variation=0.07
    )
    return walker(config, rng)


def _frames(motion: Motion) -> Frames:
    f = Frames(np.concatenate([rest_of(WALKER, motion.points), motion.points]), motion.names)
    at = f.at
    f.add(
        "pelvis",
        "pelvis",
        axes(up=at("spine") - at("pelvis"), left=at("left_hip") - at("right_hip"), keep="left"),
    )
    f.add(
        "waist",
        "pelvis",
        axes(up=at("spine") - at("pelvis"), left=at("left_hip") - at("right_hip"), keep="up"),
    )
    across = at("left_shoulder") - at("right_shoulder")
    f.add("chest", "spine", axes(up=at("neck") - at("spine"), left=across, keep="up"))
    f.add("head", "neck", axes(up=at("head_top") - at("neck"), forward=at("nose") - at("neck"), keep="up"))
    down = (0, 0, -1)
    for side, _ in SIDES:
        f.bone(f"{side}_upper_arm", f"{side}_shoulder", f"{side}_elbow", "chest", down)
        f.bone(f"{side}_forearm", f"{side}_elbow", f"{side}_wrist", f"{side}_upper_arm", down)
        f.bone(f"{side}_thigh", f"{side}_hip", f"{side}_knee", "pelvis", down)
        f.bone(f"{side}_shin", f"{side}_knee", f"{side}_ankle", f"{side}_thigh", down)
        sign = 1 if side == "left" else -1
        f.bone(f"{side}_foot", f"{side}_ankle", f"{side}_toe", f"{side}_shin", (0.19, 0.015 * sign, -0.07))
    return f


def _torso(f: Frames, g: float, rng) -> list[Part]:
    hip = f.length("left_hip", "right_hip") / 2
    shoulder = f.length("left_shoulder", "right_shoulder") / 2
    belly, back = f.length("pelvis", "spine"), f.length("spine", "neck")
    waist = rng.uniform(0.85, 1.1)
    bust = rng.uniform(0.0, 1.0)
    deep = (0.72, 1, 1)
    parts = [
        Part(
            "pelvis",
            "pelvis",
            (-0.005, 0.55 * hip, -0.03),
            (-0.005, -0.55 * hip, -0.03),
            (0.105 * g,) * 2,
            "trousers",
        ),
        Part(
            "pelvis",
            "waist",
            (0, 0, -0.01),
            (0.005, 0, 0.45 * belly),
            (0.15 * g, 0.142 * waist * g),
            "trousers",
            deep,
        ),
        Part(
            "torso",
            "waist",
            (0.005, 0, 0.35 * belly),
            (0.01, 0, belly),
            (0.143 * waist * g, 0.14 * g),
            "shirt",
            deep,
        ),
        Part(
            "torso",
            "chest",
            (0.01, 0, -0.02),
            (0.0, 0, 0.6 * back),
            (0.138 * g, 0.158 * g),
            "shirt",
            (0.74, 1, 1),
        ),
        Part(
            "torso",
            "chest",
            (-0.01, 0.62 * shoulder, 0.74 * back),
            (-0.01, -0.62 * shoulder, 0.74 * back),
            (0.075 * g,) * 2,
            "shirt",
        ),
    ]
    for _, s in SIDES:
        parts += [
            ball(
                "torso",
                "chest",
                (0.05 + 0.015 * bust, s * 0.068, 0.52 * back),
                (0.055 + 0.02 * bust, 0.068, 0.065),
                "shirt",
            ),
            Part(
                "torso",
                "chest",
                (-0.012, s * 0.03, 0.97 * back),
                (-0.012, s * 0.8 * shoulder, 0.84 * back),
                (0.045, 0.058 * g),
                "shirt",
            ),
            ball("pelvis", "pelvis", (-0.045, s * 0.065, -0.06), (0.085 * g, 0.08 * g, 0.09), "trousers"),
        ]
    return parts


def _head(f: Frames, rng) -> list[Part]:
    top = f.length("neck", "head_top")
    k = top / 0.26
    long = rng.uniform() < 0.4
    parts = [
        Part("head", "head", (-0.012, 0, -0.04), (0.0, 0, 0.09 * k), (0.054, 0.05), "skin"),
        ball("head", "head", (0.006, 0, 0.158 * k), (0.096, 0.077, 0.102 * k), "skin"),
        Part("head", "head", (0.045, 0, 0.085 * k), (0.03, 0, 0.13 * k), (0.05, 0.066), "skin"),
        Part("head", "head", (0.094, 0, 0.142 * k), (0.108, 0, 0.122 * k), (0.010, 0.017), "skin"),
        ball("head", "head", (-0.017, 0, 0.175 * k), (0.097, 0.087, 0.094 * k), "hair"),
        ball("head", "head", (0.084, 0, 0.078 * k), (0.014, 0.028, 0.008), "lips"),
    ]
    if long:
        parts.append(
            Part("head", "head", (-0.055, 0, 0.17 * k), (-0.07, 0, 0.0), (0.085, 0.06), "hair", (0.7, 1, 1))
        )
    if rng.uniform() < 0.25:
        parts.append(ball("head", "head", (0.02, 0, 0.205 * k), (0.155, 0.115, 0.014), "hat"))
        parts.append(ball("head", "head", (0.0, 0, 0.215 * k), (0.1, 0.09, 0.075), "hat"))
    for _, s in SIDES:
        parts += [
            ball("head", "head", (0.087, s * 0.034, 0.158 * k), (0.016, 0.020, 0.013), "white"),
            ball("head", "head", (0.096, s * 0.034, 0.158 * k), (0.011, 0.011, 0.011), "eye"),
            Part(
                "head",
                "head",
                (0.096, s * 0.022, 0.181 * k),
                (0.085, s * 0.05, 0.18 * k),
                (0.007, 0.006),
                "hair",
            ),
            ball("head", "head", (-0.005, s * 0.08, 0.145 * k), (0.024, 0.012, 0.032), "skin"),
        ]
    return parts


def _limbs(f: Frames, g: float, rng) -> list[Part]:
    parts = []
    arm, leg = g * rng.uniform(0.88, 1.15), g * rng.uniform(0.9, 1.12)
    short = rng.uniform() < 0.55  # sleeves
    shorts = rng.uniform() < 0.35
    shin = "skin" if shorts else "trousers"
    loose = 1.0 if shorts else rng.uniform(1.0, 1.25)
    for side, s in SIDES:
        upper, fore = (
            f.length(f"{side}_shoulder", f"{side}_elbow"),
            f.length(f"{side}_elbow", f"{side}_wrist"),
        )
        thigh, calf = f.length(f"{side}_hip", f"{side}_knee"), f.length(f"{side}_knee", f"{side}_ankle")
        foot = f.length(f"{side}_ankle", f"{side}_toe")
        arms, legs = f"{side}_arm", f"{side}_leg"
        a, b, h = f"{side}_upper_arm", f"{side}_forearm", f"{side}_forearm"
        parts += [
            Part(arms, a, (0, 0, 0.01), (0, 0, -0.5 * upper), (0.064 * arm, 0.05 * arm), "sleeve"),
            Part(
                arms,
                a,
                (0, 0, -0.4 * upper),
                (0, 0, -upper),
                (0.05 * arm, 0.042 * arm),
                "skin" if short else "sleeve",
            ),
            Part(
                arms,
                b,
                (0, 0, 0),
                (0, 0, -0.35 * fore),
                (0.042 * arm, 0.043 * arm),
                "skin" if short else "sleeve",
            ),
            Part(
                arms,
                b,
                (0, 0, -0.3 * fore),
                (0, 0, -fore),
                (0.043 * arm, 0.029 * arm),
                "skin" if short else "sleeve",
            ),
            Part(
                f"{side}_hand",
                h,
                (0, 0, -fore - 0.01),
                (0.012, 0, -fore - 0.085),
                (0.036, 0.038),
                "skin",
                (1, 0.5, 1),
            ),
            Part(
                f"{side}_hand",
                h,
                (0.012, 0, -fore - 0.09),
                (0.03, -s * 0.008, -fore - 0.15),
                (0.036, 0.02),
                "skin",
                (1, 0.42, 1),
            ),
            Part(
                f"{side}_hand",
                h,
                (0.025, 0, -fore - 0.03),
                (0.06, -s * 0.01, -fore - 0.085),
                (0.016, 0.012),
                "skin",
            ),
            Part(
                legs,
                f"{side}_thigh",
                (0, 0, 0),
                (0.004, 0, -0.5 * thigh),
                (0.098 * leg, 0.079 * leg),
                "trousers",
            ),
            Part(
                legs,
                f"{side}_thigh",
                (0.004, 0, -0.4 * thigh),
                (0, 0, -thigh),
                (0.083 * leg, 0.057 * leg),
                "trousers",
            ),
            Part(
                legs, f"{side}_shin", (0, 0, 0), (-0.006, 0, -calf), (0.056 * leg, 0.038 * leg * loose), shin
            ),
            Part(
                legs,
                f"{side}_shin",
                (-0.012, 0, -0.12 * calf),
                (-0.016, 0, -0.5 * calf),
                (0.046 * leg, 0.046 * leg * loose),
                shin,
            ),
        ]
        # The foot's frame is at rest like the shin's: forward, left, up.
        tip = 0.935 * foot
        parts += [
            Part(
                f"{side}_foot", f"{side}_foot", (-0.03, 0, -0.035), (0.03, 0, -0.02), (0.037, 0.045), "shoe"
            ),
            Part(
                f"{side}_foot",
                f"{side}_foot",
                (0.0, 0, -0.02),
                (tip, s * 0.015, -0.35 * foot + 0.01),
                (0.045, 0.03),
                "shoe",
                (1, 1.05, 0.9),
            ),
            Part(
                f"{side}_foot",
                f"{side}_foot",
                (-0.035, 0, -0.055),
                (tip, s * 0.015, -0.345 * foot),
                (0.026, 0.03),
                "sole",
                (1, 1.15, 0.7),
            ),
        ]
    return parts


def _materials(f: Frames, rng) -> dict[str, Material]:
    skin = colours.skin(rng)
    shirt = colours.cloth(rng, 7.0)
    sleeve = shirt if rng.uniform() < 0.75 else colours.cloth(rng, 7.0)
    # An emblem over the heart: it tells front from back, and left from right. Rest pose, object frame.
    heart = f.at("spine")[0] + np.array([0.07, -0.14, -0.12])
    shirt = colours.marked(shirt, colours.vivid(rng, (0.6, 1), (0.6, 1)), heart, (0.035, 0.045, 0.1))
    return {
        "skin": colours.plain(skin, 0.12, 0.12),
        "lips": colours.plain((min(skin[0] * 0.9, 1), skin[1] * 0.55, skin[2] * 0.55), 0.1),
        "hair": colours.plain(colours.hair(rng), 0.15, 0.6, 60.0),
        "hat": colours.cloth(rng, 8.0),
        "white": colours.plain((0.95, 0.95, 0.95), 0.3, 0.0),
        "eye": colours.plain((0.06, 0.05, 0.05), 0.5, 0.0),
        "shirt": shirt,
        "sleeve": sleeve,
        "trousers": colours.cloth(rng, 8.0),
        "shoe": colours.plain(colours.vivid(rng, (0.1, 0.8), (0.1, 0.8)), 0.25, 0.2),
        "sole": colours.plain((0.85, 0.85, 0.82) if rng.uniform() < 0.5 else (0.1, 0.1, 0.1), 0.05),
    }


def _body(motion: Motion, rng) -> tuple[Body, Dress]:
    f = _frames(motion)
    girth = float(np.exp(rng.normal(0, 0.09)))
    parts = _torso(f, girth, rng) + _head(f, rng) + _limbs(f, girth, rng)
    return assemble(parts, f), lambda rng: _materials(f, rng)


PERSON = Figure(
    motion=_motion,
    body=_body,
    standing=True,
    ground=0.022,
    elevation=(-4.0, 40.0),
    labels=(
        "head",
        "torso",
        "pelvis",
        "left_arm",
        "right_arm",
        "left_hand",
        "right_hand",
        "left_leg",
        "right_leg",
        "left_foot",
        "right_foot",
    ),
    feet=FEET,
    skeleton=WALKER,
    apart=APART,
)
