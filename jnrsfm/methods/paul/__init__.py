r"""PAUL: shapes in a common frame pass through the bottleneck of an autoencoder; depths and cameras are solved for.

With a code `phi` for each frame, `D = f_d(phi)` and `A = f_d(f_e(D))` the objective is, over frames (eq. 2.8),

    n(D) + n(A) + c |phi|^2 + d |theta_d|^2,     n(S) = sqrt(mean_p |R s_p - x_p|^2),  x = (observed x, y; z),

where the rotation R and everything that the image does not show (depths, hidden points) minimise it, frame by frame.

The lower level (`paul_network.lower_level`) is solved exactly, so that no gradient goes through it, or as in the paper.
Weights of the regularisers are per point here: the paper's 0.01 and 1e-4 go with norms that grow as sqrt(P).

The fit. *search*: for each of `starts`, `restarts` seeds train on all observed points but a held-out tenth, whose
reprojection error chooses. A start other than "random" is a set of shapes: the codes begin at their principal
components, and both shapes D and A are drawn to them at first. *final*: all observed points, drawn once more to the
winning start, now made of all points. Shapes of one hand, by time or over the set, are such a start as well.
Perspective: residuals of the normalised equations of Deep NRSfM++, pose by repeated orthographic problems, scale
correction, and both hands tried. New frames begin at an encoder's code, or at those of the training frames whose
shapes show the most similar image, and improve it each for itself.

Source: Wang and Lucey, PAUL: Procrustean Autoencoder for Unsupervised Lifting, CVPR 2021; Wang's thesis, ch. 2. ADL and
ADL with a nuclear norm are its baselines. The exact lower level, the starts, the perspective camera and the prior in
time are ours.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnrsfm.errors import InputError
from jnrsfm.factorization.initial_shapes import rigid_shapes
from jnrsfm.geometry.depth_reflection import MirrorResolution, relabel, resolve_mirrors
from jnrsfm.geometry.generalized_procrustes import align
from jnrsfm.geometry.procrustes import align_rigid, apply
from jnrsfm.inputs.augmentation import rolled
from jnrsfm.inputs.batching import blocks
from jnrsfm.inputs.observations import Normalizer, Observations, SizeMeasure, hold_out
from jnrsfm.linalg.proximal import nuclear_norm
from jnrsfm.methods import pnd
from jnrsfm.methods.base import Fitted, Latent, MethodInfo
from jnrsfm.methods.paul.network import FINITE, Batch, Network, Terms, lifted
from jnrsfm.methods.recipe import corrected_scale, heldout_item, heldout_residual
from jnrsfm.methods.saving import NetworkModel
from jnrsfm.models.autoencoder import AutoencoderConfig
from jnrsfm.training import Engine, Problem, Session, TrainConfig
from jnrsfm.types import Landmarks, Reconstruction

Start = Literal["random", "rigid", "pnd"]
_MOST_FREE = 3000  # frames: beyond, codes come from a network by default
_SEVERAL_STARTS = 600  # frames: beyond, a second search costs more than it has been seen to bring
_HOLD = 0.03  # of the pull to a start
_MIRROR = np.array([1, 1, -1], np.float32)


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of PAUL."""

    codes: Literal["auto", "free", "residual", "block-sparse"] = "auto"
    """Codes are unknowns of their own (free), or a network gives them; auto: free up to 3,000 frames, else
    block-sparse."""
    steps: int | None = None  # type: ignore[assignment]
    """Optimiser steps of each search; unset: 2,500 with free codes, else 25 for each frame, between 20,000 and
    60,000."""
    refine: int = 150
    """Steps by which a lifted frame's code is improved on the frame itself, all else fixed."""
    batch: int = 0
    """Frames in a step; 0: all with free codes, 128 with an encoder."""
    learning_rate: float = 3e-3
    """Peak learning rate of Adam."""
    starts: tuple[Start, ...] | None = None
    """Where searches start; the best by `select` wins. Unset: pnd, and random too up to 600 frames; random
    alone with an encoder."""
    restarts: int = 1
    """Seeds for each start."""
    final: float = 2.0
    """Steps of the final phase, on all observed points, as a share of those of a search."""
    prior: Literal["paul", "adl", "adl-nuclear"] = "paul"
    """The autoencoder; or its decoder alone (ADL), also with the nuclear norm of the shapes."""
    nuclear: float = 0.01
    """Weight of the nuclear norm (adl-nuclear)."""
    solver: Literal["exact", "linear"] = "exact"
    """Lower level: the minimiser, or the paper's projected least squares."""
    bottleneck: int = 8
    """Numbers in a code. Too many do little harm."""
    sizes: tuple[int, ...] = (256, 128, 64, 32, 16)
    """Hidden units of the autoencoder, from the shape to the code."""
    dictionaries: tuple[int, ...] = (512, 256, 128, 64, 32, 16)
    """Sizes of the block-sparse encoder."""
    code_weight: float = 1e-3
    """Weight of the squared code."""
    decay: float = 1e-5
    """Weight of the squared weights of the decoder."""
    select: Literal["objective", "heldout"] = "heldout"
    """Label-free criterion that chooses among starts and seeds. The objective is a poor one: what a start leaves
    unexplained is small beside the regularisers."""
    smooth: float = 0.0
    """Weight of the root mean square second difference in time of the shapes, along the clips of `sequence` (free
    codes, all frames in a step)."""
    rigid: float = 0.2
    """Share of a random search over which the shapes go from one rigid shape to free ones."""
    pull: float = 0.2
    """Share of a phase over which the pull of its start fades out."""
    hold: float | None = None
    """Share of that pull that stays to the end. Unset: 0.03 up to 600 frames, where a start knows as much as the
    autoencoder can learn from so few; 0 beyond, and under perspective."""
    roll: float = 180.0
    """Most turn of a training sample in the image plane (degrees), where a network gives the codes."""
    size: SizeMeasure = "rms"
    """2D size that sets the scale."""
    scale_correction: int = 1
    """Rounds of scale correction where frames have a scale of their own (weak perspective, perspective)."""
    scale_by: Literal["auto", "norm", "bones"] = "auto"
    """Correct by the norm of the shape or by its mean bone length; auto: bones where edges are given."""
    fill: bool = True
    """Give an encoder a linear prediction of the hidden points in place of zeros (up to 256 points)."""
    holdout: float = 0.1
    """Share of the observed points that the search does not see, to measure the quality without labels."""
    mirror: Literal["auto", "none"] = "auto"
    """Resolve the depth mirror by time or over the set; none leaves each frame its own."""

    def __post_init__(self):
        """Refuse what cannot work."""
        super().__post_init__()
        if not 0 <= self.holdout < 1:
            raise InputError(f"holdout is {self.holdout}: it must be at least 0 and below 1")
        for name in ("final", "nuclear", "code_weight", "decay", "smooth", "rigid", "pull", "roll"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if self.hold is not None and not 0 <= self.hold <= 1:
            raise InputError(f"hold is {self.hold}: give a share between 0 and 1")
        if self.starts is not None and not self.starts:
            raise InputError("starts is empty: give one or more of random, rigid, pnd")
        if self.select == "heldout" and not self.holdout:
            raise InputError("select is 'heldout' but holdout is 0: say select objective, or hold points out")

    def resolved(self, n_frames: int, perspective: bool = False) -> "Config":
        """With the rules for what is unset, for a number of frames."""
        codes = self.codes
        if codes == "auto":
            codes = "free" if n_frames <= _MOST_FREE else "block-sparse"
        free = codes == "free"
        starts: tuple[Start, ...] = ("random",)
        if free:
            starts = ("pnd", "random") if n_frames <= _SEVERAL_STARTS else ("pnd",)
        rule_hold = 0.0 if perspective or n_frames > _SEVERAL_STARTS else _HOLD
        rule = 2500 if free else int(np.clip(25 * n_frames, 20_000, 60_000))
        return dataclasses.replace(
            self,
            codes=codes,
            steps=self.steps or rule,
            batch=self.batch or (0 if free else 128),
            starts=self.starts or starts,
            hold=rule_hold if self.hold is None else self.hold,
        )


class _Trainer:
    """The phases of one fit share these."""

    def __init__(self, landmarks: Landmarks, camera: str, config: Config):
        self.config, self.landmarks = config, landmarks
        self.perspective = camera == "perspective"
        self.network = Network.of(
            AutoencoderConfig(
                n_points=landmarks.n_points,
                bottleneck=config.bottleneck,
                sizes=config.sizes,
                codes=config.codes,  # type: ignore[arg-type]
                n_codes=landmarks.n_frames,
                dictionaries=config.dictionaries,
                columns=3 if self.perspective else 2,
            )
        )
        self.normalizer = Normalizer(camera, config.size).fitted(landmarks)
        self.sequence = None if landmarks.sequence is None else np.asarray(landmarks.sequence)
        self.edges = None if landmarks.edges is None else np.asarray(landmarks.edges)
        self.bend = _neighboured(self.sequence, landmarks.n_frames)
        self._apply = jax.jit(lambda params, batch: self.terms(params, batch, 1.0))

    def terms(self, params, batch: Batch, free) -> Terms:
        """Forward pass under the config."""
        free = jnp.maximum(free, batch.loose)[:, None]
        return self.network.apply(params, batch, free, self.config.solver, self.config.prior == "paul")

    def cost(self, params, terms: Terms, batch: Batch):
        """The objective, and its parts."""
        config = self.config
        first, second = terms.misfit[:, 0], terms.misfit[:, 1]
        aux = {"first": jnp.mean(first), "second": jnp.mean(second)}
        if config.prior != "paul":
            loss = jnp.mean(first)
        elif config.solver == "exact":
            loss = jnp.mean(jnp.sqrt(2 * (first**2 + second**2)))
        else:
            loss = jnp.mean(first + second)
        loss = loss + config.code_weight * jnp.mean(jnp.sum(terms.code**2, -1))
        if config.decay:
            weights = [x for k, x in jax.tree.leaves_with_path(params["decoder"]) if "kernel" in str(k)]
            loss = loss + config.decay * sum(jnp.sum(x**2) for x in weights)
        if config.prior == "adl-nuclear":
            rows = terms.first.reshape(len(terms.first), -1)
            loss = loss + config.nuclear * nuclear_norm(
                rows / np.sqrt(terms.first.shape[0] * terms.first.shape[1])
            )
        if config.smooth:
            bent = terms.shape[2:] - 2 * terms.shape[1:-1] + terms.shape[:-2]
            rms = jnp.sqrt(jnp.mean(jnp.sum(bent**2, -1), -1) + FINITE)
            aux["bent"] = jnp.sum(batch.bend[1:-1] * rms) / jnp.maximum(jnp.sum(batch.bend[1:-1]), 1)
            loss = loss + config.smooth * aux["bent"]
        return loss, aux

    def objective(self, params, batch: Batch, key, progress):
        """Loss of a batch, and what to record."""
        config = self.config
        if config.roll and config.codes != "free":
            points, inputs = rolled((batch.seen.points, batch.seen.inputs), key, config.roll)
            batch = batch._replace(seen=batch.seen._replace(points=points, inputs=inputs))
        free = jnp.clip(progress / config.rigid, 0, 1) if config.rigid else 1.0
        terms = self.terms(params, batch, free)
        loss, aux = self.cost(params, terms, batch)
        if config.pull:
            fade = jnp.clip(1 - progress / config.pull, 0, 1)
            rms = lambda shape: jnp.sqrt(jnp.mean(jnp.sum((shape - batch.start) ** 2, -1), -1) + FINITE)
            pull = batch.pull * jnp.maximum(fade, batch.hold)
            loss = loss + jnp.mean(pull * (rms(terms.first) + rms(terms.second)))
        return loss, aux

    def criteria(self, params, data: Batch):
        """Over all frames: the objective, and the error at the points that training does not see, as a fraction of
        the object's size."""

        def some(batch):
            terms = self.terms(params, batch, 1.0)
            gap = heldout_residual(terms.turned, batch.seen, self.perspective)
            error = jnp.sum(batch.seen.heldout * jnp.sqrt(jnp.sum(gap**2, -1) + FINITE), -1)
            return terms, error

        n = len(data.number)
        flat = lambda x: x.reshape(-1, *x.shape[2:])[:n]
        terms, error = jax.tree.map(flat, jax.lax.map(some, blocks(data)))
        loss, _ = self.cost(params, terms, data)
        return {"objective": loss, "heldout": jnp.sum(error) / jnp.maximum(jnp.sum(data.seen.heldout), 1e-6)}

    def engine(self, session: Session) -> Engine:
        """The engine for this objective."""
        return Engine(Problem(self.network.init, self.objective, self.criteria), self.config, session)

    def batch(self, seen: Observations, start=None, hold: float = 0.0, loose: float = 1.0) -> Batch:
        """Data of all frames; `start (frame, point, 3)` object-frame shapes, `hold` the share of their pull that
        stays."""
        n, p = seen.weights.shape
        return Batch(
            seen=seen,
            number=jnp.arange(n),
            start=jnp.zeros((n, p, 3)) if start is None else jnp.asarray(start, jnp.float32),
            pull=jnp.full(n, start is not None, jnp.float32),
            hold=jnp.full(n, hold, jnp.float32),
            bend=jnp.asarray(self.bend, jnp.float32),
            loose=jnp.full(n, loose, jnp.float32),
        )

    def initial(self, key, start):
        """Stacked parameters of all restarts. Free codes begin at the principal components of the start."""
        params = jax.vmap(self.network.init)(jax.random.split(key, self.config.restarts))
        if start is not None and self.config.codes == "free":
            params["codes"] = jnp.broadcast_to(
                _principal(start, self.config.bottleneck), params["codes"].shape
            )
        return params

    def lifted(self, params, data: Batch) -> Terms:
        """Terms of all frames on the host, a block at a time."""
        parts = blocks(data)
        found = [
            jax.tree.map(np.asarray, self._apply(params, jax.tree.map(lambda x, i=i: x[i], parts)))
            for i in range(len(parts.number))
        ]
        return jax.tree.map(lambda *x: np.concatenate(x)[: len(data.number)], *found)


def _neighboured(sequence: np.ndarray | None, n: int) -> np.ndarray:
    """`(frame,)` bool: the frames before and after are of the same clip."""
    if sequence is None:
        return np.zeros(n, bool)
    same = np.r_[False, sequence[1:] == sequence[:-1], False]
    return same[1:] & same[:-1]


def _principal(shapes: np.ndarray, count: int):
    """`(frame, count)` principal components of shapes `(frame, point, 3)`, the first of standard deviation 0.3."""
    rows = np.asarray(shapes, np.float64).reshape(len(shapes), -1)
    u, s, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    code = np.zeros((len(rows), count))
    k = min(count, len(s))
    code[:, :k] = 0.3 * np.sqrt(len(rows)) * u[:, :k] * s[:k] / max(s[0], 1e-9)
    return jnp.asarray(code, jnp.float32)


def start_shapes(
    name: Start, seen: Observations, camera: str, sequence: np.ndarray | None, seed: int, session: Session
) -> np.ndarray:
    """Object-frame shapes `(frame, point, 3)` of a solver on the points of positive weight, in the unit of the
    measurements, aligned with each other."""
    weights, depth = np.asarray(seen.weights), np.asarray(seen.depth)[:, None, None]
    points = np.asarray(seen.points) * (depth if camera == "perspective" else 1 / depth)
    if name == "rigid":
        shapes = rigid_shapes(points, weights, np.asarray(seen.inputs))
    else:
        landmarks = Landmarks(points2d=points.astype(np.float32), visible=weights > 0, sequence=sequence)
        model = "orthographic" if camera == "orthographic" else "weak-perspective"
        shapes = np.asarray(
            pnd.fit(landmarks, model, pnd.Config(), seed, session).reconstruction.camera_points
        )
    shapes = shapes - shapes.mean(1, keepdims=True)
    aligned, _ = jax.jit(align)(jnp.asarray(shapes, jnp.float32))
    return np.asarray(aligned)


def of_one_hand(shapes: np.ndarray, sequence: np.ndarray | None) -> tuple[np.ndarray, MirrorResolution]:
    """Object-frame shapes with those of the other hand mirrored and turned towards the mean of the rest."""
    found = resolve_mirrors(shapes, sequence)
    flip = found.flip if found.flip.mean() <= 0.5 else ~found.flip
    if not flip.any():
        return shapes, found
    mirrored = jnp.asarray(shapes * _MIRROR)
    target = jnp.broadcast_to(jnp.asarray(shapes[~flip].mean(0)), shapes.shape)
    turned = np.asarray(apply(align_rigid(mirrored, target), mirrored))
    return np.where(flip[:, None, None], turned, shapes), found


@dataclasses.dataclass(frozen=True, eq=False)
class PAUL(NetworkModel):
    """A trained autoencoder and its codes or encoder: lifts unseen frames with the same points."""

    METHOD = "paul"

    solver: str
    refine: int
    code_weight: float
    autoencoder: bool

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        return Network.of(AutoencoderConfig(**config))

    def lift(self, landmarks: Landmarks) -> Reconstruction:
        """Shapes of new frames, each by itself (`network.lifted`); observed points keep their x and y. `mirror` is
        what the network was trained on; `geometry.depth_reflection.relabel` resolves the frames of a clip anew."""
        seen, frames = self.observed(landmarks)
        n, p = seen.weights.shape
        nothing = jnp.zeros(n)
        data = Batch(seen, jnp.zeros(n, int), jnp.zeros((n, p, 3)), *[nothing] * 4)
        rule = (self.solver, self.autoencoder, self.code_weight)
        shape, rotation = lifted(self.network, self.params, data, self.refine, *rule)
        found = self.normalizer.reconstruction(landmarks, frames, shape, rotation, np.asarray(seen.depth))
        return found if found.mirror == "perspective" else found.replace(mirror=self.mirror)


def fit(landmarks: Landmarks, camera: str, config: Config, seed: int, session: Session) -> Fitted:
    """Train on landmarks and reconstruct them: the phases of the module docstring."""
    if landmarks.n_frames < 3:
        raise InputError(
            f"paul needs at least 3 frames, but there are {landmarks.n_frames}: use deep-nrsfm++ to lift"
        )
    config = config.resolved(landmarks.n_frames, camera == "perspective")
    trainer = _Trainer(landmarks, camera, config)
    perspective = trainer.perspective
    key = jax.random.key(seed)
    seen, frames = trainer.normalizer(landmarks)
    kept, held = hold_out(np.asarray(seen.weights), config.holdout, 5 if perspective else 4, seed)
    hidden = seen._replace(weights=jnp.asarray(kept), heldout=jnp.asarray(held))
    if config.fill and config.codes != "free":
        # What fills the search's gaps must not have seen its held-out points.
        hidden = trainer.normalizer.with_covariance(hidden).filled(hidden, landmarks.defined)
        trainer.normalizer = trainer.normalizer.with_covariance(seen)
        seen = trainer.normalizer.filled(seen, landmarks.defined)

    engine = trainer.engine(session)
    ends, searches = _search(trainer, engine, hidden, camera, key, seed, session)
    criteria, params, start = ends[0]
    facts: dict[str, Any] = {"codes": config.codes, "search": searches, "start": start}
    heldout = heldout_item(criteria, hidden, config.holdout)
    spread = None
    if len(ends) > 1:
        spread = np.stack([_camera_shapes(trainer, p, seen, frames) for _, p, _ in ends[:2]])

    final = max(1, round(config.final * (config.steps or 0)))

    def train(params, data, number, phase, steps):
        alone = jax.tree.map(lambda x: x[None], params)
        return engine.train(data, jax.random.fold_in(key, number), phase=phase, steps=steps, start=alone)

    if camera != "orthographic":
        for turn in range(config.scale_correction):
            shapes = [trainer.lifted(params, trainer.batch(d)).first for d in (hidden, seen)]
            hidden, seen = (
                corrected_scale(d, x, perspective, trainer.edges, config.scale_by)
                for d, x in zip((hidden, seen), shapes, strict=True)
            )
            found = train(params, trainer.batch(hidden), 10 + turn, f"scale-{turn + 1}", max(1, final // 2))
            params, criteria = found.params, found.criteria[0]
            heldout = heldout_item(criteria, hidden, config.holdout)
            facts[f"scale-{turn + 1}"] = criteria

    data = trainer.batch(seen)
    if config.final > 0:
        again = start != "random" and not perspective
        begin = (
            start_shapes(start, seen, camera, trainer.sequence, seed, session)
            if again
            else trainer.lifted(params, data).shape
        )
        if config.mirror == "auto":
            begin, resolved = of_one_hand(begin, trainer.sequence)
            facts["mirror_before"] = resolved.summary()
            again = again or perspective or bool(resolved.flip.any())
        if again:  # else there is nothing to be drawn to
            data = trainer.batch(seen, begin, 0.0 if start == "random" else config.hold or 0.0)
        if perspective and config.mirror == "auto":
            # Perspective images tell the hand of the whole, though a network may settle in the other: try both.
            hands = {
                hand: train(
                    params, data._replace(start=data.start * sign), 20, f"hand, {hand}", max(1, final // 2)
                )
                for hand, sign in (("as found", 1.0), ("mirrored", -1.0))
            }
            facts["hands"] = {hand: end.criteria[0]["objective"] for hand, end in hands.items()}
            params = min(hands.values(), key=lambda end: end.criteria[0]["objective"]).params
            data = trainer.batch(seen)
        found = train(params, data, 1, "final", final)
        params, facts["final"] = found.params, found.criteria[0]

    terms = trainer.lifted(params, data)
    depth = np.asarray(seen.depth)
    best = trainer.normalizer.reconstruction(landmarks, frames, terms.shape, terms.rotation, depth)
    if config.mirror == "auto":
        if perspective:  # the images have chosen: only say where the shapes disagree
            resolved = resolve_mirrors(best.points3d, best.sequence)
            best = best.replace(mirror_margin=np.where(resolved.flip, 0, resolved.margin).astype(np.float32))
        else:
            best, resolved = relabel(best)
        facts["mirror"] = resolved.summary()
    facts["misfit"] = float(terms.misfit[:, 0].mean())
    model = PAUL(
        trainer.network, params, trainer.normalizer, landmarks.names, best.mirror, config.solver, config.refine,
        config.code_weight, config.prior == "paul",
    )  # fmt: skip
    return Fitted(best, model, heldout, spread, facts, _latent(trainer, params, terms))


def _latent(trainer: _Trainer, params, terms: Terms, steps: int = 7) -> Latent:
    """Codes of the frames, and shapes between the two that lie farthest apart along the main direction."""
    codes = np.asarray(terms.code)
    centred = codes - codes.mean(0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    first = along.argmin()
    line = codes[first] + np.linspace(0, 1, steps)[:, None] * (codes[along.argmax()] - codes[first])
    shapes = np.asarray(nnx.merge(trainer.network.graph, params).decode(jnp.asarray(line, jnp.float32)))
    return Latent(codes, np.einsum("spj,ij->spi", shapes, terms.rotation[first]))  # as that frame is seen


def _search(
    trainer: _Trainer, engine: Engine, hidden: Observations, camera: str, key, seed: int, session: Session
):
    """`(criteria, parameters, start)` of all that the searches have left, best first, and the criteria by start."""
    config = trainer.config
    ends, criteria = [], {}
    for i, name in enumerate(config.starts or ()):
        begin = None
        try:
            if name != "random":
                begin = start_shapes(name, hidden, camera, trainer.sequence, seed, session)
        except InputError as error:
            if len(config.starts or ()) == 1:
                raise
            session.say(f"paul: no start from {name}: {error}")
            continue
        data = trainer.batch(hidden, begin, config.hold or 0.0, loose=float(begin is not None))
        first = trainer.initial(jax.random.fold_in(key, 100 + i), begin)
        found = engine.train(data, jax.random.fold_in(key, i), phase=f"search, {name}", start=first)
        criteria[name] = list(found.criteria)
        for j, values in enumerate(found.criteria):
            ends.append((values, jax.tree.map(lambda x, j=j: x[j], found.all_params), name))
    return sorted(ends, key=lambda end: end[0][config.select]), criteria


def _camera_shapes(trainer: _Trainer, params, seen: Observations, frames) -> np.ndarray:
    """`(frame, point, 3)` camera-frame shapes."""
    terms = trainer.lifted(params, trainer.batch(seen))
    found = trainer.normalizer.reconstruction(
        trainer.landmarks, frames, terms.shape, terms.rotation, np.asarray(seen.depth)
    )
    return np.asarray(found.camera_points)


INFO = MethodInfo(
    name=PAUL.METHOD,
    kind="learned",
    summary="autoencoder of aligned shapes, depths and cameras solved for; any camera, short or long sets, gaps",
    cameras=("orthographic", "weak-perspective", "perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Wang, Lucey: PAUL, CVPR 2021",
    config=Config,
    fit=fit,
    load=PAUL.load,
)
