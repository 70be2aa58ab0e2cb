"""Images without labels: a folder, one image, a video; labels of a landmark file beside them where wished."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._registry import detect, existing_file
from jnrsfm.io.images.record import SUFFIXES, assembled, unlabelled
from jnrsfm.io.video import VideoPixels, is_video
from jnrsfm.pixels import FilePixels, is_image
from jnrsfm.runs import LANDMARKS_FILE, SETTINGS_FILE
from jnrsfm.types import LabelledImages, Landmarks


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, by name, numbers in it by their value (`img2` before `img10`)."""
    found = [f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file() and f.name[0] != "."]
    return sorted(found, key=lambda f: [int(t) if t.isdigit() else t for t in re.split(r"([0-9]+)", f.name)])


def finds_folder(path: Path) -> bool:
    """Whether this is a folder with images in it."""
    if not path.is_dir() or all((path / name).is_file() for name in (SETTINGS_FILE, LANDMARKS_FILE)):
        return False  # the picture in a run folder is no image set
    return bool(images_in(path))


def finds_image(path: Path) -> bool:
    """Whether this is an image file."""
    return path.is_file() and path.suffix.lower() in SUFFIXES and is_image(path)


def finds_video(path: Path) -> bool:
    """Whether this is a file of a kind that holds video."""
    return path.is_file() and is_video(path)


def read_folder(
    path: Path,
    *,
    landmarks: str | None = None,
    clip: bool = False,
    fps: int | float | None = None,
    outside: str = "refuse",
) -> LabelledImages:
    """The images of a folder in the order of their names. `landmarks`: a file of landmarks with a frame for each;
    `clip`: they follow each other in time, at `fps`. Raises InputError."""
    files = images_in(path)
    if not files:
        raise InputError(
            f"{path}: no image in this folder: name one that holds {', '.join(SUFFIXES[:4])} ... files"
        )
    return _settled(path, FilePixels.of(files), landmarks, clip or fps is not None, fps, outside)


def read_file(path: Path, *, landmarks: str | None = None, outside: str = "refuse") -> LabelledImages:
    """One image. Raises InputError."""
    return _settled(path, FilePixels.of([path]), landmarks, False, None, outside)


def read_video(path: Path, *, landmarks: str | None = None, outside: str = "refuse") -> LabelledImages:
    """The frames of a video, one clip, decoded when they are read. Raises InputError."""
    pixels = VideoPixels.of(path)
    return _settled(path, pixels, landmarks, True, pixels.fps, outside)


def _settled(
    path: Path, pixels: Any, labels: str | None, clip: bool, fps: int | float | None, outside: str
) -> LabelledImages:
    n = len(pixels.sizes)
    found: Landmarks = unlabelled(n)
    if labels is not None:
        file = existing_file(labels)
        found = detect(file).read_landmarks(file)
        if found.n_frames != n:
            raise InputError(
                f"{file}: has {found.n_frames} frames, {path} has {n} images: give a frame for each"
            )
    if clip and found.sequence is None:
        found = found.replace(sequence=np.zeros(n, np.int32))
    if fps is not None and found.fps is None:
        if not 0 < fps < 1e6:
            raise InputError(f"{path}: fps is {fps:g}: it must be above 0")
        found = found.replace(fps=float(fps))
    return assembled(path, pixels, found, outside=outside)
