"""The body of the hand: flesh, nails and a sleeve on the 21 points of `hand`."""

import itertools

import numpy as np

from jnrsfm.datasets.hand import HAND, HandConfig, hand
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

FINGERS = ("index", "middle", "ring", "little")
_THICK = {"thumb": 1.15, "index": 1.0, "middle": 1.03, "ring": 0.97, "little": 0.85}


def _motion(frames: int, fps: float, turning: float, rng) -> Motion:
    motion = hand(HandConfig(frames=max(frames, 2), clips=1, fps=fps, turning=turning), rng)
    return motion


def _frames(motion: Motion) -> Frames:
    f = Frames(np.concatenate([rest_of(HAND, motion.points), motion.points]), motion.names)
    at = f.at
    # Anatomical left is towards the little finger here, up along the middle finger, forward out of the palm.
    f.add(
        "palm",
        "wrist",
        axes(up=at("middle_mcp") - at("wrist"), left=at("little_mcp") - at("index_mcp"), keep="up"),
    )
    f.bone("thumb_cmc", "thumb_cmc", "thumb_mcp", "palm", (0, 0, 1))
    f.bone("thumb_mcp", "thumb_mcp", "thumb_ip", "thumb_cmc", (0, 0, 1))
    f.bone("thumb_ip", "thumb_ip", "thumb_tip", "thumb_mcp", (0, 0, 1))
    for finger in FINGERS:
        f.bone(f"{finger}_mcp", f"{finger}_mcp", f"{finger}_pip", "palm", (0, 0, 1))
        f.bone(f"{finger}_pip", f"{finger}_pip", f"{finger}_dip", f"{finger}_mcp", (0, 0, 1))
        f.bone(f"{finger}_dip", f"{finger}_dip", f"{finger}_tip", f"{finger}_pip", (0, 0, 1))
    return f


def _parts(f: Frames, rng) -> list[Part]:
    g = float(np.exp(rng.normal(0, 0.08)))
    place = lambda name: tuple(
        float(x) for x in f.placed["palm"][1][0].T @ (f.at(name)[0] - f.at("wrist")[0])
    )
    parts = [
        # The heel and the middle of the palm; the sleeve below.
        Part(
            "palm",
            "palm",
            (0.0, 0.004, 0.012),
            (0.002, 0.004, 0.068),
            (0.03 * g, 0.036 * g),
            "skin",
            (0.42, 1, 1),
        ),
        Part(
            "palm",
            "palm",
            (0.006, -0.022, 0.02),
            (0.009, -0.026, 0.055),
            (0.019 * g, 0.015 * g),
            "palm",
            (0.8, 1, 1),
        ),
        Part(
            "palm",
            "palm",
            (0.006, 0.024, 0.018),
            (0.006, 0.028, 0.055),
            (0.016 * g, 0.013 * g),
            "palm",
            (0.8, 1, 1),
        ),
        Part(
            "forearm",
            "palm",
            (-0.002, 0.0, 0.008),
            (-0.002, 0, -0.06),
            (0.028 * g, 0.03 * g),
            "skin",
            (0.72, 1, 1),
        ),
        Part(
            "forearm",
            "palm",
            (-0.002, 0.0, -0.045),
            (-0.002, 0, -0.15),
            (0.036 * g, 0.045 * g),
            "sleeve",
            (0.8, 1, 1),
        ),
    ]
    if rng.uniform() < 0.4:
        parts.append(ball("forearm", "palm", (-0.002, 0, -0.024), (0.026 * g, 0.034 * g, 0.008), "strap"))
        parts.append(ball("forearm", "palm", (-0.024 * g, 0, -0.024), (0.007, 0.015, 0.015), "watch"))
    for finger in FINGERS:
        parts.append(
            Part(
                "palm",
                "palm",
                (0, 0.25 * place(f"{finger}_mcp")[1], 0.012),
                place(f"{finger}_mcp"),
                (0.016 * g, 0.0115 * g * _THICK[finger]),
                "skin",
                (0.85, 1, 1),
            )
        )
    parts.append(
        Part(
            "palm",
            "palm",
            (0.002, -0.008, 0.01),
            place("thumb_cmc"),
            (0.018 * g, 0.016 * g),
            "skin",
            (0.8, 1, 1),
        )
    )
    radii = (0.0102, 0.0092, 0.0086, 0.0072)
    for finger, chain in (
        ("thumb", ("cmc", "mcp", "ip", "tip")),
        *((x, ("mcp", "pip", "dip", "tip")) for x in FINGERS),
    ):
        k = g * _THICK[finger]
        sizes = (0.015, 0.0108, 0.0098, 0.008) if finger == "thumb" else radii
        for i, (a, b) in enumerate(itertools.pairwise(chain)):
            bone = f"{finger}_{a}"
            length = f.length(bone, f"{finger}_{b}")
            label = f"{finger}_{('base', 'middle', 'tip')[i]}"
            material = "skin"
            parts.append(
                Part(label, bone, (0, 0, 0), (0, 0, length), (sizes[i] * k, sizes[i + 1] * k), material)
            )
            if i == 2:
                r = sizes[3] * k
                # The nail lies on the back, which is opposite the palm.
                parts.append(
                    ball(label, bone, (-0.55 * r, 0, length + 0.001), (0.58 * r, 0.8 * r, 0.95 * r), "nail")
                )
    ring = FINGERS[rng.integers(4)]
    if rng.uniform() < 0.4:
        at = 0.35 * f.length(f"{ring}_mcp", f"{ring}_pip")
        r = 0.0118 * g * _THICK[ring]
        parts.append(ball(f"{ring}_base", f"{ring}_mcp", (0, 0, at), (r, r, 0.0035), "gold"))
    return parts


def _materials(f: Frames, rng) -> dict[str, Material]:
    skin = colours.skin(rng)
    pale = tuple(min(1.0, 0.7 * x + 0.3 * y) for x, y in zip(skin, (0.96, 0.78, 0.72), strict=True))
    # The palm is paler than the back: a mark over the front half of the rest pose.
    rest = f.at("middle_pip")[0]
    flesh = colours.plain(skin, 0.15, 0.25, 120.0)
    flesh = colours.marked(flesh, pale, rest + np.array([0, 0.03, -0.114]), (0.3, 0.3, 0.11))
    return {
        "skin": flesh,
        "palm": colours.plain(pale, 0.1, 0.15, 120.0),
        "nail": colours.plain(
            colours.vivid(rng, (0.5, 0.9), (0.5, 0.95))
            if rng.uniform() < 0.4
            else tuple(min(1.0, 0.75 * x + 0.28) for x in skin),
            0.4,
            0.0,
        ),
        "sleeve": colours.cloth(rng, 55.0),
        "strap": colours.plain(colours.vivid(rng, (0.1, 0.8), (0.1, 0.7)), 0.2),
        "watch": colours.plain(colours.vivid(rng, (0.0, 0.3), (0.7, 0.95)), 0.6),
        "gold": colours.plain((0.9, 0.75, 0.3), 0.8),
    }


def _body(motion: Motion, rng) -> tuple[Body, Dress]:
    f = _frames(motion)
    return assemble(_parts(f, rng), f), lambda rng: _materials(f, rng)


PALM = Figure(
    motion=_motion,
    body=_body,
    standing=False,
    ground=0.0,
    elevation=(-50.0, 60.0),
    labels=("forearm", "palm", *(f"{x}_{p}" for x in ("thumb", *FINGERS) for p in ("base", "middle", "tip"))),
    skeleton=HAND,
    apart={
        "index_mcp.abd": 12,
        "middle_mcp.abd": 3,
        "ring_mcp.abd": -7,
        "little_mcp.abd": -16,
        "thumb_cmc.abd": 55,
        "thumb_cmc.twist": -20,
    },
)
