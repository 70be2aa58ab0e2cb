r"""The network of Deep NRSfM++: hierarchical block-sparse coding, one unrolled block-ISTA step a layer.

Shapes are `S = D_1 phi_1`, `phi_{l-1} = ReLU(D_l phi_l + b'_l)`. With a camera matrix of M columns (2 for
weak perspective, 3 for perspective) the block codes `Psi_l = phi_l (x) R` obey the same dictionaries, so the
encoder is

    Psi_1 = BST(D~_1^T W~; b_1),   Psi_l = BST((D_l (x) I_3)^T Psi_{l-1}; b_l),

and two linear maps of the last block code give the code `phi_N` (a full contraction of the 3 x M blocks) and
the camera (one weight a block, projected to the nearest rotation). Dictionaries are tied, thresholds and
biases are not. Source: Wang et al., Deep NRSfM++, 2020, eq. 11-12; the factorisation follows Kong and Lucey,
Deep NRSfM, 2019.

Layout: arrays are (batch, M * 3, K) with the dictionary axis last, so that every layer is one matrix product.
"""

import dataclasses
import itertools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry.rotations import complete_rotation, project_to_so3, project_to_stiefel
from jnrsfm.linalg.proximal import block_soft_threshold

Activation = Literal["bst", "relu"]


@dataclasses.dataclass(frozen=True)
class BlockSparseConfig:
    """Sizes and kind of the network.

    `sizes`: atoms of the dictionaries `D_1 ... D_N`; `columns`: M; `activation`: block soft threshold, or the
    ReLU with a bias of Deep NRSfM; `threshold`: the thresholds' start (the paper states none).
    """

    n_points: int
    sizes: tuple[int, ...]
    columns: int = 2
    activation: Activation = "bst"
    threshold: float = 0.05

    def __post_init__(self):
        """Refuse what is no network."""
        if not self.sizes or min(self.sizes) < 1:
            raise InputError(f"dictionary sizes are {self.sizes}: give one or more numbers above 0")
        if self.columns not in (2, 3):
            raise InputError(f"columns is {self.columns}: 2 (weak perspective) or 3 (perspective)")


class BlockSparseEncoder(nnx.Module):
    """Normalised measurements to the last block code: dictionaries and thresholds."""

    def __init__(self, config: BlockSparseConfig, *, rngs: nnx.Rngs):
        self.config = config
        sizes = config.sizes
        normal = lambda shape, scale: nnx.Param(scale * jax.random.normal(rngs.params(), shape))
        # He scaling for the encoder's direction: the block code keeps its size through the layers.
        self.first = normal((config.n_points, 3, sizes[0]), config.n_points**-0.5)
        self.dictionaries = nnx.List([normal((k, n), (2.0 / k) ** 0.5) for k, n in itertools.pairwise(sizes)])
        self.thresholds = nnx.List(
            [nnx.Param(jnp.full((k,), config.threshold, self.first[...].dtype)) for k in sizes]
        )

    def encode(self, measured: Float[Array, "batch columns point"]) -> Float[Array, "batch rows k"]:
        """Last block code `Psi_N`; row `3 m + i` holds the entry (i, m) of each block.

        `measured` is `(M D~_1)^T W~` short of the shared dictionary: see `geometry.normalization.adjoint_*`.
        """
        first = self.first[...]
        batch, columns, points = measured.shape
        x = measured.reshape(batch * columns, points) @ first.reshape(points, -1)
        x = self._threshold(x.reshape(batch, 3 * columns, -1), 0)
        for layer, dictionary in enumerate(self.dictionaries, 1):
            x = x.reshape(batch * 3 * columns, -1) @ dictionary[...]
            x = self._threshold(x.reshape(batch, 3 * columns, -1), layer)
        return x

    def _threshold(self, x, layer):
        # Both are free in sign: a threshold below 0 lengthens its block.
        t = self.thresholds[layer][...]
        if self.config.activation == "bst":
            return block_soft_threshold(x, t, axes=-2)
        return jax.nn.relu(x - t)


class BlockSparseNetwork(BlockSparseEncoder):
    """Normalised measurements to shape, rotation and first code. See the module docstring."""

    def __init__(self, config: BlockSparseConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)
        sizes, rows = config.sizes, 3 * config.columns
        normal = lambda shape, scale: nnx.Param(scale * jax.random.normal(rngs.params(), shape))
        self.biases = nnx.List([nnx.Param(jnp.zeros((k,))) for k in sizes[:-1]])
        last = sizes[-1]
        self.code_head = normal((rows * last, last), (rows * last) ** -0.5)
        self.camera_head = normal((last,), last**-0.5)

    def factor(
        self, code: Float[Array, "batch rows k"]
    ) -> tuple[Float[Array, "batch k"], Float[Array, "batch 3 3"]]:
        """Code `phi_N` and proper rotation `R` (ours: `x_cam = R x`) of the last block code."""
        batch = len(code)
        phi = code.reshape(batch, -1) @ self.code_head[...]
        camera = (code @ self.camera_head[...]).reshape(batch, -1, 3)  # rows of R
        if self.config.columns == 3:
            return phi, project_to_so3(camera)
        return phi, jnp.swapaxes(complete_rotation(project_to_stiefel(jnp.swapaxes(camera, -1, -2))), -1, -2)

    def decode(
        self, phi: Float[Array, "batch k"]
    ) -> tuple[Float[Array, "batch point 3"], Float[Array, "batch k1"]]:
        """Shape centred on the mean of its points, and the first code `phi_1`."""
        pairs = list(zip(self.dictionaries, self.biases, strict=True))
        for dictionary, bias in reversed(pairs):
            phi = jax.nn.relu(phi @ dictionary[...].T + bias[...])
        first = self.first[...]
        points = first.shape[0]
        shape = (phi @ first.reshape(points * 3, -1).T).reshape(-1, points, 3)
        return shape - shape.mean(1, keepdims=True), phi

    def __call__(self, measured: Float[Array, "batch columns point"]):
        """`(shape (batch, point, 3), rotation (batch, 3, 3), phi_1)` of normalised measurements."""
        phi, rotation = self.factor(self.encode(measured))
        shape, first_code = self.decode(phi)
        return shape, rotation, first_code
