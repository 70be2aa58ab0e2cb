"""What a generator hands over before any camera: moving points in the object frame.

Object frame: x right, y down, z forward, as a camera sees it with the identity rotation; an upright
figure has its head at negative y and faces -z, towards that camera, so that its left side is at +x.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """Moving points and what is known of them.

    Shapes: `points (frame, point, 3)` in the object frame; `heading (frame,)` in radians, by how much
    the object has turned about its vertical; `sequence (frame,)`; `edges (edge, 2)`; `symmetric
    (pair, 2)`; `defined (frame, point)` and `category (frame,)` in sets of several categories. `groups`
    names the parts that are hidden together (a limb), as point indices.
    """

    points: Float[np.ndarray, "frame point 3"]
    heading: Float[np.ndarray, " frame"]
    sequence: Int[np.ndarray, " frame"]
    names: tuple[str, ...]
    edges: Int[np.ndarray, "edge 2"]
    symmetric: Int[np.ndarray, "pair 2"] | None
    groups: Mapping[str, tuple[int, ...]]
    defined: Bool[np.ndarray, "frame point"] | None = None
    category: Int[np.ndarray, " frame"] | None = None
    categories: tuple[str, ...] | None = None


def clips_of(sequence) -> list[np.ndarray]:
    """The frame indices of each clip of `sequence (frame,)`, whose clips follow one another."""
    return np.split(np.arange(len(sequence)), np.flatnonzero(np.diff(sequence)) + 1)


def clip_lengths(frames: int, clips: int) -> list[int]:
    """`frames` split into `clips` parts that differ by one frame at most."""
    return [frames // clips + (i < frames % clips) for i in range(clips)]


def drift(rng: np.random.Generator, time, periods: tuple[float, float] = (2.5, 7.0)):
    """A smooth, slow random function of `time (frame,)` in seconds, of unit variance: three sinusoids."""
    total = np.zeros_like(time)
    for _ in range(3):
        period, phase = rng.uniform(*periods), rng.uniform(0, 2 * np.pi)
        total += np.sin(2 * np.pi * time / period + phase)
    return total * np.sqrt(2 / 3)


def periodic(values, phase):
    """Trigonometric interpolation of `values (control,)`, one turn sampled evenly, at `phase` in turns.

    For N values the highest harmonic is (N - 1) // 2: an even N has no Nyquist term, so that the curve is
    the least-squares one there. It is smooth and exactly periodic.
    """
    values = np.asarray(values, float)
    n = len(values)
    spectrum = np.fft.rfft(values) / n
    k = np.arange(1, (n - 1) // 2 + 1)
    waves = np.exp(2j * np.pi * np.multiply.outer(np.asarray(phase), k))
    return spectrum[0].real + 2 * (waves * spectrum[k]).real.sum(-1)


def heading_of(time, turning: float, rng: np.random.Generator):
    """A heading `(frame,)` in radians that starts anywhere and turns at about `turning` degrees a frame."""
    start, sense = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    return start + np.cumsum(np.radians(turning) * (sense + 0.5 * drift(rng, time)))


def pulse(phase, sharpness: float = 4.0):
    """A smooth periodic switch in (0, 1): on for the first half of each turn of `phase`."""
    return 1 / (1 + np.exp(-sharpness * np.sin(2 * np.pi * np.asarray(phase))))
