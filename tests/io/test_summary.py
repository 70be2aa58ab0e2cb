"""`info`: gaps, clips, histogram and ranges counted by hand, and the text for people."""

import json

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.io.summary import describe
from jnrsfm.types import Landmarks

pytestmark = pytest.mark.fast


def example():
    """8 frames in clips of 5 and 3, 4 points."""
    visible = np.ones((8, 4), bool)
    visible[3:7, 1] = False  # four frames, but the clip ends in between: runs of 2 and 2
    visible[[0, 2, 3, 4], 2] = False  # runs of 1 and 3
    points = np.random.default_rng(0).uniform(-1, 1, (8, 4, 2))
    points[0, 0], points[1, 0] = (-9, 2), (3, 8)
    confidence = np.full((8, 4), 0.95)
    confidence[:, 3] = 0.05
    return Landmarks(
        points,
        visible,
        confidence=confidence,
        sequence=np.array([0] * 5 + [1] * 3),
        category=np.array([0] * 6 + [1] * 2),
        categories=("dog", "cat"),
        names=("nose", "tail", "ear", "paw"),
        fps=30.0,
    )


def test_found():
    found = describe(example())
    assert json.loads(json.dumps(found)) == found
    assert (found["frames"], found["points"], found["fps"]) == (8, 4, 30.0)
    assert found["clips"] == {"count": 2, "shortest": 3, "longest": 5}
    assert [g["missing"] for g in found["gaps"]] == [0, 4, 4, 0]
    assert [(g["longest"], g["start"]) for g in found["gaps"]] == [(0, None), (2, 3), (3, 2), (0, None)]
    assert found["longest_gap"]["name"] == "ear"
    assert found["observed"] == 24 / 32
    assert found["fewest_visible"] == 2
    assert found["confidence"] == [8, 0, 0, 0, 0, 0, 0, 0, 0, 16]
    assert found["ranges"]["x"][0] == -9
    assert found["ranges"]["y"][1] == 8
    assert found["categories"] == {"dog": 6, "cat": 2}
    assert found["reference"] is None
    assert found["problem"] is None  # a frame that shows two points is left out of a fit


def test_undefined_points_are_no_gaps():
    defined = np.ones((8, 4), bool)
    defined[:, 1] = False
    landmarks = example()
    found = describe(landmarks.replace(defined=defined, visible=landmarks.visible & defined))
    assert found["gaps"][1]["missing"] == 0
    assert found["observed"] == 20 / 24


def test_info_of_a_file_and_its_text(landmarks, reconstruction, tmp_path):
    io.write_landmarks(tmp_path / "a.npz", landmarks, reconstruction)
    found = io.info(tmp_path / "a.npz")
    assert found["format"] == "npz"
    assert found["reference"] == {"camera": "perspective", "known": 1.0}
    json.dumps(found)
    text = io.format_info(found)
    for words in ("a.npz (npz)", "perspective, with intrinsics", "25 frames per second", "dog 2, cat 3"):
        assert words in text
    text = io.format_info(describe(example()), rows=1)
    for words in ("ear: 3 frames from frame 2", "and 1 more", "clips         2, of 3 to 5 frames", "0.9-1.0"):
        assert words in text
    bare = describe(Landmarks(np.zeros((2, 4, 2)), np.zeros((2, 4), bool)))
    assert "not stated" in io.format_info(bare)
