"""The walker: a body with fixed bones and limited joints, and cameras that see it exactly."""

import numpy as np
import pytest

from jnrsfm.datasets import make
from jnrsfm.datasets.motion import periodic
from jnrsfm.datasets.walker import GAITS, WALKER


def bone_lengths(points, edges):
    return np.linalg.norm(points[:, edges[:, 0]] - points[:, edges[:, 1]], axis=-1)


def bend(points, a, b, c):
    """Angle at `b`, in degrees: 180 is straight."""
    u, v = points[:, a] - points[:, b], points[:, c] - points[:, b]
    cos = (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)
    return np.degrees(np.arccos(np.clip(cos, -1, 1)))


@pytest.fixture(scope="module")
def plain():
    return make("walker", frames=600, clips=6, seed=5)


@pytest.mark.fast
def test_bones_are_rigid_and_symmetric(plain):
    _, truth = plain
    lengths = bone_lengths(truth.points3d, truth.edges)
    assert np.abs(lengths - lengths[:1]).max() < 1e-5
    names = truth.names
    by_name = {(names[a], names[b]): v for (a, b), v in zip(truth.edges, lengths[0], strict=True)}
    for (a, b), value in by_name.items():
        twin = (a.replace("left_", "right_"), b.replace("left_", "right_"))
        assert by_name[twin] == pytest.approx(value, abs=1e-6)


def test_body_variation_differs_between_clips_only():
    _, truth = make("walker", frames=60, clips=3, body_variation=0.1, seed=2)
    lengths = bone_lengths(truth.points3d, truth.edges).reshape(3, 20, -1)
    assert np.abs(lengths - lengths[:, :1]).max() < 1e-5
    assert np.abs(lengths[0, 0] / lengths[1, 0] - 1).max() > 0.02


@pytest.mark.fast
def test_joints_stay_within_their_limits(plain):
    _, truth = plain
    at = truth.names.index
    limits = {j.name: j.limits for j in WALKER.joints}
    for side in ("left", "right"):
        knee = bend(truth.points3d, at(f"{side}_hip"), at(f"{side}_knee"), at(f"{side}_ankle"))
        elbow = bend(truth.points3d, at(f"{side}_shoulder"), at(f"{side}_elbow"), at(f"{side}_wrist"))
        for angle, joint in ((knee, "knee"), (elbow, "elbow")):
            low, high = limits[f"{side}_{joint}"]["flex"]
            assert (180 - angle).max() <= high + 0.1
            assert (180 - angle).min() >= low - 0.1
            assert np.ptp(angle) > 40
        # Knees bend backwards: the figure faces -z, so that a bent knee leaves its ankle at larger z.
        points = truth.points3d
        thigh = points[:, at(f"{side}_knee")] - points[:, at(f"{side}_hip")]
        shank = points[:, at(f"{side}_ankle")] - points[:, at(f"{side}_knee")]
        across = points[:, at("left_hip")] - points[:, at("right_hip")]
        assert (np.einsum("fi,fi->f", np.cross(thigh, shank), across)[180 - knee > 15] > 0).all()


def test_clamp_limits_and_rejects():
    wild = {"left_knee.flex": np.array([-40.0, 60.0, 400.0])}
    np.testing.assert_array_equal(WALKER.clamp(wild)["left_knee.flex"], [0, 60, 145])
    with pytest.raises(KeyError, match=r"left_knee\.twist"):
        WALKER.clamp({"left_knee.twist": np.zeros(1)})


@pytest.mark.fast
@pytest.mark.parametrize("gait", list(GAITS))
def test_gaits_are_upright_smooth_and_on_the_ground(gait):
    _, truth = make("walker", frames=240, clips=2, gaits=(gait,), seed=1)
    at, points = truth.names.index, truth.points3d
    assert (points[:, at("head_top"), 1] < points[:, at("pelvis"), 1] - 0.25).all()
    # The lowest foot stays within 2 cm above or 6 below the ground (heels and toes roll), but for flights.
    feet = [at(f"{s}_{p}") for s in ("left", "right") for p in ("ankle", "toe")]
    low = (points[:, feet, 1] + np.array([0.07, 0, 0.07, 0])).max(1)
    assert low.max() < 0.06
    assert np.quantile(low, 0.9) > -0.03
    assert low.min() < -0.2 if gait == "jump" else low.min() > -0.12
    # Nothing jerks: no point moves by more than 45 cm from frame to frame, nor changes speed by 20.
    for clip in range(2):
        x = points[truth.sequence == clip]
        assert np.linalg.norm(np.diff(x, axis=0), axis=-1).max() < 0.45
        assert np.linalg.norm(np.diff(x, 2, axis=0), axis=-1).max() < 0.2


def test_walking_is_rich_but_low_dimensional():
    _, truth = make("walker", frames=400, clips=4, gaits=("walk",), seed=0)
    shapes = (truth.points3d - truth.points3d.mean(1, keepdims=True)).reshape(400, -1)
    values = np.linalg.svd(shapes - shapes.mean(0), compute_uv=False) ** 2
    share = np.cumsum(values) / values.sum()
    assert share[11] > 0.99
    assert share[1] < 0.99


def test_periodic_curve_meets_its_values():
    values = np.array([3.0, 5, -1, 2, 8])
    np.testing.assert_allclose(periodic(values, np.arange(5) / 5), values, atol=1e-12)
    np.testing.assert_allclose(periodic(values, 0.37), periodic(values, 4.37), atol=1e-12)
