"""DeepLabCut's labelled frames, and Lightning Pose's, which have the same table.

A project (`config.yaml`, `labeled-data/VIDEO/CollectedData_NAME.csv` beside the frames), one of its `labeled-data`
folders, or a Lightning Pose folder (`CollectedData.csv` beside `labeled-data/`). The table has three header rows
(scorer, bodyparts, coords) or four (individuals); a row names its image in one column, or in three. Several animals:
one item for each animal that is labelled in an image, and one without labels for an image that has none; the individual
`single` has points of its own. DeepLabCut writes the table as csv and h5: the csv is read.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jnrsfm.errors import InputError
from jnrsfm.io.images.record import assembled, image_files, pixels_of
from jnrsfm.types import LabelledImages, Landmarks

LEVELS = ("scorer", "individuals", "bodyparts", "coords")


def tables(path: Path) -> list[Path]:
    """The tables of a project, a folder of frames, a Lightning Pose folder, or the file itself."""
    if path.is_file():
        if path.suffix.lower() == ".h5" and path.name.startswith("CollectedData"):
            beside = path.with_suffix(".csv")
            if not beside.is_file():
                raise InputError(
                    f"{path}: its csv is not beside it: write it with pandas.read_hdf(FILE).to_csv(...)"
                )
            path = beside
        return [path] if path.suffix.lower() == ".csv" and _is_table(path) else []
    if not path.is_dir():
        return []
    for pattern in ("CollectedData*.csv", "labeled-data/*/CollectedData*.csv", "*/CollectedData*.csv"):
        found = [f for f in sorted(path.glob(pattern)) if _is_table(f)]
        if found:
            return found
    return []


def _is_table(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as stream:
            first = [stream.readline(4096).split(",")[0].strip().lower() for _ in range(4)]
    except OSError:
        return False
    return first[0] in LEVELS and "coords" in first


def finds(path: Path) -> bool:
    """Whether there is such a table."""
    return bool(tables(path))


def read(
    path: Path, *, labels: str | None = None, individual: str | None = None, outside: str = "refuse"
) -> LabelledImages:
    """Labelled frames with their labels. `labels`: the name of the table, where a folder has several for the same
    frames (one for each view or annotator); `individual`: the only animal to read. Raises InputError."""
    found = tables(path)
    if labels is not None:
        known = ", ".join(dict.fromkeys(f.name for f in found))
        found = [f for f in found if labels in (f.name, f.stem)]
        if not found:
            raise InputError(f"{path}: no table {labels!r}: choose from {known or 'none'}")
    if not found:
        raise InputError(
            f"{path}: no CollectedData csv in it: name the project, or a folder of labelled frames"
        )
    folders = [f.parent for f in found]
    if len(set(folders)) < len(folders):
        several = " and ".join(f.name for f in found if folders.count(f.parent) > 1)
        raise InputError(
            f"{path}: labels stand in {several}: choose one with labels=NAME (--option labels=NAME)"
        )
    parts = [_Table(f) for f in found]
    names = tuple(dict.fromkeys(p for part in parts for p in part.points))
    animals = tuple(dict.fromkeys(a for part in parts for a in part.animals))
    if individual is not None and individual not in animals:
        raise InputError(
            f"{path}: no individual {individual!r}: choose from {', '.join(a for a in animals if a)}"
        )
    files: list[Path] = []
    points, defined = [], []
    for part in parts:
        at = image_files(part.images, part.roots, part.file)
        xy, has = part.laid_out(names)
        for row in range(len(at)):
            mine = [a for a, name in enumerate(part.animals) if individual in (None, name)]
            labelled = [a for a in mine if np.isfinite(xy[row, a]).all(-1).any()]
            for a in labelled or mine[:1]:
                files.append(at[row])
                points.append(xy[row, a])
                defined.append(has[a])
    if not files:
        raise InputError(f"{path}: the tables have no rows: label some frames")
    xy, has = np.array(points), np.array(defined)
    visible = np.isfinite(xy).all(-1)
    landmarks = Landmarks(
        np.where(visible[..., None], xy, 0).astype(np.float32),
        visible,
        defined=None if has.all() else has,
        edges=_edges(found[0], names),
        names=names,
    )
    return assembled(path, pixels_of(files), landmarks, outside=outside)


class _Table:
    """One table: `images`, and `values (row, column)` under `columns` (animal, point, x or y)."""

    def __init__(self, file: Path):
        self.file = file
        self.roots = [p for p in (file.parent, *file.parents[1:3]) if p.is_dir()]
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read as text ({error}): write it again as UTF-8") from error
        try:
            rows = [r for r in csv.reader(text.splitlines()) if any(cell.strip() for cell in r)]
        except csv.Error as error:
            raise InputError(f"{file}: cannot be read as csv ({error}): write it again") from error
        header: dict[str, list[str]] = {}
        for row in rows[:4]:
            if row[0].strip().lower() in LEVELS:
                header[row[0].strip().lower()] = [cell.strip() for cell in row]
        if not {"bodyparts", "coords"} <= set(header):
            raise InputError(
                f"{file}: its first rows must be scorer, (individuals,) bodyparts, coords: mend the header"
            )
        coords = [c.lower() for c in header["coords"]]
        width = next((i for i, c in enumerate(coords) if i and c), 0)
        columns = [i for i in range(width, len(coords)) if width and coords[i] in ("x", "y")]
        if not columns:
            raise InputError(f"{file}: the row 'coords' names no x and y: mend the header")
        cell = lambda level, i: header[level][i] if level in header and i < len(header[level]) else ""
        self.columns = [(cell("individuals", i), cell("bodyparts", i), coords[i]) for i in columns]
        if len(set(self.columns)) < len(self.columns):
            twice = next(c for c in self.columns if self.columns.count(c) > 1)
            raise InputError(f"{file}: the column {' '.join(twice).strip()} is there twice: remove one")
        self.animals = list(dict.fromkeys(c[0] for c in self.columns))
        self.points = list(dict.fromkeys(c[1] for c in self.columns))
        self.images: list[str] = []
        values = []
        for number, row in enumerate(rows[len(header) :], start=len(header) + 1):
            self.images.append("/".join(c.strip() for c in row[:width] if c.strip()))
            values.append([_number(row[i] if i < len(row) else "", file, number) for i in columns])
        self.values = np.array(values, float).reshape(len(values), len(columns))

    def laid_out(self, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """`(row, animal, point, 2)`, NaN where missing, and `(animal, point)` which points an animal has."""
        xy = np.full((len(self.values), len(self.animals), len(names), 2), np.nan)
        has = np.zeros(xy.shape[1:3], bool)
        for c, (animal, point, axis) in enumerate(self.columns):
            a, p = self.animals.index(animal), names.index(point)
            xy[:, a, p, "xy".index(axis)] = self.values[:, c]
            has[a, p] = True
        return xy, has


def _number(text: str, file: Path, row: int) -> float:
    try:
        value = float(text) if text.strip() else np.nan
    except ValueError:
        raise InputError(f"{file}: row {row}: {text[:30]!r} is no number: mend the table") from None
    if abs(value) > 1e7:
        raise InputError(f"{file}: row {row}: {text[:30]!r} lies in no image: mend the table")
    return value


def _edges(table: Path, names: tuple[str, ...]) -> np.ndarray | None:
    """The skeleton of the project's `config.yaml`, as far as its points are labelled."""
    config = next((f for p in table.parents[:3] if (f := p / "config.yaml").is_file()), None)
    if config is None:
        return None
    try:
        found: Any = yaml.safe_load(config.read_text(encoding="utf-8", errors="replace"))
    except (OSError, yaml.YAMLError) as error:
        cause = str(error).splitlines()[0][:120]
        raise InputError(f"{config}: cannot be read as YAML ({cause}): mend it") from error
    skeleton = found.get("skeleton") if isinstance(found, dict) else None
    pairs = [
        (names.index(str(a)), names.index(str(b)))
        for a, b in (p for p in skeleton or [] if isinstance(p, list) and len(p) == 2)
        if str(a) in names and str(b) in names and a != b
    ]
    return np.array(pairs, np.int32) if pairs else None
