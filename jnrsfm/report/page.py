"""`report.html`: one file that opens anywhere, from disk, with no network and no WebGL.

Why a viewer of our own: 3D, input image plane and time must move together on one page that can be mailed.
Point-and-line drawing on a 2D canvas does that in some tens of kB of plain script; the viewers at hand
bring 0.8 to 5 MB, a server or WebGL, and no place for the 2D panel and the quality report.
"""

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.report.contents import Contents, for_result
from jnrsfm.report.curves import loss_svg
from jnrsfm.report.latent import latent_svg
from jnrsfm.report.scene import SEEN, VIDEO_DEGREES, Scene
from jnrsfm.report.summary import GLOSSARY, MARKS, REFLECTION, alerts, checks, score, summarise, what_was_done
from jnrsfm.runs import write_file
from jnrsfm.types import ResultCode

SCRIPTS = ("math.js", "draw.js", "viewer.js")
_ABSENT = -32768

PROTOCOLS = {
    "kong": "each frame scaled and rotated onto the truth, reflection allowed",
    "frame-mirror": "each frame may choose its depth reflection; no rotation or scale fit",
    "one-mirror": "one depth reflection for each clip: what you see on this page",
    "one-mirror-scaled": "each frame scaled to the truth, one depth reflection for each clip",
    "akhter": "one rotation for the whole sequence",
    "c3dpo": "camera-frame points, centred, depth reflection allowed",
    "deep-nrsfm++": "scaled to the truth, rotated, reflection allowed",
}


def _b64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def pack(points: np.ndarray) -> dict[str, str]:
    """`(frame, point, axis)` as little-endian int16 with a float32 centre and step a frame; NaN kept.

    The error is at most half a step, 1/65000 of the frame's extent.
    """
    frames, _, axes = points.shape
    flat = np.where(np.isfinite(points), points, np.nan)
    filled = np.where(np.isfinite(flat).any(1, keepdims=True), flat, 0.0)
    low, high = np.nanmin(filled, 1), np.nanmax(filled, 1)
    centre = ((low + high) / 2).astype("<f4")
    step = np.maximum((high - low).max(1) / 2 / 32000, 1e-30).astype("<f4")
    codes = np.round((flat - centre[:, None]) / step[:, None, None])
    codes = np.where(np.isfinite(codes), np.clip(codes, -32767, 32767), _ABSENT).astype("<i2")
    assert codes.shape == (frames, points.shape[1], axes)
    return {"q": _b64(codes), "centre": _b64(centre), "step": _b64(step)}


def _turns(rotations: np.ndarray) -> str:
    return _b64(np.round(np.clip(rotations, -1, 1) * 32767).astype("<i2"))


def scene_data(scene: Scene) -> dict[str, Any]:
    """What the viewer reads, all JSON."""
    category_names = tuple(dict.fromkeys(scene.category or ()))
    spread = scene.score
    size = scene.radius
    top = None
    if spread is not None and np.isfinite(spread).any():
        top = max(float(np.percentile(spread[np.isfinite(spread)], 99)), 1e-12)
        codes = np.clip(np.nan_to_num(spread / top, nan=1.0, posinf=1.0), 0, 1) * 255
    return {
        "frames": len(scene.frames), "points": len(scene.names), "total": scene.total,
        "names": list(scene.names), "edges": scene.edges.tolist(), "guessed": scene.guessed,
        "pairs": scene.pairs.tolist(), "frameNumber": scene.frames.tolist(), "clip": scene.clip.tolist(),
        "clips": list(scene.clips), "ordered": scene.ordered, "stride": scene.stride,
        "fps": scene.fps, "model": scene.model, "view": scene.start_view, "radius": size,
        "calm": scene.turn < VIDEO_DEGREES, "categoryNames": list(category_names),
        "category": [category_names.index(c) for c in scene.category] if scene.category else None,
        "state": _b64(scene.state), "shape": pack(scene.shape), "observed": pack(scene.observed),
        "reprojected": pack(scene.reprojected), "steady": _turns(scene.steady), "world": _turns(scene.world),
        "reference": None if scene.reference is None else pack(scene.reference),
        "score": None if top is None else _b64(codes.astype(np.uint8)),
        "scoreTop": top, "scoreShare": None if top is None else top / size,
        "error2d": _b64(scene.error2d.astype("<f4")),
        "error3d": None if scene.error3d is None else _b64(scene.error3d.astype("<f4")),
        "margin": None if scene.margin is None else _b64(scene.margin.astype("<f4")),
    }  # fmt: skip


def _photo_data(contents: Contents) -> dict[str, Any]:
    """The photographs of the frames that are shown, and the pixels of an object unit in each."""
    if contents.photos is None:
        return {"photos": None}
    frames, scale = contents.scene.frames, contents.result.scale  # type: ignore[attr-defined]
    photos = [contents.photos[i] for i in frames]
    return {
        "photos": [
            {
                "src": "data:image/jpeg;base64," + base64.b64encode(p.jpeg).decode(),
                "at": [p.left, p.top, p.side],
            }
            for p in photos
        ],
        "pixels": [1.0] * len(frames) if scale is None else [float(scale[i]) for i in frames],
    }


def as_script_json(value: Any) -> str:
    """JSON that can stand inside a script element whatever text is in it: no `<`, `>`, `&` as such."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _e(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _chip(verdict: str) -> str:
    return f'<span class="chip {verdict}"><b aria-hidden="true">{MARKS[verdict]}</b> {verdict}</span>'


def quality_html(quality: Mapping | None) -> str:
    """The table of the checks."""
    rows = []
    for check in checks(quality):
        question = (
            f"{_e(check.question)}<small>{_e(check.detail)}</small>" if check.question else _e(check.detail)
        )
        rows.append(
            f'<tr><th scope="row">{_e(check.name)}</th><td class="value">{_e(check.value)}</td>'
            f"<td>{_chip(check.verdict)}</td><td>{question}</td></tr>"
        )
    if not rows:
        return '<p class="empty">No check was made.</p>'
    return (
        '<div class="scroll"><table class="quality-table"><thead><tr><th scope="col">Check</th>'
        '<th scope="col">Value</th><th scope="col">Verdict</th>'
        '<th scope="col">What it asks</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _scores_html(scores: Mapping | None) -> str:
    if not scores:
        return ""
    metrics = list(dict.fromkeys(m for row in scores.values() for m in row))
    head = "".join(f'<th scope="col">{_e(m.replace("_", " "))}</th>' for m in metrics)
    rows = "".join(
        f'<tr><th scope="row">{_e(name)}<small>{_e(PROTOCOLS.get(name, ""))}</small></th>'
        + "".join(f'<td class="value">{_e(score(m, row.get(m)))}</td>' for m in metrics)
        + "</tr>"
        for name, row in scores.items()
    )
    return (
        '<section class="panel"><h2>Against the ground truth</h2><p class="note">The same result under the '
        "protocols of the literature. They forgive different things, so compare only equal names.</p>"
        f'<div class="scroll"><table><thead><tr><th scope="col">Protocol</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def settings_html(settings: Any) -> str:
    """Nested settings as tables."""
    if isinstance(settings, Mapping):
        rows = "".join(
            f'<tr><th scope="row">{_e(k)}</th><td>{settings_html(v)}</td></tr>' for k, v in settings.items()
        )
        return f'<table class="settings">{rows}</table>' if rows else "–"
    if isinstance(settings, list | tuple) and not any(
        isinstance(v, Mapping | list | tuple) for v in settings
    ):
        return _e(", ".join(str(v) for v in settings)) or "–"
    if isinstance(settings, list | tuple):
        return settings_html(dict(enumerate(settings)))
    return _e("–" if settings is None else settings)


def _notes(scene: Scene) -> list[str]:
    notes = [REFLECTION.get(scene.mirror, "")]
    if len(scene.frames) < scene.total:
        notes.append(
            f"To keep this file small, it shows {len(scene.frames):,} of {scene.total:,} frames"
            + (f": every {scene.stride}. of each clip." if scene.stride > 1 else ".")
            + " The checks and scores are of all frames."
        )
    if scene.guessed and len(scene.edges):
        notes.append(
            "No skeleton was given. The dashed links are guesses: they join points that keep their distance."
        )
    if scene.flipped:
        whole = len(scene.flipped) == len(scene.clips)
        which = ", ".join(str(c) for c in scene.flipped[:12]) + (" …" if len(scene.flipped) > 12 else "")
        notes.append(
            f"The ground truth{'' if whole else f' of clip {which}'} is shown reflected in depth, since the "
            "result came out as its twin."
        )
    if scene.guessed_pairs and len(scene.pairs):
        notes.append("Left (orange) and right (blue) were taken from the point names.")
    notes.append(f"In the steadied view, “up” was taken from {scene.up_from}.")
    return [n for n in notes if n]


def photographs_said(scene: Scene) -> str:
    """One line on a page of photographs: what a network found in them, and what it was trained on."""
    seen = int((scene.state == SEEN).sum())
    text = f"{len(scene.names)} points were found in each of {len(scene.frames)} photographs, in 2D and in depth, by a "
    text += "network that never saw a 3D label: 2D labels of photographs, lifted to 3D, were its teacher."
    if seen == 0:
        return text + " It had no label of these: what you see is what it makes of the pixels."
    return text + (" The worst are shown first." if not scene.ordered else "")


def _training(contents: Contents, curve: str | None) -> str:
    """The panel of the curve and of how the fit ended; none where there is nothing to say, as of a solver."""
    ended = ""
    if contents.code is not ResultCode.CONVERGED:
        ended = (
            f'<p class="note"><b>{_e(contents.code.value.capitalize())}.</b> {_e(contents.code.advice)}</p>'
        )
    if not ended and curve is None:
        return ""
    title = "How the fit ended" if curve is None else "Training"
    return f'<section class="panel"><h2>{title}</h2>{ended}{curve or ""}</section>'


def _frames_to_see(scene: Scene, quality: Mapping | None) -> str:
    """Buttons that jump to the frames that the verdict doubts first; of a thinned set, those that are on the page."""
    told = (quality or {}).get("verdict") or {}
    at = {int(f): i for i, f in enumerate(scene.frames)}
    shown = [f for f in told.get("frames", ()) if f in at]
    if not shown:
        return ""
    buttons = " ".join(f'<button type="button" data-go="{at[f]}">{f}</button>' for f in shown)
    return f'<p class="look">Frames to look at first: {buttons}</p>'


def page_html(contents: Contents) -> str:
    """The whole page of a reconstruction of points, as text."""
    scene, quality, settings = contents.scene, contents.quality, contents.settings
    folder = resources.files("jnrsfm.report")
    script = "\n".join(folder.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    style = folder.joinpath("page.css").read_text("utf-8")
    verdict, words = summarise(quality)
    warnings = alerts(quality)
    curve = loss_svg(contents.history)

    def sha(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    slots = {
        # by hash, so that not even markup that slipped in through a name could run
        "policy": f"default-src 'none'; script-src 'sha256-{sha(script)}'; style-src 'sha256-{sha(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        "title": _e(contents.title),
        "style": style,
        "script": script,
        "data": as_script_json(scene_data(scene) | _photo_data(contents)),
        "summary": _e(
            what_was_done(scene, contents.history, settings)
            if contents.photos is None
            else photographs_said(scene)
        ),
        "verdict": verdict,
        "chip": _chip(verdict),
        "verdict_words": _e(words),
        "look": _frames_to_see(scene, quality),
        "training": _training(contents, curve),
        "warnings": '<ul class="warnings" aria-label="Warnings">'
        + "".join(f"<li><b>Warning.</b> {_e(w)}</li>" for w in warnings)
        + "</ul>"
        if warnings
        else "",
        "notes": "".join(f"<li>{_e(n)}</li>" for n in _notes(scene)),
        "quality": quality_html(quality),
        "latent": ""
        if contents.latent is None
        else f'<section class="panel"><h2>Latent space</h2>{latent_svg(**contents.latent)}</section>',
        "scores": _scores_html(contents.scores),
        "settings": settings_html(settings) if settings else '<p class="empty">None were recorded.</p>',
        "citations": ""
        if not contents.citations
        else '<section class="panel"><details><summary><h2>Please cite</h2></summary>'
        f"<pre>{_e(contents.citations)}</pre></details></section>",
        "glossary": "".join(f"<dt>{_e(word)}</dt><dd>{_e(said)}</dd>" for word, said in GLOSSARY),
    }
    template = folder.joinpath("page.html").read_text("utf-8")
    # one pass, so that what is put in is never read as a slot again
    return re.sub(r"\{\{(\w+)\}\}", lambda m: slots[m.group(1)], template)


def write_report(path: str | os.PathLike, contents: Contents) -> Path:
    """Write the page of a result to `path` and return the path.

    At most 1500 frames go into the page, evenly thinned within each clip; the page says so.
    Raises `InputError` where frames or points do not agree, there are none, the type of result has no panels, or
    `path` cannot be written.
    """
    return write_file(path, for_result(type(contents.result)).page(contents))
