r"""Proximal maps: soft threshold, block soft threshold, singular value threshold.

$\operatorname{prox}_{g}(v) = \arg\min_x \tfrac{1}{2}\|x - v\|^2 + g(x)$. Every map here is firmly
nonexpansive for a fixed threshold, and its derivative is given in closed form, so that it stays finite
where naive differentiation divides by a zero norm or by a zero gap of singular values.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

HIGHEST = jax.lax.Precision.HIGHEST  # full float32 products on accelerators too


def soft_threshold(x: Float[ArrayLike, "..."], threshold: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    r"""Proximal map of $t\|x\|_1$: $\operatorname{sign}(x)\,(|x| - t)_+$, elementwise.

    `threshold` >= 0 broadcasts against `x`. At $|x| = t > 0$ the derivative is the one from inside, 0;
    with $t = 0$ the map is the identity, at $x = 0$ too.

    >>> soft_threshold(jnp.array([-2.0, 0.5, 3.0]), 1.0).tolist()
    [-1.0, 0.0, 2.0]
    """
    x, threshold = jnp.asarray(x), jnp.asarray(threshold)
    active = (jnp.abs(x) > threshold) | (threshold == 0)
    return jnp.where(active, x - threshold * jnp.sign(x), 0.0)


def block_soft_threshold(
    blocks: Float[ArrayLike, "..."],
    threshold: Float[ArrayLike, "..."],
    axes: int | Sequence[int] = (-2, -1),
) -> Float[Array, "..."]:
    r"""Proximal map of $\sum_i t_i \|\Pi_i\|_F$: $\mathrm{BST}(\Pi_i; t_i) = (1 - t_i/\|\Pi_i\|_F)_+ \Pi_i$.

    A block is what lies along `axes`; the other axes count blocks. `threshold` broadcasts, in the usual
    way, against the shape of `blocks` with `axes` taken out: (K,) serves both `(*batch, K, 3, M)` with
    the default axes and `(*batch, rows, K)` with `axes=-2`. The second layout, dictionary axis last, is
    the fast one.

    Thresholds are meant to be >= 0. A negative one is not clipped: it lengthens its block by |t|.
    Derivative: 0 for blocks of norm <= t (there the map is zero; on the sphere of norm t it has a kink,
    and this is the derivative from inside), the identity for t = 0 even at a zero block.

    Raises `ValueError` at trace time if the threshold has more axes than there are block axes.
    Reference: Wang et al., Deep NRSfM++, 2020, eq. 9.
    """
    blocks, threshold = jnp.asarray(blocks), jnp.asarray(threshold)
    axes = tuple(a % blocks.ndim for a in ((axes,) if isinstance(axes, int) else axes))
    counted = blocks.ndim - len(axes)
    if threshold.ndim > counted:
        raise ValueError(
            f"threshold has {threshold.ndim} axes, but blocks of shape {blocks.shape} along axes {axes} "
            f"leave {counted} to count the blocks"
        )
    threshold = threshold.reshape((1,) * (counted - threshold.ndim) + threshold.shape)
    return _bst(axes, blocks, jnp.expand_dims(threshold, axes).astype(blocks.dtype))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _inverse_norm(axes, blocks):
    # The floor keeps the inverse finite at a zero block without a second branch: there 1/norm is 1e19 in
    # float32, so any threshold that matters exceeds the norm, and a zero threshold gives the identity.
    squares = jnp.sum(blocks * blocks, axes, keepdims=True)
    return jax.lax.rsqrt(jnp.maximum(squares, jnp.finfo(blocks.dtype).tiny))


@_inverse_norm.defjvp
def _inverse_norm_jvp(axes, primals, tangents):
    (blocks,), (d_blocks,) = primals, tangents
    inverse = _inverse_norm(axes, blocks)
    return inverse, -inverse * jnp.sum((blocks * inverse) * (d_blocks * inverse), axes, keepdims=True)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _bst(axes, blocks, threshold):
    return jnp.maximum(1.0 - threshold * _inverse_norm(axes, blocks), 0.0) * blocks


@_bst.defjvp
def _bst_jvp(axes, primals, tangents):
    (blocks, threshold), (d_blocks, d_threshold) = primals, tangents
    inverse = _inverse_norm(axes, blocks)
    ratio = threshold * inverse
    scale = jnp.maximum(1.0 - ratio, 0.0)
    # Every factor below is bounded (autodiff would form norm**-3, infinite in float32 at norm 1e-15).
    unit = blocks * inverse
    radial = ratio * jnp.sum(unit * d_blocks, axes, keepdims=True) - d_threshold
    return scale * blocks, jnp.where(scale > 0, scale * d_blocks + unit * radial, 0.0)


def block_sparse_objective(
    code: Float[Array, "*batch atom a m"],
    x: Float[Array, "*batch row m"],
    dictionary: Float[Array, "row atom a"],
    threshold: Float[ArrayLike, "..."],
) -> Float[Array, "*batch"]:
    r"""$\tfrac{1}{2}\|X - D\Psi\|_F^2 + \sum_i \lambda_i\|\Pi_i\|_F$, the objective of block sparse coding.

    Shapes as in `block_ista_step`; `threshold` broadcasts against `(*batch, atom)`.
    Reference: Deep NRSfM++ eq. 7, with the half that makes eq. 8 its proximal gradient step.
    """
    residual = x - jnp.einsum("rka,...kam->...rm", dictionary, code, precision=HIGHEST)
    squares = jnp.sum(code * code, (-2, -1))
    norms = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return 0.5 * jnp.sum(residual * residual, (-2, -1)) + jnp.sum(threshold * norms, -1)


def block_ista_step(
    code: Float[Array, "*batch atom a m"],
    x: Float[Array, "*batch row m"],
    dictionary: Float[Array, "row atom a"],
    threshold: Float[ArrayLike, "..."],
    step: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "*batch atom a m"]:
    r"""One proximal gradient (ISTA) step of block sparse coding.

    $$\Psi' = \mathrm{BST}\bigl(\Psi - \alpha D^\top(D\Psi - X);\ \alpha\lambda\bigr)$$

    Atom k has the block `code[..., k, :, :]` of a x m numbers and
    `(D Psi)[r, m] = sum_{k,a} dictionary[r, k, a] code[k, a, m]`.
    First layer of Deep NRSfM++: rows are points, a = 3, m = 2 or 3. A later layer $D \otimes I_3$ is the
    case a = 1, m = 3M: `dictionary[:, :, None]`, the block of each atom in a row.

    From a zero code with step 1 this is $\mathrm{BST}(D^\top X; \lambda)$ (eq. 10), one layer of the
    encoder. It never increases `block_sparse_objective` for $0 < \alpha \le 1/\|D\|_2^2$, where D is read
    as a matrix of rows by (atom, a). Reference: Deep NRSfM++ eq. 8; Beck & Teboulle, SIIMS 2(1), 2009.
    """
    residual = jnp.einsum("rka,...kam->...rm", dictionary, code, precision=HIGHEST) - x
    gradient = jnp.einsum("rka,...rm->...kam", dictionary, residual, precision=HIGHEST)
    return block_soft_threshold(code - step * gradient, step * jnp.asarray(threshold))


def singular_value_threshold(
    m: Float[ArrayLike, "*batch row col"],
    threshold: Float[ArrayLike, "*#batch"],
    *,
    route: Literal["svd", "gram"] = "svd",
) -> Float[Array, "*batch row col"]:
    r"""Proximal map of $t\|M\|_*$: $U(\Sigma - t)_+V^\top$.

    `route` (static) is how singular values are found: by the thin SVD, or by eigenvalues of the smaller Gram matrix
    ("gram"), several times faster for long matrices. Singular values below $\sqrt\epsilon$ of the largest are noise
    in the Gram matrix: the threshold should be well above that, as then they are cut. Derivatives are by the SVD.

    `threshold` >= 0, one for each matrix or one for all. The first derivative is finite and right at
    equal and at zero singular values; at $\sigma_i = t > 0$, where the map has a kink, it is the one
    from below. Second derivatives need distinct singular values.
    Reference: Cai, Candès & Shen, SIAM J. Optim. 20(4), 2010; derivative: Candès, Sing-Long & Trzasko,
    IEEE TSP 61(19), 2013.
    """
    m = jnp.asarray(m)
    threshold = jnp.broadcast_to(jnp.asarray(threshold, m.dtype), m.shape[:-2])
    return _svt(route == "gram", m, threshold)


def _svd(m):
    """Thin SVD, scaled first: solvers differ in how they bear entries near the ends of the float range."""
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(m), (-2, -1), keepdims=True, initial=0.0))
    size = jnp.where(size > 0, size, 1.0)
    u, s, vt = jnp.linalg.svd(m / size, full_matrices=False)
    return u, s * size[..., 0], vt


def _compose(u, s, vt):
    return jnp.matmul(u * s[..., None, :], vt, precision=HIGHEST)


def _spectral_tangent(u, vt, symmetric, skew, outside, dm):
    r"""Tangent of $U f(\Sigma) V^\top$, f odd, from divided differences of f.

    `symmetric[i, j]` = (f_i - f_j)/(s_i - s_j), `skew[i, j]` = (f_i + f_j)/(s_i + s_j), and
    `outside[i]` = f_i/s_i for the part of the tangent outside the row or column space.
    """
    mul = partial(jnp.matmul, precision=HIGHEST)
    inner = mul(mul(u.mT, dm), vt.mT)
    core = 0.5 * (symmetric + skew) * inner + 0.5 * (symmetric - skew) * inner.mT
    left = mul(dm, vt.mT) - mul(u, inner)
    right = mul(u.mT, dm) - mul(inner, vt)
    return (
        mul(mul(u, core), vt) + mul(left * outside[..., None, :], vt) + mul(u * outside[..., None, :], right)
    )


def _divide(a, b, otherwise):
    """a / b where b > 0, else `otherwise`, without a division by zero in any derivative."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), otherwise)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _svt(gram, m, threshold):
    if gram:
        return _svt_gram(m, threshold)
    u, s, vt = _svd(m)
    return _compose(u, jnp.maximum(s - threshold[..., None], 0.0), vt)


def _svt_gram(m, threshold):
    r"""$A V (\Sigma - t)_+ \Sigma^{-1} V^\top$ with $A^\top A = V \Sigma^2 V^\top$, A = M or its transpose."""
    wide = m.shape[-2] < m.shape[-1]
    a = m.mT if wide else m
    values, vectors = jnp.linalg.eigh(jnp.matmul(a.mT, a, precision=HIGHEST))
    s = jnp.sqrt(jnp.maximum(values, jnp.finfo(m.dtype).tiny))
    kept = jnp.maximum(s - threshold[..., None], 0.0) / s
    inner = jnp.matmul(a, vectors * kept[..., None, :], precision=HIGHEST)
    out = jnp.matmul(inner, vectors.mT, precision=HIGHEST)
    return out.mT if wide else out


@_svt.defjvp
def _svt_jvp(gram, primals, tangents):
    (m, threshold), (dm, d_threshold) = primals, tangents
    u, s, vt = _svd(m)
    t = threshold[..., None]
    kept = (s > t) | (t == 0)
    f = jnp.maximum(s - t, 0.0)
    identity = jnp.where(t == 0, 1.0, 0.0)
    ki, kj = kept[..., :, None], kept[..., None, :]
    # Both kept: 1; both dropped: 0; mixed: the gap is at least that to the threshold, so no zero divisor.
    fi, fj, si, sj = f[..., :, None], f[..., None, :], s[..., :, None], s[..., None, :]
    mixed = _divide(jnp.abs(fi - fj), jnp.abs(si - sj), 0.0)
    symmetric = jnp.where(ki & kj, 1.0, jnp.where(ki | kj, mixed, 0.0))
    skew = _divide(fi + fj, si + sj, identity[..., None])
    tangent = _spectral_tangent(u, vt, symmetric, skew, _divide(f, s, identity), dm)
    shrink = _compose(u, jnp.where(kept & (s > 0), 1.0, 0.0) * d_threshold[..., None], vt)
    return _compose(u, f, vt), tangent - shrink


def nuclear_norm(m: Float[ArrayLike, "*batch row col"]) -> Float[Array, "*batch"]:
    r"""Sum of the singular values, $\|M\|_*$.

    Derivative: $UV^\top$ over the singular values above rounding, the subgradient of least norm, finite
    at equal and at zero singular values (autodiff of the SVD is not). Its own derivative is finite too,
    and right where the rank is full.
    """
    return _nuclear_norm(jnp.asarray(m))


@jax.custom_jvp
def _nuclear_norm(m):
    return jnp.sum(_svd(m)[1], -1)


@_nuclear_norm.defjvp
def _nuclear_norm_jvp(primals, tangents):
    (m,), (dm,) = primals, tangents
    return _nuclear_norm(m), jnp.sum(_polar_support(m) * dm, (-2, -1))


def _support(m, s):
    rounding = max(m.shape[-2:]) * jnp.finfo(m.dtype).eps
    return jnp.where(s > rounding * jnp.max(s, -1, keepdims=True, initial=0.0), 1.0, 0.0).astype(m.dtype)


@jax.custom_jvp
def _polar_support(m):
    u, s, vt = _svd(m)
    return _compose(u, _support(m, s), vt)


@_polar_support.defjvp
def _polar_support_jvp(primals, tangents):
    (m,), (dm,) = primals, tangents
    u, s, vt = _svd(m)
    f = _support(m, s)
    fi, fj = f[..., :, None], f[..., None, :]
    skew = _divide(fi + fj, (f * s)[..., :, None] + (f * s)[..., None, :], 0.0)
    outside = _divide(f, f * s, 0.0)
    return _compose(u, f, vt), _spectral_tangent(u, vt, jnp.zeros_like(skew), skew, outside, dm)


def log_determinant(
    m: Float[ArrayLike, "*batch row col"], epsilon: Float[ArrayLike, "*#batch"]
) -> Float[Array, "*batch"]:
    r"""$\tfrac{1}{2}\log\det(I + M^\top M/\epsilon^2) = \sum_i\log(1 + \sigma_i^2/\epsilon^2)/2$, for the rank.

    `epsilon` > 0, one for each matrix or one for all, in the units of M: singular values far below it cost nothing,
    and those far above cost little more when they grow, where the nuclear norm shrinks all alike. By Cholesky
    factorisation of the smaller Gram matrix: smooth, with every derivative finite and right at equal and at zero
    singular values, and many times cheaper than an SVD. In float32 `epsilon` must not be below 1e-3 of the
    largest singular value.
    Reference: Fazel, Hindi & Boyd, ACC 2003.
    """
    m = jnp.asarray(m)
    m = m / jnp.asarray(epsilon, m.dtype)[..., None, None]
    m = m if m.shape[-2] <= m.shape[-1] else m.mT
    gram = jnp.matmul(m, m.mT, precision=HIGHEST)
    factor = jnp.linalg.cholesky(gram + jnp.eye(m.shape[-2], dtype=m.dtype))
    return jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), -1)
