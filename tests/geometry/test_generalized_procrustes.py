"""Generalised Procrustes alignment: the minimum, its laws, and its derivative by four roads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.geometry.generalized_procrustes import align, stationarity
from jnrsfm.geometry.rotations import random_rotations

F, P = 6, 5
ALIGN = jax.jit(align)  # one for all tests: compiled once for each shape and precision


def deforming(rng, frames=F, points=P, spread=0.3, turned=True):
    """Shapes about a common one, each turned at random and moved."""
    shapes = rng.normal(size=(points, 3)) + spread * rng.normal(size=(frames, points, 3))
    if turned:
        q = np.linalg.qr(rng.normal(size=(frames, 3, 3)))[0]
        q *= np.sign(np.linalg.det(q))[:, None, None]
        shapes = shapes @ q
    return shapes + rng.normal(size=(frames, 1, 3))


def spread_of(aligned, weights=None):
    aligned = np.asarray(aligned)
    w = np.ones(len(aligned)) if weights is None else np.asarray(weights)
    mean = np.einsum("f,fpi->pi", w / w.sum(), aligned)
    return float(np.sum(w[:, None, None] * (aligned - mean) ** 2))


# ------------------------------------------------------------------------------------------------ the minimum


@pytest.mark.fast
def test_turned_copies_of_one_shape_coincide(dtype, rng):
    shapes = deforming(rng, spread=0.0).astype(dtype)
    aligned, rotations = ALIGN(shapes)
    eps = np.finfo(dtype).eps
    assert np.abs(aligned - aligned[0]).max() < 50 * eps
    assert np.allclose(rotations[0], np.eye(3), atol=10 * eps)
    assert np.allclose(np.linalg.det(rotations), 1, atol=50 * eps)
    centred = shapes - shapes.mean(1, keepdims=True)
    assert np.allclose(aligned, np.einsum("fpj,fij->fpi", centred, rotations), atol=20 * eps)


@pytest.mark.fast
def test_converged_and_no_random_turn_is_better(dtype, rng):
    shapes = deforming(rng).astype(dtype)
    aligned, _ = ALIGN(shapes)
    assert stationarity(aligned) < 100 * np.finfo(dtype).eps
    best = spread_of(aligned)
    for size in (1e-2, 0.3, 3.0):
        for _ in range(20):
            turns = jax.scipy.linalg.expm(_skew(size * rng.normal(size=(F, 3))).astype(dtype))
            assert spread_of(np.einsum("fpj,fij->fpi", aligned, turns)) > best


def test_no_worse_than_many_random_starts(rng):
    """The joint minimum and not a local one, for shapes that deform by half their size."""
    with jax.enable_x64(True):
        shapes = deforming(rng, spread=0.5)
        best = spread_of(ALIGN(shapes)[0])
        x = shapes - shapes.mean(1, keepdims=True)
        turns = np.asarray(random_rotations(jax.random.key(1), (12, F)))
        for seed in range(12):
            y = np.einsum("fpj,fij->fpi", x, turns[seed])
            for _ in range(40):
                u, _, vt = np.linalg.svd(np.einsum("pi,fpj->fij", y.mean(0), x))
                u[..., 2] *= np.linalg.det(u @ vt)[:, None]
                y = np.einsum("fpj,fij->fpi", x, u @ vt)
            assert spread_of(y) > best * (1 - 1e-9)


def test_turning_and_moving_the_input_changes_only_the_gauge(rng):
    with jax.enable_x64(True):
        shapes = deforming(rng)
        r = np.asarray(random_rotations(jax.random.key(3), (F,)))
        aligned, _ = ALIGN(shapes)
        again, _ = ALIGN(np.einsum("fpj,fij->fpi", shapes, r) + rng.normal(size=(F, 1, 3)))
        gram = lambda y: np.einsum("fpi,gqi->fgpq", y, y)
        assert np.allclose(gram(aligned), gram(again), atol=1e-10)


def test_a_frame_of_weight_0_moves_nothing_and_is_aligned(rng):
    with jax.enable_x64(True):
        shapes = deforming(rng, spread=0.1)
        weights = np.array([1.0, 2.0, 0.5, 1.0, 1.0, 0.0])
        shapes[-1] = 7 * deforming(rng)[0]  # an outlier
        aligned, _ = ALIGN(shapes, weights)
        without, _ = ALIGN(shapes[:-1], weights[:-1])
        assert np.allclose(aligned[:-1], without, atol=1e-10)
        assert stationarity(aligned, weights) < 1e-12


@pytest.mark.fast
def test_batches_are_sets_of_their_own(rng):
    shapes = np.stack([deforming(rng) for _ in range(4)]).reshape(2, 2, F, P, 3).astype(np.float32)
    aligned, rotations = ALIGN(shapes)
    assert aligned.shape == shapes.shape
    assert rotations.shape == (2, 2, F, 3, 3)
    one, _ = ALIGN(shapes[1, 0])
    assert np.allclose(aligned[1, 0], one, atol=1e-5)


@pytest.mark.fast
@pytest.mark.parametrize("shape", [(5, 3), (4, 5, 2), (0, 5, 3), (4, 0, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="frame, point, 3"):
        align(np.zeros(shape, np.float32))


# --------------------------------------------------------------------------------------------- its derivative


def _skew(v):
    x, y, z = np.moveaxis(np.asarray(v), -1, 0)
    o = np.zeros_like(x)
    return np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*x.shape, 3, 3)


def dense_jacobian(aligned, rotations):
    """d vec(aligned) / d vec(shapes) by the supplement's eq. 12 to 20, all matrices built, in our layout.

    Shapes of the supplement are 3 x P columns; vec stacks columns, which is our row-major (point, 3). Its B is
    singular by the common turn; the gauge q_1 = 0 (R of the first frame stays the identity) is appended.
    """
    frames, points, _ = aligned.shape
    x = [np.asarray(y).T for y in aligned]  # X'_i, already turned
    total = sum(x)
    eye3 = np.eye(3)
    # vec(dQ) = L q, with the supplement's sign: its dQ (eq. 9) is minus the cross-product matrix of q
    turn = np.stack([-_skew(e).T.reshape(-1) for e in eye3], 1)
    swap = np.zeros((9, 9))  # E: vec(H) -> vec(H^T)
    for i in range(3):
        for j in range(3):
            swap[3 * j + i, 3 * i + j] = 1
    swap_points = np.zeros((3 * points, 3 * points))  # E of a 3 x P matrix
    for i in range(3):
        for p in range(points):
            swap_points[i * points + p, p * 3 + i] = 1
    a = np.zeros((3 * points * frames, 3 * frames))
    b = np.zeros((3 * frames, 3 * frames))
    c = np.zeros((3 * frames, 3 * points * frames))
    d = np.zeros((3 * points * frames,) * 2)
    centring = np.eye(points) - 1 / points
    for k in range(frames):
        rows, wide = slice(3 * k, 3 * k + 3), slice(3 * points * k, 3 * points * (k + 1))
        others = total - x[k]
        b[rows, rows] = turn.T @ np.kron(others @ x[k].T, eye3) @ turn
        c[rows, wide] = -turn.T @ np.kron(others, eye3)
        for i in range(frames):
            if i != k:
                b[rows, 3 * i : 3 * i + 3] = turn.T @ np.kron(eye3, x[k] @ x[i].T) @ swap @ turn
                c[rows, 3 * points * i : 3 * points * (i + 1)] = -turn.T @ np.kron(eye3, x[k]) @ swap_points
        a[wide, rows] = np.kron(x[k].T, eye3) @ turn
        d[wide, wide] = np.kron(centring, rotations[k])
    gauge = np.zeros((3, 3 * frames))
    gauge[:, :3] = eye3
    q = np.linalg.lstsq(np.vstack([b, gauge]), np.vstack([c, np.zeros((3, c.shape[1]))]), rcond=None)[0]
    return (a @ q + np.eye(len(a))) @ d


@jax.jit
def _pulled(shapes, weights, cotangents):
    return jax.vjp(lambda x: align(x, weights), shapes)[1](cotangents)[0]


def pulled(shapes, cotangent, rotation_cotangent=None, weights=None):
    frames = len(shapes)
    weights = np.ones(frames, shapes.dtype) if weights is None else weights
    if rotation_cotangent is None:
        rotation_cotangent = np.zeros((frames, 3, 3), shapes.dtype)
    return np.asarray(_pulled(shapes, weights, (cotangent, rotation_cotangent)))


@pytest.mark.parametrize("spread", [0.1, 0.6])
def test_derivative_is_the_dense_formula_of_the_supplement(rng, spread):
    with jax.enable_x64(True):
        shapes = deforming(rng, spread=spread)
        aligned, rotations = ALIGN(shapes)
        jacobian = dense_jacobian(np.asarray(aligned), np.asarray(rotations))
        for _ in range(3):
            cotangent = rng.normal(size=shapes.shape)
            expected = (cotangent.reshape(-1) @ jacobian).reshape(shapes.shape)
            found = pulled(shapes, cotangent)
            assert np.linalg.norm(found - expected) < 1e-8 * np.linalg.norm(expected)


def test_derivative_is_that_of_the_unrolled_iteration(rng):
    """Of the rotations too; the unrolled loop is written with NumPy's names and autodiff of the SVD."""
    with jax.enable_x64(True):
        shapes = deforming(rng, spread=0.2)

        def unrolled(shapes):
            x = shapes - shapes.mean(1, keepdims=True)

            def improve(r, _):
                mean = jnp.einsum("fpj,fij->fpi", x, r).mean(0)
                u, _, vt = jnp.linalg.svd(jnp.einsum("pi,fpj->fij", mean, x))
                d = jnp.ones((F, 3)).at[:, 2].set(jnp.linalg.det(u @ vt))
                return jnp.einsum("fij,fj,fjk->fik", u, d, vt), None

            start = jax.lax.stop_gradient(align(shapes)[1])
            r, _ = jax.lax.scan(improve, start, length=60)
            r = jnp.einsum("ji,fjk->fik", r[0], r)
            return jnp.einsum("fpj,fij->fpi", x, r), r

        cotangents = rng.normal(size=shapes.shape), rng.normal(size=(F, 3, 3))
        expected = jax.jit(lambda x: jax.vjp(unrolled, x)[1](cotangents)[0])(shapes)
        found = pulled(shapes, *cotangents)
        assert np.linalg.norm(found - expected) < 1e-8 * np.linalg.norm(expected)


def test_derivative_is_that_of_finite_differences(rng):
    with jax.enable_x64(True):
        shapes, direction = deforming(rng), rng.normal(size=(F, P, 3))
        weights = np.array([1.0, 0.3, 2.0, 0.0, 1.0, 1.5])
        cotangent = rng.normal(size=shapes.shape)
        value = lambda x: np.sum(cotangent * np.asarray(ALIGN(x, weights)[0]))
        h = 1e-5
        slope = (value(shapes + h * direction) - value(shapes - h * direction)) / (2 * h)
        found = np.sum(pulled(shapes, cotangent, weights=weights) * direction)
        assert found == pytest.approx(float(slope), rel=1e-7)


def test_second_derivative(rng):
    with jax.enable_x64(True):
        shapes = deforming(rng, spread=0.2)
        direction = rng.normal(size=shapes.shape)
        metric = rng.normal(size=shapes.shape)
        slope = jax.grad(lambda x: jnp.sum(metric * align(x)[0] ** 2))
        product = jax.jit(jax.grad(lambda x: jnp.sum(slope(x) * direction)))(shapes)
        h, along = 1e-5, rng.normal(size=shapes.shape)
        slope = jax.jit(slope)
        expected = np.sum((slope(shapes + h * along) - slope(shapes - h * along)) * direction) / (2 * h)
        assert np.sum(product * along) == pytest.approx(float(expected), rel=1e-6)


def test_float32_derivative_agrees_with_float64(rng):
    shapes = deforming(rng, 32, 17, 0.2)
    cotangent = rng.normal(size=shapes.shape)
    with jax.enable_x64(True):
        exact = pulled(shapes, cotangent)
    single = pulled(shapes.astype(np.float32), cotangent.astype(np.float32))
    assert np.linalg.norm(single - exact) < 2e-5 * np.linalg.norm(exact)


# ------------------------------------------------------------------------------------------ degenerate shapes


def degenerate(kind, rng):
    shapes = deforming(rng, spread=0.2)
    if kind == "all zero":
        shapes[:] = 0
    elif kind == "one zero":
        shapes[0] = 0
    elif kind == "one collinear":
        shapes[0] = np.outer(rng.normal(size=P), [1.0, 2.0, 3.0])
    elif kind == "all collinear":
        shapes = np.einsum("fp,fi->fpi", rng.normal(size=(F, P)), rng.normal(size=(F, 3)))
    elif kind == "all flat":
        shapes[..., 2] = 0
    elif kind == "one mirrored":
        shapes[0] = shapes[1] * [1, 1, -1]
    elif kind == "mirrored, equal extents":  # its best turn is not unique: two signed singular values cancel
        shapes[:] = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1], [0, 0, 0]])
        shapes[0] *= -1
    elif kind == "identical":
        shapes[:] = shapes[0]
    elif kind == "huge":
        shapes *= 1e15
    elif kind == "tiny":
        shapes *= 1e-15
    return shapes


KINDS = [
    "all zero", "one zero", "one collinear", "all collinear", "all flat", "one mirrored", "mirrored, equal extents",
    "identical", "huge", "tiny",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_shapes_stay_finite(kind, rng):
    shapes = degenerate(kind, rng).astype(np.float32)
    aligned, rotations = ALIGN(shapes)
    assert np.isfinite(aligned).all()
    assert np.allclose(rotations @ np.swapaxes(rotations, 1, 2), np.eye(3), atol=1e-5)
    assert np.allclose(np.linalg.det(rotations), 1, atol=1e-5)
    gradient = pulled(shapes, rng.normal(size=shapes.shape).astype(np.float32))
    assert np.isfinite(gradient).all()
    centred = shapes - shapes.mean(1, keepdims=True)
    assert np.allclose(np.linalg.norm(aligned, axis=(1, 2)), np.linalg.norm(centred, axis=(1, 2)), rtol=1e-5)


def test_a_collinear_frame_still_has_the_right_derivative(rng):
    """Its turn about itself is not determined, but moves nothing: the cost is smooth there."""
    with jax.enable_x64(True):
        shapes = degenerate("one collinear", rng)
        target = rng.normal(size=(F, F, P, P))
        # invariant to the gauge, and to the turn of the line about itself
        value = lambda x: jnp.sum(target * jnp.einsum("fpi,gqi->fgpq", align(x)[0], align(x)[0]))
        gradient = jax.jit(jax.grad(value))(shapes)
        along = rng.normal(size=shapes.shape)
        along[0] = np.outer(rng.normal(size=P), [1.0, 2.0, 3.0])  # stays a line
        h, value = 1e-5, jax.jit(value)
        slope = (value(shapes + h * along) - value(shapes - h * along)) / (2 * h)
        assert np.sum(gradient * along) == pytest.approx(float(slope), rel=1e-6)
