"""What is cited: entries that exist and parse, the method first, a reason for each, and nothing that was not used."""

import dataclasses
import re
import types

import numpy as np
import pytest

import jnrsfm
from jnrsfm.citations import references
from jnrsfm.errors import InputError
from jnrsfm.methods import METHODS
from jnrsfm.types import Cameras, Reconstruction

pytestmark = pytest.mark.fast


def keys(text):
    return re.findall(r"^@\w+\{(\w+),", text, re.M)


def test_every_entry_is_whole():
    for key, entry in references().items():
        assert keys(entry) == [key]
        assert entry.count("{") == entry.count("}")
        for field in ("author", "title", "year"):
            assert re.search(rf"^  {field} *= \{{", entry, re.M), (key, field)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_source_and_each_entry_a_reason(name):
    assert METHODS[name].cites
    assert set(METHODS[name].cites) <= set(references())
    text = jnrsfm.cite(name)
    assert keys(text) == [*METHODS[name].cites, "jnrsfm"]
    blocks = text.strip().split("\n\n")
    assert all(re.match(r"% [A-Z`].+\.\n@", block) for block in blocks)
    assert blocks[0].startswith(f"% The method, {name}.")


def test_a_result_cites_what_it_used():
    def result(config, mirror="sequence", scores=None):
        reconstruction = Reconstruction(
            np.zeros((1, 3, 3), np.float32), Cameras(np.eye(3, dtype=np.float32)[None]), mirror=mirror
        )
        return types.SimpleNamespace(config=config, result=reconstruction, scores=scores)

    paul = METHODS["paul"].config
    assert keys(jnrsfm.cite(result(paul()))) == ["wang2021paul", "lee2013pnd", "jnrsfm"]
    other = dataclasses.replace(paul(), starts=("random",))
    assert keys(jnrsfm.cite(result(other))) == ["wang2021paul", "jnrsfm"]
    assert keys(jnrsfm.cite(other)) == ["wang2021paul", "jnrsfm"]
    scored = jnrsfm.cite(result(other, "set", {"kong": {}, "one-mirror": {}}))
    assert keys(scored) == ["wang2021paul", "singer2011synchronization", "kong2019deepnrsfm", "jnrsfm"]
    assert "akhter2008trajectory" in keys(jnrsfm.cite("pnd", ["akhter"]))


def test_what_cannot_be_cited_is_one_line():
    for what, line in (("paule", "unknown method 'paule'"), (3, "nothing to cite of a int")):
        with pytest.raises(InputError, match=line):
            jnrsfm.cite(what)
    with pytest.raises(InputError, match="unknown protocol 'king'"):
        jnrsfm.cite("paul", ["king"])


def test_the_front_door_opens_on_every_room():
    assert jnrsfm.__version__
    for name in jnrsfm.__all__:
        thing = getattr(jnrsfm, name)
        assert name.startswith("__") or thing.__doc__, name
    for room in ("io", "datasets", "report", "metrics"):
        door = getattr(jnrsfm, room)
        for name in getattr(door, "__all__", ()):
            assert hasattr(door, name), (room, name)
            assert not callable(getattr(door, name)) or getattr(door, name).__doc__, (room, name)
