r"""Errors of depth maps, each with the alignment that it is measured under, and metres from a few known depths.

What is measured is inverse depth q (a network trained on disparity of unknown offset knows it up to a q + b) or depth.
`align` of each figure: *none*; *median*: depths times the ratio of the medians; *affine*: inverse depths by the least
squares fit a q + b. Figures under different alignments are not comparable.

Source: Eigen et al., NIPS 2014 (abs rel, sq rel, RMSE log, delta, SILog); Wang, thesis, 2022, section 5.5 (on inverse
depth, capped at 20 m; the normalised multiscale gradient over the mean true inverse depth).
"""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jnrsfm.errors import InputError

Alignment = Literal["none", "median", "affine"]
SPACINGS = (2, 8, 32, 64)


def depth_errors(
    depth: Float[np.ndarray, "image y x"],
    truth: Float[np.ndarray, "_ _ _"],
    valid: Bool[np.ndarray, "_ _ _"] | None = None,
    *,
    align: Alignment = "median",
    cap: float = math.inf,
) -> dict[str, float]:
    """Means over images of the errors of `depth` against `truth` (one unit), over pixels that are `valid`, of positive
    and finite true depth up to `cap`; each image aligned by itself.

    `abs_rel`: mean |z - z*| / z*; `sq_rel`: mean (z - z*)^2 / z*; `rmse_log`: root of mean (log z - log z*)^2;
    `delta_1` to `delta_3`: shares of max(z / z*, z* / z) < 1.25^i; on inverse depths `mre`: mean |q - q*| / q*,
    `silog`: root of the variance of log q - log q*; `nmg`: sum |s grad q - grad q*| (`losses.depth.nmg`, as printed)
    for each pixel pair, over the mean q*. `align`: the module docstring; an aligned inverse depth of 0 or less counts
    as the farthest true depth.

    Raises InputError where shapes differ or an image has no valid pixel.
    """
    if depth.shape != truth.shape or (valid is not None and valid.shape != truth.shape):
        raise InputError(f"depth has the shape {depth.shape}, the truth {truth.shape}: give maps of one size")
    rows = []
    for i in range(len(truth)):
        z, t = np.asarray(depth[i], np.float64), np.asarray(truth[i], np.float64)
        with np.errstate(invalid="ignore"):
            use = np.isfinite(t) & (t > 0) & (t <= cap) & np.isfinite(z) & (z > 0)
        if valid is not None:
            use &= valid[i]
        if not use.any():
            raise InputError(f"image {i}: no pixel is valid in both depth and truth")
        rows.append(_errors(np.where(use, z, 1.0), np.where(use, t, 1.0), use, align))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _errors(z: np.ndarray, t: np.ndarray, use: np.ndarray, align: Alignment) -> dict[str, float]:
    q, far = 1 / z, t[use].max()
    if align == "median":
        q = q * np.median(z[use]) / np.median(t[use])
    elif align == "affine":
        scale, shift = _line(q[use], 1 / t[use])
        q = np.maximum(scale * q + shift, 1 / far)
    z = 1 / q
    a, b = z[use], t[use]
    gap = np.log(a) - np.log(b)
    worse = np.maximum(a / b, b / a)
    return {
        "abs_rel": float(np.mean(np.abs(a - b) / b)),
        "sq_rel": float(np.mean((a - b) ** 2 / b)),
        "rmse_log": float(np.sqrt(np.mean(gap**2))),
        **{f"delta_{i}": float(np.mean(worse < 1.25**i)) for i in (1, 2, 3)},
        "mre": float(np.mean(np.abs(1 / a - 1 / b) * b)),
        "silog": float(np.std(gap)),
        "nmg": _nmg(q, 1 / t, use),
    }


def _nmg(q: np.ndarray, truth: np.ndarray, use: np.ndarray) -> float:
    parts = []
    for k in SPACINGS:
        for axis in (0, 1):
            if k < q.shape[axis]:
                cut = lambda x, a, b, axis=axis: x[a:b] if axis == 0 else x[:, a:b]
                n = q.shape[axis]
                both = cut(use, k, n) & cut(use, 0, n - k)
                parts.append([(cut(x, k, n) - cut(x, 0, n - k))[both] for x in (q, truth)])
    a, b = (np.concatenate([p[i] for p in parts]) if parts else np.zeros(0) for i in (0, 1))
    if not len(a) or not np.abs(a).sum():
        return float("nan")
    scale = np.abs(b).sum() / np.abs(a).sum()
    return float(np.mean(np.abs(scale * a - b)) / truth[use].mean())


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the least-squares line; slope 0 where x does not vary."""
    away = x - x.mean()
    square = float((away**2).sum())
    slope = float((away * y).sum()) / square if square > 1e-24 else 0.0
    return slope, float(y.mean() - slope * x.mean())


class Metric(NamedTuple):
    """Depth in the unit of what was given: `depth (y, x)`, its standard deviation `deviation (y, x)`, and the line
    `scale`, `shift` on the inverse depth."""

    depth: Float[np.ndarray, "y x"]
    deviation: Float[np.ndarray, "y x"]
    scale: float
    shift: float


class KnownLine(NamedTuple):
    """The line `scale q + shift` from an inverse depth q of a free scale and shift to one over the unit of known
    depths, and what its error bars come from: the residual's `variance` (infinite where nothing is left to tell it by),
    the number of known `points`, the mean and the sum of squares of their q (about the mean, or about 0 without a
    shift)."""

    scale: float
    shift: float
    variance: float
    points: int
    mean: float
    spread: float
    shifts: bool

    def metric(self, inverse_depth: Float[np.ndarray, "y x"]) -> Metric:
        """Depth and its standard deviation of a map: sigma_q^2 = variance (1 + 1/n + (q - mean q)^2 / sum (q - mean
        q)^2), and z^2 sigma_q. Infinite where the line gives no positive inverse depth."""
        q = np.asarray(inverse_depth, np.float64)
        found = self.scale * q + self.shift
        depth = np.where(found > 0, 1 / np.where(found > 0, found, 1.0), np.inf)
        if not math.isfinite(self.variance):
            return Metric(depth, np.full(q.shape, np.inf), self.scale, self.shift)
        lever = 1 + (q - self.mean) ** 2 / self.spread + (1 / self.points if self.shifts else 0.0)
        deviation = np.where(np.isfinite(depth), depth, 1.0) ** 2 * np.sqrt(self.variance * lever)
        return Metric(depth, np.where(np.isfinite(depth), deviation, np.inf), self.scale, self.shift)


def known_line(inverse_depth: Any, depths: Any, *, shift: bool = True) -> KnownLine:
    """The line through known depths `(point,)` at inverse depths `(point,)` of the prediction, by least squares on the
    inverse. The residual's variance is over n - 2 (n - 1 without a shift).

    Raises InputError where points are too few, depths not positive, or all at one inverse depth.
    """
    x, z = np.asarray(inverse_depth, np.float64), np.asarray(depths, np.float64)
    least = 2 if shift else 1
    if len(z) < least:
        raise InputError(
            f"{len(z)} known depths: scale and shift of one image need at least 2 at different depths"
            if shift
            else "no known depth: the scale needs at least one"
        )
    if not (np.isfinite(z) & (z > 0)).all():
        i = int(np.argmin(np.isfinite(z) & (z > 0)))
        raise InputError(f"known depth {i} is {z[i]}: depths must be positive")
    mean = float(x.mean()) if shift else 0.0
    spread = float(((x - mean) ** 2).sum())
    if shift and spread < 1e-8 * max(float((x**2).sum()), 1e-24):
        raise InputError(
            "the known depths lie at one inverse depth of the prediction: give points nearer and farther"
        )
    y = 1 / z
    scale, offset = _line(x, y) if shift else (float((x * y).sum() / max(spread, 1e-24)), 0.0)
    freedom = len(z) - least
    variance = float(((scale * x + offset - y) ** 2).sum()) / freedom if freedom else math.inf
    return KnownLine(scale, offset, variance, len(z), mean, spread, shift)


def align(
    inverse_depth: Float[np.ndarray, "y x"],
    pixels: Any,
    depths: Any,
    *,
    shift: bool = True,
) -> Metric:
    """Metres from depths that are known at some pixels `(point, 2)` (x, y): the line `scale q + shift` that fits their
    inverse best (`known_line`), with its uncertainty (`KnownLine.metric`).

    Two points fix the line and leave nothing to tell its error by: the deviation is then infinite. Where the line gives
    no positive inverse depth, depth is infinite. `shift=False` trusts the offset of q.

    Raises InputError where points are too few, lie outside, have no positive depth, or all at one inverse depth.
    """
    q = np.asarray(inverse_depth, np.float64)
    xy, z = np.round(np.asarray(pixels, np.float64)).astype(int), np.asarray(depths, np.float64)
    if len(z) and (xy.ndim != 2 or xy.shape[1] != 2 or z.shape != (len(xy),)):
        raise InputError(
            f"pixels have the shape {xy.shape}, depths {z.shape}: give x and y, and a depth, for each point"
        )
    xy = xy.reshape(-1, 2)
    high, wide = q.shape
    outside = (xy < 0).any(1) | (xy[:, 0] >= wide) | (xy[:, 1] >= high)
    if outside.any():
        i = int(np.argmax(outside))
        raise InputError(
            f"known depth {i} at {tuple(map(int, xy[i]))} lies outside the image of {wide} x {high}"
        )
    return known_line(q[xy[:, 1], xy[:, 0]], z, shift=shift).metric(q)


def pulled(image: Float[np.ndarray, "y x"], flow: Float[np.ndarray, "y x 2"]) -> tuple[Any, Any]:
    """`image` at x + flow(x), bilinear, and where that lies inside; two arrays `(y, x)`."""
    high, wide = image.shape
    u = np.arange(wide) + flow[..., 0]
    v = np.arange(high)[:, None] + flow[..., 1]
    inside = (u >= 0) & (u <= wide - 1) & (v >= 0) & (v <= high - 1)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    x, y = np.minimum(u.astype(int), wide - 2), np.minimum(v.astype(int), high - 2)
    a, b = u - x, v - y
    top = (1 - a) * image[y, x] + a * image[y, x + 1]
    return (1 - b) * top + b * ((1 - a) * image[y + 1, x] + a * image[y + 1, x + 1]), inside


class Flicker(NamedTuple):
    """Median change of the log inverse depth from a frame to the next along the flow: as the maps are (`raw`), and with
    the next one's scale and shift fitted to this one's (`aligned`); the fitted `scale` and `shift`."""

    raw: float
    aligned: float
    scale: float
    shift: float


def flicker(
    inverse_depth: Float[np.ndarray, "y x"],
    following: Float[np.ndarray, "_ _"],
    flow: Float[np.ndarray, "_ _ 2"],
) -> Flicker:
    """Temporal flicker between two maps of a clip. What comes nearer changes its depth in truth, by some per cent a
    frame at most; what is above that flickers. NaN where no pixel stays inside."""
    there, inside = pulled(np.asarray(following, np.float64), flow)
    q = np.asarray(inverse_depth, np.float64)
    if inside.sum() < 8:
        return Flicker(math.nan, math.nan, 1.0, 0.0)
    x, y = there[inside], q[inside]
    scale, shift = _line(x, y)
    change = lambda x: float(np.median(np.abs(np.log(np.maximum(x, 1e-6)) - np.log(np.maximum(y, 1e-6)))))
    return Flicker(change(x), change(scale * x + shift), scale, shift)
