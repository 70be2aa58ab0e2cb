"""The engine on linear regression: keys, restarts, pruning, selection, divergence, batches, compiles."""

import json
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.errors import Diverged, InputError
from jnrsfm.training import (
    Engine,
    Mean,
    Phase,
    Problem,
    Resident,
    Session,
    TrainConfig,
    TrainState,
    stacked,
)

ROOT = Path(__file__).resolve().parents[2]


def leaves_equal(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def of_restart(found, number):
    place = found.restarts.index(number)
    return jax.tree.map(lambda x: x[place], found.alive[0])


@pytest.mark.fast
def test_it_learns_and_says_what_it_did(toy):
    session = Session()
    found = toy.train(toy.engine(session, steps=300, chunk=50, batch=32))
    # Inputs dropped with probability 0.2 shrink the least-squares weights; the direction stays.
    w = np.asarray(found.params["w"])
    assert np.dot(w, [1, -2, 0.5]) / np.linalg.norm(w) / np.linalg.norm([1, -2, 0.5]) > 0.99
    assert [r["phase_step"] for r in session.history] == [50, 100, 150, 200, 250, 300]
    assert session.history[-1]["loss"] < session.history[0]["loss"]
    assert session.history[0]["progress"] == pytest.approx(np.arange(50).mean() / 300, rel=1e-4)
    assert found.criteria[0]["objective"] == pytest.approx(toy.criteria(found.params)["objective"], rel=1e-5)


def test_the_record_is_the_mean_over_the_dispatch_and_chunks_change_nothing(toy):
    single, several = Session(), Session()
    a = toy.train(toy.engine(single, chunk=1, steps=10))
    b = toy.train(toy.engine(several, chunk=4, steps=10))
    leaves_equal(a.params, b.params)
    losses = [r["loss"] for r in single.history]
    means = [np.mean(losses[:4]), np.mean(losses[4:8]), np.mean(losses[8:])]
    np.testing.assert_allclose([r["loss"] for r in several.history], means, rtol=1e-4)
    assert [r["phase_step"] for r in several.history] == [4, 8, 10]


def test_seeds_differ_and_repeat(toy):
    one, same = (toy.train(toy.engine(restarts=2)) for _ in range(2))
    other = toy.train(toy.engine(restarts=2), jax.random.key(4))
    leaves_equal(one.alive[0], same.alive[0])
    marks = np.concatenate([np.asarray(r.alive[0]["mark"]) for r in (one, other)])
    assert len(np.unique(marks)) == 4


@pytest.mark.fast
def test_a_restart_alone_is_the_same_restart_among_others(toy):
    together = toy.train(toy.engine(restarts=3, layout="map"))
    engine = toy.engine(layout="map")
    for number in range(3):
        params = stacked(toy.problem.init(jax.random.fold_in(toy.key, number))[0])
        state = TrainState(params, {}, jax.vmap(engine.optimizer.init)(params), jnp.zeros(1, jnp.int32))
        source = Resident(toy.data, engine.config.batch)
        after, _ = engine.dispatch(state, jnp.array([number]), source, toy.data, toy.key, 0, 24, 24)
        leaves_equal(jax.tree.map(lambda x: x[0], after.params), of_restart(together, number))


def test_restarts_side_by_side_are_those_in_turn_to_rounding(toy):
    in_turn, side = (toy.train(toy.engine(restarts=3, layout=how)) for how in ("map", "vmap"))
    assert side.restarts == in_turn.restarts
    for a, b in zip(jax.tree.leaves(in_turn.alive[0]), jax.tree.leaves(side.alive[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("select", ["objective", "heldout"])
def test_the_restart_with_the_lowest_criterion_is_chosen(toy, select):
    found = toy.train(toy.engine(restarts=4, select=select))
    values = [c[select] for c in found.criteria]
    assert values == sorted(values)
    assert sorted(found.restarts) == [0, 1, 2, 3]
    for i, item in enumerate(found.criteria):
        params = jax.tree.map(lambda x, i=i: x[i], found.alive[0])
        assert toy.criteria(params)[select] == pytest.approx(item[select], rel=1e-5)
    leaves_equal(found.params, jax.tree.map(lambda x: x[0], found.alive[0]))
    if select == "heldout":  # the marks are fixed by the seeds
        marks = [toy.problem.init(jax.random.fold_in(toy.key, r))[0]["mark"] for r in range(4)]
        assert found.restarts[0] == int(np.argmin(np.abs(np.asarray(marks) - 0.5)))


def test_a_criterion_that_is_not_finite_comes_last(toy):
    def criteria(params, model_state, batch, hyper):
        worst = params["mark"] == jnp.float32(marks.min())
        ones = jnp.ones(len(batch["y"]))
        return {"objective": (jnp.where(worst, jnp.nan, params["mark"]) * ones, ones)}

    marks = np.array([toy.problem.init(jax.random.fold_in(toy.key, r))[0]["mark"] for r in range(3)])
    problem = toy.problem._replace(criteria=criteria)
    found = toy.train(toy.engine(problem=problem, restarts=3))
    assert found.restarts[-1] == int(np.argmin(marks))
    assert found.restarts[0] == int(np.argsort(marks)[1])


def test_pruning_keeps_the_better_half(toy):
    half = toy.train(toy.engine(restarts=4, steps=12))  # constant rate: the same first 12 steps
    session = Session()
    found = toy.train(toy.engine(session, restarts=4, prune_at=(0.5,)))
    assert set(found.restarts) == set(half.restarts[:2])
    rows = [r["restart"] for r in session.history]
    assert rows == [[0, 1, 2, 3]] * 3 + [sorted(half.restarts[:2])] * 3
    assert all(len(r["loss"]) == len(r["restart"]) for r in session.history)
    # Those that stay go on as if the others had never been.
    whole = toy.train(toy.engine(restarts=4))
    leaves_equal(found.params, of_restart(whole, found.restarts[0]))


def test_two_prunings_that_fall_on_one_dispatch_both_count(toy):
    found = toy.train(toy.engine(restarts=5, prune_at=(0.05, 0.1)))  # both at step 4 of 24
    assert len(found.restarts) == 2


def test_a_phase_that_starts_from_others_keeps_them_all(toy):
    engine = toy.engine(restarts=4, prune_at=(0.5,))
    first = toy.train(engine, name="a")
    second = toy.train(engine, name="b", steps=8, start=first.alive)
    assert len(second.restarts) == len(first.restarts) == 2
    assert not np.array_equal(first.params["w"], second.params["w"])
    steps = [(r["phase"], r["phase_step"], r["step"]) for r in engine.session.history]
    assert steps[-2:] == [("b", 4, 28), ("b", 8, 32)]


def test_one_trace_serves_all_phases_restarts_lengths_and_hypers(toy):
    """Another key, another length, other data of the same shape, other numbers of the phase: nothing compiles anew."""

    @chex.assert_max_traces(n=3)  # of the shapes, of the zeros of the metrics, and the program itself
    def objective(params, model_state, batch, key, hyper):
        loss, rest = toy.problem.objective(params, model_state, batch, key, hyper)
        return hyper["weight"] * loss, rest

    chex.clear_trace_counter()
    engine = toy.engine(problem=toy.problem._replace(objective=objective), restarts=3, layout="map")
    source = Resident(toy.data, engine.config.batch)
    first = engine.train(Phase("a", 10, source, {"weight": 1.0}), toy.key)  # with a short last dispatch
    changed = Resident({"x": toy.data["x"] + 1, "y": toy.data["y"]}, engine.config.batch)
    engine.train(Phase("b", 7, changed, {"weight": 0.5}, start=first.alive), jax.random.key(9))


def test_the_numbers_of_a_phase_reach_the_objective(toy):
    def objective(params, model_state, batch, key, hyper):
        loss, (_, state) = toy.problem.objective(params, model_state, batch, key, hyper)
        return loss, ({"weight": hyper["weight"]}, state)

    session = Session()
    engine = toy.engine(session, problem=toy.problem._replace(objective=objective))
    source = Resident(toy.data, engine.config.batch)
    for name, weight in (("a", 0.25), ("b", 2.0)):
        engine.train(Phase(name, 8, source, {"weight": weight}), toy.key)
    assert [r["weight"] for r in session.history] == [0.25, 0.25, 2.0, 2.0]


def test_every_frame_is_used_and_its_leaves_stay_together():
    n = 50
    data = {"id": jnp.arange(n), "twin": jnp.arange(n) * 2}

    def objective(params, model_state, batch, key, hyper):
        apart = (batch["twin"] - 2 * batch["id"] != 0).mean()
        aux = {"apart": apart, "frames": jnp.float32(len(batch["id"]))}
        return params["w"][batch["id"]].sum(), (aux, model_state)

    def criteria(params, model_state, batch, hyper):
        return {"objective": (params["w"][batch["id"]], jnp.ones(len(batch["id"])))}

    problem = Problem(lambda key: ({"w": jnp.zeros(n)}, {}), objective, criteria)
    session = Session()
    engine = Engine(problem, TrainConfig(steps=40, batch=16, chunk=20, clip_norm=0.0), session)
    found = engine.train(Phase("train", 40, Resident(data, 16)), jax.random.key(0))
    assert (np.asarray(found.params["w"]) < 0).all()
    assert session.history[0]["apart"] == 0
    assert session.history[0]["frames"] == 16


# ---------------------------------------------------------------------------------------- divergence


def nan_from(toy, share, only=None):
    """The toy, whose loss is NaN from a share of the steps on (for the seed of one mark, or for all)."""

    def objective(params, model_state, batch, key, hyper):
        loss, rest = toy.problem.objective(params, model_state, batch, key, hyper)
        hit = hyper["progress"] >= share
        if only is not None:
            hit &= jnp.abs(params["mark"] - only) < 1e-6
        return jnp.where(hit, jnp.nan, loss), rest

    return toy.problem._replace(objective=objective)


@pytest.mark.fast
def test_divergence_is_one_line_and_leaves_the_last_good_state_to_go_on_from(toy, tmp_path):
    engine = toy.engine(Session(tmp_path), problem=nan_from(toy, 0.5), restarts=2)
    with pytest.raises(Diverged) as caught:
        toy.train(engine)
    line = str(caught.value)
    assert "\n" not in line
    assert "between steps 12 and 16" in line
    assert "learning_rate (now 0.05)" in line
    rows = [json.loads(r) for r in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["phase_step"] for r in rows] == [4, 8, 12]
    # The toy without the fault goes on from there, as if there had been none.
    found = toy.train(toy.engine(Session(tmp_path, resume=True), restarts=2))
    leaves_equal(found.alive[0], toy.train(toy.engine(restarts=2)).alive[0])


def test_parameters_that_overflow_are_divergence_too(toy):
    def objective(params, model_state, batch, key, hyper):  # a finite loss of an endless slope
        return 3e38 * jnp.sum(jnp.tanh(1e30 * params["w"])) * 0 + jnp.sqrt(jnp.sum(params["w"] * 0)), (
            {},
            model_state,
        )

    problem = toy.problem._replace(objective=objective)
    with pytest.raises(Diverged, match="diverged between steps 0 and 4"):
        toy.train(toy.engine(problem=problem))


def test_one_restart_that_diverges_is_dropped_and_the_others_go_on(toy, capsys):
    marks = [float(toy.problem.init(jax.random.fold_in(toy.key, r))[0]["mark"]) for r in range(3)]
    session = Session(progress=True)
    engine = toy.engine(session, problem=nan_from(toy, 0.3, marks[1]), restarts=3)
    found = toy.train(engine)
    assert sorted(found.restarts) == [0, 2]
    assert "1 of 3 restarts diverged" in capsys.readouterr().err
    assert engine.lost == 1
    whole = toy.train(toy.engine(restarts=3))
    for number in (0, 2):
        leaves_equal(of_restart(found, number), of_restart(whole, number))
    assert all(np.isfinite(r["loss"]).all() for r in session.history)


def test_a_batch_in_slices_is_the_whole_batch_to_rounding(toy):
    def certain(params, model_state, batch, key, hyper):
        loss = ((batch["x"] @ params["w"] - batch["y"]) ** 2).mean()
        weight = jnp.sum(batch["y"] > 0)
        positive = Mean(jnp.sum(jnp.where(batch["y"] > 0, batch["y"], 0)), jnp.float32(weight))
        return loss, ({"size": jnp.abs(batch["y"]).mean(), "positive": positive}, model_state)

    problem = toy.problem._replace(objective=certain)
    settings = {"problem": problem, "batch": 24, "steps": 12}
    whole, sliced = Session(), Session()
    a = toy.train(toy.engine(whole, **settings))
    engine = toy.engine(sliced, microbatch=9, **settings)
    b = toy.train(engine)
    np.testing.assert_allclose(a.params["w"], b.params["w"], rtol=1e-5)
    for name in ("loss", "size", "positive"):
        recorded = [[r[name] for r in session.history] for session in (whole, sliced)]
        np.testing.assert_allclose(recorded[0], recorded[1], rtol=1e-5)


# ---------------------------------------------------------------------------------------- many devices

SHARED = """
import dataclasses, json, sys
import jax, jax.numpy as jnp, numpy as np
from jnrsfm.errors import InputError
from jnrsfm.training import Engine, Phase, Problem, Resident, Session, TrainConfig

rng = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
data = {"x": draw(40, 3), "y": draw(40)}
init = lambda key: ({"w": jax.random.normal(key, (3,))}, {})
seen = []
def objective(params, model_state, batch, key, hyper):
    note = lambda s: seen.append(1 if s.is_fully_replicated else s.num_devices)
    jax.debug.inspect_array_sharding(batch["x"], callback=note)
    loss = ((jnp.tanh(batch["x"] @ params["w"]) - batch["y"]) ** 2).mean()
    return loss, ({}, model_state)
def criteria(params, model_state, batch, hyper):
    return {"objective": ((jnp.tanh(batch["x"] @ params["w"]) - batch["y"]) ** 2, jnp.ones(len(batch["y"])))}
phase = Phase("train", 20, Resident(data, 16))
problem = Problem(init, objective, criteria)
config = TrainConfig(steps=20, chunk=5, batch=16, restarts=2, warmup=0, learning_rate=0.05,
                     layout=sys.argv[2], checkpoint_seconds=0.0)
mesh = jax.make_mesh((4,), ("frame",), axis_types=(jax.sharding.AxisType.Auto,))
assert len(jax.devices()) == 4
plain = Engine(problem, config, Session()).train(phase, jax.random.key(0))
assert set(seen) <= {1}, seen
seen.clear()
try:
    Engine(problem, dataclasses.replace(config, batch=18), Session(), mesh)
    raise SystemExit("took a batch that does not divide")
except InputError as error:
    assert "batch is 18" in str(error) and "4 devices" in str(error), error
config = dataclasses.replace(config, microbatch=8)  # two slices, of two frames on each device
class Half(Session):
    def record(self, *a, **k):
        super().record(*a, **k)
        self.stop_requested = len(self.history) == 2
try:
    Engine(problem, config, Half(sys.argv[1]), mesh).train(phase, jax.random.key(0))
    raise SystemExit("was not stopped")
except KeyboardInterrupt:
    pass
shared = Engine(problem, config, Session(sys.argv[1], resume=True), mesh).train(phase, jax.random.key(0))
uncut = Engine(problem, config, Session(), mesh).train(phase, jax.random.key(0))
w = lambda r: np.asarray(r.alive[0]["w"]).tolist()
print(json.dumps({"plain": w(plain), "shared": w(shared), "uncut": w(uncut), "devices": sorted(set(seen)),
                  "order": [plain.restarts, shared.restarts]}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["map", "vmap"])
def test_frames_shared_over_devices_equal_one_device(cpu_devices, tmp_path, layout):
    """Four CPU devices in a process of their own: the batch is split, the answer is that of one device."""
    done = subprocess.run(
        [sys.executable, "-c", SHARED, str(tmp_path / "run"), layout],
        cwd=ROOT, env=cpu_devices(4), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == [4]
    assert found["order"][0] == found["order"][1]
    np.testing.assert_allclose(found["shared"], found["plain"], rtol=2e-5, atol=1e-6)
    assert found["shared"] == found["uncut"]


@pytest.mark.fast
def test_batch_0_is_all_frames_in_order():
    """A loss that tells the frames apart by their place: with the whole set in a step no frame is drawn twice."""
    data = jnp.arange(7.0)
    seen = []

    def objective(params, model_state, batch, key, hyper):
        seen.append(batch.shape)
        order = jnp.sum(batch * jnp.arange(batch.shape[0]))
        return jnp.sum(params**2) + 0.0 * order, ({"order": order}, model_state)

    ones = lambda batch: jnp.ones(len(batch))
    problem = Problem(
        lambda key: (jnp.ones(2), {}),
        objective,
        lambda p, s, b, h: {"objective": (jnp.sum(p**2) * ones(b), ones(b))},
    )
    session = Session()
    config = TrainConfig(steps=4, chunk=2, batch=0, warmup=0)
    Engine(problem, config, session).train(Phase("all", 4, Resident(data, 0)), jax.random.key(0))
    assert set(seen) == {(7,)}
    assert all(row["order"] == float((data * data).sum()) for row in session.history)
    with pytest.raises(InputError, match="give a batch"):
        TrainConfig(batch=0, devices=2).mesh()
