"""What stands beside any image set: a folder of masks, a table of boxes."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._registry import existing_file
from jnrsfm.io.images.plain import images_in
from jnrsfm.io.images.record import pixels_of
from jnrsfm.types import LabelledImages


def masks_of(images: LabelledImages, folder: str | Path) -> Any:
    """The mask of each image: the file in the folder that is called like it, whatever its ending. Raises InputError."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"{folder}: is no folder: masks=FOLDER (--option masks=FOLDER) names the one that holds the masks"
        )
    known: dict[str, Path] = {}
    for file in images_in(folder):
        if file.stem in known:
            raise InputError(
                f"{folder}: {known[file.stem].name} and {file.name} are masks of one image: remove one"
            )
        known[file.stem] = file
    names = images.pixels.names
    missing = [name for name in names if Path(name).stem not in known]
    if missing:
        raise InputError(
            f"{folder}: image {missing[0]} has no mask ({len(missing)} of {len(names)} have none)"
        )
    return pixels_of([known[Path(name).stem] for name in names])


def boxes_of(images: LabelledImages, path: str | Path) -> np.ndarray:
    """`(image, 4)` from a csv of rows name, left, top, right, bottom (pixels); NaN for images that it does not name.
    Raises InputError."""
    path = existing_file(path)
    place: dict[str, list[int]] = {}
    for i, name in enumerate(images.pixels.names):
        place.setdefault(name, []).append(i)
    boxes = np.full((len(images), 4), np.nan)
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as csv ({error}): write it as UTF-8 text") from error
    for number, row in enumerate(rows, start=1):
        cells = [c.strip() for c in row]
        if not any(cells) or (number == 1 and cells[-1:] and not _is_number(cells[-1])):
            continue  # an empty row, or the header
        if len(cells) != 5 or not all(_is_number(c) for c in cells[1:]):
            raise InputError(f"{path}: row {number}: expected name, left, top, right, bottom: mend it")
        name = cells[0]
        if name not in place:
            raise InputError(f"{path}: row {number}: there is no image {name!r}: take the name of its file")
        if np.isfinite(boxes[place[name][0]]).all():
            raise InputError(f"{path}: row {number}: image {name!r} stands twice: give one box for each")
        boxes[place[name]] = [float(c) for c in cells[1:]]
    return boxes


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
