"""TRC, the text of marker positions that OpenSim reads: tabs, a header of five lines, three columns a marker."""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import read_text, start_of


def parse(path: Path) -> Pose:
    """What the file holds: 3D, a reference. Raises InputError."""
    lines = read_text(path).splitlines()
    if len(lines) < 6 or not lines[0].startswith("PathFileType"):
        raise InputError(f"{path}: no TRC file: its first line must start with PathFileType")
    about = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=False))
    markers = lines[3].rstrip("\t\r\n").split("\t")[2:]
    names = [name.strip() for name in markers[::3]]
    body = [line.rstrip("\r\n").split("\t") for line in lines[4:] if line.strip()]
    body = [row for row in body if row[0].strip().replace(".", "", 1).isdigit()]
    if not names or not all(names) or not body:
        raise InputError(f"{path}: names no markers in its fourth line, or has no frames")
    refuse_large((len(body), len(names), 3), path)
    values = np.full((len(body), 3 * len(names)), np.nan)
    for r, row in enumerate(body):
        cells = row[2 : 2 + 3 * len(names)]
        for c, cell in enumerate(cells):
            if cell.strip():
                try:
                    values[r, c] = float(cell)
                except ValueError:
                    raise InputError(f"{path}: frame {row[0]}: {cell[:20]!r} is no number") from None
    try:
        fps = float(about.get("DataRate", "nan"))
    except ValueError:
        fps = float("nan")
    return Pose(
        points=values.reshape(len(body), 1, len(names), 3), names=tuple(names), world=True,
        labels=tuple(row[1].strip() if len(row) > 1 else "" for row in body), fps=fps if fps > 0 else None,
        units=about.get("Units"),
    )  # fmt: skip


def sniff(path: Path) -> bool:
    """Whether the first word is PathFileType."""
    return start_of(path, 16).startswith(b"PathFileType")


FORMAT = pose_format("trc", (".trc",), "TRC marker positions (OpenSim); a reference", parse, sniff)
