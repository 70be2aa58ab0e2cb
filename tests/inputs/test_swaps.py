"""Exchanged sides are found along a clip and exchanged back."""

import numpy as np
import pytest

from jnrsfm import datasets
from jnrsfm.inputs.swaps import exchanged, find_swaps

pytestmark = pytest.mark.fast


def walk(**options):
    """A clip of 80 frames in pixels."""
    landmarks, _ = datasets.make(
        "walker",
        seed=4,
        frames=80,
        clips=1,
        camera="orthographic",
        view="orbit",
        degrees_per_frame=4.0,
        **options,
    )
    return landmarks.replace(points2d=(200 * landmarks.points2d + 500).astype(np.float32))


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_exchanged_frames_are_found_and_put_right(rng, noise):
    landmarks = walk(noise=noise, missing=0.05)
    assert not find_swaps(landmarks).frames.any()
    wrong = np.zeros(80, bool)
    wrong[[5, 20, 21, 22, 50, 61, 79]] = True
    swapped = exchanged(landmarks, wrong)
    np.testing.assert_array_equal(find_swaps(swapped).frames, wrong)
    back = exchanged(swapped, wrong)
    np.testing.assert_array_equal(back.points2d, landmarks.points2d)
    np.testing.assert_array_equal(back.visible, landmarks.visible)


def test_without_pairs_or_order_nothing_is_claimed():
    landmarks = exchanged(walk(), np.arange(80) % 7 == 0)
    for bare in (landmarks.replace(symmetric=None), landmarks.replace(sequence=None)):
        assert not find_swaps(bare).frames.any()
