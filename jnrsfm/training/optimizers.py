r"""Optimisers as optax transformations that read where the phase stands.

The engine calls `update(gradient, state, params, step=..., steps=...)` with the traced step of the phase and the number
of its steps, and adds nothing: a schedule is `scheduled`, the last link of the chain, so that one compiled program
serves phases of every length. Groups of parameters are `optax.multi_transform`, frozen ones `optax.set_to_zero`, a mask
for weight decay is `optax.add_decayed_weights(..., mask=...)`: all of them pass the two numbers on.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Rate = Callable[[Any, Any], Any]


def scheduled(rate: Rate) -> optax.GradientTransformationExtraArgs:
    """Multiplies by `-rate(step, steps)`: from a direction to a step."""

    def update(updates, state, params=None, *, step, steps, **_):
        now = -rate(step, steps)
        return jax.tree.map(lambda u: now * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def warm_up(step: Any, steps: Any, length: Any) -> Any:
    """Linear from 0 to 1 over `length` steps, at most a quarter of the phase."""
    return jnp.minimum((step + 1) / jnp.maximum(jnp.minimum(length, steps / 4), 1), 1.0)


def share_done(step: Any, steps: Any, length: Any) -> Any:
    """Share of the steps after a warm-up of `length` that are done, in [0, 1]."""
    warmup = jnp.minimum(length, steps / 4)
    return jnp.clip((step - warmup) / jnp.maximum(steps - warmup, 1), 0.0, 1.0)


class AverageState(NamedTuple):
    """State of `averaged`: the exponential moving average of the parameters, and the inner state."""

    average: Any
    inner: Any


def averaged(inner: optax.GradientTransformation, decay: float) -> optax.GradientTransformationExtraArgs:
    r"""`inner`, with an exponential moving average of the parameters beside it, `a = d a + (1 - d) \theta`.

    The decay rises with the step as `(1 + k) / (10 + k)` up to `decay`, so that the start is forgotten. The average is
    what a phase ends with (`evaluated`); training goes on from the parameters themselves.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params):
        return AverageState(jax.tree.map(jnp.array, params), inner.init(params))

    def update(updates, state, params=None, *, step, **extra):
        updates, after = inner.update(updates, state.inner, params, step=step, **extra)
        d = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
        new = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda a, p: d * a + (1 - d) * p, state.average, new)
        return updates, AverageState(average, after)

    return optax.GradientTransformationExtraArgs(init, update)


def evaluated(params: Any, opt_state: Any) -> Any:
    """The parameters to judge and to keep: the average, where the optimiser has one, else `params`."""
    return opt_state.average if isinstance(opt_state, AverageState) else params
