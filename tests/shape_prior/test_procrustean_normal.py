"""The Procrustean normal distribution against a dense normal distribution, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.spatial.transform import Rotation

from jnrsfm.shape_prior.procrustean_normal import ProcrusteanNormal

P, K = 6, 3


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def prior(rng):
    return ProcrusteanNormal(
        jnp.asarray(rng.normal(size=(P, 3))), jnp.asarray(0.5 * rng.normal(size=(P, 3, K))), jnp.asarray(0.05)
    )


def dense(prior):
    """Mean and covariance of all coordinates."""
    b = np.asarray(prior.basis).reshape(3 * P, K)
    return np.asarray(prior.mean).reshape(-1), b @ b.T + float(prior.noise) * np.eye(3 * P)


@pytest.mark.fast
def test_log_density(prior, rng):
    mean, cov = dense(prior)
    shapes = rng.normal(size=(2, 4, P, 3))
    expected = scipy.stats.multivariate_normal(mean, cov).logpdf(shapes.reshape(2, 4, -1))
    np.testing.assert_allclose(jax.jit(lambda d, x: d.log_density(x))(prior, shapes), expected, rtol=1e-10)
    mapped = jax.vmap(jax.vmap(prior.log_density))(shapes)
    np.testing.assert_allclose(mapped, expected, rtol=1e-10)
    slope = jax.grad(lambda x: prior.log_density(x))(jnp.asarray(shapes[0, 0])).reshape(-1)
    np.testing.assert_allclose(slope, -np.linalg.solve(cov, shapes[0, 0].reshape(-1) - mean), rtol=1e-9)


@pytest.mark.fast
def test_samples_have_its_moments(prior):
    mean, cov = dense(prior)
    x = np.asarray(prior.sample(jax.random.key(0), (40_000,))).reshape(40_000, -1)
    np.testing.assert_allclose(x.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.06)


@pytest.mark.fast
@pytest.mark.parametrize("translation", [0.0, 3.0])
def test_conditional(prior, rng, translation):
    mean, cov = dense(prior)
    visible = np.array([[1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0.0]])
    rows = np.array([0.8, 1.0, 1.7])[:, None, None] * Rotation.random(3, random_state=0).as_matrix()[:, :2]
    points = rng.normal(size=(3, P, 2))
    points[visible == 0] = np.nan  # must never leak
    found = jax.jit(lambda d, *a: d.conditional(*a, translation=translation))(prior, points, visible, rows)
    for f in range(3):
        pick = np.repeat(visible[f] > 0, 2)
        image = np.kron(np.eye(P), rows[f])[pick]
        shift = translation * np.kron(np.ones((P, 1)), np.eye(2))[pick]
        v = image @ cov @ image.T + shift @ shift.T
        e = points[f].reshape(-1)[pick] - image @ mean
        gain = cov @ image.T @ np.linalg.inv(v) if len(e) else np.zeros((3 * P, 0))
        np.testing.assert_allclose(found.mean[f].reshape(-1), mean + gain @ e, atol=1e-9)
        variance = np.diag(cov - gain @ image @ cov).reshape(P, 3).mean(1)
        np.testing.assert_allclose(found.spread[f], np.sqrt(variance), atol=1e-9)
        expected = scipy.stats.multivariate_normal(np.zeros(len(e)), v).logpdf(e) if len(e) else 0.0
        np.testing.assert_allclose(found.log_likelihood[f], expected, atol=1e-9)
    np.testing.assert_allclose(found.code_cov[2], np.eye(K), atol=1e-12)


def test_fit_raises_the_likelihood_and_finds_the_noise(rng):
    frames, points = 60, 10
    prior = ProcrusteanNormal(
        jnp.asarray(rng.normal(size=(points, 3))), jnp.asarray(0.3 * rng.normal(size=(points, 3, 2))),
        jnp.asarray(1e-4),
    )  # fmt: skip
    shapes = np.asarray(prior.sample(jax.random.key(1), (frames,)))
    shapes = shapes - shapes.mean(1, keepdims=True)
    rows = Rotation.random(frames, random_state=1).as_matrix()[:, :2]
    images = np.einsum("fai,fpi->fap", rows, shapes)
    few, _ = ProcrusteanNormal.fit(images, np.ones((frames, points)), rows, modes=4, steps=2)
    found, state = ProcrusteanNormal.fit(images, np.ones((frames, points)), rows, modes=4, steps=120)
    likelihood = lambda d, r: float(
        d.conditional(images.transpose(0, 2, 1), np.ones((frames, points)), r).log_likelihood.mean()
    )
    assert likelihood(found, np.asarray(state.rows)) > likelihood(few, rows)
    assert 0.3e-4 < float(found.noise) < 3e-4
    error = np.linalg.norm(np.asarray(state.shapes).transpose(0, 2, 1) - shapes) / np.linalg.norm(shapes)
    assert min(error, 2) < 0.2
