"""Metric upgrade: cameras from a motion factor, exact on exact data, and the signs of the cameras."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jnrsfm.factorization import upgrade as mu
from jnrsfm.geometry.polar import polar_factor

F, P, K = 60, 24, 2


def scene(seed, weights):
    """Rotations, images and motion factor of a model with K shape bases."""
    rng = np.random.default_rng(seed)
    r = Rotation.random(F, random_state=seed).as_matrix()
    bases = rng.normal(size=(weights.shape[1], 3, P))
    x = np.einsum("fk,kip->fip", weights, bases)
    x -= x.mean(2, keepdims=True)
    w = np.einsum("fai,fip->fap", r[:, :2], x)
    u, s, _ = np.linalg.svd(w.reshape(2 * F, P), full_matrices=False)
    n = 3 * weights.shape[1]
    return r, w, (u[:, :n] * np.sqrt(s[:n])).reshape(F, 2, n)


def camera_error(found, r):
    """Largest deviation from the true rows after one orthogonal map and one sign for each frame."""
    sign = np.ones(len(r))
    for _ in range(20):
        u, _, vt = np.linalg.svd(np.einsum("f,fai,faj->ij", sign, found, r[:, :2]))
        moved = found @ (u @ vt)
        sign = np.where(np.einsum("fai,fai->f", moved, r[:, :2]) < 0, -1.0, 1.0)
    return np.abs(moved * sign[:, None, None] - r[:, :2]).max()


def weights_with_mean(rng):
    return np.concatenate([np.ones((F, 1)), 0.3 * rng.normal(size=(F, K - 1))], 1)


@pytest.mark.fast
@pytest.mark.first
@pytest.mark.parametrize("scale", ["constant", "free"])
def test_exact_with_a_mean_shape(scale, rng):
    r, w, motion = scene(1, weights_with_mean(rng))
    with jax.enable_x64(True):
        found = mu.metric_upgrade(jnp.asarray(motion), scale)
    rows = polar_factor(np.asarray(found.cameras))
    assert np.asarray(found.residual).max() < 1e-6
    flip, margin = mu.resolve_camera_signs(rows, w)
    rows = rows * np.where(flip, -1, 1)[:, None, None]
    # all signs resolved at once: one orthogonal map and no sign of a frame
    u, _, vt = np.linalg.svd(np.einsum("fai,faj->ij", rows, r[:, :2]))
    assert np.abs(rows @ (u @ vt) - r[:, :2]).max() < 1e-5
    assert margin.min() > 0.2


def test_exact_where_each_frame_has_a_scale_of_its_own(rng):
    """No constant among the weights: only the free constraints hold."""
    size = np.exp(0.5 * rng.normal(size=(F, 1)))
    r, _, motion = scene(2, weights_with_mean(rng) * size)
    with jax.enable_x64(True):
        found = mu.metric_upgrade(jnp.asarray(motion), "free")
    assert np.asarray(found.residual).max() < 1e-6
    assert camera_error(polar_factor(np.asarray(found.cameras)), r) < 1e-5


def test_scale_of_the_factor_and_order_of_frames_do_not_matter(rng):
    _, _, motion = scene(1, weights_with_mean(rng))
    order = rng.permutation(F)
    with jax.enable_x64(True):
        a = np.asarray(mu.metric_upgrade(jnp.asarray(motion), "constant").cameras)
        b = np.asarray(mu.metric_upgrade(jnp.asarray(1e3 * motion[order]), "constant").cameras)
    gram = lambda c: np.einsum("fai,gbi->fgab", c, c)
    np.testing.assert_allclose(gram(b), gram(a[order]), atol=1e-5)


def test_refinement_descends_by_the_gradient_of_its_residual(rng):
    """The stationary point of the noisy problem has no gradient by automatic differentiation."""
    r, w, _ = scene(3, weights_with_mean(rng))
    w = w + 0.02 * rng.normal(size=w.shape)
    u, s, _ = np.linalg.svd(w.reshape(2 * F, P), full_matrices=False)
    motion = (u[:, :6] * np.sqrt(s[:6])).reshape(F, 2, 6)
    with jax.enable_x64(True):
        m = jnp.asarray(motion)
        start = mu.relaxed_corrective(m, "constant")
        end = mu.refine_corrective(m, start, "free")
        cost = lambda g: jnp.sum(mu.orthonormality(m, g) ** 2)
        first, last = float(cost(start)), float(cost(end))
        slope = np.abs(np.asarray(jax.grad(cost)(end))).max() * float(jnp.linalg.norm(end))
    assert last < first
    assert slope < 1e-4 * last
    assert camera_error(polar_factor(np.einsum("fan,ni->fai", motion, np.asarray(end))), r) < 0.2


@pytest.mark.fast
def test_signs_under_random_cameras_with_and_without_order(rng):
    """Cameras more than 90 degrees apart from frame to frame: continuity of rotations would be of no use."""
    r, w, _ = scene(4, weights_with_mean(rng))
    wrong = rng.random(F) < 0.5
    rows = r[:, :2] * np.where(wrong, -1, 1)[:, None, None]
    for sequence in (None, np.zeros(F, int)):
        flip, _ = mu.resolve_camera_signs(rows, w, sequence)
        assert (flip == wrong).all() or (flip != wrong).all()
