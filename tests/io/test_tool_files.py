"""Files of other tools: those of the development data against an independent parse, and small ones made here."""

import json

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError

FORMATS = {
    "alphapose": "alphapose", "anipose": "anipose", "bvh": "bvh", "c3d": "c3d", "coco": "coco",
    "deeplabcut": "deeplabcut", "lightning_pose": "lightning-pose", "mediapipe": "mediapipe", "mmpose": "mmpose",
    "movement": "movement", "openpose": "openpose", "sleap": "sleap", "trc": "trc", "videopose3d": "videopose3d",
}  # fmt: skip
CASES = (
    "deeplabcut csv", "deeplabcut table", "deeplabcut fixed", "lightning-pose", "sleap h5", "slp", "coco", "alphapose",
    "openpose", "mmpose", "mediapipe csv", "mediapipe json", "label studio", "cvat video", "cvat images", "movement",
    "videopose3d", "tracks", "wide csv", "long csv",
)  # fmt: skip


ONE_ONLY = ("mediapipe csv", "mediapipe json", "videopose3d", "tracks", "wide csv")


def nested(values, width=None):
    """Nested lists with None as an array with NaN."""
    if isinstance(values, list):
        return np.array([nested(v, width) for v in values])
    return np.nan if values is None else float(values)


@pytest.mark.data
@pytest.mark.parametrize("folder", sorted(FORMATS))
def test_every_file_reads_to_what_is_expected(data_dir, folder):
    path = data_dir / "tool_files" / folder / "expected.json"
    if not path.exists():
        pytest.skip(f"tool_files/{folder} is not here")
    for name, want in json.loads(path.read_text()).items():
        file = path.with_name(name)
        pose = io.parse(file)
        found = io.info(file)["format"]
        assert found == FORMATS[folder] or (folder, found) == ("coco", "coco-results"), name
        assert pose.n_frames == want["frames"], name
        for key, have, axis in (("individuals", pose.individuals, 1), ("points", pose.names, 2)):
            if isinstance(want[key], list):
                assert list(have) == want[key], name
            else:
                assert pose.points.shape[axis] == want[key], name
        assert pose.points.shape[-1] == want["dims"]
        assert (pose.confidence is not None) == want["confidence"]
        assert pose.missing.sum() == want["missing"]
        assert pose.world == (folder in ("anipose", "bvh", "c3d", "trc"))
        for row, values in want["values"].items():
            np.testing.assert_allclose(pose.points[int(row)], nested(values["xy"]), rtol=1e-5, atol=1e-9)
            if "conf" in values:
                np.testing.assert_allclose(pose.confidence[int(row)], nested(values["conf"]), rtol=1e-5)
            if "label" in values:
                assert pose.labels[int(row)] == values["label"], name


@pytest.mark.data
def test_c3dpo_reads_to_what_is_expected(data_dir):
    path = data_dir / "tool_files" / "c3dpo" / "expected.json"
    if not path.exists():
        pytest.skip("tool_files/c3dpo is not here")
    for name, want in json.loads(path.read_text()).items():
        landmarks = io.read_landmarks(path.with_name(name))
        visible = np.asarray(landmarks.visible)
        assert visible.shape == (want["frames"], want["points"])
        assert (~visible).sum() == want["missing"]
        for row, values in want["values"].items():
            have = np.where(visible[int(row)][:, None], landmarks.points2d[int(row)], np.nan)
            np.testing.assert_allclose(have, nested(values["xy"])[0], rtol=1e-5)


def written(tools, tmp_path, case, individuals=1):
    """A small file, its points and scores, and its format's name."""
    write, name, format = tools.TOOLS[case]
    points, score = tools.example(individuals=individuals)
    write(tmp_path / name, points, score)
    return tmp_path / name, points, score, format


@pytest.mark.fast
@pytest.mark.parametrize("case", CASES)
def test_one_individual(tools, tmp_path, case):
    path, points, score, format = written(tools, tmp_path, case)
    reading = io.read(path, min_confidence=0)
    assert reading.formats == (format,)
    landmarks = reading.landmarks
    seen = np.isfinite(points[:, 0]).all(-1)
    if case == "videopose3d":
        seen = np.asarray(landmarks.visible)
    if case in tools.PICTURES:
        assert len(np.unique(landmarks.sequence)) == len(points)
    np.testing.assert_array_equal(landmarks.visible, seen)
    np.testing.assert_allclose(landmarks.points2d[seen], points[:, 0][seen], atol=2e-3)
    if case in tools.NO_SCORE:
        assert landmarks.confidence is None
    else:
        np.testing.assert_allclose(landmarks.confidence[seen], score[:, 0][seen], atol=1e-6)
    if landmarks.names is not None:
        assert landmarks.names == tools.NAMES
        assert landmarks.symmetric.tolist() == [[1, 2]]
    if case in ("sleap h5", "slp", "coco", "mmpose", "cvat video", "cvat images"):
        assert landmarks.edges.tolist() == [[0, 1], [0, 2]]
    assert landmarks.fps == (25.0 if case == "movement" else None)


@pytest.mark.fast
@pytest.mark.parametrize("case", [c for c in CASES if c not in ONE_ONLY])
def test_two_individuals(tools, tmp_path, case):
    path, points, score, _ = written(tools, tmp_path, case, individuals=2)
    points[0, 1] = np.nan  # the first is seen more often
    tools.TOOLS[case][0](path, points, np.where(np.isnan(points).any(-1), np.nan, score))
    if case in tools.PICTURES:
        landmarks = io.read_landmarks(path)
        assert landmarks.n_frames == 2 * len(points) - 1
        assert len(np.unique(landmarks.sequence)) == landmarks.n_frames
        return
    reading = io.read(path)
    assert any("2 individuals" in note and "--individual" in note for note in reading.notes), reading.notes
    seen = np.isfinite(points[:, 0]).all(-1)
    np.testing.assert_allclose(reading.landmarks.points2d[seen], points[:, 0][seen], atol=2e-3)
    second = io.read_landmarks(path, individual="1")
    seen = np.isfinite(points[:, 1]).all(-1)
    np.testing.assert_array_equal(second.visible, seen)
    np.testing.assert_allclose(second.points2d[seen], points[:, 1][seen], atol=2e-3)
    both = io.read_landmarks(path, individual="all")
    assert both.n_frames == 2 * len(points)
    assert np.asarray(both.sequence).tolist() == [0] * len(points) + [1] * len(points)
    with pytest.raises(InputError, match="there is no individual 'z': they are"):
        io.read_landmarks(path, individual="z")


@pytest.mark.fast
def test_an_individual_with_points_of_its_own(tmp_path):
    rows = [
        "scorer," + ",".join(["s"] * 6),
        "individuals,m,m,m,m,single,single", "bodyparts,a,a,b,b,c,c", "coords,x,y,x,y,x,y",
        "0,1,2,3,4,5,6", "1,1,2,3,4,5,6",
    ]  # fmt: skip
    (tmp_path / "a.csv").write_text("\n".join(rows))
    assert io.read_landmarks(tmp_path / "a.csv", individual="single").names == ("c",)
    both = io.read_landmarks(tmp_path / "a.csv", individual="all")
    assert np.asarray(both.defined).tolist() == [[True, True, False]] * 2 + [[False, False, True]] * 2


@pytest.mark.fast
def test_frames_without_a_detection_come_back(tools, tmp_path):
    points, score = tools.example(frames=6)
    tools.alphapose(tmp_path / "a.json", points, score)
    found = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps([d for i, d in enumerate(found) if i not in (2, 3)]))
    reading = io.read(tmp_path / "a.json")
    landmarks = reading.landmarks
    assert landmarks.n_frames == 6
    assert not np.asarray(landmarks.visible)[[2, 3]].any()
    assert np.asarray(landmarks.frame_index).tolist() == list(range(6))
    assert any("2 frames without a detection are kept" in note for note in reading.notes)


@pytest.mark.fast
def test_several_files_are_one_set_a_clip_each(tools, tmp_path):
    for k in range(2):
        points, score = tools.example(seed=k)
        tools.wide_csv(tmp_path / f"v{k}.csv", points, score)
    reading = io.read(tmp_path / "v*.csv")
    assert reading.landmarks.n_frames == 12
    assert np.asarray(reading.landmarks.sequence).tolist() == [0] * 6 + [1] * 6
    assert reading.notes[0] == "2 files, 2 clips"
    # The second has its points in another order: matched by name.
    shuffled = io.read_landmarks(tmp_path / "v1.csv", points="tail,nose,right_ear,left_ear")
    io.write_landmarks(tmp_path / "w.npz", shuffled)
    both = io.read_landmarks([tmp_path / "v0.csv", tmp_path / "w.npz"])
    np.testing.assert_array_equal(both.points2d, reading.landmarks.points2d)
    tools.wide_csv(tmp_path / "v2.csv", points, score)
    (tmp_path / "v2.csv").write_text((tmp_path / "v2.csv").read_text().replace("tail", "tale"))
    with pytest.raises(InputError, match=r"v2\.csv: its points are not those of .*\(tail, tale\)"):
        io.read_landmarks(tmp_path / "v*.csv")
    with pytest.raises(InputError, match="no file fits this pattern"):
        io.read_landmarks(tmp_path / "x*.csv")
    # The files of one OpenPose video are no clips.
    points, score = tools.example()
    tools.openpose(tmp_path / "frames", points, score)
    assert io.read(tmp_path / "frames" / "*.json").landmarks.n_frames == 6


@pytest.mark.fast
@pytest.mark.parametrize("name", ["c3d", "bvh", "trc"])
def test_references_are_no_landmarks(tmp_path, name):
    content = {
        "trc": "PathFileType\t4\t(X/Y/Z)\nDataRate\tUnits\n30\tmm\nFrame#\tTime\tA\t\t\tB\t\t\n\t\tX1\tY1\tZ1\n\n"
               "1\t0.0\t1\t2\t3\t4\t5\t6\n2\t0.1\t1\t2\t3\t\t\t\n",
        "bvh": "HIERARCHY ROOT a { OFFSET 1 2 3 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation "
               "JOINT b { OFFSET 3 3 3 CHANNELS 3 Zrotation Xrotation Yrotation End Site { OFFSET 0 0 1 } } } "
               "MOTION Frames: 2 Frame Time: 0.1 0 0 0 0 0 0 0 0 0 0 0 0 90 0 0 0 0 0",
    }.get(name)  # fmt: skip
    path = tmp_path / f"a.{name}"
    if content is None:
        data = bytearray(1024 + 512)
        data[:2] = b"\x02\x50"
        data[2:10] = np.array([2, 0, 1, 2], "<u2").tobytes()
        data[12:16] = np.float32(-1).tobytes()
        data[16:18] = np.uint16(3).tobytes()
        data[20:24] = np.float32(50).tobytes()
        data[512 + 2 : 512 + 4] = b"\x01\x54"
        values = np.array([[[1, 2, 3, 0], [4, 5, 6, 0]], [[1, 2, 3, 0], [4, 5, 6, -1]]], "<f4").tobytes()
        data[1024 : 1024 + len(values)] = values
        path.write_bytes(data)
    else:
        path.write_text(content)
    with pytest.raises(InputError, match="holds 3D points, no image points"):
        io.read_landmarks(path)
    reference = io.read_reference(path)
    np.testing.assert_allclose(reference.points3d[0], [[1, 2, 3], [4, 5, 6]], atol=1e-6)
    if name == "bvh":  # a quarter turn about z carries (3, 3, 3) to (-3, 3, 3)
        np.testing.assert_allclose(reference.points3d[1], [[1, 2, 3], [-2, 5, 6]], atol=1e-6)
        assert reference.edges.tolist() == [[0, 1]]
    else:
        assert np.asarray(reference.valid3d).tolist() == [[True, True], [True, False]]
    assert "reference" in io.info(path)["problem"]


@pytest.mark.fast
def test_what_hdf5_and_zips_must_not_do(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["tracks"] = np.ones((1, 2, 3, 4))
    with h5py.File(path, "w") as file:
        file["node_names"] = np.array(["a", "b", "c"], "S")
        file["tracks"] = h5py.ExternalLink("other.h5", "tracks")
    with pytest.raises(InputError, match="link to another place"):
        io.parse(path, "sleap")
    with h5py.File(path, "w") as file:
        file["node_names"] = np.array(["a", "b", "c"], "S")
        file.create_dataset("tracks", (1, 2, 3, 10**9), "f8", chunks=(1, 1, 1, 1024))
    with pytest.raises(InputError, match="more than the file can hold"):
        io.parse(path, "sleap")
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((1, 2, 3, 4), "f8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "tracks", (1, 2, 3, 4))
        file.create_virtual_dataset("tracks", layout)
    with pytest.raises(InputError, match="keeps its data in another file"):
        io.parse(path, "sleap")
    with h5py.File(path, "w") as file:
        file["tracks"] = np.ones((1, 2, 2, 4))
        file.create_dataset("node_names", data=["a", "b"], dtype=h5py.string_dtype())
        place = file["node_names"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[place : place + 4] = np.uint32(
        2**31
    ).tobytes()  # the length of a text: the library would make room for it
    path.write_bytes(data)
    with pytest.raises(InputError, match="a text longer than the file"):
        io.parse(path, "sleap")
    monkeypatch.setattr("jnrsfm.io._archive._FREE", 1_000_000)
    np.savez_compressed(tmp_path / "bomb.npz", points2d=np.zeros((1_000_000, 4, 2), "u1"))
    with pytest.raises(InputError, match="would unpack to"):
        io.read_landmarks(tmp_path / "bomb.npz")


@pytest.mark.fast
def test_a_damaged_list_of_dimensions_is_not_read(tools, tmp_path):
    """The order of the dimensions comes from the dimensions' side: at a damaged list on the array's own the library
    ended the process."""
    h5py = pytest.importorskip("h5py")
    path, points, _, _ = written(tools, tmp_path, "movement")
    with h5py.File(path, "r+") as file:
        del file["position"].attrs["DIMENSION_LIST"]
    np.testing.assert_allclose(io.parse(path).points, points)


class Evil:
    """What a pickle must not do."""

    def __reduce__(self):
        import os

        return os.mkdir, ("pwned",)


@pytest.mark.fast
def test_nothing_is_unpickled(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", positions_2d=np.array({"S": {"walk": [Evil()]}}, object), metadata=np.array({}, object))
    with pytest.raises(InputError, match=r"the pickle names \w+\.mkdir"):
        io.read_landmarks("a.npz")
    assert not (tmp_path / "pwned").exists()
    import pickle

    from jnrsfm.io import _plain_pickle

    value = [("a", 1, -2.5, None, True), {"x": [np.arange(6.0).reshape(2, 3), b"\0"]}, 2**40]
    for protocol in range(5):
        back = _plain_pickle.loads(pickle.dumps(value, protocol))
        assert back[0] == value[0]
        np.testing.assert_array_equal(back[1]["x"][0], value[1]["x"][0])
        assert (bytes(back[1]["x"][1]), back[2]) == (b"\0", 2**40)
