"""Windows of frames: within clips, or drawn from the set."""

import numpy as np
import pytest

from jnrsfm.inputs.windows import drawn_frames, window_frames


@pytest.mark.fast
def test_windows_stay_in_their_clips_and_cover_them():
    sequence = np.repeat([5, 2, 9], [20, 7, 3])
    frames, present = window_frames(sequence, 8, 4)
    assert frames.shape[1] == 8
    assert set(frames[present]) == set(range(30))
    for row, here in zip(frames, present, strict=True):
        assert len(set(sequence[row])) == 1
        assert (np.diff(row[here]) == 1).all()
    assert (~present).sum() == (8 - 7) + (8 - 3)
    assert window_frames(sequence, 100, 4)[0].shape == (3, 20)


@pytest.mark.fast
def test_windows_of_spaced_frames_stay_in_their_clips_and_cover_them():
    sequence = np.repeat([5, 2, 9], [20, 7, 2])
    frames, present = window_frames(sequence, 5, 2, spacing=3)
    assert set(frames[present]) == set(range(29))
    for row, here in zip(frames, present, strict=True):
        assert len(set(sequence[row])) == 1
        assert (np.diff(row[here]) == 3).all()


@pytest.mark.fast
@pytest.mark.parametrize(("n", "length"), [(50, 8), (50, 50), (7, 20)])
def test_drawn_windows_hold_every_frame_about_as_often(n, length):
    frames, present = drawn_frames(n, length, 3)
    assert present.all()
    assert all(len(set(row)) == min(n, length) for row in frames)
    count = np.bincount(frames.ravel(), minlength=n)
    rounds = frames.size / (n // frames.shape[1] * frames.shape[1])
    assert count.min() >= 0.6 * rounds  # the last frames of a round, too few for a window, are left out
    assert count.max() <= rounds
    other = drawn_frames(n, length, 4)[0]
    assert (length < n) == (not np.array_equal(frames, other))
