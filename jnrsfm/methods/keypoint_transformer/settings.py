"""Settings of the keypoint transformer."""

import dataclasses
from typing import Literal

from jnrsfm.errors import InputError
from jnrsfm.inputs.crops import Augmentation
from jnrsfm.losses.matching import MatchingCost
from jnrsfm.methods.multicategory import MultiCategory
from jnrsfm.models.vision import BackboneConfig, KeypointTransformerConfig, PlaceKind
from jnrsfm.training import TrainConfig

_AUGMENTATION = Augmentation()


@dataclasses.dataclass(frozen=True)
class KeypointTransformer(TrainConfig):
    """Settings of the keypoint transformer, which finds category, keypoints and context, and of its lifter."""

    lifter: Literal["procrustean", "ours"] = "procrustean"
    """3D from the keypoints: a Procrustean prior of each category, or the published lifter (cone and cycle)."""
    context: int = 32
    """Numbers of the context vector that the lifter sees beside the keypoints; 0: none."""
    together: float = 0.3
    """Share of `steps` in which transformer and lifter train together; 0: they are trained apart."""
    lifter_steps: int = 3000
    """Steps of the lifter on the labels, before the two meet."""
    blocks: int = 4
    """Residual blocks of the lifter."""
    lift_weight: float = 0.5
    """Weight of the lifter's losses against those of the keypoints, where both train."""
    slow: float = 0.3
    """Learning rate of the transformer while both train, as a share of the peak."""
    size: int = 64
    """Side of the patch that the network sees, in pixels."""
    backbone: Literal["tiny", "small", "medium", "large"] = "small"
    """Backbone: small for a CPU, medium or large for an accelerator."""
    queries: int = 0
    """Keypoint queries; 0: one fifth more than the largest category has keypoints."""
    width: int = 128
    """Width of the transformer."""
    layers: tuple[int, int] = (1, 2)
    """Layers of the encoder and of the decoder."""
    place: PlaceKind = "heatmap"
    """How a query says where: the mean of a map of its own, or plainly by two numbers."""
    matching: MatchingCost = "probability"
    """What a type costs in the matching: minus its probability, or its cross-entropy (as published)."""
    fixed: float = 0.2
    """Share of the steps at the beginning in which query k answers for type k, before the matching decides."""
    place_weight: float = 5.0
    """Weight of the distance of places, in the loss and in the matching."""
    map_weight: float = 1.0
    """Weight of the cross-entropy of the queries' maps, and of the keypoints' own, with the labels."""
    none_weight: float = 0.1
    """Weight of the queries that answer for nothing."""
    augmentation: Augmentation = _AUGMENTATION
    """How patches vary in training."""
    steps: int = 3000
    """Optimiser steps of the transformer, those with the lifter included."""
    batch: int = 32
    """Images in a step."""
    update: Literal["adam", "muon"] = "muon"
    """Optimiser: Muon for the matrices, or Adam for all."""
    learning_rate: float = 3e-3
    """Peak learning rate; for Adam about 1e-3."""
    warmup: int = 100
    """Steps of linear warm-up."""
    average: float = 0.99
    """Decay of the moving average of the weights, which is what is kept."""
    chunk: int = 10
    """Steps in one dispatch to the device."""
    holdout: float = 0.1
    """Share of the labelled images that training does not see, to measure the error of x and y."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        names = ("lift_weight", "place_weight", "map_weight", "none_weight", "context", "queries")
        for name in names:
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if not (0 <= self.holdout < 1 and 0 <= self.together <= 1 and 0 <= self.fixed <= 1):
            raise InputError(
                f"holdout is {self.holdout}, together {self.together}, fixed {self.fixed}: shares, holdout below 1"
            )
        if not 0 < self.slow <= 1 or self.lifter_steps < 1 or self.batch < 1:
            raise InputError(
                f"slow is {self.slow}, lifter_steps {self.lifter_steps}, batch {self.batch}: give a share above 0, at "
                "least 1 step and 1 image"
            )
        if self.restarts != 1:
            raise InputError(f"restarts is {self.restarts}: this method trains one")
        self.network(1, 1)

    def network(self, n_types: int, n_categories: int) -> KeypointTransformerConfig:
        """The network for categories of at most so many keypoints."""
        queries = self.queries or n_types + max(2, n_types // 5)
        return KeypointTransformerConfig(
            n_types, n_categories, self.size, BackboneConfig.preset(self.backbone), max(queries, n_types), self.width,
            4, *self.layers, max(self.context, 1), self.place,
        )  # fmt: skip

    def lifter_config(self) -> MultiCategory:
        """The settings of the lifter on the labels."""
        return MultiCategory(
            variant=self.lifter, steps=self.lifter_steps, norm="layer", width=4 * self.width,
            blocks=self.blocks,
        )  # fmt: skip
