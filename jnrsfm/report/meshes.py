"""The page and the picture of a mesh in motion: a viewer, and the mesh over its photographs and from the side.

The viewer is three.js (`vendor/`, MIT, version 160, as published on npm) with some lines of our own (`meshes.js`); the
pictures are rendered on the host, and are what a browser without WebGL shows.
"""

import base64
import hashlib
import html
import io
import json
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from jnrsfm.geometry.mesh import rasterise
from jnrsfm.geometry.mesh.sequence import MeshSequence
from jnrsfm.pixels import jpeg, library
from jnrsfm.report.contents import Contents
from jnrsfm.report.curves import loss_svg
from jnrsfm.report.summary import MARKS, checks

SIDE = 224  # pixels of a picture
_LIGHT = np.array([-0.35, -0.55, -0.76])


class MeshView(NamedTuple):
    """One frame: `frame` number; pictures uint8 `(side, side, 3)`: `over` the photograph (None without), as `seen` by
    the camera, from the `side`."""

    frame: int
    over: np.ndarray | None
    seen: np.ndarray
    side: np.ndarray


class MeshScene(NamedTuple):
    """What is drawn of a mesh sequence: some frames; what there is to say."""

    views: tuple[MeshView, ...]
    said: str
    data: dict[str, Any]


def _shaded(
    vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Picture `(SIDE, SIDE, 3)` in [0, 1] of camera-frame vertices in pixels of it, and where there is something."""
    drawn = rasterise(vertices, faces, (SIDE, SIDE))
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    light = 0.35 + 0.65 * np.clip(normal @ _LIGHT, 0, 1)
    tone = np.full((len(vertices), 3), 0.8) if colours is None else colours
    picture = drawn.of_vertices(tone, faces) * light[np.maximum(drawn.face, 0)][..., None]
    return picture, drawn.face >= 0


def mesh_scene(contents: Contents) -> MeshScene:
    """Rendered once for page and picture."""
    result = contents.result
    assert isinstance(result, MeshSequence)
    camera = np.asarray(result.camera_vertices, np.float64)
    faces = np.asarray(result.faces)
    colours = None if result.colours is None else np.clip(1.4 * np.asarray(result.colours) + 0.08, 0, 1)
    chosen = range(result.n_frames)
    if contents.photos is None:
        chosen = np.unique(np.linspace(0, result.n_frames - 1, min(24, result.n_frames)).astype(int)).tolist()
    views = []
    white = np.ones((SIDE, SIDE, 3))
    number = np.arange(result.n_frames) if result.frame_index is None else np.asarray(result.frame_index)
    for f in chosen:
        v = camera[f]
        middle = (v.min(0) + v.max(0)) / 2
        centred = (v - middle) * (0.86 * SIDE / np.ptp(v, axis=0)[:2].max())
        at = np.array([SIDE / 2 - 0.5, SIDE / 2 - 0.5, 0])
        seen, there = _shaded(centred + at, faces, None)
        turned = centred @ np.array([[0.5, 0, 0.866], [0, 1, 0], [-0.866, 0, 0.5]])
        turned = turned * min(1.0, 0.86 * SIDE / np.ptp(turned, axis=0)[:2].max())
        side, beside = _shaded(turned + at, faces, colours)
        over = None
        if contents.photos is not None:
            photo = contents.photos[f]
            with library().Image.open(io.BytesIO(photo.jpeg)) as image:
                base = np.asarray(image.convert("RGB").resize((SIDE, SIDE))) / 255
            place = (v - np.array([photo.left, photo.top, 0])) * np.array([1, 1, 1]) * (SIDE / photo.side)
            mesh, inside = _shaded(place, faces, None)
            over = np.where(inside[..., None], 0.35 * base + 0.65 * mesh * [0.55, 0.75, 1.0], base)
        whole = lambda p, m: (255 * np.clip(np.where(m[..., None], p, white), 0, 1)).astype(np.uint8)
        views.append(
            MeshView(
                int(number[f]),
                None if over is None else (255 * np.clip(over, 0, 1)).astype(np.uint8),
                whole(seen, there),
                whole(side, beside),
            )
        )
    known = 1.0 if result.known is None else float(np.mean(np.asarray(result.known)))
    said = f"A template of {len(result.rest)} vertices follows the object by {np.shape(result.handles)[1]} handles"
    said += ", one mesh and one camera a frame" if result.n_frames > 1 else ""
    said += (
        "."
        if known == 1
        else f"; {known:.0%} of the frames had a mask or keypoints, the others are interpolated, or what the network "
        "says."
    )
    return MeshScene(tuple(views), said, _viewer_data(contents, [v.frame for v in views], list(chosen)))


def _viewer_data(contents: Contents, numbers: list[int], chosen: list[int]) -> dict[str, Any]:
    """What `meshes.js` takes: arrays as base64, photographs as data URLs. `places`: of each frame, scale and middle of
    the mesh over the photograph, whose sides are from -1 to 1, y up."""
    result: Any = contents.result
    text = lambda a, kind="<f4": base64.b64encode(np.ascontiguousarray(a, kind).tobytes()).decode()
    delta = (np.asarray(result.handles) - np.asarray(result.rest_handles))[chosen]
    scale = np.ones(result.n_frames) if result.cameras.scale is None else np.asarray(result.cameras.scale)
    shift = np.asarray(result.cameras.translations)
    places, photos = np.zeros((len(chosen), 3)), None
    if contents.photos is not None:
        shown = [contents.photos[f] for f in chosen]
        photos = ["data:image/jpeg;base64," + base64.b64encode(p.jpeg).decode() for p in shown]
        for k, (f, p) in enumerate(zip(chosen, shown, strict=True)):
            middle = (shift[f, :2] - [p.left, p.top]) / p.side * 2 - 1
            places[k] = 2 * scale[f] / p.side, middle[0], -middle[1]
    colours = None if result.colours is None else np.clip(np.asarray(result.colours) ** 2.2 * 2, 0, 1)
    return {
        "rest": text(result.rest), "basis": text(result.basis), "delta": text(delta),
        "faces": text(result.faces, "<u2"), "rotations": text(np.asarray(result.cameras.rotations)[chosen]),
        "places": text(places), "frames": numbers, "photos": photos,
        "colours": None if colours is None else text(colours), "rate": 4.0,
    }  # fmt: skip


def viewer_script() -> str:
    """three.js and `meshes.js` as one module: the library's exports become the object `THREE`."""
    folder = resources.files("jnrsfm.report")
    library_text = folder.joinpath("vendor/three.module.min.js").read_text("utf-8")
    body, _, exports = library_text.rpartition("export{")
    pairs = [e.split(" as ") for e in exports.strip().removesuffix(";").removesuffix("}").split(",")]
    named = ",".join(f"{p[-1]}:{p[0]}" for p in pairs)
    own = folder.joinpath("meshes.js").read_text("utf-8")
    return f"{body}const THREE={{{named}}};\n{own}"


def mesh_page(contents: Contents) -> str:
    """The HTML page: pictures, the quality report, the curve, the settings."""
    scene: MeshScene = contents.scene
    encode = lambda p: "data:image/jpeg;base64," + base64.b64encode(jpeg(p, 85)).decode()
    cell = lambda v: (
        "<figure><div>"
        + "".join(f'<img alt="" src="{encode(p)}">' for p in (v.over, v.seen, v.side) if p is not None)
        + f"</div><figcaption>frame {v.frame}</figcaption></figure>"
    )
    rows = "".join(
        f"<tr><th>{html.escape(c.name)}</th><td>{html.escape(c.value)}</td><td>{MARKS[c.verdict]} {c.verdict}</td>"
        f"<td>{html.escape(c.detail)}</td></tr>"
        for c in checks(contents.quality)
    )
    warned = "".join(f"<p>{html.escape(w)}</p>" for w in (contents.quality or {}).get("warnings", ()))
    verdict = html.escape(((contents.quality or {}).get("verdict") or {}).get("text", ""))
    curve = loss_svg(contents.history) or ""
    settings = html.escape(repr(contents.settings or {}))
    script = viewer_script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(scene.data).replace("<", "\\u003c")
    over = (
        '<div class="stack"><img id="photo" alt="the photograph"><canvas id="over"></canvas></div>'
        if scene.data["photos"]
        else '<img id="photo" alt="" hidden>'
    )
    cited = ""
    if contents.citations:
        cited = (
            f"<details><summary>Please cite</summary><pre>{html.escape(contents.citations)}</pre></details>"
        )
    title = "A mesh that follows a video"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-{digest}'; style-src
'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1240px; padding: 20px; color: #17202c;
  background: #f4f6f9; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.12rem; margin-top: 28px; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(380px, 100%), 1fr)); gap: 14px; }}
figure {{ margin: 0; padding: 10px; background: #fff; border: 1px solid #dbe1e9; border-radius: 12px; }}
figure div {{ display: flex; gap: 4px; }} img {{ flex: 1; width: 0; min-width: 0; border-radius: 4px; }}
figcaption {{ color: #556274; font-size: .9rem; }} pre {{ overflow-x: auto; }} code {{ overflow-wrap: anywhere; }}
#viewer {{ display: flex; flex-wrap: wrap; gap: 14px; margin: 14px 0; }}
.stack {{ position: relative; width: 360px; height: 360px; }} .stack img, .stack canvas {{ position: absolute; inset: 0;
  width: 100%; height: 100%; }} #free {{ width: 360px; height: 360px; background: #fff; border: 1px solid #dbe1e9;
  border-radius: 12px; touch-action: none; cursor: grab; }} #bar {{ flex-basis: 100%; display: flex; gap: 10px; }}
#frame {{ flex: 1; max-width: 560px; }}
td, th {{ text-align: left; padding: 4px 12px 4px 0; vertical-align: top; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #0f141b; color: #e8edf4; }}
  figure {{ background: #171e27; border-color: #2b3644; }} figcaption {{ color: #a3b0c1; }} }}
</style>
<h1>{title}</h1>
<p>{html.escape(scene.said)} Drag the mesh to turn it. Below, the first picture of each frame is the mesh over the
photograph, then the mesh as the camera sees it, then turned by 60 degrees, with the colours of the video.
<code>meshes.glb</code> beside this page moves in Blender and other programs; its morph targets are the handles.</p>
<p><b>{verdict}</b></p>{warned}
<div id="viewer">{over}<canvas id="free" aria-label="the mesh; drag to turn it"></canvas>
<div id="bar"><button id="play" type="button">Pause</button><input id="frame" type="range" min="0" step="0.05" value="0"
aria-label="frame"><span id="number"></span></div></div>
<p id="no-webgl" hidden>This browser shows no WebGL: the pictures below stand for the viewer.</p>
<div class="grid">{"".join(cell(v) for v in scene.views)}</div>
<h2>Quality report</h2><table>{rows}</table>
<h2>Training</h2>{curve}
<h2>Settings</h2><p><code>{settings}</code></p>{cited}
<script type="application/json" id="data">{data}</script>
<script type="module">{script}</script>
</html>
"""


def mesh_figure(contents: Contents) -> Any:
    """The matplotlib figure: six frames."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scene: MeshScene = contents.scene
    chosen = np.unique(np.linspace(0, len(scene.views) - 1, min(6, len(scene.views))).astype(int))
    made = Figure(figsize=(2.2 * len(chosen), 7.0), dpi=110, facecolor="white")
    FigureCanvasAgg(made)
    for column, k in enumerate(chosen):
        view = scene.views[k]
        shown = [p for p in (view.over, view.seen, view.side) if p is not None]
        for row, picture in enumerate(shown):
            axes = made.add_subplot(len(shown), len(chosen), row * len(chosen) + column + 1)
            axes.imshow(picture)
            axes.set_axis_off()
            if row == 0:
                axes.set_title(f"frame {view.frame}", fontsize=9)
    made.suptitle(scene.said, fontsize=10)
    return made
