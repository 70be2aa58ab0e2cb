"""Nothing is lost: stopped, struck or cut short, a run goes on as if it had not been."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.training import Session
from jnrsfm.training.checkpoints import Checkpoints

# Two phases, the first pruned at step 12 of 24; a checkpoint after every dispatch.
SETTINGS = {"restarts": 4, "prune_at": (0.5,), "checkpoint_seconds": 0.0}


def run(toy, session, **settings):
    engine = toy.engine(session, **(SETTINGS | settings))
    first = toy.train(engine, name="one")
    return toy.train(engine, jax.random.key(5), name="two", steps=12, start=first.alive)


def same(a, b):
    assert a.restarts == b.restarts
    assert a.criteria == b.criteria
    for x, y in zip(jax.tree.leaves(a.alive), jax.tree.leaves(b.alive), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def rows(folder):
    """The record on disk without its times."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in ("elapsed", "steps_per_s")} for r in records]


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """The run that nothing interrupts: its answer and its record."""
    folder = tmp_path_factory.mktemp("whole")
    found = run(toy, Session(folder))
    return found, rows(folder)


@pytest.mark.fast
@pytest.mark.first
@pytest.mark.parametrize(
    "after", [1, 3, 4, 6, 8]
)  # before, at and past the pruning; end of a phase; the second
def test_stopped_and_resumed_is_the_whole_run_to_the_bit(toy, whole, stopping, tmp_path, after):
    with pytest.raises(KeyboardInterrupt):
        run(toy, stopping(tmp_path, after))
    assert len(rows(tmp_path)) == after
    found = run(toy, Session(tmp_path, resume=True))
    same(found, whole[0])
    assert rows(tmp_path) == whole[1]


def test_stopped_again_and_again(toy, whole, stopping, tmp_path):
    for resume in (False, True, True):
        with pytest.raises(KeyboardInterrupt):
            run(toy, stopping(tmp_path, 2, resume=resume))
    session = Session(tmp_path, resume=True)
    same(run(toy, session), whole[0])
    assert rows(tmp_path) == whole[1]
    elapsed = [r["elapsed"] for r in session.history]
    assert elapsed == sorted(elapsed)


@pytest.mark.parametrize(("after", "seconds"), [(3, 1e9), (5, 0.0), (8, 1e9)])
def test_struck_without_warning(toy, whole, stopping, tmp_path, after, seconds):
    """An error in mid-run, with and without a checkpoint since: what was recorded beyond it is not kept
    twice."""
    with pytest.raises(RuntimeError, match="power cut"):
        run(toy, stopping(tmp_path, after, RuntimeError("power cut")), checkpoint_seconds=seconds)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "one", "st')  # as a crash leaves it
    same(run(toy, Session(tmp_path, resume=True)), whole[0])
    assert rows(tmp_path) == whole[1]


def test_a_finished_run_resumed_is_the_same_run(toy, whole, tmp_path):
    run(toy, Session(tmp_path))
    same(run(toy, Session(tmp_path, resume=True)), whole[0])
    assert rows(tmp_path) == whole[1]


@pytest.mark.fast
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_a_checkpoint(toy, whole, tmp_path, capsys, number):
    class Signalled(Session):
        def record(self, *args, **kwargs):
            super().record(*args, **kwargs)
            if len(self.history) == 2:
                signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run(toy, Signalled(tmp_path, progress=True), checkpoint_seconds=1e9)
    assert signal.getsignal(number) is before
    assert "stopping after this dispatch" in capsys.readouterr().err
    assert [r["phase_step"] for r in rows(tmp_path)] == [4, 8]
    same(run(toy, Session(tmp_path, resume=True)), whole[0])


def test_a_second_signal_stops_at_once():
    session = Session()
    with session.interruptible():
        signal.raise_signal(signal.SIGINT)
        assert session.stop_requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


# ------------------------------------------------------------------------------------------ damage


def stored(folder):
    """Checkpoints of the first phase by step, the last two."""
    return sorted(
        (p for p in (folder / "checkpoints" / "one").iterdir() if p.name.isdigit()), key=lambda p: int(p.name)
    )


@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_damaged_checkpoint_is_one_line_and_the_one_before_serves(toy, whole, stopping, tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        run(toy, stopping(tmp_path, 4))
    before, last = stored(tmp_path)
    assert (before.name, last.name) == ("12", "16")
    for path in [p for p in last.rglob("*") if p.is_file()]:
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "cut" else 0])
    with pytest.raises(InputError) as caught:
        run(toy, Session(tmp_path, resume=True))
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(last))
    assert "delete that folder" in line
    shutil.rmtree(last)
    same(run(toy, Session(tmp_path, resume=True)), whole[0])
    assert rows(tmp_path) == whole[1]


def test_a_checkpoint_of_another_network_is_refused(toy, stopping, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(toy, stopping(tmp_path, 2))
    other = toy.problem._replace(
        init=lambda key: ({**toy.problem.init(key)[0], "more": jax.random.normal(key)}, {})
    )
    with pytest.raises(InputError, match="belongs to other settings"):
        toy.train(toy.engine(Session(tmp_path, resume=True), problem=other, **SETTINGS), name="one")


def test_checkpoints_keep_the_last_two_and_the_values_to_the_bit(tmp_path):
    state = {"a": np.float32([np.pi, 1e-38, -0.0]), "b": (np.int32([7]), np.float64(np.e))}
    writer = Checkpoints(tmp_path / "phase")
    assert writer.restore(state) is None
    for step in (1, 2, 3):
        writer.save(step, jax.tree.map(lambda x, k=step: x * k, state))
    writer.save(3, jax.tree.map(np.zeros_like, state))  # what is written stays
    writer.close()
    assert sorted(p.name for p in (tmp_path / "phase").iterdir() if p.name.isdigit()) == ["2", "3"]
    reader = Checkpoints(tmp_path / "phase")
    step, found = reader.restore(state)
    reader.close()
    assert step == 3
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
        assert x.dtype == np.asarray(y).dtype
        assert x.tobytes() == np.asarray(y * 3).tobytes()


def test_no_room_for_a_checkpoint_is_one_line(toy, tmp_path, monkeypatch):
    from orbax.checkpoint import CheckpointManager

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CheckpointManager, "save", full)
    with pytest.raises(InputError, match=r"checkpoints.one: cannot write a checkpoint \(No space left"):
        run(toy, Session(tmp_path))
