"""The DCT basis: orthonormal, scipy's, exactly invertible, compact for smooth motion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jnrsfm.geometry.trajectory import dct_basis, dct_displacement_basis, from_trajectory, to_trajectory


@pytest.mark.fast
@settings(max_examples=10)
@given(n=st.sampled_from([1, 2, 7]), data=st.data())
def test_laws(n, data):
    """Orthonormal; coefficients as scipy's; projection idempotent, linear, and exact with all columns."""
    k = data.draw(st.sampled_from(sorted({0, 1, n // 2, n})))
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(2, n, 3))
    with jax.enable_x64(True):
        basis = dct_basis(n, k, jnp.float64)
        assert basis.shape == (n, k)
        np.testing.assert_allclose(basis.T @ basis, np.eye(k), atol=1e-12)
        a = from_trajectory(x, basis)
        np.testing.assert_allclose(a, scipy.fft.dct(x, axis=0, norm="ortho")[:k], atol=1e-12)
        smooth = to_trajectory(a, basis)
        np.testing.assert_allclose(from_trajectory(smooth, basis), a, atol=1e-12)
        np.testing.assert_allclose(
            from_trajectory(2 * x - y, basis), 2 * a - from_trajectory(y, basis), atol=1e-12
        )
        # Parseval: the residual is orthogonal to the fit.
        np.testing.assert_allclose(np.sum((x - smooth) ** 2), np.sum(x**2) - np.sum(a**2), atol=1e-10)
        if k == n:
            np.testing.assert_allclose(smooth, x, atol=1e-12)


def test_batches_and_precision(rng, dtype):
    x = rng.normal(size=(2, 4, 30, 5)).astype(dtype)
    basis = dct_basis(30, 30, dtype)
    assert basis.dtype == dtype
    back = jax.jit(to_trajectory)(jax.jit(from_trajectory)(x, basis), basis)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, x, atol=50 * np.finfo(dtype).eps)
    mapped = jax.vmap(from_trajectory, in_axes=(0, None))(x, basis)
    np.testing.assert_allclose(mapped, from_trajectory(x, basis), atol=50 * np.finfo(dtype).eps)


def test_long_sequences_stay_orthonormal():
    """Angles of 1e12 would be noise in float32; two columns at both ends of a long basis."""
    basis = np.asarray(dct_basis(100_000, 12))[:, [0, 1, 11]]
    np.testing.assert_allclose(basis.T.astype(np.float64) @ basis, np.eye(3), atol=1e-5)


def test_smooth_motion_is_compact(rng):
    t = np.linspace(0, 1, 200)
    smooth = np.stack([np.sin(2 * np.pi * t), t**2, np.cos(3 * t)], -1).astype(np.float32)
    noise = rng.normal(size=smooth.shape).astype(np.float32)

    def error(x, k):
        basis = dct_basis(len(x), k)
        return np.linalg.norm(to_trajectory(from_trajectory(x, basis), basis) - x) / np.linalg.norm(x)

    assert error(smooth, 24) < 0.01
    assert error(noise, 24) > 0.9
    errors = [error(smooth, k) for k in (1, 3, 6, 12, 24)]
    assert np.all(np.diff(errors) < 0)


def test_displacements_agree_with_the_full_basis(rng):
    with jax.enable_x64(True):
        full, moving = dct_basis(20, 8, jnp.float64), dct_displacement_basis(20, 7, jnp.float64)
        np.testing.assert_allclose(moving, full[:, 1:], atol=1e-14)
        t, k = 3, 5
        np.testing.assert_allclose(moving[t, k - 1], np.sqrt(2 / 20) * np.cos(np.pi / 40 * (2 * t + 1) * k))
        a = rng.normal(size=(8, 3))
        x = to_trajectory(a, full)
        np.testing.assert_allclose((moving[11] - moving[2]) @ a[1:], x[11] - x[2], atol=1e-12)
        # Without the constant, a trajectory sums to zero over the whole clip.
        np.testing.assert_allclose(moving.sum(0), 0, atol=1e-12)


def test_gradients(rng):
    with jax.enable_x64(True):
        basis = dct_basis(9, 4, jnp.float64)
        x = jnp.asarray(rng.normal(size=(9, 3)))
        check_grads(jax.jit(lambda v: to_trajectory(from_trajectory(v, basis), basis)), (x,), order=2)


@pytest.mark.parametrize(
    ("make", "n", "k"),
    [(dct_basis, 5, 6), (dct_basis, 0, 0), (dct_basis, 5, -1), (dct_displacement_basis, 5, 5)],
)
def test_too_many_columns_are_refused(make, n, k):
    with pytest.raises(ValueError, match="n_basis"):
        make(n, k)
