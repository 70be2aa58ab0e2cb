"""What Deep NRSfM++ can be told."""

import dataclasses
from typing import Any, Literal

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.inputs.observations import SizeMeasure
from jnrsfm.methods.recipe import ScaleBy, check_shared
from jnrsfm.models.block_sparse import Activation
from jnrsfm.training import TrainConfig

PRESETS: dict[str, tuple[int, ...]] = {  # the paper's Table 8
    "cmu": (512, 256, 128, 64, 32, 16, 8),
    "up3d": (512, 256, 128, 64, 32, 16, 8),
    "pascal3d": (256, 128, 64, 32, 16, 8, 4, 2),
    "h36m": (125, 115, 104, 94, 83, 73, 62, 52, 41, 31, 20, 10),
    "apollo": (128, 100, 64, 50, 32, 16, 8, 4),
}
_HARDLY_SEEN = 0.05  # of the frames


@dataclasses.dataclass(frozen=True)
class DeepNRSfMpp(TrainConfig):
    """Settings of Deep NRSfM++."""

    update: Literal["auto", "adam", "muon"] = "auto"  # type: ignore[assignment]
    """Optimiser: Muon for the dictionaries and heads and Adam for the rest, or Adam for all; auto: Muon, but Adam at an
    eighth of the learning rate where a point is hardly ever seen, which Muon would move without evidence."""
    learning_rate: float = 8e-3
    """Peak learning rate; for Adam, if named, about 1e-3."""
    steps: int | None = None  # type: ignore[assignment]
    """Optimiser steps of the search phase (of each of two under perspective), of which the other phases take shares;
    unset: by Muon 4 for each frame, between 5,000 and 10,000; by Adam 25, between 30,000 and 60,000."""
    restarts: int = 4
    """Seeds trained at once."""
    prune_at: tuple[float, ...] = (0.1,)
    """Fractions of the search at which the worse half of the seeds is dropped; two are left for the uncertainty."""
    final: float = 1.0
    """Steps of the final phase, as a share of `steps`."""
    preset: Literal["rule", "cmu", "up3d", "pascal3d", "h36m", "apollo"] = "rule"
    """Dictionary sizes: a published set, or the rule (halving from about six atoms a point to the bottleneck)."""
    sizes: tuple[int, ...] | None = None
    """Dictionary sizes, first to last; overrides the preset."""
    bottleneck: int = 8
    """Atoms of the last dictionary under the rule: 8 to 10 for articulated objects, 2 to 4 for rigid ones."""
    activation: Activation = "bst"
    """Block soft threshold, or relu for the older Deep NRSfM."""
    threshold: float = 0.05
    """Start of the block soft thresholds."""
    size: SizeMeasure = "rms"
    """2D size that sets the scale: root mean square, or the longer or shorter side of the bounding box."""
    scale_correction: int = 1
    """Rounds of scale correction where frames have a scale of their own (weak perspective, perspective)."""
    scale_by: ScaleBy = "auto"
    """Correct by the norm of the shape or by its mean bone length; auto: bones where edges are given."""
    robust: float = 0.0
    """Scale of a pseudo-Huber loss for detected points, as a fraction of the object's size; 0: Frobenius norm."""
    lasso: float = 0.0
    """Weight of the mean absolute first code."""
    bones: float = 0.0
    """Weight of the left-right difference of bone lengths (needs edges and symmetric pairs)."""
    roll: float = 180.0
    """Turn each training sample in the image plane by a random angle up to this (degrees). The camera's roll is
    free, exactly so; without it an upright camera lets the network take the turning of the object for deformation."""
    rigid: float = 0.3
    """Share of the search over which the shapes go from one rigid shape to free ones."""
    fill: bool = True
    """Give the encoder a linear prediction of the hidden points in place of zeros (up to 256 points)."""
    holdout: float = 0.1
    """Share of the observed points that the search does not see, to measure the quality without labels."""
    mirror: Literal["auto", "none"] = "auto"
    """Resolve the depth mirror by time or over the set and train on it; none leaves each frame its own."""
    mirror_weight: float = 1.0
    """Weight of the resolved depths, fading to 0 at two thirds of the final phase."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        check_shared(self)
        if self.bottleneck < 1:
            raise InputError(f"bottleneck is {self.bottleneck}: it must be at least 1")
        if self.sizes is not None and min(self.sizes, default=0) < 1:
            raise InputError(f"sizes is {self.sizes}: give one or more numbers above 0")
        for name in (
            "final",
            "scale_correction",
            "robust",
            "lasso",
            "bones",
            "roll",
            "mirror_weight",
        ):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")

    def resolved(self, weights: Any) -> "DeepNRSfMpp":
        """With the rules for what is unset, for observations of `weights (frame, point)`."""
        update, rate = self.update, self.learning_rate
        if update == "auto":
            rare = (np.asarray(weights) > 0).mean(0).min() < _HARDLY_SEEN
            update, rate = ("adam", rate / 8) if rare else ("muon", rate)
        rule = (25, 30_000, 60_000) if update == "adam" else (4, 5_000, 10_000)
        steps = self.steps if self.steps is not None else int(np.clip(rule[0] * len(weights), *rule[1:]))
        return dataclasses.replace(self, update=update, learning_rate=rate, steps=steps)

    def dictionary_sizes(self, n_points: int) -> tuple[int, ...]:
        """Sizes of the dictionaries for a number of points."""
        if self.sizes is not None:
            return self.sizes
        if self.preset != "rule":
            return PRESETS[self.preset]
        size = 2 ** int(np.clip(np.ceil(np.log2(6 * n_points)), 6, 9))
        sizes = []
        while size > self.bottleneck:
            sizes.append(size)
            size //= 2
        return (*sizes, self.bottleneck)
