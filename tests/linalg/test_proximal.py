"""Proximal maps: optimality, firm nonexpansiveness, derivatives at the kinks, extreme scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.test_util import check_grads

from jnrsfm.linalg.proximal import (
    block_ista_step,
    block_soft_threshold,
    block_sparse_objective,
    log_determinant,
    nuclear_norm,
    singular_value_threshold,
    soft_threshold,
)

bst = jax.jit(block_soft_threshold, static_argnums=2)
svt = jax.jit(singular_value_threshold)
numbers = st.floats(-10, 10, width=32)


def direct_bst(blocks, t):
    norm = np.linalg.norm(blocks, axis=(-2, -1), keepdims=True)
    return np.maximum(0, 1 - t / norm) * blocks


@pytest.mark.fast
def test_block_soft_threshold_by_hand():
    blocks = jnp.array([[[3.0, 0.0], [0.0, 4.0]], [[0.3, 0.0], [0.0, 0.4]], [[0.0, 0.0], [0.0, 0.0]]])
    out = bst(blocks, jnp.array([2.5, 0.6, 0.1]), (-2, -1))
    np.testing.assert_allclose(out[0], 0.5 * blocks[0], rtol=1e-6)
    np.testing.assert_array_equal(out[1:], 0)


def test_layouts_agree(rng, dtype):
    blocks = rng.normal(size=(4, 7, 3, 2)).astype(dtype)  # batch, atom, 3, M
    t = rng.uniform(0.5, 3, 7).astype(dtype)
    expected = direct_bst(blocks, t[:, None, None])
    out = bst(jnp.asarray(blocks), t, (-2, -1))
    assert out.dtype == dtype
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    atom_last = jnp.asarray(np.moveaxis(blocks, 1, -1).reshape(4, 6, 7))
    np.testing.assert_allclose(
        bst(atom_last, t, -2), np.moveaxis(expected, 1, -1).reshape(4, 6, 7), rtol=1e-5, atol=1e-6
    )
    mapped = jax.vmap(block_soft_threshold, in_axes=(0, None))(jnp.asarray(blocks), jnp.asarray(t))
    np.testing.assert_allclose(mapped, expected, rtol=1e-5, atol=1e-6)
    assert (np.linalg.norm(expected, axis=(-2, -1)) == 0).any()  # both cases were met


def test_threshold_of_wrong_rank_is_refused():
    with pytest.raises(ValueError, match="axes"):
        block_soft_threshold(jnp.ones((5, 3, 2)), jnp.ones((5, 5)))


@pytest.mark.fast
@given(v=arrays(np.float64, (2, 3, 2), elements=numbers), t=st.floats(0, 5, width=32))
def test_firmly_nonexpansive(v, t):
    """||P v - P w||^2 <= <P v - P w, v - w>, for all three maps."""
    with jax.enable_x64(True):
        for prox in (soft_threshold, block_soft_threshold, singular_value_threshold):
            a, b = (np.asarray(prox(jnp.asarray(x), jnp.asarray(t))) for x in v)
            assert np.sum((a - b) ** 2) <= np.sum((a - b) * (v[0] - v[1])) + 1e-9


@pytest.mark.parametrize("t", [0.2, 1.0, 4.0])
def test_maps_minimise_their_objective(rng, t):
    """No perturbation has a lower objective, and scipy's minimum of a smoothed one lies beside ours."""
    v = rng.normal(size=(3, 2))
    eps = 1e-6
    cases = [
        (soft_threshold, lambda x, e: np.sqrt(x * x + e).sum()),
        (block_soft_threshold, lambda x, e: np.sqrt((x * x).sum() + e)),
        (
            singular_value_threshold,
            lambda x, e: np.sqrt(np.maximum(np.linalg.eigvalsh(x.T @ x), 0) + e).sum(),
        ),
    ]
    with jax.enable_x64(True):
        for prox, penalty in cases:

            def objective(x, e=0.0, penalty=penalty):
                return 0.5 * np.sum((x.reshape(3, 2) - v) ** 2) + t * penalty(x.reshape(3, 2), e)

            ours = np.asarray(prox(jnp.asarray(v), jnp.asarray(t)))
            value = objective(ours)
            found = scipy.optimize.minimize(objective, 0.5 * v.ravel(), args=(eps,), method="BFGS")
            np.testing.assert_allclose(found.x.reshape(3, 2), ours, atol=5e-3)
            for size in (1e-3, 0.1):
                for step in rng.normal(size=(20, 3, 2)):
                    assert value <= objective(ours + size * step) + 1e-12


def test_gradients_match_finite_differences(rng):
    with jax.enable_x64(True):
        blocks = jnp.asarray(rng.normal(size=(5, 3, 2)))
        t = jnp.asarray([0.1, 0.5, 1.0, 1.5, 9.0])
        check_grads(jax.jit(block_soft_threshold), (blocks, t), order=2, modes=("rev",))
        check_grads(jax.jit(block_soft_threshold), (blocks, t), order=1, modes=("fwd",))
        check_grads(jax.jit(soft_threshold), (blocks, 0.3), order=1, modes=("fwd", "rev"))
        rectangular = jnp.asarray(rng.normal(size=(2, 4, 3)))
        check_grads(svt, (rectangular, jnp.array([0.7, 0.1])), order=2, modes=("rev",))
        check_grads(svt, (rectangular.mT, jnp.array(0.7)), order=1, modes=("rev",))
        check_grads(jax.jit(nuclear_norm), (rectangular,), order=2, modes=("rev",))


def test_gradients_at_the_kinks():
    """Zero blocks, blocks on the threshold and zero thresholds: finite, and as the docs say."""
    blocks = jnp.stack([jnp.zeros((3, 2)), jnp.eye(3)[:, :2], jnp.zeros((3, 2)), jnp.ones((3, 2))])
    t = jnp.array([0.5, np.sqrt(2.0), 0.0, 0.0], jnp.float32)
    grad, grad_t = jax.grad(lambda b, s: block_soft_threshold(b, s).sum(), (0, 1))(blocks, t)
    np.testing.assert_array_equal(grad[0], 0)
    assert np.isfinite(grad).all()
    assert np.isfinite(grad_t).all()
    np.testing.assert_allclose(grad[2:], 1.0)
    second = jax.grad(lambda b: jax.grad(lambda c: block_soft_threshold(c, t).sum())(b).sum())(blocks)
    assert np.isfinite(second).all()


@pytest.mark.parametrize("scale", [1e-15, 1e-7, 1.0, 1e7, 1e15])
def test_extreme_scales_float32(rng, scale):
    """The maps are homogeneous: P(c v; c t) = c P(v; t), and so is their derivative (of degree 0)."""
    v = jnp.asarray(rng.normal(size=(6, 3, 2)), jnp.float32)
    for prox, t in ((block_soft_threshold, 1.5), (singular_value_threshold, 0.9), (soft_threshold, 0.4)):
        grad = jax.jit(jax.grad(lambda x, s, prox=prox: jnp.sum(prox(x, s) * v), (0, 1)))
        t = jnp.float32(t)
        expected = prox(v, t)
        np.testing.assert_allclose(prox(v * scale, t * scale) / scale, expected, rtol=2e-5, atol=2e-6)
        one, other = grad(v, t), grad(v * scale, t * scale)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(nuclear_norm(v * scale) / scale, nuclear_norm(v), rtol=1e-5)
    grads = jax.grad(lambda x: nuclear_norm(x).sum())(v * scale)
    np.testing.assert_allclose(grads, jax.grad(lambda x: nuclear_norm(x).sum())(v), atol=1e-4)


nuclear_gradient = jax.jit(jax.grad(nuclear_norm))
nuclear_hessian = jax.jit(jax.hessian(nuclear_norm))
DEGENERATE = {
    "identity": np.eye(3),
    "zero": np.zeros((3, 3)),
    "rank one": np.outer([1.0, 2.0, 3.0], [1.0, 0.0, -1.0]),
    "equal pair": np.diag([2.0, 1.0, 1.0]),
    "reflection": np.diag([1.0, 1.0, -1.0]),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_singular_value_threshold_at_degenerate_inputs(name):
    """Autodiff of an SVD is NaN at these; ours agrees with finite differences (away from s = t)."""
    with jax.enable_x64(True):
        m = jnp.asarray(DEGENERATE[name])
        check_grads(svt, (m, jnp.asarray(0.3)), order=1, modes=("rev",))
        assert np.isfinite(nuclear_gradient(m)).all()
        assert np.isfinite(nuclear_hessian(m)).all()


@pytest.mark.parametrize("name", ["identity", "equal pair", "reflection"])
def test_nuclear_norm_is_smooth_at_full_rank(name):
    with jax.enable_x64(True):
        check_grads(nuclear_norm, (jnp.asarray(DEGENERATE[name]),), order=2, modes=("rev",))


def test_nuclear_norm_subgradient(rng):
    """At rank 2 of 4 the derivative is U V^T on the support: ||G||_2 = 1, <G, M> = ||M||_*, rank 2."""
    with jax.enable_x64(True):
        m = jnp.asarray(rng.normal(size=(4, 2)) @ rng.normal(size=(2, 5)))
        g = nuclear_gradient(m)
        np.testing.assert_allclose(np.linalg.svd(g, compute_uv=False), [1, 1, 0, 0], atol=1e-12)
        np.testing.assert_allclose(jnp.sum(g * m), nuclear_norm(m), rtol=1e-12)
        np.testing.assert_allclose(nuclear_norm(m), np.linalg.norm(m, "nuc"), rtol=1e-12)


def test_first_ista_step_is_one_layer_of_the_encoder(rng):
    """Eq. 10, in the layout of the first layer and in that of the later ones (D kron I_3)."""
    p, k, m = 9, 5, 2
    d, x = rng.normal(size=(p, k, 3)), rng.normal(size=(4, p, m))
    t = rng.uniform(0.5, 4, k)
    with jax.enable_x64(True):
        code = block_ista_step(jnp.zeros((4, k, 3, m)), jnp.asarray(x), jnp.asarray(d), jnp.asarray(t))
        flat = np.einsum("ij,bim->bjm", d.reshape(p, 3 * k), x).reshape(4, k, 3, m)
        np.testing.assert_allclose(code, direct_bst(flat, t[:, None, None]), atol=1e-12)

        d2 = rng.normal(size=(k, 4))
        lifted = np.kron(d2, np.eye(3)).T @ np.asarray(code).reshape(4, 3 * k, m)
        blocks = jnp.asarray(code).reshape(4, k, 3 * m)
        later = block_ista_step(jnp.zeros((4, 4, 1, 3 * m)), blocks, jnp.asarray(d2)[:, :, None], 0.7)
        expected = direct_bst(lifted.reshape(4, 4, 3, m), 0.7)
        np.testing.assert_allclose(later.reshape(4, 4, 3, m), expected, atol=1e-12)


def test_ista_descends_to_the_minimum(rng):
    p, k, m = 12, 6, 2
    d = jnp.asarray(rng.normal(size=(p, k, 3)), jnp.float32)
    x = jnp.asarray(rng.normal(size=(p, m)), jnp.float32)
    step = 1 / np.linalg.norm(d.reshape(p, 3 * k), 2) ** 2

    @jax.jit
    def run(code):
        def body(code, _):
            new = block_ista_step(code, x, d, 3.0, step)
            return new, block_sparse_objective(new, x, d, 3.0)

        return jax.lax.scan(body, code, length=3000)

    code, values = run(jnp.zeros((k, 3, m)))
    assert np.all(np.diff(values) <= 1e-5)
    assert values[0] > values[-1] + 0.5
    # Optimality: D^T (X - D code) = 3 * unit block where the block is nonzero, of norm <= t where it is zero.
    dual = jnp.einsum("rka,rm->kam", d, x - jnp.einsum("rka,kam->rm", d, code))
    norms, dual_norms = jnp.linalg.norm(code, axis=(1, 2)), jnp.linalg.norm(dual, axis=(1, 2))
    assert (norms == 0).any()
    assert (norms > 0).any()
    assert np.all(dual_norms <= 3 + 1e-3)
    on = norms > 0
    np.testing.assert_allclose(dual[on], 3 * code[on] / norms[on, None, None], atol=2e-3)


def test_objective_gradient_is_finite_at_zero_code(rng):
    d, x = jnp.asarray(rng.normal(size=(4, 3, 3))), jnp.asarray(rng.normal(size=(4, 2)))
    assert np.isfinite(jax.grad(block_sparse_objective)(jnp.zeros((3, 3, 2)), x, d, 0.1)).all()


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (2, 4, 4)])
def test_log_determinant_is_that_of_the_singular_values(shape, rng):
    with jax.enable_x64(True):
        m, epsilon = jnp.asarray(rng.normal(size=shape)), 0.3
        s = np.linalg.svd(m, compute_uv=False)
        expected = 0.5 * np.log1p((s / epsilon) ** 2).sum(-1)
        np.testing.assert_allclose(log_determinant(m, epsilon), expected, rtol=1e-12)
        per_matrix = jnp.full(shape[:-2], epsilon)
        np.testing.assert_allclose(log_determinant(m, per_matrix), expected, rtol=1e-12)
        check_grads(jax.jit(log_determinant), (m, epsilon), order=2, modes=("rev",))


@pytest.mark.fast
@pytest.mark.parametrize("m", [np.zeros((3, 4)), np.eye(3), np.ones((4, 3)), np.diag([2.0, 2.0, 0.0])])
def test_log_determinant_is_smooth_at_equal_and_zero_singular_values(m):
    with jax.enable_x64(True):
        m, epsilon = jnp.asarray(m), 0.1
        u, s, vt = np.linalg.svd(m, full_matrices=False)
        expected = (u * (s / (s**2 + epsilon**2))) @ vt
        np.testing.assert_allclose(jax.grad(log_determinant)(m, epsilon), expected, atol=1e-10)


@pytest.mark.fast
@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5), (2, 3, 6, 4)])
def test_the_gram_route_is_the_same_map_with_the_same_derivative(rng, shape):
    with jax.enable_x64(True):
        m = jnp.asarray(rng.normal(size=shape))
        t = 0.5 * jnp.linalg.norm(m, ord=2, axis=(-2, -1))
        gram = jax.jit(lambda m, t: singular_value_threshold(m, t, route="gram"))
        np.testing.assert_allclose(gram(m, t), svt(m, t), atol=1e-12)
        assert (np.linalg.matrix_rank(gram(m, t), tol=1e-9) < min(shape[-2:])).all()
        pull = lambda route: jax.grad(
            lambda m: (singular_value_threshold(m, t, route=route) ** 2 * jnp.cos(m)).sum()
        )
        np.testing.assert_allclose(pull("gram")(m), pull("svd")(m), atol=1e-10)
        np.testing.assert_array_equal(gram(jnp.zeros(shape), t), 0)
