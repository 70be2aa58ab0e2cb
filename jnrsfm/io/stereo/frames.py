"""Pictures of the two eyes by frame number."""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.stereo.matching import resized
from jnrsfm.io.stereo.settings import StereoSettings
from jnrsfm.io.video import VideoPixels

WIDE = 2.4  # width over height of a picture that holds two whole ones


class StereoFrames:
    """The frames of a stereo video, each as two pictures of one size, `size` (width, height)."""

    def __init__(self, files: list[Path], settings: StereoSettings):
        self.videos = [VideoPixels.of(f) for f in files]
        counts = [len(v.names) for v in self.videos]
        sizes = [tuple(int(x) for x in v.sizes[0]) for v in self.videos]
        if len(set(counts)) > 1 or len(set(sizes)) > 1:
            raise InputError(
                f"{files[1]}: {counts[1]} frames of {sizes[1][0]} x {sizes[1][1]}, and {files[0].name} has {counts[0]} "
                f"of {sizes[0][0]} x {sizes[0][1]}: give two videos of one length and size"
            )
        self.count, self.fps = counts[0], self.videos[0].fps
        wide, high = sizes[0]
        self.layout = settings.layout
        if len(files) == 1:
            if self.layout == "side-by-side":
                self.layout = "full" if wide >= WIDE * high else "half"
            if wide % 2:
                raise InputError(
                    f"{files[0]}: frames are {wide} pixels wide, which do not halve: crop the video to an even width"
                )
            wide = wide if self.layout == "half" else wide // 2
        share = min(1.0, settings.width / wide)
        # even, as codecs and pyramids like it
        self.size = (max(2 * round(wide * share / 2), 2), max(2 * round(high * share / 2), 2))

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """First and second eye of a frame, uint8 `(height, width, 3)`."""
        if len(self.videos) == 2:
            one, two = (v.read(number) for v in self.videos)
        else:
            picture = self.videos[0].read(number)
            half = picture.shape[1] // 2
            one, two = picture[:, :half], picture[:, half:]
        return resized(one, self.size), resized(two, self.size)

    def close(self) -> None:
        """Give the files back."""
        for video in self.videos:
            video.close()
