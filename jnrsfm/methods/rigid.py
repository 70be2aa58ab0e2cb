r"""Rigid factorisation: one shape for all frames, `W_f = c_f R_f S + t_f`.

The rank-3 factor of the centred images upgraded to cameras, then the least-squares shape, each frame at its
own scale under weak perspective. Gaps: images completed at rank 3 for the cameras; the shape from what was seen.

Source: Tomasi and Kanade, Shape and motion from image streams under orthography, IJCV 9(2), 1992; Poelman and Kanade,
TPAMI 19(3), 1997 (scale of each frame).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.factorization.bases import solve_points
from jnrsfm.factorization.cameras import recover_cameras
from jnrsfm.factorization.measurements import CAMERAS, Measurements
from jnrsfm.factorization.rank import solve_with_rank
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.training import Session
from jnrsfm.types import Landmarks


@dataclasses.dataclass(frozen=True)
class Rigid:
    """Settings of rigid factorisation."""

    rank: int | None = 1
    """Number of shapes: a rigid object has one."""

    def __post_init__(self):
        """Raise InputError for settings that cannot work."""
        if self.rank not in (1, None):
            raise InputError(f"rank is {self.rank}: a rigid object has one shape; use csf or bmm for more")


def fit(landmarks: Landmarks, camera: str, config: Rigid, seed: int, session: Session) -> Fitted:
    """Cameras, then the shape. Raises InputError where there are fewer than 4 points or 4 frames."""

    def solve(data: Measurements, rank: int):
        free = camera == "weak-perspective"
        rotations, scale, margin = recover_cameras(data, 3, "free" if free else "constant")
        scale = scale if free else np.ones_like(scale)
        with jax.enable_x64(True):
            motion = rotations[:, :2] * scale[:, None, None]
            shape = solve_points(jnp.asarray(motion), jnp.asarray(data.observed), jnp.asarray(data.weights))
            shape = np.asarray(shape)
        return scale[:, None, None] * shape, rotations, margin

    found, heldout, diagnostics = solve_with_rank(landmarks, camera, 1, seed, session.say, "rigid", solve)
    return Fitted(found, heldout=heldout, diagnostics=diagnostics)


INFO = MethodInfo(
    name="rigid",
    kind="solver",
    summary="rigid factorisation: one shape, a camera for each frame",
    cameras=CAMERAS,
    missing=True,
    needs_order=False,
    unseen=False,
    source="Tomasi, Kanade: Shape and motion under orthography, IJCV 1992",
    cites=("tomasi1992factorization",),
    config=Rigid,
    fit=fit,
)
