"""The records of depth: pairs of frames to learn from (`FramePairs`), and depth maps (`DepthMaps`).

A stereo rig of unknown baseline, focal length and convergence shows disparity d = a q + c of the inverse depth q, with
a > 0 and c unknown: what is learned from it is q up to these two numbers of each image, and a result says so.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jnrsfm.errors import InputError
from jnrsfm.types import Result, _pytree

FREEDOM = (
    "inverse depth up to a scale and a shift of each image (baseline, focal length and convergence of the stereo that "
    "taught it are unknown): two or more known depths give metres"
)
"""What no network trained on such stereo can know."""


@runtime_checkable
class FramePairs(Protocol):
    """Pairs of neighbouring frames with disparity and flow, read by number: in memory (`ArrayPairs`), or from the
    folder that `jnrsfm convert VIDEO FOLDER --stereo` makes (`io.stereo.PairSet`)."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture."""
        ...

    @property
    def shots(self) -> np.ndarray:
        """`(pair,)` the number of the shot that each pair is from: pairs of one shot look alike."""
        ...

    def __len__(self) -> int:
        """Number of pairs."""
        ...

    def read(self, number: int) -> dict[str, np.ndarray]:
        """A pair: `first`, `second (y, x, 3)` uint8, `disparity (y, x)` float32 in pixels, larger where nearer, `flow
        (y, x, 2)` float32 from the first frame to the second, in pixels, `valid (y, x)`: where the disparity counts."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayPairs:
    """`FramePairs` in memory; leading axis pair. Raises InputError where shapes do not agree."""

    first: UInt8[np.ndarray, "pair y x 3"]
    second: UInt8[np.ndarray, "pair y x 3"]
    disparity: Float[np.ndarray, "pair y x"]
    flow: Float[np.ndarray, "pair y x 2"]
    valid: Bool[np.ndarray, "pair y x"]
    shot: np.ndarray | None = None

    def __post_init__(self):
        """Compare shapes."""
        shape = np.shape(self.disparity)
        for name, more in (("first", (3,)), ("second", (3,)), ("flow", (2,)), ("valid", ())):
            if np.shape(getattr(self, name)) != shape + more:
                raise InputError(
                    f"{name} has the shape {np.shape(getattr(self, name))}, disparity {shape}: give maps of one size"
                )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return (self.first.shape[2], self.first.shape[1])

    @property
    def shots(self) -> np.ndarray:
        """As given; without them each pair is a shot."""
        return np.arange(len(self)) if self.shot is None else np.asarray(self.shot)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.first)

    def read(self, number: int) -> dict[str, np.ndarray]:
        """Pair `number`."""
        names = ("first", "second", "disparity", "flow", "valid")
        return {name: getattr(self, name)[number] for name in names}


@_pytree(meta=("gauge", "fps"))
class DepthMaps(Result):
    """Depth maps of frames; leading axis frame.

    `inverse_depth (frame, y, x)`: the network's inverse depth, its unit and offset those of `gauge`; `frames (frame, y,
    x, 3)` uint8 of the same size; `flow (frame, y, x, 2)` in pixels to the other frame that was used. Optional: `number
    (frame,)` in the source, `disparity` and `valid (frame, y, x)`: what it was compared with; `metres` and `deviation
    (frame, y, x)`: depth in the unit of depths that were known, and its standard deviation.
    """

    inverse_depth: Float[np.ndarray, "frame y x"]
    frames: UInt8[np.ndarray, "frame y x 3"]
    flow: Float[np.ndarray, "frame y x 2"]
    number: Any = None
    disparity: Float[np.ndarray, "frame y x"] | None = None
    valid: Bool[np.ndarray, "frame y x"] | None = None
    metres: Float[np.ndarray, "frame y x"] | None = None
    deviation: Float[np.ndarray, "frame y x"] | None = None
    gauge: str = FREEDOM
    fps: float | None = None

    _per_frame = (
        "inverse_depth", "frames", "flow", "number", "disparity", "valid", "metres", "deviation",
    )  # fmt: skip

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.inverse_depth)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a map."""
        return (self.inverse_depth.shape[2], self.inverse_depth.shape[1])

    @property
    def log_depth(self) -> np.ndarray:
        """`(frame, y, x)`: minus the log of the inverse depth."""
        return -np.log(self.inverse_depth)

    @property
    def resolved(self) -> dict[str, Any]:
        """`scale`: what is free, or that known depths fixed it."""
        return {"size": list(self.size), "scale": self.gauge}
