"""A contact sheet of landmarks: some frames side by side, points with their names, so that one sees what was read."""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.runs import write_file
from jnrsfm.types import Landmarks


def write_landmark_sheet(path: str | Path, landmarks: Landmarks, frames: int = 12) -> Path:
    """Draw up to `frames` frames, spread over the set, as PNG: y down, one scale for all, edges grey, left points of
    left-right pairs orange and right ones blue, names in the first. Raises InputError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"{path}: pictures need matplotlib: pip install matplotlib") from error
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"{path}: a contact sheet is a .png: give --png FILE.png")
    points, visible = np.asarray(landmarks.points2d), np.asarray(landmarks.visible)
    shown = np.flatnonzero(visible.sum(1) >= min(3, landmarks.n_points))
    shown = shown if len(shown) else np.arange(landmarks.n_frames)
    chosen = np.unique(shown[np.linspace(0, len(shown) - 1, min(frames, len(shown))).astype(int)])
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(3.2 * columns, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    colour = np.array(["#333333"] * landmarks.n_points, dtype=object)
    for left, right in [] if landmarks.symmetric is None else np.asarray(landmarks.symmetric):
        colour[left], colour[right] = "#d95f02", "#1f78b4"
    half = _half_width(points[chosen], visible[chosen])
    for k, frame in enumerate(chosen):
        axes = figure.add_subplot(rows, columns, k + 1)
        seen = visible[frame]
        for a, b in [] if landmarks.edges is None else np.asarray(landmarks.edges):
            if seen[a] and seen[b]:
                axes.plot(*points[frame, [a, b]].T, color="#bbbbbb", lw=1.2, zorder=1)
        x, y = points[frame, seen].T
        axes.scatter(x, y, c=list(colour[seen]), s=14, zorder=2)
        if k == 0 and landmarks.n_points <= 60:
            names = landmarks.names or tuple(map(str, range(landmarks.n_points)))
            for p in np.flatnonzero(seen):
                axes.annotate(
                    names[p], points[frame, p], fontsize=5, xytext=(2, 2), textcoords="offset points"
                )
        middle = np.median(points[frame, seen], axis=0) if seen.any() else np.zeros(2)
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] + half, middle[1] - half)
        axes.set_aspect("equal")
        number = frame if landmarks.frame_index is None else int(np.asarray(landmarks.frame_index)[frame])
        axes.set_title(f"frame {number}, {int(seen.sum())} of {landmarks.n_points} points", fontsize=8)
        axes.tick_params(labelsize=6)
    return write_file(path, lambda stream: figure.savefig(stream, format="png", dpi=110))


def _half_width(points: np.ndarray, visible: np.ndarray) -> float:
    """Half the side of the pictures: what the largest frame needs, outliers aside."""
    spans = [
        np.abs(p[v] - np.median(p[v], axis=0)).max() for p, v in zip(points, visible, strict=True) if v.any()
    ]
    return 1.15 * float(np.percentile(spans, 90)) + 1e-6 if spans else 1.0
