"""The record of a run and its progress line."""

import io
import json
import threading

import pytest

from jnrsfm.training import Session

pytestmark = pytest.mark.fast


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_records_are_lines_of_json_and_steps_count_on_over_phases(tmp_path):
    session = Session(tmp_path / "new" / "run")
    session.begin("one")
    session.record("one", 10, 20, {"loss": 0.5}, 100.0)
    session.record("one", 20, 20, {"loss": 0.25}, 100.0)
    session.begin("two")
    session.record("two", 5, 5, {"loss": [0.1, 0.2]}, 100.0)
    read = [json.loads(x) for x in (tmp_path / "new" / "run" / "metrics.jsonl").read_text().splitlines()]
    assert read == session.history
    assert [(r["phase"], r["phase_step"], r["step"]) for r in read] == [
        ("one", 10, 10),
        ("one", 20, 20),
        ("two", 5, 25),
    ]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = Session()
    session.begin("one")
    session.record("one", 1, 1, {"loss": 1.0}, 1.0)
    assert session.checkpoint_folder("one") is None
    assert list(tmp_path.iterdir()) == []


def test_rewinding_forgets_the_rest_of_a_phase_and_what_came_after(tmp_path):
    session = Session(tmp_path)
    for phase in ("one", "two"):
        session.begin(phase)
        for step in (1, 2, 3):
            session.record(phase, step, 3, {"loss": 1.0}, 1.0)
    session.rewind("one", 2)
    session.begin("one")
    assert [(r["phase"], r["step"]) for r in session.history] == [("one", 1), ("one", 2)]
    session.record("one", 3, 3, {"loss": 1.0}, 1.0)
    assert session.history[-1]["step"] == 3
    again = Session(tmp_path, resume=True)
    assert again.history == session.history


def test_a_line_cut_short_is_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"phase": "one", "phase_step": 1, "elapsed": 2.0}\n{"phase": "on'
    )
    assert [r["phase_step"] for r in Session(tmp_path, resume=True).history] == [1]
    assert Session(tmp_path).history == []


def test_progress_has_loss_speed_and_estimate():
    stream = Terminal()
    session = Session(progress=True, stream=stream)
    session.begin("search")
    session.record("search", 250, 1000, {"loss": [0.5, 0.125]}, 10.0)
    session.record("search", 1000, 1000, {"loss": 0.0625}, 10.0)
    first, second = stream.getvalue().split("\r\x1b[K")[1:]
    assert first == "search: step 250/1000  loss 0.1250 (best of 2)  10 steps/s  1:15 left"
    assert second == "search: step 1000/1000  loss 0.0625  10 steps/s  0:00 left\n"


def test_a_log_file_is_not_flooded():
    stream = io.StringIO()
    session = Session(progress=True, stream=stream)
    session.begin("search")
    for step in range(1, 101):
        session.record("search", step, 100, {"loss": 1.0}, 10.0)
    lines = stream.getvalue().splitlines()
    assert 1 <= len(lines) <= 2
    assert lines[-1].startswith("search: step 100/100")


def test_silent_unless_asked(capsys):
    session = Session()
    session.begin("search")
    session.record("search", 1, 1, {"loss": 1.0}, 10.0)
    session.say("hello")
    assert capsys.readouterr() == ("", "")


def test_a_thread_that_cannot_have_signals_trains_too(toy):
    found = []
    thread = threading.Thread(target=lambda: found.append(toy.train(toy.engine())))
    thread.start()
    thread.join(120)
    assert found
