"""What the tools' own libraries write is read, and they open what is written here: with the extra `tools` alone."""

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.types import Cameras, Landmarks, Reconstruction

# netCDF4 says this of every newer NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:numpy.ndarray size changed")
F, NAMES, PEOPLE = 6, ("nose", "left_ear", "right_ear", "tail"), ("a", "b")


@pytest.fixture
def points(rng):
    """`(frame, individual, point, 2)` within 640 x 480, one point missing."""
    base = rng.uniform(50, 90, (1, 2, 4, 2)) + 200 * np.arange(2)[None, :, None, None]
    found = (base + 3 * np.arange(F)[:, None, None, None]).round(3)
    found[2, 0, 1] = np.nan
    return found


@pytest.fixture
def score(points, rng):
    """`(frame, individual, point)`."""
    return np.where(np.isnan(points).any(-1), np.nan, rng.uniform(0.7, 1, points.shape[:3]).round(3))


def agrees(path, points, score=None, tolerance=2e-3):
    """Our reader finds both individuals; where the file has no identities, both as instances."""
    pose = io.parse(path)
    assert pose.names == NAMES
    assert pose.points.shape == points.shape
    np.testing.assert_allclose(pose.points, points, atol=tolerance)
    if score is not None:
        known = np.isfinite(score)
        np.testing.assert_allclose(pose.confidence[known], score[known], atol=1e-3)
    landmarks = io.read_landmarks(path, individual="all", min_confidence=0)
    assert np.asarray(landmarks.visible).sum() == np.isfinite(points).all(-1).sum()
    assert [landmarks.names[a] for a in np.asarray(landmarks.symmetric)[0]] == ["left_ear", "right_ear"]


@pytest.mark.parametrize("name", ["a.csv", "a.h5", "sleap.h5", "a.nc"])
def test_what_movement_writes(points, score, tmp_path, name):
    load = pytest.importorskip("movement.io.load_poses")
    save = pytest.importorskip("movement.io.save_poses")
    data = load.from_numpy(
        points.transpose(0, 3, 2, 1), score.transpose(0, 2, 1), individual_names=list(PEOPLE),
        keypoint_names=list(NAMES), fps=25, source_software="test",
    )  # fmt: skip
    path = tmp_path / name
    if name == "sleap.h5":
        save.to_sleap_analysis_file(data, path)
    elif name == "a.nc":
        data.to_netcdf(path)
        assert io.read_landmarks(path).fps == 25
    else:
        save.to_dlc_file(data, path, split_individuals=False)
    agrees(path, points, score)


def test_movement_opens_what_we_write(points, score, tmp_path, rng):
    load = pytest.importorskip("movement.io.load_poses")
    first, seen = points[:, 0].astype(np.float32), np.isfinite(points[:, 0]).all(-1)
    weights = np.nan_to_num(score[:, 0]).astype(np.float32)
    io.write_landmarks(tmp_path / "in.npz", Landmarks(first, seen, confidence=weights, names=NAMES, fps=25.0))
    io.convert(tmp_path / "in.npz", tmp_path / "a.h5")
    data = load.from_dlc_file(tmp_path / "a.h5")
    have = data.position.transpose("time", "keypoints", "space", "individuals").to_numpy()[..., 0]
    np.testing.assert_allclose(have, first, rtol=1e-6)
    np.testing.assert_allclose(data.confidence.to_numpy()[..., 0], weights, atol=1e-6)
    turns = np.tile(np.eye(3, dtype=np.float32), (F, 1, 1))
    result = Reconstruction(rng.normal(size=(F, 4, 3)).astype(np.float32), Cameras(turns), names=NAMES)
    result.save(tmp_path / "r.npz")
    (path,) = io.convert(tmp_path / "r.npz", tmp_path / "a.anipose.csv")
    data = load.from_anipose_file(path, fps=30)
    have = data.position.transpose("time", "keypoints", "space", "individuals").to_numpy()[..., 0]
    order = [data.keypoints.to_numpy().tolist().index(n) for n in NAMES]
    np.testing.assert_allclose(have[:, order], result.camera_points, atol=1e-6)


@pytest.fixture
def labels(points, score):
    """The same in sleap-io's objects."""
    sleap_io = pytest.importorskip("sleap_io")
    skeleton = sleap_io.Skeleton(list(NAMES), edges=[("nose", "left_ear"), ("nose", "right_ear")])
    video = sleap_io.Video("clip.mp4", backend=None, open_backend=False)
    video.backend_metadata["shape"] = (F, 480, 640, 1)
    tracks = [sleap_io.Track(n) for n in PEOPLE]
    frames = [
        sleap_io.LabeledFrame(video, f, [
            sleap_io.PredictedInstance.from_numpy(
                points[f, i], skeleton, point_scores=np.nan_to_num(score[f, i]), score=1.0, track=tracks[i]
            ) for i in range(2)
        ]) for f in range(F)
    ]  # fmt: skip
    return sleap_io.Labels(frames, [video], [skeleton], tracks)


def test_what_sleap_io_writes(labels, points, score, tmp_path):
    sleap_io = pytest.importorskip("sleap_io")
    labels.save(str(tmp_path / "a.slp"), embed=False)
    sleap_io.save_analysis_h5(labels, str(tmp_path / "a.h5"))
    for name in ("a.slp", "a.h5"):
        agrees(tmp_path / name, points, score)
        assert io.read_landmarks(tmp_path / name).edges.tolist() == [[0, 1], [0, 2]]
    sleap_io.save_labelstudio(labels, str(tmp_path / "a.json"))
    pose = io.parse(tmp_path / "a.json")
    order = [pose.names.index(n) for n in NAMES]
    np.testing.assert_allclose(pose.points[:, :, order], points, atol=2e-3)
    assert (pose.points.shape, pose.ordered) == (points.shape, False)
