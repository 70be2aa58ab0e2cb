"""The choice of a method: by hidden points, simpler first, and what could not be tried is told."""

import jax
import numpy as np
import pytest

from jnrsfm import datasets, metrics
from jnrsfm.errors import InputError
from jnrsfm.methods import articulated, auto, pnd
from jnrsfm.methods.base import Fitted
from jnrsfm.training import Session
from jnrsfm.types import Cameras, Landmarks, Reconstruction


@pytest.mark.fast
@pytest.mark.parametrize(
    ("errors", "best"),
    [([1.0, 0.95, 0.96], 0), ([1.0, 0.5, 0.49], 1), ([1.0, 0.5, 0.3], 2), ([np.nan, 2.0], 1), ([2.0], 0)],
)
def test_a_freer_method_must_predict_better(errors, best):
    assert auto.choose(errors, 1.1) == best


@pytest.mark.fast
@pytest.mark.parametrize("bad", [{"minutes": 0.0}, {"holdout": 0.0}, {"holdout": 0.6}, {"better": 0.9}])
def test_settings_that_cannot_work_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        auto.Auto(**bad)


def box(rng, scales):
    """A rigid body of 12 points whose frames have the given scales."""
    n = len(scales)
    rotations = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    rotations[:, 2] *= np.linalg.det(rotations)[:, None]
    shape = rng.normal(size=(12, 3))
    truth = Reconstruction(
        points3d=np.repeat((shape - shape.mean(0))[None], n, 0),
        cameras=Cameras(rotations=rotations, scale=scales),
    )
    image = np.asarray(truth.points2d)
    return Landmarks(points2d=image.astype(np.float32), visible=np.ones((n, 12), bool)), truth


def test_camera_and_method_are_chosen_by_hidden_points(rng, monkeypatch):
    landmarks, truth = box(rng, rng.uniform(0.5, 2.0, 40))
    every = auto._candidates

    def few(*args):
        yield "none", "orthographic", _refuse
        yield from (c for c in every(*args) if c[0] == "rigid")

    def _refuse(landmarks):
        raise InputError("none: too hard")

    monkeypatch.setattr(auto, "_candidates", few)
    found = auto.fit(landmarks, "orthographic", auto.Auto(), 0, Session(None))
    assert (found.diagnostics["method"], found.diagnostics["camera"]) == ("rigid", "weak-perspective")
    assert found.diagnostics["refused"] == {"none, orthographic": "none: too hard"}
    assert found.heldout["error"] < 0.01 * found.heldout["baseline"]
    assert metrics.evaluate(found.reconstruction, truth, ["kong"])["kong"]["normalized_error"] < 1e-4
    told = landmarks.replace(camera="orthographic")  # the file says which
    assert (
        auto.fit(told, "orthographic", auto.Auto(), 0, Session(None)).diagnostics["camera"] == "orthographic"
    )
    monkeypatch.setattr(auto, "_candidates", lambda *a: iter([("none", "orthographic", _refuse)]))
    with pytest.raises(InputError, match="too hard"):
        auto.fit(landmarks, "orthographic", auto.Auto(), 0, Session(None))
    assert jax.config.read("jax_enable_x64") is False


def test_tracks_that_jitter_are_smoothed_before(monkeypatch):
    landmarks, truth = datasets.make(
        "walker", frames=90, clips=1, noise=0.03, view="orbit", degrees_per_frame=2.0, seed=1
    )
    config = pnd.Pnd(modes=8, cooling=(0.88,), floor=1e-3, starts=1)
    run = lambda x: pnd.INFO.fit(x, "orthographic", config, 0, Session(None))
    monkeypatch.setattr(auto, "_candidates", lambda *_: [("pnd", "orthographic", run)])
    found, plain = auto.fit(landmarks, "orthographic", auto.Auto(), 0, Session(None)), run(landmarks)
    error = lambda r: metrics.evaluate(r, truth, ["kong"])["kong"]["normalized_error"]
    assert found.diagnostics["jitter"] > 0.05
    assert error(found.reconstruction) < 0.8 * error(plain.reconstruction)


@pytest.fixture(scope="module")
def stretched():
    """A clip, its truth, and a solver whose depths are drawn out: its bones stretch."""
    landmarks, truth = datasets.make(
        "walker", seed=4, frames=36, clips=2, camera="orthographic", view="orbit"
    )
    x = np.asarray(truth.camera_points, np.float64)
    x = x - x.mean(1, keepdims=True)
    size = np.sqrt((x**2).sum(-1).mean())
    x[..., 2] = 0.8 * x[..., 2] + 0.25 * size * np.random.default_rng(5).normal(size=x.shape[:2])
    axes = np.tile(np.eye(3), (len(x), 1, 1))
    record = truth.replace(points3d=x.astype(np.float32), cameras=Cameras(rotations=axes))
    return landmarks, truth, Fitted(record)


@pytest.mark.parametrize("ends", ["alike", "apart"])
def test_bones_that_stretch_are_kept_where_the_ends_agree(stretched, monkeypatch, ends):
    landmarks, truth, drawn = stretched
    monkeypatch.setattr(auto, "_candidates", lambda *_: [("pnd", "orthographic", lambda _: drawn)])
    start = articulated.Start.of("pnd", "orthographic", drawn)
    config = articulated.Articulated(rounds=20, sweeps=0)
    short = lambda *a: articulated.refine(a[0], a[1], [start], config, a[4])
    seen = []

    def fit(*args):
        found = short(*args)
        shapes = np.asarray(found.reconstruction.camera_points)
        other = shapes * (1.0 if ends == "alike" else np.array([1.0, 1.0, 3.0]))
        seen.append(found._replace(restarts=np.stack([shapes, other])))
        return seen[-1]

    monkeypatch.setattr(articulated, "fit", fit)
    found = auto.fit(landmarks, "orthographic", auto.Auto(), 0, Session(None))
    error = lambda r: metrics.evaluate(r, truth, ["one-mirror-scaled"])["one-mirror-scaled"][
        "normalized_error"
    ]
    assert len(seen) == 1
    if ends == "alike":
        assert found.diagnostics["method"] == "articulated"
        assert found.diagnostics["bones_before"] > 0.08
        assert error(found.reconstruction) < 0.75 * error(drawn.reconstruction)
    else:
        assert found.diagnostics["method"] == "pnd"
        assert found.diagnostics["articulated_ends_apart"] > 0.15
        assert found.reconstruction is drawn.reconstruction
    # without bones nobody asks for them, and a flat thing has none that point anywhere
    auto.fit(landmarks.replace(edges=None), "orthographic", auto.Auto(), 0, Session(None))
    points = np.asarray(drawn.reconstruction.points3d)
    flat = drawn._replace(
        reconstruction=drawn.reconstruction.replace(points3d=points * np.float32([1, 1, 0.01]))
    )
    monkeypatch.setattr(auto, "_candidates", lambda *_: [("pnd", "orthographic", lambda _: flat)])
    auto.fit(landmarks, "orthographic", auto.Auto(), 0, Session(None))
    assert len(seen) == 1
