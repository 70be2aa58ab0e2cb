"""The command line: exit codes, one-line errors, pure JSON. In one process, since a start costs seconds."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from jnrsfm import cli
from jnrsfm.cli import answers, complaints, parsing, verbs
from jnrsfm.errors import InputError
from jnrsfm.types import ResultCode

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.fast


@dataclasses.dataclass(frozen=True)
class Adam:
    """A nested part."""

    rate: float = 1e-3
    """Step size."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a made-up method, one of which (`camera`) fit takes itself."""

    steps: int = 100
    """Training steps."""
    sizes: tuple[int, ...] | None = None
    """Dictionary sizes."""
    robust: bool = True
    """Robust loss."""
    camera: str = "orthographic"
    adam: Adam = dataclasses.field(default_factory=Adam)

    def __post_init__(self):
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}, at least 1 is needed")


@pytest.fixture
def made_up(monkeypatch):
    """One made-up method in the registry, so that parsing is tested apart from any real method."""
    info = types.SimpleNamespace(
        name="made-up", kind="learned", summary="does nothing", cameras=("orthographic", "perspective"),
        missing=True, needs_order=False, unseen=True, source="none", config=Config, state="works",
    )  # fmt: skip
    monkeypatch.setattr("jnrsfm.methods.METHODS", {"made-up": info}, raising=False)
    monkeypatch.setattr(verbs, "DEFAULT_METHOD", "made-up")
    return info


@pytest.fixture
def verb(monkeypatch):
    """A verb `try` whose run the test supplies."""

    def install(run, **hint):
        @dataclasses.dataclass(frozen=True)
        class Try(verbs.Verb):
            """Try."""

            def run(self):
                return run()

            def resume_hint(self):
                return hint.get("hint", "")

        monkeypatch.setitem(verbs.VERBS, "try", Try)

    return install


# ---------------------------------------------------------------- parsing


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["fot"], "unknown verb 'fot': did you mean fit?: verbs are demo, fit, lift"),
        (["--jsn"], "unknown option --jsn: did you mean --json?"),
        (["info"], "missing from jnrsfm info: FILE (jnrsfm info --help)"),
        (["info", "a", "--jsn"], "unknown option --jsn: did you mean --json? (jnrsfm info --help)"),
        (["eval", "a.npz"], "missing from jnrsfm eval: REFERENCE.npz"),
        (
            ["eval", "a.npz", "b.npz", "--protocl", "kong"],
            "--protocl: did you mean --protocol? (jnrsfm eval",
        ),
        (["fit", "a.npz"], "missing from jnrsfm fit: --out RUN"),
        (["fit", "a.npz", "--out", "r", "--stepz", "3"], "unknown option --stepz: did you mean --steps?"),
        (["fit", "a.npz", "--out", "r", "--steps", "many"], "--steps is 'many': it takes INT"),
        (["fit", "a.npz", "--out", "r", "--steps=x"], "--steps is 'x': it takes INT"),
        (
            ["fit", "a.npz", "-o", "r"],
            "unknown option -o: did you mean --option or --out? (jnrsfm fit --help)",
        ),
        (["fit", "a.npz", "--out", "r", "-z"], "unknown option -z (jnrsfm fit --help)"),
        (["fit", "a.npz", "--out", "r", "--quitee"], "unknown option --quitee: did you mean --quiet?"),
        (["fit", "a.npz", "--out", "r", "--adam.rte", "1"], "did you mean --adam.rate?"),
        (["fit", "a.npz", "--out"], "--out lacks its value: it takes RUN"),
        (["convert", "a", "b", "c"], "one argument too many: 'c'"),
        (["convert", "a", "b", "c", "--json"], "one argument too many: 'c'"),
        (["fit", "a.npz", "--out", "r", "--steps", "0"], "steps is 0, at least 1 is needed"),
        (
            ["fit", "a.npz", "--out", "r", "--camera", "fisheye"],
            "--camera is 'fisheye': choose from auto, ortho",
        ),
        (["fit", "a", "--out", "r", "--camera", "perspectiv"], "did you mean perspective?"),
        (["fit", "a.npz", "--out", "r", "--method", "deep-nrsfm+++"], "unknown method 'deep-nrsfm+++'"),
        (["fit", "a.npz", "--out", "r", "--method=x"], "choose from made-up"),
        (["fit", "a.npz", "--out", "r", "--config", "no.yaml"], "no.yaml: No such file"),
        (
            ["fit", "a", "--out", "r", "--method", "made-up", "--camera", "weak-perspective"],
            "has no weak-perspective camera",
        ),
    ],
)
def test_a_bad_command_line_is_one_line_and_exit_2(refusal, made_up, argv, says):
    assert says in refusal(*argv)


@pytest.mark.parametrize("gone", [True, False])
def test_a_parser_that_tells_less_still_gives_one_line(refusal, made_up, monkeypatch, gone):
    """The hooks of tyro may move: without them, or with events of another form, the line is general."""
    from tyro import _errors

    if gone:
        monkeypatch.delattr(_errors, "on_parse_error")
    else:
        monkeypatch.setattr("jnrsfm.cli.complaints._said", lambda *_: None)
    for argv in (["convert", "a"], ["fit", "a.npz", "--out", "r", "--stepz", "3"]):
        assert f"the command line was not understood (jnrsfm {argv[0]} --help)" in refusal(*argv)


def test_hints_come_from_the_options_that_there_are(made_up):
    names = complaints.option_names(parsing._fit_with_settings(["x.npz"]))
    assert {"--steps", "--adam.rate", "--no-robust", "--out", "--drop-empty", "--json"} <= set(names)
    assert "--input" not in names


def test_settings_of_the_method_are_options_of_fit(made_up):
    options = ["--steps", "7", "--sizes", "8", "4", "--no-robust", "--adam.rate", "0.5"]
    fit = parsing.parse(["fit", "x.npz", "--out", "r", *options])
    assert isinstance(fit, verbs.Fit)
    assert fit.settings_of(made_up) == Config(7, (8, 4), False, adam=Adam(0.5))
    assert (fit.input, fit.out, fit.camera, fit.restarts, fit.seed) == (
        (Path("x.npz"),),
        Path("r"),
        "auto",
        None,
        0,
    )


def test_options_override_the_config_file(made_up, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("steps: 5\nsizes: [2, 1]\ncamera: perspective\n")
    fit = parsing.parse(["fit", "x", "--out", "r", "--config", str(path), "--sizes", "3"])
    assert fit.settings_of(made_up) == Config(5, (3,), camera="perspective")


def test_settings_of_a_run_serve_as_config_file(refusal, made_up, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("method: made-up\ncamera: perspective\nseed: 3\nconfig:\n  steps: 5\n")
    fit = parsing.parse(["fit", "x", "--out", "r", "--config", str(path)])
    assert fit.settings_of(made_up) == Config(5)
    path.write_text("method: other\nconfig: {}\n")
    own = ["fit", "x", "--out", "r", "--method", "made-up", "--config", path]
    assert "is of method other" in refusal(*own)
    assert "unknown method 'other'" in refusal("fit", "x", "--out", "r", "--config", path)


def test_a_typo_in_the_config_file_is_refused(refusal, made_up, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("stesp: 5\n")
    line = refusal("fit", "x", "--out", tmp_path / "r", "--config", path)
    assert f"{path}: no setting 'stesp': did you mean 'steps'?" in line


def test_help_shows_the_settings_with_their_defaults(capsys, made_up):
    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", "--method", "made-up", "--help"])
    assert stop.value.code == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--steps INT Training steps. (default: 100)" in out
    assert "--adam.rate FLOAT Step size. (default: 0.001)" in out
    assert out.count("Camera model; auto takes the file's") == 1


@pytest.mark.parametrize("argv", [[], ["--help"], ["--version"], ["eval", "--help"], ["demo", "-h"]])
def test_help_is_on_stdout_with_exit_0(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert "jnrsfm" in out
    assert err == ""


def test_the_command_line_starts_without_jax():
    code = (
        "import sys; from jnrsfm import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in verbs.VERBS:
        assert f" {name} " in done.stdout


# ---------------------------------------------------------------- answers and failures


def test_json_is_the_only_thing_on_stdout(capsys, verb):
    def run():
        print("a library that prints")
        warnings.warn("mind\nthis", UserWarning, stacklevel=1)
        return answers.Answer({"x": np.float32(np.nan), "y": np.arange(2), "p": Path("a")}, "text")

    verb(run)
    assert cli.main(["try", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"x": None, "y": [0, 1], "p": "a"}
    assert out.count("\n") == 1
    assert err == "a library that prints\njnrsfm: warning: mind this\n"
    assert cli.main(["try"]) == 0
    assert capsys.readouterr().out == "text\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InputError("a.npz: key 'points2d' is absent"), 2, "jnrsfm: a.npz: key 'points2d' is absent\n"),
        (InputError("two\nlines"), 2, "jnrsfm: two lines\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.npz"), 2, "jnrsfm: a.npz: No such file: check"),
        (OSError(errno.ENOSPC, "No space left on device", "run/x"), 2, "run/x: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), 1, "--debug"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "ZeroDivisionError: division by zero (a failure of ours: --d",
        ),
        (KeyboardInterrupt(), 130, "jnrsfm: interrupted; say --resume\n"),
    ],
)
def test_exit_code_and_line_of_each_kind_of_error(refusal, verb, error, code, says):
    def run():
        raise error

    verb(run, hint="; say --resume")
    assert says in refusal("try", "--json", code=code)


def test_debug_shows_the_traceback(capsys, verb):
    verb(lambda: 1 / 0)
    assert cli.main(["try", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("jnrsfm: ZeroDivisionError")


def test_a_reader_that_goes_away_is_no_error():
    code = "import sys; from jnrsfm import cli; sys.exit(cli.main(['methods']))"
    if not hasattr(os, "pipe"):
        pytest.skip("no pipes")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- verbs


def test_fit_passes_on_what_the_user_said(answer, capsys, walk, walk_files, made_up, monkeypatch):
    calls = []
    quality = {
        "items": [{"name": "bones", "value": 0.1, "unit": "fraction", "verdict": "fair", "explain": "e"}]
    }

    def fit(landmarks, **given):
        calls.append((landmarks, given))
        return types.SimpleNamespace(
            result=walk,
            quality={**quality, "warnings": []},
            code=ResultCode.CONVERGED,
        )

    api = types.ModuleType("jnrsfm.api")
    api.fit = fit
    monkeypatch.setitem(sys.modules, "jnrsfm.api", api)
    monkeypatch.setattr("jnrsfm.api", api, raising=False)
    monkeypatch.chdir(walk_files)
    argv = [
        "fit",
        "walk.npz",
        "--method",
        "made-up",
        "--out",
        "run",
        "--seed",
        "3",
        "--restarts",
        "2",
        "--steps",
        "9",
        "--quiet",
    ]
    found = answer(*argv, "--reference", "walk.npz")
    landmarks, given = calls[0]
    assert landmarks.points2d.shape == (12, 6, 2)
    assert given.pop("reference").points3d.shape == (12, 6, 3)
    assert given == {
        "method": "made-up", "camera": None, "restarts": 2, "seed": 3, "out": Path("run"), "resume": False,
        "config": Config(steps=9), "progress": False, "repair_swaps": False,
    }  # fmt: skip
    assert type(given["config"]) is Config
    assert found["quality"]["items"][0]["verdict"] == "fair"
    assert (found["frames"], found["points"], found["reflection"]) == (12, 6, "none")
    assert cli.main(argv) == 0
    out = capsys.readouterr().out
    assert "12 frames, 6 points, orthographic camera" in out
    assert "bones  fair" in out
    assert out.endswith("open run/report.html\n")


def test_frames_with_too_few_points_can_be_left_out(answer, walk_files, made_up, monkeypatch):
    landmarks = dict(np.load(walk_files / "walk.npz"))
    landmarks["visible"] = landmarks["visible"].copy()
    landmarks["visible"][3] = False
    np.savez(walk_files / "gaps.npz", **landmarks)
    answer("convert", walk_files / "gaps.npz", walk_files / "kept.npz", "--drop-empty")
    assert answer("info", walk_files / "kept.npz")["frames"] == 11


def test_methods_lists_the_registry(answer, capsys):
    from jnrsfm.methods import METHODS

    listed = answer("methods")["methods"]
    assert [m["name"] for m in listed] == list(METHODS)
    assert cli.main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(METHODS) + 1


def test_every_registered_method_shows_its_settings(capsys):
    from jnrsfm.methods import METHODS

    for name, method in METHODS.items():
        with pytest.raises(SystemExit):
            cli.main(["fit", "--method", name, "--help"])
        shown = capsys.readouterr().out
        for field in dataclasses.fields(method.config):
            assert f"--{field.name.replace('_', '-')}" in shown.replace("--no-", "--"), field.name
