"""Masks from COCO's segmentations, drawn when they are read: polygons, run lengths, and run lengths as text."""

import dataclasses
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.pixels import library


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentMasks:
    """A mask for each segmentation (None: nothing), as images of 0 and 255 of `sizes (mask, 2)`."""

    segments: tuple[Any, ...]
    sizes: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Their numbers."""
        return tuple(f"mask {i}" for i in range(len(self.segments)))

    def read(self, number: int) -> np.ndarray:
        """Mask `number`, uint8 `(height, width, 3)`. Raises InputError for a damaged segmentation."""
        width, height = (int(n) for n in self.sizes[number])
        segment = self.segments[number]
        try:
            if not segment:
                flat = np.zeros((height, width), np.uint8)
            elif isinstance(segment, dict):
                flat = _from_runs(segment, width, height)
            else:
                flat = _from_polygons(segment, width, height)
        except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
            raise InputError(
                f"mask {number}: its segmentation cannot be drawn ({error}): mend or remove it"
            ) from error
        return np.repeat(flat[..., None], 3, axis=-1)


def _from_polygons(polygons: Any, width: int, height: int) -> np.ndarray:
    """Filled polygons [[x, y, x, y, ...], ...]; corners of pixels are at whole numbers, as COCO counts."""
    pil = library()
    image = pil.Image.new("L", (width, height))
    draw = pil.ImageDraw.Draw(image)
    for polygon in polygons:
        corners = np.asarray(polygon, float).reshape(-1, 2) - 0.5
        if len(corners) >= 3 and np.isfinite(corners).all():
            draw.polygon([(float(x), float(y)) for x, y in corners], fill=255)
    return np.asarray(image)


def _from_runs(segment: dict[str, Any], width: int, height: int) -> np.ndarray:
    """Run lengths down the columns, off and on in turn; `counts` a list, or text of 5-bit groups, each the difference
    to the run before the last (cocoapi's `maskApi.c`)."""
    counts = segment["counts"]
    if [int(n) for n in segment["size"]] != [height, width]:
        raise ValueError(f"its size {segment['size']} is not that of the image")
    runs = _decoded(counts) if isinstance(counts, str) else [int(n) for n in counts]
    if min(runs, default=0) < 0 or sum(runs) != width * height:
        raise ValueError("its runs do not add up to the image")
    on = np.arange(len(runs)) % 2 == 1
    return np.repeat(np.where(on, np.uint8(255), np.uint8(0)), runs).reshape(width, height).T


def _decoded(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60:
            raise ValueError("its text holds other letters than those of run lengths")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:  # the last group of this number
            if code & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
