"""Cameras around a moving object: rotations by view, then translation, scale and intrinsics by model."""

import numpy as np
from scipy.spatial.transform import Rotation

from jnrsfm.datasets.config import DatasetConfig
from jnrsfm.datasets.motion import Motion, clips_of, drift
from jnrsfm.errors import InputError
from jnrsfm.types import Cameras


def object_size(points, defined=None) -> float:
    """Mean over frames of the largest distance between two of `points (frame, point, 3)` that are defined.

    At most 256 frames, spread evenly, are looked at.
    """
    largest = []
    for f in np.linspace(0, len(points) - 1, min(len(points), 256)).astype(int):
        x = points[f] if defined is None else points[f, defined[f]]
        largest.append(np.linalg.norm(x[:, None] - x, axis=-1).max())
    return float(np.mean(largest))


def look(azimuth, elevation, roll):
    """World-to-camera rotations `(frame, 3, 3)` of a camera that looks at the object; angles in radians.

    `R = Rz(roll) @ Rx(elevation) @ Ry(azimuth)`; at 0 it faces the object, positive elevation looks down on
    it, and azimuth walks around it.
    """
    (cr, sr), (ce, se), (ca, sa) = ((np.cos(a), np.sin(a)) for a in (roll, elevation, azimuth))
    o, i = np.zeros_like(ca), np.ones_like(ca)
    rz = np.stack([cr, -sr, o, sr, cr, o, o, o, i], -1).reshape(-1, 3, 3)
    rx = np.stack([i, o, o, o, ce, -se, o, se, ce], -1).reshape(-1, 3, 3)
    ry = np.stack([ca, o, sa, o, i, o, -sa, o, ca], -1).reshape(-1, 3, 3)
    return rz @ rx @ ry


def haar(rng, n: int):
    """`(n, 3, 3)` rotations uniform over SO(3), from normalised Gaussian quaternions (Shoemake, 1992)."""
    q = rng.normal(size=(n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, -1).reshape(n, 3, 3)


def _tumble(rate: float, time, rng):
    """Rotations `(frame, 3, 3)` from a Haar start, `R[f + 1] = exp(w[f]) R[f]` with a smooth random `w`.

    The angular velocity has a mean square of `rate` squared, in radians a frame.
    """
    velocity = np.stack([drift(rng, time, (2.0, 8.0)) for _ in range(3)], 1) * rate / np.sqrt(3)
    steps = Rotation.from_rotvec(velocity).as_matrix()
    out = [haar(rng, 1)[0]]
    for step in steps[:-1]:
        out.append(step @ out[-1])
    # Products of many rotations lose orthogonality by rounding, 1e-16 a step.
    return Rotation.from_matrix(np.stack(out)).as_matrix()


def _clip_rotations(config: DatasetConfig, n: int, rng):
    """Rotations of the camera alone for one clip."""
    low, high = np.radians(config.elevation)
    middle, half = (low + high) / 2, (high - low) / 2
    time, one = np.arange(n) / config.fps, np.ones(n)
    start = rng.uniform(0, 2 * np.pi)
    if config.view == "random":
        return haar(rng, n)
    if config.view == "tumble":
        return _tumble(np.radians(config.degrees_per_frame), time, rng)
    if config.view == "ring":
        return look(rng.uniform(0, 2 * np.pi, n), rng.uniform(low, high, n), np.zeros(n))
    if config.view == "fixed":
        # The tripod trembles by a tenth of a degree.
        tremble = np.radians(0.1) * np.stack([drift(rng, time, (0.2, 1.0)) for _ in range(3)])
        return look(start + tremble[0], rng.uniform(low, high) * one + tremble[1], tremble[2])
    rate = np.radians(config.degrees_per_frame) * rng.choice([-1.0, 1.0])
    # A sine between the limits never leaves them, however long the clip.
    sway = middle + half * np.sin(rng.uniform(0, 2 * np.pi) + 2 * np.pi * time / rng.uniform(4, 8))
    if config.view == "orbit":
        return look(start + rate * np.arange(n), sway, np.zeros(n))
    azimuth = start + np.cumsum(rate * (1 + 0.6 * drift(rng, time)))
    return look(azimuth, sway, np.radians(3) * drift(rng, time, (1.0, 4.0)))


def cameras_for(motion: Motion, config: DatasetConfig, rng) -> Cameras:
    """Float64 NumPy cameras for every frame of `motion`; the object's heading is part of the rotation.

    Translations put the centroid of the (defined) points at the distance, and on the axis up to `off_centre`.
    Scale and translation under weak perspective are in pixels, so that its image is that of the
    perspective camera to first order. Under orthography the centroid is the origin.
    """
    n = len(motion.points)
    clips = clips_of(motion.sequence)
    turned = look(motion.heading, np.zeros(n), np.zeros(n))
    rotations = np.concatenate([_clip_rotations(config, len(c), rng) for c in clips]) @ turned
    time = [np.arange(len(c)) / config.fps for c in clips]
    # Three slow functions: depth, and the wander in the image along x and y.
    independent = config.view in ("random", "ring")

    def wandering(t):
        return rng.normal(size=(3, len(t))) if independent else np.stack([drift(rng, t) for _ in range(3)])

    wander = np.clip(np.concatenate([wandering(t) for t in time], 1), -2.5, 2.5)

    weights = np.ones(motion.points.shape[:2]) if motion.defined is None else motion.defined.astype(float)
    centroid = np.einsum("fp,fpi->fi", weights / weights.sum(1, keepdims=True), motion.points)
    centring = -np.einsum("fij,fj->fi", rotations, centroid)
    if config.camera == "orthographic":
        return Cameras(rotations=rotations, translations=centring, model="orthographic")

    side = min(config.image_size)
    size = object_size(motion.points, motion.defined)
    focal = config.focal if config.focal is not None else config.fill * side * config.distance
    centre = np.array(config.principal if config.principal else np.array(config.image_size) / 2, float)
    # Mapped so that the farthest excursion, 2.5, is the variation asked for.
    depth = config.distance * size * (1 + config.distance_variation * wander[0] / 2.5)
    pixels = config.off_centre * side * wander[1:].T
    if config.camera == "weak-perspective":
        scale = focal / depth
        shift = np.concatenate([centre + pixels, np.zeros((n, 1))], 1)
        return Cameras(rotations, scale[:, None] * centring + shift, scale, model="weak-perspective")
    shift = np.concatenate([pixels / focal, np.ones((n, 1))], 1) * depth[:, None]
    intrinsics = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
    translations = centring + shift
    nearest = (np.einsum("fpi,fi->fp", motion.points, rotations[:, 2]) + translations[:, 2:]) / size
    if nearest.min() < 0.1:
        raise InputError(f"distance={config.distance}: the camera is inside the object; put it farther away")
    return Cameras(rotations, translations, intrinsics=intrinsics, model="perspective")


def project(cameras: Cameras, points):
    """Image `(frame, point, 2)` of `points (frame, point, 3)`, as `Cameras.project`, in NumPy and float64.

    The truth is rounded once, at the end, so that a set does not depend on the precision JAX runs at.
    """
    x = np.einsum("fij,fpj->fpi", cameras.rotations, points)
    if cameras.scale is not None:
        x = x * cameras.scale[:, None, None]
    if cameras.translations is not None:
        x = x + cameras.translations[:, None]
    if cameras.intrinsics is None:
        return x[..., :2]
    image = x @ cameras.intrinsics.T
    return image[..., :2] / image[..., 2:]
