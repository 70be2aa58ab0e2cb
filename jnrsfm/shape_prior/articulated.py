r"""The energy of an articulated figure seen in clips, and its descent: bones of constant length, motion that is smooth
in depth too, and poses that are few.

A frame's points x_fp (camera frame) lie near their observations in x and y. With s_f the scale of the frame (smooth in
time) and X_f = s_f x_f,

    E = sum_p w_fp t(x_fp - y_fp, sigma_pixel) + sum_e t(|X_fi - X_fj| - l_e, sigma_bone l)
        + sum_p t(second difference of X_fp, sigma_motion) + ((log s_f+1 - log s_f) / sigma_scale)^2 / 2
        + 1/2 log det(I + C / sigma_shape^2)

each a mean over frames, in nats; t(r, s) = 5/2 log(1 + (r/s)^2 / 4), Student's with four degrees of freedom, since
tracks jump and joints are not where they seem; C is the covariance of the shapes after their rotation onto the mean
shape, as in the Procrustean normal distribution, whose likelihood the last term is. The lengths l_e are unknown and
found too.

Bones alone do not fix the depth: each may point to the camera or away from it, one choice for each bone and frame;
motion and the covariance decide, and the descent, which cannot jump, is helped by `flips` (proposals) and `local` (what
each of them would cost, under the covariance as it is).

Source: ours; the covariance: Lee et al., CVPR 2013; bones and signs: Taylor, CVPR 2000, Wei and Chai, ICCV 2009.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jnrsfm.geometry.rotations import project_to_so3

INNER = 50
"""Descent steps between two alignments of the shapes."""


class Tracks(NamedTuple):
    """What was seen: `points (frame, point, 2)` centred and of size 1 in each frame (or in all), `weights (frame,
    point)` (0: not seen), `follows (frame - 1,)` 1 where a frame follows its predecessor in a clip, `bones (bone,
    2)`."""

    points: Any
    weights: Any
    follows: Any
    bones: Any


class Figure(NamedTuple):
    """What is sought: `x (frame, point, 3)` in the camera frame, in the units of the tracks; `log_scale (frame,)`: log
    of s; `log_length (bone,)`."""

    x: Any
    log_scale: Any
    log_length: Any


class Sigmas(NamedTuple):
    """Standard deviations of the energy's terms, in units of the object's size; `free_scale`: 1, or 0 where all frames
    have one scale."""

    pixel: Any
    bone: Any
    motion: Any
    scale: Any
    shape: Any
    free_scale: Any


class Prior(NamedTuple):
    """The distribution of aligned shapes: `mean (point, 3)` and, of its precision, `inverse (3 point, 3 point)`."""

    mean: Any
    inverse: Any


def _t(square: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Student's t with four degrees of freedom, of a squared standardised residual."""
    return 2.5 * jnp.log1p(square / 4)


def scaled(figure: Figure) -> Float[Array, "frame point 3"]:
    """X of the module docstring, centred."""
    x = figure.x * jnp.exp(figure.log_scale)[..., None, None]
    return x - x.mean(-2, keepdims=True)


def bone_lengths(
    x: Float[Array, "*batch point 3"], bones: Int[Array, "bone 2"]
) -> Float[Array, "*batch bone"]:
    """Lengths, smooth at 0."""
    gap = x[..., bones[:, 0], :] - x[..., bones[:, 1], :]
    return jnp.sqrt(jnp.sum(gap**2, -1) + 1e-6)


def _own_terms(figure: Figure, tracks: Tracks, sigmas: Sigmas) -> Float[Array, " frame"]:
    """`(frame,)` the energy without the covariance; what ties neighbours is given to the first of them."""
    x = scaled(figure)
    away = figure.x[..., :2] - tracks.points
    cost = jnp.sum(tracks.weights * _t(jnp.sum(away**2, -1) / sigmas.pixel**2), -1)
    length = jnp.exp(figure.log_length)
    off = (bone_lengths(x, tracks.bones) - length) / (sigmas.bone * length.mean())
    cost = cost + jnp.sum(_t(off**2), -1)
    both = tracks.follows[1:] * tracks.follows[:-1]
    bend = (x[2:] - 2 * x[1:-1] + x[:-2]) / sigmas.motion
    bend = both * jnp.sum(_t(bend**2), (-2, -1))
    step = tracks.follows * ((figure.log_scale[1:] - figure.log_scale[:-1]) / sigmas.scale) ** 2 / 2
    pad = lambda a, n: jnp.concatenate([a, jnp.zeros(n, a.dtype)])
    # gauge: depths about 0, scales about 1
    middle = figure.x[..., 2].mean(-1)
    return cost + pad(bend, 2) + pad(step, 1) + 10 * middle**2 + 0.005 * figure.log_scale**2


def aligned(x: Float[Array, "frame point 3"], mean: Float[Array, "point 3"]) -> Float[Array, "frame 3 3"]:
    """Rotations R with x R near the mean shape."""
    return project_to_so3(jnp.einsum("fpi,pj->fij", x, mean))


def _turned(x, rotations):
    return jnp.einsum("fpi,fij->fpj", x, rotations).reshape(len(x), -1)


def _covariance(figure: Figure, rotations, floor):
    y = _turned(scaled(figure), rotations)
    c = y - y.mean(0)
    return jnp.eye(c.shape[1]) + c.T @ c / (len(c) * floor**2)


def energy(figure: Figure, rotations, tracks: Tracks, sigmas: Sigmas) -> Float[Array, ""]:
    """E of the module docstring, at given alignments `rotations (frame, 3, 3)`; the scales are taken about their mean,
    since all of it falls with the size."""
    figure = _centred(figure)
    chol = jnp.linalg.cholesky(_covariance(figure, rotations, sigmas.shape))
    return _own_terms(figure, tracks, sigmas).mean() + jnp.sum(jnp.log(jnp.diagonal(chol)))


def _adam(params, grads, moments, step, rate):
    """One step of Adam on a tree, by hand: the loops below carry it through `vmap` and `scan`."""
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], grads)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, moments[1], grads)
    a, b = 1 - 0.9 ** (step + 1.0), 1 - 0.999 ** (step + 1.0)
    move = lambda p, m, v: p - rate * (m / a) / (jnp.sqrt(v / b) + 1e-8)
    return jax.tree.map(move, params, first, second), (first, second)


def _centred(figure: Figure) -> Figure:
    """With scales whose geometric mean is 1."""
    return figure._replace(log_scale=figure.log_scale - figure.log_scale.mean())


def mean_shape(figure: Figure, rotations) -> Float[Array, "point 3"]:
    """Mean of the aligned shapes."""
    return _turned(scaled(figure), rotations).mean(0).reshape(-1, 3)


@partial(jax.jit, static_argnames=("rounds",))
def descend(figure: Figure, mean, tracks: Tracks, sigmas: Sigmas, done, rate=0.01, *, rounds: int = 10):
    """`(figure, rotations, mean, energy)` after `rounds` times `INNER` steps of Adam, with the shapes aligned anew at
    each round. `done` in [0, 1] is how far the whole descent has come, a pair of begin and end: the rate falls over its
    second half."""

    def outer(carry, number):
        figure, moments, mean = carry
        rotations = aligned(scaled(figure), mean)
        slope = jax.grad(lambda f: energy(f, rotations, tracks, sigmas))

        def inner(carry, i):
            figure, moments = carry
            step = number * INNER + i
            at = done[0] + (done[1] - done[0]) * step / (rounds * INNER)
            grads = slope(figure)
            grads = grads._replace(log_scale=sigmas.free_scale * grads.log_scale)
            now = rate * jnp.minimum(1.0, 2 - 2 * at)
            return _adam(figure, grads, moments, step, now), None

        (figure, moments), _ = jax.lax.scan(inner, (figure, moments), jnp.arange(INNER))
        figure = _centred(figure)
        return (figure, moments, mean_shape(figure, aligned(scaled(figure), mean))), None

    zeros = jax.tree.map(jnp.zeros_like, figure)
    (figure, _, mean), _ = jax.lax.scan(outer, (figure, (zeros, zeros), mean), jnp.arange(rounds))
    rotations = aligned(scaled(figure), mean)
    return figure, rotations, mean, energy(figure, rotations, tracks, sigmas)


@jax.jit
def prior_of(figure: Figure, rotations, sigmas: Sigmas) -> Prior:
    """The distribution of the shapes as they are. By the concavity of log det, tr(inverse C) is above the last term of
    E up to a constant and touches it here."""
    inverse = jnp.linalg.inv(_covariance(figure, rotations, sigmas.shape)) / sigmas.shape**2
    return Prior(mean_shape(figure, rotations), (inverse + inverse.T) / 2)


@partial(jax.jit, static_argnames=("rounds", "inner"))
def local(
    x: Float[Array, "proposal frame point 3"],
    log_scale: Float[Array, "proposal frame"],
    log_length: Float[Array, " bone"],
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

    def cost(free, rotations):
        figure = Figure(free[0], free[1], log_length)
        y = _turned(scaled(figure), rotations) - prior.mean.reshape(-1)
        shape = jnp.einsum("fi,ij,fj->f", y, prior.inverse, y) / 2
        return jnp.sum(there * (_own_terms(figure, tracks, sigmas) + shape))

    def one(x, log_scale):
        def outer(carry, number):
            free, moments = carry
            rotations = aligned(scaled(Figure(free[0], free[1], log_length)), prior.mean)

            def step(carry, i):
                free, moments = carry
                grads = jax.grad(cost)(free, rotations)
                grads = (grads[0], sigmas.free_scale * grads[1])
                k = number * inner + i
                now = rate * jnp.minimum(1.0, 2 - 2 * k / (rounds * inner))
                return _adam(free, grads, moments, k, now), None

            return jax.lax.scan(step, (free, moments), jnp.arange(inner))[0], None

        free = (x, log_scale)
        zeros = jax.tree.map(jnp.zeros_like, free)
        (free, _), _ = jax.lax.scan(outer, (free, (zeros, zeros)), jnp.arange(rounds))
        rotations = aligned(scaled(Figure(free[0], free[1], log_length)), prior.mean)
        return *free, cost(free, rotations)

    return jax.vmap(one)(x, log_scale)


def spanning_tree(bones: np.ndarray, n_points: int) -> tuple[np.ndarray, np.ndarray]:
    """`(parent (point,), below (point, point) bool)` of a tree over the bones from their most joined point: `below[p,
    q]` where q hangs on p. Points without a bone have no parent (-1)."""
    joined: list[list[int]] = [[] for _ in range(n_points)]
    for a, b in bones:
        joined[int(a)].append(int(b))
        joined[int(b)].append(int(a))
    parent, seen = np.full(n_points, -1), np.zeros(n_points, bool)
    below = np.eye(n_points, dtype=bool)
    for root in np.argsort([-len(j) for j in joined], kind="stable"):
        if seen[root]:
            continue
        seen[root], queue, order = True, [int(root)], []
        while queue:
            p = queue.pop(0)
            order.append(p)
            for q in joined[p]:
                if not seen[q]:
                    seen[q], parent[q] = True, p
                    queue.append(q)
        for p in reversed(order):
            if parent[p] >= 0:
                below[parent[p]] |= below[p]
    return parent, below


def rigid_pairs(x: np.ndarray) -> np.ndarray:
    """`(point - 1, 2)` pairs whose distance in `x (frame, point, 3)` varies least for its length, one tree of them:
    bones where nobody named any."""
    n = x.shape[1]
    gap = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    vary = gap.std(0) / np.maximum(gap.mean(0), 1e-9) + np.diag(np.full(n, np.inf))
    inside, pairs = np.zeros(n, bool), []
    inside[0] = True
    while not inside.all():
        rest = np.where(inside[:, None] & ~inside[None], vary, np.inf)
        a, b = np.unravel_index(int(np.argmin(rest)), rest.shape)
        pairs.append((a, b))
        inside[b] = True
    return np.array(pairs, int).reshape(-1, 2)


def flips(x: np.ndarray, parent: np.ndarray, below: np.ndarray, most: int = 3) -> list[np.ndarray]:
    """Copies of `x (frame, point, 3)` in which one bone points to the camera instead of away from it, or the other way,
    for a stretch of frames: what hangs on it moves along, or is reflected with it. Stretches begin and end where the
    bone lies in the image plane (where a wrong sign can have set in), or with the clip."""
    out = []
    for p in range(x.shape[1]):
        if parent[p] < 0:
            continue
        z = x[:, p, 2] - x[:, parent[p], 2]
        for first, last in _stretches(np.abs(z), most):
            rows, own = np.arange(first, last), np.flatnonzero(below[p])
            moved = x.copy()
            moved[rows[:, None], own, 2] -= 2 * z[rows, None]
            out.append(moved)
            if len(own) > 1:
                limb = x.copy()
                limb[rows[:, None], own, 2] = 2 * x[rows, parent[p], 2][:, None] - x[rows[:, None], own, 2]
                out.append(limb)
    return out


def _stretches(size: np.ndarray, most: int) -> list[tuple[int, int]]:
    """The whole, and what lies between at most `most` of the deepest minima of `size (frame,)`."""
    n = len(size)
    low = [
        i for i in range(2, n - 2)
        if size[i] <= size[i - 1] and size[i] <= size[i + 1] and size[i] < 0.5 * np.median(size)
    ]  # fmt: skip
    cuts = [0, *sorted(sorted(low, key=lambda i: size[i])[:most]), n]
    parts = {(0, n)} | {(a, b) for i, a in enumerate(cuts) for b in cuts[i + 1 :] if b - a > 2}
    return sorted(parts)
