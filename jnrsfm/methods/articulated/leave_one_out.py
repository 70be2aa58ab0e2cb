r"""Depths of a window of frames by leave-one-out: from the distribution of the shapes of all other windows.

A descent leaves frames in the wrong pose, or reflected, that their own distribution of shapes has made room for. The
shapes of all *other* windows, as a normal distribution N(M, B B^T + sigma^2 I) of aligned shapes, have no such room:
given it, each frame is a problem of its own, small enough to be searched. From many rotations R, in turn (with y the
image, of the perspective of the depths so far, and t its unknown place):

    code c = argmin |y - xy((M + B c) R^T) - t|^2 / sigma^2 + |c|^2,   closed form (`code_posterior`),
    z = z((M + B c) R^T),    R = the rotation that takes M to (y, z).

The ends that differ are the candidates of the frame; their cost is that of y under the distribution. Of the candidates
along a clip, the path of least cost plus movement is found exactly (Viterbi).

Source: ours; the distribution and its posterior: Lee et al., CVPR 2013.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial.transform import Rotation

from jnrsfm.geometry.rotations import project_to_so3
from jnrsfm.shape_prior import ProcrusteanNormal, code_posterior
from jnrsfm.shape_prior import articulated as prior
from jnrsfm.shape_prior.articulated import Figure, Sigmas, Tracks

_MODES = 12
_ROTATIONS = 32
_TURNS = 15
"""Codes and rotations in turn: enough to come to rest from most rotations."""
_NOISE = 0.08
"""Standard deviation of a point about the others' shapes, not right either: with less, their faults decide."""
_KEPT = 4
_APART = 0.1  # root mean square of depths, as a share of the size: nearer candidates are one
_STRIDE = 3.0  # usual movement of a point in 3D, over that in the image


def normal_of(shapes: Float[np.ndarray, "frame point 3"], variance: float) -> ProcrusteanNormal:
    """Mean and leading modes of aligned shapes, and the `variance` of a point about them."""
    mean = shapes.mean(0)
    away = (shapes - mean).reshape(len(shapes), -1) / max(len(shapes), 1) ** 0.5
    values, vectors = np.linalg.eigh(away.T @ away)
    count = min(_MODES, len(values))
    basis = (vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0)))[:, :count].reshape(*mean.shape, count)
    return ProcrusteanNormal(*(jnp.asarray(a, jnp.float32) for a in (mean, basis, variance)))


@partial(jax.jit, static_argnames="turns")
def candidates(
    points: Float[Array, "frame point 2"],
    weights: Float[Array, "frame point"],
    near: Float[Array, " frame"],
    normal: ProcrusteanNormal,
    rotations: Float[Array, "start 3 3"],
    *,
    turns: int = _TURNS,
) -> tuple[Float[Array, "frame start point 3"], Float[Array, "frame start"]]:
    """`(shapes, cost)`: from each of the `rotations`, the camera-frame shape of each frame, centred, and what its image
    costs, in nats up to a constant. `points` are in the units of the shapes; where `weights` are 0, what is stored does
    not matter; `near`: size over distance."""
    mean, basis = jnp.asarray(normal.mean), jnp.asarray(normal.basis)
    noise = jnp.asarray(normal.noise)[None, None]

    def about(a, w):  # about the middle of the seen points: the place of the image is free
        middle = jnp.einsum("p,p...->...", w, a) / jnp.maximum(w.sum(), 1e-9)
        return a - middle

    def posterior(y, w, near, rotation, z):
        """The shape given its rotation, and the cost; `z`: depths of which the image has its perspective."""
        y = y * jnp.maximum(1 + near * z, 0.1)[:, None]
        rotated, modes = mean @ rotation.T, jnp.einsum("ij,pjk->pik", rotation, basis)
        root = jnp.sqrt(w)[:, None]
        gap = root * about(y - rotated[:, :2], w)
        rows = root[..., None] * about(modes[:, :2], w)
        found = code_posterior(rows.reshape(-1, rows.shape[-1]), gap.reshape(-1, 1), noise)
        cost = (jnp.sum(gap.reshape(-1, 1) * found.weighted) + found.log_det) / 2
        x = rotated + modes @ found.mean[:, 0]
        # the image, where there is one, is believed
        shift = jnp.einsum("p,pi->i", w, y - x[:, :2]) / jnp.maximum(w.sum(), 1e-9)
        x = jnp.concatenate([jnp.where(w[:, None] > 0, y - shift, x[:, :2]), x[:, 2:]], -1)
        return x - x.mean(0), cost

    def one(y, w, near, rotation):
        def turn(_, carry):
            x, _ = posterior(y, w, near, *carry)
            return project_to_so3(jnp.einsum("pi,pj->ij", x, mean)), x[:, 2]

        carry = jax.lax.fori_loop(0, turns - 1, turn, (rotation, jnp.zeros(len(y))))
        return posterior(y, w, near, *carry)

    each = jax.vmap(one, in_axes=(None, None, None, 0))
    return jax.vmap(each, in_axes=(0, 0, 0, None))(points, weights, near, rotations)


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


def from_others(
    figure: Figure,
    aligned: Float[np.ndarray, "frame 3 3"],
    tracks: Tracks,
    sigmas: Sigmas,
    windows: list[np.ndarray],
) -> Figure:
    """The figure with depths and hidden points of each window by the shapes of all others (of all where there is one
    window only). `windows`: frames of each, in time order. `aligned`: rotations of its shapes onto their mean."""
    figure = prior.centred(figure)
    shapes = np.einsum("fpi,fij->fpj", np.asarray(prior.scaled(figure), np.float64), aligned)
    scale = np.exp(np.asarray(figure.log_scale, np.float64))[:, None, None]
    points, weights, near = (np.asarray(a) for a in (tracks.points, tracks.weights, figure.near))
    x = np.array(figure.x, np.float64)
    variance = _NOISE**2 + float(sigmas.pixel) ** 2
    rotations = jnp.asarray(Rotation.random(_ROTATIONS, random_state=0).as_matrix(), jnp.float32)
    longest = max(len(w) for w in windows)
    moved = np.linalg.norm(np.diff(points, axis=0), axis=-1)[np.asarray(tracks.follows) > 0]
    stride = _STRIDE * max(float(np.median(moved)) if moved.size else 0.0, 1e-3)
    for own in windows:
        others = np.setdiff1d(np.arange(len(x)), own)
        normal = normal_of(shapes[others] if len(others) else shapes, variance)
        filled = np.concatenate([own, np.repeat(own[-1:], longest - len(own))])  # one compiled size
        found, cost = candidates(
            jnp.asarray(points[filled] * scale[filled], jnp.float32), jnp.asarray(weights[filled]),
            jnp.asarray(near[filled] / scale[filled, 0, 0], jnp.float32), normal, rotations,
        )  # fmt: skip
        found, cost = (np.asarray(a, np.float64)[: len(own)] for a in (found, cost))
        follows = np.asarray(tracks.follows)[own[:-1]] * (np.diff(own) == 1)
        chosen = likeliest_path(found, cost, follows, stride) / scale[own]
        wide = np.maximum(1 + near[own][:, None, None] * chosen[..., 2:], 0.1)
        xy = np.where(weights[own][..., None] > 0, x[own][..., :2], chosen[..., :2] / wide)
        x[own] = np.concatenate([xy, chosen[..., 2:]], -1)
    return figure._replace(x=jnp.asarray(x, jnp.float32))
