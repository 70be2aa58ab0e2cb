"""What a category's samples are under perspective: rays that the true shapes explain, whatever is held out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm import datasets
from jnrsfm.inputs.category_samples import kept, observe
from jnrsfm.methods.multicategory.objectives import reprojection

pytestmark = pytest.mark.fast


def test_true_shapes_explain_rays_off_the_axis_with_points_held_out(rng):
    landmarks, truth = datasets.make(
        "walker", frames=8, clips=1, camera="perspective", off_centre=0.1, missing=0.1, seed=3
    )
    n, p = np.asarray(landmarks.visible).shape
    with jax.enable_x64(True):
        samples, frames = observe(
            landmarks, np.zeros(n, int), np.ones((1, p), bool), np.ones(1), "perspective"
        )
        held = (rng.random((n, p)) < 0.1) * np.asarray(samples.weights)
        some = kept(samples, samples.weights - held, jnp.asarray(held))
        x = np.asarray(truth.camera_points, np.float64) @ np.asarray(frames.turn, np.float64).mT
        seen = np.asarray(some.weights)[..., None]
        depth = (seen * x).sum(1)[:, 2] / seen.sum(1)[:, 0]
        shape = x / (depth * np.asarray(samples.nearness))[:, None, None]
        gap = reprojection(
            jnp.asarray(shape),
            jnp.broadcast_to(jnp.eye(3), (n, 3, 3)),
            some.points,
            some.weights,
            some.nearness,
        )
        assert float(jnp.abs(some.weights[..., None] * gap).max()) < 1e-5
        assert (held > 0).any()
        assert float(jnp.abs(jnp.where(some.weights[..., None] > 0, 0.0, some.points)).max()) == 0
