"""What the multi-category lifter is given: points that stay in the loss alone, images of its camera."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.multicategory.cases import annotated
from jnrsfm.geometry.rotations import random_rotations
from jnrsfm.inputs.category_samples import Samples, centred
from jnrsfm.methods import multicategory as mc
from jnrsfm.methods.multicategory import objectives
from jnrsfm.methods.multicategory.network import Networks
from jnrsfm.models.lifter import Lifted
from jnrsfm.training import Session


@pytest.mark.fast
@pytest.mark.parametrize("variant", ["c3dpo-base", "ours"])
def test_points_hidden_from_the_network_stay_in_the_loss(rng, variant):
    """Ours-A: what the network is given, against what the loss is over. A flat shape leaves the image as the gap."""
    n, p = 40, 12
    weights = jnp.asarray(rng.random((n, p)) < 0.9, jnp.float32)
    points = centred(jnp.asarray(rng.normal(size=(n, p, 2)), jnp.float32), weights)
    given = []

    class Recorder(Networks):
        def lift(self, nets, state, points, seen, mode="frozen", context=None):
            given.append((np.asarray(points), np.asarray(seen)))
            turn = jnp.broadcast_to(jnp.eye(3), (n, 3, 3))
            return Lifted(jnp.zeros((n, p, 3)), turn, jnp.zeros((n, 2))), state

    nothing = jnp.zeros((n, p, 3))
    batch = Samples(
        points, weights, 0 * weights, jnp.ones((n, p)), jnp.zeros(n, int), nothing, nothing, jnp.zeros(n)
    )
    network = Recorder.of(mc.MultiCategory(variant=variant).network(p, 1, p))
    config = mc.MultiCategory(variant=variant, hide=0.4, in_plane=0.0)
    some = objectives.Objectives(network, config, Session())
    _, (parts, _) = some.objective({}, {}, batch, jax.random.key(0), {}, cycle=variant == "ours")
    everything = objectives._mean(objectives._huber(jnp.sum(points**2, -1)), weights)
    np.testing.assert_allclose(parts["reprojection"], everything, rtol=1e-5)
    assert len(given) == (3 if variant == "ours" else 2)  # the cycle's image is hidden like the sample
    for image, seen in given:
        np.testing.assert_array_equal(seen, given[0][1])
        assert (seen <= weights).all()
        assert (seen.sum(1) >= 4).all()
        assert 0.12 < 1 - seen.sum() / weights.sum() < 0.28  # shares uniform in [0, 0.4]
        assert not image[seen == 0].any()
        np.testing.assert_allclose(image.sum(1), 0, atol=1e-5)
    given.clear()
    objectives.Objectives(network, mc.MultiCategory(variant=variant), Session()).objective(
        {}, {}, batch, jax.random.key(0), {}, cycle=False
    )
    np.testing.assert_array_equal(given[0][1], weights)  # by default nothing is hidden


@pytest.mark.fast
def test_annotated_keypoints_are_of_the_samples_that_are_fitted(make_categories):
    data = landmarks, reference = make_categories(np.random.default_rng(0), 6)
    split = lambda _: (np.arange(3, 12), np.arange(3))
    changed, same = annotated(split)(data)
    assert same is reference
    visible, before, defined = (
        np.asarray(x) for x in (changed.visible, landmarks.visible, landmarks.defined)
    )
    assert (before[3:] != defined[3:]).any()
    np.testing.assert_array_equal(visible, np.concatenate([before[:3], defined[3:]]))
    np.testing.assert_array_equal(changed.points2d[:3], landmarks.points2d[:3])
    image = np.where(defined[..., None], np.asarray(reference.points2d), 0)
    np.testing.assert_allclose(changed.points2d[3:], image[3:], rtol=1e-5)


@pytest.mark.fast
def test_synthetic_views_are_of_the_camera_model(rng):
    """An image made of a shape under perspective leaves no residual, whatever camera it is seen by."""
    n, p = 6, 8
    shape = jnp.asarray(rng.normal(size=(n, p, 3)), jnp.float32)
    turns = random_rotations(jax.random.key(0), (n,))
    weights = jnp.asarray(rng.random((n, p)) < 0.8, jnp.float32)
    nearness = jnp.asarray(rng.uniform(0.1, 0.3, n), jnp.float32)
    batch = Samples(None, weights, None, None, None, None, None, nearness)
    for camera, residual in (("perspective", 0.0), ("orthographic", None)):
        kind = dataclasses.replace(mc.MultiCategory().network(p, 1, p), perspective=camera == "perspective")
        views = objectives.Objectives(Networks.of(kind), mc.MultiCategory(), Session())
        image = views.image(shape, turns, weights, batch)
        assert (views.near(batch) is None) == (camera == "orthographic")
        gap = weights[..., None] * mc.reprojection(shape, turns, image, weights, nearness)
        if residual is None:
            assert np.abs(np.asarray(gap)).max() > 0.05
        else:
            np.testing.assert_allclose(gap, residual, atol=1e-5)
            np.testing.assert_allclose((weights[..., None] * image).sum(1), 0, atol=1e-5)
