"""The bounded reader of MATLAB files, against SciPy's on sound files, and on damaged ones."""

import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.io import _mat5

pytestmark = pytest.mark.fast


def values(rng):
    import scipy.sparse

    return {
        "a": rng.normal(size=(3, 4)), "b": np.arange(6, dtype="i2").reshape(2, 3), "c": np.float32([[1.5]]),
        "d": rng.normal(size=(2, 3, 4)), "e": np.array([[True, False]]), "f": "text é",
        "g": np.array(["a", "bcd", "é"], object), "h": np.zeros((0, 3)), "i": rng.normal(size=(2, 2)) + 1j,
        "j": scipy.sparse.csc_matrix(np.diag([1.0, 0, 3])), "k": {"x": 1},
        "l": np.array(["ab", "cd"]), "m": np.uint64([[2**60]]), "n": np.arange(3.0) * 1000,
    }  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_level_5_as_scipy_reads_it(tmp_path, rng, packed):
    stored = values(rng)
    savemat(tmp_path / "a.mat", stored, do_compression=packed)
    found, present = _mat5.load(tmp_path / "a.mat", tuple(stored))
    want = loadmat(tmp_path / "a.mat", chars_as_strings=True)
    assert present == list(stored)
    assert found["k"] == _mat5.Other("struct")
    for name in set(stored) - {"g", "j", "k"}:
        assert found[name].shape == want[name].shape, name
        assert found[name].dtype.kind == want[name].dtype.kind or name == "e"
        np.testing.assert_array_equal(found[name], want[name], err_msg=name)
    np.testing.assert_array_equal(found["j"], want["j"].toarray())
    assert [str(c[0]) for c in found["g"].ravel()] == ["a", "bcd", "é"]


def test_level_4_as_scipy_reads_it(tmp_path, rng):
    stored = {k: v for k, v in values(rng).items() if k in ("a", "b", "c", "l")}
    savemat(tmp_path / "a.mat", stored, format="4")
    found, present = _mat5.load(tmp_path / "a.mat", tuple(stored))
    want = loadmat(tmp_path / "a.mat")
    assert sorted(present) == sorted(stored)
    for name in stored:
        np.testing.assert_array_equal(found[name], want[name], err_msg=name)


def test_a_variable_that_is_not_wanted_may_be_anything(tmp_path, rng):
    savemat(tmp_path / "a.mat", {"k": {"x": np.array([{"y": 1}], object)}, "W": rng.normal(size=(24, 9))})
    assert io.read_landmarks(tmp_path / "a.mat", rows="blocked").n_frames == 12
    savemat(tmp_path / "b.mat", {"k": {"x": 1}})
    with pytest.raises(InputError, match="key 'W' is absent"):
        io.read_landmarks(tmp_path / "b.mat")
    savemat(tmp_path / "b.mat", {"W": {"x": 1}})
    with pytest.raises(InputError, match="key 'W': is a struct"):
        io.read_landmarks(tmp_path / "b.mat")


def test_a_declared_size_is_held_against_the_bytes(tmp_path):
    head = b"MATLAB 5.0".ljust(124) + b"\0\1IM"
    huge = np.array([14, 2**31], "<u4").tobytes() + b"\0" * 64
    packed = zlib.compress(huge)
    for body in (huge, np.array([15, len(packed)], "<u4").tobytes() + packed):
        (tmp_path / "a.mat").write_bytes(head + body)
        with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
            io.read_landmarks(tmp_path / "a.mat")


def test_no_mutation_gets_through(tmp_path, rng):
    """Byte flips anywhere: a record or one line, never a signal."""
    savemat(
        tmp_path / "a.mat",
        {"W": rng.normal(size=(24, 9)), **{k: v for k, v in values(rng).items() if k in "gjkd"}},
    )
    whole = (tmp_path / "a.mat").read_bytes()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 5))):
            data[int(rng.integers(128, len(data)))] = int(rng.integers(256))
        (tmp_path / "b.mat").write_bytes(
            data[: int(rng.integers(100, len(data) + 1))] if rng.random() < 0.3 else data
        )
        said = ""
        try:
            _mat5.load(tmp_path / "b.mat", ("W", "g", "j", "k", "d"))
        except InputError as error:
            said = str(error)
        assert "\n" not in said
