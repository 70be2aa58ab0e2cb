"""What a fit refuses, and why; and what `drop_empty` leaves."""

import copy

import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.types import Landmarks

F, P = 6, 7
K = np.array([[500, 0, 320], [0, 500, 240], [0, 0, 1]], np.float32)

pytestmark = pytest.mark.fast


@pytest.fixture
def good(rng):
    return Landmarks(rng.normal(size=(F, P, 2)).astype(np.float32), np.ones((F, P), bool), intrinsics=K)


def seen(frame, count):
    """All visible, but only the first `count` points in one frame."""
    visible = np.ones((F, P), bool)
    visible[frame, count:] = False
    return visible


def unchecked(landmarks, **changes):
    """Changed past the annotations of the record, which hold in tests only: a user's arrays may be of any shape."""
    changed = copy.copy(landmarks)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    return changed


def replaced(landmarks, value):
    """Points from (2, 3) on in frame 2 hold the value."""
    return np.where(seen(2, 3)[..., None], landmarks.points2d, value)


@pytest.mark.parametrize("camera", [None, "orthographic", "weak-perspective", "perspective"])
def test_sound_landmarks_pass_as_numpy_and_as_jax(good, camera):
    io.check_landmarks(good, camera)
    io.check_landmarks(
        good.replace(points2d=jnp.asarray(good.points2d), visible=jnp.asarray(good.visible)), camera
    )
    # What is stored under a gap is nobody's business.
    hidden = good.replace(visible=seen(2, 5), points2d=np.where(seen(2, 5)[..., None], good.points2d, np.nan))
    io.check_landmarks(hidden, camera)


@pytest.mark.parametrize(
    ("camera", "least"), [("orthographic", 3), ("weak-perspective", 3), ("perspective", 4)]
)
def test_fewest_visible_points(good, camera, least):
    io.check_landmarks(good.replace(visible=seen(4, least)), camera)
    with pytest.raises(InputError, match=rf"mine: frame 4: fewer than {least} visible points .*drop_empty"):
        io.check_landmarks(good.replace(visible=seen(4, least - 1)), camera, "mine")
    with pytest.raises(InputError, match=r"frame 1: all points are missing"):
        io.check_landmarks(good.replace(visible=seen(1, 0)), camera)
    io.check_landmarks(good.replace(visible=seen(1, 0)))  # a reader may return it


@pytest.mark.parametrize(
    ("change", "camera", "words"),
    [
        (lambda d: {"intrinsics": None}, "perspective", "intrinsics.*weak-perspective"),
        (lambda d: {}, "fisheye", "'fisheye' is unknown"),
        (lambda d: {"points2d": d.points2d[:1], "visible": d.visible[:1]}, "orthographic", "has 1 frame"),
        (lambda d: {"points2d": d.points2d[:, :3], "visible": d.visible[:, :3]}, "orthographic", "3 points"),
        (lambda d: {"points2d": d.points2d[:, [0, 1, 2, 3, 4, 5, 1]], "names": tuple("abcdefg")},
         "orthographic",         r"points 1 and 6 \('b' and 'g'\) are the same"),
        (lambda d: {"points2d": d.points2d * (np.arange(F) != 3)[:, None, None] + 7}, "orthographic",
         "frame 3: all visible points coincide"),
        (lambda d: {"points2d": d.points2d[..., :1] * np.array([2, 3]) + 99}, "orthographic", "on one line"),
        (lambda d: {"points2d": d.points2d[0]}, None, r"points2d has shape \(7, 2\)"),
        (lambda d: {"points2d": d.points2d.astype(complex)}, None, "complex64|complex128"),
        (lambda d: {"points2d": d.points2d[:0], "visible": d.visible[:0]}, None, "empty"),
        (lambda d: {"visible": None}, None, "visible is absent"),
        (lambda d: {"visible": d.visible[:, :3]}, None, r"visible has shape \(6, 3\)"),
        (lambda d: {"visible": d.visible.astype(float)}, None, "booleans"),
        (lambda d: {"points2d": replaced(d, np.nan)}, None, "frame 2, point 3"),
        (lambda d: {"points2d": replaced(d, np.inf)}, None, "frame 2, point 3"),
        (lambda d: {"defined": seen(2, 3)}, None, "frame 2, point 3: visible but not defined"),
        (lambda d: {"confidence": d.visible * 1.5}, None, r"\[0, 1\]"),
        (lambda d: {"confidence": d.visible * np.nan}, None, r"\[0, 1\]"),
        (lambda d: {"edges": np.array([[0, 7]])}, None, "point 7"),
        (lambda d: {"edges": np.array([[0.0, 1.0]])}, None, "edges"),
        (lambda d: {"symmetric": np.array([[1, 1]])}, None, "itself"),
        (lambda d: {"names": ("a",)}, None, "1 names for 7 points"),
        (lambda d: {"sequence": np.zeros(3, int)}, None, r"sequence has shape \(3,\)"),
        (lambda d: {"category": np.full(F, 2), "categories": ("a", "b")}, None, "category must be 0 to 1"),
        (lambda d: {"intrinsics": np.eye(4)}, None, r"intrinsics has shape \(4, 4\)"),
        (lambda d: {"intrinsics": np.eye(3) * np.nan}, None, "not finite"),
        (lambda d: {"intrinsics": K.T}, None, "transposed"),
    ],
)  # fmt: skip
def test_one_clear_line(good, change, camera, words):
    with pytest.raises(InputError, match=rf"^mine: .*({words})") as error:
        io.check_landmarks(unchecked(good, **change(good)), camera, "mine")
    assert "\n" not in str(error.value)


def test_duplicates_need_two_common_frames(good):
    points = np.array(good.points2d)
    points[:, 5] = points[:, 1]
    visible = np.ones((F, P), bool)
    visible[1:, 5] = False  # a single common frame: chance
    io.check_landmarks(good.replace(points2d=points, visible=visible), "orthographic")
    visible[1, 5] = True
    with pytest.raises(InputError, match="points 1 and 5"):
        io.check_landmarks(good.replace(points2d=points, visible=visible), "orthographic")
    points[1, 5] += 1e-3
    io.check_landmarks(good.replace(points2d=points, visible=visible), "orthographic")


def test_lifting_takes_one_frame(good):
    io.check_landmarks(good.select([0]), "orthographic", min_frames=1)


def test_drop_empty(good):
    visible = seen(2, 0) & seen(4, 3)
    kept = io.drop_empty(good.replace(visible=visible))
    np.testing.assert_array_equal(kept[1], [0, 1, 3, 4, 5])
    assert kept[0].n_frames == 5
    assert kept[0].intrinsics.shape == (3, 3)
    np.testing.assert_array_equal(
        io.usable_frames(good.replace(visible=visible), "perspective"), [1, 1, 0, 1, 0, 1]
    )
    with pytest.raises(InputError, match="no frame has 3 visible points"):
        io.drop_empty(good.replace(visible=np.zeros((F, P), bool)))
