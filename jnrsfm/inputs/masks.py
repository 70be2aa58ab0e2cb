"""Masks of an object: by GrabCut from a guess where none are given, and what a fit wants of a mask."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from jnrsfm.inputs.flow import opencv
from jnrsfm.pixels import cut


def mask_by_guess(
    image: UInt8[np.ndarray, "y x 3"], guess: Bool[np.ndarray, "y x"], reach: float = 0.07, rounds: int = 3
) -> Bool[np.ndarray, "y x"]:
    """The object near a guess of its mask, by GrabCut: colours decide within `reach` of the edge of the guess, a share
    of its size (the longer side of its box). Empty where the guess is. Raises InputError without OpenCV.

    Source: Rother, Kolmogorov and Blake, GrabCut, SIGGRAPH 2004.
    """
    cv2 = opencv("a mask that is not given")
    if guess.sum() < 16:
        return np.zeros_like(guess)
    y, x = np.nonzero(guess)
    size = max(float(np.ptp(y)), float(np.ptp(x)), 8.0)
    inner, outer = (ndimage.distance_transform_edt(m) / size for m in (guess, ~guess))
    label = np.where(guess, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    label[inner > 0.5 * reach] = cv2.GC_FGD
    label[outer > reach] = cv2.GC_BGD
    # colours of the surroundings alone: what is far away says little of what is beside the object
    pad = int(np.ceil(0.25 * size))
    rows = slice(max(0, y.min() - pad), y.max() + pad + 1)
    columns = slice(max(0, x.min() - pad), x.max() + pad + 1)
    part, models = np.ascontiguousarray(label[rows, columns]), (np.zeros((1, 65)), np.zeros((1, 65)))
    if (part == cv2.GC_FGD).any() and (part == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)
        shown = np.ascontiguousarray(image[rows, columns])
        part, *_ = cv2.grabCut(shown, part, None, *models, rounds, cv2.GC_INIT_WITH_MASK)
    found = np.zeros_like(guess)
    found[rows, columns] = (part == cv2.GC_FGD) | (part == cv2.GC_PR_FGD)
    return largest_piece(found)


def largest_piece(mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """The largest connected piece, its holes of a few pixels closed."""
    pieces, count = ndimage.label(ndimage.binary_closing(mask))
    if count < 2:
        return mask
    return pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))


class MaskTargets(NamedTuple):
    """What a fit wants of a mask: `away (y, x)` distance of each pixel to the object (0 inside), `rim (rim, 2)` points
    on its edge (x, y), `weights (rim,)`: 0 for those beyond their number, and for those on the border of the image,
    where the object may go on."""

    away: Float[np.ndarray, "y x"]
    rim: Float[np.ndarray, "rim 2"]
    weights: Float[np.ndarray, " rim"]


def mask_targets(mask: Bool[np.ndarray, "y x"], most: int) -> MaskTargets:
    """Of a mask that is not empty; at most `most` points of its edge, evenly chosen."""
    away = ndimage.distance_transform_edt(~mask).astype(np.float32)
    inner = mask & ~ndimage.binary_erosion(mask, border_value=1)
    y, x = np.nonzero(inner)
    chosen = np.linspace(0, len(y) - 1, min(most, len(y))).astype(int)
    rim, weights = np.zeros((most, 2), np.float32), np.zeros(most, np.float32)
    rim[: len(chosen)], weights[: len(chosen)] = np.stack([x, y], 1)[chosen], 1.0
    return MaskTargets(away, rim, weights)


def picture_on_grid(
    image: UInt8[np.ndarray, "y x 3"], centre: Float[np.ndarray, "2"], side: float, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """A square cut out of a picture (`pixels.cut`)."""
    return cut(image, centre, side, size)


def mask_on_grid(
    mask: Bool[np.ndarray, "y x"], centre: Float[np.ndarray, "2"], side: float, size: int
) -> Float[np.ndarray, "size size"]:
    """Share of the object in each pixel of a square cut out of a mask (`pixels.cut`); 0 beyond the image."""
    picture = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, -1)
    return cut(picture, centre, side, size)[..., 0] / np.float32(255)


def on_grid(
    field: Float[np.ndarray, "y x c"], centre: Float[np.ndarray, "2"], side: float, size: int
) -> Float[np.ndarray, "size size c"]:
    """A field of an image at the pixels of such a square, bilinear; its border goes on beyond the image."""
    place = ((np.arange(size) + 0.5) / size - 0.5) * side
    y, x = np.meshgrid(place + centre[1], place + centre[0], indexing="ij")
    parts = [
        ndimage.map_coordinates(field[..., c], [y, x], order=1, mode="nearest")
        for c in range(field.shape[-1])
    ]
    return np.stack(parts, -1).astype(np.float32)
