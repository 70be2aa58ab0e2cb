"""Losses of trajectory fields, each against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.losses import field

pytestmark = pytest.mark.fast


def test_space_without_density_is_empty_and_the_reverse():
    np.testing.assert_allclose(
        field.emptiness(jnp.array([0.0, 1.5, 100.0])), [1 / (1 + np.exp(-3)), 0.5, 0], atol=1e-6
    )


def test_what_comes_into_empty_space_is_occlusion_and_nothing_else_is():
    full, none = 100.0, -100.0  # limits: a raw value far below 0 is empty for sure
    found = field.occlusion(jnp.array([none, none, full, full]), jnp.array([full, none, full, none]))
    np.testing.assert_allclose(found, [1, 0, 0, 0], atol=1e-6)
    grad = lambda attached: jax.grad(lambda s: field.occlusion(s, jnp.ones(()), attached))(jnp.ones(()))
    assert grad(True) != 0
    assert grad(False) == 0


def test_blending_takes_the_field_at_start_where_it_is_occluded():
    one, two = (jnp.array([2.0]), jnp.array([[1.0, 0, 0]])), (jnp.array([6.0]), jnp.array([[0.0, 0, 1.0]]))
    for p, density, colour in ((1.0, 2.0, [1, 0, 0]), (0.0, 6.0, [0, 0, 1]), (0.25, 5.0, [0.1, 0, 0.9])):
        d, c = field.blended(jnp.array([p]), one, two)
        np.testing.assert_allclose(d, [density], rtol=1e-6)
        np.testing.assert_allclose(c[0], colour, atol=1e-6)
    empty = (jnp.zeros(1), jnp.ones((1, 3)))
    grad = jax.grad(lambda s: field.blended(jnp.array([0.5]), (s, empty[1]), empty)[1].sum())(jnp.zeros(1))
    assert np.isfinite(grad).all()


def test_a_cycle_costs_what_is_written():
    phi = jnp.zeros((1, 2, 1, 3)).at[0, 0, 0, 0].set(1.0)  # |phi - phi'| = 1 at the first sample
    loss = field.cycle(
        jnp.array([[0.5, 0.0]]), (phi, jnp.zeros_like(phi)), (jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0]])),
        (jnp.zeros((1, 2, 3)), jnp.full((1, 2, 3), 0.1)),
    )  # fmt: skip
    first, second = 0.5 * (1 + 0.1 * 0.3), 0.1 * (2 + 0.3)
    np.testing.assert_allclose(loss, [(first + second) / 2], rtol=1e-6)


def test_a_single_surface_costs_nothing_and_two_cost_half():
    shares = jnp.array([[0.1, 0.12, 0.6, 0.9]] * 3)
    weights = jnp.array([[0.3, 0.3, 0, 0], [0.25, 0.25, 0.5, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(field.single_surface(weights, shares, 0.05), [0, 0.5, 0], atol=1e-6)


def test_paths_that_move_as_one_body_cost_their_flow_alone():
    points = jnp.array([[[0.0, 0, 1], [0.0, 0, 2], [0.0, 0, 3]]])
    shift = jnp.array([0.1, -0.2, 0])
    space, rigid, flow = field.path_terms(points, points + shift, points + 3 * shift, jnp.zeros((1, 3)))
    np.testing.assert_allclose([space[0], rigid[0], flow[0]], [0, 0, 0.3], atol=1e-6)
    far = points.at[0, 2, 0].add(1.0)  # one neighbour runs away; half of the space there is empty
    _, rigid, _ = field.path_terms(points, points, far, jnp.array([[0.0, 0.5, 0.0]]))
    np.testing.assert_allclose(rigid, [0.5 / 2], rtol=1e-6)


def test_flow_counts_where_it_is_valid_in_widths():
    found = jnp.array([[12.0, 5.0], [0.0, 0.0]])
    pixel, flow = jnp.array([[10.0, 5.0], [1.0, 1.0]]), jnp.array([[1.0, 1.0], [9.0, jnp.nan]])
    loss = field.flow_distance(found, pixel, flow, jnp.array([True, False]), 10.0)
    np.testing.assert_allclose(loss, [0.2, 0])


def test_depth_is_blind_to_scale_and_offset_of_each_image():
    found = jnp.array([1.0, 2.0, 3.0, 10.0, 30.0, 20.0])
    image = jnp.array([0, 0, 0, 1, 1, 1])
    scale, shift = jnp.array([2.0, 0.1])[image], jnp.array([5.0, -3.0])[image]
    loss = field.affine_depth(found, scale * found + shift, jnp.ones(6), image, 2)
    np.testing.assert_allclose(loss, 0, atol=1e-8)
    given = jnp.array([1.0, 3.0, 2.0, 10.0, 30.0, 20.0])  # two of the first image change places
    loss = field.affine_depth(found, given, jnp.ones(6), image, 2)
    # centred and by the mean absolute deviation 2/3: (-1.5, 0, 1.5) against (-1.5, 1.5, 0)
    np.testing.assert_allclose(loss, [0, 2.25, 2.25, 0, 0, 0], atol=1e-5)
    hidden = field.affine_depth(found, given.at[1].set(1e3), jnp.array([1.0, 0, 1, 1, 1, 1]), image, 2)
    np.testing.assert_allclose(hidden, 0, atol=1e-8)  # what has no weight says nothing
    assert np.isfinite(
        jax.grad(lambda f: field.affine_depth(f, f, jnp.ones(6), image, 2).sum())(jnp.ones(6))
    ).all()


def test_photometric_is_the_mean_square_over_channels():
    np.testing.assert_allclose(
        field.photometric(jnp.array([[0.0, 0.5, 1.0]]), jnp.array([[0.0, 0.0, 0.0]])), 1.25 / 3
    )
