"""What stands between a record and a batch: normalisation, filling of gaps, augmentation, windows, blocks of
frames; what is doubtful in a record: wrong points, empty frames, exchanged sides; and its cleaning on request."""

from jnrsfm.inputs.augmentation import rolled as rolled
from jnrsfm.inputs.batching import blocks as blocks
from jnrsfm.inputs.cleaning import clean as clean
from jnrsfm.inputs.crops import Augmentation as Augmentation
from jnrsfm.inputs.crops import PatchMap as PatchMap
from jnrsfm.inputs.crops import Squares as Squares
from jnrsfm.inputs.crops import canvas_size as canvas_size
from jnrsfm.inputs.crops import canvases as canvases
from jnrsfm.inputs.crops import coloured as coloured
from jnrsfm.inputs.crops import drawn_maps as drawn_maps
from jnrsfm.inputs.crops import label_boxes as label_boxes
from jnrsfm.inputs.crops import mirrored as mirrored
from jnrsfm.inputs.crops import patches as patches
from jnrsfm.inputs.crops import squares as squares
from jnrsfm.inputs.crops import swap_of as swap_of
from jnrsfm.inputs.crops import unmoved as unmoved
from jnrsfm.inputs.doubted_points import Reliability as Reliability
from jnrsfm.inputs.doubted_points import reliability as reliability
from jnrsfm.inputs.doubted_points import reweighed as reweighed
from jnrsfm.inputs.empty_frames import put_back as put_back
from jnrsfm.inputs.inpainting import fill_hidden as fill_hidden
from jnrsfm.inputs.inpainting import landmark_covariance as landmark_covariance
from jnrsfm.inputs.observations import Frames as Frames
from jnrsfm.inputs.observations import Normalizer as Normalizer
from jnrsfm.inputs.observations import Observations as Observations
from jnrsfm.inputs.observations import hold_out as hold_out
from jnrsfm.inputs.observations import two_d_size as two_d_size
from jnrsfm.inputs.swaps import Swaps as Swaps
from jnrsfm.inputs.swaps import describe_swaps as describe_swaps
from jnrsfm.inputs.swaps import exchanged as exchanged
from jnrsfm.inputs.swaps import find_swaps as find_swaps
from jnrsfm.inputs.swaps import swaps_of_clip as swaps_of_clip
from jnrsfm.inputs.windows import drawn_frames as drawn_frames
from jnrsfm.inputs.windows import window_frames as window_frames
