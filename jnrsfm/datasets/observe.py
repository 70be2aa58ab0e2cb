"""From exact projections to what a detector would report: noise, outliers, confidences and gaps."""

import numpy as np

from jnrsfm.datasets.config import DatasetConfig
from jnrsfm.datasets.motion import Motion, clips_of


def hide_limbs(motion: Motion, fraction: float, rng):
    """`(frame, point)` bool: parts (`motion.groups`) that vanish for 10 to 45 frames within a clip.

    Stretches are drawn until the mean over the defined points reaches `fraction`; with one part at a time, as
    far as that can reach it, so that the rest of the object stays in sight.
    """
    hidden = np.zeros(motion.points.shape[:2], bool)
    defined = np.ones_like(hidden) if motion.defined is None else motion.defined
    clips = clips_of(motion.sequence)
    groups = [np.array(g) for g in motion.groups.values()]
    which = np.repeat(np.arange(len(clips)), [len(c) for c in clips])
    left = fraction * defined.sum()
    for attempt in range(50 * len(hidden)):
        if left < 0.5:
            break
        # By frame, not by clip, so that long clips get their share.
        clip = clips[which[rng.integers(len(hidden))]]
        group = groups[rng.integers(len(groups))]
        length = min(int(rng.integers(10, 46)), len(clip), int(np.ceil(left / len(group))))
        start = int(rng.integers(0, len(clip) - length + 1))
        stretch = clip[start : start + length]
        crowded = hidden[stretch].any() and attempt < 10 * len(hidden)
        part = np.ix_(stretch, group)
        if not crowded:
            left -= (defined[part] & ~hidden[part]).sum()
            hidden[part] |= defined[part]
    return hidden


def hide_bar(image, motion: Motion, fraction: float, rng):
    """`(frame, point)` bool: points behind an upright bar that sweeps through `image (frame, point, 2)`.

    The bar passes to and fro over the object in 90 to 150 frames; its width, relative to
    the object's, is the one that hides `fraction` of the defined points.
    """
    defined = np.ones(image.shape[:2], bool) if motion.defined is None else motion.defined
    x = np.where(defined, image[..., 0], np.nan)
    middle, half = (np.nanmax(x, 1) + np.nanmin(x, 1)) / 2, (np.nanmax(x, 1) - np.nanmin(x, 1)) / 2
    position = np.zeros(len(x))
    for clip in clips_of(motion.sequence):
        turn = rng.uniform() + np.arange(len(clip)) / rng.uniform(90, 150)
        position[clip] = 1.3 * np.sin(2 * np.pi * turn)
    away = np.abs((x - middle[:, None]) / half[:, None] - position[:, None])
    return np.nan_to_num(away, nan=np.inf) <= np.quantile(away[defined], fraction)


def keep_enough(visible, defined, random_hidden, least: int, rng):
    """`visible` with points put back so that each frame has `least` of them, or all that are defined.

    Points that were hidden at random come back first, then occluded ones.
    """
    want = np.minimum(least, defined.sum(1))
    # Order of return: visible ones first, the undefined never; ties at random.
    rank = np.where(visible, 0.0, np.where(random_hidden, 1.0, 2.0)) + rng.uniform(size=visible.shape) * 0.9
    rank = np.where(defined, rank, 9.0)
    order = np.argsort(np.argsort(rank, 1, kind="stable"), 1, kind="stable")
    return (visible | (order < want[:, None])) & defined


def observe(image, motion: Motion, config: DatasetConfig, rng):
    """What is seen of `image (frame, point, 2)`: points with noise (0 where hidden), `visible`, confidence.

    The noise of each point is Gaussian with a standard deviation that itself varies by point and frame
    (log-normal, about `config.noise`), and the confidence falls with it: `1 / (1 + (sd / (2 noise))^2)`,
    blurred, in [0.05, 1]; None unless asked for.
    """
    masks, jitter = rng.spawn(2)
    n, p = image.shape[:2]
    defined = np.ones((n, p), bool) if motion.defined is None else motion.defined
    hidden = np.zeros((n, p), bool)
    if config.limb_occlusion:
        hidden |= hide_limbs(motion, config.limb_occlusion, masks)
    if config.bar_occlusion:
        hidden |= hide_bar(image, motion, config.bar_occlusion, masks)
    dropped = masks.uniform(size=(n, p)) < config.missing
    visible = keep_enough(~hidden & ~dropped & defined, defined, dropped & ~hidden, config.min_visible, masks)

    seen = np.where(defined[..., None], image, np.nan)
    size = float(np.linalg.norm(np.nanmax(seen, 1) - np.nanmin(seen, 1), axis=-1).mean())
    unit = size if config.noise_unit == "size" else 1.0
    typical = config.noise * unit
    spread = np.exp(0.5 * jitter.normal(size=(n, p)) - 0.125)
    deviation = typical * spread
    wild = jitter.uniform(size=(n, p)) < config.outliers
    deviation = np.where(wild, max(10 * typical, 0.05 * size), deviation)
    points = image + deviation[..., None] * jitter.normal(size=image.shape)
    confidence = None
    if config.confidence:
        relative = deviation / (2 * typical) if typical else np.where(wild, 4.0, 0.25)
        confidence = 1 / (1 + relative**2) * np.exp(0.1 * jitter.normal(size=(n, p)))
        confidence = np.where(visible, np.clip(confidence, 0.05, 1), 0).astype(np.float32)
    return np.where(visible[..., None], points, 0).astype(np.float32), visible, confidence
