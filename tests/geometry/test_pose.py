"""Orthographic-n-point: recovery, brute-force optimality, implicit derivatives, degenerate shapes."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.spatial.transform import Rotation

from jnrsfm.errors import InputError
from jnrsfm.geometry.pose import solve_onp, solve_onp_linear

onp = jax.jit(solve_onp, static_argnames="with_scale")
linear = jax.jit(solve_onp_linear, static_argnames="with_scale")
both = pytest.mark.parametrize("with_scale", [False, True])


@partial(jax.jit, static_argnames=("solve", "with_scale"))
def pullback(points, image, weights, cotangent, solve=onp, with_scale=False):
    return jax.vjp(partial(solve, with_scale=with_scale), points, image, weights)[1](cotangent)


def views(seed, batch=(6,), n_points=9, noise=0.0, flat=1.0, with_scale=False):
    """Random shapes, cameras and images: points3d, points2d, weights, rotation, translation, scale."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(*batch, n_points, 3)) * [1.0, 0.7, 0.5 * flat]
    turn, rotation = Rotation.random(2 * int(np.prod(batch)), rng).as_matrix().reshape(2, *batch, 3, 3)
    points = points @ turn + rng.normal(size=(*batch, 1, 3))
    scale = rng.uniform(0.3, 3, batch) if with_scale else np.ones(batch)
    translation = rng.normal(size=(*batch, 2))
    image = (
        scale[..., None, None] * (points @ np.swapaxes(rotation, -1, -2))[..., :2] + translation[..., None, :]
    )
    image = image + noise * rng.normal(size=image.shape)
    return points, image, rng.uniform(0.2, 1, (*batch, n_points)), rotation, translation, scale


def project(pose, points):
    return (
        pose.scale[..., None, None] * np.einsum("...ij,...pj->...pi", pose.rotation[..., :2, :], points)
        + np.asarray(pose.translation)[..., None, :]
    )


@pytest.mark.fast
@pytest.mark.first
@both
def test_exact_views_are_recovered(with_scale, dtype):
    points, image, weights, rotation, translation, scale = views(0, with_scale=with_scale)
    atol = 1e-5 if dtype == np.float32 else 1e-10
    data = [x.astype(dtype) for x in (points, image, weights)]
    for solve in (onp, linear):
        pose = solve(*data, with_scale=with_scale)
        assert pose.rotation.dtype == dtype
        np.testing.assert_allclose(pose.rotation, rotation, atol=atol if solve is onp else 3e-3)
        np.testing.assert_allclose(pose.translation, translation, atol=4 * atol if solve is onp else 1e-2)
        np.testing.assert_allclose(pose.scale, scale, atol=4 * atol if solve is onp else 1e-2)
        np.testing.assert_allclose(np.linalg.det(pose.rotation), 1, atol=1e-5)
    np.testing.assert_allclose(onp(*data, with_scale=with_scale).residual, 0, atol=atol**1.5)


def brute_force(points, image, weights, with_scale, starts=20):
    """The lowest weighted mean squared residual over rotation vectors, from many starts."""

    def residuals(x):
        r = Rotation.from_rotvec(x[:3]).as_matrix()
        s = x[5] if with_scale else 1.0
        fit = s * (points @ r.T)[:, :2] + x[3:5]
        return (np.sqrt(weights / weights.sum())[:, None] * (fit - image)).ravel()

    best = np.inf
    for r in Rotation.random(starts, np.random.default_rng(1)).as_rotvec():
        found = scipy.optimize.least_squares(residuals, [*r, 0, 0, 1], xtol=1e-14, ftol=1e-14, gtol=1e-14)
        if not with_scale or found.x[5] >= 0:
            best = min(best, 2 * found.cost)
    return best


@both
@pytest.mark.parametrize(("noise", "flat"), [(0.3, 1.0), (3.0, 1.0), (0.1, 0.1), (0.3, 0.0)])
def test_no_camera_fits_better(noise, flat, with_scale):
    """Against many local searches over rotation vectors: solid, nearly flat and flat shapes, heavy noise."""
    with jax.enable_x64(True):
        points, image, weights, *_ = views(2, (6,), noise=noise, flat=flat, with_scale=with_scale)
        pose = onp(points, image, weights, with_scale=with_scale)
        approximate = linear(points, image, weights, with_scale=with_scale)
        for i in range(3):
            best = brute_force(points[i], image[i], weights[i], with_scale)
            np.testing.assert_allclose(pose.residual[i], best, rtol=1e-7)
        assert np.all(pose.residual <= approximate.residual + 1e-12)
        assert np.any(pose.residual < 0.999 * approximate.residual)
        error = ((project(pose, points) - image) ** 2).sum(-1)
        np.testing.assert_allclose(pose.residual, (weights * error).sum(-1) / weights.sum(-1), rtol=1e-9)


def test_hidden_points_do_not_matter(rng):
    points, image, weights, *_ = (np.float32(x) for x in views(3, noise=0.1))
    weights[:, [2, 5]] = 0
    reference = onp(points, image, weights)
    ones = jax.tree.map(jnp.ones_like, reference)
    clean = pullback(points, image, weights, ones)
    points[:, 2], image[:, 2], points[:, 5], image[:, 5] = np.nan, np.inf, 1e9, np.nan
    pose, soiled = onp(points, image, weights), pullback(points, image, weights, ones)
    for a, b in zip(pose, reference, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(soiled[:2], clean[:2], strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[:, [2, 5]], 0)
    assert np.isfinite(soiled[2]).all()


def test_symmetries_and_batching(rng):
    """Point order is free, turning the image turns the camera, and no view feels the others of its batch."""
    points, image, weights, *_ = (np.float32(x) for x in views(4, noise=0.3))
    pose = onp(points, image, weights)
    order = rng.permutation(9)
    shuffled = onp(points[:, order], image[:, order], weights[:, order])
    np.testing.assert_allclose(shuffled.rotation, pose.rotation, atol=1e-5)
    roll = np.float32(Rotation.from_rotvec([0, 0, 0.7]).as_matrix())
    rolled = onp(points, image @ roll[:2, :2].T, weights)
    np.testing.assert_allclose(rolled.rotation, roll @ np.asarray(pose.rotation), atol=1e-5)
    np.testing.assert_allclose(rolled.translation, pose.translation @ roll[:2, :2].T, atol=1e-5)
    mapped = jax.jit(jax.vmap(solve_onp))(points, image, weights)
    np.testing.assert_allclose(mapped.rotation, pose.rotation, atol=1e-6)
    others = onp(
        points, np.concatenate([image[:1], 9 * rng.normal(size=(5, 9, 2)).astype(np.float32)]), weights
    )
    np.testing.assert_array_equal(others.rotation[0], pose.rotation[0])


def test_leading_axes():
    points, image, weights, *_ = (np.float32(x) for x in views(1, (2, 3), noise=0.2))
    mapped = jax.jit(jax.vmap(solve_onp))(points, image, weights)
    flat = onp(*(x.reshape(6, *x.shape[2:]) for x in (points, image, weights)))
    single = onp(points[1, 2], image[1, 2], weights[1, 2])
    for a, b, c in zip(mapped, flat, single, strict=True):
        np.testing.assert_allclose(a.reshape(b.shape), b, atol=1e-6)
        np.testing.assert_allclose(a[1, 2], c, atol=1e-6)


def assert_derivative(solve, data, directions, rng, with_scale=False, eps=1e-6, tolerance=1e-6):
    """The pullback of a random cotangent against central differences along `directions` (None: not moved)."""
    shapes = solve(*data, with_scale=with_scale)
    cotangent = type(shapes)(*(rng.normal(size=x.shape) for x in shapes))
    exact = pullback(*data, cotangent, solve=solve, with_scale=with_scale)
    moves = [np.zeros_like(x) if d is None else d for x, d in zip(data, directions, strict=True)]
    ends = [
        solve(*(x + sign * eps * d for x, d in zip(data, moves, strict=True)), with_scale=with_scale)
        for sign in (1, -1)
    ]
    numeric = sum(np.sum(c * (p - m)) / (2 * eps) for c, p, m in zip(cotangent, *ends, strict=True))
    np.testing.assert_allclose(
        sum(np.sum(g * d) for g, d in zip(exact, moves, strict=True)), numeric, rtol=tolerance, atol=tolerance
    )


@both
@pytest.mark.parametrize("solve", [onp, linear])
def test_first_derivatives(solve, with_scale, rng):
    with jax.enable_x64(True):
        data = views(5, noise=0.3, with_scale=with_scale)[:3]
        for moved in range(3):
            directions = [rng.normal(size=x.shape) if i == moved else None for i, x in enumerate(data)]
            assert_derivative(solve, data, directions, rng, with_scale)


def test_forward_mode_and_second_derivatives(rng):
    """Forward mode of the gradient, against differences of it: both modes, second order, free scale."""
    with jax.enable_x64(True):
        data = tuple(jnp.asarray(x) for x in views(5, noise=0.3, with_scale=True)[:3])
        mix = jnp.asarray(rng.normal(size=(6, 3, 3)))
        gradient = jax.jit(
            jax.grad(lambda x, y: jnp.sum(mix * solve_onp(x, y, data[2], with_scale=True).rotation))
        )
        moves = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in data[:2])
        _, exact = jax.jit(lambda x, y, *d: jax.jvp(gradient, (x, y), d))(*data[:2], *moves)
        ends = [gradient(*(x + e * d for x, d in zip(data, moves, strict=False))) for e in (1e-6, -1e-6)]
        np.testing.assert_allclose(exact, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-5)


def test_envelope():
    """At the minimum the residual does not feel the camera: its gradient is the one with the camera held."""
    with jax.enable_x64(True):
        points, image, weights, *_ = views(5, noise=0.3)
        pose = onp(points, image, weights)
        only_residual = type(pose)(*(jnp.zeros_like(x) for x in pose[:3]), jnp.ones_like(pose.residual))
        free, in_image, _ = pullback(points, image, weights, only_residual)
        share = (weights / weights.sum(-1, keepdims=True))[..., None]
        error = 2 * share * (project(pose, points) - image)
        np.testing.assert_allclose(in_image, -error, atol=1e-10)
        np.testing.assert_allclose(free, error @ np.asarray(pose.rotation)[:, :2], atol=1e-10)


def test_flat_shapes_keep_their_tilt(rng):
    """Two cameras fit a flat shape; ours is one of them, with the right derivative in the image."""
    with jax.enable_x64(True):
        points, image, weights, rotation, *_ = views(6, flat=0.0)
        pose = onp(points, image, weights)
        np.testing.assert_allclose(pose.residual, 0, atol=1e-12)
        centred = points - points.mean(1, keepdims=True)
        normal = np.linalg.svd(centred)[2][:, 2]
        mirror = np.eye(3) - 2 * normal[:, :, None] * normal[:, None]
        twin = np.diag([1, 1, -1]) @ rotation @ mirror
        distance = [np.abs(pose.rotation - r).max((1, 2)) for r in (rotation, twin)]
        assert np.all(np.minimum(*distance) < 1e-6)
        noisy = image + 0.05 * rng.normal(size=image.shape)
        directions = [None, rng.normal(size=image.shape), None]
        assert_derivative(onp, (points, noisy, weights), directions, rng, tolerance=1e-5)


def test_a_line_knows_its_direction(rng):
    """A collinear shape may turn about itself; where it points, and how that moves, is known."""
    with jax.enable_x64(True):
        along = np.linspace(-1, 1, 9)[:, None]
        line = np.array([0.6, 0.0, 0.8])
        points = np.broadcast_to(along * line, (6, 9, 3))
        seen = rng.uniform(-0.6, 0.6, (6, 2))
        depth = np.sqrt(1 - (seen**2).sum(1))
        weights = np.ones((6, 9))
        pose = onp(points, along * seen[:, None], weights)
        pointing = np.asarray(pose.rotation @ line)
        np.testing.assert_allclose(pointing[:, :2], seen, atol=1e-8)
        np.testing.assert_allclose(np.abs(pointing[:, 2]), depth, atol=1e-8)
        # Pull back a cotangent of where the line points: d seen is free, and depth follows.
        cotangent = rng.normal(size=(6, 3))
        of_pose = type(pose)(cotangent[:, :, None] * line, *(jnp.zeros_like(x) for x in pose[1:]))
        _, in_image, _ = pullback(points, along * seen[:, None], weights, of_pose)
        move = rng.normal(size=(6, 2))
        d_depth = -np.sign(pointing[:, 2]) * (seen * move).sum(1) / depth
        expected = (cotangent[:, :2] * move).sum(1) + cotangent[:, 2] * d_depth
        np.testing.assert_allclose(np.sum(in_image * along * move[:, None], (1, 2)), expected, rtol=1e-5)


DEGENERATE = {
    "line": lambda p, x: (p[:, :1] * np.float32([1, 2, 3]), x),
    "flat, head-on": lambda p, x: (p * np.float32([1, 1, 0]), p[:, :2]),
    "flat, edge-on": lambda p, x: (p * np.float32([1, 1, 0]), p[:, :1] * np.float32([1, 0])),
    "one point": lambda p, x: (0 * p + 1, x),
    "image of one point": lambda p, x: (p, 0 * x + 1),
    "zeros": lambda p, x: (0 * p, 0 * x),
    "mirrored": lambda p, x: (p, p[:, :2] * np.float32([1, -1])),
}


@both
def test_degenerate_shapes_are_finite(with_scale):
    """One proper rotation and finite gradients, float32; the exact solver is no worse than the linear one."""
    names = list(DEGENERATE)
    cases = [DEGENERATE[name](*(np.float32(x[0]) for x in views(7)[:2])) for name in names]
    points, image = (np.stack([*x, *x[:5]]) for x in zip(*cases, strict=True))
    weights = np.ones((12, 9), np.float32)
    weights[7:9] = [[0], [1e-9]]  # the derivative by a weight goes as 1 over their sum: 1e-30 is past float32
    weights[9, 1:] = 0  # one point seen
    weights[10, 2:] = 0  # two
    weights[11, 3:] = 0  # three
    for half in (slice(0, 6), slice(6, 12)):  # in sixes: the shapes of the other tests, compiled already
        data = points[half], image[half], weights[half]
        residual = {}
        for solve in (onp, linear):
            pose = solve(*data, with_scale=with_scale)
            residual[solve] = pose.residual
            gram = pose.rotation @ pose.rotation.mT
            np.testing.assert_allclose(gram, np.broadcast_to(np.eye(3), (6, 3, 3)), atol=2e-6)
            np.testing.assert_allclose(np.linalg.det(pose.rotation), 1, atol=2e-6)
            assert np.all(pose.scale >= 0)
            ones = jax.tree.map(jnp.ones_like, pose)
            for part in (*pose, *pullback(*data, ones, solve=solve, with_scale=with_scale)):
                assert np.isfinite(part).all()
        assert np.all(residual[onp] <= residual[linear] + 1e-5)
        if half.start == 0:
            np.testing.assert_allclose(residual[onp][names.index("flat, head-on")], 0, atol=1e-6)


@pytest.mark.parametrize("size", [1e-15, 1e15])
def test_extreme_scales(size):
    points, image, weights, *_ = (np.float32(x) for x in views(8, noise=0.2))
    size = np.float32(size)
    pose, scaled = onp(points, image, weights), onp(points * size, image * size, weights)
    np.testing.assert_allclose(scaled.rotation, pose.rotation, atol=1e-5)
    np.testing.assert_allclose(scaled.translation / size, pose.translation, atol=1e-5)
    weak, other = (
        onp(points, image, weights, with_scale=True),
        onp(points / size, image, weights, with_scale=True),
    )
    np.testing.assert_allclose(other.rotation, weak.rotation, atol=1e-5)
    np.testing.assert_allclose(other.scale / size, weak.scale, rtol=1e-4)
    turn = pose._replace(
        **{k: jnp.zeros_like(getattr(pose, k)) for k in ("translation", "scale", "residual")}
    )
    one, other = pullback(points, image, weights, turn), pullback(points * size, image * size, weights, turn)
    for a, b in zip(one[:2], other[:2], strict=True):
        np.testing.assert_allclose(b * size, a, rtol=1e-2, atol=1e-3)


def test_shapes_that_do_not_fit_are_refused():
    """Unwrapped, as the suite's own shape checks would come first."""
    with pytest.raises(InputError, match="fit together"):
        inspect.unwrap(solve_onp)(jnp.ones((2, 5, 3)), jnp.ones((2, 4, 2)))
    with pytest.raises(InputError, match="one for each point"):
        inspect.unwrap(solve_onp_linear)(jnp.ones((2, 5, 3)), jnp.ones((2, 5, 2)), jnp.ones((2, 4)))
