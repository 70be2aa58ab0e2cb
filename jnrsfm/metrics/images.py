r"""Metrics of rendered images, full and masked, and of the paths of points.

PSNR is `10 log10(1 / mse)` for values in [0, 1]. SSIM depends on its data range L, the constants being `(0.01 L)^2` and
`(0.03 L)^2`: `SSIM` is that of range 1, which images in [0, 1] have; published tables of the NSFF family were made
with range 2, which gives higher values (`SSIM_RANGE_2`), and cannot be compared with the former. Both average over a
Gaussian window (sigma 1.5, 11 pixels). A mask chooses the pixels whose squared errors, or whose values of the SSIM map,
are averaged. Reference: Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 13(4), 2004.
"""

from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Bool, Float
from scipy.ndimage import gaussian_filter

SSIM, SSIM_RANGE_2 = 1.0, 2.0
_SIGMA, _RADIUS = 1.5, 5


def psnr(
    found: Float[ArrayLike, "h w 3"],
    truth: Float[ArrayLike, "h w 3"],
    mask: Bool[ArrayLike, "h w"] | None = None,
) -> float:
    """PSNR in dB of images in [0, 1]; NaN where the mask is empty, infinite where they are the same."""
    square = ((np.asarray(found, np.float64) - np.asarray(truth, np.float64)) ** 2).mean(-1)
    square = square if mask is None else square[np.asarray(mask)]
    if not square.size:
        return float("nan")
    mse = float(square.mean())
    return float("inf") if mse == 0 else -10 * float(np.log10(mse))


def ssim_map(found: Any, truth: Any, data_range: float = SSIM) -> np.ndarray:
    """`(h, w)` structural similarity, the mean over channels, of images of at least 11 pixels a side; values within
    five pixels of the border lean on mirrored pixels. Raises ValueError for smaller ones."""
    x, y = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if min(x.shape[:2]) < 2 * _RADIUS + 1:
        raise ValueError(f"SSIM needs images of 11 pixels a side, not {x.shape[:2]}")
    blur = lambda a: gaussian_filter(a, (_SIGMA, _SIGMA, 0), radius=(_RADIUS, _RADIUS, 0))
    mx, my = blur(x), blur(y)
    vx, vy, both = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    a, b = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    return ((2 * mx * my + a) * (2 * both + b) / ((mx * mx + my * my + a) * (vx + vy + b))).mean(-1)


def ssim(found: Any, truth: Any, mask: Any = None, data_range: float = SSIM) -> float:
    """Mean of `ssim_map` over the pixels five from the border, or over those of the mask; NaN where there are none."""
    values = ssim_map(found, truth, data_range)
    if mask is None:
        return float(values[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS].mean())
    values = values[np.asarray(mask)]
    return float(values.mean()) if values.size else float("nan")


def path_errors(
    found: Float[ArrayLike, "point time d"], truth: Float[ArrayLike, "point time d"], unit: float
) -> dict[str, float]:
    """End-point errors of paths, in 3D or in pixels, over all points and times, in shares of `unit` (the size of the
    object, say): `median`, `mean`, and `worst_time`, the median over points of each one's largest."""
    gap = np.linalg.norm(np.asarray(found, np.float64) - np.asarray(truth, np.float64), axis=-1) / unit
    return {
        "median": float(np.median(gap)),
        "mean": float(gap.mean()),
        "worst_time": float(np.median(gap.max(1))),
    }
