r"""The networks of PAUL: an autoencoder of aligned shapes, and what gives each frame its code.

    f_d: code (K) -> 16 -> 32 -> ... -> 256 -> shape (3 P),      f_e: the same the other way round.

Codes are free (one for each of a fixed set of frames), or come from the landmarks by `h`: a fully connected residual
network, or the block-sparse encoder of Deep NRSfM with a linear map of its last block code to K numbers. Source:
Wang's thesis, ch. 2; the activation is not stated there.
"""

import dataclasses
import itertools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.models.block_sparse import BlockSparseConfig, BlockSparseEncoder
from jnrsfm.models.residual import ResidualBlock

CodeSource = Literal["free", "residual", "block-sparse"]
_FIRST_CODE = 0.1  # standard deviation of free codes before training


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of the autoencoder, and where codes come from.

    `bottleneck`: K; `sizes`: hidden units from the shape to the code; `codes`: free, or the kind of `h`; `n_codes`:
    number of free codes; `dictionaries`, `columns`: of the block-sparse encoder (`BlockSparseConfig`); `width`,
    `blocks`: of the residual one.
    """

    n_points: int
    bottleneck: int = 8
    sizes: tuple[int, ...] = (256, 128, 64, 32, 16)
    codes: CodeSource = "free"
    n_codes: int = 0
    dictionaries: tuple[int, ...] = (512, 256, 128, 64, 32, 16)
    columns: int = 2
    width: int = 256
    blocks: int = 3

    def __post_init__(self):
        """Refuse what is no network."""
        if self.bottleneck < 1 or min(self.sizes, default=1) < 1:
            raise InputError(
                f"bottleneck is {self.bottleneck} and sizes is {self.sizes}: give numbers above 0"
            )
        if self.codes == "free" and self.n_codes < 1:
            raise InputError(f"n_codes is {self.n_codes}: free codes need one for each frame")


class Perceptron(nnx.Module):
    """Linear maps with GELU between them. GELU is smooth: codes and shapes move together."""

    def __init__(self, sizes: tuple[int, ...], *, rngs: nnx.Rngs):
        he, last = jax.nn.initializers.he_normal(), jax.nn.initializers.lecun_normal()
        pairs = list(itertools.pairwise(sizes))
        self.layers = nnx.List(
            [
                nnx.Linear(m, n, kernel_init=last if i == len(pairs) - 1 else he, rngs=rngs)
                for i, (m, n) in enumerate(pairs)
            ]
        )

    def __call__(self, x: Float[Array, "*batch m"]) -> Float[Array, "*batch n"]:
        """Forward."""
        *hidden, last = self.layers
        for layer in hidden:
            x = jax.nn.gelu(layer(x))
        return last(x)


class ResidualEncoder(nnx.Module):
    """Landmarks `(point, 2)` and their input confidence to a code: a stem, residual blocks, a linear head."""

    def __init__(self, config: AutoencoderConfig, *, rngs: nnx.Rngs):
        self.stem = nnx.Linear(3 * config.n_points, config.width, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(config.width, rngs=rngs) for _ in range(config.blocks)])
        self.norm = nnx.LayerNorm(config.width, rngs=rngs)
        self.head = nnx.Linear(config.width, config.bottleneck, rngs=rngs)

    def __call__(
        self, points: Float[Array, "*batch point 2"], confidence: Float[Array, "*batch point"]
    ) -> Float[Array, "*batch k"]:
        """Codes."""
        h = self.stem(jnp.concatenate([points.reshape(*points.shape[:-2], -1), confidence], -1))
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


class ProcrusteanAutoencoder(nnx.Module):
    """Autoencoder of shapes, and the codes of frames. See the module docstring."""

    def __init__(self, config: AutoencoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        down = (3 * config.n_points, *config.sizes, config.bottleneck)
        self.encoder = Perceptron(down, rngs=rngs)
        self.decoder = Perceptron(down[::-1], rngs=rngs)
        if config.codes == "free":
            shape = (config.n_codes, config.bottleneck)
            self.codes = nnx.Param(_FIRST_CODE * jax.random.normal(rngs.params(), shape))
        elif config.codes == "residual":
            self.lifter = ResidualEncoder(config, rngs=rngs)
        else:
            sparse = BlockSparseConfig(config.n_points, config.dictionaries, config.columns)
            self.block_lifter = BlockSparseEncoder(sparse, rngs=rngs)
            rows = 3 * config.columns * config.dictionaries[-1]
            self.head = nnx.Linear(rows, config.bottleneck, rngs=rngs)

    def lift(
        self,
        frame: Array,
        points: Float[Array, "batch point 2"],
        confidence: Float[Array, "batch point"],
        rows: Float[Array, "batch columns point"],
    ) -> Float[Array, "batch k"]:
        """Codes of frames: the free ones of numbers `frame`, or those of their landmarks. `rows` is what the
        block-sparse encoder takes (`geometry.normalization.adjoint_*`)."""
        if self.config.codes == "free":
            return self.codes[...][frame]
        if self.config.codes == "residual":
            return self.lifter(points, confidence)
        block = self.block_lifter.encode(rows)
        return self.head(block.reshape(len(block), -1))

    def encode(self, shape: Float[Array, "*batch point 3"]) -> Float[Array, "*batch k"]:
        """`f_e`."""
        return self.encoder(shape.reshape(*shape.shape[:-2], -1))

    def decode(self, code: Float[Array, "*batch k"]) -> Float[Array, "*batch point 3"]:
        """`f_d`, centred on the mean of its points."""
        shape = self.decoder(code).reshape(*code.shape[:-1], self.config.n_points, 3)
        return shape - shape.mean(-2, keepdims=True)
