r"""Damped Newton and Gauss-Newton steps (Levenberg-Marquardt), for one problem or for a batch of them.

A step of a cost with gradient g and a symmetric matrix H (its Hessian, or $J^\top J$ of a residual) is

$$x \leftarrow x - (H + \lambda \operatorname{diag}(\rho))^{-1} g,$$

where the ridge $\rho$ is in the units of H, its diagonal or the mean of it, and $\lambda$ is the damping. A step
that lowers the cost is taken and the damping falls, else the point stays and the damping rises.

The pieces are pure functions of arrays with leading batch axes, `*batch`, one problem for each; a point may be any
pytree whose leaves lead with `*batch`. They run under `jit` and `vmap`, in float32 and float64; the caller jits.
`damped_step` and `shorten` are differentiable; `minimise` is a loop with a number of steps that depends on
the data, so only forward mode goes through it.

Sources: Levenberg, Quart. Appl. Math. 2, 1944; Marquardt, J. SIAM 11(2), 1963 (ridge by the diagonal); Nocedal and
Wright, Numerical Optimization, 2nd ed., section 10.3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Int

Point = Any  # a pytree of arrays with the leading axes *batch


class Damping(NamedTuple):
    """How damping follows success. Times 1 / `fall` after a step that was taken, not below `lowest`; after one that
    was not, times `rise` and plus `lift`, not above `highest`."""

    fall: float
    rise: float
    lift: float = 0.0
    lowest: float = 0.0
    highest: float = float("inf")

    def update(
        self, damping: Float[ArrayLike, "*batch"], better: Bool[ArrayLike, "*batch"]
    ) -> Float[Array, "*batch"]:
        """Damping of the next step; `better` says whether this one was taken."""
        damping = jnp.asarray(damping)
        return jnp.where(
            better,
            jnp.maximum(damping / self.fall, self.lowest),
            jnp.minimum(damping * self.rise + self.lift, self.highest),
        )


def damped_step(
    hessian: Float[ArrayLike, "*batch n n"],
    gradient: Float[ArrayLike, "*batch n"],
    ridge: Float[ArrayLike, "*#batch #n"],
    damping: Float[ArrayLike, "*#batch"] = 1.0,
    *,
    positive: bool = False,
) -> Float[Array, "*batch n"]:
    r"""Solution of $(H + \lambda \operatorname{diag}(\rho))\,\delta = g$ with $\lambda$ the `damping`: give minus the
    gradient, or subtract the step.

    By LU factorisation, which bears an indefinite H; with `positive` (static) by Cholesky factorisation, in half the
    time, of a matrix that must be positive definite: NaN where it is not, which no accepted step survives.
    """
    hessian, gradient = jnp.asarray(hessian), jnp.asarray(gradient)
    diagonal = jnp.eye(hessian.shape[-1], dtype=hessian.dtype) * jnp.asarray(ridge)[..., None]
    system = hessian + jnp.asarray(damping)[..., None, None] * diagonal
    if positive:
        factor = jax.scipy.linalg.cho_factor(system)
        return jax.scipy.linalg.cho_solve(factor, gradient[..., None])[..., 0]
    if gradient.ndim == 1:
        return jnp.linalg.solve(system, gradient)
    return jnp.linalg.solve(system, gradient[..., None])[..., 0]


def shorten(
    step: Float[ArrayLike, "*batch n"],
    longest: float | Array,
    length: Float[ArrayLike, "*batch"] | None = None,
) -> Float[Array, "*batch n"]:
    r"""The step times $\min(1, \text{longest} / \text{length})$: its direction, at most `longest` > 0 long.

    `length` (default: the Euclidean norm of the step) may measure a part of the step only, such as the angle of a
    rotation among other unknowns. The derivative at a zero step is the identity.
    """
    step = jnp.asarray(step)
    if length is None:
        square = jnp.sum(step * step, -1)
        length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return step * jnp.minimum(1.0, longest / jnp.maximum(jnp.asarray(length), 1e-12))[..., None]


def accept(better: Bool[ArrayLike, "*batch"], new: Point, old: Point) -> Point:
    """`new` where `better`, else `old`: two pytrees of one structure, leaves `(*batch, ...)`."""
    better = jnp.asarray(better)

    def pick(x, y):
        return jnp.where(better.reshape(better.shape + (1,) * (x.ndim - better.ndim)), x, y)

    return jax.tree.map(pick, new, old)


class Minimum(NamedTuple):
    """Where `minimise` stopped: the point and its `cost (*batch)`; the last `damping (*batch)`; the number of
    `steps` tried; `stopped (*batch)`, whether a rule stopped it and not the number of steps."""

    point: Point
    cost: Float[Array, "*batch"]
    damping: Float[Array, "*batch"]
    steps: Int[Array, ""]
    stopped: Bool[Array, "*batch"]


def minimise(
    propose: Callable[[Point, Float[Array, "*batch"]], tuple[Point, Float[Array, "*batch"]]],
    point: Point,
    cost: Float[Array, "*batch"],
    *,
    damping: float,
    schedule: Damping,
    steps: int | Array,
    tolerance: float | None = None,
    smallest: float | Array = 0.0,
    give_up: float = float("inf"),
) -> Minimum:
    r"""Damped steps until the cost stops falling: `propose(point, damping) -> (candidate, its cost)`.

    A candidate of lower cost is taken; one whose cost is not finite never is, so that the cost never rises.
    `damping` is that of the first step, `schedule` says how it goes on. A problem stops

    * when a step that was taken lowered the cost by less than `tolerance` |cost| + `smallest` (units of the cost;
      with `tolerance` None never),
    * when a step was not taken at a damping above `give_up`,
    * at once where the first cost is not above `smallest`.

    The loop ends when all have stopped, or after `steps` (which may be traced); a problem that has stopped
    keeps its point. What `propose` computes at a candidate can travel in the point, so that nothing is done twice.
    """
    cost = jnp.asarray(cost)

    def step(state: Minimum) -> Minimum:
        candidate, new_cost = propose(state.point, state.damping)
        better = new_cost < state.cost
        taken = better & ~state.stopped
        stopped = ~better & (state.damping > give_up)
        if tolerance is not None:
            small = state.cost - new_cost < tolerance * jnp.abs(state.cost) + smallest
            stopped = jnp.where(better, small, stopped)
        return Minimum(
            accept(taken, candidate, state.point),
            jnp.where(taken, new_cost, state.cost),
            jnp.where(state.stopped, state.damping, schedule.update(state.damping, better)),
            state.steps + 1,
            state.stopped | stopped,
        )

    first = Minimum(
        point,
        cost,
        jnp.full_like(cost, damping),
        jnp.asarray(0),
        (cost <= smallest) & (tolerance is not None),
    )
    return lax.while_loop(lambda s: (s.steps < steps) & ~jnp.all(s.stopped), step, first)
