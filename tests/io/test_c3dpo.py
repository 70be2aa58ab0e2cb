"""C3DPO's JSON: classes from masks, gaps, the way there and back, and what is refused."""

import json

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.types import Cameras, Landmarks, Reconstruction

pytestmark = pytest.mark.fast


def sample(rng, mask, **more):
    """One view of the keypoints of a mask; what is stored at hidden ones is rubbish on purpose."""
    seen = np.asarray(mask) * (rng.random(len(mask)) > 0.2)
    shape = rng.normal(size=(3, len(mask)))
    points = np.where(seen > 0, shape[:2], 99.0)
    return {
        "kp_loc": points.tolist(), "kp_vis": seen.tolist(), "kp_loc_3d": shape.tolist(),
        "class_mask": list(mask), "file_name": "a.jpg", **more,
    }  # fmt: skip


def saved(tmp_path, content, name="set.json"):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return path


def test_masks_that_share_a_keypoint_are_one_class(rng, tmp_path):
    masks = [[1, 1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 1, 0, 0, 0, 0]]
    content = [sample(rng, masks[i % 3]) for i in range(12)]
    for wrapped in (content, {"dataset": "mine", "data": content}):
        landmarks = io.read_landmarks(saved(tmp_path, wrapped))
        assert landmarks.categories == ("class 0", "class 1")
        assert np.asarray(landmarks.category).tolist() == [0, 1, 0] * 4
        assert (np.asarray(landmarks.defined) == np.array([masks[i % 3] for i in range(12)])).all()
        assert (np.asarray(landmarks.points2d)[~np.asarray(landmarks.visible)] == 0).all()
        assert landmarks.confidence is None
        assert landmarks.camera == "orthographic"
    reference = io.read_reference(saved(tmp_path, content))
    seen = np.asarray(landmarks.visible)
    np.testing.assert_allclose(reference.points2d[seen], landmarks.points2d[seen], rtol=1e-6)
    assert (np.asarray(reference.valid3d) == np.asarray(landmarks.defined)).all()


def test_one_class_has_no_category_and_a_named_one_keeps_its_name(rng, tmp_path):
    content = [
        {k: v for k, v in sample(rng, [1] * 6).items() if k[:6] in ("kp_loc", "kp_vis")} for _ in range(4)
    ]
    path = saved(tmp_path, content)
    assert io.read_landmarks(path).category is None
    assert io.read_landmarks(path).defined is None
    content = [sample(rng, [1] * 6, category=name) for name in ("dog", "cat", "dog")]
    assert io.read_landmarks(saved(tmp_path, content)).categories == ("dog", "cat")


def test_there_and_back(rng, tmp_path):
    n, p = 8, 10
    category = np.arange(n) % 2
    defined = (np.arange(p) < 5) == (category[:, None] == 0)
    visible = defined & (rng.random((n, p)) > 0.2)
    shapes = np.where(defined[..., None], rng.normal(size=(n, p, 3)), 0)
    confidence = np.where(visible, rng.uniform(0.1, 0.9, (n, p)), 0).astype(np.float32)
    landmarks = Landmarks(
        points2d=np.where(visible[..., None], shapes[..., :2], 0).astype(np.float32), visible=visible, defined=defined,
        confidence=confidence, category=category, categories=("chair", "car"), camera="orthographic",
    )  # fmt: skip
    reference = Reconstruction(shapes, Cameras(np.tile(np.eye(3), (n, 1, 1))), valid3d=defined)
    io.write_landmarks(tmp_path / "a.json", landmarks, reference)
    io.convert(tmp_path / "a.json", tmp_path / "b.npz")
    io.convert(tmp_path / "b.npz", tmp_path / "c.json")
    for path in (tmp_path / "a.json", tmp_path / "b.npz", tmp_path / "c.json"):
        back, truth = io.read_landmarks(path), io.read_reference(path)
        np.testing.assert_allclose(back.points2d, landmarks.points2d, atol=1e-6)
        np.testing.assert_allclose(back.confidence, confidence, atol=1e-6)
        assert (np.asarray(back.visible) == visible).all()
        assert (np.asarray(back.defined) == defined).all()
        assert back.categories == landmarks.categories
        assert (np.asarray(back.category) == category).all()
        np.testing.assert_allclose(truth.camera_points, shapes, atol=1e-5)
    (tmp_path / "d.txt").write_bytes((tmp_path / "a.json").read_bytes())
    assert io.info(tmp_path / "d.txt")["format"] == "c3dpo"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s[1].pop("kp_vis"), "sample 1: key 'kp_vis' is absent, though other samples have it"),
        (lambda s: [x.pop("kp_loc") for x in s], "key 'kp_loc' is absent"),
        (lambda s: s[2].update(kp_loc=[[1, 2], [3, 4]]), r"sample 2: key 'kp_loc': has shape \(2, 2\), expected 2 x 6"),
        (lambda s: s[0].update(kp_loc=[[1, "a"], [3, 4]]), "sample 0: key 'kp_loc': is not an array of numbers"),
        (lambda s: s[2]["kp_vis"].__setitem__(4, 3), "sample 2: key 'kp_vis': is 3 at keypoint 4, expected 0 to 1"),
        (lambda s: s[1]["kp_loc"][0].__setitem__(0, float("nan")), "visible but its coordinate is NaN"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_sample_and_key(rng, tmp_path, change, says):
    content = [sample(rng, [1] * 6) for _ in range(3)]
    for s in content:
        s["kp_vis"] = [1.0] * 6
    change(content)
    with pytest.raises(InputError, match=says) as error:
        io.read_landmarks(saved(tmp_path, content))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"data": 3}', "[1, 2]", '[{"x": 1}]'])
def test_other_json_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.json: ") as error:
        io.read_landmarks(path)
    assert "\n" not in str(error.value)
