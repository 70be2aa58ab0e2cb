"""What experiments do to data before a fit, and that a case runs from its file to its result."""

import importlib
import json

import numpy as np
import pytest

from experiments import degrade, harness, tables
from jnrsfm import datasets, io
from jnrsfm.config import from_plain
from jnrsfm.methods import METHODS

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def walk():
    return datasets.make("walker", frames=24, clips=3, missing=0.1, seed=1)


def test_hiding_is_of_the_share_asked_for_and_shows_nothing(walk):
    before = np.asarray(walk[0].visible)
    for share in (0.2, 0.5):
        landmarks, reference = degrade.degraded(degrade.hide_random(share, least=0))(walk)
        visible = np.asarray(landmarks.visible)
        assert reference is walk[1]
        assert not (visible & ~before).any()
        assert visible.sum() / before.sum() == pytest.approx(1 - share, abs=0.08)
        assert not np.asarray(landmarks.points2d)[~visible].any()
    few = np.asarray(degrade.degraded(degrade.hide_random(0.95, least=4))(walk)[0].visible)
    assert few.sum(1).min() >= 4
    exact = np.asarray(degrade.degraded(degrade.hide_share(0.5, least=3))(walk)[0].visible)
    np.testing.assert_array_equal(before.sum(1) - exact.sum(1), np.round(0.5 * before.sum(1)))
    assert (np.asarray(degrade.degraded(degrade.hide_share(1.0, least=3))(walk)[0].visible).sum(1) == 3).all()


@pytest.mark.parametrize("of", ["frame", "clip"])
def test_noise_is_of_the_size_asked_for_whatever_is_stored_at_hidden_points(walk, of):
    landmarks, reference = walk
    visible = np.asarray(landmarks.visible)
    elsewhere = landmarks.replace(
        points2d=np.where(visible[..., None], landmarks.points2d, np.nan).astype(np.float32)
    )
    change = degrade.degraded(degrade.noise(0.1, of))
    points, again = (np.asarray(change((x, reference))[0].points2d) for x in (landmarks, elsewhere))
    np.testing.assert_array_equal(points, again)
    moved = (points - np.asarray(landmarks.points2d))[visible]
    seen = [x[v] - x[v].mean(0) for x, v in zip(np.asarray(landmarks.points2d), visible, strict=True)]
    size = np.sqrt((np.concatenate(seen) ** 2).sum(-1).mean())
    assert np.sqrt((moved**2).mean()) == pytest.approx(0.1 * size, rel=0.1)


def test_steps_draw_in_order_from_one_generator(walk):
    both = degrade.degraded(degrade.hide_random(0.3), degrade.noise(0.1), seed=5)
    rng = np.random.default_rng(5)
    expected = degrade.noise(0.1)(degrade.hide_random(0.3)(walk[0], rng), rng)
    np.testing.assert_array_equal(both(walk)[0].points2d, expected.points2d)


def test_views_are_what_their_cameras_see(walk):
    for change, camera in ((degrade.perspective_views(3.0), "perspective"), (degrade.orbit_views, None)):
        landmarks, reference = change(walk)
        assert landmarks.camera == (camera or walk[0].camera)
        np.testing.assert_allclose(landmarks.points2d, np.asarray(reference.points2d), atol=1e-4)


def test_the_first_clips_are_fitted_and_the_rest_lifted(walk):
    seen, rest = harness.first_clips(0.7)(walk)
    sequence = np.asarray(walk[0].sequence)
    assert set(sequence[seen]).isdisjoint(sequence[rest])
    assert sorted([*seen, *rest]) == list(range(walk[0].n_frames))


def test_cases_go_from_file_to_result(walk, tmp_path, monkeypatch, capsys):
    io.write_landmarks(tmp_path / "walk.npz", walk[0], reference=walk[1])
    monkeypatch.setenv("JNRSFM_DATA", str(tmp_path))
    here = tmp_path / "experiments" / "toy"
    here.mkdir(parents=True)
    case = harness.Case("alone", "walk", "", "walk", method="rigid")
    twice = {"timed": True, "repeat": True, "score": lambda fit: harness.scored(fit) | {"noise": 0.1}}
    cases = [case, harness.Case("a", "walk", "", "walk", method="rigid", shared="several", **twice)]
    written = []
    assert harness.main([], here, cases, lambda: written.append(True)) == 0
    harness.run_all(cases[1:], here, "as I said")
    assert written
    row = json.loads((here / "results" / "alone.json").read_text())
    assert row["protocols"]["frame-mirror"]["normalized_error"] > 0
    assert tables.stored(row, "quality")["items"]
    rows = json.loads((here / "results" / "several.json").read_text())
    assert [(r["noise"], r["command"]) for r in rows] == [
        (0.1, "as I said")
    ]  # made anew, it takes its old place
    assert len(tables.load_results(tmp_path)) == 2
    capsys.readouterr()
    for arguments, said in ((["nothing"], "choose from alone, a"), (["steps=5"], "name the case")):
        assert harness.main(arguments, here, cases, lambda: None) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["deep_nrsfm_pp", "multicategory", "paul", "prn"])
def test_cases_have_names_of_their_own_and_settings_that_exist(name):
    cases = importlib.import_module(f"experiments.{name}.cases").CASES
    assert len({c.name for c in cases}) == len(cases)
    for case in cases:
        from_plain(case.overrides, METHODS[case.method].config(), case.name)
        assert case.camera in METHODS[case.method].cameras


def test_old_names_of_a_result_are_read():
    assert tables.stored({"facts": {"rank": 3}}, "diagnostics") == {"rank": 3}
    assert tables.stored({"card": None, "quality": {"a": 1}}, "quality") == {"a": 1}
    assert tables.stored({}, "quality") == {}


def test_works_leave_rows_with_what_made_them(tmp_path, capsys):
    asked = []
    works = {
        f"some_{i}": harness.Work("a set", "a setting", "pnd", lambda i=i: {"train": {"depth": i}})
        for i in (0, 3)
    }
    run = lambda *argv: harness.main_of_works(argv, tmp_path, works, lambda: asked.append(argv))
    assert run("some_3") == 0
    row = json.loads((tmp_path / "results" / "some_3.json").read_text())
    assert row["train"] == {"depth": 3}
    assert (row["seed"], row["command"]) == (3, f"python -m experiments.{tmp_path.name}.run some_3")
    assert {"device", "date", "versions", "cpu_seconds"} <= set(row)
    assert run() == 0  # what has no result yet
    assert (tmp_path / "results" / "some_0.json").is_file()
    capsys.readouterr()
    assert run("--tables") == 0
    assert capsys.readouterr().err == ""
    assert run("nonsense") == 2
    assert "unknown case 'nonsense'" in capsys.readouterr().err
    assert asked == [("some_3",), (), ("--tables",)]


def test_sets_are_pooled_with_clips_of_their_own():
    parts = [
        datasets.make("walker", frames=12, clips=2, camera="weak-perspective", seed=seed) for seed in (1, 2)
    ]
    landmarks, reference = harness.pooled(parts)
    np.testing.assert_array_equal(landmarks.sequence, np.repeat(np.arange(4), 6))
    np.testing.assert_array_equal(reference.sequence, landmarks.sequence)
    for k, (own, truth) in enumerate(parts):
        half = slice(12 * k, 12 * k + 12)
        np.testing.assert_array_equal(landmarks.points2d[half], own.points2d)
        np.testing.assert_allclose(reference.camera_points[half], truth.camera_points, rtol=1e-5)
