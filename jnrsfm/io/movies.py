"""Frames to a video file, H.264 in MP4, by `av` (the extra `field`)."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import runs
from jnrsfm.errors import InputError


def has_av() -> bool:
    """Whether `av` is installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def mp4(frames: np.ndarray, fps: int = 12) -> bytes:
    """An MP4 of `frames (frame, h, w, 3)` uint8, even sides (a last odd row or column is cut off).

    Raises InputError without `av` or without frames."""
    try:
        import av
    except ImportError as error:
        raise InputError("videos need av, which is not installed: pip install 'jnrsfm[field]'") from error
    if len(frames) == 0 or min(frames.shape[1:3]) < 2:
        raise InputError(f"frames have shape {frames.shape}: there is nothing to write")
    h, w = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track: Any = container.add_stream("libx264", rate=fps)
        track.width, track.height, track.pix_fmt = w, h, "yuv420p"
        track.options = {"crf": "18"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:h, :w]), format="rgb24")
            for packet in track.encode(picture):
                container.mux(packet)
        for packet in track.encode():
            container.mux(packet)
    return stream.getvalue()


def write_movie(path: str | Path, frames: np.ndarray, fps: int = 12) -> Path:
    """Write `mp4(frames)` whole or not at all. Raises InputError."""
    return runs.write_file(path, mp4(frames, fps))
