"""The quality report of depth maps: what a fit says about itself where no true depth is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jnrsfm.depth_maps import DepthMaps
from jnrsfm.metrics.depth import flicker
from jnrsfm.metrics.quality_report import CHECKS, Threshold

AGAINST_ROWS = Threshold(0.7, 0.95)
FLICKER = Threshold(0.03, 0.1)


def _item(name: str, value: float | None, unit: str, verdict: str, explain: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "verdict": verdict, "explain": explain}


def clip_flicker(maps: DepthMaps) -> tuple[float, float] | None:
    """Median temporal flicker (`metrics.depth.flicker`) of frames that follow each other, raw and aligned; None where
    no two do. Of pairs whose second frame is the next one."""
    number = np.arange(maps.n_frames) if maps.number is None else np.asarray(maps.number)
    follows = np.flatnonzero(np.diff(number) == 1)
    q, flow = np.asarray(maps.inverse_depth, np.float64), np.asarray(maps.flow, np.float64)
    found = [flicker(q[i], q[i + 1], flow[i])[:2] for i in follows[:512]]
    found = [f for f in found if np.isfinite(f).all()]
    return (
        (float(np.median([f[0] for f in found])), float(np.median([f[1] for f in found]))) if found else None
    )


def assess_depth(
    pairs: Any, maps: DepthMaps, *, heldout: Mapping[str, Any] | None = None, restarts: Any = None,
    reliability: Any = None, exchanged: Any = None, remarks: Sequence[str] = (), said: Sequence[str] = (),
    keeps_lengths: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The quality report of `DepthMaps` in the form of `metrics.assess`: the held-out normalised gradient error against
    that of one value for each row, temporal flicker, and what stays free."""
    items, warnings = [], [*remarks, *said]
    verdict = "unknown"
    if heldout:
        error, baseline = float(heldout["error"]), float(heldout["baseline"])
        verdict = AGAINST_ROWS.verdict(error / max(baseline, 1e-9))
        items.append(
            _item(
                "held_out_gradients", error, "", verdict,
                f"Normalised gradient error on {heldout['note']}: {baseline:.3f}; a flat map has 1.",
            )
        )  # fmt: skip
        if error >= baseline:
            warnings.append("on held-out shots the network is no better than the mean disparity of each row")
    elif pairs is not None:
        warnings.append("nothing was held out: how the network does on new scenes is not known")
    found = clip_flicker(maps)
    if found is not None:
        items.append(
            _item(
                "flicker", found[1], "", FLICKER.verdict(found[1]),
                "Median change of depth from a frame to the next along the flow, scale and shift of each map fitted "
                f"to the one before; {found[0]:.3f} without the fit.",
            )
        )  # fmt: skip
    items.append(_item("free", None, "", "unknown", f"Known {maps.gauge}."))
    words = {
        "good": "good: new scenes come out clearly better than their rows would say",
        "fair": "fair: better than the mean of each row, by little",
        "poor": "poor: hardly better than one value for each row",
        "unknown": "unknown: no true depth is known here, and nothing was held out",
    }
    return {"verdict": {"word": verdict, "text": words[verdict]}, "items": items, "warnings": warnings}


CHECKS.register(DepthMaps, assess_depth)
