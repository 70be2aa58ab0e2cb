"""The fully connected residual network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jnrsfm.errors import InputError
from jnrsfm.models.residual import ResidualConfig, ResidualNetwork


@pytest.mark.fast
def test_untrained_it_gives_back_the_points_and_hardly_any_depth(rng):
    net = ResidualNetwork(ResidualConfig(7, width=16, blocks=1), rngs=nnx.Rngs(params=0))
    points = jnp.asarray(rng.normal(size=(2, 5, 7, 2)), jnp.float32)
    shapes = net(points, jnp.ones((2, 5, 7)))
    assert shapes.shape == (2, 5, 7, 3)
    np.testing.assert_allclose(shapes[..., :2], points, atol=0.05)
    assert 0 < np.abs(shapes[..., 2]).max() < 0.05
    np.testing.assert_allclose(
        net(points[1, 3], jnp.ones(7)), shapes[1, 3], atol=1e-6
    )  # frames are on their own


@pytest.mark.fast
def test_a_hidden_point_is_told_from_one_at_the_origin(rng):
    net = ResidualNetwork(ResidualConfig(7, width=16, blocks=1), rngs=nnx.Rngs(params=0))
    points = jnp.asarray(rng.normal(size=(7, 2)), jnp.float32).at[2].set(0)
    seen = jnp.ones(7)
    assert np.abs(net(points, seen) - net(points, seen.at[2].set(0))).max() > 0


@pytest.mark.fast
def test_every_weight_has_a_gradient(rng):
    graph, params = nnx.split(ResidualNetwork(ResidualConfig(4, width=8, blocks=2), rngs=nnx.Rngs(params=0)))
    points = jnp.asarray(rng.normal(size=(6, 4, 2)), jnp.float32)
    target = jnp.asarray(rng.normal(size=(6, 4, 3)), jnp.float32)
    loss = lambda p: ((nnx.merge(graph, p)(points, jnp.ones((6, 4))) - target) ** 2).sum()
    grads = jax.tree.leaves(jax.jit(jax.grad(loss))(params))
    assert len(grads) == 2 + 4 * 6 + 2 * 2 + 2 * 2
    assert all(np.abs(g).max() > 0 for g in grads)


@pytest.mark.fast
@pytest.mark.parametrize("change", [{"width": 0}, {"blocks": -1}])
def test_no_network_is_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        ResidualConfig(4, **change)
