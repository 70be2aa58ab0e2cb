"""The methods, found by name, and their settings. A new one is one file, its test, its experiment, and one line."""

from jnrsfm.methods import (
    articulated,
    auto,
    bmm,
    consensus,
    csf,
    deep_nrsfm_pp,
    depth_pair,
    keypoint_transformer,
    mesh_video,
    multicategory,
    paul,
    pnd,
    prn,
    prn_images,
    rigid,
    student,
    trajectory,
    trajectory_field,
)
from jnrsfm.methods.articulated import Articulated as Articulated
from jnrsfm.methods.auto import Auto as Auto
from jnrsfm.methods.base import Fitted as Fitted
from jnrsfm.methods.base import MethodInfo as MethodInfo
from jnrsfm.methods.base import Model as Model
from jnrsfm.methods.bmm import Bmm as Bmm
from jnrsfm.methods.consensus import Consensus as Consensus
from jnrsfm.methods.csf import Csf as Csf
from jnrsfm.methods.deep_nrsfm_pp import DeepNRSfMpp as DeepNRSfMpp
from jnrsfm.methods.depth_pair import DepthPair as DepthPair
from jnrsfm.methods.keypoint_transformer import KeypointTransformer as KeypointTransformer
from jnrsfm.methods.mesh_video import MeshVideo as MeshVideo
from jnrsfm.methods.multicategory import MultiCategory as MultiCategory
from jnrsfm.methods.paul import Paul as Paul
from jnrsfm.methods.pnd import Pnd as Pnd
from jnrsfm.methods.prn import Prn as Prn
from jnrsfm.methods.prn_images import PrnImages as PrnImages
from jnrsfm.methods.rigid import Rigid as Rigid
from jnrsfm.methods.student import Student as Student
from jnrsfm.methods.trajectory import Trajectory as Trajectory
from jnrsfm.methods.trajectory_field import TrajectoryFieldSettings as TrajectoryFieldSettings

METHODS: dict[str, MethodInfo] = {
    m.name: m
    for m in (
        auto.INFO,
        deep_nrsfm_pp.INFO,
        paul.INFO,
        prn.INFO,
        multicategory.INFO,
        rigid.INFO,
        trajectory.INFO,
        csf.INFO,
        bmm.INFO,
        consensus.INFO,
        pnd.INFO,
        articulated.INFO,
        student.INFO,
        prn_images.INFO,
        keypoint_transformer.INFO,
        mesh_video.INFO,
        trajectory_field.INFO,
        depth_pair.INFO,
    )
}
