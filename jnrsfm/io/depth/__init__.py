"""Depth maps on disk, and videos on their way to them: `depth_frames`, `DepthFolder`, `write_depth`, `read_depth`."""

from jnrsfm.io.depth.folder import DepthFolder as DepthFolder
from jnrsfm.io.depth.folder import read_depth_folder as read_depth_folder
from jnrsfm.io.depth.known import KnownDepths as KnownDepths
from jnrsfm.io.depth.known import read_known as read_known
from jnrsfm.io.depth.maps import read_depth as read_depth
from jnrsfm.io.depth.maps import write_depth as write_depth
from jnrsfm.io.depth.video import DepthFrame as DepthFrame
from jnrsfm.io.depth.video import depth_frames as depth_frames
from jnrsfm.io.depth.video import open_frames as open_frames
