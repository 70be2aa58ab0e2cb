"""Object-centric normalisation: the bilinear equations are exact, whatever is hidden, for both cameras."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from jnrsfm.geometry import normalization


class norm:
    """The functions under test, jitted: as users call them."""

    measure_weak = jax.jit(normalization.measure_weak)
    measure_perspective = jax.jit(normalization.measure_perspective)
    reproject_weak = jax.jit(normalization.reproject_weak)
    reproject_perspective = jax.jit(normalization.reproject_perspective)
    adjoint_weak = jax.jit(normalization.adjoint_weak)
    adjoint_perspective = jax.jit(normalization.adjoint_perspective)
    translation_weak = jax.jit(normalization.translation_weak)
    translation_perspective = jax.jit(normalization.translation_perspective)
    dictionary_weak = jax.jit(normalization.dictionary_weak)
    dictionary_perspective = jax.jit(normalization.dictionary_perspective)


N, P, K = 5, 8, 4


def sample(seed, fractional=False, lead=(N,)):
    """Exact data of centred shapes `D C`: dictionary, code, camera-frame shape, t, rays, plane points, weights."""
    rng = np.random.default_rng(seed)
    dictionary = rng.normal(size=(P, K))
    dictionary -= dictionary.mean(0)  # so every shape is centred on the mean of all its points
    rotation = Rotation.random(int(np.prod(lead)), rng).as_matrix().reshape(*lead, 3, 3)
    code = rng.normal(size=(*lead, K, 3)) @ np.swapaxes(rotation, -1, -2)  # the block code phi R^T
    shape = dictionary @ code
    t = rng.normal((0, 0, 12), size=(*lead, 3))
    rays = (shape + t[..., None, :])[..., :2] / (shape + t[..., None, :])[..., 2:]
    weights = (rng.random((*lead, P)) < 0.6).astype(float)
    weights[..., 0] = 1  # at least one point is seen
    if fractional:
        weights = weights * rng.uniform(0.1, 1, weights.shape)
    return dictionary, code, shape, t, rays, shape[..., :2] + t[..., None, :2], weights


def masked(weights, values):
    return np.asarray(values) * (weights > 0)[..., None]


@pytest.mark.fast
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), fractional=st.booleans())
def test_bilinear_equations_are_exact(seed, fractional):
    _, _, shape, t, rays, plane, weights = sample(seed, fractional)
    with jax.enable_x64(True):
        weak = norm.measure_weak(plane, weights) - norm.reproject_weak(shape[..., :2], weights)
        np.testing.assert_allclose(masked(weights, weak), 0, atol=1e-11)
        perspective = norm.measure_perspective(rays, weights, t[..., 2])
        perspective = perspective - norm.reproject_perspective(shape, rays, weights)
        np.testing.assert_allclose(masked(weights, perspective), 0, atol=1e-11)
        # Perspective differs from weak perspective on the same rays: the equations are not trivially one.
        wrong = norm.measure_perspective(rays, weights, t[..., 2]) - norm.reproject_weak(
            shape[..., :2], weights
        )
        assert weights[0].astype(bool).sum() < 2 or np.abs(masked(weights, wrong)).max() > 1e-4


def test_float32_is_exact_to_rounding():
    _, _, shape, t, rays, plane, weights = (np.float32(x) for x in sample(1))
    weak = norm.measure_weak(plane, weights) - norm.reproject_weak(shape[..., :2], weights)
    np.testing.assert_allclose(masked(weights, weak), 0, atol=3e-5)
    perspective = norm.measure_perspective(rays, weights, t[..., 2])
    perspective = perspective - norm.reproject_perspective(shape, rays, weights)
    np.testing.assert_allclose(masked(weights, perspective), 0, atol=1e-4)


@pytest.mark.parametrize("fractional", [False, True])
def test_translations_are_recovered(fractional):
    _, _, shape, t, rays, plane, weights = sample(2, fractional)
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            norm.translation_weak(shape[..., :2], plane, weights), t[..., :2], atol=1e-11
        )
        np.testing.assert_allclose(
            norm.translation_perspective(shape, rays, weights, t[..., 2]), t, atol=1e-11
        )


def test_dictionaries_by_the_printed_equations():
    """Eq. 21 and 29, entry by entry in loops, with 1 / P~ and the plain d in the depth column."""
    dictionary, _, _, _, rays, _, weights = sample(3)
    d, m, u = dictionary, weights[0], rays[0]
    count = m.sum()
    corrected = np.array([d[i] + sum((1 - m[j]) * d[j] for j in range(P)) / count for i in range(P)])
    mean = [sum(m[j] * u[j, c] * d[j] for j in range(P)) / count for c in range(2)]
    rows = np.zeros((P, 2, 3 * K))
    for i in range(P):
        for c in range(2):
            rows[i, c, c * K : (c + 1) * K] = corrected[i]
            rows[i, c, 2 * K :] = -u[i, c] * d[i] + mean[c]
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            norm.dictionary_weak(jnp.asarray(d), jnp.asarray(m)), corrected, atol=1e-12
        )
        dense = norm.dictionary_perspective(jnp.asarray(d), jnp.asarray(u), jnp.asarray(m))
        np.testing.assert_allclose(dense[m > 0], rows[m > 0], atol=1e-12)


@pytest.mark.parametrize("fractional", [False, True])
def test_structure_replaces_the_dense_dictionary(fractional):
    """`reproject` is `D~ Psi` and `adjoint` is `(M D~)^T w~`, without `D~`."""
    dictionary, code, shape, t, rays, plane, weights = sample(4, fractional)
    with jax.enable_x64(True):
        dense = np.asarray(norm.dictionary_weak(jnp.asarray(dictionary), jnp.asarray(weights)))
        np.testing.assert_allclose(
            norm.reproject_weak(shape[..., :2], weights), dense @ code[..., :2], atol=1e-11
        )
        measured = norm.measure_weak(plane, weights)
        full = np.einsum("np,npk,npc->nck", weights, dense, measured)
        np.testing.assert_allclose(norm.adjoint_weak(measured, weights) @ dictionary, full, atol=1e-11)

        dense = np.asarray(norm.dictionary_perspective(*map(jnp.asarray, (dictionary, rays, weights))))
        columns = np.swapaxes(code, -1, -2).reshape(N, 3 * K)
        product = np.einsum("npck,nk->npc", dense, columns)
        direct = norm.reproject_perspective(shape, rays, weights)
        np.testing.assert_allclose(masked(weights, direct), masked(weights, product), atol=1e-11)
        measured = norm.measure_perspective(rays, weights, t[..., 2])
        full = np.einsum("np,npck,npc->nk", weights, dense, measured).reshape(N, 3, K)
        np.testing.assert_allclose(
            norm.adjoint_perspective(measured, rays, weights) @ dictionary, full, atol=1e-11
        )


def test_measurements_do_not_feel_the_translation_or_hidden_points():
    _, _, shape, t, rays, plane, weights = (np.float32(x) for x in sample(5))
    hidden = weights == 0
    assert hidden.any()
    soiled_plane, soiled_rays = plane.copy(), rays.copy()
    soiled_plane[hidden], soiled_rays[hidden] = np.nan, np.inf
    for f, clean, soiled in (
        (lambda x: norm.measure_weak(x, weights), plane, soiled_plane),
        (lambda x: norm.measure_perspective(x, weights, t[..., 2]), rays, soiled_rays),
        (lambda x: norm.translation_weak(shape[..., :2], x, weights), plane, soiled_plane),
        (lambda x: norm.translation_perspective(shape, x, weights, t[..., 2]), rays, soiled_rays),
    ):
        np.testing.assert_array_equal(f(soiled), f(clean))
        gradient = jax.grad(lambda x, f=f: jnp.sum(jnp.sin(f(x))))(soiled)
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[hidden], 0)
    np.testing.assert_array_equal(np.asarray(norm.measure_weak(soiled_plane, weights))[hidden], 0)
    np.testing.assert_allclose(
        norm.measure_weak(plane + np.float32([3, -2]), weights), norm.measure_weak(plane, weights), atol=1e-5
    )


def test_nothing_seen_is_finite():
    _, _, shape, t, rays, plane, weights = (np.float32(x) for x in sample(6))
    none = 0 * weights
    np.testing.assert_array_equal(norm.measure_weak(plane, none), 0)
    np.testing.assert_array_equal(norm.measure_perspective(rays, none, t[..., 2]), 0)
    np.testing.assert_array_equal(norm.translation_weak(shape[..., :2], plane, none), 0)
    np.testing.assert_array_equal(norm.adjoint_perspective(0 * rays, rays, none), 0)


def test_leading_axes_and_transformations():
    parts = [np.float32(x) for x in sample(7, lead=(2, 3))]
    _, _, shape, _, rays, _, weights = parts
    many = norm.reproject_perspective(shape, rays, weights)
    mapped = jax.vmap(jax.vmap(normalization.reproject_perspective))(shape, rays, weights)
    np.testing.assert_allclose(many, mapped, atol=1e-5)
    np.testing.assert_allclose(
        many[1, 2], norm.reproject_perspective(shape[1, 2], rays[1, 2], weights[1, 2]), atol=1e-5
    )


def test_gradients():
    _, _, shape, t, rays, _, weights = sample(8, fractional=True)
    with jax.enable_x64(True):
        weights = jnp.asarray(weights)

        def residual(shape, rays, depth):
            measured = normalization.measure_perspective(rays, weights, depth)
            return measured - normalization.reproject_perspective(shape, rays, weights)

        data = tuple(jnp.asarray(x) for x in (shape, rays, t[..., 2]))
        check_grads(jax.jit(residual), data, order=2, modes=("rev",))


def test_a_nan_ray_at_a_hidden_point_meets_the_perspective_equations():
    _, _, shape, t, rays, _, weights = (np.float32(x) for x in sample(5))
    soiled = rays.copy()
    soiled[weights == 0] = np.nan
    measured = norm.measure_perspective(rays, weights, t[..., 2])
    pull = jax.jit(
        jax.grad(lambda s, r: (weights[..., None] * normalization.reproject_perspective(s, r, weights)).sum())
    )
    for f in (
        lambda r: norm.reproject_perspective(shape, r, weights),  # its value at hidden points too
        lambda r: norm.adjoint_perspective(measured, r, weights),
        lambda r: pull(shape, r),
    ):
        assert np.isfinite(f(rays)).all()
        np.testing.assert_array_equal(f(soiled), f(rays))


def test_numpy_arrays_will_do():
    """The typed interface takes them, outside of `jit` too; so do the dense dictionaries."""
    dictionary, _, shape, t, rays, plane, weights = (np.float32(x) for x in sample(6))
    for name, arguments in {
        "measure_weak": (plane, weights),
        "measure_perspective": (rays, weights, t[..., 2]),
        "reproject_weak": (shape[..., :2], weights),
        "reproject_perspective": (shape, rays, weights),
        "adjoint_weak": (plane, weights),
        "adjoint_perspective": (plane, rays, weights),
        "translation_weak": (shape[..., :2], plane, weights),
        "translation_perspective": (shape, rays, weights, t[..., 2]),
        "dictionary_weak": (dictionary, weights),
        "dictionary_perspective": (dictionary, rays, weights),
    }.items():
        np.testing.assert_allclose(
            getattr(normalization, name)(*arguments), getattr(norm, name)(*arguments), rtol=1e-4, atol=1e-5
        )
