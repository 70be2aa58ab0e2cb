"""The npz schema: round trips, what each key means, and one clear line for each way to get it wrong."""

import io as streams

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError

F, P = 5, 6


def clean(rng, **extra):
    """Keys of a small sound file."""
    return {"points2d": rng.normal(size=(F, P, 2)).astype(np.float32), **extra}


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def npy(array):
    stream = streams.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_missing_is_nan_or_mask_and_what_is_stored_there_never_leaks(rng, tmp_path, same_record):
    arrays = clean(rng)
    points = arrays["points2d"]
    points[1, 2] = np.nan
    points[3, 4, 0] = np.nan
    landmarks = io.read_landmarks(save(tmp_path / "nan.npz", arrays))
    want = np.ones((F, P), bool)
    want[1, 2] = want[3, 4] = False
    np.testing.assert_array_equal(landmarks.visible, want)
    for junk in (0.0, np.nan, np.inf, 1e30):
        points[~want] = junk
        other = io.read_landmarks(save(tmp_path / "mask.npz", {"points2d": points, "visible": want}))
        same_record(landmarks, other)


def test_confidence_zero_or_nan_is_no_observation(rng, tmp_path):
    confidence = np.full((F, P), 0.5)
    confidence[0, 0], confidence[2, 1] = 0, np.nan
    landmarks = io.read_landmarks(save(tmp_path / "a.npz", clean(rng, confidence=confidence)))
    np.testing.assert_array_equal(landmarks.visible, confidence > 0)
    assert np.isfinite(landmarks.confidence).all()


def test_integers_are_converted_and_text_may_be_bytes(rng, tmp_path):
    points = rng.integers(0, 100, (F, P, 2))
    arrays = {"points2d": points, "names": np.array([b"a"] * P), "visible": np.ones((F, P), np.uint8)}
    landmarks = io.read_landmarks(save(tmp_path / "a.npz", arrays))
    assert landmarks.points2d.dtype == np.float32
    np.testing.assert_array_equal(landmarks.points2d, points)
    assert landmarks.names == ("a",) * P


@pytest.mark.parametrize(
    ("stored", "want"),
    [
        ([0, 0, 2, 2, 5], [0, 0, 2, 2, 5]),  # in one piece each: the ids stay
        ([0, 0, 1, 0, 0], [0, 0, 1, 2, 2]),  # clip 0 comes back: nothing says that it goes on
        (["b", "b", "a", "a", "c"], [0, 0, 1, 1, 2]),
    ],
)
@pytest.mark.parametrize("key", ["clip", "sequence"])
def test_clips(rng, tmp_path, key, stored, want):
    landmarks = io.read_landmarks(save(tmp_path / "a.npz", clean(rng, **{key: np.array(stored)})))
    np.testing.assert_array_equal(landmarks.sequence, want)


@pytest.mark.parametrize(
    ("arrays", "codes", "names"),
    [
        ({"category": "dog"}, [0] * 5, ("dog",)),
        ({"category": ["dog", "cat", "cat", "dog", "dog"]}, [1, 0, 0, 1, 1], ("cat", "dog")),
        (
            {"category": ["dog", "cat", "cat", "dog", "dog"], "category_order": ["emu", "dog", "cat"]},
            [1, 2, 2, 1, 1],
            ("emu", "dog", "cat"),
        ),
        ({"category": [7, 7, 3, 3, 3]}, [1, 1, 0, 0, 0], ("3", "7")),
        ({"category": [1, 1, 0, 0, 0], "categories": ["a", "b"]}, [1, 1, 0, 0, 0], ("a", "b")),
    ],
)
def test_categories(rng, tmp_path, arrays, codes, names):
    landmarks = io.read_landmarks(save(tmp_path / "a.npz", clean(rng, **arrays)))
    np.testing.assert_array_equal(landmarks.category, codes)
    assert landmarks.categories == names


MASK = np.ones((F, P), bool)
HOLE = MASK & (np.arange(P) != 2)
NAN_AT_2 = np.where((np.arange(P) == 2)[None, :, None], np.nan, np.ones((F, P, 2)))
EYES = np.tile(np.eye(3), (F, 1, 1))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"points2d": None}, ["'points_2d'", "'points2d'", "rename"]),
        ({"points2d": np.ones((F, P))}, ["'points2d'", "(5, 6)"]),
        ({"points2d": np.ones((F, 2, P))}, ["'points2d'", "coordinates last"]),
        ({"points2d": np.ones((0, P, 2))}, ["'points2d'", "empty"]),
        ({"points2d": np.full((F, P, 2), "a")}, ["'points2d'", "text"]),
        ({"points2d": np.ones((F, P, 2), complex)}, ["'points2d'", "complex"]),
        ({"points2d": np.ones((F, P, 2), bool)}, ["'points2d'", "booleans"]),
        ({"points2d": np.full((F, P, 2), np.inf)}, ["'points2d'", "infinite", "(0, 0, 0)"]),
        ({"points2d": np.full((F, P, 2), 1e200)}, ["'points2d'", "above"]),
        ({"points2d": np.array([[[{}] * 2] * P] * F)}, ["'points2d'", "object"]),
        ({"points2d": NAN_AT_2, "visible": MASK}, ["frame 0, point 2", "visible", "NaN"]),
        ({"visible": MASK[:3]}, ["'visible'", "(3, 6)", "(5, 6)"]),
        ({"visible": MASK * 0.5}, ["'visible'", "confidence"]),
        ({"visible": np.full((F, P), "yes")}, ["'visible'", "<U3"]),
        ({"visibility": MASK}, ["'visibility'", "'visible'"]),
        ({"confidense": MASK}, ["'confidense'", "'confidence'"]),
        ({"confidence": MASK * 80.0}, ["'confidence'", "80", "[0, 1]"]),
        ({"visible": MASK, "defined": HOLE}, ["'defined'", "frame 0, point 2"]),
        ({"edges": [[0, 6]]}, ["'edges'", "row 0", "point 6"]),
        ({"edges": [[1, 2], [5, 6]]}, ["'edges'", "1-based"]),
        ({"edges": [[-1, 2]]}, ["'edges'", "point -1"]),
        ({"edges": [[2, 2]]}, ["'edges'", "itself"]),
        ({"edges": [[0.5, 1]]}, ["'edges'", "whole"]),
        ({"edges": [0, 1]}, ["'edges'", "(2,)"]),
        ({"symmetric": [[0, 9]]}, ["'symmetric'", "point 9"]),
        ({"names": ["a"] * (P - 1)}, ["'names'", "5 names for 6 points"]),
        ({"names": np.arange(P)}, ["'names'", "text"]),
        ({"names": ["\ud800"] * P}, ["'names'", "Unicode"]),
        ({"names": np.full((P, 1), 0x110000).astype("<u4").view("<U1")[:, 0]}, ["'names'", "Unicode"]),
        ({"names": [b"\xff"] * P}, ["'names'", "UTF-8"]),
        ({"camera": "fisheye"}, ["'camera'", "'fisheye'", "perspective"]),
        ({"clip": [0, 0, 1]}, ["'clip'", "(3,)"]),
        ({"clip": [0.5] * F}, ["'clip'", "whole"]),
        ({"category": [0, 1, 2, 3, 4], "categories": ["a"]}, ["'category'", "codes"]),
        ({"category": "dog", "categories": ["cat"]}, ["'category'", "'dog'", "'categories'"]),
        ({"fps": -1.0}, ["'fps'", "-1"]),
        ({"intrinsics": np.ones((2, 2))}, ["'intrinsics'", "(2, 2)"]),
        ({"intrinsics": np.diag([0.0, 1, 1])}, ["'intrinsics'", "focal"]),
        ({"intrinsics": [[1, 0, 0], [0, 1, 0], [9, 9, 1]]}, ["'intrinsics'", "transposed"]),
        ({"intrinsics": np.full((3, 3), np.nan)}, ["'intrinsics'", "NaN"]),
    ],
)
def test_one_clear_line_for_bad_landmarks(rng, tmp_path, extra, words):
    arrays = {**clean(rng), **{k: v for k, v in extra.items() if v is not None}}
    if extra.get("points2d", 0) is None:
        arrays["points_2d"] = arrays.pop("points2d")
    path = save(tmp_path / "bad.npz", arrays)
    with pytest.raises(InputError) as error:
        io.read_landmarks(path)
    message = str(error.value)
    assert "\n" not in message
    for word in [str(path), *words]:
        assert word in message, message


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"points3d": np.ones((F, P, 2))}, ["'points3d'", "(5, 6, 2)"]),
        ({"points3d": np.ones((F, P + 1, 3))}, ["(5, 6, 2)", "(5, 7, 2)"]),
        (
            {"points3d": np.ones((F, P, 3)), "rotations": EYES * 2},
            ["'rotations'", "not a rotation", "frames 0, 1"],
        ),
        ({"points3d": np.ones((F, P, 3)), "rotations": -EYES}, ["'rotations'", "determinant -1"]),
        ({"points3d": np.ones((F, P, 3)), "rotations": EYES[:2]}, ["'rotations'", "(2, 3, 3)"]),
        (
            {"points3d": np.ones((F, P, 3)), "rotations": EYES, "scale": [1, 1, 0, 1, 1]},
            ["'scale'", "frame 2"],
        ),
        ({"points3d": np.full((F, P, 3), np.nan), "valid3d": MASK}, ["'points3d'", "valid3d"]),
    ],
)
def test_one_clear_line_for_a_bad_reference(rng, tmp_path, extra, words):
    path = save(tmp_path / "bad.npz", {**clean(rng), **extra})
    with pytest.raises(InputError) as error:
        io.read_reference(path)
    for word in [str(path), *words]:
        assert word in str(error.value) or word in ("(5, 6, 2)", "(5, 7, 2)")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, ["no such file"]),
        (lambda p: p.mkdir(), ["folder"]),
        (lambda p: p.write_bytes(b""), ["empty"]),
        (lambda p: p.write_text("frame,x,y\n0,1,2\n"), ["not an npz"]),
        (lambda p: p.write_bytes(b"PK\x03\x04 and no more"), ["truncated"]),
        (lambda p: p.write_bytes(npy(np.ones((5, 6, 2)))), ["single array", "np.savez"]),
    ],
)
def test_one_clear_line_for_no_npz(tmp_path, make, words):
    path = tmp_path / "a.npz"
    make(path)
    for read in (io.read_landmarks, io.read_reference, io.read_reconstruction):
        with pytest.raises(InputError) as error:
            read(path)
        for word in [str(path), *words]:
            assert word in str(error.value)


def test_a_pickle_is_never_loaded(rng, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    path = tmp_path / "a.npz"
    np.savez(path, **clean(rng), names=np.array([Bomb()] * P, dtype=object))
    with pytest.raises(InputError, match=r"'names'.*never loaded"):
        io.read_landmarks(path)


def test_an_object_array_under_an_unknown_key_is_left_alone(rng, tmp_path):
    path = save(tmp_path / "a.npz", clean(rng, my_notes=np.array([{"who": "me"}])))
    assert io.read_landmarks(path).n_frames == F


def test_reference_cameras(rng, tmp_path, rotations):
    shape = rng.normal(size=(F, P, 3)).astype(np.float32)
    r, scale = rotations, np.linspace(50, 90, F, dtype=np.float32)
    shift = rng.normal(size=(F, 1, 2)).astype(np.float32) * 100
    plane = np.einsum("fpj,fij->fpi", shape, r)[..., :2]

    def read(**arrays):
        return io.read_reference(save(tmp_path / "a.npz", {"points3d": shape, **arrays}))

    exact = read(points2d=plane, rotations=r)
    assert exact.translations is None
    assert exact.mirror == "reference"
    moved = read(points2d=plane + shift, rotations=r)
    np.testing.assert_allclose(moved.translations[:, :2], shift[:, 0], rtol=1e-4)

    fitted = scale.copy()
    fitted[2] = np.nan
    image = scale[:, None, None] * plane + shift
    given = read(points2d=image, rotations_fit=r, scale_fit=fitted, camera="perspective")
    assert given.cameras.model == "weak-perspective"
    np.testing.assert_array_equal(given.valid3d.any(1), np.arange(F) != 2)
    good = np.arange(F) != 2
    np.testing.assert_allclose(np.asarray(given.points2d)[good], image[good], rtol=1e-4, atol=1e-3)

    found = read(points2d=image)  # no camera at all, and the identity does not explain the image
    np.testing.assert_allclose(found.rotations, r, atol=1e-4)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-4)

    same = read(points2d=shape[..., :2])  # camera-frame 3D
    np.testing.assert_array_equal(same.rotations, EYES)


def test_unknown_3d_of_a_reference(rng, tmp_path):
    shape = rng.normal(size=(F, P, 3)).astype(np.float32)
    shape[1, 2] = shape[0, 0] = 0
    visible = MASK.copy()
    visible[1, 2] = visible[3, 3] = False
    reference = io.read_reference(
        save(tmp_path / "a.npz", clean(rng, points3d=shape, rotations=EYES, visible=visible))
    )
    want = MASK.copy()
    want[1, 2] = False  # stored as 0 and not seen; [0, 0] is seen, [3, 3] is hidden but known
    np.testing.assert_array_equal(reference.valid3d, want)
    assert io.read_reference(save(tmp_path / "b.npz", clean(rng))) is None


def test_an_absent_key_names_what_is_there(tmp_path):
    with pytest.raises(InputError, match=r"key 'points2d' is absent \(it has keypoints_xy\)"):
        io.read_landmarks(save(tmp_path / "a.npz", {"keypoints_xy": np.ones((F, P, 2))}))
    with pytest.raises(InputError, match=r"'points2d' is absent \(it has names, visible\)"):
        io.read_landmarks(save(tmp_path / "a.npz", {"visible": MASK, "names": ["a"] * P}))
