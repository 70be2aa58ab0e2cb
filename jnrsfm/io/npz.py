"""The npz schema of jnrsfm: landmarks, and a reference or a reconstruction beside them.

Keys (`F` frames, `P` points): `points2d (F, P, 2)` is required; NaN is missing. Optional: `visible (F, P)`,
`confidence (F, P)` in [0, 1], `defined (F, P)`, `intrinsics (3, 3)` or `(F, 3, 3)`, `sequence` or `clip
(F,)`, `frame_index (F,)`, `category` (one text, one for each frame, or codes into `categories`), `edges (E, 2)` and
`symmetric (S, 2)` 0-based, `names (P,)`, `camera`, `fps`; with a reference `points3d (F, P, 3)`,
`rotations (F, 3, 3)`, `translations (F, 3)`, `scale (F,)`, `valid3d (F, P)`. Other keys are ignored, but a
near miss of a known one is refused. Files are read with `allow_pickle=False`.
"""

import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._archive import check_sizes
from jnrsfm.io._registry import Format, existing_file
from jnrsfm.io.fields import Fields, reject_typos
from jnrsfm.io.schema import KEYS, LANDMARK_KEYS, landmarks_from_fields, reference_from_fields
from jnrsfm.runs import write_arrays
from jnrsfm.types import Landmarks, Reconstruction


def load_fields(path, keys: Iterable[str] = KEYS) -> Fields:
    """The known keys of an npz file as `Fields`. Raises InputError for whatever is not a sound npz."""
    path = existing_file(path)
    keys = tuple(keys)
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as stream:
            start = stream.read(6)
        if start == b"\x93NUMPY":
            raise InputError(
                f"{path}: is a single array (.npy), not npz: save with np.savez(..., points2d=array)"
            )
        if start[:2] == b"PK":
            raise InputError(f"{path}: the npz is truncated (no zip directory): write or copy it again")
        raise InputError(f"{path}: is not an npz file (a zip of arrays): check the file or name its format")
    check_sizes(path)
    arrays = {}
    key = "?"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old headers parse slowly; that is all that NumPy warns of
            with np.load(path, allow_pickle=False) as archive:
                present = list(archive.files)
                for key in present:
                    if key in keys:
                        arrays[key] = archive[key]
    except MemoryError as error:
        raise InputError(f"{path}: key '{key}': too large for this machine's memory") from error
    # A damaged archive can raise nearly anything from the zip, zlib and header parsers.
    except Exception as error:
        if "allow_pickle" in str(error) or "pickled" in str(error).lower():
            raise InputError(
                f"{path}: key '{key}': is an object array (pickled), which is never loaded: "
                "store numbers, booleans or fixed-width text"
            ) from error
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: key '{key}': cannot be read ({cause}): write or copy the file again"
        ) from error
    for key in arrays:
        if not isinstance(arrays[key], np.ndarray):
            raise InputError(
                f"{path}: key '{key}': is not an array (.npy) inside the zip: save with np.savez"
            )
    fields = Fields(str(path), arrays, present=present)
    reject_typos(fields, LANDMARK_KEYS, KEYS, present)
    return fields


def read_landmarks(path) -> Landmarks:
    """Landmarks of an npz file. Raises InputError naming file and key."""
    return landmarks_from_fields(load_fields(path))


def read_reference(path) -> Reconstruction | None:
    """The reference 3D of an npz file, None where it has no `points3d`."""
    return reference_from_fields(load_fields(path))


def landmark_arrays(landmarks: Landmarks) -> dict[str, Any]:
    """The arrays by key that `read_landmarks` turns back into the same landmarks."""
    arrays: dict[str, Any] = {}
    for key in (
        "points2d",
        "visible",
        "confidence",
        "defined",
        "intrinsics",
        "sequence",
        "category",
        "edges",
        "frame_index",
    ):
        arrays[key] = getattr(landmarks, key)
    arrays["symmetric"] = landmarks.symmetric
    for key in ("names", "categories"):
        value = getattr(landmarks, key)
        arrays[key] = None if value is None else np.array(value, dtype=str)
    arrays["camera"] = None if landmarks.camera is None else np.array(landmarks.camera)
    arrays["fps"] = None if landmarks.fps is None else np.float32(landmarks.fps)
    return {k: np.asarray(v) for k, v in arrays.items() if v is not None}


def reconstruction_arrays(reconstruction: Reconstruction) -> dict[str, Any]:
    """The arrays of a reconstruction by key, `points2d` (its reprojection) among them."""
    r = reconstruction
    arrays = {
        "points3d": r.points3d,
        "rotations": r.rotations,
        "translations": r.translations,
        "scale": r.scale,
        "intrinsics": r.cameras.intrinsics,
        "camera": np.array(r.cameras.model),
        "mirror": np.array(r.mirror),
        "gauge": np.array(r.gauge),
        "points2d": r.points2d,
    }
    for key in (
        "visible", "score", "deviation", "valid3d", "sequence", "category", "mirror_margin", "edges", "symmetric",
        "frame_index",
    ):  # fmt: skip
        arrays[key] = getattr(r, key)
    for key in ("names", "categories"):
        value = getattr(r, key)
        arrays[key] = None if value is None else np.array(value, dtype=str)
    return {k: np.asarray(v) for k, v in arrays.items() if v is not None}


def write(path, landmarks: Landmarks, reference: Reconstruction | None = None) -> None:
    """Write landmarks, with the reference 3D and its cameras beside them where given."""
    arrays: dict[str, Any] = {} if reference is None else reconstruction_arrays(reference)
    arrays.update(landmark_arrays(landmarks))
    if reference is not None and landmarks.camera != reference.cameras.model:
        _reconcile_cameras(arrays, landmarks, reference)
    write_arrays(path, arrays)


def _reconcile_cameras(arrays: dict[str, Any], landmarks: Landmarks, reference: Reconstruction) -> None:
    """One file names one camera model: what to store where the reference's is not the landmarks'.

    An affine reference of perspective views goes under `rotations_fit`, `scale_fit`, which leave `camera` to
    the landmarks (the translation follows from the image). Otherwise the reference's model is the truth.
    """
    if landmarks.camera == "perspective":
        rotations, scale = (
            arrays.pop("rotations"),
            arrays.pop("scale", np.ones(reference.n_frames, np.float32)),
        )
        arrays.pop("translations", None)
        arrays |= {"rotations_fit": rotations, "scale_fit": scale}
    else:
        arrays["camera"] = np.array(reference.cameras.model)


def sniff(path: Path) -> bool:
    """Whether the file starts like a zip."""
    with open(path, "rb") as stream:
        return stream.read(2) == b"PK"


FORMAT = Format(
    name="npz",
    extensions=(".npz",),
    description="jnrsfm's own schema: points2d (frame, point, 2), NaN or visible for gaps, optional 3D",
    read_landmarks=read_landmarks,
    read_reference=read_reference,
    write=write,
    sniff=sniff,
)
