"""Wrong points are found by their track and by the others; right ones keep their weight; empty frames come back."""

import numpy as np
import pytest

from jnrsfm import datasets
from jnrsfm.inputs.doubted_points import reliability, reweighed
from jnrsfm.inputs.empty_frames import put_back
from jnrsfm.types import Landmarks


def walk(**options):
    """A clip of 60 frames, seen by a turning orthographic camera."""
    settings = {"frames": 60, "clips": 1, "camera": "orthographic", "view": "orbit", "degrees_per_frame": 3.0}
    return datasets.make("walker", seed=3, **{**settings, **options})


def spoiled(landmarks, rng, share=0.05, jump=1.0):
    """Some points moved by about the size of the body, and where."""
    x = np.array(landmarks.points2d)
    wrong = rng.random(x.shape[:2]) < share
    angle = rng.uniform(0, 2 * np.pi, x.shape[:2])
    x += (wrong * jump)[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return landmarks.replace(points2d=x.astype(np.float32)), wrong


@pytest.mark.fast
def test_jumps_are_found_and_clean_points_keep_their_weight(rng):
    landmarks, _ = walk()
    assert (reliability(landmarks).weights < 1).mean() < 0.005
    still = landmarks.select(np.zeros(60, int))
    assert reweighed(still)[0] is still
    bad, wrong = spoiled(landmarks, rng)
    found = reliability(bad)
    assert found.weights[wrong].max() < 0.05
    assert (found.doubted & ~wrong).mean() < 0.01
    np.testing.assert_allclose(np.asarray(reweighed(bad)[0].weights), found.weights)
    assert (found.weights > 0).sum(1).min() >= 7


@pytest.mark.fast
def test_a_paw_that_stands_and_swings_is_no_wrong_point():
    clean, _ = datasets.make("quadruped", seed=1, frames=240, clips=2, view="orbit", degrees_per_frame=2.0)
    assert reliability(clean).doubted.sum() <= 3


def test_an_order_that_nobody_told_is_seen_in_the_frames(rng):
    clean, _ = walk(frames=240)
    told, untold = reliability(clean), reliability(clean.replace(sequence=None))
    np.testing.assert_array_equal(told.weights, untold.weights)


def test_without_an_order_the_other_points_are_the_only_witness(rng):
    clean = walk(frames=240)[0].replace(sequence=None)
    clean = clean.select(rng.permutation(240))
    assert reliability(clean).doubted.mean() < 0.01
    bad, wrong = spoiled(clean, rng)
    found = reliability(bad)
    assert found.doubted[wrong].mean() > 0.85
    assert (found.doubted & ~wrong).mean() < 0.005
    single_views = bad.replace(category=np.zeros(240, int))
    assert not reliability(single_views).doubted.any()
    assert found.doubted[~wrong].mean() < 0.15  # in the frames of wrong ones


def test_what_is_stored_at_a_hidden_point_does_not_matter(rng):
    landmarks, _ = walk(missing=0.2)
    bad, _ = spoiled(landmarks, rng)
    there = np.asarray(bad.visible)[..., None]
    nan = bad.replace(points2d=np.where(there, bad.points2d, np.nan).astype(np.float32))
    np.testing.assert_array_equal(reliability(nan).weights, reliability(bad).weights)


@pytest.mark.parametrize(("frames", "points"), [(1, 4), (2, 3), (5, 30)])
def test_too_little_to_tell_is_believed(rng, frames, points):
    few = Landmarks(points2d=rng.normal(size=(frames, points, 2)), visible=np.ones((frames, points), bool))
    assert (reliability(few).weights > 0).all()
    still = few.replace(points2d=np.zeros((frames, points, 2)), sequence=np.zeros(frames, int))
    assert (reliability(still).weights == 1).all()
    assert (reliability(few.replace(visible=np.zeros((frames, points), bool))).weights == 1).all()


def test_unused_frames_come_back_interpolated_or_nan_and_marked():
    landmarks, truth = walk()
    used = np.ones(60, bool)
    used[[0, 20, 21, 40]] = False
    part = truth.select(used).replace(mirror_margin=np.ones(56, np.float32))
    back = put_back(part, landmarks, used)
    np.testing.assert_array_equal(np.asarray(back.points3d)[used], np.asarray(part.points3d))
    assert np.isnan(back.points3d[0]).all()  # nothing before it
    inside = [20, 21, 40]
    away = np.linalg.norm(np.asarray(back.camera_points - truth.camera_points)[inside], axis=-1)
    assert away.max() < 0.06  # metres; the figure moves slower than that
    np.testing.assert_array_equal(np.asarray(back.valid3d).all(1), used)
    assert (back.mirror_margin[~used] == 0).all()
    assert not np.asarray(back.visible)[~used].any()
    loose = put_back(part.replace(sequence=None), landmarks.replace(sequence=None), used)
    assert np.isnan(np.asarray(loose.points3d)[~used]).all()


@pytest.mark.fast
def test_what_its_detector_doubts_needs_less_to_be_doubted(rng):
    bad, wrong = spoiled(walk(noise=0.01)[0], rng, share=0.15, jump=0.25)
    given = np.where(wrong, rng.uniform(0.02, 0.1, wrong.shape), rng.uniform(0.7, 1.0, wrong.shape)).astype(
        np.float32
    )
    told = reliability(bad.replace(confidence=given))
    assert told.doubted[wrong].mean() > 0.85 > reliability(bad).doubted[wrong].mean() + 0.1
    assert told.doubted[~wrong].mean() < 0.005
