"""Writers of text: csv wide and long, DeepLabCut's and Anipose's csv, TRC."""

import csv
import io
from pathlib import Path

import numpy as np

from jnrsfm.io.exporting import Export, Writer, register_writer
from jnrsfm.runs import write_file

_AXES = ("x", "y", "z")


def _cell(value: float) -> str:
    return "" if not np.isfinite(value) else f"{value:.9g}"


def _csv(path: Path, rows: list[list[str]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    write_file(path, stream.getvalue())


def write_wide(path: Path, export: Export) -> None:
    """`frame, NAME_x, NAME_y(, NAME_z, NAME_uncertainty), NAME_confidence, ...`, a row a frame."""
    axes = _AXES[: export.points.shape[-1]]
    spread = export.uncertainty
    more = ("confidence",) if spread is None else ("uncertainty", "confidence")
    header = ["frame", *(f"{n}_{k}" for n in export.names for k in (*axes, *more))]
    rows = [header]
    for f, number in enumerate(export.numbers):
        row = [str(int(number))]
        for p in range(len(export.names)):
            row += [_cell(v) for v in export.points[f, p]]
            row += [] if spread is None else [_cell(spread[f, p])]
            row.append(_cell(export.confidence[f, p]))
        rows.append(row)
    _csv(path, rows)


def write_long(path: Path, export: Export) -> None:
    """`frame, point, x, y(, z), confidence(, uncertainty)`, a row for each frame and point."""
    axes = _AXES[: export.points.shape[-1]]
    spread = export.uncertainty
    rows = [["frame", "point", *axes, "confidence", *([] if spread is None else ["uncertainty"])]]
    for f, number in enumerate(export.numbers):
        for p, name in enumerate(export.names):
            row = [
                str(int(number)),
                name,
                *(_cell(v) for v in export.points[f, p]),
                _cell(export.confidence[f, p]),
            ]
            rows.append(row if spread is None else [*row, _cell(spread[f, p])])
    _csv(path, rows)


def write_deeplabcut_csv(path: Path, export: Export) -> None:
    """DeepLabCut's table as text: rows scorer, bodyparts, coords (x, y(, z), likelihood: the confidence), then a row a
    frame."""
    coords = (*_AXES[: export.points.shape[-1]], "likelihood")
    rows = [
        ["scorer", *["jnrsfm"] * (len(coords) * len(export.names))],
        ["bodyparts", *(name for name in export.names for _ in coords)],
        ["coords", *coords * len(export.names)],
    ]
    for number, points, confidence in zip(export.numbers, export.points, export.confidence, strict=True):
        values = np.concatenate([points, confidence[:, None]], -1)
        rows.append([str(int(number)), *(_cell(v) for v in values.ravel())])
    _csv(path, rows)


def write_anipose(path: Path, export: Export) -> None:
    """Anipose's columns: `_x, _y, _z, _error` (the uncertainty), `_ncams` (1), `_score` (the confidence), and `fnum`;
    `M` is the identity and `center` 0, as no turn was applied."""
    spread = np.zeros_like(export.confidence) if export.uncertainty is None else export.uncertainty
    tail = [f"M_{i}{j}" for i in range(3) for j in range(3)] + [f"center_{i}" for i in range(3)] + ["fnum"]
    rows = [[f"{n}_{k}" for n in export.names for k in (*_AXES, "error", "ncams", "score")] + tail]
    last = [str(float(i == j)) for i in range(3) for j in range(3)] + ["0.0"] * 3
    for f, number in enumerate(export.numbers):
        row = []
        for p in range(len(export.names)):
            known = np.isfinite(export.points[f, p]).all()
            row += [_cell(v) for v in export.points[f, p]]
            row += [
                _cell(spread[f, p]) if known else "",
                "1.0" if known else "",
                _cell(export.confidence[f, p]),
            ]
        rows.append([*row, *last, str(int(number))])
    _csv(path, rows)


def write_trc(path: Path, export: Export) -> None:
    """TRC for OpenSim: y up; empty where there is no point. A TRC must name a unit: metres, which hold where `scale_by`
    gave them."""
    n, p = export.points.shape[:2]
    rate = f"{export.fps:g}"
    first = int(export.numbers[0])
    head = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{n}\t{p}\tm\t{rate}\t{first}\t{n}",
        "Frame#\tTime\t" + "\t\t\t".join(name.replace("\t", " ") for name in export.names) + "\t\t",
        "\t\t" + "\t".join(f"X{k}\tY{k}\tZ{k}" for k in range(1, p + 1)),
        "",
    ]
    body = [
        f"{f + 1}\t{(number - first) / export.fps:.6f}\t" + "\t".join(_cell(v) for v in row.ravel())
        for f, (number, row) in enumerate(zip(export.numbers, export.y_up, strict=True))
    ]
    write_file(path, "\n".join([*head, *body]) + "\n")


register_writer(Writer("csv", (".csv",), "csv, a row a frame", write_wide, needs_3d=False))
register_writer(
    Writer("csv-long", (".long.csv",), "csv, a row for each frame and point", write_long, needs_3d=False)
)
register_writer(
    Writer("deeplabcut-csv", ("dlc.csv",), "DeepLabCut csv", write_deeplabcut_csv, needs_3d=False)
)
register_writer(Writer("anipose", (".anipose.csv",), "Anipose 3D csv, with scores", write_anipose))
register_writer(Writer("trc", (".trc",), "TRC (OpenSim)", write_trc))
