"""Losses of meshes against values worked out by hand, and what must not matter to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.losses import mesh as losses

pytestmark = pytest.mark.fast


def test_motion():
    """Two vertices: off by (1, -2) and by (0, 0.5); a third is not seen. Mean over two: (3 + 0.5) / 2."""
    now = jnp.array([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]])
    then = jnp.array([[2.0, 1.0], [1.0, 2.0], [0.0, 0.0]])
    flow = jnp.array([[1.0, 3.0], [0.0, 0.5], [7.0, 7.0]])
    assert losses.motion(now, then, flow, jnp.array([1.0, 1.0, 0.0])) == pytest.approx(1.75)
    assert losses.motion(now, then, flow, jnp.zeros(3)) == 0


def test_keypoints_and_labels_without_weight():
    """Distances 5 and 0 of two labels, the third is missing and NaN."""
    found = jnp.array([[[3.0, 4.0], [1.0, 1.0], [2.0, 2.0]]])
    labels = jnp.array([[[0.0, 0.0], [1.0, 1.0], [np.nan, np.nan]]])
    weights = jnp.array([[1.0, 1.0, 0.0]])
    assert losses.keypoints(found, labels, weights) == pytest.approx(2.5, abs=1e-5)
    slope = jax.grad(lambda f: losses.keypoints(f, labels, weights).sum())(found)
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope[0, 0], [0.3, 0.4], rtol=1e-5)


def test_mask_is_the_area_that_differs():
    """Three of four pixels given, one of them missed and one too many: 2 / 3."""
    given = jnp.array([[1.0, 1.0], [1.0, 0.0]])
    found = jnp.array([[1.0, 0.0], [1.0, 1.0]])
    assert losses.mask(found, given) == pytest.approx(2 / 3)


def test_boundary_both_ways():
    points = jnp.array([[0.0, 0.0], [4.0, 0.0]])
    rim = jnp.array([[0.0, 3.0], [4.0, 1.0], [50.0, 50.0]])
    assert losses.outside(jnp.array([0.0, 2.0, 1.0])) == 1
    assert losses.uncovered(points, rim, jnp.array([1.0, 1.0, 0.0])) == pytest.approx(2.0)


def test_rigidity_and_steadiness():
    """Edges of length 2 and 1 that were 1 and 1: (1 + 0) / 2. Turning and shifting change nothing."""
    vertices = jnp.array([[0.0, 0, 0], [2.0, 0, 0], [2.0, 1, 0]])
    pairs, lengths = jnp.array([[0, 1], [1, 2]]), jnp.array([1.0, 1.0])
    assert losses.local_rigidity(vertices, pairs, lengths) == pytest.approx(0.5, abs=1e-5)
    turned = vertices @ jnp.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]) + 3.0
    assert losses.local_rigidity(turned, pairs, lengths) == pytest.approx(0.5, abs=1e-5)
    assert losses.steadiness(jnp.zeros((2, 3)), jnp.array([[3.0, 4, 0], [0, 0, 0]])) == pytest.approx(12.5)


def test_texture_is_the_mean_of_what_is_seen():
    """Two frames, two vertices; the second vertex is seen once alone, what it shows unseen is not a number."""
    colours = np.zeros((2, 2, 3), np.float32)
    colours[0, 0], colours[1, 0] = [0.2, 0.4, 0.6], [0.4, 0.4, 0.0]
    colours[0, 1], colours[1, 1] = [0.9, 0.9, 0.9], np.nan
    weights = np.array([[1.0, 1.0], [1.0, 0.0]], np.float32)
    loss, shown = losses.texture(jnp.asarray(colours), jnp.asarray(weights))
    np.testing.assert_allclose(shown, [[0.3, 0.4, 0.3], [0.9, 0.9, 0.9]], atol=1e-6)
    # frame 0: vertex 0 is off by 0.1 + 0 + 0.3, vertex 1 by nothing; frame 1: by as much
    np.testing.assert_allclose(loss, [0.2, 0.4], atol=3e-3)
    gradient = jax.grad(lambda c: losses.texture(c, jnp.asarray(weights))[0].sum())(jnp.asarray(colours))
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(0)[1], 0, atol=1e-6)
