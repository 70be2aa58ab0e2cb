"""Rotations: laws, NumPy and SciPy oracles, derivatives, and the accuracy promised in float32."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from jnrsfm.geometry import rotations as rot

so3 = jax.jit(rot.project_to_so3)
stiefel = jax.jit(rot.project_to_stiefel)
EYE = np.eye(3)


def nearest_rotation(m):
    """Float64 oracle by SVD: the rotation, and the gap of the two smallest signed singular values."""
    u, s, vt = np.linalg.svd(np.asarray(m, np.float64))
    sign = np.sign(np.linalg.det(u @ vt))
    u[..., :, 2] *= sign[..., None]
    return u @ vt, (s[..., 1] + sign * s[..., 2]) / s[..., 0]


def haar(seed, n):
    return Rotation.random(n, rng=np.random.default_rng(seed)).as_matrix()


def with_singular_values(values, n, seed=0):
    """Matrices U diag(values) V^T with random proper U and V; `values` are signed."""
    return haar(seed, n) * np.asarray(values) @ haar(seed + 1, n)


def assert_rotations(r, tol):
    r = np.asarray(r, np.float64)
    np.testing.assert_allclose(np.swapaxes(r, -1, -2) @ r, np.broadcast_to(EYE, r.shape), atol=tol)
    np.testing.assert_allclose(np.linalg.det(r), 1.0, atol=3 * tol)


def tolerance(dtype):
    return 2e-6 if dtype == np.float32 else 1e-14


# --- the nearest rotation ---------------------------------------------------------------------------------


@pytest.mark.fast
def test_so3_accuracy_of_1e5_random_float32_matrices(rng):
    """The promise: 1e-5 against float64 wherever the gap is above 1e-3 of the largest singular value."""
    m = rng.normal(size=(100_000, 3, 3)).astype(np.float32)
    expected, gap = nearest_rotation(m)
    r = so3(m)
    error = np.abs(np.asarray(r) - expected).max((-1, -2))
    assert (gap > 1e-3).sum() > 99_990
    assert error[gap > 1e-3].max() < 2e-6
    assert_rotations(r, 2e-6)


@pytest.mark.parametrize(
    "values",
    [
        (1, 1, 1),
        (1, 1, 0.3),
        (1, 0.4, 0.4),
        (1, 0.5, 0),
        (1, 6e-4, 5e-4),
        (1, 1.1e-3, 0),
        (1, 0.5, -0.4989),
        (1, 0.01, -0.0089),
        (1, 1, -0.9989),
        (1, 0.9995, -0.9983),
        (1, 0.999, -0.0),
    ],
)
def test_so3_accuracy_where_close_singular_values_make_it_hard(values):
    """Nearly double and triple top eigenvalues; 4000 each, at one shape so that nothing recompiles."""
    m = with_singular_values(values, 4000).astype(np.float32)
    expected, gap = nearest_rotation(m)
    assert gap.min() > 1e-3
    np.testing.assert_allclose(so3(m), expected, atol=2e-6, rtol=0)


def test_so3_accuracy_in_float64():
    with jax.enable_x64(True):
        for values, tol in (((1, 0.7, 0.2), 2e-15), ((1, 0.5, -0.499), 2e-12), ((1, 1, -0.999), 2e-12)):
            m = with_singular_values(values, 500)
            np.testing.assert_allclose(jax.jit(rot.project_to_so3)(m), nearest_rotation(m)[0], atol=tol)


@pytest.mark.fast
@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e-6, 1.0, 3.0, 1e6, 1e15, 1e30])
def test_so3_is_blind_to_scale_in_float32(rng, scale):
    m = rng.normal(size=(4000, 3, 3)).astype(np.float32)
    expected, gap = nearest_rotation(m * np.float32(scale))
    r = np.asarray(so3(m * np.float32(scale)))
    np.testing.assert_allclose(r[gap > 1e-3], expected[gap > 1e-3], atol=2e-6, rtol=0)
    assert np.isfinite(r).all()


def degenerate(dtype):
    """Matrices whose nearest rotation is not unique, and others at the edge."""
    cases = [np.zeros((3, 3)), EYE, -EYE, np.diag([1, 1, -1.0]), np.diag([2, 1, -1.0]), np.ones((3, 3))]
    cases += [np.outer(EYE[i], EYE[j]) for i in range(3) for j in range(3)]
    cases += list(with_singular_values((1, 0, 0), 20)) + list(with_singular_values((1, 1, -1), 20))
    cases += list(with_singular_values((1, 0.3, -0.3), 20)) + list(with_singular_values((1, 1e-9, 0), 20))
    return np.stack(cases).astype(dtype)


def test_so3_at_ambiguous_matrices_is_a_minimiser_and_finite(dtype):
    m = degenerate(dtype)
    project = jax.jit(lambda m: jax.value_and_grad(lambda m: (lambda r: ((r * PROBE).sum(), r))(
        rot.project_to_so3(m)), has_aux=True)(m))  # fmt: skip
    for scale in (1.0, 1e-15, 1e15):
        (_, r), grad = project(m * dtype(scale))
        assert_rotations(r, tolerance(dtype))
        assert np.isfinite(grad).all()
        u, s, vt = np.linalg.svd(m.astype(np.float64))
        best = s[:, 0] + s[:, 1] + s[:, 2] * np.sign(np.linalg.det(u @ vt))
        np.testing.assert_allclose((np.asarray(r) * m).sum((1, 2)), best, atol=4 * tolerance(dtype))
        np.testing.assert_array_equal(project(m * dtype(scale))[0][1], r)  # deterministic
    np.testing.assert_array_equal(r[0], EYE)
    assert np.abs(np.asarray(project(m)[1])[[0, 3, 4, 5, 6, 7]]).max() == 0  # ambiguous: derivative 0


PROBE = np.arange(9.0).reshape(3, 3) % 4 - 1.3


@hypothesis.given(
    hnp.arrays(np.float32, (4, 3, 3), elements=st.floats(-(2.0**50), 2.0**50, width=32)),
)
def test_so3_returns_a_rotation_for_anything_finite(m):
    r = so3(m)
    assert_rotations(r, 3e-6)
    m = m * (np.abs(m).max((1, 2), keepdims=True) >= np.finfo(np.float32).tiny)  # below: counts as 0
    u, s, vt = np.linalg.svd(m.astype(np.float64))
    best = s[:, 0] + s[:, 1] + s[:, 2] * np.sign(np.linalg.det(u @ vt))
    got = (np.asarray(r, np.float64) * m).sum((1, 2))
    assert (got >= best - 4e-6 * s[:, 0] - 1e-37).all()


def test_so3_is_equivariant_and_idempotent(rng):
    m = rng.normal(size=(4000, 3, 3)).astype(np.float32)
    clear = nearest_rotation(m)[1] > 0.05
    a, b = haar(3, len(m)), haar(4, len(m))
    r, moved = np.asarray(so3(m)), np.asarray(so3((a @ m @ b).astype(np.float32)))
    np.testing.assert_allclose(moved[clear], (a @ r @ b)[clear], atol=2e-5)
    np.testing.assert_allclose(so3(r), r, atol=2e-6)


# --- the nearest orthonormal frame ------------------------------------------------------------------------


@pytest.mark.fast
def test_stiefel_matches_scipy_polar_and_the_rotation_of_the_padded_matrix(rng, dtype):
    m = rng.normal(size=(50, 3, 2)).astype(dtype)
    q = np.asarray(jax.jit(rot.project_to_stiefel)(m))
    expected = np.stack([scipy.linalg.polar(x.astype(np.float64))[0] for x in m])
    np.testing.assert_allclose(q, expected, atol=tolerance(dtype))
    padded = np.concatenate([m, np.zeros_like(m[..., :1])], -1)
    r = np.asarray(jax.jit(rot.project_to_so3)(padded))
    np.testing.assert_allclose(r, rot.complete_rotation(q), atol=4 * tolerance(dtype))


def test_stiefel_accuracy_in_float32(rng):
    m = rng.normal(size=(100_000, 3, 2)).astype(np.float32)
    m[::2, :, 1] = m[::2, :, 0] + m[::2, :, 1] * 2e-3  # half of them nearly of rank 1
    u, s, vt = np.linalg.svd(m.astype(np.float64), full_matrices=False)
    clear = s[:, 1] > 1e-3 * s[:, 0]
    assert clear[::2].sum() > 1000
    q = np.asarray(stiefel(m))
    assert np.abs(q - u @ vt).max((-1, -2))[clear].max() < 5e-6
    np.testing.assert_allclose(
        np.swapaxes(q, 1, 2) @ q, np.broadcast_to(np.eye(2), (len(q), 2, 2)), atol=2e-6
    )


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_stiefel_at_rank_below_2_is_a_minimiser_and_finite(dtype, scale):
    u, v = haar(0, 40)[:, :, 0], haar(1, 40)[:, 0, :2]
    m = np.concatenate(
        [np.zeros((1, 3, 2)), EYE[None, :, :2], np.ones((1, 3, 2)), u[:, :, None] * v[:, None, :]]
    ).astype(dtype)
    probe = PROBE[:, :2].astype(dtype)
    loss = lambda m: (lambda q: ((q * probe).sum(), q))(rot.project_to_stiefel(m))
    (_, q), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(m * dtype(scale))
    q = np.asarray(q)
    tol = tolerance(dtype)
    np.testing.assert_allclose(np.swapaxes(q, 1, 2) @ q, np.broadcast_to(np.eye(2), (len(q), 2, 2)), atol=tol)
    best = np.linalg.svd(m.astype(np.float64), compute_uv=False).sum(-1)
    np.testing.assert_allclose((q * m).sum((1, 2)), best, atol=4 * tol)
    np.testing.assert_array_equal(q[0], EYE[:, :2])
    assert np.isfinite(grad).all()
    assert np.abs(np.asarray(grad)[0]).max() == 0


def test_stiefel_is_equivariant(rng):
    m = rng.normal(size=(500, 3, 2)).astype(np.float32)
    a = haar(5, 500)
    c, s = np.cos(0.7), np.sin(0.7)
    b = np.array([[c, s], [s, -c]])  # a reflection of the plane: also an isometry here
    got = stiefel((a @ m @ b).astype(np.float32))
    clear = np.linalg.svd(m, compute_uv=False)[:, 1] > 0.05
    np.testing.assert_allclose(np.asarray(got)[clear], (a @ np.asarray(stiefel(m)) @ b)[clear], atol=2e-5)


# --- batches, types, derivatives --------------------------------------------------------------------------


@pytest.mark.fast
@pytest.mark.first
@pytest.mark.parametrize(
    ("function", "tail"), [(rot.project_to_so3, (3, 3)), (rot.project_to_stiefel, (3, 2))]
)
def test_projections_take_any_batch_shape_and_transformation(rng, function, tail):
    m = rng.normal(size=(2, 3, *tail)).astype(np.float32)
    cubes = lambda m: (lambda q: ((q**3).sum(), q))(function(m))
    both = jax.value_and_grad(cubes, has_aux=True)
    (_, whole), grads = jax.jit(both)(m)
    assert whole.dtype == np.float32
    (_, mapped), mapped_grads = jax.jit(jax.vmap(jax.vmap(both)))(m)
    np.testing.assert_allclose(mapped, whole, atol=1e-6)
    np.testing.assert_allclose(mapped_grads, grads, rtol=1e-3, atol=1e-4)
    for shape in (tail, (0, *tail), (2, 1, 3, *tail)):
        low = jax.eval_shape(function, jax.ShapeDtypeStruct(shape, jnp.bfloat16))
        assert (low.shape, low.dtype) == (shape, jnp.bfloat16)
    assert np.isfinite(jax.jit(function)(m.astype(np.float16))).all()


def test_projections_refuse_other_shapes():
    with pytest.raises(Exception, match=r"project_to_so3"):
        rot.project_to_so3(np.zeros((2, 3)))
    with pytest.raises(Exception, match=r"project_to_stiefel"):
        rot.project_to_stiefel(np.zeros((3, 3)))


GENERIC = np.array([[0.9, -0.3, 0.4], [0.2, 1.1, -0.5], [-0.6, 0.1, 0.7]])
WELL_POSED = np.stack(
    [
        GENERIC,
        EYE,
        5 * EYE,
        with_singular_values((2, 1, 1), 1)[0],  # two smallest equal
        with_singular_values((2, 2, 0.5), 1)[0],  # two largest equal
        with_singular_values((2, 1, -0.4), 1)[0],  # reflected, but with one nearest rotation
        with_singular_values((2, 2, -0.5), 1)[0],  # reflected with an equal pair
        with_singular_values((2, 1, 0), 1)[0],  # rank 2
    ]
)


def test_so3_gradients_at_well_posed_matrices():
    """In reverse mode to second order; those whose SVD has no derivative among them."""
    with jax.enable_x64(True):
        check_grads(jax.jit(rot.project_to_so3), (jnp.asarray(WELL_POSED),), order=2, modes=("rev",))


def test_stiefel_gradients_at_well_posed_matrices():
    u = haar(7, 2)
    m = [GENERIC[:, :2], EYE[:, :2], 3 * u[0][:, :2], u[0][:, :2] * [1, 0.1] @ u[1][:2, :2]]
    with jax.enable_x64(True):
        check_grads(jax.jit(rot.project_to_stiefel), (jnp.asarray(m),), order=2, modes=("rev",))


def test_so3_derivative_agrees_with_that_of_the_svd_where_both_exist(rng):
    """An independent derivative: autodiff of U diag(1, 1, det) V^T, in float64."""

    def by_svd(m):
        u, _, vt = jnp.linalg.svd(m)
        d = jnp.linalg.det(u @ vt)
        return (u * jnp.stack([jnp.ones_like(d), jnp.ones_like(d), d], -1)[..., None, :]) @ vt

    with jax.enable_x64(True):
        m = rng.normal(size=(20, 3, 3))
        g = rng.normal(size=(20, 3, 3))
        ours, naive = (
            jax.jit(lambda m, f=f: jax.vjp(f, m)[1](g)[0])(m) for f in (rot.project_to_so3, by_svd)
        )
        np.testing.assert_allclose(ours, naive, rtol=1e-7, atol=1e-9)
        assert not np.isfinite(jax.grad(lambda m: (by_svd(m) * PROBE).sum())(jnp.eye(3))).all()


def test_float32_gradient_agrees_with_float64_near_the_ambiguous_set():
    m = with_singular_values((1, 1, -0.99), 200).astype(np.float32)
    grad = jax.jit(jax.grad(lambda m, probe: (rot.project_to_so3(m) * probe).sum()))
    single = np.asarray(grad(m, PROBE.astype(np.float32)))
    with jax.enable_x64(True):
        double = np.asarray(grad(m.astype(np.float64), PROBE))
    scale = np.abs(double).max((1, 2), keepdims=True)
    assert (np.abs(single - double) / scale).max() < 1e-3


# --- axis-angle, distance, random ------------------------------------------------------------------------


@pytest.mark.fast
def test_axis_angle_matches_scipy_both_ways(rng, dtype):
    v = rng.normal(size=(300, 3))
    v *= (rng.uniform(0, np.pi, 300) / np.linalg.norm(v, axis=1))[:, None]
    v[:20] *= 1e-4
    v[20:40] *= ((np.pi - 1e-3) / np.linalg.norm(v[20:40], axis=1))[:, None]
    v[40] = 0
    r = Rotation.from_rotvec(v).as_matrix()
    tol = tolerance(dtype)
    np.testing.assert_allclose(jax.jit(rot.axis_angle_to_matrix)(v.astype(dtype)), r, atol=tol)
    np.testing.assert_allclose(jax.jit(rot.matrix_to_axis_angle)(r.astype(dtype)), v, atol=4 * tol)


def test_axis_angle_gradients_at_the_identity_and_near_pi():
    with jax.enable_x64(True):
        v = np.array([0.0, 1e-9, 0.9999e-3, 1.0001e-3, 1, 3.14])[:, None] * np.array([0.6, 0.0, 0.8])
        forward, back = jax.jit(rot.axis_angle_to_matrix), jax.jit(rot.matrix_to_axis_angle)
        check_grads(forward, (jnp.asarray(v),), order=2, modes=("rev",))
        there_and_back = jax.jit(jax.vmap(jax.jacrev(lambda v: back(forward(v)))))
        np.testing.assert_allclose(there_and_back(v), np.broadcast_to(EYE, (6, 3, 3)), atol=1e-8)
        half_turns = np.stack([np.diag(d) for d in ((1.0, -1, -1), (-1.0, 1, -1), (-1.0, -1, 1))])
        w = back(half_turns)
        np.testing.assert_allclose(np.linalg.norm(w, axis=-1), np.pi, rtol=1e-12)
        np.testing.assert_allclose(forward(w), half_turns, atol=1e-12)
        assert np.isfinite(jax.jit(jax.vmap(jax.jacrev(back)))(half_turns)).all()


def test_geodesic_distance_matches_scipy_and_is_safe_at_its_ends(rng):
    a, b = haar(0, 100), haar(1, 100)
    expected = (Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude()
    distance = jax.jit(rot.geodesic_distance)
    np.testing.assert_allclose(distance(a.astype(np.float32), b.astype(np.float32)), expected, atol=2e-6)
    angles = np.array([0.0, 1e-5, 1e-3, 3.14, np.pi])
    r = Rotation.from_rotvec(angles[:, None] * [0, 1, 0]).as_matrix().astype(np.float32)
    one = EYE.astype(np.float32)
    np.testing.assert_allclose(distance(one[None], r), angles, atol=5e-7)
    assert np.isfinite(jax.jit(jax.grad(lambda r: rot.geodesic_distance(one[None], r).sum()))(r)).all()
    with jax.enable_x64(True):
        f = jax.jit(lambda a, v: rot.geodesic_distance(a, rot.axis_angle_to_matrix(v)))
        check_grads(jax.jit(lambda v: f(a[0], v)), (jnp.array([0.3, -0.2, 0.9]),), order=2, modes=("rev",))


@pytest.mark.fast
def test_skew_and_vee_are_inverse_and_give_the_cross_product(rng):
    u, v = rng.normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", rot.skew(v), u), np.cross(v, u), atol=1e-6)
    np.testing.assert_array_equal(rot.vee(rot.skew(v)), v)
    symmetric = rng.normal(size=(5, 3, 3)).astype(np.float32)
    symmetric = symmetric + np.swapaxes(symmetric, 1, 2)
    np.testing.assert_allclose(rot.vee(rot.skew(v) + symmetric), v, atol=1e-6)


@pytest.mark.fast
def test_complete_rotation_appends_the_third_axis():
    r = haar(0, 10).reshape(2, 5, 3, 3).astype(np.float32)
    np.testing.assert_allclose(rot.complete_rotation(r[..., :2]), r, atol=1e-6)


def test_random_rotations_are_uniform(key):
    r = np.asarray(rot.random_rotations(key, (200, 100)))
    assert r.shape == (200, 100, 3, 3)
    assert rot.random_rotations(key).shape == (3, 3)
    assert_rotations(r, 2e-6)
    r = r.reshape(-1, 3, 3)
    # Haar measure: E[R] = 0, E[R_ij R_kl] = delta / 3, and the angle has density (1 - cos) / pi.
    np.testing.assert_allclose(r.mean(0), 0, atol=5 * np.sqrt(1 / 3 / len(r)))
    second = np.einsum("na,nb->ab", r.reshape(-1, 9), r.reshape(-1, 9)) / len(r)
    np.testing.assert_allclose(second, np.eye(9) / 3, atol=0.012)
    angle = Rotation.from_matrix(r).magnitude()
    assert scipy.stats.kstest(angle, lambda t: (t - np.sin(t)) / np.pi).pvalue > 1e-3


@pytest.mark.fast
def test_generators_are_the_derivatives_of_a_rotation_at_the_identity():
    np.testing.assert_array_equal(rot.GENERATORS, np.asarray(rot.skew(jnp.eye(3))))
    found = jax.jit(jax.jacobian(rot.axis_angle_to_matrix))(jnp.zeros(3))
    np.testing.assert_allclose(np.moveaxis(found, -1, 0), rot.GENERATORS, atol=1e-7)
