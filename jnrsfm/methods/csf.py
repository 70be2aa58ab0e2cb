r"""Column space fitting: K shape bases whose weights move smoothly in time, `C = Omega X`.

`W_f = R_f sum_k C_fk S_k`, where each column of `C (frame, basis)` lies in the first `cosines` columns of the DCT:
smooth shape weights instead of smooth point trajectories, so that K bases suffice for motion of many
frequencies. Every basis is a rank-3 space of its own, `M_k = blockdiag(R_f) (Omega x_k kron I_3)`, complementary to
the others: the columns of X are kept orthonormal. The shapes are eliminated (variable projection): what is minimised
over X alone is the part of W outside the column space of `M = [M_1 ... M_K]`, by Gauss-Newton with damping, whose
normal matrix is assembled from the Kronecker structure, O((cosines basis)^2 (frame + point basis)) each step, never
the Jacobian. Two starts, of which the lower end is kept: the trajectory-space solution (X = first K cosines) with the
frequencies let in coarse to fine, as in the paper; and one space after the other, each begun with the cosine that
takes most from the residual that the others leave.

With a `stillness` lambda the cost has $\lambda \sum_f |X_f - \bar X|^2$ beside it, the departure of the shapes from
their mean over time, which is a diagonal in the cosines. Without it many weights follow the errors of the cameras: M
comes near to losing rank, and a small residual is bought with large, wrong depths.

Frames in time order, one clip. Gaps are left out of the sums; cameras come from completed images.
Source: Gotardo and Martinez, Computing smooth time-trajectories for camera and deformable shape in structure from
motion with occlusion, TPAMI 33(10), 2011; Non-rigid structure from motion with complementary rank-3 spaces, CVPR 2011.
Where we depart from it: the cameras are those of the metric upgrade at free scale and not refined; all complementary
spaces are fitted together; the stillness is ours.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.factorization.measurements import CAMERAS, Measurements
from jnrsfm.factorization.rank import check_config_rank
from jnrsfm.geometry.trajectory import dct_basis
from jnrsfm.linalg.damped_newton import Damping, damped_step, minimise
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.trajectory import fit_in_order
from jnrsfm.training import Session
from jnrsfm.types import Landmarks

_MOST_UNKNOWNS = 300  # cosines x basis by default: the normal matrix is dense


@dataclasses.dataclass(frozen=True)
class Csf:
    """Settings of column space fitting."""

    rank: int | None = None
    """Number of shape bases K; none: the least that predicts held-out points as well as any."""
    cosines: int | None = None
    """Frequencies of the shape weights; none: a tenth of the frames, at least 2 K, at most 300 / K."""
    stillness: float = 3e-3
    """Weight of the shapes' departure from their mean over time, for points of size 1."""
    steps: int = 40
    """Most Levenberg-Marquardt steps for each of the two stages, coarse and fine."""

    def __post_init__(self):
        """Raise InputError for settings that cannot work."""
        check_config_rank(self.rank)
        if self.cosines is not None and self.rank is not None and self.cosines < self.rank:
            raise InputError(f"cosines is {self.cosines} and rank {self.rank}: give at least as many cosines")
        if not self.stillness >= 0:
            raise InputError(f"stillness is {self.stillness}: it must be 0 or more")
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}: it must be at least 1")

    def count(self, n_frames: int, rank: int) -> int:
        """Number of cosines for a number of frames."""
        wanted = self.cosines
        if wanted is None:
            wanted = min(max(n_frames // 10, 2 * rank), _MOST_UNKNOWNS // rank)
        return min(max(rank, wanted), n_frames)


def fit(landmarks: Landmarks, camera: str, config: Csf, seed: int, session: Session) -> Fitted:
    """Cameras, then weights and shapes. Raises InputError: too few points or frames for the rank, several clips."""

    def weights(data: Measurements, rotations, rank: int):
        fine = config.count(data.n_frames, rank)
        with jax.enable_x64(True):
            r, w, v = (jnp.asarray(a) for a in (rotations[:, :2], data.observed, data.weights))
            omega = dct_basis(data.n_frames, fine, jnp.float64)
            moving = config.stillness * jnp.ones(fine).at[0].set(0.0)  # cosine 0 is the mean over time
            fit = partial(fit_columns, cameras=r, points=w, weights=v, penalty=moving)
            everything = jnp.ones(rank)
            x = jnp.eye(fine, rank, dtype=jnp.float64)
            for cosines in (max(rank, (rank + fine) // 3), fine):
                # what is not let in yet is a zero column: its weights stay 0, and one program serves both stages
                x, cost = fit(x, omega * (jnp.arange(fine) < cosines), everything, steps=config.steps)
            if rank > 1:
                grown, cost_grown = _grow(omega, fit, rank, config.steps)
                x = grown if cost_grown < cost else x
            return np.asarray(omega @ x), np.asarray(x.T @ (moving[:, None] * x))

    return fit_in_order(landmarks, camera, config.rank, seed, session, "csf", "free", weights)


def _grow(omega, fit, rank: int, steps: int):
    """X and its cost, one column after the other."""
    fine = omega.shape[1]
    x = jnp.eye(fine, rank, dtype=omega.dtype) * (jnp.arange(rank) == 0)
    for k in range(1, rank):
        active = (jnp.arange(rank) <= k).astype(omega.dtype)
        costs = [fit(x.at[:, k].set(jnp.eye(fine)[j]), omega, active, steps=0)[1] for j in range(1, fine)]
        x, cost = fit(
            x.at[:, k].set(jnp.eye(fine)[1 + int(np.nanargmin(costs))]), omega, active,
            steps=steps if k == rank - 1 else steps // 4,
        )  # fmt: skip
    return x, cost


@jax.jit
def fit_columns(
    x: Float[Array, "cosine basis"],
    omega: Float[Array, "frame cosine"],
    active: Float[Array, " basis"],
    cameras: Float[Array, "frame 2 3"],
    points: Float[Array, "frame 2 point"],
    weights: Float[Array, "frame point"],
    penalty: Float[Array, " cosine"],
    steps: int | Array,
) -> tuple[Float[Array, "cosine basis"], Float[Array, ""]]:
    r"""X that minimises $\sum_p \min_s |V_p^{1/2} (W_p - M(X) s)|^2 + |(D^{1/2} X \otimes I_3) s|^2$ with
    `M = blockdiag(R_f) (Omega X kron I_3)`, V the weights and D the diagonal of `penalty`.

    Kaufman's Gauss-Newton matrix of the projected residual: with $J_p$ the derivative of $M s_p$ at the best $s_p$,
    $\sum_p J_p^T (I - M N_p^{-1} M^T) J_p$ over the frames that saw p. X is made orthonormal after each step, which
    changes nothing but the basis of the shapes. Columns where `active` is 0 stay 0, and must come last. Returns X and
    its cost.
    """
    v = jnp.asarray(weights, points.dtype)
    plane = jnp.einsum("fai,faj->fij", cameras, cameras)
    back = jnp.einsum("fai,fap,fp->fpi", cameras, points, v)
    energy = jnp.sum(v[:, None] * points**2)
    n_cosines, rank = x.shape
    eye3 = 1e-10 * jnp.eye(3 * rank, dtype=x.dtype)

    def shapes(x):
        c = omega @ x
        n = jnp.einsum("fk,fl,fp,fij->pkilj", c, c, v, plane, optimize="optimal")
        n = n.reshape(v.shape[1], 3 * rank, 3 * rank)
        n = n + jnp.kron(x.T @ (penalty[:, None] * x), jnp.eye(3))
        n = n + jnp.trace(n, axis1=1, axis2=2)[:, None, None] * eye3
        b = jnp.einsum("fk,fpi->pki", c, back).reshape(v.shape[1], 3 * rank)
        s = jnp.linalg.solve(n, b[..., None])[..., 0]
        return c, n, s, energy - jnp.sum(b * s)

    def propose(x, damping):
        c, n, s, _ = shapes(x)
        s3 = s.reshape(-1, rank, 3)
        seen_shape = jnp.einsum("fij,pkj,fp->fpki", plane, s3, v)  # P_f s_pk where seen
        residual = back - jnp.einsum("fk,fpki->fpi", c, seen_shape)
        gradient = jnp.einsum("fj,fpi,pki->jk", omega, residual, s3, optimize="optimal")
        bases = jnp.einsum("pki,pli->kl", s3, s3)
        gradient = (gradient - penalty[:, None] * (x @ bases)).reshape(-1)
        t = jnp.einsum("fpki,pli->fkl", seen_shape, s3)
        h = jnp.einsum("fj,fm,fkl->jkml", omega, omega, t, optimize="optimal")
        h = h + jnp.einsum("jm,kl->jkml", jnp.diag(penalty), bases)
        h = h.reshape(n_cosines * rank, -1)
        products = (c[:, :, None] * omega[:, None]).reshape(len(c), -1)
        g = (products.T @ seen_shape.reshape(len(c), -1)).reshape(rank, n_cosines, -1, rank, 3)
        g = g + jnp.einsum("jk,pli->kjpli", penalty[:, None] * x, s3)
        g = g.transpose(2, 0, 4, 1, 3).reshape(-1, 3 * rank, n_cosines * rank)
        root = jnp.linalg.cholesky(n)
        g = jax.scipy.linalg.solve_triangular(root, g, lower=True).reshape(-1, n_cosines * rank)
        h = h - g.T @ g
        ridge = jnp.diag(h) + 1e-9 * jnp.trace(h) / len(h)
        h = h + jnp.diag(jnp.tile(1 - active, n_cosines))  # no derivative there: the step is 0
        change = damped_step(h, gradient, ridge, damping, positive=True)
        new = jnp.linalg.qr(x + change.reshape(x.shape))[0] * active
        return new, shapes(new)[3]

    x = jnp.linalg.qr(x)[0] * active
    found = minimise(
        propose, x, shapes(x)[3],
        damping=1e-3, schedule=Damping(fall=4, rise=5, lowest=1e-9), steps=steps,
        tolerance=1e-5, smallest=1e-14 * energy, give_up=1e6,
    )  # fmt: skip
    return found.point, found.cost


INFO = MethodInfo(
    name="csf",
    kind="solver",
    summary="column space fitting: shape bases with weights that are smooth in time",
    cameras=CAMERAS,
    missing=True,
    needs_order=True,
    unseen=False,
    source="Gotardo, Martinez: Smooth time-trajectories, TPAMI 2011",
    cites=("gotardo2011csf",),
    config=Csf,
    fit=fit,
)
