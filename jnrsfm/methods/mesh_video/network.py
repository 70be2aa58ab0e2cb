r"""The image network of mesh-video: trained on what the optimisation found, it gives handles and camera of a new image.

A patch of an image is augmented by a similarity of the image plane, under which the vertices that the optimisation
found, seen by its camera, move along (x, y by the map of the patch, depth by its scale). The loss is their mean
distance from the vertices that the network's handles and camera give,

$$J = \frac{1}{V} \sum_v \| s R (V_0 + B \Delta)_v + t - x_v \| + w \| \Delta - \Delta^* \|^2 / K,$$

in sides of the patch: rotation, scale and handles are weighed by what they do to the mesh, and what two of them do
alike costs nothing. Patches are not flipped: a mirrored animal is another mesh.

Source: Kokkinos and Kokkinos, CVPR 2021, section 3.4. There network and optimisation alternate; here the optimisation
comes first, by keypoints or camera multiplex, and the network learns from it.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.geometry.mesh.handles import HandleModel
from jnrsfm.inputs import crops
from jnrsfm.inputs.crops import Squares
from jnrsfm.methods.mesh_video.fitting import rotation_of
from jnrsfm.methods.mesh_video.settings import MeshVideo
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import BackboneConfig
from jnrsfm.models.vision.mesh import MeshCodes, MeshNetwork, MeshNetworkConfig
from jnrsfm.training import Engine, Phase, Problem, Resident, Session
from jnrsfm.types import LabelledImages

HANDLE_WEIGHT = 0.1
TOGETHER = 32  # images in one pass
AUGMENTATION = crops.Augmentation(flip=0.0)


class Views(NamedTuple):
    """Training images, leading axis image: `canvas` uint8, `target (vertex, 3)` seen by the camera in crop units,
    `handles (handle, 3)` displacements, `weight` 1 where the optimisation had evidence and the image is not held out,
    `held` 1 where it is."""

    canvas: Any
    target: Any
    handles: Any
    weight: Any
    held: Any


def network_of(config: MeshVideo) -> Network:
    """The structure for the settings."""
    backbone = BackboneConfig.preset(config.backbone)
    return Network.of(MeshNetwork, MeshNetworkConfig(config.handles, config.patch, backbone))


def seen(model: HandleModel, basis: Any, codes: MeshCodes) -> Any:
    """`(image, vertex, 3)` vertices by the camera, in sides of the patch."""
    vertices = jnp.asarray(model.rest) + jnp.einsum("vk,fkj->fvj", jnp.asarray(basis), codes.handles)
    turned = jnp.einsum("fvj,fij->fvi", vertices, codes.rotations) * jnp.exp(codes.sizes)[:, None, None]
    return turned.at[..., :2].add(codes.shifts[:, None])


def of_params(params: dict[str, Any]) -> MeshCodes:
    """The codes of an optimisation's parameters with one camera a frame."""
    turns = rotation_of(jnp.asarray(params["quaternions"])[:, 0])
    first = lambda name: jnp.asarray(params[name])[:, 0]
    return MeshCodes(jnp.asarray(params["handles"]), turns, first("sizes"), first("shifts"))


class Objective:
    """The loss of a batch, and the distances without augmentation."""

    def __init__(self, network: Network, model: HandleModel, basis: Any):
        self.network, self.model, self.basis = network, model, np.asarray(basis, np.float32)
        self.size = network.config.size

    def __call__(self, params, model_state, batch: Views, key, hyper):
        """`(loss, (metrics, model_state))`, as the engine asks for."""
        keys = jax.random.split(key)
        maps = crops.drawn_maps(keys[0], len(batch.target), AUGMENTATION)
        images = crops.coloured(keys[1], crops.patches(batch.canvas, maps, self.size), AUGMENTATION)
        codes = self.network.module(params, model_state)(images)
        target = maps.to_patch(batch.target, jnp.arange(batch.target.shape[1]))
        far = self.distance(codes, target)
        own = ((codes.handles - batch.handles) ** 2).sum(-1).mean(-1)
        total = jnp.maximum(batch.weight.sum(), 1e-6)
        mean = lambda x: (batch.weight * x).sum() / total
        return mean(far) + HANDLE_WEIGHT * mean(own), ({"vertices": mean(far)}, model_state)

    def distance(self, codes: MeshCodes, target: Any) -> Any:
        """`(image,)` mean distance of vertices; depths relative to their mean."""
        gap = seen(self.model, self.basis, codes) - target
        gap = gap.at[..., 2].add(-gap[..., 2].mean(-1, keepdims=True))
        return jnp.sqrt((gap**2).sum(-1) + 1e-12).mean(-1)

    def criteria(self, params, model_state, batch: Views, hyper):
        """The distance on training images, and on those held out."""
        images = crops.patches(batch.canvas, crops.unmoved((len(batch.target),)), self.size)
        far = self.distance(self.network.module(params, model_state)(images), batch.target)
        return {"objective": (batch.weight * far, batch.weight), "heldout": (batch.held * far, batch.held)}


def train(
    images: LabelledImages, where: Squares, found: dict[str, Any], known: np.ndarray, model: HandleModel,
    basis: np.ndarray, config: MeshVideo, key: Any, session: Session,
) -> tuple[Any, dict[str, float]]:  # fmt: skip
    """Parameters of the network and its criteria, trained on the parameters `found` of the frames that are `known`. Of
    every run of `2 / network_holdout` frames the last are held out: neighbours in time are nearly the same image."""
    network = network_of(config)
    codes = of_params(found)
    target = np.asarray(seen(model, basis, codes), np.float32)
    canvas = crops.canvases(images, where, config.patch)
    held = held_out(len(images), config.network_holdout) & known
    if (known & ~held).sum() < 2:
        held = np.zeros_like(known)
    weight = (known & ~held).astype(np.float32)
    data = Views(canvas, target, np.asarray(codes.handles, np.float32), weight, held.astype(np.float32))
    objective = Objective(network, model, basis)
    own = config.for_network(config.network_steps, len(images))
    middle = np.concatenate([
        np.asarray(codes.handles).reshape(len(images), -1), np.asarray(codes.rotations).reshape(len(images), 9),
        np.asarray(codes.sizes)[:, None], np.asarray(codes.shifts),
    ], 1)[weight > 0].mean(0)  # fmt: skip

    def init(seed):  # at first the mean of the training, whatever the image
        params, state = network.init(seed)
        last = params["last"]
        params = {
            **params,
            "last": {"kernel": 0.1 * last["kernel"], "bias": jnp.asarray(middle, jnp.float32)},
        }
        return params, state

    engine = Engine(Problem(init, objective, objective.criteria), own, session)
    source = Resident(jax.tree.map(jnp.asarray, data), own.batch, len(images))
    trained = engine.train(Phase("network", config.network_steps, source), key)
    error = {k: float(v) for k, v in trained.criteria[0].items()}
    error = {"network": error["objective"]} | ({"network_heldout": error["heldout"]} if held.any() else {})
    return trained.params, error


def held_out(frames: int, share: float) -> np.ndarray:
    """`(frame,)`: blocks of two frames, `share` of all, evenly through the sequence."""
    if share <= 0:
        return np.zeros(frames, bool)
    period = max(round(2 / share), 3)
    return np.arange(frames) % period >= period - 2


def predict(network: Network, params: Any, images: LabelledImages, where: Squares) -> dict[str, Any]:
    """Parameters as an optimisation has them, one camera a frame, of images cut at squares."""
    from jnrsfm.methods.mesh_video.stages import quaternion_of

    canvas = crops.canvases(images, where, network.config.size)
    found = []
    for first in range(0, len(canvas), TOGETHER):
        part = canvas[first : first + TOGETHER]
        full = np.concatenate([part, np.zeros((TOGETHER - len(part), *part.shape[1:]), part.dtype)])
        found.append(_codes(network, params, full))
    codes = jax.tree.map(lambda *x: np.concatenate(x)[: len(canvas)], *found)
    return {
        "handles": codes.handles, "quaternions": quaternion_of(codes.rotations)[:, None],
        "sizes": codes.sizes[:, None], "shifts": codes.shifts[:, None],
    }  # fmt: skip


@partial(jax.jit, static_argnums=0)
def _codes(network: Network, params: Any, canvas: Any) -> MeshCodes:
    images = crops.patches(canvas, crops.unmoved((len(canvas),)), network.config.size)
    return network.module(params)(images)
