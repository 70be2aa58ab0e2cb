"""Stereo videos as they lie about to pairs of frames with disparity and flow: `convert_stereo`, `read_pairs`."""

from jnrsfm.io.stereo.convert import convert_stereo as convert_stereo
from jnrsfm.io.stereo.convert import samples as samples
from jnrsfm.io.stereo.convert import summary as summary
from jnrsfm.io.stereo.pairs import PairSet as PairSet
from jnrsfm.io.stereo.pairs import holds_pairs as holds_pairs
from jnrsfm.io.stereo.pairs import read_pairs as read_pairs
from jnrsfm.io.stereo.settings import StereoSettings as StereoSettings
