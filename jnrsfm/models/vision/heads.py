r"""Heads that turn feature maps into points with a spread: coordinates of a patch, x and y in [-0.5, 0.5], z alike.

* `axis`: for each point and axis a distribution over bins of its own, of which the mean is taken: cheap, and the
  strongest on the sets we measured. x and y reach beyond the patch, z to `DEPTH` both ways.
* `integral`: one softmax over a volume of x, y and z, and its mean, as published.
* `debiased`: the same, without what a flat background adds to the mean: weights exp(max(h, 0)) - 1.

Every head also gives the scale b of a Laplace distribution about each coordinate, from features behind a stopped
gradient, so that learning how sure it is does not change what it says.

Source: Sun et al., Integral human pose regression, ECCV 2018 (integral); Gu et al., Removing the bias of integral pose
regression, ICCV 2021 (debiased); Li et al., SimCC, ECCV 2022 (a distribution for each axis).
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.models.vision.backbone import Backbone, BackboneConfig, Features, conv
from jnrsfm.models.vision.pretrained import AlexTrunk

HeadKind = Literal["axis", "integral", "debiased"]
_BACKBONE = BackboneConfig()
REACH = 0.625
"""The axis head's bins for x and y go from minus to plus this."""
DEPTH = 1.0
"""The bins for z go from minus to plus this, in every head."""


class Pose(NamedTuple):
    """`points (*batch, point, 3)`: x, y, z in patch units; `spread (*batch, point, 3)`: Laplace scale of each;
    `logits (*batch, point, 3, bin)` of the axis head, else None."""

    points: Any
    spread: Any
    logits: Any = None


@dataclasses.dataclass(frozen=True)
class PoseNetworkConfig:
    """`n_points`; `size` of the patch; the backbone; the kind of head; `bins` of an axis (axis), or of the depth of the
    volume (the others); `width` of the head's map."""

    n_points: int
    size: int = 64
    backbone: BackboneConfig = _BACKBONE
    head: HeadKind = "axis"
    bins: int = 64
    width: int = 96

    def __post_init__(self):
        """Raise InputError for what is no network."""
        least = self.backbone.stride
        if self.size < least or self.size % least:
            raise InputError(f"size is {self.size}: it must divide by {least}, the stride of the backbone")
        if self.bins < 2 or self.n_points < 1:
            raise InputError(f"bins is {self.bins} and points {self.n_points}: give at least 2 and 1")


def enlarged(h):
    """Maps of twice the size, nearest."""
    return jnp.repeat(jnp.repeat(h, 2, -3), 2, -2)


class AxisHead(nnx.Module):
    """A distribution for each point and axis. See the module docstring."""

    CHANNELS = 4  # of the map, for each point

    def __init__(self, config: PoseNetworkConfig, *, rngs: nnx.Rngs):
        self.config = config
        widths = config.backbone.widths
        side = config.size // config.backbone.stride * (2 if len(widths) > 1 else 1)
        self.lateral = (
            conv(widths[-2], config.width, size=1, bias=True, rngs=rngs) if len(widths) > 1 else None
        )
        self.top = conv(widths[-1], config.width, size=1, bias=True, rngs=rngs)
        self.local = conv(config.width, self.CHANNELS * config.n_points, size=3, bias=True, rngs=rngs)
        n = self.CHANNELS * side * side + widths[-1]
        small = lambda key, shape, dtype=jnp.float32: n**-0.5 * jax.random.normal(key, shape, dtype)
        self.weight = nnx.Param(small(rngs.params(), (config.n_points, n, 3 * config.bins)))
        self.bias = nnx.Param(jnp.zeros((config.n_points, 3 * config.bins)))

    def __call__(self, features: Features) -> tuple[Array, Array]:
        """`(points, logits)`."""
        c = self.config
        h = self.top(features.maps[-1])
        if self.lateral is not None:
            h = enlarged(h) + self.lateral(features.maps[-2])
        h = self.local(jax.nn.relu(h))
        batch = h.shape[0]
        h = (
            h.reshape(batch, -1, c.n_points, self.CHANNELS)
            .transpose(2, 0, 1, 3)
            .reshape(c.n_points, batch, -1)
        )
        pooled = jnp.broadcast_to(features.pooled, (c.n_points, *features.pooled.shape))
        logits = jnp.concatenate([jax.nn.relu(h), pooled], -1) @ self.weight[...] + self.bias[...][:, None]
        logits = logits.reshape(c.n_points, batch, 3, c.bins).transpose(1, 0, 2, 3)
        points = jnp.sum(jax.nn.softmax(logits, -1) * bin_places(c.bins), -1)
        return points, logits


def bin_places(bins: int) -> Float[Array, "3 bin"]:
    """Coordinates of the bins' middles for x, y and z."""
    at = (jnp.arange(bins) + 0.5) / bins * 2 - 1
    return jnp.stack([REACH * at, REACH * at, DEPTH * at])


class VolumeHead(nnx.Module):
    """One distribution over x, y and z together. See the module docstring."""

    def __init__(self, config: PoseNetworkConfig, *, rngs: nnx.Rngs):
        self.config = config
        widths = config.backbone.widths
        # a lateral path up to stride 4, in place of deconvolutions
        self.first = 0 if config.backbone.stem >= 4 else min(1, len(widths) - 1)  # stride 4
        self.laterals = nnx.List(
            [conv(w, config.width, size=1, bias=True, rngs=rngs) for w in widths[self.first :]]
        )
        self.smooth = conv(config.width, config.width, bias=True, rngs=rngs)
        self.volume = conv(config.width, config.n_points * config.bins, size=1, bias=True, rngs=rngs)

    def __call__(self, features: Features) -> tuple[Array, None]:
        """`(points, None)`."""
        c = self.config
        h: Any = None
        for lateral, one in reversed(list(zip(self.laterals, features.maps[self.first :], strict=True))):
            h = lateral(one) if h is None else enlarged(h) + lateral(one)
        h = self.volume(jax.nn.relu(self.smooth(jax.nn.relu(h))))
        batch, y, x, _ = h.shape
        h = h.reshape(batch, y * x, c.n_points, c.bins)
        if c.head == "debiased":
            weight = jnp.expm1(jnp.clip(h, 0, 30)) + 1e-4  # never all zero
        else:
            weight = jnp.exp(h - jax.lax.stop_gradient(h.max((1, 3), keepdims=True)))
        weight = weight / weight.sum((1, 3), keepdims=True)
        place = lambda n: (jnp.arange(n) + 0.5) / n - 0.5
        flat = weight.sum(3).reshape(batch, y, x, c.n_points)
        px = jnp.einsum("byxn,x->bn", flat, place(x))
        py = jnp.einsum("byxn,y->bn", flat, place(y))
        pz = jnp.einsum("bnk,k->bn", weight.sum(1), 2 * DEPTH * place(c.bins))
        return jnp.stack([px, py, pz], -1), None


class PoseNetwork(nnx.Module):
    """Patches in [0, 255] to the `Pose` of their object."""

    def __init__(self, config: PoseNetworkConfig, *, rngs: nnx.Rngs):
        self.config = config
        kind: Any = AlexTrunk if config.backbone.trunk else Backbone
        self.backbone = kind(config.backbone, rngs=rngs)
        kind = AxisHead if config.head == "axis" else VolumeHead
        self.head = kind(config, rngs=rngs)
        small = jax.nn.initializers.normal(1e-3)
        self.spread = nnx.Linear(
            config.backbone.widths[-1], 3 * config.n_points, kernel_init=small, rngs=rngs
        )

    def __call__(self, images: Float[Array, "batch size size 3"]) -> Pose:
        """Points of each patch, and how sure each coordinate is."""
        features = self.backbone(images)
        points, logits = self.head(features)
        scale = self.spread(jax.lax.stop_gradient(features.pooled))
        scale = jnp.exp(jnp.clip(scale - 3.0, -7, 1))  # begins at 5 % of the patch
        return Pose(points, scale.reshape(points.shape), logits)
