"""Labelled image sets in: what is in a folder or file is found by its content. One layout a module."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jnrsfm.errors import InputError
from jnrsfm.io.images import beside, coco, deeplabcut, npz_set, plain, sleap
from jnrsfm.io.images.record import check_images as check_images
from jnrsfm.io.images.summary import describe_images as describe_images
from jnrsfm.io.images.summary import format_images as format_images
from jnrsfm.types import LabelledImages

__all__ = [
    "IMAGE_FORMATS", "ImageFormat", "check_images", "describe_images", "format_images", "holds_images", "image_info",
    "read_images",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """One layout of an image set.

    `finds(path)`: whether it is that of a folder or file, by its content; `read(path, **options)`, whose keyword-only
    arguments are the options. `landmarks_too`: a file of this kind is landmarks for `jnrsfm.read`, which reads images
    where they are what the path holds.
    """

    name: str
    description: str
    finds: Callable[[Path], Any]
    read: Callable[..., LabelledImages]
    landmarks_too: bool = True


# Labels before bare images: the first that finds itself reads.
IMAGE_FORMATS: dict[str, ImageFormat] = {
    f.name: f
    for f in (
        ImageFormat("image-npz", "images and an npz with the key 'files'", npz_set.find, npz_set.read),
        ImageFormat("coco-images", "COCO keypoint json with its images", coco.find, coco.read),
        ImageFormat(
            "deeplabcut-images",
            "DeepLabCut or Lightning Pose labelled frames",
            deeplabcut.finds,
            deeplabcut.read,
        ),
        ImageFormat("sleap-images", "SLEAP labels with their frames", sleap.finds, sleap.read),
        ImageFormat("folder", "images without labels", plain.finds_folder, plain.read_folder, False),
        ImageFormat("image", "one image", plain.finds_image, plain.read_file, False),
        ImageFormat("video", "the frames of a video", plain.finds_video, plain.read_video, False),
    )
}


def read_images(
    path: str | Path,
    format: str | None = None,
    *,
    masks: str | Path | None = None,
    boxes: str | Path | None = None,
    **options: Any,
) -> LabelledImages:
    """Photographs with the landmarks that are labelled in some of them, checked (`check_images`).

    `path`: a folder or file of one of `IMAGE_FORMATS`, found by its content, or named by `format`; `options` are those
    of its reader. `masks`: a folder with a mask for each image, called like it; `boxes`: a csv of name, left, top,
    right, bottom. Images without labels have nothing visible; where nothing at all is labelled, landmarks are
    `(image, 0, 2)`. Pixels are those of the image turned upright as its EXIF says, (0, 0) the middle of the first; no
    image is decoded here. `outside="hide"` takes labels beyond their image as not visible, which else are refused.
    Raises InputError: one line with file, image or point, and what to do.
    """
    place = _existing(path)
    fmt = _named(format) if format else _found(place)
    _check_options(fmt, options)
    images = fmt.read(place, **options)
    if masks is None and boxes is None:
        return images
    if masks is not None:
        images = images.replace(masks=beside.masks_of(images, masks))
    if boxes is not None:
        images = images.replace(boxes=beside.boxes_of(images, boxes))
    check_images(images, place)
    return images


def holds_images(path: str | Path, format: str | None = None) -> bool:
    """Whether `jnrsfm.read` takes a path as images: a folder that holds some, an image, a video, annotations beside
    their images; or any that `format` names so. Files of landmarks are not."""
    if format is not None:
        return format in IMAGE_FORMATS
    place = Path(path).expanduser()
    if place.is_dir():
        return any(f.finds(place) for f in IMAGE_FORMATS.values())
    if not place.is_file():
        return False
    return coco.holds_images(place) or any(
        f.finds(place) for f in IMAGE_FORMATS.values() if not f.landmarks_too
    )


def image_info(
    path: str | Path, format: str | None = None, **options: Any
) -> tuple[dict[str, Any], LabelledImages]:
    """`path`, `format` and what `describe_images` says, as plain values; and the images. Raises InputError."""
    place = _existing(path)
    fmt = _named(format) if format else _found(place)
    images = read_images(place, fmt.name, **options)
    return {"path": str(path), "format": fmt.name, **describe_images(images)}, images


def _existing(path: str | Path) -> Path:
    try:
        place = Path(path).expanduser()
        if not place.exists():
            raise InputError(f"{path}: no such file or folder: check the path (relative to {Path.cwd()})")
        if place.is_dir() and not any(place.iterdir()):
            raise InputError(f"{path}: the folder is empty: name one that holds images")
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be opened: {error}") from error
    return place


def _named(name: str) -> ImageFormat:
    if name not in IMAGE_FORMATS:
        raise InputError(f"unknown image format {name!r}: choose from {', '.join(IMAGE_FORMATS)}")
    return IMAGE_FORMATS[name]


def _found(path: Path) -> ImageFormat:
    for fmt in IMAGE_FORMATS.values():
        if fmt.finds(path):
            return fmt
    what = "no images in this folder" if path.is_dir() else "not recognised as images"
    known = "; ".join(f"{f.name} ({f.description})" for f in IMAGE_FORMATS.values())
    raise InputError(f"{path}: {what}: known are {known}")


def _check_options(fmt: ImageFormat, options: dict[str, Any]) -> None:
    takes = [
        p.name
        for p in inspect.signature(fmt.read).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for name in options:
        if name not in takes:
            raise InputError(
                f"format {fmt.name!r} has no option {name!r}: its options are: {', '.join(takes)}"
            )
