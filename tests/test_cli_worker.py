"""Ctrl-C while a solver computes."""

import signal
import threading

import pytest

from jnrsfm.cli import verbs, worker

pytestmark = pytest.mark.fast


def test_an_answer_and_an_error_come_back():
    assert worker.run(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 / 0)
    assert not worker.left_behind()


def test_ctrl_c_is_heard_and_the_work_is_known_to_go_on():
    """The thread counts as alive: else the process would wait for it, or fall over it, at its end."""
    over, went_on = threading.Event(), threading.Event()

    def work():
        over.wait(60)
        went_on.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest-xdist ignore it
    timer = threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            worker.run(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert worker.left_behind()
    over.set()
    assert went_on.wait(60)
    assert worker._LEFT.pop().wait(60)


def test_going_on_is_offered_only_where_there_is_a_checkpoint(tmp_path):
    fit = verbs.Fit(input=(tmp_path / "a.npz",), out=tmp_path)
    (tmp_path / "config.yaml").touch()
    assert fit.resume_hint() == ""
    (tmp_path / "checkpoints" / "search").mkdir(parents=True)
    assert "--resume" in fit.resume_hint()
