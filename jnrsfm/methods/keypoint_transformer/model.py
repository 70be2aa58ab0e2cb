"""The trained networks, and what they say of photographs."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.inputs import crops
from jnrsfm.inputs.category_samples import observe
from jnrsfm.inputs.crops import Squares
from jnrsfm.methods import multicategory
from jnrsfm.methods.keypoint_transformer.network import Slots, chosen, placed, with_reflected
from jnrsfm.methods.multicategory.network import NetworkConfig, Networks, lifted
from jnrsfm.models.functional import Network
from jnrsfm.models.lifter import LifterConfig
from jnrsfm.models.saved import NetworkModel
from jnrsfm.models.vision import BackboneConfig, KeypointTransformerConfig
from jnrsfm.models.vision import KeypointTransformer as Transformer
from jnrsfm.types import LabelledImages, Landmarks, Reconstruction

_NOISE = 0.02  # of a point that is found as surely as can be, in units of the object's size


@dataclasses.dataclass(frozen=True)
class SystemConfig:
    """Sizes of the transformer and of the lifter."""

    detector: KeypointTransformerConfig
    lifter: NetworkConfig


@dataclasses.dataclass(frozen=True)
class System:
    """Both networks, without arrays."""

    config: SystemConfig

    @property
    def detector(self) -> Network:
        """The transformer."""
        return Network.of(Transformer, self.config.detector)

    @property
    def lifter(self) -> Networks:
        """The lifter."""
        return Networks.of(self.config.lifter)


@dataclasses.dataclass(frozen=True)
class Found2D:
    """What the transformer says of images: `category (image,)` and how likely; `points (image, point, 2)` in pixels,
    `defined (image, point)` of the category; `spread (image, point)` of each in pixels (standard deviation of the
    distance), `sure (image, point)`: probability of its type; `seen (image, point)`: of being visible; `context (image,
    number)`."""

    category: np.ndarray
    likely: np.ndarray
    points: np.ndarray
    defined: np.ndarray
    spread: np.ndarray
    sure: np.ndarray
    seen: np.ndarray
    context: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """`(image,)` probability of the category times the mean probability of its keypoints: low for what the training
        did not have."""
        count = np.maximum(self.defined.sum(1), 1)
        return self.likely * (self.sure * self.defined).sum(1) / count


@dataclasses.dataclass(frozen=True, eq=False)
class KeypointTransformerModel(NetworkModel):
    """Trained networks: category, keypoints and 3D of photographs they have not seen. `params`: `detector`, and the
    lifter's as `lifter`; `confident (1,)`: the `Found2D.confidence` that 99 of 100 training images exceed."""

    METHOD = "keypoint-transformer"
    TAKES = LabelledImages

    categories: tuple[str, ...] | None = None
    uses_context: bool = True
    edges: tuple[tuple[int, int], ...] = ()
    symmetric: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def network_of(config: dict[str, Any]) -> System:
        """The networks of a config's fields, without arrays."""
        detector = {**config["detector"], "backbone": BackboneConfig(**config["detector"]["backbone"])}
        lifter = {**config["lifter"], "lifter": LifterConfig(**config["lifter"]["lifter"])}
        return System(SystemConfig(KeypointTransformerConfig(**detector), NetworkConfig(**lifter)))

    @staticmethod
    def blank(network: System) -> Any:
        """Parameters of the right shapes."""
        return {
            "detector": network.detector.init(jax.random.key(0))[0],
            "lifter": network.lifter.blank(),
            "confident": jnp.zeros(1),
        }

    def find(self, images: LabelledImages) -> Found2D:
        """Category and keypoints of photographs, in the boxes that are given, around the labels, or in the whole."""
        size = self.network.config.detector.size
        where = crops.squares(crops.label_boxes(images), images.pixels.sizes)
        canvas = crops.canvases(images, where, size)
        keypoints = np.asarray(self.params["lifter"]["points"]) > 0
        slots = Slots.of(keypoints, self.symmetric or None)
        return found_2d(
            self.network.detector, self.params["detector"], canvas, where, slots, keypoints.shape[1]
        )

    def lift(self, images: LabelledImages) -> Reconstruction:  # type: ignore[override]
        """3D of photographs. `points2d` of the result are in pixels; `score` is the standard deviation of each point
        given the places (with a prior). Points that the category found does not have are 0, with `valid3d` False."""
        return self.reconstruct(images.landmarks, self.find(images))

    def reconstruct(self, landmarks: Landmarks, found: Found2D) -> Reconstruction:
        """3D of keypoints that were found."""
        codes = found.category.astype(np.int32) if self.categories is not None else None
        seen = Landmarks(
            found.points.astype(np.float32), found.defined, names=self.names, category=codes,
            categories=self.categories, sequence=landmarks.sequence, frame_index=landmarks.frame_index,
            edges=np.array(self.edges, int).reshape(-1, 2) if self.edges else None,
            symmetric=np.array(self.symmetric, int).reshape(-1, 2) if self.symmetric else None,
            defined=found.defined,
        )  # fmt: skip
        model = self.params["lifter"]
        keypoints = np.asarray(model["points"]) > 0
        samples, frames = observe(
            seen, found.category, keypoints, np.asarray(model["size"]), "weak-perspective"
        )
        spread = np.where(found.defined, found.spread, 0.0) / frames.size[:, None]
        precision = (_NOISE**2 / (_NOISE**2 + spread**2)).astype(np.float32)
        context = jnp.asarray(found.context) if self.uses_context else None
        out = lifted(self.network.lifter, model, samples, context, precision)
        return multicategory.reconstruct(seen, samples, frames, out, self.normalizer, self.mirror)

    def unfamiliar(self, found: Found2D) -> np.ndarray:
        """`(image,)` bool: what the image shows looks like nothing of the training."""
        return found.confidence < float(np.asarray(self.params["confident"])[0])


@partial(jax.jit, static_argnums=(0, 1, 5))
def proposed(network: Network, size: int, params, canvas, slots: Slots, pairs: bool):
    """`(category, likely, context, Chosen)` of patches; what is said of their mirror images has as much weight, where
    `pairs` of left and right are known. The context is that of the patch alone: it knows the camera."""
    images = crops.patches(canvas, crops.unmoved((len(canvas),)), size)
    last = lambda x: jax.tree.map(lambda y: y[-1], network.module(params, {})(x))
    types = slots.defined.shape[-1]
    found = last(images)
    kinds, own = jax.nn.softmax(found.category, -1), chosen(found, types)
    if pairs:
        mirrored = last(images[:, :, ::-1])
        kinds = (kinds + jax.nn.softmax(mirrored.category, -1)) / 2
    category = jnp.argmax(kinds, -1)
    if pairs:
        own = with_reflected(own, chosen(mirrored, types), slots.swap[category])
    return category, kinds.max(-1), found.context, placed(own, slots.defined[category])


def found_2d(
    network: Network,
    params: Any,
    canvas: np.ndarray,
    where: Squares,
    slots: Slots,
    n_points: int,
    block: int = 64,
) -> Found2D:
    """What the transformer finds on canvases, a block at a time; the last block is filled up. `n_points` of the record,
    of which the categories may have fewer."""
    size, n = network.config.size, len(canvas)
    block = 1 if n == 1 else block
    pairs = bool((slots.swap != np.arange(slots.swap.shape[1])).any())
    parts = []
    for first in range(0, n, block):
        part = canvas[first : first + block]
        full = np.concatenate([part, np.zeros((block - len(part), *part.shape[1:]), part.dtype)])
        found = proposed(network, size, params, jnp.asarray(full), jax.tree.map(jnp.asarray, slots), pairs)
        parts.append([np.asarray(x)[: len(part)] for x in jax.tree.leaves(found)])
    category, likely, context, place, spread, sure, seen = (
        np.concatenate(x) for x in zip(*parts, strict=True)
    )
    columns, defined = slots.columns[category], slots.defined[category]
    row, slot = np.nonzero(defined)
    column = columns[row, slot]

    def spread_out(values):
        out = np.zeros((n, n_points, *values.shape[2:]), values.dtype)
        out[row, column] = values[row, slot]
        return out

    has = spread_out(defined)
    pixels = np.where(has[..., None], where.to_pixels(spread_out(place)), 0.0)
    deviation = 2**0.5 * np.linalg.norm(spread_out(spread), axis=-1) * where.side[:, None]
    return Found2D(category, likely, pixels, has, deviation, spread_out(sure), spread_out(seen), context)
