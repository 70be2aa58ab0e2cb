"""Closed form behind `rotations.project_to_so3`: the nearest rotation as the top eigenvector of a 4x4.

With R(q) the rotation of a unit quaternion, tr(R(q)^T M) = q^T N q for Horn's symmetric traceless N(M),
so the nearest rotation is the eigenvector of N for its largest eigenvalue s1 + s2 + s3 (signed singular
values). Everything here works on tuples of equally shaped arrays, one for each matrix entry, so that a
compiler turns the whole into elementwise loops; nothing branches, so it runs the same under `vmap`.

1. The largest root of the characteristic quartic by Laguerre's iteration from above: it never crosses the
   root, and a multiple root only slows it down.
2. adj(lambda I - N), with lambda kept a little above the root, is positive with the wanted vector on top;
   repeated squaring drives out the others where eigenvalues are close.
3. Newton's method on the rotation group for tr(R^T M), first in plain arithmetic, then with the residual
   in about twice the precision: rounding of size eps in the residual alone would be multiplied by s1 / gap.

References: Horn, JOSA A 4(4), 1987 (the quaternion form); Absil, Mahony and Sepulchre, "Optimization
Algorithms on Matrix Manifolds", 2008, ch. 6 (Newton for the Rayleigh quotient, cubic convergence).
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

Scalar = Any  # one array of the batch shape
Rows = tuple[tuple[Scalar, Scalar, Scalar], ...]  # a 3x3 matrix, entry by entry
Vec3 = tuple[Scalar, Scalar, Scalar]
Vec4 = tuple[Scalar, Scalar, Scalar, Scalar]
Sym4 = tuple[Scalar, ...]  # upper triangle of a symmetric 4x4: 00 01 02 03 11 12 13 22 23 33

_LAGUERRE_STEPS = 5  # a triple root, the worst, is neared by a factor of 3 a step
_SQUARINGS = 4  # (overshoot / (overshoot + gap))^16 is what is left of the other eigenvectors


def unit_of(largest: Scalar) -> tuple[Scalar, Scalar]:
    """The power of two u with largest / u in [1, 2), and where `largest` is a normal number; elsewhere u = 1.

    A power of two, as any other unit would round the entries. Exponent arithmetic on the bits. What is
    below the smallest normal number counts as 0: compilers may flush it anyway.
    """
    info = jnp.finfo(largest.dtype)
    ints = {32: jnp.int32, 64: jnp.int64}[info.bits]
    bits = lax.bitcast_convert_type(largest, ints)
    positive = bits >> info.nmant > 0
    unit = lax.bitcast_convert_type((bits >> info.nmant) << info.nmant, largest.dtype)
    return jnp.where(positive, unit, 1.0), positive


def quaternion_rows(q: Vec4) -> Rows:
    """The rotation of a quaternion (w, x, y, z) of any length but 0."""
    w, x, y, z = q
    n = (w * w + x * x + y * y + z * z) / 2
    return (
        (1 - (y * y + z * z) / n, (x * y - w * z) / n, (x * z + w * y) / n),
        ((x * y + w * z) / n, 1 - (x * x + z * z) / n, (y * z - w * x) / n),
        ((x * z - w * y) / n, (y * z + w * x) / n, 1 - (x * x + y * y) / n),
    )


def horn(m: Rows) -> Sym4:
    """Horn's N with tr(R(q)^T M) = q^T N q for unit q."""
    (a, b, c), (d, e, f), (g, h, i) = m
    return (a + e + i, h - f, c - g, d - b, a - e - i, b + d, c + g, e - a - i, f + h, i - a - e)


def transpose_times(a: Rows, b: Rows) -> Rows:
    """a^T b."""
    return tuple(
        tuple(a[0][i] * b[0][j] + a[1][i] * b[1][j] + a[2][i] * b[2][j] for j in range(3)) for i in range(3)
    )  # type: ignore[return-value]


def axial(a: Rows) -> Vec3:
    """The vector of A - A^T: (a21 - a12, a02 - a20, a10 - a01), counted from 0."""
    return (a[2][1] - a[1][2], a[0][2] - a[2][0], a[1][0] - a[0][1])


def norm_of(m: Rows) -> Scalar:
    """Frobenius norm."""
    return jnp.sqrt(sum(x * x for row in m for x in row))


def polar_step(p: Rows, b: Vec3, norm: Scalar, guard) -> Vec3:
    """Solve (tr(P) I - sym(P)) w = b by L D L^T; `guard` maps each pivot, in units of `norm` = |M|.

    No pivoting and no division by a determinant: the first is needless for a positive matrix, and the
    determinant would lose all digits where two of the eigenvalues are small.
    """
    h00, h11, h22 = (p[1][1] + p[2][2]) / norm, (p[0][0] + p[2][2]) / norm, (p[0][0] + p[1][1]) / norm
    half = -2 * norm
    h01, h02, h12 = (p[0][1] + p[1][0]) / half, (p[0][2] + p[2][0]) / half, (p[1][2] + p[2][1]) / half
    b0, b1, b2 = b[0] / norm, b[1] / norm, b[2] / norm
    d0 = guard(h00)
    l10, l20 = h01 / d0, h02 / d0
    d1 = guard(h11 - l10 * h01)
    e = h12 - l10 * h02
    l21 = e / d1
    d2 = guard(h22 - l20 * h02 - l21 * e)
    y1 = b1 - l10 * b0
    z = (b2 - l20 * b0 - l21 * y1) / d2
    y = y1 / d1 - l21 * z
    return (b0 / d0 - l10 * y - l20 * z, y, z)


def nearest_rotation(m: Rows) -> Rows:
    """Nearest rotation of a matrix whose largest entry has magnitude in [1, 2)."""
    norm = norm_of(m)
    bound = _largest_root(m, norm)
    q = _top_eigenvector(horn(m), bound)
    q = _newton(m, norm, q, axial)
    q = _newton(m, norm, q, lambda _: _split_residual(m, q, bound))
    return quaternion_rows(q)


def _largest_root(m: Rows, norm: Scalar) -> Scalar:
    """An upper bound, tight to about sqrt(eps), of the largest eigenvalue of `horn(m)`.

    The characteristic polynomial is (x^2 - a)^2 - 8 det(M) x - 4 k with a = |M|^2, k = |cof M|^2.
    """
    eps = float(jnp.finfo(m[0][0].dtype).eps)
    (a, b, c), (d, e, f), (g, h, i) = m
    c00, c01, c02 = e * i - f * h, f * g - d * i, d * h - e * g
    c10, c11, c12 = c * h - b * i, a * i - c * g, b * g - a * h
    c20, c21, c22 = b * f - c * e, c * d - a * f, a * e - b * d
    det = a * c00 + b * c01 + c * c02
    cof2 = (
        c00 * c00
        + c01 * c01
        + c02 * c02
        + c10 * c10
        + c11 * c11
        + c12 * c12
        + c20 * c20
        + c21 * c21
        + c22 * c22
    )
    # In units of |M|, with d = det M / |M|^3, k = |cof M|^2 / |M|^4: (x^2 - 1)^2 = 8 d x + 4 k, and from
    # above x^2 = 1 + 2 e2, e2 = (s1 s2 + s1 s3 + s2 s3) / |M|^2, e2^2 = k + 2 d x <= 3 k, x <= sqrt(3).
    d, k = det / (norm * norm * norm), cof2 / (norm * norm * norm * norm)
    x = jnp.sqrt(1 + 2 * jnp.sqrt(jnp.minimum(3 * k, k + 2 * 3**0.5 * jnp.maximum(d, 0))))
    # The root of polynomial = tolerance, not 0: rounding must not carry the iterate below the root.
    tolerance = 16 * eps
    for _ in range(_LAGUERRE_STEPS):
        u = x * x - 1
        value = jnp.maximum(u * u - 8 * d * x - 4 * k - tolerance, 0)
        slope = 4 * (x * u - 2 * d)
        bend = 12 * x * x - 4
        root = jnp.sqrt(jnp.maximum(9 * slope * slope - 12 * value * bend, 0))
        x = x - 4 * value / jnp.maximum(slope + root, eps)
    # At an exact double root the adjugate would vanish; the margin keeps it well above rounding.
    return x * norm / (1 - eps**0.5)


def _top_eigenvector(n: Sym4, bound: Scalar) -> Vec4:
    """Eigenvector of N for its largest eigenvalue, which lies a little below `bound`."""
    a = _adjugate(
        (bound - n[0], -n[1], -n[2], -n[3], bound - n[4], -n[5], -n[6], bound - n[7], -n[8], bound - n[9])
    )
    scale = 1 / (a[0] + a[4] + a[7] + a[9])
    a = tuple(x * scale for x in a)
    # A loop and not four copies: a compiler that fuses would recompute one squaring inside the next.
    a = lax.fori_loop(0, _SQUARINGS, lambda _, a: _square(a), a)
    best, q = a[0], (a[0], a[1], a[2], a[3])
    for diagonal, column in (
        (a[4], (a[1], a[4], a[5], a[6])),
        (a[7], (a[2], a[5], a[7], a[8])),
        (a[9], (a[3], a[6], a[8], a[9])),
    ):
        take = diagonal > best
        best = jnp.maximum(best, diagonal)
        q = tuple(lax.select(take, x, y) for x, y in zip(column, q, strict=True))  # type: ignore[assignment]
    return _unit(q)


def _adjugate(b: Sym4) -> Sym4:
    """Adjugate of a symmetric 4x4, from the 2x2 minors of its upper and its lower two rows."""
    b00, b01, b02, b03, b11, b12, b13, b22, b23, b33 = b
    s0, s1, s2 = b00 * b11 - b01 * b01, b00 * b12 - b01 * b02, b00 * b13 - b01 * b03
    s3, s4, s5 = b01 * b12 - b11 * b02, b01 * b13 - b11 * b03, b02 * b13 - b12 * b03
    c1, c2 = b02 * b23 - b03 * b22, b02 * b33 - b03 * b23
    c3, c4, c5 = b12 * b23 - b13 * b22, b12 * b33 - b13 * b23, b22 * b33 - b23 * b23
    return (
        b11 * c5 - b12 * c4 + b13 * c3,
        -b01 * c5 + b02 * c4 - b03 * c3,
        b13 * s5 - b23 * s4 + b33 * s3,
        -b12 * s5 + b22 * s4 - b23 * s3,
        b00 * c5 - b02 * c2 + b03 * c1,
        -b03 * s5 + b23 * s2 - b33 * s1,
        b02 * s5 - b22 * s2 + b23 * s1,
        b03 * s4 - b13 * s2 + b33 * s0,
        -b02 * s4 + b12 * s2 - b23 * s0,
        b02 * s3 - b12 * s1 + b22 * s0,
    )


def _square(a: Sym4) -> Sym4:
    """A A for symmetric A, divided by its trace."""
    a00, a01, a02, a03, a11, a12, a13, a22, a23, a33 = a
    rows = ((a00, a01, a02, a03), (a01, a11, a12, a13), (a02, a12, a22, a23), (a03, a13, a23, a33))
    out = [_dot4(rows[i], rows[j]) for i in range(4) for j in range(i, 4)]
    scale = 1 / (out[0] + out[4] + out[7] + out[9])
    return tuple(x * scale for x in out)


def _newton(m: Rows, norm: Scalar, q: Vec4, residual) -> Vec4:
    """One Newton step for tr(R(q)^T M): (tr(P) I - P) w = axial(P), P = R^T M, then q <- q exp(w).

    Pivots are held above a floor, so that at ambiguous matrices the step is bounded and harmless.
    """
    floor = 16 * float(jnp.finfo(norm.dtype).eps)
    p = transpose_times(quaternion_rows(q), m)
    x, y, z = (v / 2 for v in polar_step(p, residual(p), norm, lambda d: jnp.maximum(d, floor)))
    shrink = 1 / jnp.maximum(1, jnp.sqrt(x * x + y * y + z * z))
    x, y, z = x * shrink, y * shrink, z * shrink
    w0, x0, y0, z0 = q
    return _unit(
        (
            w0 - x0 * x - y0 * y - z0 * z,
            x0 + w0 * x + y0 * z - z0 * y,
            y0 + w0 * y + z0 * x - x0 * z,
            z0 + w0 * z + x0 * y - y0 * x,
        )
    )


def _split_residual(m: Rows, q: Vec4, value: Scalar) -> Vec3:
    """`axial(R(q)^T M)` for unit q in about twice the working precision.

    It is the part orthogonal to q of v = N q - value q, whatever `value` is: the nearer to the eigenvalue,
    the smaller v, so that its own rounding does not matter. M, q and `value` are split into multiples of a
    fixed power of two with half of the digits, and a rest. Sums of products of the former are exact in any
    order, with fused multiplication or without, so no compiler can spoil them. `value` must be the same in
    all components: it is a quotient, which XLA computes once; a trace it would recompute for each of
    them, with other roundings.
    """
    digits = (jnp.finfo(m[0][0].dtype).nmant - 5) // 2  # |N q| < 16, so 2 digits + 1 + 4 bits suffice
    high_m, low_m = zip(*(zip(*(split(x, digits) for x in row), strict=True) for row in m), strict=True)
    high_q, low_q = zip(*(split(x, digits + 1) for x in q), strict=True)
    high_v, low_v = split(value, digits)
    high_n = horn(high_m)
    exact = _times(high_n, high_q)
    rest = _times(high_n, low_q)
    small = _times(horn(low_m), q)
    v = [
        (exact[i] - high_v * high_q[i]) + ((rest[i] - high_v * low_q[i]) + (small[i] - low_v * q[i]))
        for i in range(4)
    ]
    w, x, y, z = q
    return (
        w * v[1] - x * v[0] - y * v[3] + z * v[2],
        w * v[2] - y * v[0] - z * v[1] + x * v[3],
        w * v[3] - z * v[0] - x * v[2] + y * v[1],
    )


def split(x: Scalar, digits: int) -> tuple[Scalar, Scalar]:
    """x = high + low, exactly, with high a multiple of 2^-digits."""
    high = jnp.round(x * 2.0**digits) * 2.0**-digits
    return high, x - high


def _times(n: Sym4, q: Vec4) -> Vec4:
    n00, n01, n02, n03, n11, n12, n13, n22, n23, n33 = n
    return (
        _dot4((n00, n01, n02, n03), q),
        _dot4((n01, n11, n12, n13), q),
        _dot4((n02, n12, n22, n23), q),
        _dot4((n03, n13, n23, n33), q),
    )


def _dot4(a: Vec4, b: Vec4) -> Scalar:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]


def _unit(q: Vec4) -> Vec4:
    n = jnp.sqrt(_dot4(q, q))
    return (q[0] / n, q[1] / n, q[2] / n, q[3] / n)
