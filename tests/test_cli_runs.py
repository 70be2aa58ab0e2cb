"""A run from the command line, end to end: fit, resume, lift, eval, report, and what can go wrong with it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jnrsfm import cli, datasets, io

ROOT = Path(__file__).resolve().parent.parent
# compiles fast
NETWORK = ["--method", "deep-nrsfm++", "--update", "adam", "--sizes", "16", "8", "4", "--restarts", "1"]
SMALL = [*NETWORK, "--steps", "40", "--quiet"]


def run(*argv) -> int:
    return cli.main([str(a) for a in argv])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A generated walk, half of it to fit and half to lift, and a finished run on the first half."""
    folder = tmp_path_factory.mktemp("runs")
    landmarks, truth = datasets.make("walker", frames=96, camera="orthographic", seed=1)
    first, second = np.arange(64), np.arange(64, 96)
    for name, part in (("first", first), ("second", second)):
        io.write_landmarks(folder / f"{name}.npz", landmarks.select(part), truth.select(part))
    code = run(
        "fit", folder / "first.npz", "--out", folder / "run", "--reference", folder / "first.npz", *SMALL
    )
    assert code == 0
    return folder


def test_a_run_leaves_what_the_files_page_says(files):
    left = {p.name + "/" * p.is_dir() for p in (files / "run").iterdir()}
    page = (ROOT / "docs" / "files.md").read_text().partition("## What a run leaves")[2]
    named = {name for line in page.splitlines() if line.startswith("| `") for name in line.split("`")[1:4:2]}
    assert left == {name for name in named if "." in name or "/" in name}
    rows = [json.loads(line) for line in (files / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows
    assert all(np.all(np.isfinite(row["loss"])) for row in rows)
    reconstruction = io.read_reconstruction(files / "run" / "reconstruction.npz")
    assert reconstruction.points3d.shape == (64, 19, 3)
    assert "<html" in (files / "run" / "report.html").read_text()[:500].lower()


def test_json_of_a_fit_is_one_object_with_the_quality_report(answer, files, tmp_path):
    found = answer("fit", files / "first.npz", "--out", tmp_path / "run", *SMALL)
    assert found["method"] == "deep-nrsfm++"
    assert (found["frames"], found["points"], found["camera"]) == (64, 19, "orthographic")
    assert {item["verdict"] for item in found["quality"]["items"]} <= {"good", "fair", "poor", "unknown"}
    # The same seed and settings give the same answer, whatever was printed or compared with.
    a, b = (io.read_reconstruction(p / "run" / "reconstruction.npz") for p in (files, tmp_path))
    np.testing.assert_array_equal(a.points3d, b.points3d)


def test_lift_and_eval(answer, files, tmp_path):
    out = tmp_path / "lifted.npz"
    found = answer("lift", files / "run", files / "second.npz", "--out", out)
    assert (found["frames"], found["points"]) == (32, 19)
    scores = answer("eval", out, files / "second.npz", "--protocol", "frame-mirror", "one-mirror")
    assert set(scores["protocols"]) == {"frame-mirror", "one-mirror"}
    frame, one = (scores["protocols"][p]["normalized_error"] for p in ("frame-mirror", "one-mirror"))
    assert 0 < frame <= one + 1e-9


def test_report_writes_the_page_again(answer, files):
    page = files / "run" / "report.html"
    page.unlink()
    found = answer("report", files / "run")
    assert Path(found["report"]).name == "report.html"
    assert page.is_file()


def test_a_run_starts_from_the_settings_of_another(answer, files, tmp_path):
    config = files / "run" / "config.yaml"
    found = answer("fit", files / "first.npz", "--out", tmp_path / "run", "--config", config, "--quiet")
    assert found["frames"] == 64
    a, b = (io.read_reconstruction(p / "run" / "reconstruction.npz") for p in (files, tmp_path))
    np.testing.assert_array_equal(a.points3d, b.points3d)


def test_a_folder_that_holds_another_run_is_left_alone(refusal, files):
    before = (files / "run" / "reconstruction.npz").read_bytes()
    line = refusal("fit", files / "first.npz", "--out", files / "run", *SMALL)
    assert "holds another run" in line
    assert (files / "run" / "reconstruction.npz").read_bytes() == before


def test_a_folder_of_photographs_asks_for_a_method(refusal, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "photos").mkdir()
    image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    line = refusal("fit", tmp_path / "photos", "--out", tmp_path / "run")
    assert "holds images, and auto takes landmarks: --method, one of student," in line
    assert not (tmp_path / "run").exists()


def test_lift_refuses_other_points(refusal, files, tmp_path):
    landmarks = io.read_landmarks(files / "second.npz")
    fewer = landmarks.replace(
        points2d=landmarks.points2d[:, 1:], visible=landmarks.visible[:, 1:], names=None, edges=None,
        symmetric=None, confidence=None, defined=None,
    )  # fmt: skip
    io.write_landmarks(tmp_path / "fewer.npz", fewer)
    line = refusal("lift", files / "run", tmp_path / "fewer.npz", "--out", tmp_path / "x.npz")
    assert "18" in line
    assert "19" in line
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.parametrize("cut", ["checkpoints", "model.npz"])
def test_a_truncated_checkpoint_or_model_is_refused(refusal, files, tmp_path, cut):
    broken = tmp_path / "run"
    shutil.copytree(files / "run", broken)
    part = broken / cut
    stored = [part] if part.is_file() else [p for p in part.rglob("*") if p.is_file()]
    assert stored
    for path in stored:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if cut == "checkpoints":
        line = refusal("fit", files / "first.npz", "--out", broken, "--resume", *SMALL)
        assert "checkpoint" in line
    else:
        line = refusal("lift", broken, files / "second.npz", "--out", tmp_path / "x.npz")
        assert not (tmp_path / "x.npz").exists()
    assert str(broken) in line


@pytest.mark.slow
def test_ctrl_c_stops_with_130_and_resume_finishes(files, tmp_path):
    """Interrupted by a signal in a process of its own, then gone on with in another."""
    out = tmp_path / "run"
    command = [
        sys.executable, "-m", "jnrsfm", "fit", str(files / "first.npz"), "--out", str(out), *NETWORK,
        "--steps", "2000", "--chunk", "50",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = out / "metrics.jsonl"
    until = time.monotonic() + 300
    while not (log.is_file() and log.stat().st_size) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert printed == ""
    assert err.splitlines()[-1].startswith("jnrsfm: interrupted")
    assert "--resume" in err.splitlines()[-1]
    done = subprocess.run(
        [*command, "--resume", "--quiet", "--json"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 64
    assert (out / "report.html").is_file()
