"""Rays, sampling, volume rendering and coordinates of scenes: laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.geometry import dct_displacement_basis, random_rotations, rays
from jnrsfm.geometry.scene_space import SceneSpace, forward_facing
from jnrsfm.geometry.trajectory import dct_displacements_at, to_trajectory

pytestmark = pytest.mark.fast


def test_projecting_a_point_of_a_ray_gives_its_pixel_and_its_depth(key):
    pose = jnp.concatenate(
        [random_rotations(key, (3,)), jnp.array([[1.0, 2, 3], [0, 0, 0], [-1, 0, 2]])[..., None]], -1
    )
    k = jnp.tile(jnp.array([[50.0, 0, 31.5], [0, 55.0, 23.5], [0, 0, 1]]), (3, 1, 1))
    pixels = jnp.array([[0.0, 0.0], [31.5, 23.5], [10.0, 40.0]])
    origin, direction = rays.pixel_rays(pose, k, pixels)
    point = origin + 2.5 * direction
    np.testing.assert_allclose(rays.project(pose, k, point), pixels, atol=2e-4)
    np.testing.assert_allclose(((point - origin) * pose[:, :, 2]).sum(-1), 2.5, rtol=1e-5)


def test_a_slab_of_constant_density_is_what_integration_says():
    """Density s from 1 to 3, colour rising with depth: opacity `1 - exp(-2 s)`, and its mean depth in closed form."""
    n, s = 4000, 1.7
    depths = rays.depth_of(rays.stratified(None, (1,), n), 0.0, 4.0)
    points = jnp.stack([jnp.zeros_like(depths), jnp.zeros_like(depths), depths], -1)
    inside = (depths > 1) & (depths < 3)
    weights, passed = rays.volume_weights(s * inside, rays.chords(points, jnp.array([[0.0, 0, 4]])))
    opacity = 1 - np.exp(-2 * s)
    assert float(1 - passed[0]) == pytest.approx(opacity, rel=2e-3)
    assert float(weights.sum()) == pytest.approx(opacity, rel=2e-3)
    mean = (1 * opacity + (1 - np.exp(-2 * s) * (1 + 2 * s)) / s) / opacity
    assert float((weights * depths).sum() / weights.sum()) == pytest.approx(mean, rel=2e-3)


@pytest.mark.parametrize("density", [0.0, 1e-30, 1e6])
def test_gradients_are_finite_at_no_density_and_at_any(density):
    length = jnp.full((2, 5), 0.3)
    f = lambda d: (
        (rays.volume_weights(d, length)[0] * jnp.arange(5)).sum() + rays.volume_weights(d, length)[1].sum()
    )
    value, grad = jax.value_and_grad(f)(jnp.full((2, 5), density))
    assert np.isfinite(value)
    assert np.isfinite(grad).all()
    if density == 0:  # d weight_i / d density_i = length at nothing before; what passes loses it
        np.testing.assert_allclose(grad[0], 0.3 * (jnp.arange(5) - 1), rtol=1e-5)


def test_weights_and_what_passes_add_up_to_one(key):
    density = 10 * jax.random.uniform(key, (7, 9))
    weights, passed = rays.volume_weights(density, jnp.full((7, 9), 0.2))
    np.testing.assert_allclose(weights.sum(-1) + passed, 1, rtol=1e-5)


def test_chords_where_samples_meet_have_a_gradient():
    f = lambda p: rays.chords(p, p[..., -1, :]).sum()
    assert np.isfinite(jax.grad(f)(jnp.zeros((2, 3, 3)))).all()


def test_samples_are_drawn_where_the_weight_is(key):
    shares = rays.stratified(None, (1,), 10)
    weights = jnp.zeros((1, 10)).at[0, 3].set(2.0).at[0, 7].set(1.0)
    found = np.asarray(rays.resampled(key, shares, weights, 3000, floor=0.0))[0]
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0.3 - 1e-6) & (found <= 0.4 + 1e-6)).mean() == pytest.approx(2 / 3, abs=0.01)
    assert ((found >= 0.7 - 1e-6) & (found <= 0.8 + 1e-6)).mean() == pytest.approx(1 / 3, abs=0.01)
    even = np.asarray(rays.resampled(None, shares, jnp.zeros((1, 10)), 10))[0]  # nothing known: evenly
    np.testing.assert_allclose(even, shares[0], atol=1e-5)


def test_disparity_spacing_is_even_in_disparity_and_meets_the_ends():
    z = rays.depth_of(jnp.linspace(0, 1, 5), 0.5, 8.0, "disparity")
    np.testing.assert_allclose(z[jnp.array([0, -1])], [0.5, 8.0], rtol=1e-6)
    np.testing.assert_allclose(np.diff(1 / z), np.diff(1 / z)[0], rtol=1e-5)


SPACES = {
    "box": SceneSpace("box", (1.0, 0.0, -2.0), 3.0),
    "contracted": SceneSpace("contracted", (1.0, 0.0, -2.0), 1.5),
    "ndc": SceneSpace(
        "ndc", (0.1, 0.0, -4.0), 0.5, ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)), (0.8, 0.6)
    ),
}


@pytest.mark.parametrize("kind", SPACES)
def test_coordinates_there_and_back(kind, key):
    space = SPACES[kind]
    points = jax.random.uniform(key, (50, 3), minval=-1, maxval=1) * jnp.array([5.0, 2, 2]) + jnp.array(
        [1.0, 0, -2]
    )
    if kind == "ndc":  # before its camera
        local = jax.random.uniform(key, (50, 3), minval=0.5, maxval=6) * jnp.array([1.0, -1, 1])
        points = local @ jnp.array(space.turn).T + jnp.array(space.centre)
    there = space.field_from_world(points)
    np.testing.assert_allclose(space.world_from_field(there), points, rtol=2e-4, atol=2e-4)
    if kind != "box":
        assert (np.abs(np.asarray(there)[:, 2]) <= 1).all()
    grad = jax.grad(lambda x: space.field_from_world(x).sum())(jnp.array([space.centre]))
    assert np.isfinite(grad).all()


def test_ndc_keeps_lines_straight_and_is_even_in_disparity():
    space = SPACES["ndc"]
    z = rays.depth_of(jnp.linspace(0, 1, 6), 0.5, 50.0, "disparity")[:, None]
    direction = jnp.array([0.3, -0.2, 1.0]) @ jnp.array(space.turn).T
    u = space.field_from_world(z * direction + jnp.array(space.centre))
    np.testing.assert_allclose(np.diff(u[:, 2]), np.diff(u[:, 2])[0], rtol=1e-3)
    beside = space.field_from_world(z * direction + jnp.array(space.centre) + jnp.array([0.2, 0.5, 0.3]))
    steps = np.diff(np.asarray(beside, np.float64), axis=0)
    steps = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    np.testing.assert_allclose(steps, np.tile(steps[:1], (5, 1)), atol=1e-4)


def test_forward_facing_cameras_see_their_near_plane_inside():
    angle = np.radians([-15.0, 0, 15])
    turn = np.array([[[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]] for a in angle])
    poses = np.concatenate([turn, -2 * turn[:, :, 2:]], -1)
    space = forward_facing(poses, (0.5, 0.4), 1.0)
    corners = np.array([[x, y, 1.0] for x in (-0.5, 0.5) for y in (-0.4, 0.4)])
    seen = np.concatenate([corners @ p[:, :3].T + p[:, 3] for p in poses])
    assert np.abs(space.field_from_world(jnp.asarray(seen, jnp.float32))[:, :2]).max() <= 1 + 1e-5
    round_about = np.zeros((2, 3, 4))
    round_about[0, :, :3], round_about[1, :, :3] = np.eye(3), np.diag([-1.0, 1, -1])
    with pytest.raises(InputError, match="face all ways"):
        forward_facing(round_about, (0.5, 0.4), 1.0)


def test_the_cosines_between_frames_are_those_at_frames():
    """Eq. 6.3: the basis at whole times, its inverse, and its derivative against finite differences."""
    basis = dct_displacement_basis(9, 5)
    np.testing.assert_allclose(dct_displacements_at(jnp.arange(9.0), 9, 5), basis, atol=1e-6)
    path = to_trajectory(jnp.eye(5)[:, :1], basis)
    np.testing.assert_allclose(basis.T @ path, jnp.eye(5)[:, :1], atol=1e-6)
    grad = jax.vmap(jax.grad(lambda t: dct_displacements_at(t, 9, 5).sum()))(jnp.array([0.3, 4.0, 7.9]))
    h = 1e-2
    ends = [dct_displacements_at(jnp.array([0.3, 4.0, 7.9]) + e, 9, 5).sum(-1) for e in (h, -h)]
    np.testing.assert_allclose(grad, (ends[0] - ends[1]) / (2 * h), atol=2e-3)
    with pytest.raises(ValueError):
        dct_displacements_at(jnp.zeros(2), 5, 5)
