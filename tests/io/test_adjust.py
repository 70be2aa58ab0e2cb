"""What a user says of landmarks beside the file, and what is said to the user."""

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.io.skeletons import SKELETONS, known_skeleton, symmetric_of

pytestmark = pytest.mark.fast


@pytest.fixture
def table(tools, tmp_path):
    points, score = tools.example()
    tools.wide_csv(tmp_path / "a.csv", points, score)
    return tmp_path / "a.csv", points[:, 0], score[:, 0]


def test_points_and_names(table, tmp_path):
    path, points, _ = table
    landmarks = io.read_landmarks(path, points="right_ear,left_ear,3")
    assert landmarks.names == ("right_ear", "left_ear", "tail")
    assert sorted(landmarks.symmetric[0].tolist()) == [0, 1]
    np.testing.assert_allclose(landmarks.points2d[0], points[0, [2, 1, 3]], atol=2e-3)
    (tmp_path / "map.yaml").write_text("nose: left_paw\ntail: right_paw\n")
    renamed = io.read_landmarks(path, rename=tmp_path / "map.yaml")
    assert renamed.names == ("left_paw", "left_ear", "right_ear", "right_paw")
    assert sorted(map(sorted, renamed.symmetric.tolist())) == [[0, 3], [1, 2]]
    for options, says in (
        ({"points": "nose,wing"}, "there is no point 'wing': points are nose, left_ear"),
        ({"points": "nose,0"}, "names a point twice"),
        ({"rename": {"wing": "x"}}, "there is no point 'wing'"),
        ({"rename": {"nose": "tail"}}, "one name to two points"),
        ({"min_confidence": 2.0}, "--min-confidence is 2"),
        ({"skeleton": "cococo"}, "unknown skeleton 'cococo': choose from coco-17"),
        ({"skeleton": "coco-17", "points": "tail"}, "none of its points"),
        ({"fps": -1.0}, "--fps is -1"),
        ({"wrong": 1}, "has no option 'wrong'"),
    ):
        with pytest.raises(InputError, match=says) as error:
            io.read_landmarks(path, **options)
        assert "\n" not in str(error.value)


def test_confidence_threshold(table):
    path, _, score = table
    reading = io.read(path, min_confidence=0.85)
    np.testing.assert_array_equal(reading.landmarks.visible, np.nan_to_num(score) >= 0.85)
    assert any("below 0.85 counts as missing" in note for note in reading.notes)


def test_the_threshold_of_the_tool_is_said(tools, tmp_path):
    points, score = tools.example()
    score[0, 0, 0] = 0.3
    tools.dlc_csv(tmp_path / "a.csv", points, score)
    reading = io.read(tmp_path / "a.csv")
    assert not reading.landmarks.visible[0, 0]
    assert any("below 0.6 counts as missing: 4.3 %" in n and "--min-confidence" in n for n in reading.notes)
    assert io.read_landmarks(tmp_path / "a.csv", min_confidence=0.1).visible[0, 0]


def test_skeletons_of_a_user(table, tmp_path):
    path, _, _ = table
    (tmp_path / "s.yaml").write_text("edges: [[nose, tail], [nose, left_ear]]\n")
    assert io.read_landmarks(path, skeleton=str(tmp_path / "s.yaml")).edges.tolist() == [[0, 3], [0, 1]]
    (tmp_path / "s.yaml").write_text("skeleton:\n- - nose\n  - wing\n")  # as DeepLabCut's config.yaml has it
    with pytest.raises(InputError, match="there is no point 'wing'"):
        io.read_landmarks(path, skeleton=str(tmp_path / "s.yaml"))


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_the_library_is_sound(name):
    skeleton = SKELETONS[name]
    n = int(name.rpartition("-")[2]) if name[-1].isdigit() else {"b": 25, "d": 39, "e": 27}[name[-1]]
    assert len(set(skeleton.names)) == len(skeleton.names) == n
    linked = {p for edge in skeleton.edges for p in edge}
    assert max(linked) < n
    assert all(a != b for a, b in skeleton.edges)
    assert known_skeleton(skeleton.names) is not None
    pairs = skeleton.symmetric
    for a, b in pairs:
        assert skeleton.names[a].replace("left", "right") == skeleton.names[b]
    lefts = sum("left" in n for n in skeleton.names)
    assert len(pairs) == lefts


def test_left_and_right_by_name():
    def pairs(*names):
        return [{names[a], names[b]} for a, b in symmetric_of(names)]

    assert pairs("LeftFoot", "RightFoot", "Spine") == [{"LeftFoot", "RightFoot"}]
    assert pairs("LHip", "RHip", "Lip") == [{"LHip", "RHip"}]
    assert pairs("Ear_R", "Ear_L", "Tail") == [{"Ear_R", "Ear_L"}]
    assert pairs("paw_l", "paw_r") == [{"paw_l", "paw_r"}]
    assert pairs("left ear", "right ear") == [{"left ear", "right ear"}]
    assert pairs("leftear", "rightear") == [{"leftear", "rightear"}]
    assert pairs("forelegL4", "forelegR4", "L1A", "R1A", "eyeL", "eyeR") == [
        {"forelegL4", "forelegR4"}, {"L1A", "R1A"}, {"eyeL", "eyeR"},
    ]  # fmt: skip
    assert pairs("near_hoof", "far_hoof") == [{"near_hoof", "far_hoof"}]
    assert pairs("mixamorig:LeftArm", "mixamorig:RightArm") == [{"mixamorig:LeftArm", "mixamorig:RightArm"}]
    assert pairs("lower_jaw", "upper_jaw", "leg", "reg2") == []


def stored(tmp_path, points, **more):
    np.savez(tmp_path / "a.npz", points2d=points.astype(np.float32), **more)
    return tmp_path / "a.npz"


def test_zeros_and_minus_one_are_said_and_undone(tmp_path, rng):
    points = rng.uniform(100, 200, (20, 6, 2))
    gaps = rng.random((20, 6)) < 0.15
    for value, word in ((0, "zeros"), (-1, "minus-one")):
        path = stored(tmp_path, np.where(gaps[..., None], value, points))
        (remark,) = io.read(path).remarks
        assert f"--missing {word}" in remark
        reading = io.read(path, missing=word)
        assert reading.remarks == ()
        np.testing.assert_array_equal(reading.landmarks.visible, ~gaps)
    assert io.read(stored(tmp_path, points)).remarks == ()


def test_fractions_of_the_image_are_said_and_undone(tmp_path, rng):
    points = rng.uniform(0.1, 0.9, (20, 6, 2))
    path = stored(tmp_path, points)
    (remark,) = io.read(path).remarks
    assert "--image-size WIDTH HEIGHT" in remark
    reading = io.read(path, image_size=(640, 480))
    assert reading.remarks == ()
    np.testing.assert_allclose(reading.landmarks.points2d, points * [640, 480], rtol=1e-5)
    # Pixels are left alone, and centred units are nobody's fractions.
    pixels = io.read(stored(tmp_path, points * 640), image_size=(640, 480))
    np.testing.assert_allclose(pixels.landmarks.points2d, points * 640, rtol=1e-5)
    assert io.read(stored(tmp_path, points - 0.5)).remarks == ()


def test_y_up(tmp_path, rng):
    points = rng.uniform(100, 200, (5, 6, 2))
    path = stored(tmp_path, points)
    np.testing.assert_allclose(io.read_landmarks(path, y="up").points2d[..., 1], -points[..., 1], rtol=1e-6)
    up = io.read_landmarks(path, y="up", image_size=(640, 480))
    np.testing.assert_allclose(up.points2d[..., 1], 479 - points[..., 1], rtol=1e-6)


def test_numbers_of_frames_survive_dropping(landmarks, tmp_path):
    empty = landmarks.replace(visible=landmarks.visible & (np.arange(5) != 2)[:, None])
    kept, numbers = io.drop_empty(empty, "perspective")
    np.testing.assert_array_equal(kept.frame_index, numbers)
    io.write_landmarks(tmp_path / "a.npz", kept)
    np.testing.assert_array_equal(io.read_landmarks(tmp_path / "a.npz").frame_index, numbers)
    again, _ = io.drop_empty(kept, "perspective")
    np.testing.assert_array_equal(again.frame_index, numbers)
