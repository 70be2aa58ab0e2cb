"""The page of depth maps: beside their frames before and after alignment, as clouds of points, and what stays free."""

import base64
import html
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from jnrsfm.depth_maps import DepthMaps
from jnrsfm.errors import InputError
from jnrsfm.metrics.depth import flicker
from jnrsfm.pixels import jpeg
from jnrsfm.report.contents import Contents
from jnrsfm.report.curves import loss_svg
from jnrsfm.report.page import quality_html, settings_html
from jnrsfm.report.stereo_page import depth_colours
from jnrsfm.report.summary import alerts, summarise

MOST = 24
_TURN = 0.35  # radians to either side
_FOV = 0.87  # of the width, radians: no camera is known, a common one stands for it


class Row(NamedTuple):
    """One frame of the page; pictures `(y, x, 3)` uint8: `frame`; `raw`, the inverse depth in one range of colours for
    all frames; `aligned`, after the best scale and shift, to `against` (the stereo's disparity, or the frame before, or
    None) in the same colours; `cloud`, the points seen from the left and from the right."""

    caption: str
    frame: np.ndarray
    raw: np.ndarray
    aligned: np.ndarray | None
    against: np.ndarray | None
    cloud: np.ndarray


class DepthScene(NamedTuple):
    """What the page shows: its rows, and what it says above them."""

    rows: list[Row]
    lines: list[str]

    @property
    def said(self) -> str:
        """One sentence."""
        return self.lines[0]


def cloud(frame: np.ndarray, inverse_depth: np.ndarray, turn: float) -> np.ndarray:
    """The picture's points pushed to their depth and seen by a camera that was turned about their middle by `turn`
    radians, nearer points before farther ones; grey where nothing is seen. Uint8, of the frame's size."""
    high, wide = inverse_depth.shape
    q = np.asarray(inverse_depth, np.float64)
    # twice the points, so that no holes open between neighbours that a turn draws apart
    factor = 2
    q = np.repeat(np.repeat(q, factor, 0), factor, 1)
    colour = np.repeat(np.repeat(frame, factor, 0), factor, 1)
    focal = wide / 2 / np.tan(_FOV / 2)
    y, x = np.mgrid[: high * factor, : wide * factor] / factor
    x, y = x - (wide - 1) / 2, y - (high - 1) / 2
    z = np.median(q) / np.maximum(q, 1e-6)
    z = np.minimum(z, 6.0)
    points = np.stack([x * z / focal, y * z / focal, z - 1.0], -1).reshape(-1, 3)
    c, s = np.cos(turn), np.sin(turn)
    points = points @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T
    depth = points[:, 2] + 1.0
    u = np.round(points[:, 0] / np.maximum(depth, 0.05) * focal + (wide - 1) / 2).astype(int)
    v = np.round(points[:, 1] / np.maximum(depth, 0.05) * focal + (high - 1) / 2).astype(int)
    seen = (depth > 0.05) & (u >= 0) & (u < wide) & (v >= 0) & (v < high)
    order = np.flatnonzero(seen)[np.argsort(-depth[seen], kind="stable")]
    found = np.full((high, wide, 3), 128, np.uint8)
    found[v[order], u[order]] = colour.reshape(-1, 3)[order]
    return found


def depth_scene(contents: Contents) -> DepthScene:
    """What is drawn. Raises InputError where there is no frame."""
    maps = contents.result
    assert isinstance(maps, DepthMaps)
    if not maps.n_frames:
        raise InputError("there are no depth maps to show")
    shown = np.unique(np.linspace(0, maps.n_frames - 1, MOST).round().astype(int))
    q = np.asarray(maps.inverse_depth, np.float64)
    number = np.arange(maps.n_frames) if maps.number is None else np.asarray(maps.number)
    low, high = np.percentile(np.log(q), [2, 98])
    whole = np.ones(q.shape[1:], bool)
    rows, changes = [], []
    for i in shown:
        frame = np.asarray(maps.frames[i])
        raw = _ramp(np.log(q[i]), low, high)
        aligned = against = None
        caption = f"frame {number[i]}" if maps.disparity is None else f"pair {number[i]}"
        if maps.disparity is not None:
            valid = whole if maps.valid is None else np.asarray(maps.valid[i])
            aligned, against = _beside(q[i], np.asarray(maps.disparity[i], np.float64), valid)
        elif i and number[i] - number[i - 1] == 1:
            step = flicker(q[i - 1], q[i], np.asarray(maps.flow[i - 1], np.float64))
            if np.isfinite(step.aligned):
                changes.append(step[:2])
                aligned = _ramp(np.log(np.maximum(step.scale * q[i] + step.shift, 1e-6)), low, high)
                against = _ramp(np.log(q[i - 1]), low, high)
                caption += f": changes by {step.raw:.3f} from the one before, {step.aligned:.3f} aligned"
        if maps.metres is not None:
            z = np.asarray(maps.metres[i])
            good = np.isfinite(z)
            middle = float(np.median(z[good])) if good.any() else float("nan")
            spread = (
                float(np.median(np.asarray(maps.deviation[i])[good]))
                if maps.deviation is not None
                else np.inf
            )
            bar = f" ± {spread:.3g}" if np.isfinite(spread) else ", error unknown"
            caption += f"; middle depth {middle:.3g}{bar}"
        both = np.concatenate([cloud(frame, q[i], turn) for turn in (-_TURN, _TURN)], 1)
        rows.append(Row(caption, frame, raw, aligned, against, both))
    lines = [
        f"{maps.n_frames} depth maps of {maps.size[0]} x {maps.size[1]}. Known: {maps.gauge}.",
        "Brighter is nearer. First column: the frame; second: depth as it came, in one range of colours for all; then "
        + (
            "after the best scale and shift of its inverse, beside the disparity of the stereo; "
            if maps.disparity is not None
            else "with scale and shift fitted to the frame before, beside that one, where two follow each other; "
        )
        + "last: the frame as a cloud of points, seen from the left and from the right by a camera of "
        f"{round(np.degrees(_FOV))}° that stands for the unknown one, scale and shift as they came.",
    ]
    if changes:
        a, b = np.median(np.array(changes), 0)
        lines.append(
            f"Temporal flicker, median change of depth along the flow from a frame to the next: {a:.3f} as the maps "
            f"are, {b:.3f} with scale and shift fitted."
        )
    return DepthScene(rows, lines)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Colours between two ends."""
    return depth_colours(values, np.ones(values.shape, bool), (low, high))


def _beside(q: np.ndarray, disparity: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Aligned to the disparity, and the disparity, in its colours."""
    if valid.sum() < 2:
        return depth_colours(q, np.ones(q.shape, bool)), depth_colours(disparity, valid)
    x, y = q[valid], disparity[valid]
    away = x - x.mean()
    slope = float((away * y).sum() / max(float((away**2).sum()), 1e-12))
    ends = tuple(float(v) for v in np.percentile(y, [2, 98]))
    fitted = slope * (q - x.mean()) + y.mean()
    return depth_colours(fitted, np.ones(q.shape, bool), ends), depth_colours(disparity, valid, ends)  # type: ignore[arg-type]


def _picture(image: np.ndarray | None) -> str:
    if image is None:
        return "<span></span>"
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg(image, 82)).decode()}">'


def depth_page(contents: Contents) -> str:
    """The whole page as text: no script, nothing from a network."""
    scene: DepthScene = contents.scene
    verdict, words = summarise(contents.quality)
    style = resources.files("jnrsfm.report").joinpath("page.css").read_text("utf-8")
    e = lambda x: html.escape(str(x), quote=True)
    rows = "".join(
        f"<figure><div>{''.join(map(_picture, (r.frame, r.raw, r.aligned, r.against, r.cloud)))}</div>"
        f"<figcaption>{e(r.caption)}</figcaption></figure>"
        for r in scene.rows
    )
    warnings = "".join(f"<li><b>Warning.</b> {e(w)}</li>" for w in alerts(contents.quality))
    curve = loss_svg(contents.history)
    panel = lambda title, body: f'<section class="panel"><h2>{title}</h2>{body}</section>' if body else ""
    cited = f"<pre>{e(contents.citations)}</pre>" if contents.citations else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{e(contents.title)}</title>
<style>{style}
.maps figure {{ margin: 0 0 12px; }} .maps figure div {{ display: grid; gap: 4px;
  grid-template-columns: repeat(4, 1fr) 2fr; }}
.maps img {{ width: 100%; border-radius: 4px; display: block; }}
@media (max-width: 700px) {{ .maps figure div {{ grid-template-columns: 1fr 1fr; }} }}
</style>
<header><h1>{e(contents.title)}</h1>{"".join(f'<p class="lead">{e(line)}</p>' for line in scene.lines)}
<div class="verdict {verdict}"><span class="chip {verdict}">{e(verdict)}</span><span>{e(words)}</span></div>
{f'<ul class="warnings" aria-label="Warnings">{warnings}</ul>' if warnings else ""}</header>
<main><section class="panel maps"><h2>Depth</h2>{rows}</section>
{panel("Checks that need no true depth", quality_html(contents.quality))}
{panel("Training", curve)}
{panel("Settings", settings_html(contents.settings) if contents.settings else "")}
{panel("Please cite", cited)}</main>
</html>
"""


def draw_depth(contents: Contents) -> Any:
    """A matplotlib figure of the first rows. Raises InputError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "figures need matplotlib, which is not installed: pip install 'jnrsfm[viz]'"
        ) from error
    rows = contents.scene.rows[:6]
    figure = Figure(figsize=(12, 1.7 * len(rows) + 0.6))
    for i, row in enumerate(rows):
        pictures = (row.frame, row.raw, row.aligned, row.against, row.cloud)
        for j, image in enumerate(pictures):
            axes = figure.add_subplot(len(rows), 5, 5 * i + j + 1)
            axes.axis("off")
            if image is not None:
                axes.imshow(image)
            if i == 0:
                axes.set_title(
                    ("frame", "depth as it came", "aligned", "compared with", "cloud, two views")[j],
                    fontsize=9,
                )
    figure.suptitle(contents.title)
    return figure
