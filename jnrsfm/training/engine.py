"""Training: many steps in one dispatch, restarts at once, nothing lost.

A method hands over pure functions over pytrees (`Problem`) and trains `Phase`s. Every random number is a function of
the seed, the restart and the step, so that a run resumed from a checkpoint repeats the uninterrupted one to the bit on
the same device.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from jnrsfm.errors import Diverged, InputError
from jnrsfm.training import hosts
from jnrsfm.training.checkpoints import Checkpoints
from jnrsfm.training.config import TrainConfig
from jnrsfm.training.optimizers import evaluated
from jnrsfm.training.problem import Mean, Phase, Problem, PyTree, Trained, TrainState, as_mean, at
from jnrsfm.training.session import Session
from jnrsfm.training.sources import Resident, Streamed, take


class Engine:
    """Trains the phases of one fit. Compiled functions are shared by all phases with data of one shape.

    `optimizer` is the method's own (default: `config.optimizer()`); see `optimizers` for what it is told. With a `mesh`
    (by default `config.mesh()`), whose one axis is over the devices of all hosts, the items of each batch are shared
    out and the parameters replicated: equal to one device to rounding. The batch must divide by the number of devices.
    """

    def __init__(
        self,
        problem: Problem,
        config: TrainConfig,
        session: Session,
        mesh: jax.sharding.Mesh | None = None,
        optimizer: optax.GradientTransformation | None = None,
    ):
        self.problem, self.config, self.session = problem, config, session
        self.mesh = config.mesh() if mesh is None else mesh
        self.devices = 1 if self.mesh is None else self.mesh.size
        if mesh is not None and config.batch % self.devices:
            raise InputError(
                f"batch is {config.batch}: it must divide by the {self.devices} devices of the mesh"
            )
        self.optimizer = config.optimizer() if optimizer is None else optimizer
        # Matrix products with a batch axis run at a fraction of the plain ones' speed on CPU, where one
        # restart fills the cores by itself: there they run in turn.
        self.in_turn = config.layout == "map" or (config.layout == "auto" and jax.default_backend() == "cpu")
        # The memory of an accelerator is dear; on a CPU the state before a dispatch is kept, to go back to.
        self.donates = jax.default_backend() != "cpu"
        self.lost = 0  # restarts that were dropped, since they diverged
        self._init = jax.jit(jax.vmap(problem.init))
        self._compiled: dict[Any, Callable] = {}
        self._criteria = jax.jit(self._block, static_argnums=0)  # whether the items are split over the mesh

    # ------------------------------------------------------------------------------------------- steps

    def steps_of(self, source: Any, optimizer: optax.GradientTransformation | None = None) -> Callable:
        """The pure function of many steps of one restart over a source: `(state, number, data, key, batch_key, first,
        count, steps, hyper) -> (state, sums)`, `sums` the metrics as `Mean`s added up over the steps."""
        optimizer = optax.with_extra_args_support(optimizer or self.optimizer)
        slices = self.config.slices(jax.default_backend(), self.devices, source.batch)

        def split(batch):  # its items over the devices
            if self.mesh is None:
                return batch
            sharding = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names[0]))
            return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding), batch)

        def gradient(state, data, key, batch_key, hyper, step, place):
            if isinstance(source, Streamed):
                rows = jax.tree.map(lambda x: x[place].reshape(slices, -1, *x.shape[2:]), data)
                pick = lambda i: at(rows, i)
            else:
                frames = source.frames(batch_key, step).reshape(slices, -1)
                pick = lambda i: split(take(data, frames[i], self.mesh))
            return self._gradient(state, pick, slices, key, hyper)

        def one(state, number, data, key, batch_key, step, steps, hyper, place):
            hyper = {**hyper, "progress": step / steps}
            step_key = jax.random.fold_in(jax.random.fold_in(key, number), step)
            (loss, metrics, model_state), grads = gradient(
                state, data, step_key, batch_key, hyper, step, place
            )
            updates, opt = optimizer.update(grads, state.opt_state, state.params, step=step, steps=steps)
            params = optax.apply_updates(state.params, updates)
            return TrainState(params, model_state, opt, state.step + 1), {"loss": as_mean(loss), **metrics}

        def many(state, number, data, key, batch_key, first, count, steps, hyper):
            def body(i, carry):
                state, sums = carry
                state, values = one(state, number, data, key, batch_key, first + i, steps, hyper, i)
                return state, jax.tree.map(jnp.add, sums, values)

            like = jax.eval_shape(one, state, number, data, key, batch_key, first, steps, hyper, 0)[1]
            zeros = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), like)
            return jax.lax.fori_loop(0, count, body, (state, zeros))

        return many

    def _gradient(self, state, pick, count, key, hyper):
        """`((loss, metrics, model_state), gradient)` of the mean over a batch, a slice at a time.

        Elementwise maps over all the activations of a large batch run at the speed of main memory: a gradient
        of 1024 frames at 512 atoms takes 1.6 times as long as eight of 128, whose activations stay in the cache.
        """
        grad = jax.value_and_grad(self.problem.objective, has_aux=True)

        def one(number, model_state):
            step_key = key if count == 1 else jax.random.fold_in(key, number)
            (loss, (metrics, model_state)), grads = grad(
                state.params, model_state, pick(number), step_key, hyper
            )
            metrics = {name: as_mean(value) for name, value in metrics.items()}
            return (loss, metrics, grads), model_state

        if count == 1:
            (loss, metrics, grads), model_state = one(0, state.model_state)
            return (loss, metrics, model_state), grads
        zeros = jax.tree.map(
            lambda v: jnp.zeros(v.shape, v.dtype), jax.eval_shape(one, 0, state.model_state)[0]
        )

        def add(carry, number):
            sums, model_state = carry
            part, model_state = one(number, model_state)
            return (jax.tree.map(jnp.add, sums, part), model_state), None

        ((loss, metrics, grads), model_state), _ = jax.lax.scan(
            add, (zeros, state.model_state), jnp.arange(count)
        )
        return (loss / count, metrics, model_state), jax.tree.map(lambda v: v / count, grads)

    def dispatch(
        self, state: TrainState, numbers, source, data, key, first: int, count: int, steps: int,
        hyper: Any = None, optimizer: optax.GradientTransformation | None = None,
    ):  # fmt: skip
        """`count` steps of all restarts of a stacked state: the state, and the metrics as `Mean`s over the steps. Where
        the engine `donates`, the state that comes in is given up (its memory is used again)."""
        kind = ("streamed", source.batch) if isinstance(source, Streamed) else (source.length, source.batch)
        name = (kind, optimizer)
        if name not in self._compiled:
            many = self.steps_of(source, optimizer)
            many = many if self.in_turn else jax.vmap(many, (0, 0) + (None,) * 7)
            self._compiled[name] = jax.jit(many, donate_argnums=(0,) if self.donates else ())
        run = self._compiled[name]
        batch_key = jax.random.fold_in(key, 2**31 - 1)
        hyper = {k: jnp.float32(v) for k, v in (hyper or {}).items()}
        rest = (data, key, batch_key, jnp.int32(first), jnp.int32(count), jnp.float32(steps), hyper)
        if not self.in_turn:
            return run(state, numbers, *rest)
        runs = [run(at(state, i), numbers[i], *rest) for i in range(len(numbers))]
        return jax.tree.map(lambda *x: jnp.stack(x), *runs)

    # ---------------------------------------------------------------------------------------- criteria

    def _block(self, split: bool, params, model_state, data, which, inside, hyper):
        """Sums of the criteria over blocks of items `which (block, item)`, those `inside` the set."""

        def one(part):
            which, inside = part
            batch = take(data, which, self.mesh if split else None)
            found = self.problem.criteria(params, model_state, batch, hyper)
            return {k: Mean(*(jnp.sum(jnp.where(inside, v, 0)) for v in pair)) for k, pair in found.items()}

        return jax.tree.map(lambda x: jnp.sum(x, 0), jax.lax.map(one, (which, inside)))

    def criteria(
        self, alive: tuple[PyTree, PyTree], source, data: PyTree, hyper: Any = None
    ) -> dict[str, np.ndarray]:
        """The label-free criteria of each restart of stacked `(params, model_state)`: over the whole set, a block at a
        time."""
        hyper = {k: jnp.float32(v) for k, v in (hyper or {}).items()} | {"progress": jnp.float32(1.0)}
        count = len(jax.tree.leaves(alive)[0])
        n, size = source.judged, min(source.block, source.judged)
        places = np.arange(-(-n // size) * size).reshape(-1, size)
        which, inside = np.minimum(places, n - 1), places < n
        rows: list[dict[str, float]] = []
        for i in range(count):
            params, model_state = at(alive, i)
            if isinstance(source, Streamed):
                sums: Any = None
                for block, within in zip(which, inside, strict=True):
                    part = self._criteria(
                        False,
                        params,
                        model_state,
                        source.read(block),
                        np.arange(size)[None],
                        within[None],
                        hyper,
                    )
                    part = jax.tree.map(np.float64, part)
                    sums = part if sums is None else jax.tree.map(np.add, sums, part)
            else:
                sums = self._criteria(True, params, model_state, data, which, inside, hyper)
            rows.append({k: float(m.total) / max(float(m.weight), 1e-6) for k, m in sums.items()})
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    # ----------------------------------------------------------------------------------------- a phase

    def train(self, phase: Phase, key: Any) -> Trained:
        """Train a phase, from fresh parameters or from those that it names.

        From scratch, `config.restarts` seeds are trained at once and at the fractions `config.prune_at` the
        worse half by `config.select` is dropped. The best by the same criterion is returned.

        Raises Diverged when no restart has a finite loss (the state before that dispatch is checkpointed on a CPU;
        elsewhere the last checkpoint stands),
        KeyboardInterrupt when the session was asked to stop (state checkpointed, to resume from).
        """
        config, session = self.config, self.session
        source = (
            phase.source
            if isinstance(phase.source, Streamed | Resident)
            else Resident(phase.source, config.batch)
        )
        if phase.start is None:
            numbers = jnp.arange(config.restarts)
            params, model_state = self._init(jax.vmap(lambda r: jax.random.fold_in(key, r))(numbers))
        else:
            params, model_state = phase.start
            numbers = jnp.arange(len(jax.tree.leaves(phase.start)[0]))
        optimizer = phase.optimizer or self.optimizer
        fresh = TrainState(
            params, model_state, jax.vmap(optimizer.init)(params), jnp.zeros(len(numbers), jnp.int32)
        )
        # A copy of its own, as a dispatch gives up what it takes; and of firm types: a value that still bends to others
        # (made from a Python number) would come out of the first dispatch firm, and the program be compiled twice.
        state = (jax.tree.map(lambda x: jnp.array(x, jnp.asarray(x).dtype), fresh), numbers)
        data = None
        if isinstance(source, Resident):
            data = source.placed(self.mesh)
        state = hosts.replicated(state, self.mesh)
        checkpoints = Checkpoints(session.checkpoint_folder(phase.name), self.mesh)
        try:
            done = 0
            restored = checkpoints.restore(state) if session.resume else None
            if restored is not None:
                done, state = restored
                if jax.process_count() == 1:
                    state = hosts.replicated(jax.tree.map(jnp.asarray, state), self.mesh)
            if session.resume:  # without a checkpoint too: what was recorded after it is trained again
                session.rewind(phase.name, done)
            state = self._run(phase, source, data, state, done, key, checkpoints)
        finally:
            checkpoints.close()
        alive, kept = _evaluated(state[0]), np.asarray(state[1])
        values = self.criteria(alive, source, data, phase.hyper)
        order = _ranked(values, config.select)
        ranked = tuple({n: float(v[i]) for n, v in values.items()} for i in order)
        best_first = at(alive, order)
        params, model_state = at(best_first, 0)
        return Trained(params, model_state, best_first, tuple(int(n) for n in kept[order]), ranked)

    def _run(self, phase: Phase, source, data, state, done: int, key, checkpoints: Checkpoints):
        """The dispatches of a phase from step `done` on; returns the last `(state, numbers)`."""
        config, session, steps = self.config, self.session, phase.steps
        prunings = [math.ceil(p * steps / config.chunk) * config.chunk for p in config.prune_at]
        prunings = prunings if phase.start is None else []
        spans = [(first, min(config.chunk, steps - first)) for first in range(done, steps, config.chunk)]
        chunks = (
            hosts.batches(source, spans, config.chunk, self.mesh) if isinstance(source, Streamed) else None
        )
        session.begin(phase.name)
        saved_at = time.monotonic()
        try:
            with session.interruptible():
                for first, count in spans:
                    begun = time.monotonic()
                    batches = data if chunks is None else next(chunks)
                    new, sums = self.dispatch(
                        state[0],
                        state[1],
                        source,
                        batches,
                        key,
                        first,
                        count,
                        steps,
                        phase.hyper,
                        phase.optimizer,
                    )
                    host = {
                        n: np.asarray(m.total, np.float64) / np.asarray(m.weight) for n, m in sums.items()
                    }
                    rate = count / (time.monotonic() - begun)
                    finite = np.isfinite(host["loss"]) & _finite(new.params)
                    if not finite.any():
                        if not self.donates:
                            checkpoints.save(done, state)
                        raise Diverged(self._cause(done, count, checkpoints.latest()))
                    state, done = (new, state[1]), first + count
                    if not finite.all():
                        lost = int((~finite).sum())
                        self.lost += lost
                        session.say(
                            f"{phase.name}: {lost} of {len(finite)} restarts diverged and are dropped"
                        )
                        state = at(state, np.flatnonzero(finite))
                    values = {n: _plain(v[finite]) for n, v in host.items()}
                    names = np.asarray(state[1]).tolist()
                    session.record(phase.name, done, steps, {"restart": names, **values}, rate)
                    alive = kept = len(names)
                    for _ in range(prunings.count(done)):  # two fractions may fall on one dispatch
                        kept = (kept + 1) // 2
                    if kept < alive:
                        judged = self.criteria(_evaluated(state[0]), source, data, phase.hyper)
                        state = at(state, np.sort(_ranked(judged, config.select)[:kept]))
                    due = hosts.agreed(time.monotonic() - saved_at > config.checkpoint_seconds)
                    stop = hosts.agreed(session.stop_requested, any_host=True)
                    if done < steps and (due or stop):
                        checkpoints.save(done, state)
                        saved_at = time.monotonic()
                    if stop:
                        break
            if done == steps:
                checkpoints.save(done, state)
            if hosts.agreed(session.stop_requested, any_host=True):
                raise KeyboardInterrupt
        finally:
            if chunks is not None:
                chunks.close()
        return state

    def _cause(self, done: int, count: int, kept: int) -> str:
        config = self.config
        lower = f"lower learning_rate (now {config.learning_rate:g}) or clip_norm (now {config.clip_norm:g})"
        if self.session.folder:
            lower = f"resume from step {kept} with a lower learning_rate, or start anew and {lower}"
        return f"training diverged between steps {done} and {done + count} (not finite): {lower}"


def _evaluated(state: TrainState) -> tuple[PyTree, PyTree]:
    return evaluated(state.params, state.opt_state), state.model_state


def _finite(tree: PyTree) -> np.ndarray:
    """`(restart,)` bool: all numbers of the restart are finite."""
    leaves = [np.asarray(jnp.isfinite(x).reshape(len(x), -1).all(1)) for x in jax.tree.leaves(tree)]
    return np.logical_and.reduce(leaves)


def _ranked(values: dict[str, np.ndarray], select: str) -> np.ndarray:
    """Restarts from best to worst by a criterion; what is not finite comes last."""
    return np.argsort(np.nan_to_num(values[select], nan=np.inf), kind="stable")


def _plain(values: np.ndarray) -> float | list[float]:
    """One number, or one for each restart, with the digits that a log needs."""
    rounded = [float(f"{v:.6g}") for v in values]
    return rounded[0] if len(rounded) == 1 else rounded
