"""What the multi-category lifter can be told."""

import dataclasses
from typing import Literal

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.methods.multicategory.network import NetworkConfig
from jnrsfm.models.lifter import LifterConfig
from jnrsfm.training import TrainConfig

Variant = Literal["c3dpo-base", "c3dpo", "ours-base", "ours", "procrustean"]


@dataclasses.dataclass(frozen=True)
class MultiCategory(TrainConfig):
    """Settings of the multi-category lifter. "variant" means: what the variant was published with."""

    variant: Variant = "procrustean"
    """Which system (module docstring)."""
    steps: int = 4000
    """Optimiser steps."""
    batch: int = 256
    """Samples in a step."""
    microbatch: int = 256
    """Most samples in a slice of a batch; batch statistics are those of a slice."""
    basis: int = 10
    """Number of basis shapes."""
    trunk: Literal["residual", "transformer"] = "residual"
    """What makes features of the points: residual blocks, or a transformer with a token for each seen keypoint, which
    normalises by layer and has the sizes `token_width`, `heads` and `layers`."""
    token_width: int = 96
    """Numbers of a token (transformer)."""
    heads: int = 4
    """Heads of its attention."""
    layers: int = 2
    """Its layers."""
    width: int = 1024
    """Hidden units; with the transformer those of its last layer."""
    blocks: int = 6
    """Residual blocks (not with the transformer)."""
    norm: Literal["variant", "batch", "layer", "none"] = "variant"
    """Normalisation of the network: the batch's for C3DPO, else layer normalisation."""
    rotation: Literal["variant", "exponential", "6d", "9d"] = "variant"
    """How the head makes a rotation: exponential coordinates for C3DPO, else projected from nine numbers."""
    in_plane: float = np.pi / 8
    """Largest in-plane turn of the augmentation, in radians."""
    cycle: float = 0.5
    """Share of the steps with the cycle, at the end (variant ours)."""
    cycle_weight: float = 0.1
    """Weight of the camera loss and of the shape loss of the cycle."""
    cycle_cameras: Literal["found", "any"] = "found"
    """Cameras of the cycle: those that the network finds for other samples of the category, or any rotation."""
    hide: float | None = None
    """Largest share of a sample's points that training hides at random from the network, in [0, 1); the loss stays over
    all that are known. None: what the variant does, 0.5 for procrustean and 0 for the others."""
    modes: int = 20
    """Most directions in which the shapes of a category vary (procrustean)."""
    polish: int = 4
    """Steps by which lifting improves the network's rotation on the likelihood of the image (procrustean)."""
    holdout: float = 0.05
    """Share of the observed points that training does not see, to measure the quality without labels."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        if not 0 <= self.holdout < 1 or not 0 <= self.cycle <= 1 or not 0 <= self.most_hidden < 1:
            raise InputError(
                f"holdout is {self.holdout}, cycle {self.cycle} and hide {self.hide}: shares from 0, holdout and hide "
                "below 1"
            )
        if self.select == "heldout":
            raise InputError("select is 'heldout': restarts of this method are ranked by the objective")
        if self.variant == "ours" and self.norm == "batch" and self.cycle == 1:
            raise InputError(
                "cycle is 1 with norm 'batch': the cycle needs the statistics of a network trained without it: give "
                "cycle below 1, or norm 'layer'"
            )
        if self.trunk == "transformer" and self.norm in ("batch", "none"):
            raise InputError(
                f"trunk is 'transformer' and norm {self.norm!r}: a transformer normalises by layer: give norm 'layer'"
            )
        if self.modes < 1 or self.polish < 0:
            raise InputError(f"modes is {self.modes} and polish {self.polish}: give at least 1 and 0")

    @property
    def most_hidden(self) -> float:
        """`hide`, or what the variant does."""
        if self.hide is None:
            return 0.5 if self.variant == "procrustean" else 0.0
        return self.hide

    def network(self, n_points: int, n_categories: int, members: int, context: int = 0) -> NetworkConfig:
        """The network that the variant asks for, for categories of at most `members` keypoints, with so many numbers
        of context."""
        published = self.variant.startswith("c3dpo")
        batch = published and self.trunk == "residual"
        norm = ("batch" if batch else "layer") if self.norm == "variant" else self.norm
        rotation = ("exponential" if published else "9d") if self.rotation == "variant" else self.rotation
        prior = self.variant == "procrustean"
        lifter = LifterConfig(
            n_points, 0 if prior else self.basis, self.width, max(1, self.width // 4), self.blocks, norm, rotation,
            self.variant.startswith("ours"), context, self.trunk, self.token_width, self.heads, self.layers, members,
        )  # fmt: skip
        return NetworkConfig(
            n_points,
            n_categories,
            members,
            lifter,
            self.variant == "c3dpo",
            self.modes if prior else 0,
            self.polish,
        )
