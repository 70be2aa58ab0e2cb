r"""Masks of frames that have none, by a small U-Net trained on the frames that have one.

Of a patch around the object, augmented with its mask, the loss is the mean cross-entropy of the pixels and one minus
the overlap of the soft mask (Dice), so that a small object counts as much as a large one. Frames without a mask are cut
at their box, or at that of their neighbour in time.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.inputs import crops
from jnrsfm.inputs.crops import Squares
from jnrsfm.inputs.masks import largest_piece, picture_on_grid
from jnrsfm.methods.mesh_video.settings import MeshVideo
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import BackboneConfig
from jnrsfm.models.vision.mask import MaskNetwork, MaskNetworkConfig
from jnrsfm.training import Engine, Phase, Problem, Resident, Session
from jnrsfm.types import LabelledImages

LEAST_MASKS = 8
AUGMENTATION = crops.Augmentation(shift=0.1)
TOGETHER = 32


class Views(NamedTuple):
    """Training images, leading axis image: `canvas` and `mask`, uint8 canvases of the picture and of its mask."""

    canvas: Any
    mask: Any


def network_of(config: MeshVideo) -> Network:
    """The structure for the settings."""
    return Network.of(MaskNetwork, MaskNetworkConfig(config.patch, BackboneConfig.preset(config.backbone)))


class Objective:
    """The loss of a batch, and one minus the overlap without augmentation."""

    def __init__(self, network: Network):
        self.network, self.size = network, network.config.size

    def __call__(self, params, model_state, batch: Views, key, hyper):
        """`(loss, (metrics, model_state))`, as the engine asks for."""
        keys = jax.random.split(key)
        maps = crops.drawn_maps(keys[0], len(batch.canvas), AUGMENTATION)
        images = crops.coloured(keys[1], crops.patches(batch.canvas, maps, self.size), AUGMENTATION)
        wanted = crops.patches(batch.mask, maps, self.size)[..., 0] / 255
        logits = self.network.module(params, model_state)(images)
        entropy = (jax.nn.softplus(logits) - wanted * logits).mean()
        apart = missed(jax.nn.sigmoid(logits), wanted).mean()
        return entropy + apart, ({"entropy": entropy, "apart": apart}, model_state)

    def criteria(self, params, model_state, batch: Views, hyper):
        """One minus the overlap of the training images."""
        maps = crops.unmoved((len(batch.canvas),))
        logits = self.network.module(params, model_state)(crops.patches(batch.canvas, maps, self.size))
        apart = missed(jax.nn.sigmoid(logits), crops.patches(batch.mask, maps, self.size)[..., 0] / 255)
        return {"objective": (apart, jnp.ones_like(apart))}


def missed(found: Any, wanted: Any) -> Any:
    """`(image,)` one minus Dice of soft masks: `1 - 2 sum(m m*) / sum(m + m*)`."""
    both, total = (found * wanted).sum((1, 2)), (found + wanted).sum((1, 2))
    return 1 - (2 * both + 1) / (total + 1)


def train(
    images: LabelledImages, where: Squares, masks: list[Any], config: MeshVideo, key: Any, session: Session
) -> Any:
    """Parameters of a mask network trained on the frames that have a mask."""
    known = np.flatnonzero([m is not None for m in masks])
    network = network_of(config)
    part = Squares(where.centre[known], where.side[known])
    canvas = crops.canvases(images.select(known), part, config.patch)
    side = canvas.shape[1]
    pictures = [np.repeat(np.where(masks[i], 255, 0).astype(np.uint8)[..., None], 3, -1) for i in known]
    drawn = [
        picture_on_grid(m, c, crops.MARGIN * float(s), side)
        for m, c, s in zip(pictures, part.centre, part.side, strict=True)
    ]
    data = jax.tree.map(jnp.asarray, Views(canvas, np.stack(drawn)))
    own = config.for_network(config.mask_steps, len(known))
    objective = Objective(network)
    engine = Engine(Problem(network.init, objective, objective.criteria), own, session)
    return engine.train(Phase("masks", own.steps, Resident(data, own.batch, 64)), key).params


def predict(
    images: LabelledImages, where: Squares, params: Any, config: MeshVideo, which: np.ndarray
) -> list[np.ndarray]:
    """Masks, each of the size of its image, of some frames: the largest piece in the square."""
    network, found = network_of(config), []
    for first in range(0, len(which), TOGETHER):
        part = which[first : first + TOGETHER]
        canvas = crops.canvases(
            images.select(part), Squares(where.centre[part], where.side[part]), config.patch
        )
        full = np.concatenate([canvas, np.zeros((TOGETHER - len(part), *canvas.shape[1:]), canvas.dtype)])
        chance = np.asarray(_chances(network, params, full))[: len(part)]
        for i, c in zip(part, chance, strict=True):
            width, height = (int(n) for n in np.asarray(images.pixels.sizes)[i])
            found.append(_placed(c, where.centre[i], float(where.side[i]), (height, width)))
    return found


def _placed(chance: np.ndarray, centre: np.ndarray, side: float, shape: tuple[int, int]) -> np.ndarray:
    """A patch's chances brought to the pixels of the image, by the nearest; beyond the patch nothing."""
    size = len(chance)
    at = lambda n, c: np.floor(((np.arange(n) - c) / side + 0.5) * size).astype(int)
    y, x = at(shape[0], centre[1]), at(shape[1], centre[0])
    inside = ((y >= 0) & (y < size))[:, None] & ((x >= 0) & (x < size))[None]
    mask = inside & (chance[np.clip(y, 0, size - 1)][:, np.clip(x, 0, size - 1)] > 0.5)
    return largest_piece(mask) if mask.any() else mask


@partial(jax.jit, static_argnums=0)
def _chances(network: Network, params: Any, canvas: Any) -> Any:
    images = crops.patches(canvas, crops.unmoved((len(canvas),)), network.config.size)
    return jax.nn.sigmoid(network.module(params)(images))
