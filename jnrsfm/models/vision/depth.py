r"""Depth from two frames and the flow between them: three pyramids, fused level by level, decoded to log depth.

    A_i, B_i  = maps of the backbone (`backbone`) of frame 1 and of frame 2, level i at stride stem 2^i
    B'_i(x)   = B_i(x + F_i(x)),  F_i the flow averaged over the cell, in cells of the level (borders repeated)
    C_i       = maps of the flow: squares of pixels, then residual blocks
    D_i       = block([block([A_i, B'_i]), C_i])
    H_i       = block(D_i + twice(H_{i+1})),   log depth from H_0

`fusion="bottom-up"` is the order of the released code: the flow's maps join on the way down, D_i = block([block([A_i,
B'_i]), C_i, half(D_{i-1})]). `frames="one"` has the first pyramid alone.

Departures from the text, for small images on a CPU: the backbone is the house's, of any width, with group
normalisation; the flow is taken in squares of pixels and its length as asinh(|F| / 2 % of the width), so that one fast
figure does not drown the rest; the last map gives each pixel of its square a number of its own beside the bilinear
enlargement. The text: ResNet-50, two strided convolutions, bilinear.

Source: Wang, thesis, 2022, section 5.4.2 and fig. 5.10; the fusion follows Xian et al., CVPR 2018.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.models.vision.backbone import Backbone, BackboneConfig, ConvBlock, conv

_BACKBONE = BackboneConfig()
FLOW_UNIT = 0.02  # of the width of the image
MOST = 6.0  # |log depth| that the network can say


@dataclasses.dataclass(frozen=True)
class DepthNetworkConfig:
    """`size` (width, height) of the images; the backbone; `flow_widths`: channels of the flow's levels; `width` of the
    fused maps and of the decoder; `frames`: two with flow, or one; `fusion`: level by level, or bottom-up."""

    size: tuple[int, int] = (128, 80)
    backbone: BackboneConfig = _BACKBONE
    flow_widths: tuple[int, ...] = (16, 24, 32)
    width: int = 48
    frames: Literal["two", "one"] = "two"
    fusion: Literal["levels", "bottom-up"] = "levels"

    def __post_init__(self):
        """Raise InputError for what is no network."""
        stride = self.backbone.stride
        if any(n < stride or n % stride for n in self.size):
            raise InputError(
                f"size is {self.size[0]} x {self.size[1]}: both must divide by {stride}, the stride of the backbone"
            )
        if len(self.flow_widths) != len(self.backbone.widths):
            raise InputError(
                f"flow_widths are {self.flow_widths}: give {len(self.backbone.widths)}, one for each level"
            )
        groups = self.backbone.groups
        if self.width < groups or self.width % groups or any(w % groups for w in self.flow_widths):
            raise InputError(
                f"width is {self.width} and flow_widths {self.flow_widths}: each must divide by {groups}"
            )


def _interpolation(count: int, factor: int) -> np.ndarray:
    """`(count factor, count)`: bilinear enlargement of a line by a whole factor, ends repeated."""
    place = (np.arange(count * factor) + 0.5) / factor - 0.5
    low = np.floor(place).astype(int)
    share = place - low
    matrix = np.zeros((count * factor, count), np.float32)
    rows = np.arange(count * factor)
    np.add.at(matrix, (rows, np.clip(low, 0, count - 1)), 1 - share)
    np.add.at(matrix, (rows, np.clip(low + 1, 0, count - 1)), share)
    return matrix


def enlarge(h: Float[Array, "batch y x c"], factor: int) -> Float[Array, "batch _ _ c"]:
    """Maps of `factor` times the size, bilinear: two matrix products."""
    if factor == 1:
        return h
    rows, columns = (jnp.asarray(_interpolation(n, factor), h.dtype) for n in h.shape[1:3])
    return jnp.einsum("ux,bvxc->bvuc", columns, jnp.einsum("vy,byxc->bvxc", rows, h))


def cells(x: Float[Array, "batch y x c"], side: int) -> Float[Array, "batch _ _ c"]:
    """Means over squares of `side` pixels."""
    n, high, wide, c = x.shape
    return x.reshape(n, high // side, side, wide // side, side, c).mean((2, 4))


def squares(x: Float[Array, "batch y x c"], side: int) -> Float[Array, "batch _ _ d"]:
    """Squares of `side` pixels as the channels of one."""
    n, high, wide, c = x.shape
    x = x.reshape(n, high // side, side, wide // side, side, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, high // side, wide // side, side * side * c)


def spread(x: Float[Array, "batch y x d"], side: int) -> Float[Array, "batch _ _"]:
    """The inverse of `squares` for one channel a pixel."""
    n, high, wide, _ = x.shape
    return x.reshape(n, high, wide, side, side).transpose(0, 1, 3, 2, 4).reshape(n, high * side, wide * side)


def warp(h: Float[Array, "batch y x c"], flow: Float[Array, "batch y x 2"]) -> Float[Array, "batch y x c"]:
    """`h` at x + flow(x), bilinear, borders repeated; the flow in cells of the map. No gradient goes to the flow."""
    n, high, wide, c = h.shape
    flow = jax.lax.stop_gradient(flow)
    u = jnp.clip(jnp.arange(wide) + flow[..., 0], 0.0, wide - 1.0)
    v = jnp.clip(jnp.arange(high)[:, None] + flow[..., 1], 0.0, high - 1.0)
    left, top = jnp.floor(u), jnp.floor(v)
    a, b = (u - left)[..., None], (v - top)[..., None]
    x0, y0 = left.astype(jnp.int32), top.astype(jnp.int32)
    x1, y1 = jnp.minimum(x0 + 1, wide - 1), jnp.minimum(y0 + 1, high - 1)
    rows = h.reshape(n * high * wide, c)
    start = (jnp.arange(n) * high * wide)[:, None, None]
    at = lambda y, x: rows[(start + y * wide + x).reshape(-1)].reshape(n, high, wide, c)
    return (1 - b) * ((1 - a) * at(y0, x0) + a * at(y0, x1)) + b * ((1 - a) * at(y1, x0) + a * at(y1, x1))


class DepthNetwork(nnx.Module):
    """Two frames in [0, 255] and the flow in pixels to log depth. See the module docstring."""

    def __init__(self, config: DepthNetworkConfig, *, rngs: nnx.Rngs):
        self.config = c = config
        b = c.backbone
        self.images = Backbone(b, rngs=rngs)
        levels = range(len(b.widths))
        two = c.frames == "two"
        block = lambda inputs, outputs, stride=1: ConvBlock(inputs, outputs, stride, b.groups, rngs=rngs)
        if two:
            self.flow_stem = conv(2 * b.stem**2, c.flow_widths[0], size=1, bias=True, rngs=rngs)
            before = (c.flow_widths[0], *c.flow_widths)
            self.flows = nnx.List([block(before[i], c.flow_widths[i], 2 if i else 1) for i in levels])
        below = c.width if c.fusion == "bottom-up" else 0
        self.frames = nnx.List([block((1 + two) * b.widths[i], c.width) for i in levels])
        self.fused = nnx.List(
            [block(c.width + two * c.flow_widths[i] + (below if i else 0), c.width) for i in levels]
        )
        if below:
            self.halves = nnx.List([block(c.width, c.width, 2) for _ in levels[1:]])
        self.decoder = nnx.List([block(c.width, c.width) for _ in levels])
        self.norm = nnx.GroupNorm(c.width, b.groups, rngs=rngs)
        self.last = conv(c.width, c.width // 2, bias=True, rngs=rngs)
        self.depth = conv(c.width // 2, 1 + b.stem**2, bias=True, rngs=rngs)

    def __call__(
        self, first: Float[Array, "batch y x 3"], second: Any = None, flow: Any = None
    ) -> Float[Array, "batch y x"]:
        """Log depth of the first frame."""
        c, stem = self.config, self.config.backbone.stem
        levels, moved = range(len(c.backbone.widths)), []
        if c.frames == "two":  # one pass for both frames: half the program, and longer matrix products
            both = self.images(jnp.concatenate([first, second])).maps
            n = len(first)
            far = [cells(flow, stem * 2**i) / (stem * 2**i) for i in levels]
            maps = [[m[:n] for m in both], [warp(both[i][n:], far[i]) for i in levels]]
            unit = FLOW_UNIT * c.size[0]
            h = self.flow_stem(squares(jnp.arcsinh(flow / unit), stem))
            for one in self.flows:
                h = one(h)
                moved.append(h)
        else:
            maps = [list(self.images(first).maps)]
        fused: list[Any] = []
        for i in levels:
            h = self.frames[i](jnp.concatenate([m[i] for m in maps], -1))
            parts = [h, *([moved[i]] if c.frames == "two" else [])]
            if c.fusion == "bottom-up" and i:
                parts.append(self.halves[i - 1](fused[-1]))
            fused.append(self.fused[i](jnp.concatenate(parts, -1)))
        h = self.decoder[-1](fused[-1])
        for i in reversed(levels[:-1]):
            h = self.decoder[i](fused[i] + enlarge(h, 2))
        h = jax.nn.relu(self.last(jax.nn.relu(self.norm(h))))
        h = self.depth(h)
        found = enlarge(h[..., :1], stem)[..., 0] + spread(h[..., 1:], stem)
        return MOST * jnp.tanh(found / MOST)
