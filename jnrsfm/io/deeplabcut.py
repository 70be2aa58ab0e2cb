"""DeepLabCut's tables of predictions and labels (csv, h5), and Lightning Pose's, which have the same layout.

Columns have three header levels (scorer, bodyparts, coords) or four (with individuals); `coords` are x, y and, in
predictions, likelihood. Rows are frames of a video, or labelled images (one index column or three). The individual
`single` holds points that belong to no animal. h5 files are pandas tables; their column names are pickled text, which
is read without unpickling.
"""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io import _plain_pickle
from jnrsfm.io._hdf5 import Hdf5, as_text, is_hdf5, open_hdf5
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import read_text, start_of

LEVELS = ("scorer", "individuals", "bodyparts", "coords")
PCUTOFF = 0.6  # DeepLabCut's own threshold for showing a point


def parse(path: Path) -> Pose:
    """What a DeepLabCut or Lightning Pose file holds. Raises InputError."""
    return parse_h5(path) if is_hdf5(path) else parse_csv(path)


def parse_csv(path: Path) -> Pose:
    """A table as text."""
    rows = list(csv.reader(read_text(path).splitlines()))
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    header: dict[str, list[str]] = {}
    for row in rows[:4]:
        key = row[0].strip().lower()
        if key not in LEVELS or key in header:
            break
        header[key] = [cell.strip() for cell in row]
    if "bodyparts" not in header or "coords" not in header:
        raise InputError(
            f"{path}: no DeepLabCut table: its first rows must be scorer, (individuals,) bodyparts, coords"
        )
    body = rows[len(header) :]
    # Labels may be split over several index columns, whose header cells are empty.
    coords = [c.lower() for c in header["coords"]]
    width = next((i for i, c in enumerate(coords) if i and c), len(coords))
    if width >= len(coords):
        raise InputError(f"{path}: the row 'coords' names no coordinates: check the header")
    n = len(coords)
    refuse_large((len(body), n), path)
    values = np.full((len(body), n - width), np.nan)
    labels = []
    for r, row in enumerate(body):
        labels.append("/".join(cell.strip() for cell in row[:width]))
        cells = row[width:n]
        try:
            values[r, : len(cells)] = [float(c) if c.strip() else np.nan for c in cells]
        except ValueError:
            bad = next(c for c in cells if c.strip() and not _number(c))
            raise InputError(
                f"{path}: row {r + len(header) + 1}: {bad[:30]!r} is no number: mend the table"
            ) from None
    columns = []
    for c in range(width, n):
        level = {k: (v[c] if c < len(v) else "") for k, v in header.items()}
        columns.append((level.get("individuals", ""), level["bodyparts"], coords[c]))
    return _pose(path, columns, values, labels, "individuals" in header, header.get("scorer", [""])[-1])


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_h5(path: Path) -> Pose:
    """A pandas table in HDF5, of either of pandas' two layouts."""
    with open_hdf5(path) as file:
        group = next((g for g in file.names() if file.attribute("pandas_type", g) is not None), None)
        if group is None:
            raise InputError(f"{path}: holds no pandas table: export the predictions of DeepLabCut again")
        kind = as_text(file.attribute("pandas_type", group))
        if kind == "frame_table":
            names, columns, values, index = _table(file, group)
        elif kind == "frame":
            names, columns, values, index = _fixed(file, group)
        else:
            raise InputError(f"{path}: holds a pandas {kind[:20]!r}: expected a data frame")
    order = [names.index(k) if k in names else None for k in LEVELS]
    if order[2] is None or order[3] is None:
        raise InputError(
            f"{path}: the columns have the levels {', '.join(map(str, names))}: expected {', '.join(LEVELS)}"
        )
    plain = [
        (
            "" if order[1] is None else str(column[order[1]]),
            str(column[order[2]]),
            str(column[order[3]]).lower(),
        )
        for column in columns
    ]
    scorer = "" if order[0] is None or not columns else str(columns[0][order[0]])
    return _pose(path, plain, values, index, order[1] is not None, scorer)


def _unpickled(file: Hdf5, text: Any, what: str) -> Any:
    try:
        return _plain_pickle.loads(
            bytes(text) if isinstance(text, bytes) else bytes(np.asarray(text).tobytes())
        )
    except _plain_pickle.Refused as error:
        raise InputError(f"{file.path}: {what}: {error}") from error


def _table(file: Hdf5, group: str):
    """pandas' `table` layout: rows of one compound array, a block of columns a field."""
    table = file.array(f"{group}/table")
    fields = table.dtype.names or ()
    axes = _unpickled(file, file.attribute("non_index_axes", group), "its column names")
    info = _unpickled(file, file.attribute("info", group), "its level names")
    columns = [tuple(c) if isinstance(c, list | tuple) else (c,) for c in axes[0][1]]
    names = [str(n).lower() for n in (info.get(1, {}).get("names") or [])]
    place = {column: i for i, column in enumerate(columns)}
    blocks = sorted(
        (f for f in fields if f.startswith("values_block_")), key=lambda f: int(f.rpartition("_")[2])
    )
    refuse_large((len(table), len(columns)), file.path)
    values = np.empty((0, 0))
    for field in blocks:
        held = _unpickled(file, file.attribute(f"{field}_kind", f"{group}/table"), "its column names")
        block = table[field].reshape(len(table), -1)
        if len(held) != block.shape[1] or block.dtype.kind not in "fiub":
            raise InputError(f"{file.path}: {field} does not fit its column names, or holds no numbers")
        at = [place[tuple(c) if isinstance(c, list | tuple) else (c,)] for c in held]
        if len(blocks) == 1 and at == list(range(len(columns))):
            values = block  # no copy: a long video is large
            break
        values = np.full((len(table), len(columns)), np.nan) if not values.size else values
        values[:, at] = block
    if values.shape[1] != len(columns):
        raise InputError(f"{file.path}: its table has no blocks of values")
    index = table["index"] if "index" in fields else np.arange(len(table))
    return names, columns, values, [as_text(v) for v in index.tolist()]


def _fixed(file: Hdf5, group: str):
    """pandas' `fixed` layout: levels and codes of the columns, blocks of values beside them."""

    def levels(axis: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        found, names = [], []
        count = file.attribute(f"{axis}_nlevels", group)
        for i in range(min(int(count or 0), 8)):
            level, code = file.array(f"{group}/{axis}_level{i}"), file.array(f"{group}/{axis}_label{i}")
            texts = [as_text(v) for v in level.tolist()]
            found.append([texts[int(c)] if 0 <= int(c) < len(texts) else "" for c in code])
            names.append(as_text(file.attribute("name", f"{group}/{axis}_level{i}") or "").lower())
        return names, list(zip(*found, strict=True))

    names, columns = levels("axis0")
    place = {column: i for i, column in enumerate(columns)}
    if as_text(file.attribute("axis1_variety", group)) == "multi":
        index = ["/".join(str(v) for v in row) for row in levels("axis1")[1]]
    else:
        index = [as_text(v) for v in file.array(f"{group}/axis1").tolist()]
    refuse_large((len(index), len(columns)), file.path)
    values = np.full((len(index), len(columns)), np.nan)
    for i in range(min(int(file.attribute("nblocks", group) or 0), 64)):
        _, held = levels(f"block{i}_items")
        block = file.array(f"{group}/block{i}_values")
        if block.dtype.kind not in "fiub" or block.shape != (len(index), len(held)):
            raise InputError(f"{file.path}: block {i} holds no numbers, or does not fit its columns")
        values[:, [place[c] for c in held]] = block
    return names, columns, values, index


def _pose(path: Path, columns, values, labels, several: bool, scorer: str) -> Pose:
    """Columns (individual, point, coordinate) as arrays; individuals and points in the order of the file."""
    individuals = list(dict.fromkeys(c[0] for c in columns))
    points = list(dict.fromkeys(c[1] for c in columns))
    axes = ["x", "y", "z"] if any(c[2] == "z" for c in columns) else ["x", "y"]
    shape = (len(values), len(individuals), len(points), len(axes))
    refuse_large(shape, path)
    out = np.full(shape, np.nan)
    confidence = np.full(shape[:3], np.nan)
    defined = np.zeros(shape[1:3], bool)
    scored = False
    seen = set()
    who = {name: i for i, name in enumerate(individuals)}
    which = {name: i for i, name in enumerate(points)}
    for c, (individual, point, axis) in enumerate(columns):
        if (individual, point, axis) in seen:
            raise InputError(
                f"{path}: column {individual} {point} {axis} is there twice: remove one".replace("  ", " ")
            )
        seen.add((individual, point, axis))
        i, p = who[individual], which[point]
        if axis in axes:
            out[:, i, p, axes.index(axis)] = values[:, c]
            defined[i, p] = True
        elif axis in ("likelihood", "score", "confidence"):
            confidence[:, i, p] = values[:, c]
            scored = True
    numbers = None
    if labels and all(re.fullmatch(r"\d{1,9}(\.0)?", text) for text in labels):
        numbers = np.array([int(float(text)) for text in labels])
    return Pose(
        points=out,
        confidence=confidence if scored else None,
        names=tuple(points),
        individuals=tuple(individuals) if several else None,
        labels=tuple(labels),
        numbers=numbers,
        defined=None if defined.all() else defined,
        ordered=not (labels and numbers is None),
        world=len(axes) == 3,
        threshold=PCUTOFF if scored else 0.0,
        notes=(f"scorer {scorer}",) if scorer else (),
    )


def sniff(path: Path) -> bool:
    """Whether the file is a pandas table in HDF5, or text that starts with `scorer` or `bodyparts`."""
    if is_hdf5(path):
        start = start_of(path, 1 << 20)
        return b"pandas_type" in start and b"tracks_json" not in start
    first = start_of(path, 4096).lower().lstrip(b"\xef\xbb\xbf").split(b"\n")
    return first[0].split(b",")[0].strip() in (b"scorer", b"bodyparts") and any(
        line.startswith((b"bodyparts", b"coords")) for line in first[:4]
    )


def sniff_lightning(path: Path) -> bool:
    """Whether the scorer is one of Lightning Pose's models."""
    return sniff(path) and b"heatmap_" in start_of(path, 4096).split(b"\n")[0]


LIGHTNING = pose_format(
    "lightning-pose", (".csv",), "Lightning Pose predictions: csv as DeepLabCut's", parse_csv, sniff_lightning
)
FORMAT = pose_format(
    "deeplabcut",
    (".csv", ".h5"),
    "DeepLabCut predictions or labels, one or several animals, SuperAnimal: csv or h5",
    parse,
    sniff,
)
