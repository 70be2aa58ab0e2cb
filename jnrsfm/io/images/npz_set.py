"""A folder of images and one npz: the arrays of the landmark schema, and which image each row is of.

Keys (`N` images, `P` points, `C` cameras): `files (N,)` is required; those of `jnrsfm.io.npz` (`points2d (N, P, 2)`,
`visible`, `names`, `edges`, `symmetric`, `category`, `sequence`, `fps`, ...) where there are labels. Besides:
`image_size (2,)` or `image_sizes (N, 2)`, width and height; `time (N,)`, from which clips are made; `individual`,
`track` or `fly (N,)`, who is seen, each a clip of its own; `score` for `confidence` (cut at 1); `swap (P,)`, each
point's left-right partner, for `symmetric`; `split (N,)` text; `boxes (N, 4)`; `masks (N, height, width)`, whole or
packed along the last axis by `numpy.packbits`. Several cameras: `files (N, C)`, `points2d (N, C, P, 2)` and so on,
`intrinsics (C, 3, 3)`, `camera_names (C,)`.

The npz lies beside the folder under its name (`mouse/`, `mouse.npz`) or in it.
"""

import dataclasses
import itertools
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.fields import Fields, read_category, read_sequence
from jnrsfm.io.images.record import assembled, image_files, pixels_of, unlabelled
from jnrsfm.io.npz import load_fields
from jnrsfm.io.schema import LANDMARK_KEYS, landmarks_from_fields, read_fps
from jnrsfm.types import LabelledImages

PER_IMAGE = ("points2d", "visible", "confidence", "score", "defined")
"""Keys with an axis of cameras where there are several."""
OWN_KEYS = (
    "files", "image_size", "image_sizes", "time", "individual", "track", "fly", "score", "swap", "split", "boxes",
    "masks", "camera_names",
)  # fmt: skip
JUMP = 4.0
"""A step in time of more than this times the usual one begins a new clip."""


@dataclasses.dataclass(frozen=True, eq=False)
class PackedMasks:
    """Masks in memory as bits, `bits (mask, height, ceil(width / 8))`; `sizes (mask, 2)`. Read as 0 and 255."""

    bits: np.ndarray
    sizes: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Their numbers."""
        return tuple(f"mask {i}" for i in range(len(self.bits)))

    def read(self, number: int) -> np.ndarray:
        """Mask `number`, uint8 `(height, width, 3)`."""
        flat = np.unpackbits(self.bits[number], axis=-1)[:, : int(self.sizes[number, 0])]
        return np.repeat(flat[..., None] * np.uint8(255), 3, axis=-1)


def find(path: Path) -> Path | None:
    """The npz of an image set: `path` itself, beside the folder under its name, or the only one inside."""
    if path.is_file():
        return path if _lists_files(path) else None
    if not path.is_dir():
        return None
    folder = path.resolve()
    beside = folder.with_name(folder.name + ".npz")
    inside = [f for f in sorted(folder.glob("*.npz")) if _lists_files(f)]
    if beside.is_file() and _lists_files(beside):
        inside.append(beside)
    if len(inside) > 1:
        raise InputError(
            f"{path}: labels stand in {inside[0].name} and in {inside[1].name}: name the one to read"
        )
    return inside[0] if inside else None


def _lists_files(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "files.npy" in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def read(
    path: Path, *, camera: str | int | None = None, split: str | None = None, outside: str = "refuse"
) -> LabelledImages:
    """The images of one camera, or of all, camera by camera; of one split, or of all. Raises InputError.

    Where there is a `time`, images are put in clips: one for each camera, individual and split, cut where time does
    not grow or jumps.
    """
    file = find(path)
    if file is None:
        raise InputError(f"{path}: has no npz with the key 'files': it names the image of each row of labels")
    fields = load_fields(file, (*LANDMARK_KEYS, *OWN_KEYS))
    folder = path if path.is_dir() else file.with_suffix("")
    roots = [r for r in (folder, file.with_suffix(""), file.parent, file.parent / "images") if r.is_dir()]
    names = fields.texts("files", ("N",), ("N", "C"))
    if not names.size:
        raise InputError(f"{file}: key 'files' is empty: there is no image")
    groups: dict[str, np.ndarray] = {}
    if names.ndim == 2:
        fields, groups["camera"] = _by_camera(fields, names, camera)
    elif camera is not None:
        raise InputError(f"{file}: was taken by one camera: leave out the option camera")
    files = image_files([str(n) for n in fields.arrays["files"]], roots, file)
    n = len(files)
    fields.sizes = {"N": n, "F": n}
    pixels = pixels_of(files)
    for key in ("individual", "track", "fly", "split"):
        if key in fields:
            groups[key] = np.unique(fields.shape(key, ("N",)), return_inverse=True)[1]
    order = _order(fields, groups, split)
    landmarks = _landmarks(fields, n, len(names))
    images = assembled(
        file,
        pixels,
        landmarks,
        fields.floats("boxes", ("N", 4), nan=True) if "boxes" in fields else None,
        _masks(fields, pixels),
        _stated(fields, n),
        outside,
    )
    if not np.array_equal(order, np.arange(n)):
        images = images.select(order)
    if "time" in fields and fields.first("sequence", "clip") is None:
        time = fields.floats("time", ("N",))[order]
        sequence = clips(time, [g[order] for g in groups.values()])
        images = images.replace(landmarks=images.landmarks.replace(sequence=sequence))
    return images


def _by_camera(fields: Fields, names: np.ndarray, camera: str | int | None) -> tuple[Fields, np.ndarray]:
    """The arrays of the chosen cameras one after the other, and which camera each row is of."""
    n, count = names.shape
    called = [str(c) for c in range(count)]
    if "camera_names" in fields:
        called = [str(c) for c in fields.texts("camera_names", ("C",))]
    chosen = list(range(count))
    if camera is not None:
        text = str(camera)
        if text not in called and not (text.isdigit() and int(text) < count):
            raise InputError(f"{fields.where}: no camera {text!r}: choose from {', '.join(called)}")
        chosen = [called.index(text) if text in called else int(text)]
    arrays: dict[str, Any] = {}
    for key, value in fields.arrays.items():
        value = np.asarray(value)
        if key == "files" or (key in PER_IMAGE and value.ndim > 1):
            if value.shape[:2] != (n, count):
                raise fields.error(key, f"has shape {value.shape}, but files says ({n}, {count}, ...)")
            arrays[key] = np.concatenate([value[:, c] for c in chosen])
        elif key == "intrinsics":
            if value.shape != (count, 3, 3):
                raise fields.error(
                    key, f"has shape {value.shape}, expected ({count}, 3, 3): one for each camera"
                )
            arrays[key] = value[chosen[0]] if len(chosen) == 1 else np.repeat(value[chosen], n, axis=0)
        elif key in (
            "camera_names",
            "image_size",
            "names",
            "edges",
            "symmetric",
            "swap",
            "fps",
            "categories",
        ):
            arrays[key] = value
        elif value.ndim and len(value) == n:
            arrays[key] = np.concatenate([value] * len(chosen))
        else:
            arrays[key] = value
    return Fields(fields.where, arrays), np.repeat(np.arange(count)[chosen], n)


def _order(fields: Fields, groups: dict[str, np.ndarray], split: str | None) -> np.ndarray:
    """Which images, and in which order: those of a clip together."""
    n = fields.sizes["N"]
    kept = np.arange(n)
    if split is not None:
        if "split" not in fields:
            raise InputError(f"{fields.where}: has no key 'split': leave out the option split")
        texts = fields.texts("split", ("N",))
        if split not in texts:
            raise InputError(
                f"{fields.where}: no split {split!r}: choose from {', '.join(sorted(set(texts.tolist())))}"
            )
        kept = np.flatnonzero(texts == split)
    if "time" not in fields or fields.first("sequence", "clip") is not None:
        return kept
    if not groups:
        return kept
    return kept[np.lexsort([g[kept] for g in reversed(groups.values())])]  # stable: in a group as it was


def clips(time: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """`(image,)` int32 number of the clip: a new one where a group changes, where time does not grow, and where it
    jumps by more than `JUMP` times its usual step since then."""
    step = np.diff(np.asarray(time, np.float64))
    cut = step <= 0
    for group in groups:
        cut |= group[1:] != group[:-1]
    starts = np.r_[0, np.flatnonzero(cut) + 1, len(step) + 1]
    for first, end in itertools.pairwise(starts.tolist()):
        inside = step[first : end - 1]
        if len(inside):
            cut[first : end - 1] = inside > JUMP * np.median(inside)
    return np.r_[0, np.cumsum(cut)].astype(np.int32)


def _landmarks(fields: Fields, n: int, rows: int) -> Any:
    arrays = {k: v for k, v in fields.arrays.items() if k in LANDMARK_KEYS}
    if "score" in fields and "confidence" not in fields:
        arrays["confidence"] = np.clip(fields.floats("score", ("N", "P"), nan=True), None, 1)
    if "swap" in fields and "symmetric" not in fields:
        arrays["symmetric"] = _pairs(fields)
    if "points2d" in fields:
        found = np.shape(arrays["points2d"])
        if found[:1] != (n,):
            raise fields.error(
                "points2d", f"has shape {found}, but 'files' names {rows} images: give a row for each"
            )
        return landmarks_from_fields(Fields(fields.where, arrays))
    shared = Fields(
        fields.where,
        {k: v for k, v in arrays.items() if k in ("sequence", "clip", "category", "categories", "fps")},
    )
    key = shared.first("sequence", "clip")
    shared.sizes = {"F": n}
    category, categories = read_category(shared)
    return unlabelled(
        n,
        sequence=None if key is None else read_sequence(shared, key),
        category=category,
        categories=categories,
        fps=read_fps(shared),
    )


def _pairs(fields: Fields) -> np.ndarray:
    """`(pair, 2)` points that are each other's partner by `swap (P,)`. Where one names a point that has another, the
    pair is what the two that are left over say, and a warning."""
    swap = fields.integers("swap", ("P",))
    at = np.arange(len(swap))
    if ((swap < 0) | (swap >= len(swap))).any():
        raise fields.error(
            "swap", f"must name a point from 0 to {len(swap) - 1} for each point, itself where it has none"
        )
    mutual = swap[swap] == at
    pairs = [(int(a), int(b)) for a, b in zip(at[mutual], swap[mutual], strict=True) if a < b]
    taken = set(at[mutual].tolist())
    for a in at[~mutual].tolist():
        b = int(swap[a])
        if not {a, b} & taken:
            pairs.append((min(a, b), max(a, b)))
            taken |= {a, b}
    if not mutual.all():
        point = int(at[~mutual][0])
        warnings.warn(
            f"{fields.where}: key 'swap': point {point} has partner {swap[point]}, which has partner "
            f"{swap[swap[point]]}: pairs are those that agree",
            stacklevel=2,
        )
    return np.array(sorted(pairs), np.int32).reshape(-1, 2)


def _stated(fields: Fields, n: int) -> np.ndarray | None:
    if "image_sizes" in fields:
        return fields.floats("image_sizes", ("N", 2))
    return np.tile(fields.floats("image_size", (2,)), (n, 1)) if "image_size" in fields else None


def _masks(fields: Fields, pixels: Any) -> PackedMasks | None:
    if "masks" not in fields:
        return None
    sizes = np.asarray(pixels.sizes)
    masks = fields.shape("masks", ("N", "height", "width"))
    width, height = sizes[0]
    if (sizes != sizes[0]).any() or masks.shape[1] != height:
        raise fields.error("masks", f"has shape {masks.shape}, the first image is {width} x {height} pixels")
    if masks.shape[2] == width:
        masks = np.packbits(masks != 0, axis=-1)
    elif masks.shape[2] != -(-width // 8) or masks.dtype != np.uint8:
        raise fields.error("masks", f"has shape {masks.shape}, expected width {width}, or packed bits")
    return PackedMasks(masks, sizes)
