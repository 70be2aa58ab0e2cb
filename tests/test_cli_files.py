"""Verbs of the command line over files: what they answer, and one line for each file that is not right."""

from pathlib import Path

import numpy as np
import pytest

from jnrsfm import cli

pytestmark = pytest.mark.fast


def test_eval_scores_under_named_protocols(answer, walk_files):
    scores = answer(
        "eval", walk_files / "perfect.npz", walk_files / "walk.npz", "--protocol", "kong", "akhter"
    )
    assert set(scores["protocols"]) == {"kong", "akhter"}
    assert scores["protocols"]["kong"]["normalized_error"] < 1e-6
    assert scores["protocols"]["akhter"]["e3d"] < 1e-6
    every = answer("eval", walk_files / "perfect.npz", walk_files / "walk.npz")
    assert {"kong", "frame-mirror", "one-mirror", "akhter", "c3dpo", "deep-nrsfm++"} <= set(
        every["protocols"]
    )


def test_eval_prints_a_table_for_people(capsys, walk_files):
    assert (
        cli.main(
            ["eval", str(walk_files / "perfect.npz"), str(walk_files / "walk.npz"), "--protocol", "kong"]
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["protocol", "metric", "value"]
    assert all(line.startswith("kong") for line in lines[1:])


def test_info_and_convert(answer, capsys, walk_files):
    before = answer("info", walk_files / "walk.npz")
    answer("convert", walk_files / "walk.npz", walk_files / "copy.npz")
    after = answer("info", walk_files / "copy.npz")
    for found in (before, after):
        found.pop("file", None)
        found.pop("path", None)
    assert before == after
    assert cli.main(["info", str(walk_files / "walk.npz")]) == 0
    text = capsys.readouterr().out
    assert "12" in text
    assert "6" in text


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["info", "none.npz"], "none.npz"),
        (["info", "."], "is a folder"),
        (["convert", "walk.npz", "walk.xyz"], "walk.xyz"),
        (["convert", "walk.npz", "none/walk.npz"], "does not exist"),
        (["eval", "none.npz", "walk.npz"], "none.npz"),
        (["eval", "perfect.npz", "walk.npz", "--protocol", "kongg"], "unknown protocol 'kongg'"),
        (["eval", "short.npz", "walk.npz"], "points"),
        (["eval", "walk.npz", "2d.npz"], "points3d"),
        (["fit", "none.npz", "--out", "run"], "none.npz: no such file"),
        (["fit", "2d.npz", "--out", "run", "--reference", "2d.npz"], "holds no 3D"),
        (["fit", "flat.npz", "--out", "run"], "flat.npz"),
        (["fit", "walk.npz", "--out", "run", "--camera", "perspective"], "intrinsics"),
        (["fit", "walk.npz", "--out", "run", "--option", "rows=blocked"], "no option 'rows'"),
        (["fit", "walk.npz", "--out", "run", "--option", "rows"], "expected KEY=VALUE"),
        (["info", "walk.npz", "--format", "nzp"], "unknown format 'nzp'"),
        (["fit", "pickle.npz", "--out", "run"], "pickle.npz"),
        (["fit", "cut.npz", "--out", "run"], "cut.npz"),
        (["fit", "walk.npz", "--out", "."], "holds another run"),
        (["fit", "walk.npz", "--out", "walk.npz"], "walk.npz"),
        (["fit", "walk.npz", "--out", "walk.npz/run"], "walk.npz"),
        (["fit", "walk.npz", "--out", "run", "--resume"], "no run folder"),
        (["fit", "walk.npz", "--out", "run", "--reference", "short.npz"], "give the same frames and points"),
        (["lift", "none", "walk.npz", "--out", "x.npz"], "none"),
        (["lift", ".", "walk.npz", "--out", "x.txt"], "is written as .npz"),
        (["lift", ".", "walk.npz", "--out", "walk.npz"], "is the input itself"),
        (["report", "none"], "none"),
    ],
)
def test_bad_files_are_one_line_and_exit_2(refusal, walk_files, monkeypatch, argv, says):
    monkeypatch.chdir(walk_files)
    walk = dict(np.load("walk.npz"))
    np.savez("2d.npz", points2d=walk["points2d"], visible=walk["visible"])
    np.savez("flat.npz", points2d=np.cumsum(np.ones((12, 6, 2)), 1))
    np.savez("pickle.npz", points2d=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    Path("cut.npz").write_bytes(Path("walk.npz").read_bytes()[:200])
    assert says in refusal(*argv)
    assert not Path("run").exists()
    assert not Path("x.npz").exists()
