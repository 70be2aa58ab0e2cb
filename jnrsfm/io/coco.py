"""COCO keypoint JSON: annotations (`images`, `annotations`, `categories`) and results (a list of detections).

Annotations have flags: 0 not labelled, 1 labelled but hidden, 2 visible; 1 is an observation, no gap. Results have
scores in the same place. AlphaPose writes results too, its image names numbered in time and an identity `idx` beside.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import number, read_json, start_of


def parse_annotations(path: Path) -> Pose:
    """Labelled images: a row an image, people in the order of the file. Raises InputError."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise InputError(f"{path}: no COCO keypoint file: expected images, annotations and categories")
    found = [
        a for a in content["annotations"] if isinstance(a, dict) and isinstance(a.get("keypoints"), list)
    ]
    found = [a for a in found if a["keypoints"]]
    if not found:
        raise InputError(f"{path}: its annotations have no 'keypoints': export keypoints, not boxes or masks")
    categories = {_plain_id(c.get("id")): c for c in _dicts(content.get("categories"))}
    kinds = [_plain_id(a.get("category_id")) for a in found]
    chosen = max(dict.fromkeys(kinds), key=kinds.count)
    notes = []
    if len(set(kinds)) > 1:
        notes.append(f"{len(set(kinds))} categories: took {categories.get(chosen, {}).get('name', chosen)}")
        found = [a for a, k in zip(found, kinds, strict=True) if k == chosen]
    category = categories.get(chosen, {})
    n = len(found[0]["keypoints"]) // 3
    names = category.get("keypoints")
    names = tuple(map(str, names)) if isinstance(names, list) and len(names) == n else None
    images = {_plain_id(i.get("id")): i for i in _dicts(content.get("images"))}
    order = list(images) or list(dict.fromkeys(_plain_id(a.get("image_id")) for a in found))
    row = {image: r for r, image in enumerate(order)}
    people: list[list[np.ndarray]] = [[] for _ in order]
    for i, annotation in enumerate(found):
        image = _plain_id(annotation.get("image_id"))
        if image not in row:
            raise InputError(f"{path}: annotation {i} is of image {image!r}, which is not among the images")
        people[row[image]].append(_triples(annotation["keypoints"], n, path, f"annotation {i}"))
    most = max(len(p) for p in people)
    refuse_large((len(order), most, n, 3), path)
    values = np.full((len(order), most, n, 3), np.nan)
    for r, each in enumerate(people):
        if each:
            values[r, : len(each)] = each
    hidden = ~(values[..., 2] > 0)
    labels = tuple(str(images.get(i, {}).get("file_name", i)) for i in order)
    return Pose(
        points=np.where(hidden[..., None], np.nan, values[..., :2]), confidence=values[..., 2], names=names,
        labels=labels, edges=_edges(category.get("skeleton"), n), linked=most == 1, ordered=False, flags=True,
        image_size=_size(images.values()), skeleton="coco-17" if names is None and n == 17 else None,
        notes=tuple(notes),
    )  # fmt: skip


def _plain_id(value: Any) -> Any:
    return value if isinstance(value, int | str) else repr(value)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _triples(flat: list[Any], n: int, path: Path, where: str) -> np.ndarray:
    """`(point, 3)` of a flat list."""
    if len(flat) != 3 * n:
        raise InputError(
            f"{path}: {where} has {len(flat)} numbers in 'keypoints', expected {3 * n}: x, y, v each"
        )
    try:
        return np.array(flat, np.float64).reshape(n, 3)
    except (ValueError, TypeError, OverflowError):
        return np.array([number(v) for v in flat]).reshape(n, 3)


def _edges(skeleton: Any, n: int) -> tuple[tuple[int, int], ...] | None:
    """Pairs from 1, as the format has them; from 0 where a 0 is among them."""
    pairs = [
        (p[0], p[1])
        for p in (skeleton if isinstance(skeleton, list) else [])
        if isinstance(p, list) and len(p) == 2 and all(type(v) is int for v in p)
    ]
    if not pairs:
        return None
    least = min(min(p) for p in pairs)
    shifted = [(a - (least > 0), b - (least > 0)) for a, b in pairs]
    good = [(a, b) for a, b in shifted if 0 <= a < n and 0 <= b < n and a != b]
    return tuple(good) or None


def _size(images: Any) -> tuple[float, float] | None:
    """Width and height where all images have the same."""
    sizes = {(number(i.get("width")), number(i.get("height"))) for i in images}
    size = sizes.pop() if len(sizes) == 1 else None
    return size if size is not None and size[0] > 0 and size[1] > 0 else None


def parse_results(path: Path) -> Pose:
    """Detections: a row each, with its image and, from AlphaPose, its identity. Raises InputError."""
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(
            f"{path}: no list of detections: expected [{{'image_id': ..., 'keypoints': [...]}}, ...]"
        )
    found = [d for d in _dicts(content) if isinstance(d.get("keypoints"), list) and "image_id" in d]
    if not found or len(found) < len(content):
        raise InputError(
            f"{path}: not every entry of the list has 'image_id' and 'keypoints': not COCO results"
        )
    n = len(found[0]["keypoints"]) // 3
    if not n:
        raise InputError(f"{path}: detection 0 has no keypoints")
    refuse_large((len(found), n, 3), path)
    values = np.stack([_triples(d["keypoints"], n, path, f"detection {i}") for i, d in enumerate(found)])
    ids = [_plain_id(d["image_id"]) for d in found]
    tracks = np.array([_identity(d.get("idx")) for d in found])
    numbers = _numbers(ids)
    alpha = any("idx" in d for d in found) or all(isinstance(i, str) for i in ids)
    order = np.unique(numbers, return_inverse=True)[1] if numbers is not None else None
    if order is None:
        order = np.unique(np.array([str(i) for i in ids]), return_inverse=True)[1]
    return Pose(
        points=values[:, None, :, :2], confidence=values[:, None, :, 2], labels=tuple(str(i) for i in ids),
        image=order, track=tracks, numbers=numbers if alpha else None, ordered=alpha and numbers is not None,
        skeleton={17: "coco-17", 26: "halpe-26"}.get(n), threshold=0.05 if alpha else 0.0,
    )  # fmt: skip


def _identity(idx: Any) -> int:
    """AlphaPose's `idx` is a number, or one in nested lists."""
    for _ in range(8):
        if not isinstance(idx, list):
            break
        idx = idx[0] if idx else None
    value = number(idx)
    return int(value) if 0 <= value < 1e9 else -1


def _numbers(ids: list[Any]) -> np.ndarray | None:
    """The last number in each image name."""
    digits = [re.findall(r"\d{1,9}", i)[-1:] if isinstance(i, str) else [i] for i in ids]
    if not all(digits) or not all(isinstance(d[0], str) or 0 <= d[0] < 10**9 for d in digits):
        return None
    return np.array([int(d[0]) for d in digits], np.int64)


def sniff_annotations(path: Path) -> bool:
    """Whether the JSON names annotations, images or categories with keypoints."""
    start = start_of(path, 1 << 20).lstrip()
    return start[:1] == b"{" and (
        (b'"annotations"' in start and b'"keypoints"' in start)
        or (b'"categories"' in start and b'"images"' in start)
    )


def sniff_results(path: Path) -> bool:
    """Whether the JSON is a list whose entries have image_id and keypoints."""
    start = start_of(path).lstrip()
    return (
        start[:1] == b"["
        and b'"image_id"' in start
        and b'"keypoints"' in start
        and b"keypoint_scores" not in start
    )


def sniff_alphapose(path: Path) -> bool:
    """Whether the detections have AlphaPose's identities or image names."""
    return sniff_results(path) and re.search(rb'"image_id"\s*:\s*"', start_of(path)) is not None


ANNOTATIONS = pose_format(
    "coco", (".json",), "COCO keypoint annotations", parse_annotations, sniff_annotations
)
ALPHAPOSE = pose_format(
    "alphapose", (".json",), "AlphaPose results: detections with image names and identities", parse_results,
    sniff_alphapose,
)  # fmt: skip
RESULTS = pose_format(
    "coco-results", (".json",), "COCO keypoint results: a list of detections", parse_results, sniff_results
)
