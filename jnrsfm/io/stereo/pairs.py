"""A folder of frame pairs with disparity and flow, stored compactly: written part by part, read by number.

`index.json` says what is there; `part_00000.npz` holds `first` and `second (pair, y, x, 3)` uint8, `disparity (pair, y,
x)` and `flow (pair, y, x, 2)` int16 in units of 1/32 and 1/16 pixel, and `valid`, packed bits. A part is written whole
and then listed: what is not listed is not there.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import runs
from jnrsfm.errors import InputError
from jnrsfm.io import _archive

INDEX = "index.json"
NAMES = ("first", "second", "disparity", "flow", "valid")
DISPARITY, FLOW = 32.0, 16.0  # steps of a pixel


def stored(first, second, disparity, flow, valid) -> tuple[np.ndarray, ...]:
    """A pair in the types of the file."""
    steps = lambda x, unit: np.clip(np.round(x * unit), -32767, 32767).astype(np.int16)
    return first, second, steps(disparity, DISPARITY), steps(flow, FLOW), np.packbits(valid, axis=-1)


def packed(rows: list[tuple[np.ndarray, ...]]) -> bytes:
    """A part as bytes, of pairs as `stored` gives them. Deflated at the quickest level."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for i, name in enumerate(NAMES):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.stack([row[i] for row in rows]))
    return stream.getvalue()


class PairSet:
    """Frame pairs of a folder. `len`, and by number `{"first", "second", "disparity", "flow", "valid"}`."""

    def __init__(self, folder: Path, index: dict[str, Any]):
        self.folder, self.index = folder, index
        self.parts = index["parts"]
        self.starts = np.cumsum([0, *(p["pairs"] for p in self.parts)])
        self._at: tuple[int, dict[str, np.ndarray]] | None = None

    def __len__(self) -> int:
        """Number of pairs."""
        return int(self.starts[-1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture."""
        return (int(self.index["size"][0]), int(self.index["size"][1]))

    @property
    def shots(self) -> np.ndarray:
        """`(pair,)` number of the shot that each pair is from."""
        return np.repeat([p["shot"] for p in self.parts], [p["pairs"] for p in self.parts]).astype(int)

    def read(self, number: int) -> dict[str, np.ndarray]:
        """A pair: pictures uint8, `disparity (y, x)` and `flow (y, x, 2)` float32 in pixels, `valid (y, x)` bool.
        Raises InputError."""
        if not 0 <= number < len(self):
            raise InputError(f"{self.folder}: has pairs 0 to {len(self) - 1}, not {number}")
        part = int(np.searchsorted(self.starts, number, side="right") - 1)
        if self._at is None or self._at[0] != part:
            self._at = (part, self._part(part))
        stored, i = self._at[1], number - int(self.starts[part])
        wide = self.size[0]
        return {
            "first": stored["first"][i], "second": stored["second"][i],
            "disparity": stored["disparity"][i].astype(np.float32) / np.float32(DISPARITY),
            "flow": stored["flow"][i].astype(np.float32) / np.float32(FLOW),
            "valid": np.unpackbits(stored["valid"][i], axis=-1)[:, :wide].astype(bool),
        }  # fmt: skip

    def _part(self, part: int) -> dict[str, np.ndarray]:
        path = self.folder / self.parts[part]["file"]
        _archive.check_sizes(path)
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                found = {name: file[name] for name in NAMES}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: cannot be read ({error}): convert the video again") from error
        count, (wide, high) = self.parts[part]["pairs"], self.size
        if found["disparity"].shape != (count, high, wide) or found["first"].shape != (count, high, wide, 3):
            raise InputError(f"{path}: is not what {INDEX} says: convert the video again")
        return found


def read_index(folder: Path) -> dict[str, Any] | None:
    """The index of a folder, None where there is none. Raises InputError for one that is damaged."""
    path = folder / INDEX
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        if found["kind"] != "stereo pairs" or not {"done", "shots", "static", "next"} <= found.keys():
            raise ValueError("another kind of file")
        for part in found["parts"]:
            if Path(part["file"]).name != part["file"] or len(part["frames"]) != part["pairs"]:
                raise ValueError("a part is not what it says")
        if found["shots"] is not None and not all(
            isinstance(x, int) for x in (found["size"][0], found["size"][1])
        ):
            raise ValueError("it has no size")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: is no index of stereo pairs ({error}): name another folder") from error
    return found


def holds_pairs(folder: str | Path) -> bool:
    """Whether this is a folder of stereo pairs, finished or not."""
    path = Path(folder).expanduser() / INDEX
    try:
        return path.is_file() and json.loads(path.read_text()).get("kind") == "stereo pairs"
    except (OSError, ValueError, AttributeError):
        return False


def read_pairs(folder: str | Path) -> PairSet:
    """The pairs of a folder that `jnrsfm convert VIDEO FOLDER --stereo ...` made. Raises InputError."""
    folder = Path(folder).expanduser()
    index = read_index(folder)
    if index is None:
        raise InputError(
            f"{folder}: holds no {INDEX}: make it by jnrsfm convert VIDEO {folder} --stereo side-by-side"
        )
    if not index["done"]:
        raise InputError(f"{folder}: its conversion has not finished: run it again, it goes on")
    return PairSet(folder, index)


def write_index(folder: Path, index: dict[str, Any]) -> None:
    """Write the index, whole or not at all."""
    runs.write_json(folder / INDEX, index)
