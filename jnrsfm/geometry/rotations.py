"""Rotations: nearest rotation and nearest orthonormal 3x2 frame, axis-angle, distance, random rotations.

Convention: column vectors, x_cam = R @ x_world; rotations are proper (det +1). All functions take leading
batch axes and run under `jit`, `vmap` and reverse-mode differentiation to any order; the caller jits.
The two projections carry a `jax.custom_vjp` (so no forward mode for them), whose backward pass is written
in what stays smooth, the polar factor, and is finite where the derivative of an SVD is NaN.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jnrsfm.errors import InputError
from jnrsfm.linalg import nearest_rotation as kernel

GENERATORS = np.array(
    [
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
    ],
    np.float64,
)
"""The basis `skew(e_k)` of the Lie algebra of rotations: `exp(sum_k w_k GENERATORS[k]) = axis_angle_to_matrix(w)`."""

# An eigenvalue below this many units of rounding, relative to the trace, counts as 0.
_AMBIGUOUS = 16


def project_to_so3(m: Float[ArrayLike, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    r"""Nearest rotation: argmin_R ||R - M||_F over R^T R = I, det R = +1.

    Equal to U diag(1, 1, det(U V^T)) V^T of the SVD, in closed form. With signed singular values
    s1 >= s2 >= |s3| (the sign of s3 is that of det M) the minimiser is unique if the gap s2 + s3 is
    positive; det M < 0 alone does no harm. In float32 the entries are right to 1e-5, commonly to 5e-7,
    wherever the gap is above 1e-3 s1.

    Derivative (polar rule): dR = R [w]_x with (tr(P) I - P) w = vee(A - A^T), P = R^T M, A = R^T dM.
    It is exact at repeated singular values. **Ambiguous points**: s2 + s3 = 0 (to rounding), among them the
    zero matrix, all matrices of rank 1, and reflections diag(1, 1, -1). There one minimiser is
    returned, always the same for the same matrix (the identity for 0), and the derivative is 0.
    Blind to scale: any will do whose largest entry is a normal number; smaller matrices count as 0.

    Raises: `InputError` (a `ValueError`) for a shape that does not end in (3, 3), when traced.

    >>> import numpy as np
    >>> m = np.array([[0.0, -2, 0], [2, 0, 0], [0, 0, 2]])  # twice a quarter turn about z
    >>> np.asarray(project_to_so3(m)).round(3).tolist()
    [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]

    References: Umeyama, TPAMI 13(4), 1991 (the sign); Horn, JOSA A 4(4), 1987 (the quaternion form).
    """
    m, dtype = _floating(m, (3, 3), "project_to_so3")
    return _pack(_so3(_normalised_entries(m))).astype(dtype)


def project_to_stiefel(m: Float[ArrayLike, "*batch 3 2"]) -> Float[Array, "*batch 3 2"]:
    r"""Nearest 3x2 matrix with orthonormal columns: argmin_Q ||Q - M||_F over Q^T Q = I.

    The polar factor M (M^T M)^{-1/2}. With m1, m2 the columns of M, n = m1 × m2 / |m1 × m2| and
    singular values s1 >= s2 it is [m1 + m2 × n, m2 + n × m1] / (s1 + s2), where nothing small is inverted.

    Derivative: with S = Q^T M, Z = Q^T dM and n = q1 x q2,
    dQ = Q [[0, -w], [w, 0]] + n n^T dM S^{-1}, w = (Z_10 - Z_01) / tr S.
    **Ambiguous points**: rank below 2 (s2 = 0 to rounding). There one minimiser is returned, always the
    same for the same matrix (the first two columns of the identity for 0), and the derivative out of
    the plane is 0; for the zero matrix all of it.

    Raises: `InputError` (a `ValueError`) for a shape that does not end in (3, 2), when traced.
    Reference: Higham, "Functions of Matrices", 2008, ch. 8 (polar decomposition).
    """
    m, dtype = _floating(m, (3, 2), "project_to_stiefel")
    return _pack(_stiefel(_normalised_entries(m))).astype(dtype)


def complete_rotation(xy: Float[ArrayLike, "*batch 3 2"]) -> Float[Array, "*batch 3 3"]:
    """The rotation [x, y, x × y] whose first two columns are `xy`, orthonormal. Proper by construction."""
    xy = jnp.asarray(xy)
    return jnp.concatenate([xy, jnp.cross(xy[..., 0], xy[..., 1])[..., None]], -1)


def skew(v: Float[ArrayLike, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """The matrix [v]_x with [v]_x @ u = v × u."""
    v = jnp.asarray(v)
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    o = jnp.zeros_like(x)
    return _pack(((o, -z, y), (z, o, -x), (-y, x, o)))


def vee(m: Float[ArrayLike, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Inverse of `skew`; of any other matrix, the vector of its antisymmetric part (M - M^T) / 2."""
    return jnp.stack(kernel.axial(_unpack(jnp.asarray(m))), -1) / 2


def axis_angle_to_matrix(v: Float[ArrayLike, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rotation by the angle |v| (radians) about v: I + sin|v|/|v| [v]_x + (1 - cos|v|)/|v|^2 [v]_x^2.

    Smooth everywhere, at 0 too. Source: Rodrigues' formula.

    >>> import numpy as np
    >>> turn = np.asarray(axis_angle_to_matrix(np.array([0, np.pi / 2, 0])))  # about y
    >>> ((turn @ [0, 0, 1]).round(3) + 0).tolist()  # what was ahead is to the right
    [1.0, 0.0, 0.0]
    """
    v = jnp.asarray(v)
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    t = x * x + y * y + z * z
    small = t < 1e-6
    angle = jnp.sqrt(jnp.where(small, 1.0, t))  # safe in the branch that is not taken, for its gradient
    half = jnp.sin(angle / 2) / angle
    a = jnp.where(small, 1 - t / 6 + t * t / 120, jnp.sin(angle) / angle)
    b = jnp.where(small, 0.5 - t / 24 + t * t / 720, 2 * half * half)
    return _pack(
        (
            (1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y),
            (b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x),
            (b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y)),
        )
    )


def matrix_to_axis_angle(r: Float[ArrayLike, "*batch 3 3"]) -> Float[Array, "*batch 3"]:
    """Axis times angle (radians, in [0, pi]) of a rotation; inverse of `axis_angle_to_matrix`.

    By way of the unit quaternion with its largest component as pivot, so values and gradients are
    finite and accurate at the identity and near pi. **Ambiguous** at pi, where v and -v are the same
    rotation: one of the two is returned, with the one-sided derivative.
    """
    n = kernel.horn(_unpack(jnp.asarray(r)))  # of a rotation: N + I = 4 q q^T
    diagonal = jnp.stack([n[0], n[4], n[7], n[9]], -1) + 1
    rows = jnp.stack(
        [
            jnp.stack([n[0] + 1, n[1], n[2], n[3]], -1),
            jnp.stack([n[1], n[4] + 1, n[5], n[6]], -1),
            jnp.stack([n[2], n[5], n[7] + 1, n[8]], -1),
            jnp.stack([n[3], n[6], n[8], n[9] + 1], -1),
        ],
        -2,
    )
    pivot = jnp.argmax(diagonal, -1)[..., None]
    q = jnp.take_along_axis(rows, pivot[..., None], -2)[..., 0, :]
    q = q / (2 * jnp.sqrt(jnp.take_along_axis(diagonal, pivot, -1)))
    q = jnp.where(q[..., :1] < 0, -q, q)
    w, v = q[..., 0], q[..., 1:]
    t = jnp.sum(v * v, -1)
    small = t < 1e-6
    length = jnp.sqrt(jnp.where(small, 1.0, t))
    ratio = t / jnp.where(small, w, 1.0) ** 2
    series = (1 - ratio / 3 + ratio * ratio / 5) / jnp.where(small, w, 1.0)
    return 2 * jnp.where(small, series, jnp.arctan2(length, w) / length)[..., None] * v


def geodesic_distance(
    a: Float[ArrayLike, "*#batch 3 3"], b: Float[ArrayLike, "*#batch 3 3"]
) -> Float[Array, "*#batch"]:
    """Angle in radians, in [0, pi], of the rotation between two rotations: atan2(|vee(Q)|, (tr Q - 1) / 2).

    Q = A^T B. Unlike an arc cosine it is accurate at both ends; its gradient there, where the distance
    has a kink, is 0 along vee(Q), never NaN.
    """
    q = jnp.einsum("...ji,...jk->...ik", jnp.asarray(a), jnp.asarray(b), precision=lax.Precision.HIGHEST)
    s = vee(q)
    t = jnp.sum(s * s, -1)
    sine = jnp.where(t > 0, jnp.sqrt(jnp.where(t > 0, t, 1.0)), 0.0)
    return jnp.arctan2(sine, (q[..., 0, 0] + q[..., 1, 1] + q[..., 2, 2] - 1) / 2)


def random_rotations(key: Array, shape: tuple[int, ...] = (), dtype=float) -> Float[Array, "*batch 3 3"]:
    """Rotations `(*shape, 3, 3)` from the uniform (Haar) distribution. `shape` and `dtype` are static.

    Source: a normalised 4D Gaussian is a uniform unit quaternion (Shoemake, Graphics Gems III, 1992).
    """
    q = jax.random.normal(key, (*shape, 4), dtype)
    return _pack(kernel.quaternion_rows((q[..., 0], q[..., 1], q[..., 2], q[..., 3])))


# ---------------------------------------------------------------------------------------------------------


# Both projections work on tuples of entries, each an array of the batch shape: see `nearest_rotation`.


def _normalised_entries(m):
    """Entries in units of a power of two that brings the largest to [1, 2); the identity in place of 0.

    The projections are blind to scale, so the unit is a constant for the derivative. The entries are
    *divided* by it, although a product would do: XLA does not copy divisions into the loops that use
    them, so that each entry is gathered from the matrices once and is contiguous from there.
    """
    unit, positive = kernel.unit_of(lax.stop_gradient(jnp.max(jnp.abs(m), (-1, -2))))
    return tuple(
        tuple(jnp.where(positive, x, float(i == j)) / unit for j, x in enumerate(row))
        for i, row in enumerate(_unpack(m))
    )


@jax.custom_vjp
def _so3(m):
    return kernel.nearest_rotation(m)


def _so3_fwd(m):
    r = _so3(m)  # by its own rule, so that the residual R has the right derivative in second order
    return r, (m, r)


def _so3_bwd(residuals, g):
    """M_bar = R [w]_x with (tr(P) I - P) w = vee(B - B^T), B = R^T R_bar: the adjoint of the polar rule."""
    m, r = residuals
    p = kernel.transpose_times(r, m)
    # The smallest pivot is at least the smallest eigenvalue, the gap, and near 0 if and only if that is.
    tolerance = _AMBIGUOUS * float(jnp.finfo(m[0][0].dtype).eps)
    clear = True

    def guard(pivot):
        nonlocal clear
        good = pivot > tolerance
        clear = clear & good
        return jnp.where(good, pivot, 1.0)

    w = kernel.polar_step(p, kernel.axial(kernel.transpose_times(r, g)), kernel.norm_of(m), guard)
    x, y, z = (jnp.where(clear, v, 0.0) for v in w)
    return (tuple((b * z - c * y, c * x - a * z, a * y - b * x) for a, b, c in r),)


_so3.defvjp(_so3_fwd, _so3_bwd)


@jax.custom_vjp
def _stiefel(m):
    eps = float(jnp.finfo(m[0][0].dtype).eps)
    first, second = zip(*m, strict=True)
    n = _precise_cross(first, second)
    f2, s2 = _dot(first, first), _dot(second, second)
    flat = _dot(n, n) <= (_AMBIGUOUS * eps * (f2 + s2)) ** 2
    # Rank 1: any normal of the one direction will do; the cross product with the axis farthest from it.
    line = tuple(jnp.where(f2 >= s2, a, b) for a, b in zip(first, second, strict=True))
    x, y, z = (jnp.abs(a) for a in line)
    use_x, use_y = (x <= y) & (x <= z), y <= z
    axis = tuple(take.astype(f2.dtype) for take in (use_x, ~use_x & use_y, ~use_x & ~use_y))
    n = _normalised(tuple(jnp.where(flat, a, b) for a, b in zip(_cross(line, axis), n, strict=True)))
    # Polar factor in the plane: A + cof(A) of the 2x2 part, written in 3D.
    q1 = _normalised(tuple(a + b for a, b in zip(first, _cross(second, n), strict=True)))
    q2 = tuple(a + b for a, b in zip(second, _cross(n, first), strict=True))
    along = _dot(q1, q2)  # 0 but for rounding; taken out so that the columns are orthonormal to the end
    q2 = _normalised(tuple(a - along * b for a, b in zip(q2, q1, strict=True)))
    return tuple(zip(q1, q2, strict=True))


def _stiefel_fwd(m):
    q = _stiefel(m)
    return q, (m, q)


def _stiefel_bwd(residuals, g):
    """M_bar = (G_10 - G_01) / tr S [q2, -q1] + n (n^T Q_bar) S^{-1}, G = Q^T Q_bar."""
    m, q = residuals
    eps = float(jnp.finfo(m[0][0].dtype).eps)
    m1, m2 = zip(*m, strict=True)
    g1, g2 = zip(*g, strict=True)
    q1, q2 = zip(*q, strict=True)
    a, b, c = _dot(q1, m1), (_dot(q1, m2) + _dot(q2, m1)) / 2, _dot(q2, m2)
    n = _cross(q1, q2)
    turn = (_dot(q2, g1) - _dot(q1, g2)) / (a + c)
    det = a * c - b * b
    clear = det > _AMBIGUOUS * eps * (a + c) ** 2
    inverse = jnp.where(clear, 1 / jnp.where(clear, det, 1.0), 0.0)
    n1, n2 = _dot(n, g1), _dot(n, g2)
    out1, out2 = (n1 * c - n2 * b) * inverse, (n2 * a - n1 * b) * inverse
    return (tuple((turn * q2[i] + n[i] * out1, -turn * q1[i] + n[i] * out2) for i in range(3)),)


_stiefel.defvjp(_stiefel_fwd, _stiefel_bwd)


def _precise_cross(a, b):
    """a × b for entries below 2, in about twice the working precision (columns may be nearly parallel)."""
    digits = (jnp.finfo(a[0].dtype).nmant - 3) // 2
    high_a, low_a = zip(*(kernel.split(x, digits) for x in a), strict=True)
    high_b, low_b = zip(*(kernel.split(x, digits) for x in b), strict=True)
    exact, rest, small = _cross(high_a, high_b), _cross(high_a, low_b), _cross(low_a, b)
    return tuple(x + (y + z) for x, y, z in zip(exact, rest, small, strict=True))


def _cross(a, b):
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _normalised(a):
    scale = 1 / jnp.sqrt(_dot(a, a))
    return tuple(x * scale for x in a)


def _unpack(m):
    """The entries of a matrix as arrays of the batch shape, row by row.

    By `split`, whose transpose is one concatenation; that of indexing would be a sum of padded arrays.
    """
    rows, columns = m.shape[-2:]
    flat = m.reshape(*m.shape[:-2], rows * columns)
    entries = [x[..., 0] for x in lax.split(flat, [1] * (rows * columns), axis=flat.ndim - 1)]
    return tuple(tuple(entries[i * columns : (i + 1) * columns]) for i in range(rows))


def _pack(rows):
    """Inverse of `_unpack`."""
    flat = jnp.stack([x for row in rows for x in row], -1)
    return flat.reshape(*flat.shape[:-1], len(rows), len(rows[0]))


def _floating(m, tail, name):
    """The argument in float32 or float64, and the type that the caller gets back; checks its shape."""
    m = jnp.asarray(m)
    if m.shape[-2:] != tail:
        raise InputError(
            f"{name}: the shape must end in {tail}, but it is {m.shape}; give (..., {tail[0]}, {tail[1]})"
        )
    dtype = (
        jnp.result_type(m.dtype, jnp.bfloat16)
        if jnp.issubdtype(m.dtype, jnp.floating)
        else jnp.result_type(float)
    )
    return m.astype(jnp.promote_types(dtype, jnp.float32)), dtype
