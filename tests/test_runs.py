"""The one way in which files are written: whole or not at all, and never over another writer's temporary file."""

import threading

import numpy as np
import pytest

from jnrsfm import runs
from jnrsfm.errors import InputError

pytestmark = pytest.mark.fast


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_a_file_is_whole_or_the_former_one(tmp_path, monkeypatch):
    target = tmp_path / "r.html"
    assert runs.write_file(target, "old é") == target
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full_disk)
        with pytest.raises(
            InputError, match=r"r\.html: cannot be written \(No space left on device\)"
        ) as caught:
            runs.write_file(target, b"new")
    assert "\n" not in str(caught.value)
    assert target.read_text(encoding="utf-8") == "old é"

    def broken(stream):
        stream.write(b"half")
        raise ValueError("the writer's own failure")

    with pytest.raises(ValueError, match="own failure"):
        runs.write_file(target, broken)
    assert target.read_text(encoding="utf-8") == "old é"
    assert names(tmp_path) == ["r.html"]


def test_what_is_no_place_for_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for path, line in (
        (tmp_path / "no" / "r", "does not exist"), (tmp_path, "is a folder"),
        (tmp_path / "file" / "r", "does not exist"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=line):
            runs.write_file(path, b"")
    runs.write_file(tmp_path / ("n" * 255), b"")  # the longest name that there is


def test_two_writers_do_not_meet(tmp_path):
    """Both have begun before either ends; the file is one of the two, whole."""
    gate = threading.Barrier(2)

    def write(letter):
        def content(stream):
            stream.write(letter * 1000)
            gate.wait()
            stream.write(letter * 1000)

        runs.write_file(tmp_path / "both", content)

    threads = [threading.Thread(target=write, args=(x,)) for x in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "both").read_bytes() in (b"a" * 2000, b"b" * 2000)
    assert names(tmp_path) == ["both"]


def test_json_and_arrays(tmp_path):
    value = {"a": [1, None, "x"]}
    assert runs.read_json(runs.write_json(tmp_path / "a.json", value)) == value
    with pytest.raises(ValueError, match="JSON"):
        runs.write_json(tmp_path / "a.json", float("nan"))
    assert runs.read_json(tmp_path / "a.json") == value
    (tmp_path / "b.json").write_text("{")
    for name in ("b.json", "c.json"):
        with pytest.raises(InputError, match="cannot be read as JSON"):
            runs.read_json(tmp_path / name)
    with np.load(runs.write_arrays(tmp_path / "a.npz", {"x": np.arange(3)}), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["x"], np.arange(3))


def test_names_of_changed_settings():
    before = {"seed": 0, "config": {"steps": 3, "rates": [1], "inner": {"a": 1}}, "old": 1}
    now = {"seed": 0, "config": {"steps": 4, "rates": [1], "inner": {"a": 2}}}
    assert runs.changed_settings(before, now) == ["steps", "a", "old"]
