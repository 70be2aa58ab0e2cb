r"""Generalised Procrustes alignment of a set of shapes, differentiable in time and memory linear in the set.

For shapes $X_f$ (rows are points, centred on their mean) the rotations and aligned shapes $Y_f = X_f R_f^\top$ are

$$\min_{R_1 \ldots R_F \in SO(3)} \sum_f w_f \|Y_f - M\|_F^2, \qquad M = \tfrac{1}{\sum_f w_f} \sum_f w_f Y_f .$$

At a minimum every frame obeys $\sum_p y_{fp} \times s_p = 0$ with $S = \sum_f w_f Y_f$. With $dR_f = [q_f]_\times R_f$
its differential is the system of the supplement (eq. 12-13), which reads, with $P_f = Y_f^\top S$,

$$D_f q_f = \textstyle\sum_p (y_{fp} \times ds_p + dx'_{fp} \times s_p), \quad D_f = \operatorname{tr}(P_f) I - P_f,
\quad dS = \sum_f w_f (q_f \times Y_f + dX'_f), \quad dX'_f = dX_f R_f^\top .$$

The frames meet in $dS$ only, so the $q_f$ are eliminated (3 x 3 each) and a system in the 3P numbers of $dS$ is
left: $K = I - \sum_f w_f A_f D_f^{+} A_f^\top$ with $A_f q = q \times Y_f$, symmetric, with eigenvalues in [0, 1]
that gather at 1 as the spread shrinks. It is solved by conjugate gradients whose products cost O(F P). Turning the
whole set leaves the cost alone: $\omega \times S$ is the null space of $K$, and the gauge is $R_1 = I$.

Source: Park, Lee, Kwak, Procrustean Regression Networks, 2020, supplement; Gower, Psychometrika 40(1), 1975.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry.rotations import project_to_so3, skew, vee

_MATMUL = partial(jnp.einsum, precision=lax.Precision.HIGHEST)
_STARTS = 4  # frames tried as the first reference
_AMBIGUOUS = 64.0  # in units of rounding: below it an eigenvalue of D is taken as 0


def align(
    shapes: Float[ArrayLike, "..."],
    weights: Float[ArrayLike, "*batch frame"] | None = None,
    *,
    max_iterations: int = 100,
    tolerance: float | None = None,
) -> tuple[Float[Array, "*batch frame point 3"], Float[Array, "*batch frame 3 3"]]:
    r"""Jointly aligned shapes $Y_f = (X_f - \bar x_f) R_f^\top$ and proper rotations `R (*batch, frame, 3, 3)`.

    Minimises the spread about the mean (module docstring) over rotations; translation is removed, scale is kept,
    mirrored shapes are rotated but never reflected. The gauge is R of the first frame = identity. `weights` >= 0,
    one a frame, are constants (no derivative): a frame of weight 0 is aligned with the mean of the others and does
    not move it. `max_iterations` and `tolerance` are static.

    Method: of a few frames as reference the best, then every frame to the mean in turn; the cost never rises. It
    stops when no shape moved by more than `tolerance` of its norm (default: 16 roundings, 2e-6 in float32 and 4e-15
    in float64) or after `max_iterations`; `stationarity` says how well it has converged. The minimum is a local
    one where the shapes differ greatly.

    Derivative (`custom_vjp`): implicit, O(frame * point) in time and memory, itself differentiable. It is right at
    a converged strict minimum. Where the rotation of a frame is not determined (a collinear shape, a mirrored one
    with equal extents, a zero one), the undetermined turn has derivative 0, and everything is finite.

    Raises InputError for shapes that are not (..., frame, point, 3), at trace time.
    """
    shapes = jnp.asarray(shapes)
    if shapes.ndim < 3 or shapes.shape[-1] != 3 or 0 in shapes.shape[-3:]:
        raise InputError(
            f"align: the shapes are {shapes.shape}: give (..., frame, point, 3), none of them empty"
        )
    dtype = jnp.promote_types(shapes.dtype, jnp.float32)
    if tolerance is None:
        tolerance = 16.0 * float(jnp.finfo(dtype).eps)
    w = jnp.ones(shapes.shape[:-2], dtype) if weights is None else jnp.asarray(weights, dtype)
    w = lax.stop_gradient(jnp.broadcast_to(w, shapes.shape[:-2]))
    one = partial(_align, max_iterations, float(tolerance))
    for _ in shapes.shape[:-3]:
        one = jax.vmap(one)
    aligned, rotations = one(shapes.astype(dtype), w)
    return aligned.astype(shapes.dtype), rotations.astype(shapes.dtype)


def stationarity(
    aligned: Float[ArrayLike, "*batch frame point 3"], weights: Float[ArrayLike, "*batch frame"] | None = None
) -> Float[Array, "*batch"]:
    r"""How far from a minimum: the largest $\|\sum_p y_{fp} \times m_p\| / (\|Y_f\| \|M\|)$ over the frames, with M the
    mean of the aligned shapes; in radians to first order, 0 when converged (of zero shapes too)."""
    y = jnp.asarray(aligned)
    w = jnp.ones(y.shape[:-2], y.dtype) if weights is None else jnp.asarray(weights, y.dtype)
    total = jnp.sum(w, -1)[..., None, None]
    mean = _MATMUL("...f,...fpi->...pi", w, y) / jnp.where(total > 0, total, 1.0)
    turn = 2 * jnp.linalg.norm(vee(_MATMUL("...pi,...fpj->...fij", mean, y)), axis=-1)
    size = jnp.sqrt(jnp.sum(y * y, (-2, -1)) * jnp.sum(mean * mean, (-2, -1))[..., None])
    return jnp.max(jnp.where(size > 0, turn / jnp.where(size > 0, size, 1.0), 0.0), -1)


def _centred(x):
    return x - jnp.mean(x, -2, keepdims=True)


def _scaled(x):
    """The shapes in units of their largest entry: squares and fourth powers stay in the float range."""
    size = lax.stop_gradient(jnp.max(jnp.abs(x)))
    return x / jnp.where(size > 0, size, 1.0)


def _turned(x, r):
    return _MATMUL("fpj,fij->fpi", x, r)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _align(max_iterations, tolerance, shapes, weights):
    centred = _centred(shapes)
    x = _scaled(centred)
    total = jnp.sum(weights)
    w = weights / jnp.where(total > 0, total, 1.0)
    n = x.shape[0]
    size = jnp.sqrt(jnp.sum(x * x, (1, 2)))
    tries = min(_STARTS, n)
    tried = jnp.asarray([(i * n) // tries for i in range(tries)])

    def unfinished(carry):
        *_, change, count = carry
        return (change > tolerance) & (count < tries + max_iterations)

    def improve(carry):
        mean, score, y, _, _, count = carry
        trying = count < tries
        reference = jnp.where(trying, x[tried[jnp.minimum(count, tries - 1)]], mean)
        r = project_to_so3(_MATMUL("pi,fpj->fij", reference, x))
        new = _turned(x, r)
        found = _MATMUL("f,fpi->pi", w, new)
        # A degenerate or odd frame makes a poor reference, and shows it by the size of the mean that it gives.
        square = jnp.sum(found**2)
        mean = jnp.where(trying & (square <= score), mean, found)
        # Measured on the shapes: a turn that is not determined, that of a line about itself, moves no point.
        moved = jnp.max(jnp.sqrt(jnp.sum((new - y) ** 2, (1, 2))) / jnp.where(size > 0, size, 1.0))
        return mean, jnp.maximum(score, square), new, r, jnp.where(trying, jnp.inf, moved), count + 1

    # One loop for the tries and for what follows: the projection is compiled once.
    number = lambda v: jnp.asarray(v, x.dtype)
    start = (x[0], number(-1), x, jnp.zeros((n, 3, 3), x.dtype), number(jnp.inf), jnp.asarray(0))
    rotations = lax.while_loop(unfinished, improve, start)[3]
    rotations = _MATMUL("ji,fjk->fik", rotations[0], rotations)
    return _turned(centred, rotations), rotations


def _align_fwd(max_iterations, tolerance, shapes, weights):
    # By its own rule, so that the derivative of the residuals, which second order needs, is right.
    aligned, rotations = _align(max_iterations, tolerance, shapes, weights)
    return (aligned, rotations), (aligned, rotations, weights)


def _align_bwd(max_iterations, tolerance, residuals, cotangents):
    """Adjoint of the module docstring's system: with `b_f` the pull of the cotangents on `q_f`, `u = D^+ b` and
    `K lambda = sum_f A_f u_f`, the pull on `dX'_f` is `G_f + w_f lambda + S x z_f` with
    `z_f = u_f + w_f D_f^+ A_f^T lambda`.
    """
    aligned, r, weights = residuals
    g, g_rotations = cotangents
    unit = lax.stop_gradient(jnp.max(jnp.abs(aligned)))
    unit = jnp.where(unit > 0, unit, 1.0)
    y = aligned / unit
    total = jnp.sum(weights)
    w = weights / jnp.where(total > 0, total, 1.0)
    s = _MATMUL("f,fpi->pi", w, y)

    p = _MATMUL("fpi,pj->fij", y, s)
    p = 0.5 * (p + jnp.swapaxes(p, -1, -2))
    inverse = _pseudo_inverse(_trace(p) * jnp.eye(3, dtype=p.dtype) - p)
    solve = lambda b: _MATMUL("fij,fj->fi", inverse, b)
    pull = lambda v: 2 * vee(_MATMUL("pi,fpj->fij", v, y))  # A^T v = sum_p y x v

    def push(q):  # sum_f A_f q_f = sum_f q_f x y_f
        return _MATMUL("fij,fpj->pi", skew(q), y)

    # b_f = sum_p y x g, and the rotations' share; the gauge R_1 = I takes their sum off the first frame.
    b = 2 * vee(_MATMUL("fpi,fpj->fij", g * unit, y)) + 2 * vee(_MATMUL("fij,fkj->fik", g_rotations, r))
    b = b.at[0].add(-jnp.sum(b, 0))
    u = solve(b)

    gram = _MATMUL("pi,pj->ij", s, s)
    null = _pseudo_inverse((_trace(gram) * jnp.eye(3, dtype=gram.dtype) - gram)[None])[0]

    def regular(v):  # v without its part omega x s
        omega = null @ (2 * vee(_MATMUL("pi,pj->ij", v, s)))
        return v - jnp.cross(omega[None], s)

    def product(v):
        return regular(v - push(w[:, None] * solve(pull(v))))

    rhs = regular(push(u))
    limit = min(3 * y.shape[1], 200)
    # As a linear solve JAX can differentiate it again.
    adjoint = lax.custom_linear_solve(product, rhs, partial(_conjugate_gradients, limit), symmetric=True)
    z = u + w[:, None] * solve(pull(adjoint))
    pulled = g * unit + w[:, None, None] * adjoint + _MATMUL("fij,pj->fpi", -skew(z), s)
    pulled = _MATMUL("fpi,fij->fpj", pulled, r) / unit
    return _centred(pulled), jnp.zeros_like(weights)


_align.defvjp(_align_fwd, _align_bwd)


def _conjugate_gradients(limit, product, rhs):
    """Solution of a positive semidefinite system with right-hand side in its range; stops at rounding, after `limit`
    steps, or where the curvature is not positive (the alignment is no strict minimum)."""
    small = (4.0 * float(jnp.finfo(rhs.dtype).eps)) ** 2 * jnp.sum(rhs * rhs)

    def unfinished(carry):
        _, _, _, square, count, sound = carry
        return (square > small) & (count < limit) & sound

    def step(carry):
        x, residual, direction, square, count, _ = carry
        image = product(direction)
        curvature = jnp.sum(direction * image)
        sound = curvature > 1e-6 * jnp.sum(direction * direction)
        along = jnp.where(sound, square / jnp.where(sound, curvature, 1.0), 0.0)
        x, residual = x + along * direction, residual - along * image
        new = jnp.sum(residual * residual)
        direction = residual + new / jnp.where(square > 0, square, 1.0) * direction
        return x, residual, direction, new, count + 1, sound

    start = (jnp.zeros_like(rhs), rhs, rhs, jnp.sum(rhs * rhs), jnp.asarray(0), jnp.asarray(True))
    return lax.while_loop(unfinished, step, start)[0]


def _trace(m):
    return (m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2])[..., None, None]


def _pseudo_inverse(d):
    """Pseudo-inverse of symmetric positive semidefinite matrices (n, 3, 3) in closed form, by their rank.

    Rank 3: adj(D) / det(D). Rank 2, with t = tr D and c = tr adj(D): ((I - adj(D) / c) t - D) / c. Rank 1: D / t^2.
    """
    xx, yy, zz = d[:, 0, 0], d[:, 1, 1], d[:, 2, 2]
    xy, xz, yz = d[:, 0, 1], d[:, 0, 2], d[:, 1, 2]
    a = (
        yy * zz - yz * yz,
        xz * yz - xy * zz,
        xy * yz - xz * yy,
        xx * zz - xz * xz,
        xy * xz - xx * yz,
        xx * yy - xy * xy,
    )
    adjugate = jnp.stack([a[0], a[1], a[2], a[1], a[3], a[4], a[2], a[4], a[5]], -1).reshape(-1, 3, 3)
    t, c = xx + yy + zz, a[0] + a[3] + a[5]
    det = xx * a[0] + xy * a[1] + xz * a[2]
    small = _AMBIGUOUS * float(jnp.finfo(d.dtype).eps)
    one, two = t > 0, c > small * t * t
    three = two & (det > small * c * t)
    t, c, det = (jnp.where(ok, v, 1.0)[:, None, None] for ok, v in ((one, t), (two, c), (three, det)))
    rank_two = ((jnp.eye(3, dtype=d.dtype) - adjugate / c) * t - d) / c
    lower = jnp.where(two[:, None, None], rank_two, jnp.where(one[:, None, None], d / (t * t), 0.0))
    return jnp.where(three[:, None, None], adjugate / det, lower)
