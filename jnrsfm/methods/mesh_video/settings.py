"""Settings of the moving mesh."""

import dataclasses
from typing import Literal

from jnrsfm.errors import InputError
from jnrsfm.geometry.mesh.laplacian import LaplacianKind
from jnrsfm.models.vision import BackboneConfig
from jnrsfm.training import TrainConfig

Axis = Literal["x", "y", "z", "-x", "-y", "-z"]


@dataclasses.dataclass(frozen=True)
class MeshVideo(TrainConfig):
    """Settings of mesh-video, a template mesh that follows a video."""

    template: str = ""
    """The template: a closed mesh of one piece (OBJ, PLY, GLB, STL, OFF, or npz with vertices and faces)."""
    keypoints: str = ""
    """YAML file with the vertex of each keypoint, lines of name: number; not needed where the template is an npz that
    has them."""
    up: Axis = "y"
    """Axis of the template that points up; where no keypoints tell the cameras."""
    handles: int = 24
    """Points whose displacement deforms the mesh."""
    stiffness: float = 0.1
    """Weight of the Laplacian against the handles: the larger, the stiffer the mesh."""
    laplacian: LaplacianKind = "intrinsic"
    """Laplacian of the template."""
    learn_weights: bool = False
    """Learn how handles depend on vertices (the matrix A), instead of keeping them where they begin."""
    cameras: int = 8
    """Cameras tried for each frame around the up axis, where no keypoints tell it."""
    elevation: float = 10.0
    """Degrees from which the first cameras look down."""
    camera_steps: int = 60
    """Steps in which cameras alone move, with the template as it is."""
    steps: int = 240
    """Steps in which handles move too."""
    rounds: int = 3
    """Parts of these steps, before each of which is looked again which vertices are seen."""
    size: int = 96
    """Pixels of the squares around the object in which masks are compared."""
    coarse: int = 48
    """Pixels of these squares while several cameras are tried."""
    use_keypoints: bool = True
    """Use labelled keypoints, where there are some that the template has too."""
    use_masks: bool = True
    """Use masks; without any, they are made from the keypoints (GrabCut)."""
    use_motion: bool = True
    """Use the optical flow between neighbouring frames of a clip."""
    keypoint_weight: float = 10.0
    """Weight of keypoints; lengths are shares of the side of the square around the object."""
    mask_weight: float = 0.5
    """Weight of the mask: of the area that differs over the area."""
    boundary_weight: float = 3.0
    """Weight of the distances between mesh and edge of the mask, both ways."""
    motion_weight: float = 10.0
    """Weight of the difference from the optical flow."""
    texture_weight: float = 0.5
    """Weight of the difference of colours from the mean of what each vertex shows in all frames."""
    rigid_weight: float = 0.5
    """Weight of the squared relative change of edges."""
    steady_weight: float = 2.0
    """Weight of the squared step of the handles from frame to frame."""
    rest_weight: float = 0.05
    """Weight of the squared displacement of the handles."""
    mask_steps: int = 400
    """Steps of a second small network, which gives masks to the frames that have none where at least 8 have one; 0:
    such frames go by their keypoints and neighbours alone."""
    network_steps: int = 600
    """Steps of the image network, which learns what was found and gives meshes of new images; 0: no network."""
    network_rate: float = 5e-3
    """Peak rate of the network."""
    network_holdout: float = 0.1
    """Share of the frames that the network does not see, in blocks of two, to measure its error."""
    backbone: Literal["tiny", "small", "medium", "large"] = "small"
    """Backbone of the network: small for a CPU, medium or large for an accelerator."""
    patch: int = 64
    """Side of the patch that the network sees, in pixels."""
    camera_rate: float = 0.02
    """Rate of the cameras."""
    learning_rate: float = 0.01
    """Rate of the handles."""
    warmup: int = 10
    """Steps of linear warm-up."""
    chunk: int = 20
    """Steps in one dispatch."""

    def __post_init__(self):
        """Raise InputError for what cannot work."""
        super().__post_init__()
        for name in ("handles", "rounds", "cameras"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("size", "coarse"):
            if not 16 <= getattr(self, name) <= 512:
                raise InputError(f"{name} is {getattr(self, name)}: give 16 to 512 pixels")
        for name in ("stiffness", "camera_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in (f.name for f in dataclasses.fields(self) if f.name.endswith("_weight")):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        for name in ("camera_steps", "network_steps", "mask_steps"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if not self.network_rate > 0 or not 0 <= self.network_holdout < 1:
            raise InputError("network_rate must be above 0, network_holdout at least 0 and below 1")
        stride = BackboneConfig.preset(self.backbone).stride
        if self.patch < stride or self.patch % stride:
            raise InputError(f"patch is {self.patch}: it must divide by {stride}, the stride of the backbone")
        if not (self.use_keypoints or self.use_masks):
            raise InputError("use_keypoints and use_masks are both off: there is nothing left to fit to")

    def for_network(self, steps: int, images: int) -> "MeshVideo":
        """What the engine is told where a network is trained for `steps` on so many images."""
        return dataclasses.replace(
            self, steps=steps, batch=min(32, images), learning_rate=self.network_rate, update="muon",
            average=1 - max(0.01, 5 / steps) if steps > 5 else 0.0, warmup=min(50, steps // 4), restarts=1, prune_at=(),
        )  # fmt: skip
