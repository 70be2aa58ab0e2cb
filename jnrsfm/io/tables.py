"""Flat tables of text: wide (`nose_x, nose_y, nose_likelihood, ...`, a row a frame) and long (`frame, point, x, y`).

Anipose's 3D tables and the usual MediaPipe dumps are wide tables with columns of their own.
"""

import csv
import itertools
from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import read_text, start_of

AXES = ("x", "y", "z")
SCORES = ("likelihood", "confidence", "score", "visibility", "presence", "c")
OTHER = ("error", "ncams", "uncertainty")
_FRAME = ("frame", "fnum", "frame_id", "frame_index", "frame_number", "time", "")
_POINT = ("point", "keypoint", "keypoints", "name", "bodypart", "landmark", "node")
_WHO = ("individual", "individuals", "id", "track", "person")


def columns_of(header: list[str]) -> dict[str, dict[str, int]]:
    """`{point: {x: column, ...}}` of a wide header, points in its order."""
    found: dict[str, dict[str, int]] = {}
    for c, cell in enumerate(header):
        for separator in ("_", ".", " "):
            point, cut, what = cell.strip().rpartition(separator)
            if cut and point and what.lower() in (*AXES, *SCORES, *OTHER):
                found.setdefault(point, {}).setdefault(what.lower(), c)
                break
    return {point: columns for point, columns in found.items() if {"x", "y"} <= columns.keys()}


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table with commas, semicolons or tabs. Raises InputError."""
    lines = [line for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) < 2:
        raise InputError(f"{path}: no table: it has {len(lines)} line")
    separator = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=separator))
    return [cell.strip() for cell in rows[0]], rows[1:]


def numbers_of(rows: list[list[str]], column: int) -> np.ndarray:
    """A column as numbers, NaN for what is empty or none."""
    out = np.full(len(rows), np.nan)
    for r, row in enumerate(rows):
        if column < len(row) and row[column].strip():
            try:
                out[r] = float(row[column])
            except ValueError:
                continue
    return out


def parse_wide(path: Path) -> Pose:
    """A row a frame. Raises InputError."""
    header, rows = read_rows(path)
    columns = columns_of(header)
    if not columns:
        raise InputError(f"{path}: no columns like nose_x, nose_y: name points and coordinates in the header")
    three = all("z" in c for c in columns.values())
    axes = AXES if three else AXES[:2]
    refuse_large((len(rows), len(columns), 4), path)
    points = np.full((len(rows), 1, len(columns), len(axes)), np.nan)
    score = np.full((len(rows), 1, len(columns)), np.nan)
    scored = False
    for p, places in enumerate(columns.values()):
        for a, axis in enumerate(axes):
            points[:, 0, p, a] = numbers_of(rows, places[axis])
        name = next((s for s in SCORES if s in places), None)
        if name is not None:
            score[:, 0, p] = numbers_of(rows, places[name])
            scored = True
    frame = next((c for c, cell in enumerate(header) if cell.lower() in _FRAME), None)
    numbers = None if frame is None else whole(numbers_of(rows, frame))
    return Pose(
        points=points, confidence=score if scored else None, names=tuple(columns), numbers=numbers, world=three,
        labels=None if frame is None else tuple(r[frame].strip() if frame < len(r) else "" for r in rows),
    )  # fmt: skip


def whole(values: np.ndarray) -> np.ndarray | None:
    """Whole numbers, None where a value is none."""
    if not np.isfinite(values).all() or (values != np.round(values)).any() or (np.abs(values) > 1e9).any():
        return None
    return values.astype(np.int64)


def parse_long(path: Path) -> Pose:
    """A row for each frame and point (and individual). Raises InputError."""
    return long_rows(*read_rows(path), path)


def long_rows(header: list[str], rows: list[list[str]], path: Path | str) -> Pose:
    """A long table as header and rows of text. Raises InputError, led by `path`."""
    place = {cell.lower(): c for c, cell in enumerate(header)}
    point = next((place[k] for k in _POINT if k in place), None)
    frame = next((place[k] for k in _FRAME if k and k in place), None)
    if point is None or frame is None or not {"x", "y"} <= place.keys():
        raise InputError(f"{path}: no long table: expected the columns frame, point, x, y")
    rows = [row for row in rows if len(row) > max(point, frame)]
    times = numbers_of(rows, frame)
    if not np.isfinite(times).all() or not len(rows):
        raise InputError(f"{path}: column '{header[frame]}' must hold numbers")
    names = list(dict.fromkeys(row[point].strip() for row in rows))
    who = next((place[k] for k in _WHO if k in place), None)
    people = (
        [""]
        if who is None
        else list(dict.fromkeys(row[who].strip() if who < len(row) else "" for row in rows))
    )
    unique, f = np.unique(times, return_inverse=True)
    axes = [a for a in AXES if a in place]
    shape = (len(unique), len(people), len(names), len(axes))
    refuse_large(shape, path)
    if float(np.prod(shape)) > 100 * max(len(rows), 1000):
        raise InputError(
            f"{path}: {len(rows)} rows for {shape[0]} frames and {shape[2]} points: not a table of points"
        )
    p = np.array([{n: i for i, n in enumerate(names)}[row[point].strip()] for row in rows]) if len(names) < 50 else (
        _codes([row[point].strip() for row in rows], names)
    )  # fmt: skip
    i = (
        np.zeros(len(rows), int)
        if who is None
        else _codes([r[who].strip() if who < len(r) else "" for r in rows], people)
    )
    points = np.full(shape, np.nan)
    for a, axis in enumerate(axes):
        points[f, i, p, a] = numbers_of(rows, place[axis])
    name = next((s for s in SCORES if s in place), None)
    score = None
    if name is not None:
        score = np.full(shape[:3], np.nan)
        score[f, i, p] = numbers_of(rows, place[name])
    return Pose(
        points=points, confidence=score, names=tuple(names), individuals=None if who is None else tuple(people),
        numbers=whole(unique), labels=tuple(f"{t:g}" for t in unique), world=len(axes) == 3,
    )  # fmt: skip


def _codes(values: list[str], names: list[str]) -> np.ndarray:
    index = {n: i for i, n in enumerate(names)}
    return np.array([index[v] for v in values], int)


def parse(path: Path) -> Pose:
    """A wide or a long table. Raises InputError."""
    return parse_long(path) if is_long(_header(path)) else parse_wide(path)


def is_long(header: list[str]) -> bool:
    """Whether the columns are those of a row for each point."""
    lower = {cell.lower() for cell in header}
    return {"x", "y"} <= lower and bool(lower & set(_POINT))


def _header(path: Path) -> list[str]:
    """The cells of the first line that is no comment."""
    lines = start_of(path).decode("utf-8", "replace").lstrip("\ufeff").splitlines()
    first = next(itertools.dropwhile(lambda line: not line.strip() or line.startswith("#"), lines), "")
    return [cell.strip() for cell in next(csv.reader([first], delimiter=max(",;\t", key=first.count)), [])]


def sniff(path: Path) -> bool:
    """Whether the first line names points with x and y."""
    header = _header(path)
    return bool(columns_of(header)) or is_long(header)


def parse_anipose(path: Path) -> Pose:
    """Anipose's 3D table: `_score` is the confidence; `M_..`, `center_.` and `fnum` go with it. Raises InputError."""
    pose = parse_wide(path)
    return pose.replace(world=True)


def sniff_anipose(path: Path) -> bool:
    """Whether a wide table has reprojection errors and numbers of cameras."""
    return any({"error", "ncams"} <= c.keys() for c in columns_of(_header(path)).values())


FORMAT = pose_format("csv", (".csv", ".tsv", ".txt"), "flat tables: wide (nose_x, nose_y) or long (frame, point, x, y)",
                     parse, sniff)  # fmt: skip
ANIPOSE = pose_format("anipose", (".csv",), "Anipose 3D csv (a reference)", parse_anipose, sniff_anipose)
