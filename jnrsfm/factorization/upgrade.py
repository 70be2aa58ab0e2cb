r"""The metric upgrade of factorisation: from a motion factor, known up to a linear map, to cameras.

A rank-n factorisation `W = M B` of centred image points has `M_f G = c_f R_f` for some `G (basis, 3)`: the 2 x 3
rows of the camera of frame f, times a number. `Q = G G^T` is positive semidefinite of rank 3, and orthonormality
is linear in it:

    constant scale:  m_x^T Q m_x = 1,  m_y^T Q m_y = 1,  m_x^T Q m_y = 0      (a mean shape is among the bases)
    free scale:      m_x^T Q m_x = m_y^T Q m_y,          m_x^T Q m_y = 0      (nothing is known of c_f)

The rank is relaxed to the trace norm, which is a convex problem; the nearest G of rank 3 is then refined on
a scale-free residual by Levenberg-Marquardt with its exact Jacobian. The result is unique up to one orthogonal
3 x 3 matrix for the set. A sign of each frame remains (c_f may be negative), which is its depth mirror:
`resolve_camera_signs`.

Sources: Tomasi and Kanade, IJCV 9(2), 1992 (rank 3); Akhter et al., NIPS 2008 (constant scale); Dai, Li, He, CVPR
2012 (trace norm, free scale, refinement). The soft constraint in place of the exact null space, and the choice
between the two relaxations by the refined residual, are ours: with noise the dimension of the null space is not
what theory says, and the penalty stays well-posed.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jnrsfm.linalg.damped_newton import Damping, damped_step, minimise
from jnrsfm.linalg.sign_synchronization import synchronize_signs

Scale = Literal["constant", "free"]

_PENALTY = 1e-4  # of the trace, relative to the curvature of the constraints
_ADMM_STEPS = 300
_ANCHORS = 32  # frames that every frame is compared with when signs are resolved
_LAGS = 6


class MetricUpgrade(NamedTuple):
    """`corrective (basis, 3)` G; `cameras (frame, 2, 3)` M_f G, rows orthogonal but for noise, times a scale;
    `residual (frame,)` = |(|x|^2 - |y|^2, 2 x.y)| / (|x|^2 + |y|^2) of its rows, 0 where they are orthonormal."""

    corrective: Float[Array, "basis 3"]
    cameras: Float[Array, "frame 2 3"]
    residual: Float[Array, " frame"]


def metric_upgrade(motion: Float[Array, "frame 2 basis"], scale: Scale = "free") -> MetricUpgrade:
    """The corrective G of the module docstring for a motion factor, `basis` >= 3.

    `motion` should be the left factor U sqrt(Sigma) of an SVD, so that strong components count more. With
    `scale="constant"` the refinement keeps |x| = |y| = 1, as an orthographic camera with a mean shape among the
    bases has it. With "free" both relaxations are tried and the smaller refined residual is taken.
    Host-side driver of jitted parts; run it in float64. Invariant to the scale of `motion`.
    """
    motion = jnp.asarray(motion)
    motion = motion / jnp.sqrt(jnp.mean(jnp.sum(motion**2, -1)))
    start = relaxed_corrective(motion, "constant")
    if scale == "constant":
        g = refine_corrective(motion, start, "constant")
    else:
        ends = [refine_corrective(motion, start, "free")]
        first = float(jnp.sum(orthonormality(motion, ends[0]) ** 2))
        if first > 1e-16 * motion.shape[0]:  # otherwise exact, and nothing can be better
            ends.append(refine_corrective(motion, relaxed_corrective(motion, "free"), "free"))
            second = float(jnp.sum(orthonormality(motion, ends[1]) ** 2))
            # A tie goes to the first, which is backed by the stronger constraint.
            ends = ends if second < 0.99 * first else ends[:1]
        g = ends[-1]
    cameras = jnp.einsum("fan,ni->fai", motion, g)
    r = orthonormality(motion, g)
    size = jnp.sqrt(jnp.mean(jnp.sum(cameras**2, (1, 2))) / 2)
    return MetricUpgrade(g / size, cameras / size, jnp.sqrt(jnp.sum(r**2, 0)))


def orthonormality(
    motion: Float[Array, "frame 2 basis"], corrective: Float[Array, "basis 3"]
) -> Float[Array, "2 frame"]:
    r"""$(|x|^2 - |y|^2,\ 2 x\cdot y) / (|x|^2 + |y|^2)$ of the rows x, y of $M_f G$; free of scale, in [-1, 1]."""
    x, y = jnp.einsum("fan,ni->afi", motion, corrective)
    xx, yy, xy = jnp.sum(x * x, -1), jnp.sum(y * y, -1), jnp.sum(x * y, -1)
    total = jnp.maximum(xx + yy, jnp.finfo(motion.dtype).tiny)
    return jnp.stack([xx - yy, 2 * xy]) / total


def relaxed_corrective(
    motion: Float[Array, "frame 2 basis"], scale: Scale = "constant", steps: int = _ADMM_STEPS
) -> Float[Array, "basis 3"]:
    r"""The trace-norm relaxation: $\min_{Q \succeq 0} |A(Q) - b|^2 / 2 + \lambda \operatorname{tr} Q$, by ADMM.

    "constant": b = (1, 1, 0) for each frame. "free": b = 0 with the mean squared row norm fixed to 1, since Q
    = 0 would do else. Returns the best factor of rank 3 of Q.
    """
    return _relaxed(motion, scale == "free", steps)


@partial(jax.jit, static_argnames=("steps",))
def _relaxed(motion, free, steps):
    """Both relaxations in one program: compiling is most of the time of a short sequence."""
    n = motion.shape[-1]
    upper = np.triu_indices(n)
    weight = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))  # vec keeps the inner product
    x, y = motion[:, 0], motion[:, 1]

    def rows(a, b):
        outer = (a[:, :, None] * b[:, None] + b[:, :, None] * a[:, None]) / 2
        return outer[:, upper[0], upper[1]] * weight

    def matrix(q):
        half = jnp.zeros((n, n), q.dtype).at[upper].set(q / weight)
        return half + half.T - jnp.diag(jnp.diag(half))

    xx, yy, xy = rows(x, x), rows(y, y), np.sqrt(2.0) * rows(x, y)
    energy = (xx + yy).mean(0) / 2
    a = jnp.concatenate([jnp.where(free, (xx - yy) / np.sqrt(2.0), xx), jnp.where(free, 0.0, yy), xy])
    g = jnp.where(free, 0.0, (xx + yy).sum(0))
    values, vectors = jnp.linalg.eigh(a.T @ a)
    top = values[-1]
    rho = 1e-3 * top
    inverse = (vectors / (jnp.maximum(values, 0) + rho)) @ vectors.T
    along = inverse @ energy
    shrink = _PENALTY * top / rho

    def body(_, state):
        z, u = state
        q = inverse @ (g + rho * (z - u)[upper] * weight)
        q = q + jnp.where(free, (1 - energy @ q) / (energy @ along), 0.0) * along
        q = matrix(q)
        s, v = jnp.linalg.eigh(q + u)
        z = (v * jnp.maximum(s - shrink, 0)) @ v.T
        return z, u + q - z

    start = jnp.eye(n, dtype=motion.dtype) / jnp.trace(matrix(energy))
    z, _ = lax.fori_loop(0, steps, body, (start, jnp.zeros_like(start)))
    s, v = jnp.linalg.eigh(z)
    # A relaxed solution of rank below 3 would leave the refinement in a plane: keep a little of each axis.
    return v[:, -3:] * jnp.sqrt(jnp.maximum(s[-3:], 1e-6 * jnp.maximum(s[-1], 1e-12)))


@partial(jax.jit, static_argnames=("scale", "steps"))
def refine_corrective(
    motion: Float[Array, "frame 2 basis"],
    corrective: Float[Array, "basis 3"],
    scale: Scale = "free",
    steps: int = 300,
) -> Float[Array, "basis 3"]:
    """Levenberg-Marquardt on `orthonormality` ("free"), or on (|x|^2 - 1, |y|^2 - 1, sqrt(2) x.y) ("constant").

    Stops when the cost falls by less than 1e-12 of itself, or when no damping helps. Damping takes care of the
    directions in which nothing changes (a rotation of G, its scale).
    """
    mx, my = motion[:, 0], motion[:, 1]
    eps = 1e-12 if motion.dtype == jnp.float64 else 1e-6

    def residual(g):
        if scale == "free":
            return orthonormality(motion, g).reshape(-1)
        x, y = mx @ g, my @ g
        return jnp.concatenate(
            [jnp.sum(x * x, -1) - 1, jnp.sum(y * y, -1) - 1, np.sqrt(2.0) * jnp.sum(x * y, -1)]
        )

    def jacobian(g):
        x, y = mx @ g, my @ g
        outer = lambda m, v: (m[:, :, None] * v[:, None]).reshape(len(m), -1)
        xx, yy, xy, yx = outer(mx, x), outer(my, y), outer(mx, y), outer(my, x)
        if scale == "constant":
            return jnp.concatenate([2 * xx, 2 * yy, np.sqrt(2.0) * (xy + yx)])
        total = jnp.maximum(jnp.sum(x * x + y * y, -1), jnp.finfo(motion.dtype).tiny)[:, None]
        e1, e2 = orthonormality(motion, g)[..., None]
        d1 = 2 * (xx * (1 - e1) - yy * (1 + e1)) / total
        d2 = 2 * (xy + yx - e2 * (xx + yy)) / total
        return jnp.concatenate([d1, d2])

    def propose(g, damping):
        r, j = residual(g), jacobian(g)
        h = j.T @ j
        ridge = jnp.diag(h) + eps * jnp.trace(h)
        new = g - damped_step(h, j.T @ r, ridge, damping).reshape(g.shape)
        return new, jnp.sum(residual(new) ** 2)

    return minimise(
        propose, corrective, jnp.sum(residual(corrective) ** 2),
        damping=1e-2, schedule=Damping(fall=5, rise=4, lowest=1e-14), steps=steps,
        tolerance=eps, smallest=float(jnp.finfo(motion.dtype).tiny), give_up=1e8,
    ).point  # fmt: skip


def resolve_camera_signs(
    cameras: Float[np.ndarray, "frame 2 3"],
    measurements: Float[np.ndarray, "frame 2 point"],
    sequence: Int[np.ndarray, " frame"] | None = None,
) -> tuple[Bool[np.ndarray, " frame"], Float[np.ndarray, " frame"]]:
    r"""Which cameras to negate so that all see one object, and how firmly `(frame,)` in [0, 1] each is tied.

    Back-projected images `Y_f = R_f^T W_f` of the same object have `<Y_f, Y_g> = tr(X^T P_f P_g X)`, positive
    for a roughly round object whatever the two cameras are, since two image planes share a direction; a wrong
    sign negates it. So no continuity of the cameras is needed, as it is by the rule that neighbours are within 90
    degrees. Votes: up to 6 frames apart in a clip (`sequence`, frames in time order), where the shape is
    nearly the same, and with 32 frames spread over the set. Signs by synchronization over all votes.
    """
    n = len(cameras)
    y = np.einsum("fai,fap->fip", cameras, measurements).reshape(n, -1)
    y = y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-300)
    i, j, weight = [], [], []
    frames = np.arange(n)
    lags = 0 if sequence is None else min(_LAGS, n - 1)
    clip = np.zeros(n, int) if sequence is None else sequence
    for lag in range(1, lags + 1):
        pair = np.flatnonzero(clip[lag:] == clip[:-lag])
        i.append(pair + lag)
        j.append(pair)
        weight.append(np.full(len(pair), 1.0 / lag**2))
    anchors = np.unique(np.linspace(0, n - 1, min(n, _ANCHORS)).astype(int))
    for anchor in anchors:
        others = frames[frames != anchor]
        i.append(others)
        j.append(np.full(len(others), anchor))
        weight.append(np.full(len(others), 1.0 / len(anchors)))
    first, second, w = np.concatenate(i), np.concatenate(j), np.concatenate(weight)
    vote = np.einsum("nk,nk->n", y[first], y[second]) if len(first) else np.zeros(0)
    vote = np.where(np.abs(vote) < 1e-12, 1e-12, vote)
    half = sparse.coo_matrix((w * vote, (first, second)), shape=(n, n))
    affinity = sparse.csr_matrix(half + half.T)
    mask, _ = synchronize_signs(affinity)
    sign = np.where(mask, -1.0, 1.0)
    held = sign * (affinity @ sign)
    total = np.asarray(abs(affinity).sum(1)).ravel()
    return mask, np.clip(np.divide(held, total, out=np.zeros(n), where=total > 0), 0.0, 1.0)
