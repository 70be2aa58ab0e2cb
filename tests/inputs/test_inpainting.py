"""Hidden points filled in: the conditional mean of a normal distribution, whatever the mask."""

import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.inputs.inpainting import fill_hidden, landmark_covariance

POINTS, FRAMES, RANK = 9, 800, 3


@pytest.fixture(scope="module")
def sample():
    """Low-rank coordinates with a little noise, a third of them hidden."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(POINTS, RANK))
    points = np.einsum("pk,fki->fpi", mixing, rng.normal(size=(FRAMES, RANK, 2)))
    points = (points + 0.01 * rng.normal(size=points.shape)).astype(np.float32)
    weights = (rng.random((FRAMES, POINTS)) > 0.33).astype(np.float32)
    return points, weights, mixing @ mixing.T + 1e-4 * np.eye(POINTS)


@pytest.mark.fast
def test_fill_is_the_conditional_mean(sample):
    points, weights, covariance = sample
    seen = np.where(weights[..., None] > 0, points, 0)
    filled = np.asarray(fill_hidden(seen, weights, jnp.asarray(covariance, jnp.float32)))
    ridge = 1e-3 * np.trace(covariance) / POINTS
    for f in range(5):
        v = weights[f] > 0
        system = covariance[np.ix_(v, v)] + ridge * np.eye(v.sum())
        expected = covariance[np.ix_(~v, v)] @ np.linalg.solve(system, points[f, v])
        np.testing.assert_allclose(filled[f, ~v], expected, atol=2e-3)
        np.testing.assert_array_equal(filled[f, v], points[f, v])


@pytest.mark.fast
def test_covariance_from_incomplete_samples(sample):
    points, weights, covariance = sample
    found = np.asarray(landmark_covariance(np.where(weights[..., None] > 0, points, 0), weights))
    assert np.linalg.norm(found - covariance) < 0.1 * np.linalg.norm(covariance)
    # Pairwise sums over what happens to be seen, the naive estimate, would not be positive definite.
    assert np.linalg.eigvalsh(found).min() > -1e-3


@pytest.mark.fast
def test_hidden_values_never_leak(sample):
    points, weights, _ = sample
    seen = np.where(weights[..., None] > 0, points, 0)
    other = np.where(weights[..., None] > 0, points, 1e6).astype(np.float32)
    first, second = (landmark_covariance(p, weights) for p in (seen, other))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(fill_hidden(seen, weights, first), fill_hidden(other, weights, first))


@pytest.mark.fast
def test_points_never_seen_together_stay_apart():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(200, 6, 2)).astype(np.float32)
    weights = np.zeros((200, 6), np.float32)
    weights[:100, :3] = weights[100:, 3:] = 1
    covariance = np.asarray(landmark_covariance(np.where(weights[..., None] > 0, points, 0), weights))
    np.testing.assert_allclose(covariance[:3, 3:], 0, atol=1e-6)
