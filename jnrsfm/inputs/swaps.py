r"""Frames in which a detector took left for right, told from continuity along a clip.

Between two frames the pairs of a body move little: with $D_s$ the summed squared distance of the pairs' points to
where they were, and $D_x$ the same with left and right exchanged in one of the frames,

$$e = (D_x - D_s) / (D_x + D_s + \delta^2)$$

in [-1, 1] votes for "as before" or "exchanged"; where the two sides lie on top of each other it says nothing. The
labelling of a clip that most votes agree with is found exactly (`linalg.sign_synchronization.solve_chain`), and the
lesser part is called exchanged: which of the two is right, no track can say.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jnrsfm.inputs.jittery import in_order
from jnrsfm.linalg.sign_synchronization import solve_chain
from jnrsfm.types import Landmarks

_LAGS = 4
_SLACK = 0.05  # of the object's size: movement that is no evidence
SURE = 0.5  # votes lost were the frame labelled otherwise


class Swaps(NamedTuple):
    """`frames (frame,)` where left and right are exchanged against the rest of the clip; `loss (frame,)` votes that
    the other label would lose: below one half it is no finding, and the frame is not listed."""

    frames: Bool[np.ndarray, " frame"]
    loss: Float[np.ndarray, " frame"]


def find_swaps(landmarks: Landmarks) -> Swaps:
    """The exchanged frames of clips; none where there are no `symmetric` pairs or no order, or where the frames of
    what is called a clip do not follow each other."""
    n = landmarks.n_frames
    found: np.ndarray = np.zeros(n, bool)
    loss = np.zeros(n)
    landmarks = in_order(landmarks)
    if landmarks.symmetric is None or landmarks.sequence is None or not len(np.asarray(landmarks.symmetric)):
        return Swaps(found, loss)
    x = np.where(
        (np.asarray(landmarks.weights) > 0)[..., None], np.asarray(landmarks.points2d, np.float64), np.nan
    )
    sides = x[:, np.asarray(landmarks.symmetric)]
    size = _size(landmarks)
    sequence = np.asarray(landmarks.sequence)
    for clip in np.unique(sequence):
        frames = np.flatnonzero(sequence == clip)
        found[frames], loss[frames] = swaps_of_clip(sides[frames], size)
    return Swaps(found & (loss > SURE), loss)


def swaps_of_clip(
    sides: Float[np.ndarray, "frame pair 2 2"], size: float
) -> tuple[Bool[np.ndarray, " frame"], Float[np.ndarray, " frame"]]:
    """Of one clip, the points of each pair, left and right, NaN where not seen, in the unit of `size`: the frames of
    the lesser part, and the votes that each frame's other label would lose."""
    lags = min(_LAGS, len(sides) - 1)
    if lags < 1:
        return np.zeros(len(sides), bool), np.zeros(len(sides))
    seen = np.isfinite(sides).all((2, 3))
    x = np.where(seen[..., None, None], sides, 0.0)
    links = np.zeros((lags, len(x)))
    for k in range(1, lags + 1):
        links[k - 1, k:] = _votes(x, seen, k, _SLACK * size) / k**2
    mask, loss = solve_chain(links)
    mask = np.asarray(mask, bool)
    return mask, np.minimum(loss, np.where(mask, _loss_of_stretches(links, mask), np.inf))


def _loss_of_stretches(links: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Votes that would be lost were the whole stretch of exchanged frames that a frame is in labelled as the others: a
    body that turns past its own profile leaves hardly any, however many frames follow."""
    stretch = np.cumsum(np.diff(mask, prepend=False)) * mask  # a number for each stretch, 0 outside
    lost = np.zeros(int(stretch.max()) + 1)
    for k, votes in enumerate(links, 1):
        now, then = stretch[k:], stretch[:-k]
        apart = mask[k:] != mask[:-k]
        np.add.at(lost, np.where(apart, now + then, 0), -votes[k:] * apart)
    return lost[stretch]


def exchanged(landmarks: Landmarks, frames: Bool[np.ndarray, " frame"]) -> Landmarks:
    """The landmarks with the two points of each symmetric pair exchanged in some frames."""
    if not frames.any():
        return landmarks
    pairs = np.asarray(landmarks.symmetric)
    order = np.arange(landmarks.n_points)
    order[pairs[:, 0]], order[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    changes = {}
    for name in ("points2d", "visible", "confidence", "defined"):
        value = getattr(landmarks, name)
        if value is not None:
            value = np.array(value)
            value[frames] = value[frames][:, order]
            changes[name] = value
    return landmarks.replace(**changes)


def describe_swaps(swaps: Swaps, used: Bool[np.ndarray, " frame"], repaired: bool) -> list[str]:
    """A line about exchanged sides, none where there are none. The frames of `swaps` are those `used` of the input,
    whose numbers are said."""
    if not swaps.frames.any():
        return []
    numbers = np.flatnonzero(used)[swaps.frames]
    more = f" and {len(numbers) - 12} more" if len(numbers) > 12 else ""
    done = (
        "they were exchanged back" if repaired else "--repair-swaps (repair_swaps=True) exchanges them back"
    )
    listed = ", ".join(map(str, numbers[:12])) + more
    return [f"Left and right change sides in {len(numbers)} frames (frames {listed}): {done}."]


def _votes(x: np.ndarray, seen: np.ndarray, lag: int, slack: float) -> np.ndarray:
    """The vote of every frame with the one `lag` before it."""
    now, then = x[lag:], x[:-lag]
    both = (seen[lag:] & seen[:-lag])[..., None]
    same = (both * ((now - then) ** 2).sum(-1)).sum((1, 2))
    crossed = (both * ((now - then[:, :, ::-1]) ** 2).sum(-1)).sum((1, 2))
    return (crossed - same) / (crossed + same + slack**2)


def _size(landmarks: Landmarks) -> float:
    """The typical distance of a point from the middle of its frame."""
    seen: np.ndarray = np.asarray(np.asarray(landmarks.weights) > 0)
    x = np.where(seen[..., None], np.asarray(landmarks.points2d, np.float64), np.nan)[seen.sum(1) >= 2]
    if not len(x):
        return 1.0
    away = x - np.nanmedian(x, 1, keepdims=True)
    return float(np.sqrt(np.nanmedian((away**2).sum(-1)))) or 1.0
