"""The error to be expected, of the whole and of each point, from what tracks and result say."""

import json
from pathlib import Path

import numpy as np
import pytest

from jnrsfm import datasets, metrics
from jnrsfm.metrics import expected_error
from jnrsfm.types import Cameras, Landmarks, Reconstruction

pytestmark = pytest.mark.fast


def walk(**options):
    """A clip of 60 frames and its truth."""
    settings = {"view": "orbit", "degrees_per_frame": 4.0, **options}
    return datasets.make("walker", seed=4, frames=60, clips=1, camera="orthographic", turning=0.0, **settings)


def flattened(result, share):
    """With depth in the camera frame times a share, as a relief."""
    r = np.asarray(result.rotations, float)
    x = np.asarray(result.points3d, float) @ r.mT * [1, 1, share]
    return result.replace(points3d=(x @ r).astype(np.float32))


def test_without_bones_the_steadiest_pairs_speak():
    landmarks, truth = walk()
    bare, shapes = landmarks.replace(edges=None), truth.replace(edges=None)
    right, wrong = (metrics.evidence(bare, s).steadiness for s in (shapes, flattened(shapes, 0.5)))
    assert right < wrong


def test_doubted_points_do_not_speak(rng):
    landmarks, truth = walk()
    weights = np.ones((60, 19))
    weights[rng.random((60, 19)) < 0.1] = 0
    x = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d), 5.0).astype(np.float32)
    found = metrics.evidence(landmarks.replace(points2d=x), truth, weights)
    clean = metrics.evidence(landmarks, truth, weights)
    assert found.beyond == pytest.approx(clean.beyond)
    assert found.residual == pytest.approx(clean.residual)


def test_the_formula_is_that_of_the_calibration():
    file = Path(__file__).parents[2] / "experiments" / "quality" / "calibration.json"
    told = json.loads(file.read_text())
    assert told["coefficients"] == expected_error._COEFFICIENTS
    assert told["half_width"] == expected_error._HALF_WIDTH
    assert told["guessed_depths"] == expected_error._GUESSED
    assert {float(k): v for k, v in told["radii"].items()} == metrics.RADII
    assert told["left_out"]["auto"]["spearman"] > 0.75
    assert told["points_left_out"]["calibration_error"] < 0.01


def deviations(landmarks, result, error=0.1, **more):
    """As float64."""
    return metrics.deviations(landmarks, result, error, **more).astype(np.float64)


def test_deviations_share_out_the_error_of_the_whole():
    landmarks, truth = walk(limb_occlusion=0.2)
    found = deviations(landmarks, truth)
    shapes = np.asarray(truth.points3d, np.float64)
    size = np.sqrt(((shapes - shapes.mean(1, keepdims=True)) ** 2).sum(-1).mean(1))
    assert np.sqrt(((found / size[:, None]) ** 2).mean()) == pytest.approx(0.1, rel=1e-5)
    np.testing.assert_allclose(deviations(landmarks, truth, 0.2), 2 * found, rtol=1e-5)


def test_deviations_are_in_the_units_of_the_points_wherever_they_stand(rng):
    landmarks, truth = walk(limb_occlusion=0.2)
    order = rng.permutation(landmarks.n_points)
    moved = truth.replace(points3d=(3 * np.asarray(truth.points3d) + [1, 2, 3])[:, order].astype(np.float32))
    mixed = landmarks.replace(
        points2d=np.asarray(landmarks.points2d)[:, order], visible=np.asarray(landmarks.visible)[:, order],
        edges=None, symmetric=None,
    )  # fmt: skip
    np.testing.assert_allclose(
        deviations(mixed, moved), 3 * deviations(landmarks, truth)[:, order], rtol=1e-3
    )


def test_what_is_hidden_or_swings_is_less_sure():
    landmarks, truth = walk(limb_occlusion=0.25)
    found, seen = deviations(landmarks, truth), np.asarray(landmarks.visible)
    there = seen.all(1)
    typical = np.median(found[there], 0)
    hidden = (found / typical)[~seen]
    assert np.median(hidden) > 1.15
    names = list(landmarks.names)
    wrists, hips = ([i for i, n in enumerate(names) if part in n] for part in ("wrist", "hip"))
    assert typical[wrists].min() > 1.5 * typical[hips].max()


def test_one_mode_along_the_line_of_sight_by_hand():
    """Two states that differ by a step in depth of one point: nothing seen tells them apart, and its variance is that
    of the step; a step across the line of sight is seen."""
    base = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0]])
    turns = np.tile(np.eye(3), (40, 1, 1))
    for axis, factor in ((2, 1.0), (0, None)):
        x = np.tile(base, (40, 1, 1))
        x[::2, 4, axis] += 0.5
        result = Reconstruction(points3d=x, cameras=Cameras(rotations=turns))
        flat = Landmarks(points2d=x[..., :2].astype(np.float32), visible=np.ones((40, 5), bool))
        own = expected_error._posterior(x - x.mean(1, keepdims=True), turns, np.ones((40, 5)))
        step = 0.25**2 * 0.8**2  # its variance, of a coordinate whose mean moves by a fifth of it
        if factor is not None:
            np.testing.assert_allclose(own[:, 4], step, rtol=1e-6)
        else:
            assert own[:, 4].max() < 0.35 * step
        assert np.isfinite(deviations(flat, result)).all()


@pytest.mark.parametrize("frames", [1, 2])
def test_deviations_of_little_are_finite_and_of_nothing_zero(frames):
    x = np.zeros((frames, 4, 3), np.float32)
    x[:, 1:3] = np.eye(3)[:2]
    x[:, 3] = np.nan
    result = Reconstruction(points3d=x, cameras=Cameras(rotations=np.tile(np.eye(3), (frames, 1, 1))))
    landmarks = Landmarks(points2d=np.nan_to_num(x[..., :2]), visible=np.zeros((frames, 4), bool))
    found = deviations(landmarks, result)
    assert np.isfinite(found).all()
    assert (found[:, 3] == 0).all()
    still = result.replace(points3d=np.zeros_like(x))
    assert np.isfinite(deviations(landmarks, still)).all()


def test_kinds_have_distributions_of_their_own():
    """Beside a rigid kind, another one's limbs make it no less sure."""
    landmarks, truth = walk()
    still = np.repeat(np.asarray(truth.points3d)[:1], 60, 0)
    alone = deviations(landmarks, truth)
    both = truth.replace(
        points3d=np.concatenate([truth.points3d, still]),
        cameras=Cameras(rotations=np.concatenate([truth.rotations, truth.rotations])),
        category=np.repeat([0, 1], 60), sequence=None, visible=None, valid3d=None, mirror_margin=None,
    )  # fmt: skip
    twice = Landmarks(
        points2d=np.concatenate([landmarks.points2d] * 2), visible=np.concatenate([landmarks.visible] * 2)
    )
    found = deviations(twice, both)
    ratio = found[:60] / alone
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)
    wrist = list(landmarks.names).index("left_wrist")
    assert np.median(found[60:, wrist]) < 0.6 * np.median(found[:60, wrist])


def test_frames_that_are_less_sure_are_listed():
    landmarks, truth = walk()
    seen = np.array(landmarks.visible)
    seen[7, :12] = False
    hidden = landmarks.replace(visible=seen)
    found, quality = metrics.judged(hidden, truth)
    assert 7 in quality["verdict"]["frames"]
    assert 7 not in metrics.judged(landmarks, truth)[1]["verdict"]["frames"]
    expected = metrics.deviations(hidden, truth, quality["verdict"]["error"])
    np.testing.assert_allclose(found.deviation, expected)


def test_bones_that_a_method_keeps_are_no_evidence():
    """Of a relief whose bones were given their true lengths by force, other pairs tell that it is wrong."""
    landmarks, truth = walk()
    wrong = flattened(truth, 0.5)
    plain, kept = (metrics.evidence(landmarks, wrong, keeps_lengths=k) for k in (False, True))
    assert kept.kept
    assert plain.steadiness != kept.steadiness
    assert plain.unsteady
    assert not kept.unsteady  # pairs that are no bones need not be steady
    right = metrics.evidence(landmarks, truth, keeps_lengths=True)
    assert metrics.predict(right).error < metrics.predict(kept).error
