"""The articulated figure mends what a solver leaves: flat relief, and depths that jitter."""

import numpy as np
import pytest

from jnrsfm import metrics
from jnrsfm.datasets import make
from jnrsfm.errors import InputError
from jnrsfm.methods import articulated
from jnrsfm.methods.articulated import Articulated
from jnrsfm.training import Session

SHORT = {"rounds": 20, "sweeps": 1}


@pytest.fixture(scope="module")
def clips():
    """Two clips of a walking figure under a smooth camera, and the truth."""
    return make("walker", seed=4, frames=36, clips=2, camera="orthographic", view="orbit", missing=0.03)


def spoilt(truth) -> np.ndarray:
    """Camera points with relief of eight tenths and depths that jitter, each point and frame on its own."""
    x = np.asarray(truth.camera_points, np.float64)
    x = x - x.mean(1, keepdims=True)
    size = np.sqrt((x**2).sum(-1).mean())
    x[..., 2] = 0.8 * x[..., 2] + 0.25 * size * np.random.default_rng(5).normal(size=x.shape[:2])
    return x


def error(record, truth) -> float:
    """Normalised error of scaled frames, one depth reflection a clip."""
    return metrics.evaluate(record, truth, protocols=("one-mirror-scaled",))["one-mirror-scaled"][
        "normalized_error"
    ]


@pytest.mark.parametrize("camera", ["orthographic", "weak-perspective"])
def test_flat_relief_and_jittering_depth_are_mended(clips, monkeypatch, camera):
    landmarks, truth = clips
    start = spoilt(truth)
    monkeypatch.setattr(articulated, "_starts", lambda *_: [("pnd, orthographic", start, 0.004)])
    found = articulated.fit(landmarks, camera, Articulated(**SHORT), 0, Session())
    record = found.reconstruction
    g = np.asarray(truth.camera_points, np.float64)
    g = g - g.mean(1, keepdims=True)
    before = np.linalg.norm(start - g) / np.linalg.norm(g)
    after = error(record, truth)
    assert before > 0.2
    assert after < 0.65 * before
    # the record shows the image that was given, in its units
    seen = np.asarray(landmarks.visible)
    gap = np.linalg.norm(np.asarray(record.points2d) - np.asarray(landmarks.points2d), axis=-1)[seen]
    size = np.asarray(landmarks.points2d)[seen].std()
    assert np.median(gap) < 0.02 * size
    assert found.diagnostics["bone_variation"] < 0.05


def test_settings_that_cannot_work_are_refused():
    for wrong in ({"bone": 0.0}, {"motion": -1.0}, {"rounds": 0}, {"sweeps": -1}):
        with pytest.raises(InputError):
            Articulated(**wrong)
