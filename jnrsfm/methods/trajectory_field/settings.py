"""Settings of the trajectory field, and its rivals as variants."""

import dataclasses
from typing import Literal

from jnrsfm.errors import InputError
from jnrsfm.training import TrainConfig

Variant = Literal["full", "local", "t-nerf", "static"]


@dataclasses.dataclass(frozen=True)
class TrajectoryFieldSettings(TrainConfig):
    """Settings of a neural trajectory field."""

    variant: Variant = "full"
    """full; local: rendered from neighbouring times only; t-nerf: a field of space and time without paths; static."""
    kind: Literal["planes", "mlp"] = "planes"
    """Planes in space and time with a small decoder, or the published perceptron."""
    static_part: bool = True
    """A static field beside the one that moves, blended."""
    frequencies: int = 0
    """Cosines of a path, K; 0: 10 or one less than the frames, whichever is less."""
    basis: Literal["dct", "learned"] = "dct"
    """Cosines, or a basis that starts there and learns."""
    space: Literal["auto", "box", "contracted", "ndc"] = "auto"
    """Coordinates of the field; auto: ndc for views that face forward, else box with a background, else contracted."""
    downscale: int = 1
    """Fit to images this many times smaller."""
    samples: int = 20
    """Samples of a ray that carry gradient."""
    coarse_samples: int = 24
    """Samples that find out where those should be; 0: evenly."""
    resolution: int = 64
    """Nodes of a plane of the moving field along each axis (planes)."""
    static_resolution: int = 128
    """Nodes of a plane of the static field (planes)."""
    motion_resolution: int = 16
    """Nodes of the coarse planes (planes)."""
    time_resolution: int = 0
    """Nodes of the planes along time; 0: one a frame (planes)."""
    channels: int = 12
    """Features of a plane."""
    width: int = 64
    """Units of a layer of the perceptron or decoder."""
    layers: int = 1
    """Layers of the perceptron (8 as published) or decoder."""
    timed_colour: bool = True
    """The colour of a point may change in time (eq. 6.2)."""
    moving_share: float = 0.5
    """Share of the rays of a batch drawn from moving regions alone."""
    decoder_rate: float = 0.2
    """Learning rate of the decoder, in shares of that of the planes."""
    radius: float = 2.0
    """Frames within which the other time is drawn at first; doubled until it covers the clip."""
    doublings: int = 8
    """Stretches of the training between which the radius is doubled (eight, as published)."""
    attached_occlusion: bool = True
    """Gradients pass through the probability of occlusion (eq. 6.11)."""
    occlusion: bool = True
    """Use it at all."""
    cycle_weight: float = 0.1
    """Weight of cycle consistency (eq. 6.14)."""
    path_weight: float = 0.01
    """Weight of the regularisers of paths (eq. 6.15)."""
    surface_weight: float = 1e-3
    """Final weight of the single visible surface (eq. 6.13); it grows tenfold four times."""
    surface_window: float = 0.05
    """Its window, as a share of the ray."""
    flow_weight: float = 10.0
    """Weight of optical flow, and of depth below, at first; both fall tenfold every third of the training."""
    flow_reach: int = 24
    """Most frames over which flow is chained; 1: to the neighbours alone."""
    depth_weight: float = 0.04
    """Weight of given inverse depth."""
    static_weight: float = 1.0
    """Weight of the static field's own rendering where nothing moves."""
    mask_weight: float = 0.02
    """Weight of moving density where nothing moves."""
    plane_weight: float = 0.01
    """Weight of the roughness of planes in space, and in time."""

    steps: int = 3000
    batch: int = 384
    microbatch: int = 1 << 20
    learning_rate: float = 0.02
    warmup: int = 50
    chunk: int = 50

    def __post_init__(self):
        """Refuse what cannot work."""
        super().__post_init__()
        for name in ("samples", "width", "layers", "channels", "downscale", "doublings", "flow_reach"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("resolution", "static_resolution"):
            if getattr(self, name) < 2:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 2")
        for name in ("coarse_samples", "frequencies", "motion_resolution", "time_resolution"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        for name in (
            "cycle_weight", "path_weight", "surface_weight", "flow_weight", "depth_weight", "static_weight",
            "mask_weight", "plane_weight",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if not 0 <= self.moving_share < 1:
            raise InputError(f"moving_share is {self.moving_share}: it must be at least 0 and below 1")
        if not self.radius >= 1:
            raise InputError(f"radius is {self.radius}: it must be at least 1 frame")
        if self.batch < 1:
            raise InputError(f"batch is {self.batch}: give a number of rays")

    @property
    def paths(self) -> bool:
        """Whether there are paths."""
        return self.variant in ("full", "local")
