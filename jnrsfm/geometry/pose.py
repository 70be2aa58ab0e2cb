r"""Orthographic-n-point (OnP): the camera of one view, from a known shape and its image.

$$\min_{R, t, s} \sum_p w_p \| x_p - (s R_{xy} X_p + t) \|^2,\qquad R \in SO(3),\ t \in \mathbb{R}^2,$$

with $R_{xy}$ the first two rows of R and s = 1, or s >= 0 to be found (weak perspective). Object points X
are rows `(*batch, point, 3)`, image points x `(*batch, point, 2)`; x right, y down, z forward. Translation
and scale come out in closed form, so that R is found from the centred second moments $A = \sum w XX^\top$
and $B = \sum w xX^\top$ alone, whatever the number of points.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry.rotations import complete_rotation, project_to_stiefel

HIGHEST = lax.Precision.HIGHEST  # full float32 products on accelerators too
_STEPS = 30  # damped Newton steps at most: enough for all of 24,000 random problems, pure noise among them
_POLISH = 8  # plain Newton steps at most
_SHORT = 0.02  # radians: from a Newton step of this length on, undamped steps converge quadratically
_einsum = partial(jnp.einsum, precision=HIGHEST)


class Pose(NamedTuple):
    """A camera: `x = scale * (points3d @ rotation.T)[..., :2] + translation`, and how well it fits."""

    rotation: Float[Array, "*batch 3 3"]  # proper, world to camera
    translation: Float[Array, "*batch 2"]  # in units of the image
    scale: Float[Array, "*batch"]  # image units per object unit; 1 unless it was asked for
    residual: Float[Array, "*batch"]  # weighted mean of the squared image distances, image units squared


def solve_onp_linear(
    points3d: Float[ArrayLike, "*batch point 3"],
    points2d: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"] | None = None,
    *,
    with_scale: bool = False,
) -> Pose:
    r"""OnP by linear least squares: nearest orthonormal rows to $M = B (A + \rho I)^{-1}$; not the minimiser.

    The right camera where the image is exact and the shape is solid; with noise only an approximation,
    which must be differentiated through. The ridge $\rho$, about the square root of rounding times the
    mean of the eigenvalues of A, keeps flat shapes finite (they come out seen head-on: `solve_onp` does
    not have this weakness). Scale, where asked for, and translation are the best ones for that rotation.

    Arguments, errors and gradients as in `solve_onp`; in reverse mode only. Ambiguous: M of rank below 2,
    that is, points that are collinear in space or image, see `rotations.project_to_stiefel`.
    Reference: Wang's thesis, eq. 2.9 with the projection after it.
    """
    problem = _Problem.make(points3d, points2d, weights, with_scale)
    frame = project_to_stiefel(jnp.swapaxes(_linear_map(problem.a, problem.b), -1, -2))
    return problem.finish(jnp.swapaxes(complete_rotation(frame), -1, -2))


def solve_onp(
    points3d: Float[ArrayLike, "*batch point 3"],
    points2d: Float[ArrayLike, "*batch point 2"],
    weights: Float[ArrayLike, "*batch point"] | None = None,
    *,
    with_scale: bool = False,
) -> Pose:
    r"""OnP, the minimiser itself: damped Newton steps on SO(3) from three starts, the best one polished.

    The starts are the two cameras that the plane of the two largest principal axes of the shape allows (it
    can be tilted towards or away from the viewer) and the linear solution; together they led to the
    global minimum in every one of 24,000 random problems with noise from none to image points drawn apart
    from the shape.

    `weights` >= 0 (default 1): where 0, the coordinates are ignored, NaN included, and get no gradient.
    `with_scale` is static. Raises `InputError` at trace time for shapes that do not fit together.

    Derivative: by the implicit function theorem at the minimum, $d\omega = -H^{-1} dg$, forward and
    reverse, any order; the solver is not differentiated through. (The gradient of the objective
    `residual` itself needs none of it: there the derivative of R drops out.)

    **Ambiguous points**, where one minimiser is returned, always the same for the same input:
    collinear shapes (R is free to turn about the line; the derivative is 0 that way, right otherwise);
    flat shapes (two cameras, tilted to and fro, fit equally well: the derivative is that of the one
    returned); a flat shape seen head-on, where the two meet, and the derivative out of the plane is 0;
    an image that does not vary with the shape (B = 0), or a shape that is one point (A = 0), where R is
    any rotation (the identity for A = 0) and the derivative 0. Fewer than 4 points are always flat.
    """
    problem = _Problem.make(points3d, points2d, weights, with_scale)
    return problem.finish(_minimiser(with_scale, problem.a, problem.b))


class _Problem(NamedTuple):
    """Weights that sum to 1, centred points, each divided by a size, and the moments of those."""

    weights: Array
    centred3d: Array
    centred2d: Array
    mean3d: Array
    mean2d: Array
    size3d: Array
    size2d: Array
    a: Array
    b: Array
    with_scale: bool

    @classmethod
    def make(cls, points3d, points2d, weights, with_scale):
        points3d, points2d = jnp.asarray(points3d), jnp.asarray(points2d)
        if points3d.shape[-1] != 3 or points2d.shape != (*points3d.shape[:-1], 2):
            raise InputError(
                f"onp: points3d {points3d.shape} and points2d {points2d.shape} do not fit together; "
                "give (..., point, 3) and (..., point, 2)"
            )
        weights = jnp.ones(points3d.shape[:-1], points3d.dtype) if weights is None else jnp.asarray(weights)
        if weights.shape != points3d.shape[:-1]:
            raise InputError(
                f"onp: weights {weights.shape} must be one for each point, {points3d.shape[:-1]}"
            )
        total = jnp.sum(weights, -1, keepdims=True)
        weights = jnp.where(total > 0, weights / jnp.where(total > 0, total, 1.0), 0.0)
        used = weights[..., None] > 0

        def centre(x):
            x = jnp.where(used, x, 0.0)
            mean = _einsum("...p,...pi->...i", weights, x)
            x = jnp.where(used, x - mean[..., None, :], 0.0)
            return x, mean, lax.stop_gradient(jnp.max(jnp.abs(x), (-2, -1), initial=0.0))

        # Sizes only keep the moments within the range of float32: the minimiser does not depend on them,
        # so they carry no gradient. Without a free scale both kinds of points must have the same one.
        (x3, mean3, size3), (x2, mean2, size2) = centre(points3d), centre(points2d)
        if not with_scale:
            size3 = size2 = jnp.maximum(size3, size2)
        size3, size2 = (jnp.where(size > 0, size, 1.0) for size in (size3, size2))
        x3, x2 = x3 / size3[..., None, None], x2 / size2[..., None, None]
        a = _einsum("...p,...pi,...pj->...ij", weights, x3, x3)
        b = _einsum("...p,...pi,...pj->...ij", weights, x2, x3)
        return cls(weights, x3, x2, mean3, mean2, size3, size2, a, b, with_scale)

    def finish(self, rotation):
        """Best scale, translation, and residual, given the rotation."""
        xy = rotation[..., :2, :]
        scale = jnp.ones_like(self.size2d)
        if self.with_scale:
            power = _einsum("...ij,...jk,...ik->...", xy, self.a, xy)
            match = _einsum("...ij,...ij->...", xy, self.b)
            scale = jnp.where(power > 0, jnp.maximum(match, 0.0) / jnp.where(power > 0, power, 1.0), 0.0)
        difference = self.centred2d - scale[..., None, None] * _einsum(
            "...pj,...ij->...pi", self.centred3d, xy
        )
        residual = _einsum("...p,...pi->...", self.weights, difference**2) * self.size2d**2
        scale = scale * (self.size2d / self.size3d)
        translation = self.mean2d - scale[..., None] * _einsum("...ij,...j->...i", xy, self.mean3d)
        return Pose(rotation, translation, scale, residual)


def _linear_map(a, b):
    """`B (A + rho I)^{-1}`, (2, 3)."""
    ridge = jnp.sqrt(jnp.finfo(a.dtype).eps) * jnp.trace(a, axis1=-2, axis2=-1) / 3
    ridge = jnp.where(ridge > 0, ridge, 1.0)[..., None, None] * jnp.eye(3, dtype=a.dtype)
    return jnp.swapaxes(jnp.linalg.solve(a + ridge, jnp.swapaxes(b, -1, -2)), -1, -2)


# Below, a matrix is a tuple of rows, each a tuple of arrays of the batch shape, one for each entry: so a
# compiler turns the whole of a step into elementwise loops over the batch.


def _unpack(m):
    return tuple(tuple(m[..., i, j] for j in range(m.shape[-1])) for i in range(m.shape[-2]))


def _pack(rows):
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def _dot(x, y):
    return sum(u * v for u, v in zip(x, y, strict=True))


def _cross(x, y):
    return (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])


def _times_transpose(x, y):
    """X Y^T."""
    return tuple(tuple(_dot(u, v) for v in y) for u in x)


def _expansion(r, a, b, with_scale):
    r"""Value, gradient (3) and Hessian (3 by 3) of the objective in a small turn $\omega$ of the camera.

    $f = \tfrac{1}{2} s^2\,\mathrm{tr}(P Q) - s\,\mathrm{tr}(C)$ with $Q = RAR^\top$, $C = BR^\top$, P the
    projection to x and y, $R \to \exp([\omega]_\times) R$; s is 1, or eliminated at its best value.
    """
    q, c = _times_transpose(r, _times_transpose(r, a)), _times_transpose(b, r)  # A is symmetric
    power, match = q[0][0] + q[1][1], c[0][0] + c[1][1]
    safe = jnp.where(power > 0, power, 1.0)
    s = jnp.maximum(match, 0.0) / safe if with_scale else jnp.ones_like(power)
    # Derivatives are tr([w]_x G) and more, with G = s^2 Q P - s C^T, whose last column is 0.
    x = tuple(s * (s * q[i][0] - c[0][i]) for i in range(3))
    y = tuple(s * (s * q[i][1] - c[1][i]) for i in range(3))
    gradient = (-y[2], x[2], y[0] - x[1])
    trace, ss = x[0] + y[1], s * s
    off = (0.5 * (x[1] + y[0]), 0.5 * x[2] - ss * q[0][2], 0.5 * y[2] - ss * q[1][2])
    diagonal = (ss * q[2][2] + x[0] - trace, ss * q[2][2] + y[1] - trace, ss * power - trace)
    if with_scale:
        u, v = (tuple(2 * s * q[i][j] - c[j][i] for i in range(3)) for j in range(2))
        root = jnp.where(match > 0, lax.rsqrt(safe), 0.0)
        m = (-v[2] * root, u[2] * root, (v[0] - u[1]) * root)
        diagonal = tuple(d - z * z for d, z in zip(diagonal, m, strict=True))
        off = (off[0] - m[0] * m[1], off[1] - m[0] * m[2], off[2] - m[1] * m[2])
    h01, h02, h12 = off
    hessian = ((diagonal[0], h01, h02), (h01, diagonal[1], h12), (h02, h12, diagonal[2]))
    return 0.5 * ss * power - s * match, gradient, hessian


def _shift(h, by):
    return tuple(tuple(x + by if i == j else x for j, x in enumerate(row)) for i, row in enumerate(h))


def _solve_positive(h, g, tolerance):
    """`H^{-1} g` by LDL^T, and whether all pivots exceed the tolerance; if not, it is no solution."""

    def pivot(d):
        return d > tolerance, 1.0 / jnp.where(d > tolerance, d, 1.0)

    ok0, i0 = pivot(h[0][0])
    l1, l2 = h[1][0] * i0, h[2][0] * i0
    ok1, i1 = pivot(h[1][1] - l1 * h[1][0])
    off = h[2][1] - l2 * h[1][0]
    l3 = off * i1
    ok2, i2 = pivot(h[2][2] - l2 * h[2][0] - l3 * off)
    y1 = g[1] - l1 * g[0]
    x2 = (g[2] - l2 * g[0] - l3 * y1) * i2
    x1 = y1 * i1 - l3 * x2
    return (g[0] * i0 - l1 * x1 - l2 * x2, x1, x2), ok0 & ok1 & ok2


def _cross_columns(w, r):
    """[w]_x R."""
    columns = [_cross(w, column) for column in zip(*r, strict=True)]
    return tuple(zip(*columns, strict=True))


def _turn(w, r):
    """R rotated by about w: the Cayley transform, exp([w]_x) to second order, which never leaves SO(3)."""
    half = tuple(0.5 * x for x in w)
    k = 2.0 / (1.0 + _dot(half, half))
    first = _cross_columns(half, r)
    second = _cross_columns(half, first)
    return _map(lambda x, y, z: x + k * (y + z), r, first, second)


def _orthonormal(r):
    """R (3 I - R^T R) / 2: the nearest orthonormal matrix but for the square of the (small) distance to it."""
    columns = tuple(zip(*r, strict=True))
    gram = _times_transpose(columns, columns)
    return _map(lambda x, y: 1.5 * x - 0.5 * y, r, _times_transpose(r, gram))


def _map(f, *matrices):
    return tuple(tuple(f(*x) for x in zip(*rows, strict=True)) for rows in zip(*matrices, strict=True))


def _starts(a, b):
    """Rotations (start, *batch, 3, 3): the two that the main plane allows, and the linear one, tilted a bit."""
    linear = _linear_map(a, b)
    first = jnp.swapaxes(complete_rotation(project_to_stiefel(jnp.swapaxes(linear, -1, -2))), -1, -2)
    normal = _least_axis(_unpack(a))
    plane = tuple(
        tuple(x - _dot(row, normal) * n for x, n in zip(row, normal, strict=True)) for row in _unpack(linear)
    )
    # Scaled to largest singular value 1, the rows of the camera within the plane lack only a part c along
    # the normal, and I - K K^T = c c^T has rank 1: that fixes c up to its sign.
    (xx, xy), (_, yy) = _times_transpose(plane, plane)
    top = 0.5 * (xx + yy) + jnp.sqrt((0.5 * (xx - yy)) ** 2 + xy**2)
    safe = jnp.where(top > 0, top, 1.0)
    c = (
        jnp.sqrt(jnp.maximum(1 - xx / safe, 0)),
        jnp.sqrt(jnp.maximum(1 - yy / safe, 0)) * jnp.where(xy > 0, -1, 1),
    )
    # A line, or a flat shape seen head-on, balances on a saddle that no gradient leaves: the linear start is
    # tilted, mostly about the image axis across its longer extent.
    angle = 0.5 * jnp.arctan2(2 * xy, xx - yy)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    tilt = (0.05 * cos - 0.1 * sin, 0.05 * sin + 0.1 * cos, jnp.zeros_like(angle))
    starts = []
    for sign in (1, -1):
        rows = tuple(
            tuple(x * lax.rsqrt(safe) + sign * k * n for x, n in zip(row, normal, strict=True))
            for row, k in zip(plane, c, strict=True)
        )
        starts.append(jnp.where(top[..., None, None] > 0, _pack((*rows, _cross(*rows))), first))
    return jnp.stack([*starts, _pack(_turn(tilt, _unpack(first)))])


def _least_axis(a):
    """Unit vector near the eigenvector of the least eigenvalue: repeated squaring of the adjugate."""
    a = _shift(a, 1e-6 * (a[0][0] + a[1][1] + a[2][2]))
    k = (_cross(a[1], a[2]), _cross(a[2], a[0]), _cross(a[0], a[1]))
    for _ in range(5):
        trace = k[0][0] + k[1][1] + k[2][2]
        inverse = jnp.where(trace > 0, 1.0 / jnp.where(trace > 0, trace, 1.0), 0.0)
        k = _map(lambda x, i=inverse: x * i, k)
        k = _times_transpose(k, k)
    by_first = (k[0][0] >= k[1][1]) & (k[0][0] >= k[2][2])
    by_second = k[1][1] >= k[2][2]
    column = tuple(jnp.where(by_first, x, jnp.where(by_second, y, z)) for x, y, z in zip(*k, strict=True))
    square = _dot(column, column)
    inverse = jnp.where(square > 0, lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return (column[0] * inverse, column[1] * inverse, jnp.where(square > 0, column[2] * inverse, 1.0))


def _descend(r, a, b, with_scale):
    """Rotations and values of the minima that damped Newton steps reach, each problem on its own.

    Levenberg-Marquardt with the full Hessian: a damped step counts if it lowers the value. Once the plain
    Newton step is short and the Hessian positive it is taken as it is, since near the minimum values are
    lost in rounding before gradients are. A problem is finished when that step is so short that its square
    is rounding (convergence is quadratic), or after `_POLISH` of them.

    Written out and not by `linalg.damped_newton.minimise`: the polishing steps are taken without a look at the
    value, and the 3 x 3 systems are solved entry by entry, in elementwise loops over the batch, which is many times
    faster than a batch of LU factorisations.
    """
    eps, tiny = float(jnp.finfo(r[0][0].dtype).eps), float(jnp.finfo(r[0][0].dtype).tiny)

    def unfinished(state):
        return (state[0] < _STEPS) & jnp.any(state[1] < _POLISH)

    def step(state):
        i, polished, damping, r, (f, g, h) = state
        size = jnp.abs(h[0][0]) + jnp.abs(h[1][1]) + jnp.abs(h[2][2])
        down = tuple(-x for x in g)
        newton, positive = _solve_positive(h, down, eps * size)
        length = _dot(newton, newton)
        short = positive & (length < _SHORT**2)
        damped, possible = _solve_positive(_shift(h, damping * size), down, tiny)
        trial = _turn(tuple(jnp.where(short, x, y) for x, y in zip(newton, damped, strict=True)), r)
        new = _expansion(trial, a, b, with_scale)
        taken = (polished < _POLISH) & (short | (possible & (new[0] < f)))
        damping = jnp.where(taken, 0.1 * damping, jnp.maximum(6 * damping, 1e-3))
        r, new = jax.tree.map(lambda x, y: jnp.where(taken, x, y), (trial, new), (r, (f, g, h)))
        polished = polished + jnp.where(short, jnp.where(length < eps, _POLISH, 1), 0)
        return i + 1, polished, damping, r, new

    value = _expansion(r, a, b, with_scale)
    like = value[0]
    start = (0, jnp.zeros(like.shape, jnp.int32), jnp.full_like(like, 1e-3), r, value)
    _, _, _, r, value = lax.while_loop(unfinished, step, start)
    return r, value[0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _minimiser(with_scale, a, b):
    """The best rotation (*batch, 3, 3) for the moments a (*batch, 3, 3) and b (*batch, 2, 3)."""
    r, value = _descend(_orthonormal(_unpack(_starts(a, b))), _unpack(a), _unpack(b), with_scale)
    # Equal values (a flat shape) must not be told apart by rounding: the earlier start wins.
    handicap = 16 * jnp.finfo(value.dtype).eps * jnp.max(jnp.abs(value), 0)
    order = jnp.arange(len(value), dtype=value.dtype).reshape(-1, *(1,) * (value.ndim - 1))
    best = jnp.argmin(value + order * handicap, 0)[None]
    r = _map(lambda x: jnp.take_along_axis(x, best, 0)[0], r)
    return _pack(_orthonormal(r))


@_minimiser.defjvp
def _minimiser_jvp(with_scale, primals, tangents):
    rotation = _minimiser(with_scale, *primals)  # by its own rule: higher orders come along
    r = _unpack(rotation)

    def gradient(a, b):
        return _expansion(r, _unpack(a), _unpack(b), with_scale)[1]

    _, dg = jax.jvp(gradient, primals, tangents)
    a, b = primals
    h = _expansion(r, _unpack(a), _unpack(b), with_scale)[2]
    dw = _pseudo_solve(h, tuple(-x for x in dg))
    return rotation, _pack(_cross_columns(dw, r))


def _pseudo_solve(h, g):
    """`H^{-1} g` for a clearly positive H, else `H (H^2 + delta^2)^{-1} g`: 0 along its null space."""
    eps = float(jnp.finfo(g[0].dtype).eps)
    trace = h[0][0] + h[1][1] + h[2][2]
    inverse = 1.0 / jnp.where(trace > 0, trace, 1.0)
    h = _map(lambda x: x * inverse, h)
    x, clear = _solve_positive(h, g, 64 * eps)
    y, _ = _solve_positive(_shift(_times_transpose(h, h), eps ** (2 / 3)), g, 0.0)
    y = tuple(_dot(row, y) for row in h)
    return tuple(jnp.where(clear, u, v) * inverse for u, v in zip(x, y, strict=True))
