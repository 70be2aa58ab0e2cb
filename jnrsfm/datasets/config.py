"""Options that all generators share: frozen and checked. Each generator adds its own in a subclass."""

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.types import CAMERA_MODELS

View = Literal["random", "tumble", "ring", "orbit", "handheld", "fixed"]
VIEWS: tuple[View, ...] = ("random", "tumble", "ring", "orbit", "handheld", "fixed")


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
    """What all generators share. Angles in degrees; fractions in [0, 1]; *object size* is the mean over
    frames of the largest distance between two points.

    Frames: `frames` in all, in `clips` of equal length at `fps`.

    Cameras: `camera` is the model. `view` is how it moves: `random` (independent Haar rotations),
    `tumble` (smooth, at about `degrees_per_frame` around an axis that wanders, so that all of SO(3) is
    visited), `ring` (independent, azimuth uniform, elevation within `elevation`), `orbit` (around the object
    at `degrees_per_frame`, elevation swaying slowly), `handheld` (wandering around it, with some roll),
    `fixed` (a tripod at another place for each clip; the object turns). Objects turn by themselves at about
    `turning` degrees a frame, in every view. `distance` in object sizes, varied from frame to frame or slowly
    by a fraction `distance_variation`; at 3 and below perspective is strong. `focal` in pixels; None
    lets the object fill a fraction `fill` of the shorter image side. `image_size` (width, height) in pixels;
    `principal` point, None for the middle. `off_centre`: how far the object wanders from there, as a fraction
    of the shorter image side (standard deviation). Orthographic images are in object units, centred.

    Observation: `noise` is the standard deviation of each coordinate in `noise_unit`: `size` (a fraction of
    the object's size in the image) or `pixels` (plane units under orthography). `outliers`: fraction of
    points with ten times that noise, at least 5 % of the size. `confidence` adds detector-like scores, low
    where the noise is large. `missing`: fraction hidden at random. `limb_occlusion`: fraction hidden by
    whole parts that vanish for stretches of frames; `bar_occlusion`: by an upright bar that passes through
    the image. Where fewer than `min_visible` points (of those defined) would remain, hidden ones come back.

    Raises `InputError` for a value out of range.
    """

    frames: int = 600
    clips: int = 6
    fps: float = 30.0
    camera: str = "perspective"
    view: str = "handheld"
    degrees_per_frame: float = 1.5
    elevation: tuple[float, float] = (-5.0, 35.0)
    turning: float = 1.0
    distance: float = 3.0
    distance_variation: float = 0.08
    fill: float = 0.7
    focal: float | None = None
    image_size: tuple[int, int] = (1000, 1000)
    principal: tuple[float, float] | None = None
    off_centre: float = 0.0
    noise: float = 0.0
    noise_unit: str = "size"
    outliers: float = 0.0
    confidence: bool = False
    missing: float = 0.0
    limb_occlusion: float = 0.0
    bar_occlusion: float = 0.0
    min_visible: int = 6

    def __post_init__(self):
        """Check the values."""
        one_of(self, "camera", CAMERA_MODELS)
        one_of(self, "view", VIEWS)
        one_of(self, "noise_unit", ("size", "pixels"))
        for name in ("missing", "limb_occlusion", "bar_occlusion"):
            within(self, name, 0, 0.8)
        for name in ("outliers", "distance_variation"):
            within(self, name, 0, 0.5)
        for name in ("noise", "off_centre"):
            within(self, name, 0, None)
        for name in ("fps", "fill", "distance"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)!r}: give a number above 0")
        within(self, "clips", 1, None)
        within(self, "min_visible", 1, None)
        if self.frames < 2 * self.clips:
            raise InputError(f"frames={self.frames} in clips={self.clips}: each clip needs at least 2 frames")
        if self.focal is not None and not self.focal > 0:
            raise InputError(f"focal={self.focal!r}: give pixels above 0, or None")
        if self.camera == "perspective" and self.distance * (1 - self.distance_variation) < 1:
            raise InputError(
                f"distance={self.distance} with distance_variation={self.distance_variation}: "
                "a perspective camera must stay at least one object size away"
            )
        if min(self.image_size) < 1:
            raise InputError(f"image_size={self.image_size}: give (width, height) in pixels")
        low, high = self.elevation
        if not -90 <= low <= high <= 90:
            raise InputError(f"elevation={self.elevation}: give (low, high) in degrees within [-90, 90]")


# What a field's annotation accepts; bool is an int to Python, and not to us.
_ACCEPTED: dict[type, tuple[type, ...]] = {
    int: (int, np.integer),
    float: (int, float, np.integer, np.floating),
    bool: (bool, np.bool_),
    str: (str,),
}


def typed(kind: type[DatasetConfig], options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` with the types of the fields of `kind` (an int becomes a float, a list a tuple), or an error.

    Tuples have the number of entries that the annotation says, and numbers are finite. Names are
    taken to be known.
    """
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    return {name: _typed(name, value, types[name]) for name, value in options.items()}


def _typed(name: str, value, kind: Any):
    if get_origin(kind) is UnionType:
        if value is None:
            return None
        kind = get_args(kind)[0]
    if get_origin(kind) is not tuple:
        return _checked(name, value, value, kind)
    entry, last = get_args(kind)[0], get_args(kind)[-1]
    count = None if last is Ellipsis else len(get_args(kind))
    if not isinstance(value, (tuple, list)) or (count is not None and len(value) != count):
        raise InputError(f"{name}={value!r}: give a tuple of {count or 'any number of'} entries")
    return tuple(_checked(name, value, v, entry) for v in value)


def _checked(name: str, whole, value, kind: Any):
    """`value` as a `kind`, or an error about the option `name=whole`."""
    fits = isinstance(value, _ACCEPTED[kind]) and (kind is bool or not isinstance(value, (bool, np.bool_)))
    if not fits or (kind is float and not np.isfinite(value)):
        raise InputError(f"{name}={whole!r}: expected {'finite ' if kind is float else ''}{kind.__name__}")
    return kind(value)


def one_of(config, name: str, known: tuple) -> None:
    """Raise unless the option `name` is one of `known`."""
    value = getattr(config, name)
    if value not in known:
        raise InputError(f"{name}={value!r}: choose one of {', '.join(map(str, known))}")


def some_of(config, name: str, known: tuple) -> None:
    """Raise unless the option `name` is a non-empty tuple out of `known`."""
    value = getattr(config, name)
    if isinstance(value, str) or not value or any(v not in known for v in value):
        raise InputError(f"{name}={value!r}: give a tuple out of {', '.join(map(str, known))}")


def within(config, name: str, low: float | int, high: float | int | None) -> None:
    """Raise unless the option `name` is in [low, high]; `high` None is no limit."""
    value = getattr(config, name)
    if not (value >= low and (high is None or value <= high)):
        limits = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InputError(f"{name}={value!r}: give a number {limits}")
