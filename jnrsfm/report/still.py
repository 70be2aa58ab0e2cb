"""`report.png`: the page in still form, for a paper, a mail or a pull request."""

import contextlib
import os
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.report.contents import Contents, for_result
from jnrsfm.report.curves import curve_lines
from jnrsfm.report.scene import HIDDEN, SEEN, UNDEFINED, Scene
from jnrsfm.report.summary import MARKS, alerts, checks, score, summarise, what_was_done
from jnrsfm.runs import write_file
from jnrsfm.types import Result

INK, MUTED, LINE, ACCENT = "#17202c", "#556274", "#dbe1e9", "#1f5fd1"
BONE, LEFT, RIGHT, TRUTH, ERROR = "#3b4a5e", "#d4610b", "#1f6fbf", "#16895a", "#cf2f55"
TONES = {"good": "#12703b", "fair": "#8a5a00", "poor": "#b3202c", "unknown": "#4d5968"}
TINTS = {"good": "#e2f4e8", "fair": "#fdf1d3", "poor": "#fde6e6", "unknown": "#e9edf2"}
COLUMNS = 5


def _turned(points: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """Points seen from a side: x right, y down, z away, as in the viewer of the page."""
    x, y, z = np.moveaxis(points, -1, 0)
    x, z = x * np.cos(yaw) + z * np.sin(yaw), -x * np.sin(yaw) + z * np.cos(yaw)
    return np.stack([x, y * np.cos(pitch) - z * np.sin(pitch), y * np.sin(pitch) + z * np.cos(pitch)], -1)


def _sides(scene: Scene) -> np.ndarray:
    side = np.zeros(len(scene.names), int)
    for left, right in scene.pairs:
        side[left], side[right] = 1, 2
    return side


def _link_colours(scene: Scene) -> list[str]:
    side, palette = _sides(scene), (BONE, LEFT, RIGHT)
    out = []
    for a, b in scene.edges:
        crossing = side[a] and side[b] and side[a] != side[b]
        out.append(palette[0 if crossing else side[b] or side[a]])
    return out


def _figure3d(axes, scene: Scene, at: int, view: str, yaw: float, pitch: float) -> None:
    from matplotlib.collections import LineCollection

    turn = {"steady": scene.steady, "world": scene.world}.get(view)
    m = np.eye(3) if turn is None else turn[at]
    x = _turned(scene.shape[at] @ m.T, yaw, pitch)
    drawn = scene.state[at] != UNDEFINED
    thin = float(np.clip(np.sqrt(30 / len(scene.names)), 0.3, 1.0))
    if scene.reference is not None:
        g = _turned(scene.reference[at] @ m.T, yaw, pitch)
        both = drawn & np.isfinite(g).all(-1)
        keep = [e for e in scene.edges if both[e[0]] and both[e[1]]]
        axes.add_collection(
            LineCollection([g[e, :2] for e in keep], colors=TRUTH, linewidths=1.6 * thin, alpha=0.6)
        )
        axes.add_collection(
            LineCollection(
                [(g[i, :2], x[i, :2]) for i in np.flatnonzero(both)], colors=ERROR, linewidths=1.0, alpha=0.8
            )
        )
        axes.scatter(g[both, 0], g[both, 1], s=7 * thin**2, color=TRUTH, alpha=0.7, linewidths=0)
    links = [
        (x[e, 2].mean(), x[e, :2], colour)
        for e, colour in zip(scene.edges, _link_colours(scene), strict=True)
        if drawn[e[0]] and drawn[e[1]]
    ]
    links.sort(key=lambda item: -item[0])
    style = {"linestyles": ":"} if scene.guessed else {}
    for order, (_, places, colour) in enumerate(links):
        rim = LineCollection([places], colors="white", linewidths=4.2 * thin, zorder=3 + order / len(links))
        link = LineCollection(
            [places], colors=colour, linewidths=(1.4 if scene.guessed else 2.4) * thin,
            zorder=3 + (order + 0.5) / len(links), capstyle="round", **style,
        )  # fmt: skip
        if not scene.guessed:
            axes.add_collection(rim)
        axes.add_collection(link)
    colours = np.array([BONE, LEFT, RIGHT])[_sides(scene)]
    hidden, seen = scene.state[at] == HIDDEN, scene.state[at] == SEEN
    axes.scatter(x[seen, 0], x[seen, 1], s=13 * thin**2, c=colours[seen], zorder=5, linewidths=0)
    axes.scatter(x[hidden, 0], x[hidden, 1], s=16 * thin**2, facecolors="white", edgecolors=colours[hidden],
                 zorder=5, linewidths=1.1)  # fmt: skip
    r = 1.06 * scene.radius
    axes.set(xlim=(-r, r), ylim=(r, -r), aspect="equal", xticks=[], yticks=[])


def _figure2d(axes, scene: Scene, at: int) -> None:
    from matplotlib.collections import LineCollection

    seen, back = scene.observed[at], scene.reprojected[at]
    known, drawn = np.isfinite(seen).all(-1), np.isfinite(back).all(-1) & (scene.state[at] != UNDEFINED)
    hidden = drawn & (scene.state[at] == HIDDEN)
    thin = float(np.clip(np.sqrt(30 / len(scene.names)), 0.3, 1.0))
    keep = [e for e in scene.edges if drawn[e[0]] and drawn[e[1]]]
    axes.add_collection(LineCollection([back[e] for e in keep], colors=LINE, linewidths=1.6 * thin, zorder=1))
    axes.add_collection(
        LineCollection(
            [(seen[i], back[i]) for i in np.flatnonzero(known & drawn)],
            colors=ERROR,
            linewidths=1.0,
            zorder=2,
        )
    )
    axes.scatter(seen[known, 0], seen[known, 1], s=8 * thin**2, color=INK, zorder=3, linewidths=0)
    ring = {"facecolors": "none", "linewidths": 0.9, "zorder": 4}
    axes.scatter(*back[drawn & ~hidden].T, s=26 * thin**2, edgecolors=ACCENT, **ring)
    axes.scatter(*back[hidden].T, s=26 * thin**2, edgecolors=MUTED, linestyles="dotted", **ring)
    every = np.concatenate([seen[known], back[drawn]])
    if len(every):
        centre, half = (
            (every.min(0) + every.max(0)) / 2,
            0.56 * float((every.max(0) - every.min(0)).max() or 1.0),
        )
        axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] + half, centre[1] - half))
    axes.set(aspect="equal", xticks=[], yticks=[])


def _say(target, x: float, y: float, words: str, **style) -> Any:
    """Text whose dollars are dollars: names are the user's, not mathematics."""
    return target.text(x, y, words, parse_math=False, **{"color": INK, "va": "top", **style})


def _curve(axes, history: Sequence[dict]) -> None:
    lines = curve_lines(history)
    tone = {"loss": ACCENT, "heldout": LEFT, "reprojection": TRUTH}
    words = {"loss": "training loss", "heldout": "held-out points", "reprojection": "reprojection"}
    last = [float(v[-1]) for kind, _, _, v in lines if kind == "loss"]
    told = set()
    for kind, _, steps, values in lines:
        strong = kind != "loss" or float(values[-1]) == min(last)
        name = words[kind] if strong and kind not in told else None
        told |= {kind} if name else set()
        look = {"lw": 1.8, "alpha": 1.0} if strong else {"lw": 0.9, "alpha": 0.4}
        marker = "o" if len(steps) == 1 else None
        axes.plot(steps, values, color=tone[kind], label=name, marker=marker, ms=3, **look)
    if all((v > 0).all() for *_, v in lines):
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    axes.set_xlabel("training step", fontsize=8, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED, which="both")
    axes.grid(color=LINE, lw=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)


def _quality(axes, quality: Mapping | None, scores: Mapping | None) -> None:
    axes.axis("off")
    items = checks(quality)[:11]
    y = 0.98
    if not items:
        _say(axes, 0.0, y, "No check was made.", fontsize=9, color=MUTED)
        y -= 0.11
    gap = min(0.105, 0.84 / max(len(items), 1))
    for check in items:
        verdict = check.verdict
        _say(axes, 0.0, y, textwrap.shorten(check.name, 44, placeholder="…"), fontsize=9)
        _say(axes, 0.78, y, textwrap.shorten(check.value, 34, placeholder="…"), fontsize=9, ha="right")
        tone = {"color": TONES[verdict], "fontweight": "bold"}
        chip = {"boxstyle": "round,pad=0.2", "fc": TINTS[verdict], "ec": "none"}
        _say(axes, 0.82, y, f"{MARKS[verdict]} {verdict}", fontsize=8.5, bbox=chip, **tone)
        y -= gap
    if scores:
        y -= 0.02
        first = {
            name: "normalized_error" if "normalized_error" in row else next(iter(row))
            for name, row in scores.items()
            if row
        }
        told = [(name, metric, scores[name][metric]) for name, metric in first.items()][:4]
        text = "; ".join(f"{name}: {metric.replace('_', ' ')} {score(metric, v)}" for name, metric, v in told)
        words = textwrap.fill(f"Against the ground truth: {text}", 80)
        _say(axes, 0.0, y, words, fontsize=8.5, color=TRUTH)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def draw(contents: Contents) -> Any:
    """The matplotlib figure of a reconstruction of points: five frames spread over the set, the 3D obliquely and from
    the side, the 2D input with the reprojection; below, the loss curve and the quality report.

    Raises `InputError` where matplotlib (the extra `viz`) is absent.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "report.png needs matplotlib, which is not installed; pip install matplotlib"
        ) from error
    scene, quality = contents.scene, contents.quality
    at = np.unique(np.linspace(0, len(scene.frames) - 1, COLUMNS).astype(int))
    verdict, words = summarise(quality)
    warned = alerts(quality)
    with _plain_style():
        made = Figure(figsize=(13.2, 11.2), dpi=110, facecolor="white")
        FigureCanvasAgg(made)
        _say(
            made,
            0.03,
            0.985,
            textwrap.shorten(contents.title, 90, placeholder="…"),
            fontsize=19,
            fontweight="bold",
        )
        lead = textwrap.fill(what_was_done(scene, contents.history, contents.settings), 158)
        _say(made, 0.03, 0.954, lead, fontsize=10, color=MUTED)
        words = textwrap.shorten(words, 130, placeholder="…")
        chip = {"boxstyle": "round,pad=0.5", "fc": TINTS[verdict], "ec": "none"}
        tone = {"color": TONES[verdict], "fontweight": "bold"}
        _say(made, 0.037, 0.89, f"{MARKS[verdict]} {verdict}:  {words}", fontsize=11, bbox=chip, **tone)
        if warned:
            more = f" (and {len(warned) - 1} more)" if len(warned) > 1 else ""
            first = textwrap.shorten(warned[0], 150, placeholder="…")
            _say(made, 0.03, 0.86, f"Warning: {first}{more}", fontsize=9.5, color=TONES["fair"])
        grid = made.add_gridspec(
            4, COLUMNS, left=0.055, right=0.985, top=0.82, bottom=0.055, hspace=0.1, wspace=0.05,
            height_ratios=[1, 1, 0.9, 1.25],
        )  # fmt: skip
        where = "steadied" if scene.start_view == "steady" else "camera frame"
        rows = (
            (f"3D, {where},\noblique", lambda ax, f: _figure3d(ax, scene, f, scene.start_view, -0.5, 0.2)),
            (
                f"3D, {where},\nfrom the side",
                lambda ax, f: _figure3d(ax, scene, f, scene.start_view, np.pi / 2, 0.1),
            ),
            ("2D input and\nreprojection", lambda ax, f: _figure2d(ax, scene, f)),
        )
        for r, (name, paint) in enumerate(rows):
            for c, f in enumerate(at):
                axes = made.add_subplot(grid[r, c])
                paint(axes, int(f))
                for spine in axes.spines.values():
                    spine.set_color(LINE)
                if r == 0:
                    axes.set_title(f"frame {scene.frames[f]}", fontsize=9.5, color=MUTED)
                if c == 0:
                    axes.set_ylabel(name, fontsize=9.5, color=INK)
        drawn = bool(curve_lines(contents.history))
        lower = grid[3, :].subgridspec(
            1, 2 if drawn else 1, wspace=0.12, width_ratios=[1, 1.15] if drawn else [1]
        )
        right = made.add_subplot(lower[0, -1])
        box = right.get_position()
        right.set_position((box.x0, box.y0, box.width, box.height * 0.84))
        if drawn:
            left = made.add_subplot(lower[0, 0])
            place = left.get_position()
            left.set_position((place.x0, place.y0, place.width, place.height * 0.8))
            _curve(left, contents.history)
            left.set_title("Training", loc="left", fontsize=11, fontweight="bold", color=INK)
        _quality(right, quality, contents.scores)
        right.set_title("Quality report", loc="left", fontsize=11, fontweight="bold", color=INK)
        legend = "left orange, right blue   " if len(scene.pairs) else ""
        legend += "○ hidden point, predicted   "
        legend += "dotted: guessed links   " if scene.guessed and len(scene.edges) else ""
        legend += "green: ground truth, red: error   " if scene.reference is not None else ""
        legend += "2D: ● observed, ◯ reprojected"
        _say(made, 0.985, 0.012, legend, fontsize=8.5, color=MUTED, ha="right", va="bottom")
    return made


def figure(shown: Result | Contents) -> Any:
    """The matplotlib figure of a result, or of a result with all that a report shows beside it.

    The figure belongs to no window and no pyplot state; `figure.savefig(path)` writes it. Raises `InputError` where
    matplotlib is absent or the type of result has no panels.
    """
    contents = shown if isinstance(shown, Contents) else Contents(shown)
    return for_result(type(contents.result)).figure(contents)


def write_still(path: str | os.PathLike, contents: Contents) -> Path:
    """Write the figure of a result to `path` as PNG and return the path.

    Raises `InputError` where matplotlib is absent, frames or points do not agree, or `path` cannot be written.
    """
    made = figure(contents)
    with _plain_style():
        return write_file(path, lambda out: made.savefig(out, format="png", metadata={"Software": "jnrsfm"}))


@contextlib.contextmanager
def _plain_style() -> Iterator[None]:
    """The user's own matplotlib style stays out of it; a glyph that the font lacks is no failure."""
    from matplotlib import style

    with style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield
