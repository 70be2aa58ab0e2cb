"""A Flax NNX module as pure functions over pytrees of arrays: what the engine trains and a file holds."""

import dataclasses
from functools import partial
from typing import Any

import jax
from flax import nnx

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Network:
    """The structure of a module, without arrays.

    `kind(config, rngs=...)` builds it. Parameters (`nnx.Param`) are optimised; all else that it keeps, running
    statistics say, is its model state. Both are nested dicts of arrays. Hashable: a static argument of `jit`.
    """

    kind: type
    config: Any
    graph: Any

    @classmethod
    def of(cls, kind: type, config: Any) -> "Network":
        """Of a module class and its config."""
        abstract = nnx.eval_shape(lambda: kind(config, rngs=nnx.Rngs(params=0)))
        return cls(kind, config, nnx.split(abstract, nnx.Param, ...)[0])

    def init(self, key: Any) -> tuple[PyTree, PyTree]:
        """Fresh `(params, model_state)`; one program, where each array on its own would be compiled for itself."""
        return _init(self, key)

    def module(self, params: PyTree, model_state: PyTree | None = None) -> Any:
        """The module with these arrays."""
        return nnx.merge(self.graph, params, {} if model_state is None else model_state)

    def parts(self, module: Any) -> tuple[PyTree, PyTree]:
        """`(params, model_state)` of a module."""
        _, params, rest = nnx.split(module, nnx.Param, ...)  # type: ignore[misc]
        return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


@partial(jax.jit, static_argnums=0)
def _init(network: Network, key: Any) -> tuple[PyTree, PyTree]:
    return network.parts(network.kind(network.config, rngs=nnx.Rngs(params=key)))
