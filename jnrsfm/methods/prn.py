r"""Procrustean regression networks: the 3D shapes of a window of frames, aligned with each other, are of low rank.

For a window of frames with camera-frame shapes `X_f`, from any network or free, the cost is

    J = mean_f 1/2 mean_p |xy_fp - u_fp|^2 + weight * g(Y / sqrt(L P)),   Y = align(X_1 ... X_L),

with `u` the landmarks (only visible points count; the translation of the frame is free), and g the nuclear norm of
the L x 3P matrix of aligned shapes as published, or the log-determinant surrogate of the rank of their deviations
from the mean. No camera is estimated: the alignment removes it, and its derivative
(`geometry.generalized_procrustes`) teaches the depth. Networks enter by their output only (`procrustean_cost`).

Of the two costs only the log-determinant, and only with a small `epsilon`, is lower at true shapes than at the rigid
one with its views as seen; but it has local minima, so the depths begin at those of a solver, the Procrustean normal
distribution by default, whose pull fades to a tenth.

The fit: *search* trains on all observed points but a held-out tenth, with restarts; *final* on all. `network="none"`
is Procrustean regression: the shapes themselves are the unknowns, all frames are one window, and there is no model
for unseen frames. Of the network's shapes, observed points take the x and y of the image.

Source: Park, Lee, Kwak, Procrustean Regression Networks, 2020, and its supplement; Park, Lee, Kwak, Procrustean
Regression, IEEE TIP 27(1), 2018. The log-determinant, windows of frames from anywhere in the set, the start, the
held-out points and the resolved mirror are ours.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.factorization.initial_shapes import rigid_shapes
from jnrsfm.geometry.depth_reflection import resolve_mirrors
from jnrsfm.geometry.generalized_procrustes import align
from jnrsfm.inputs.observations import Normalizer, Observations, SizeMeasure, hold_out
from jnrsfm.linalg.proximal import log_determinant, nuclear_norm
from jnrsfm.methods import pnd
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.recipe import heldout_item
from jnrsfm.methods.saving import NetworkModel
from jnrsfm.models.residual import ResidualConfig, ResidualNetwork
from jnrsfm.training import Engine, Problem, Session, TrainConfig
from jnrsfm.types import Landmarks, Reconstruction

_FRAMES = 4096  # at a time, outside training
_WINDOWS = 32  # at least, to draw from
_ALIGN = {"max_iterations": 30, "tolerance": 1e-4}  # a step needs no more: rounding of the network is larger


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
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
    """Share of the search during which the pull of the start on the network's depths fades."""
    hold: float = 0.1
    """Share of that pull that stays to the end, so that depths do not drift (with a network, of `pnd` only)."""
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
        """Refuse what cannot work."""
        super().__post_init__()
        if self.window < 3 or self.hop < 1 or self.spacing < 1:
            raise InputError(
                f"window is {self.window}, hop {self.hop} and spacing {self.spacing}: give at least 3, 1 and 1 frames"
            )
        if not 0 <= self.holdout < 1:
            raise InputError(f"holdout is {self.holdout}: it must be at least 0 and below 1")
        if not 0 <= self.hold <= 1:
            raise InputError(f"hold is {self.hold}: give a share between 0 and 1")
        if self.select == "heldout" and not self.holdout:
            raise InputError("select is 'heldout' but holdout is 0: nothing to select by")
        if not 0 < self.epsilon <= self.epsilon_start or self.weight < 0:
            raise InputError(
                f"epsilon is {self.epsilon}, epsilon_start {self.epsilon_start} and weight {self.weight}: give "
                "0 < epsilon <= epsilon_start and a weight of at least 0"
            )


class Windows(NamedTuple):
    """Frames that are aligned with each other, one window an item; leading axes (window, frame).

    `frame`: number of the frame in the set; `present`: 1, or 0 where a clip is shorter than the window; the others
    as in `Observations`; `z`: depths to begin with, and `pull` how much the network is drawn to them;
    `settled (window,)`: 1 where `epsilon` is at its end.
    """

    frame: Any
    present: Any
    points: Any
    weights: Any
    inputs: Any
    trust: Any
    heldout: Any
    z: Any
    pull: Any
    settled: Any


def window_frames(
    sequence: np.ndarray, length: int, hop: int, spacing: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """`frame (window, length)` and `present` of windows of every `spacing`-th frame within the clips of `sequence
    (frame,)`.

    The last window of a clip ends with it; a clip shorter than `length` makes one window, filled up with its last
    frame, `present` 0. `length` is cut to the longest clip. With a `spacing`, a clip is as many clips, one for each
    frame that it may begin with, and `hop` counts their frames.
    """
    whole = [np.flatnonzero(sequence == c) for c in dict.fromkeys(np.asarray(sequence).tolist())]
    clips = [part for clip in whole for part in (clip[i::spacing] for i in range(spacing)) if len(part)]
    length = min(length, max(map(len, clips)))
    frames, present = [], []
    for clip in clips:
        last = max(len(clip) - length, 0)
        for first in sorted({*range(0, last, hop), last}):
            part = clip[first : first + length]
            present.append(np.arange(length) < len(part))
            frames.append(np.pad(part, (0, length - len(part)), mode="edge"))
    return np.array(frames), np.array(present)


def drawn_frames(n: int, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`frame (window, length)` and `present` of windows of frames drawn from all `n`, none twice in a window.

    Rounds through the frames in random order, until there are `_WINDOWS`; what is left of a round, fewer frames than
    a window, is left out of it. One window where all frames fit.
    """
    if length >= n:
        return np.arange(n)[None], np.ones((1, n), bool)
    rng = np.random.default_rng(seed)
    rounds = -(-_WINDOWS * length // n)
    each = n // length * length
    frames = np.concatenate([rng.permutation(n)[:each].reshape(-1, length) for _ in range(rounds)])
    return np.sort(frames, 1), np.ones(frames.shape, bool)


def low_rank_cost(
    shapes: Float[Array, "*batch frame point 3"],
    present: Float[Array, "*batch frame"],
    cost: str = "log-determinant",
    epsilon: Any = 0.002,
) -> Float[Array, "*batch"]:
    """g of the module docstring: nuclear norm of Y, or `epsilon / 2 * log det(I + D^T D / epsilon^2)` of its
    deviations D from the mean shape, in units of the object's size.

    The shapes may come from any network; frames with `present` 0 do not count.
    """
    aligned, _ = align(shapes, present, **_ALIGN)  # type: ignore[arg-type]
    *batch, frames, points, _ = aligned.shape
    count = jnp.maximum(jnp.sum(present, -1), 1.0)[..., None, None]
    rows = (aligned * present[..., None, None]).reshape(*batch, frames, 3 * points)
    if cost == "nuclear":
        return nuclear_norm(rows / jnp.sqrt(count * points))
    # the mean may be as large as it likes: its logarithm would draw weakly seen depths to it
    rows = rows - present[..., None] * jnp.sum(rows, -2, keepdims=True) / count
    return epsilon * log_determinant(rows / jnp.sqrt(count * points), epsilon)


def reprojection(shapes, points, weights):
    """`(*batch, frame, point, 2)` residual of the landmarks, with the best translation of each frame taken out."""
    gap = points - shapes[..., :2]
    total = jnp.maximum(jnp.sum(weights, -1), 1e-6)[..., None, None]
    return gap - jnp.sum(weights[..., None] * gap, -2, keepdims=True) / total


def procrustean_cost(
    shapes, points, weights, present, config: Config, epsilon: Any = None
) -> tuple[Any, dict[str, Any]]:
    """J of the module docstring for windows of shapes `(window, frame, point, 3)`, and its two parts.

    `epsilon` overrides that of the config. This is all that a network has to do with: one for images gives its 3D
    points here.
    """
    w = weights * present[..., None]
    square = jnp.sum(reprojection(shapes, points, w) ** 2, -1)
    data = jnp.sum(w * square) / jnp.maximum(jnp.sum(w), 1e-6)
    epsilon = config.epsilon if epsilon is None else epsilon
    rank = jnp.mean(low_rank_cost(shapes, present, config.cost, epsilon))
    return 0.5 * data + config.weight * rank, {"reprojection": jnp.sqrt(data + 1e-12), "low_rank": rank}


class Network(NamedTuple):
    """The residual network as pure functions over its parameters."""

    config: ResidualConfig
    graph: Any

    @classmethod
    def of(cls, config: ResidualConfig) -> "Network":
        """Its structure, without arrays."""
        abstract = nnx.eval_shape(lambda: ResidualNetwork(config, rngs=nnx.Rngs(params=0)))
        return cls(config, nnx.split(abstract)[0])

    def init(self, key):
        """Fresh parameters."""
        return nnx.to_pure_dict(nnx.state(ResidualNetwork(self.config, rngs=nnx.Rngs(params=key))))

    def __call__(self, params, frame, points, trust):
        """Shapes `(*batch, point, 3)`."""
        return nnx.merge(self.graph, params)(points, trust)


class FreeShapes(NamedTuple):
    """One shape a frame, as if it were a network: looked up by the number of the frame.

    The parameters are offsets from the start in units of `UNIT` of the object's size, so that the learning rate of a
    network's weights, taken as a step of Adam, suits them too.
    """

    start: Any
    UNIT = 10.0  # type: ignore[misc]

    def init(self, key):
        """No offset but a little noise, so that restarts differ."""
        return {"offsets": 1e-3 * jax.random.normal(key, self.start.shape, self.start.dtype)}

    def __call__(self, params, frame, points, trust):
        """Shapes `(*batch, point, 3)`."""
        return (self.start + self.UNIT * params["offsets"])[frame]


def _few(points) -> bool:
    """Too few frames or points for the normal distribution."""
    return len(points) < pnd.LEAST_FRAMES or points.shape[1] < pnd.LEAST_POINTS


def start_shapes(data: Observations, sequence: Any, start: str, seed: int, session: Session) -> np.ndarray:
    """Camera-frame shapes `(frame, point, 3)` of a solver, from the points of positive weight: see `Config.start`.

    Where frames or points are too few for the normal distribution, the rigid ones.
    """
    points, weights = np.asarray(data.points), np.asarray(data.weights)
    if start == "pnd" and not _few(points):
        landmarks = Landmarks(points2d=points, visible=weights > 0, sequence=sequence)
        found = pnd.fit(landmarks, "orthographic", pnd.Config(), seed, session)
        return np.asarray(found.reconstruction.camera_points)
    rigid = rigid_shapes(points, weights, np.asarray(data.inputs))
    return rigid * np.array([1, 1, 0]) if start == "flat" else rigid


class _Trainer:
    """The phases of one fit share these."""

    def __init__(self, landmarks: Landmarks, camera: str, config: Config, seed: int, session: Session):
        self.config = config
        self.normalizer = Normalizer(camera, config.size).fitted(landmarks)
        whole, self.frames = self.normalizer(landmarks)
        seen, held = hold_out(np.asarray(whole.weights), config.holdout, 4, seed)
        hidden = whole._replace(weights=jnp.asarray(seen), heldout=jnp.asarray(held))
        if config.fill:
            self.normalizer = self.normalizer.with_covariance(hidden)
        whole, hidden = (self.normalizer.filled(d, landmarks.defined) for d in (whole, hidden))
        begin = start_shapes(hidden, landmarks.sequence, config.start, seed, session)
        z = jnp.asarray(begin[..., 2], jnp.float32)
        self.hold = config.hold if config.start == "pnd" and not _few(hidden.points) else 0.0
        n = landmarks.n_frames
        sequence = np.zeros(n, int) if landmarks.sequence is None else np.asarray(landmarks.sequence)
        if config.network == "none":
            self.network: Network | FreeShapes = FreeShapes(jnp.asarray(begin, jnp.float32))  # type: ignore[call-arg]
            numbers, present = np.arange(n)[None], np.ones((1, n), bool)
            self.engine_config = dataclasses.replace(config, batch=1)
        else:
            self.network = Network.of(ResidualConfig(landmarks.n_points, config.width, config.blocks))
            if config.frames == "any":
                numbers, present = drawn_frames(n, config.window, seed)
            else:
                numbers, present = window_frames(sequence, config.window, config.hop, config.spacing)
            self.engine_config = config
        self.sequence = sequence
        self.whole, self.hidden = whole, hidden
        pull = float(config.network != "none")  # free shapes begin at the start
        self.search = _cut(hidden._replace(z=z), numbers, present, pull, 0.0)
        self.final = _cut(whole._replace(z=z), numbers, present, pull, 1.0)

    def objective(self, params, batch: Windows, key, progress):
        """Loss of a batch of windows, and what to record."""
        config = self.config
        shapes = self.network(params, batch.frame, batch.inputs, batch.trust)
        done = jnp.maximum(jnp.clip(1.5 * progress, 0, 1), batch.settled)
        epsilon = config.epsilon * (config.epsilon_start / config.epsilon) ** (1 - done)
        loss, aux = procrustean_cost(shapes, batch.points, batch.weights, batch.present, config, epsilon)
        if config.start_share > 0:
            fade = jnp.clip(1 - progress / config.start_share, 0, 1) * (1 - batch.settled)
            fade = jnp.maximum(fade, self.hold)
            away = jnp.mean((shapes[..., 2] - batch.z) ** 2, -1)
            loss = loss + jnp.mean(fade[:, None] * batch.pull * away)
        return loss, aux

    def engine(self, session: Session) -> Engine:
        """The engine for this objective."""
        problem = Problem(self.network.init, self.objective, self.criteria)
        return Engine(problem, self.engine_config, session)

    def criteria(self, params, data: Windows):
        """Over all windows: the cost of what training sees, and the error at the points that it does not see."""

        def one(window):
            shapes = self.network(params, window.frame, window.inputs, window.trust)
            loss, _ = procrustean_cost(  # type: ignore[call-arg]
                *(x[None] for x in (shapes, window.points, window.weights, window.present)), self.config
            )
            gap = reprojection(
                shapes, window.points, window.weights
            )  # translation from the points that were seen
            held = window.heldout * window.present[..., None]
            return loss, jnp.sum(held * jnp.sqrt(jnp.sum(gap**2, -1) + 1e-12)), jnp.sum(held)

        loss, error, count = jax.lax.map(one, data)
        return {"objective": jnp.mean(loss), "heldout": jnp.sum(error) / jnp.maximum(jnp.sum(count), 1e-6)}

    def shapes(self, params) -> np.ndarray:
        """Camera-frame shapes `(frame, point, 3)` of all frames."""
        return _forward(self.network, params, self.whole)


def _cut(
    data: Observations, numbers: np.ndarray, present: np.ndarray, pull: float, settled: float
) -> Windows:
    """Windows of the frames `numbers (window, frame)`; frames that are not present have no points."""
    present = jnp.asarray(present, jnp.float32)  # type: ignore[assignment]
    take = lambda x: x[jnp.asarray(numbers)]
    return Windows(
        frame=jnp.asarray(numbers),
        present=present,
        points=take(data.points),
        weights=take(data.weights) * present[..., None],
        inputs=take(data.inputs),
        trust=take(data.trust),
        heldout=take(data.heldout) * present[..., None],
        z=take(data.z),
        pull=present * pull,
        settled=jnp.full(len(numbers), settled, jnp.float32),
    )


_lift = jax.jit(lambda network, params, points, trust: network(params, None, points, trust), static_argnums=0)


def _forward(network: Network | FreeShapes, params, data: Observations) -> np.ndarray:
    """Camera-frame shapes, centred, on the host; a block of frames at a time, so that memory does not grow. Points that
    were observed keep their x and y: the network tells where the others are, and all depths."""
    if isinstance(network, FreeShapes):
        shapes = np.asarray(network(params, np.arange(len(network.start)), None, None))
    else:
        n, size = len(data.points), min(_FRAMES, len(data.points))
        blocks = []
        for first in range(0, n, size):
            points, trust = data.inputs[first : first + size], data.trust[first : first + size]
            short = size - len(points)  # one compiled size for all blocks
            points, trust = (jnp.pad(x, ((0, short),) + ((0, 0),) * (x.ndim - 1)) for x in (points, trust))
            blocks.append(np.asarray(_lift(network, params, points, trust))[: size - short])
        shapes = np.concatenate(blocks)
    shapes = np.array(shapes)
    gap = np.asarray(reprojection(shapes, data.points, data.weights))
    shapes[..., :2] += np.where(np.asarray(data.weights)[..., None] > 0, gap, 0)
    return shapes - shapes.mean(1, keepdims=True)


def _record(normalizer: Normalizer, landmarks: Landmarks, frames, shapes: np.ndarray) -> Reconstruction:
    """The record of camera-frame shapes: aligned with each other to one object frame."""
    aligned, rotations = jax.jit(align)(jnp.asarray(shapes))
    cameras = np.swapaxes(np.asarray(rotations), 1, 2)
    found = normalizer.reconstruction(landmarks, frames, np.asarray(aligned), cameras, np.ones(len(shapes)))
    if normalizer.camera != "orthographic":
        return found
    # one scale for all frames belongs into the shapes: they are then comparable with any reference
    return found.replace(
        points3d=np.asarray(found.points3d) * np.float32(normalizer.scale),
        cameras=found.cameras.replace(scale=None),
        gauge="units of the input",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class PRN(NetworkModel):
    """A trained network: lifts unseen frames with the same points."""

    METHOD = "prn"

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        return Network.of(ResidualConfig(**config))

    def lift(self, landmarks: Landmarks) -> Reconstruction:
        """One forward pass a frame, and the alignment of the given frames. The hand is the one that the network
        keeps; `jnrsfm.geometry.depth_reflection.relabel` resolves the frames of a clip anew.

        Raises InputError where the number of points is another.
        """
        data, frames = self.observed(landmarks)
        found = _record(self.normalizer, landmarks, frames, _forward(self.network, self.params, data))
        return found.replace(mirror=self.mirror)


def fit(landmarks: Landmarks, camera: str, config: Config, seed: int, session: Session) -> Fitted:
    """Train on landmarks and reconstruct them: the phases of the module docstring."""
    if landmarks.n_frames < 3:
        raise InputError(f"{INFO.name} needs at least 3 frames to align, but there are {landmarks.n_frames}")
    trainer = _Trainer(landmarks, camera, config, seed, session)
    key = jax.random.key(seed)
    engine = trainer.engine(session)
    result = engine.train(trainer.search, jax.random.fold_in(key, 0), phase="search")
    heldout = heldout_item(result.criteria[0], trainer.hidden, config.holdout)
    facts: dict[str, Any] = {"search": list(result.criteria), "restarts_kept": list(result.restarts)}
    if config.final > 0:
        steps = max(1, round(config.final * config.steps))
        result = engine.train(
            trainer.final, jax.random.fold_in(key, 1), phase="final", steps=steps, start=result.all_params
        )
        facts["final"] = list(result.criteria)

    shapes = [
        trainer.shapes(jax.tree.map(lambda x, i=i: x[i], result.all_params))
        for i in range(len(result.restarts))
    ]
    mirror, margin = "none", None
    if config.mirror == "auto":
        found = resolve_mirrors(shapes[0], trainer.sequence)
        shapes[0] = np.where(found.flip[:, None, None], shapes[0] * np.float32([1, 1, -1]), shapes[0])  # type: ignore[arg-type, operator]
        mirror, margin = found.method, found.margin.astype(np.float32)
        facts["mirror"] = found.summary()
    records = [_record(trainer.normalizer, landmarks, trainer.frames, x) for x in shapes]
    best = records[0].replace(mirror=mirror, mirror_margin=margin)
    spread = (
        np.stack([np.asarray(r.camera_points) for r in [best, *records[1:]]]) if len(records) > 1 else None
    )
    model = None
    if isinstance(trainer.network, Network):
        model = PRN(trainer.network, result.params, trainer.normalizer, landmarks.names, mirror)
    return Fitted(best, model, heldout, spread, facts)


INFO = MethodInfo(
    name=PRN.METHOD,
    kind="learned",
    summary="network trained through the Procrustes alignment of its own shapes; sequences, gaps, unseen frames",
    cameras=("orthographic", "weak-perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Park, Lee, Kwak 2020",
    state="experimental",
    config=Config,
    fit=fit,
    load=PRN.load,
)
