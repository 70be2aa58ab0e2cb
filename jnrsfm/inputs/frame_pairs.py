r"""Pairs of frames at the size of a network, and their augmentation in the step.

A pair is brought once, on the host, to a *canvas*: the whole picture, stretched to a little more than the network sees;
pictures area-averaged, disparity and flow taken at pixel centres (a mean across an edge is the depth of nothing), the
flow in pixels of the canvas. In the step a window of the network's size is cut from it at random, both frames, labels
and flow alike; mirrored left to right (the flow's x then changes its sign; the disparity, which stands for inverse
depth, does not); and both frames are coloured alike.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.pixels import resized

MARGIN = 1.125
"""Side of the canvas over that of the network's window."""


class PairBatch(NamedTuple):
    """Pairs at one size: `first`, `second (pair, y, x, 3)` uint8, `disparity (pair, y, x)`, `flow (pair, y, x, 2)`,
    `valid (pair, y, x)`, `weight (pair,)`: 1 in training, 0 held out."""

    first: Any
    second: Any
    disparity: Any
    flow: Any
    valid: Any
    weight: Any


def pair_canvas(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the canvas for a network's `size`."""
    return (round(MARGIN * size[0]), round(MARGIN * size[1]))


def at_size(pair: dict[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """A pair (`FramePairs.read`) at another `size` (width, height), its flow in the new pixels; maps that it has not
    are left out."""
    high, wide = pair["first"].shape[:2]
    rows, columns = (
        ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in ((size[1], high), (size[0], wide))
    )
    found = {name: resized(pair[name], size) for name in ("first", "second")}
    scale = np.array([size[0] / wide, size[1] / high], np.float32)
    found["flow"] = pair["flow"][rows][:, columns].astype(np.float32) * scale
    if "disparity" in pair:
        valid = pair["valid"][rows][:, columns]
        found["disparity"] = np.where(valid, pair["disparity"][rows][:, columns], 0).astype(np.float32)
        found["valid"] = valid
    return found


def cut_pairs(batch: PairBatch, key: Any, size: tuple[int, int], colour: float = 0.2) -> PairBatch:
    """Windows of `size` (width, height) at random, mirrored with probability 1/2, frames as float32 in [0, 255] whose
    channels are multiplied by 1 + `colour` times a uniform number in [-1, 1], one for each pair and channel. Without a
    `key`: the middle, as it is."""
    n, high, wide = batch.disparity.shape
    space = jnp.array([high - size[1], wide - size[0]])
    if key is None:
        place = jnp.broadcast_to(space // 2, (n, 2))
        mirrored, gain = jnp.zeros(n, bool), jnp.ones((n, 3))
    else:
        keys = jax.random.split(key, 3)
        place = jax.random.randint(keys[0], (n, 2), 0, space + 1)
        mirrored = jax.random.bernoulli(keys[1], 0.5, (n,))
        gain = 1 + colour * jax.random.uniform(keys[2], (n, 3), minval=-1.0)

    def window(x):
        shape = (size[1], size[0], *x.shape[3:])
        cut = lambda x, p: jax.lax.dynamic_slice(x, (p[0], p[1], *([0] * (x.ndim - 2))), shape)
        x = jax.vmap(cut)(x, place)
        turned = mirrored.reshape((n,) + (1,) * (x.ndim - 1))
        return jnp.where(turned, x[:, :, ::-1], x)

    shown = lambda x: jnp.clip(window(x).astype(jnp.float32) * gain[:, None, None], 0.0, 255.0)
    sign = jnp.where(mirrored, -1.0, 1.0)[:, None, None]
    flow = window(batch.flow).astype(jnp.float32)
    flow = jnp.stack([flow[..., 0] * sign, flow[..., 1]], -1)
    return PairBatch(
        shown(batch.first), shown(batch.second), window(batch.disparity), flow, window(batch.valid), batch.weight
    )  # fmt: skip
