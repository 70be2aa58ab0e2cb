"""A page on a converted stereo video: what was kept, with its disparity, and why the rest was not."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jnrsfm import runs
from jnrsfm.pixels import jpeg

_RAMP = np.array(  # dark to bright, far to near
    [[24, 15, 61], [79, 18, 123], [145, 43, 129], [207, 68, 112], [246, 120, 92], [254, 188, 120], [252, 253, 191]]
)  # fmt: skip


class StereoSample(NamedTuple):
    """A picture of the page: `caption`; `images`, uint8 each, side by side; what was kept has its disparity `(y, x)`
    and where it is valid beside them, what was refused has None."""

    caption: str
    images: Sequence[np.ndarray]
    disparity: tuple[np.ndarray, np.ndarray] | None = None


def depth_colours(
    values: np.ndarray, valid: np.ndarray, ends: tuple[float, float] | None = None
) -> np.ndarray:
    """`(y, x, 3)` uint8 of values `(y, x)`, larger is nearer and brighter, between `ends` (None: from the 2nd to the
    98th percentile of the valid ones); grey where not valid."""
    if not valid.any():
        return np.full((*values.shape, 3), 128, np.uint8)
    low, high = np.percentile(values[valid], [2, 98]) if ends is None else ends
    at = np.clip((values - low) / max(float(high - low), 1e-9), 0, 1) * (len(_RAMP) - 1)
    found = np.stack([np.interp(at, np.arange(len(_RAMP)), _RAMP[:, c]) for c in range(3)], -1)
    return np.where(valid[..., None], found, 128).astype(np.uint8)


def _images(sample: StereoSample) -> list[np.ndarray]:
    return [*sample.images, *([] if sample.disparity is None else [depth_colours(*sample.disparity)])]


def write_stereo_page(
    path: str | Path, title: str, lines: Sequence[str], samples: Sequence[StereoSample]
) -> Path:
    """Write the page, whole or not at all: `lines` of what there is to say, then the pictures."""
    cell = lambda s: (
        f'<figure class="{"refused" if s.disparity is None else "kept"}"><div>'
        + "".join(
            f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg(i, 80)).decode()}">'
            for i in _images(s)
        )
        + f"</div><figcaption>{html.escape(s.caption)}</figcaption></figure>"
    )
    part = lambda kept: (
        "".join(cell(s) for s in samples if (s.disparity is not None) == kept) or "<p>none</p>"
    )
    said = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1240px; padding: 20px; color: #17202c;
  background: #f4f6f9; }}
h1 {{ font-size: 1.6rem; overflow-wrap: anywhere; }} h2 {{ font-size: 1.12rem; margin-top: 28px; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(380px, 100%), 1fr)); gap: 14px; }}
figure {{ margin: 0; padding: 10px; background: #fff; border: 1px solid #dbe1e9; border-radius: 12px; }}
figure.refused {{ border-left: 4px solid #8a5a00; }} figure div {{ display: flex; gap: 4px; }}
img {{ flex: 1; width: 0; min-width: 0; border-radius: 4px; }} figcaption {{ color: #556274; font-size: .9rem; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #0f141b; color: #e8edf4; }}
  figure {{ background: #171e27; border-color: #2b3644; }} figcaption {{ color: #a3b0c1; }} }}
</style>
<h1>{html.escape(title)}</h1>
{said}
<p>Brighter is nearer. Slope and offset of disparity against inverse depth are not known for such videos: depth is known
but for these two numbers. Grey pixels fail the left-right check and teach nothing.</p>
<h2>Kept</h2><div class="grid">{part(True)}</div>
<h2>Refused</h2><div class="grid">{part(False)}</div>
</html>
"""
    return runs.write_file(path, page)
