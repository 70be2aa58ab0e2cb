r"""Procrustean regression networks: the 3D shapes of a window of frames, aligned with each other, are of low rank.

For a window of frames with camera-frame shapes `X_f`, from any network or free, the cost is

    J = mean_f 1/2 mean_p |xy_fp - u_fp|^2 + weight * g(Y / sqrt(L P)),   Y = align(X_1 ... X_L),

with `u` the landmarks (only visible points count; the translation of the frame is free), and g the nuclear norm of
the L x 3P matrix of aligned shapes as published, or the log-determinant surrogate of the rank of their deviations
from the mean. No camera is estimated: the alignment removes it, and its derivative
(`geometry.generalized_procrustes`) teaches the depth. Networks enter by their output only (`procrustean_cost`).

Of the two costs only the log-determinant, and only with a small `epsilon`, is lower at true shapes than at the rigid
one with its views as seen; but it has local minima, so the depths begin at those of a solver, the Procrustean normal
distribution by default, whose anchor weight falls to a tenth.

The fit: *search* trains on all observed points but a held-out tenth, with restarts; *final* on all. `network="none"`
is Procrustean regression: the shapes themselves are the unknowns, all frames are one window, and there is no model
for unseen frames. Of the network's shapes, observed points take the x and y of the image.

Source: Park, Lee, Kwak, Procrustean Regression Networks, 2020, and its supplement; Park, Lee, Kwak, Procrustean
Regression, IEEE TIP 27(1), 2018. The log-determinant, windows of frames from anywhere in the set, the start, the
held-out points and the resolved mirror are ours.
"""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.depth_reflection import resolve_mirrors
from jnrsfm.geometry.generalized_procrustes import align
from jnrsfm.inputs.batching import blocks
from jnrsfm.inputs.observations import Normalizer, Observations, SizeMeasure
from jnrsfm.inputs.windows import drawn_frames, window_frames
from jnrsfm.losses import low_rank_cost
from jnrsfm.methods import pnd
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.recipe import Recipe, Stream, check_shared, start_shapes
from jnrsfm.models.functional import Network
from jnrsfm.models.residual import ResidualConfig, ResidualNetwork
from jnrsfm.models.saved import NetworkModel
from jnrsfm.training import Engine, Phase, Problem, Resident, Session, TrainConfig
from jnrsfm.types import Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True)
class Prn(TrainConfig):
    """Settings of Procrustean regression networks."""

    network: Literal["residual", "none"] = "residual"
    """The fully connected network, or none: the shapes themselves are optimised."""
    steps: int = 1000
    """Optimiser steps of the search phase."""
    batch: int = 1
    """Windows in a step (with a network)."""
    window: int = 256
    """Frames that are aligned with each other. The camera has to turn within a window."""
    frames: Literal["any", "consecutive"] = "any"
    """Frames of a window: drawn from the whole set, or consecutive ones of a clip, `spacing` apart. Where the camera
    turns with the period of the motion, consecutive frames cannot tell one from the other."""
    spacing: int = 1
    """Frames from one of a window to the next (consecutive)."""
    hop: int = 16
    """Frames between the starts of neighbouring windows (consecutive)."""
    restarts: int = 1
    """Seeds trained at once."""
    final: float = 0.5
    """Steps of the final phase, on all observed points, as a share of `steps`."""
    cost: Literal["log-determinant", "nuclear"] = "log-determinant"
    """Low-rank cost of the aligned shapes (module docstring)."""
    weight: float = 0.003
    """Weight of the low-rank cost against the squared reprojection error."""
    epsilon: float = 0.002
    """Singular values below this share of the object's size are taken for noise (log-determinant)."""
    epsilon_start: float = 0.005
    """`epsilon` at the beginning; it falls to its end at two thirds of the search (graduated non-convexity)."""
    start: Literal["pnd", "rigid", "flat"] = "pnd"
    """Depths to begin with: of the Procrustean normal distribution, of the rigid factorisation, or 0."""
    start_share: float = 0.1
    """Share of the search during which the anchor weight of the start on the network's depths falls to its floor."""
    anchor_floor: float = 0.1
    """Anchor weight that stays to the end, so that depths do not drift (with a network, of `pnd` only)."""
    width: int = 256
    """Hidden units of a layer (1024 as published)."""
    blocks: int = 2
    """Residual blocks before the branches for x, y and z."""
    size: SizeMeasure = "rms"
    """2D size that sets the scale."""
    fill: bool = True
    """Give the network a linear prediction of the hidden points in place of zeros."""
    holdout: float = 0.1
    """Share of the observed points that the search does not see, to measure the quality without labels."""
    mirror: Literal["auto", "none"] = "auto"
    """Resolve the depth mirror by time or over the set."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        if self.window < 3 or self.hop < 1 or self.spacing < 1:
            raise InputError(
                f"window is {self.window}, hop {self.hop} and spacing {self.spacing}: give at least 3, 1 and 1 frames"
            )
        check_shared(self)
        if not 0 <= self.anchor_floor <= 1:
            raise InputError(f"anchor_floor is {self.anchor_floor}: give a share between 0 and 1")
        if not 0 < self.epsilon <= self.epsilon_start or self.weight < 0:
            raise InputError(
                f"epsilon is {self.epsilon}, epsilon_start {self.epsilon_start} and weight {self.weight}: give "
                "0 < epsilon <= epsilon_start and a weight of at least 0"
            )


class Windows(NamedTuple):
    """Frames that are aligned with each other, one window an item; leading axes (window, frame).

    `frame`: number of the frame in the set; `present`: 1, or 0 where a clip is shorter than the window; the others
    as in `Observations`; `z`: depths to begin with.
    """

    frame: Any
    present: Any
    points: Any
    weights: Any
    inputs: Any
    input_confidence: Any
    heldout: Any
    z: Any


def reprojection(shapes, points, weights):
    """`(*batch, frame, point, 2)` residual of the landmarks, with the best translation of each frame taken out."""
    gap = points - shapes[..., :2]
    total = jnp.maximum(jnp.sum(weights, -1), 1e-6)[..., None, None]
    return gap - jnp.sum(weights[..., None] * gap, -2, keepdims=True) / total


def procrustean_cost(
    shapes, points, weights, present, config: Any, epsilon: Any = None
) -> tuple[Any, dict[str, Any]]:
    """J of the module docstring for windows of shapes `(window, frame, point, 3)`, and its two parts.

    `config` has `cost`, `weight` and `epsilon`, which the argument overrides. This is all that a network has to do
    with: one for images gives its 3D points here.
    """
    w = weights * present[..., None]
    square = jnp.sum(reprojection(shapes, points, w) ** 2, -1)
    data = jnp.sum(w * square) / jnp.maximum(jnp.sum(w), 1e-6)
    epsilon = config.epsilon if epsilon is None else epsilon
    rank = jnp.mean(low_rank_cost(shapes, present, config.cost, epsilon))
    return 0.5 * data + config.weight * rank, {"reprojection": jnp.sqrt(data + 1e-12), "low_rank": rank}


class FreeShapes(NamedTuple):
    """One shape a frame, as if it were a network: looked up by the number of the frame.

    The parameters are offsets from the start in units of `UNIT` of the object's size, so that the learning rate of a
    network's weights, taken as a step of Adam, suits them too.
    """

    start: Any
    UNIT = 10.0  # type: ignore[misc]

    def init(self, key):
        """No offset but a little noise, so that restarts differ."""
        return {"offsets": 1e-3 * jax.random.normal(key, self.start.shape, self.start.dtype)}, {}

    def shapes(self, params, frame):
        """Shapes `(*batch, point, 3)` of the frames."""
        return (self.start + self.UNIT * params["offsets"])[frame]


class _Fit(Recipe):
    """The network or the free shapes, and the objective, of one fit."""

    def __init__(self, landmarks: Landmarks, camera: str, config: Prn, seed: int, session: Session):
        super().__init__(landmarks, camera, config, seed, session, config.fill)
        few = landmarks.n_frames < pnd.LEAST_FRAMES or landmarks.n_points < pnd.LEAST_POINTS
        # Where frames or points are too few for the normal distribution, the rigid shapes.
        name = "rigid" if few and config.start == "pnd" else config.start
        begin = start_shapes(name, self.hidden, self.camera, "orthographic", self.sequence, seed, session)
        self.z = jnp.asarray(begin[..., 2], jnp.float32)
        self.floor = config.anchor_floor if name == "pnd" else 0.0
        n = landmarks.n_frames
        if config.network == "none":  # begins at the start, all frames in one window
            self.network: Network | FreeShapes = FreeShapes(jnp.asarray(begin, jnp.float32))  # type: ignore[call-arg]
            self.windows = np.arange(n)[None], np.ones((1, n), bool)
        else:
            self.network = Network.of(
                ResidualNetwork, ResidualConfig(landmarks.n_points, config.width, config.blocks)
            )
            if config.frames == "any":
                self.windows = drawn_frames(n, config.window, seed)
            else:
                clips = np.zeros(n, int) if self.sequence is None else self.sequence
                self.windows = window_frames(clips, config.window, config.hop, config.spacing)
        problem = Problem(self.network.init, self.objective, self.criteria)
        self.engine = Engine(problem, config, session)

    def _shapes(self, params, batch: Windows):
        if isinstance(self.network, FreeShapes):
            return self.network.shapes(params, batch.frame)
        return self.network.module(params)(batch.inputs, batch.input_confidence)

    def objective(self, params, model_state, batch: Windows, key, hyper):
        """Loss of a batch of windows, and what to record. `hyper`: `annealed`, 1 where `epsilon` is at its end from the
        first step; `anchor_weight` of the start's depths, which falls to `anchor_floor`."""
        config, progress = self.config, hyper["progress"]
        shapes = self._shapes(params, batch)
        done = jnp.maximum(jnp.clip(1.5 * progress, 0, 1), hyper["annealed"])
        epsilon = config.epsilon * (config.epsilon_start / config.epsilon) ** (1 - done)
        loss, aux = procrustean_cost(shapes, batch.points, batch.weights, batch.present, config, epsilon)
        if config.start_share > 0:
            fade = jnp.clip(1 - progress / config.start_share, 0, 1) * (1 - hyper["annealed"])
            away = jnp.mean((shapes[..., 2] - batch.z) ** 2, -1)
            weight = hyper["anchor_weight"] * jnp.maximum(fade, hyper["anchor_floor"])
            loss = loss + weight * jnp.mean(batch.present * away)
        return loss, (aux, model_state)

    def criteria(self, params, model_state, batch: Windows, hyper):
        """The cost of what training sees, and the error at the points that it does not see."""
        shapes = self._shapes(params, batch)
        cost = lambda *window: procrustean_cost(*(x[None] for x in window), self.config)[0]  # type: ignore[call-arg]
        loss = jax.vmap(cost)(shapes, batch.points, batch.weights, batch.present)
        # the translation is that of the points that were seen
        gap = reprojection(shapes, batch.points, batch.weights)
        held = batch.heldout * batch.present[..., None]
        error = jnp.sum(held * jnp.sqrt(jnp.sum(gap**2, -1) + 1e-12), (1, 2))
        return {"objective": (loss, jnp.ones(len(loss))), "heldout": (error, jnp.sum(held, (1, 2)))}

    def batch(self, seen: Observations) -> Windows:
        """The windows, with the depths of the start; frames that are not present have no points."""
        numbers, present = (jnp.asarray(x) for x in self.windows)
        present = present.astype(jnp.float32)
        take = lambda x: x[numbers]
        return Windows(
            frame=numbers,
            present=present,
            points=take(seen.points),
            weights=take(seen.weights) * present[..., None],
            inputs=take(seen.inputs),
            input_confidence=take(seen.input_confidence),
            heldout=take(seen.heldout) * present[..., None],
            z=take(self.z),
        )

    def phase(
        self, name: str, stream: int, seen: Observations, steps: int, annealed: float, start: Any = None
    ):
        """A phase over the windows, one at a time where the whole set is judged."""
        anchored = float(self.config.network != "none")  # free shapes begin at the start
        hyper = {"annealed": annealed, "anchor_weight": anchored, "anchor_floor": self.floor}
        size = self.config.batch if self.config.network != "none" else 1
        source = Resident(self.batch(seen), size, block=1)
        return self.engine.train(
            Phase(name, steps, source, hyper, start=start), jax.random.fold_in(self.key, stream)
        )

    def shapes(self, params, seen: Observations):
        """Camera-frame shapes of all frames, and the identity."""
        if isinstance(self.network, FreeShapes):
            shapes = observed(
                np.asarray(self.network.shapes(params, np.arange(len(self.network.start)))), seen
            )
        else:
            shapes = lifted(self.network, params, seen)
        return shapes, np.broadcast_to(np.eye(3, dtype=np.float32), (len(shapes), 3, 3))


@partial(jax.jit, static_argnums=0)
def _block(network: Network, params, points, confidence):
    return network.module(params)(points, confidence)


def lifted(network: Network, params, seen: Observations) -> np.ndarray:
    """Camera-frame shapes, centred, on the host; a block of frames at a time, so that memory does not grow."""
    parts = blocks(seen)
    found = [
        np.asarray(_block(network, params, parts.inputs[i], parts.input_confidence[i]))
        for i in range(len(parts.points))
    ]
    return observed(np.concatenate(found)[: len(seen.points)], seen)


def observed(shapes: np.ndarray, seen: Observations) -> np.ndarray:
    """Shapes whose observed points have the x and y of the image, centred: the network tells where the others are, and
    all depths."""
    shapes = np.array(shapes)
    gap = np.asarray(reprojection(shapes, seen.points, seen.weights))
    shapes[..., :2] += np.where(np.asarray(seen.weights)[..., None] > 0, gap, 0)
    return shapes - shapes.mean(1, keepdims=True)


def _record(normalizer: Normalizer, landmarks: Landmarks, frames, shapes: np.ndarray) -> Reconstruction:
    """The record of camera-frame shapes: aligned with each other to one object frame."""
    aligned, rotations = jax.jit(align)(jnp.asarray(shapes))
    cameras = np.swapaxes(np.asarray(rotations), 1, 2)
    found = normalizer.reconstruction(landmarks, frames, np.asarray(aligned), cameras, np.ones(len(shapes)))
    if normalizer.model.frame_scale:
        return found
    # one scale for all frames belongs into the shapes: they are then comparable with any reference
    return found.replace(
        points3d=np.asarray(found.points3d) * np.float32(normalizer.scale),
        cameras=found.cameras.replace(scale=None),
        gauge="units of the input",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class PrnModel(NetworkModel):
    """A trained network: lifts unseen frames with the same points."""

    METHOD = "prn"

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        return Network.of(ResidualNetwork, ResidualConfig(**config))

    def lift(self, landmarks: Landmarks) -> Reconstruction:
        """One forward pass a frame, and the alignment of the given frames. The reflection is the one that the network
        keeps; `jnrsfm.geometry.relabel` resolves the frames of a clip anew.

        Raises InputError where the number of points is another.
        """
        seen, frames = self.observed(landmarks)
        found = _record(self.normalizer, landmarks, frames, lifted(self.network, self.params, seen))
        return found.replace(mirror=self.mirror)


def fit(landmarks: Landmarks, camera: str, config: Prn, seed: int, session: Session) -> Fitted:
    """Train on landmarks and reconstruct them: the phases of the module docstring."""
    if landmarks.n_frames < 3:
        raise InputError(f"{INFO.name} needs at least 3 frames to align, but there are {landmarks.n_frames}")
    run = _Fit(landmarks, camera, config, seed, session)
    result = run.phase("search", Stream.SEARCH, run.hidden, config.steps, 0.0)
    run.note("search", result)
    run.diagnostics["restarts_kept"] = list(result.restarts)
    if config.final > 0:
        steps = max(1, round(config.final * config.steps))
        result = run.phase("final", Stream.FINAL, run.seen, steps, 1.0, result.alive)
        run.diagnostics["final"] = list(result.criteria)

    shapes = [run.shapes(result.of(i), run.seen)[0] for i in range(len(result.restarts))]
    mirror, margin = "none", None
    if config.mirror == "auto":
        clips = np.zeros(landmarks.n_frames, int) if run.sequence is None else run.sequence
        found = resolve_mirrors(shapes[0], clips)
        shapes[0] = np.where(found.flip[:, None, None], shapes[0] * np.float32([1, 1, -1]), shapes[0])  # type: ignore[arg-type, operator]
        mirror, margin = found.method, found.margin.astype(np.float32)
        run.diagnostics["mirror"] = found.summary()
    records = [_record(run.normalizer, landmarks, run.frames, x) for x in shapes]
    best = records[0].replace(mirror=mirror, mirror_margin=margin)
    spread = None
    if len(records) > 1:
        spread = np.stack([np.asarray(r.camera_points) for r in [best, *records[1:]]])
    model = None
    if isinstance(run.network, Network):
        model = PrnModel(run.network, result.params, run.normalizer, landmarks.names, mirror)
    return Fitted(best, model, run.heldout, spread, run.diagnostics, code=run.code)


INFO = MethodInfo(
    name=PrnModel.METHOD,
    kind="learned",
    summary="network trained through the Procrustes alignment of its own shapes; sequences, gaps, unseen frames",
    cameras=("orthographic", "weak-perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Park, Lee, Kwak 2020",
    cites=("park2020prn", "lee2013pnd"),
    config=Prn,
    fit=fit,
    load=PrnModel.load,
)
