"""The loss curve as inline SVG: it needs no script, prints well, and takes its colours from the page."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_W, _H = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 30, 14, 36
MAX_VERTICES = 300
_LETTER = 6.6  # width of a letter of the ticks, in the units of the drawing


def _value(v: Any) -> float:
    try:
        return float(v)
    except (TypeError, ValueError):
        return math.nan


def series(history: Sequence[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps `(row,)` and values `(row, restart)` of one key; NaN where a row does not have it.

    A scalar is one restart; the i-th entry of a list belongs to the i-th restart, None or NaN where that
    restart was dropped.
    """
    rows = [r for r in history if r.get(key) is not None and math.isfinite(_value(r.get("step")))]
    listed = [list(np.atleast_1d(np.asarray(r[key], dtype=object))) for r in rows]
    width = max((len(v) for v in listed), default=0)
    values = np.full((len(rows), width), np.nan)
    for i, row in enumerate(listed):
        values[i, : len(row)] = [_value(v) for v in row]
    return np.array([_value(r["step"]) for r in rows]), values


def _thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(steps) <= MAX_VERTICES:
        return steps, values
    keep = np.linspace(0, len(steps) - 1, MAX_VERTICES).astype(int)
    return steps[keep], values[keep]


def _nice_steps(last: float, count: int = 5) -> list[float]:
    raw = max(last, 1.0) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    gap = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    return [gap * i for i in range(int(last / gap) + 1)]


def _value_ticks(low: float, high: float, log: bool) -> list[float]:
    if not log:
        return [low + (high - low) * i / 4 for i in range(5)]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(ticks) >= 3:
            return ticks[:: math.ceil(len(ticks) / 8)]
    return [low, high]


def curve_lines(history: Sequence[dict]) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """(kind, label, steps, values) of every line: the loss of each restart, held-out, reprojection."""
    lines = []
    for key, label in (
        ("loss", "training loss"),
        ("heldout", "held-out points"),
        ("reprojection", "reprojection"),
    ):
        steps, values = series(history, key)
        for r in range(values.shape[1] if values.ndim == 2 else 0):
            ok = np.isfinite(values[:, r])
            if ok.any():
                name = f"{label}, restart {r + 1}" if values.shape[1] > 1 else label
                lines.append((key, name, steps[ok], values[ok, r]))
    return lines


def _phases(history: Sequence[dict], x: Any) -> list[str]:
    """A line where each phase begins, with its name in the first of three rows in which it overlaps no other; where
    there is none, the name is the line's title alone."""
    out, free = [], [-math.inf] * 3
    phase = None
    for row in history:
        step = _value(row.get("step"))
        if row.get("phase") is None or row["phase"] == phase or not math.isfinite(step):
            continue
        if phase is not None:
            at, name = x(step), html.escape(str(row["phase"]))
            width = _LETTER * len(str(row["phase"]))
            left = min(at + 4, _W - 2 - width)
            title = f"<title>{name}</title>"
            line = f'<line class="phase" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{_H - _BOTTOM}">{title}</line>'
            out.append(line)
            k = next((k for k, end in enumerate(free) if left >= end), None)
            if k is not None:
                free[k] = left + width + 6
                out.append(f'<text class="tick" x="{left:.1f}" y="{_TOP + 10 + 13 * k}">{name}</text>')
        phase = row["phase"]
    return out


def loss_svg(history: Sequence[dict]) -> str | None:
    """The curve with a logarithmic scale (linear where a value is not positive); None without values."""
    lines = curve_lines(history)
    if not lines:
        return None
    every = np.concatenate([v for *_, v in lines])
    log = bool((every > 0).all())
    low, high = float(every.min()), float(every.max())
    if log:
        low, high = low / 1.08, high * 1.08
    elif high == low:
        low, high = low - 1.0, high + 1.0
    last = max(float(s.max()) for _, _, s, _ in lines) or 1.0

    def x(step):
        return _LEFT + (_W - _LEFT - _RIGHT) * step / last

    def y(value):
        a, b, c = (np.log10(low), np.log10(high), np.log10(value)) if log else (low, high, value)
        return _H - _BOTTOM - (_H - _TOP - _BOTTOM) * (c - a) / (b - a)

    restarts = sum(kind == "loss" for kind, *_ in lines)
    title = f"Loss over {last:,.0f} steps, {'logarithmic' if log else 'linear'} scale, {restarts} restart(s)"
    out = [f'<svg class="curve" viewBox="0 0 {_W} {_H}" role="img" aria-label="{html.escape(title)}">']
    for t in _value_ticks(low, high, log):
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>')
        out.append(f'<text class="tick" x="{_LEFT - 7}" y="{y(t) + 4:.1f}" text-anchor="end">{t:.3g}</text>')
    for t in _nice_steps(last):
        out.append(
            f'<text class="tick" x="{x(t):.1f}" y="{_H - _BOTTOM + 17}" text-anchor="middle">{t:,.0f}</text>'
        )
    out += _phases(history, x)
    best = min((float(v[-1]), label) for kind, label, _, v in lines if kind == "loss")[1] if restarts else ""
    for kind, label, steps, values in lines:
        steps, values = _thin(steps, values)
        points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(steps, values, strict=True))
        main = " main" if label == best or restarts == 1 or kind != "loss" else ""
        shape = f'<polyline points="{points}"/>' if len(steps) > 1 else (
            f'<circle cx="{x(steps[0]):.1f}" cy="{y(values[0]):.1f}" r="3"/>'
        )  # fmt: skip
        out.append(f'<g class="line {kind}{main}"><title>{html.escape(label)}</title>{shape}</g>')
    out.append(
        f'<text class="tick" x="{_W - _RIGHT}" y="{_H - 3}" text-anchor="end">training step</text></svg>'
    )
    kinds = dict.fromkeys(kind for kind, *_ in lines)
    words = {
        "loss": "training loss" + (f" of {restarts} restarts, the best drawn strong" if restarts > 1 else ""),
        "heldout": "error at held-out points", "reprojection": "reprojection error",
    }  # fmt: skip
    keys = "".join(f'<span class="key {k}"><i></i>{html.escape(words[k])}</span>' for k in kinds)
    return f'<div class="scroll">{"".join(out)}</div>' + f'<p class="keys">{keys}</p>'
