"""Depths that are known at some pixels of some frames: a CSV file of `frame,x,y,depth`."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jnrsfm.errors import InputError

COLUMNS = ("frame", "x", "y", "depth")


class KnownDepths(NamedTuple):
    """`frame (point,)`, `pixels (point, 2)` x and y in the source's pixels, `depth (point,)` in any one unit."""

    frame: np.ndarray
    pixels: np.ndarray
    depth: np.ndarray


def read_known(path: Path, frames: int, size: tuple[int, int]) -> KnownDepths:
    """Read known depths of a source of so many `frames` of `size` (width, height). Raises InputError, naming the line,
    for what is no such file, lies outside, or is not positive."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}): give lines of frame,x,y,depth") from error
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise InputError(f"{path}: has no lines of {','.join(COLUMNS)}: its first line names these columns")
    values = []
    for i, row in enumerate(rows):
        try:
            frame, x, y, depth = (float(row[c]) for c in COLUMNS)
        except (TypeError, ValueError):
            raise InputError(f"{path}: line {i + 2} holds no four numbers: give frame,x,y,depth") from None
        if not (0 <= frame < frames and frame == int(frame)):
            raise InputError(
                f"{path}: line {i + 2} is of frame {frame:g}: there are frames 0 to {frames - 1}"
            )
        if not (-0.5 <= x < size[0] - 0.5 and -0.5 <= y < size[1] - 0.5):
            raise InputError(
                f"{path}: line {i + 2}: ({x:g}, {y:g}) lies outside pictures of {size[0]} x {size[1]}"
            )
        if not (np.isfinite(depth) and depth > 0):
            raise InputError(f"{path}: line {i + 2}: depth is {depth:g}: it must be positive")
        values.append((frame, x, y, depth))
    a = np.array(values)
    return KnownDepths(a[:, 0].astype(int), a[:, 1:3], a[:, 3])
