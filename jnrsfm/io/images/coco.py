"""Keypoint annotations in COCO's JSON, and the images they are of.

`images` (`id`, `file_name`, `width`, `height`), `categories` (`id`, `name`, `keypoints`, `skeleton`), `annotations`
(`image_id`, `category_id`, `keypoints` [x, y, v, ...], `bbox` [x, y, width, height], `segmentation`). v is 0 not
labelled, 1 labelled but hidden, 2 labelled. One item for each annotation (an image may repeat), and one without labels
for each image that has none; crowds are left out. Categories with different keypoints share the union of their names;
`defined` says which a category has. Format: cocodataset.org, "data format".
"""

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.fields import LARGEST
from jnrsfm.io.images.polygons import SegmentMasks
from jnrsfm.io.images.record import assembled, image_files, pixels_of, unlabelled
from jnrsfm.types import LabelledImages, Landmarks

LARGEST_FILE = 2_000_000_000
_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


def find(path: Path) -> Path | None:
    """The annotation file: `path` itself, or the only one in the folder or in its `annotations/`. Raises InputError
    where there are several."""
    if path.is_file():
        return path if _is_coco(path) else None
    if not path.is_dir():
        return None
    found = [f for f in sorted([*path.glob("*.json"), *path.glob("annotations/*.json")]) if _is_coco(f)]
    if len(found) > 1:
        raise InputError(
            f"{path}: annotations stand in {found[0].name} and in {found[1].name}: name the file to read instead"
        )
    return found[0] if found else None


def _is_coco(path: Path) -> bool:
    """Whether the JSON has both lists; its start need not show them, so the text is searched."""
    if path.suffix.lower() != ".json":
        return False
    try:
        with open(path, "rb") as stream:
            if stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
                return False
            stream.seek(0)
            text = stream.read(LARGEST_FILE)
    except OSError:
        return False
    return b'"annotations"' in text and b'"images"' in text


@dataclasses.dataclass(frozen=True)
class _Category:
    name: str
    points: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]


def read(
    path: Path,
    *,
    images: str | None = None,
    category: str | None = None,
    hidden: str = "keep",
    outside: str = "refuse",
) -> LabelledImages:
    """Images and annotations of a file, or of the folder that holds it.

    `images`: the folder of the images (else the file's own, `images/` in it or beside it, or the one that its name ends
    in, `train2017`); `category`: the only one to read; `hidden`: "keep" points with v = 1, or "drop" them. Raises
    InputError, naming annotation and key.
    """
    if hidden not in ("keep", "drop"):
        raise InputError(f"{path}: hidden={hidden!r}: choose keep or drop")
    file = find(path)
    if file is None:
        raise InputError(f"{path}: is no COCO annotation file: it needs the lists 'images' and 'annotations'")
    document = _load(file)
    pictures = _pictures(document, file)
    categories = _categories(document, file)
    if category is not None:
        if all(c.name != category for c in categories.values()):
            known = ", ".join(sorted(c.name for c in categories.values())) or "none"
            raise InputError(f"{file}: no category {category!r}: choose from {known}")
        categories = {i: c for i, c in categories.items() if c.name == category}
    items = _items(document, file, pictures, categories, every=category is None)
    files = image_files([pictures[i][0] for i, _ in items], _roots(file, images), file, repeats=True)
    landmarks = _landmarks(file, [a for _, a in items], categories, hidden)
    pixels = pixels_of(files)
    stated = np.array([pictures[i][1] for i, _ in items], float)
    segments = [None if a is None else a.get("segmentation") for _, a in items]
    masks = SegmentMasks(tuple(segments), np.asarray(pixels.sizes)) if any(segments) else None
    return assembled(file, pixels, landmarks, _boxes(file, items), masks, stated, outside)


def holds_images(path: Path) -> bool:
    """Whether this is an annotation file and the first image that it names is at hand; nothing else of it is read."""
    if not _is_coco(path):
        return False
    named = _FILE_NAME.search(path.read_bytes())
    try:
        image_files([json.loads(named[1])] if named else [], _roots(path, None), path)
    except (InputError, ValueError):
        return False
    return named is not None


def _roots(file: Path, images: str | None) -> list[Path]:
    if images is not None:
        folder = Path(images).expanduser()
        for place in (folder, file.parent / folder):
            if place.is_dir():
                return [place]
        raise InputError(
            f"{folder}: is no folder: images=FOLDER (--option images=FOLDER) names the one that holds the images"
        )
    above = file.parent.parent
    ending = file.stem.rpartition("_")[2]
    places = (
        file.parent,
        file.parent / "images",
        above / "images",
        above / ending,
        above / "images" / ending,
        above,
    )
    return [place for place in places if place.is_dir()]


def _load(file: Path) -> dict[str, Any]:
    if file.stat().st_size > LARGEST_FILE:
        raise InputError(f"{file}: is over 2 GB of JSON: split it")
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        cause = str(error).splitlines()[0][:120]
        raise InputError(f"{file}: cannot be read as JSON ({cause}): write or copy it again") from error
    if not isinstance(document, dict):
        raise InputError(f"{file}: is no COCO annotation file: a list of results has no images")
    return document


def _rows(document: dict[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    rows = document.get(key, [])
    if not isinstance(rows, list):
        raise InputError(f"{file}: '{key}' is {_kind(rows)}, expected a list")
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{file}: {key}[{i}] is {_kind(row)}, expected an object")
    return rows


def _kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _identity(row: dict[str, Any], key: str, where: str) -> Any:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(f"{where}: '{key}' is {_kind(value)}, expected a number or text")
    return value


def _numbers(value: Any, where: str, key: str, count: int | None = None) -> list[float]:
    """A list of finite numbers. Raises InputError."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        wanted = "a list of numbers" if count is None else f"{count} numbers"
        raise InputError(f"{where}: '{key}' is {_kind(value)}, expected {wanted}")
    out = []
    for number in value:
        good = isinstance(number, int | float) and not isinstance(number, bool)
        if not good or not (abs(number) <= LARGEST):
            raise InputError(f"{where}: '{key}' holds {str(number)[:30]}: mend the value")
        out.append(float(number))
    return out


def _pictures(document: dict[str, Any], file: Path) -> dict[Any, tuple[str, tuple[float, float]]]:
    """File name and stated size of each image by its id."""
    rows = _rows(document, "images", file)
    if not rows:
        raise InputError(f"{file}: 'images' is empty: there is no image")
    found: dict[Any, tuple[str, tuple[float, float]]] = {}
    for i, row in enumerate(rows):
        where = f"{file}: images[{i}]"
        identity = _identity(row, "id", where)
        if identity in found:
            raise InputError(f"{where}: id {identity!r} stands twice: give each image its own")
        name = row.get("file_name")
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: 'file_name' is {_kind(name)}, expected text")
        size = []
        for key in ("width", "height"):
            value = row.get(key)
            size.append(math.nan if value is None else _numbers([value], where, key)[0])
        found[identity] = (name, (size[0], size[1]))
    names = [name for name, _ in found.values()]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise InputError(
            f"{file}: two images are called {twice!r}: name each once and let annotations share it"
        )
    return found


def _categories(document: dict[str, Any], file: Path) -> dict[Any, _Category]:
    found: dict[Any, _Category] = {}
    for i, row in enumerate(_rows(document, "categories", file)):
        where = f"{file}: categories[{i}]"
        identity = _identity(row, "id", where)
        if identity in found:
            raise InputError(f"{where}: id {identity!r} stands twice: give each category its own")
        points = row.get("keypoints") or []
        if not isinstance(points, list) or not all(isinstance(p, str) for p in points):
            raise InputError(f"{where}: 'keypoints' must be a list of names")
        if len(set(points)) < len(points):
            raise InputError(f"{where}: 'keypoints' names one point twice: rename it")
        found[identity] = _Category(
            str(row.get("name", identity)), tuple(points), _edges(row, len(points), where)
        )
    return found


def _edges(row: dict[str, Any], count: int, where: str) -> tuple[tuple[int, int], ...]:
    """Edges from 0; files count from 1, those with a 0 in them from 0."""
    skeleton = row.get("skeleton") or []
    if not isinstance(skeleton, list):
        raise InputError(f"{where}: 'skeleton' is {_kind(skeleton)}, expected a list of pairs")
    pairs = [_numbers(pair, where, "skeleton", 2) for pair in skeleton]
    first = 0 if any(0 in pair for pair in pairs) else 1
    edges = []
    for a, b in pairs:
        ends = (int(a) - first, int(b) - first)
        if not all(0 <= e < count for e in ends) or (a, b) != (int(a), int(b)) or a == b:
            raise InputError(
                f"{where}: 'skeleton' has the pair {a:g}, {b:g}, but there are {count} keypoints"
            )
        edges.append(ends)
    return tuple(dict.fromkeys(edges))


def _items(
    document: dict[str, Any],
    file: Path,
    pictures: dict[Any, Any],
    categories: dict[Any, _Category],
    every: bool,
) -> list[tuple[Any, dict[str, Any] | None]]:
    """(image id, annotation or None), in the order of the images."""
    by_image: dict[Any, list[dict[str, Any]]] = {i: [] for i in pictures}
    for i, row in enumerate(_rows(document, "annotations", file)):
        where = f"{file}: annotations[{i}]"
        identity, kind = _identity(row, "image_id", where), row.get("category_id")
        if identity not in by_image:
            raise InputError(f"{where}: image_id {identity!r} is not among the images: add it there")
        if row.get("iscrowd") in (1, True):
            continue
        if isinstance(kind, list | dict) or kind not in categories:
            if not every and not isinstance(kind, list | dict):
                continue
            raise InputError(
                f"{where}: category_id {str(kind)[:30]} is not among the categories: add it there"
            )
        by_image[identity].append({**row, "where": where})
    items: list[tuple[Any, dict[str, Any] | None]] = []
    for identity, rows in by_image.items():
        items += [(identity, row) for row in rows]
        if not rows and every:
            items.append((identity, None))
    if not items:
        raise InputError(f"{file}: no image has an annotation of that category: choose another")
    return items


def _landmarks(
    file: Path, rows: Sequence[dict[str, Any] | None], categories: dict[Any, _Category], hidden: str
) -> Landmarks:
    names = list(dict.fromkeys(p for c in categories.values() for p in c.points))
    counts = {len(_points(row)) // 3 for row in rows if row is not None and _points(row)}
    if not names and len(counts) > 1:
        raise InputError(
            f"{file}: annotations have {min(counts)} to {max(counts)} keypoints and no names: name them"
        )
    total = len(names) or max(counts, default=0)
    place = {name: i for i, name in enumerate(names)}
    points = np.zeros((len(rows), total, 2), np.float32)
    visible = np.zeros((len(rows), total), bool)
    defined = np.ones((len(rows), total), bool)
    codes = np.zeros(len(rows), np.int32)
    order = list(categories)
    for i, row in enumerate(rows):
        if row is None:
            continue
        category, where = categories[row["category_id"]], row["where"]
        codes[i] = order.index(row["category_id"])
        columns = [place[p] for p in category.points] if names else list(range(total))
        if names:
            defined[i] = np.isin(np.arange(total), columns)
        stored = _points(row)
        if not stored:
            continue
        values = np.array(_numbers(stored, where, "keypoints", 3 * len(columns))).reshape(-1, 3)
        if not np.isin(values[:, 2], (0, 1, 2)).all():
            raise InputError(
                f"{where}: 'keypoints' must be x, y, v with v 0, 1 or 2: this is {values[:, 2].tolist()[:4]}"
            )
        seen = values[:, 2] > (1 if hidden == "drop" else 0)
        visible[i, columns] = seen
        points[i, columns] = np.where(seen[:, None], values[:, :2], 0)
    fields: dict[str, Any] = {}
    if len(categories) > 1:
        fields = {"category": codes, "categories": tuple(c.name for c in categories.values())}
        if len(set(fields["categories"])) < len(categories):
            raise InputError(f"{file}: two categories have one name: rename one of them")
    elif categories:
        fields = {"category": codes, "categories": (next(iter(categories.values())).name,)}
    if not total:
        return unlabelled(len(rows), **fields)
    edges = {(place[c.points[a]], place[c.points[b]]) for c in categories.values() for a, b in c.edges}
    return Landmarks(
        points,
        visible,
        defined=None if defined.all() else defined,
        edges=np.array(sorted(edges), np.int32) if edges else None,
        names=tuple(names) or None,
        **fields,
    )


def _points(row: dict[str, Any]) -> list[Any]:
    points = row.get("keypoints")
    if points is not None and not isinstance(points, list):
        raise InputError(f"{row['where']}: 'keypoints' is {_kind(points)}, expected a list of numbers")
    return points or []


def _boxes(file: Path, items: list[tuple[Any, dict[str, Any] | None]]) -> np.ndarray | None:
    """`(image, 4)`: a box of w pixels from x covers the pixel centres x to x + w - 1; one of no extent is not said."""
    boxes = np.full((len(items), 4), np.nan)
    for i, (_, row) in enumerate(items):
        if row is None or not row.get("bbox"):
            continue
        x, y, w, h = _numbers(row["bbox"], row["where"], "bbox", 4)
        if w > 1 and h > 1:
            boxes[i] = x, y, x + w - 1, y + h - 1
    return None if np.isnan(boxes).all() else boxes
