"""The registry of formats: found by name, extension or content, and open to others."""

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.io import _registry

pytestmark = pytest.mark.fast


def test_content_decides_where_the_extension_does_not(landmarks, same_record, tmp_path):
    for name in ("npz", "matlab"):
        path = tmp_path / f"{name}.data"
        io.write_landmarks(path, landmarks, format=name)
        same_record(landmarks, io.read_landmarks(path))
        same_record(landmarks, io.read_landmarks(path, format=name))
    (tmp_path / "x.data").write_text("hello")
    with pytest.raises(InputError, match=r"not recognised.*npz \(\.npz\); matlab \(\.mat\)"):
        io.read_landmarks(tmp_path / "x.data")
    with pytest.raises(InputError, match="unknown format 'xls': choose from npz, matlab"):
        io.read_landmarks(tmp_path / "x.data", format="xls")
    with pytest.raises(InputError, match="has no option 'rows': its options are: none"):
        io.read_landmarks(tmp_path / "npz.data", rows="blocked")


def test_a_format_of_ones_own(landmarks, tmp_path, monkeypatch):
    monkeypatch.setattr(_registry, "_formats", dict(_registry._formats))

    def read(path, *, scale: float = 1.0):
        return landmarks.replace(points2d=np.asarray(landmarks.points2d) * scale)

    io.register(io.Format("toy", (".toy",), "a toy", read))
    (tmp_path / "a.toy").write_text("x")
    assert io.read_reference(tmp_path / "a.toy") is None
    np.testing.assert_array_equal(
        io.read_landmarks(tmp_path / "a.toy", scale=2.0).points2d, landmarks.points2d * 2
    )
    assert io.info(tmp_path / "a.toy")["format"] == "toy"
    with pytest.raises(InputError, match=r"no option 'scael'.*scale"):
        io.read_landmarks(tmp_path / "a.toy", scael=2.0)
    with pytest.raises(InputError, match="can be read only"):
        io.write_landmarks(tmp_path / "b.toy", landmarks, format="toy")
    with pytest.raises(ValueError, match="'toy' is registered already"):
        io.register(io.Format("toy", (".toy",), "again", read))
    assert io.formats()["toy"].description == "a toy"


def test_a_reader_that_returns_unsound_landmarks_is_caught(landmarks, tmp_path, monkeypatch):
    monkeypatch.setattr(_registry, "_formats", dict(_registry._formats))
    io.register(io.Format("bad", (".bad",), "bad", lambda path: landmarks.replace(names=("one",))))
    (tmp_path / "a.bad").write_text("x")
    with pytest.raises(InputError, match=r"a\.bad: 1 names for 6 points"):
        io.read_landmarks(tmp_path / "a.bad")
