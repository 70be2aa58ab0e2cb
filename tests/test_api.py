"""`fit`, `load`, `lift`, `write_run_report`, `demo`: the run folder, resuming, and what is refused."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from jnrsfm import api, datasets, demos, io, metrics, report, runs
from jnrsfm.by_type import ByType
from jnrsfm.config import from_plain, read_yaml
from jnrsfm.errors import Diverged, InputError
from jnrsfm.methods import METHODS, Fitted, MethodInfo
from jnrsfm.types import Cameras, Landmarks, Reconstruction, Result, ResultCode

ROOT = Path(__file__).resolve().parent.parent
TINY = {
    "method": "deep-nrsfm++",
    "update": "adam",  # compiles faster
    "steps": 6,
    "chunk": 2,
    "batch": 8,
    "sizes": (16, 8, 4),
    "restarts": 2,
    "prune_at": (),
    "progress": False,
}
FILES = {
    "config.yaml", "metrics.jsonl", "checkpoints", "landmarks.npz", "model.npz", "reconstruction.npz", "quality.json",
    "report.html", "report.png",
}  # fmt: skip


def walk(**options):
    return datasets.make(
        "walker", **({"frames": 16, "clips": 2, "camera": "orthographic", "seed": 1} | options)
    )


def arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def equal_files(a, b):
    a, b = arrays_of(a), arrays_of(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with a reference."""
    out = tmp_path_factory.mktemp("api") / "run"
    landmarks, truth = walk(missing=0.2)
    return out, landmarks, truth, api.fit(landmarks, out=out, reference=truth, **TINY)


def test_a_fit_in_a_folder_leaves_a_run_that_reads_back(run):
    out, landmarks, _, found = run
    assert {p.name for p in out.iterdir()} == FILES
    record = read_yaml(out / "config.yaml")
    assert (record["method"], record["camera"], record["seed"]) == ("deep-nrsfm++", "orthographic", 0)
    assert from_plain(record["config"], type(found.config)(), "test") == found.config
    back = io.read_reconstruction(out / "reconstruction.npz")
    for name in ("points3d", "rotations", "scale", "translations", "score"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found.reconstruction, name))
    assert back.score.shape == (16, 19)
    assert [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()] == found.history
    about = json.loads((out / "quality.json").read_text())
    assert about["quality"] == json.loads(json.dumps(found.quality))
    assert about["diagnostics"] == json.loads(json.dumps(found.diagnostics))
    assert about["code"] == found.code.value == "converged"
    again = io.read_landmarks(out / "landmarks.npz")
    np.testing.assert_array_equal(again.visible, landmarks.visible)


def test_the_model_of_a_run_lifts(run):
    out, landmarks, _, found = run
    model = api.load(out)
    a, b = api.lift(model, landmarks), found.model.lift(landmarks)
    np.testing.assert_array_equal(a.points3d, b.points3d)
    unseen = landmarks.replace(visible=np.zeros((16, 19), bool))
    for call in (lambda: api.lift(model, unseen, "new.npz"), lambda: model.lift(unseen, "new.npz")):
        with pytest.raises(InputError, match=r"^new\.npz: .*all points are missing"):
            call()
    assert model.camera == "orthographic"


def test_a_fit_in_memory_writes_nothing_and_is_the_same(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = api.fit(run[1], **TINY)
    assert list(tmp_path.iterdir()) == []
    assert found.out is None
    np.testing.assert_array_equal(found.reconstruction.points3d, run[3].reconstruction.points3d)


def test_the_report_comes_again_with_another_reference(run):
    out, _, truth, _ = run
    (out / "report.html").unlink()
    assert api.write_run_report(out) == out / "report.html"
    before = (out / "report.html").read_bytes()
    assert api.write_run_report(out, truth.flip(np.ones(16, bool))).read_bytes() != before


def test_pages_made_in_memory_and_from_the_folder_are_the_same(run):
    out, _, _, found = run
    before = (out / "report.html").read_text()
    api.write_run_report(out)
    again = (out / "report.html").read_text()
    assert len(before) == pytest.approx(len(again), rel=0.01)  # float32 on disk
    assert "one-mirror" in found.scores
    assert found.fig is not None
    assert found.contents.scene is found.contents.scene


def test_results_have_one_face(run, tmp_path):
    reconstruction = run[3].reconstruction
    path = reconstruction.save(tmp_path / "r.npz")
    back = type(reconstruction).load(path)
    np.testing.assert_array_equal(back.points3d, reconstruction.points3d)
    assert back.resolved == reconstruction.resolved
    assert set(back.resolved) == {"camera", "scale", "reflection", "reflection_margin"}
    assert reconstruction.fig.axes
    assert "matplotlib.pyplot" not in sys.modules


def test_a_run_folder_of_version_0_1_is_read(run, tmp_path):
    """`card.json` with `card` and `facts`, and no code of the result."""
    old = tmp_path / "old"
    shutil.copytree(run[0], old, ignore=shutil.ignore_patterns("report.*", "checkpoints"))
    about = json.loads((old / "quality.json").read_text())
    (old / "quality.json").unlink()
    plain = {"seconds": about["seconds"], "card": about["quality"], "facts": about["diagnostics"]}
    (old / "card.json").write_text(json.dumps(plain))
    assert api.write_run_report(old).is_file()
    read = runs.read_quality(old)
    assert (read["quality"], read["diagnostics"]) == (about["quality"], about["diagnostics"])
    assert read["code"] is ResultCode.CONVERGED
    api.load(old).lift(run[1])
    (old / "card.json").write_text(json.dumps(plain | {"code": "tired"}))
    with pytest.raises(InputError, match="code 'tired' is unknown"):
        api.write_run_report(old)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "holds another run"),
        ({"resume": True, "seed": 1}, "another seed"),
        ({"resume": True, "steps": 8}, "another steps"),
        ({"resume": True, "camera": "weak-perspective"}, "another camera"),
        ({"resume": True, "method": "rigid"}, "is a run of deep-nrsfm.*: resume with --method deep-nrsfm"),
    ],
)  # fmt: skip
def test_a_folder_of_another_run_is_left_alone(run, options, line):
    out, landmarks, _, _ = run
    before = {p: p.read_bytes() for p in out.iterdir() if p.is_file()}
    with pytest.raises(InputError, match=line) as caught:
        api.fit(landmarks, out=out, **(options if "method" in options else TINY | options))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(out))
    assert {p: p.read_bytes() for p in out.iterdir() if p.is_file()} == before


def test_other_landmarks_do_not_go_on_from_a_checkpoint(run):
    out, landmarks, _, _ = run
    seen = np.asarray(landmarks.visible)[..., None]
    same = landmarks.replace(points2d=np.where(seen, landmarks.points2d, np.nan).astype(np.float32))
    moved = landmarks.replace(points2d=np.asarray(landmarks.points2d) + np.float32(0.1))
    fewer = landmarks.select(slice(0, 12))
    for other in (moved, fewer):
        with pytest.raises(InputError, match=r"another .*points2d"):
            api.fit(other, out=out, resume=True, **TINY)
    found = api.fit(
        same, out=out, resume=True, **TINY, checkpoint_seconds=77.0
    )  # how often it saves, and what is stored for a hidden point is nothing
    np.testing.assert_array_equal(found.reconstruction.points3d, run[3].reconstruction.points3d)


@pytest.mark.slow
def test_a_run_that_diverged_goes_on_at_a_lower_rate_and_at_no_other_change(tmp_path):
    landmarks, _ = walk()
    fit = lambda rate, **options: api.fit(
        landmarks, out=tmp_path / "run", **(TINY | {"learning_rate": rate} | options)
    )
    with pytest.raises(Diverged, match="resume from step 0 with a lower learning_rate"):
        fit(1e38)
    for options in ({"rate": 1.1e38}, {"rate": 1e-3, "clip_norm": 0.5}):
        with pytest.raises(InputError, match=r"was run with another .*learning_rate"):
            fit(**options, resume=True)
    found = fit(1e-3, resume=True)
    plain = api.fit(landmarks, **(TINY | {"learning_rate": 1e-3}))  # it diverged in the first dispatch
    np.testing.assert_array_equal(found.reconstruction.points3d, plain.reconstruction.points3d)
    record = read_yaml(tmp_path / "run" / "config.yaml")
    assert (record["config"]["learning_rate"], record["learning_rates_before"]) == (1e-3, [1e38])
    with pytest.raises(InputError, match="another learning_rate"):  # nothing is left to train at it
        fit(1e-4, resume=True)
    again = fit(1e-3, resume=True)
    np.testing.assert_array_equal(again.reconstruction.points3d, plain.reconstruction.points3d)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"stepz": 3}, "no setting 'stepz': settings are minutes"),
        ({"method": "deep-nrsfm++", "stepz": 3}, "did you mean 'steps'"),
        ({"method": "deep-nrsfm++", "steps": "many"}, "'steps' is 'many'"),
        ({"restarts": 3}, "method auto has no restarts: name one that has"),
        ({"method": "deep-nrsfm"}, "unknown method 'deep-nrsfm'"),
        ({"camera": "fisheye"}, "no fisheye camera"),
        ({"config": {"steps": 3}}, "config is a dict"),
        ({"method": 3}, "method is a int: give a name"),
        ({"method": METHODS["rigid"].config(), "config": 3}, "give one of them"),
        ({"method": METHODS["rigid"].config(), "stepz": 3}, "method rigid: no setting 'stepz'"),
        ({"seed": -1}, "seed is -1"),
        ({"camera": "perspective"}, "intrinsics"),
        ({"method": "deep-nrsfm++", "batch": -1}, "batch is -1"),
    ],
)
def test_a_wrong_call_is_one_line_and_leaves_no_folder(tmp_path, options, line):
    with pytest.raises(InputError, match=line) as caught:
        api.fit(walk()[0].replace(intrinsics=None), out=tmp_path / "run", progress=False, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.fast
def test_a_reference_of_other_frames_and_a_folder_that_is_no_run(tmp_path):
    landmarks, truth = walk()
    with pytest.raises(InputError, match="the reference has"):
        api.fit(landmarks, reference=truth.select(slice(0, 5)), **TINY)
    for call in (api.load, api.write_run_report):
        with pytest.raises(InputError, match="no run folder"):
            call(tmp_path)
    with pytest.raises(InputError, match="no run folder"):
        api.fit(landmarks, out=tmp_path / "run", resume=True, **TINY)
    (tmp_path / "config.yaml").write_text("method: deep-nrsfm++\n")
    with pytest.raises(InputError, match="has not finished"):
        api.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        api.fit(landmarks, out=tmp_path / "file" / "run", **TINY)


@pytest.mark.fast
def test_a_method_is_a_name_or_its_settings():
    landmarks, _ = walk(frames=40, clips=1)
    info = METHODS["rigid"]
    a, b = api.fit(landmarks, info.config(), progress=False), api.fit(landmarks, "rigid", progress=False)
    np.testing.assert_array_equal(a.reconstruction.points3d, b.reconstruction.points3d)
    with pytest.raises(InputError, match=r"landmarks are a tuple: give Landmarks \(jnrsfm.read"):
        api.fit(walk(), info.config())


@pytest.mark.fast
def test_another_kind_of_result_is_a_registration(monkeypatch, tmp_path):
    """A method that gives what this package has never heard of: quality, panels and file are chosen by type."""

    class Blob(Result):
        n_frames = 1

        @property
        def resolved(self):
            return {"camera": "orthographic", "scale": "free", "reflection": "none"}

    blob = Blob()
    info = dataclasses.replace(
        METHODS["rigid"], name="blob", gives=Blob,
        fit=lambda *_: Fitted(blob, diagnostics={"size": 1}, code=ResultCode.STEP_LIMIT),
    )  # fmt: skip
    monkeypatch.setitem(METHODS, "blob", info)
    landmarks, _ = walk(frames=40, clips=1)
    with pytest.raises(InputError, match="a Blob has no quality checks: there is one for Reconstruction"):
        api.fit(landmarks, "blob", progress=False)
    for registry in (metrics.CHECKS, io.RESULTS, report.PANELS):
        assert isinstance(registry, ByType)
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    metrics.CHECKS.register(Blob, lambda *_, **__: {"items": [], "warnings": []})
    io.RESULTS.register(
        Blob, io.ResultFile("blob.txt", lambda path, _: runs.write_file(path, "blob"), lambda path: blob)
    )
    contents = lambda shown: f"page of {type(shown.result).__name__}: {shown.code.advice}"
    report.PANELS.register(Blob, report.Panels(lambda _: None, contents, lambda _: Figure()))
    found = api.fit(landmarks, "blob", out=tmp_path / "run", progress=False)
    assert found.result is blob
    assert found.code.advice.endswith("more `steps`.")
    assert (tmp_path / "run" / "blob.txt").read_text() == "blob"
    assert "page of Blob: The steps ran out" in (tmp_path / "run" / "report.html").read_text()
    assert api.write_run_report(tmp_path / "run").is_file()
    with pytest.raises(InputError, match=r"the result is a Blob: it stands in `\.result`"):
        _ = found.reconstruction
    with pytest.raises(ValueError, match="Blob has its file format already"):
        io.RESULTS.register(Blob, None)


@pytest.mark.fast
def test_the_camera_is_the_file_s_own_where_none_is_asked_for():
    info = METHODS["deep-nrsfm++"]
    landmarks = walk(camera="perspective")[0]
    assert api._camera(landmarks, None, info) == "perspective"
    assert api._camera(landmarks, "orthographic", info) == "orthographic"
    with pytest.warns(UserWarning, match="intrinsics and no camera is named"):
        assert api._camera(landmarks.replace(camera=None), None, info) == "orthographic"
    with pytest.warns(UserWarning, match="without intrinsics: using the weak-perspective"):
        assert api._camera(landmarks.replace(intrinsics=None), None, info) == "weak-perspective"
    with warnings.catch_warnings(), pytest.raises(InputError, match="no perspective camera"):
        api._camera(landmarks, None, dataclasses.replace(info, cameras=("orthographic",)))


@pytest.mark.slow
def test_the_demo_s_settings_are_settings(tmp_path, monkeypatch):
    info: MethodInfo = METHODS["deep-nrsfm++"]
    config = from_plain(demos.DEMO, info.config(), "demo")
    assert config.steps >= 1000
    few = {"steps": 2, "chunk": 1, "sizes": (16, 8, 4), "restarts": 1}
    monkeypatch.setattr(demos, "DEMO", demos.DEMO | few)
    made = datasets.make
    monkeypatch.setattr(datasets, "make", lambda name, **o: made(name, frames=32, clips=2, **o))
    found = demos.demo(tmp_path / "demo", progress=False)
    assert {p.name for p in (tmp_path / "demo").iterdir()} == FILES
    assert found.reconstruction.cameras.model == "perspective"
    assert found.reconstruction.n_frames == 32


@pytest.mark.slow
def test_killed_in_mid_training_and_resumed_is_the_whole_run_to_the_bit(tmp_path):
    """SIGKILL to a process of its own, from the command line; the rest of the run in this one."""
    landmarks, truth = walk(frames=48)
    io.write_landmarks(tmp_path / "walk.npz", landmarks, truth)
    options = {"steps": 120, "chunk": 5, "batch": 16, "sizes": (16, 8, 4), "restarts": 2, "prune_at": (0.5,)}
    options |= {"checkpoint_seconds": 0.0, "progress": False, "seed": 3, "method": "deep-nrsfm++"}
    command = [
        sys.executable, "-m", "jnrsfm", "fit", str(tmp_path / "walk.npz"), "--out", str(tmp_path / "cut"),
        "--steps", "120", "--chunk", "5", "--batch", "16", "--sizes", "16", "8", "4", "--restarts", "2",
        "--prune-at", "0.5", "--checkpoint-seconds", "0", "--seed", "3", "--method", "deep-nrsfm++",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    stored = tmp_path / "cut" / "checkpoints" / "search"
    until = time.monotonic() + 180
    steps = []
    while process.poll() is None and time.monotonic() < until and max(steps, default=0) < 10:
        steps = [int(p.name) for p in stored.iterdir() if p.name.isdigit()] if stored.is_dir() else []
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()[1]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "cut" / "reconstruction.npz").exists()
    recorded = (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    assert len(recorded) < 48

    landmarks = io.read_landmarks(tmp_path / "walk.npz")
    resumed = api.fit(landmarks, camera="orthographic", out=tmp_path / "cut", resume=True, **options)
    whole = api.fit(landmarks, camera="orthographic", out=tmp_path / "whole", **options)
    equal_files(tmp_path / "cut" / "reconstruction.npz", tmp_path / "whole" / "reconstruction.npz")
    equal_files(tmp_path / "cut" / "model.npz", tmp_path / "whole" / "model.npz")
    timeless = lambda rows: [
        {k: v for k, v in r.items() if k not in ("elapsed", "steps_per_s")} for r in rows
    ]
    assert timeless(resumed.history) == timeless(whole.history)
    assert jax.tree.structure(resumed.reconstruction) == jax.tree.structure(whole.reconstruction)


@pytest.mark.fast
def test_a_model_lifts_points_by_name(rng):
    """In another order they come back in that order; foreign names are one line."""
    names = tuple("abcde")

    class Model:
        camera = "orthographic"

        def lift(self, landmarks):
            points = np.asarray(landmarks.points2d)
            depth = (
                np.arange(5)[None, :, None] + 0 * points[..., :1]
            )  # a model that knows points by their place
            cameras = Cameras(np.tile(np.eye(3, dtype=np.float32), (len(points), 1, 1)))
            shape = np.concatenate([points, depth], -1).astype(np.float32)
            return Reconstruction(shape, cameras, names=landmarks.names)

        def save(self, path):
            raise AssertionError("nobody saves it")

    model = api.TrainedModel(Model(), names)
    xy = rng.normal(size=(3, 5, 2)).astype(np.float32)
    landmarks = Landmarks(xy, np.ones((3, 5), bool), names=names)
    straight = np.asarray(model.lift(landmarks).points3d)
    order = [3, 0, 4, 2, 1]
    given = landmarks.replace(points2d=xy[:, order], names=tuple(names[i] for i in order))
    lifted = model.lift(given)
    np.testing.assert_array_equal(lifted.points3d, straight[:, order])
    assert lifted.names == given.names
    visible = np.ones((3, 5), bool)
    visible[1] = False  # a frame with nothing seen comes back as from a fit
    gap = model.lift(landmarks.replace(visible=visible, sequence=np.zeros(3, np.int32)))
    np.testing.assert_allclose(gap.points3d[1], straight[[0, 2]].mean(0), atol=1e-6)
    assert not np.asarray(gap.valid3d)[1].any()
    assert gap.mirror_margin[1] == 0
    assert lifted.mirror_margin.shape == (3,)  # the model itself gives none
    with pytest.raises(
        InputError, match=r"new.npz: its points are not those of the model \(unknown: z; absent: e\)"
    ):
        model.lift(landmarks.replace(names=tuple("abcdz")), "new.npz")


@pytest.mark.fast
def test_fit_takes_an_array(rng):
    t = np.linspace(0, 2, 12)
    shape = rng.normal(size=(6, 3))
    xy = (
        np.stack([shape[:, 0] * np.cos(a) + shape[:, 2] * np.sin(a) for a in t]),
        np.tile(shape[:, 1], (12, 1)),
    )
    result = api.fit(np.stack(xy, -1), "rigid", progress=False)
    assert result.reconstruction.points3d.shape == (12, 6, 3)
    for thing, says in ((np.ones((3, 4)), "expected numbers"), ({"a": 1}, "landmarks are a dict")):
        with pytest.raises(InputError, match=says):
            api.fit(thing, "rigid")
    with pytest.raises(InputError, match="seed is None"):
        api.fit(np.stack(xy, -1), "rigid", seed=None)
