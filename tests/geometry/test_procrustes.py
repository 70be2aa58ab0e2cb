"""Procrustes alignments: recovery, optimality against NumPy's SVD, masks, mirrors, gradients."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from jnrsfm.errors import InputError
from jnrsfm.geometry.procrustes import align_orthogonal, align_rigid, align_set, align_similarity, apply

rigid, similarity = jax.jit(align_rigid), jax.jit(align_similarity)
orthogonal = jax.jit(align_orthogonal, static_argnames=("translate", "scale"))
one_for_all = jax.jit(align_set)


def points(seed, batch=(4,), n_points=7):
    """Source, weights, rotation, translation, scale."""
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(int(np.prod(batch)), rng).as_matrix().reshape(*batch, 3, 3)
    source = rng.normal(size=(*batch, n_points, 3)) + 1
    weights = rng.uniform(0.2, 1, (*batch, n_points))
    return source, weights, rotation, rng.normal(size=(*batch, 3)), rng.uniform(0.3, 3, batch)


def move(source, rotation, translation, scale):
    return scale[..., None, None] * source @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]


def kabsch(source, target, weights, mirror=False):
    """The textbook formula, one pair of point sets at a time: rotation and residual."""
    w = weights / weights.sum()
    x, y = source - w @ source, target - w @ target
    u, _, vt = np.linalg.svd((y * w[:, None]).T @ x)
    d = 1.0 if mirror else np.sign(np.linalg.det(u @ vt))
    r = u @ np.diag([1, 1, d]) @ vt
    return r, np.sum(w * ((x @ r.T - y) ** 2).sum(-1))


@pytest.mark.fast
def test_exact_motions_are_recovered(dtype):
    source, weights, rotation, translation, scale = points(0)
    atol = 1e-4 if dtype == np.float32 else 1e-10
    target = move(source, rotation, translation, scale)
    found = similarity(*(x.astype(dtype) for x in (source, target, weights)))
    assert found.rotation.dtype == dtype
    for a, b in zip(found, (rotation, translation, scale), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)
    np.testing.assert_allclose(apply(found, source.astype(dtype)), target, atol=atol)
    found = rigid(*(x.astype(dtype) for x in (source, target / scale[:, None, None], weights)))
    np.testing.assert_allclose(found.rotation, rotation, atol=atol)
    np.testing.assert_array_equal(found.scale, 1)


def test_mirrors_only_where_allowed():
    source, weights, rotation, translation, scale = points(1)
    target = move(source * [1, 1, -1], rotation, translation, np.ones(4))
    with jax.enable_x64(True):
        mirrored = orthogonal(source, target, weights)
        np.testing.assert_allclose(mirrored.rotation, rotation @ np.diag([1, 1, -1]), atol=1e-10)
        np.testing.assert_allclose(apply(mirrored, source), target, atol=1e-10)
        proper = rigid(source, target, weights)
        np.testing.assert_allclose(np.linalg.det(proper.rotation), 1)
        same = orthogonal(source, move(source, rotation, translation, scale), weights, scale=True)
        np.testing.assert_allclose(same.rotation, rotation, atol=1e-10)
        np.testing.assert_allclose(same.scale, scale, atol=1e-10)
        flat = source * [1, 1, 0]  # a mirror would do as well: none is chosen
        still = orthogonal(flat, move(flat, rotation, translation, np.ones(4)), weights)
        np.testing.assert_allclose(np.linalg.det(still.rotation), 1)


def test_against_the_textbook(rng):
    """Unrelated point sets: the hardest case. Rotation and residual as NumPy's SVD has them."""
    source, weights, *_ = points(2)
    target = rng.normal(size=source.shape)
    with jax.enable_x64(True):
        for align, mirror in ((rigid, False), (orthogonal, True)):
            found = align(source, target, weights)
            for i in range(4):
                r, residual = kabsch(source[i], target[i], weights[i], mirror)
                np.testing.assert_allclose(found.rotation[i], r, atol=1e-9)
                left = ((np.asarray(apply(found, source))[i] - target[i]) ** 2).sum(-1)
                np.testing.assert_allclose(np.sum(weights[i] * left) / weights[i].sum(), residual, rtol=1e-9)
        # The scale is a minimum too, along with the translation.
        found = similarity(source, target, weights)

        def cost(s, t):
            moved = move(source, np.asarray(found.rotation), t, s)
            return (weights * ((moved - target) ** 2).sum(-1)).sum(-1)

        s, t = np.asarray(found.scale), np.asarray(found.translation)
        assert np.all(s >= 0)
        for e in (1e-3, -1e-3):
            assert np.all(cost(s, t) <= cost(np.maximum(s + e, 0), t))
            assert np.all(cost(s, t) < cost(s, t + e * rng.normal(size=t.shape)))


def test_without_translation_nothing_is_centred(rng):
    source, weights, *_ = points(3)
    target = rng.normal(size=source.shape)
    with jax.enable_x64(True):
        found = orthogonal(source, target, weights, translate=False)
        np.testing.assert_array_equal(found.translation, 0)
        u, _, vt = np.linalg.svd(np.einsum("fp,fpi,fpj->fij", weights, target, source))
        np.testing.assert_allclose(found.rotation, u @ vt, atol=1e-9)


def test_hidden_points_do_not_matter():
    source, weights, rotation, translation, scale = points(4)
    target = move(source, rotation, translation, scale) + 0.1 * np.sin(np.arange(84).reshape(4, 7, 3))
    source, target, weights = (np.float32(x) for x in (source, target, weights))
    weights[:, 3] = 0
    gradient = jax.jit(jax.grad(lambda x, y: sum(v.sum() for v in align_similarity(x, y, weights)), (0, 1)))
    clean, clean_gradient = similarity(source, target, weights), gradient(source, target)
    source[:, 3], target[:, 3] = np.nan, np.inf
    for a, b in zip(similarity(source, target, weights), clean, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(gradient(source, target), clean_gradient, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[:, 3], 0)


def test_one_matrix_for_a_set(rng):
    """As the published evaluation: the pseudo-inverse map, then U V^T with its determinant left alone."""
    source = rng.normal(size=(4, 7, 3))
    turn = Rotation.random(random_state=0).as_matrix() @ np.diag([1, 1, -1])
    target = source @ turn.T
    noisy = target + 0.3 * rng.normal(size=source.shape)
    with jax.enable_x64(True):
        np.testing.assert_allclose(one_for_all(source, target).rotation, turn, atol=1e-9)
        found = one_for_all(source, noisy)
        u, _, vt = np.linalg.svd((np.linalg.pinv(source.reshape(-1, 3)) @ noisy.reshape(-1, 3)).T)
        np.testing.assert_allclose(found.rotation, u @ vt, atol=1e-9)
        np.testing.assert_allclose(apply(found, source), source @ (u @ vt).T, atol=1e-9)
        assert found.rotation.shape == (3, 3)
        weights = np.ones((4, 7))
        weights[1:3] = 0
        soiled = np.where(weights[..., None] > 0, noisy, np.nan)
        np.testing.assert_allclose(
            one_for_all(source, soiled, weights).rotation,
            one_for_all(source[[0, 3]], noisy[[0, 3]]).rotation,
            atol=1e-9,
        )
        flat = source * [1, 1, 0]
        np.testing.assert_allclose(apply(one_for_all(flat, flat @ turn.T), flat), flat @ turn.T, atol=1e-9)


def test_every_frame_counts_by_its_own_weights(rng):
    """A set of frames weighs every visible point alike, however many its frame has."""
    source, noise = rng.normal(size=(4, 7, 3)), rng.normal(size=(4, 7, 3))
    weights = (rng.random((4, 7)) < 0.6).astype(float)
    with jax.enable_x64(True):
        found = one_for_all(source, source + noise, weights)
        on = weights > 0
        u, _, vt = np.linalg.svd((np.linalg.pinv(source[on]) @ (source + noise)[on]).T)
        np.testing.assert_allclose(found.rotation, u @ vt, atol=1e-9)


def test_gradients():
    source, weights, *_ = points(5)
    target = np.random.default_rng(6).normal(size=source.shape)
    with jax.enable_x64(True):
        data = tuple(jnp.asarray(x) for x in (source, target, weights))
        check_grads(similarity, data, order=1, modes=("rev",))
        gradient = jax.jit(
            jax.grad(lambda *x: (align_orthogonal(*x, scale=True).rotation[:, :2] ** 3).sum(), (0, 1, 2))
        )
        check_grads(gradient, data, order=1, modes=("rev",))
        # Two identical sets, the usual start: singular values may repeat, the gradient must be right.
        check_grads(similarity, (data[0], data[0], data[2]), order=1, modes=("rev",))
        check_grads(one_for_all, data, order=1, modes=("rev",))


def test_degenerate_points_are_finite():
    line = np.linspace(0, 1, 7)[:, None] * [1.0, 2.0, 3.0]
    sets = np.float32(
        np.stack([np.zeros((7, 3)), line, np.ones((7, 3)), np.random.default_rng(0).normal(size=(7, 3))])
    )
    weights = np.ones((4, 7), np.float32)
    for align in (align_rigid, align_similarity, align_orthogonal):
        both = jax.jit(
            jax.value_and_grad(lambda x, y, w, f=align: sum(v.sum() for v in f(x, y, w)), (0, 1, 2))
        )
        for y, w in ((sets[::-1], weights), (sets, weights), (sets, 0 * weights)):
            value, gradients = both(sets, y, w)
            assert np.isfinite(value)
            assert all(np.isfinite(g).all() for g in gradients)
    empty = similarity(sets, sets, 0 * weights)
    np.testing.assert_array_equal(empty.rotation, np.broadcast_to(np.eye(3), (4, 3, 3)))
    np.testing.assert_array_equal(empty.scale, 1)


@pytest.mark.parametrize("size", [1e-15, 1e15])
def test_extreme_scales(size):
    source, weights, rotation, translation, scale = (np.float32(x) for x in points(7))
    target = move(source, rotation, translation, scale)
    reference, found = (
        similarity(source, target, weights),
        similarity(source * np.float32(size), target, weights),
    )
    np.testing.assert_allclose(found.rotation, reference.rotation, atol=1e-5)
    np.testing.assert_allclose(found.scale * np.float32(size), reference.scale, rtol=1e-4)


def test_leading_axes():
    source, weights, rotation, translation, scale = (np.float32(x) for x in points(8))
    target = move(source, rotation, translation, scale) + np.sin(source)
    flat = similarity(source, target, weights)
    stacked = similarity(*(x.reshape(2, 2, *x.shape[1:]) for x in (source, target, weights)))
    mapped = jax.vmap(align_similarity)(source, target, weights)
    for a, b, c in zip(flat, stacked, mapped, strict=True):
        np.testing.assert_allclose(b.reshape(a.shape), a, atol=1e-5)
        np.testing.assert_allclose(c, a, atol=1e-5)


def test_shapes_that_do_not_fit_are_refused():
    """Unwrapped, as the suite's own shape checks would come first."""
    with pytest.raises(InputError, match="one shape"):
        inspect.unwrap(align_rigid)(jnp.ones((5, 3)), jnp.ones((4, 3)))
    with pytest.raises(InputError, match="one for each point"):
        inspect.unwrap(align_set)(jnp.ones((2, 5, 3)), jnp.ones((2, 5, 3)), jnp.ones((5,)))
