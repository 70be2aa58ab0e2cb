"""What a user is told: of keys that are not used, of what a fit would refuse."""

import json
import warnings

import numpy as np
import pytest

from jnrsfm import api, io
from jnrsfm.errors import InputError
from jnrsfm.methods import METHODS

pytestmark = pytest.mark.fast
K = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]])


@pytest.fixture
def xy(rng):
    return 100 + 50 * rng.normal(size=(12, 6, 2))


def info(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return io.info(tmp_path / "a.npz")


def test_intrinsics_without_a_camera_are_said_and_are_no_wrong_coordinates(tmp_path, xy):
    assert io.UNUSED_INTRINSICS in info(tmp_path, points2d=xy, intrinsics=K)["remarks"]
    reading = io.read(tmp_path / "a.npz")
    assert reading.remarks == ()
    with pytest.warns(UserWarning, match="intrinsics and no camera"):
        assert api._camera(reading.landmarks, None, METHODS["rigid"]) == "orthographic"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert api._camera(reading.landmarks, "orthographic", METHODS["rigid"]) == "orthographic"


def test_lens_distortion_is_said_to_be_ignored(tmp_path, xy):
    assert any("distortion" in note for note in info(tmp_path, points2d=xy, distortion=np.ones(5))["notes"])


def test_ready_is_what_a_fit_would_do(tmp_path, xy):
    perspective = info(tmp_path, points2d=xy, camera="perspective")
    assert perspective["problem"] is None
    assert "yes, weak-perspective camera (perspective needs intrinsics)" in io.format_info(perspective)
    assert "with 2 frames by few methods" in io.format_info(info(tmp_path, points2d=xy[:2]))
    assert "at least 2" in info(tmp_path, points2d=xy[:1])["problem"]
    assert "at least 4" in info(tmp_path, points2d=xy[:, :3])["problem"]


def test_a_refusal_names_the_keys_the_flag_and_the_right_tool(tmp_path, xy):
    with pytest.raises(InputError, match=r"key 'points2d' is absent \(it has a, xy\)"):
        info(tmp_path, xy=xy, a=np.ones(2))
    (tmp_path / "b.json").write_text(json.dumps([{"image_id": 1, "boxes": []}]))
    with pytest.raises(InputError, match=r"--format \(in Python format=\)") as refusal:
        io.read(tmp_path / "b.json")
    assert "kp_loc" not in str(refusal.value)
    with pytest.raises(InputError, match="no COCO keypoint file"):
        io.read(tmp_path / "b.json", "coco")


def test_the_mutated_matlab_file_that_ended_the_process(data_dir):
    path = data_dir.parent / "cases" / "segfault.mat"
    if not path.exists():
        pytest.skip("cases are not here")
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        io.read(path)
