"""Networks for images: backbones of plain convolutions, heads that give points with a spread, depth of two frames."""

from jnrsfm.models.vision.backbone import Backbone as Backbone
from jnrsfm.models.vision.backbone import BackboneConfig as BackboneConfig
from jnrsfm.models.vision.backbone import ConvBlock as ConvBlock
from jnrsfm.models.vision.backbone import Features as Features
from jnrsfm.models.vision.backbone import conv as conv
from jnrsfm.models.vision.depth import DepthNetwork as DepthNetwork
from jnrsfm.models.vision.depth import DepthNetworkConfig as DepthNetworkConfig
from jnrsfm.models.vision.heads import AxisHead as AxisHead
from jnrsfm.models.vision.heads import HeadKind as HeadKind
from jnrsfm.models.vision.heads import Pose as Pose
from jnrsfm.models.vision.heads import PoseNetwork as PoseNetwork
from jnrsfm.models.vision.heads import PoseNetworkConfig as PoseNetworkConfig
from jnrsfm.models.vision.heads import VolumeHead as VolumeHead
from jnrsfm.models.vision.heads import bin_places as bin_places
from jnrsfm.models.vision.mesh import MeshCodes as MeshCodes
from jnrsfm.models.vision.mesh import MeshNetwork as MeshNetwork
from jnrsfm.models.vision.mesh import MeshNetworkConfig as MeshNetworkConfig
from jnrsfm.models.vision.pretrained import ALEXNET as ALEXNET
from jnrsfm.models.vision.pretrained import AlexTrunk as AlexTrunk
from jnrsfm.models.vision.pretrained import alexnet_weights as alexnet_weights
from jnrsfm.models.vision.pretrained import with_weights as with_weights
from jnrsfm.models.vision.transformer import KeypointTransformer as KeypointTransformer
from jnrsfm.models.vision.transformer import KeypointTransformerConfig as KeypointTransformerConfig
from jnrsfm.models.vision.transformer import PlaceKind as PlaceKind
from jnrsfm.models.vision.transformer import Proposals as Proposals
