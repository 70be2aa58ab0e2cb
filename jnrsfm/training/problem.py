"""What a method gives the engine, and what the engine gives back: plain records of pure functions and pytrees."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

PyTree = Any


class TrainState(NamedTuple):
    """Where a training stands: `params` are optimised, `model_state` is what a network keeps without being optimised
    (running statistics), `opt_state` belongs to the optimiser, `step` counts the steps of the phase."""

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    step: Any


class Mean(NamedTuple):
    """A mean that merges over slices, steps and hosts: `total / weight`, each added up before the division."""

    total: Any
    weight: Any


class Problem(NamedTuple):
    """What a learned method trains.

    * `init(key) -> (params, model_state)`; a method without model state gives `{}`.
    * `objective(params, model_state, batch, key, hyper) -> (loss, (metrics, model_state))`: the mean loss over the
      batch, a dict of scalars or `Mean`s to record, and the model state after it. `hyper` holds the traced numbers of
      the phase, and `progress`, the share of its steps that are done, in [0, 1).
    * `criteria(params, model_state, batch, hyper) -> {name: (total, weight)}`, both `(item,)`: label-free figures, the
      lower the better, of which `sum(total) / sum(weight)` over the whole set ranks restarts. The engine goes through
      the set a block at a time.
    """

    init: Callable[[Any], tuple[PyTree, PyTree]]
    objective: Callable[
        [PyTree, PyTree, PyTree, Any, dict[str, Any]], tuple[Any, tuple[dict[str, Any], PyTree]]
    ]
    criteria: Callable[[PyTree, PyTree, PyTree, dict[str, Any]], dict[str, tuple[Any, Any]]]


class Phase(NamedTuple):
    """One stretch of training.

    `source` of batches (`sources`); `steps`; `hyper`: numbers that the objective reads, traced, so that phases which
    differ in them share one compiled program; `optimizer`: another than the engine's; `start`: stacked `(params,
    model_state)` of restarts to go on from (`Trained.alive`, `Trained.chosen`), else fresh ones.
    """

    name: str
    steps: int
    source: Any
    hyper: Mapping[str, Any] = {}
    optimizer: optax.GradientTransformation | None = None
    start: tuple[PyTree, PyTree] | None = None


class Trained(NamedTuple):
    """What came of a phase: `params` and `model_state` of the restart that was chosen; `alive`, both of all restarts
    that were left, stacked, best first; their numbers; their criteria."""

    params: PyTree
    model_state: PyTree
    alive: tuple[PyTree, PyTree]
    restarts: tuple[int, ...]
    criteria: tuple[dict[str, float], ...]

    @property
    def chosen(self) -> tuple[PyTree, PyTree]:
        """A stack of the chosen restart alone, to start a phase from."""
        return stacked((self.params, self.model_state))

    def of(self, place: int) -> PyTree:
        """Parameters of the restart at a place of the ranking."""
        return at(self.alive[0], place)


def stacked(tree: PyTree) -> PyTree:
    """A pytree as a stack of one."""
    return jax.tree.map(lambda x: jnp.asarray(x)[None], tree)


def at(tree: PyTree, which: Any) -> PyTree:
    """Entries `which` along the leading axis of every leaf."""
    return jax.tree.map(lambda x: x[which], tree)


def as_mean(value: Any) -> Mean:
    """A metric as a `Mean`: a scalar counts once."""
    return value if isinstance(value, Mean) else Mean(value, jnp.ones_like(jnp.asarray(value, jnp.float32)))
