"""Cameras: projections against NumPy, pixels to rays and back, the virtual camera that looks at the object."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from jnrsfm.geometry import cameras

look_at = jax.jit(cameras.look_at)
pixels_to_rays = jax.jit(cameras.pixels_to_rays)
posit_points = jax.jit(cameras.posit_points)
project_near = jax.jit(cameras.project_near)
project_orthographic = jax.jit(cameras.project_orthographic)
project_perspective = jax.jit(cameras.project_perspective)
rotate_rays = jax.jit(cameras.rotate_rays)

K = np.array([[800.0, 3.0, 320.0], [0.0, 780.0, 240.0], [0.0, 0.0, 1.0]])


def scene(seed, lead=(3,)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*lead, 6, 3)) + rng.normal((0, 0, 8), size=(*lead, 1, 3))


@pytest.mark.fast
def test_projections(dtype):
    points = scene(0).astype(dtype)
    atol = 1e-3 if dtype == np.float32 else 1e-9
    intrinsics = np.broadcast_to(K, (3, 3, 3)).astype(dtype)
    homogeneous = points.astype(np.float64) @ K.T
    pixels = project_perspective(points, intrinsics)
    assert pixels.dtype == dtype
    np.testing.assert_allclose(pixels, homogeneous[..., :2] / homogeneous[..., 2:], atol=atol)
    rays = project_perspective(points)
    np.testing.assert_allclose(rays, points[..., :2] / points[..., 2:], rtol=1e-6)
    np.testing.assert_allclose(pixels_to_rays(pixels, intrinsics), rays, atol=atol / 100)
    np.testing.assert_array_equal(project_orthographic(points), points[..., :2])


def test_numpy_arrays_will_do_outside_of_jit():
    points = np.float32(scene(0))
    pixels = cameras.project_perspective(points, np.float32(np.broadcast_to(K, (3, 3, 3))))
    rays = cameras.pixels_to_rays(np.asarray(pixels), np.float32(K)[None])
    turn = cameras.look_at(points[:, 0])
    np.testing.assert_allclose(rays, points[..., :2] / points[..., 2:], atol=1e-4)
    assert not np.any(cameras.rotate_rays(np.asarray(rays), np.asarray(turn))[:, 0].round(3))
    np.testing.assert_array_equal(cameras.project_orthographic(points), points[..., :2])


def test_one_camera_serves_many_frames():
    pixels = np.float32(100 * scene(1, (2, 3))[..., :2])
    one = jnp.asarray(K, jnp.float32)
    shared = pixels_to_rays(pixels, one[None, None])
    np.testing.assert_allclose(shared, jax.vmap(jax.vmap(pixels_to_rays, (0, None)), (0, None))(pixels, one))


def test_look_at_is_the_smallest_rotation():
    rng = np.random.default_rng(2)
    directions = np.concatenate(
        [rng.normal(size=(20, 3)) * [1, 1, 0.5] + [0, 0, 1], [[0, 0, 1], [0, 0, 5], [1, 0, 0]]]
    )
    directions = directions[directions[:, 2] > -0.5]
    with jax.enable_x64(True):
        g = np.asarray(look_at(jnp.asarray(directions)))
        unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        np.testing.assert_allclose(
            np.einsum("nij,nj->ni", g, unit), np.broadcast_to([0, 0, 1], unit.shape), atol=1e-12
        )
        np.testing.assert_allclose(g @ g.mT, np.broadcast_to(np.eye(3), g.shape), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(g), 1)
        angle = np.arccos(np.clip(unit[:, 2], -1, 1))
        np.testing.assert_allclose(Rotation.from_matrix(g).magnitude(), angle, atol=1e-7)
        check_grads(jax.jit(look_at), (jnp.asarray(directions),), order=1, modes=("rev",))


def test_turning_the_camera_is_exact():
    """Rays turned as a plane homography are the projections of the turned points, whatever their depths."""
    points = scene(3)
    with jax.enable_x64(True):
        turn = look_at(jnp.asarray(points.mean(1)))
        rays = project_perspective(jnp.asarray(points))
        turned = points @ np.swapaxes(turn, -1, -2)
        np.testing.assert_allclose(rotate_rays(rays, turn), turned[..., :2] / turned[..., 2:], atol=1e-12)
        np.testing.assert_allclose(turned @ turn, points, atol=1e-12)
        # The object's mean is now straight ahead.
        np.testing.assert_allclose(turned.mean(1)[:, :2], 0, atol=1e-12)


def test_posit_points_are_those_of_an_orthographic_camera(rng):
    """Rays times the centre's depth, corrected by the true depths: x and y but for one translation."""
    with jax.enable_x64(True):
        shape, depth = rng.normal(size=(5, 9, 3)), rng.uniform(5, 9, 5)
        weights = (rng.random((5, 9)) < 0.7).astype(float)
        middle = (weights * shape[..., 2]).sum(1) / weights.sum(1)
        placed = shape + np.array([0.3, -0.2, 0]) + (depth - middle)[:, None, None] * np.array([0, 0, 1.0])
        points = np.asarray(project_perspective(placed)) * depth[:, None, None]
        near = 1 / depth
        found = np.asarray(posit_points(points, shape[..., 2] + 7, weights, near))  # z about its own mean
        np.testing.assert_allclose(found, placed[..., :2], atol=1e-12)
        np.testing.assert_array_equal(posit_points(points, shape[..., 2], weights, 0 * near), points)
        back = np.asarray(project_near(shape, weights, near))
        np.testing.assert_allclose((weights[..., None] * back).sum(1), 0, atol=1e-12)
        gap = np.asarray(posit_points(back, shape[..., 2], weights, near)) - shape[..., :2]
        np.testing.assert_allclose(gap, np.broadcast_to(gap[:, :1], gap.shape), atol=1e-12)
        # a point at the camera, or behind it, does not fold the image
        behind = posit_points(np.ones((1, 2, 2)), np.array([[0.0, -50]]), np.ones((1, 2)), np.ones(1))
        assert (np.asarray(behind) > 0).all()
