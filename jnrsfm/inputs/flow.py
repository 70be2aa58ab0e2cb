"""Optical flow of clips by OpenCV's dense inverse search, checked forward and backward (the extra `mesh`)."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

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
