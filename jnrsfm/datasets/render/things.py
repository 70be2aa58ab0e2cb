"""Rigid figures: chairs, whose points are those of `chair`, and cars of 20 points."""

import dataclasses
import itertools

import numpy as np

from jnrsfm.datasets.categories import ChairConfig, chair
from jnrsfm.datasets.motion import Motion, heading_of
from jnrsfm.datasets.render import colours
from jnrsfm.datasets.render.anatomy import Body, Dress, Figure, Frames, Part, assemble, ball, block
from jnrsfm.datasets.render.person import SIDES

# Columns forward, left, up in the object frame: right, down, forward of a camera that it faces.
_UPRIGHT = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
_CORNERS = ("front_left", "front_right", "back_left", "back_right")


def _still(motion: Motion, frames: int, fps: float, turning: float, rng) -> Motion:
    """The first frame of a motion, again and again, turning."""
    n = max(frames, 2)
    points = np.repeat(motion.points[:1], n, 0)
    defined = None if motion.defined is None else np.repeat(motion.defined[:1], n, 0)
    heading = heading_of(np.arange(n) / fps, turning, rng)
    return dataclasses.replace(
        motion, points=points, defined=defined, heading=heading, sequence=np.zeros(n, np.int32)
    )


def _rigid(motion: Motion) -> tuple[Frames, dict[str, np.ndarray]]:
    """One frame for the whole, its origin that of the object, and where the points are in it."""
    f = Frames(np.concatenate([motion.points[:1], motion.points]), motion.names)
    n = len(f.points)
    f.placed["all"] = np.zeros((n, 3)), np.tile(_UPRIGHT, (n, 1, 1))
    return f, {name: f.at(name)[0] @ _UPRIGHT for name in motion.names}


def _rod(label: str, a, b, radii, material: str, squeeze=(1, 1, 1)) -> Part:
    return Part(label, "all", tuple(map(float, a)), tuple(map(float, b)), radii, material, squeeze)


def _chair_motion(frames: int, fps: float, turning: float, rng) -> Motion:
    return _still(chair(ChairConfig(frames=2), rng), frames, fps, turning, rng)


def _chair_body(motion: Motion, rng) -> tuple[Body, Dress]:
    f, at = _rigid(motion)
    r, arms = rng.uniform(0.014, 0.026), motion.defined is None or bool(motion.defined[0].all())
    seat = np.stack([at[f"seat_{c}"] for c in _CORNERS])
    middle, half = seat.mean(0), np.ptp(seat, axis=0) / 2
    parts = [_rod("legs", at[f"foot_{c}"], at[f"seat_{c}"], (r, 1.15 * r), "frame") for c in _CORNERS]
    parts.append(block("seat", "all", tuple(middle), (half[0] + 1.4 * r, half[1] + 1.4 * r, 0.018), "seat"))
    if rng.uniform() < 0.6:
        parts.append(
            ball(
                "seat",
                "all",
                tuple(middle + np.array([0, 0, 0.015])),
                (0.95 * half[0], 0.95 * half[1], 0.04),
                "cushion",
            )
        )
    for side, _ in SIDES:
        low, mid, top = at[f"seat_back_{side}"], at[f"back_middle_{side}"], at[f"back_top_{side}"]
        parts += [
            _rod("back", low, mid, (1.1 * r, r), "frame"),
            _rod("back", mid, top, (r, 0.9 * r), "frame"),
        ]
        if arms:
            front, back = at[f"arm_front_{side}"], at[f"arm_back_{side}"]
            parts += [
                _rod("arms", front, back, (1.3 * r, 1.3 * r), "frame", (1, 1.2, 0.8)),
                _rod("arms", front, at[f"seat_front_{side}"], (r, r), "frame"),
                _rod("arms", back, low, (r, r), "frame"),
            ]
    left, right = (np.stack([at[f"back_{p}_{s}"] for p in ("middle", "top")]) for s, _ in SIDES)
    if rng.uniform() < 0.5:  # a panel, else slats
        tall = np.linalg.norm(left[1] - left[0])
        parts.append(
            _rod(
                "back",
                0.45 * left[0] + 0.55 * left[1],
                0.45 * right[0] + 0.55 * right[1],
                (0.5 * tall, 0.5 * tall),
                "cushion",
                (0.14, 0.2, 1),
            )
        )
    for share in np.linspace(0, 1, int(rng.integers(2, 5))):
        a, b = (x[0] + share * (x[1] - x[0]) for x in (left, right))
        parts.append(_rod("back", a, b, (1.3 * r, 1.3 * r), "frame", (0.6, 1, 1.3)))

    def dress(rng):
        wood = colours.plain(colours.fur(rng), 0.25, 0.7, 18.0, rng.uniform(0, 50))
        frame = wood if rng.uniform() < 0.6 else colours.plain(colours.vivid(rng), 0.5, 0.05)
        seat = frame if rng.uniform() < 0.5 else colours.plain(colours.vivid(rng), 0.15, 0.2)
        # A label on the left edge of the seat tells left from right.
        side = middle @ _UPRIGHT.T + np.array([half[1], 0, 0])
        seat = colours.marked(seat, colours.vivid(rng, (0.7, 1), (0.7, 1)), side, (0.09, 0.08, 0.12))
        return {"frame": frame, "seat": seat, "cushion": colours.cloth(rng, 12.0)}

    return assemble(parts, f), dress


def _car_motion(frames: int, fps: float, turning: float, rng) -> Motion:
    """Points of a car, in metres: forward, left, up of the middle of its track on the ground."""
    long, wide, wheel = rng.uniform(1.7, 2.3), rng.uniform(0.78, 0.92), rng.uniform(0.29, 0.36)
    belt, roof = rng.uniform(0.8, 0.95), rng.uniform(1.35, 1.75)
    van = rng.uniform() < 0.25
    back = 0.97 if van else rng.uniform(0.6, 0.9)  # where the rear window begins, of half the length
    front = rng.uniform(0.35, 0.55)
    half = {
        "front_wheel": (0.62 * long, wide, wheel),
        "rear_wheel": (-0.62 * long, wide, wheel),
        "headlight": (0.97 * long, 0.72 * wide, 0.66 * belt),
        "taillight": (-0.97 * long, 0.78 * wide, 0.75 * belt),
        "bonnet": (0.85 * long, 0.75 * wide, 0.88 * belt),
        "windscreen": (front * long, 0.82 * wide, belt),
        "roof_front": (0.42 * front * long, 0.62 * wide, roof),
        "roof_rear": (-0.72 * back * long, 0.62 * wide, 0.98 * roof),
        "rear_window": (-back * long, 0.82 * wide, 1.02 * belt),
        "mirror": (0.8 * front * long, 1.1 * wide, 1.08 * belt),
    }
    points = {f"{side}_{k}": (x, s * y, z) for side, s in SIDES for k, (x, y, z) in half.items()}
    names = tuple(points)
    ring = ("headlight", "bonnet", "windscreen", "roof_front", "roof_rear", "rear_window", "taillight")
    edges = [(f"{s}_{a}", f"{s}_{b}") for s, _ in SIDES for a, b in itertools.pairwise(ring)]
    edges += [(f"left_{a}", f"right_{a}") for a in ring]
    edges += [
        (f"{s}_{a}", f"{s}_{b}")
        for s, _ in SIDES
        for a, b in (
            ("headlight", "front_wheel"),
            ("front_wheel", "rear_wheel"),
            ("rear_wheel", "taillight"),
            ("windscreen", "mirror"),
        )
    ]
    motion = Motion(
        points=np.array([points[n] for n in names])[None] @ _UPRIGHT.T,
        heading=np.zeros(1),
        sequence=np.zeros(1, np.int32),
        names=names,
        edges=np.array([[names.index(a), names.index(b)] for a, b in edges], np.int32),
        symmetric=np.array([[names.index(f"left_{k}"), names.index(f"right_{k}")] for k in half], np.int32),
        groups={side: tuple(i for i, n in enumerate(names) if n.startswith(side)) for side, _ in SIDES},
    )
    return _still(motion, frames, fps, turning, rng)


def _car_body(motion: Motion, rng) -> tuple[Body, Dress]:
    f, at = _rigid(motion)
    wheel, belt = at["left_front_wheel"][2], at["left_windscreen"][2]
    long, wide = at["left_headlight"][0] / 0.97, at["left_front_wheel"][1]
    parts: list[Part] = []

    def across(label, name, radii, material, lift=0.0, forward=0.0, share=1.0, squeeze=(1, 1, 1)):
        a, b = (at[f"{s}_{name}"] * [1, share, 1] + [forward, 0, lift] for s, _ in SIDES)
        parts.append(_rod(label, a, b, (radii, radii), material, squeeze))

    low = 0.62 * wheel
    parts += [
        block(
            "hull",
            "all",
            (0, 0, (low + 0.93 * belt) / 2),
            (0.86 * long, 0.93 * wide, (0.93 * belt - low) / 2),
            "paint",
        ),
        block("hull", "all", (0, 0, 0.75 * wheel), (0.95 * long, 0.86 * wide, 0.2 * wheel), "trim"),
    ]
    across("hull", "bonnet", 0.26 * belt, "paint", -0.24 * belt, 0.0, 0.95, (1.15, 1, 1))
    across("hull", "headlight", 0.2 * belt, "paint", -0.12 * belt, -0.05 * long, 1.0)
    across("hull", "taillight", 0.27 * belt, "paint", -0.12 * belt, 0.07 * long, 0.95)
    across("hull", "windscreen", 0.14, "paint", -0.14, 0.0, 0.95, (1.6, 1, 1))
    across("hull", "rear_window", 0.14, "paint", -0.15, 0.0, 0.95, (1.2, 1, 1))
    # The cabin: glass between belt and roof, pillars, and the roof.
    for k in ("roof_front", "roof_rear"):
        across("cabin", k, 0.07, "paint", -0.06, 0.0, 0.97)
    screen, rear = at["left_windscreen"], at["left_rear_window"]
    top_f, top_r = at["left_roof_front"], at["left_roof_rear"]
    for s in (1, -1):
        m = np.array([1, s, 1])
        parts += [
            _rod("cabin", top_f * m - [0, 0, 0.05], top_r * m - [0, 0, 0.05], (0.06, 0.06), "paint"),
            _rod("cabin", screen * m, top_f * m, (0.045, 0.04), "paint"),
            _rod("cabin", rear * m, top_r * m, (0.05, 0.045), "paint"),
        ]
    mid = (top_f[0] + top_r[0]) / 2
    parts.append(
        block(
            "cabin", "all", (mid, 0, top_f[2] - 0.05), ((top_f[0] - top_r[0]) / 2, 0.6 * wide, 0.045), "paint"
        )
    )
    for share in (0.12, 0.45, 0.78):
        a, b = (x + share * (y - x) for x, y in ((rear, top_r), (screen, top_f)))
        tall = 0.19 * (top_f[2] - belt)
        for s in (1, -1):
            parts.append(
                _rod(
                    "cabin", a * [1, 0.86 * s, 1], b * [1, 0.86 * s, 1], (tall, tall), "glass", (0.4, 0.3, 1)
                )
            )
        parts.append(_rod("cabin", a * [1, 0.8, 1], a * [1, -0.8, 1], (tall, tall), "glass", (0.3, 0.6, 1)))
        parts.append(_rod("cabin", b * [1, 0.8, 1], b * [1, -0.8, 1], (tall, tall), "glass", (0.3, 0.6, 1)))
    for side, s in SIDES:
        for k in ("front_wheel", "rear_wheel"):
            x, y, z = at[f"{side}_{k}"]
            parts += [
                ball("wheels", "all", (x, y - 0.1 * s, z), (wheel, 0.13, wheel), "tyre"),
                ball("wheels", "all", (x, y, z), (0.58 * wheel, 0.045, 0.58 * wheel), "rim"),
            ]
        parts += [
            ball("lights", "all", tuple(at[f"{side}_headlight"]), (0.09, 0.13, 0.085), "lamp"),
            ball("lights", "all", tuple(at[f"{side}_taillight"]), (0.07, 0.1, 0.1), "red"),
            ball("mirrors", "all", tuple(at[f"{side}_mirror"]), (0.07, 0.1, 0.07), "paint"),
            _rod(
                "mirrors", at[f"{side}_mirror"], at[f"{side}_mirror"] * [1, 0.75, 0.93], (0.03, 0.03), "trim"
            ),
        ]

    def dress(rng):
        paint = colours.plain(colours.vivid(rng, (0.0, 0.95), (0.25, 0.95)), 0.6, 0.05, 4.0)
        # A badge on the left door tells left from right.
        door = np.array([wide, -0.6 * belt, 0.0])
        paint = colours.marked(paint, colours.vivid(rng, (0.5, 1), (0.4, 1)), door, (0.25, 0.18, 0.35))
        return {
            "paint": paint,
            "trim": colours.plain((0.12, 0.12, 0.13), 0.1),
            "glass": colours.plain((0.10, 0.13, 0.17), 0.8, 0.0),
            "tyre": colours.plain((0.07, 0.07, 0.07), 0.05, 0.1),
            "rim": colours.plain((0.72, 0.72, 0.75), 0.7, 0.1, 8.0),
            "lamp": colours.plain((0.98, 0.96, 0.82), 0.8, 0.0),
            "red": colours.plain((0.8, 0.06, 0.05), 0.6, 0.0),
        }

    return assemble(parts, f), dress


CHAIR = Figure(
    motion=_chair_motion,
    body=_chair_body,
    standing=True,
    ground=0.012,
    elevation=(0.0, 50.0),
    labels=("legs", "seat", "back", "arms"),
)
CAR = Figure(
    motion=_car_motion,
    body=_car_body,
    standing=True,
    ground=0.0,
    elevation=(2.0, 45.0),
    labels=("hull", "cabin", "wheels", "lights", "mirrors"),
)
