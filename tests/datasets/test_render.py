"""Rendered figures: the truth of every pixel and landmark, and the same images whatever else is drawn."""

import numpy as np
import pytest

from jnrsfm.datasets import RenderedFigures, render_figures
from jnrsfm.errors import InputError

SETTINGS = {"figures": ("walker", "quadruped", "hand"), "images": 12, "size": 48, "seed": 3}


@pytest.fixture(scope="module")
def drawn():
    return render_figures(RenderedFigures(**SETTINGS))


@pytest.mark.fast
def test_records_are_consistent(drawn):
    f, p = drawn.landmarks.points2d.shape[:2]
    assert (f, p) == (12, 19 + 25 + 21)
    assert drawn.images.shape == (12, 48, 48, 3)
    assert drawn.images.dtype == np.uint8
    assert (drawn.category == np.arange(12) % 3).all()
    assert drawn.landmarks.defined.sum(1).tolist() == [19, 25, 21] * 4
    assert len(drawn.landmarks.names) == p
    assert drawn.landmarks.names[19].startswith("quadruped:")
    assert not (drawn.landmarks.visible & ~drawn.landmarks.defined).any()
    assert (drawn.mask == (drawn.parts > 0)).all()
    assert drawn.parts.max() <= len(drawn.part_names)
    # Each image shows parts of its own figure only.
    for i, which in enumerate(drawn.category):
        seen = {drawn.part_names[k - 1].split(":")[0] for k in np.unique(drawn.parts[i]) if k}
        assert seen == {drawn.categories[which]}


def test_landmarks_are_the_projection_of_the_reference(drawn):
    seen = drawn.landmarks.visible
    error = np.abs(np.asarray(drawn.reference.points2d) - drawn.landmarks.points2d)[seen]
    assert error.max() < 1e-3
    assert (drawn.landmarks.points2d[~seen] == 0).all()


def test_a_landmark_that_is_not_hidden_lies_on_the_figure_at_its_depth(drawn):
    """Its pixel shows the figure, no farther away than it; a hidden one has something well before it."""
    points = np.asarray(drawn.reference.points2d)
    z = np.asarray(drawn.reference.camera_points)[..., 2]
    free = drawn.landmarks.defined & ~(drawn.hidden_by_body | drawn.hidden_by_object | drawn.outside)
    inside = drawn.landmarks.defined & ~drawn.outside
    size = np.ptp(np.where(drawn.landmarks.defined, z, np.nan)[0][:19])
    assert size > 0
    hit, front, behind = [], [], []
    for f, p in np.argwhere(inside):
        x, y = np.clip(np.round(points[f, p]).astype(int), 0, 47)
        if free[f, p]:
            around = drawn.mask[f, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            hit.append(around.any())
            front.append(drawn.depth[f, y, x] < z[f, p] * 1.02 or not drawn.mask[f, y, x])
        else:
            behind.append(drawn.depth[f, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].min() < z[f, p])
    assert np.mean(hit) > 0.98
    assert np.mean(front) > 0.98
    assert np.mean(behind) > 0.98
    assert len(behind) > 10


def test_boxes_are_those_of_the_mask(drawn):
    for mask, (x0, y0, x1, y1) in zip(drawn.mask, drawn.boxes, strict=True):
        y, x = np.nonzero(mask)
        assert (x0, y0, x1, y1) == (x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5)


def test_an_image_depends_on_its_index_alone(drawn):
    fewer = render_figures(RenderedFigures(**SETTINGS | {"images": 5}))
    np.testing.assert_array_equal(fewer.images, drawn.images[:5])
    np.testing.assert_array_equal(fewer.depth, drawn.depth[:5])
    other = render_figures(RenderedFigures(**SETTINGS | {"images": 5, "seed": 4}))
    assert (other.images != drawn.images[:5]).mean() > 0.5


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"figures": ("dragon",)}, "figures"),
        ({"figures": ("walker", "walker")}, "once"),
        ({"images": 10, "clip": 3}, "multiple"),
        ({"size": 4}, "size"),
        ({"flow": True}, "clip"),
        ({"distance": (3.0, 2.0)}, "distance"),
        ({"occluders": 1.5}, "occluders"),
        ({"hide": ("fog",)}, "hide"),
    ],
)
def test_bad_settings_are_named(options, said):
    with pytest.raises(InputError, match=said):
        RenderedFigures(**options)
