"""The quality report of a field of a filmed scene: what a fit says of itself where nobody knows the truth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jnrsfm.metrics.quality_report import Threshold

VIEWS = {
    "psnr": Threshold(28.0, 22.0, higher=True),
    "ssim": Threshold(0.9, 0.75, higher=True),
    "gain_over_copy": Threshold(3.0, 0.5, higher=True),
}
PATHS = Threshold(0.25, 0.5)
"""Rules of thumb: dB, range 1, dB; shares of the flow."""
MOST = 99.0  # dB: images that are equal have more without end, which no file can hold
_UNITS = {"psnr": "dB", "ssim": "(range 1)", "gain_over_copy": "dB"}
_TEXTS = {
    "good": "good: unseen images come out well",
    "fair": "fair: unseen images come out, with errors to be seen",
    "unknown": "unknown: no image was held out, so nothing says how good views from elsewhere are",
}


def assess_field(
    views: Mapping[str, float],
    count: int,
    held_out: bool,
    *,
    flow_share: float | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """The report in the form of `metrics.assess`.

    `views`: means over `count` images of PSNR, SSIM, and, where they were held out, the gain over the training image
    that is nearest in time, as it is; `held_out`: training did not see these images, else they say nothing.
    `flow_share`: how far the paths of what moves lie from where chained flow leads, as a share of how far it leads;
    None: no paths, or no flow.

    The word is that of the worst view figure, and no better than fair where paths do not follow flow; poor where the
    nearest image copied is as good. Depth along the line of sight is seen by no figure here.
    """
    values = {n: float(np.clip(np.nan_to_num(views[n], nan=-MOST), -MOST, MOST)) for n in VIEWS if n in views}
    where = "images that training did not see" if held_out else "training images"
    items = [
        {
            "name": name, "value": value, "unit": _UNITS[name],
            "verdict": VIEWS[name].verdict(value) if held_out else "unknown",
            "explain": f"mean over {count} {where}"
            + (", above the nearest training image as it is" if name == "gain_over_copy" else ""),
        }
        for name, value in values.items()
    ]  # fmt: skip
    warnings = list(remarks)
    if not held_out:
        warnings.append("no image was held out: nothing says how good views from elsewhere are (hold_out=8)")
    words = [str(i["verdict"]) for i in items]
    if flow_share is not None:
        items.append(
            {
                "name": "paths_against_flow", "value": float(flow_share), "unit": "fraction",
                "verdict": PATHS.verdict(flow_share),
                "explain": "How far paths of what moves lie from where optical flow leads, as a share of how far that "
                "is; 1 is as bad as standing still.",
            }
        )  # fmt: skip
        if PATHS.verdict(flow_share) == "poor":
            warnings.append("the paths do not follow optical flow: they are not to be trusted")
            words.append("fair")
        warnings.append(
            "one camera does not see how far away what moves is: the depth of paths may drift along the clip"
        )
    word = "unknown" if not held_out else min(words, key=("poor", "fair", "good").index)
    bad = [str(i["name"]).replace("_", " ") for i in items if i["verdict"] == "poor"]
    text = _TEXTS.get(word, f"poor: {', '.join(bad)}")
    return {"verdict": {"word": word, "text": text}, "items": items, "warnings": warnings}
