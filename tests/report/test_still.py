"""The still picture."""

import sys

import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.report import Contents, write_still


def pixels(path):
    from matplotlib.image import imread

    return imread(path)[..., :3]


def test_the_picture_shows_shape_truth_curve_and_quality(walker, tmp_path):
    landmarks, result, truth = walker.example(24)
    everything = {
        "history": walker.history(),
        "quality": walker.QUALITY,
        "settings": walker.SETTINGS,
        "title": "A walker",
    }
    full = write_still(
        tmp_path / "a.png", Contents(input=landmarks, result=result, reference=truth, **everything)
    )
    bare = write_still(tmp_path / "b.png", Contents(input=landmarks, result=result))
    assert full.read_bytes().startswith(b"\x89PNG")
    a, b = pixels(full), pixels(bare)
    assert a.shape == b.shape == (1232, 1452, 3)

    def count(image, colour):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return int((np.abs(image - rgb).max(-1) < 0.02).sum())

    for colour in ("#d4610b", "#1f6fbf"):  # left and right limbs are in both
        assert min(count(a, colour), count(b, colour)) > 200
    assert count(a, "#fdf1d3") > 200  # the verdict's tint
    assert count(b, "#fdf1d3") == 0
    assert "matplotlib.pyplot" not in sys.modules  # no global state was touched


@pytest.mark.fast
def test_one_frame_odd_names_and_no_skeleton(walker, tmp_path):
    landmarks, result, _ = walker.example(1, edges=False, fps=None)
    names = ("$x_{1", "漢字", "a\\b", *walker.NAMES[3:])
    path = write_still(tmp_path / "a.png", Contents(input=landmarks.replace(names=names), result=result,
                     title="$\\broken 漢字", quality={"items": [], "warnings": ["$$"]}))  # fmt: skip
    assert (pixels(path) < 0.5).any()


@pytest.mark.fast
def test_without_matplotlib_the_extra_is_named(walker, tmp_path, monkeypatch):
    landmarks, result, _ = walker.example(2)
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="pip install matplotlib"):
        write_still(tmp_path / "a.png", Contents(input=landmarks, result=result))
    assert not list(tmp_path.iterdir())
