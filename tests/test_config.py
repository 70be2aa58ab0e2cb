"""Settings on disk: what is written comes back, and a typo or a wrong type is refused in one line."""

import dataclasses
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jnrsfm.config import from_plain, read_yaml, to_yaml
from jnrsfm.errors import InputError

pytestmark = pytest.mark.fast


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 1e-3
    warm: int | None = None


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = 100
    sizes: tuple[int, ...] | None = None
    window: tuple[float, int] = (0.5, 3)
    loss: Literal["l1", "l2"] = "l2"
    robust: bool = False
    note: str = ""
    folder: Path | None = None
    optimizer: Inner = dataclasses.field(default_factory=Inner)

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError("steps must be at least 1")


configs = st.builds(
    Config,
    steps=st.integers(1, 10**9),
    sizes=st.none() | st.lists(st.integers(1, 512), max_size=4).map(tuple),
    window=st.tuples(st.floats(allow_nan=False), st.integers(-5, 5)),
    loss=st.sampled_from(["l1", "l2"]),
    robust=st.booleans(),
    note=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    folder=st.none() | st.just(Path("a/b")),
    optimizer=st.builds(Inner, rate=st.floats(1e-9, 1e9), warm=st.none() | st.integers(0, 9)),
)


@given(configs)
def test_what_is_written_comes_back(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(to_yaml(config))
    assert from_plain(read_yaml(path), Config(), str(path)) == config


def test_unnamed_settings_keep_the_default():
    default = Config(steps=7, optimizer=Inner(warm=4))
    read = from_plain({"optimizer": {"rate": 2}}, default, "c.yaml")
    assert read == Config(steps=7, optimizer=Inner(rate=2.0, warm=4))
    assert isinstance(read.optimizer.rate, float)


def test_a_number_without_a_dot_is_a_number(tmp_path):
    (tmp_path / "c.yaml").write_text("rate: 1e-3\n")
    assert from_plain(read_yaml(tmp_path / "c.yaml"), Inner(), "c").rate == 1e-3


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ({"stesp": 3}, "c.yaml: no setting 'stesp': did you mean 'steps'?"),
        ({"zzz": 3}, "settings are steps, sizes"),
        ({"steps": "many"}, "c.yaml: setting 'steps' is 'many': it must be int"),
        ({"steps": 2.5}, "it must be int"),
        ({"steps": True}, "it must be int"),
        ({"sizes": [1, "b"]}, "tuple[int, ...] | None"),
        ({"window": [1.0]}, "setting 'window' is [1.0]"),
        ({"loss": "l3"}, "Literal['l1', 'l2']"),
        ({"robust": 1}, "it must be bool"),
        ({"optimizer": 3}, "setting 'optimizer' is 3"),
        ({"optimizer": {"rat": 1.0}}, "c.yaml: optimizer: no setting 'rat': did you mean 'rate'?"),
        ({"steps": 0}, "c.yaml: steps must be at least 1"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(plain, says):
    with pytest.raises(InputError) as error:
        from_plain(plain, Config(), "c.yaml")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"a: [1, 2\n", "line 2: not YAML"),
        (b"- 1\n- 2\n", "holds a list"),
        (b"\xff\xfe\x00\x01", "not a text file"),
        (b"!!python/object/apply:os.system ['exit 3']\n", "not YAML"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "c.yaml").touch()
    assert read_yaml(tmp_path / "c.yaml") == {}
