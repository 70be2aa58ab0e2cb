"""Terms of objectives, as pure functions of shapes and images: reprojection, bones, low rank."""

from jnrsfm.losses.bones import bone_asymmetry as bone_asymmetry
from jnrsfm.losses.low_rank import low_rank_cost as low_rank_cost
from jnrsfm.losses.reprojection import pseudo_huber as pseudo_huber
from jnrsfm.losses.reprojection import reprojection_loss as reprojection_loss
