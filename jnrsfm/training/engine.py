"""Training: many steps in one dispatch, batches gathered on the device, restarts at once, nothing lost.

A method hands over pure functions over pytrees (`Problem`). Every random number is a function of the seed, the
restart and the step, so that a run resumed from a checkpoint repeats the uninterrupted one to the bit on the
same device.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jnrsfm.errors import Diverged
from jnrsfm.training.checkpoints import Checkpoints
from jnrsfm.training.config import TrainConfig
from jnrsfm.training.session import Session

PyTree = Any


class Problem(NamedTuple):
    """What a learned method gives the engine.

    `init(key) -> params`; `objective(params, batch, key, progress) -> (loss, aux)` with the batch gathered from
    `data` along its leading frame axis, `progress` in [0, 1) and `aux` a dict of scalars to record;
    `criteria(params, data) -> dict` of label-free scalars over the whole set, lower is better, among them those
    that `TrainConfig.select` may name.
    """

    init: Callable[[Any], PyTree]
    objective: Callable[[PyTree, PyTree, Any, Any], tuple[Any, dict[str, Any]]]
    data: PyTree
    criteria: Callable[[PyTree, PyTree], dict[str, Any]]


class Trained(NamedTuple):
    """What came of it: `params` of the restart that was chosen; all those alive at the end, stacked, best first;
    their numbers; their criteria."""

    params: PyTree
    all_params: PyTree
    restarts: tuple[int, ...]
    criteria: tuple[dict[str, float], ...]


def train(
    problem: Problem,
    config: TrainConfig,
    key: Any,
    session: Session,
    *,
    phase: str = "train",
    steps: int | None = None,
    start: PyTree | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Trained:
    """Train from scratch, or from the stacked parameters `start`, for `steps` (default `config.steps`).

    `config.restarts` seeds are trained at once; at the fractions `config.prune_at` the worse half by
    `config.select` is dropped; the best by the same criterion is returned. With a `mesh` whose first axis is
    over devices the frames of each batch are shared out and the parameters replicated: plain `jit`, equal to
    one device to rounding.

    Raises Diverged when no restart has a finite loss (the last good state is checkpointed), KeyboardInterrupt
    when the session was asked to stop (state checkpointed, to resume from).
    """
    steps = config.steps if steps is None else steps
    optimizer = config.optimizer(steps)
    n_frames = len(jax.tree.leaves(problem.data)[0])
    batch_key, *_ = jax.random.split(key, 2)
    in_turn = config.layout == "map" or (config.layout == "auto" and jax.default_backend() == "cpu")

    def seed(restart):
        return jax.random.fold_in(key, restart)

    if start is None:
        numbers = np.arange(config.restarts)
        params = jax.jit(jax.vmap(lambda r: problem.init(seed(r))))(jnp.asarray(numbers))
    else:
        params, numbers = start, np.arange(len(jax.tree.leaves(start)[0]))
    state = {"params": params, "opt": jax.jit(jax.vmap(optimizer.init))(params), "numbers": jnp.asarray(numbers)}

    def step(params, opt, restart, index):
        frames = jax.random.randint(jax.random.fold_in(batch_key, index), (config.batch,), 0, n_frames)
        if mesh is not None:
            shared = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names[0]))
            frames = jax.lax.with_sharding_constraint(frames, shared)
        batch = jax.tree.map(lambda x: x[frames], problem.data)
        step_key = jax.random.fold_in(seed(restart), index)
        (loss, aux), grads = jax.value_and_grad(problem.objective, has_aux=True)(
            params, batch, step_key, index / steps
        )
        updates, opt = optimizer.update(grads, opt, params)
        return optax.apply_updates(params, updates), opt, {"loss": loss, **aux}

    def dispatch(state, first, count):
        """`count` steps of all restarts; the metrics averaged over the dispatch."""
        indices = first + jnp.arange(count)
        if in_turn:

            def one(args):
                params, opt, restart = args

                def body(carry, index):
                    params, opt, values = step(*carry, restart, index)
                    return (params, opt), values

                (params, opt), values = jax.lax.scan(body, (params, opt), indices)
                return params, opt, values

            params, opt, values = jax.lax.map(one, (state["params"], state["opt"], state["numbers"]))
        else:

            def body(carry, index):
                params, opt, values = jax.vmap(step, (0, 0, 0, None))(*carry, state["numbers"], index)
                return (params, opt), values

            (params, opt), values = jax.lax.scan(body, (state["params"], state["opt"]), indices)
            values = jax.tree.map(lambda v: jnp.moveaxis(v, 0, 1), values)
        means = jax.tree.map(lambda v: v.mean(1), values)
        return {"params": params, "opt": opt, "numbers": state["numbers"]}, means

    dispatch = jax.jit(dispatch, static_argnums=2)
    criteria = jax.jit(lambda params: jax.lax.map(lambda p: problem.criteria(p, problem.data), params))

    checkpoints = Checkpoints(session.checkpoint_folder(phase))
    done = 0
    try:
        restored = checkpoints.restore(state) if session.resume else None
        if restored is not None:
            done, state = restored
            state = jax.tree.map(jnp.asarray, state)
            session.rewind(phase, done)
        prunings = [math.ceil(p * steps / config.chunk) * config.chunk for p in config.prune_at]
        saved_at = time.monotonic()
        with session.interruptible():
            while done < steps:
                begun = time.monotonic()
                count = min(config.chunk, steps - done)
                new, values = dispatch(state, done, count)
                host = {name: np.asarray(v, np.float64) for name, v in values.items()}
                finite = np.isfinite(host["loss"]) & _finite(new["params"])
                if not finite.any():
                    checkpoints.save(done, state)
                    where = f", last good checkpoint at step {done} kept" if session.folder else ""
                    raise Diverged(
                        f"training diverged between steps {done} and {done + count} (loss is not finite){where}: "
                        f"lower learning_rate (now {config.learning_rate:g}) or clip_norm (now {config.clip_norm:g})"
                    )
                state, done = new, done + count
                if not finite.all():
                    session.say(f"{phase}: {int((~finite).sum())} of {len(finite)} restarts diverged and are dropped")
                    state = _take(state, np.flatnonzero(finite))
                rate = count / (time.monotonic() - begun)
                session.record(phase, done, steps, {n: _plain(v[finite]) for n, v in host.items()}, rate)
                alive = len(state["numbers"])
                if done in prunings and alive > 1:
                    order = _ranked(criteria(state["params"]), config.select)
                    state = _take(state, np.sort(order[: (alive + 1) // 2]))
                if done < steps and time.monotonic() - saved_at > config.checkpoint_seconds:
                    checkpoints.save(done, state)
                    saved_at = time.monotonic()
                if session.stop_requested and done < steps:
                    checkpoints.save(done, state)
                    raise KeyboardInterrupt
            checkpoints.save(done, state)
            if session.stop_requested:
                raise KeyboardInterrupt
    finally:
        checkpoints.close()
    values = criteria(state["params"])
    order = _ranked(values, config.select)
    state = _take(state, order)
    ranked = tuple({n: float(v[i]) for n, v in values.items()} for i in order)
    best = jax.tree.map(lambda x: x[0], state["params"])
    return Trained(best, state["params"], tuple(int(n) for n in state["numbers"]), ranked)


def _take(state: PyTree, which: np.ndarray) -> PyTree:
    """The restarts `which` of a stacked state."""
    return jax.tree.map(lambda x: x[which], state)


def _finite(params: PyTree) -> np.ndarray:
    """`(restart,)` bool: all parameters of the restart are finite."""
    leaves = [np.asarray(jnp.isfinite(x).reshape(len(x), -1).all(1)) for x in jax.tree.leaves(params)]
    return np.logical_and.reduce(leaves)


def _ranked(values: dict[str, Any], select: str) -> np.ndarray:
    """Restarts from best to worst by a criterion; what is not finite comes last."""
    scores = np.nan_to_num(np.asarray(values[select], np.float64), nan=np.inf)
    return np.argsort(scores, kind="stable")


def _plain(values: np.ndarray) -> float | list[float]:
    """One number, or one for each restart, with the digits that a log needs."""
    rounded = [float(f"{v:.6g}") for v in values]
    return rounded[0] if len(rounded) == 1 else rounded
