"""What rendering gives: `RenderedImages`."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from jnrsfm.datasets.render.config import RenderedFigures
from jnrsfm.pixels import ArrayPixels
from jnrsfm.types import LabelledImages, Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True, eq=False)
class RenderedImages:
    """Images of figures and what is exactly true of them; NumPy arrays, `frame` counting all images, clip
    after clip.

    `images (frame, h, w, 3)` uint8; `mask (frame, h, w)`: the figure is what the pixel's centre shows;
    `parts (frame, h, w)`: 0 there where it is not, else one more than the index into `part_names`; `depth
    (frame, h, w)`: z in the camera frame, metres, everywhere. Pixel centres are at integers.

    `landmarks`: 2D, `visible` as `RenderedFigures.hide` says, with names, edges, `sequence`, `category`.
    `reference`: the 3D points and cameras (`reference.camera_points` is the camera frame, metres); its
    `visible` is the landmarks'. `hidden_by_body`, `hidden_by_object`, `outside (frame, point)`: a point is
    hidden where its ray meets something before the point by more than one and a half times the depth at
    which it lies under the skin. `boxes (frame, 4)`: x0, y0, x1, y1 of the mask's pixels, edges half a
    pixel out; NaN where nothing of the figure is seen."""

    images: UInt8[np.ndarray, "frame h w 3"]
    mask: Bool[np.ndarray, "frame h w"]
    parts: UInt8[np.ndarray, "frame h w"]
    depth: Float[np.ndarray, "frame h w"]
    landmarks: Landmarks
    reference: Reconstruction
    hidden_by_body: Bool[np.ndarray, "frame point"]
    hidden_by_object: Bool[np.ndarray, "frame point"]
    outside: Bool[np.ndarray, "frame point"]
    boxes: Float[np.ndarray, "frame 4"]
    sequence: Int[np.ndarray, " frame"]
    category: Int[np.ndarray, " frame"]
    categories: tuple[str, ...]
    part_names: tuple[str, ...]
    config: RenderedFigures

    @property
    def intrinsics(self):
        """`(frame, 3, 3)` camera matrices."""
        return self.reference.cameras.intrinsics

    def labelled(self) -> LabelledImages:
        """The images with their landmarks as labels, as methods take them; the boxes are those of the labels."""
        return LabelledImages(ArrayPixels(self.images), self.landmarks)


def boxes_of(mask):
    """`(frame, 4)` bounds of the true pixels of `mask (frame, h, w)`; NaN where there are none."""
    out = np.full((len(mask), 4), np.nan, np.float32)
    for axis, (low, high) in ((1, (0, 2)), (2, (1, 3))):
        seen = mask.any(axis)
        any_ = seen.any(1)
        out[any_, low] = seen[any_].argmax(1) - 0.5
        out[any_, high] = seen.shape[1] - 1 - seen[any_, ::-1].argmax(1) + 0.5
    return out
