"""Consensus of parts: parts cover the points, mirrors and outliers are mended, exact on a rigid-plus-modes body."""

import jax
import numpy as np
import pytest

from jnrsfm import metrics
from jnrsfm.errors import InputError
from jnrsfm.methods import consensus
from jnrsfm.training import Session
from jnrsfm.types import Cameras, Landmarks, Reconstruction

FRAMES, POINTS = 60, 16


def body(rng, missing=0.0):
    """Landmarks and reference of shapes with one mode under uniformly random cameras."""
    shapes = rng.normal(size=(POINTS, 3)) + 0.25 * np.einsum(
        "f,pi->fpi", rng.normal(size=FRAMES), rng.normal(size=(POINTS, 3))
    )
    shapes -= shapes.mean(1, keepdims=True)
    rotations = np.linalg.qr(rng.normal(size=(FRAMES, 3, 3)))[0]
    rotations[:, 2] *= np.linalg.det(rotations)[:, None]
    reference = Reconstruction(points3d=shapes, cameras=Cameras(rotations=rotations))
    visible = rng.random((FRAMES, POINTS)) >= missing
    return Landmarks(points2d=np.asarray(reference.points2d, np.float32), visible=visible), reference


@pytest.mark.fast
def test_every_point_is_in_enough_parts(rng):
    points = rng.normal(size=(12, 2, 30))
    parts = consensus.draw_parts(points, 10, 5, 1.0, seed=3)
    assert parts.shape[1] == 10
    assert np.bincount(parts.ravel(), minlength=30).min() >= 5
    assert all(len(set(part)) == 10 for part in parts)
    np.testing.assert_array_equal(parts, consensus.draw_parts(points, 10, 5, 1.0, seed=3))


@pytest.mark.fast
def test_mirrored_parts_are_found(rng):
    whole = rng.normal(size=(20, 3, 24))
    parts = consensus.draw_parts(whole[:, :2], 10, 4, 10.0, seed=0)
    shapes = np.moveaxis(whole[:, :, parts], 2, 0).copy()
    wrong = rng.random(len(parts)) < 0.4
    shapes[wrong, :, 2] *= -1
    found = consensus.mirror_parts(shapes, parts)
    assert (found == wrong).all() or (found == ~wrong).all()


@pytest.mark.fast
def test_agreement_outvotes_bad_parts_and_forgets_their_offsets(rng):
    whole = rng.normal(size=(15, 3, 24))
    whole -= whole.mean(-1, keepdims=True)
    parts = consensus.draw_parts(whole[:, :2], 10, 8, 10.0, seed=0)
    shapes = np.moveaxis(whole[:, :, parts], 2, 0).copy()
    shapes += rng.normal(size=(len(parts), 15, 3, 1))
    shapes[0] += rng.normal(size=shapes[0].shape)
    with jax.enable_x64(True):
        found = np.asarray(consensus.agree(jax.numpy.asarray(shapes), jax.numpy.asarray(parts), 24))
    np.testing.assert_allclose(found, whole, atol=0.01)


def test_exact_on_a_body_of_its_own_model(rng):
    landmarks, reference = body(rng)
    config = consensus.Consensus(modes=4, coverage=2, floor=1e-5, steps=180)
    fitted = consensus.fit(landmarks, "orthographic", config, 0, Session(None))
    scores = metrics.evaluate(fitted.reconstruction, reference, ["one-mirror"])
    assert scores["one-mirror"]["normalized_error"] < 1e-4
    np.testing.assert_allclose(fitted.reconstruction.points2d, landmarks.points2d, atol=1e-4)


@pytest.mark.fast
@pytest.mark.parametrize(("frames", "points"), [(5, 16), (60, 4)])
def test_too_few_data_is_a_clear_error(rng, frames, points):
    landmarks, _ = body(rng)
    few = landmarks.replace(
        points2d=landmarks.points2d[:frames, :points], visible=landmarks.visible[:frames, :points]
    )
    with pytest.raises(InputError, match="needs at least 6 frames and 5 points"):
        consensus.fit(few, "orthographic", consensus.Consensus(), 0, Session(None))


@pytest.mark.fast
@pytest.mark.parametrize("bad", [{"part_size": 3}, {"coverage": 0}, {"locality": 0.0}, {"cooling": 1.0}])
def test_settings_that_cannot_work_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        consensus.Consensus(**bad)
