"""From landmarks to what the network sees and back: nothing hidden leaks, nothing is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm import datasets
from jnrsfm.errors import InputError
from jnrsfm.geometry.normalization import (
    measure_perspective,
    measure_weak,
    reproject_perspective,
    reproject_weak,
)
from jnrsfm.inputs.inpainting import fill_hidden, landmark_covariance
from jnrsfm.inputs.observations import Normalizer, hold_out, two_d_size
from jnrsfm.types import CAMERA_MODELS, Landmarks

# ------------------------------------------------------------------------------------------- 2D size

SQUARE = np.array([[[0, 0], [4, 0], [4, 2], [0, 2], [1000, np.nan]]], float)
SEEN = np.array([[1.0, 0.5, 1, 1, 0]])


@pytest.mark.fast
@pytest.mark.parametrize(("measure", "size"), [("rms", np.sqrt(5)), ("longer", 4), ("shorter", 2)])
def test_2d_size_by_hand(measure, size):
    points = np.where(SEEN[..., None] > 0, SQUARE, 0)  # as the normaliser hands them over
    np.testing.assert_allclose(two_d_size(points, SEEN, measure), [size])
    np.testing.assert_allclose(two_d_size(points * 3 - 7, SEEN, measure), [3 * size])


@pytest.mark.fast
@pytest.mark.parametrize("measure", ["rms", "longer", "shorter"])
def test_a_frame_without_size_is_named(measure):
    points = np.concatenate([SQUARE, np.ones_like(SQUARE)])[:, :4]
    with pytest.raises(InputError, match=r"^frame 1: .*no size"):
        two_d_size(points, np.ones((2, 4)), measure)


# ----------------------------------------------------------------------------------- held-out points


@pytest.mark.fast
def test_hold_out_splits_what_is_seen_and_leaves_each_frame_enough():
    rng = np.random.default_rng(0)
    weights = (rng.uniform(0.1, 1, (4000, 12)) * (rng.random((4000, 12)) < 0.6)).astype(np.float32)
    kept, held = hold_out(weights, 0.2, 4, seed=0)
    np.testing.assert_array_equal(kept + held, weights)
    assert not ((kept > 0) & (held > 0)).any()
    before, after = (weights > 0).sum(1), (kept > 0).sum(1)
    assert (after >= np.minimum(before, 4)).all()
    roomy = before >= 8
    assert (held[roomy] > 0).sum() / before[roomy].sum() == pytest.approx(0.2, abs=0.01)
    by_point = (held[roomy] > 0).sum(0) / (weights[roomy] > 0).sum(0)
    np.testing.assert_allclose(by_point, 0.2, atol=0.04)
    again, other = hold_out(weights, 0.2, 4, seed=0)[1], hold_out(weights, 0.2, 4, seed=1)[1]
    np.testing.assert_array_equal(again, held)
    assert not np.array_equal(other, held)


@pytest.mark.fast
def test_nothing_is_held_out_where_nothing_is_asked_or_can_be_spared():
    weights = np.ones((50, 6), np.float32)
    assert not hold_out(weights, 0.0, 4, seed=0)[1].any()
    assert not hold_out(weights[:, :4], 0.9, 4, seed=0)[1].any()
    assert not hold_out(weights[:, :3], 0.9, 4, seed=0)[1].any()


# ---------------------------------------------------------------------------------- there and back


def truth_of(camera, **options):
    """Landmarks off the middle of the image, a third hidden, and their exact truth in centred shapes."""
    landmarks, truth = datasets.make(
        "walker", frames=12, clips=2, camera=camera, missing=0.3, seed=3, distance=2.5,
        **({"off_centre": 0.5} if camera != "orthographic" else {}), **options,
    )  # fmt: skip
    points, rotation = np.asarray(truth.points3d, float), np.asarray(truth.rotations, float)
    centre = points.mean(1)
    t = 0 if truth.translations is None else np.asarray(truth.translations, float)
    scale = np.ones(12) if truth.scale is None else np.asarray(truth.scale, float)
    t = t + scale[:, None] * np.einsum("fij,fj->fi", rotation, centre)
    return landmarks, points - centre[:, None], rotation, t, scale


@pytest.mark.parametrize("measure", ["rms", "longer"])
@pytest.mark.parametrize("camera", CAMERA_MODELS)
def test_true_shapes_solve_the_equations_and_reproject_to_the_input(camera, measure):
    landmarks, shapes, rotations, t, scale = truth_of(camera)
    with jax.enable_x64(True):
        normalizer = Normalizer(camera, measure).fitted(landmarks)
        data, frames = normalizer(landmarks)
        depth = np.asarray(data.depth, float)
        if camera == "perspective":
            assert np.abs(t[:, :2] / t[:, 2:]).max() > 0.1, "the object must be off the axis"
            turn = np.asarray(frames.turn, float)
            np.testing.assert_allclose(turn @ turn.swapaxes(1, 2), np.eye(3) + 0 * turn, atol=1e-5)
            unit = depth / np.einsum("fij,fj->fi", turn, t)[:, 2]
            seen_from = turn @ rotations
        else:
            unit, seen_from = scale / np.asarray(frames.size, float), rotations
        shapes = shapes * unit[:, None, None]

        # The bilinear equations that training minimises hold at the truth.
        turned = jnp.asarray(shapes @ seen_from.swapaxes(1, 2))
        weights = jnp.asarray(data.weights, float)
        points = jnp.asarray(data.points, float)
        if camera == "perspective":
            found = reproject_perspective(turned, points, weights)
            wanted = measure_perspective(points, weights, jnp.asarray(depth))
        else:
            found, wanted = reproject_weak(turned[..., :2], weights), measure_weak(points, weights)
        gap = np.where(np.asarray(weights)[..., None] > 0, found - wanted, 0)
        assert np.abs(gap).max() < 2e-5 * np.abs(wanted).max()
        assert 0.2 < np.sqrt((np.asarray(wanted) ** 2).sum(-1).mean()) < 3  # of unit size

        # And the way back gives the camera that the generator had, up to the unit.
        found = normalizer.reconstruction(landmarks, frames, shapes, seen_from, depth)
    np.testing.assert_allclose(found.rotations, rotations, atol=1e-5)
    seen = np.asarray(landmarks.visible)
    image, size = np.asarray(landmarks.points2d)[seen], np.ptp(np.asarray(landmarks.points2d)[seen])
    np.testing.assert_allclose(np.asarray(found.points2d)[seen], image, atol=1e-5 * size)
    if camera == "perspective":
        assert found.scale is None
        np.testing.assert_allclose(found.translations / unit[:, None], t, atol=1e-4 * np.abs(t).max())
    else:
        np.testing.assert_allclose(found.scale * unit, scale, rtol=1e-5)
        np.testing.assert_allclose(found.translations[:, :2], t[:, :2], atol=1e-4 * np.ptp(image))
    assert found.cameras.model == camera
    assert found.mirror == ("perspective" if camera == "perspective" else "none")
    np.testing.assert_array_equal(found.visible, landmarks.visible)


def test_one_scale_for_an_orthographic_set_and_one_for_each_frame_otherwise():
    landmarks = truth_of("orthographic")[0]
    grown = landmarks.replace(points2d=np.asarray(landmarks.points2d) * np.linspace(1, 2, 12)[:, None, None])
    spread = {}
    for camera in ("orthographic", "weak-perspective"):
        data, _ = Normalizer(camera, "rms").fitted(grown)(grown)
        seen = np.asarray(data.weights) > 0
        spread[camera] = two_d_size(np.asarray(data.points, float), seen, "rms")
        middle = np.where(seen[..., None], data.points, 0).sum(1)
        np.testing.assert_allclose(middle, 0, atol=1e-4)
    np.testing.assert_allclose(spread["weak-perspective"], 1, rtol=1e-5)
    assert np.sqrt((spread["orthographic"] ** 2).mean()) == pytest.approx(1, rel=1e-5)
    assert spread["orthographic"].std() > 0.1


def test_confidence_weighs_and_zero_confidence_hides():
    landmarks = truth_of("weak-perspective")[0]
    confidence = np.random.default_rng(0).uniform(0.2, 1, landmarks.visible.shape).astype(np.float32)
    confidence[:, 5] = 0
    data, _ = Normalizer("weak-perspective", "rms")(landmarks.replace(confidence=confidence))
    weights = np.asarray(data.weights)
    np.testing.assert_allclose(weights, np.where(landmarks.visible, confidence, 0))
    assert (weights[:, 5] == 0).all()
    np.testing.assert_allclose((weights[..., None] * np.asarray(data.points)).sum(1), 0, atol=1e-4)


def test_perspective_without_intrinsics_is_refused():
    landmarks = truth_of("perspective")[0].replace(intrinsics=None)
    with pytest.raises(InputError, match="intrinsics"):
        Normalizer("perspective", "rms")(landmarks)


# -------------------------------------------------------------------------------------- hidden points


@pytest.mark.fast
@pytest.mark.parametrize("camera", CAMERA_MODELS)
@pytest.mark.parametrize("value", [np.nan, 1e9, -np.inf])
def test_what_is_stored_for_a_hidden_point_never_arrives(camera, value):
    landmarks, shapes, rotations, *_ = truth_of(camera)
    outputs = []
    for stored in (0.0, value):
        hidden = np.asarray(landmarks.visible)[..., None]
        given = landmarks.replace(points2d=np.where(hidden, landmarks.points2d, np.float32(stored)))
        normalizer = Normalizer(camera, "rms").fitted(given)
        normalizer = normalizer.with_covariance(normalizer(given)[0])
        data, frames = normalizer(given)
        found = normalizer.reconstruction(given, frames, np.float32(shapes), rotations, data.depth)
        outputs.append((data, frames, normalizer.scale, normalizer.covariance, found.cameras))
    for a, b in zip(jax.tree.leaves(outputs[0]), jax.tree.leaves(outputs[1]), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert np.isfinite(np.asarray(a)).all()


def correlated(frames=400, points=8, missing=0.3, seed=0):
    """Points of two hidden factors, so that a third of them tell the others."""
    rng = np.random.default_rng(seed)
    xy = np.einsum("fki,pk->fpi", rng.normal(size=(frames, 2, 2)), rng.normal(size=(points, 2)))
    xy = (xy - xy.mean(1, keepdims=True)).astype(np.float32)
    seen = (rng.random((frames, points)) > missing).astype(np.float32)
    seen[:, :4] = 1
    return xy, seen


def test_hidden_points_are_predicted_from_the_others():
    xy, seen = correlated()
    covariance = landmark_covariance(np.where(seen[..., None] > 0, xy, 0), seen)
    filled = np.asarray(fill_hidden(np.where(seen[..., None] > 0, xy, 0), seen, covariance, block=150))
    np.testing.assert_array_equal(filled[seen > 0], xy[seen > 0])
    error = np.linalg.norm(filled - xy, axis=-1)[seen == 0]
    assert np.sqrt((error**2).mean()) < 0.1 * np.sqrt((xy[seen == 0] ** 2).sum(-1).mean())
    full = np.einsum("fpi,fqi->pq", xy, xy) / (2 * len(xy))
    np.testing.assert_allclose(covariance, full, atol=0.15 * np.abs(full).max())


def test_keypoints_that_a_class_lacks_are_not_filled_in():
    xy, seen = correlated(frames=40)
    seen[:20, 7] = 0
    defined = np.ones(seen.shape, bool)
    defined[:20, 7] = False
    landmarks = Landmarks(points2d=xy, visible=seen > 0, defined=defined)
    normalizer = Normalizer("weak-perspective", "rms")
    data = normalizer.with_covariance(normalizer(landmarks)[0])(landmarks)[0]
    np.testing.assert_array_equal(np.asarray(data.input_confidence) > 0, defined)
    assert (np.asarray(data.inputs)[:20, 7] == 0).all()
    np.testing.assert_array_equal(data.weights, seen)  # the loss sees what was seen
    np.testing.assert_allclose(
        np.asarray(data.inputs)[seen > 0], np.asarray(data.points)[seen > 0], atol=1e-6
    )


def test_held_out_points_do_not_help_to_fill_themselves():
    xy, seen = correlated(frames=60)
    landmarks = Landmarks(points2d=xy, visible=np.ones(seen.shape, bool))
    normalizer = Normalizer("orthographic", "rms", scale=1.0)
    data, _ = normalizer(landmarks)
    results = []
    for shift in (0.0, 5.0):
        points = np.asarray(data.points) + np.where(seen[..., None] > 0, 0, np.float32(shift))
        hidden = data._replace(points=jnp.asarray(points), weights=jnp.asarray(seen))
        filled = normalizer.with_covariance(hidden).filled(hidden)
        results.append((filled.inputs, filled.input_confidence))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_complete_frames_stay_as_they_are_and_still_teach_how_to_fill():
    xy, seen = correlated(frames=60)
    landmarks = Landmarks(points2d=xy, visible=np.ones(seen.shape, bool))
    data, _ = Normalizer("orthographic", "rms")(landmarks)
    normalizer = Normalizer("orthographic", "rms").with_covariance(data)
    whole = normalizer.filled(data)
    for a, b in (("inputs", "points"), ("input_confidence", "weights")):
        np.testing.assert_array_equal(getattr(whole, a), getattr(data, b))
    # a point hidden later is predicted from the others, where zero would be far off
    weights = np.array(data.weights)
    weights[:, 0] = 0
    filled = normalizer.filled(data._replace(weights=jnp.asarray(weights)))
    truth = np.asarray(data.points)[:, 0]
    assert np.abs(np.asarray(filled.inputs)[:, 0] - truth).mean() < 0.5 * np.abs(truth).mean()
