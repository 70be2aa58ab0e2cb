"""Votes on the depth reflection of frames that agree with each other."""

import itertools

import numpy as np
import pytest

from jnrsfm.geometry.reflection_votes import by_images

pytestmark = pytest.mark.fast


def test_images_decide_for_the_frames_that_agree_together():
    """A component flips to its contrary where its images say so on the whole, single ones notwithstanding."""
    right = np.array([True, False, True, False, True, False])
    component = np.array([0, 0, 0, 1, 1, 1])
    says = np.where(right, 0.5, -0.5)
    says[2] *= -0.8  # one image is wrong about its frame
    for turned in itertools.product((False, True), repeat=2):
        found = by_images(right ^ np.array(turned)[component], component, says)
        np.testing.assert_array_equal(found, right)
    np.testing.assert_array_equal(by_images(right, component, np.zeros(6)), right)
