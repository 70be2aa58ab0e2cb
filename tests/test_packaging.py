"""The Dockerfile and the conda recipe say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import jnrsfm

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(lines) -> dict[str, str]:
    """Name and lower bound, `matplotlib-base` being conda's matplotlib."""
    found = dict(re.fullmatch(r"([\w-]+) ?>=([\d.]+)", line).groups() for line in lines)
    return {name.removesuffix("-base"): least for name, least in found.items()}


def test_conda_asks_for_what_pip_asks_for(project):
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text())
    assert recipe["context"]["version"] == project["version"] == jnrsfm.__version__
    extras = project["optional-dependencies"]
    want = pins([*project["dependencies"], *extras["viz"], *extras["files"]])
    want["python"] = project["requires-python"].removeprefix(">=")
    assert pins(recipe["requirements"]["run"]) == want
    entry = recipe["build"]["python"]["entry_points"]
    assert entry == [f"{name} = {place}" for name, place in project["scripts"].items()]
    assert recipe["about"]["license"] == project["license"]


def test_docker_copies_what_it_installs(project):
    """Each copied path is there and not ignored; the extras exist; it does not run as root."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert [word for word, _ in steps] == [
        "FROM",
        "ENV",
        "COPY",
        "COPY",
        "RUN",
        "RUN",
        "USER",
        "WORKDIR",
        "ENTRYPOINT",
    ]
    copied = [name for word, rest in steps if word == "COPY" for name in rest.split()[:-1]]
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / name).exists() for name in copied)
    extras = re.search(r"/src\[([\w,]+)\]", " ".join(lines)).group(1).split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    assert steps[0][1].partition(":")[2] >= f"{project['requires-python'].removeprefix('>=')}"
    assert steps[-1][1] == '["jnrsfm"]'
