"""The body of the four-legged animal: dogs, cats, foals and others on the 25 points of `quadruped`."""

import numpy as np

from jnrsfm.datasets.motion import Motion
from jnrsfm.datasets.quadruped import GAITS, QUADRUPED, QuadrupedConfig, quadruped
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
from jnrsfm.datasets.render.person import SIDES

APART = {f"{s}_{k}": v for s in ("left", "right") for k, v in (("shoulder.abd", 13), ("hip.abd", 17))}
FEET = ("left_front_paw", "right_front_paw", "left_hind_paw", "right_hind_paw")


def _motion(frames: int, fps: float, turning: float, rng) -> Motion:
    gait = list(GAITS)[rng.choice(4, p=(0.3, 0.25, 0.25, 0.2))]
    config = QuadrupedConfig(
        frames=max(frames, 2), clips=1, fps=fps, turning=turning, gaits=(gait,), body_variation=0.09
    )
    return quadruped(config, rng)


def _frames(motion: Motion) -> Frames:
    f = Frames(np.concatenate([rest_of(QUADRUPED, motion.points), motion.points]), motion.names)
    at = f.at
    hips, shoulders = at("left_hip") - at("right_hip"), at("left_shoulder") - at("right_shoulder")
    f.add("rump", "rump", axes(forward=at("spine") - at("rump"), left=hips, keep="forward"))
    f.add("chest", "withers", axes(forward=at("withers") - at("spine"), left=shoulders, keep="forward"))
    f.bone("neck", "neck", "head", "chest", (0.2, 0, 0.2))
    f.bone("head", "head", "nose", "neck", (0.19, 0, -0.06))
    f.bone("tail_base", "tail_base", "tail_middle", "rump", (-0.22, 0, -0.1))
    f.bone("tail_middle", "tail_middle", "tail_tip", "tail_base", (-0.22, 0, 0.0))
    for side, _ in SIDES:
        f.bone(f"{side}_humerus", f"{side}_shoulder", f"{side}_elbow", "chest", (-0.11, 0, -0.18))
        f.bone(f"{side}_radius", f"{side}_elbow", f"{side}_wrist", f"{side}_humerus", (0.06, 0, -0.22))
        f.bone(f"{side}_fore_foot", f"{side}_wrist", f"{side}_front_paw", f"{side}_radius", (0.04, 0, -0.1))
        f.bone(f"{side}_femur", f"{side}_hip", f"{side}_knee", "rump", (0.11, 0, -0.22))
        f.bone(f"{side}_tibia", f"{side}_knee", f"{side}_hock", f"{side}_femur", (-0.16, 0, -0.19))
        f.bone(f"{side}_hind_foot", f"{side}_hock", f"{side}_hind_paw", f"{side}_tibia", (0.05, 0, -0.17))
    return f


def _line(f: Frames, label: str, frame: str, a: str, b: str, radii, material: str, squeeze=(1, 1, 1)) -> Part:
    """A part along the bone from point `a`, where `frame` is, to `b`."""
    at, rotation = f.placed[frame]
    end = rotation[0].T @ (f.at(b)[0] - at[0])
    return Part(label, frame, (0, 0, 0), tuple(float(x) for x in end), radii, material, squeeze)


def _trunk(f: Frames, g: float, rng) -> list[Part]:
    back, fore = f.length("rump", "spine"), f.length("spine", "withers")
    thin = (1, rng.uniform(0.72, 0.88), 1)
    belly = rng.uniform(0.85, 1.1)
    parts = [
        Part(
            "trunk",
            "chest",
            (-0.02, 0, -0.115),
            (-fore, 0, -0.105),
            (0.15 * g, 0.135 * g * belly),
            "coat",
            thin,
        ),
        Part(
            "trunk",
            "rump",
            (back, 0, -0.085),
            (0.02, 0, -0.055),
            (0.137 * g * belly, 0.112 * g),
            "coat",
            thin,
        ),
        Part("trunk", "chest", (0.02, 0, -0.035), (-0.1, 0, -0.06), (0.085 * g, 0.1 * g), "coat", thin),
        ball("trunk", "chest", (0.045, 0, -0.16), (0.1 * g, 0.1 * g, 0.12 * g), "coat"),
    ]
    for _, s in SIDES:
        parts += [
            Part(
                "trunk",
                "chest",
                (-0.01, s * 0.05, -0.06),
                (-0.02, s * 0.085, -0.15),
                (0.07 * g, 0.065 * g),
                "coat",
            ),
            ball("trunk", "rump", (0.0, s * 0.058, -0.075), (0.105 * g, 0.07 * g, 0.11 * g), "coat"),
        ]
    return parts


def _head(f: Frames, g: float, rng) -> list[Part]:
    neck, snout = f.length("neck", "head"), f.length("head", "nose")
    big = rng.uniform(0.9, 1.15)
    muzzle = rng.uniform(0.85, 1.25)
    tilt = 0.3  # of the head's axis at rest, which points down by 17 degrees
    parts = [
        _line(f, "neck", "neck", "neck", "head", (0.098 * g, 0.07 * g), "coat", (1, 0.85, 1)),
        Part(
            "neck",
            "neck",
            (-0.0, 0, -0.08),
            (0.6 * neck, 0, 0.55 * neck),
            (0.1 * g, 0.065 * g),
            "coat",
            (1, 0.85, 1),
        ),
        ball("head", "head", (0.0, 0, 0.0), (0.088 * big, 0.076 * big, 0.078 * big), "coat"),
        Part(
            "head",
            "head",
            (0.03, 0, -0.01),
            (snout - 0.02, 0, -tilt * snout + 0.012),
            (0.062 * big, 0.034 * muzzle),
            "coat",
            (1, 0.9, 1),
        ),
        Part(
            "head",
            "head",
            (0.03, 0, -0.035),
            (0.85 * snout, 0, -tilt * snout - 0.012),
            (0.045 * big, 0.026 * muzzle),
            "muzzle",
            (1, 0.9, 1),
        ),
        ball("head", "head", (0.95 * snout, 0, -tilt * snout + 0.012), (0.024, 0.024, 0.02), "nose"),
    ]
    kind = rng.integers(3)
    length = rng.uniform(0.09, 0.15)
    for _, s in SIDES:
        if kind == 0:  # pricked
            ear = Part(
                "head",
                "head",
                (-0.035, s * 0.05, 0.05),
                (-0.05, s * 0.075, 0.05 + length),
                (0.036, 0.01),
                "ear",
                (0.5, 1, 1),
            )
        elif kind == 1:  # hanging
            ear = Part(
                "head",
                "head",
                (-0.025, s * 0.075, 0.035),
                (-0.03, s * 0.105, 0.035 - length),
                (0.028, 0.036),
                "ear",
                (1, 0.45, 1),
            )
        else:  # to the side
            ear = Part(
                "head",
                "head",
                (-0.04, s * 0.06, 0.045),
                (-0.07, s * 0.16, 0.07),
                (0.03, 0.014),
                "ear",
                (0.6, 1, 1),
            )
        parts += [
            ear,
            ball("head", "head", (0.052 * big, s * 0.05 * big, 0.03 * big), (0.018, 0.016, 0.017), "eye"),
        ]
    return parts


def _limbs(f: Frames, g: float, rng) -> list[Part]:
    parts = []
    thick = g * rng.uniform(0.85, 1.2)
    lower = "sock" if rng.uniform() < 0.5 else "coat"
    for side, _ in SIDES:
        fore, hind = f"{side}_fore_leg", f"{side}_hind_leg"
        parts += [
            _line(
                f,
                fore,
                f"{side}_humerus",
                f"{side}_shoulder",
                f"{side}_elbow",
                (0.075 * g, 0.05 * thick),
                "coat",
            ),
            _line(
                f,
                fore,
                f"{side}_radius",
                f"{side}_elbow",
                f"{side}_wrist",
                (0.047 * thick, 0.029 * thick),
                "coat",
            ),
            _line(
                f,
                fore,
                f"{side}_fore_foot",
                f"{side}_wrist",
                f"{side}_front_paw",
                (0.03 * thick, 0.03 * thick),
                lower,
            ),
            Part(
                fore,
                f"{side}_fore_foot",
                (0.035, 0, -0.095),
                (0.072, 0, -0.1),
                (0.033 * thick, 0.028 * thick),
                "paw",
            ),
            _line(
                f,
                hind,
                f"{side}_femur",
                f"{side}_hip",
                f"{side}_knee",
                (0.105 * g, 0.06 * thick),
                "coat",
                (1, 0.8, 1),
            ),
            _line(
                f,
                hind,
                f"{side}_tibia",
                f"{side}_knee",
                f"{side}_hock",
                (0.058 * thick, 0.029 * thick),
                "coat",
            ),
            _line(
                f,
                hind,
                f"{side}_hind_foot",
                f"{side}_hock",
                f"{side}_hind_paw",
                (0.029 * thick, 0.028 * thick),
                lower,
            ),
            Part(
                hind,
                f"{side}_hind_foot",
                (0.045, 0, -0.162),
                (0.082, 0, -0.168),
                (0.032 * thick, 0.028 * thick),
                "paw",
            ),
        ]
    bushy = rng.uniform(0.6, 1.6)
    parts += [
        _line(f, "tail", "tail_base", "tail_base", "tail_middle", (0.034 * bushy, 0.03 * bushy), "coat"),
        _line(f, "tail", "tail_middle", "tail_middle", "tail_tip", (0.03 * bushy, 0.014), "tail"),
    ]
    return parts


def _materials(f: Frames, rng) -> dict[str, Material]:
    coat = colours.coat(rng)
    light = colours.plain(colours.fur(rng), 0.05, 0.2)
    # A saddle on the back, or a patch on the left flank: something that is not the same on both sides.
    if rng.uniform() < 0.6:
        flank = f.at("spine")[0] + np.array([0.12, 0.06, rng.uniform(-0.15, 0.15)])
        coat = colours.marked(
            coat, colours.fur(rng), flank, (0.1, rng.uniform(0.08, 0.15), rng.uniform(0.1, 0.2))
        )
    same = colours.plain(coat.base, 0.05, 0.2)
    return {
        "coat": coat,
        "muzzle": light if rng.uniform() < 0.5 else same,
        "nose": colours.plain((0.08, 0.07, 0.07), 0.4),
        "eye": colours.plain((0.05, 0.04, 0.03), 0.6),
        "ear": colours.plain(colours.darker(coat.base, 0.7), 0.05) if rng.uniform() < 0.6 else light,
        "sock": light,
        "paw": light if rng.uniform() < 0.5 else same,
        "tail": light if rng.uniform() < 0.4 else coat,
    }


def _body(motion: Motion, rng) -> tuple[Body, Dress]:
    f = _frames(motion)
    girth = float(np.exp(rng.normal(0, 0.12)))
    parts = _trunk(f, girth, rng) + _head(f, girth, rng) + _limbs(f, girth, rng)
    return assemble(parts, f), lambda rng: _materials(f, rng)


ANIMAL = Figure(
    motion=_motion,
    body=_body,
    standing=True,
    ground=0.025,
    elevation=(-2.0, 40.0),
    labels=(
        "head",
        "neck",
        "trunk",
        "tail",
        "left_fore_leg",
        "right_fore_leg",
        "left_hind_leg",
        "right_hind_leg",
    ),
    feet=FEET,
    skeleton=QUADRUPED,
    apart=APART,
)
