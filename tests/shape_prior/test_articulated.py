"""The energy of articulated figures: its gradient, what the proposals keep, and that the truth is a low place of it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.datasets import make
from jnrsfm.shape_prior import articulated as prior
from jnrsfm.shape_prior.articulated import Figure, Sigmas, Tracks

BONES = np.array([[0, 1], [1, 2], [1, 3], [3, 4]])
SIGMAS = Sigmas(0.01, 0.03, 0.05, 0.05, 0.03, 1.0)


def chain(seed: int = 0, frames: int = 6) -> tuple[Figure, Tracks]:
    """A small figure that moves at random, and its tracks."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(frames, 5, 3))
    tracks = Tracks(
        x[..., :2] + 0.01 * rng.normal(size=(frames, 5, 2)), np.ones((frames, 5)), np.ones(frames - 1), BONES
    )
    return Figure(x, 0.1 * rng.normal(size=frames), 0.1 * rng.normal(size=4)), tracks


def turns(frames: int = 6) -> np.ndarray:
    """Some rotations."""
    return np.asarray(
        prior.aligned(jnp.asarray(np.random.default_rng(3).normal(size=(frames, 5, 3))), jnp.ones((5, 3)))
    )


@pytest.mark.parametrize("spoil", ["generic", "still", "one place"])
def test_the_gradient_is_that_of_differences(spoil):
    with jax.enable_x64(True):
        figure, tracks = jax.tree.map(jnp.asarray, chain())
        if spoil == "still":
            figure = figure._replace(x=jnp.repeat(figure.x[:1], 6, 0))
        if spoil == "one place":  # bones of no length
            figure = figure._replace(x=figure.x.at[:, 1].set(figure.x[:, 0]))
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
    tracks = tracks._replace(bones=jnp.asarray(BONES))
    rotations, flip = jnp.asarray(turns(), jnp.float32), jnp.array([1.0, 1.0, -1.0])
    first = prior.energy(figure, rotations, tracks, SIGMAS)
    seen = figure._replace(x=figure.x * flip)
    turned = flip[:, None] * rotations * flip  # the reflected object's rotations
    assert abs(float(first - prior.energy(seen, turned, tracks, SIGMAS))) < 1e-3
    # a common factor of all scales is not seen: it has no meaning
    bigger = figure._replace(log_scale=figure.log_scale + 0.7)
    assert abs(float(first - prior.energy(bigger, rotations, tracks, SIGMAS))) < 1e-3


def test_proposals_keep_the_image_and_the_bones():
    x = np.random.default_rng(2).normal(size=(40, 5, 3)).cumsum(0) * 0.1 + np.arange(15).reshape(5, 3)
    parent, below = prior.spanning_tree(BONES, 5)
    assert sorted(np.flatnonzero(parent < 0)) == [1]  # the most joined point is the root
    length = lambda y: np.linalg.norm(y[:, BONES[:, 0]] - y[:, BONES[:, 1]], axis=-1)
    proposals = prior.flips(x, parent, below)
    assert len(proposals) > 4
    for y in proposals:
        assert np.abs(y - x).max() > 1e-6
        np.testing.assert_array_equal(y[..., :2], x[..., :2])
        np.testing.assert_allclose(length(y), length(x), atol=1e-9)


def test_a_bone_without_a_joint_hangs_on_nothing():
    parent, below = prior.spanning_tree(np.array([[0, 1], [3, 4]]), 6)
    assert (parent[[2, 5]] == -1).all()
    assert below[2].sum() == 1
    assert sorted(parent[[0, 1]]) in ([-1, 0], [-1, 1])


def test_pairs_of_constant_distance_are_found():
    rng = np.random.default_rng(0)
    x = np.zeros((60, 4, 3))
    for i in range(1, 4):  # a chain in this order: neighbours keep their distance
        way = rng.normal(size=(60, 3))
        x[:, i] = x[:, i - 1] + way / np.linalg.norm(way, axis=1, keepdims=True)
    assert sorted(tuple(sorted(map(int, p))) for p in prior.rigid_pairs(x)) == [(0, 1), (1, 2), (2, 3)]


def test_a_wrong_bone_costs_more_than_the_truth():
    landmarks, truth = make("quadruped", seed=3, frames=60, clips=1, camera="orthographic", view="orbit")
    x = np.asarray(truth.camera_points, np.float32)
    x = x - x.mean(1, keepdims=True)
    x = x / np.sqrt((x[..., :2] ** 2).sum(-1).mean())
    bones = np.asarray(landmarks.edges)
    ones = np.ones(x.shape[:2], np.float32)
    tracks = Tracks(jnp.asarray(x[..., :2]), jnp.asarray(ones), jnp.ones(59), jnp.asarray(bones))
    figure = Figure(jnp.asarray(x), jnp.zeros(60), jnp.zeros(len(bones)))
    lengths = jnp.log(jnp.median(prior.bone_lengths(prior.scaled(figure), tracks.bones), 0))
    figure = figure._replace(log_length=lengths)
    mean = jnp.asarray(x[0])
    for _ in range(10):
        mean = prior.mean_shape(figure, prior.aligned(prior.scaled(figure), mean))
    known = prior.prior_of(figure, prior.aligned(prior.scaled(figure), mean), SIGMAS)
    proposals = prior.flips(x, *prior.spanning_tree(bones, x.shape[1]), most=0)[:15]
    block = jnp.asarray(np.stack([x, *proposals]))
    cost = np.asarray(
        prior.local(
            block, jnp.zeros((16, 60)), lengths, tracks, jnp.ones(60), known, SIGMAS, rounds=1, inner=5
        )[2]
    )
    assert (cost[1:] > cost[0]).all()
