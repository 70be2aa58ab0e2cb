"""Windows of frames: consecutive ones of a clip, or drawn from the whole set."""

import numpy as np

_WINDOWS = 32  # at least, to draw from


def window_frames(
    sequence: np.ndarray, length: int, hop: int, spacing: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """`frame (window, length)` and `present` of windows of every `spacing`-th frame within the clips of `sequence
    (frame,)`.

    The last window of a clip ends with it; a clip shorter than `length` makes one window, filled up with its last
    frame, `present` 0. `length` is cut to the longest clip. With a `spacing`, a clip is as many clips, one for each
    frame that it may begin with, and `hop` counts their frames.
    """
    whole = [np.flatnonzero(sequence == c) for c in dict.fromkeys(np.asarray(sequence).tolist())]
    clips = [part for clip in whole for part in (clip[i::spacing] for i in range(spacing)) if len(part)]
    length = min(length, max(map(len, clips)))
    frames, present = [], []
    for clip in clips:
        last = max(len(clip) - length, 0)
        for first in sorted({*range(0, last, hop), last}):
            part = clip[first : first + length]
            present.append(np.arange(length) < len(part))
            frames.append(np.pad(part, (0, length - len(part)), mode="edge"))
    return np.array(frames), np.array(present)


def drawn_frames(n: int, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`frame (window, length)` and `present` of windows of frames drawn from all `n`, none twice in a window.

    Rounds through the frames in random order, until there are `_WINDOWS`; what is left of a round, fewer frames than
    a window, is left out of it. One window where all frames fit.
    """
    if length >= n:
        return np.arange(n)[None], np.ones((1, n), bool)
    rng = np.random.default_rng(seed)
    rounds = -(-_WINDOWS * length // n)
    each = n // length * length
    frames = np.concatenate([rng.permutation(n)[:each].reshape(-1, length) for _ in range(rounds)])
    return np.sort(frames, 1), np.ones(frames.shape, bool)
