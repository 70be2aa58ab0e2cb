"""Depth metrics under their alignments, and metres from known depths."""

import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.losses import depth as losses
from jnrsfm.metrics import depth

pytestmark = pytest.mark.fast


@pytest.fixture
def truth(rng):
    return rng.uniform(1.0, 8.0, (2, 12, 15))


def test_figures_by_hand():
    truth = np.full((1, 2, 2), 2.0)
    found = np.array([[[2.0, 2.0], [4.0, 1.0]]])
    e = depth.depth_errors(found, truth, align="none")
    assert e["abs_rel"] == pytest.approx((0 + 0 + 1 + 0.5) / 4)
    assert e["sq_rel"] == pytest.approx((2 + 0.5) / 4)
    assert e["rmse_log"] == pytest.approx(np.sqrt(2 * np.log(2) ** 2 / 4))
    assert e["delta_1"] == 0.5
    assert e["mre"] == pytest.approx((0.5 + 1.0) / 4)
    assert e["silog"] == pytest.approx(np.sqrt(2 * np.log(2) ** 2 / 4))


def test_alignments_take_what_they_say(truth):
    plain = lambda z, how: depth.depth_errors(z, truth, align=how)["abs_rel"]
    assert plain(truth, "none") < 1e-15
    assert plain(3 * truth, "none") > 1
    assert plain(3 * truth, "median") < 1e-12
    shifted = 1 / (0.7 / truth + 0.2)
    assert plain(shifted, "median") > 0.05
    assert plain(shifted, "affine") < 1e-9


def test_nmg_is_that_of_the_loss(truth, rng):
    found = truth * rng.uniform(0.8, 1.2, truth.shape)
    ours = depth.depth_errors(found, truth, align="none")["nmg"]
    q, t = jnp.asarray(1 / found), jnp.asarray(1 / truth)
    loss = np.asarray(losses.nmg(q, t, jnp.ones(q.shape, bool), normalised=False))
    pairs = 12 * 13 + 10 * 15 + 12 * 7 + 4 * 15  # spacings 2 and 8
    np.testing.assert_allclose(ours, np.mean(loss / pairs / np.asarray(t).mean((1, 2))), rtol=1e-4)


def test_pixels_that_do_not_count(truth):
    found, valid = truth.copy(), np.ones(truth.shape, bool)
    valid[:, :3] = False
    found[:, :3] = np.nan
    assert depth.depth_errors(found, truth, valid, align="none")["abs_rel"] < 1e-15
    far = truth.copy()
    far[truth > 5] *= 3
    assert depth.depth_errors(far, truth, align="none", cap=5.0)["abs_rel"] < 1e-15
    with pytest.raises(InputError, match="image 0: no pixel"):
        depth.depth_errors(truth, truth, np.zeros(truth.shape, bool))
    with pytest.raises(InputError, match="one size"):
        depth.depth_errors(truth, truth[:1])


def test_metres_from_known_depths(truth, rng):
    q = 0.3 / truth[0] + 0.1
    pixels = np.array([[0, 0], [14, 11], [3, 7], [9, 2]])
    known = truth[0][pixels[:, 1], pixels[:, 0]]
    found = depth.align(q, pixels, known)
    np.testing.assert_allclose(found.depth, truth[0])
    assert found.deviation.max() < 1e-6
    # the deviation is as large as the error is
    ratios = []
    for _ in range(200):
        some = rng.permutation(180)[:12]
        at = np.stack([some % 15, some // 15], -1)
        noisy = 1 / (1 / truth[0] + 0.01 * rng.normal(size=q.shape))
        got = depth.align(q, at, noisy[at[:, 1], at[:, 0]])
        ratios.append(((got.depth - noisy) / got.deviation)[5, 5])
    assert 0.8 < np.std(ratios) < 1.4
    two = depth.align(q, pixels[:2], known[:2])
    np.testing.assert_allclose(two.depth, truth[0])
    assert np.isinf(two.deviation).all()
    one = depth.align(1 / truth[0] / 5, pixels[:1], known[:1], shift=False)
    np.testing.assert_allclose(one.depth, truth[0])


@pytest.mark.parametrize(
    ("pixels", "depths", "words"),
    [([[0, 0]], [1.0], "at least 2"), ([[0, 0], [99, 0]], [1.0, 2.0], "outside"),
     ([[0, 0], [1, 0]], [1.0, -2.0], "positive"), ([[0, 0], [0, 0]], [1.0, 2.0], "one inverse depth"),
     ([0, 0], [1.0], "for each point")],
)  # fmt: skip
def test_known_depths_that_do_not_suffice_are_one_line(truth, pixels, depths, words):
    with pytest.raises(InputError, match=words) as error:
        depth.align(1 / truth[0], pixels, depths)
    assert "\n" not in str(error.value)
