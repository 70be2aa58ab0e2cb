"""What to draw: `RenderedFigures`."""

import dataclasses
from typing import Literal

from jnrsfm.datasets.config import one_of, some_of, within
from jnrsfm.errors import InputError

KINDS = ("walker", "quadruped", "hand", "bird", "chair", "car")
Path = Literal["orbit", "handheld", "fixed"]
PATHS: tuple[Path, ...] = ("orbit", "handheld", "fixed")
HIDING = ("outside", "object", "body")


@dataclasses.dataclass(frozen=True)
class RenderedFigures:
    """Images of figures with exact truth.

    `figures` take turns from clip to clip; with several, each has a block of landmarks of its own and
    `category` says which it is. `images` in all, in clips of `clip` frames at `fps`: one subject, one
    scene, one moving camera a clip; with `clip=1` every image has another pose, place and camera, and eight
    in a row share a body. `size` in pixels, one number for squares or (width, height).

    Camera, perspective: `path` in clips (`orbit` at about `degrees_per_frame`, `handheld`, `fixed`);
    `elevation` in degrees (None: as suits the figure), `distance` in figure sizes, `fill`: the figure's
    size as a fraction of the shorter side; ranges (low, high), drawn for each clip. `off_centre`: standard
    deviation of the figure's shift, as a fraction of that side. `roll`: standard deviation in degrees.
    `turning`: degrees a frame by which figures turn. `travel`: figures walk through the scene, their feet
    on the ground; otherwise they stay in place, as on a treadmill.

    Scene: `occluders`: share of clips with something between camera and figure; `clutter`: mean number of
    things that stand around; `rooms`: share of clips with walls. `lighting` False gives the bare colours of
    the surfaces, without light, shadows or noise. `smooth`: edges averaged over four points in each pixel.
    `shadows`: cast by the lamp.

    Truth: `flow` between neighbouring frames of a clip; `stereo`: a second camera to the right at
    `baseline` (a range, in figure sizes); `convergence`, a range in distances of the camera from the figure: rigs
    are toed in so that what lies there has disparity 0 and what lies behind it a negative one (the pictures brought to
    one plane, which leaves a shift of the right one); None: parallel. `hide`: what makes a landmark invisible in
    `landmarks`: `outside` the image, behind another `object`, behind the figure's own `body`.

    Raises `InputError` for a value out of range.
    """

    figures: tuple[str, ...] = ("walker",)
    images: int = 64
    clip: int = 1
    size: int | tuple[int, int] = 128
    fps: float = 30.0
    path: str = "handheld"
    degrees_per_frame: float = 1.5
    elevation: tuple[float, float] | None = None
    distance: tuple[float, float] = (1.8, 4.0)
    fill: tuple[float, float] = (0.65, 0.95)
    off_centre: float = 0.04
    roll: float = 3.0
    turning: float = 1.0
    travel: bool = False
    occluders: float = 0.25
    clutter: float = 2.5
    rooms: float = 0.6
    lighting: bool = True
    smooth: bool = True
    shadows: bool = True
    flow: bool = False
    stereo: bool = False
    baseline: tuple[float, float] = (0.05, 0.15)
    convergence: tuple[float, float] | None = None
    hide: tuple[str, ...] = ("outside", "object")
    seed: int = 0

    def __post_init__(self):
        """Check the values."""
        some_of(self, "figures", KINDS)
        if len(set(self.figures)) < len(self.figures):
            raise InputError(f"figures={self.figures!r}: name each figure once")
        one_of(self, "path", PATHS)
        if self.hide:
            some_of(self, "hide", HIDING)
        within(self, "images", 1, None)
        within(self, "clip", 1, None)
        if self.images % self.clip:
            raise InputError(f"images={self.images} in clips of clip={self.clip}: give a multiple of it")
        if min(self.shape) < 8 or max(self.shape) > 4096:
            raise InputError(f"size={self.size!r}: give pixels between 8 and 4096, or (width, height)")
        for name in ("occluders", "rooms"):
            within(self, name, 0, 1)
        for name in ("clutter", "off_centre", "roll"):
            within(self, name, 0, 10 if name != "roll" else 180)
        for name, least in (("distance", 1.2), ("fill", 0.05), ("baseline", 1e-3)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise InputError(f"{name}={getattr(self, name)}: give (low, high), at least {least}")
        if self.convergence is not None and not 0.1 <= self.convergence[0] <= self.convergence[1]:
            raise InputError(f"convergence={self.convergence}: give (low, high), at least 0.1, or None")
        if self.elevation is not None and not -90 <= self.elevation[0] <= self.elevation[1] <= 90:
            raise InputError(f"elevation={self.elevation}: give (low, high) in degrees within [-90, 90]")
        if not self.fps > 0:
            raise InputError(f"fps={self.fps!r}: give a number above 0")
        if self.flow and self.clip < 2:
            raise InputError("flow=True: flow is between the frames of a clip; give clip=2 or more")
        within(self, "seed", 0, None)

    @property
    def shape(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else (self.size[0], self.size[1])
