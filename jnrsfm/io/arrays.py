"""Landmarks from objects in memory (NumPy, pandas, xarray), and results as such objects.

One rule for axes: `(frame, point, 2)`, or `(frame, point, 3)` with the confidence last. xarray's dimensions go by name
(time, space, keypoints, individuals), pandas' columns by DeepLabCut's levels or as `nose_x, nose_y`.
"""

from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io import settle, tables
from jnrsfm.io._pose import Pose, checked
from jnrsfm.io.exporting import export_of
from jnrsfm.types import Landmarks, Reconstruction

_SPACE = {"x": 0, "y": 1, "z": 2}


def as_landmarks(thing: Any, individual: str | None = None) -> Landmarks:
    """Landmarks of an array, a pandas table or an xarray object; see the module for its axes.

    Raises InputError, one line, for anything else.

    >>> xy = np.arange(24.0).reshape(3, 4, 2)  # frame, point, (x, y)
    >>> xy[1, 2] = np.nan  # not seen
    >>> landmarks = as_landmarks(xy)
    >>> landmarks.n_frames, landmarks.n_points, int(landmarks.visible.sum())
    (3, 4, 11)
    >>> as_landmarks(xy[..., 0])
    Traceback (most recent call last):
        ...
    jnrsfm.errors.InputError: ...
    """
    if isinstance(thing, Landmarks):
        return thing
    kind = type(thing).__module__.partition(".")[0]
    if kind == "xarray":
        pose = _from_xarray(thing)
    elif kind == "pandas":
        pose = _from_pandas(thing)
    elif isinstance(thing, str) or not hasattr(thing, "__array__"):
        raise InputError(
            f"landmarks are a {type(thing).__name__}: give Landmarks (jnrsfm.read makes them of a file), or an array "
            "(frame, point, 2)"
        )
    else:
        pose = _from_array(np.asarray(thing))
    return settle.landmarks_of(checked(pose, "landmarks"), "landmarks", individual)[0]


def _from_array(array: np.ndarray) -> Pose:
    if array.ndim != 3 or array.shape[-1] not in (2, 3) or array.dtype.kind not in "fiu":
        hint = ""
        if array.ndim == 3 and 2 in array.shape[:2]:
            hint = ": put the coordinates last, points in the middle, frames first"
        raise InputError(
            f"landmarks are an array of {array.dtype}, shape {array.shape}: expected numbers (frame, point, 2), "
            f"or 3 with the confidence last{hint}"
        )
    values = array.astype(np.float64)[:, None]
    score = None
    if array.shape[-1] == 3:
        score = values[..., 2]
        if not ((np.nan_to_num(score) >= 0) & (np.nan_to_num(score) <= 1)).all():
            raise InputError(
                "landmarks: the third number of a point is its confidence, from 0 to 1: give x and y alone"
            )
    return Pose(points=values[..., :2], confidence=score)


def _from_pandas(table: Any) -> Pose:
    columns = list(table.columns)
    if not len(table):
        raise InputError("landmarks: the table has no rows")
    if tables.is_long([str(c) for c in columns]):
        text = table.astype(str).to_numpy().tolist()
        return tables.long_rows([str(c) for c in columns], text, "landmarks")
    try:
        values = table.to_numpy(dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError("landmarks: the table holds something else than numbers") from error
    if isinstance(columns[0], tuple):
        levels = [str(n).lower() for n in table.columns.names]
        coords = levels.index("coords") if "coords" in levels else -1
        parts = levels.index("bodyparts") if "bodyparts" in levels else -2
        who = levels.index("individuals") if "individuals" in levels else None
        plain = [("" if who is None else str(c[who]), str(c[parts]), str(c[coords]).lower()) for c in columns]
    else:
        named = tables.columns_of([str(c) for c in columns])
        plain = [("", "", "")] * len(columns)
        for point, places in named.items():
            for axis, c in places.items():
                plain[c] = ("", point, axis)
    keep = [c for c, column in enumerate(plain) if column[2] in ("x", "y", *tables.SCORES)]
    people = list(dict.fromkeys(plain[c][0] for c in keep))
    names = list(dict.fromkeys(plain[c][1] for c in keep))
    if not names:
        raise InputError(
            "landmarks: the table has no columns like nose_x, nose_y, nor levels bodyparts and coords"
        )
    points = np.full((len(table), len(people), len(names), 2), np.nan)
    score = np.full(points.shape[:3], np.nan)
    scored = False
    for c in keep:
        i, p = people.index(plain[c][0]), names.index(plain[c][1])
        if plain[c][2] in ("x", "y"):
            points[:, i, p, _SPACE[plain[c][2]]] = values[:, c]
        else:
            score[:, i, p] = values[:, c]
            scored = True
    return Pose(
        points=points, confidence=score if scored else None, names=tuple(names),
        individuals=tuple(people) if len(people) > 1 else None,
    )  # fmt: skip


def _from_xarray(thing: Any) -> Pose:
    position = thing["position"] if hasattr(thing, "data_vars") and "position" in thing else thing
    if hasattr(position, "data_vars") or not {"time", "space"} <= set(position.dims):
        raise InputError(
            "landmarks: the xarray object needs 'position' with the dimensions time, space, keypoints"
        )
    dims = ["time", "individuals", "keypoints", "space"]
    for dim in dims:
        if dim not in position.dims:
            position = position.expand_dims(dim)
    position = position.transpose(*dims)
    confidence = None
    if hasattr(thing, "data_vars") and "confidence" in thing:
        confidence = thing["confidence"]
        confidence = confidence if "individuals" in confidence.dims else confidence.expand_dims("individuals")
        confidence = confidence.transpose(*dims[:3]).to_numpy()
    names = tuple(map(str, position["keypoints"].to_numpy())) if "keypoints" in position.coords else None
    people = tuple(map(str, position["individuals"].to_numpy())) if "individuals" in position.coords else None
    fps = thing.attrs.get("fps")
    return Pose(
        points=position.to_numpy().astype(np.float64), confidence=confidence, names=names,
        individuals=people if people is not None and len(people) > 1 else None, fps=float(fps) if fps else None,
    )  # fmt: skip


def to_dataframe(record: Landmarks | Reconstruction) -> Any:
    """A pandas table: rows are frames, columns (point, x / y / z / confidence / uncertainty). 3D is in the frame of the
    camera (y down). Raises InputError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise InputError("to_dataframe needs pandas: pip install pandas") from error
    export = export_of(record)
    parts = {axis: export.points[..., k] for k, axis in enumerate("xyz"[: export.points.shape[-1]])}
    parts["confidence"] = export.confidence
    if export.uncertainty is not None:
        parts["uncertainty"] = export.uncertainty
    columns = pandas.MultiIndex.from_product([export.names, list(parts)], names=["point", "coords"])
    values = np.stack(list(parts.values()), -1).reshape(len(export.points), -1)
    return pandas.DataFrame(values, index=pandas.Index(export.numbers, name="frame"), columns=columns)


def to_xarray(record: Landmarks | Reconstruction) -> Any:
    """A dataset in movement's layout: `position (time, space, keypoints, individuals)`, `confidence`, and
    `uncertainty` where there is one. Raises InputError without xarray."""
    try:
        import xarray
    except ImportError as error:
        raise InputError("to_xarray needs xarray: pip install xarray") from error
    export = export_of(record)
    dims = ("time", "keypoints", "individuals")
    arrays = {
        "position": (("time", "space", *dims[1:]), export.points.transpose(0, 2, 1)[..., None]),
        "confidence": (dims, export.confidence[..., None]),
    }
    if export.uncertainty is not None:
        arrays["uncertainty"] = (dims, export.uncertainty[..., None])
    return xarray.Dataset(
        arrays,
        coords={
            "time": export.numbers / export.fps, "space": list("xyz"[: export.points.shape[-1]]),
            "keypoints": list(export.names), "individuals": ["individual_0"],
        },
        attrs={"source_software": "jnrsfm", "ds_type": "poses", "fps": export.fps, "time_unit": "seconds"},
    )  # fmt: skip
