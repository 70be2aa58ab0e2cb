"""Losses of depth do not see what a stereo rig leaves open, nor pixels that are not valid."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jnrsfm.losses import depth

SHAPE, SPACINGS = (2, 9, 11), (1, 3)
KEY = jax.random.key(0)


def maps(seed=0):
    """Inverse depth, disparity and a mask with holes."""
    rng = np.random.default_rng(seed)
    q, d = rng.uniform(0.2, 1.0, SHAPE), rng.normal(size=SHAPE)
    return jnp.asarray(q), jnp.asarray(d), jnp.asarray(rng.random(SHAPE) < 0.8)


def nmg(q, d, valid, **options):
    return depth.nmg(q, d, valid, spacings=SPACINGS, **options)


LOSSES = {
    "nmg": nmg,
    "printed": lambda q, d, v: nmg(q, d, v, normalised=False),
    "held scale": lambda q, d, v: nmg(q, d, v, through_scale=False),
    "ordinal": lambda q, d, v: depth.ordinal(jnp.log(q), d, v, KEY, pairs=50),
    "structure": lambda q, d, v: depth.structure_guided(jnp.log(q), d, v, KEY, pairs=40, reach=4),
    "silog": lambda q, d, v: depth.silog(jnp.log(q), jnp.log(jnp.abs(d) + 0.1), v),
    "affine": lambda q, d, v: depth.affine_invariant(q, d, v),
}


class Laws(chex.TestCase):
    """With and without jit."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_nmg_is_that_of_its_sum_by_hand(self):
        q, d, valid = (np.asarray(x) for x in maps())
        wanted = []
        for i in range(2):
            pairs = []
            for k in SPACINGS:
                for dy, dx in ((0, k), (k, 0)):
                    for y in range(SHAPE[1] - dy):
                        for x in range(SHAPE[2] - dx):
                            if valid[i, y, x] and valid[i, y + dy, x + dx]:
                                pairs.append([m[i, y + dy, x + dx] - m[i, y, x] for m in (q, d)])
            a, b = np.array(pairs).T
            s = np.abs(b).sum() / np.abs(a).sum()
            wanted.append(np.abs(s * a - b).sum())
        found = self.variant(LOSSES["printed"])(*maps())
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@given(st.floats(0.01, 100), st.floats(-50, 50), st.floats(0.01, 100))
def test_slope_offset_and_unit_are_not_seen(slope, offset, unit):
    with jax.enable_x64(True):
        q, d, valid = maps()
        np.testing.assert_allclose(nmg(unit * q, slope * d + offset, valid), nmg(q, d, valid), rtol=1e-6)
        affine = LOSSES["affine"]
        np.testing.assert_allclose(
            affine(unit * q + 0.1, slope * d + offset, valid), affine(q, d, valid), rtol=1e-5
        )


def test_nmg_is_zero_where_depth_is_affine_in_disparity_and_only_there():
    with jax.enable_x64(True):
        q, _, valid = maps()
        assert float(nmg(q, 3 * q - 7, valid).max()) < 1e-12
        assert float(nmg(q, 3 * q**2 - 7, valid).min()) > 1e-2
        assert float(nmg(q, -3 * q, valid).min()) > 1.5  # near is far: twice the whole


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_stored_at_an_invalid_pixel_does_not_matter(name):
    q, d, valid = maps()
    loss = jax.jit(jax.value_and_grad(lambda q, d: LOSSES[name](q, d, valid).sum()))
    before = loss(q, d)
    after = loss(jnp.where(valid, q, 7.0), jnp.where(valid, d, jnp.nan))
    chex.assert_trees_all_close(after, before, rtol=1e-5)
    assert np.isfinite(before[0])
    assert float(jnp.abs(jnp.where(valid, 0.0, before[1])).max()) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    with jax.enable_x64(True):
        q, d, valid = maps(1)
        if name == "held scale":  # its gradient is not that of its value
            scaled = jax.grad(lambda q: nmg(q, d, valid).sum())(q)
            held = jax.grad(lambda q: LOSSES[name](q, d, valid).sum())(q)
            assert float(jnp.abs(scaled - held).max()) > 1e-4
            return
        chex.assert_numerical_grads(
            lambda q: LOSSES[name](jnp.asarray(q), d, valid).sum(), (q,), order=1, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", LOSSES)
def test_flat_and_empty_maps_are_finite(name):
    q, d, valid = maps()
    cases = ((jnp.full(SHAPE, 0.5), d, valid), (q, jnp.ones(SHAPE), valid), (q, d, jnp.zeros(SHAPE, bool)))
    loss = jax.jit(jax.value_and_grad(lambda q, d, v: LOSSES[name](q, d, v).sum()))
    for case in cases:
        chex.assert_tree_all_finite(loss(*case))


def test_ranking_losses_know_the_order():
    q, _, valid = maps()
    for name in ("ordinal", "structure"):
        right, wrong = LOSSES[name](q, q, valid), LOSSES[name](1 / q, q, valid)
        assert (np.asarray(right) < np.asarray(wrong)).all(), name


def test_the_anchor_is_the_mean_log_depth():
    log_depth = jnp.stack([jnp.ones((3, 4)), jnp.arange(12.0).reshape(3, 4)])
    np.testing.assert_allclose(depth.anchor(log_depth), [1.0, 5.5**2])
