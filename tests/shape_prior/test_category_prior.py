"""The normal distribution of a category: its conditional against dense algebra, and what it finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.geometry.cameras import project_near
from jnrsfm.geometry.rotations import axis_angle_to_matrix, random_rotations
from jnrsfm.shape_prior import category_prior as cp

P, K, N = 7, 3, 20  # points, modes, images: of one size, so that one program serves all


@pytest.fixture
def prior(rng):
    """One category with random moments and cameras that say nothing."""
    f32 = lambda x: jnp.asarray(x, jnp.float32)
    return cp.Prior(
        f32(rng.normal(size=(1, P, 3))), f32(0.5 * rng.normal(size=(1, P, 3, K))), f32([0.01]), f32([[0, 1, 0]]),
        f32([[0, 1, 0]]), f32([0.0]), f32(np.diag([1, 1, -1.0])[None]),
    )  # fmt: skip


def test_the_conditional_is_that_of_the_normal_distribution(rng, prior):
    """Against the posterior by dense matrices, the translation a Gaussian of unit deviation; a weight is a share of the
    precision."""
    mean, basis, noise = (np.asarray(x[0], np.float64) for x in prior[:3])
    weights = np.array([1, 1, 0, 0.25, 1, 0, 1.0])
    points = rng.normal(size=(P, 2))
    r = np.asarray(random_rotations(jax.random.key(3)), np.float64)
    pick = np.repeat(weights > 0, 2)
    image = np.kron(np.eye(P), r[:2])[pick]
    b = basis.reshape(3 * P, K)
    shift = np.kron(np.ones((P, 1)), np.eye(2))[pick]
    share = np.repeat(weights, 2)[pick]
    cov = image @ b @ b.T @ image.T + shift @ shift.T + noise * np.diag(1 / share)
    e = points.reshape(-1)[pick] - image @ mean.reshape(-1)
    shape = mean.reshape(-1) + b @ b.T @ image.T @ np.linalg.solve(cov, e)
    spread = b @ b.T - b @ b.T @ image.T @ np.linalg.solve(cov, image @ b @ b.T)
    cost = 0.5 * (
        e @ np.linalg.solve(cov, e) + np.linalg.slogdet(cov)[1] + np.log(share).sum()
    )  # but for a constant

    stored = np.where(weights[:, None] > 0, points, 1e3)  # what is stored at a hidden point never matters
    same = [jnp.broadcast_to(jnp.asarray(x, jnp.float32), (N, *x.shape)) for x in (stored, weights, r)]
    found = cp.posterior(prior, same[0], same[1], jnp.zeros(N, jnp.int32), same[2], 0)
    if np.allclose(found.rotation[0], r, atol=1e-5):  # else the depth reflection is the likelier
        np.testing.assert_allclose(found.shape[0].reshape(-1), shape, atol=2e-3)
        np.testing.assert_allclose(-found.log_likelihood[0], cost, rtol=1e-3)
        each = np.sqrt(np.diag(spread).reshape(P, 3).mean(1) + noise)
        np.testing.assert_allclose(found.spread[0], each, atol=2e-3)
    other = jax.tree.map(lambda x: x[0], prior)
    direct = jax.jit(cp._conditional)(other, *(jnp.asarray(x, jnp.float32) for x in (stored, weights, r)))
    np.testing.assert_allclose(direct.cost, cost, rtol=1e-3)
    np.testing.assert_allclose(mean + basis @ direct.code, shape.reshape(P, 3), atol=2e-3)


@pytest.mark.fast
def test_the_gradient_in_a_turn_is_that_of_the_cost(rng, prior):
    with jax.enable_x64(True):
        own = jax.tree.map(lambda x: jnp.asarray(x[0], jnp.float64), prior)
        own = own._replace(side=jnp.asarray([0.6, 0.8, 0]), agreement=jnp.asarray(3.0))
        points = jnp.asarray(rng.normal(size=(P, 2)))
        weights = jnp.asarray([1, 1, 0, 0.3, 1, 0, 1.0])
        r = random_rotations(jax.random.key(3), (), jnp.float64)
        turned = axis_angle_to_matrix(jnp.concatenate([1e-5 * jnp.eye(3), -1e-5 * jnp.eye(3)])) @ r
        seven = jax.tree.map(lambda x: jnp.broadcast_to(x, (7, *x.shape)), (own, points, weights))
        found = jax.jit(cp._conditional)(*seven, jnp.concatenate([turned, r[None]]))
        costs = np.asarray(found.cost)
        np.testing.assert_allclose(found.gradient[6], (costs[:3] - costs[3:6]) / 2e-5, rtol=1e-5)


@pytest.mark.fast
def test_newton_steps_climb_the_likelihood_to_the_true_rotation(rng, prior):
    n = N
    z = rng.normal(size=(n, K))
    shapes = np.asarray(prior.mean[0]) + np.einsum("pik,nk->npi", prior.basis[0], z)
    truth = random_rotations(jax.random.key(0), (n,))
    points = jnp.einsum("npj,nij->npi", shapes, truth[:, :2])
    points = points - points.mean(1, keepdims=True)
    start = axis_angle_to_matrix(0.15 * jax.random.normal(jax.random.key(1), (n, 3))) @ truth
    zero, seen = jnp.zeros(n, jnp.int32), jnp.ones((n, P))
    likelihoods = [
        np.asarray(cp.posterior(prior, points, seen, zero, start, k).log_likelihood) for k in (0, 1, 6)
    ]
    assert (likelihoods[1] >= likelihoods[0] - 1e-3).all()
    assert (likelihoods[2] >= likelihoods[1] - 1e-3).all()
    at_truth = np.asarray(cp.posterior(prior, points, seen, zero, truth, 6).log_likelihood)
    assert np.mean(likelihoods[2] > at_truth - 0.1) > 0.8


@pytest.mark.fast
def test_a_near_camera_tells_the_shape_and_its_reflection(rng, prior):
    """Perspective images of shapes of the distribution's size, each at its own scale, from the wrong depth reflection
    of nearly the right camera."""
    centre = lambda x: x - x.mean(-2, keepdims=True)
    mean = centre(np.asarray(prior.mean[0]))
    moved = centre(np.einsum("pik,nk->npi", prior.basis[0], rng.normal(size=(N, K))))
    # moved so far that their size is the root mean square one of the distribution
    a, b, c = (
        (moved**2).sum((1, 2)),
        (mean * moved).sum((1, 2)),
        np.sum(centre(np.asarray(prior.basis[0]).reshape(P, -1)) ** 2),
    )
    moved *= ((np.sqrt(b**2 + a * c) - b) / a)[:, None, None]
    scale = rng.uniform(0.7, 1.4, (N, 1, 1))
    shapes = jnp.asarray(scale * (mean + moved), jnp.float32)
    truth = random_rotations(jax.random.key(0), (N,))
    near, seen, zero = jnp.full(N, 0.15), jnp.ones((N, P)), jnp.zeros(N, jnp.int32)
    camera = jnp.einsum("npj,nij->npi", shapes, truth)
    points = project_near(camera, seen, near)
    mirror = jnp.diag(jnp.asarray([1.0, 1, -1]))
    start = axis_angle_to_matrix(0.1 * jax.random.normal(jax.random.key(1), (N, 3))) @ truth
    start = mirror @ start @ prior.mirror[0]
    errors = {}
    for name, nearness in (("near", near), ("far", None)):
        found = cp.posterior(prior, points, seen, zero, start, 6, nearness)
        gap = jnp.einsum("npj,nij->npi", found.shape, found.rotation) - camera
        gap = gap - gap.mean(1, keepdims=True)
        errors[name] = np.sqrt(np.mean(np.asarray(gap) ** 2, (1, 2)))
    assert np.median(errors["near"]) < 0.3 * np.median(errors["far"])
    assert np.mean(errors["near"] < 0.2) > 0.7
