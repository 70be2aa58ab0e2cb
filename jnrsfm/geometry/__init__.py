"""Rotations, camera models, pose, alignments, depth reflection, trajectories: pure functions; no networks, no files.

* `rotations`: nearest rotation, axis-angle, distance, random rotations.
* `pose`: the camera of one view of a known shape.
* `procrustes`: alignment of two point sets; `generalized_procrustes`: joint alignment of a set; `polar`: both on
  the host.
* `depth_reflection`: which frames are mirrored in depth, by `mirror_evidence` of pairs and `reflection_votes` of a set.
* `trajectory`: the DCT basis of smooth motion.
* `cameras`: the camera models and their projections; `normalization`: the object-centric measurements under them.
* `rays`: rays of pixels, samples along them, volume rendering; `scene_space`: from the world to a field and back.
* `jitter`: noise of tracks told from motion, and their smoothing.
* `skeleton`: likely bones, their tree, and bones that are each other's left-right image.
"""

from jnrsfm.geometry import rays as rays
from jnrsfm.geometry.cameras import MODELS as CAMERA_MODELS  # noqa: F401  (exported)
from jnrsfm.geometry.cameras import CameraModel as CameraModel
from jnrsfm.geometry.cameras import Orthographic as Orthographic
from jnrsfm.geometry.cameras import Perspective as Perspective
from jnrsfm.geometry.cameras import Placement as Placement
from jnrsfm.geometry.cameras import WeakPerspective as WeakPerspective
from jnrsfm.geometry.cameras import camera_model as camera_model
from jnrsfm.geometry.cameras import look_at as look_at
from jnrsfm.geometry.cameras import pixels_to_rays as pixels_to_rays
from jnrsfm.geometry.cameras import posit_points as posit_points
from jnrsfm.geometry.cameras import project_near as project_near
from jnrsfm.geometry.cameras import project_orthographic as project_orthographic
from jnrsfm.geometry.cameras import project_perspective as project_perspective
from jnrsfm.geometry.cameras import rotate_rays as rotate_rays
from jnrsfm.geometry.depth_reflection import MirrorResolution as MirrorResolution
from jnrsfm.geometry.depth_reflection import relabel as relabel
from jnrsfm.geometry.depth_reflection import resolve_mirrors as resolve_mirrors
from jnrsfm.geometry.generalized_procrustes import align as align_jointly  # noqa: F401  (exported)
from jnrsfm.geometry.generalized_procrustes import stationarity as stationarity
from jnrsfm.geometry.jitter import TrackNoise as TrackNoise
from jnrsfm.geometry.jitter import clip_noise as clip_noise
from jnrsfm.geometry.jitter import clip_sizes as clip_sizes
from jnrsfm.geometry.jitter import point_motion as point_motion
from jnrsfm.geometry.jitter import restlessness as restlessness
from jnrsfm.geometry.jitter import smooth_tracks as smooth_tracks
from jnrsfm.geometry.jitter import track_noise as track_noise
from jnrsfm.geometry.mirror_evidence import image_votes as image_votes
from jnrsfm.geometry.mirror_evidence import mirror_distances as mirror_distances
from jnrsfm.geometry.normalization import adjoint_perspective as adjoint_perspective
from jnrsfm.geometry.normalization import adjoint_weak as adjoint_weak
from jnrsfm.geometry.normalization import dictionary_perspective as dictionary_perspective
from jnrsfm.geometry.normalization import dictionary_weak as dictionary_weak
from jnrsfm.geometry.normalization import hidden_sum as hidden_sum
from jnrsfm.geometry.normalization import masked_mean as masked_mean
from jnrsfm.geometry.normalization import measure_perspective as measure_perspective
from jnrsfm.geometry.normalization import measure_weak as measure_weak
from jnrsfm.geometry.normalization import reproject_perspective as reproject_perspective
from jnrsfm.geometry.normalization import reproject_weak as reproject_weak
from jnrsfm.geometry.normalization import translation_perspective as translation_perspective
from jnrsfm.geometry.normalization import translation_weak as translation_weak
from jnrsfm.geometry.polar import align_frames as align_frames
from jnrsfm.geometry.polar import polar_factor as polar_factor
from jnrsfm.geometry.pose import Pose as Pose
from jnrsfm.geometry.pose import solve_onp as solve_onp
from jnrsfm.geometry.pose import solve_onp_linear as solve_onp_linear
from jnrsfm.geometry.procrustes import Alignment as Alignment
from jnrsfm.geometry.procrustes import align_orthogonal as align_orthogonal
from jnrsfm.geometry.procrustes import align_rigid as align_rigid
from jnrsfm.geometry.procrustes import align_set as align_set
from jnrsfm.geometry.procrustes import align_similarity as align_similarity
from jnrsfm.geometry.procrustes import apply as apply_alignment  # noqa: F401  (exported)
from jnrsfm.geometry.rotations import GENERATORS as GENERATORS
from jnrsfm.geometry.rotations import axis_angle_to_matrix as axis_angle_to_matrix
from jnrsfm.geometry.rotations import complete_rotation as complete_rotation
from jnrsfm.geometry.rotations import geodesic_distance as geodesic_distance
from jnrsfm.geometry.rotations import matrix_to_axis_angle as matrix_to_axis_angle
from jnrsfm.geometry.rotations import project_to_so3 as project_to_so3
from jnrsfm.geometry.rotations import project_to_stiefel as project_to_stiefel
from jnrsfm.geometry.rotations import random_rotations as random_rotations
from jnrsfm.geometry.rotations import skew as skew
from jnrsfm.geometry.rotations import vee as vee
from jnrsfm.geometry.scene_space import SceneSpace as SceneSpace
from jnrsfm.geometry.scene_space import forward_facing as forward_facing
from jnrsfm.geometry.shape_spread import disagreement as disagreement
from jnrsfm.geometry.shape_spread import thickness as thickness
from jnrsfm.geometry.skeleton import bone_tree as bone_tree
from jnrsfm.geometry.skeleton import guess_links as guess_links
from jnrsfm.geometry.skeleton import twin_bones as twin_bones
from jnrsfm.geometry.trajectory import dct_basis as dct_basis
from jnrsfm.geometry.trajectory import dct_displacement_basis as dct_displacement_basis
from jnrsfm.geometry.trajectory import dct_displacements_at as dct_displacements_at
from jnrsfm.geometry.trajectory import from_trajectory as from_trajectory
from jnrsfm.geometry.trajectory import to_trajectory as to_trajectory
