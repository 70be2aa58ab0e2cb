r"""Deep NRSfM++: a block-sparse dictionary network trained on the reprojection of its own shapes.

The fit runs in phases. *search*: `restarts` seeds train at once on all observed points but a held-out tenth; the
worse are dropped on the way and the best is chosen without labels; the two last tell how much the seed matters.
*final*: all observed points; the depth reflection of each frame, resolved by continuity in time or over the set, is
trained on, so that the network itself keeps one reflection.

*Scale.* Under perspective and weak perspective the image of a frame leaves its size over its distance open. The scale
at which the image fits the shape best is solved for in closed form, in every step and with its gradient, and the shapes
of a batch are held to one size (`same_size`). Half a search finds the scales; then *scale* trains on with frames so
scaled. Without that weight, scale correction as published: the size of each frame is corrected by its shape.

*Reflection.* Perspective images tell a shape from its depth reflection, but a network in search reflects half of the
frames, and what they bend the shapes for is wrong. So the search takes of each frame the reflection that its image
fits better, and the images of the frames that agree with each other (`resolve_mirrors`) vote on theirs.

Source: Wang, Lin, Lucey, Deep NRSfM++, 2020; the author's thesis, ch. 3. The scale in closed form, the reflections, the
held-out points and the choice among seeds are ours.
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.cameras import CameraModel, camera_model, fitted_depth
from jnrsfm.geometry.depth_reflection import resolve_mirrors
from jnrsfm.geometry.reflection_votes import by_images
from jnrsfm.geometry.skeleton import twin_bones
from jnrsfm.inputs.augmentation import rolled
from jnrsfm.inputs.batching import blocks
from jnrsfm.inputs.observations import Observations, SizeMeasure
from jnrsfm.losses import bone_asymmetry, reprojection_loss
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.recipe import Recipe, ScaleBy, Stream, check_shared, sizes
from jnrsfm.models.block_sparse import Activation, BlockSparseConfig, BlockSparseNetwork
from jnrsfm.models.functional import Network
from jnrsfm.models.saved import NetworkModel
from jnrsfm.training import Engine, Problem, Session, TrainConfig
from jnrsfm.types import Landmarks, Reconstruction

PRESETS: dict[str, tuple[int, ...]] = {  # the paper's Table 8
    "cmu": (512, 256, 128, 64, 32, 16, 8),
    "up3d": (512, 256, 128, 64, 32, 16, 8),
    "pascal3d": (256, 128, 64, 32, 16, 8, 4, 2),
    "h36m": (125, 115, 104, 94, 83, 73, 62, 52, 41, 31, 20, 10),
    "apollo": (128, 100, 64, 50, 32, 16, 8, 4),
}


@dataclasses.dataclass(frozen=True)
class DeepNRSfMpp(TrainConfig):
    """Settings of Deep NRSfM++."""

    update: Literal["adam", "muon"] = "muon"
    """Optimiser: Muon for the dictionaries and heads and Adam for the rest, or Adam for all."""
    learning_rate: float = 8e-3
    """Peak learning rate; for Adam about 1e-3."""
    steps: int | None = None  # type: ignore[assignment]
    """Optimiser steps, of which the phases take shares; unset: by Muon 4 for each frame, between 5,000 and 10,000; by
    Adam 25, between 30,000 and 60,000."""
    restarts: int = 4
    """Seeds trained at once."""
    prune_at: tuple[float, ...] = (0.1,)
    """Fractions of the search at which the worse half of the seeds is dropped; two are left for the uncertainty."""
    final: float = 1.0
    """Steps of the final phase, as a share of `steps`."""
    preset: Literal["rule", "cmu", "up3d", "pascal3d", "h36m", "apollo"] = "rule"
    """Dictionary sizes: a published set, or the rule (halving from about six atoms a point to the bottleneck)."""
    sizes: tuple[int, ...] | None = None
    """Dictionary sizes, first to last; overrides the preset."""
    bottleneck: int = 8
    """Atoms of the last dictionary under the rule: 8 to 10 for articulated objects, 2 to 4 for rigid ones."""
    activation: Activation = "bst"
    """Block soft threshold, or relu for the older Deep NRSfM."""
    threshold: float = 0.05
    """Start of the block soft thresholds."""
    size: SizeMeasure = "rms"
    """2D size that sets the scale: root mean square, or the longer or shorter side of the bounding box."""
    same_size: float = 0.1
    """Weight of the mean deviation of the shapes' log sizes from their mean, where frames have a scale of their own
    (weak perspective, perspective), which is solved for; 0: only corrected after the search, as published."""
    scale_correction: int = 1
    """Times that frames are scaled anew, by what was solved for or by the size of their shapes, and trained on."""
    scale_by: ScaleBy = "auto"
    """A shape's size is its norm or its mean bone length; auto: bones where edges are given."""
    robust: float = 0.0
    """Scale of a pseudo-Huber loss for detected points, as a fraction of the object's size; 0: Frobenius norm."""
    lasso: float = 0.0
    """Weight of the mean absolute first code."""
    bones: float = 0.0
    """Weight of the left-right difference of bone lengths (needs edges and symmetric pairs)."""
    roll: float = 180.0
    """Turn each training sample in the image plane by a random angle up to this (degrees). The camera's roll is
    free, exactly so; without it an upright camera lets the network take the turning of the object for deformation."""
    rigid: float = 0.3
    """Share of the search over which the shapes go from one rigid shape to free ones."""
    fill: bool = True
    """Give the encoder a linear prediction of the hidden points in place of zeros (up to 256 points)."""
    holdout: float = 0.1
    """Share of the observed points that the search does not see, to measure the quality without labels."""
    mirror: Literal["auto", "none"] = "auto"
    """Resolve the depth mirror by time or over the set and train on it; none leaves each frame its own."""
    mirror_weight: float = 1.0
    """Weight of the resolved depths, fading to 0 at two thirds of the final phase."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        check_shared(self)
        if self.bottleneck < 1:
            raise InputError(f"bottleneck is {self.bottleneck}: it must be at least 1")
        if self.sizes is not None and min(self.sizes, default=0) < 1:
            raise InputError(f"sizes is {self.sizes}: give one or more numbers above 0")
        for name in (
            "final",
            "same_size",
            "scale_correction",
            "robust",
            "lasso",
            "bones",
            "roll",
            "mirror_weight",
        ):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")

    def resolved(self, n_frames: int) -> "DeepNRSfMpp":
        """With the rule for unset steps, for a number of frames."""
        rule = (25, 30_000, 60_000) if self.update == "adam" else (4, 5_000, 10_000)
        steps = self.steps if self.steps is not None else int(np.clip(rule[0] * n_frames, *rule[1:]))
        return dataclasses.replace(self, steps=steps)

    def dictionary_sizes(self, n_points: int) -> tuple[int, ...]:
        """Sizes of the dictionaries for a number of points."""
        if self.sizes is not None:
            return self.sizes
        if self.preset != "rule":
            return PRESETS[self.preset]
        size = 2 ** int(np.clip(np.ceil(np.log2(6 * n_points)), 6, 9))
        sizes = []
        while size > self.bottleneck:
            sizes.append(size)
            size //= 2
        return (*sizes, self.bottleneck)


class Batch(NamedTuple):
    """What training sees of frames, leading axis frame: `seen`; `z (frame, point)`, depths of the reflection that was
    resolved, and `z_confidence (frame,)`, how firmly."""

    seen: Observations
    z: Any
    z_confidence: Any


class Terms(NamedTuple):
    """What the forward pass gives for a batch, in the unit of the normalised measurements."""

    shape: Any  # object frame, centred
    rotation: Any
    camera_points: Any  # shape @ rotation.T
    residual: Any  # (frame, point, 2)
    first_code: Any
    depth: Any  # (frame,) of the observations, at the scale of the residual
    mirrored: Any  # (frame,) how much better the depth reflection fits the image, in [-1, 1]


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
        mirrored = (misfit - reflected) / (misfit + reflected + 1e-12)
        flip = (either > 0) & (mirrored > 0)
        pick = jax.vmap(lambda f, a, b: jnp.where(f, b, a))
        points, residual, depth = (pick(flip, *x) for x in zip((points, residual, depth), other, strict=True))
    return Terms(shape, rotation, points, residual, first_code, depth, mirrored)


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
        self.solves_scale = self.camera.frame_scale and config.same_size > 0
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
        terms = forward(self.network, self.camera, params, seen, free, hyper["either"], self.solves_scale)
        loss = reprojection_loss(terms.residual, seen.weights, config.robust).mean()
        aux = {"reprojection": loss}
        if self.solves_scale:
            size = jnp.log(sizes(terms.shape, self.edges, config.scale_by))
            aux["size"] = jnp.abs(size - size.mean()).mean()
            loss = loss + config.same_size * aux["size"]
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
        terms = forward(self.network, self.camera, params, seen, 1.0, hyper["either"], self.solves_scale)
        loss = reprojection_loss(terms.residual, seen.weights, self.config.robust)
        gap = self.camera.prediction_error(terms.camera_points, seen.points, seen.weights, terms.depth)
        error = jnp.sqrt((gap**2).sum(-1) + 1e-12)
        return {
            "objective": (loss * (seen.weights.sum(-1) > 0), jnp.ones(len(loss))),
            "heldout": ((seen.heldout * error).sum(-1), seen.heldout.sum(-1)),
        }

    def shapes(self, params, seen: Observations):
        """Object-frame shapes and rotations, a block of frames at a time."""
        return lifted(self.network, self.camera, params, seen)[:2]

    def depths(self, params) -> np.ndarray:
        """Those at which the images fit the shapes best, where they are solved for."""
        if not self.solves_scale:
            return super().depths(params)
        return lifted(self.network, self.camera, params, self.seen)[2]

    def rescaled(self, params, data: Observations) -> Observations:
        """At the scales that were solved for, which the encoder's input has from now on."""
        if not self.solves_scale:
            return super().rescaled(params, data)
        return data._replace(depth=jnp.asarray(lifted(self.network, self.camera, params, data)[2]))

    def with_resolved_depths(self, params) -> Batch:
        """All observations with the depths of the resolved reflection, trusted by their margin."""
        shapes, rotations, _, mirrored = lifted(
            self.network, self.camera, params, self.seen, self.solves_scale
        )
        found = resolve_mirrors(shapes, self.sequence)
        self.diagnostics["mirror_before"] = found.summary()
        flip = found.flip
        if self.camera.shows_reflection:
            flip = by_images(flip, found.component, mirrored)
            self.diagnostics["images_agree"] = float(((mirrored > 0) == flip).mean())
        z = np.einsum("fpj,fj->fp", shapes, rotations[:, 2]) * np.where(flip, -1, 1)[:, None]
        margin = np.zeros(len(z)) if found.method == "none" else found.margin
        return Batch(self.seen, jnp.asarray(z, jnp.float32), jnp.asarray(margin, jnp.float32))


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
        shapes, rotations, depth, _ = lifted(self.network, camera_model(self.camera), self.params, seen)
        record = self.normalizer.reconstruction(landmarks, frames, shapes, rotations, depth)
        return record if record.mirror == "perspective" else record.replace(mirror=self.mirror)


def fit(landmarks: Landmarks, camera: str, config: DeepNRSfMpp, seed: int, session: Session) -> Fitted:
    """Train on landmarks and reconstruct them: the phases of the module docstring."""
    config = config.resolved(landmarks.n_frames)
    run = _Fit(landmarks, camera, config, seed, session)
    steps = config.steps or 0
    final = max(1, round(config.final * steps))
    # One rigid shape to begin with makes sense for one kind of object.
    one_kind = landmarks.category is None or len(np.unique(np.asarray(landmarks.category))) == 1
    rigid = {"free": 0.0 if one_kind else 1.0, "depth_weight": 0.0, "either": 1.0}
    free, resolved = rigid | {"free": 1.0}, {"free": 1.0, "depth_weight": 1.0, "either": 0.0}

    # Where scales are to be found, the search is short: what follows sees the frames at their sizes.
    finds = run.solves_scale and config.scale_correction > 0
    result = run.train(
        "search", Stream.SEARCH, run.batch(run.hidden), max(1, steps // 2 if finds else steps), hyper=rigid
    )
    run.note("search", result)
    run.diagnostics["restarts_kept"] = list(result.restarts)
    spread = None
    if len(result.restarts) > 1:
        spread = np.stack([run.camera_points(result.of(i)) for i in range(len(result.restarts))])
    result = run.correct_scales(result, max(1, steps if finds else final // 2), free)
    if config.final > 0:
        data = run.batch(run.seen) if config.mirror == "none" else run.with_resolved_depths(result.params)
        result = run.train("final", Stream.FINAL, data, final, result.chosen, resolved)
        run.diagnostics["final"] = list(result.criteria)

    run.seen = run.seen._replace(depth=jnp.asarray(run.depths(result.params)))
    best = run.record(*run.shapes(result.params, run.seen))
    model = DeepNRSfMppModel(run.network, result.params, run.normalizer, landmarks.names, best.mirror)
    return Fitted(best, model, run.heldout, spread, run.diagnostics, code=run.code)


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
