"""Losses by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.losses import bone_asymmetry, reprojection_loss


@pytest.mark.fast
def test_the_loss_of_a_frame_by_hand():
    residual = jnp.array([[[3.0, 4.0], [0.0, 1.0], [100.0, 100.0]], [[0.0, 0.0]] * 3])
    weights = jnp.array([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])
    found = reprojection_loss(residual, weights, 0.0)
    np.testing.assert_allclose(found, [np.sqrt((25 + 0.5) / 1.5), 0], atol=2e-6)
    robust = reprojection_loss(residual, weights, 2.0)
    by_hand = (2 * (np.sqrt(1 + 25 / 4) - 1) + 0.5 * 2 * (np.sqrt(1 + 1 / 4) - 1)) / 1.5
    np.testing.assert_allclose(robust, [by_hand, 0], rtol=1e-5, atol=1e-6)
    for delta in (0.0, 2.0):  # a perfect fit must not make the gradient NaN
        grad = jax.grad(lambda r, d=delta: reprojection_loss(r, weights, d).sum())(residual)
        assert np.isfinite(grad).all()


@pytest.mark.fast
def test_bone_asymmetry_by_hand():
    shape = jnp.array([[[0.0, 0, 0], [2, 0, 0], [0, 0, 0], [0, 3, 0]]])
    edges = np.array([[0, 1], [2, 3]])
    found = bone_asymmetry(shape, edges, np.array([[0, 1]]))
    assert float(found) == pytest.approx(1 / 2.5)
    assert float(bone_asymmetry(shape * 7, edges, np.array([[0, 1]]))) == pytest.approx(1 / 2.5)
