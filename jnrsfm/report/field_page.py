"""The page of a trajectory field: views beside the truth, time frozen and running, paths in 3D to turn, curves."""

import base64
import html
import json
from typing import Any

import numpy as np

from jnrsfm.pixels import jpeg
from jnrsfm.report.contents import Contents
from jnrsfm.report.curves import loss_svg
from jnrsfm.scenes import FieldShow

_HEAT = np.array([[12, 12, 40], [90, 20, 110], [210, 60, 70], [250, 160, 60], [252, 252, 200]])
_WORST = 0.3  # of the range: the brightest error


def show(contents: Contents) -> FieldShow:
    """What is drawn. Raises InputError for a field that was saved without views."""
    from jnrsfm.errors import InputError

    found = contents.result.show  # type: ignore[attr-defined]
    if found is None:
        raise InputError("the field has no views to show: fit it with jnrsfm.fit")
    return found


def error_map(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """`(h, w, 3)` uint8: mean absolute error over channels, dark is none, brightest is 0.3 of the range and more."""
    gap = np.abs(truth.astype(float) - found).mean(-1) / 255 / _WORST
    at = np.clip(gap, 0, 1) * (len(_HEAT) - 1)
    return np.stack([np.interp(at, np.arange(len(_HEAT)), _HEAT[:, c]) for c in range(3)], -1).astype(
        np.uint8
    )


def _img(image: np.ndarray, alt: str) -> str:
    data = base64.b64encode(jpeg(image, 90)).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{data}">'


def _player(name: str, title: str, images: np.ndarray) -> str:
    frames = json.dumps(["data:image/jpeg;base64," + base64.b64encode(jpeg(i, 88)).decode() for i in images])
    return (
        f'<figure><figcaption>{title}</figcaption><img id="{name}" alt="{title}">'
        f'<input type="range" min="0" max="{len(images) - 1}" value="0" id="{name}-at" aria-label="{title}">'
        f"<script>play('{name}',{frames})</script></figure>"
    )


def page_html(contents: Contents) -> str:
    """The page, one file that opens from disk."""
    s = show(contents)
    quality: Any = contents.quality or {"items": [], "warnings": []}
    settings: Any = contents.settings or {}
    rows = "".join(
        f"<figure><div>{_img(t, 'truth')}{_img(f, 'field')}{_img(error_map(t, f), 'error')}</div>"
        f"<figcaption>{html.escape(c)}</figcaption></figure>"
        for t, f, c in zip(s.truth, s.found, s.captions, strict=True)
    )
    items = "".join(
        f"<tr><td>{html.escape(i['name'])}</td><td>{i['value']:.3g} {html.escape(i['unit'])}</td>"
        f"<td>{html.escape(i['verdict'])}</td><td>{html.escape(i['explain'])}</td></tr>"
        for i in quality["items"]
    )
    told = html.escape((quality.get("verdict") or {}).get("text", ""))
    verdict = f"<p><b>{told}</b></p>" if told else ""
    warned = "".join(f"<p class=warn>{html.escape(w)}</p>" for w in quality["warnings"])
    of = "images that training did not see" if s.held_out else "training images"
    paths = ""
    if len(s.paths):
        data = {
            "paths": np.round(np.asarray(s.paths, float), 5).tolist(), "colours": np.asarray(s.colours).tolist(),
            "eye": np.asarray(s.eye, float).tolist(),
        }  # fmt: skip
        paths = (
            "<h2>Paths</h2><p>Points of what moves in the middle frame and their way through the whole clip. Drag to "
            "turn, wheel to come near. The dot is the present.</p>"
            f'<canvas id="paths" width="900" height="520"></canvas><script>paths({json.dumps(data)})</script>'
        )
    cited = (
        ""
        if not contents.citations
        else f"<details><summary>Please cite</summary><pre>{html.escape(contents.citations)}</pre></details>"
    )
    about = html.escape(json.dumps(settings, indent=1, default=str))
    curve = loss_svg(contents.history) if contents.history else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(contents.title)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1240px; padding: 20px; color: #17202c;
  background: #f4f6f9; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.15rem; margin-top: 28px; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(520px, 100%), 1fr)); gap: 14px; }}
figure {{ margin: 0; padding: 10px; background: #fff; border: 1px solid #dbe1e9; border-radius: 12px; }}
figure div {{ display: flex; gap: 4px; }} figure div img {{ flex: 1; width: 0; min-width: 0; }}
figure > img {{ width: 100%; }} input {{ width: 100%; }} figcaption {{ color: #556274; font-size: .9rem; }}
canvas {{ width: 100%; background: #fff; border: 1px solid #dbe1e9; border-radius: 12px; touch-action: none; }}
td {{ padding: 2px 12px 2px 0; }} .warn {{ border-left: 4px solid #8a5a00; padding-left: 10px; }}
pre {{ overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #0f141b; color: #e8edf4; }}
  figure, canvas {{ background: #171e27; border-color: #2b3644; }} figcaption {{ color: #a3b0c1; }} }}
</style>
<script>{_SCRIPT}</script>
<h1>{html.escape(contents.title)}</h1>
{verdict}<table>{items}</table>{warned}
<p>{html.escape(contents.code.value)}: {html.escape(contents.code.advice)}</p>
<h2>Views: truth, field, error</h2>
<p>Of {of}. Errors from dark (none) to bright (30 % of the range).</p><div class="grid">{rows}</div>
<h2>Time frozen, and time running</h2>
<div class="grid">{_player("frozen", "The camera moves, time stands still", s.frozen)}
{_player("moving", "The camera stands still, time runs", s.moving)}</div>
{paths}
<h2>Training</h2>{curve}
<details><summary>Settings</summary><pre>{about}</pre></details>{cited}
</html>
"""


_SCRIPT = """
function play(name, frames) {
  const img = document.getElementById(name), at = document.getElementById(name + '-at');
  let step = 1, held = false, i = 0;
  const show = () => { img.src = frames[i]; at.value = i; };
  at.addEventListener('input', () => { held = true; i = +at.value; show(); });
  show();
  setInterval(() => { if (held) return; if (i + step < 0 || i + step >= frames.length) step = -step;
    if (frames.length > 1) i += step; show(); }, 110);
}
function paths(data) {
  const canvas = document.getElementById('paths'), c = canvas.getContext('2d');
  const all = data.paths.flat(), mid = [0, 1, 2].map(k => all.reduce((s, p) => s + p[k], 0) / all.length);
  const size = Math.sqrt(all.reduce((s, p) => s + p.reduce((t, v, k) => t + (v - mid[k]) ** 2, 0), 0) / all.length);
  const e = data.eye; let yaw = 0, pitch = 0, near = 1, now = 0;
  function at(p) {
    const q = [0, 1, 2].map(k => (p[k] - mid[k]) / (size || 1));
    let v = [0, 1, 2].map(j => e[0][j] * q[0] + e[1][j] * q[1] + e[2][j] * q[2]);
    v = [v[0] * Math.cos(yaw) + v[2] * Math.sin(yaw), v[1], v[2] * Math.cos(yaw) - v[0] * Math.sin(yaw)];
    v = [v[0], v[1] * Math.cos(pitch) - v[2] * Math.sin(pitch), v[1] * Math.sin(pitch) + v[2] * Math.cos(pitch)];
    const f = canvas.height * near / (v[2] + 6) * 1.4;
    return [canvas.width / 2 + f * v[0], canvas.height / 2 + f * v[1]];
  }
  function draw() {
    c.clearRect(0, 0, canvas.width, canvas.height);
    data.paths.forEach((path, i) => {
      const w = path.map(at), rgb = data.colours[i].join(',');
      c.strokeStyle = `rgba(${rgb},.45)`; c.beginPath();
      w.forEach((p, k) => k ? c.lineTo(...p) : c.moveTo(...p)); c.stroke();
      c.fillStyle = `rgb(${rgb})`; c.beginPath(); c.arc(...w[now % w.length], 3, 0, 7); c.fill();
    });
  }
  let down = null;
  canvas.addEventListener('pointerdown', x => { down = [x.clientX, x.clientY];
    canvas.setPointerCapture(x.pointerId); });
  canvas.addEventListener('pointerup', () => { down = null; });
  canvas.addEventListener('pointermove', x => { if (!down) return;
    yaw += (x.clientX - down[0]) / 150; pitch += (x.clientY - down[1]) / 150; down = [x.clientX, x.clientY]; draw(); });
  canvas.addEventListener('wheel', x => { near *= Math.exp(-x.deltaY / 600); x.preventDefault(); draw(); });
  setInterval(() => { now++; draw(); }, 110); draw();
}
"""


def figure(contents: Contents) -> Any:
    """A matplotlib figure of the pairs: truth, field, error. Raises InputError without matplotlib."""
    from jnrsfm.errors import InputError

    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "pictures need matplotlib, which is not installed: pip install matplotlib"
        ) from error
    s = show(contents)
    fig = Figure(figsize=(9, 2.4 * len(s.truth)), layout="constrained")
    axes = fig.subplots(len(s.truth), 3, squeeze=False)
    for row, t, f, caption in zip(axes, s.truth, s.found, s.captions, strict=True):
        for ax, image, title in zip(row, (t, f, error_map(t, f)), ("truth", caption, "error"), strict=True):
            ax.imshow(image)
            ax.set_title(title, fontsize=8)
            ax.axis("off")
    return fig
