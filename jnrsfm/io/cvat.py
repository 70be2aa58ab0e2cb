"""CVAT's XML 1.1, for images and for video: `points` and skeletons of points.

In a video each track is an individual (tracks of single points belong together by their group, else by order); of
images, those of a video task are frames in order, others are in no order in time. `outside` is missing; `occluded` is
an observation. Edges come from the skeleton that the task draws. The file is read as a stream, and a document type,
with which entities come, is refused.
"""

import array
import html
import re
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import LARGEST_TEXT, start_of

_DEEPEST = 64
_LONGEST_TEXT = 1_000_000
_MOST_MARKS = 100_000_000
_META = ("mode", "width", "height", "name", "type", "svg", "parent")


class _Reader:
    """Handlers of the stream; what it found: of each point `at` (row, individual, name) and `xy`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: list[str] = []
        self.text = ""
        self.mode = ""
        self.size: list[float] = []
        self.labels: list[dict[str, str]] = []
        self.rows: dict[int, str] = {}
        self.sizes: set[tuple[float, float]] = set()
        self.names: dict[str, int] = {}
        self.people: dict[str, int] = {}
        self.at, self.xy = array.array("q"), array.array("d")
        self.counts: dict[tuple[Any, ...], int] = {}
        self.row = -1
        self.track: tuple[str, str] | None = None
        self.skeleton: str | None = None
        self.hidden = False

    def start(self, tag: str, have: dict[str, str]) -> None:
        self.open.append(tag)
        self.text = ""
        if len(self.open) > _DEEPEST:
            raise InputError(f"{self.path}: elements are nested {_DEEPEST} deep: not CVAT's, check the file")
        if tag == "label":
            self.labels.append({})
        elif tag == "image":
            self.row = self._number(have, "id")
            self.rows[self.row] = have.get("name", str(self.row))
            self.sizes.add((_float(have.get("width")), _float(have.get("height"))))
            self.counts.clear()
        elif tag == "track":
            key = have.get("group_id", "")
            if not key:  # the second track of this label belongs to a second individual
                key = f"-{self._count('track', have.get('label', ''))}"
            self.track = (have.get("label", ""), key)
        elif tag == "skeleton":
            self._frame(have)
            label = self.track[0] if self.track else have.get("label", "")
            n = self._count("skeleton", label, *([] if self.track is None else [self.row, self.track[1]]))
            self.skeleton = f"{label} {self.track[1] if self.track else ''}/{n}"
            self.hidden = have.get("outside") == "1"
        elif tag == "points":
            self._points(have)

    def end(self, tag: str) -> None:
        self.open.pop()
        if tag == "track":
            self.track = None
        elif tag == "skeleton":
            self.skeleton, self.hidden = None, False
        elif tag in _META and "meta" in self.open:
            self._meta(tag, self.text.strip())

    def data(self, text: str) -> None:
        if "meta" in self.open and len(self.text) < _LONGEST_TEXT:
            self.text += text

    def doctype(self, *_: Any) -> None:
        raise InputError(
            f"{self.path}: has a document type (<!DOCTYPE ...>), which CVAT does not write: take it out"
        )

    def _meta(self, tag: str, text: str) -> None:
        above = self.open[-1]
        if tag == "mode" and not self.mode:
            self.mode = text
        elif tag in ("width", "height") and above == "original_size" and len(self.size) < 2:
            self.size.append(_float(text))
        elif above == "label" and self.labels:
            self.labels[-1].setdefault(tag, text)

    def _frame(self, have: dict[str, str]) -> None:
        if self.track is not None:
            self.row = self._number(have, "frame")
            self.rows.setdefault(self.row, str(self.row))

    def _points(self, have: dict[str, str]) -> None:
        label = have.get("label", "")
        if self.skeleton is None:
            self._frame(have)
            label = self.track[0] if self.track else label
            if self.track is not None:
                who = self.track[1]
            else:
                who = have.get("group_id") or f"-{self._count('points', label)}"
        else:
            who = self.skeleton
        if self.row < 0:
            raise InputError(
                f"{self.path}: points {label!r} are of no image and no frame: not CVAT's XML 1.1"
            )
        if self.hidden or have.get("outside") == "1":
            return
        pairs = [p.split(",") for p in have.get("points", "").split(";")]
        for k, pair in enumerate(pairs):
            if len(pair) != 2 or not np.isfinite([_float(v) for v in pair]).all():
                raise InputError(
                    f"{self.path}: row {self.row}: points {label!r} are not 'x,y;...': export it again"
                )
            name = label if len(pairs) == 1 else f"{label}_{k + 1}"
            person = self.people.setdefault(who, len(self.people))
            self.at.extend((self.row, person, self.names.setdefault(name, len(self.names))))
            self.xy.extend(map(_float, pair))
        if len(self.xy) > 2 * _MOST_MARKS:
            raise InputError(f"{self.path}: has over {_MOST_MARKS} points: split the file")

    def _count(self, *key: Any) -> int:
        self.counts[key] = self.counts.get(key, -1) + 1
        return self.counts[key]

    def _number(self, have: dict[str, str], key: str) -> int:
        text = have.get(key, "")
        if not text.isdecimal() or len(text) > 9:
            raise InputError(
                f"{self.path}: {self.open[-1]} has {key} {text!r}, expected a number: export it again"
            )
        return int(text)


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def parse(path: Path) -> Pose:
    """Points of a CVAT file: a row an image, or a frame of the video. Raises InputError."""
    if path.stat().st_size > LARGEST_TEXT:
        raise InputError(f"{path}: is over 2 GB of XML: split it")
    reader, parser = _Reader(path), expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reader.data, reader.doctype
    try:
        with open(path, "rb") as stream:
            parser.ParseFile(stream)
    except expat.ExpatError as error:
        raise InputError(f"{path}: cannot be read as XML ({str(error)[:80]}): export it again") from error
    if not reader.xy:
        raise InputError(f"{path}: has no points and no skeletons: label these, and export as CVAT 1.1")
    edges, drawn = _drawn(reader.labels)
    names = [n for n in drawn if n in reader.names] + [n for n in reader.names if n not in set(drawn)]
    place = {n: i for i, n in enumerate(names)}
    rows = sorted(reader.rows)
    shape = (len(rows), len(reader.people), len(names))
    refuse_large((*shape, 2), path)
    points = np.full((*shape, 2), np.nan)
    row, who, name = np.frombuffer(reader.at, np.int64).reshape(-1, 3).T
    name = np.array([place[n] for n in reader.names])[name]
    points[np.searchsorted(rows, row), who, name] = np.frombuffer(reader.xy).reshape(-1, 2)
    video = reader.mode == "interpolation" or any(reader.rows[r] == str(r) for r in rows)
    tracks = all(reader.rows[r] == str(r) for r in rows)
    size = tuple(reader.size) if len(reader.size) == 2 else next(iter(reader.sizes), ())
    one = len(reader.sizes) <= 1 and len(size) == 2 and min(size) > 0
    return Pose(
        points=points, names=tuple(names), labels=tuple(reader.rows[r] for r in rows),
        numbers=np.array(rows) if video else None,
        edges=tuple((place[a], place[b]) for a, b in edges if a in place and b in place) or None,
        image_size=(float(size[0]), float(size[1])) if one else None, linked=shape[1] == 1 or tracks, ordered=video,
    )  # fmt: skip


def _drawn(labels: list[dict[str, str]]) -> tuple[list[tuple[str, str]], list[str]]:
    """Edges by name and names in the order of the drawings of the task's skeletons."""
    edges: list[tuple[str, str]] = []
    names: list[str] = []
    for label in labels:
        picture = html.unescape(label.get("svg", ""))
        nodes = {}
        for circle in re.findall(r"<circle\b[^>]{0,2000}>", picture):
            have = dict(re.findall(r'([\w-]{1,40})="([^"]{0,400})"', circle))
            if "data-node-id" in have and have.get("data-label-name"):
                nodes[have["data-node-id"]] = have["data-label-name"]
        for line in re.findall(r"<line\b[^>]{0,2000}>", picture):
            have = dict(re.findall(r'([\w-]{1,40})="([^"]{0,400})"', line))
            a, b = nodes.get(have.get("data-node-from", "")), nodes.get(have.get("data-node-to", ""))
            if a and b and a != b:
                edges.append((a, b))
        names += [n for n in nodes.values() if n not in names]
    return edges, names


def sniff(path: Path) -> bool:
    """Whether it is XML whose root is CVAT's, a document type before it or not."""
    start = start_of(path).lstrip(b"\xef\xbb\xbf \t\r\n")
    return start[:1] == b"<" and re.search(rb"<annotations\b", start) is not None


FORMAT = pose_format(
    "cvat", (".xml",), "CVAT 1.1 for images or video: points and skeletons (xml)", parse, sniff
)
