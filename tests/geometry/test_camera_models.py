"""Laws of the camera models, over all of them: a new one is a line in `geometry.cameras.MODELS`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.geometry import normalization as norm
from jnrsfm.geometry.cameras import MODELS, CameraModel, Perspective, camera_model
from jnrsfm.geometry.rotations import random_rotations
from jnrsfm.inputs.observations import Normalizer
from jnrsfm.types import CAMERA_MODELS, Landmarks

F, P = 5, 8
K = np.array([[900.0, 2.0, 320.0], [0.0, 880.0, 240.0], [0.0, 0.0, 1.0]])

pytestmark = pytest.mark.fast


@pytest.fixture(params=MODELS, ids=lambda m: m.name)
def model(request) -> CameraModel:
    return request.param


def scene(model, rng, hidden=0.25):
    """Camera-frame shapes centred on all their points, their translations and scales, and landmarks of them."""
    shape = rng.normal(size=(F, P, 3))
    shape -= shape.mean(1, keepdims=True)
    scale = rng.uniform(0.5, 2, F) if model.frame_scale and not model.shows_reflection else np.ones(F)
    t = np.c_[rng.normal(size=(F, 2)), np.full(F, 12.0) if model.columns == 3 else np.zeros(F)]
    placed = scale[:, None, None] * shape + t[:, None]
    image = np.asarray(model.project(jnp.asarray(placed), jnp.asarray(K) if model.columns == 3 else None))
    visible = rng.random((F, P)) >= hidden
    visible[:, : model.least_points] = True
    k = K.astype(np.float32) if model.columns == 3 else None
    return shape, scale, t, Landmarks(points2d=image.astype(np.float32), visible=visible, intrinsics=k)


def observed(model, landmarks):
    """Observations in float64, so that laws hold to rounding."""
    weights = np.asarray(landmarks.visible, np.float64)
    xy = np.where(weights[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
    plane, turn = model.view(
        xy, weights, None if landmarks.intrinsics is None else np.asarray(landmarks.intrinsics)
    )
    return plane, turn, weights


def test_the_list_is_that_of_the_records():
    assert tuple(m.name for m in MODELS) == CAMERA_MODELS
    assert all(isinstance(m, CameraModel) and camera_model(m.name) is m for m in MODELS)
    with pytest.raises(InputError, match="unknown camera 'fisheye': choose from orthographic"):
        camera_model("fisheye")


def test_residuals_are_zero_at_the_truth_under_any_mask(model, rng):
    shape, scale, t, landmarks = scene(model, rng)
    with jax.enable_x64(True):
        plane, turn, weights = observed(model, landmarks)
        if turn is None:  # the frame's size is its scale
            points, depth, x = plane, scale, shape
        else:  # as the virtual camera sees it
            placed = np.einsum("fij,fpj->fpi", turn, shape + t[:, None])
            depth = placed[..., 2].mean(1)
            points, x = plane, placed - placed.mean(1, keepdims=True)
            depth = placed.mean(1)[:, 2]
        args = (*map(jnp.asarray, (x, points, weights)), jnp.asarray(depth))
        for residual in (model.residual, model.image_residual, model.prediction_error):
            seen = np.asarray(residual(*args))[weights > 0]
            np.testing.assert_allclose(seen, 0, atol=5e-6)  # of float32 landmarks
        wrong = np.asarray(model.residual(args[0] * jnp.array([1.1, 1, 1]), *args[1:]))
        assert np.abs(wrong[weights > 0]).max() > 1e-2


def test_the_residual_knows_no_translation_of_the_image(model, rng):
    """Orthographic models: the image moved; a pinhole's translation is in the rays, which a move along them keeps."""
    shape, _, _, landmarks = scene(model, rng)
    plane, _, weights = observed(model, landmarks)
    depth = np.full(F, 12.0 if model.columns == 3 else 1.0)
    if model.columns == 3:
        pytest.skip("a moved image is another ray")
    one, two = (
        model.image_residual(*map(jnp.asarray, (shape, points, weights, depth)))
        for points in (plane, plane + np.array([3.0, -2.0]))
    )
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_the_adjoint_is_the_transposed_normalised_dictionary(model, rng):
    """`<adjoint(w), D#> = <M w, D~>` for the dense dictionary of the thesis."""
    _, _, _, landmarks = scene(model, rng)
    with jax.enable_x64(True):
        plane, _, weights = observed(model, landmarks)
        depth = jnp.full(F, 12.0 if model.columns == 3 else 1.0)
        points, weights = jnp.asarray(plane), jnp.asarray(weights)
        measured = model.normalise(points, weights, depth)
        rows = model.adjoint(measured, points, weights)
        assert rows.shape == (F, model.columns, P)
        d = jnp.asarray(rng.normal(size=(P, 4)))
        found = jnp.einsum("fcp,pk->fck", rows, d)
        if model.columns == 3:
            dense = norm.dictionary_perspective(d, points, weights).reshape(F, P, 2, 3, 4)
            expected = jnp.einsum("fp,fpa,fpack->fck", weights, measured, dense)
        else:
            dense = norm.dictionary_weak(d, weights)
            expected = jnp.einsum("fp,fpc,fpk->fck", weights, measured, dense)
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_what_is_stored_for_a_hidden_point_never_leaks(model, rng):
    landmarks = scene(model, rng)[3]
    results = []
    for stored in (np.nan, 1e6):
        given = landmarks.replace(
            points2d=np.where(np.asarray(landmarks.visible)[..., None], landmarks.points2d, stored)
        )
        seen, frames = Normalizer(model.name, "rms").fitted(given)(given)
        args = (seen.points, seen.weights, seen.depth)
        measured = model.normalise(*args)
        results.append((measured, model.adjoint(measured, seen.points, seen.weights), frames.size, args))
    for a, b in zip(jax.tree.leaves(results[0]), jax.tree.leaves(results[1]), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_placed_shape_reprojects_to_the_landmarks(model, rng):
    """From the true shape in the model's unit back to the user's camera."""
    shape, _, t, landmarks = scene(model, rng)
    normalizer = Normalizer(model.name, "rms").fitted(landmarks)
    seen, frames = normalizer(landmarks)
    turns = np.asarray(random_rotations(jax.random.key(0), (F,)))
    if model.columns == 3:
        x = np.einsum("fij,fpj->fpi", frames.turn, shape)
        depth = np.einsum("fij,fj->fi", frames.turn, t)[:, 2]
    else:
        size = np.asarray(frames.size)[:, None, None]
        scaled = np.asarray(landmarks.points2d) - np.asarray(landmarks.points2d).mean(1, keepdims=True)
        x, depth = np.concatenate([scaled, shape[..., 2:]], -1) / size, np.asarray(seen.depth)
    objects = np.einsum("fij,fpi->fpj", turns, x)
    found = normalizer.reconstruction(landmarks, frames, objects.astype(np.float32), turns, depth)
    assert found.cameras.model == model.name
    assert (found.mirror == "perspective") == model.shows_reflection
    visible = np.asarray(landmarks.visible)
    image = np.asarray(landmarks.points2d)
    gap = np.asarray(found.points2d)[visible] - image[visible]
    assert np.abs(gap).max() < 2e-4 * np.ptp(image[visible])
    np.testing.assert_allclose(np.linalg.det(np.asarray(found.rotations)), 1, atol=1e-4)


def test_a_shape_that_came_out_too_large_makes_its_frame_larger_or_nearer(model):
    found = np.asarray(model.rescaled(jnp.full(2, 3.0), jnp.array([2.0, 0.5])))
    expected = [1.5, 6.0] if isinstance(model, Perspective) else [6.0, 1.5]
    np.testing.assert_allclose(found, expected)


def test_points_as_an_orthographic_camera_sees_them(model, rng):
    """With the depths of the points, exactly the x and y of the shape (POSIT)."""
    shape, scale, t, landmarks = scene(model, rng, hidden=0.0)
    if model.columns == 3:
        placed = shape + t[:, None]
        points, depth = placed[..., :2] / placed[..., 2:], np.full(F, 12.0)
        target = placed[..., :2]
    else:
        points, depth = np.asarray(landmarks.points2d), scale
        target = points / scale[:, None, None]
    found = model.orthographic(*map(jnp.asarray, (points, depth, shape[..., 2])))
    np.testing.assert_allclose(found, target, atol=1e-4)
