"""Cleaning along time: what was spoilt is found, what was sound is left alone."""

import numpy as np
import pytest

from jnrsfm.inputs import clean
from jnrsfm.types import Landmarks

pytestmark = pytest.mark.fast
PAIRS = np.array([[0, 1], [2, 3], [4, 5]], np.int32)
EDGES = np.array([[6, 0], [6, 1], [0, 2], [1, 3], [7, 4], [7, 5], [6, 7]], np.int32)


@pytest.fixture
def walk():
    """Two limbs a side that swing against each other while the body moves on."""
    t = np.arange(80) / 80 * 4 * np.pi
    body = np.stack([40 * t, 5 * np.sin(2 * t)], -1)
    points = np.zeros((80, 8, 2))
    for k, (a, b) in enumerate(PAIRS):
        for p, phase in ((a, 0), (b, np.pi)):
            points[:, p] = body + np.stack(
                [30 * np.sin(t + phase + 0.4 * k), 40.0 * (k + 1) + 8 * np.cos(t + phase)], -1
            )
    points[:, 6], points[:, 7] = body, body + np.array([0, -60])
    rng = np.random.default_rng(1)
    points += rng.normal(size=points.shape) * 0.5
    return points.astype(np.float32)


def landmarks_of(points, visible=None):
    visible = np.ones(points.shape[:2], bool) if visible is None else visible
    return Landmarks(points, visible, symmetric=PAIRS, edges=EDGES, names=tuple("abcdefgh"))


def test_what_is_sound_is_left_alone(walk):
    cleaned, report = clean(landmarks_of(walk))
    assert report["swaps"] == report["static"] == report["filled"] == []
    assert len(report["outliers"]) <= 3
    seen = np.asarray(cleaned.visible)
    np.testing.assert_array_equal(np.asarray(cleaned.points2d)[seen], walk[seen])


def test_points_that_jump(walk):
    rng = np.random.default_rng(2)
    spoilt = walk.copy()
    bad = rng.random((80, 8)) < 0.05
    spoilt[bad] += rng.normal(size=(bad.sum(), 2)) * 60 + 40 * np.sign(rng.normal(size=(bad.sum(), 2)))
    cleaned, report = clean(landmarks_of(spoilt), gap=0, swaps=False)
    found = np.zeros_like(bad)
    for f, name in report["outliers"]:
        found[f, "abcdefgh".index(name)] = True
    assert (found & bad).sum() >= 0.95 * bad.sum()
    assert (found & ~bad).sum() <= 0.02 * bad.size
    np.testing.assert_array_equal(cleaned.visible, ~found)


@pytest.mark.parametrize("limb", [False, True])
def test_left_and_right_are_put_back(walk, limb):
    spoilt = walk.copy()
    frames = np.zeros(80, bool)
    frames[[10, 11, 12, 13, 30, 55, 56, 57]] = True
    for a, b in PAIRS[:2] if limb else PAIRS:
        spoilt[frames, a], spoilt[frames, b] = walk[frames, b], walk[frames, a]
    cleaned, report = clean(landmarks_of(spoilt), outliers=False)
    wrong = np.linalg.norm(np.asarray(cleaned.points2d) - walk, axis=-1).max(1) > 1
    assert wrong.sum() <= 1, np.flatnonzero(wrong)
    assert sum(s["last"] - s["first"] + 1 for s in report["swaps"]) >= frames.sum() - 1
    assert report["swaps"][0]["points"][0] == ["a", "b"]


def test_a_track_that_stands_and_gaps(walk):
    spoilt = walk.copy()
    spoilt[20:50, 7] = [100, 100]
    visible = np.ones((80, 8), bool)
    visible[5:8, 2] = visible[60:70, 3] = False
    cleaned, report = clean(landmarks_of(spoilt, visible), gap=5)
    ((track,),) = [report["static"]]
    assert track["point"] == "h"
    assert abs(track["first"] - 20) <= 1
    assert abs(track["last"] - 49) <= 1
    assert {tuple(f) for f in report["filled"] if f[1] == "c"} >= {(5, "c"), (6, "c"), (7, "c")}
    assert not np.asarray(cleaned.visible)[60:70, 3].any()
    np.testing.assert_allclose(cleaned.points2d[5:8, 2], walk[5:8, 2], atol=4)
    assert cleaned.confidence[6, 2] == 0.5


def test_clips_are_apart(walk):
    both = np.concatenate([walk, walk[::-1] + 500])
    landmarks = landmarks_of(both).replace(sequence=np.repeat([0, 1], 80))
    _, report = clean(landmarks)
    assert len(report["outliers"]) <= 6
    assert not report["swaps"]
