r"""Depth of a moving scene from two frames, learned from stereo of unknown rigs.

The network of `models.vision.depth` gives the log depth l of the first of two frames; with q = exp(-l) and the
disparity d of a stereo pair, which is q up to a scale and a shift of its own,

    J = mean over pairs of nmg(q, d) + anchor_weight * ((mean l)^2 + (std l - contrast)^2).

`nmg` is the normalised multiscale gradient loss. It leaves scale and shift of q free in each image, and what is free
drifts; the anchor, which the text lacks, gives each image a unit and an offset without a say in its shape. Rival
losses stand beside it (`loss`): `ordinal` and `ranking` read the order of pixels from d, `silog` takes d for inverse
depth (an offset is not thought of: pixels of d <= 0 are left out), `affine` fits scale and shift by least squares.

Whole shots are held out, and what is reported of them is the normalised gradient error, 1 for a flat map.

Source: Wang, thesis, 2022, ch. 5. Adam with default parameters and batches of 6 there; crop, augmentation and anchor
are ours.
"""

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.depth_maps import FREEDOM, DepthMaps, FramePairs
from jnrsfm.errors import InputError
from jnrsfm.inputs import Normalizer, PairBatch, at_size, cut_pairs, pair_canvas
from jnrsfm.losses import depth as losses
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.models.functional import Network
from jnrsfm.models.saved import NetworkModel
from jnrsfm.models.vision import BackboneConfig, DepthNetwork, DepthNetworkConfig
from jnrsfm.training import Engine, Phase, Problem, Resident, Session, Streamed, TrainConfig

LEAST_PAIRS = 8
SHOWN = 24  # pairs of the result
TOGETHER = 8  # frames in one pass
# name: widths of the backbone, blocks, widths of the flow's levels, width of the decoder; the stem takes 4 x 4 pixels
PRESETS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]] = {
    "tiny": ((8, 16), (1, 1), (8, 8), 8),
    "small": ((24, 40, 64), (1, 1, 1), (8, 16, 16), 24),
    "medium": ((48, 96, 160), (1, 1, 1), (16, 24, 32), 48),
    "large": ((64, 128, 256, 512), (3, 4, 6, 3), (128, 128, 128, 128), 256),
}


@dataclasses.dataclass(frozen=True)
class DepthPair(TrainConfig):
    """Settings of depth from two frames."""

    frames: Literal["two", "same", "one"] = "two"
    """What the network sees: two frames and the flow between them; the first frame twice and no flow; one frame."""
    loss: Literal["nmg", "ordinal", "ranking", "silog", "affine"] = "nmg"
    """What depth is compared with disparity by."""
    through_scale: bool = True
    """The gradient of nmg goes through its scale too; otherwise the scale is a number."""
    anchor_weight: float = 0.03
    """Weight that holds what nmg leaves free: the mean of the log depth of each image near 0, its standard deviation
    near `contrast`."""
    contrast: float = 0.5
    """Standard deviation of the log depth of an image, as it is assumed."""
    size: tuple[int, int] = (128, 80)
    """Width and height of what the network sees, in pixels: pictures are stretched to it."""
    preset: Literal["tiny", "small", "medium", "large"] = "small"
    """Widths of the network: tiny for tests, small and medium for a CPU, large (as published) for an accelerator."""
    fusion: Literal["levels", "bottom-up"] = "levels"
    """How the three pyramids join: level by level (as in the text), or on the way down (as in the released code)."""
    colour: float = 0.2
    """Colours of a pair vary by this share in training."""
    holdout: float = 0.1
    """Share of the shots that are held out, one at least where there are several."""
    resident: int = 1024
    """Megabytes of pairs up to which they stay in memory; more are streamed from a file."""
    steps: int = 3000
    """Optimiser steps."""
    batch: int = 8
    """Pairs in a step."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    warmup: int = 100
    """Steps of linear warm-up."""
    average: float = 0.99
    """Decay of the moving average of the weights, which is what is kept."""
    chunk: int = 20
    """Steps in one dispatch to the device."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        if self.batch < 1:
            raise InputError(f"batch is {self.batch}: give at least 1 pair")
        for name in ("anchor_weight", "contrast", "colour", "resident"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if not 0 <= self.holdout < 1:
            raise InputError(f"holdout is {self.holdout}: it must be at least 0 and below 1")
        self.network()

    def network(self) -> DepthNetworkConfig:
        """The network's settings."""
        widths, blocks, flows, width = PRESETS[self.preset]
        backbone = BackboneConfig(4, widths, blocks)
        return DepthNetworkConfig(
            (self.size[0], self.size[1]),
            backbone,
            flows,
            width,
            "one" if self.frames == "one" else "two",
            self.fusion,
        )


@partial(jax.jit, static_argnums=(0, 2))
def predict(network: Network, params: Any, same: bool, first: Any, second: Any, flow: Any) -> Any:
    """Inverse depth `(frame, y, x)` of frames (any type, 0 to 255); `same`: the first frame stands for the second, and
    nothing moves."""
    first, flow = first.astype(jnp.float32), flow.astype(jnp.float32)
    second = first if same else second.astype(jnp.float32)
    return jnp.exp(-network.module(params)(first, second, flow * (not same)))


@dataclasses.dataclass(frozen=True)
class Objective:
    """Loss and criteria of the engine."""

    network: Network
    config: DepthPair

    def __call__(self, params, model_state, batch: PairBatch, key, hyper):
        """The loss of a batch."""
        c = self.config
        cut, draw = jax.random.split(key)
        batch = cut_pairs(batch, cut, c.size, c.colour)
        log_depth = self.log_depth(params, batch)
        loss = self.compared(log_depth, batch, draw)
        held = losses.contrast_anchor(log_depth, c.contrast)
        weight = batch.weight / jnp.maximum(batch.weight.sum(), 1e-6)
        metrics = {c.loss: jnp.sum(weight * loss), "anchor": jnp.sum(weight * held)}
        return jnp.sum(weight * (loss + c.anchor_weight * held)), (metrics, model_state)

    def log_depth(self, params, batch: PairBatch) -> Any:
        """What the network says."""
        same = self.config.frames == "same"
        second = batch.first if same else batch.second
        return self.network.module(params)(batch.first, second, batch.flow * (not same))

    def compared(self, log_depth, batch: PairBatch, key) -> Any:
        """The loss of each image by its name."""
        c, d, valid = self.config, batch.disparity, batch.valid
        if c.loss == "nmg":
            return losses.nmg(jnp.exp(-log_depth), d, valid, through_scale=c.through_scale)
        if c.loss == "affine":
            return losses.affine_invariant(jnp.exp(-log_depth), d, valid)
        if c.loss == "silog":
            positive = valid & (d > 1e-3)
            return losses.silog(-log_depth, jnp.log(jnp.where(positive, d, 1.0)), positive, share=1.0)
        rank = losses.ordinal if c.loss == "ordinal" else losses.structure_guided
        return rank(-log_depth, d, valid, key)

    def criteria(self, params, model_state, batch: PairBatch, hyper):
        """The normalised gradient error of the pairs of the training and of those held out."""
        batch = cut_pairs(batch, None, self.config.size)
        error = losses.nmg(jnp.exp(-self.log_depth(params, batch)), batch.disparity, batch.valid)
        some = batch.valid.any((1, 2)).astype(error.dtype)
        seen, held = some * batch.weight, some * (1 - batch.weight)
        return {"objective": (seen * error, seen), "heldout": (held * error, held)}


@dataclasses.dataclass(frozen=True, eq=False)
class DepthPairModel(NetworkModel):
    """A trained network; `working` (width, height): the size at which its flow was measured, `frames` as in the
    settings."""

    METHOD = "depth-pair"
    TAKES = FramePairs

    working: tuple[int, int] = (640, 360)
    frames: str = "two"

    @staticmethod
    def network_of(config: dict[str, Any]) -> Network:
        """The network of a config's fields, without arrays."""
        config = {**config, "backbone": BackboneConfig(**config["backbone"])}
        return Network.of(DepthNetwork, DepthNetworkConfig(**config))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its maps."""
        return self.network.config.size

    def inverse_depth(self, first: np.ndarray, second: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """`(frame, y, x)` of frames `(frame, y, x, 3)` at its `size` and the flow in their pixels; in passes of
        `TOGETHER`, the last one filled up, so that one program serves any number."""
        found = []
        for i in range(0, len(first), TOGETHER):
            part = [x[i : i + TOGETHER] for x in (first, second, flow)]
            short = TOGETHER - len(part[0])
            part = [np.concatenate([x, np.repeat(x[-1:], short, 0)]) for x in part] if short else part
            q = predict(self.network, self.params, self.frames == "same", *part)
            found.append(np.asarray(q)[: TOGETHER - short])
        return np.concatenate(found)

    def lift(self, pairs: FramePairs) -> DepthMaps:  # type: ignore[override]
        """Depth of the first frame of each pair, in memory, beside its disparity. Long videos: `jnrsfm lift`."""
        return self.of(pairs, np.arange(len(pairs)))

    def of(self, pairs: FramePairs, numbers: np.ndarray) -> DepthMaps:
        """`lift` of some pairs."""
        read = [at_size(pairs.read(int(i)), self.size) for i in numbers]
        a = {name: np.stack([r[name] for r in read]) for name in read[0]}
        q = self.inverse_depth(a["first"], a["second"], a["flow"])
        return DepthMaps(
            q, a["first"], a["flow"], np.asarray(numbers), a.get("disparity"), a.get("valid"), gauge=FREEDOM
        )  # fmt: skip


def fit(pairs: FramePairs, camera: str, config: DepthPair, seed: int, session: Session) -> Fitted:
    """Train on pairs, and give the depth of held-out ones. Raises InputError for fewer than 8."""
    if len(pairs) < LEAST_PAIRS:
        raise InputError(f"{len(pairs)} pairs of frames: depth-pair needs at least {LEAST_PAIRS}")
    if config.batch > len(pairs):
        config = dataclasses.replace(config, batch=len(pairs))
    held = held_out(pairs.shots, config.holdout, seed)
    network = Network.of(DepthNetwork, config.network())
    objective = Objective(network, config)
    engine = Engine(Problem(network.init, objective, objective.criteria), config, session)
    # beside the run where there is one: a temporary folder may lie in memory
    with tempfile.TemporaryDirectory(prefix="canvas-", dir=session.folder) as scratch:
        source = source_of(pairs, held, config, seed, Path(scratch), session)
        trained = engine.train(Phase("depth-pair", config.steps, source), jax.random.key(seed))
        rows = row_profile(source, held)
    model = DepthPairModel(
        network, trained.params, Normalizer("perspective", "rms"), None, "none", pairs.size, config.frames
    )
    shown = np.flatnonzero(held) if held.any() else np.arange(len(pairs))
    shown = shown[np.unique(np.linspace(0, len(shown) - 1, SHOWN).round().astype(int))]
    found = model.of(pairs, shown)
    error = dict(trained.criteria[0])
    heldout = None
    if held.any():
        heldout = {
            "error": error["heldout"], "baseline": rows, "count": int(held.sum()),
            "unit": "share of the disparity's differences",
            "note": f"{int(held.sum())} pairs of {len(np.unique(pairs.shots[held]))} shots that training did not see; "
            "the baseline is the mean disparity of each row",
        }  # fmt: skip
    return Fitted(found, model, heldout, diagnostics={"pairs": len(pairs), "criteria": error, "rows": rows})  # type: ignore[arg-type]


def held_out(shots: np.ndarray, share: float, seed: int) -> np.ndarray:
    """`(pair,)`: pairs of the shots that are held out, drawn at random; of a single shot, its last pairs."""
    names = np.unique(shots)
    if share == 0:
        return np.zeros(len(shots), bool)
    if len(names) < 2:
        return np.arange(len(shots)) >= len(shots) - max(round(share * len(shots)), 1)
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    return np.isin(shots, np.random.default_rng(seed).permutation(names)[:count])


def source_of(
    pairs: FramePairs, held: np.ndarray, config: DepthPair, seed: int, folder: Path, session: Session
) -> Resident | Streamed:
    """The pairs on their canvases: in memory, or where they are too many in a file of `folder` that batches are read
    from. Each pair is read once."""
    wide, high = pair_canvas(config.size)
    n = len(pairs)
    kinds = {
        "first": ((n, high, wide, 3), np.uint8), "second": ((n, high, wide, 3), np.uint8),
        "disparity": ((n, high, wide), np.float32), "flow": ((n, high, wide, 2), np.float16),
        "valid": ((n, high, wide), np.bool_),
    }  # fmt: skip
    total = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in kinds.values())
    streamed = total > config.resident * 2**20
    made: dict[str, np.ndarray] = {}
    for name, (shape, kind) in kinds.items():
        if streamed:
            made[name] = np.memmap(folder / f"{name}.bin", kind, "w+", shape=shape)
        else:
            made[name] = np.empty(shape, kind)
    session.say(f"depth-pair: {n} pairs at {wide} x {high}" + (", in files" if streamed else ""))
    for i in range(n):
        one = at_size(pairs.read(i), (wide, high))
        for name in kinds:
            made[name][i] = one[name]
    weight = (~held).astype(np.float32)
    if not streamed:
        return Resident(jax.tree.map(jnp.asarray, PairBatch(**made, weight=weight)), config.batch, 16)

    def read(numbers: np.ndarray) -> PairBatch:
        return PairBatch(**{name: np.asarray(x[numbers]) for name, x in made.items()}, weight=weight[numbers])

    return Streamed(read, n, config.batch, seed=seed, block=16)


def row_profile(source: Resident | Streamed, held: np.ndarray) -> float:
    """The normalised gradient error, on the held-out pairs, of one value for each row: the mean of the disparities of
    the training, each image's brought to mean 0 and deviation 1 first. 1 where nothing is held out."""
    read = (
        source.read if isinstance(source, Streamed) else lambda i: jax.tree.map(lambda x: x[i], source.data)
    )
    total = count = None
    errors: list[float] = []
    error = jax.jit(losses.nmg)
    for part in (np.flatnonzero(~held), np.flatnonzero(held)):
        for i in part[:512]:
            one = read(np.array([i]))
            d, valid = np.asarray(one.disparity[0], np.float64), np.asarray(one.valid[0])
            if not held[i]:
                if valid.any() and d[valid].std() > 0:
                    z = np.where(valid, (d - d[valid].mean()) / d[valid].std(), 0).sum(1)
                    total = z if total is None else total + z
                    count = valid.sum(1) if count is None else count + valid.sum(1)
            elif total is not None and count is not None and valid.any():
                rows = total / np.maximum(count, 1)
                flat = np.broadcast_to(rows[:, None], d.shape).astype(np.float32)
                errors.append(float(error(flat[None], one.disparity, one.valid)[0]))
    return float(np.mean(errors)) if errors else 1.0


INFO = MethodInfo(
    name=DepthPairModel.METHOD,
    kind="learned",
    summary="depth of moving scenes from two frames; learns from stereo videos of unknown rigs",
    cameras=("perspective",),
    missing=True,
    needs_order=True,
    unseen=True,
    source="Wang, thesis, 2022, ch. 5 (WSVD)",
    cites=("wang2022thesis", "wang2019wsvd"),
    state="experimental",
    config=DepthPair,
    fit=fit,
    load=DepthPairModel.load,
    takes=FramePairs,
    gives=DepthMaps,
)
