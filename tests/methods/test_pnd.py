"""The Procrustean normal distribution: exact on its own model, graceful with noise, gaps that do not leak."""

import dataclasses

import numpy as np
import pytest

from jnrsfm import io, metrics
from jnrsfm.errors import InputError
from jnrsfm.methods import pnd
from jnrsfm.training import Session
from jnrsfm.types import Cameras, Landmarks, Reconstruction

# One set of shapes for all tests: compiling is most of the time.
FRAMES, POINTS, MODES = 60, 14, 2
CONFIG = pnd.Pnd(modes=8, cooling=(0.9,), floor=1e-5)


def samples(rng, *, noise=0.0, missing=0.0, scale_spread=0.0):
    """Landmarks and reference of normally distributed shapes under uniformly random cameras."""
    mean = rng.normal(size=(POINTS, 3))
    modes = 0.25 * rng.normal(size=(MODES, POINTS, 3))
    shapes = mean + np.einsum("fk,kpi->fpi", rng.normal(size=(FRAMES, MODES)), modes)
    shapes -= shapes.mean(1, keepdims=True)
    rotations = np.linalg.qr(rng.normal(size=(FRAMES, 3, 3)))[0]
    rotations[:, 2] *= np.linalg.det(rotations)[:, None]
    scale = np.exp(scale_spread * rng.normal(size=FRAMES)) if scale_spread else None
    reference = Reconstruction(points3d=shapes, cameras=Cameras(rotations=rotations, scale=scale))
    image = np.asarray(reference.points2d) + rng.normal(size=(FRAMES, 1, 2))
    image = image + noise * rng.normal(size=image.shape)
    visible = rng.random((FRAMES, POINTS)) >= missing
    return Landmarks(points2d=image.astype(np.float32), visible=visible), reference


def solve(landmarks, camera="orthographic", config=CONFIG):
    """The reconstruction and diagnostics of a fit."""
    fitted = pnd.fit(landmarks, camera, config, 0, Session(None))
    return fitted.reconstruction, fitted.diagnostics


def error(estimate, reference):
    """With one mirror for the whole set."""
    return metrics.evaluate(estimate, reference, ["one-mirror"])["one-mirror"]["normalized_error"]


@pytest.mark.fast
def test_exact_on_its_own_model(rng):
    landmarks, reference = samples(rng)
    found, diagnostics = solve(landmarks)
    assert error(found, reference) < 1e-4
    assert diagnostics["modes_above_noise"] < CONFIG.modes
    np.testing.assert_allclose(found.points2d, landmarks.points2d, atol=1e-3)
    np.testing.assert_allclose(np.linalg.det(found.rotations), 1, atol=1e-5)


def test_error_grows_no_faster_than_noise(rng):
    landmarks, reference = samples(rng, noise=0.02)
    found, diagnostics = solve(landmarks)
    assert error(found, reference) < 0.04  # the images themselves are off by 0.02 of the object
    assert diagnostics["noise"] > 1e-3  # found, not pressed to the floor


def test_gaps_and_scales_are_part_of_the_model(rng):
    landmarks, reference = samples(rng, missing=0.1, scale_spread=0.3)
    found, _ = solve(landmarks, "weak-perspective")
    assert error(found, reference) < 1e-4
    seen = np.asarray(landmarks.visible)[..., None]
    truth = np.asarray(reference.points2d)
    there = np.asarray(found.points2d)
    offset = np.where(seen, landmarks.points2d - truth, np.nan)
    middle = np.nanmean(offset, 1, keepdims=True)  # each frame was shifted
    np.testing.assert_allclose(there, truth + middle, atol=2e-3)  # hidden points too

    spoiled = landmarks.replace(points2d=np.where(seen, landmarks.points2d, np.nan).astype(np.float32))
    again, _ = solve(spoiled, "weak-perspective")
    np.testing.assert_array_equal(again.points3d, found.points3d)


def test_likelihood_chooses_the_cooling(rng):
    """A distribution that narrows down in a few steps ends in a poorer optimum, and is not kept."""
    landmarks, reference = samples(rng)
    hasty = 1e-3
    found, diagnostics = solve(landmarks, config=dataclasses.replace(CONFIG, cooling=(hasty, 0.9)))
    assert diagnostics["cooling"] == 0.9
    assert diagnostics["log_likelihood"]["0.9"] > diagnostics["log_likelihood"][str(hasty)]
    assert error(found, reference) < 1e-4


def test_likelihood_alignment_beats_the_tangent_one_on_linear_deformation(rng):
    """A deformation that is linear in the object's frame is not in the Procrustes frame."""
    landmarks, reference = samples(rng)
    tangent, diagnostics = solve(landmarks, config=dataclasses.replace(CONFIG, alignment="tangent"))
    _, ours = solve(landmarks)
    assert ours["log_likelihood"]["0.9"] > diagnostics["log_likelihood"]["0.9"]
    assert error(tangent, reference) < 0.2


def test_same_seed_same_answer(rng):
    landmarks, _ = samples(rng)
    np.testing.assert_array_equal(solve(landmarks)[0].points3d, solve(landmarks)[0].points3d)


@pytest.mark.fast
@pytest.mark.parametrize(("frames", "points"), [(5, 14), (60, 4)])
def test_too_few_data_is_a_clear_error(rng, frames, points):
    landmarks, _ = samples(rng)
    few = landmarks.replace(
        points2d=landmarks.points2d[:frames, :points], visible=landmarks.visible[:frames, :points]
    )
    with pytest.raises(InputError, match="needs at least 6 frames and 5 points"):
        solve(few)


@pytest.mark.fast
@pytest.mark.parametrize(
    "bad",
    [
        {"modes": 0},
        {"cooling": (0.9, 1.0)},
        {"cooling": ()},
        {"floor": 0.0},
        {"steps": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        pnd.Pnd(**bad)


@pytest.mark.data
@pytest.mark.slow
def test_pickup_as_good_as_the_released_code(data_dir):
    path = data_dir / "short_sequences" / "pickup.npz"
    fitted = pnd.fit(io.read_landmarks(path), "orthographic", pnd.Pnd(), 0, Session(None))
    scores = metrics.evaluate(fitted.reconstruction, io.read_reference(path), ["frame-mirror"])
    assert scores["frame-mirror"]["normalized_error"] < 1.2 * 0.0133
