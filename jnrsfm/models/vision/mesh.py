"""Handles and camera of a deforming template from one image.

The last map of a backbone, flattened (a pooled vector forgets where things are), one hidden layer, and a linear map to
the displacement of each handle, nine numbers that are projected to a rotation, the logarithm of the scale and the
shift, both relative to the side of the patch.

Source: Kokkinos and Kokkinos, CVPR 2021, section 3.4 (encoder, handle and camera heads). Departure: nine numbers and
their nearest rotation in place of a quaternion, of which the map from images to rotations cannot be continuous.
"""

import dataclasses
from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry.rotations import project_to_so3
from jnrsfm.models.vision.backbone import Backbone, BackboneConfig, conv

_BACKBONE = BackboneConfig()


@dataclasses.dataclass(frozen=True)
class MeshNetworkConfig:
    """`handles`: their number; `size`: side of the patch in pixels; the backbone; `width` of the hidden layer."""

    handles: int
    size: int = 64
    backbone: BackboneConfig = _BACKBONE
    width: int = 128

    def __post_init__(self):
        """Raise InputError for what is no network."""
        if self.handles < 1 or self.width < 1:
            raise InputError(f"handles are {self.handles}, width is {self.width}: both must be at least 1")
        if self.size < self.backbone.stride or self.size % self.backbone.stride:
            raise InputError(f"size is {self.size}: it must divide by {self.backbone.stride}")


class MeshCodes(NamedTuple):
    """`handles (batch, handle, 3)` displacements, `rotations (batch, 3, 3)`, `sizes (batch,)` the logarithm of the
    scale and `shifts (batch, 2)`, in sides of the patch from its middle."""

    handles: Float[Array, "batch handle 3"]
    rotations: Float[Array, "batch 3 3"]
    sizes: Float[Array, " batch"]
    shifts: Float[Array, "batch 2"]


class MeshNetwork(nnx.Module):
    """Patches in [0, 255] to `MeshCodes`. See the module docstring."""

    def __init__(self, config: MeshNetworkConfig, *, rngs: nnx.Rngs):
        self.config = config
        b = config.backbone
        self.trunk = Backbone(b, rngs=rngs)
        self.norm = nnx.GroupNorm(b.widths[-1], b.groups, rngs=rngs)
        cells = (config.size // b.stride) ** 2
        self.hidden = conv(cells * b.widths[-1], config.width, size=1, bias=True, rngs=rngs)
        self.last = conv(config.width, 3 * config.handles + 12, size=1, bias=True, rngs=rngs)

    def __call__(self, images: Float[Array, "batch y x 3"]) -> MeshCodes:
        """Handles and cameras."""
        h = jax.nn.relu(self.norm(self.trunk(images).maps[-1]))
        h = jax.nn.relu(self.hidden(h.reshape(len(h), 1, 1, -1)))
        return codes_of(self.last(h)[:, 0, 0])


def codes_of(numbers: Float[Array, "batch n"]) -> MeshCodes:
    """`MeshCodes` of the raw numbers."""
    handles, turn, camera = numbers[:, :-12], numbers[:, -12:-3], numbers[:, -3:]
    return MeshCodes(
        handles.reshape(len(numbers), -1, 3),
        project_to_so3(turn.reshape(-1, 3, 3)),
        camera[:, 0],
        camera[:, 1:],
    )
