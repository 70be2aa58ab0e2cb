r"""Losses of depth against disparity of unknown slope and offset, and the rivals that they stand beside.

Of two views by horizontally placed cameras the disparity is d = f b q + c, q the inverse depth: baseline, focal length
and the offset c between the principal points are unknown and differ from video to video. Differences of disparity are
then proportional to differences of inverse depth. With $\nabla^k$ the difference of pixels k apart,

$$\mathcal{L} = \sum_{k, i} |s \nabla_x^k q_i - \nabla_x^k d_i| + |s \nabla_y^k q_i - \nabla_y^k d_i|, \qquad
s = \frac{\sum_{k, i} |\nabla_x^k d_i| + |\nabla_y^k d_i|}{\sum_{k, i} |\nabla_x^k q_i| + |\nabla_y^k q_i|},$$

over the pairs of which both pixels are valid, for each image by itself (the text does not say). Divided by the
numerator of s, as here by default, it is the same for d and a d + c (a > 0) and for q and any positive multiple of it:
images of a narrow range count as much as others.

All take maps `(image, y, x)` and give a loss for each image. A pixel that is not valid never matters, whatever is
stored there, NaN included.

Source: Wang, thesis, 2022, ch. 5 (normalised multiscale gradient, eq. 5.3, 5.4); ordinal: Xian et al., CVPR 2018;
structure-guided ranking: Xian et al., CVPR 2020; scale-invariant logarithm: Eigen et al., NIPS 2014; scale and shift:
Ranftl et al., Towards robust monocular depth estimation, TPAMI 2022.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

SPACINGS = (2, 8, 32, 64)
_TINY = 1e-6

Maps = Float[Array, "image y x"]
Masks = Bool[Array, "image y x"]
Each = Float[Array, " image"]


def nmg(
    inverse_depth: Maps, disparity: Maps, valid: Masks, *, spacings: tuple[int, ...] = SPACINGS,
    through_scale: bool = True, normalised: bool = True,
) -> Each:  # fmt: skip
    """The normalised multiscale gradient loss of the module docstring, for each image.

    Spacings that reach beyond the map are left out. `through_scale`: the gradient of s counts; without it s is a
    number. `normalised=False`: in the units of the disparity and summed, as printed. 0 where the disparity is flat or
    nothing is valid.
    """
    q, d = jnp.where(valid, inverse_depth, 0.0), jnp.where(valid, disparity, 0.0)
    pairs = [
        (a, b, both)
        for k in spacings
        for axis in (2, 1)
        if k < q.shape[axis]
        for a, b, both in [(_differences(q, k, axis), _differences(d, k, axis), _pairs(valid, k, axis))]
    ]
    if not pairs:
        return jnp.zeros(len(q))
    total = lambda part: sum(jnp.sum(jnp.where(p[2], jnp.abs(p[part]), 0.0), (1, 2)) for p in pairs)
    over, under = total(1), total(0)
    scale = over / jnp.maximum(under, _TINY)
    scale = scale if through_scale else jax.lax.stop_gradient(scale)
    scale = scale[:, None, None]
    loss: Any = sum(jnp.sum(jnp.where(both, jnp.abs(scale * a - b), 0.0), (1, 2)) for a, b, both in pairs)
    return jnp.where(over > _TINY, loss / jnp.maximum(over, _TINY), 0.0) if normalised else loss


def _differences(x: Maps, k: int, axis: int) -> Float[Array, "image _ _"]:
    """`x[i + k] - x[i]` along an axis."""
    n = x.shape[axis]
    return jax.lax.slice_in_dim(x, k, n, axis=axis) - jax.lax.slice_in_dim(x, 0, n - k, axis=axis)


def _pairs(valid: Masks, k: int, axis: int) -> Bool[Array, "image _ _"]:
    """Whether both pixels of a pair are valid."""
    n = valid.shape[axis]
    return jax.lax.slice_in_dim(valid, k, n, axis=axis) & jax.lax.slice_in_dim(valid, 0, n - k, axis=axis)


def anchor(log_depth: Maps) -> Each:
    """Squared mean of the log depth of each image: `nmg` leaves slope and offset of the inverse depth free, and what is
    free drifts; a small weight holds it."""
    return jnp.mean(log_depth, (1, 2)) ** 2


def contrast_anchor(log_depth: Maps, contrast: float = 0.5) -> Each:
    """`anchor`, and the square of how far the standard deviation of the log depth of each image is from `contrast`.

    A q + b has the same loss under `nmg` for every b that keeps it positive, and nearly flat maps are among them; for
    each image that is not flat one b gives the log depth this contrast (ours)."""
    mean = jnp.mean(log_depth, (1, 2))
    variance = jnp.mean((log_depth - mean[:, None, None]) ** 2, (1, 2))
    return mean**2 + (jnp.sqrt(variance + _TINY) - contrast) ** 2


def ordinal(
    log_inverse: Maps, disparity: Maps, valid: Masks, key: Any, *, pairs: int = 3000, ratio: float = 1.02
) -> Each:
    """The ranking loss on random pairs: log(1 + exp(-l (z_i - z_j))) for z the log inverse depth and l = +-1 the order
    of the disparities, (z_i - z_j)^2 where they differ by less than a share `ratio` - 1 of the larger; the mean over
    pairs of valid pixels. The share means something for disparities without an offset alone.
    """
    first, second = _random_pairs(key, disparity, pairs)
    return _ranked(log_inverse, disparity, valid, first, second, ratio)


def structure_guided(
    log_inverse: Maps, disparity: Maps, valid: Masks, key: Any, *, pairs: int = 3000, ratio: float = 1.03,
    reach: int = 30,
) -> Each:  # fmt: skip
    """`ordinal` on pairs across edges of the disparity: of four points a, b | c, d on a line along its gradient through
    an edge pixel, at random distances up to `reach`, the pairs (a, b), (b, c), (c, d), a quarter of `pairs` each; the
    last quarter is random. Edge pixels are drawn in proportion to the gradient."""
    n, high, wide = disparity.shape
    quarter = max(pairs // 4, 1)
    d = jnp.where(valid, disparity, 0.0)
    gy = jnp.pad(d[:, 2:] - d[:, :-2], ((0, 0), (1, 1), (0, 0)))
    gx = jnp.pad(d[:, :, 2:] - d[:, :, :-2], ((0, 0), (0, 0), (1, 1)))
    steep = jnp.where(_inner(valid), jnp.hypot(gx, gy), 0.0).reshape(n, -1)
    keys = jax.random.split(key, 3)
    # without an edge anywhere all pixels are as good
    log_chance = jnp.log(jnp.maximum(steep, _TINY * jnp.maximum(steep.max(1, keepdims=True), _TINY)))
    edge = jax.vmap(lambda k, w: jax.random.categorical(k, w, shape=(quarter,)))(
        jax.random.split(keys[0], n), log_chance
    )
    at = lambda x: jnp.take_along_axis(x.reshape(n, -1), edge, 1)
    length = jnp.maximum(at(jnp.hypot(gx, gy)), _TINY)
    step = jnp.stack([at(gy) / length, at(gx) / length], -1)
    away = jnp.sort(jax.random.uniform(keys[1], (n, quarter, 4), minval=1.0, maxval=float(reach)), -1)
    signed = jnp.stack([-away[..., 2], -away[..., 0], away[..., 1], away[..., 3]], -1)
    place = jnp.stack([edge // wide, edge % wide], -1)[:, :, None] + signed[..., None] * step[:, :, None]
    row = jnp.clip(jnp.round(place[..., 0]).astype(jnp.int32), 0, high - 1)
    column = jnp.clip(jnp.round(place[..., 1]).astype(jnp.int32), 0, wide - 1)
    points = row * wide + column  # image, edge, four
    others = _random_pairs(keys[2], disparity, quarter)
    first = jnp.concatenate([points[..., :3].reshape(n, -1), others[0]], 1)
    second = jnp.concatenate([points[..., 1:].reshape(n, -1), others[1]], 1)
    return _ranked(log_inverse, disparity, valid, first, second, ratio)


def _inner(valid: Masks) -> Masks:
    """Pixels whose four neighbours are valid."""
    v = jnp.pad(valid, ((0, 0), (1, 1), (1, 1)))
    return valid & v[:, 2:, 1:-1] & v[:, :-2, 1:-1] & v[:, 1:-1, 2:] & v[:, 1:-1, :-2]


def _random_pairs(key: Any, like: Maps, count: int) -> tuple[Any, Any]:
    n, high, wide = like.shape
    found = jax.random.randint(key, (2, n, count), 0, high * wide)
    return found[0], found[1]


def _ranked(z: Maps, disparity: Maps, valid: Masks, first, second, ratio: float) -> Each:
    n = len(z)
    at = lambda x, where: jnp.take_along_axis(jnp.where(valid, x, 0.0).reshape(n, -1), where, 1)
    both = jnp.take_along_axis(valid.reshape(n, -1), first, 1) & jnp.take_along_axis(
        valid.reshape(n, -1), second, 1
    )
    a, b = at(disparity, first), at(disparity, second)
    apart = jnp.abs(a - b) > (ratio - 1) * jnp.maximum(jnp.abs(a), jnp.abs(b))
    order = jnp.where(apart, jnp.sign(a - b), 0.0)
    gap = at(z, first) - at(z, second)
    cost = jnp.where(order == 0, gap**2, jax.nn.softplus(-order * gap))
    count = jnp.maximum(both.sum(1), 1)
    return jnp.sum(jnp.where(both, cost, 0.0), 1) / count


def silog(log_inverse: Maps, log_truth: Maps, valid: Masks, *, share: float = 0.5) -> Each:
    """The scale-invariant logarithmic loss: mean e^2 - share (mean e)^2 of e = log q - log q*; `share` 1: the variance,
    blind to the scale."""
    count = jnp.maximum(valid.sum((1, 2)), 1)
    gap = jnp.where(valid, log_inverse - jnp.where(valid, log_truth, 0.0), 0.0)
    return jnp.sum(gap**2, (1, 2)) / count - share * (jnp.sum(gap, (1, 2)) / count) ** 2


def affine_fit(values: Maps, target: Maps, valid: Masks) -> tuple[Each, Each]:
    """`(scale, shift)` of each image that bring `values` nearest to `target` by least squares over the valid pixels;
    (0, mean) where the values do not vary."""
    count = jnp.maximum(valid.sum((1, 2)), 1).astype(values.dtype)
    mean = lambda x: jnp.sum(jnp.where(valid, x, 0.0), (1, 2)) / count
    v, t = jnp.where(valid, values, 0.0), jnp.where(valid, target, 0.0)
    mv, mt = mean(v), mean(t)
    away = jnp.where(valid, v - mv[:, None, None], 0.0)
    variance = mean(away**2)
    scale = mean(away * t) / jnp.maximum(variance, 1e-12)
    return scale, mt - scale * mv


def affine_invariant(
    inverse_depth: Maps, disparity: Maps, valid: Masks, *, gradient: float = 0.5, levels: int = 4
) -> Each:
    """The scale-and-shift-invariant loss: mean |r| of the residual r of `affine_fit` of the inverse depth to the
    disparity, and `gradient` times the mean |differences of r| between neighbours on `levels` levels of every second
    pixel; over the mean absolute deviation of the disparity, so that its unit does not matter."""
    q, d = jnp.where(valid, inverse_depth, 0.0), jnp.where(valid, disparity, 0.0)
    scale, shift = affine_fit(q, d, valid)
    r = scale[:, None, None] * q + shift[:, None, None] - d
    count = jnp.maximum(valid.sum((1, 2)), 1)
    total = lambda x, m: jnp.sum(jnp.where(m, jnp.abs(x), 0.0), (1, 2))
    middle = jnp.sum(d, (1, 2)) / count
    size = jnp.maximum(total(d - middle[:, None, None], valid) / count, _TINY)
    loss = total(r, valid) / count
    for level in range(levels):
        part, mask = r[:, :: 2**level, :: 2**level], valid[:, :: 2**level, :: 2**level]
        if min(part.shape[1:]) < 2:
            break
        number = jnp.maximum(mask.sum((1, 2)), 1)
        for axis in (2, 1):
            loss = loss + gradient * total(_differences(part, 1, axis), _pairs(mask, 1, axis)) / number
    return loss / size
