"""What the pages say is so: tables are what the sources give, links and commands exist, the example runs."""

import ast
import doctest
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "experiments" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_readme_are_what_the_sources_give(tables):
    text = (ROOT / "README.md").read_text()
    assert tables.build(text) == text, "run make tables"


def test_results_go_from_file_to_table(tables, tmp_path):
    folder = tmp_path / "experiments" / "a" / "results"
    folder.mkdir(parents=True)
    row = {
        "set": "walk", "setting": "30 % missing", "method": "m", "camera": "orthographic", "seconds": 90,
        "device": "2 CPU cores", "headline": True,
        "protocols": {
            "frame-mirror": {"normalized_error": 0.0312},
            "one-mirror": {"normalized_error": 0.0333, "handedness": 0.98765},
            "deep-nrsfm++": {"normalized_error": 0.0301},
        },
    }  # fmt: skip
    (folder / "b.json").write_text(json.dumps([row, {**row, "headline": False, "set": "hidden"}]))
    (folder / "c.json").write_text(json.dumps({**row, "set": "run", "protocols": {}}))
    rows = tables.load_results(tmp_path)
    assert [r["set"] for r in rows] == ["walk", "hidden", "run"]
    lines = tables.results_table(rows).splitlines()
    assert (
        lines[2]
        == "| walk | 30 % missing | m, orthographic | 3.1 % | 3.3 % | 0.988 | 3.0 % | 1.5 min, 2 CPU cores |"
    )
    free = tables.results_table([{**row, "scale_free": True}]).splitlines()
    assert free[2] == "| walk | 30 % missing | m, orthographic |  |  |  | 3.0 % | 1.5 min, 2 CPU cores |"
    assert lines[3].startswith("| run | 30 % missing | m, orthographic |  |  |  |")
    assert len(lines) == 4
    (folder / "d.json").write_text(json.dumps({"set": "walk"}))
    with pytest.raises(ValueError, match=r"d\.json: a row has no setting, method"):
        tables.load_results(tmp_path)


def test_only_what_stands_between_the_markers_is_replaced(tables):
    text = "a\n<!-- x:begin (why) -->\nold\n<!-- x:end -->\nb\n"
    assert tables.replace_between(text, "x", "new") == text.replace("old", "new")
    with pytest.raises(ValueError, match="markers"):
        tables.replace_between(text, "y", "new")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_make_targets_named_on_the_pages_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = set(re.findall(r"^    make ([a-z-]+)", page.read_text(), re.M))
        named |= set(re.findall(r"`make ([a-z-]+)", page.read_text()))
        assert named <= targets, f"{page.name}: {named - targets}"


def test_verbs_named_on_the_pages_exist():
    from jnrsfm.cli.verbs import VERBS

    for page in PAGES:
        named = set(re.findall(r"(?:^    |`)jnrsfm ([a-z]+)", page.read_text(), re.M))
        assert named <= set(VERBS), f"{page.name}: {named - set(VERBS)}"


def test_every_protocol_is_on_the_conventions_page():
    from jnrsfm.metrics import PROTOCOLS

    text = (ROOT / "docs" / "conventions.md").read_text()
    for name, protocol in PROTOCOLS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert all(f"`{metric}`" in row for metric in protocol.metrics), row


def test_the_worked_point_of_the_conventions_page():
    import numpy as np

    from jnrsfm.types import Cameras

    k = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    camera = Cameras(np.eye(3)[None], np.array([[0.0, 0, 4]]), intrinsics=k, model="perspective")
    np.testing.assert_allclose(camera.project(np.array([[[1.0, -1, 1]]])), [[[420, 140]]])


def test_the_example_of_the_files_page_runs_and_is_readable(tmp_path, monkeypatch):
    from jnrsfm import io

    text = (ROOT / "docs" / "files.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", text, re.S).group(1), {})
    landmarks = io.read_landmarks("my_landmarks.npz")
    assert landmarks.points2d.shape == (100, 17, 2)
    assert not landmarks.visible[3, 5]
    assert landmarks.visible.sum() == 100 * 17 - 1


def test_every_key_of_the_npz_reader_is_on_the_files_page():
    from jnrsfm.io import schema

    text = (ROOT / "docs" / "files.md").read_text()
    internal = {"rotations_fit", "scale_fit", "category_order"}  # of the development data only
    for key in set(schema.KEYS) - internal:
        assert f"`{key}`" in text, key


def test_every_check_of_the_quality_report_is_on_the_quality_page():
    from jnrsfm.metrics.quality_report import THRESHOLDS

    text = (ROOT / "docs" / "quality.md").read_text()
    parts = {"held_out_against_baseline"}  # a way to judge held_out_reprojection
    for name in {*THRESHOLDS, "depth_over_width"} - parts:
        assert f"| `{name}` |" in text, name


def test_the_commands_of_the_start_page_are_five_and_parse():
    from jnrsfm.cli.parsing import parse

    text = (ROOT / "docs" / "start.md").read_text()
    commands = re.findall(r"^    (\S.*)$", text[: text.index("##")], re.M)
    assert len(commands) <= 5
    for command in commands:
        words = command.split()
        if words[0] == "jnrsfm":
            parse(words[1:])
        else:
            assert words[:2] == ["pip", "install"]


def test_the_file_of_the_start_page_is_read_with_its_skeleton(tmp_path):
    import jnrsfm
    from jnrsfm import demos

    files = demos.write_walk(tmp_path / "walkDLC.csv")
    landmarks = jnrsfm.read(files[0], skeleton=str(files[1]))
    assert landmarks.names[:2] == ("pelvis", "spine")
    assert len(landmarks.edges) == 18
    assert 0.7 < landmarks.visible.mean() < 0.9


def test_every_page_is_on_the_site():
    folder = ROOT / "docs"
    listed = {"index.md"}
    for page in folder.rglob("*.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.S):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / f"{name}.md").relative_to(folder).as_posix() for name in names}
    pages = {p.relative_to(folder).as_posix() for p in folder.rglob("*.md")}
    assert not pages - listed


def _documented_examples():
    """Docstrings with examples: `(module, name, text, path)`. Read from the sources, for a wrapper for checks of types
    would hide them."""
    for path in sorted((ROOT / "jnrsfm").rglob("*.py")):
        source = path.read_text()
        if ">>> " not in source:
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node) or ""
                if ">>> " in text:
                    yield name, getattr(node, "name", name), text, path


def test_examples_in_docstrings_give_what_they_say():
    parser, runner, said = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), []
    examples = list(_documented_examples())
    assert len(examples) >= 10
    for module, name, text, path in examples:
        names = dict(vars(importlib.import_module(module)))
        runner.run(parser.get_doctest(text, names, name, str(path), 0), out=said.append)
    assert not runner.failures, "".join(said)


def test_every_method_has_a_page_and_every_example_a_place():
    from jnrsfm.methods import METHODS

    methods = (ROOT / "docs" / "methods" / "index.md").read_text()
    for name in METHODS:
        page = f"{name.replace('++', '_pp').replace('-', '_')}.md"
        title = (ROOT / "docs" / "methods" / page).read_text().splitlines()[0]
        assert title.startswith(f"# `{name}`: ")
        assert f"[`{name}`]({page})" in methods
    gallery = (ROOT / "docs" / "_ext" / "gallery.py").read_text()
    order = ast.literal_eval(re.search(r"^ORDER = (\(.*?\))", gallery, re.M | re.S).group(1))
    assert sorted(order) == sorted(p.stem for p in (ROOT / "docs" / "examples").glob("*.py"))


def test_the_figures_of_the_page_on_what_works_have_a_source():
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "_ext" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    named = set(re.findall(r"\{\{ (\w+) \}\}", (ROOT / "docs" / "what_works.md").read_text()))
    assert named == set(module.figures())
