"""Terms of objectives, as pure functions of shapes and images: reprojection, bones, low rank, distillation,
matching, depth, fields, meshes."""

from jnrsfm.losses import depth as depth
from jnrsfm.losses import field as field
from jnrsfm.losses import mesh as mesh
from jnrsfm.losses.bones import bone_asymmetry as bone_asymmetry
from jnrsfm.losses.distillation import CodeTerms as CodeTerms
from jnrsfm.losses.distillation import code_bound as code_bound
from jnrsfm.losses.distillation import code_terms as code_terms
from jnrsfm.losses.distillation import projected_code as projected_code
from jnrsfm.losses.low_rank import low_rank_cost as low_rank_cost
from jnrsfm.losses.matching import matched as matched
from jnrsfm.losses.matching import matching_cost as matching_cost
from jnrsfm.losses.reprojection import pseudo_huber as pseudo_huber
from jnrsfm.losses.reprojection import reprojection_loss as reprojection_loss
