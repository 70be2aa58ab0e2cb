"""From pixels and labels to a checked `LabelledImages`: what the readers of image sets share."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.checks import check_landmarks
from jnrsfm.pixels import Chosen, FilePixels, lies_on_its_side, source_file
from jnrsfm.types import LabelledImages, Landmarks

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".jp2", ".jfif",
)  # fmt: skip
"""Endings of image files."""
BEYOND = 1.0
"""How far a label may lie beyond the outermost pixel centres (pixels): clicks on the border, tools that count from the
corner of a pixel."""


def image_files(names: Sequence[str], roots: Sequence[Path], where: Any, repeats: bool = False) -> list[Path]:
    """The file of each name: under the first of `roots` that has it, by its path as the labels give it or else by its
    last part alone (labels move between machines). Raises InputError for names that stand twice, unless `repeats`, and
    for missing files."""
    if not repeats:
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise InputError(f"{where}: image {twice[0]!r} is named twice: name each image once")
    known: dict[str, Path | None] = {}
    for name in names:
        if name not in known:
            known[name] = _find(name, roots)
    missing = [name for name, file in known.items() if file is None]
    if missing:
        more = f", and {len(missing) - 1} more of {len(known)}" if len(missing) > 1 else ""
        raise InputError(
            f"{where}: image {missing[0]!r} is not in {roots[0]}{more}: put the images there, or name their folder"
        )
    owner: dict[Path, str] = {}
    for name, file in known.items():
        if file is not None and owner.setdefault(file, name) != name:
            raise InputError(
                f"{where}: images {owner[file]!r} and {name!r} are both found as {file}: keep the folders that the "
                "labels name"
            )
    files = [known[name] for name in names]
    return [f for f in files if f is not None]


def _find(name: str, roots: Sequence[Path]) -> Path | None:
    parts = PureWindowsPath(name).parts  # both kinds of slashes
    if not parts or "\0" in name:
        return None
    inside = Path(*[p for p in parts if not p.endswith(("\\", "/", ":")) and p != ".."] or ["."])
    for place in dict.fromkeys((inside, Path(parts[-1]))):
        for root in roots:
            try:
                if (root / place).is_file():
                    return root / place
            except OSError:  # a name too long for the system
                return None
    return None


def pixels_of(files: Sequence[Path]) -> Any:
    """Pixels of files, some of which may repeat: each header is read once. Raises InputError for what is no image."""
    once = {file: i for i, file in enumerate(dict.fromkeys(files))}
    base = FilePixels.of(list(once))
    if len(once) == len(files):
        return base
    return Chosen(base, np.array([once[file] for file in files]))


def unlabelled(count: int, points: int = 0, **fields: Any) -> Landmarks:
    """Landmarks of images without labels."""
    return Landmarks(
        points2d=np.zeros((count, points, 2), np.float32), visible=np.zeros((count, points), bool), **fields
    )


def assembled(
    where: Any,
    pixels: Any,
    landmarks: Landmarks,
    boxes: np.ndarray | None = None,
    masks: Any = None,
    stated: np.ndarray | None = None,
    outside: str = "refuse",
) -> LabelledImages:
    """The record, checked. `stated (image, 2)`: width and height as the labels say (NaN: not said).

    `outside`: what becomes of a labelled point beyond its image, "refuse" or "hide". Raises InputError, naming image
    and point, for sizes that disagree and for points and boxes outside.
    """
    if outside not in ("refuse", "hide"):
        raise InputError(f"{where}: outside={outside!r}: choose refuse or hide")
    if stated is not None:
        _check_sizes(where, pixels, stated)
    if outside == "hide":
        off = _outside(pixels, landmarks)
        visible = np.asarray(landmarks.visible) & ~off
        landmarks = landmarks.replace(
            visible=visible, points2d=np.where(visible[..., None], landmarks.points2d, np.float32(0))
        )
    images = LabelledImages(pixels, landmarks, boxes, masks)
    check_images(images, where)
    return images


def check_images(images: LabelledImages, where: Any = "the images", labels: bool = False) -> None:
    """Raise InputError where images and labels do not fit each other; with `labels`, also where none is labelled.

    Checked: one frame of landmarks for each image, the structure of the landmarks (`check_landmarks`), names of points
    that differ, visible points inside their image, boxes that have an extent and touch their image, masks as large as
    their images. No pixel is decoded.
    """
    n, landmarks = len(images), images.landmarks
    if not n:
        raise InputError(f"{where}: there is no image in it: name a folder that has some")
    if landmarks.n_frames != n:
        raise InputError(
            f"{where}: {n} images, but labels for {landmarks.n_frames}: give one row of labels for each image"
        )
    if landmarks.n_points:
        check_landmarks(landmarks, where=str(where))
    if landmarks.names is not None:
        twice = [name for name, count in Counter(landmarks.names).items() if count > 1]
        if twice:
            raise InputError(f"{where}: two points are called {twice[0]!r}: rename one of them")
    names, sizes = images.pixels.names, np.asarray(images.pixels.sizes)
    off = _outside(images.pixels, landmarks)
    if off.any():
        image, point = np.argwhere(off)[0]
        called = str(point) if landmarks.names is None else repr(landmarks.names[point])
        x, y = np.asarray(landmarks.points2d)[image, point]
        more = f" ({off.sum()} such points in all)" if off.sum() > 1 else ""
        raise InputError(
            f"{where}: image {names[image]}: point {called} is at ({x:g}, {y:g}), outside its "
            f"{sizes[image, 0]} x {sizes[image, 1]} pixels{more}: mend it, or "
            "hide such points with outside=hide (--option outside=hide)"
        )
    if images.boxes is not None:
        _check_boxes(where, images, names, sizes)
    if images.masks is not None:
        found = np.asarray(images.masks.sizes)
        if found.shape != sizes.shape:
            raise InputError(f"{where}: {len(found)} masks for {n} images: give one for each")
        wrong = (found != sizes).any(1)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{where}: image {names[i]} is {_size(sizes[i])}, its mask {_size(found[i])}: give one of its size"
            )
    if labels and not images.labelled.any():
        raise InputError(
            f"{where}: none of the {n} images has labels: label some of them, or name the label file"
        )


def _outside(pixels: Any, landmarks: Landmarks) -> np.ndarray:
    """`(image, point)` visible points beyond their image."""
    points = np.asarray(landmarks.points2d)
    most = np.asarray(pixels.sizes)[:, None] - 1 + BEYOND
    if len(points) != len(most):
        return np.zeros(points.shape[:2], bool)
    with np.errstate(invalid="ignore"):
        inside = ((points >= -BEYOND) & (points <= most)).all(-1)
    return np.asarray(landmarks.visible) & ~inside


def _check_boxes(where: Any, images: LabelledImages, names: Sequence[str], sizes: np.ndarray) -> None:
    boxes = np.asarray(images.boxes, np.float64)
    if boxes.shape != (len(sizes), 4):
        raise InputError(f"{where}: boxes have shape {boxes.shape}, expected ({len(sizes)}, 4)")
    said = ~np.isnan(boxes).any(1)
    low, high = boxes[:, :2], boxes[:, 2:]
    with np.errstate(invalid="ignore"):
        good = np.isfinite(boxes).all(1) & (high > low).all(1) & (low < sizes).all(1) & (high > 0).all(1)
    if (said & ~good).any():
        i = int(np.flatnonzero(said & ~good)[0])
        raise InputError(
            f"{where}: image {names[i]}: its box {boxes[i].tolist()} is empty or outside the image: give left, top, "
            "right, bottom in pixels"
        )


def _check_sizes(where: Any, pixels: Any, stated: np.ndarray) -> None:
    sizes = np.asarray(pixels.sizes)
    stated = np.asarray(stated, float)
    wrong = (stated != sizes).any(1) & np.isfinite(stated).all(1)
    if not wrong.any():
        return
    i = int(np.flatnonzero(wrong)[0])
    name, more = pixels.names[i], f" ({wrong.sum()} such images in all)" if wrong.sum() > 1 else ""
    file = source_file(pixels, i)
    if (stated[i] == sizes[i, ::-1]).all() and file is not None and lies_on_its_side(file):
        raise InputError(
            f"{where}: image {name}: its EXIF turns it upright to {_size(sizes[i])}, its labels state the unturned "
            f"{_size(stated[i])}{more}: save the image upright without that tag, and label that"
        )
    raise InputError(
        f"{where}: image {name} is {_size(sizes[i])}, its labels state {_size(stated[i])}{more}: give the images that "
        "were labelled"
    )


def _size(size: Any) -> str:
    return f"{size[0]:g} x {size[1]:g} pixels"
