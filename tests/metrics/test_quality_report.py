"""Label-free quality: measures by hand, verdicts on good and broken fits, warnings that must come."""

import inspect
import json

import numpy as np
import pytest

from jnrsfm import metrics
from jnrsfm.errors import InputError
from jnrsfm.geometry.skeleton import twin_bones
from jnrsfm.metrics import quality
from jnrsfm.metrics.quality_report import THRESHOLDS, Threshold
from jnrsfm.types import Cameras, Landmarks, Reconstruction

# a small figure: spine 0-1, left limb 1-2-3, right limb 1-4-5
POINTS = np.array([[0.0, 1, 0], [0, 0, 0], [-1, 0, 0.8], [-1, -1, -0.8], [1, 0, 0.8], [1, -1, -0.8]])
EDGES = np.array([[0, 1], [1, 2], [2, 3], [4, 1], [5, 4]])
SYMMETRIC = np.array([[2, 4], [3, 5]])
NAMES = ("head", "hip", "left knee", "left foot", "right knee", "right foot")


def turntable(frames, degrees=90.0, seed=0):
    """Cameras spread over +-degrees about y."""
    a = np.radians(np.linspace(-degrees, degrees, frames))
    c, s, o = np.cos(a), np.sin(a), np.zeros_like(a)
    return np.stack([c, o, s, o, o + 1, o, -s, o, c], -1).reshape(-1, 3, 3)


def example(frames=40, degrees=90.0, noise=0.0, **fields):
    rng = np.random.default_rng(0)
    rotations = turntable(frames, degrees)
    truth = np.broadcast_to(POINTS, (frames, 6, 3))
    points2d = (truth @ rotations.mT)[..., :2] + noise * rng.normal(size=(frames, 6, 2))
    landmarks = Landmarks(
        points2d=points2d,
        visible=np.ones((frames, 6), bool),
        edges=EDGES,
        symmetric=SYMMETRIC,
        names=NAMES,
        sequence=np.zeros(frames, int),
    )
    fields = {"mirror": "sequence", "mirror_margin": np.full(frames, 0.9)} | fields
    return landmarks, Reconstruction(points3d=truth, cameras=Cameras(rotations=rotations), **fields)


def items(report):
    return {i["name"]: i for i in report["items"]}


@pytest.mark.fast
def test_a_perfect_fit_is_good_throughout():
    landmarks, reconstruction = example()
    restarts = np.stack([reconstruction.points3d @ reconstruction.rotations.mT] * 3)
    heldout = {"error": 0.01, "baseline": 0.2, "count": 100, "note": "10 % hidden"}
    report = metrics.assess(landmarks, reconstruction, heldout=heldout, restarts=restarts)
    got = items(report)
    assert set(got) == (set(THRESHOLDS) - {"held_out_against_baseline", "outliers"}) | {"depth_over_width"}
    assert {i["verdict"] for i in report["items"]} == {"good"}
    for name in (
        "reprojection",
        "bone_length_variation",
        "size_variation",
        "restart_spread",
        "missing_points",
    ):
        np.testing.assert_allclose(got[name]["value"], 0.0, atol=1e-9)
    # the only thing left to say is the one that always holds
    assert len(report["warnings"]) == 1
    assert "does not prove better 3D" in report["warnings"][0]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    text = metrics.format_quality(report)
    assert "bone length variation" in text
    assert "10 % hidden" in text
    assert text.count("\n! ") == 1


@pytest.mark.fast
def test_reprojection_is_relative_to_the_object_and_ignores_hidden_points():
    landmarks, reconstruction = example(frames=2, degrees=0.0)
    # the box of the figure is 2 x 2; every point off by 0.1
    moved = landmarks.replace(points2d=landmarks.points2d + np.array([0.06, 0.08]))
    np.testing.assert_allclose(quality.reprojection_errors(moved, reconstruction), 0.05)
    hidden = np.ones((2, 6), bool)
    hidden[0, 0] = hidden[1, 2:] = False
    junk = np.where(hidden[..., None], moved.points2d, np.nan)
    got = quality.reprojection_errors(moved.replace(points2d=junk, visible=hidden), reconstruction)
    np.testing.assert_allclose(got, [0.05, 0.1])  # boxes 2 x 1 and 0 x 1
    lost = moved.replace(visible=np.zeros((2, 6), bool))
    assert np.isnan(quality.reprojection_errors(lost, reconstruction)).all()
    broken = reconstruction.replace(points3d=np.full((2, 6, 3), np.nan))
    with pytest.raises(InputError, match="point 0 of frame 0 does not project"):
        metrics.assess(landmarks, broken)


@pytest.mark.fast
def test_perspective_reprojection_uses_the_intrinsics_of_either():
    k = np.array([[100.0, 0, 50], [0, 200, 60], [0, 0, 1]])
    reconstruction = Reconstruction(
        points3d=np.array([[[0.0, 0, 0], [1, 1, 0]]]),
        cameras=Cameras(rotations=np.eye(3)[None], translations=np.array([[0.0, 0, 2]]), model="perspective"),
    )
    landmarks = Landmarks(points2d=np.zeros((1, 2, 2)), visible=np.ones((1, 2), bool), intrinsics=k)
    want = [[[50.0, 60.0], [100.0, 160.0]]]
    np.testing.assert_allclose(quality.reprojection(landmarks, reconstruction), want)
    own = reconstruction.replace(cameras=reconstruction.cameras.replace(intrinsics=k[None]))
    np.testing.assert_allclose(quality.reprojection(landmarks.replace(intrinsics=None), own), want)
    np.testing.assert_allclose(
        quality.reprojection(landmarks.replace(intrinsics=None), reconstruction), [[[0, 0], [0.5, 0.5]]]
    )


@pytest.mark.fast
def test_bone_variation_by_hand():
    # lengths (1, 1) and (1, 3) at twice the size: proportions differ, and so does the size
    lengths = np.array([[1.0, 1], [2, 6]])
    got = quality.bone_variation(lengths)
    assert (got.edges > 0.1).all()
    # the same proportions at any size: no variation but of size
    got = quality.bone_variation(np.outer([1.0, 2, 3], [1.0, 5, 2]))
    np.testing.assert_allclose(got.edges, 0.0, atol=1e-12)
    np.testing.assert_allclose(got.size, np.std([1, 2, 3]) / 2)
    # one of many bones alternates by 10 %: its own variation, hardly any of the others
    lengths = np.ones((100, 30))
    lengths[::2, 7] = 1.1
    lengths[1::2, 7] = 0.9
    got = quality.bone_variation(lengths)
    np.testing.assert_allclose(got.edges[7], 0.1, rtol=0.05)
    np.testing.assert_allclose(np.delete(got.edges, 7), 0.0, atol=0.005)


@pytest.mark.fast
def test_bone_variation_within_groups_and_with_gaps():
    a, b = np.array([1.0, 2, 3]), np.array([3.0, 2, 1])
    lengths = np.stack([a, a, b, b])
    assert quality.bone_variation(lengths).edges[0] > 0.3
    groups = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(quality.bone_variation(lengths, groups).edges, 0.0, atol=1e-9)
    # gaps that differ from frame to frame do not look like a change of size
    rng = np.random.default_rng(0)
    gaps = np.where(rng.random((50, 3)) < 0.3, np.nan, np.outer(rng.uniform(1, 2, 50), a))
    gaps[:, 1] = np.nan
    got = quality.bone_variation(gaps)
    np.testing.assert_allclose(got.edges[[0, 2]], 0.0, atol=1e-6)
    assert np.isnan(got.edges[1])
    # a bone without length has no variation, a single frame has none either
    assert np.isnan(quality.bone_variation(np.array([[1.0, 1e-9], [1, 2e-9]])).edges[1])
    assert np.isnan(quality.bone_variation(np.ones((1, 3))).edges).all()


@pytest.mark.fast
def test_left_right_asymmetry():
    # edges of the limbs match in either direction of listing; the spine is its own mirror
    pairs = twin_bones(EDGES, SYMMETRIC)
    np.testing.assert_array_equal(pairs, [[1, 3], [2, 4]])
    lengths = np.array([[9.0, 1, 1, 3, 1], [9, 1, 1, 1, 1]])
    np.testing.assert_allclose(quality.asymmetry(lengths, pairs), [0.5, 0.0])
    landmarks, reconstruction = example()
    assert items(metrics.assess(landmarks, reconstruction))["left_right_asymmetry"]["value"] < 1e-9
    crooked = reconstruction.points3d.copy()
    crooked[:, 3] = crooked[:, 2] + [0, -6, 0]
    got = items(metrics.assess(landmarks, reconstruction.replace(points3d=crooked)))
    assert got["left_right_asymmetry"]["verdict"] == "poor"
    assert "left knee - left foot" in got["left_right_asymmetry"]["explain"]


@pytest.mark.fast
def test_restart_spread_by_hand_and_blind_to_mirrors():
    shape = np.array([[[1.0, 0, 1], [-1, 0, -1], [0, 1, 0.5], [0, -1, -0.5]]])
    mirrored = shape * [1, 1, -1]
    np.testing.assert_allclose(
        metrics.restart_spread(np.stack([shape, mirrored, shape + 5])), 0.0, atol=1e-12
    )
    other = shape.copy()
    other[0, 0, 0] += 0.4
    other[0, 1, 0] -= 0.4
    # two restarts: variance d^2 / 2 for points d apart
    np.testing.assert_allclose(
        metrics.restart_spread(np.stack([shape, other]))[0],
        [0.4 / np.sqrt(2), 0.4 / np.sqrt(2), 0, 0],
        atol=1e-12,
    )
    defined = np.array([[True, True, True, False]])
    wild = other.copy()
    wild[0, 3] = 1e6
    got = metrics.restart_spread(np.stack([shape, wild]), defined=defined)
    np.testing.assert_allclose(got[0], [0.4 / np.sqrt(2), 0.4 / np.sqrt(2), 0, 0], atol=1e-12)
    with pytest.raises(InputError, match="two or more"):
        metrics.restart_spread(shape[None])


def test_disagreeing_restarts_are_poor_and_name_the_point():
    landmarks, reconstruction = example()
    base = reconstruction.points3d @ reconstruction.rotations.mT
    rng = np.random.default_rng(0)
    restarts = np.stack([base + 0.6 * rng.normal(size=base.shape) * [0, 0, 1] for _ in range(5)])
    restarts[:, :, 5] += 2 * rng.normal(size=restarts[:, :, 5].shape)
    got = items(metrics.assess(landmarks, reconstruction, restarts=restarts))["restart_spread"]
    assert got["verdict"] == "poor"
    assert "most in right foot" in got["explain"]
    # the stored score gives the same item
    stored = reconstruction.replace(score=metrics.restart_spread(restarts))
    assert items(metrics.assess(landmarks, stored))["restart_spread"] == got
    with pytest.raises(InputError, match="restarts have shape"):
        metrics.assess(landmarks, reconstruction, restarts=restarts[:, :5])


@pytest.mark.fast
def test_view_spread_of_known_cameras():
    np.testing.assert_allclose(quality.view_spread(turntable(7, 0.0)), 0.0, atol=1e-5)
    # two views 2a apart lie a from their axis
    np.testing.assert_allclose(quality.view_spread(turntable(2, 10.0)), 10.0)
    np.testing.assert_allclose(quality.view_spread(turntable(361, 180.0)), 45.0, atol=0.2)
    roll = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(quality.view_spread(np.stack([np.eye(3), roll])), 0.0, atol=1e-5)


@pytest.mark.fast
def test_beyond_rank_of_rigid_flat_and_deforming_tracks():
    landmarks, _ = example()
    two, three = quality.beyond_rank(landmarks.points2d, landmarks.visible)
    assert two > 0.03
    np.testing.assert_allclose(three, 0.0, atol=1e-12)
    # gaps in rigid tracks are completed
    visible = np.random.default_rng(0).random((40, 6)) < 0.9
    assert quality.beyond_rank(landmarks.points2d, visible)[1] < 1e-3
    still, _ = example(degrees=0.0)
    np.testing.assert_allclose(quality.beyond_rank(still.points2d, still.visible)[0], 0.0, atol=1e-12)
    noisy, _ = example(noise=0.1)
    assert quality.beyond_rank(noisy.points2d, noisy.visible)[1] > 1e-3
    assert np.isnan(quality.beyond_rank(landmarks.points2d[:, :3], landmarks.visible[:, :3])[0])


def test_still_cameras_are_warned_about():
    landmarks, reconstruction = example(degrees=3.0)
    report = metrics.assess(landmarks, reconstruction)
    assert items(report)["camera_motion"]["verdict"] == "poor"
    assert items(report)["depth_evidence"]["verdict"] == "poor"
    assert any("turn too little" in w for w in report["warnings"])
    # one category that stands still is enough
    moving, other = example()
    both = Landmarks(
        points2d=np.concatenate([landmarks.points2d, moving.points2d]),
        visible=np.ones((80, 6), bool),
        category=np.repeat([0, 1], 40),
    )
    joined = Reconstruction(
        points3d=np.concatenate([reconstruction.points3d, other.points3d]),
        cameras=Cameras(rotations=np.concatenate([reconstruction.rotations, other.rotations])),
    )
    assert items(metrics.assess(both, joined))["camera_motion"]["verdict"] == "poor"


@pytest.mark.fast
def test_mirror_verdicts_and_warnings():
    def of(**fields):
        report = metrics.assess(*example(**fields))
        return items(report)["mirror_margin"], " ".join(report["warnings"])

    item, warnings = of(mirror="none", mirror_margin=None)
    assert (item["verdict"], item["value"]) == ("poor", None)
    assert "reflected in depth on its own" in warnings
    margin = np.full(40, 0.8)
    margin[30:] = 0.05
    item, warnings = of(mirror_margin=margin)
    assert item["verdict"] == "good"
    assert "coin toss in 25% of the frames (first: frame 30)" in warnings
    # Perspective tells the hand in principle; a network can still end in the mirrored minimum.
    assert of(mirror="perspective", mirror_margin=None)[0]["verdict"] == "unknown"
    assert of(mirror="set", mirror_margin=None)[0]["verdict"] == "unknown"


@pytest.mark.fast
def test_held_out_verdicts():
    def of(**heldout):
        report = metrics.assess(*example(), heldout=heldout)
        return items(report)["held_out_reprojection"]["verdict"], " ".join(report["warnings"])

    assert of(error=0.02, baseline=0.1, count=100)[0] == "good"
    assert of(error=0.06, baseline=0.1, count=100)[0] == "fair"
    verdict, warnings = of(error=0.1, baseline=0.1, count=100)
    assert verdict == "poor"
    assert "no better than without any 3D" in warnings
    assert of(error=0.05, baseline=None, count=100)[0] == "fair"
    assert of(error=0.01, baseline=0.1, count=3)[0] == "unknown"
    assert of(error=None, baseline=0.1, count=100)[0] == "unknown"


@pytest.mark.fast
def test_missing_points_flat_shapes_and_mismatches():
    landmarks, reconstruction = example()
    visible = np.ones((40, 6), bool)
    visible[:, 5] = False
    visible[7, :3] = False
    report = metrics.assess(landmarks.replace(visible=visible), reconstruction)
    np.testing.assert_allclose(items(report)["missing_points"]["value"], 43 / 240)
    warnings = " ".join(report["warnings"])
    assert "1 frames have fewer than 4 visible points (first: frame 7)" in warnings
    assert "do not trust: right foot." in warnings
    # points that the class does not have are not missing
    defined = np.ones((40, 6), bool)
    defined[:, 5] = False
    report = metrics.assess(landmarks.replace(visible=visible, defined=defined), reconstruction)
    np.testing.assert_allclose(items(report)["missing_points"]["value"], 3 / 200)
    # shapes in the camera frame, squashed: right in the image, wrong in space
    camera = reconstruction.points3d @ reconstruction.rotations.mT * [1, 1, 0.01]
    flat = Reconstruction(points3d=camera, cameras=Cameras(rotations=turntable(40, 0.0)))
    report = metrics.assess(landmarks, flat)
    assert items(report)["reprojection"]["verdict"] == "good"
    assert items(report)["bone_length_variation"]["verdict"] != "good"
    assert any("too flat" in w for w in report["warnings"])
    with pytest.raises(InputError, match="40 frames of 6 points, the reconstruction 10 of 6"):
        metrics.assess(landmarks, reconstruction.select(slice(0, 10)))


@pytest.mark.fast
@pytest.mark.parametrize("kind", metrics.CHECKS.kinds(), ids=lambda kind: kind.__name__)
def test_the_checks_of_every_result_take_all_that_a_fit_can_say(kind):
    words = [
        name for name, p in inspect.signature(metrics.assess).parameters.items() if p.kind is p.KEYWORD_ONLY
    ]
    assert "keeps_lengths" in words
    inspect.signature(metrics.CHECKS[kind]).bind(None, None, **dict.fromkeys(words))


@pytest.mark.fast
def test_items_without_their_data_are_left_out_and_thresholds_grade():
    landmarks, reconstruction = example()
    bare = landmarks.replace(edges=None, symmetric=None, names=None)
    got = items(metrics.assess(bare, reconstruction))
    assert not {"bone_length_variation", "left_right_asymmetry", "restart_spread"} & set(got)
    low, high = Threshold(0.1, 0.2), Threshold(0.5, 0.2, higher=True)
    assert [low.verdict(v) for v in (0.1, 0.2, 0.3, np.nan)] == ["good", "fair", "poor", "unknown"]
    assert [high.verdict(v) for v in (0.5, 0.2, 0.1)] == ["good", "fair", "poor"]
