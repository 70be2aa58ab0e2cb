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


def test_a_body_that_turns_past_its_profile_changes_no_sides():
    """Left and right meet in the image of an animal that turns fast: whichever label the stretch after it has, hardly a
    vote is lost."""
    landmarks, _ = datasets.make(
        "quadruped", seed=1, frames=120, clips=1, camera="perspective", distance=6.0, view="fixed",
        degrees_per_frame=4.0, turning=4.0, noise=0.01, limb_occlusion=0.15,
    )  # fmt: skip
    assert not find_swaps(landmarks).frames.any()


def test_frames_in_no_order_change_no_sides_whatever_the_record_says():
    landmarks, _ = datasets.make("walker", seed=15, frames=120, clips=4, camera="orthographic", view="random")
    assert landmarks.sequence is not None
    assert not find_swaps(landmarks).frames.any()
