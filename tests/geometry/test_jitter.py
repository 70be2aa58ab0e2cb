"""Noise and motion of tracks are told apart, and the smoother takes the noise away and nothing else."""

import numpy as np
import pytest

from jnrsfm.geometry import clip_noise, clip_sizes, smooth_tracks, track_noise


def paths(noise: float, outliers: float = 0.0, frames: int = 120, clips: int = 2, seed: int = 0):
    """Clips of points on sums of slow waves, and the same with noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None, None]
    parts = []
    for _ in range(clips):
        speed, phase = rng.uniform(0.03, 0.12, (2, 1, 9, 2)), rng.uniform(0, 6, (2, 1, 9, 2))
        parts.append(0.5 * np.sin(speed[0] * t + phase[0]) + 0.2 * np.sin(speed[1] * t + phase[1]))
    truth = np.concatenate(parts)
    seen = truth + noise * rng.normal(size=truth.shape)
    wild = rng.random(seen.shape[:2]) < outliers
    seen = np.where(wild[..., None], seen + rng.normal(size=seen.shape), seen)
    return truth, seen, np.repeat(np.arange(clips), frames)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.06])
@pytest.mark.parametrize("outliers", [0.0, 0.05])
def test_noise_and_motion_are_told_apart(noise, outliers):
    truth, seen, clip = paths(noise, outliers)
    found = track_noise(seen, np.ones(seen.shape[:2], bool), clip)
    assert abs(found.noise - noise) < 0.2 * noise + 1e-3
    bend = np.abs(truth[2:] - 2 * truth[1:-1] + truth[:-2])[clip[2:] == clip[:-2]]
    motion = np.median(bend) / 0.6745
    assert 0.6 * motion < found.motion < 1.6 * motion + 0.002 * (noise > 0)


def test_what_is_hidden_or_lies_across_clips_does_not_count():
    _, seen, clip = paths(0.02)
    visible = np.random.default_rng(1).random(seen.shape[:2]) > 0.2
    shifted = seen + 100.0 * clip[:, None, None]  # a jump between the clips
    junk = np.where(visible[..., None], shifted, 1e6)
    assert track_noise(junk, visible, clip) == pytest.approx(track_noise(seen, visible, clip), rel=1e-6)


@pytest.mark.parametrize("frames", [0, 3, 8])
def test_nothing_is_said_of_loose_or_few_frames(frames):
    points, visible = np.zeros((frames, 3, 2)), np.ones((frames, 3), bool)
    assert np.isnan(track_noise(points, visible, np.zeros(frames, int))).all()
    _, seen, _ = paths(0.02)
    assert np.isnan(track_noise(seen, np.ones(seen.shape[:2], bool), None)).all()


def test_the_smoother_halves_the_noise_and_leaves_the_hidden_alone():
    truth, seen, clip = paths(0.06, outliers=0.03)
    visible = np.random.default_rng(2).random(seen.shape[:2]) > 0.1
    junk = np.where(visible[..., None], seen, np.nan)
    known = track_noise(seen, visible, clip)
    smooth = smooth_tracks(junk, visible, clip, known.noise, np.full(junk.shape[1], known.motion))
    assert np.isnan(smooth[~visible]).all()
    before = np.median(np.linalg.norm(seen - truth, axis=-1)[visible])
    after = np.median(np.linalg.norm(smooth - truth, axis=-1)[visible])
    assert after < 0.5 * before


def test_clean_tracks_stay_as_they_are():
    truth, _, clip = paths(0.0)
    smooth = smooth_tracks(truth, np.ones(truth.shape[:2], bool), clip, 1e-4, np.full(truth.shape[1], 0.01))
    np.testing.assert_allclose(smooth, truth, atol=2e-4)


def test_the_smoother_solves_its_equations():
    """Against dense least squares, where no point is far off."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(12, 1, 2)).cumsum(0)
    clip = np.zeros(12, int)
    d = np.diff(np.eye(12), 2, axis=0)
    wanted = np.linalg.solve(np.eye(12) / 50**2 + d.T @ d / 20**2, points[:, 0] / 50**2)
    # noise so wide that Student's weights are all but equal
    found = smooth_tracks(points, np.ones((12, 1), bool), clip, 50.0, np.array([20.0]), rounds=1)
    np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-6, atol=1e-8)


def test_a_camera_that_shakes_and_points_that_are_missing_are_no_noise():
    _, seen, clip = paths(0.02)
    visible = np.random.default_rng(1).random(seen.shape[:2]) > 0.3
    shaken = seen + np.random.default_rng(4).normal(size=(len(seen), 1, 2))
    assert track_noise(shaken, visible, clip).noise == pytest.approx(0.02, rel=0.35)
    sizes = clip_sizes(5 * seen, visible, clip)
    assert len(np.unique(sizes)) == 2
    np.testing.assert_allclose(sizes, 5 * clip_sizes(seen, visible, clip))
    assert (clip_sizes(np.zeros((4, 3, 2)), np.ones((4, 3), bool), None) == 1).all()


def test_frames_out_of_order_are_in_no_clip():
    _, seen, clip = paths(0.02, clips=1)
    visible = np.random.default_rng(1).random(seen.shape[:2]) > 0.1
    junk = np.where(visible[..., None], seen, np.nan)
    found = clip_noise(50 * junk, visible, clip)
    size = clip_sizes(seen, visible, clip)[0]
    assert found.noise == pytest.approx(0.02 / size, rel=0.25)
    order = np.random.default_rng(5).permutation(len(seen))
    assert np.isinf(clip_noise(junk[order], visible[order], clip).noise)
