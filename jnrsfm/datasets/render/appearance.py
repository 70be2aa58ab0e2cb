"""Colours of surface points: procedural textures in coordinates that move with the surface, and light.

Texture coordinates are where a point of the body was in its rest pose, so that a stripe runs on from part
to part and stays on the skin. All patterns are made of hashed integers and sines: the same on every
machine."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Looks(NamedTuple):
    """How each shape looks; each `(shape, n)`.

    `base`, `second`, `mark` are colours in [0, 1]. `weights`: share of noise, stripes, spots and checks by
    which `second` replaces `base`. `frequency`: cycles per unit of texture coordinates along its axes;
    `along`: direction of the stripes. `mark` covers the ellipsoid of centre `mark_at` and reciprocal radii
    `mark_size`. `gloss (shape, 1)`, `seed (shape, 1)`. `texture (shape, 12)`: rows of the 3x4 map from
    local to texture coordinates."""

    base: Any
    second: Any
    mark: Any
    weights: Any
    frequency: Any
    along: Any
    mark_at: Any
    mark_size: Any
    gloss: Any
    seed: Any
    texture: Any


WIDTHS = Looks(3, 3, 3, 4, 3, 3, 3, 3, 1, 1, 12)


class Light(NamedTuple):
    """Light of one picture.

    `direction (3,)` to the lamp and `up (3,)`, camera frame; colours `lamp`, `sky`, `ground (3,)`; `grain`
    of the sensor and its `seed`. `across (2, 3)`: two directions at right angles to the lamp's, and `bounds
    (cones and boxes, 4)` of the shapes along them, for shadows."""

    direction: Any
    up: Any
    lamp: Any
    sky: Any
    ground: Any
    grain: Any
    seed: Any
    across: Any
    bounds: Any


def _mixed(h):
    h = (h ^ (h >> 15)) * jnp.uint32(0x2C1B3C6D)
    h = (h ^ (h >> 12)) * jnp.uint32(0x297A2D39)
    return h ^ (h >> 15)


def _unit(h):
    return (h >> 8).astype(jnp.float32) * (1.0 / (1 << 24))


def value_noise(p):
    """Smooth noise in [0, 1] of points `p` (three arrays): hashed values at integers, blended by
    smoothsteps."""
    cells, blend = [], []
    for x, prime in zip(p, (0x8DA6B343, 0xD8163841, 0xCB1AB31F), strict=True):
        low = jnp.floor(x)
        f = x - low
        low = low.astype(jnp.int32).astype(jnp.uint32) * jnp.uint32(prime)
        cells.append((low, low + jnp.uint32(prime)))
        blend.append(f * f * (3 - 2 * f))
    planes = []
    for cx in cells[0]:
        lines = []
        for cy in cells[1]:
            ends = [_unit(_mixed(cx ^ cy ^ cz)) for cz in cells[2]]
            lines.append(_mix(ends[0], ends[1], blend[2]))
        planes.append(_mix(lines[0], lines[1], blend[1]))
    return _mix(planes[0], planes[1], blend[0])


def _mix(a, b, f):
    return a + (b - a) * f


def _step(x, low, high):
    x = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    return x * x * (3 - 2 * x)


def _wave(x):
    """A smooth wave between -1 and 1 of period 1, zero at 0 and 1/2: parabolas in place of a sine, which
    costs more."""
    f = x - jnp.floor(x + 0.5)
    return 8 * f * (1 - 2 * jnp.abs(f))


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def albedo(looks: Looks, p, footprint):
    """Colours (three arrays) of points with texture coordinates `p` (three arrays); `footprint`: size of a
    pixel there.

    Fields of `looks` are lists of arrays, one for each column. Patterns finer than a pixel fade to their mean.
    """
    seed = looks.seed[0]
    s = [x * f + seed * c for x, f, c in zip(p, looks.frequency, (1.0, 1.7, 2.3), strict=True)]
    # Computed once: the compiler would otherwise do so in every place that uses it.
    coarse, fine = jax.lax.optimization_barrier((value_noise(s), value_noise([2.63 * x + 11.5 for x in s])))
    cloud = _step(0.65 * coarse + 0.35 * fine, 0.3, 0.7)
    wave = _wave(_dot(looks.along, s) + 0.9 * (coarse - 0.5))
    stripes = _step(wave, -0.3, 0.3)
    spots = _step(coarse, 0.56, 0.66)
    checks = _step(_wave(0.5 * s[0]) * _wave(0.5 * s[1]), -0.08, 0.08)
    w = looks.weights
    share = w[0] * cloud + w[1] * stripes + w[2] * spots + w[3] * checks
    mean = 0.5 * (w[0] + w[1] + w[3]) + 0.3 * w[2]
    most = jnp.maximum(jnp.maximum(looks.frequency[0], looks.frequency[1]), looks.frequency[2])
    fade = 1 / (1 + (most * footprint) ** 2) ** 2
    share = mean + (share - mean) * fade
    at = [(x - c) * r for x, c, r in zip(p, looks.mark_at, looks.mark_size, strict=True)]
    mark = 1.0 - _step(_dot(at, at), 0.8, 1.2)
    rough = 1.0 + 0.1 * (fine - 0.5) * fade
    out = []
    for base, second, spot in zip(looks.base, looks.second, looks.mark, strict=True):
        colour = base + (second - base) * share
        out.append((colour + (spot - colour) * mark) * rough)
    return out


def shaded(colour, gloss, normal, view, lit, light: Light):
    """Colours under the light: ambient from sky and ground, Lambert, and a highlight; `lit` in [0, 1], 0 in
    the shade.

    `normal` and `view` (to the camera) are unit vectors, three arrays each, in the camera frame.
    """
    up, lamp = light.up, light.direction
    high = 0.5 + 0.5 * _dot(normal, up)
    facing = jnp.maximum(_dot(normal, lamp), 0.0) * lit
    half = [v + d for v, d in zip(view, lamp, strict=True)]
    norm = _dot(half, half) + 1e-6
    shine = jnp.maximum(_dot(normal, half), 0.0) ** 2 / norm
    shine = gloss * shine**16 * lit
    out = []
    for i, c in enumerate(colour):
        ambient = light.ground[i] + (light.sky[i] - light.ground[i]) * high
        out.append(c * (ambient + light.lamp[i] * facing) + light.lamp[i] * shine)
    return out


def grain(image, light: Light):
    """Colours (three arrays) with the noise of a sensor: independent, nearly Gaussian, of standard
    deviation `grain`."""
    h, w = image[0].shape
    index = jnp.arange(h * w, dtype=jnp.uint32).reshape(h, w) + light.seed * jnp.uint32(0x9E3779B1)
    out = []
    for i, c in enumerate(image):
        bits = _mixed(_mixed(index + jnp.uint32(77 * i)) + jnp.uint32(i))
        # Four bytes, summed: variance 4 * (256^2 - 1) / 12.
        total = sum((bits >> shift) & jnp.uint32(255) for shift in (0, 8, 16, 24)).astype(jnp.float32)
        out.append(c + light.grain * (total - 510.0) / 147.8)
    return out
