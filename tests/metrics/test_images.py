"""Metrics of images and of paths, by hand."""

import numpy as np
import pytest

from jnrsfm.metrics import images

pytestmark = pytest.mark.fast


def test_psnr_full_and_masked():
    truth, found = np.zeros((12, 12, 3)), np.zeros((12, 12, 3))
    found[:6] = 0.1
    mask = np.zeros((12, 12), bool)
    mask[:3] = True
    assert images.psnr(found, truth, mask) == pytest.approx(20)
    assert images.psnr(found, truth) == pytest.approx(20 + 10 * np.log10(2))
    assert np.isnan(images.psnr(found, truth, np.zeros_like(mask)))
    assert images.psnr(truth, truth) == float("inf")


def test_ssim_of_flat_images_is_that_of_their_means_and_its_range_is_named():
    """No variance: `(2 a b + c1) / (a^2 + b^2 + c1)`, with c1 of the data range."""
    a, b = np.full((16, 16, 3), 0.2), np.full((16, 16, 3), 0.4)
    for data_range in (images.SSIM, images.SSIM_RANGE_2):
        c = (0.01 * data_range) ** 2
        wanted = (2 * 0.08 + c) / (0.04 + 0.16 + c)
        assert images.ssim(a, b, data_range=data_range) == pytest.approx(wanted, rel=1e-9)
    assert images.ssim(a, a) == pytest.approx(1)


def test_ssim_falls_with_noise_and_sees_it_where_the_mask_looks(rng):
    truth = rng.uniform(size=(32, 32, 3))
    found = truth.copy()
    found[:, 16:] += rng.normal(0, 0.2, (32, 16, 3))
    left = np.zeros((32, 32), bool)
    left[:, :8] = True
    assert images.ssim(found, truth, left) == pytest.approx(1)
    assert images.ssim(found, truth, ~left) < images.ssim(found, truth) + 0.2 < 1.1
    assert images.ssim(found, truth, data_range=2.0) > images.ssim(
        found, truth
    )  # why tables cannot be compared
    with pytest.raises(ValueError, match="11 pixels"):
        images.ssim(truth[:8], truth[:8])


def test_errors_of_paths_are_in_units_of_the_object():
    truth = np.zeros((2, 3, 3))
    found = truth.copy()
    found[0, 1, 0], found[1, :, 1] = 4.0, 2.0
    assert images.path_errors(found, truth, 2.0) == pytest.approx(
        {"median": 1.0, "mean": 5 / 6, "worst_time": 1.5}
    )
