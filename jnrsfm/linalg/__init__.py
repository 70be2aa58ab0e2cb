"""Linear algebra that the rest stands on. Knows no cameras and no shapes.

* `damped_newton`: Levenberg-Marquardt steps, batched.
* `proximal`: soft thresholds by entry, block and singular value; the nuclear norm and its smooth relative.
* `completion`: matrices with gaps, at low rank.
* `sign_synchronization`: signs from relative signs.
* `nearest_rotation`: the 3 x 3 kernel behind `geometry.project_to_so3`, on tuples of entries.
"""

from jnrsfm.linalg.completion import Completion as Completion
from jnrsfm.linalg.completion import complete as complete
from jnrsfm.linalg.damped_newton import Damping as Damping
from jnrsfm.linalg.damped_newton import Minimum as Minimum
from jnrsfm.linalg.damped_newton import accept as accept
from jnrsfm.linalg.damped_newton import damped_step as damped_step
from jnrsfm.linalg.damped_newton import minimise as minimise
from jnrsfm.linalg.damped_newton import shorten as shorten
from jnrsfm.linalg.proximal import block_ista_step as block_ista_step
from jnrsfm.linalg.proximal import block_soft_threshold as block_soft_threshold
from jnrsfm.linalg.proximal import block_sparse_objective as block_sparse_objective
from jnrsfm.linalg.proximal import log_determinant as log_determinant
from jnrsfm.linalg.proximal import nuclear_norm as nuclear_norm
from jnrsfm.linalg.proximal import singular_value_threshold as singular_value_threshold
from jnrsfm.linalg.proximal import soft_threshold as soft_threshold
from jnrsfm.linalg.sign_synchronization import solve_chain as solve_chain
from jnrsfm.linalg.sign_synchronization import synchronize_signs as synchronize_signs
