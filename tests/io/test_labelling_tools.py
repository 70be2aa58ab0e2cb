"""Label Studio and CVAT: what their files may hold beside the plain case, and what is refused."""

import json

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError

pytestmark = pytest.mark.fast


def region(name, x, y, **more):
    return {"type": "keypointlabels", "original_width": 200, "original_height": 100,
            "value": {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}, **more}  # fmt: skip


def test_json_min_and_the_size_of_images(tmp_path):
    flat = [{**r["value"], **{k: r[k] for k in ("original_width", "original_height")}}
            for r in (region("nose", 50, 10), region("tail", 10, 90))]  # fmt: skip
    tasks = [
        {"image": "/data/a.png", "id": 1, "kp": flat, "annotator": 1},
        {"image": "b.png", "id": 2, "kp": flat[:1]},
    ]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    reading = io.read(tmp_path / "a.json")
    assert (reading.formats, reading.image_size) == (("label-studio",), (200.0, 100.0))
    np.testing.assert_allclose(reading.landmarks.points2d[0], [[100, 10], [20, 90]])
    assert np.asarray(reading.landmarks.visible).tolist() == [[True, True], [True, False]]
    assert io.parse(tmp_path / "a.json").labels == ("a.png", "b.png")
    for task in tasks:  # without sizes the coordinates are fractions, and that is said
        for mark in task["kp"]:
            mark.pop("original_width", None)
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    reading = io.read(tmp_path / "a.json")
    assert any("--image-size" in note for note in reading.notes)
    scaled = io.read_landmarks(tmp_path / "a.json", image_size=(200, 100))
    np.testing.assert_allclose(scaled.points2d[0], [[100, 10], [20, 90]], rtol=1e-6)


def test_predictions_have_scores_and_labels_go_before_them(tmp_path):
    said = [{"result": [region("nose", 1, 1, score=0.25), region("nose", 60, 60, score=0.75)]}]
    task = {"data": {"image": "a.png"}, "annotations": [], "predictions": said}
    (tmp_path / "a.json").write_text(json.dumps([task]))
    pose = io.parse(tmp_path / "a.json")
    assert pose.confidence.ravel().tolist() == [0.25, 0.75]  # the second nose is somebody else's
    task["annotations"] = [
        {"result": [region("nose", 2, 2)]},
        {"ground_truth": True, "result": [region("nose", 3, 3)]},
    ]
    (tmp_path / "a.json").write_text(json.dumps([task]))
    pose = io.parse(tmp_path / "a.json")
    assert pose.points.ravel().tolist() == [6, 3]
    assert any("1 images have several annotations" in note for note in pose.notes)


@pytest.mark.parametrize(
    ("content", "says"),
    [([{"annotations": [{"result": [region("a", None, 3), {"value": 5}]}]}], "'a' has no x and y"),
     ([{"keypointlabels": 1}], "not one keypoint with a label"), ([3, "keypointlabels"], "expected a list of tasks"),
     ([{"k": [region("a", 1, 1), {"type": "x", "value": {"x": 1, "y": 1, "keypointlabels": ["b"]}}]}], "only some")],
)  # fmt: skip
def test_label_studio_refusals(tmp_path, content, says):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=says):
        io.parse(tmp_path / "a.json", "label-studio")


def cvat(tmp_path, body, head="", mode="interpolation"):
    path = tmp_path / "annotations.xml"
    meta = f"<meta><task><mode>{mode}</mode></task></meta>"
    path.write_text(f'<?xml version="1.0"?>{head}<annotations>{meta}{body}</annotations>')
    return path


def track(label, points, extra=""):
    marks = "".join(
        f'<points frame="{f}" outside="{int(hidden)}" occluded="0" points="{x},{y}"/>'
        for f, x, y, hidden in points
    )
    return f'<track id="0" label="{label}"{extra}>{marks}</track>'


def test_tracks_of_single_points(tmp_path):
    body = track("nose", [(0, 1, 2, 0), (1, 3, 4, 0), (3, 5, 6, 0), (4, 5, 6, 1)])
    path = cvat(tmp_path, body + track("tail", [(1, 7, 8, 0)]) + track("nose", [(0, 90, 90, 0)]))
    pose = io.parse(path)
    assert (pose.names, pose.points.shape[:2], pose.linked) == (("nose", "tail"), (4, 2), True)
    landmarks = io.read_landmarks(path, individual="0")
    assert np.asarray(landmarks.frame_index).tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]  # the frame that nobody labelled is kept
    assert landmarks.visible.tolist() == [
        [True, False],
        [True, True],
        [False, False],
        [True, False],
        [False, False],
    ]
    grouped = cvat(
        tmp_path,
        track("nose", [(0, 1, 2, 0)], ' group_id="5"') + track("tail", [(0, 1, 2, 0)], ' group_id="7"'),
    )
    assert io.parse(grouped).points.shape[1] == 2


def test_images_of_a_video_are_in_order_and_points_may_be_several(tmp_path):
    body = "".join(
        f'<image id="{f}" name="f_{f}.png" width="64" height="48"><points label="back" occluded="1" '
        f'points="{f}.5,1;2,3"/></image>' for f in (2, 3)
    )  # fmt: skip
    pose = io.parse(cvat(tmp_path, body))
    assert (pose.names, pose.ordered, pose.numbers.tolist()) == (("back_1", "back_2"), True, [2, 3])
    assert pose.image_size == (64, 48)
    np.testing.assert_allclose(pose.points[:, 0, 0], [[2.5, 1], [3.5, 1]])
    assert not io.parse(cvat(tmp_path, body, mode="annotation")).ordered


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(9)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    ("body", "head", "says"),
    [("&j;", BOMB, "document type"), ("", '<!DOCTYPE a SYSTEM "file:///etc/passwd">', "document type"),
     ("&unknown;", "", "cannot be read as XML"), ("<a>" * 100 + "</a>" * 100, "", "nested"),
     ("", "", "no points and no skeletons"), (track("a", [("x", 1, 2, 0)]), "", "frame 'x'"),
     (track("a", [(0, "nan", 2, 0)]), "", "are not 'x,y"), ('<points label="a" points="1,2"/>', "", "of no image")],
)  # fmt: skip
def test_cvat_refusals(tmp_path, body, head, says):
    path = cvat(tmp_path, body, head)
    for read in (io.parse, io.info):  # found by content, a document type before it or not
        with pytest.raises(InputError, match=says) as caught:
            read(path)
        assert "\n" not in str(caught.value)
