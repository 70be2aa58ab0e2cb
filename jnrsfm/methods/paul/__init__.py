r"""PAUL: shapes in a common frame pass through the bottleneck of an autoencoder; depths and cameras are solved for.

With a code `phi` for each frame, `D = f_d(phi)` and `A = f_d(f_e(D))` the objective is, over frames (eq. 2.8),

    n(D) + n(A) + c |phi|^2 + d |theta_d|^2,     n(S) = sqrt(mean_p |R s_p - x_p|^2),  x = (observed x, y; z),

where the rotation R and everything that the image does not show (depths, hidden points) minimise it, frame by frame.

The lower level (`paul.network.lower_level`) is solved exactly, so that no gradient goes through it, or as in the paper.
Weights of the regularisers are per point here: the paper's 0.01 and 1e-4 go with norms that grow as sqrt(P).

The fit. *search*: for each of `starts`, `restarts` seeds train on all observed points but a held-out tenth, whose
reprojection error chooses. A start other than "random" is a set of shapes: free codes begin at their principal
components, and both shapes D and A are drawn to them at first. *final*: all observed points, drawn once more to the
winning start, now made of all points. Shapes of one reflection, by time or over the set, are such a start as well.
Perspective: residuals of the normalised equations of Deep NRSfM++, pose by repeated orthographic problems, scale
correction, and both reflections tried. New frames begin at an encoder's code, or at those of the training frames whose
shapes show the most similar image, and improve it each for itself.

Source: Wang and Lucey, PAUL: Procrustean Autoencoder for Unsupervised Lifting, CVPR 2021; Wang's thesis, ch. 2. ADL and
ADL with a nuclear norm are its baselines. The exact lower level, the starts, the perspective camera and the prior in
time are ours.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.cameras import camera_model
from jnrsfm.geometry.depth_reflection import MirrorResolution, resolve_mirrors
from jnrsfm.geometry.generalized_procrustes import align
from jnrsfm.geometry.procrustes import align_rigid, apply
from jnrsfm.inputs.augmentation import rolled
from jnrsfm.inputs.batching import blocks
from jnrsfm.inputs.observations import Observations
from jnrsfm.linalg.proximal import nuclear_norm
from jnrsfm.methods.base import Fitted, Latent, MethodInfo
from jnrsfm.methods.paul.network import FINITE, Batch, Rule, Terms, batch_of, forward, lifted
from jnrsfm.methods.paul.settings import Paul as Paul
from jnrsfm.methods.paul.settings import Start
from jnrsfm.methods.recipe import Recipe, Stream, start_shapes
from jnrsfm.models.autoencoder import AutoencoderConfig, ProcrusteanAutoencoder
from jnrsfm.models.functional import Network
from jnrsfm.models.saved import NetworkModel
from jnrsfm.training import Engine, Problem, Session, Trained, at, stacked
from jnrsfm.types import Landmarks, Reconstruction

_MIRROR = np.array([1, 1, -1], np.float32)


class _Fit(Recipe):
    """The network and objective of one fit."""

    def __init__(self, landmarks: Landmarks, camera: str, config: Paul, seed: int, session: Session):
        super().__init__(landmarks, camera, config, seed, session, config.fill and config.codes != "free")
        autoencoder = AutoencoderConfig(
            n_points=landmarks.n_points,
            bottleneck=config.bottleneck,
            sizes=config.sizes,
            codes=config.codes,  # type: ignore[arg-type]
            n_codes=landmarks.n_frames,
            dictionaries=config.dictionaries,
            columns=self.camera.columns,
        )
        self.network = Network.of(ProcrusteanAutoencoder, autoencoder)
        self.rule = Rule(self.camera, config.solver, config.prior == "paul", config.code_weight)
        self.bend = _neighboured(self.sequence, landmarks.n_frames)
        self.engine = Engine(Problem(self.network.init, self.objective, self.criteria), config, session)
        self._terms = jax.jit(lambda params, batch: forward(self.network, self.rule, params, batch, 1.0))

    def batch(self, seen: Observations, start: Any = None) -> Batch:
        """All frames; `start (frame, point, 3)` object-frame shapes to be drawn to."""
        return batch_of(seen, start, self.bend)

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

    def objective(self, params, model_state, batch: Batch, key, hyper):
        """Loss of a batch, and what to record. `hyper`: `free`, 1 where shapes are free from the first step;
        `anchor_weight` of the start, and its `anchor_floor`."""
        config, progress = self.config, hyper["progress"]
        if config.roll and config.codes != "free":
            points, inputs = rolled((batch.seen.points, batch.seen.inputs), key, config.roll)
            batch = batch._replace(seen=batch.seen._replace(points=points, inputs=inputs))
        free = jnp.clip(progress / config.rigid, 0, 1) if config.rigid else 1.0
        terms = forward(self.network, self.rule, params, batch, jnp.maximum(free, hyper["free"]))
        loss, aux = self.cost(params, terms, batch)
        if config.anchor:
            fade = jnp.clip(1 - progress / config.anchor, 0, 1)
            rms = lambda shape: jnp.sqrt(jnp.mean(jnp.sum((shape - batch.start) ** 2, -1), -1) + FINITE)
            weight = hyper["anchor_weight"] * jnp.maximum(fade, hyper["anchor_floor"])
            loss = loss + weight * jnp.mean(rms(terms.first) + rms(terms.second))
        return loss, (aux, model_state)

    def criteria(self, params, model_state, batch: Batch, hyper):
        """The objective, and the error at the points that training does not see, as a fraction of the object's size."""
        seen = batch.seen
        terms = forward(self.network, self.rule, params, batch, 1.0)
        gap = self.camera.prediction_error(terms.camera_points, seen.points, seen.weights, seen.depth)
        error = jnp.sum(seen.heldout * jnp.sqrt(jnp.sum(gap**2, -1) + FINITE), -1)
        loss, ones = self.cost(params, terms, batch)[0], jnp.ones(len(error))
        return {"objective": (loss * ones, ones), "heldout": (error, jnp.sum(seen.heldout, -1))}

    def terms(self, params, seen: Observations) -> Terms:
        """Terms of all frames on the host, a block at a time."""
        parts = blocks(self.batch(seen))
        found = [
            jax.tree.map(np.asarray, self._terms(params, at(parts, i))) for i in range(len(parts.number))
        ]
        return jax.tree.map(lambda *x: np.concatenate(x)[: len(seen.weights)], *found)

    def shapes(self, params, seen: Observations):
        """Object-frame shapes and rotations."""
        terms = self.terms(params, seen)
        return terms.shape, terms.rotation

    def sized_shapes(self, params, seen: Observations):
        """The decoder's shapes: those of the image would keep its size."""
        return self.terms(params, seen).first

    def initial(self, key, start):
        """Fresh parameters and model state of all restarts, stacked. Free codes begin at the principal components of
        the start."""
        params, state = jax.vmap(self.network.init)(jax.random.split(key, self.config.restarts))
        if start is not None and self.config.codes == "free":
            codes = _principal(start, self.config.bottleneck)
            params["codes"] = jnp.broadcast_to(codes, params["codes"].shape)
        return params, state

    def start(self, name: Start, seen: Observations) -> np.ndarray:
        """Object-frame shapes of a solver, aligned with each other."""
        model = "weak-perspective" if self.camera.frame_scale else "orthographic"
        found = start_shapes(name, seen, self.camera, model, self.sequence, self.seed, self.session)
        found = found - found.mean(1, keepdims=True)
        aligned, _ = jax.jit(align)(jnp.asarray(found, jnp.float32))
        return np.asarray(aligned)

    def search(self) -> list[tuple[dict[str, float], Any, Start]]:
        """`(criteria, (params, model state), start)` of all that the searches have left, best first."""
        config, ends, starts = self.config, [], list(self.config.starts or ())
        self.diagnostics["search"] = {}
        for i, name in enumerate(starts):
            begin = None
            try:
                if name != "random":
                    begin = self.start(name, self.hidden)
            except InputError as error:
                if len(starts) == 1:
                    if config.codes == "free":
                        raise
                    starts.append("random")  # an encoder can do without
                self.session.say(f"paul: no start from {name}: {error}")
                continue
            first = self.initial(jax.random.fold_in(self.key, Stream.INITIAL + i), begin)
            known = float(begin is not None)
            hyper = {"free": known, "anchor_weight": known, "anchor_floor": config.anchor_floor or 0.0}
            data = self.batch(self.hidden, begin)
            found = self.train(f"search, {name}", Stream.SEARCH + i, data, config.steps or 0, first, hyper)
            self.diagnostics["search"][name] = list(found.criteria)
            ends += [(values, at(found.alive, j), name) for j, values in enumerate(found.criteria)]
        return sorted(ends, key=lambda end: end[0][config.select])


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


def of_one_reflection(shapes: np.ndarray, sequence: np.ndarray | None) -> tuple[np.ndarray, MirrorResolution]:
    """Object-frame shapes with those of the other reflection mirrored and turned towards the mean of the rest."""
    found = resolve_mirrors(shapes, sequence)
    flip = found.flip if found.flip.mean() <= 0.5 else ~found.flip
    if not flip.any():
        return shapes, found
    mirrored = jnp.asarray(shapes * _MIRROR)
    target = jnp.broadcast_to(jnp.asarray(shapes[~flip].mean(0)), shapes.shape)
    turned = np.asarray(apply(align_rigid(mirrored, target), mirrored))
    return np.where(flip[:, None, None], turned, shapes), found


@dataclasses.dataclass(frozen=True, eq=False)
class PaulModel(NetworkModel):
    """A trained autoencoder and its codes or encoder: lifts unseen frames with the same points."""

    METHOD = "paul"

    solver: str
    refine: int
    code_weight: float
    autoencoder: bool

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        return Network.of(ProcrusteanAutoencoder, AutoencoderConfig(**config))

    def lift(self, landmarks: Landmarks) -> Reconstruction:
        """Shapes of new frames, each by itself (`network.lifted`); observed points keep their x and y. `mirror` is what
        the network was trained on; `jnrsfm.geometry.relabel` resolves the frames of a clip anew."""
        seen, frames = self.observed(landmarks)
        rule = Rule(camera_model(self.camera), self.solver, self.autoencoder, self.code_weight)
        found = lifted(self.network, rule, self.params, batch_of(seen), self.refine)
        record = self.normalizer.reconstruction(landmarks, frames, *found, np.asarray(seen.depth))
        return record if record.mirror == "perspective" else record.replace(mirror=self.mirror)


def fit(landmarks: Landmarks, camera: str, config: Paul, seed: int, session: Session) -> Fitted:
    """Train on landmarks and reconstruct them: the phases of the module docstring."""
    if landmarks.n_frames < 3:
        raise InputError(
            f"paul needs at least 3 frames, but there are {landmarks.n_frames}: use deep-nrsfm++ to lift"
        )
    config = config.resolved(landmarks.n_frames, camera_model(camera).shows_reflection)
    run = _Fit(landmarks, camera, config, seed, session)
    final = max(1, round(config.final * (config.steps or 0)))

    ends = run.search()
    values, chosen, start = ends[0]
    run.diagnostics |= {"codes": config.codes, "start": start}
    result = Trained(chosen[0], chosen[1], stacked(chosen), (0,), (values,))
    searches = run.diagnostics["search"]
    run.note("search", result)
    run.diagnostics["search"] = searches
    spread = None
    if len(ends) > 1:
        spread = np.stack([run.camera_points(params) for _, (params, _), _ in ends[:2]])
    result = run.correct_scales(result, max(1, final // 2), _FREE)
    if config.final > 0:
        result, data, hyper = _anchored(run, result, start, final)
        result = run.train("final", Stream.FINAL, data, final, result.chosen, hyper)
        run.diagnostics["final"] = list(result.criteria)

    terms = run.terms(result.params, run.seen)
    best = run.record(terms.shape, terms.rotation)
    run.diagnostics["misfit"] = float(terms.misfit[:, 0].mean())
    model = PaulModel(
        run.network, result.params, run.normalizer, landmarks.names, best.mirror, config.solver, config.refine,
        config.code_weight, config.prior == "paul",
    )  # fmt: skip
    latent = _latent(run, result.params, terms)
    return Fitted(best, model, run.heldout, spread, run.diagnostics, latent, run.code)


_FREE = {"free": 1.0, "anchor_weight": 0.0, "anchor_floor": 0.0}


def _anchored(
    run: _Fit, result: Trained, start: Start, final: int
) -> tuple[Trained, Batch, dict[str, float]]:
    """The training so far, and data and numbers of the final phase: drawn once more to the start, now made of all
    points and of one reflection, where there is something to be drawn to."""
    config, shows = run.config, run.camera.shows_reflection
    anchor = start != "random" and not shows
    begin = run.start(start, run.seen) if anchor else run.shapes(result.params, run.seen)[0]
    if config.mirror == "auto":
        begin, resolved = of_one_reflection(begin, run.sequence)
        run.diagnostics["mirror_before"] = resolved.summary()
        anchor = anchor or shows or bool(resolved.flip.any())
    if not anchor:
        return result, run.batch(run.seen), _FREE
    data = run.batch(run.seen, begin)
    hyper = _FREE | {"anchor_weight": 1.0}
    if shows and config.mirror == "auto":
        both = {"as found": 1.0, "mirrored": -1.0}
        phases = {name: (data._replace(start=sign * data.start), hyper) for name, sign in both.items()}
        _, result = run.likelier_reflection(result, phases, max(1, final // 2))
        return result, run.batch(run.seen), _FREE
    floor = 0.0 if start == "random" else config.anchor_floor or 0.0
    return result, data, hyper | {"anchor_floor": floor}


def _latent(run: _Fit, params, terms: Terms, steps: int = 7) -> Latent:
    """Codes of the frames, and shapes between the two that lie farthest apart along the main direction."""
    codes = np.asarray(terms.code)
    centred = codes - codes.mean(0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    first = along.argmin()
    line = codes[first] + np.linspace(0, 1, steps)[:, None] * (codes[along.argmax()] - codes[first])
    shapes = np.asarray(run.network.module(params).decode(jnp.asarray(line, jnp.float32)))
    return Latent(codes, np.einsum("spj,ij->spi", shapes, terms.rotation[first]))  # as that frame is seen


INFO = MethodInfo(
    name=PaulModel.METHOD,
    kind="learned",
    summary="autoencoder of aligned shapes, depths and cameras solved for; any camera, short or long sets, gaps",
    cameras=("orthographic", "weak-perspective", "perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Wang, Lucey: PAUL, CVPR 2021",
    cites=("wang2021paul", "lee2013pnd"),
    config=Paul,
    fit=fit,
    load=PaulModel.load,
)
