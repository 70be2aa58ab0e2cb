"""A small U-Net: the object's mask in a patch.

The maps of a backbone, decoded from the coarsest to the finest with what the way down had at each size, and one number
for each pixel of the stem's squares. Source: Ronneberger, Fischer and Brox, U-Net, MICCAI 2015; the residual blocks are
the house's.
"""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.models.vision.backbone import Backbone, BackboneConfig, ConvBlock, conv
from jnrsfm.models.vision.depth import enlarge, spread

_BACKBONE = BackboneConfig()


@dataclasses.dataclass(frozen=True)
class MaskNetworkConfig:
    """`size`: side of the patch in pixels; the backbone; `width` of the decoder."""

    size: int = 64
    backbone: BackboneConfig = _BACKBONE
    width: int = 48

    def __post_init__(self):
        """Raise InputError for what is no network."""
        if self.size < self.backbone.stride or self.size % self.backbone.stride:
            raise InputError(f"size is {self.size}: it must divide by {self.backbone.stride}")
        if self.width < 1 or self.width % self.backbone.groups:
            raise InputError(f"width is {self.width}: it must divide by {self.backbone.groups}")


class MaskNetwork(nnx.Module):
    """Patches in [0, 255] to the logit of the object in each pixel. See the module docstring."""

    def __init__(self, config: MaskNetworkConfig, *, rngs: nnx.Rngs):
        self.config, b = config, config.backbone
        self.trunk = Backbone(b, rngs=rngs)
        self.sides = nnx.List([conv(w, config.width, size=1, rngs=rngs) for w in b.widths])
        self.decoder = nnx.List(
            [ConvBlock(config.width, config.width, 1, b.groups, rngs=rngs) for _ in b.widths]
        )
        self.norm = nnx.GroupNorm(config.width, b.groups, rngs=rngs)
        self.last = conv(config.width, b.stem**2, bias=True, rngs=rngs)

    def __call__(self, images: Float[Array, "batch y x 3"]) -> Float[Array, "batch y x"]:
        """Logits."""
        maps = [side(m) for side, m in zip(self.sides, self.trunk(images).maps, strict=True)]
        h = self.decoder[-1](maps[-1])
        for i in reversed(range(len(maps) - 1)):
            h = self.decoder[i](maps[i] + enlarge(h, 2))
        return spread(self.last(jax.nn.relu(self.norm(h))), self.config.backbone.stem)
