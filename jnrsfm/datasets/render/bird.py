"""A bird of 20 points that flaps and glides, and its body.

The figure flies on the spot; its parts are named as those of the other figures, and lengths are metres.
Wings beat with the wrist behind the elbow and the elbow behind the shoulder, and fold on the way up."""

import numpy as np

from jnrsfm.datasets.articulated import Joint, Skeleton
from jnrsfm.datasets.motion import Motion, drift, heading_of, pulse
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


def _wing(side: str, s: int) -> tuple[Joint, ...]:
    turn = {"flex": (-40, 40), "abd": (-75, 85), "twist": (-50, 75)}
    return (
        Joint(f"{side}_shoulder", "body", (0.075, 0.05 * s, 0.045), turn),
        Joint(f"{side}_elbow", f"{side}_shoulder", (-0.04, 0.17 * s, 0.0), turn),
        Joint(f"{side}_wrist", f"{side}_elbow", (0.06, 0.19 * s, 0.0), turn),
        Joint(f"{side}_wing_tip", f"{side}_wrist", (-0.1, 0.27 * s, 0.0)),
        Joint(f"{side}_hip", "body", (-0.06, 0.04 * s, -0.06), {"flex": (-60, 60)}),
        Joint(f"{side}_foot", f"{side}_hip", (-0.03, 0.0, -0.12)),
    )


BIRD = Skeleton(
    joints=(
        Joint("body", None, (0, 0, 0), {"flex": (-40, 40), "abd": (-45, 45), "twist": (-30, 30)}),
        Joint("breast", "body", (0.12, 0, -0.04)),
        Joint("neck", "body", (0.15, 0, 0.05), {"flex": (-40, 50), "twist": (-60, 60)}),
        Joint("head", "neck", (0.08, 0, 0.06), {"flex": (-40, 40), "twist": (-50, 50)}),
        Joint("beak", "head", (0.095, 0, -0.015)),
        Joint("tail_base", "body", (-0.17, 0, 0.01), {"flex": (-35, 35), "twist": (-25, 25)}),
        Joint("left_tail", "tail_base", (-0.19, 0.07, -0.005)),
        Joint("right_tail", "tail_base", (-0.19, -0.07, -0.005)),
        *_wing("left", 1),
        *_wing("right", -1),
    ),
    edges=(
        ("body", "breast"),
        ("body", "neck"),
        ("neck", "head"),
        ("head", "beak"),
        ("body", "tail_base"),
        ("tail_base", "left_tail"),
        ("tail_base", "right_tail"),
        *(
            edge
            for side, _ in SIDES
            for edge in (
                ("body", f"{side}_shoulder"),
                (f"{side}_shoulder", f"{side}_elbow"),
                (f"{side}_elbow", f"{side}_wrist"),
                (f"{side}_wrist", f"{side}_wing_tip"),
                ("body", f"{side}_hip"),
                (f"{side}_hip", f"{side}_foot"),
            )
        ),
    ),
    groups={
        "left wing": ("left_elbow", "left_wrist", "left_wing_tip"),
        "right wing": ("right_elbow", "right_wrist", "right_wing_tip"),
        "head": ("head", "beak"),
        "tail": ("left_tail", "right_tail"),
    },
)


def _motion(frames: int, fps: float, turning: float, rng) -> Motion:
    n = max(frames, 2)
    time = np.arange(n) / fps
    skeleton = BIRD.varied(0.08, rng)
    slow = [drift(rng, time) for _ in range(7)]
    phase = rng.uniform() + rng.uniform(1.6, 2.6) * time
    turn = 2 * np.pi * phase
    # It flaps for a while, and glides for a while.
    beat = 0.25 + 0.75 * pulse(0.35 * time + rng.uniform(), 3.0)
    amplitude = rng.uniform(34, 48) * beat
    up = 0.5 + 0.5 * np.cos(turn)  # 1 while the wings rise
    angles: dict[str, np.ndarray] = {
        "body.flex": 5 * slow[0] + 4 * beat * np.sin(turn),
        "body.abd": 12 * slow[1],
        "neck.twist": 16 * slow[2],
        "neck.flex": 8 * slow[3],
        "head.flex": 6 * slow[4] - 5 * slow[0],
        "tail_base.flex": 9 * slow[5],
        "tail_base.twist": 7 * slow[6],
    }
    for side, _ in SIDES:
        angles |= {
            f"{side}_shoulder.abd": 9 + amplitude * np.sin(turn),
            f"{side}_shoulder.twist": -8 + 12 * beat * up,
            f"{side}_elbow.abd": 2 + 0.45 * amplitude * np.sin(turn - 0.8),
            f"{side}_elbow.twist": -12 - 20 * beat * up,
            f"{side}_wrist.abd": -2 + 0.55 * amplitude * np.sin(turn - 1.4),
            f"{side}_wrist.twist": 14 + 40 * beat * up,
            f"{side}_hip.flex": 30 + 6 * slow[4],
        }
    points = skeleton.pose(angles, n)
    # Down-strokes lift the body.
    points[..., 2] += (0.02 * beat * np.sin(turn + 2.2))[:, None]
    return BIRD.motion(points, heading_of(time, turning, rng), np.zeros(n, np.int32))


def _frames(motion: Motion) -> Frames:
    f = Frames(np.concatenate([rest_of(BIRD, motion.points), motion.points]), motion.names)
    at = f.at
    across = at("left_shoulder") - at("right_shoulder")
    f.add("body", "body", axes(forward=at("body") - at("tail_base"), left=across, keep="left"))
    f.bone("neck", "neck", "head", "body", (0.08, 0, 0.06))
    f.bone("head", "head", "beak", "neck", (0.095, 0, -0.015))
    back = (at("left_tail") + at("right_tail")) / 2 - at("tail_base")
    f.add("tail", "tail_base", axes(forward=-back, left=at("left_tail") - at("right_tail"), keep="left"))
    for side, s in SIDES:
        f.bone(f"{side}_arm", f"{side}_shoulder", f"{side}_elbow", "body", (-0.04, 0.17 * s, 0))
        f.bone(f"{side}_fore", f"{side}_elbow", f"{side}_wrist", f"{side}_arm", (0.06, 0.19 * s, 0))
        f.bone(f"{side}_hand", f"{side}_wrist", f"{side}_wing_tip", f"{side}_fore", (-0.1, 0.27 * s, 0))
        f.bone(f"{side}_leg", f"{side}_hip", f"{side}_foot", "body", (-0.03, 0, -0.12))
    return f


def _reach(f: Frames, frame: str, name: str):
    """Where the point `name` is at rest in the coordinates of a frame."""
    at, rotation = f.placed[frame]
    return rotation[0].T @ (f.at(name)[0] - at[0])


def _plus(a, *b) -> tuple[float, ...]:
    return tuple(float(x) for x in np.asarray(a) + (np.asarray(b) if b else 0.0))


def _parts(f: Frames, rng) -> list[Part]:
    g, chord = float(np.exp(rng.normal(0, 0.1))), rng.uniform(0.85, 1.2)
    head, beak, tail = rng.uniform(0.85, 1.2), rng.uniform(0.7, 1.4), _reach(f, "tail", "left_tail")
    neck = _reach(f, "neck", "head")
    parts = [
        Part(
            "body", "body", (0.09, 0, -0.012), (-0.13, 0, 0.0), (0.082 * g, 0.045 * g), "coat", (1, 0.95, 1)
        ),
        ball("body", "body", (0.085, 0, -0.03), (0.095 * g, 0.075 * g, 0.08 * g), "breast"),
        Part("body", "body", (0.1, 0, 0.01), _plus(_reach(f, "body", "neck")), (0.07 * g, 0.05 * g), "coat"),
        Part("head", "neck", (0, 0, 0), _plus(neck), (0.048 * g, 0.04 * head), "coat"),
        ball("head", "head", (0, 0, 0), (0.052 * head, 0.045 * head, 0.046 * head), "crown"),
        Part(
            "head",
            "head",
            (0.035 * head, 0, -0.002),
            _plus(_reach(f, "head", "beak")),
            (0.02 * beak, 0.006),
            "beak",
        ),
        Part(
            "tail",
            "tail",
            (0.03, 0, 0),
            _plus(0.5 * tail * [1, 0, 1]),
            (0.035 * g, 0.04),
            "coat",
            (1, 1, 0.4),
        ),
    ]
    thin = (1, 1, 0.13)
    for side, s in SIDES:
        wing = f"{side}_wing"
        elbow, wrist = _reach(f, f"{side}_arm", f"{side}_elbow"), _reach(f, f"{side}_fore", f"{side}_wrist")
        tip, own = _reach(f, f"{side}_hand", f"{side}_wing_tip"), _reach(f, "tail", f"{side}_tail")
        c = 0.075 * chord
        parts += [
            Part(
                wing,
                f"{side}_arm",
                (-0.3 * c, 0, 0),
                _plus(elbow, -0.5 * c, 0, 0),
                (c, 1.05 * c),
                "wing",
                thin,
            ),
            Part(
                wing,
                f"{side}_arm",
                (-1.1 * c, 0.02 * s, -0.004),
                _plus(elbow, -1.3 * c, 0, -0.004),
                (0.8 * c, c),
                "feather",
                thin,
            ),
            Part(
                wing,
                f"{side}_fore",
                (-0.5 * c, 0, 0),
                _plus(wrist, -0.6 * c, 0, 0),
                (1.05 * c, 0.8 * c),
                "wing",
                thin,
            ),
            Part(
                wing,
                f"{side}_fore",
                (-1.3 * c, 0, -0.004),
                _plus(0.9 * wrist, -1.3 * c, 0, -0.004),
                (c, 0.85 * c),
                "feather",
                thin,
            ),
            Part(
                wing,
                f"{side}_hand",
                (-0.5 * c, 0, 0),
                _plus(0.55 * tip, -0.25 * c, 0, 0),
                (0.85 * c, 0.5 * c),
                "wing",
                thin,
            ),
            Part(
                wing,
                f"{side}_hand",
                (-1.1 * c, 0, -0.004),
                _plus(0.95 * tip),
                (0.75 * c, 0.2 * c),
                "feather",
                thin,
            ),
            Part("tail", "tail", (-0.02, s * 0.006, 0), _plus(own), (0.022, 0.03), "feather", (1, 1, 0.25)),
            ball("head", "head", (0.026 * head, s * 0.037 * head, 0.012), (0.011, 0.009, 0.011), "eye"),
            Part(
                "body",
                f"{side}_leg",
                (0, 0, 0),
                _plus(_reach(f, f"{side}_leg", f"{side}_foot")),
                (0.018, 0.007),
                "leg",
            ),
            Part(
                "body",
                f"{side}_leg",
                _plus(_reach(f, f"{side}_leg", f"{side}_foot"), -0.01, 0, 0),
                _plus(_reach(f, f"{side}_leg", f"{side}_foot"), 0.035, 0, 0.008),
                (0.009, 0.007),
                "leg",
            ),
        ]
    return parts


def _materials(f: Frames, rng) -> dict[str, Material]:
    bright = rng.uniform() < 0.6
    base = colours.vivid(rng, (0.4, 0.9), (0.35, 0.95)) if bright else colours.fur(rng)
    other = colours.vivid(rng, (0.2, 0.9), (0.3, 0.95)) if rng.uniform() < 0.6 else colours.fur(rng)
    coat = colours.plain(base, 0.1, 0.35, 25.0, rng.uniform(0, 50))
    feathers = Material(
        base=colours.darker(base, 0.75),
        second=other,
        weights=(0.2, 0.7, 0, 0) if rng.uniform() < 0.6 else (0.5, 0, 0, 0),
        frequency=(14.0,) * 3,
        along=(1, 0, 0.4),
        gloss=0.1,
        seed=rng.uniform(0, 50),
    )
    yellow = (0.95, rng.uniform(0.45, 0.8), 0.1)
    return {
        "coat": coat,
        "breast": colours.plain(other, 0.1, 0.3, 25.0),
        "crown": colours.plain(other, 0.15, 0.2, 25.0) if rng.uniform() < 0.5 else coat,
        "wing": coat,
        "feather": feathers,
        "beak": colours.plain(yellow if rng.uniform() < 0.7 else (0.2, 0.2, 0.2), 0.3, 0.1),
        "leg": colours.plain(yellow, 0.2, 0.1),
        "eye": colours.plain((0.05, 0.05, 0.05), 0.7, 0.0),
    }


def _body(motion: Motion, rng) -> tuple[Body, Dress]:
    f = _frames(motion)
    return assemble(_parts(f, rng), f), lambda rng: _materials(f, rng)


FLYER = Figure(
    motion=_motion,
    body=_body,
    standing=False,
    ground=0.0,
    elevation=(-45.0, 60.0),
    labels=("body", "head", "tail", "left_wing", "right_wing"),
    skeleton=BIRD,
)
