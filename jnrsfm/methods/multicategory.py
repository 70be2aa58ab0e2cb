r"""Many categories in one network: C3DPO, the cyclic self-supervision of Can et al., and a Procrustean prior.

Every category owns a block of keypoints. A sample gives a residual network (`models.lifter`) its centred landmarks and
which of them are seen; the network gives a rotation R and coefficients of one shape basis for all categories:

    J = reprojection(y, Pi R X + t) + turning loss,    X = c(a) S (+ b_S) at the keypoints of the sample's category,

pseudo-Huber of the distances at visible points, t in closed form. In-plane turns of the image augment; of a sample
turned twice, the shape of one has to explain the image with the rotation of the other. `variant`:

* `c3dpo-base`: no more than that. `c3dpo`: a second network has to find X in X turned at random.
* `ours-base`: the cone of non-negative coefficients. `ours`: then the cycle. X is turned to a camera that the network
  finds for another sample of the category (as published: to any), projected, hidden like the sample, and lifted again:
  it must give the turn back (camera loss) and X (shape loss).
* `procrustean`: each category's shapes are a normal distribution (`methods.category_prior`), found by expectation
  maximisation on the training landmarks. The network learns the rotation, from the shapes and cameras that were found,
  projected anew under other cameras with other points hidden; the shape is the mean of the distribution given the
  image, in closed form.

Batch normalisation keeps no running statistics: they are measured on the whole set at the end, and before the cycle,
which sees them frozen and keeps them. Layer normalisation needs neither and is the default of all but C3DPO.

Source: Novotny et al., C3DPO, ICCV 2019; Can et al., End-to-End Learning of Multi-category 3D Pose and Shape
Estimation, 2021, sections 3.1 to 3.4. Departures: Adam in place of SGD; one random turn for the canonicalisation
network, not four; no weight decay; cameras and weight of the cycle. The Procrustean variant and rotations from nine
numbers are ours.
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnrsfm.errors import InputError
from jnrsfm.geometry.normalization import masked_mean
from jnrsfm.geometry.rotations import axis_angle_to_matrix, random_rotations
from jnrsfm.inputs.category_samples import (
    Samples,
    category_codes,
    category_names,
    centred,
    keypoints_of,
    observe,
)
from jnrsfm.inputs.observations import Frames, Normalizer, hold_out
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.saving import NetworkModel
from jnrsfm.models.lifter import Canonizer, Lifter, LifterConfig, Mode
from jnrsfm.shape_prior import category_prior
from jnrsfm.training import Engine, Problem, Session, TrainConfig
from jnrsfm.types import Landmarks, Reconstruction

Variant = Literal["c3dpo-base", "c3dpo", "ours-base", "ours", "procrustean"]
_FRAMES = 1024  # at a time, outside training
_JITTER = 0.2  # radians, standard deviation: cameras of other samples are turned by so much
_HUBER = 0.01  # where the loss of a distance turns from square to linear, in units of the category's size


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of the multi-category lifter. "variant" means: what the variant was published with."""

    variant: Variant = "procrustean"
    """Which system (module docstring)."""
    steps: int = 4000
    """Optimiser steps."""
    batch: int = 256
    """Samples in a step."""
    microbatch: int = 256
    """Most samples in a slice of a batch; batch statistics are those of a slice."""
    basis: int = 10
    """Number of basis shapes."""
    width: int = 1024
    """Hidden units."""
    blocks: int = 6
    """Residual blocks."""
    norm: Literal["variant", "batch", "layer", "none"] = "variant"
    """Normalisation of the network: the batch's for C3DPO, else layer normalisation."""
    rotation: Literal["variant", "exponential", "6d", "9d"] = "variant"
    """How the head makes a rotation: exponential coordinates for C3DPO, else projected from nine numbers."""
    in_plane: float = np.pi / 8
    """Largest in-plane turn of the augmentation, in radians."""
    cycle: float = 0.5
    """Share of the steps with the cycle, at the end (variant ours)."""
    cycle_weight: float = 0.1
    """Weight of the camera loss and of the shape loss of the cycle."""
    cycle_cameras: Literal["found", "any"] = "found"
    """Cameras of the cycle: those that the network finds for other samples of the category, or any rotation."""
    hide: float = 0.5
    """Most points of a sample that the procrustean variant hides at random from the network in training."""
    modes: int = 20
    """Most directions in which the shapes of a category vary (procrustean)."""
    polish: int = 4
    """Steps by which lifting improves the network's rotation on the likelihood of the image (procrustean)."""
    holdout: float = 0.05
    """Share of the observed points that training does not see, to measure the quality without labels."""

    def __post_init__(self):
        """Refuse what cannot work."""
        super().__post_init__()
        if not 0 <= self.holdout < 1 or not 0 <= self.cycle <= 1 or not 0 <= self.hide < 1:
            raise InputError(
                f"holdout is {self.holdout}, cycle {self.cycle} and hide {self.hide}: shares from 0, holdout and hide "
                "below 1"
            )
        if self.select == "heldout":
            raise InputError("select is 'heldout': restarts of this method are ranked by the objective")
        if self.variant == "ours" and self.norm == "batch" and self.cycle == 1:
            raise InputError(
                "cycle is 1 with norm 'batch': the cycle needs the statistics of a network trained without it: give "
                "cycle below 1, or norm 'layer'"
            )
        if self.modes < 1 or self.polish < 0:
            raise InputError(f"modes is {self.modes} and polish {self.polish}: give at least 1 and 0")

    def network(self, n_points: int, n_categories: int, members: int) -> "NetworkConfig":
        """The network that the variant asks for, for categories of at most `members` keypoints."""
        published = self.variant.startswith("c3dpo")
        norm = ("batch" if published else "layer") if self.norm == "variant" else self.norm
        rotation = ("exponential" if published else "9d") if self.rotation == "variant" else self.rotation
        prior = self.variant == "procrustean"
        lifter = LifterConfig(
            n_points, 0 if prior else self.basis, self.width, max(1, self.width // 4), self.blocks, norm, rotation,
            self.variant.startswith("ours"),
        )  # fmt: skip
        return NetworkConfig(
            n_points,
            n_categories,
            members,
            lifter,
            self.variant == "c3dpo",
            self.modes if prior else 0,
            self.polish,
        )


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """A lifter for categories of at most `members` keypoints: with a canonicalisation network or without, with so many
    modes of a Procrustean prior (0: none), whose likelihood improves the rotation in `polish` steps."""

    n_points: int
    n_categories: int
    members: int
    lifter: LifterConfig
    canonical: bool
    modes: int
    polish: int


class Network(NamedTuple):
    """The networks as pure functions, and what a model keeps of its categories."""

    config: NetworkConfig
    lifter: Any
    canonizer: Any

    @classmethod
    def of(cls, config: NetworkConfig) -> "Network":
        """Its structure, without arrays."""

        def graph(kind):
            return nnx.split(nnx.eval_shape(lambda: kind(config.lifter, rngs=nnx.Rngs(params=0))))[0]

        return cls(config, graph(Lifter), graph(Canonizer) if config.canonical else None)

    def fresh(self, key) -> dict[str, Any]:
        """Fresh parameters to train."""
        kinds = {"lifter": Lifter} | ({"canonizer": Canonizer} if self.config.canonical else {})
        keys = jax.random.split(key, 2)
        return {
            name: nnx.to_pure_dict(nnx.state(kind(self.config.lifter, rngs=nnx.Rngs(params=k))))
            for k, (name, kind) in zip(keys, kinds.items(), strict=False)
        }

    def init(self, key) -> dict[str, Any]:
        """What a model is saved as: the parameters; which points a category has, and its size; its prior."""
        n, p = self.config.n_categories, self.config.n_points
        model = {"nets": self.fresh(key), "points": jnp.zeros((n, p)), "size": jnp.ones(n)}
        if self.config.modes:
            model["prior"] = category_prior.empty(n, p, self.config.modes)._asdict()
        return model

    def lift(self, nets, points, seen, mode: Mode = "frozen"):
        """Shape, rotation and code of samples; `(Lifted, nets)`, the latter with the statistics of `mode` "measure"."""
        module = nnx.merge(self.lifter, nets["lifter"])
        out = module(points, seen, mode)
        return out, nets | {"lifter": nnx.to_pure_dict(nnx.state(module))} if mode == "measure" else nets

    def canonical(self, nets, shape, mode: Mode):
        """The shape that the canonicalisation network sees in a turned one."""
        code = nnx.merge(self.canonizer, nets["canonizer"])(shape, mode)
        return nnx.merge(self.lifter, nets["lifter"]).shape(code)


def pseudo_huber(square: Any) -> Any:
    """`delta (sqrt(1 + d^2 / delta^2) - 1)` of squared distances, delta 0.01: finite slope at 0."""
    return _HUBER * (jnp.sqrt(1 + square / _HUBER**2) - 1)


def reprojection(shape, rotation, points, weights):
    """`(*batch, point, 2)` residual of the image, with the best translation of each sample taken out."""
    gap = points - jnp.einsum("...pj,...ij->...pi", shape, rotation[..., :2, :])
    return gap - masked_mean(gap, weights)


def _mean(values, weights):
    """Weighted mean over samples and points."""
    return jnp.sum(weights * values) / jnp.maximum(jnp.sum(weights), 1e-6)


def _in_plane(key, count: int, most: float):
    """`(count, 2, 2)` turns of the image by up to `most` radians."""
    angle = jax.random.uniform(key, (count,), minval=-most, maxval=most)
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([c, -s, s, c], -1).reshape(count, 2, 2)


class _Trainer:
    """The phases of one fit share these."""

    def __init__(self, network: Network, config: Config, session: Session):
        self.network, self.config, self.session = network, config, session

    def engine(self, cycle: bool) -> Engine:
        """The engine, with the cycle or without."""
        objective = (
            self.taught if self.config.variant == "procrustean" else partial(self.objective, cycle=cycle)
        )
        criteria = partial(self.criteria, mode="frozen" if cycle else "batch")
        return Engine(Problem(self.network.fresh, objective, criteria), self.config, self.session)

    def objective(self, nets, batch: Samples, key, progress, *, cycle: bool):
        """Loss of a batch, and what to record."""
        mode: Mode = "frozen" if cycle else "batch"
        keys = jax.random.split(key, 4)
        n, weights, defined = len(batch.points), batch.weights, batch.defined
        views = [batch.points @ jnp.swapaxes(_in_plane(k, n, self.config.in_plane), 1, 2) for k in keys[:2]]
        (first, _), (second, _) = (self.network.lift(nets, v, weights, mode) for v in views)
        shape = second.shape * defined[..., None]
        gap = reprojection(shape, first.rotation, views[0], weights)
        loss = _mean(pseudo_huber(jnp.sum(gap**2, -1)), weights)
        aux = {"reprojection": loss}
        if self.network.config.canonical:
            turn = _uniform_angle(keys[2], n)
            again = self.network.canonical(nets, jnp.einsum("bpj,bij->bpi", shape, turn), mode)
            aux["canonical"] = _mean(pseudo_huber(jnp.sum((again - shape) ** 2, -1)), defined)
            loss = loss + aux["canonical"]
        if cycle:
            turn = self.cycle_cameras(keys[3], batch.category, first.rotation)
            image = centred(jnp.einsum("bpj,bij->bpi", shape, turn[:, :2]), weights)
            again, _ = self.network.lift(nets, image, weights, mode)
            aux["camera"] = jnp.mean(pseudo_huber(jnp.sum((again.rotation - turn) ** 2, (-2, -1))))
            aux["shape"] = _mean(pseudo_huber(jnp.sum((again.shape - shape) ** 2, -1)), defined)
            loss = loss + self.config.cycle_weight * (aux["camera"] + aux["shape"])
        return loss, aux

    def cycle_cameras(self, key, category, found):
        """Cameras of the cycle: any rotation, or those `found` for other samples of the category, turned a little."""
        keys = jax.random.split(key)
        if self.config.cycle_cameras == "any":
            return random_rotations(keys[0], (len(found),), found.dtype)
        other = jax.lax.stop_gradient(found[_partners(keys[0], category)])
        return axis_angle_to_matrix(_JITTER * jax.random.normal(keys[1], (len(found), 3))) @ other

    def taught(self, nets, batch: Samples, key, progress):
        """Loss of the rotation head on the prior's shapes under other cameras, other points hidden."""
        keys = jax.random.split(key, 6)
        n, defined = len(batch.points), batch.defined
        # the camera of another sample of the category, turned a little
        camera = batch.rotation[_partners(keys[0], batch.category)]
        camera = axis_angle_to_matrix(_JITTER * jax.random.normal(keys[1], (n, 3))) @ camera
        image = jnp.einsum("bpj,bij->bpi", batch.shape, camera[:, :2])
        share = self.config.hide * jax.random.uniform(keys[2], (n, 1))
        chance = jax.random.uniform(keys[3], defined.shape)
        seen = batch.weights * (chance >= share)
        seen = jnp.where(jnp.sum(seen, -1, keepdims=True) < 4, batch.weights, seen)
        image = image + 0.01 * jax.random.normal(keys[4], image.shape)
        # the real images too, with the rotation that was found for them
        points = jnp.concatenate([centred(image, seen), batch.points])
        out, _ = self.network.lift(nets, points, jnp.concatenate([seen, batch.weights]), "batch")
        square = jnp.sum((out.rotation - jnp.concatenate([camera, batch.rotation])) ** 2, (-2, -1))
        loss = jnp.mean(jnp.sqrt(square + 1e-4))
        return loss, {"camera": loss}

    def criteria(self, nets, data: Samples, *, mode: Mode):
        """Over all samples: the error at the points that training sees, in units of the size."""

        def some(batch):
            out, _ = self.network.lift(nets, batch.points, batch.weights, mode)
            shape = batch.shape if out.shape is None else out.shape * batch.defined[..., None]
            gap = reprojection(shape, out.rotation, batch.points, batch.weights)
            return jnp.sum(batch.weights * jnp.sqrt(jnp.sum(gap**2, -1)))

        return {"objective": jnp.sum(jax.lax.map(some, _blocks(data))) / jnp.sum(data.weights)}

    def measured(self, nets, data: Samples):
        """The parameters with the batch statistics of the whole set."""
        return jax.jit(lambda n, d: self.network.lift(n, d.points, d.weights, "measure")[1])(nets, data)


def _partners(key, category):
    """`(frame,)` for each sample one at random of the same category, each taken once."""
    one, two = (jnp.lexsort((jax.random.uniform(k, category.shape), category)) for k in jax.random.split(key))
    return jnp.zeros_like(one).at[one].set(two)


def _uniform_angle(key, count: int):
    """Turns about a random axis by an angle uniform in [0, pi], as C3DPO draws them."""
    one, two = jax.random.split(key)
    axis = jax.random.normal(one, (count, 3))
    axis = axis / jnp.linalg.norm(axis, axis=-1, keepdims=True)
    return axis_angle_to_matrix(axis * jax.random.uniform(two, (count, 1), maxval=jnp.pi))


def _blocks(data, size: int = _FRAMES):
    """`(block, frame, ...)` view of data, the last block filled up with samples of weight 0."""
    n = len(jax.tree.leaves(data)[0])
    count = -(-n // size)
    pad = lambda x: jnp.concatenate([x, jnp.zeros((count * size - n, *x.shape[1:]), x.dtype)])
    return jax.tree.map(lambda x: pad(x).reshape(count, size, *x.shape[1:]), data)


@dataclasses.dataclass(frozen=True, eq=False)
class MultiCategory(NetworkModel):
    """A trained network: lifts samples of the categories that it was trained on."""

    METHOD = "multicategory"

    categories: tuple[str, ...] | None = None

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        return Network.of(NetworkConfig(**config | {"lifter": LifterConfig(**config["lifter"])}))

    def lift(self, landmarks: Landmarks) -> Reconstruction:
        """One forward pass. Points that a sample's category does not have come out as 0, with `valid3d` False.

        With a prior, `score` is the standard deviation of each point given the image, and `mirror_margin` how much
        likelier the hand is than the other; see `low_confidence`. Raises InputError for another number of points, or
        a category that the training did not have.
        """
        self.check_points(landmarks)
        category = category_codes(landmarks, self.categories)
        kinds = {k: np.asarray(self.params[k]) for k in ("points", "size")}
        samples, plane, size = observe(landmarks, category, kinds["points"] > 0, kinds["size"], self.camera)
        found = _forward(self.network, self.params, samples)
        return reconstruct(landmarks, samples, plane, size, found, self.normalizer, self.mirror)


def low_confidence(reconstruction: Reconstruction, most: float = 0.25) -> np.ndarray:
    """`(frame,)` bool: fewer than four points were seen, or the scores (`Reconstruction.score`) say that the points
    are uncertain by more than `most` of the shape's size (root mean squares both)."""
    valid = np.asarray(reconstruction.valid3d)
    few = (np.asarray(reconstruction.visible) & valid).sum(1) < 4
    if reconstruction.score is None:
        return few
    count = np.maximum(valid.sum(1), 1)
    x = np.where(valid[..., None], np.asarray(reconstruction.points3d), 0)
    x = np.where(valid[..., None], x - x.sum(1, keepdims=True) / count[:, None, None], 0)
    size = np.sqrt((x**2).sum((1, 2)) / count)
    score = np.sqrt((np.where(valid, reconstruction.score, 0) ** 2).sum(1) * 3 / count)
    return few | (score > most * size)


class _Found(NamedTuple):
    """Shapes, rotations, and of a prior's reading the spread of the points and the margin of the hand."""

    shape: Any
    rotation: Any
    spread: Any
    margin: Any


@partial(jax.jit, static_argnums=0)
def _lift(network: Network, model, samples: Samples) -> _Found:
    out, _ = network.lift(model["nets"], samples.points, samples.weights)
    if out.shape is not None:
        return _Found(out.shape, out.rotation, None, None)
    # only the keypoints of a sample's own category, padded to the largest one's count
    columns = jnp.argsort(model["points"] <= 0, axis=1, stable=True)[:, : network.config.members]
    prior = category_prior.Prior(**model["prior"])
    each = jax.vmap(lambda x, c: x[c])
    prior = prior._replace(mean=each(prior.mean, columns), basis=each(prior.basis, columns))
    own = columns[samples.category]
    reading = category_prior.read(
        prior, each(samples.points, own), each(samples.weights * samples.defined, own), samples.category,
        out.rotation, network.config.polish,
    )  # fmt: skip
    back = jax.vmap(lambda x, c, like: jnp.zeros_like(like).at[c].set(x))
    return _Found(
        back(reading.shape, own, samples.shape), reading.rotation,
        back(reading.spread, own, samples.weights), reading.margin,
    )  # fmt: skip


def _forward(network: Network, model, samples: Samples) -> _Found:
    """On the host, a block at a time; samples are padded, so that few sizes are compiled."""
    n = len(samples.points)
    blocks = _blocks(samples, min(_FRAMES, 1 << (n - 1).bit_length()))
    found = [
        jax.tree.map(np.asarray, _lift(network, model, jax.tree.map(lambda x, i=i: x[i], blocks)))
        for i in range(len(blocks.points))
    ]
    return jax.tree.map(lambda *x: np.concatenate(x)[:n], *found)


def reconstruct(
    landmarks: Landmarks, samples: Samples, plane: np.ndarray, size: np.ndarray, found: _Found, normalizer: Normalizer,
    mirror: str,
) -> Reconstruction:  # fmt: skip
    """The record: orthographic shapes in the units of the input, weak-perspective ones in units of their image."""
    defined = np.asarray(samples.defined) > 0
    found = found._replace(shape=np.where(defined[..., None], found.shape, 0.0))
    turned = Frames(plane, size.astype(np.float32), None)
    result = normalizer.reconstruction(landmarks, turned, found.shape, found.rotation, np.ones(len(size)))
    spread = None if found.spread is None else np.where(defined, found.spread, 0.0)
    if normalizer.camera == "orthographic":
        result = result.replace(
            points3d=np.asarray(result.points3d) * size[:, None, None].astype(np.float32),
            cameras=result.cameras.replace(scale=None),
            gauge="units of the input",
        )
        spread = None if spread is None else (spread * size[:, None]).astype(np.float32)
    return result.replace(valid3d=defined, score=spread, mirror=mirror, mirror_margin=found.margin)


def fit(landmarks: Landmarks, camera: str, config: Config, seed: int, session: Session) -> Fitted:
    """Train on landmarks of one or many categories and reconstruct them: the phases of the module docstring.

    Raises InputError where a category has too few samples or points for the procrustean variant.
    """
    categories, category = None, np.zeros(landmarks.n_frames, int)
    if landmarks.category is not None:
        names = category_names(landmarks)
        order = landmarks.categories or sorted(set(names))
        categories = tuple(str(name) for name in order if (names == name).any())
        category = category_codes(landmarks, categories)
    count = 1 if categories is None else len(categories)
    keypoints = keypoints_of(landmarks, category, count)
    ones = np.ones(count)
    _, _, extent = observe(landmarks, category, keypoints, ones, "weak-perspective")
    size = ones if camera == "weak-perspective" else np.array(
        [np.sqrt(np.mean(extent[category == c] ** 2)) for c in range(count)]
    )  # fmt: skip
    size = size.astype(np.float32)  # as the model keeps it
    whole, plane, unit = observe(landmarks, category, keypoints, size, camera)
    seen, held = map(jnp.asarray, hold_out(np.asarray(whole.weights), config.holdout, 5, seed))
    samples = whole._replace(weights=seen, heldout=held, points=centred(whole.points, seen))
    network = Network.of(config.network(landmarks.n_points, count, int(keypoints.sum(1).max())))
    trainer, facts, key = _Trainer(network, config, session), {}, jax.random.key(seed)
    model: dict[str, Any] = {
        "points": jnp.asarray(keypoints, jnp.float32),
        "size": jnp.asarray(size, jnp.float32),
    }
    if network.config.modes:
        samples, prior, facts["prior"] = _with_prior(samples, keypoints, categories, config, seed, session)
        model["prior"] = prior._asdict()

    cycle = round(config.cycle * config.steps) if config.variant == "ours" else 0
    start = None
    for number, (phase, steps) in enumerate((("lift", config.steps - cycle), ("cycle", cycle))):
        if steps:
            trained = trainer.engine(phase == "cycle").train(
                samples, jax.random.fold_in(key, number), phase=phase, steps=steps, start=start
            )
            facts[phase] = list(trained.criteria)
            nets = trained.params
            # the cycle trains under the statistics that it was given: they stay
            if network.config.lifter.norm == "batch" and phase == "lift":
                nets = trainer.measured(nets, samples)
            start = jax.tree.map(lambda x: x[None], nets)
    model["nets"] = nets
    normalizer = Normalizer(camera, "rms")
    mirror = "set" if network.config.modes else "none"
    fitted = MultiCategory(network, model, normalizer, landmarks.names, mirror, categories)
    heldout = _heldout_item(_forward(network, model, samples), samples, whole, config)
    facts["heldout"] = heldout
    found = _forward(network, model, whole)
    best = reconstruct(landmarks, whole, plane, unit, found, normalizer, mirror)
    return Fitted(best, fitted, heldout, None, facts)


def _with_prior(
    samples: Samples, keypoints: np.ndarray, categories, config: Config, seed: int, session: Session
):
    """`(samples, prior, facts)`: the prior of every category, and the shapes and rotations of its samples."""
    points, weights, category = (
        np.asarray(x, np.float64) for x in (samples.points, samples.weights, samples.category)
    )
    prior = jax.tree.map(np.array, category_prior.empty(len(keypoints), keypoints.shape[1], config.modes))
    shape, rotation, facts = np.array(samples.shape), np.array(samples.rotation), {}
    parts = []
    for c, has in enumerate(keypoints):
        rows, columns = np.flatnonzero(category == c), np.flatnonzero(has)
        rows = rows[(weights[np.ix_(rows, columns)] > 0).sum(1) >= 4]
        if len(rows) < 12 or len(columns) < 5:
            raise InputError(
                f"{categories[c] if categories else 'the set'}: {len(rows)} samples with at least 4 of {len(columns)} "
                "points seen: the prior needs 12 samples and 5 points of each category: give more, or take variant ours"
            )
        parts.append((rows, columns))
    n, p = (max(len(part[axis]) for part in parts) for axis in (0, 1))
    for c, (rows, columns) in enumerate(parts):
        name = categories[c] if categories else "the set"
        session.say(f"multicategory: distribution of {name}, {len(rows)} samples")
        # one compiled size for all: samples are repeated, and points that nobody sees are added
        part = np.ix_(np.resize(rows, n), columns)
        more = p - len(columns)
        learned = category_prior.learn(
            np.pad(points[part], ((0, 0), (0, more), (0, 0))), np.pad(weights[part], ((0, 0), (0, more))),
            config.modes, seed,
        )  # fmt: skip
        facts[name] = learned.facts
        shape[np.ix_(rows, columns)] = learned.shapes[: len(rows), : len(columns)]
        rotation[rows] = learned.rotations[: len(rows)]
        for field, value in learned.prior._asdict().items():
            target = getattr(prior, field)
            if field in ("mean", "basis"):
                target[c][columns, ..., : value.shape[-1]] = value[: len(columns)]
            else:
                target[c] = value
    f32 = lambda x: jnp.asarray(x, jnp.float32)
    return (
        samples._replace(shape=f32(shape), rotation=f32(rotation)),
        jax.tree.map(f32, prior),
        facts,
    )


def _heldout_item(found: _Found, samples: Samples, whole: Samples, config: Config) -> dict[str, Any] | None:
    """The held-out error for the report card; its baseline puts every hidden point at the mean of the seen ones."""
    held = np.asarray(samples.heldout)
    if not held.sum():
        return None
    gap = reprojection(jnp.asarray(found.shape), jnp.asarray(found.rotation), whole.points, samples.weights)
    middle = whole.points - masked_mean(whole.points, samples.weights)
    error, baseline = (
        float((held * np.linalg.norm(np.asarray(x), axis=-1)).sum() / held.sum()) for x in (gap, middle)
    )
    note = f"{config.holdout:.0%} of the observed points, hidden from training and from the lifting"
    return {"error": error, "baseline": baseline, "count": int((held > 0).sum()), "note": note}


INFO = MethodInfo(
    name="multicategory",
    kind="learned",
    summary="one network for many categories, single views; C3DPO, cycle, Procrustean prior; unseen frames",
    cameras=("orthographic", "weak-perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Can et al. 2021; Novotny et al. (C3DPO), ICCV 2019",
    state="experimental",
    config=Config,
    fit=fit,
    load=MultiCategory.load,
)
