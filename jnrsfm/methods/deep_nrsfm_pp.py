r"""Deep NRSfM++: a block-sparse dictionary network trained on the reprojection of its own shapes.

The fit runs in phases. *search*: `restarts` seeds train at once on all observed points but a held-out tenth; the
worse are dropped on the way and the best is chosen without labels; the two last tell how much the seed matters.
*scale* (perspective and weak perspective): the size of each frame is corrected by its reconstructed shape, and
training goes on (the paper's scale correction). *final*: all observed points; the depth mirror of each frame,
resolved by continuity in time or over the set, is trained on, so that the network itself keeps one hand. (Under
perspective the images have the last word: both hands are trained on for a while, and the one that reprojects better
is kept.)

Source: Wang, Lin, Lucey, Deep NRSfM++, 2020; the author's thesis, ch. 3. The mirror, the held-out points and the
choice among seeds are ours.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnrsfm.errors import InputError
from jnrsfm.geometry.depth_reflection import MirrorResolution, relabel, resolve_mirrors
from jnrsfm.geometry.normalization import (
    adjoint_perspective,
    adjoint_weak,
    measure_perspective,
    measure_weak,
    reproject_perspective,
    reproject_weak,
)
from jnrsfm.inputs.augmentation import rolled
from jnrsfm.inputs.batching import blocks
from jnrsfm.inputs.observations import Normalizer, Observations, SizeMeasure, hold_out
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.recipe import corrected_scale, heldout_item, heldout_residual
from jnrsfm.methods.saving import NetworkModel
from jnrsfm.models.block_sparse import Activation, BlockSparseConfig, BlockSparseNetwork
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
class Config(TrainConfig):
    """Settings of Deep NRSfM++."""

    steps: int | None = None  # type: ignore[assignment]
    """Optimiser steps of the search phase, of which the other phases take shares; unset: 25 for each frame, between
    30,000 and 60,000."""
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
    scale_correction: int = 1
    """Rounds of scale correction where frames have a scale of their own (weak perspective, perspective)."""
    scale_by: Literal["auto", "norm", "bones"] = "auto"
    """Correct by the norm of the shape or by its mean bone length; auto: bones where edges are given."""
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
        """Refuse what cannot work."""
        super().__post_init__()
        if not 0 <= self.holdout < 1:
            raise InputError(f"holdout is {self.holdout}: it must be at least 0 and below 1")
        if self.bottleneck < 1:
            raise InputError(f"bottleneck is {self.bottleneck}: it must be at least 1")
        if self.sizes is not None and min(self.sizes, default=0) < 1:
            raise InputError(f"sizes is {self.sizes}: give one or more numbers above 0")
        for name in ("final", "scale_correction", "robust", "lasso", "bones", "roll", "mirror_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if self.select == "heldout" and not self.holdout:
            raise InputError("select is 'heldout' but holdout is 0: nothing to select by")

    def search_steps(self, n_frames: int) -> int:
        """Steps of the search for a number of frames: `steps`, or the rule."""
        return self.steps if self.steps is not None else int(np.clip(25 * n_frames, 30_000, 60_000))

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


class _Terms(NamedTuple):
    """What the forward pass gives for a batch, in the unit of the normalised measurements."""

    shape: Any  # object frame, centred
    rotation: Any
    turned: Any  # shape @ rotation.T
    residual: Any  # (frame, point, 2)
    first_code: Any


class Network(NamedTuple):
    """The network as pure functions over its parameters."""

    config: BlockSparseConfig
    graph: Any

    @classmethod
    def of(cls, config: BlockSparseConfig) -> "Network":
        """Its structure, without arrays."""
        abstract = nnx.eval_shape(lambda: BlockSparseNetwork(config, rngs=nnx.Rngs(params=0)))
        return cls(config, nnx.split(abstract)[0])

    def init(self, key):
        """Fresh parameters."""
        net = BlockSparseNetwork(self.config, rngs=nnx.Rngs(params=key))
        return nnx.to_pure_dict(nnx.state(net))

    def apply(self, params, batch: Observations, free=1.0) -> _Terms:
        """Forward pass; residual of the normalised equations over `batch.weights`. `free` in [0, 1] scales the
        shapes' deviations from their mean over the batch: 0 is one rigid shape."""
        net = nnx.merge(self.graph, params)
        weights, trust, depth = batch.weights, batch.trust, batch.depth
        if self.config.columns == 3:
            inputs = measure_perspective(batch.inputs, trust, depth)
            rows = adjoint_perspective(inputs, batch.inputs, trust)
            shape, rotation, first = net(rows)
            shape = _loosened(shape, free)
            turned = jnp.einsum("bpj,bij->bpi", shape, rotation)
            target = measure_perspective(batch.points, weights, depth)
            residual = reproject_perspective(turned, batch.points, weights) - target
        else:
            # Where scale was corrected, a frame's measurements are divided by its `depth` (else 1).
            inputs = measure_weak(batch.inputs, trust) / depth[:, None, None]
            shape, rotation, first = net(adjoint_weak(inputs, trust))
            shape = _loosened(shape, free)
            turned = jnp.einsum("bpj,bij->bpi", shape, rotation)
            target = measure_weak(batch.points, weights) / depth[:, None, None]
            residual = reproject_weak(turned[..., :2], weights) - target
        return _Terms(shape, rotation, turned, residual, first)


def _loosened(shape, free):
    """Shapes `(frame, point, 3)` drawn towards their mean: `mean + free (S - mean)`; themselves for the number 1."""
    if (
        isinstance(free, float) and free == 1.0
    ):  # outside training no frame may touch another, not even by rounding
        return shape
    mean = shape.mean(0, keepdims=True)
    return mean + free * (shape - mean)


def reprojection_loss(residual, weights, robust: float):
    r"""`(frame,)` loss: `sqrt(mean_w |r|^2)` (eq. 13, per visible point), or pseudo-Huber
    `mean_w d (sqrt(1 + |r|^2 / d^2) - 1)`, which grows linearly for the outliers of a detector."""
    square = (residual**2).sum(-1)
    total = jnp.maximum(weights.sum(-1), 1e-6)
    if robust > 0:
        return (weights * robust * (jnp.sqrt(1 + square / robust**2) - 1)).sum(-1) / total
    return jnp.sqrt((weights * square).sum(-1) / total + 1e-12)


def bone_asymmetry(shape, edges, twins):
    """Mean relative difference of the lengths of left-right bone pairs `twins (pair, 2)` (indices of edges)."""
    ends = shape[:, edges[:, 0]] - shape[:, edges[:, 1]]
    length = jnp.sqrt((ends**2).sum(-1) + 1e-12)
    return (jnp.abs(length[:, twins[:, 0]] - length[:, twins[:, 1]]) / length.mean(-1, keepdims=True)).mean()


def twin_bones(edges: np.ndarray | None, symmetric: np.ndarray | None) -> np.ndarray:
    """`(pair, 2)` indices of edges that are each other's left-right image."""
    if edges is None or symmetric is None:
        return np.zeros((0, 2), int)
    swap = {}
    for a, b in np.asarray(symmetric):
        swap[int(a)], swap[int(b)] = int(b), int(a)
    index = {frozenset(map(int, e)): i for i, e in enumerate(np.asarray(edges))}
    pairs = set()
    for edge, i in index.items():
        image = index.get(frozenset(swap.get(p, p) for p in edge))
        if image is not None and image != i:
            pairs.add((min(i, image), max(i, image)))
    return np.array(sorted(pairs), int).reshape(-1, 2)


class _Trainer:
    """The phases of one fit share these."""

    def __init__(self, landmarks: Landmarks, camera: str, config: Config):
        sizes = config.dictionary_sizes(landmarks.n_points)
        self.config, self.perspective, self.landmarks = config, camera == "perspective", landmarks
        self.network = Network.of(
            BlockSparseConfig(
                landmarks.n_points, sizes, 3 if self.perspective else 2, config.activation, config.threshold
            )
        )
        self.normalizer = Normalizer(camera, config.size).fitted(landmarks)
        self.edges = None if landmarks.edges is None else np.asarray(landmarks.edges)
        self.twins = twin_bones(landmarks.edges, landmarks.symmetric)
        if config.bones and not len(self.twins):
            raise InputError(
                "bones is set, but there are no left-right bone pairs: give edges and symmetric pairs"
            )

    def objective(self, params, batch: Observations, key, progress):
        """Loss of a batch, and what to record."""
        config = self.config
        if config.roll:
            points, inputs = rolled((batch.points, batch.inputs), key, config.roll)
            batch = batch._replace(points=points, inputs=inputs)
        # Rigid first: the cameras must explain the views before the shapes may, or the network takes turning for
        # deformation, a deep local minimum.
        free = jnp.clip(progress / config.rigid, 0, 1) if config.rigid else 1.0
        terms = self.network.apply(params, batch, jnp.maximum(free, batch.loose[:, None, None]))
        loss = reprojection_loss(terms.residual, batch.weights, config.robust).mean()
        aux = {"reprojection": loss}
        if config.lasso:
            loss = loss + config.lasso * jnp.abs(terms.first_code).mean()
        if config.bones:
            loss = loss + config.bones * bone_asymmetry(terms.shape, self.edges, self.twins)
        # z_weight is 0 until the hand is resolved. Perspective images tell the hand in principle, but the wrong one
        # is a deep local minimum for single frames.
        fade = jnp.clip(1 - 1.5 * progress, 0, 1)
        gap = jnp.sqrt(((terms.turned[..., 2] - batch.z) ** 2).mean(-1) + 1e-12)
        aux["depth"] = (batch.z_weight * gap).mean()
        loss = loss + config.mirror_weight * fade * aux["depth"]
        return loss, aux

    def engine(self, session: Session) -> Engine:
        """The engine for this objective."""
        return Engine(Problem(self.network.init, self.objective, self.criteria), self.config, session)

    def criteria(self, params, data: Observations):
        """Over all frames: the reprojection loss of what training sees, and the error of what it does not, as a
        fraction of the object's size."""

        def some(batch):
            terms = self.network.apply(params, batch)
            loss = reprojection_loss(terms.residual, batch.weights, self.config.robust)
            error = jnp.sqrt((heldout_residual(terms.turned, batch, self.perspective) ** 2).sum(-1) + 1e-12)
            return loss * (batch.weights.sum(-1) > 0), (batch.heldout * error).sum(-1)

        n = len(data.points)
        loss, error = jax.lax.map(some, blocks(data))
        total = jnp.maximum(data.heldout.sum(), 1e-6)
        return {"objective": loss.reshape(-1)[:n].mean(), "heldout": error.reshape(-1)[:n].sum() / total}

    def shapes(self, params, data: Observations):
        """Object-frame shapes `(frame, point, 3)` and rotations of all frames, in blocks."""
        return _forward(self.network, params, data)


_apply = jax.jit(lambda network, params, batch: network.apply(params, batch)[:2], static_argnums=0)


def _forward(network: Network, params, data: Observations):
    """Shapes and rotations on the host, a block of frames at a time, so that memory does not grow with the set."""
    n, shapes, rotations = len(data.points), [], []
    parts = blocks(data)  # padded, so that one compiled size serves them all
    for i in range(len(parts.points)):
        shape, rotation = _apply(network, params, jax.tree.map(lambda x, i=i: x[i], parts))
        shapes.append(np.asarray(shape))
        rotations.append(np.asarray(rotation))
    return np.concatenate(shapes)[:n], np.concatenate(rotations)[:n]


@dataclasses.dataclass(frozen=True, eq=False)
class DeepNRSfM(NetworkModel):
    """A trained network: lifts unseen frames with the same points."""

    METHOD = "deep-nrsfm++"

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        return Network.of(BlockSparseConfig(**config))

    def lift(self, landmarks: Landmarks) -> Reconstruction:
        """One forward pass. `mirror` is what the network was trained on: a hand that it keeps itself is not
        touched; `jnrsfm.geometry.depth_reflection.relabel` resolves the frames of a clip anew."""
        data, frames = self.observed(landmarks)
        shapes, rotations = _forward(self.network, self.params, data)
        depth = np.asarray(data.depth)
        found = self.normalizer.reconstruction(landmarks, frames, shapes, rotations, depth)
        return found if found.mirror == "perspective" else found.replace(mirror=self.mirror)


def fit(landmarks: Landmarks, camera: str, config: Config, seed: int, session: Session) -> Fitted:
    """Train on landmarks and reconstruct them: the phases of the module docstring."""
    trainer = _Trainer(landmarks, camera, config)
    key = jax.random.key(seed)
    data, frames = trainer.normalizer(landmarks)
    least = 5 if camera == "perspective" else 4
    seen, held = hold_out(np.asarray(data.weights), config.holdout, least, seed)
    hidden = data._replace(weights=jnp.asarray(seen), heldout=jnp.asarray(held))
    if config.fill:
        # What fills the search's gaps must not have seen its held-out points.
        hidden = trainer.normalizer.with_covariance(hidden).filled(hidden, landmarks.defined)
        trainer.normalizer = trainer.normalizer.with_covariance(data)
        data = trainer.normalizer.filled(data, landmarks.defined)

    engine = trainer.engine(session)
    # One rigid shape to begin with makes sense for one kind of object.
    one_kind = landmarks.category is None or len(np.unique(np.asarray(landmarks.category))) == 1
    first = hidden._replace(loose=jnp.zeros_like(hidden.loose)) if one_kind else hidden
    steps = config.search_steps(landmarks.n_frames)
    result = engine.train(first, jax.random.fold_in(key, 0), phase="search", steps=steps)
    heldout = heldout_item(result.criteria[0], hidden, config.holdout)
    facts: dict[str, Any] = {"search": list(result.criteria), "restarts_kept": list(result.restarts)}
    spread = _camera_shapes(trainer, result.all_params, data, frames) if len(result.restarts) > 1 else None
    final_steps = max(1, round(config.final * steps))

    if camera != "orthographic":
        for turn in range(config.scale_correction):
            data, hidden = (
                corrected_scale(
                    d,
                    trainer.shapes(result.params, d)[0],
                    trainer.perspective,
                    trainer.edges,
                    config.scale_by,
                )
                for d in (data, hidden)
            )
            result = engine.train(
                hidden, jax.random.fold_in(key, 10 + turn),
                phase=f"scale-{turn + 1}", steps=max(1, final_steps // 2), start=_alone(result.params),
            )  # fmt: skip
            heldout = heldout_item(result.criteria[0], hidden, config.holdout)
            facts[f"scale-{turn + 1}"] = list(result.criteria)

    if config.mirror == "auto":
        found, data = _with_hand(trainer, result.params, data)
        facts["mirror_before"] = found.summary()
        if camera == "perspective" and found.method != "none" and config.final > 0:
            # Perspective images tell the hand of the whole, though a network may settle in the other: try both.
            hands = {}
            for name, sign in (("as found", 1.0), ("mirrored", -1.0)):
                hands[name] = engine.train(
                    data._replace(z=sign * data.z), jax.random.fold_in(key, 20),
                    phase=f"hand, {name}", steps=max(1, final_steps // 4), start=_alone(result.params),
                )  # fmt: skip
            name, result = min(hands.items(), key=lambda item: item[1].criteria[0]["objective"])
            facts["hands"] = {name: hand.criteria[0]["objective"] for name, hand in hands.items()}
            data = data._replace(z=(1.0 if name == "as found" else -1.0) * data.z)
    if config.final > 0:
        result = engine.train(
            data, jax.random.fold_in(key, 1), phase="final", steps=final_steps, start=_alone(result.params)
        )
        facts["final"] = list(result.criteria)

    shapes, rotations = trainer.shapes(result.params, data)
    best = trainer.normalizer.reconstruction(landmarks, frames, shapes, rotations, np.asarray(data.depth))
    if config.mirror == "auto":
        if camera == "perspective":  # the images have chosen: only say where the shapes disagree
            found = resolve_mirrors(best.points3d, best.sequence)
            best = best.replace(mirror_margin=np.where(found.flip, 0, found.margin).astype(np.float32))
        else:
            best, found = relabel(best)
        facts["mirror"] = found.summary()
    model = DeepNRSfM(trainer.network, result.params, trainer.normalizer, landmarks.names, best.mirror)
    return Fitted(best, model, heldout, spread, facts)


def _alone(params):
    """Parameters as a stack of one restart."""
    return jax.tree.map(lambda x: x[None], params)


def _camera_shapes(trainer: _Trainer, all_params, data: Observations, frames) -> np.ndarray:
    """`(restart, frame, point, 3)` camera-frame shapes of the restarts that the search has left: what the seed
    decides of the result."""
    found = []
    for i in range(len(jax.tree.leaves(all_params)[0])):
        shapes, rotations = trainer.shapes(jax.tree.map(lambda x, i=i: x[i], all_params), data)
        one = trainer.normalizer.reconstruction(
            trainer.landmarks, frames, shapes, rotations, np.asarray(data.depth)
        )
        found.append(np.asarray(one.camera_points))
    return np.stack(found)


def _with_hand(trainer: _Trainer, params, data: Observations) -> tuple[MirrorResolution, Observations]:
    """The data with the depths of the resolved hand, trusted by their margin."""
    shapes, rotations = trainer.shapes(params, data)
    sequence = trainer.landmarks.sequence
    found = resolve_mirrors(shapes, None if sequence is None else np.asarray(sequence))
    z = np.einsum("fpj,fj->fp", shapes, rotations[:, 2]) * np.where(found.flip, -1, 1)[:, None]
    trust = np.zeros(len(z)) if found.method == "none" else found.margin
    return found, data._replace(z=jnp.asarray(z, jnp.float32), z_weight=jnp.asarray(trust, jnp.float32))


INFO = MethodInfo(
    name=DeepNRSfM.METHOD,
    kind="learned",
    summary="block-sparse dictionary network; any camera, gaps, unseen frames",
    cameras=("orthographic", "weak-perspective", "perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Wang, Lin, Lucey: Deep NRSfM++, 3DV 2020",
    config=Config,
    fit=fit,
    load=DeepNRSfM.load,
)
