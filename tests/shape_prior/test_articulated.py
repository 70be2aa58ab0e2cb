"""The energy of articulated figures: its gradient, and what it cannot see."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.shape_prior import articulated as prior
from jnrsfm.shape_prior.articulated import Figure, Sigmas, Tracks

BONES = np.array([[0, 1], [1, 2], [1, 3], [3, 4]])
SIGMAS = Sigmas(0.01, 0.03, 0.05, 0.05, 0.03, 0.7, 1.0, 0.2, 0.7, 0.5)


def chain(seed: int = 0, frames: int = 6) -> tuple[Figure, Tracks]:
    """A small figure that moves at random, and its tracks."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(frames, 5, 3))
    tracks = Tracks(
        x[..., :2] + 0.01 * rng.normal(size=(frames, 5, 2)),
        np.ones((frames, 5)),
        np.ones(frames - 1),
        BONES,
        np.arange(4),
        rng.uniform(0.8, 1.2, frames),
    )
    figure = Figure(x, 0.1 * rng.normal(size=frames), 0.1 * rng.normal(size=4), 0.1 * rng.normal(size=frames))
    return figure, tracks


def turns(frames: int = 6) -> np.ndarray:
    """Some rotations."""
    return np.asarray(
        prior.aligned(jnp.asarray(np.random.default_rng(3).normal(size=(frames, 5, 3))), jnp.ones((5, 3)))
    )


@pytest.mark.parametrize("spoil", ["generic", "still", "one place", "flat"])
def test_the_gradient_is_that_of_differences(spoil):
    with jax.enable_x64(True):
        figure, tracks = jax.tree.map(jnp.asarray, chain())
        if spoil == "still":
            figure = figure._replace(x=jnp.repeat(figure.x[:1], 6, 0))
        if spoil == "one place":  # bones of no length
            figure = figure._replace(x=figure.x.at[:, 1].set(figure.x[:, 0]))
        if spoil == "flat":  # no depth, whose log is wanted
            figure = figure._replace(x=figure.x.at[..., 2].set(0))
        rotations = jnp.asarray(turns(), jnp.float64)
        value = lambda f: prior.energy(f, rotations, tracks, SIGMAS)
        slope = jax.grad(value)(figure)
        rng = np.random.default_rng(1)
        way = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), figure)
        h = 1e-6
        move = lambda s: jax.tree.map(lambda a, w: a + s * h * w, figure, way)
        wanted = (value(move(1)) - value(move(-1))) / (2 * h)
        found = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(way), strict=True))
        chex.assert_tree_all_finite(slope)
        assert abs(float(found - wanted)) < 1e-5 * max(1.0, abs(float(wanted)))


def test_the_energy_knows_no_depth_reflection_and_no_size():
    figure, tracks = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), chain())
    tracks = tracks._replace(bones=jnp.asarray(BONES), length_of=jnp.arange(4))
    rotations, flip = jnp.asarray(turns(), jnp.float32), jnp.array([1.0, 1.0, -1.0])
    first = prior.energy(figure, rotations, tracks, SIGMAS)
    # what was near is far, and looks as large: the camera's side changes too
    seen = figure._replace(x=figure.x * flip, near=-figure.near)
    turned = flip[:, None] * rotations * flip  # the reflected object's rotations
    assert abs(float(first - prior.energy(seen, turned, tracks, SIGMAS))) < 1e-3
    # a common factor of all scales is not seen: it has no meaning
    bigger = figure._replace(log_scale=figure.log_scale + 0.7)
    assert abs(float(first - prior.energy(bigger, rotations, tracks, SIGMAS))) < 1e-3


def test_near_points_look_larger():
    """X of the docstring by hand: the image of X through a pinhole is x again."""
    x = np.random.default_rng(2).normal(size=(3, 5, 3))
    x[..., 2] -= x[..., 2].mean(1, keepdims=True)
    near = np.array([0.0, 0.1, -0.1])
    figure = Figure(*map(jnp.asarray, (x, np.zeros(3), np.zeros(4), near)))
    found = np.asarray(prior.scaled(figure))
    found = (
        found
        - found[:, :1]
        + (x * (1 + near[:, None, None] * x[..., 2:]))[:, :1] * [1, 1, 0]
        + x[:, :1] * [0, 0, 1]
    )
    image = found[..., :2] / (1 + near[:, None] * found[..., 2])[..., None]
    np.testing.assert_allclose(image, x[..., :2], atol=1e-5)
    np.testing.assert_allclose(found[..., 2], x[..., 2], atol=1e-5)


def test_the_depth_of_the_whole_costs_the_square_of_its_log():
    with jax.enable_x64(True):
        figure, tracks = jax.tree.map(jnp.asarray, chain())
        x = figure.x.at[..., 2].add(-figure.x[..., 2].mean(-1, keepdims=True))
        figure = figure._replace(x=x, log_scale=jnp.zeros(6))
        rotations, deep = jnp.asarray(turns(), jnp.float64), float(jnp.sqrt(jnp.mean(x[..., 2] ** 2)))
        for share in (0.5, 1.0, 3.0):
            with_it = SIGMAS._replace(extent=deep / share, relief=0.4)
            found = prior.energy(figure, rotations, tracks, with_it)
            found -= prior.energy(figure, rotations, tracks, with_it._replace(relief=1e6))
            assert float(found) == pytest.approx(np.log(share) ** 2 / 0.32, abs=2e-3)
