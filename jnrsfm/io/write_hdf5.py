"""Writers in HDF5: DeepLabCut's tables, movement's netCDF, and sleap-anipose's layout, which keypoint-MoSeq reads."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.exporting import Export, Writer, register_writer
from jnrsfm.runs import write_file

SCORER = "jnrsfm"


def _write(path: Path, fill: Callable[[Any, Any], None]) -> None:
    """The file as a whole: made in memory, then written at once. Raises InputError without h5py."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: HDF5 files need h5py: pip install h5py") from error
    stream = io.BytesIO()
    with h5py.File(stream, "w", track_order=True) as file:
        fill(file, h5py)
    write_file(path, stream.getvalue())


def write_deeplabcut(path: Path, export: Export) -> None:
    """A pandas table as DeepLabCut has it, key `df_with_missing`: levels scorer, bodyparts, coords (x, y(, z),
    likelihood: the confidence). `pandas.read_hdf` opens it (pandas' `fixed` layout)."""
    coords = [*"xyz"[: export.points.shape[-1]], "likelihood"]
    values = np.concatenate([export.points, export.confidence[..., None]], -1).reshape(len(export.points), -1)
    n, k = len(export.names), len(coords)
    levels = (("scorer", [SCORER], np.zeros(n * k)), ("bodyparts", list(export.names), np.repeat(np.arange(n), k)),
              ("coords", coords, np.tile(np.arange(k), n)))  # fmt: skip

    def fill(file: Any, h5py: Any) -> None:
        def text(value: str) -> Any:
            raw = value.encode()
            return np.array(raw, h5py.string_dtype("utf-8", len(raw))) if raw else h5py.Empty("S1")

        def array(place: str, data: np.ndarray, **more: Any) -> None:
            item = group.create_dataset(place, data=data)
            for key, value in {
                "CLASS": "ARRAY",
                "FLAVOR": "numpy",
                "TITLE": "",
                "VERSION": "2.4",
                **more,
            }.items():
                item.attrs[key] = text(value)
            item.attrs["transposed"] = np.int64(1)

        for key, value in (
            ("CLASS", "GROUP"),
            ("PYTABLES_FORMAT_VERSION", "2.1"),
            ("TITLE", ""),
            ("VERSION", "1.0"),
        ):
            file.attrs[key] = text(value)
        group = file.create_group("df_with_missing")
        about = {
            "CLASS": "GROUP", "TITLE": "", "VERSION": "1.0", "axis0_variety": "multi", "axis1_variety": "regular",
            "block0_items_variety": "multi", "encoding": "UTF-8", "errors": "strict", "pandas_type": "frame",
        }  # fmt: skip
        for key, value in about.items():
            group.attrs[key] = text(value)
        for key, number in (("axis0_nlevels", 3), ("block0_items_nlevels", 3), ("nblocks", 1), ("ndim", 2)):
            group.attrs[key] = np.int64(number)
        for axis in ("axis0", "block0_items"):
            for i, (name, names, codes) in enumerate(levels):
                more = {"kind": "string", "name": name, "nan_rep": "nan", f"{axis}_name{name}": name}
                array(f"{axis}_level{i}", np.array([s.encode() for s in names]), **more)
                array(f"{axis}_label{i}", codes.astype(np.int8 if n < 128 else np.int16))
        array("axis1", export.numbers.astype(np.int64), kind="integer", name="N.")
        array("block0_values", values)

    _write(path, fill)


def write_movement(path: Path, export: Export) -> None:
    """movement's dataset: `position (time, space, keypoints, individuals)`, `confidence (time, keypoints,
    individuals)`, time in seconds; and `uncertainty` where there is one."""
    space = list("xyz"[: export.points.shape[-1]])

    def fill(file: Any, h5py: Any) -> None:
        texts = h5py.string_dtype()
        file["time"] = export.numbers / export.fps
        file.create_dataset("space", data=space, dtype=texts)
        file.create_dataset("keypoints", data=list(export.names), dtype=texts)
        file.create_dataset("individuals", data=["individual_0"], dtype=texts)
        for name in ("time", "space", "keypoints", "individuals"):
            file[name].make_scale(name)
        arrays = {
            "position": export.points.transpose(0, 2, 1)[..., None],
            "confidence": export.confidence[..., None],
        }
        if export.uncertainty is not None:
            arrays["uncertainty"] = export.uncertainty[..., None]
        for name, values in arrays.items():
            file.create_dataset(name, data=values.astype(np.float64), compression="gzip", compression_opts=4)
            dims = ("time", "space", "keypoints", "individuals") if values.ndim == 4 else (
                "time", "keypoints", "individuals"
            )  # fmt: skip
            for axis, dim in enumerate(dims):
                file[name].dims[axis].attach_scale(file[dim])
            file[name].attrs["_FillValue"] = np.array([np.nan])
        about = {"source_software": SCORER, "ds_type": "poses", "time_unit": "seconds"}
        for key, value in {**about, **({"space_unit": export.units} if export.units else {})}.items():
            file.attrs[key] = value
        file.attrs["fps"] = np.float64(export.fps)

    _write(path, fill)


def write_keypoint_moseq(path: Path, export: Export) -> None:
    """`tracks (frame, 1, point, 3)` and `point_scores (frame, 1, point)`: what keypoint-MoSeq's `load_keypoints` reads
    as format "sleap-anipose"; the names in `node_names`."""

    def fill(file: Any, h5py: Any) -> None:
        file["tracks"] = export.points[:, None]
        file["point_scores"] = export.confidence[:, None]
        file["node_names"] = np.array([n.encode() for n in export.names])

    _write(path, fill)


register_writer(Writer("deeplabcut", (".h5",), "DeepLabCut h5 (_3d.h5)", write_deeplabcut, needs_3d=False))
register_writer(Writer("movement", (".nc",), "movement netCDF", write_movement, needs_3d=False))
register_writer(
    Writer("keypoint-moseq", (".kpms.h5",), "keypoint-MoSeq (sleap-anipose h5)", write_keypoint_moseq)
)
