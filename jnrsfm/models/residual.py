r"""A fully connected residual network from the landmarks of one frame to its 3D shape in the camera frame.

    h = W [xy, confidence] + b;   h = h + W2 ReLU(W1 LN(h))  (`blocks` times),

then one branch for x and y and one for z, each a residual block and a linear head. The x and y come out as a
correction of what went in; the heads start near zero, so that an untrained network gives a flat shape.

Source: PRN-FCN of Park, Lee, Kwak, Procrustean Regression Networks, 2020 (two branches, width 1024). Layer
normalisation in place of the batch's: there are no running statistics to freeze, and a window of like frames
does not set the statistics of its own normalisation.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError


@dataclasses.dataclass(frozen=True)
class ResidualConfig:
    """Number of points, hidden units of a layer, and residual blocks before the two branches."""

    n_points: int
    width: int = 256
    blocks: int = 2

    def __post_init__(self):
        """Refuse what is no network."""
        if self.n_points < 1 or self.width < 1 or self.blocks < 0:
            raise InputError(
                f"width is {self.width} and blocks is {self.blocks}: width at least 1, blocks at least 0"
            )


class ResidualBlock(nnx.Module):
    """`h + W2 ReLU(W1 LN(h) + b1) + b2`."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.first = nnx.Linear(width, width, kernel_init=jax.nn.initializers.he_normal(), rngs=rngs)
        self.second = nnx.Linear(width, width, kernel_init=jax.nn.initializers.normal(width**-0.5), rngs=rngs)

    def __call__(self, h: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        """One block."""
        return h + self.second(jax.nn.relu(self.first(self.norm(h))))


class ResidualNetwork(nnx.Module):
    """Landmarks of a frame to its shape in the camera frame. See the module docstring."""

    def __init__(self, config: ResidualConfig, *, rngs: nnx.Rngs):
        self.config = config
        n, width = config.n_points, config.width
        small = jax.nn.initializers.normal(1e-3)  # as published
        self.stem = nnx.Linear(3 * n, width, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(width, rngs=rngs) for _ in range(config.blocks)])
        self.branches = nnx.List([ResidualBlock(width, rngs=rngs) for _ in range(2)])
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2)])
        self.heads = nnx.List([nnx.Linear(width, k * n, kernel_init=small, rngs=rngs) for k in (2, 1)])

    def __call__(
        self, points: Float[Array, "*batch point 2"], confidence: Float[Array, "*batch point"]
    ) -> Float[Array, "*batch point 3"]:
        """Shape of normalised `points`; `confidence` in [0, 1] is 0 where a point is not known (and stored as 0)."""
        batch = points.shape[:-2]
        h = self.stem(jnp.concatenate([points.reshape(*batch, -1), confidence], -1))
        for block in self.blocks:
            h = block(h)
        xy, z = (
            head(norm(branch(h)))
            for branch, norm, head in zip(self.branches, self.norms, self.heads, strict=True)
        )
        return jnp.concatenate([points + xy.reshape(*batch, -1, 2), z.reshape(*batch, -1, 1)], -1)
