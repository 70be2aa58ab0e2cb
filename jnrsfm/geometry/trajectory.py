r"""The DCT trajectory basis: smooth motion as a few cosine coefficients.

A trajectory is an array over frames, on axis -2, of D coordinates (or of any other columns); its
coefficients are the inner products with the columns of a basis of frame by basis numbers. Only the time
index matters, so there are no units of time. Reference: Akhter, Sheikh, Khan & Kanade, NIPS 2008.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

HIGHEST = jax.lax.Precision.HIGHEST  # full float32 products on accelerators too


def _cosines(n_frames: int, ks: np.ndarray) -> np.ndarray:
    """`cos(pi (2t + 1) k / (2T))`, (frame, k), in float64 on the host whatever the precision asked for."""
    # The angle is reduced while it is an integer: (2t + 1) k reaches 2e12 at a million frames.
    index = (2 * np.arange(n_frames, dtype=np.int64)[:, None] + 1) * ks[None, :] % (4 * n_frames)
    return np.cos(np.pi / (2 * n_frames) * index)


def _check(n_frames: int, n_basis: int, most: int) -> None:
    if n_frames < 1 or not 0 <= n_basis <= most:
        raise ValueError(f"n_basis must be from 0 to {most} for {n_frames} frames, got {n_basis}")


def dct_basis(n_frames: int, n_basis: int, dtype=jnp.float32) -> Float[Array, "frame basis"]:
    r"""Orthonormal DCT-II basis, slowest first, column 0 the constant.

    $$\Theta_{tk} = c_k \cos\frac{\pi(2t+1)k}{2F},\qquad c_0 = \sqrt{1/F},\ c_k = \sqrt{2/F},\qquad
      \Theta^\top\Theta = I.$$

    `n_frames` F and `n_basis` K <= F are static. The coefficients $\Theta^\top x$ are the first K of
    `scipy.fft.dct(x, norm="ortho")`. Raises `ValueError` unless 0 <= K <= F.

    >>> basis = np.asarray(dct_basis(4, 2))
    >>> basis[:, 0].tolist()  # the constant
    [0.5, 0.5, 0.5, 0.5]
    >>> np.abs(basis.T @ basis - np.eye(2)).max() < 1e-6
    np.True_
    """
    _check(n_frames, n_basis, n_frames)
    basis = np.sqrt(2.0 / n_frames) * _cosines(n_frames, np.arange(n_basis))
    basis[:, :1] = np.sqrt(1.0 / n_frames)
    return jnp.asarray(basis, dtype)


def dct_displacement_basis(n_times: int, n_basis: int, dtype=jnp.float32) -> Float[Array, "frame basis"]:
    r"""The DCT basis without its constant: $\sqrt{2/T}\cos\frac{\pi(2t+1)k}{2T}$, k = 1..K.

    For motion relative to a moving point, where only displacements between two times have a meaning:
    a trajectory moves by `(basis[t1] - basis[t0]) @ coefficients`. Columns 1..K of `dct_basis`.
    Raises `ValueError` unless 0 <= K <= T - 1. Reference: Wang's thesis, eq. 6.3.
    """
    _check(n_times, n_basis, n_times - 1)
    return jnp.asarray(np.sqrt(2.0 / n_times) * _cosines(n_times, np.arange(1, n_basis + 1)), dtype)


def dct_displacements_at(
    times: Float[ArrayLike, "*batch"], n_times: int, n_basis: int
) -> Float[Array, "*batch basis"]:
    r"""Of `dct_displacement_basis` at any times, whole numbers being frames: $\sqrt{2/T}\cos\frac{\pi(2t+1)k}{2T}$.

    Between frames it is the same cosines, and so beyond the first and last one. Differentiable in `times`. Raises
    `ValueError` unless 0 <= K <= T - 1.
    """
    _check(n_times, n_basis, n_times - 1)
    ks = jnp.arange(1, n_basis + 1)
    angle = jnp.pi / (2 * n_times) * (2 * jnp.asarray(times)[..., None] + 1) * ks
    return jnp.sqrt(2.0 / n_times) * jnp.cos(angle)


def from_trajectory(
    trajectory: Float[ArrayLike, "*batch frame d"], basis: Float[ArrayLike, "frame basis"]
) -> Float[Array, "*batch basis d"]:
    r"""Coefficients $\Theta^\top x$: the projection onto the span of an orthonormal `basis`.

    The least-squares fit of the trajectory; exact when it lies in the span (always, with F columns).
    """
    return jnp.einsum("fk,...fd->...kd", jnp.asarray(basis), jnp.asarray(trajectory), precision=HIGHEST)


def to_trajectory(
    coefficients: Float[ArrayLike, "*batch basis d"], basis: Float[ArrayLike, "frame basis"]
) -> Float[Array, "*batch frame d"]:
    r"""Trajectory $\Theta a$ of coefficients: the right inverse of `from_trajectory`."""
    return jnp.einsum("fk,...kd->...fd", jnp.asarray(basis), jnp.asarray(coefficients), precision=HIGHEST)
