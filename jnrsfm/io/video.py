"""Frames of a video by their number, through FFmpeg: the one place that touches `av` (the extra `images`)."""

from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError

SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts", ".m2ts", ".ts", ".flv", ".ogv",
    ".h264", ".mjpeg", ".asf",
)  # fmt: skip
"""Endings of video files."""
AHEAD = 250
"""Frames that are decoded rather than searched past, where the wanted one is not far ahead."""


def is_video(path: Path) -> bool:
    """Whether the name is that of a video file."""
    return path.suffix.lower() in SUFFIXES


class VideoPixels:
    """The frames of a video, upright, decoded when they are read; `fps`, or None.

    Frames are told apart by their time stamps, which are read first, without decoding (8 bytes a frame). Frames in turn
    are decoded once each; a jump begins at the key frame before it. A file without time stamps is read from its
    start. Nothing but the latest frame is kept. A copy in another process opens the file anew.
    """

    def __init__(
        self, path: Path, stamps: np.ndarray, keys: np.ndarray, size: tuple[int, int], fps: float | None
    ):
        self.path, self.fps = path, fps
        self._stamps, self._keys, self._size = stamps, keys, size
        self._container: Any = None
        self._frames: Any = None
        self._at = -1  # the number of the latest frame
        self._latest: np.ndarray | None = None

    @classmethod
    def of(cls, path: Path) -> "VideoPixels":
        """Of a file. Raises InputError for what holds no video, and without `av`."""
        container = _open(path)
        with container:
            stream = container.streams.video[0]
            stamps, key = [], []
            for packet in _packets(path, container, stream):
                stamps.append(packet.pts)
                key.append(packet.is_keyframe)
            fps = None if not stream.average_rate else float(stream.average_rate)
        if not stamps:
            raise InputError(f"{path}: the video has no frames: copy it again")
        if any(s is None for s in stamps) or len(set(stamps)) != len(stamps):
            times, keys = np.arange(len(stamps)), np.zeros(1, int)  # counted from the start
            video = cls(path, times, keys, (0, 0), fps)
            video._counted = True
        else:
            order = np.argsort(np.array(stamps), kind="stable")
            times = np.array(stamps)[order]
            video = cls(path, times, np.flatnonzero(np.array(key)[order]), (0, 0), fps)
        height, width = video.read(0).shape[:2]  # upright; the header may say otherwise
        video._size = (width, height)
        return video

    _counted = False

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_container": None, "_frames": None, "_at": -1, "_latest": None}

    @property
    def sizes(self) -> np.ndarray:
        """`(image, 2)` width and height."""
        return np.tile(np.array(self._size), (len(self._stamps), 1))

    @property
    def names(self) -> tuple[str, ...]:
        """Numbers of the frames."""
        return tuple(f"frame {i}" for i in range(len(self._stamps)))

    def read(self, number: int) -> np.ndarray:
        """Frame `number`, uint8 `(height, width, 3)`. Raises InputError for what cannot be decoded."""
        number = int(number)
        if not 0 <= number < len(self._stamps):
            raise InputError(f"{self.path}: has frames 0 to {len(self._stamps) - 1}, not {number}")
        if number != self._at or self._latest is None:
            self._latest = self._decoded(number)
        return self._latest

    def close(self) -> None:
        """Give the file back; the next read opens it again."""
        if self._container is not None:
            self._container.close()
        self._container, self._frames, self._at = None, None, -1

    def _decoded(self, number: int) -> np.ndarray:
        try:
            frame = self._frame(number)
            image = frame.to_ndarray(format="rgb24")
        except StopIteration:
            self.close()
            raise InputError(
                f"{self.path}: frame {number} cannot be decoded: copy or convert the video again"
            ) from None
        except (OSError, ValueError) as error:  # what av raises for damaged data
            self.close()
            raise InputError(
                f"{self.path}: frame {number} cannot be decoded ({error}): convert the video"
            ) from error
        turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise, as the header asks
        return np.ascontiguousarray(np.rot90(image, turns))

    def _frame(self, number: int) -> Any:
        key = int(self._keys[np.searchsorted(self._keys, number, side="right") - 1]) if len(self._keys) else 0
        key = key if key <= number else 0
        ahead = 0 <= self._at < number and (key <= self._at or number - self._at <= AHEAD)
        if self._frames is None or not ahead:
            if self._container is None or self._counted:
                self.close()
                self._container = _open(self.path)
                self._container.streams.video[0].thread_type = "AUTO"  # by frames too, not by slices alone
            stream = self._container.streams.video[0]
            if not self._counted:
                self._container.seek(int(self._stamps[key]), stream=stream, backward=True)
            self._frames, self._at = self._container.decode(stream), -1
        if self._counted:
            for frame in self._frames:
                self._at += 1
                if self._at == number:
                    return frame
            raise StopIteration
        wanted = self._stamps[number]
        for frame in self._frames:
            if frame.pts is not None and frame.pts >= wanted:
                if frame.pts > wanted:  # the wanted one is damaged
                    raise StopIteration
                self._at = number
                return frame
        raise StopIteration


def _open(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise InputError("videos need av, which is not installed: pip install av") from error
    try:
        container = av.open(str(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a video ({error}): convert it to mp4") from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{path}: holds no video: name another file")
    return container


def _packets(path: Path, container: Any, stream: Any) -> Any:
    """The packets that become frames."""
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                yield packet
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: breaks off or is damaged ({error}): copy it again") from error
