"""The network of Deep NRSfM++ as pure functions: observations to shapes, cameras and the misfit of the image.

See `deep_nrsfm_pp` for the objective and the source.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.geometry.cameras import CameraModel, fitted_depth
from jnrsfm.inputs.batching import blocks
from jnrsfm.inputs.observations import Observations
from jnrsfm.models.functional import Network


class Terms(NamedTuple):
    """What the forward pass gives for a batch, in the unit of the normalised measurements."""

    shape: Any  # object frame, centred
    rotation: Any
    camera_points: Any  # shape @ rotation.T
    residual: Any  # (frame, point, 2)
    first_code: Any
    depth: Any  # (frame,) of the observations, at the scale of the residual
    mirrored: Any  # (frame,) by how much the depth reflection fits the image better, sum of squares


def forward(
    network: Network, camera: CameraModel, params, seen: Observations, free: Any = 1.0, either: Any = 0.0,
    solve_scale: bool = False,
) -> Terms:  # fmt: skip
    """Forward pass; residual of the normalised equations over `seen.weights`. `free` in [0, 1] scales the shapes'
    deviations from their mean over the batch: 0 is one rigid shape. `either` 1: camera points and residual are those
    of the depth reflection where that fits the image better. `solve_scale`: at the scale of each frame that fits best,
    the mean over the batch kept where `free` is traced, since shapes and scales could shrink together."""
    inputs = camera.normalise(seen.inputs, seen.input_confidence, seen.depth)
    rows = camera.adjoint(inputs, seen.inputs, seen.input_confidence)
    shape, rotation, first_code = network.module(params)(rows)
    if not isinstance(free, float):  # outside training no frame may touch another, not even by rounding
        mean = shape.mean(0, keepdims=True)
        shape = mean + free * (shape - mean)
    points = jnp.einsum("bpj,bij->bpi", shape, rotation)

    def fitted(points):
        depth = seen.depth
        if solve_scale and camera.frame_scale:
            depth = fitted_depth(camera, points, seen.points, seen.weights, depth)
            if not isinstance(free, float):
                depth = depth * jnp.exp(jnp.mean(jnp.log(seen.depth)) - jnp.mean(jnp.log(depth)))
        residual = camera.residual(points, seen.points, seen.weights, depth)
        return points, residual, depth, jnp.sum(seen.weights * jnp.sum(residual**2, -1), -1)

    points, residual, depth, misfit = fitted(points)
    mirrored = jnp.zeros(len(misfit))
    if camera.shows_reflection:
        *other, reflected = fitted(points * jnp.array([1.0, 1.0, -1.0]))
        mirrored = misfit - reflected
        flip = (either > 0) & (mirrored > 0)
        pick = jax.vmap(lambda f, a, b: jnp.where(f, b, a))
        points, residual, depth = (pick(flip, *x) for x in zip((points, residual, depth), other, strict=True))
    return Terms(shape, rotation, points, residual, first_code, depth, mirrored)


@partial(jax.jit, static_argnums=(0, 1, 4))
def _block(network: Network, camera: CameraModel, params, seen: Observations, solve_scale: bool):
    terms = forward(network, camera, params, seen, solve_scale=solve_scale)
    return terms.shape, terms.rotation, terms.depth, terms.mirrored


def lifted(
    network: Network, camera: CameraModel, params, seen: Observations, solve_scale: bool = True
) -> tuple[np.ndarray, ...]:
    """`(shapes, rotations, depth, mirrored)` as in `Terms`, on the host, a block of frames at a time, so that memory
    does not grow with the set."""
    parts = blocks(seen)  # padded, so that one compiled size serves them all
    found = [
        jax.tree.map(
            np.asarray, _block(network, camera, params, jax.tree.map(lambda x, i=i: x[i], parts), solve_scale)
        )
        for i in range(len(parts.points))
    ]
    return tuple(np.concatenate(x)[: len(seen.points)] for x in zip(*found, strict=True))
