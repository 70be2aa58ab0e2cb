"""The codes of a learned method as inline SVG: where frames lie, in order of time, and shapes between two of them."""

import html
import itertools

import numpy as np
from jaxtyping import Float

_W, _H, _MARGIN = 640, 360, 24
_STRIP = 130
_MOST = 1500  # frames drawn
# dark blue, violet, red, orange, bright yellow: time, readable in grey too
_COLOURS = np.array([[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]], float)


def plane(codes: Float[np.ndarray, "frame k"]) -> tuple[Float[np.ndarray, "frame 2"], float]:
    """Codes in the plane of their two principal directions, and the share of the variance that it holds."""
    centred = np.asarray(codes, float) - np.mean(codes, 0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    found = np.zeros((len(centred), 2))
    found[:, : min(2, len(vt))] = centred @ vt[:2].T
    total = float((s**2).sum())
    return found, float((s[:2] ** 2).sum() / total) if total > 0 else 1.0


def colour(share: float) -> str:
    """Colour of a time in [0, 1]."""
    at = np.clip(share, 0, 1) * (len(_COLOURS) - 1)
    i = min(int(at), len(_COLOURS) - 2)
    r, g, b = np.round(_COLOURS[i] + (at - i) * (_COLOURS[i + 1] - _COLOURS[i])).astype(int)
    return f"#{r:02x}{g:02x}{b:02x}"


def latent_svg(
    codes: Float[np.ndarray, "frame k"],
    sequence: np.ndarray | None = None,
    between: Float[np.ndarray, "step point 3"] | None = None,
    edges: np.ndarray | None = None,
) -> str:
    """One dot a frame, frames of a clip joined in time; below, the shapes `between` two far codes."""
    n = len(codes)
    kept = np.unique(np.linspace(0, n - 1, min(n, _MOST)).astype(int))
    points, share = plane(codes)
    low, high = points.min(0), points.max(0)
    scale = min(
        (_W - 2 * _MARGIN) / max(high[0] - low[0], 1e-9), (_H - 2 * _MARGIN) / max(high[1] - low[1], 1e-9)
    )
    middle = 0.5 * (low + high)
    x = _W / 2 + scale * (points[:, 0] - middle[0])
    y = _H / 2 - scale * (points[:, 1] - middle[1])
    clips = np.zeros(n, int) if sequence is None else np.asarray(sequence)
    title = f"Codes of {n} frames in their main plane, {share:.0%} of their variance"
    out = [f'<svg class="latent" viewBox="0 0 {_W} {_H}" role="img" aria-label="{html.escape(title)}">']
    for a, b in itertools.pairwise(kept):
        if clips[a] == clips[b]:
            out.append(
                f'<line x1="{x[a]:.1f}" y1="{y[a]:.1f}" x2="{x[b]:.1f}" y2="{y[b]:.1f}" '
                f'stroke="{colour(a / max(n - 1, 1))}" stroke-opacity="0.35"/>'
            )
    for f in kept:
        out.append(
            f'<circle cx="{x[f]:.1f}" cy="{y[f]:.1f}" r="2.6" fill="{colour(f / max(n - 1, 1))}">'
            f"<title>frame {f}</title></circle>"
        )
    out.append("</svg>")
    words = f"One dot a frame, from the first (dark blue) to the last (yellow). {title}."
    strip = "" if between is None else _strip(between, edges)
    return f'<div class="scroll">{"".join(out)}</div><p>{words}</p>{strip}'


def _strip(shapes: np.ndarray, edges: np.ndarray | None) -> str:
    """Shapes side by side, seen along their thinnest direction with y down."""
    shapes = np.asarray(shapes, float)
    flat = (shapes - shapes.mean(1, keepdims=True))[..., :2]
    cell = _W / len(shapes)
    size = max(float(np.abs(flat).max()), 1e-9)
    scale = 0.46 * min(cell, _STRIP) / size
    out = [
        f'<svg class="latent" viewBox="0 0 {_W} {_STRIP}" role="img" aria-label="Shapes between two codes">'
    ]
    for i, shape in enumerate(flat):
        at = np.array([cell * (i + 0.5), _STRIP / 2]) + scale * shape
        tint = colour(i / max(len(flat) - 1, 1))
        for a, b in () if edges is None else np.asarray(edges):
            out.append(
                f'<line x1="{at[a, 0]:.1f}" y1="{at[a, 1]:.1f}" x2="{at[b, 0]:.1f}" y2="{at[b, 1]:.1f}" '
                f'stroke="{tint}" stroke-width="1.5"/>'
            )
        out += [f'<circle cx="{u:.1f}" cy="{v:.1f}" r="1.7" fill="{tint}"/>' for u, v in at]
    out.append("</svg>")
    words = "Shapes decoded along the straight line between the two codes that lie farthest apart."
    return f'<div class="scroll">{"".join(out)}</div><p>{words}</p>'
