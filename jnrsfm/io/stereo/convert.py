"""From a stereo video to a folder of frame pairs; what is stopped goes on where it was."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import runs
from jnrsfm.errors import InputError
from jnrsfm.io.stereo import pairs, shots
from jnrsfm.io.stereo.frames import StereoFrames
from jnrsfm.io.stereo.matching import Matcher
from jnrsfm.io.stereo.settings import StereoSettings
from jnrsfm.io.stereo.shots import REASONS, Shot

Say = Callable[[str, int, int], None]


def convert_stereo(
    files: Any, folder: str | Path, settings: StereoSettings | None = None, say: Say | None = None
) -> dict[str, Any]:
    """Cut a stereo video (a file, or one for each eye) into shots, refuse those whose stereo is of no use, and store
    the frame pairs of the others with disparity and flow in `folder` (`stereo.pairs`). Returns its index.

    Frames are decoded one by one and stored by parts: memory does not grow with the video. A conversion that was
    stopped goes on after its last part; `say(stage, done, count)` is called for each frame. Raises InputError for what
    is no video, for a folder of another conversion, and where no shot is of use, with the reasons.
    """
    settings = settings or StereoSettings()
    files = [Path(f).expanduser() for f in (files if isinstance(files, list | tuple) else [files])]
    if len(files) != (2 if settings.layout == "files" else 1):
        raise InputError(
            f"{len(files)} videos for the layout {settings.layout!r}: give "
            + ("one for each eye" if settings.layout == "files" else "one, or say --stereo files")
        )
    folder, say = Path(folder).expanduser(), say or (lambda stage, done, count: None)
    matcher = Matcher()  # says at once what is not installed
    frames = StereoFrames(files, settings)
    try:
        return _convert(files, frames, folder, settings, matcher, say)
    finally:
        frames.close()


def _convert(
    files: list[Path], frames: StereoFrames, folder: Path, settings: StereoSettings, matcher: Matcher, say: Say
) -> dict[str, Any]:  # fmt: skip
    about = {"settings": dataclasses.asdict(settings), "videos": [_mark(f) for f in files]}
    index = _opened(folder, about)
    if index["done"]:
        return index
    if index["shots"] is None:
        found = shots.cuts(frames, settings, say)
        for i, shot in enumerate(found):
            found[i] = shots.judged(shot, frames, settings, matcher)
            say("judging", i + 1, len(found))
        other, sure = shots.swapped(found)
        if settings.eyes != "auto":
            other = settings.eyes == "right-left"
        index |= {
            "shots": [dataclasses.asdict(s) for s in found], "swapped": other, "order_evidence": sure,
            "layout": frames.layout, "size": list(frames.size), "fps": frames.fps, "frames": frames.count,
        }  # fmt: skip
        if not any(s.reason is None for s in found):
            raise InputError(f"{files[0]}: no shot is of use: {_counted(found)}")
        pairs.write_index(folder, index)
    good = [(i, Shot(**s)) for i, s in enumerate(index["shots"]) if s["reason"] is None]
    total = sum(s.last - s.first for _, s in good)
    stored = index["next"]  # [shot, frame] that comes next
    done = 0
    for number, shot in good:
        if number < stored[0]:
            done += shot.last - shot.first
            continue
        first = max(shot.first, stored[1]) if number == stored[0] else shot.first
        done += first - shot.first
        part = _Part()
        for frame, eyes, after, flow in shots.moving(
            dataclasses.replace(shot, first=first), frames, settings, matcher, index["swapped"]
        ):
            if flow is None:
                part.static += 1
            else:
                part.add(frame, eyes, after, flow, matcher, settings)
            done += 1
            say("storing", done, total)
            if len(part.numbers) == settings.part:
                part = _written(folder, index, part, number, frame + 1)
        _written(folder, index, part, number, shot.last)
    if not index["parts"]:
        raise InputError(
            f"{files[0]}: nothing moves by {settings.flow:g} pixels in the shots that are of use: lower --flow"
        )
    index["done"] = True
    pairs.write_index(folder, index)
    return index


class _Part:
    """Pairs on their way into a file."""

    def __init__(self):
        self.numbers: list[int] = []
        self.static = 0
        self.rows: list[tuple[np.ndarray, ...]] = []

    def add(self, number, eyes, after, flow, matcher, settings) -> None:
        """One pair of moving frames, with its disparity, as it is stored."""
        found = matcher.stereo(*eyes)
        valid = found.consistent(settings.check) & (np.abs(found.vertical) <= settings.vertical)
        self.numbers.append(number)
        self.rows.append(pairs.stored(eyes[0], after[0], found.disparity, flow, valid))


def _written(folder: Path, index: dict[str, Any], part: _Part, shot: int, following: int) -> _Part:
    """Write a part and list it; the next, empty one. `following`: the frame that comes next."""
    if part.numbers:
        name = f"part_{len(index['parts']):05d}.npz"
        data = pairs.packed(part.rows)
        runs.write_file(folder / name, data)
        listed = {"file": name, "pairs": len(part.numbers), "shot": shot, "frames": part.numbers}
        index["parts"] = [*index["parts"], listed]
    index["static"] += part.static
    index["next"] = [shot, following]
    pairs.write_index(folder, index)
    return _Part()


def _opened(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The index to go on from, or a new one. Raises InputError for a folder of other settings or another video."""
    index = pairs.read_index(folder)
    if index is not None:
        changed = [name for name in about if index.get(name) != about[name]]
        if changed:
            raise InputError(
                f"{folder}: holds a conversion of other {' and '.join(changed)}: name a new folder"
            )
        return index
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is no conversion of stereo: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "kind": "stereo pairs",
        **about,
        "done": False,
        "shots": None,
        "parts": [],
        "static": 0,
        "next": [0, 0],
    }


def _mark(path: Path) -> dict[str, Any]:
    """What a video is known by: its name, size, and the hash of its first megabyte."""
    if not path.is_file():
        raise InputError(f"{path}: no such video: check the name")
    with open(path, "rb") as file:
        head = hashlib.sha256(file.read(1 << 20)).hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": head}


def _counted(found: list[Shot]) -> str:
    counts = Counter(s.reason for s in found if s.reason is not None)
    return "; ".join(f"{n} of {len(found)}: {REASONS[r]}" for r, n in counts.most_common())


def samples(
    files: list[Path], folder: Path, index: dict[str, Any], kept: int, refused: int
) -> Iterator[tuple[str, list[np.ndarray], tuple[np.ndarray, np.ndarray] | None]]:
    """`(caption, pictures, (disparity, valid))` for a page: pairs spread over those that are stored; then the middle
    frames of refused shots, both eyes, with None."""
    found = pairs.PairSet(folder, index)
    numbers = [n for p in found.parts for n in p["frames"]]
    for i in np.unique(np.linspace(0, len(found) - 1, kept).round().astype(int)).tolist():
        pair = found.read(i)
        yield f"frame {numbers[i]}", [pair["first"]], (pair["disparity"], pair["valid"])
    frames = StereoFrames(files, StereoSettings(**index["settings"]))
    try:
        for shot in [Shot(**s) for s in index["shots"] if s["reason"] is not None][:refused]:
            assert shot.reason is not None
            caption = f"frames {shot.first} to {shot.last}: {REASONS[shot.reason]}"
            yield caption, list(frames.read(shot.middle)), None
    finally:
        frames.close()


def summary(index: dict[str, Any]) -> str:
    """What was kept, and why the rest was not, in a few lines."""
    found = [Shot(**s) for s in index["shots"]]
    kept = sum(s.reason is None for s in found)
    (wide, high), count = index["size"], sum(p["pairs"] for p in index["parts"])
    lines = [
        f"{index['frames']} frames in {len(found)} shots, {kept} of use; {count} pairs of {wide} x {high} stored, "
        f"{index['static']} static ones left out"
    ]
    if kept < len(found):
        lines.append(f"refused: {_counted(found)}")
    order = "right, left: turned" if index["swapped"] else "left, right"
    if index["order_evidence"] < shots.UNSURE and index["settings"]["eyes"] == "auto":
        order += " (hardly anything tells; --eyes says it)"
    lines.append(f"layout {index['layout']}; eyes: {order}")
    return "\n".join(lines)
