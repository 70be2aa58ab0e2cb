"""What stands between a record and a batch: normalisation, filling of gaps, augmentation, windows, blocks of frames."""

from jnrsfm.inputs.augmentation import rolled as rolled
from jnrsfm.inputs.batching import blocks as blocks
from jnrsfm.inputs.inpainting import fill_hidden as fill_hidden
from jnrsfm.inputs.inpainting import landmark_covariance as landmark_covariance
from jnrsfm.inputs.observations import Frames as Frames
from jnrsfm.inputs.observations import Normalizer as Normalizer
from jnrsfm.inputs.observations import Observations as Observations
from jnrsfm.inputs.observations import hold_out as hold_out
from jnrsfm.inputs.observations import two_d_size as two_d_size
from jnrsfm.inputs.windows import drawn_frames as drawn_frames
from jnrsfm.inputs.windows import window_frames as window_frames
