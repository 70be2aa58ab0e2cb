"""What factorisation solvers share, all in float64 on images of size 1.

* `measurements`: centred images, gaps filled, and the record that they lead back to; `rank`: the number of shape bases.
* `upgrade`, `cameras`, `camera_search`: cameras from a motion factor, by relaxation or from many starts.
* `bases`, `shape_steps`, `initial_shapes`: shapes once cameras are known.
"""

from jnrsfm.factorization.bases import solve_points as solve_points
from jnrsfm.factorization.bases import weighted_bases as weighted_bases
from jnrsfm.factorization.camera_search import search_cameras as search_cameras
from jnrsfm.factorization.cameras import aligned_rotations as aligned_rotations
from jnrsfm.factorization.cameras import motion_factor as motion_factor
from jnrsfm.factorization.cameras import recover_cameras as recover_cameras
from jnrsfm.factorization.initial_shapes import rigid_shapes as rigid_shapes
from jnrsfm.factorization.measurements import CAMERAS as CAMERAS
from jnrsfm.factorization.measurements import Measurements as Measurements
from jnrsfm.factorization.measurements import measure as measure
from jnrsfm.factorization.measurements import reconstruction as reconstruction
from jnrsfm.factorization.rank import check_config_rank as check_config_rank
from jnrsfm.factorization.rank import check_rank as check_rank
from jnrsfm.factorization.rank import solve_with_rank as solve_with_rank
from jnrsfm.factorization.shape_steps import joined_frames as joined_frames
from jnrsfm.factorization.shape_steps import nuclear_norm_shape as nuclear_norm_shape
from jnrsfm.factorization.shape_steps import pseudo_inverse_shape as pseudo_inverse_shape
from jnrsfm.factorization.shape_steps import smooth_shape as smooth_shape
from jnrsfm.factorization.upgrade import MetricUpgrade as MetricUpgrade
from jnrsfm.factorization.upgrade import metric_upgrade as metric_upgrade
from jnrsfm.factorization.upgrade import orthonormality as orthonormality
from jnrsfm.factorization.upgrade import refine_corrective as refine_corrective
from jnrsfm.factorization.upgrade import relaxed_corrective as relaxed_corrective
from jnrsfm.factorization.upgrade import resolve_camera_signs as resolve_camera_signs
