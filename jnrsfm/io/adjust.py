"""What a user may say of landmarks beside the file: which points, other names, a skeleton, a size, what is missing.

And `remarks`: what looks as if it should have been said.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.skeletons import SKELETONS, read_skeleton, symmetric_of
from jnrsfm.types import Landmarks

Missing = Literal["nan", "zeros", "minus-one"]


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What a user says of a file. `None` leaves it to the file.

    `points`: names (or numbers) of the points to keep, in this order. `rename`: new names by old ones, or a YAML file
    of them. `min_confidence`: below it a point is missing. `skeleton`: a name of `SKELETONS`, or a YAML file. `fps`.
    `image_size`: width and height; coordinates from 0 to 1 are multiplied by them. `missing`: `"zeros"`, points at
    exactly (0, 0) are missing, `"minus-one"`, those with a coordinate -1. `y`: `"up"` turns y around.
    """

    points: str | Sequence[str] | None = None
    rename: str | Path | Mapping[str, str] | None = None
    min_confidence: float | None = None
    skeleton: str | None = None
    fps: float | None = None
    image_size: tuple[float, float] | None = None
    missing: Missing = "nan"
    y: Literal["down", "up"] = "down"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Wishes":
        """From options by name. Raises InputError for a value of the wrong kind."""
        values = dict(options)
        try:
            for name in ("min_confidence", "fps"):
                if name in values:
                    values[name] = float(values[name])
            if "image_size" in values:
                width, height = values["image_size"]
                values["image_size"] = (float(width), float(height))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"min_confidence and fps are numbers, image_size is (width, height): {error}"
            ) from error
        for name, allowed in (("missing", ("nan", "zeros", "minus-one")), ("y", ("down", "up"))):
            if values.get(name, allowed[0]) not in allowed:
                raise InputError(f"{name} is {values[name]!r}: choose from {', '.join(allowed)}")
        return cls(**values)


def adjusted(
    landmarks: Landmarks,
    wishes: Wishes,
    where: Path | str,
    threshold: float = 0.0,
    unit_range: bool | None = None,
) -> tuple[Landmarks, list[str]]:
    """The landmarks as the user wants them, and what was done, a line each.

    `threshold` is the confidence that the file's tool asks for, taken where the user names none; `unit_range` says
    whether coordinates are fractions of the image, None looks at them. Raises InputError.
    """
    notes: list[str] = []
    if wishes.missing != "nan":
        landmarks = _missing(landmarks, wishes.missing, notes)
    landmarks = _confident(landmarks, wishes.min_confidence, threshold, where, notes)
    size = wishes.image_size
    if size is not None:
        if len(size) != 2 or not all(np.isfinite(n) and n > 0 for n in size):
            raise InputError(f"{where}: --image-size takes width and height above 0, in pixels")
        if unit_range or (unit_range is None and in_unit_range(landmarks)):
            landmarks = landmarks.replace(
                points2d=(np.asarray(landmarks.points2d) * np.asarray(size, np.float32)).astype(np.float32)
            )
            notes.append(f"coordinates are fractions of the image: multiplied by {size[0]:g} x {size[1]:g}")
        else:
            notes.append("coordinates are no fractions of the image: --image-size changes nothing")
    elif unit_range:
        notes.append(
            "coordinates are fractions of the image, whose proportions are unknown: give --image-size WIDTH HEIGHT"
        )
    if wishes.y == "up":
        points = np.array(landmarks.points2d, np.float32)
        points[..., 1] = (0 if size is None else size[1] - 1) - points[..., 1]
        landmarks = landmarks.replace(points2d=np.where(np.asarray(landmarks.visible)[..., None], points, 0))
        notes.append("y was said to point up: turned around")
    if wishes.points is not None:
        landmarks = select_points(landmarks, wishes.points, where)
        notes.append(f"{landmarks.n_points} points kept")
    if wishes.rename is not None:
        landmarks = _renamed(landmarks, wishes.rename, where)
    if wishes.skeleton is not None:
        found = read_skeleton(wishes.skeleton, landmarks.names, landmarks.n_points)
        names = (
            landmarks.names
            if wishes.skeleton not in SKELETONS or landmarks.names is not None
            else found.names
        )
        pairs = np.array(symmetric_of(found.names), np.int32)
        landmarks = landmarks.replace(
            edges=np.array(found.edges, np.int32), names=names,
            symmetric=pairs if len(pairs) else landmarks.symmetric,
        )  # fmt: skip
        notes.append(f"skeleton {wishes.skeleton}: {len(found.edges)} edges")
    if wishes.fps is not None:
        if not 0 < wishes.fps < 1e6:
            raise InputError(f"{where}: --fps is {wishes.fps:g}: it must be above 0")
        landmarks = landmarks.replace(fps=float(wishes.fps))
    return landmarks, notes


def _hidden(landmarks: Landmarks, hide: np.ndarray) -> Landmarks:
    """The landmarks with some points missing."""
    visible = np.asarray(landmarks.visible) & ~hide
    points = np.where(visible[..., None], np.asarray(landmarks.points2d), 0).astype(np.float32)
    return landmarks.replace(visible=visible, points2d=points)


def _missing(landmarks: Landmarks, how: str, notes: list[str]) -> Landmarks:
    points = np.asarray(landmarks.points2d)
    hide = (points == 0).all(-1) if how == "zeros" else (points == -1).any(-1)
    hide &= np.asarray(landmarks.visible)
    notes.append(f"{hide.sum()} points ({100 * hide.mean():.1f} %) hold {how.replace('-', ' ')}: missing")
    return _hidden(landmarks, hide)


def _confident(
    landmarks: Landmarks, least: float | None, threshold: float, where: Path | str, notes: list[str]
):
    """Points under the threshold are missing."""
    own = least is None
    least = threshold if least is None else least
    if not 0 <= least <= 1:
        raise InputError(f"{where}: --min-confidence is {least:g}: it must be from 0 to 1")
    if landmarks.confidence is None:
        if not own and least > 0:
            notes.append("the file has no confidence: --min-confidence changes nothing")
        return landmarks
    if least == 0:
        return landmarks
    hide = np.asarray(landmarks.visible) & (np.asarray(landmarks.confidence) < least)
    whose = " (the tool's own threshold; --min-confidence says another)" if own else ""
    share = 100 * hide.sum() / max(np.asarray(landmarks.visible).sum(), 1)
    notes.append(f"confidence below {least:g} counts as missing: {share:.1f} % of the points{whose}")
    return _hidden(landmarks, hide)


def point_numbers(
    names: tuple[str, ...] | None, n_points: int, wanted: str | Sequence[str], where: Path | str
):
    """Numbers of the points that a user names. Raises InputError for one that there is not, and for doubles."""
    words = [w.strip() for w in wanted.split(",")] if isinstance(wanted, str) else [str(w) for w in wanted]
    numbers = []
    for word in [w for w in words if w]:
        if names is not None and word in names:
            numbers.append(names.index(word))
        elif word.isdigit() and int(word) < n_points:
            numbers.append(int(word))
        else:
            have = ", ".join(names[:20]) if names is not None else f"0 to {n_points - 1}"
            raise InputError(f"{where}: there is no point {word!r}: points are {have}")
    if not numbers or len(set(numbers)) < len(numbers):
        raise InputError(f"{where}: --points names {'a point twice' if numbers else 'no point'}")
    return np.array(numbers)


def select_points(landmarks: Landmarks, wanted: str | Sequence[str], where: Path | str) -> Landmarks:
    """Some of the points, in the order asked for; edges and pairs between them stay. Raises InputError."""
    keep = point_numbers(landmarks.names, landmarks.n_points, wanted, where)
    place = np.full(landmarks.n_points, -1)
    place[keep] = np.arange(len(keep))

    def pairs(value):
        if value is None:
            return None
        new = place[np.asarray(value)]
        new = new[(new >= 0).all(1)].astype(np.int32)
        return new if len(new) else None

    def columns(value):
        return None if value is None else np.asarray(value)[:, keep]

    return landmarks.replace(
        points2d=columns(landmarks.points2d), visible=columns(landmarks.visible),
        confidence=columns(landmarks.confidence), defined=columns(landmarks.defined), edges=pairs(landmarks.edges),
        symmetric=pairs(landmarks.symmetric),
        names=None if landmarks.names is None else tuple(landmarks.names[k] for k in keep),
    )  # fmt: skip


def _renamed(landmarks: Landmarks, rename: Any, where: Path | str) -> Landmarks:
    """Other names; left-right pairs are found anew."""
    if not isinstance(rename, Mapping):
        from jnrsfm.config import read_yaml

        rename = read_yaml(Path(rename))
    old = landmarks.names if landmarks.names is not None else tuple(map(str, range(landmarks.n_points)))
    mapping = {str(k): str(v) for k, v in rename.items()}
    unknown = [k for k in mapping if k not in old]
    if unknown:
        raise InputError(
            f"{where}: --rename: there is no point {unknown[0]!r}: points are {', '.join(old[:20])}"
        )
    names = tuple(mapping.get(n, n) for n in old)
    if len(set(names)) < len(names):
        raise InputError(f"{where}: --rename gives one name to two points: mend it")
    pairs = np.array(symmetric_of(names), np.int32)
    return landmarks.replace(names=names, symmetric=pairs if len(pairs) else landmarks.symmetric)


def in_unit_range(landmarks: Landmarks) -> bool:
    """Whether coordinates look like fractions of an image: nearly all from 0 to 1, and not centred."""
    seen = np.asarray(landmarks.points2d)[np.asarray(landmarks.visible)]
    if len(seen) < 8:
        return False
    inside = ((seen >= 0) & (seen <= 1)).all(-1).mean()
    return bool(inside > 0.98 and np.abs(seen).max() < 3 and seen.mean() > 0.1)


def remarks(landmarks: Landmarks) -> list[str]:
    """What is probably wrong with the coordinates, one line each with what to do; none where all looks well."""
    points, visible = np.asarray(landmarks.points2d), np.asarray(landmarks.visible)
    step = 1 + points.shape[0] * points.shape[1] // 200_000  # a sample says enough of a large set
    points, visible = points[::step], visible[::step]
    n = max(int(visible.sum()), 1)
    found = []
    zero = int(((points == 0).all(-1) & visible).sum())
    spread = np.ptp(points[visible], axis=0).max() if visible.any() else 0.0
    if zero / n >= 0.01 and zero >= 8 and spread > 0:
        found.append(
            f"{100 * zero / n:.1f} % of the points sit at exactly (0, 0), which mostly means missing: say "
            "--missing zeros (in Python missing='zeros'), or store NaN"
        )
    minus = int(((points == -1).any(-1) & visible).sum())
    if minus / n >= 0.01 and minus >= 8:
        found.append(
            f"{100 * minus / n:.1f} % of the points have a coordinate of exactly -1, which mostly means missing: say "
            "--missing minus-one (in Python missing='minus-one'), or store NaN"
        )
    if not zero and not minus and visible.any():
        values, counts = np.unique(points[visible].round(4), axis=0, return_counts=True)
        most = int(counts.argmax())
        if counts[most] / n >= 0.1 and counts[most] >= 20 and len(values) > 1:
            found.append(
                f"{100 * counts[most] / n:.1f} % of the points sit at one place, ({values[most][0]:g}, "
                f"{values[most][1]:g}): if that means missing, store NaN there"
            )
    if in_unit_range(landmarks):
        found.append(
            "coordinates run from 0 to 1, as fractions of width and height do: say --image-size WIDTH HEIGHT "
            "(in Python image_size=(w, h)), or the shape is squeezed"
        )
    return found
