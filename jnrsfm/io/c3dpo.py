"""The JSON layout of C3DPO: a list of samples, one view each, of one class or many.

A sample is `{"kp_loc": 2 x N, "kp_vis": N}` and may have `"kp_loc_3d"`: 3 x N in the camera frame, `"class_mask"`: N, 1
where the keypoint belongs to the sample's class, and `"file_name"` (not kept). The list may be wrapped, `{"dataset":
NAME, "data": [...]}`. `kp_vis` 0 is missing, whatever `kp_loc` then holds; values between 0 and 1 are confidences.

The layout has no class names: samples whose masks share a keypoint are of one class, and classes are named by the order
of their keypoints, `class 0`, `class 1`, ... The key `"category"`, which this writer adds and C3DPO does not look at,
names a class. Keypoints that a sample's mask leaves out of its class are not `defined` for it.

Source: the data sets released with Novotny et al., C3DPO, ICCV 2019. Their skeletons are not in the files.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._registry import Format, existing_file
from jnrsfm.io.fields import Fields
from jnrsfm.io.schema import landmarks_from_fields, reference_from_fields
from jnrsfm.runs import write_file
from jnrsfm.types import Landmarks, Reconstruction

_KEYS = {"points2d": "kp_loc", "visible": "kp_vis", "defined": "class_mask", "points3d": "kp_loc_3d"}


def read_landmarks(path) -> Landmarks:
    """Landmarks of a C3DPO JSON file, with `category` where there are several classes. Raises InputError naming the
    sample and the key."""
    return landmarks_from_fields(_fields(path))


def read_reference(path) -> Reconstruction | None:
    """`kp_loc_3d` in the camera frame (identity rotations); None where a sample has none."""
    fields = _fields(path)
    return reference_from_fields(fields) if "points3d" in fields else None


def _samples(path: Path) -> list[dict[str, Any]]:
    """The list of samples."""
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        cause = str(error).splitlines()[0][:120]
        raise InputError(f"{path}: cannot be read as JSON ({cause}): write or copy it again") from error
    samples = content.get("data") if isinstance(content, dict) else content
    if not isinstance(samples, list) or not samples or not all(isinstance(s, dict) for s in samples):
        raise InputError(
            f"{path}: holds no list of samples: expected [{{'kp_loc': ..., 'kp_vis': ...}}, ...], or such a list "
            "under the key 'data'"
        )
    return samples


def _fields(path) -> Fields:
    """The arrays under the keys of our schema."""
    path = existing_file(path)
    samples = _samples(path)
    n = None
    found: dict[str, list[np.ndarray]] = {}
    for key, name, rows in (("points2d", "kp_loc", 2), ("visible", "kp_vis", 1), ("defined", "class_mask", 1),
                            ("points3d", "kp_loc_3d", 3)):  # fmt: skip
        have = [name in s for s in samples]
        if not any(have) or (key == "points3d" and not all(have)):
            if key in ("points2d", "visible"):
                raise InputError(f"{path}: key '{name}' is absent: a C3DPO sample holds kp_loc and kp_vis")
            continue
        if not all(have):
            raise InputError(
                f"{path}: sample {have.index(False)}: key '{name}' is absent, though other samples have it: "
                "give it to all or to none"
            )
        for i, sample in enumerate(samples):
            try:
                value = np.asarray(sample[name], np.float64)
            except (ValueError, TypeError) as error:
                raise InputError(f"{path}: sample {i}: key '{name}': is not an array of numbers") from error
            value = value.reshape(1, -1) if rows == 1 and value.ndim < 2 else value
            n = value.shape[-1] if n is None and value.ndim == 2 else n
            if value.shape != (rows, n):
                wanted = f"{rows} x {n}" if rows > 1 else f"{n} numbers"
                raise InputError(
                    f"{path}: sample {i}: key '{name}': has shape {value.shape}, expected {wanted}: coordinates "
                    "are rows, keypoints columns, the same for all samples"
                )
            found.setdefault(key, []).append(value.T if rows > 1 else value[0])
    arrays = {key: np.stack(rows) for key, rows in found.items()}
    _confidence(path, arrays)
    if "defined" in arrays:
        arrays["defined"] = arrays["defined"] > 0
        arrays["visible"] = arrays["visible"] & arrays["defined"]
    names = [s.get("category") for s in samples]
    if all(isinstance(name, str) for name in names):
        arrays["category"] = np.array(names)
        arrays["category_order"] = np.array(list(dict.fromkeys(names)))
    elif "defined" in arrays:
        classes = _classes(arrays["defined"])
        if classes.max() > 0:
            arrays["category"] = np.array([f"class {c}" for c in classes])
            arrays["category_order"] = np.array([f"class {c}" for c in range(classes.max() + 1)])
    arrays["camera"] = np.array("orthographic")
    if "points3d" in arrays and "defined" in arrays:
        arrays["valid3d"] = arrays["defined"]
        arrays["points3d"] = np.where(arrays["valid3d"][..., None], arrays["points3d"], 0)
    return Fields(str(path), arrays, labels=_KEYS)


def _confidence(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Split `kp_vis` into a mask and, where it holds more than 0 and 1, a confidence."""
    seen = arrays["visible"]
    bad = ~((seen >= 0) & (seen <= 1))
    if bad.any():
        sample, point = np.argwhere(bad)[0]
        raise InputError(
            f"{path}: sample {sample}: key 'kp_vis': is {seen[sample, point]:g} at keypoint {point}, expected 0 to 1: "
            "rescale it"
        )
    if ((seen > 0) & (seen < 1)).any():
        arrays["confidence"] = seen
    arrays["visible"] = seen > 0


def _classes(defined: np.ndarray) -> np.ndarray:
    """`(sample,)` class of each mask: masks that share a keypoint, through others too, are of one class; classes in
    the order of their first keypoints."""
    group = np.arange(defined.shape[1])
    for mask in np.unique(defined, axis=0):
        members = np.isin(group, group[mask])
        group[members] = group[members].min(initial=defined.shape[1])
    first = np.array([group[mask.argmax()] for mask in defined])
    return np.unique(first, return_inverse=True)[1].reshape(-1)


def write(path, landmarks: Landmarks, reference: Reconstruction | None = None) -> None:
    """Write a list of samples, 0 where a point is hidden; with a reference, its camera-frame points. Confidences of
    visible points go into `kp_vis`. Names, edges and clips have no place in the layout. Raises InputError for a
    perspective reference, whose image is not its x and y."""
    if reference is not None and reference.cameras.model == "perspective":
        raise InputError(f"{path}: C3DPO's layout holds orthographic 3D: write npz, or leave the 3D out")
    weights = np.asarray(landmarks.weights, np.float64)
    points = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
    shapes = None if reference is None else np.asarray(reference.camera_points, np.float64)
    valid = None if reference is None else reference.valid3d
    if shapes is not None and valid is not None:
        shapes = np.where(np.asarray(valid)[..., None], shapes, 0.0)
    samples: list[dict[str, Any]] = []
    for i in range(landmarks.n_frames):
        sample: dict[str, Any] = {"kp_loc": points[i].T.tolist(), "kp_vis": weights[i].tolist()}
        if shapes is not None:
            sample["kp_loc_3d"] = shapes[i].T.tolist()
        if landmarks.defined is not None:
            sample["class_mask"] = np.asarray(landmarks.defined)[i].astype(int).tolist()
        if landmarks.category is not None:
            code = int(np.asarray(landmarks.category)[i])
            sample["category"] = str(code) if landmarks.categories is None else landmarks.categories[code]
        samples.append(sample)
    text = json.dumps(samples, allow_nan=False) + "\n"
    write_file(path, text)


def sniff(path: Path) -> bool:
    """Whether the file starts like JSON and soon names keypoints."""
    with open(path, "rb") as stream:
        start = stream.read(1 << 16).lstrip()
    return start[:1] in (b"[", b"{") and (b'"kp_loc' in start or b'"kp_vis' in start)


FORMAT = Format(
    name="c3dpo",
    extensions=(".json",),
    description="C3DPO JSON: a list of samples with kp_loc, kp_vis, kp_loc_3d, class_mask",
    read_landmarks=read_landmarks,
    read_reference=read_reference,
    write=write,
    sniff=sniff,
)
