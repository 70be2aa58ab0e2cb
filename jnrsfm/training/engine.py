"""Training: many steps in one dispatch, batches gathered on the device, restarts at once, nothing lost.

A method hands over pure functions over pytrees (`Problem`). Every random number is a function of the seed,
the restart and the step, so that a run resumed from a checkpoint repeats the uninterrupted one to the bit on
the same device.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jnrsfm.errors import Diverged, InputError
from jnrsfm.training.checkpoints import Checkpoints
from jnrsfm.training.config import TrainConfig
from jnrsfm.training.session import Session

PyTree = Any


class Problem(NamedTuple):
    """What a learned method gives the engine.

    `init(key) -> params`; `objective(params, batch, key, progress) -> (loss, aux)` with the batch gathered
    from the data along its leading frame axis, `progress` in [0, 1) and `aux` a dict of scalars to record;
    `criteria(params, data) -> dict` of label-free scalars over the whole set, lower is better, among them
    those that `TrainConfig.select` may name.
    """

    init: Callable[[Any], PyTree]
    objective: Callable[[PyTree, PyTree, Any, Any], tuple[Any, dict[str, Any]]]
    criteria: Callable[[PyTree, PyTree], dict[str, Any]]


class Trained(NamedTuple):
    """What came of a phase: `params` of the restart that was chosen; all those alive at the end, stacked,
    best first; their numbers; their criteria."""

    params: PyTree
    all_params: PyTree
    restarts: tuple[int, ...]
    criteria: tuple[dict[str, float], ...]


class Engine:
    """Trains the phases of one fit. Compiled functions are shared by all phases with data of one shape.

    With a `mesh` (by default `config.mesh()`), whose first axis is over devices, the frames of each batch are
    shared out and the parameters replicated: plain `jit`, equal to one device to rounding. The batch must
    divide by the number of devices.
    """

    def __init__(
        self, problem: Problem, config: TrainConfig, session: Session, mesh: jax.sharding.Mesh | None = None
    ):
        self.problem, self.config, self.session = problem, config, session
        self.mesh = config.mesh() if mesh is None else mesh
        if mesh is not None and config.batch % mesh.shape[mesh.axis_names[0]]:
            devices = mesh.shape[mesh.axis_names[0]]
            raise InputError(f"batch is {config.batch}: it must divide by the {devices} devices of the mesh")
        self.optimizer = config.optimizer()
        # Matrix products with a batch axis run at a fraction of the plain ones' speed on CPU, where one
        # restart fills the cores by itself: there they run in turn.
        self.in_turn = config.layout == "map" or (config.layout == "auto" and jax.default_backend() == "cpu")
        devices = 1 if self.mesh is None else self.mesh.shape[self.mesh.axis_names[0]]
        self.slices = config.slices(jax.default_backend(), devices)
        self._init = jax.jit(jax.vmap(problem.init))
        self._criteria = jax.jit(problem.criteria)
        self._run = jax.jit(self._steps if self.in_turn else jax.vmap(self._steps, (0, 0) + (None,) * 6))

    def step(self, state: PyTree, number, data, key, batch_key, index, steps):
        """One step of one restart: gather a batch, differentiate, update. `(state, metrics)`."""
        params, opt = state
        n_frames = len(jax.tree.leaves(data)[0])
        frames = jnp.arange(n_frames)
        if self.config.batch:
            draw = jax.random.fold_in(batch_key, index)
            frames = jax.random.randint(draw, (self.config.batch,), 0, n_frames)
        step_key = jax.random.fold_in(jax.random.fold_in(key, number), index)
        (loss, aux), grads = self._gradient(params, data, frames, step_key, index / steps)
        updates, opt = self.optimizer.update(grads, opt, params)
        rate = self.config.rate(index, steps)
        updates = jax.tree.map(lambda u: -rate * u, updates)
        return (optax.apply_updates(params, updates), opt), {"loss": loss, **aux}

    def _gradient(self, params, data, frames, key, progress):
        """`((loss, aux), gradient)` of the mean over `frames`, a slice at a time.

        Elementwise maps over all the activations of a large batch run at the speed of main memory: a gradient
        of 1024 frames at 512 atoms takes 1.6 times as long as eight of 128, whose activations stay in the cache.
        """
        count = self.slices
        if self.mesh is not None:
            shared = jax.sharding.PartitionSpec(None, self.mesh.axis_names[0])
            frames = jax.lax.with_sharding_constraint(
                frames.reshape(count, -1), jax.sharding.NamedSharding(self.mesh, shared)
            )
        frames = frames.reshape(count, -1)
        grad = jax.value_and_grad(self.problem.objective, has_aux=True)

        def one(number, frames):
            batch = jax.tree.map(lambda x: x[frames], data)
            return grad(params, batch, key if count == 1 else jax.random.fold_in(key, number), progress)

        if count == 1:
            return one(0, frames[0])
        zeros = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), jax.eval_shape(one, 0, frames[0]))

        def add(sums, part):
            return jax.tree.map(jnp.add, sums, one(*part)), None

        sums, _ = jax.lax.scan(add, zeros, (jnp.arange(count), frames))
        return jax.tree.map(lambda v: v / count, sums)

    def _steps(self, state, number, data, key, batch_key, first, count, steps):
        """`count` steps from step `first`; the metrics averaged over them."""

        def body(i, carry):
            state, sums = carry
            state, values = self.step(state, number, data, key, batch_key, first + i, steps)
            return state, jax.tree.map(jnp.add, sums, values)

        like = jax.eval_shape(self.step, state, number, data, key, batch_key, first, steps)[1]
        zeros = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), like)
        state, sums = jax.lax.fori_loop(0, count, body, (state, zeros))
        return state, jax.tree.map(lambda v: v / count, sums)

    def dispatch(self, state: PyTree, numbers, data, key, first: int, count: int, steps: int):
        """`count` steps of all restarts of a stacked state."""
        batch_key = jax.random.fold_in(key, 2**31 - 1)
        rest = (data, key, batch_key, jnp.int32(first), jnp.int32(count), jnp.float32(steps))
        if not self.in_turn:
            return self._run(state, numbers, *rest)
        runs = [self._run(_at(state, i), numbers[i], *rest) for i in range(len(numbers))]
        return jax.tree.map(lambda *x: jnp.stack(x), *runs)

    def criteria(self, params: PyTree, data: PyTree) -> dict[str, np.ndarray]:
        """The label-free criteria of each restart of stacked parameters."""
        count = len(jax.tree.leaves(params)[0])
        runs = [self._criteria(_at(params, i), data) for i in range(count)]
        return {name: np.array([float(run[name]) for run in runs]) for name in runs[0]}

    def train(
        self,
        data: PyTree,
        key: Any,
        *,
        phase: str = "train",
        steps: int | None = None,
        start: PyTree | None = None,
    ) -> Trained:
        """Train from scratch, or from the stacked parameters `start`, for `steps` (default `config.steps`).

        From scratch, `config.restarts` seeds are trained at once and at the fractions `config.prune_at` the
        worse half by `config.select` is dropped. The best by the same criterion is returned.

        Raises Diverged when no restart has a finite loss (the last good state is checkpointed),
        KeyboardInterrupt when the session was asked to stop (state checkpointed, to resume from).
        """
        config, session = self.config, self.session
        steps = config.steps if steps is None else steps
        if start is None:
            numbers = jnp.arange(config.restarts)
            params = self._init(jax.vmap(lambda r: jax.random.fold_in(key, r))(numbers))
        else:
            params, numbers = start, jnp.arange(len(jax.tree.leaves(start)[0]))
        state = ((params, jax.vmap(self.optimizer.init)(params)), numbers)
        if self.mesh is not None:
            everywhere = jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec())
            state, data = jax.device_put((state, data), everywhere)
        checkpoints = Checkpoints(session.checkpoint_folder(phase))
        prunings = [math.ceil(p * steps / config.chunk) * config.chunk for p in config.prune_at]
        prunings = prunings if start is None else []
        done = 0
        try:
            restored = checkpoints.restore(state) if session.resume else None
            if restored is not None:
                done, state = restored
                state = jax.tree.map(jnp.asarray, state)
            if session.resume:  # without a checkpoint too: what was recorded after it is trained again
                session.rewind(phase, done)
            session.begin(phase)
            saved_at = time.monotonic()
            with session.interruptible():
                while done < steps:
                    count = min(config.chunk, steps - done)
                    begun = time.monotonic()
                    new, values = self.dispatch(*state, data, key, done, count, steps)
                    host = {name: np.asarray(v, np.float64) for name, v in values.items()}
                    rate = count / (time.monotonic() - begun)
                    finite = np.isfinite(host["loss"]) & _finite(new[0])
                    if not finite.any():
                        checkpoints.save(done, state)
                        raise Diverged(self._cause(done, count))
                    state, done = (new, state[1]), done + count
                    if not finite.all():
                        lost = int((~finite).sum())
                        session.say(f"{phase}: {lost} of {len(finite)} restarts diverged and are dropped")
                        state = _at(state, np.flatnonzero(finite))
                    values = {n: _plain(v[finite]) for n, v in host.items()}
                    session.record(phase, done, steps, {"restart": state[1].tolist(), **values}, rate)
                    alive = kept = len(state[1])
                    for _ in range(prunings.count(done)):  # two fractions may fall on one dispatch
                        kept = (kept + 1) // 2
                    if kept < alive:
                        order = _ranked(self.criteria(state[0][0], data), config.select)
                        state = _at(state, np.sort(order[:kept]))
                    if done < steps and time.monotonic() - saved_at > config.checkpoint_seconds:
                        checkpoints.save(done, state)
                        saved_at = time.monotonic()
                    if session.stop_requested:
                        break
            checkpoints.save(done, state)
            if session.stop_requested:
                raise KeyboardInterrupt
        finally:
            checkpoints.close()
        (params, _), numbers = state
        values = self.criteria(params, data)
        order = _ranked(values, config.select)
        ranked = tuple({n: float(v[i]) for n, v in values.items()} for i in order)
        best_first = _at(params, order)
        return Trained(_at(best_first, 0), best_first, tuple(int(n) for n in numbers[order]), ranked)

    def _cause(self, done: int, count: int) -> str:
        config = self.config
        lower = f"lower learning_rate (now {config.learning_rate:g}) or clip_norm (now {config.clip_norm:g})"
        if self.session.folder:
            lower = f"resume from step {done} with a lower learning_rate, or start anew and {lower}"
        return f"training diverged between steps {done} and {done + count} (not finite): {lower}"


def _at(tree: PyTree, which) -> PyTree:
    """Restarts `which` of a stacked pytree."""
    return jax.tree.map(lambda x: x[which], tree)


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
