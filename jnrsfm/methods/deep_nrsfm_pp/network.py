"""The network of Deep NRSfM++ as pure functions: observations to shapes, cameras and the misfit of the image.

See `deep_nrsfm_pp` for the objective and the source.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.geometry.cameras import CameraModel
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
    misfits: Any  # (frame, 2) sum of squares of the shape as it is and, where images tell it, of its depth reflection


def forward(
    network: Network, camera: CameraModel, params, seen: Observations, free: Any = 1.0, either: Any = 0.0
) -> Terms:
    """Forward pass; residual of the normalised equations over `seen.weights`. `free` in [0, 1] scales the shapes'
    deviations from their mean over the batch: 0 is one rigid shape. `either` 1: camera points and residual are those
    of the depth reflection where that fits the image better."""
    inputs = camera.normalise(seen.inputs, seen.input_confidence, seen.depth)
    rows = camera.adjoint(inputs, seen.inputs, seen.input_confidence)
    shape, rotation, first_code = network.module(params)(rows)
    if not isinstance(free, float):  # outside training no frame may touch another, not even by rounding
        mean = shape.mean(0, keepdims=True)
        shape = mean + free * (shape - mean)
    points = jnp.einsum("bpj,bij->bpi", shape, rotation)
    residual, misfit = _misfit(camera, points, seen)
    misfits = jnp.stack([misfit, misfit], -1)
    if camera.shows_reflection:
        other = points * jnp.array([1.0, 1.0, -1.0])
        reflected, other_misfit = _misfit(camera, other, seen)
        misfits = jnp.stack([misfit, other_misfit], -1)
        flip = ((either > 0) & (misfit > other_misfit))[:, None, None]
        points, residual = jnp.where(flip, other, points), jnp.where(flip, reflected, residual)
    return Terms(shape, rotation, points, residual, first_code, misfits)


def _misfit(camera: CameraModel, points, seen: Observations):
    """The residual of camera-frame points, and each frame's sum of squares."""
    residual = camera.residual(points, seen.points, seen.weights, seen.depth)
    return residual, jnp.sum(seen.weights * jnp.sum(residual**2, -1), -1)


@partial(jax.jit, static_argnums=(0, 1))
def _block(network: Network, camera: CameraModel, params, seen: Observations):
    terms = forward(network, camera, params, seen)
    return terms.shape, terms.rotation, terms.misfits


def lifted(network: Network, camera: CameraModel, params, seen: Observations) -> tuple[np.ndarray, ...]:
    """`(shapes, rotations, misfits)` as in `Terms`, on the host, a block of frames at a time, so that memory does not
    grow with the set."""
    parts = blocks(seen)  # padded, so that one compiled size serves them all
    found = [
        jax.tree.map(np.asarray, _block(network, camera, params, jax.tree.map(lambda x, i=i: x[i], parts)))
        for i in range(len(parts.points))
    ]
    return tuple(np.concatenate(x)[: len(seen.points)] for x in zip(*found, strict=True))
