"""Finding the object in a whole photograph: a second, small network that gives the corners of its box.

It sees the photograph as a square patch of the longer side, and learns from the boxes of the labels. A lift without
boxes looks twice: the box that it found is cut, the points found there make the box that counts.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.inputs import crops
from jnrsfm.inputs.crops import Squares
from jnrsfm.methods.student.network import found_poses, label_terms, seen_labels
from jnrsfm.methods.student.settings import Student
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import PoseNetwork
from jnrsfm.training import Engine, Phase, Problem, Resident, Session
from jnrsfm.types import LabelledImages

CORNERS = np.array([0, 1])
SHARE = 0.6  # of the photograph's longer side: where boxes are as long, nothing needs to be found


class _Views(NamedTuple):
    canvas: Any
    points: Any
    weights: Any


def is_needed(images: LabelledImages, boxes: np.ndarray, config: Student) -> bool:
    """Whether objects have to be looked for in photographs of this kind."""
    if config.locate != "auto":
        return config.locate == "yes"
    known = np.isfinite(boxes).all(1)
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1) / images.pixels.sizes.max(1)
    return bool(known.any() and np.median(longer[known]) < SHARE)


def whole_squares(images: LabelledImages) -> Squares:
    """Patches of whole photographs."""
    return crops.squares(np.full((len(images), 4), np.nan), images.pixels.sizes)


def network_of(config: Student) -> Network:
    """The locator's network."""
    return Network.of(PoseNetwork, config.network(2))


def train(images: LabelledImages, boxes: np.ndarray, config: Student, key: Any, session: Session) -> Any:
    """Parameters of a locator trained on the photographs whose `boxes (image, 4)` are known."""
    known = np.flatnonzero(np.isfinite(boxes).all(1))
    chosen = images.select(known)
    where = whole_squares(chosen)
    canvas = crops.canvases(chosen, where, config.size)
    points = where.to_crop(boxes[known].reshape(-1, 2, 2)).astype(np.float32)
    views = _Views(jnp.asarray(canvas), jnp.asarray(points), jnp.ones((len(known), 2)))
    network = network_of(config)
    how = crops.Augmentation(
        turned=0.0, flip=0.0, shift=0.15
    )  # corners of a turned box are not its corners turned

    def objective(params, model_state, batch, key, hyper):
        keys = jax.random.split(key)
        maps = crops.drawn_maps(keys[0], len(batch.points), how)
        patches = crops.coloured(keys[1], crops.patches(batch.canvas, maps, config.size), how)
        pose = network.module(params, model_state)(patches)
        target, weights = seen_labels(maps, batch.points, batch.weights, CORNERS)
        loss, metrics = label_terms(pose, target, weights, config.bin_weight)
        return loss, (metrics, model_state)

    def criteria(params, model_state, batch, hyper):
        patches = crops.patches(batch.canvas, crops.unmoved((len(batch.points),)), config.size)
        gap = network.module(params, model_state)(patches).points[..., :2] - batch.points
        return {"objective": (jnp.abs(gap).mean((1, 2)), jnp.ones(len(gap)))}

    engine = Engine(Problem(network.init, objective, criteria), config, session)
    steps = max(1, (config.steps or 1) // 2)
    return engine.train(Phase("locator", steps, Resident(views, config.batch, 256)), key).params


def found_boxes(network: Network, params: Any, images: LabelledImages, size: int) -> np.ndarray:
    """`(image, 4)` boxes in pixels."""
    where = whole_squares(images)
    points, _ = found_poses(network, params, crops.canvases(images, where, size))
    corners = where.to_pixels(points[..., :2])
    return np.concatenate([corners.min(1), corners.max(1)], 1)
