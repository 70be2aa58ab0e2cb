r"""Square crops of photographs around their object, and their augmentation in the step.

A photograph is cut once, on the host, to a *canvas*: a square around the box of the object, wider than what the network
sees by `MARGIN`, area-averaged, uint8. In the step a *patch* is sampled from the canvas by an affine map, on the
device. Coordinates of both are crop units: 0 in the middle of the box, 1 the side of the patch as it is cut without
augmentation; depths have the same unit. With patch q' and crop coordinates q,

$$q' = s\,Q\,(q - d),\qquad z' = s\,z,$$

s a scale, Q a turn, after a flip of x where the sample is flipped, d a shift. Landmarks and pixels go by this one map.

Source: the kinds of augmentation and the box x 1.25 by JimmySuen/integral-human-pose and mks0601/3DMPPE_POSENET_RELEASE
(there: scale +-25 %, turns of 30 degrees with probability 0.6, hidden rectangles with probability 0.5, for 300 passes).
A training of some dozen passes does better with half of it.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.pixels import cut
from jnrsfm.types import LabelledImages

BOX = 1.25
"""Side of the patch over the longer side of the box."""
MARGIN = 1.5
"""Side of the canvas over that of the patch: what turned and shrunk patches see."""


class Squares(NamedTuple):
    """Where the patches lie: `centre (image, 2)` in pixels, `side (image,)` in pixels."""

    centre: np.ndarray
    side: np.ndarray

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Crop units `(image, point, 2)` of pixels."""
        return (points - self.centre[:, None]) / self.side[:, None, None]

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Pixels `(image, point, 2)` of crop units."""
        return points * self.side[:, None, None] + self.centre[:, None]


def label_boxes(images: LabelledImages) -> np.ndarray:
    """`(image, 4)` boxes: those given, else around the visible landmarks, else NaN; one landmark makes no box."""
    visible = np.asarray(images.landmarks.visible)[..., None]
    points = np.asarray(images.landmarks.points2d, np.float64)
    low = np.where(visible, points, np.inf).min(1, initial=np.inf)
    high = np.where(visible, points, -np.inf).max(1, initial=-np.inf)
    boxes = np.concatenate([low, high], 1)
    with np.errstate(invalid="ignore"):
        boxes[~(np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1))] = np.nan
    if images.boxes is not None:
        given = np.asarray(images.boxes, np.float64)
        boxes = np.where(np.isfinite(given).all(1, keepdims=True), given, boxes)
    return boxes


def squares(boxes: np.ndarray, sizes: np.ndarray, least: float = 8.0) -> Squares:
    """Patches around boxes `(image, 4)`, the longer side times `BOX`, at least `least` pixels; around the whole image
    of `sizes (image, 2)` where a box is NaN."""
    whole = np.concatenate([np.zeros_like(sizes), sizes - 1.0], 1)
    unknown = ~np.isfinite(boxes).all(1)
    boxes = np.where(unknown[:, None], whole, boxes)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1)
    return Squares(centre, np.where(unknown, longer + 1, np.maximum(BOX * longer, least)))


def canvases(images: LabelledImages, where: Squares, size: int, say: Any = None) -> np.ndarray:
    """`(image, canvas, canvas, 3)` uint8 canvases for patches of `size` pixels, decoded one by one. `say(done, count)`
    is called now and then."""
    n, side = len(images), canvas_size(size)
    result = np.empty((n, side, side, 3), np.uint8)
    for i in range(n):
        result[i] = cut(images.pixels.read(i), where.centre[i], MARGIN * where.side[i], side)
        if say is not None and (i + 1) % 500 == 0:
            say(i + 1, n)
    return result


def canvas_size(size: int) -> int:
    """Pixels of a canvas for patches of `size` pixels."""
    return round(size * MARGIN)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far the patches of training differ from what was cut; all 0: not at all.

    Turns and occlusion are off unless asked for: over the few passes that a CPU affords, networks learn more slowly by
    them than they gain. Ask for them where photographs come turned any way, or partly covered.
    """

    scale: float = 0.1
    """Scale within 1 +- this."""
    turn: float = 30.0
    """Standard deviation of the turn in the image plane (degrees), cut at twice of it."""
    turned: float = 0.0
    """Share of the patches that are turned."""
    shift: float = 0.05
    """Shift in x and y within +- this (crop units)."""
    flip: float = 0.5
    """Share that is flipped, left and right points exchanged; 0 where no left-right pairs are known."""
    colour: float = 0.2
    """Gain of each channel within 1 +- this."""
    occlusion: float = 0.0
    """Share of the patches that lose a rectangle."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) >= 0:
                raise InputError(f"{field.name} is {getattr(self, field.name)}: it must be at least 0")
        if self.scale >= 1 or max(self.turned, self.flip, self.occlusion) > 1:
            raise InputError("augmentation: scale must be below 1, shares at most 1")

    @classmethod
    def none(cls) -> "Augmentation":
        """Patches as they were cut."""
        return cls(*[0.0] * len(dataclasses.fields(cls)))


class PatchMap(NamedTuple):
    """The map q' = A (q - d) of each sample: `matrix (*batch, 2, 2)` A, `shift (*batch, 2)` d, `scale (*batch,)` s,
    `flipped (*batch,)` bool: left and right are exchanged."""

    matrix: Any
    shift: Any
    scale: Any
    flipped: Any

    def to_patch(self, points, swap):
        """Patch coordinates of crop coordinates `(*batch, point, 2 or 3)`; `swap (point,)` exchanges left and right."""
        moved = jnp.einsum("...ij,...pj->...pi", self.matrix, points[..., :2] - self.shift[..., None, :])
        if points.shape[-1] == 3:
            depth = self.scale[..., None, None] * points[..., 2:]
            moved = jnp.concatenate([moved, depth], -1)
        return jnp.where(self.flipped[..., None, None], moved[..., swap, :], moved)

    def from_patch(self, points, swap):
        """Crop coordinates of patch coordinates `(*batch, point, 2 or 3)`."""
        points = jnp.where(self.flipped[..., None, None], points[..., swap, :], points)
        back = jnp.linalg.inv(self.matrix)
        moved = jnp.einsum("...ij,...pj->...pi", back, points[..., :2]) + self.shift[..., None, :]
        if points.shape[-1] == 3:
            moved = jnp.concatenate([moved, points[..., 2:] / self.scale[..., None, None]], -1)
        return moved


def unmoved(batch: tuple[int, ...]) -> PatchMap:
    """The map that leaves all in place."""
    eye = jnp.broadcast_to(jnp.eye(2), (*batch, 2, 2))
    return PatchMap(eye, jnp.zeros((*batch, 2)), jnp.ones(batch), jnp.zeros(batch, bool))


def mirrored(batch: tuple[int, ...]) -> PatchMap:
    """The map that flips x, left and right points exchanged."""
    plain = unmoved(batch)
    return plain._replace(matrix=plain.matrix * jnp.array([[-1.0], [1.0]]), flipped=~plain.flipped)


def drawn_maps(key: Any, count: int, how: Augmentation) -> PatchMap:
    """Random maps of `count` samples."""
    keys = jax.random.split(key, 6)
    scale = 1 + how.scale * jnp.clip(jax.random.normal(keys[0], (count,)), -1, 1)
    angle = jnp.deg2rad(how.turn) * jnp.clip(jax.random.normal(keys[1], (count,)), -2, 2)
    angle = jnp.where(jax.random.uniform(keys[2], (count,)) < how.turned, angle, 0.0)
    flipped = jax.random.uniform(keys[3], (count,)) < how.flip
    shift = how.shift * jax.random.uniform(keys[4], (count, 2), minval=-1, maxval=1)
    c, s, side = jnp.cos(angle), jnp.sin(angle), jnp.where(flipped, -1.0, 1.0)
    matrix = jnp.stack([jnp.stack([c * side, -s], -1), jnp.stack([s * side, c], -1)], -2)
    return PatchMap(scale[:, None, None] * matrix, shift, scale, flipped)


def patches(canvas, maps: PatchMap, size: int):
    """`(*batch, size, size, 3)` float32 in [0, 255]: canvases uint8 sampled bilinearly under `maps`; black outside."""
    pixel = canvas.shape[-2]
    at = (jnp.arange(size) + 0.5) / size - 0.5
    grid = jnp.stack(jnp.meshgrid(at, at, indexing="xy"), -1).reshape(-1, 2)
    back = jnp.linalg.inv(maps.matrix)
    crop = jnp.einsum("...ij,gj->...gi", back, grid) + maps.shift[..., None, :]
    place = (crop / MARGIN + 0.5) * pixel - 0.5
    flat = canvas.reshape(-1, pixel * pixel, 3)
    found = jax.vmap(_bilinear, (0, 0, None))(flat, place.reshape(len(flat), -1, 2), pixel)
    return found.reshape(*canvas.shape[:-3], size, size, 3)


def _bilinear(flat, place, pixel: int):
    low = jnp.floor(place)
    part = place - low
    x, y = low[:, 0].astype(jnp.int32), low[:, 1].astype(jnp.int32)

    def corner(dx, dy, weight):
        inside = (x + dx >= 0) & (x + dx < pixel) & (y + dy >= 0) & (y + dy < pixel)
        index = jnp.clip(y + dy, 0, pixel - 1) * pixel + jnp.clip(x + dx, 0, pixel - 1)
        return jnp.where(inside, weight, 0.0)[:, None] * flat[index].astype(jnp.float32)

    fx, fy = part[:, 0], part[:, 1]
    return (
        corner(0, 0, (1 - fx) * (1 - fy)) + corner(1, 0, fx * (1 - fy))
        + corner(0, 1, (1 - fx) * fy) + corner(1, 1, fx * fy)
    )  # fmt: skip


def coloured(key: Any, images, how: Augmentation):
    """Patches `(image, size, size, 3)` with a random gain for each channel and, some, a rectangle of one colour over
    them (up to 70 % of a side each way)."""
    n, size = images.shape[0], images.shape[1]
    keys = jax.random.split(key, 6)
    gain = 1 + how.colour * jax.random.uniform(keys[0], (n, 1, 1, 3), minval=-1, maxval=1)
    images = jnp.clip(gain * images, 0, 255)
    extent = jax.random.uniform(keys[1], (n, 2), minval=0.1, maxval=0.7)
    area = extent[:, :1] * extent[:, 1:]
    extent = extent * jnp.minimum(1.0, jnp.sqrt(0.25 / area))  # at most a quarter of the patch
    middle = jax.random.uniform(keys[2], (n, 2))
    hit = jax.random.uniform(keys[3], (n,)) < how.occlusion
    at = (jnp.arange(size) + 0.5) / size
    inside = jnp.abs(at[None, :, None] - middle[:, None]) < extent[:, None] / 2  # image, place, axis
    over = inside[:, None, :, 0] & inside[:, :, None, 1] & hit[:, None, None]
    colour = 255 * jax.random.uniform(keys[4], (n, 1, 1, 3))
    return jnp.where(over[..., None], colour, images)


def swap_of(n_points: int, symmetric: Any) -> np.ndarray:
    """`(point,)` number of each point's left-right partner; its own where it has none."""
    swap = np.arange(n_points)
    for a, b in [] if symmetric is None else np.asarray(symmetric):
        swap[a], swap[b] = b, a
    return swap
