"""Settings of the student."""

import dataclasses
from typing import Literal

from jnrsfm.errors import InputError
from jnrsfm.inputs.crops import Augmentation
from jnrsfm.models.vision import ALEXNET, BackboneConfig, HeadKind, PoseNetworkConfig
from jnrsfm.training import TrainConfig

_AUGMENTATION = Augmentation()
Distill = Literal["conditional", "codes", "depths"]


@dataclasses.dataclass(frozen=True)
class Student(TrainConfig):
    """Settings of the student, an image network that learns depth from a landmark method."""

    teacher: str = "pnd"
    """Landmark method whose 3D of the labels is distilled; any of `jnrsfm methods`."""
    teacher_settings: tuple[str, ...] = ()
    """Settings of the teacher, each as name=value."""
    distill: Distill = "conditional"
    """What the depths of an image cost: their conditional distribution given its labels, from the covariance of the
    teacher's shapes; the bound of the thesis on its codes (deep-nrsfm++ only); or the distance to its depths."""
    sparsity: float = 0.3
    """Weight of the L1 norm of the code (codes)."""
    firmness: float = 0.2
    """No depth is asked for more firmly than to this share of the object's size (conditional)."""
    label_noise: float = 0.01
    """Standard deviation of the labels as a share of the object's size (conditional)."""
    depth_weight: float = 1.0
    """Weight of the depths against x and y."""
    bin_weight: float = 0.2
    """Weight of the cross-entropy of the axis head's distributions with the labels of x and y, and with the teacher's
    distribution of each depth."""
    size: int = 64
    """Side of the patch that the network sees, in pixels."""
    backbone: Literal["tiny", "small", "medium", "large", "alexnet"] = "small"
    """Backbone: small for a CPU, medium or large for an accelerator; alexnet: a frozen pretrained trunk, for sets of
    under a hundred images (extra `pretrained`)."""
    head: HeadKind = "axis"
    """A distribution for each axis, or one for the volume, plain or debiased."""
    augmentation: Augmentation = _AUGMENTATION
    """How patches vary in training."""
    steps: int | None = None  # type: ignore[assignment]
    """Optimiser steps; unset: 48 passes over the images, between 600 and 6,000 steps."""
    batch: int = 32
    """Images in a step."""
    update: Literal["adam", "muon"] = "muon"
    """Optimiser: Muon for the convolutions and the head, which learn faster by it, or Adam for all."""
    learning_rate: float = 5e-3
    """Peak learning rate; for Adam about 2e-3."""
    warmup: int = 100
    """Steps of linear warm-up."""
    average: float = 0.99
    """Decay of the moving average of the weights, which is what is kept."""
    chunk: int = 10
    """Steps in one dispatch to the device."""
    holdout: float = 0.1
    """Share of the labelled images that training does not see, to measure the error of x and y."""
    locate: Literal["auto", "yes", "no"] = "auto"
    """Train a second network that finds the object in a whole photograph, for photographs without a box; auto: where
    boxes fill less than 60 % of their photographs."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        for name in ("sparsity", "firmness", "label_noise", "depth_weight", "bin_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if not (self.firmness > 0 and self.label_noise > 0):
            raise InputError("firmness and label_noise must be above 0")
        if not 0 <= self.holdout < 1:
            raise InputError(f"holdout is {self.holdout}: it must be at least 0 and below 1")
        if self.batch < 1:
            raise InputError(f"batch is {self.batch}: give at least 1 image")
        if self.distill == "codes" and self.teacher != "deep-nrsfm++":
            raise InputError("distill is 'codes', which only deep-nrsfm++ has: say --teacher deep-nrsfm++")
        self.network(1)

    def network(self, n_points: int) -> PoseNetworkConfig:
        """The network for a number of points."""
        bins = 64 if self.head == "axis" else 16
        trunk = ALEXNET if self.backbone == "alexnet" else BackboneConfig.preset(self.backbone)
        return PoseNetworkConfig(n_points, self.size, trunk, self.head, bins)

    def resolved(self, n_images: int) -> "Student":
        """With the rules for what is unset."""
        passes = min(max(48 * n_images // self.batch, 600), 6000)
        return dataclasses.replace(self, steps=passes if self.steps is None else self.steps)
