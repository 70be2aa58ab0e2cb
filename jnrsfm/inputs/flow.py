"""Optical flow of clips by OpenCV's dense inverse search, checked forward and backward (the extra `mesh`); flow of
neighbouring frames chained to frames farther off."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from jnrsfm.errors import InputError


class Flow(NamedTuple):
    """From one image to another: `move (y, x, 2)` in pixels, and where it is `sound (y, x)`: ends inside the image, and
    the way back ends within a pixel and a twentieth of its length from the start."""

    move: Float[np.ndarray, "y x 2"]
    sound: Bool[np.ndarray, "y x"]


def opencv(what: str) -> Any:
    """OpenCV. Raises InputError, led by what needs it, where it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            f"{what} needs OpenCV, which is not installed: pip install 'jnrsfm[mesh]'"
        ) from error
    return cv2


def flow_between(one: UInt8[np.ndarray, "y x 3"], two: UInt8[np.ndarray, "y x 3"]) -> Flow:
    """Flow of the pixels of `one`. Raises InputError without OpenCV."""
    cv2 = opencv("flow")
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_RGB2GRAY) for i in (one, two)]
    there, back = search.calc(*grey, None), search.calc(*grey[::-1], None)
    high, wide = grey[0].shape
    x, y = np.meshgrid(np.arange(wide, dtype=np.float32), np.arange(high, dtype=np.float32))
    u, v = x + there[..., 0], y + there[..., 1]
    inside = (u >= 0) & (u <= wide - 1) & (v >= 0) & (v <= high - 1)
    gap = np.linalg.norm(cv2.remap(back, u, v, cv2.INTER_LINEAR) + there, axis=-1)
    return Flow(there, inside & (gap <= 1 + 0.05 * np.linalg.norm(there, axis=-1)))


TEAR = 1.0  # pixels by which the flow of four neighbouring pixels may differ before a chain between them ends


class Chain(NamedTuple):
    """Where pixels are seen `steps (pixel,)` frames later (less than 0: before), `place (pixel, 2)`."""

    place: Float[np.ndarray, "pixel 2"]
    steps: Int[np.ndarray, " pixel"]


def chained_flow(
    flow: Float[np.ndarray, "frame y x 2"],
    valid: Bool[np.ndarray, "frame y x"],
    frame: Int[np.ndarray, " pixel"],
    place: Float[np.ndarray, "pixel 2"],
    steps: Int[np.ndarray, " pixel"],
    way: int,
) -> Chain:
    """Follow pixels through the flow of each frame to the next (`way` 1) or to the one before (-1), as far as `steps`:
    `x_{k+1} = x_k + flow[frame + way k](x_k)`, in pixels, x before y.

    A chain ends early, and says so, where flow is not valid or tears: what is reached until then is kept. Flow between
    pixels is bilinear. Errors add up along a chain as a random walk: as the root of its steps."""
    frames, high, wide = valid.shape
    at, done = np.array(place, np.float32), np.zeros(len(frame), np.int64)
    alive = np.flatnonzero(steps > 0)
    while len(alive):
        f, xy = frame[alive] + way * done[alive], at[alive]
        low = np.clip(np.floor(xy), 0, (wide - 2, high - 2)).astype(int)
        part = xy - low
        x, y = low.T
        four = np.stack([flow[f, y + b, x + a] for b in (0, 1) for a in (0, 1)], 1)
        known = np.stack([valid[f, y + b, x + a] for b in (0, 1) for a in (0, 1)], 1)
        share = np.stack(
            [
                (part[:, 0] if a else 1 - part[:, 0]) * (part[:, 1] if b else 1 - part[:, 1])
                for b in (0, 1) for a in (0, 1)
            ], 1,
        )  # fmt: skip
        used = share > 1e-6
        top = np.where(used[..., None], four, -np.inf).max(1)
        bottom = np.where(used[..., None], four, np.inf).min(1)
        new = xy + (share[..., None] * four).sum(1)
        good = (known | ~used).all(1) & ((top - bottom) <= TEAR).all(1)
        good &= ((new >= 0) & (new <= (wide - 1, high - 1))).all(1)
        good &= (f + way >= 0) & (f + way < frames)
        kept = alive[good]
        at[kept], done[kept] = new[good], done[kept] + 1
        alive = kept[done[kept] < steps[kept]]
    return Chain(at, way * done)
