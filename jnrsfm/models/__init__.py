"""Networks (Flax NNX), without losses and data; and what makes pure functions and files of them."""

from jnrsfm.models import field as field
from jnrsfm.models.attention import Attention as Attention
from jnrsfm.models.attention import Layer as Layer
from jnrsfm.models.attention import dense as dense
from jnrsfm.models.autoencoder import AutoencoderConfig as AutoencoderConfig
from jnrsfm.models.autoencoder import Perceptron as Perceptron
from jnrsfm.models.autoencoder import ProcrusteanAutoencoder as ProcrusteanAutoencoder
from jnrsfm.models.autoencoder import ResidualEncoder as ResidualEncoder
from jnrsfm.models.block_sparse import BlockSparseConfig as BlockSparseConfig
from jnrsfm.models.block_sparse import BlockSparseEncoder as BlockSparseEncoder
from jnrsfm.models.block_sparse import BlockSparseNetwork as BlockSparseNetwork
from jnrsfm.models.functional import Network as Network
from jnrsfm.models.lifter import Block as Block
from jnrsfm.models.lifter import Canonizer as Canonizer
from jnrsfm.models.lifter import Lifted as Lifted
from jnrsfm.models.lifter import Lifter as Lifter
from jnrsfm.models.lifter import LifterConfig as LifterConfig
from jnrsfm.models.lifter import Norm as Norm
from jnrsfm.models.lifter import TokenTrunk as TokenTrunk
from jnrsfm.models.lifter import Trunk as Trunk
from jnrsfm.models.lifter import rotation_from as rotation_from
from jnrsfm.models.residual import ResidualBlock as ResidualBlock
from jnrsfm.models.residual import ResidualConfig as ResidualConfig
from jnrsfm.models.residual import ResidualNetwork as ResidualNetwork
