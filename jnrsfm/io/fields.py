"""From raw arrays by key, as a file holds them, to checked fields: the common ground of the readers.

Every refusal is one `InputError` line with the file, the key, what is wrong and what to do.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.types import CAMERA_MODELS

# Squares of coordinates, summed over points, must stay within float32.
LARGEST = 1e15


def frames_text(mask, noun: str = "frame", nouns: str = "frames") -> str:
    """ "frame 3" or "frames 3, 7, 9 and 12 more" (counting from 0) for a boolean mask over frames."""
    index = np.flatnonzero(mask)
    if len(index) == 1:
        return f"{noun} {index[0]}"
    first = ", ".join(str(i) for i in index[:5])
    return f"{nouns} {first}" + (f" and {len(index) - 5} more" if len(index) > 5 else "")


@dataclasses.dataclass
class Fields:
    """The arrays of one file by key, with `where` naming the file in errors.

    Shapes are given as tuples of integers and letters; a letter is bound to the size that it first meets
    (`F` frames and `P` points by `points2d` or `points3d`).
    """

    where: str
    arrays: Mapping[str, np.ndarray]
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)  # the file's own names of keys
    present: Sequence[str] = ()  # all keys of the file, also those that nobody reads

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def error(self, key: str, text: str) -> InputError:
        """The error to raise about one key."""
        return InputError(f"{self.where}: key '{self.labels.get(key, key)}': {text}")

    def first(self, *keys: str) -> str | None:
        """Which of the keys (names of the same thing) the file has."""
        return next((k for k in keys if k in self.arrays), None)

    def require(self, key: str, hint: str = "") -> None:
        """Raise InputError where the key is absent, naming those at hand and a near miss."""
        if key in self.arrays:
            return
        have = sorted({*self.arrays, *self.present})
        near = difflib.get_close_matches(key, have, n=1, cutoff=0.6)
        found = (
            f"it has {', '.join(have[:12])}{' ...' if len(have) > 12 else ''}" if have else "it has no keys"
        )
        advice = f"; rename '{near[0]}'?" if near else ""
        raise InputError(f"{self.where}: key '{key}' is absent ({found}){advice}{hint}")

    def shape(self, key: str, *shapes: Sequence[int | str]) -> np.ndarray:
        """The array, checked against the allowed shapes; letters are bound by the first match."""
        array = np.asarray(self.arrays[key])
        for shape in shapes:
            if array.ndim != len(shape):
                continue
            sizes = dict(self.sizes)
            if all(
                n == (want if isinstance(want, int) else sizes.setdefault(want, n))
                for n, want in zip(array.shape, shape, strict=True)
            ):
                self.sizes = sizes
                return array
        wanted = " or ".join(
            "(" + ", ".join(str(self.sizes.get(str(w), w)) for w in s) + ("," if len(s) == 1 else "") + ")"
            for s in shapes
        )
        hint = ""
        if array.ndim == 3 and shapes[0][-1] in (2, 3) and array.shape[-1] != shapes[0][-1]:
            hint = ": put the coordinates last, points in the middle, frames first"
        raise self.error(key, f"has shape {array.shape}, expected {wanted}{hint}")

    def floats(self, key: str, *shapes: Sequence[int | str], nan: bool = False) -> np.ndarray:
        """Float32 array of one of the shapes. Integers are converted; NaN passes only where `nan` is set."""
        array = self.shape(key, *shapes)
        if array.dtype.kind not in "fiu":
            kind = {"U": "text", "S": "text", "c": "complex numbers", "b": "booleans"}.get(array.dtype.kind)
            raise self.error(key, f"holds {kind or array.dtype}, expected real numbers: store it as float32")
        array = array.astype(np.float64) if array.dtype.itemsize > 8 else array
        bad = ~np.isfinite(array)
        if nan:
            bad &= ~np.isnan(array)
        if bad.any():
            what = "infinite" if nan else "NaN or infinite"
            raise self.error(
                key, f"{what} at index {tuple(int(i) for i in np.argwhere(bad)[0])}: mend the value"
            )
        with np.errstate(invalid="ignore"):
            large = np.abs(array) > LARGEST
        if large.any():
            index = tuple(int(i) for i in np.argwhere(large)[0])
            raise self.error(key, f"a value above {LARGEST:g} at index {index}: rescale or mend the data")
        return array.astype(np.float32)

    def integers(self, key: str, *shapes: Sequence[int | str]) -> np.ndarray:
        """Int64 array of one of the shapes; whole floats are converted."""
        array = self.shape(key, *shapes)
        if (
            array.dtype.kind == "f"
            and array.size
            and np.isfinite(array).all()
            and (array == np.round(array)).all()
        ):
            if np.abs(array).max() < 2**53:
                array = array.astype(np.int64)
        elif array.dtype.kind == "f" and not array.size:
            array = array.astype(np.int64)
        if array.dtype.kind not in "iu":
            raise self.error(key, f"expected whole numbers, found {array.dtype}")
        if array.size and (array.max() > 2**31 - 1 or array.min() < -(2**31)):
            raise self.error(key, "a number beyond the 32-bit range: mend the value")
        return array.astype(np.int64)

    def mask(self, key: str, *shapes: Sequence[int | str]) -> np.ndarray:
        """Boolean array of one of the shapes; 0 and 1 of any numeric type are converted."""
        array = self.shape(key, *shapes)
        if array.dtype.kind == "b":
            return array
        if array.dtype.kind not in "fiu":
            raise self.error(key, f"expected true and false, found {array.dtype}")
        if not np.isin(array, (0, 1)).all():
            raise self.error(key, "holds values other than 0 and 1: store a score in [0, 1] as 'confidence'")
        return array != 0

    def texts(self, key: str, *shapes: Sequence[int | str]) -> np.ndarray:
        """Array of str of one of the shapes; bytes are decoded as UTF-8."""
        array = self.shape(key, *shapes)
        if array.dtype.kind == "S":
            try:
                array = np.char.decode(array, "utf-8")
            except UnicodeDecodeError as error:
                raise self.error(key, "is not UTF-8 text: store it as str") from error
        if array.dtype.kind != "U":
            raise self.error(key, f"expected text, found {array.dtype}")
        # A damaged file can hold codes of no character, on which NumPy raises SystemError.
        codes = np.frombuffer(array.tobytes(), ">u4" if array.dtype.byteorder == ">" else "u4")
        if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
            raise self.error(key, "is not valid Unicode text: store it as str")
        return array


def read_names(fields: Fields, key: str = "names") -> tuple[str, ...] | None:
    """One name for each point."""
    if key not in fields:
        return None
    array = np.asarray(fields.arrays[key])
    if array.ndim == 1 and "P" in fields.sizes and len(array) != fields.sizes["P"]:
        raise fields.error(key, f"{len(array)} names for {fields.sizes['P']} points: give one for each point")
    return tuple(str(n) for n in fields.texts(key, ("P",)))


def check_pairs(pairs: np.ndarray, n_points: int, where: str, key: str) -> None:
    """Raise InputError where point pairs (edges, symmetric) are out of range or tie a point to itself."""
    if not len(pairs):
        return
    low, high = int(pairs.min()), int(pairs.max())
    if low < 0 or high >= n_points:
        bad = high if high >= n_points else low
        row = int(np.argwhere((pairs == bad).any(1))[0, 0])
        hint = "; they look 1-based: subtract 1" if low >= 1 and high == n_points else ""
        raise InputError(
            f"{where}: key '{key}': row {row} names point {bad}, but points are 0 to {n_points - 1}{hint}"
        )
    same = pairs[:, 0] == pairs[:, 1]
    if same.any():
        row = int(np.flatnonzero(same)[0])
        raise InputError(f"{where}: key '{key}': row {row} ties point {pairs[row, 0]} to itself: remove it")


def read_pairs(fields: Fields, key: str) -> np.ndarray | None:
    """`(n, 2)` int32 point pairs, 0-based; None where absent or empty."""
    if key not in fields or not np.size(fields.arrays[key]):
        return None
    pairs = fields.integers(key, ("pairs of " + key, 2))
    check_pairs(pairs, fields.sizes["P"], fields.where, key)
    return pairs.astype(np.int32)


def read_sequence(fields: Fields, key: str) -> np.ndarray:
    """`(frame,)` int32 clip ids. Text becomes codes in order of appearance.

    A clip that comes back after another began is split: its pieces become clips of their own, all
    relabelled 0, 1, ... in order, because nothing says that the pieces follow each other in time.
    """
    if np.asarray(fields.arrays[key]).dtype.kind in "US":
        labels = np.unique(fields.texts(key, ("F",)), return_inverse=True)[1].astype(np.int64)
        relabel = True
    else:
        labels = fields.integers(key, ("F",))
        relabel = False
    starts = np.r_[True, labels[1:] != labels[:-1]] if len(labels) else np.zeros(0, bool)
    if relabel or starts.sum() != len(np.unique(labels)):
        labels = np.cumsum(starts) - 1
    return labels.astype(np.int32)


def read_category(fields: Fields) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """`(frame,)` int32 codes and the class names.

    `category` is one text for all frames, one for each frame, or integer codes into `categories`. The
    order of the names is that of `categories` (or `category_order`) where given, else alphabetical.
    """
    key = fields.first("categories", "category_order")
    names = None if key is None else [str(n) for n in fields.texts(key, ("C",))]
    if "category" not in fields:
        return None, None
    if np.asarray(fields.arrays["category"]).dtype.kind in "US":
        labels = np.broadcast_to(fields.texts("category", (), ("F",)), (fields.sizes["F"],))
        names = sorted(set(labels.tolist())) if names is None else names
        unknown = sorted(set(labels.tolist()) - set(names))
        if unknown:
            raise fields.error("category", f"{unknown[0]!r} is not among '{key}': add it there")
        lookup = {n: i for i, n in enumerate(names)}
        codes: np.ndarray = np.array([lookup[c] for c in labels.tolist()], np.int32)
    else:
        codes = np.broadcast_to(fields.integers("category", (), ("F",)), (fields.sizes["F"],))
        if names is None:
            values = np.unique(codes)
            names, codes = [str(v) for v in values], np.searchsorted(values, codes)
        elif len(codes) and (codes.min() < 0 or codes.max() >= len(names)):
            raise fields.error("category", f"codes must be 0 to {len(names) - 1}, one for each of '{key}'")
    return np.ascontiguousarray(codes, np.int32), tuple(names)


def read_text(fields: Fields, key: str, default: str) -> str:
    """One text, or the default where absent."""
    return str(fields.texts(key, (), (1,)).reshape(())) if key in fields else default


def read_camera(fields: Fields) -> str | None:
    """The camera model that the file names."""
    if "camera" not in fields:
        return None
    camera = read_text(fields, "camera", "")
    if camera not in CAMERA_MODELS:
        raise fields.error("camera", f"{camera!r} is unknown: use one of {', '.join(CAMERA_MODELS)}")
    return camera


def read_intrinsics(fields: Fields, key: str = "intrinsics") -> np.ndarray | None:
    """`(3, 3)` or `(frame, 3, 3)` float32 pinhole matrices."""
    if key not in fields:
        return None
    k = fields.floats(key, (3, 3), ("F", 3, 3))
    check_intrinsics(k, f"{fields.where}: key '{key}'")
    return k


def check_intrinsics(k: np.ndarray, where: str) -> None:
    """Raise InputError for a pinhole matrix that is not upper triangular with focal lengths > 0, 1 last."""
    all_k = np.asarray(k).reshape(-1, 3, 3)
    wrong = ~np.isclose(all_k[:, 2], [0.0, 0.0, 1.0], atol=1e-4).all(1)
    if wrong.any():
        hint = (
            " (it looks transposed)" if np.isclose(all_k[wrong][0][:, 2], [0, 0, 1], atol=1e-4).all() else ""
        )
        raise InputError(
            f"{where}: the last row must be 0 0 1, wrong at {frames_text(wrong, 'matrix', 'matrices')}{hint}"
        )
    wrong = np.abs(all_k[:, 1, 0]) > 1e-4 * np.abs(all_k[:, 0, 0])
    if wrong.any():
        raise InputError(
            f"{where}: entry (1, 0) must be 0, wrong at {frames_text(wrong, 'matrix', 'matrices')}"
        )
    flat = (all_k[:, 0, 0] <= 0) | (all_k[:, 1, 1] <= 0)
    if flat.any():
        raise InputError(
            f"{where}: the focal lengths must be above 0, wrong at {frames_text(flat, 'matrix', 'matrices')}"
        )


def read_rotations(fields: Fields, key: str, used: np.ndarray | None = None) -> np.ndarray:
    """`(frame, 3, 3)` float32 proper rotations; frames outside the mask `used` may hold anything."""
    r = fields.floats(key, ("F", 3, 3), nan=True)
    used = np.ones(len(r), bool) if used is None else used
    r = np.where(used[:, None, None], r, np.eye(3, dtype=np.float32))
    gram = np.einsum("fij,fkj->fik", r, r)
    bad = ~np.isclose(gram, np.eye(3), atol=1e-3).all((1, 2))
    if bad.any():
        raise fields.error(key, f"{frames_text(bad)}: not a rotation (R R^T is not the identity)")
    improper = np.linalg.det(r) < 0
    if improper.any():
        raise fields.error(key, f"{frames_text(improper)}: determinant -1: give proper rotations")
    return r


def reject_typos(fields: Fields, wanted: Sequence[str], known: Sequence[str], present: Sequence[str]) -> None:
    """Raise InputError for a key that is not `known` and almost a `wanted` one that the file lacks.

    A misspelt `visible` would otherwise pass unread and every gap would count as data.
    """
    aliases = {"visibility": "visible", "vis": "visible", "mask": "visible", "score_2d": "confidence"}
    aliases |= {"scores": "confidence", "likelihood": "confidence", "K": "intrinsics", "skeleton": "edges"}
    absent = [k for k in wanted if k not in present]
    for key in present:
        if key in known:
            continue
        near = [aliases[key]] if key in aliases else difflib.get_close_matches(key, absent, n=1, cutoff=0.85)
        if near and near[0] in absent:
            raise InputError(f"{fields.where}: key '{key}' is unknown: rename it to '{near[0]}' or remove it")
