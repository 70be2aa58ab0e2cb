"""A video, or a folder of frames, one frame at a time, each with its neighbour and the flow there.

The neighbour is the next frame; at the end of a shot, the one before. A frame alone in its shot is its own neighbour,
with no flow: depth from one picture.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.stereo.matching import Matcher, histogram, resized
from jnrsfm.io.video import VideoPixels, is_video

CUT = 0.3
"""A new shot begins where colour histograms differ by more than this, as in the conversion of stereo videos."""


class DepthFrame(NamedTuple):
    """Frame `number` of a source at the size it was asked for: `first` and its neighbour `second (y, x, 3)` uint8, the
    `flow (y, x, 2)` from the first to the second, in pixels of that size; `alone`: there was no neighbour; `ends`: the
    neighbour is not the following frame."""

    number: int
    first: np.ndarray
    second: np.ndarray
    flow: np.ndarray
    alone: bool
    ends: bool


def open_frames(path: Path) -> Any:
    """The frames of a video file or of a folder of images, decoded when they are read. Raises InputError for what holds
    none, and for a single one."""
    if not path.exists():
        raise InputError(f"{path}: no such video: check the name")
    if is_video(path) or (path.is_file() and not _is_picture(path)):
        frames: Any = VideoPixels.of(path)
    else:
        from jnrsfm.io.images import read_images

        frames = read_images(path).pixels
    if len(frames.names) < 2:
        raise InputError(f"{path}: holds one frame: depth-pair sees two, name a video or a folder of frames")
    return frames


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def depth_frames(frames: Any, working: tuple[int, int], start: int = 0) -> Iterator[DepthFrame]:
    """The frames from `start` on at the size `working` (width, height), with flow. Two frames are held at a time."""
    matcher = Matcher()
    count = len(frames.names)
    shown = lambda i: resized(np.ascontiguousarray(frames.read(i)), working)
    flow = lambda one, two: matcher.flow(matcher.grey(one), matcher.grey(two))
    before = None
    if start:
        before = shown(start - 1)
    now = shown(start)
    told = histogram(now)
    if before is not None and 0.5 * np.abs(told - histogram(before)).sum() > CUT:
        before = None
    for number in range(start, count):
        after = shown(number + 1) if number + 1 < count else None
        following = None if after is None else histogram(after)
        if following is not None and 0.5 * np.abs(following - told).sum() > CUT:
            beyond, after = after, None
        else:
            beyond = after
        if after is not None:
            yield DepthFrame(number, now, after, flow(now, after), False, False)
        elif before is not None:
            yield DepthFrame(number, now, before, flow(now, before), False, True)
        else:
            yield DepthFrame(number, now, now, np.zeros((*now.shape[:2], 2), np.float32), True, True)
        before = now if after is not None else None
        if beyond is not None and following is not None:
            now, told = beyond, following
