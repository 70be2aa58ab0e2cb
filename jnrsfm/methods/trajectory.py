r"""Trajectory space: every point moves along K cosines of the DCT, `X = (Theta kron I_3) A`.

The images are `W = blockdiag(R_f) (Theta kron I_3) A`, of rank 3K, and the columns of the motion factor that belong to
the constant cosine are the cameras themselves: so the metric upgrade has a constant scale. Then the coefficients of
each point by least squares over the frames that saw it. Linear once the cameras are known.

Frames must be in time order and of one clip. Gaps: images completed at rank 3K for the cameras, coefficients
from what was seen.
Source: Akhter, Sheikh, Khan, Kanade: Nonrigid structure from motion in trajectory space, NIPS 2008.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jnrsfm.errors import InputError
from jnrsfm.factorization.bases import weighted_bases
from jnrsfm.factorization.cameras import recover_cameras
from jnrsfm.factorization.measurements import CAMERAS, Measurements
from jnrsfm.factorization.rank import check_config_rank, solve_with_rank
from jnrsfm.factorization.upgrade import Scale
from jnrsfm.geometry.trajectory import dct_basis
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.training import Session
from jnrsfm.types import Landmarks


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """Settings of trajectory space."""

    rank: int | None = None
    """Number of cosines K; none: the least that predicts held-out points as well as any."""

    def __post_init__(self):
        """Raise InputError for settings that cannot work."""
        check_config_rank(self.rank)


def check_order(landmarks: Landmarks, method: str) -> None:
    """Raise InputError where the frames are of several clips: a cosine over a cut means nothing."""
    if landmarks.sequence is not None and len(np.unique(np.asarray(landmarks.sequence))) > 1:
        raise InputError(f"{method}: the frames are of several clips: fit one clip at a time, or use bmm")


Weights = Callable[[Measurements, Float[np.ndarray, "frame 3 3"], int], tuple[Any, Any]]


def fit_in_order(
    landmarks: Landmarks,
    camera: str,
    rank: int | None,
    seed: int,
    session: Session,
    method: str,
    scale: Scale,
    weights: Weights,
) -> Fitted:
    """Cameras by the metric upgrade at rank 3K, `weights(data, rotations, K) -> C (frame, basis), penalty or None`,
    then the bases by least squares (`weighted_bases`). Frames in time order, of one clip."""
    check_order(landmarks, method)

    def solve(data: Measurements, rank: int):
        rotations, _, margin = recover_cameras(data, 3 * rank, scale)
        return weighted_bases(data, rotations, *weights(data, rotations, rank)), rotations, margin

    found, heldout, diagnostics = solve_with_rank(landmarks, camera, rank, seed, session.say, method, solve)
    return Fitted(found, heldout=heldout, diagnostics=diagnostics)


def fit(landmarks: Landmarks, camera: str, config: Trajectory, seed: int, session: Session) -> Fitted:
    """Cameras, then coefficients. Raises InputError: too few points or frames for the rank, several clips."""

    def cosines(data: Measurements, rotations, rank: int):
        with jax.enable_x64(True):
            return np.asarray(dct_basis(data.n_frames, rank, jnp.float64)), None

    return fit_in_order(landmarks, camera, config.rank, seed, session, "trajectory", "constant", cosines)


INFO = MethodInfo(
    name="trajectory",
    kind="solver",
    summary="trajectory space: each point along a few cosines in time",
    cameras=CAMERAS,
    missing=True,
    needs_order=True,
    unseen=False,
    source="Akhter, Sheikh, Khan, Kanade: Trajectory space, NIPS 2008",
    cites=("akhter2008trajectory",),
    config=Trajectory,
    fit=fit,
)
