"""Labelled frames of DeepLabCut, Lightning Pose and SLEAP."""

import json

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.io.sleap import links_of

pytestmark = pytest.mark.fast

SINGLE = """scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/v1/img2.png,1,2,3,4.5
labeled-data/v1/img10.png,,,5,6
"""
SEVERAL = """scorer,,,me,me,me,me,me,me,me,me
individuals,,,a,a,a,a,b,b,single,single
bodyparts,,,nose,nose,tail,tail,nose,nose,corner,corner
coords,,,x,y,x,y,x,y,x,y
labeled-data,v2,img1.png,1,2,3,4,7,8,,
labeled-data,v2,img2.png,,,,,,,,
labeled-data,v2,img3.png,,,,,,,20,10
"""


@pytest.fixture
def project(tmp_path, draw):
    """A DeepLabCut project with a video of one animal."""
    folder = draw(tmp_path / "project" / "labeled-data" / "v1", ["img2.png", "img10.png"])
    (folder / "CollectedData_me.csv").write_text(SINGLE)
    (folder / "CollectedData_me.h5").write_bytes(b"\x89HDF")
    (tmp_path / "project" / "config.yaml").write_text("skeleton:\n- [nose, tail]\n- [nose, horn]\n")
    return tmp_path / "project"


def test_deeplabcut_by_project_folder_and_table(project):
    frames = project / "labeled-data" / "v1"
    for path in (project, frames, frames / "CollectedData_me.csv", frames / "CollectedData_me.h5"):
        images = io.read_images(path)
        assert images.pixels.names == ("img2.png", "img10.png")
        np.testing.assert_array_equal(images.landmarks.visible, [[True, True], [False, True]])
        np.testing.assert_array_equal(images.landmarks.points2d[:, 1], [[3, 4.5], [5, 6]])
        assert images.landmarks.names == ("nose", "tail")
        np.testing.assert_array_equal(images.landmarks.edges, [[0, 1]])
        assert images.pixels.read(1)[0, 0, 0] == 10


def test_deeplabcut_of_several_animals(project, draw):
    folder = draw(project / "labeled-data" / "v2", ["img1.png", "img2.png", "img3.png"])
    (folder / "CollectedData_me.csv").write_text(SEVERAL)
    images = io.read_images(folder)
    assert images.pixels.names == ("img1.png", "img1.png", "img2.png", "img3.png")
    landmarks = images.landmarks
    assert landmarks.names == ("nose", "tail", "corner")
    np.testing.assert_array_equal(
        landmarks.visible, [[True, True, False], [True, False, False], [False] * 3, [False, False, True]]
    )
    np.testing.assert_array_equal(landmarks.defined[[1, 3]], [[True, False, False], [False, False, True]])
    assert io.read_images(folder, individual="b").pixels.names == ("img1.png", "img2.png", "img3.png")
    both = io.read_images(project)
    assert len(both) == 6
    assert both.landmarks.names == ("nose", "tail", "corner")
    with pytest.raises(InputError, match="no individual 'c': choose from a, b, single"):
        io.read_images(folder, individual="c")


def test_lightning_pose_views(tmp_path, draw):
    folder = draw(tmp_path / "lp", ["labeled-data/v1/img2.png", "labeled-data/v1/img10.png"])
    (folder / "CollectedData.csv").write_text(SINGLE)
    assert len(io.read_images(folder)) == 2
    (folder / "CollectedData_top.csv").write_text(SINGLE)
    with pytest.raises(
        InputError, match=r"CollectedData.csv and CollectedData_top.csv: choose one with labels=NAME"
    ):
        io.read_images(folder)
    assert len(io.read_images(folder, labels="CollectedData_top")) == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("img10", "img11", "'labeled-data/v1/img11.png' is not in"),
        ("img10", "img2", "is named twice"),
        ("4.5", "x", "row 4: 'x' is no number"),
        ("4.5", "99", r"img2.png: point 'tail' is at \(3, 99\)"),
        ("4.5", "inf", "row 4: 'inf' lies in no image"),
        ("tail,tail", "nose,nose", "column nose x is there twice"),
        ("x,y,x,y", "a,b,c,d", "names no x and y"),
        ("bodyparts", "parts", "its first rows must be scorer"),
    ],
)
def test_tables_that_are_wrong(project, old, new, says):
    table = project / "labeled-data" / "v1" / "CollectedData_me.csv"
    table.write_text(SINGLE.replace(old, new))
    with pytest.raises(InputError, match=says):
        io.read_images(table)


def test_frames_of_one_name_are_not_mixed_up(project, draw):
    """Two videos' tables, the frames of one of them only: the other's `img2.png` is not taken for its own."""
    table = project / "labeled-data" / "v1" / "CollectedData_me.csv"
    table.write_text(SINGLE.replace("v1/img10", "v0/img2"))
    with pytest.raises(InputError, match="both found as"):
        io.read_images(table)


def _slp(path, images=None, video="clip.mp4", version=1.2):
    """Two labelled frames (3 and 8); in the second a prediction beside the label."""
    h5py = pytest.importorskip("h5py")
    instance = np.dtype(
        [("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4"), ("track", "i4"),
         ("from_predicted", "i8"), ("score", "f4"), ("point_id_start", "u8"), ("point_id_end", "u8")]
    )  # fmt: skip
    point = np.dtype([("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")])
    predicted = np.dtype([*point.descr, ("score", "f8")])
    frame = np.dtype(
        [
            ("frame_id", "u8"),
            ("video", "u4"),
            ("frame_idx", "u8"),
            ("instance_id_start", "u8"),
            ("instance_id_end", "u8"),
        ]
    )
    edge = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [1]}]}
    symmetry = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [2]}]}
    links = [
        {"source": 2, "target": 0, "type": edge}, {"source": 2, "target": 1, "type": {"py/id": 1}},
        {"source": 0, "target": 1, "type": symmetry}, {"source": 1, "target": 0, "type": {"py/id": 2}},
    ]  # fmt: skip
    document = {
        "nodes": [{"name": n} for n in ("left", "right", "nose")],
        "skeletons": [{"nodes": [{"id": 2}, {"id": 0}, {"id": 1}], "links": links}],
    }
    with h5py.File(path, "w") as file:
        meta = file.create_group("metadata")
        meta.attrs["json"], meta.attrs["format_id"] = json.dumps(document), version
        file["frames"] = np.array([(0, 0, 3, 0, 1), (1, 0, 8, 1, 3)], frame)
        file["instances"] = np.array(
            [(0, 0, 0, 0, -1, -1, 1, 0, 3), (1, 1, 1, 0, -1, -1, 1, 0, 3), (2, 0, 1, 0, -1, -1, 1, 3, 6)],
            instance,
        )
        file["points"] = np.array(
            [(1, 2, 1, 1), (3, 4, 1, 1), (np.nan, np.nan, 0, 0), (5, 6, 1, 1), (7, 8, 1, 1), (9, 10, 1, 1)],
            point,
        )
        file["pred_points"] = np.array([(0, 0, 1, 1, 0.5)] * 3, predicted)
        backend = {"filename": video, "dataset": ""}
        if images is not None:
            backend = {"filename": ".", "dataset": "video0/video"}
            data = file.create_dataset("video0/video", (len(images),), h5py.vlen_dtype(np.dtype("int8")))
            for i, image in enumerate(images):
                data[i] = np.frombuffer(image, np.int8)
            data.attrs["format"] = "png"
            file["video0/frame_numbers"] = np.array([3, 8])
        file["videos_json"] = np.array([json.dumps({"backend": backend}).encode()])


def test_sleap_labels_that_lie_in_another_file_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    _slp(tmp_path / "a.slp")
    with h5py.File(tmp_path / "a.slp", "r+") as file:
        del file["points"]
        file["points"] = h5py.ExternalLink("/etc/passwd", "/points")
    with pytest.raises(InputError, match="link to another place"):
        io.read_images(tmp_path / "a.slp")


def test_the_types_of_sleap_links_are_told_by_their_references():
    first = {"py/reduce": [{}, {"py/tuple": [2]}]}  # the file's first type is the left-right pair
    links = [
        {"source": 0, "target": 1, "type": first},
        {"source": 0, "target": 2, "type": {"py/reduce": [{}, {"py/tuple": [1]}]}},
        {"source": 1, "target": 0, "type": {"py/id": 1}},
        {"source": 1, "target": 2, "type": {"py/id": 2}},
    ]
    assert links_of(links, {0: 0, 1: 1, 2: 2}) == (((0, 2), (1, 2)), ((0, 1),))


def test_sleap_with_embedded_frames(tmp_path, draw):
    folder = draw(tmp_path / "frames", ["0.png", "1.png"])
    _slp(tmp_path / "a.pkg.slp", [(folder / f"{i}.png").read_bytes() for i in (0, 1)])
    for path in (tmp_path, tmp_path / "a.pkg.slp"):
        images = io.read_images(path, "sleap-images")
        landmarks = images.landmarks
        assert landmarks.names == ("nose", "left", "right")
        np.testing.assert_array_equal(landmarks.edges, [[0, 1], [0, 2]])
        np.testing.assert_array_equal(landmarks.symmetric, [[1, 2]])
        np.testing.assert_array_equal(landmarks.visible, [[True, True, False], [True, True, True]])
        np.testing.assert_array_equal(landmarks.points2d[1], [[5, 6], [7, 8], [9, 10]])
        np.testing.assert_array_equal(images.pixels.sizes, [[24, 16]] * 2)
        assert images.pixels.read(1)[0, 0].tolist() == [10, 10, 10]
    _slp(tmp_path / "a.pkg.slp", [(folder / f"{i}.png").read_bytes() for i in (0, 1)], version=1.0)
    np.testing.assert_array_equal(
        io.read_images(tmp_path, "sleap-images").landmarks.points2d[1, 0], [4.5, 5.5]
    )


def test_sleap_that_is_damaged_or_lacks_its_video(tmp_path):
    _slp(tmp_path / "a.slp")
    with pytest.raises(InputError, match=r"image 'clip.mp4' is not in"):
        io.read_images(tmp_path / "a.slp")
    (tmp_path / "b.slp").write_bytes(b"\x89HDF\r\n\x1a\nxxx")
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        io.read_images(tmp_path / "b.slp")
    with pytest.raises(InputError, match=r"in a.slp and in b.slp"):
        io.read_images(tmp_path)
