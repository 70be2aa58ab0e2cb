"""Random colours and patterns for skins, furs, clothes and rooms."""

import colorsys
import dataclasses

import numpy as np

from jnrsfm.datasets.render.anatomy import Material, Triple

_SKIN = np.array(
    [(0.96, 0.80, 0.69), (0.87, 0.67, 0.53), (0.72, 0.51, 0.38), (0.52, 0.35, 0.25), (0.33, 0.22, 0.16)]
)
_HAIR = np.array(
    [
        (0.07, 0.06, 0.05),
        (0.22, 0.13, 0.08),
        (0.42, 0.26, 0.13),
        (0.82, 0.66, 0.36),
        (0.62, 0.24, 0.10),
        (0.7, 0.7, 0.7),
    ]
)
_FUR = np.array(
    [
        (0.93, 0.89, 0.82),
        (0.80, 0.62, 0.42),
        (0.60, 0.38, 0.20),
        (0.36, 0.24, 0.16),
        (0.13, 0.11, 0.10),
        (0.86, 0.52, 0.20),
        (0.55, 0.53, 0.52),
    ]
)


def _pick(rng, shares: tuple[float, ...]) -> int:
    """An index drawn with these probabilities, faster than NumPy's `choice`."""
    at = rng.uniform()
    for i, share in enumerate(shares):
        at -= share
        if at < 0:
            return i
    return len(shares) - 1


def _triple(x) -> Triple:
    return tuple(min(max(float(c), 0.02), 0.98) for c in x)


def vivid(rng, saturation=(0.15, 0.85), value=(0.25, 0.95)) -> Triple:
    """A colour of any hue."""
    return _triple(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value)))


def pale(rng) -> Triple:
    """A colour of walls and floors."""
    return vivid(rng, (0.02, 0.45), (0.3, 0.9))


def _between(table, rng, blur: float) -> Triple:
    i = rng.uniform(0, len(table) - 1)
    low = int(i)
    mean = table[low] + (i - low) * (table[min(low + 1, len(table) - 1)] - table[low])
    return _triple(mean + blur * rng.normal(size=3))


def skin(rng) -> Triple:
    """A colour of human skin."""
    return _between(_SKIN, rng, 0.015)


def hair(rng) -> Triple:
    """A colour of hair."""
    return _triple(_HAIR[rng.integers(len(_HAIR))] + 0.03 * rng.normal(size=3))


def fur(rng) -> Triple:
    """A colour of fur."""
    return _triple(_FUR[rng.integers(len(_FUR))] + 0.04 * rng.normal(size=3))


def darker(colour: Triple, by: float) -> Triple:
    """The colour times `by`."""
    return _triple(np.array(colour) * by)


def cloth(rng, frequency: float = 6.0) -> Material:
    """Plain, striped, checked, dotted or cloudy cloth; `frequency` in cycles per unit."""
    kind = _pick(rng, (0.35, 0.25, 0.15, 0.1, 0.15))
    weights = [(0.15, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0.9, 0, 0, 0)][kind]
    f = frequency * float(np.exp(rng.uniform(-0.5, 0.7)))
    along = [(0, 0, 1), (0, 1, 0), (0.3, 0.7, 0.7)][_pick(rng, (0.6, 0.25, 0.15))]
    return Material(
        base=vivid(rng),
        second=vivid(rng),
        weights=weights,
        frequency=(f, f, f),
        along=_object(along),
        gloss=rng.uniform(0, 0.12),
        seed=rng.uniform(0, 50),
    )


def _object(along) -> Triple:
    # Anatomical (forward, left, up) to the object frame, where textures live.
    forward, left, up = along
    return (left, -up, -forward)


def coat(rng, frequency: float = 7.0) -> Material:
    """The coat of an animal: plain, patched, spotted, striped."""
    kind = _pick(rng, (0.3, 0.25, 0.2, 0.25))
    base = fur(rng)
    second = fur(rng)
    while np.abs(np.subtract(base, second)).sum() < 0.5:
        second = fur(rng)
    weights = [(0.25, 0, 0, 0), (0.95, 0, 0, 0), (0, 0, 0.95, 0), (0, 0.9, 0, 0)][kind]
    f = frequency * (0.7, 0.45, 1.5, 1.0)[kind] * float(np.exp(rng.uniform(-0.3, 0.4)))
    return Material(
        base=base,
        second=second,
        weights=weights,
        frequency=(f, f, f),
        along=_object((1, 0, 0.25)),
        gloss=rng.uniform(0, 0.15),
        seed=rng.uniform(0, 50),
    )


def plain(
    colour: Triple, gloss: float = 0.1, rough: float = 0.1, frequency: float = 20.0, seed=0.0
) -> Material:
    """One colour with a little mottling."""
    return Material(
        base=colour,
        second=darker(colour, 0.6),
        weights=(rough, 0, 0, 0),
        frequency=(frequency,) * 3,
        gloss=gloss,
        seed=seed,
    )


def surface(rng, frequency: float = 1.5) -> Material:
    """A floor, a wall, a thing that stands around."""
    kind = _pick(rng, (0.2, 0.2, 0.2, 0.15, 0.25))
    weights = [(0.3, 0, 0, 0), (0.15, 0.7, 0, 0), (0, 0, 0, 0.85), (0, 0, 0.9, 0), (0.95, 0, 0, 0)][kind]
    f = frequency * float(np.exp(rng.uniform(-0.8, 0.9)))
    base = pale(rng) if rng.uniform() < 0.6 else vivid(rng)
    second = darker(base, rng.uniform(0.4, 0.8)) if rng.uniform() < 0.5 else pale(rng)
    turn = rng.uniform(0, np.pi)
    return Material(
        base=base,
        second=second,
        weights=weights,
        frequency=(f, f, f),
        along=(float(np.cos(turn)), float(np.sin(turn)), 0.0),
        gloss=rng.uniform(0, 0.1),
        seed=rng.uniform(0, 50),
    )


def marked(material: Material, colour: Triple, at, radius) -> Material:
    """The material with a mark: an ellipsoid of another colour, at a point of the rest pose."""
    return dataclasses.replace(
        material,
        mark=colour,
        mark_at=tuple(float(x) for x in at),
        mark_radius=tuple(float(x) for x in radius),
    )
