"""The MATLAB layouts of the classic sequences: `W`, `S`, `Rs`, in files of version 4 to 7.3.

`W` (2F x P, or 2 x P x F) holds the image points, `S` (3F x P, or 3 x P x F) the 3D, `Rs` (2F x 3 or 3F x 3)
the cameras, `list` the edges. Gaps are NaN in `W`, or a mask of 1 = seen (`mask`, `visible`, `vis`, `M`) or
1 = missing (`MD`, `missing`), F x P or as `W`. Rows come in two orders, which look alike:

    interleaved   x1 y1 x2 y2 ...      blocked   x1 x2 ... y1 y2 ...

The option `rows` names the order; `"auto"` decides by the first of: the text `rows` in the file; which order
satisfies `W = Rs S` (or, without `Rs`, which puts `S` and `W` in one camera frame); which pairs of rows of
`Rs` are orthonormal; and for `W` alone, motion that is smooth in time, and a rigid affine factorisation whose
row pairs can be made orthonormal (Tomasi and Kanade, IJCV 1992). Where these say nothing or disagree, it
refuses and asks.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._mat_container import load_variables
from jnrsfm.io._registry import Format, existing_file
from jnrsfm.io.fields import Fields, check_pairs, read_text
from jnrsfm.io.npz import landmark_arrays
from jnrsfm.io.schema import landmarks_from_fields, reference_from_fields
from jnrsfm.runs import write_file
from jnrsfm.types import Landmarks, Reconstruction

ROWS = ("auto", "interleaved", "blocked")

# The names under which public files keep each matrix.
IMAGE, SHAPE, CAMERA = "W", ("S", "P3_gt"), "Rs"
SEEN, MISSING = ("mask", "visible", "vis", "M"), ("MD", "missing")
EXTRA = (
    "list", "edges", "symmetric", "names", "clip", "category", "category_order", "fps", "camera", "rows",
    "intrinsics", "confidence", "defined", "reference_camera", "frame_index",
)  # fmt: skip
VARIABLES = (IMAGE, *SHAPE, CAMERA, *SEEN, *MISSING, *EXTRA)


def read_landmarks(path, *, rows: str = "auto") -> Landmarks:
    """Landmarks of a MATLAB file. Raises InputError naming the variable, or asking for `rows`."""
    return landmarks_from_fields(_fields(path, rows))


def read_reference(path, *, rows: str = "auto") -> Reconstruction | None:
    """`S` with the cameras `Rs`; None where the file has no `S`. Without `Rs`, `S` is in the camera frame."""
    fields = _fields(path, rows)
    return reference_from_fields(fields) if "points3d" in fields else None


def _fields(path, rows: str) -> Fields:
    """The variables under the keys of our schema."""
    path = existing_file(path)
    if rows not in ROWS:
        raise InputError(f"{path}: option rows={rows!r} is unknown: choose from {', '.join(ROWS)}")
    raw = Fields(str(path), load_variables(path, VARIABLES))
    shape = raw.first(*SHAPE)
    if IMAGE not in raw and (shape is None or CAMERA not in raw):
        raw.require(IMAGE, hint=": it holds the image points, 2F x P")
    w = _matrix(raw, IMAGE, 2) if IMAGE in raw else None
    s = _matrix(raw, shape, 3) if shape is not None else None
    r = _matrix(raw, CAMERA, None) if CAMERA in raw else None
    n_frames, n_points = _size(w, 2) if w is not None else _size(s, 3)
    if s is not None and _size(s, 3) != (n_frames, n_points):
        raise raw.error(str(shape), f"has {_size(s, 3)} frames and points, but W has {(n_frames, n_points)}")
    if r is not None and _pairs(r, n_frames, ROWS[1]) is None:
        raise raw.error(CAMERA, f"has shape {r.shape}, expected (2F, 3) or (3F, 3) with F = {n_frames}")
    order = choose_rows(raw, rows, w, s, r)

    arrays: dict[str, Any] = {}
    if r is not None:
        arrays.update(_cameras(raw, r, n_frames, order))
    if s is not None:
        arrays["points3d"] = to_frames(s, 3, order)
    if w is not None:
        arrays["points2d"] = to_frames(w, 2, order)
    else:
        plane = np.einsum("fpj,fij->fpi", arrays["points3d"], arrays["rotations"][:, :2])
        arrays["points2d"] = plane * arrays.get("scale", np.ones(n_frames))[:, None, None]
    visible = _visible(raw, n_frames, n_points, order)
    if visible is not None:
        arrays["visible"] = visible & ~np.isnan(arrays["points2d"]).any(-1)
    _extras(raw, n_points, arrays)
    affine = read_text(raw, "reference_camera", "perspective") != "perspective"
    if affine and "rotations" in arrays and str(arrays.get("camera")) == "perspective":
        # Views through a pinhole whose reference is affine: the schema keeps the two models apart by key.
        arrays["rotations_fit"] = arrays.pop("rotations")
        arrays["scale_fit"] = arrays.pop("scale", np.ones(n_frames))
    labels = {
        "points2d": IMAGE,
        "points3d": str(shape),
        "rotations": CAMERA,
        "scale": CAMERA,
        "rotations_fit": CAMERA,
    }
    return Fields(str(path), arrays, labels=labels)


def _size(matrix, axes: int) -> tuple[int, int]:
    """Frames and points of a matrix in either layout."""
    if matrix.ndim == 3:
        return matrix.shape[2], matrix.shape[1]
    return len(matrix) // axes, matrix.shape[1]


def _matrix(raw: Fields, key: str, axes: int | None) -> np.ndarray:
    """A variable as float64: 2D with `axes * F` rows, or `axes x P x F` (F x P x axes is accepted too)."""
    array = np.asarray(raw.arrays[key])
    if array.dtype.kind not in "fiu":
        raise raw.error(key, f"expected real numbers, found {array.dtype}")
    if 0 in array.shape:
        raise raw.error(key, f"is empty, shape {array.shape}")
    array = array.astype(np.float64)
    if array.ndim == 3:
        if axes is not None and array.shape[0] != axes and array.shape[2] == axes:
            array = array.transpose(2, 1, 0)
        if axes is None or array.shape[0] == axes:
            return array
    elif array.ndim == 2 and (axes is None or len(array) % axes == 0):
        return array
    hint = (
        f": transpose it ({array.shape[1]} rows)"
        if array.ndim == 2 and array.shape[1] % (axes or 2) == 0
        else ""
    )
    raise raw.error(key, f"has shape {array.shape}, expected ({axes}F, P) or ({axes}, P, F){hint}")


def to_frames(matrix: np.ndarray, axes: int, order: str) -> np.ndarray:
    """`(frame, column, axes)` from `(axes F, column)` rows in that order, or from `(axes, column, F)`."""
    if matrix.ndim == 3:
        return matrix.transpose(2, 1, 0)
    if order == "interleaved":
        return matrix.reshape(-1, axes, matrix.shape[1]).transpose(0, 2, 1)
    return matrix.reshape(axes, -1, matrix.shape[1]).transpose(1, 2, 0)


def to_rows(points: np.ndarray, order: str = "interleaved") -> np.ndarray:
    """The inverse of `to_frames`: `(axes F, column)`."""
    axes = points.shape[-1]
    rows = points.transpose(0, 2, 1) if order == "interleaved" else points.transpose(2, 0, 1)
    return rows.reshape(axes * len(points), -1)


def choose_rows(raw: Fields, rows: str, w, s, r) -> str:
    """`"interleaved"` or `"blocked"`; see the module docstring for how `"auto"` decides."""
    if rows != "auto":
        return rows
    flat = [m for m in (w, s, r) if m is not None and m.ndim == 2]
    if not flat or (w is not None and w.ndim == 2 and len(w) == 2):
        return "interleaved"  # 3D arrays have no row order, and in a single frame both are the same
    if "rows" in raw:
        stated = str(raw.texts("rows", (), (1,)).reshape(()))
        if stated in ROWS[1:]:
            return stated
        raise raw.error("rows", f"is {stated!r}, expected interleaved or blocked")
    votes = []
    if all(m is not None and m.ndim == 2 for m in (w, s)):
        votes.append(_vote({o: _disagreement(w, s, r, o) for o in ROWS[1:]}, 0.05))
    if r is not None and r.ndim == 2 and not any(votes):
        votes.append(_vote({o: _skewness(r, o) for o in ROWS[1:]}, 0.05))
    if w is not None and w.ndim == 2 and not any(votes):
        votes += [_vote_smooth(w), _vote_rigid(w)]
    found = {v for v in votes if v is not None}
    if len(found) == 1:
        return found.pop()
    say = "both row orders are plausible" if found else "the row order cannot be told from the numbers"
    raise InputError(
        f"{raw.where}: {say}: say --option rows=interleaved (x1 y1 x2 y2) or rows=blocked (x1 x2 .. y1 y2); "
        "in Python rows='interleaved'"
    )


def _vote(error: dict[str, float], good: float) -> str | None:
    """The order with the smaller error, where it is small and clearly the smaller one."""
    best, other = sorted(ROWS[1:], key=lambda o: error[o])
    return best if error[best] < good and error[other] > 3 * error[best] else None


def _disagreement(w, s, r, order: str) -> float:
    """Relative residual of `W = Rs S` (or of W = x, y of S), both centred in each frame; missing left out."""
    image, shape = to_frames(w, 2, order), to_frames(s, 3, order)
    if image.shape[:2] != shape.shape[:2]:
        return np.inf
    if r is not None:
        cameras = _pairs(r, len(image), order)
        if cameras is None:
            return np.inf
        shape = np.einsum("fpj,fij->fpi", shape, cameras)
    seen = np.isfinite(image).all(-1, keepdims=True) & np.isfinite(shape).all(-1, keepdims=True)
    n = np.maximum(seen.sum(1, keepdims=True), 1)

    def centred(x):
        x = np.where(seen, x, 0)
        return np.where(seen, x - x.sum(1, keepdims=True) / n, 0)

    image, plane = centred(image), centred(shape[..., :2])
    return float(np.linalg.norm(image - plane)) / max(float(np.linalg.norm(image)), 1e-300)


def _pairs(r: np.ndarray, n_frames: int, order: str) -> np.ndarray | None:
    """`(frame, 2, 3)` camera rows of `Rs`, None where its shape does not fit."""
    if r.ndim == 3:
        fits = r.shape[0] in (2, 3) and r.shape[1] == 3 and r.shape[2] == n_frames
        return r.transpose(2, 0, 1)[:, :2] if fits else None
    axes, rest = divmod(len(r), n_frames)
    if rest or axes not in (2, 3) or r.shape[1] != 3:
        return None
    return to_frames(r, axes, order).transpose(0, 2, 1)[:, :2]


def _skewness(r: np.ndarray, order: str) -> float:
    """How far the row pairs of a 2F x 3 `Rs` are from orthogonal and of equal length (0 is exact)."""
    rows = _pairs(r, len(r) // 2, order) if len(r) % 2 == 0 else None
    if rows is None or not np.isfinite(rows).all():
        return np.inf
    gram = np.einsum("fij,fkj->fik", rows, rows)
    size = np.maximum(gram[:, 0, 0] + gram[:, 1, 1], 1e-300)
    return float(np.mean((np.abs(gram[:, 0, 1]) + np.abs(gram[:, 0, 0] - gram[:, 1, 1])) / size))


def _filled(w: np.ndarray) -> np.ndarray:
    """Rows centred on their mean, 0 where missing."""
    seen = np.isfinite(w)
    mean = np.where(seen, w, 0).sum(1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1)
    return np.where(seen, w - mean, 0)


def _vote_smooth(w: np.ndarray) -> str | None:
    """By smoothness in time: neighbouring rows are alike when blocked, rows two apart when interleaved."""
    if len(w) < 12:
        return None
    rows = _filled(w)
    size = max((rows**2).mean(), 1e-300)
    next1, next2 = ((rows[1:] - rows[:-1]) ** 2).mean() / size, ((rows[2:] - rows[:-2]) ** 2).mean() / size
    if next2 < 0.1 and next1 > 10 * next2:
        return "interleaved"
    return "blocked" if next1 < 0.05 and next1 < next2 else None


def _vote_rigid(w: np.ndarray) -> str | None:
    """By the metric constraint on the rank-3 part of W: some symmetric Q makes the row pairs orthogonal.

    Residual: min over Q of |(a'Qa - b'Qb, 2 a'Qb)| / |a'Qa + b'Qb| over the pairs (a, b) of each order.
    Measured on the public sequences it is 0.01 to 0.3 for the right order and 0.25 to 1 for the wrong one.
    """
    if len(w) < 12 or w.shape[1] < 5 or not np.isfinite(w).all():
        return None
    u = np.linalg.svd(_filled(w), full_matrices=False)[0][:, :3]
    error = {}
    for order in ROWS[1:]:
        a, b = to_frames(u, 2, order).transpose(2, 0, 1)
        aa, bb, ab = _quadratic(a, a), _quadratic(b, b), _quadratic(a, b)
        top = np.concatenate([aa - bb, 2 * ab])
        size = (aa + bb).T @ (aa + bb)
        root = np.linalg.cholesky(size + 1e-9 * np.trace(size) * np.eye(6))
        half = np.linalg.solve(root, top.T)
        error[order] = float(np.sqrt(max(np.linalg.eigvalsh(half @ half.T)[0], 0)))
    best, other = sorted(ROWS[1:], key=lambda o: error[o])
    return best if error[best] < 0.35 and error[other] > 2 * error[best] else None


def _quadratic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Coefficients `(frame, 6)` of a'Qb in the entries 11, 22, 33, 12, 13, 23 of a symmetric Q."""
    i, j = np.array([0, 1, 2, 0, 0, 1]), np.array([0, 1, 2, 1, 2, 2])
    return a[:, i] * b[:, j] + np.where(i == j, 0, a[:, j] * b[:, i])


def _cameras(raw: Fields, r: np.ndarray, n_frames: int, order: str) -> dict[str, np.ndarray]:
    """Proper `rotations` from the first two rows (the third is their cross product), `scale` if not 1."""
    rows = _pairs(r, n_frames, order)
    if rows is None or not np.isfinite(rows).all():
        raise raw.error(CAMERA, "holds NaN or infinite values: mend them")
    scale = np.asarray(np.linalg.norm(rows, axis=2).mean(1))
    if (scale <= 0).any():
        raise raw.error(CAMERA, f"frame {int(np.argmin(scale))}: the camera is zero: mend it")
    rows = rows / scale[:, None, None]
    rotations = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    return (
        {"rotations": rotations}
        if np.allclose(scale, 1, atol=1e-4)
        else {"rotations": rotations, "scale": scale}
    )


def _visible(raw: Fields, n_frames: int, n_points: int, order: str) -> np.ndarray | None:
    """`(frame, point)` from a mask variable; None where there is none. NaN in W is missing besides."""
    key = raw.first(*SEEN, *MISSING)
    if key is None:
        return None
    mask = np.asarray(raw.arrays[key])
    binary = mask.dtype.kind in "biuf" and bool(np.isin(mask, (0, 1)).all())
    shapes = {(n_frames, n_points), (2 * n_frames, n_points), (2, n_points, n_frames)}
    if key == "M" and not (binary and mask.shape in shapes):
        return None  # factorisation codes call the motion matrix M
    if not binary:
        raise raw.error(key, "holds values other than 0 and 1: it must say which points are seen")
    if mask.shape not in shapes:
        raise raw.error(key, f"has shape {mask.shape}, expected {(n_frames, n_points)} or the shape of W")
    seen = mask != 0
    if key in MISSING:
        seen = ~seen
    if seen.shape != (n_frames, n_points):
        seen = to_frames(seen, 2, order).all(-1)
    return seen


def _extras(raw: Fields, n_points: int, arrays: dict[str, Any]) -> None:
    """What our own MATLAB files hold besides; MATLAB has no vectors and no scalars, only matrices."""
    for key in (raw.first("list", "edges"), "symmetric"):
        if key is None or key not in raw or not np.size(raw.arrays[key]):
            continue
        pairs = np.asarray(raw.arrays[key])
        if pairs.ndim == 2 and pairs.shape[1] != 2 and pairs.shape[0] == 2:
            raw.arrays = {**raw.arrays, key: pairs.T}
        pairs = raw.integers(key, (f"rows of {key}", 2))
        # MATLAB counts from 1; a 0 says that the file's author did not.
        pairs = pairs - 1 if pairs.min() >= 1 else pairs
        check_pairs(pairs, n_points, raw.where, key)
        arrays["symmetric" if key == "symmetric" else "edges"] = pairs
    for key in ("names", "clip", "frame_index", "category", "category_order", "fps", "camera"):
        if key in raw:
            value = np.asarray(raw.arrays[key])
            single = value.size == 1 and key in ("fps", "camera", "category")
            arrays[key] = value.reshape(()) if single else value.reshape(-1)
    for key in ("confidence", "defined"):
        if key in raw:
            arrays[key] = raw.arrays[key]
    if "intrinsics" in raw:
        value = np.asarray(raw.arrays["intrinsics"])
        arrays["intrinsics"] = value.transpose(2, 0, 1) if value.ndim == 3 else value
        arrays.setdefault("camera", np.array("perspective"))


def write(
    path, landmarks: Landmarks, reference: Reconstruction | None = None, *, rows: str = "interleaved"
) -> None:
    """Write `W` with NaN for gaps, `mask` (F x P), `list` (1-based) and the rest, as a MATLAB 5 file.

    With a reference also `S` and `Rs` (times the scale); a perspective reference is written in the camera
    frame, with `Rs` the identity. The text variable `rows` says the row order.
    """
    from scipy.io import savemat

    if rows not in ROWS[1:]:
        raise InputError(f"{path}: option rows={rows!r} cannot be written: choose interleaved or blocked")
    arrays = landmark_arrays(landmarks)
    visible = arrays["visible"]
    image = np.where(visible[..., None], arrays["points2d"], np.nan).astype(np.float64)
    out: dict[str, Any] = {"W": to_rows(image, rows), "mask": visible.astype(np.uint8), "rows": rows}
    for key, name in (("edges", "list"), ("symmetric", "symmetric")):
        if key in arrays:
            out[name] = arrays[key].astype(np.float64) + 1
    if "names" in arrays:
        out["names"] = arrays["names"].astype(object)
    if "sequence" in arrays:
        out["clip"] = arrays["sequence"].astype(np.float64)[:, None]
    if "frame_index" in arrays:
        out["frame_index"] = arrays["frame_index"].astype(np.float64)[:, None]
    if "category" in arrays:
        labels = arrays.get("categories", np.arange(int(arrays["category"].max()) + 1).astype(str))
        out["category"], out["category_order"] = (
            labels[arrays["category"]].astype(object),
            labels.astype(object),
        )
    for key in ("confidence", "defined", "fps"):
        if key in arrays:
            out[key] = arrays[key].astype(np.float64)
    if "camera" in arrays:
        out["camera"] = str(arrays["camera"])
    if "intrinsics" in arrays:
        k = arrays["intrinsics"].astype(np.float64)
        out["intrinsics"] = k.transpose(1, 2, 0) if k.ndim == 3 else k
    if reference is not None:
        points = np.asarray(reference.points3d, np.float64)
        rotations = np.asarray(reference.rotations, np.float64)[:, :2]
        if reference.cameras.model == "perspective":
            points = np.asarray(reference.camera_points, np.float64)
            rotations = np.tile(np.eye(3)[:2], (len(points), 1, 1))
        elif reference.scale is not None:
            rotations = rotations * np.asarray(reference.scale, np.float64)[:, None, None]
        out["Rs"] = to_rows(rotations.transpose(0, 2, 1), rows)
        out["reference_camera"] = reference.cameras.model
        if reference.valid3d is not None:
            points = np.where(np.asarray(reference.valid3d)[..., None], points, np.nan)
        out["S"] = to_rows(points, rows)
    write_file(path, lambda stream: savemat(stream, out, do_compression=True))


def sniff(path: Path) -> bool:
    """Whether the file starts like a MATLAB 5 to 7.3 file."""
    with open(path, "rb") as stream:
        return stream.read(6) == b"MATLAB"


FORMAT = Format(
    name="matlab",
    extensions=(".mat",),
    description="MATLAB v4 to v7.3: W (2F x P or 2 x P x F), S, Rs, mask, list; rows interleaved or blocked",
    read_landmarks=read_landmarks,
    read_reference=read_reference,
    write=write,
    sniff=sniff,
)
