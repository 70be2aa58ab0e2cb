"""movement's netCDF (an xarray dataset in HDF5): `position` and `confidence` with named dimensions."""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._hdf5 import Hdf5, as_text, is_hdf5, open_hdf5
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import start_of

_DIMS = ("time", "individuals", "keypoints", "space")


def parse(path: Path) -> Pose:
    """What the file holds. Raises InputError."""
    if start_of(path, 3) == b"CDF":
        raise InputError(f"{path}: is netCDF 3: save it with engine='h5netcdf' or 'netcdf4'")
    with open_hdf5(path) as file:
        position = _in_order(file, "position", _DIMS)
        confidence = _in_order(file, "confidence", _DIMS[:3])[..., 0] if "confidence" in file else None
        names, individuals, space = (file.texts(d) for d in ("keypoints", "individuals", "space"))
        time = (
            file.array("time").astype(np.float64).reshape(-1) if "time" in file else np.arange(len(position))
        )
        rate, unit = file.attribute("fps"), as_text(file.attribute("time_unit") or "")
        source = as_text(file.attribute("source_software") or "")
    refuse_large(position.shape, path)
    if len(time) != len(position) or position.shape[-1] not in (2, 3):
        raise InputError(
            f"{path}: 'position' has shape {position.shape}: expected time, space, keypoints, individuals"
        )
    fps = (
        float(np.asarray(rate).reshape(-1)[0])
        if rate is not None and np.asarray(rate).dtype.kind in "fiu"
        else None
    )
    fps = fps if fps is not None and np.isfinite(fps) and fps > 0 else None
    numbers = None
    if np.isfinite(time).all():
        frames = np.round(time * fps) if unit.startswith("sec") and fps is not None else time
        if (frames == np.round(frames)).all() and np.abs(frames).max(initial=0) < 1e9:
            numbers = frames.astype(np.int64)
    return Pose(
        points=position, confidence=confidence, names=names or None,
        individuals=individuals if len(individuals) > 1 or len(individuals) == position.shape[1] else None,
        labels=tuple(str(float(t)) for t in time), numbers=numbers, fps=fps, world=len(space) == 3,
        notes=(f"made by {source}",) if source else (),
    )  # fmt: skip


def _in_order(file: Hdf5, name: str, wanted: tuple[str, ...]) -> np.ndarray:
    """An array with its axes in the wanted order, by the names of its dimensions; absent ones have length 1."""
    array = file.array(name)
    dims = file.dimensions(name)
    dims = [{"individual": "individuals", "keypoint": "keypoints"}.get(d, d) for d in dims]
    if len(set(dims)) != len(dims) or not set(dims) <= set(_DIMS) or array.dtype.kind not in "fiu":
        raise InputError(
            f"{file.path}: '{name}' has the dimensions {', '.join(dims)}: expected {', '.join(wanted)}"
        )
    order = [dims.index(d) for d in _DIMS if d in dims]
    array = array.transpose(order)
    for axis, dim in enumerate(_DIMS):
        if dim not in dims:
            array = np.expand_dims(array, axis)
    return array.astype(np.float64)


def sniff(path: Path) -> bool:
    """Whether the file is HDF5 (or netCDF 3) with movement's names in it."""
    start = start_of(path, 1 << 20)
    return (is_hdf5(path) or start[:3] == b"CDF") and b"position" in start and b"keypoints" in start


FORMAT = pose_format("movement", (".nc",), "movement netCDF: position, confidence", parse, sniff)
