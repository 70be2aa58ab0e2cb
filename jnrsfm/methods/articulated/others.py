r"""The depths of a window of frames by what the other windows show.

A descent leaves frames in the wrong pose, or reflected, that their own distribution of shapes has made room for. The
shapes of all *other* windows, as a normal distribution N(M, V V^T) of aligned shapes, have no such room: given it, each
frame is a problem of its own, small enough to be searched. From many rotations R, in turn (with y the image, of the
perspective of the depths so far):

    code c = argmin |y - xy((M + V c) R^T)|^2 / sigma^2 + |c|^2,   closed form,
    z = z((M + V c) R^T),    R = the rotation that takes M to (y, z).

The ends that differ are the candidates of the frame; their cost is that of y under N(M, V V^T). Of the candidates along
a clip, the path of least cost plus movement is found exactly (Viterbi).

Source: ours; the distribution and its posterior: Lee et al., CVPR 2013.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.transform import Rotation

from jnrsfm.geometry.rotations import project_to_so3
from jnrsfm.shape_prior import articulated as prior
from jnrsfm.shape_prior.articulated import Figure, Sigmas, Tracks

_MODES = 12
_ROTATIONS = 32
_TURNS = 15
"""Codes and rotations in turn: enough to come to rest from most rotations."""
_LOOSE = 0.08
"""Standard deviation of a point about the others' shapes, not right either: with less, their faults decide."""
_KEPT = 4
_APART = 0.1  # root mean square of depths, as a share of the size: nearer candidates are one
_STRIDE = 3.0  # usual movement of a point in 3D, over that in the image


class Normal(NamedTuple):
    """Aligned shapes: `mean (point, 3)`, `modes (mode, point, 3)`, each as long as its standard deviation."""

    mean: Float[Array, "point 3"]
    modes: Float[Array, "mode point 3"]


def normal_of(shapes: Float[np.ndarray, "frame point 3"]) -> Normal:
    """Mean and leading modes of aligned shapes."""
    mean = shapes.mean(0)
    away = (shapes - mean).reshape(len(shapes), -1) / max(len(shapes), 1) ** 0.5
    values, vectors = np.linalg.eigh(away.T @ away)
    count = min(_MODES, len(values))
    modes = (vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0)))[:, :count].T
    modes = modes.reshape(count, *mean.shape)
    return Normal(jnp.asarray(mean, jnp.float32), jnp.asarray(modes, jnp.float32))


@partial(jax.jit, static_argnames="turns")
def candidates(
    points: Float[Array, "frame point 2"],
    weights: Float[Array, "frame point"],
    near: Float[Array, " frame"],
    normal: Normal,
    rotations: Float[Array, "start 3 3"],
    sigma: Float[Array, ""],
    *,
    turns: int = _TURNS,
) -> tuple[Float[Array, "frame start point 3"], Float[Array, "frame start"]]:
    """`(shapes, cost)`: from each of the `rotations`, the camera-frame shape of each frame, centred, and what its image
    costs, in nats. `points` are in the units of the shapes; `near`: size over distance."""
    mean, modes = normal
    w = weights / sigma**2

    def about(a, w):  # about the middle of the seen points: the translation is free
        middle = jnp.einsum("p,...pi->...i", w, a) / jnp.maximum(w.sum(), 1e-9)
        return a - middle[..., None, :]

    def step(carry, _, own):
        rotation, z = carry
        y, w, near = own
        y = y * jnp.maximum(1 + near * z, 0.1)[:, None]
        turned, moved = mean @ rotation.T, modes @ rotation.T
        rows = about(moved[..., :2], w)
        gap = about(y - turned[..., :2], w)
        right = jnp.einsum("mpi,p,pi->m", rows, w, gap)
        normal = jnp.eye(len(rows)) + jnp.einsum("mpi,p,npi->mn", rows, w, rows)
        factor = jnp.linalg.cholesky(normal)
        code = jax.scipy.linalg.cho_solve((factor, True), right)
        cost = (jnp.sum(w[:, None] * gap**2) - right @ code) / 2 + jnp.sum(jnp.log(jnp.diagonal(factor)))
        x = turned + jnp.einsum("m,mpi->pi", code, moved)
        # the image, where there is one, is believed
        shift = jnp.einsum("p,pi->i", w, y - x[:, :2]) / jnp.maximum(w.sum(), 1e-9)
        xy = jnp.where(w[:, None] > 0, y - shift, x[:, :2])
        x = jnp.concatenate([xy, x[:, 2:]], -1)
        x = x - x.mean(0)
        return (project_to_so3(jnp.einsum("pi,pj->ij", x, mean)), x[:, 2]), (x, cost)

    def one(y, w, near, rotation):
        # a few turns first: only the last one is kept
        advance = lambda _, carry: step(carry, None, (y, w, near))[0]
        carry = jax.lax.fori_loop(0, turns - 1, advance, (rotation, jnp.zeros(len(y))))
        return step(carry, None, (y, w, near))[1]

    each = jax.vmap(one, in_axes=(None, None, None, 0))
    return jax.vmap(each, in_axes=(0, 0, 0, None))(points, w, near, rotations)


def likeliest_path(
    shapes: Float[np.ndarray, "frame start point 3"],
    cost: Float[np.ndarray, "frame start"],
    follows: Float[np.ndarray, " step"],
    stride: float,
) -> Float[np.ndarray, "frame point 3"]:
    """One candidate for each frame: least cost, and least movement (Student's t of `stride`) where a frame follows its
    predecessor. Candidates that hardly differ are one."""
    kept, price = _distinct(shapes, cost)
    total, back = price[0], []
    for f in range(1, len(kept)):
        step = np.sum((kept[f][None] - kept[f - 1][:, None]) ** 2, -1) / stride**2
        move = follows[f - 1] * np.sum(2.5 * np.log1p(step / 4), -1)
        back.append(np.argmin(total[:, None] + move, 0))
        total = np.min(total[:, None] + move, 0) + price[f]
    path = [int(np.argmin(total))]
    for choice in back[::-1]:
        path.append(int(choice[path[-1]]))
    return kept[np.arange(len(kept)), path[::-1]]


def _distinct(shapes, cost):
    """`(frame, _KEPT, point, 3)` and `(frame, _KEPT)`: the best that differ in depth, infinite cost where there are
    fewer."""
    n = len(shapes)
    kept, price = np.zeros((n, _KEPT, *shapes.shape[2:])), np.full((n, _KEPT), np.inf)
    cost = np.where(np.isfinite(cost), cost, np.inf)
    for k in range(_KEPT):
        best = np.argmin(cost, 1)
        own = shapes[np.arange(n), best]
        price[:, k] = cost[np.arange(n), best]
        kept[:, k] = np.where(np.isfinite(price[:, k])[:, None, None], own, 0)
        apart = np.sqrt(np.mean((shapes[..., 2] - own[:, None, :, 2]) ** 2, -1))
        cost = np.where(apart > _APART, cost, np.inf)
    lost = ~np.isfinite(price[:, 0])
    price[lost, 0] = 0  # nothing to choose from: as flat as it looks
    return kept, price


def by_others(
    figure: Figure,
    aligned: Float[np.ndarray, "frame 3 3"],
    tracks: Tracks,
    sigmas: Sigmas,
    windows: list[np.ndarray],
) -> Figure:
    """The figure with the depths of each window by the shapes of all others (of all where there is but one window), and
    the hidden points. `aligned`: rotations of the figure's shapes onto their mean."""
    figure = prior.centred(figure)
    shapes = np.einsum("fpi,fij->fpj", np.asarray(prior.scaled(figure), np.float64), aligned)
    scale = np.exp(np.asarray(figure.log_scale, np.float64))[:, None, None]
    points, weights, near = (np.asarray(a) for a in (tracks.points, tracks.weights, figure.near))
    x = np.array(figure.x, np.float64)
    sigma = jnp.sqrt(_LOOSE**2 + sigmas.pixel**2)
    rotations = jnp.asarray(Rotation.random(_ROTATIONS, random_state=0).as_matrix(), jnp.float32)
    longest = max(len(w) for w in windows)
    moved = np.linalg.norm(np.diff(points, axis=0), axis=-1)[np.asarray(tracks.follows) > 0]
    stride = _STRIDE * max(float(np.median(moved)) if moved.size else 0.0, 1e-3)
    for own in windows:
        others = np.setdiff1d(np.arange(len(x)), own)
        normal = normal_of(shapes[others] if len(others) else shapes)
        filled = np.concatenate([own, np.repeat(own[-1:], longest - len(own))])  # one compiled size
        found, cost = candidates(
            jnp.asarray(points[filled] * scale[filled], jnp.float32), jnp.asarray(weights[filled]),
            jnp.asarray(near[filled] / scale[filled, 0, 0], jnp.float32), normal, rotations, sigma,
        )  # fmt: skip
        found, cost = (np.asarray(a, np.float64)[: len(own)] for a in (found, cost))
        follows = np.asarray(tracks.follows)[own[:-1]] * (np.diff(own) == 1)
        chosen = likeliest_path(found, cost, follows, stride) / scale[own]
        wide = np.maximum(1 + near[own][:, None, None] * chosen[..., 2:], 0.1)
        xy = np.where(weights[own][..., None] > 0, x[own][..., :2], chosen[..., :2] / wide)
        x[own] = np.concatenate([xy, chosen[..., 2:]], -1)
    return figure._replace(x=jnp.asarray(x, jnp.float32))
