r"""Deep NRSfM++: a block-sparse dictionary network trained on the reprojection of its own shapes.

The fit runs in phases. *search*: `restarts` seeds train at once on all observed points but a held-out tenth; the
worse are dropped on the way and the best is chosen without labels; the two last tell how much the seed matters.
*scale* (perspective and weak perspective): the size of each frame is corrected by its reconstructed shape, and
training goes on (the paper's scale correction). *final*: all observed points; the depth reflection of each frame,
resolved by continuity in time or over the set, is trained on, so that the network itself keeps one reflection.

*Reflection.* Perspective images tell a shape from its depth reflection, but a network in search may reflect half of the
frames, and what they bend the shapes for is wrong. So a second search takes of each frame the reflection that its image
fits better, and the search that predicts held-out points better goes on; afterwards continuity and images decide
together (`resolve_mirrors`). Both reflections of the whole are trained on for a while, and
the one that reprojects better is kept.

Source: Wang, Lin, Lucey, Deep NRSfM++, 2020; the author's thesis, ch. 3. The reflections, the held-out points and the
choice among seeds are ours.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import Diverged, InputError
from jnrsfm.geometry.cameras import camera_model
from jnrsfm.geometry.depth_reflection import resolve_mirrors
from jnrsfm.geometry.mirror_evidence import image_votes
from jnrsfm.geometry.skeleton import twin_bones
from jnrsfm.inputs.augmentation import rolled
from jnrsfm.inputs.observations import Observations
from jnrsfm.losses import bone_asymmetry, reprojection_loss
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.deep_nrsfm_pp.network import forward, lifted
from jnrsfm.methods.deep_nrsfm_pp.settings import DeepNRSfMpp as DeepNRSfMpp
from jnrsfm.methods.recipe import Recipe, Stream
from jnrsfm.models.block_sparse import BlockSparseConfig, BlockSparseNetwork
from jnrsfm.models.functional import Network
from jnrsfm.models.saved import NetworkModel
from jnrsfm.training import Engine, Problem, Session, Trained
from jnrsfm.types import Landmarks, Reconstruction


class Batch(NamedTuple):
    """What training sees of frames, leading axis frame: `seen`; `z (frame, point)`, depths of the reflection that was
    resolved, and `z_confidence (frame,)`, how firmly."""

    seen: Observations
    z: Any
    z_confidence: Any


class _Fit(Recipe):
    """The network and objective of one fit."""

    def __init__(self, landmarks: Landmarks, camera: str, config: DeepNRSfMpp, seed: int, session: Session):
        super().__init__(landmarks, camera, config, seed, session, config.fill)
        sizes = config.dictionary_sizes(landmarks.n_points)
        self.network = Network.of(
            BlockSparseNetwork,
            BlockSparseConfig(
                landmarks.n_points, sizes, self.camera.columns, config.activation, config.threshold
            ),
        )
        self.twins = twin_bones(landmarks.edges, landmarks.symmetric)
        if config.bones and not len(self.twins):
            raise InputError(
                "bones is set, but there are no left-right bone pairs: give edges and symmetric pairs"
            )
        self.engine = Engine(Problem(self.network.init, self.objective, self.criteria), config, session)

    def batch(self, seen: Observations) -> Batch:
        """Frames without depths to train on."""
        return Batch(seen, jnp.zeros(seen.weights.shape), jnp.zeros(len(seen.weights)))

    def objective(self, params, model_state, batch: Batch, key, hyper):
        """Loss of a batch, and what to record. `hyper`: `free`, 1 where shapes are free from the first step;
        `depth_weight`, that of the resolved depths; `either` as in `forward`."""
        config, seen, progress = self.config, batch.seen, hyper["progress"]
        if config.roll:
            points, inputs = rolled((seen.points, seen.inputs), key, config.roll)
            seen = seen._replace(points=points, inputs=inputs)
        # Rigid first: the cameras must explain the views before the shapes may, or the network takes turning for
        # deformation, a deep local minimum.
        free = jnp.clip(progress / config.rigid, 0, 1) if config.rigid else 1.0
        free = jnp.maximum(free, hyper["free"])
        terms = forward(self.network, self.camera, params, seen, free, hyper["either"])
        loss = reprojection_loss(terms.residual, seen.weights, config.robust).mean()
        aux = {"reprojection": loss}
        if config.lasso:
            loss = loss + config.lasso * jnp.abs(terms.first_code).mean()
        if config.bones and self.edges is not None:
            loss = loss + config.bones * bone_asymmetry(terms.shape, self.edges, self.twins)
        # Perspective images tell the reflection in principle, but the wrong one is a deep local minimum for single
        # frames: the resolved depths lead there too.
        fade = jnp.clip(1 - 1.5 * progress, 0, 1)
        gap = jnp.sqrt(((terms.camera_points[..., 2] - batch.z) ** 2).mean(-1) + 1e-12)
        aux["depth"] = hyper["depth_weight"] * (batch.z_confidence * gap).mean()
        loss = loss + config.mirror_weight * fade * aux["depth"]
        return loss, (aux, model_state)

    def criteria(self, params, model_state, batch: Batch, hyper):
        """The reprojection loss of what training sees, and the error of what it does not, as a fraction of the object's
        size."""
        seen = batch.seen
        terms = forward(self.network, self.camera, params, seen, 1.0, hyper["either"])
        loss = reprojection_loss(terms.residual, seen.weights, self.config.robust)
        gap = self.camera.prediction_error(terms.camera_points, seen.points, seen.weights, seen.depth)
        error = jnp.sqrt((gap**2).sum(-1) + 1e-12)
        return {
            "objective": (loss * (seen.weights.sum(-1) > 0), jnp.ones(len(loss))),
            "heldout": ((seen.heldout * error).sum(-1), seen.heldout.sum(-1)),
        }

    def shapes(self, params, seen: Observations):
        """Object-frame shapes and rotations, a block of frames at a time."""
        return lifted(self.network, self.camera, params, seen)[:2]

    def with_resolved_depths(self, params) -> Batch:
        """All observations with the depths of the resolved reflection, trusted by their margin; where images tell it,
        they have a say."""
        shapes, rotations, misfits = lifted(self.network, self.camera, params, self.seen)
        images = image_votes(misfits.astype(np.float64)) if self.camera.shows_reflection else None
        found = resolve_mirrors(shapes, self.sequence, images=images)
        self.diagnostics["mirror_before"] = found.summary()
        if images is not None:
            self.diagnostics["images_agree"] = float(((images < 0) == found.flip).mean())
        z = np.einsum("fpj,fj->fp", shapes, rotations[:, 2]) * np.where(found.flip, -1, 1)[:, None]
        margin = np.zeros(len(z)) if found.method == "none" else found.margin
        return Batch(self.seen, jnp.asarray(z, jnp.float32), jnp.asarray(margin, jnp.float32))


@dataclasses.dataclass(frozen=True, eq=False)
class DeepNRSfMppModel(NetworkModel):
    """A trained network: lifts unseen frames with the same points."""

    METHOD = "deep-nrsfm++"

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        return Network.of(BlockSparseNetwork, BlockSparseConfig(**config))

    def lift(self, landmarks: Landmarks) -> Reconstruction:
        """One forward pass. `mirror` is what the network was trained on: a reflection that it keeps itself is not
        touched; `jnrsfm.geometry.relabel` resolves the frames of a clip anew."""
        seen, frames = self.observed(landmarks)
        shapes, rotations, _ = lifted(self.network, camera_model(self.camera), self.params, seen)
        record = self.normalizer.reconstruction(landmarks, frames, shapes, rotations, np.asarray(seen.depth))
        return record if record.mirror == "perspective" else record.replace(mirror=self.mirror)


def fit(landmarks: Landmarks, camera: str, config: DeepNRSfMpp, seed: int, session: Session) -> Fitted:
    """Train on landmarks and reconstruct them: the phases of the module docstring."""
    config = config.resolved(landmarks.weights)
    run = _Fit(landmarks, camera, config, seed, session)
    steps = config.steps or 0
    final = max(1, round(config.final * steps))
    # One rigid shape to begin with makes sense for one kind of object.
    one_kind = landmarks.category is None or len(np.unique(np.asarray(landmarks.category))) == 1
    rigid = {"free": 0.0 if one_kind else 1.0, "depth_weight": 0.0}
    resolved = {"free": 1.0, "depth_weight": 1.0, "either": 0.0}

    result, hyper = _searched(run, steps, rigid)
    run.note("search", result)
    run.diagnostics["restarts_kept"] = list(result.restarts)
    spread = None
    if len(result.restarts) > 1:
        spread = np.stack([run.camera_points(result.of(i)) for i in range(len(result.restarts))])
    result = run.correct_scales(result, max(1, final // 2), hyper | {"free": 1.0})
    if config.final > 0:
        data = run.batch(run.seen)
        if config.mirror == "auto":
            data = run.with_resolved_depths(result.params)
        if run.camera.shows_reflection and data.z_confidence.any():
            # all frames may be reflected: what fits better once it is trained on
            both = {"as found": (data, resolved), "mirrored": (data._replace(z=-data.z), resolved)}
            name, result = run.likelier_reflection(result, both, max(1, final // 4))
            data = both[name][0]
        result = run.train("final", Stream.FINAL, data, final, result.chosen, resolved)
        run.diagnostics["final"] = list(result.criteria)

    best = run.record(*run.shapes(result.params, run.seen))
    model = DeepNRSfMppModel(run.network, result.params, run.normalizer, landmarks.names, best.mirror)
    return Fitted(best, model, run.heldout, spread, run.diagnostics, code=run.code)


def _searched(run: _Fit, steps: int, hyper: dict[str, float]) -> tuple[Trained, dict[str, float]]:
    """The end of the search, and its numbers: where images tell the reflection, of the better of two searches, one with
    the shapes as they come and one with either reflection of each frame."""
    data = run.batch(run.hidden)
    plain = hyper | {"either": 0.0}
    found = run.train("search", Stream.SEARCH, data, steps, hyper=plain)
    # what either reflection was good for is left to the final phase to resolve
    if not (run.camera.shows_reflection and run.config.mirror == "auto" and run.config.final > 0):
        return found, plain
    lost, either = run.engine.lost, hyper | {"either": 1.0}
    try:
        other = run.train("search, either reflection", Stream.EITHER, data, steps, hyper=either)
    except Diverged as error:
        run.session.say(f"deep-nrsfm++: the second search is left out: {error}")
        run.engine.lost = lost
        return found, plain
    by = "heldout" if np.asarray(run.hidden.heldout).any() else "objective"
    one, two = (end.criteria[0][by] for end in (found, other))
    run.diagnostics["searches"] = {"as they come": one, "either reflection": two}
    if two < one:
        run.engine.lost -= lost  # of the search that is not used
        return other, either
    run.engine.lost = lost
    return found, plain


INFO = MethodInfo(
    name=DeepNRSfMppModel.METHOD,
    kind="learned",
    summary="block-sparse dictionary network; any camera, gaps, unseen frames",
    cameras=("orthographic", "weak-perspective", "perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Wang, Lin, Lucey: Deep NRSfM++, 3DV 2020",
    cites=("wang2020deepnrsfmpp",),
    config=DeepNRSfMpp,
    fit=fit,
    load=DeepNRSfMppModel.load,
)
