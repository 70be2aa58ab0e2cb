"""Tracks spoilt as users report of their own: each case must end in the right 3D, or in a report that says why not."""

import dataclasses

import numpy as np
import pytest

import jnrsfm
from jnrsfm import datasets, metrics
from jnrsfm.methods import Pnd
from jnrsfm.types import Reconstruction, ResultCode

# One shape of everything, so that one compilation serves all.
FAST = Pnd(modes=16, cooling=(0.85,), floor=1e-3, starts=4)
UNIT = 200.0  # pixels in a metre


@pytest.fixture(scope="module")
def walk():
    """A turning figure of 19 points in pixels, and its truth."""
    landmarks, truth = datasets.make(
        "walker", seed=4, frames=90, clips=1, camera="orthographic", view="orbit", degrees_per_frame=4.0
    )
    points = UNIT * np.asarray(landmarks.points2d) + np.array([640.0, 360.0])
    landmarks = landmarks.replace(points2d=points.astype(np.float32))
    return landmarks, truth.replace(points3d=UNIT * truth.points3d)


def wrong_points(landmarks, rng, share):
    """Points that jump by up to the size of the figure, and where."""
    wrong = rng.random(landmarks.visible.shape) < share
    jump = rng.uniform(-1, 1, (*wrong.shape, 2)) * 1.5 * UNIT
    return landmarks.replace(
        points2d=(landmarks.points2d + wrong[..., None] * jump).astype(np.float32)
    ), wrong


def fitted(landmarks, **options):
    """The fit, whatever it says."""
    return jnrsfm.fit(landmarks, FAST, progress=False, **options)


def error(found, truth, frames=slice(None)):
    """One reflection for all."""
    scores = metrics.evaluate(found.reconstruction.select(frames), truth.select(frames), ["one-mirror"])
    return scores["one-mirror"]["normalized_error"]


def item(found, name):
    """An item of the quality report."""
    return next(i for i in found.quality["items"] if i["name"] == name)


@pytest.fixture(scope="module")
def clean(walk):
    """The error without any spoiling."""
    return error(fitted(walk[0]), walk[1])


def test_sure_but_wrong_points_cost_little_and_are_named(walk, clean, rng):
    landmarks, wrong = wrong_points(walk[0], rng, 0.05)
    found = fitted(landmarks)
    assert error(found, walk[1]) < clean + 0.02
    assert error(fitted(landmarks, reweigh=False), walk[1]) > clean + 0.05
    assert item(found, "outliers")["value"] == pytest.approx(wrong.mean(), abs=0.01)
    frame, point = np.argwhere(wrong)[0]
    assert any(f"{landmarks.names[point]} in frame {frame}" in w for w in found.quality["warnings"])


def test_confidence_weighs_in_proportion(walk, clean, rng):
    landmarks, wrong = wrong_points(walk[0], rng, 0.15)
    sure = np.where(wrong, rng.uniform(0, 0.1, wrong.shape), rng.uniform(0.9, 1, wrong.shape))
    told = landmarks.replace(confidence=sure.astype(np.float32))
    alone = error(fitted(told, reweigh=False), walk[1])
    assert alone < 0.5 * error(fitted(landmarks, reweigh=False), walk[1])
    assert error(fitted(told), walk[1]) < clean + 0.03


def test_frames_with_nothing_seen_keep_their_numbers(walk, clean, tmp_path):
    visible = np.array(walk[0].visible)
    empty = [0, 30, 31, 60]
    visible[empty] = False
    visible[45, 2:] = False  # two points are too few as well
    found = fitted(walk[0].replace(visible=visible), out=tmp_path / "run", reference=walk[1])
    points = np.asarray(found.reconstruction.points3d)
    assert points.shape == (90, 19, 3)
    assert np.isnan(points[0]).all()
    inside = [30, 31, 45, 60]
    assert np.isfinite(points[inside]).all()
    assert error(found, walk[1], np.array(inside)) < 0.1
    assert error(found, walk[1], visible.all(1)) < clean + 0.01
    assert not np.asarray(found.reconstruction.valid3d)[[*empty, 45]].any()
    back = Reconstruction.load(tmp_path / "run" / "reconstruction.npz")
    np.testing.assert_array_equal(np.asarray(back.valid3d), np.asarray(found.reconstruction.valid3d))
    unknown = np.isnan(np.asarray(back.deviation))
    np.testing.assert_array_equal(unknown, np.isnan(points).all(-1))
    assert jnrsfm.write_run_report(tmp_path / "run").stat().st_size > 10_000


def test_a_method_that_did_not_converge_says_so(walk):
    short = dataclasses.replace(FAST, steps=20)
    found = jnrsfm.fit(walk[0], short, progress=False)
    assert found.code is ResultCode.STEP_LIMIT
    assert np.isfinite(found.reconstruction.points3d).all()
