"""Label Studio's keypoints: the JSON export (`annotations`, or `predictions` where nobody labelled) and JSON-MIN.

Coordinates are percent of the image, whose size stands beside each. A keypoint belongs to the region that it is nested
in (`parentID`), or to the one that a relation ties it to; else the second point of a name in an image is of a second
individual. Pictures are in no order in time.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import number, read_json, start_of

_LABEL = "keypointlabels"


def parse(path: Path) -> Pose:
    """Labelled images: a row a task, individuals in the order of the file. Raises InputError."""
    content = read_json(path)
    tasks = content if isinstance(content, list) else [content]
    if not tasks or not all(isinstance(t, dict) for t in tasks):
        raise InputError(f"{path}: no Label Studio export: expected a list of tasks")
    names: dict[str, int] = {}
    marks: list[tuple[int, int, int, float, float, float]] = []  # row, individual, point, x, y, score
    sizes: set[tuple[float, float]] = set()
    several = turned = 0
    for row, task in enumerate(tasks):
        regions, more = _regions(task)
        several += more
        owner, people = _owners(regions), _People()
        for region in regions:
            inner = region.get("value")
            value = inner if isinstance(inner, dict) else region
            label = value.get(_LABEL)
            if not isinstance(label, list) or not label or not isinstance(label[0], str):
                continue
            at = [number(v.get(k)) for v, k in
                  ((value, "x"), (value, "y"), (region, "original_width"), (region, "original_height"))]  # fmt: skip
            if not np.isfinite(at[:2]).all():
                raise InputError(f"{path}: task {row}: keypoint {label[0]!r} has no x and y: export it again")
            turned += number(region.get("image_rotation", 0)) not in (0.0, 360.0)
            sizes.add((at[2], at[3]))
            point = names.setdefault(label[0], len(names))
            who = people.of(owner.get(str(region.get("id"))), point)
            width, height = at[2:] if at[2] > 0 and at[3] > 0 else (1.0, 1.0)
            score = number(region.get("score"))
            marks.append((row, who, point, at[0] / 100 * width, at[1] / 100 * height, score))
    if not marks:
        raise InputError(f"{path}: not one keypoint with a label: label with KeyPointLabels, export as JSON")
    sized = [w > 0 and h > 0 for w, h in sizes]
    if any(sized) and not all(sized):
        raise InputError(
            f"{path}: only some keypoints have original_width and original_height: export it again"
        )
    place = np.array([m[:3] for m in marks])
    shape = (len(tasks), int(place[:, 1].max()) + 1, len(names))
    refuse_large((*shape, 3), path)
    values = np.full((*shape, 3), np.nan)
    values[tuple(place.T)] = [m[3:] for m in marks]
    notes = []
    if several:
        notes.append(f"{several} images have several annotations: took the first of each")
    if turned:
        notes.append(f"{turned} points are on images turned in Label Studio: taken as they are")
    size = sizes.pop() if len(sizes) == 1 and all(sized) else None
    return Pose(
        points=values[..., :2], confidence=values[..., 2] if np.isfinite(values[..., 2]).any() else None,
        names=tuple(names), labels=tuple(_image(t, r) for r, t in enumerate(tasks)), linked=shape[1] == 1,
        ordered=False, image_size=size, unit_range=not all(sized), notes=tuple(notes),
    )  # fmt: skip


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _regions(task: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """The regions of a task, and whether there was a choice: those of its first annotation that was not skipped, one
    that is called the truth before others; without annotations, of its first prediction."""
    for key in ("annotations", "completions", "predictions"):
        found = [a for a in _dicts(task.get(key)) if not a.get("was_cancelled") and a.get("result")]
        if found:
            chosen = next((a for a in found if a.get("ground_truth") is True), found[0])
            return _dicts(chosen.get("result")), len(found) > 1
    if "annotations" in task or "predictions" in task:
        return [], False
    return [r for value in task.values() for r in _dicts(value)], False  # JSON-MIN: regions by the tag's name


def _owners(regions: list[dict[str, Any]]) -> dict[str, str]:
    """The region that each region belongs to."""
    keypoints = {str(r.get("id")) for r in regions if isinstance(v := r.get("value"), dict) and _LABEL in v}
    owner = {}
    for region in regions:
        if region.get("type") == "relation":
            a, b = str(region.get("from_id")), str(region.get("to_id"))
            if (a in keypoints) != (b in keypoints):
                owner[a if a in keypoints else b] = b if a in keypoints else a
        elif isinstance(region.get("parentID"), str) and region["parentID"]:
            owner[str(region.get("id"))] = region["parentID"]
    return owner


class _People:
    """Individuals of one image, numbered as they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.taken: set[tuple[int, int]] = set()

    def of(self, owner: str | None, point: int) -> int:
        """The number of the owner; without one, of the first individual that lacks this point."""
        if (
            owner is not None
            and (n := self.numbers.setdefault(owner, len(self.numbers)), point) not in self.taken
        ):
            self.taken.add((n, point))
            return n
        n = next(self._free(point))
        self.taken.add((n, point))
        return n

    def _free(self, point: int) -> Iterator[int]:
        n = 0
        while True:
            if (n, point) not in self.taken:
                yield n
            n += 1


def _image(task: dict[str, Any], row: int) -> str:
    """The name of a task's image, without the folders and the upload's key."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    names = [data.get("image"), data.get("img"), *data.values(), task.get("id"), row]
    name = next(n for n in names if isinstance(n, str | int) and not isinstance(n, bool))
    return str(name).rpartition("/")[2] or str(row)


def sniff(path: Path) -> bool:
    """Whether the JSON has keypoint labels."""
    start = start_of(path, 1 << 20)
    return start.lstrip()[:1] in (b"[", b"{") and b'"keypointlabels"' in start


FORMAT = pose_format("label-studio", (".json",), "Label Studio keypoints: JSON and JSON-MIN", parse, sniff)
