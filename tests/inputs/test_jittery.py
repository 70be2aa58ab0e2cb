"""Tracks that jitter are smoothed, and nothing else is."""

import numpy as np
import pytest

from jnrsfm import datasets
from jnrsfm.inputs import smoothed

pytestmark = pytest.mark.fast
NOISE = 0.05  # of the size


@pytest.fixture(scope="module")
def clean():
    found, _ = datasets.make(
        "walker", frames=120, clips=2, noise=0.0, view="orbit", degrees_per_frame=1.5, seed=2
    )
    return found


def size(landmarks):
    xy = np.asarray(landmarks.points2d)[np.asarray(landmarks.visible)]
    return float(np.sqrt(((xy - xy.mean(0)) ** 2).sum(-1).mean()))


def jittered(landmarks, share=NOISE, seed=0):
    more = share * size(landmarks) * np.random.default_rng(seed).normal(size=landmarks.points2d.shape)
    return landmarks.replace(points2d=(np.asarray(landmarks.points2d) + more).astype(np.float32))


def away(one, other):
    """Root mean square distance of coordinates, a share of the size."""
    seen = np.asarray(other.visible)
    gap = (np.asarray(one.points2d) - np.asarray(other.points2d))[seen]
    return float(np.sqrt((gap**2).mean())) / size(other)


@pytest.mark.parametrize("clips", [True, False])
def test_jitter_is_measured_and_most_of_it_taken_out(clean, clips):
    whole = clean if clips else clean.replace(sequence=None).select(slice(0, 120))
    noisy = jittered(whole)
    found, noise = smoothed(noisy)
    assert noise == pytest.approx(NOISE, rel=0.25)
    assert away(noisy, whole) == pytest.approx(NOISE, rel=0.1)
    assert away(found, whole) < 0.7 * NOISE


def test_what_is_hidden_stays_as_it_is_and_tells_nothing(clean):
    noisy = jittered(clean)
    hidden = np.random.default_rng(1).random(np.asarray(clean.visible).shape) < 0.2
    shown = noisy.replace(visible=np.asarray(noisy.visible) & ~hidden)
    found, noise = smoothed(shown)
    assert noise > 0
    np.testing.assert_array_equal(np.asarray(found.points2d)[hidden], np.asarray(shown.points2d)[hidden])
    wild = np.where(hidden[..., None], 1e6, np.asarray(shown.points2d)).astype(np.float32)
    again, _ = smoothed(shown.replace(points2d=wild))
    np.testing.assert_allclose(
        np.asarray(again.points2d)[~hidden], np.asarray(found.points2d)[~hidden], rtol=1e-6
    )


def test_clean_tracks_and_frames_in_no_order_are_left_alone(clean):
    order = np.random.default_rng(0).permutation(clean.n_frames)
    turned = clean.select(order)
    loose = turned.replace(sequence=None)
    together = turned.replace(sequence=np.zeros(clean.n_frames, int))
    short = jittered(clean.select(slice(0, 4)))
    for landmarks in (clean, loose, together, jittered(loose), short):
        found, noise = smoothed(landmarks)
        assert noise == 0
        np.testing.assert_array_equal(found.points2d, landmarks.points2d)


def test_loose_frames_that_differ_little_are_no_clip(clean):
    """Photographs of a thing that hardly bends, in no order: what differs is not noise."""
    order = np.random.default_rng(0).permutation(clean.n_frames)
    middle = np.asarray(clean.points2d).mean(0)
    near = middle + 0.05 * (np.asarray(clean.points2d) - middle)
    loose = clean.replace(points2d=near.astype(np.float32), sequence=None).select(order)
    assert smoothed(loose)[1] == 0
