"""Procrustean regression: its cost, its windows, one small training of each kind, and what it promises of gaps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.losses import low_rank_cost
from jnrsfm.methods import prn
from jnrsfm.metrics import evaluate
from jnrsfm.training import Session
from jnrsfm.types import Cameras, Landmarks, Reconstruction

F, P = 48, 12


def nodding(rng, frames=F, points=P, step=7.5):
    """A shape with one slow mode, seen by an orthographic camera that turns about the vertical, tilted a little."""
    t = np.arange(frames)
    shape = rng.normal(size=(points, 3))
    mode = 0.3 * rng.normal(size=(points, 3))
    points3d = shape + np.sin(2 * np.pi * t / 31)[:, None, None] * mode
    points3d -= points3d.mean(1, keepdims=True)
    a, tilt = np.deg2rad(step * t), np.deg2rad(15)
    o, i = np.zeros(frames), np.ones(frames)
    yaw = np.stack([np.cos(a), o, np.sin(a), o, i, o, -np.sin(a), o, np.cos(a)], -1).reshape(-1, 3, 3)
    pitch = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    rotations = pitch @ yaw
    camera_points = np.einsum("fpj,fij->fpi", points3d, rotations)
    reference = Reconstruction(
        points3d=points3d, cameras=Cameras(rotations=rotations), sequence=np.zeros(frames, int)
    )
    landmarks = Landmarks(
        points2d=camera_points[..., :2] * 20 + 100,
        visible=np.ones((frames, points), bool),
        sequence=np.zeros(frames, int),
    )
    return landmarks, reference.replace(points3d=points3d * 20)


def settings(**changes):
    """Small enough for a test, the rest as by default."""
    small = {"steps": 300, "chunk": 100, "warmup": 20, "width": 48, "blocks": 1, "window": 24}
    return prn.Prn(**{**small, **changes})


# ------------------------------------------------------------------------------------------------------ parts


@pytest.mark.fast
def test_where_a_solver_has_too_little_the_start_is_rigid(rng):
    landmarks, _ = nodding(rng)
    few = landmarks.select(slice(0, 5))
    z = {
        kind: np.asarray(prn._Fit(few, "orthographic", settings(start=kind, holdout=0.0), 0, Session()).z)
        for kind in ("pnd", "rigid", "flat")
    }
    np.testing.assert_array_equal(z["pnd"], z["rigid"])
    assert np.abs(z["rigid"]).max() > 0.1
    assert not z["flat"].any()


@pytest.mark.parametrize("cost", ["log-determinant", "nuclear"])
def test_low_rank_cost_knows_the_true_depths_and_not_the_camera(rng, cost):
    _, reference = nodding(rng)
    shapes = jnp.asarray(reference.camera_points / 20, jnp.float32)
    value = jax.jit(lambda x, present: low_rank_cost(x, present, cost, 0.005))
    all_frames = np.ones(F, np.float32)
    true = value(shapes, all_frames)
    turned = np.einsum("fpj,fij->fpi", shapes, np.asarray(reference.rotations)[::-1])
    assert value(jnp.asarray(turned, jnp.float32), all_frames) == pytest.approx(float(true), rel=1e-3)
    for depth in (0.0, 0.8, 1.25):
        assert value(shapes * jnp.array([1, 1, depth]), all_frames) > 1.02 * true
    absent = jnp.concatenate([shapes[:-4], 100 * jnp.ones((4, P, 3))])
    some = value(absent, all_frames.copy() * (np.arange(F) < F - 4))
    assert some == pytest.approx(float(true), rel=0.1)


def test_any_network_may_give_the_shapes(rng):
    """The cost takes shapes and gives a finite gradient, also of flat and of equal ones."""
    config = prn.Prn()
    points = jnp.asarray(rng.normal(size=(2, 8, P, 2)), jnp.float32)
    weights, present = jnp.ones((2, 8, P)), jnp.ones((2, 8))
    grad = jax.jit(jax.grad(lambda x: prn.procrustean_cost(x, points, weights, present, config)[0]))
    for shapes in (
        jnp.zeros((2, 8, P, 3)),
        jnp.ones((2, 8, P, 3)),
        jnp.pad(points, ((0, 0),) * 3 + ((0, 1),)),
    ):
        assert np.isfinite(grad(shapes)).all()


@pytest.mark.fast
@pytest.mark.parametrize(
    "change",
    [
        {"window": 2},
        {"hop": 0},
        {"spacing": 0},
        {"holdout": 1.0},
        {"epsilon": 0.0},
        {"epsilon": 0.1},
        {"weight": -1.0},
        {"anchor_floor": 1.5},
    ],
)
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        prn.Prn(**change)


# -------------------------------------------------------------------------------------------------- trainings


def error(reconstruction, reference):
    return evaluate(reconstruction, reference, ["one-mirror"])["one-mirror"]["normalized_error"]


def flat_error(reference):
    z = np.asarray(reference.camera_points)[..., 2]
    return np.linalg.norm(z) / np.linalg.norm(reference.camera_points)


@pytest.mark.slow
def test_free_shapes_reconstruct_a_sequence_with_gaps(rng):
    landmarks, reference = nodding(rng)
    seen = rng.random((F, P)) > 0.1
    config = settings(steps=150, network="none", holdout=0.05)
    found = []
    for stored in (np.nan, 1e4):  # what stands at a hidden point never matters
        points = np.where(seen[..., None], landmarks.points2d, stored)
        fitted = prn.fit(
            landmarks.replace(points2d=points, visible=seen), "orthographic", config, 0, Session()
        )
        found.append(fitted.reconstruction)
    assert np.array_equal(found[0].points3d, found[1].points3d)
    assert error(found[0], reference) < 0.015 < 0.03 * flat_error(reference)  # 0.0035
    assert fitted.model is None
    assert fitted.heldout["error"] < 0.1 * fitted.heldout["baseline"]
    assert np.allclose(np.linalg.det(found[0].rotations), 1, atol=1e-5)
    # the points of one object frame hardly move: the camera is in the rotations
    assert np.std(found[0].points3d, 0).max() < 0.5 * np.std(found[0].camera_points, 0).max()


@pytest.mark.slow
def test_the_floor_of_the_anchor_weight_stays_to_the_end(rng):
    """To the depths of the normal distribution, in the search and after; not to those of a rigid shape."""
    landmarks, _ = nodding(rng)

    def loss(floor, start="pnd", annealed=1.0):
        config = settings(anchor_floor=floor, start=start, window=F)
        run = prn._Fit(landmarks, "orthographic", config, 0, Session())
        params, _ = run.network.init(jax.random.key(0))
        data = run.batch(run.seen)
        shapes = run.network.module(params)(data.inputs, data.input_confidence)
        away = float(jnp.mean((shapes[..., 2] - data.z) ** 2))
        hyper = {"annealed": annealed, "anchor_weight": 1.0, "anchor_floor": run.floor, "progress": 1.0}
        value = jax.jit(run.objective)(params, {}, data, jax.random.key(1), hyper)
        return float(value[0]), away

    for annealed in (0.0, 1.0):
        held, away = loss(0.5, annealed=annealed)
        assert held - loss(0.0, annealed=annealed)[0] == pytest.approx(0.5 * away, rel=1e-3)
    assert loss(0.5, "rigid")[0] == loss(0.0, "rigid")[0]


@pytest.mark.slow
def test_network_trains_lifts_and_is_saved(rng, tmp_path):
    landmarks, reference = nodding(rng, 72)
    config = settings(steps=400, width=96)
    fitted = prn.fit(landmarks.select(slice(0, F)), "orthographic", config, 0, Session())
    assert error(fitted.reconstruction, reference.select(slice(0, F))) < 0.02  # 0.003 when this was written
    assert fitted.reconstruction.mirror == "sequence"
    rest = slice(F, 72)  # the camera has gone once around: the views come again, the shapes do not
    lifted = fitted.model.lift(landmarks.select(rest))
    assert error(lifted, reference.select(rest)) < 0.4 * flat_error(reference)  # 0.31
    image = np.asarray(landmarks.select(rest).points2d)  # observed points keep their x and y
    np.testing.assert_allclose(lifted.camera_points[..., :2], image, atol=1e-3 * np.ptp(image))
    fitted.model.save(tmp_path / "model.npz")
    again = prn.PrnModel.load(tmp_path / "model.npz").lift(landmarks.select(rest))
    assert np.array_equal(again.points3d, lifted.points3d)
    with pytest.raises(InputError, match="12 points"):
        fitted.model.lift(
            landmarks.replace(points2d=landmarks.points2d[:, :5], visible=landmarks.visible[:, :5])
        )


@pytest.mark.fast
def test_a_file_that_is_no_model_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", about=np.array('{"method": "other"}'))
    with pytest.raises(InputError, match="not a model of prn"):
        prn.PrnModel.load(tmp_path / "other.npz")


@pytest.mark.fast
def test_two_frames_are_too_few(rng):
    landmarks, _ = nodding(rng)
    with pytest.raises(InputError, match="at least 3 frames"):
        prn.fit(landmarks.select(slice(0, 2)), "orthographic", settings(), 0, Session())
