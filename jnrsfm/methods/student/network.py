"""What the student trains: patches of canvases in, points out, held against labels and depth targets."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnrsfm.inputs import crops
from jnrsfm.inputs.crops import PatchMap
from jnrsfm.losses import CodeTerms, code_bound
from jnrsfm.methods.student.settings import Student
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import Pose, bin_places
from jnrsfm.training.problem import Mean


class Samples(NamedTuple):
    """What training sees of each image; leading axis image.

    `canvas (image, c, c, 3)` uint8; `points (image, point, 2)`: labels in crop units; `weights` and `heldout (image,
    point)`: of the labels that training may use, and must not. Of the teacher (`teacher.DepthTargets`): `unit
    (image,)`: crop units of the object's size; `depth`, `factor`, `spread`, `confidence` (0 where there is no label),
    `codes`, and `centred (image, point, 2)`: its labels.
    """

    canvas: Any
    points: Any
    weights: Any
    heldout: Any
    unit: Any
    depth: Any
    factor: Any
    spread: Any
    confidence: Any
    codes: CodeTerms | None
    centred: Any


def seen_labels(maps: PatchMap, points, weights, swap):
    """Labels in patch units, and their weights, 0 where the patch does not reach."""
    target = maps.to_patch(points, swap)
    weights = jnp.where(maps.flipped[..., None], weights[..., swap], weights)
    return target, weights * (jnp.abs(target) < 0.6).all(-1)


def label_terms(pose: Pose, target, weights, bin_weight: float) -> tuple[Any, dict[str, Mean]]:
    """Loss of x and y: L1 distance, the cross-entropy of the axis head's bins, and the Laplace likelihood of the spread
    (which teaches the spread alone)."""
    total = jnp.maximum(weights.sum(), 1e-6)
    gap = jnp.abs(pose.points[..., :2] - target)
    loss = jnp.sum(weights[..., None] * gap) / total
    metrics = {"labels": Mean(jnp.sum(weights[..., None] * gap), weights.sum())}
    still = jax.lax.stop_gradient(gap)
    spread = pose.spread[..., :2]
    loss = loss + 0.01 * jnp.sum(weights[..., None] * (still / spread + jnp.log(spread))) / total
    if pose.logits is not None and bin_weight:
        places = bin_places(pose.logits.shape[-1])[:2]
        width = places[:, 1] - places[:, 0]
        wanted = jax.nn.softmax(-0.5 * ((target[..., None] - places) / (1.5 * width[:, None])) ** 2, -1)
        entropy = -jnp.sum(wanted * jax.nn.log_softmax(pose.logits[..., :2, :], -1), -1)
        loss = loss + bin_weight * jnp.sum(weights[..., None] * entropy) / total
    return loss, metrics


def depth_bins(pose: Pose, depth, deviation) -> Any:
    """`(image,)` cross-entropy of the axis head's bins of z with normal distributions about `depth (image, point)` of
    standard `deviation`, in patch units; at least one and a half bins wide."""
    places = bin_places(pose.logits.shape[-1])[2]
    width = jnp.maximum(deviation, 1.5 * (places[1] - places[0]))[..., None]
    wanted = jax.nn.softmax(-0.5 * ((depth[..., None] - places) / width) ** 2, -1)
    return -jnp.sum(wanted * jax.nn.log_softmax(pose.logits[..., 2, :], -1), -1).mean(-1)


def depth_cost(batch: Samples, depth: Float[Array, "image point"], config: Student, dictionary: Any):
    """`(image,)` cost of depths in units of the object's size, offset free, in that unit."""
    p = depth.shape[-1]
    gap = depth - depth.mean(-1, keepdims=True) - batch.depth
    if config.distill == "depths":
        return jnp.abs(gap).mean(-1)
    if config.distill == "codes":
        assert batch.codes is not None
        bound = code_bound(dictionary, batch.codes, depth, batch.centred, batch.weights, config.sparsity)
        return bound / p**0.5
    square = jnp.sum(jnp.einsum("bqp,bp->bq", batch.factor, gap) ** 2, -1) / p
    return config.firmness * jnp.sqrt(square + 1e-6)


class Objective:
    """The objective and criteria of a student: `Problem`'s functions. `swap (point,)` exchanges left and right,
    `flips` says whether images are flipped at all."""

    def __init__(self, network: Network, config: Student, swap: np.ndarray, dictionary: Any, flips: bool):
        self.network, self.config, self.swap, self.dictionary = network, config, swap, dictionary
        how = config.augmentation
        self.how = how if flips else crops.Augmentation(**{**how.__dict__, "flip": 0.0})

    def __call__(self, params, model_state, batch: Samples, key, hyper):
        """Loss of a batch of images, augmented, and what to record."""
        keys = jax.random.split(key)
        maps = crops.drawn_maps(keys[0], len(batch.points), self.how)
        images = crops.patches(batch.canvas, maps, self.config.size)
        pose = self.network.module(params, model_state)(crops.coloured(keys[1], images, self.how))
        loss, metrics = self._loss(pose, maps, batch, hyper)
        return loss, (metrics, model_state)

    def depth_loss(self, shapes, batch: Samples, hyper) -> tuple[Any, dict[str, Any]]:
        """What the depths of a batch of `shapes (image, point, 3)`, in units of the object's size, cost in crop units;
        and what to record."""
        cost = depth_cost(batch, shapes[..., 2], self.config, self.dictionary) * batch.unit
        total = jnp.maximum(batch.confidence.sum(), 1e-6)
        return jnp.sum(batch.confidence * cost) / total, {
            "depth": Mean(jnp.sum(batch.confidence * cost), batch.confidence.sum())
        }

    def start_weight(self, hyper) -> Any:
        """Weight of the depths' distributions at the step."""
        return 1.0

    def _loss(self, pose: Pose, maps: PatchMap, batch: Samples, hyper):
        target, weights = seen_labels(maps, batch.points, batch.weights, self.swap)
        loss, metrics = label_terms(pose, target, weights, self.config.bin_weight)
        found = maps.from_patch(pose.points, self.swap)
        shapes = found / batch.unit[:, None, None]
        cost, more = self.depth_loss(shapes, batch, hyper)
        loss, metrics = loss + self.config.depth_weight * cost, metrics | more
        depth, total = shapes[..., 2], jnp.maximum(batch.confidence.sum(), 1e-6)
        if pose.logits is not None and self.config.bin_weight:
            there = lambda x: (
                jnp.where(maps.flipped[:, None], x[:, self.swap], x) * (batch.unit * maps.scale)[:, None]
            )
            entropy = depth_bins(
                pose, there(batch.depth), there(jnp.hypot(batch.spread, self.config.firmness))
            )
            loss = (
                loss
                + self.config.bin_weight
                * self.start_weight(hyper)
                * jnp.sum(batch.confidence * entropy)
                / total
            )
        # how sure the depths are: their distance to the teacher's, in the units of the patch
        gap = jnp.abs(depth - depth.mean(-1, keepdims=True) - batch.depth) * batch.unit[:, None]
        gap = jax.lax.stop_gradient(
            jnp.where(maps.flipped[:, None], gap[:, self.swap], gap) * maps.scale[:, None]
        )
        spread = pose.spread[..., 2]
        likelihood = (gap / spread + jnp.log(spread)).mean(-1)
        return loss + 0.01 * jnp.sum(batch.confidence * likelihood) / total, metrics

    def criteria(self, params, model_state, batch: Samples, hyper):
        """The loss without augmentation, and the distance of held-out labels in crop units."""
        maps = crops.unmoved((len(batch.points),))
        images = crops.patches(batch.canvas, maps, self.config.size)
        pose = self.network.module(params, model_state)(images)
        gap = pose.points[..., :2] - batch.points
        cost = depth_cost(batch, pose.points[..., 2] / batch.unit[:, None], self.config, self.dictionary)
        label = (batch.weights[..., None] * jnp.abs(gap)).sum((1, 2))
        loss = label / jnp.maximum(batch.weights.sum(-1), 1e-6) + batch.confidence * cost * batch.unit
        distance = jnp.sqrt((gap**2).sum(-1) + 1e-12)
        return {
            "objective": (loss, jnp.ones(len(loss))),
            "heldout": ((batch.heldout * distance).sum(-1), batch.heldout.sum(-1)),
        }


@partial(jax.jit, static_argnums=(0, 1, 4))
def _pose(network: Network, size: int, params, canvas, swap: tuple[int, ...]):
    module, batch = network.module(params, {}), (len(canvas),)
    pose = module(crops.patches(canvas, crops.unmoved(batch), size))
    if not swap:
        return pose.points, pose.spread
    maps, order = crops.mirrored(batch), jnp.array(swap)
    other = module(crops.patches(canvas, maps, size))
    points = (pose.points + maps.from_patch(other.points, order)) / 2
    return points, (pose.spread + other.spread[:, order]) / 2


def found_poses(
    network: Network, params: Any, canvas: np.ndarray, swap: tuple[int, ...] = (), block: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """`(points (image, point, 3), spread (image, point, 3))` in crop units, a block of images at a time; the last block
    is filled up, so that one compiled size serves all (a single image has a size of its own).

    With `swap (point,)`, the point that each is exchanged with, the mean of what the network says of the image and of
    its mirror image, whose errors are partly each other's opposite, for twice the time."""
    size, n = network.config.size, len(canvas)
    block = 1 if n == 1 else block
    points, spread = [], []
    for first in range(0, n, block):
        part = canvas[first : first + block]
        full = np.concatenate([part, np.zeros((block - len(part), *part.shape[1:]), part.dtype)])
        found = _pose(network, size, params, jnp.asarray(full), swap)
        points.append(np.asarray(found[0])[: len(part)])
        spread.append(np.asarray(found[1])[: len(part)])
    return np.concatenate(points), np.concatenate(spread)
