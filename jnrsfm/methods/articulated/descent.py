"""Descent of the energy of an articulated figure: of all frames, and of many proposals for some of them at once."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jnrsfm.shape_prior.articulated import (
    Figure,
    Prior,
    Sigmas,
    Tracks,
    aligned,
    centred,
    energy,
    local_energy,
    mean_shape,
    scaled,
)

INNER = 50
"""Descent steps between two alignments of the shapes."""
ADAM = optax.scale_by_adam()


def moved(values: Any, update: Any, rate: Any) -> Any:
    """A step of `rate` against the update."""
    return jax.tree.map(lambda v, u: v - rate * u, values, update)


def in_relief(figure: Figure, relief: Float[Array, " clip"], clip: Int[Array, " frame"]) -> Figure:
    """The depths of each clip about the middle of their frame, times the exponential of the clip's relief."""
    z = figure.x[..., 2]
    middle = z.mean(-1, keepdims=True)
    return figure._replace(x=figure.x.at[..., 2].set(middle + (z - middle) * jnp.exp(relief[clip])[:, None]))


@partial(jax.jit, static_argnames=("rounds",))
def descend(figure: Figure, mean, tracks: Tracks, sigmas: Sigmas, done, rate=0.01, *, rounds: int = 10):
    """`(figure, rotations, mean, energy)` after `rounds` times `INNER` steps of Adam, with the shapes aligned anew at
    each round. `done` in [0, 1] is how far the whole descent has come, a pair of begin and end: the rate falls over its
    second half. Adam begins anew with each call.

    The depths of each clip have a common factor, its relief, beside them: views that turn little leave it nearly open
    (the bas-relief ambiguity), a valley along which single depths would creep."""
    clip = jnp.concatenate([jnp.zeros(1), jnp.cumsum(1 - tracks.follows)]).astype(int)
    flat = jnp.zeros(len(clip))  # of so many clips at most
    # a number for all frames, in steps a tenth as long: it is small, and all depths hang on it
    nearer = lambda f, step: f._replace(near=f.near + 0.1 * step * tracks.size)
    put = lambda f, relief, step: in_relief(nearer(f, step), relief, clip)
    still = jnp.zeros(())

    def outer(carry, number):
        figure, state, mean = carry
        rotations = aligned(scaled(figure), mean)
        slope = jax.grad(lambda free: energy(put(*free), rotations, tracks, sigmas))

        def inner(carry, i):
            free, state = carry
            step = number * INNER + i
            at = done[0] + (done[1] - done[0]) * step / (rounds * INNER)
            grads, relief, near = slope(free)
            grads = grads._replace(log_scale=sigmas.free_scale * grads.log_scale, near=0 * grads.near)
            near = sigmas.free_scale * near
            now = rate * jnp.minimum(1.0, 2 - 2 * at)
            update, state = ADAM.update((grads, relief, near), state)
            return (moved(free, update, now), state), None

        (free, state), _ = jax.lax.scan(inner, ((figure, flat, still), state), jnp.arange(INNER))
        figure = centred(put(*free))
        return (figure, state, mean_shape(figure, aligned(scaled(figure), mean))), None

    (figure, _, mean), _ = jax.lax.scan(
        outer, (figure, ADAM.init((figure, flat, still)), mean), jnp.arange(rounds)
    )
    rotations = aligned(scaled(figure), mean)
    return figure, rotations, mean, energy(figure, rotations, tracks, sigmas)


@partial(jax.jit, static_argnames=("rounds", "inner"))
def local(
    x: Float[Array, "proposal frame point 3"],
    log_scale: Float[Array, "proposal frame"],
    log_length: Float[Array, " bone"],
    near: Float[Array, " frame"],
    tracks: Tracks,
    there: Float[Array, " frame"],
    prior: Prior,
    sigmas: Sigmas,
    rate: float = 0.02,
    *,
    rounds: int = 4,
    inner: int = 25,
):
    """`(x, log_scale, cost (proposal,))` of proposals for one stretch of frames, each after some steps of descent with
    lengths and distribution held fixed; `there (frame,)` 0 for frames that only fill up."""

    known = lambda free: Figure(free[0], free[1], log_length, near)
    cost = lambda free, turn: local_energy(known(free), turn, tracks, there, prior, sigmas)

    def one(x, log_scale):
        def outer(carry, number):
            turn = aligned(scaled(known(carry[0])), prior.mean)

            def step(carry, i):
                free, state = carry
                grads = jax.grad(cost)(free, turn)
                update, state = ADAM.update((grads[0], sigmas.free_scale * grads[1]), state)
                now = rate * jnp.minimum(1.0, 2 - 2 * (number * inner + i) / (rounds * inner))
                return (moved(free, update, now), state), None

            return jax.lax.scan(step, carry, jnp.arange(inner))[0], None

        free = (x, log_scale)
        (free, _), _ = jax.lax.scan(outer, (free, ADAM.init(free)), jnp.arange(rounds))
        return *free, cost(free, aligned(scaled(known(free)), prior.mean))

    return jax.vmap(one)(x, log_scale)
