r"""Residual networks of plain 3x3 convolutions with group normalisation: images to feature maps.

    stem: one linear map of squares of pixels;  stage i: residual blocks h + conv(ReLU GN conv(ReLU GN h)), the first
    of stride 2 (i > 0)

Depthwise convolutions are twenty times slower under XLA on a CPU, batch normalisation ties the samples of a batch to
each other and a network to its training, and maps of half the image's size cost more memory traffic than all others
together: none of them is used.

Source: He et al., Identity mappings in deep residual networks, ECCV 2016 (pre-activation); Wu and He, Group
normalization, ECCV 2018.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError

# name: side of the stem's squares, widths of the stages, blocks of each
PRESETS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "tiny": (2, (8, 16), (1, 1)),
    "small": (4, (48, 96, 160), (1, 1, 1)),
    "medium": (4, (64, 128, 256), (2, 2, 2)),
    "large": (4, (96, 192, 384, 512), (2, 2, 2, 2)),
}


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """`stem`: side of the squares of pixels that the first map takes together; `widths`: channels of the stages;
    `blocks`: residual blocks of each; `groups`: of the normalisation; `trunk`: "alexnet" for the pretrained one."""

    stem: int = PRESETS["small"][0]
    widths: tuple[int, ...] = PRESETS["small"][1]
    blocks: tuple[int, ...] = PRESETS["small"][2]
    groups: int = 8
    trunk: str = ""

    def __post_init__(self):
        """Raise InputError for what is no network."""
        if not self.widths or len(self.widths) != len(self.blocks) or min(self.blocks) < 1:
            raise InputError(
                f"widths are {self.widths} and blocks {self.blocks}: give as many of each, blocks at least 1"
            )
        if any(w % self.groups for w in self.widths):
            raise InputError(f"widths are {self.widths}: each must divide by groups, {self.groups}")
        if self.stem < 1:
            raise InputError(f"stem is {self.stem}: give at least 1")

    @property
    def stride(self) -> int:
        """Pixels of the image for one of the last map."""
        return self.stem * 2 ** (len(self.widths) - 1)

    @classmethod
    def preset(cls, name: str) -> "BackboneConfig":
        """Of a preset: tiny (tests), small (a CPU), medium and large (18 layers, half and full width)."""
        if name not in PRESETS:
            raise InputError(f"backbone {name!r} is unknown: choose from {', '.join(PRESETS)}")
        return cls(*PRESETS[name])


class Features(NamedTuple):
    """`maps`: one map for each stage, `(*batch, height / (stem 2^i), width / (stem 2^i), channel)`; `pooled (*batch,
    channel)`: the mean of the last."""

    maps: tuple
    pooled: Float[Array, "*batch channel"]


class Conv(nnx.Module):
    """A plain convolution of zero-padded maps, as one matrix product of their shifted copies.

    Inside a loop XLA runs its own convolution on a CPU at a sixteenth of the speed (measured: 6.0 s against 0.36 s for
    a gradient of 32 images), and the engine's steps are a loop; a product keeps its speed there.
    """

    def __init__(
        self, inputs: int, outputs: int, *, size: int = 3, stride: int = 1, bias: bool = False, rngs: nnx.Rngs
    ):
        self.size, self.stride = size, stride
        scale = (2.0 / (size * size * outputs)) ** 0.5  # He, fan out
        shape = (size * size * inputs, outputs)
        self.kernel = nnx.Param(scale * jax.random.normal(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros((outputs,))) if bias else None

    def __call__(self, h: Float[Array, "batch y x in"]) -> Float[Array, "batch _ _ out"]:
        """The convolution."""
        n, (height, width), stride = self.size, h.shape[1:3], self.stride
        if n > 1:
            # first along y, then along x: six copies instead of nine
            edge = (n - 1) // 2
            h = jnp.pad(h, ((0, 0), (edge, n - 1 - edge), (edge, n - 1 - edge), (0, 0)))
            h = jnp.concatenate([h[:, i : i + height : stride] for i in range(n)], -1)
            h = jnp.concatenate([h[:, :, i : i + width : stride] for i in range(n)], -1)
        elif stride > 1:
            h = h[:, ::stride, ::stride]
        h = (h.reshape(-1, h.shape[-1]) @ self.kernel[...]).reshape(*h.shape[:-1], -1)
        return h if self.bias is None else h + self.bias[...]


def conv(
    inputs: int, outputs: int, *, size: int = 3, stride: int = 1, bias: bool = False, rngs: nnx.Rngs
) -> Conv:
    """A convolution, He-initialised."""
    return Conv(inputs, outputs, size=size, stride=stride, bias=bias, rngs=rngs)


class ConvBlock(nnx.Module):
    """Pre-activation residual block of two 3x3 convolutions; a 1x1 one on the skip where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int, *, rngs: nnx.Rngs):
        self.norms = nnx.List(
            [nnx.GroupNorm(inputs, groups, rngs=rngs), nnx.GroupNorm(outputs, groups, rngs=rngs)]
        )
        self.convs = nnx.List(
            [conv(inputs, outputs, stride=stride, rngs=rngs), conv(outputs, outputs, rngs=rngs)]
        )
        changes = stride > 1 or inputs != outputs
        self.skip = conv(inputs, outputs, size=1, stride=stride, rngs=rngs) if changes else None

    def __call__(self, h: Float[Array, "batch y x in"]) -> Float[Array, "batch _ _ out"]:
        """One block."""
        a = jax.nn.relu(self.norms[0](h))
        left = h if self.skip is None else self.skip(a)
        a = self.convs[0](a)
        return left + self.convs[1](jax.nn.relu(self.norms[1](a)))


class Backbone(nnx.Module):
    """Images in [0, 255] to `Features`. See the module docstring."""

    def __init__(self, config: BackboneConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.stem = conv(3 * config.stem**2, config.widths[0], size=1, bias=True, rngs=rngs)
        stages, inputs = [], config.widths[0]
        for i, (width, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
            blocks = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(ConvBlock(inputs, width, stride, config.groups, rngs=rngs))
                inputs = width
            stages.append(nnx.List(blocks))
        self.stages = nnx.List(stages)
        self.norm = nnx.GroupNorm(inputs, config.groups, rngs=rngs)

    def __call__(self, images: Float[Array, "batch y x 3"]) -> Features:
        """Feature maps of RGB images."""
        batch, height, width, _ = images.shape
        n = self.config.stem
        h = (images / 64.0 - 2.0).reshape(batch, height // n, n, width // n, n, 3)
        h = self.stem(h.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // n, width // n, -1))
        maps = []
        for blocks in self.stages:
            for block in blocks:
                h = block(h)
            maps.append(h)
        last = jax.nn.relu(self.norm(h))
        return Features((*maps[:-1], last), jnp.mean(last, (-3, -2)))
