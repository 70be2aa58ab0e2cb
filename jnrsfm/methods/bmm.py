r"""Block matrix method: cameras by the metric upgrade of a rank-3K factorisation, shapes of least nuclear norm.

`W (2 frame, point) = blockdiag(R_f) X`, and the rearranged shapes `(frame, 3 point)` have rank K. Cameras come from
the motion factor alone (`factorization.upgrade`, free scale), then all shapes at once from `factorization.shape_steps`.

Source: Dai, Li, He: A simple prior-free method for non-rigid structure-from-motion factorization, CVPR 2012. Where we
depart from it: the relaxed metric upgrade (see there); ADMM in place of fixed-point continuation, to the same
limit; no final cut to rank K unless asked for (`cut`); the first-difference penalty is a step of our own.

Gaps: cameras from completed images, shapes from what was seen (the pseudo-inverse uses the filled-in images).
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.factorization import shape_steps
from jnrsfm.factorization.cameras import recover_cameras
from jnrsfm.factorization.measurements import CAMERAS, Measurements
from jnrsfm.factorization.rank import check_config_rank, solve_with_rank
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.training import Session
from jnrsfm.types import Landmarks


@dataclasses.dataclass(frozen=True)
class Bmm:
    """Settings of the block matrix method."""

    rank: int | None = None
    """Number of shape bases K; none: the least that predicts held-out points as well as any."""
    shape: Literal["nuclear", "smooth", "pseudo-inverse"] = "nuclear"
    """Shape step: least nuclear norm; closed form with a first-difference penalty (frames in time order); flat."""
    smoothness: float = 1e-3
    """Weight of the first-difference penalty, for points of size 1."""
    tolerance: float = 3e-4
    """Relative difference of the two copies of the shape at which the nuclear norm step stops."""
    steps: int = 500
    """Most steps of the nuclear norm step."""
    cut: bool = False
    """Cut the shapes to rank K at the end, as the released code does."""

    def __post_init__(self):
        """Raise InputError for settings that cannot work."""
        check_config_rank(self.rank)
        for name in ("smoothness", "tolerance"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}: it must be at least 1")


def fit(landmarks: Landmarks, camera: str, config: Bmm, seed: int, session: Session) -> Fitted:
    """Cameras, then shapes. Raises InputError where there are too few points or frames for the rank."""

    def solve(data: Measurements, rank: int):
        rotations, _, margin = recover_cameras(data, 3 * rank, "free")
        return _shapes(data, rotations, rank, config), rotations, margin

    found, heldout, diagnostics = solve_with_rank(
        landmarks, camera, config.rank, seed, session.say, "bmm", solve
    )
    return Fitted(found, heldout=heldout, diagnostics=diagnostics)


def _shapes(data: Measurements, rotations: np.ndarray, rank: int, config: Bmm) -> np.ndarray:
    """`(frame, point, 3)` by the shape step of the config."""
    with jax.enable_x64(True):
        r, w, v = (jnp.asarray(a) for a in (rotations, data.observed, data.weights))
        if config.shape == "smooth":
            joined = shape_steps.joined_frames(data.sequence, data.n_frames)
            x = shape_steps.smooth_shape_jit(r, w, v, joined, config.smoothness)
        else:
            x = shape_steps.pseudo_inverse_shape(r, jnp.asarray(data.points))
            if config.shape == "nuclear":
                x, _ = shape_steps.nuclear_norm_shape_jit(r, w, v, x, config.tolerance, steps=config.steps)
        shapes = np.asarray(x)
    if config.cut:
        u, s, vt = np.linalg.svd(shapes.reshape(data.n_frames, -1), full_matrices=False)
        shapes = ((u[:, :rank] * s[:rank]) @ vt[:rank]).reshape(shapes.shape)
    return shapes.transpose(0, 2, 1)


INFO = MethodInfo(
    name="bmm",
    kind="solver",
    summary="block matrix method: cameras by metric upgrade, shapes of least nuclear norm",
    cameras=CAMERAS,
    missing=True,
    needs_order=False,
    unseen=False,
    source="Dai, Li, He: A simple prior-free method, CVPR 2012",
    cites=("dai2012bmm",),
    config=Bmm,
    fit=fit,
)
