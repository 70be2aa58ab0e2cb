"""COCO keypoint annotations with their images, whole and damaged."""

import copy
import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import jnrsfm
from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.types import LabelledImages

pytestmark = pytest.mark.fast

DOCUMENT = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 24, "height": 16},
        {"id": 3, "file_name": "b.png", "width": 24, "height": 16},
        {"id": 4, "file_name": "c.png"},
    ],
    "categories": [
        {"id": 1, "name": "cat", "keypoints": ["nose", "ear", "tail"], "skeleton": [[1, 2], [3, 1]]},
        {"id": 5, "name": "cup", "keypoints": ["rim", "nose"], "skeleton": [[0, 1]]},
    ],
    "annotations": [
        {"image_id": 3, "category_id": 5, "keypoints": [4, 5, 2, 6, 7, 2], "id": 0},
        {
            "image_id": 7, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0], "bbox": [1, 2, 10, 8], "id": 1,
            "segmentation": [[2, 2, 10, 2, 10, 8, 2, 8]],
        },
        {"image_id": 7, "category_id": 1, "bbox": [3, 3, 0, 0], "id": 2},
        {"image_id": 7, "category_id": 1, "iscrowd": 1, "id": 3, "segmentation": {"counts": "x", "size": [1, 1]}},
    ],
}  # fmt: skip


@pytest.fixture
def write(tmp_path, draw):
    """Writes a document into a folder beside its images."""
    draw(tmp_path / "set" / "images", ["a.png", "b.png", "c.png"])

    def put(document=DOCUMENT):
        (tmp_path / "set" / "labels.json").write_text(json.dumps(document))
        return tmp_path / "set"

    return put


def test_items_points_boxes_and_masks(write):
    folder = write()
    images = io.read_images(folder)
    assert images.pixels.names == ("a.png", "a.png", "b.png", "c.png")
    landmarks = images.landmarks
    assert landmarks.names == ("nose", "ear", "tail", "rim")
    assert landmarks.categories == ("cat", "cup")
    np.testing.assert_array_equal(landmarks.category, [0, 0, 1, 0])
    np.testing.assert_array_equal(landmarks.visible[:, :2], [[1, 1], [0, 0], [1, 0], [0, 0]])
    np.testing.assert_array_equal(landmarks.points2d[2], [[6, 7], [0, 0], [0, 0], [4, 5]])
    np.testing.assert_array_equal(landmarks.defined[2], [True, False, False, True])
    np.testing.assert_array_equal(landmarks.edges, [[0, 1], [2, 0], [3, 0]])
    np.testing.assert_array_equal(images.boxes[0], [1, 2, 10, 9])
    assert np.isnan(images.boxes[1:]).all()
    mask = images.masks.read(0)[..., 0] > 127
    assert mask[4, 5]
    assert not mask[4, 12]
    assert abs(mask.sum() - 48) < 16
    assert not images.masks.read(2).any()
    assert isinstance(jnrsfm.read(folder / "labels.json"), LabelledImages)
    dropped = io.read_images(folder, hidden="drop", category="cat").landmarks
    assert dropped.n_points == 3
    np.testing.assert_array_equal(dropped.visible, [[True, False, False], [False] * 3])


def test_run_lengths_as_list_and_as_text(write):
    mask = np.random.default_rng(1).random((16, 24)) > 0.7
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.r_[0, edges, flat.size]).tolist()
    counts = [0, *counts] if flat[0] else counts
    document = copy.deepcopy(DOCUMENT)
    for stored in (counts, _as_text(counts)):
        document["annotations"][1]["segmentation"] = {"counts": stored, "size": [16, 24]}
        np.testing.assert_array_equal(io.read_images(write(document)).masks.read(0)[..., 2] > 127, mask)
    document["annotations"][1]["segmentation"] = {"counts": counts[:-1], "size": [16, 24]}
    with pytest.raises(InputError, match="do not add up"):
        io.read_images(write(document)).masks.read(0)


def _as_text(counts):
    """5-bit groups, the lowest first, of the difference to the run before the last."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            text += chr(48 + (group | 32 if more else group))
    return text


def test_where_the_images_may_be(tmp_path, draw, write):
    folder = write()
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "labels.json"
    (folder / "labels.json").rename(moved)
    assert not io.holds_images(moved)
    with pytest.raises(InputError, match=r"'a.png' is not in .*and 2 more of 3"):
        io.read_images(moved)
    assert len(io.read_images(moved, images=str(folder / "images"))) == 4
    (tmp_path / "annotations").mkdir()
    draw(tmp_path / "train2017", ["a.png", "b.png", "c.png"])
    moved = moved.rename(tmp_path / "annotations" / "person_train2017.json")
    assert len(io.read_images(tmp_path)) == 4
    moved.with_name("other_val2017.json").write_text(moved.read_text())
    with pytest.raises(InputError, match=r"other_val2017.json and in person_train2017.json"):
        io.read_images(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("images", 1, "id"), 7, "id 7 stands twice"),
        (("images", 1, "file_name"), "a.png", "two images are called 'a.png'"),
        (("images", 1, "width"), 25, "b.png is 24 x 16 pixels, its labels state 25 x 16"),
        (("images",), [], "'images' is empty"),
        (("annotations", 0, "image_id"), 9, r"annotations\[0\]: image_id 9 is not among"),
        (("annotations", 0, "category_id"), 2, "category_id 2 is not among"),
        (("annotations", 1, "keypoints"), [1, 2], "'keypoints' is a list, expected 9 numbers"),
        (
            ("annotations", 0, "keypoints"),
            [99, 5, 2, 6, 7, 2],
            r"b.png: point 'rim' is at \(99, 5\), outside",
        ),
        (("annotations", 0, "keypoints", 2), 3, "v 0, 1 or 2"),
        (("annotations", 1, "bbox"), [1, 2, "x", 4], "'bbox' holds x"),
        (("categories", 0, "skeleton"), [[1, 9]], "'skeleton' has the pair 1, 9"),
        (("categories", 0, "keypoints"), ["a", "a", "b"], "names one point twice"),
    ],
)
def test_what_is_wrong_is_named(write, path, value, says):
    with pytest.raises(InputError, match=says) as error:
        io.read_images(write(_changed(path, value)))
    assert "\n" not in str(error.value)


def _changed(path, value):
    document = copy.deepcopy(DOCUMENT)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


def _places(value, path=()):
    if path:
        yield path
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from _places(inner, (*path, key))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=80)
@hypothesis.given(st.sampled_from(sorted(_places(DOCUMENT), key=str)), JUNK)
def test_junk_in_any_field_reads_or_is_refused(write, path, junk):
    """Whatever one field becomes, the answer is images that can be looked at, or one line."""
    folder = write(_changed(path, junk))
    try:
        images = io.read_images(folder, "coco-images")
        io.describe_images(images)
        if images.masks is not None:
            for i in range(len(images)):
                images.masks.read(i)
    except InputError as error:
        lines = str(error).splitlines()
    else:
        lines = [""]
    assert len(lines) == 1
