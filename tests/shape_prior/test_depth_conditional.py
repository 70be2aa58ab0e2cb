"""The conditional of depths: Gaussian conditioning by brute force, free offsets, hidden points, and what EM finds."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.geometry.rotations import axis_angle_to_matrix
from jnrsfm.shape_prior import ShapeNormal, condition_depths, learn_shape_normal

pytestmark = pytest.mark.fast
P = 6


def normal(seed=0, rank=4):
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((P, 3))
    mean -= mean.mean(0)
    basis = 0.3 * rng.standard_normal((P, 3, rank))
    basis -= basis.mean(0)
    flat = basis.reshape(3 * P, rank)
    return ShapeNormal(mean, flat @ flat.T + 1e-4 * np.eye(3 * P), 0.01), flat


def turns(n, seed=0):
    return np.asarray(
        axis_angle_to_matrix(jnp.asarray(np.random.default_rng(seed).standard_normal((n, 3)) * 2))
    )


def test_it_is_gaussian_conditioning():
    dist, _ = normal()
    rotation = turns(1)[0].astype(np.float64)
    seen = np.array([1, 1, 0, 1, 1, 1.0])
    rng = np.random.default_rng(2)
    points = rng.standard_normal((P, 2))
    with jax.enable_x64(True):
        found = condition_depths(
            dist, jnp.asarray(rotation)[None], jnp.asarray(points)[None], jnp.asarray(seen)[None], 0.05
        )
    turn = np.kron(np.eye(P), rotation)
    full, mean = turn @ dist.covariance @ turn.T, (dist.mean @ rotation.T).reshape(-1)
    z = np.arange(2, 3 * P, 3)
    xy = np.array([3 * p + a for p in range(P) if seen[p] for a in (0, 1)])
    design = np.zeros((len(xy), 2))
    design[np.arange(len(xy)), np.tile([0, 1], len(xy) // 2)] = 1
    inner = full[np.ix_(xy, xy)] + 100.0 * design @ design.T + 0.01**2 * np.eye(len(xy))
    gain = full[np.ix_(z, xy)] @ np.linalg.inv(inner)
    expected = mean[z] + gain @ (points[seen > 0].reshape(-1) - mean[xy])
    np.testing.assert_allclose(found.mean[0], expected, atol=1e-7)
    c = full[np.ix_(z, z)] - gain @ full[np.ix_(xy, z)]
    np.testing.assert_allclose(found.spread[0], np.sqrt(np.diag(c)), atol=1e-7)
    # the quadratic form is the least over the offset
    a = np.linalg.inv(c + 0.05**2 * np.eye(P))
    gap = rng.standard_normal(P)
    offset = (np.ones(P) @ a @ gap) / a.sum()
    least = (gap - offset) @ a @ (gap - offset)
    np.testing.assert_allclose(((np.asarray(found.factor[0]) @ gap) ** 2).sum(), least, rtol=1e-6)
    np.testing.assert_allclose(((np.asarray(found.factor[0]) @ (gap + 3)) ** 2).sum(), least, rtol=1e-6)


def test_hidden_points_never_leak_and_float32_is_finite():
    dist, _ = normal()
    n = 5
    rotation, points = turns(n), np.random.default_rng(0).standard_normal((n, P, 2)).astype(np.float32)
    seen = np.ones((n, P), np.float32)
    seen[0, 2] = seen[1, :5] = seen[2] = 0
    f32 = ShapeNormal(*(jnp.asarray(x, jnp.float32) for x in dist))
    run = jax.jit(condition_depths, static_argnums=4)
    whole = run(f32, rotation, points, seen, 0.05)
    chex.assert_tree_all_finite(whole)
    points[0, 2], points[2] = np.nan, 1e30
    chex.assert_trees_all_equal(whole, run(f32, rotation, points, seen, 0.05))
    # with nothing seen, the conditional is the distribution itself
    assert float(whole.spread[2].mean()) > 2 * float(whole.spread[3].mean())


@pytest.mark.slow
def test_learning_restores_the_variance_that_posterior_means_lack():
    dist, flat = normal(rank=2)
    rng = np.random.default_rng(1)
    n = 400
    rotation = turns(n, 3).astype(np.float64)
    shapes = (dist.mean.reshape(-1) + rng.standard_normal((n, 2)) @ flat.T).reshape(n, P, 3)
    images = np.einsum("fpi,fai->fpa", shapes, rotation[:, :2]) + 0.01 * rng.standard_normal((n, P, 2))
    seen = np.ones((n, P))
    shrunk = dist.mean + 0.3 * (shapes - dist.mean)  # a teacher that hardly deforms
    learned = learn_shape_normal(shrunk, rotation, images, seen, noise=0.01, steps=25)
    true, before = np.trace(dist.covariance), 0.09 * np.trace(flat @ flat.T)
    assert before < 0.15 * true
    assert abs(np.trace(np.asarray(learned.covariance)) / true - 1) < 0.2
    given = condition_depths(learned, *(jnp.asarray(x, jnp.float32) for x in (rotation, images, seen)), 0.05)
    z = np.einsum("fpi,fi->fp", shapes, rotation[:, 2])
    gap = lambda m: np.abs((m - m.mean(1, keepdims=True)) - (z - z.mean(1, keepdims=True))).mean()
    flatter = np.einsum("fpi,fi->fp", shrunk, rotation[:, 2])
    assert gap(np.asarray(given.mean)) < 0.35 * gap(flatter)
