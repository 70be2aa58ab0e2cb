"""The verdict on a whole fit: right shapes are expected to be right, and what spoils a fit is said first."""

import json
import re

import numpy as np
import pytest

from jnrsfm import datasets, metrics
from jnrsfm.inputs import Reliability
from jnrsfm.report.summary import summarise

pytestmark = pytest.mark.fast


def walk(**options):
    """A clip of 60 frames and its truth, with a margin as a fit has it."""
    settings = {"view": "orbit", "degrees_per_frame": 4.0, **options}
    landmarks, truth = datasets.make(
        "walker", seed=4, frames=60, clips=1, camera="orthographic", turning=0.0, **settings
    )
    return landmarks, truth.replace(mirror="sequence", mirror_margin=np.ones(60, np.float32))


def said(landmarks, result):
    """The verdict."""
    return metrics.assess(landmarks, result)["verdict"]


def flattened(result, share):
    """With depth in the camera frame times a share, as a relief."""
    r = np.asarray(result.rotations, float)
    x = np.asarray(result.points3d, float) @ r.mT * [1, 1, share]
    return result.replace(points3d=(x @ r).astype(np.float32))


def test_right_shapes_are_expected_to_be_better_than_wrong_ones():
    landmarks, truth = walk()
    errors = [said(landmarks, flattened(truth, s))["error"] for s in (1.0, 0.8, 0.5)]
    assert errors == sorted(errors)
    good = said(landmarks, truth)
    assert good["word"] == "good"
    assert good["low"] < good["error"] < good["high"]
    assert re.match(r"good, expected error about [\d.]+ %: no check speaks against it", good["text"])
    json.dumps(good)


def test_with_a_warning_no_fit_is_better_than_fair_on_the_page_as_on_the_command_line():
    landmarks, truth = walk()
    report = metrics.assess(landmarks, truth, said=["Left and right change sides in 3 frames."])
    assert report["verdict"]["word"] == summarise(report)[0] == "fair"
    assert "read the warnings" in report["verdict"]["text"]
    assert report["warnings"][0].startswith("Left and right")


@pytest.mark.parametrize(("count", "word"), [(1, "good"), (3, "poor")])
def test_sides_that_change_and_were_fitted_so_spoil_a_fit(count, word):
    landmarks, truth = walk()
    found = metrics.assess(landmarks, truth, exchanged=np.arange(60) < count)["verdict"]
    assert found["word"] == word
    assert ("left and right change sides in 3 frames" in found["text"]) == (word == "poor")


def test_noise_is_said_first(rng):
    landmarks, truth = walk()
    noise = rng.normal(size=(60, 19, 2)).astype(np.float32)
    depth = np.concatenate([noise, rng.normal(size=(60, 19, 1))], -1).astype(np.float32)
    r = np.asarray(truth.rotations)
    found = said(landmarks.replace(points2d=noise), truth.replace(points3d=depth @ r))
    assert found["word"] == "poor"
    assert "noise" in found["reasons"][0]


def test_views_that_hardly_turn_are_no_evidence_of_depth():
    landmarks, truth = walk(view="fixed")
    found = said(landmarks, truth)
    assert found["word"] == "poor"
    assert "no evidence of depth" in found["text"]
    # cameras that claim to turn, and lengths that are no steadier for it
    landmarks, truth = walk()
    found = said(landmarks, flattened(truth, 0.05))
    assert found["word"] == "poor"
    assert "no evidence of depth" in found["text"]
    assert "nearly flat" in found["text"]


@pytest.mark.parametrize(
    ("degrees", "noise", "word"), [(0.6, 0.01, "poor"), (4.0, 0.01, "good"), (0.6, 0.001, "good")]
)
def test_tracks_that_jitter_while_the_views_hardly_turn_say_nothing_of_depth(degrees, noise, word):
    landmarks, truth = walk(degrees_per_frame=degrees, noise=noise)
    found = said(landmarks, truth)
    assert ("the tracks jitter by" in found["text"]) == (word == "poor")
    assert word == "good" or found["word"] == "poor"


@pytest.mark.parametrize("degrees", [1.0, 4.0])
def test_frames_out_of_order_are_not_called_jitter(rng, degrees):
    landmarks, truth = walk(degrees_per_frame=degrees)
    order = rng.permutation(60)
    assert "jitter" not in said(landmarks.select(order), truth.select(order))["text"]


def test_reflected_frames_are_listed_and_not_good():
    landmarks, truth = walk()
    margin = np.ones(60, np.float32)
    margin[[7, 8, 9, 30]] = 0
    found = said(landmarks, truth.replace(mirror_margin=margin))
    assert found["frames"] == [7, 8, 9, 30]
    assert found["word"] == "fair"
    assert "4 frames may be reflected" in found["text"]
    assert said(landmarks, truth.replace(mirror="none"))["word"] != "good"


@pytest.mark.parametrize(("apart", "word"), [(0.01, "good"), (0.12, "fair"), (0.4, "poor")])
def test_fits_that_end_elsewhere_are_not_good_and_no_nearer_than_they_lie_apart(rng, apart, word):
    landmarks, truth = walk()
    x = metrics.protocols.camera_points(truth)
    size = np.sqrt((x**2).sum(-1).mean())
    moved = x + apart * size * rng.normal(size=x.shape) * [0, 0, 1]
    found = metrics.assess(landmarks, truth, restarts=np.stack([x, moved, 2 * x - moved]))["verdict"]
    assert found["word"] == word
    assert ("repeated fits differ by" in found["text"]) == (word == "fair")
    assert found["low"] <= found["error"] <= found["high"]
    assert found["error"] > 0.3 * apart


def test_a_flat_thing_may_be_reflected_in_every_frame():
    landmarks, truth = walk()
    x = np.asarray(truth.points3d) * np.float32([1, 0, 1])
    sheet = truth.replace(points3d=x)
    found = said(landmarks.replace(points2d=np.asarray(sheet.points2d)), sheet)
    assert found["word"] == "poor"
    assert "flat" in found["text"]


def test_a_hidden_far_side_is_not_called_good():
    landmarks, truth = walk()
    near = np.asarray(landmarks.visible).copy()
    for a, b in np.asarray(landmarks.symmetric):
        z = np.asarray(truth.camera_points)[:, [a, b], 2]
        far = np.where(z.argmax(1) == 0, a, b)
        near[np.arange(60), far] = False
    found = said(landmarks.replace(visible=near), truth)
    assert found["word"] == "poor"
    assert "one side" in found["text"]


def test_coordinates_that_look_wrong_are_never_good():
    landmarks, truth = walk()
    line = "coordinates run from 0 to 1"
    found = metrics.assess(landmarks, truth, remarks=[line])
    assert found["verdict"]["word"] == "poor"
    assert found["warnings"][0] == line


def test_good_is_what_has_no_poor_item():
    landmarks, truth = walk()
    spoilt = np.array(landmarks.points2d)
    spoilt[::3] += 0.2 * np.ptp(spoilt, axis=(0, 1))
    report = metrics.assess(landmarks.replace(points2d=spoilt), truth)
    assert any(i["verdict"] == "poor" for i in report["items"])
    assert report["verdict"]["word"] != "good"


@pytest.mark.parametrize(("count", "word"), [(1, "good"), (40, "fair")])
def test_wrong_points_are_named_and_a_stray_one_is_no_warning(count, word):
    landmarks, truth = walk()
    doubted = np.zeros((60, 19), bool)
    doubted.flat[np.arange(count) * (doubted.size // count)] = True
    report = metrics.assess(landmarks, truth, reliability=Reliability(1.0 - doubted, doubted, 0.01))
    item = next(i for i in report["items"] if i["name"] == "outliers")
    assert f"{landmarks.names[0]} in frame 0" in item["explain"]
    assert report["verdict"]["word"] == word
    assert report["warnings"][0].startswith("Wrong points") == (word == "fair")


def test_fits_that_disagree_are_poor_however_steady_their_lengths():
    """A figure drawn out along the line of sight keeps its lengths as well as the true one: at least one is wrong."""
    landmarks, truth = walk()
    shapes = [np.asarray(flattened(truth, s).camera_points) for s in (1.0, 1.1, 4.0)]
    near = metrics.assess(landmarks, truth, restarts=np.stack(shapes[:2]))["verdict"]
    far = metrics.assess(landmarks, truth, restarts=np.stack(shapes))["verdict"]
    assert near["word"] != "poor"
    assert far["word"] == "poor"
    assert far["text"].startswith("poor: repeated fits disagree")


def test_a_few_points_in_each_frame_prove_nothing(rng):
    """Noise of five points, of which a frame shows three: a camera and any shape fit it exactly."""
    landmarks, truth = walk()
    few = landmarks.replace(
        visible=np.asarray(landmarks.visible) & (rng.random(landmarks.visible.shape).argsort(1) < 3)
    )
    verdict_ = said(few, truth)
    assert verdict_["word"] == "poor"
    assert "any shape would fit" in verdict_["text"]
    four = landmarks.replace(visible=rng.random(landmarks.visible.shape).argsort(1).argsort(1) < 4)
    assert "any shape would fit" not in said(four, truth)["text"]
