"""Downloads arrive whole and right, or not at all. No test leaves this machine."""

import hashlib

import numpy as np
import pytest

from jnrsfm.datasets import DOWNLOADS, Download, fetch, load
from jnrsfm.errors import InputError
from jnrsfm.types import Landmarks


def reader(path):
    with np.load(path, allow_pickle=False) as file:
        return Landmarks(points2d=file["points2d"], visible=file["visible"])


@pytest.fixture
def item(tmp_path, monkeypatch):
    source = tmp_path / "source.npz"
    np.savez(source, points2d=np.ones((2, 3, 2), np.float32), visible=np.ones((2, 3), bool))
    monkeypatch.setenv("JNRSFM_CACHE", str(tmp_path / "cache" / "deep"))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return (
        Download("example", source.as_uri(), digest, "CC0-1.0", "nobody", reader),
        source,
        tmp_path / "cache",
    )


def files(folder):
    return [p for p in folder.rglob("*") if p.is_file()]


@pytest.mark.fast
def test_fetched_once_then_served_from_the_cache(item):
    download, source, cache = item
    path = fetch(download)
    assert path.read_bytes() == source.read_bytes()
    source.unlink()
    assert fetch(download) == path
    assert files(cache) == [path]
    assert load(download).n_points == 3


def test_damaged_copy_in_the_cache_is_fetched_anew(item):
    download, source, _ = item
    path = fetch(download)
    path.write_bytes(b"damaged")
    assert fetch(download).read_bytes() == source.read_bytes()


@pytest.mark.fast
def test_wrong_hash_leaves_nothing(item):
    download, source, cache = item
    source.write_bytes(source.read_bytes() + b"x")
    with pytest.raises(InputError, match="SHA-256"):
        fetch(download)
    assert files(cache) == []


def test_absent_source_leaves_nothing(item):
    download, source, cache = item
    source.unlink()
    with pytest.raises(InputError, match="could not be downloaded"):
        fetch(download)
    assert files(cache) == []


def test_cache_that_cannot_be_written(item, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JNRSFM_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(InputError, match="JNRSFM_CACHE"):
        fetch(item[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "12ab"}, "hexadecimal"),
        ({"address": "ftp://example.org/a"}, "https"),
        ({"name": "../up"}, "letters"),
    ],
)
def test_entries_are_checked(item, change, said):
    fields = {f: getattr(item[0], f) for f in ("name", "address", "sha256", "licence", "citation", "reader")}
    with pytest.raises(InputError, match=said):
        Download(**(fields | change))


def test_unknown_name_and_the_registry():
    with pytest.raises(InputError, match="no downloadable set 'moon'"):
        fetch("moon")
    assert all(name == entry.name and entry.licence for name, entry in DOWNLOADS.items())
