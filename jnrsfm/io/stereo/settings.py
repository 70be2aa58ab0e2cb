"""Settings of the conversion of stereo videos; thresholds as in the thesis, section 5.3, where it has them."""

import dataclasses
from typing import Literal

from jnrsfm.errors import InputError

Layout = Literal["side-by-side", "half", "full", "files"]


@dataclasses.dataclass(frozen=True)
class StereoSettings:
    """How a stereo video is cut, judged and stored. Pixels are those of the stored size."""

    layout: Layout = "side-by-side"
    """Both eyes in one picture, each squeezed to half its width (`half`) or not (`full`); `side-by-side` tells them
    apart by the picture's width over its height (from 2.4 on: full). `files`: a file for each eye."""
    eyes: Literal["auto", "left-right", "right-left"] = "auto"
    """Which half is the left eye's; auto: the order in which what is lower in the picture is nearer."""
    width: int = 640
    """Width of an eye's stored picture at most, in pixels."""
    cut: float = 0.3
    """A new shot begins where colour histograms differ by more than this (0: alike, 1: nothing in common)."""
    shortest: int = 3
    """Frames of the shortest shot that is of use."""
    dark: float = 16.0
    """Mean brightness (of 255) of a shot's middle frame below which it is black."""
    vertical: float = 1.0
    """Vertical disparity beyond which a pixel is off its row, in pixels."""
    vertical_share: float = 0.1
    """Share of such pixels from which on a shot is refused."""
    range: float = 5.0
    """Least range of the horizontal disparity, in pixels (between its 1st and 99th percentile)."""
    consistent: float = 0.7
    """Least share of pixels that pass the left-right check."""
    check: float = 1.0
    """The left-right check: there and back ends within so many pixels."""
    flow: float = 8.0
    """Least largest flow between a frame and the next, in pixels (its 99.5th percentile): slower ones are static."""
    part: int = 16
    """Frame pairs in one file."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        for name in ("width", "part", "shortest"):
            least = {"width": 32, "part": 1, "shortest": 2}[name]
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least {least}")
        for name in ("cut", "dark", "vertical", "range", "check", "flow"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        for name in ("vertical_share", "consistent"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be a share between 0 and 1")
