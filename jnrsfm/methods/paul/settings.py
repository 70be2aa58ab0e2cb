"""What PAUL can be told."""

import dataclasses
from typing import Literal

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.inputs.observations import SizeMeasure
from jnrsfm.methods.recipe import ScaleBy, check_shared
from jnrsfm.training import TrainConfig

Start = Literal["random", "rigid", "pnd"]
_MOST_FREE = 3000  # frames: beyond, codes come from a network by default
_MOST_STARTED = 6000  # frames: beyond, a solver's shapes cost more than training from nothing
_SEVERAL_STARTS = 600  # frames: beyond, a second search costs more than it has been seen to bring
_FLOOR = 0.03  # of the anchor weight of a start


@dataclasses.dataclass(frozen=True)
class Paul(TrainConfig):
    """Settings of PAUL."""

    codes: Literal["auto", "free", "residual", "block-sparse"] = "auto"
    """Codes are unknowns of their own (free), or a network gives them; auto: free up to 3,000 frames, else
    block-sparse."""
    steps: int | None = None  # type: ignore[assignment]
    """Optimiser steps of each search; unset: 2,500 with free codes or where a solver gives all starts, else 25 for each
    frame, between 20,000 and 60,000."""
    refine: int = 150
    """Steps by which a lifted frame's code is improved on the frame itself, all else fixed."""
    batch: int = 0
    """Frames in a step; 0: all with free codes, 128 with an encoder."""
    learning_rate: float = 3e-3
    """Peak learning rate of Adam."""
    starts: tuple[Start, ...] | None = None
    """Where searches start; the best by `select` wins. Unset: pnd, and random too with free codes up to 600 frames;
    random alone with an encoder and more than 6,000 frames."""
    restarts: int = 1
    """Seeds for each start."""
    final: float = 2.0
    """Steps of the final phase, on all observed points, as a share of those of a search."""
    prior: Literal["paul", "adl", "adl-nuclear"] = "paul"
    """The autoencoder; or its decoder alone (ADL), also with the nuclear norm of the shapes."""
    nuclear: float = 0.01
    """Weight of the nuclear norm (adl-nuclear)."""
    solver: Literal["exact", "linear"] = "exact"
    """Lower level: the minimiser, or the paper's projected least squares."""
    bottleneck: int = 8
    """Numbers in a code. Too many do little harm."""
    sizes: tuple[int, ...] = (256, 128, 64, 32, 16)
    """Hidden units of the autoencoder, from the shape to the code."""
    dictionaries: tuple[int, ...] = (512, 256, 128, 64, 32, 16)
    """Sizes of the block-sparse encoder."""
    code_weight: float = 1e-3
    """Weight of the squared code."""
    decay: float = 1e-5
    """Weight of the squared weights of the decoder."""
    select: Literal["objective", "heldout"] = "heldout"
    """Label-free criterion that chooses among starts and seeds. The objective is a poor one: what a start leaves
    unexplained is small beside the regularisers."""
    smooth: float = 0.0
    """Weight of the root mean square second difference in time of the shapes, along the clips of `sequence` (free
    codes, all frames in a step)."""
    rigid: float = 0.2
    """Share of a random search over which the shapes go from one rigid shape to free ones."""
    anchor: float = 0.2
    """Share of a phase over which the anchor weight of its start falls from 1 to its floor."""
    anchor_floor: float | None = None
    """Anchor weight that stays to the end. Unset: 0.03 up to 600 frames, where a start knows as much as the
    autoencoder can learn from so few; 0 beyond, and under perspective."""
    roll: float = 180.0
    """Most turn of a training sample in the image plane (degrees), where a network gives the codes."""
    size: SizeMeasure = "rms"
    """2D size that sets the scale."""
    scale_correction: int = 1
    """Rounds of scale correction where frames have a scale of their own (weak perspective, perspective)."""
    scale_by: ScaleBy = "auto"
    """Correct by the norm of the shape or by its mean bone length; auto: bones where edges are given."""
    fill: bool = True
    """Give an encoder a linear prediction of the hidden points in place of zeros (up to 256 points)."""
    holdout: float = 0.1
    """Share of the observed points that the search does not see, to measure the quality without labels."""
    mirror: Literal["auto", "none"] = "auto"
    """Resolve the depth mirror by time or over the set; none leaves each frame its own."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        check_shared(self)
        for name in ("final", "nuclear", "code_weight", "decay", "smooth", "rigid", "anchor", "roll"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if self.anchor_floor is not None and not 0 <= self.anchor_floor <= 1:
            raise InputError(f"anchor_floor is {self.anchor_floor}: give a share between 0 and 1")
        if self.starts is not None and not self.starts:
            raise InputError("starts is empty: give one or more of random, rigid, pnd")

    def resolved(self, n_frames: int, perspective: bool = False) -> "Paul":
        """With the rules for what is unset, for a number of frames."""
        codes = self.codes
        if codes == "auto":
            codes = "free" if n_frames <= _MOST_FREE else "block-sparse"
        free = codes == "free"
        starts: tuple[Start, ...] = ("pnd",) if free or n_frames <= _MOST_STARTED else ("random",)
        if free and n_frames <= _SEVERAL_STARTS:
            starts = ("pnd", "random")
        starts = self.starts or starts
        floor = 0.0 if perspective or n_frames > _SEVERAL_STARTS else _FLOOR
        known = free or "random" not in starts
        rule = 2500 if known else int(np.clip(25 * n_frames, 20_000, 60_000))
        return dataclasses.replace(
            self,
            codes=codes,
            steps=self.steps or rule,
            batch=self.batch or (0 if free else 128),
            starts=starts,
            anchor_floor=floor if self.anchor_floor is None else self.anchor_floor,
        )
