"""What the training benchmarks run: Deep NRSfM++ at the CMU preset on made-up landmarks, as the engine runs it."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import compile_for
from jnrsfm.methods.deep_nrsfm_pp import DeepNRSfMpp, _Fit
from jnrsfm.training import Resident, Session, TrainState
from jnrsfm.types import Landmarks

POINTS = 28


def landmarks(frames: int, points: int = POINTS, camera: str = "orthographic", seed: int = 0) -> Landmarks:
    """Random combinations of five random shapes, randomly turned, all points seen. Speed depends on sizes only."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(5, points, 3)).astype(np.float32)
    flat = np.empty((frames, points, 2), np.float32)
    for first in range(0, frames, 65536):  # a million frames at once would need twice the memory
        code = rng.normal(size=(min(65536, frames - first), 5)).astype(np.float32) * [1, 0.3, 0.2, 0.1, 0.1]
        turn, _ = np.linalg.qr(rng.normal(size=(len(code), 3, 3)))
        shape = np.einsum("fk,kpi,fji->fpj", code, basis, turn, optimize=True)
        if camera == "perspective":
            shape = shape[..., :2] / (shape[..., 2:] + 12)
        flat[first : first + len(code)] = shape[..., :2]
    intrinsics = np.eye(3, dtype=np.float32) if camera == "perspective" else None
    return Landmarks(points2d=flat, visible=np.ones((frames, points), bool), intrinsics=intrinsics)


class Training:
    """One training that can be stepped: the fit, its engine, the data on the device and a fresh state."""

    def __init__(self, camera: str = "orthographic", frames: int = 8192, points: int = POINTS, **settings):
        self.config = DeepNRSfMpp(
            **(
                {"preset": "cmu", "restarts": 1, "holdout": 0.0, "fill": False}
                | {"update": "adam", "learning_rate": 1e-3}  # as PyTorch beside it
                | settings
            )
        )
        self.fit = _Fit(landmarks(frames, points, camera), camera, self.config, 0, Session())
        self.data = jax.device_put(self.fit.batch(self.fit.seen))
        self.source = Resident(self.data, self.config.batch)
        self.engine = self.fit.engine
        self.key = jax.random.key(0)
        self.hyper = {"free": jnp.float32(0.0), "depth_weight": jnp.float32(0.0), "either": jnp.float32(0.0)}

    @property
    def network_sizes(self) -> tuple[int, ...]:
        """Atoms of the dictionaries, first to last."""
        return self.fit.network.config.sizes

    def state(self, restarts: int | None = None) -> TrainState:
        """Parameters and optimiser state: of one seed, or stacked."""
        keys = jax.random.split(self.key, restarts or 1)
        params, model_state = jax.vmap(self.fit.network.init)(keys)
        opt = jax.vmap(self.engine.optimizer.init)(params)
        state = TrainState(params, model_state, opt, jnp.zeros(len(keys), jnp.int32))
        return state if restarts else jax.tree.map(lambda x: x[0], state)

    def steps(self, count: int) -> tuple[Callable, float]:
        """A function that runs `count` steps of one seed in one dispatch, and the seconds of its compilation."""
        numbers = jnp.int32(0), jnp.int32(count), jnp.float32(10_000)
        args = self.state(), jnp.int32(0), self.data, self.key, self.key, *numbers, self.hyper
        return compile_for(self.engine.steps_of(self.source), *args)

    def dispatch(self, restarts: int, count: int) -> Callable:
        """A function that runs `count` steps of some restarts, the way the engine does it: from the state that the call
        before has left, as the step gives up the one that it takes."""
        state, numbers, first = self.state(restarts), jnp.arange(restarts), 0

        def run():
            nonlocal state, first
            rest = (self.source, self.data, self.key, first, count, 1_000_000, self.hyper)
            state, sums = self.engine.dispatch(state, numbers, *rest)
            first += count
            return sums

        return run


def matmul_flops(sizes: tuple[int, ...], columns: int, points: int = POINTS) -> float:
    r"""Floating-point operations (2 per multiply-add) of the matrix products of one frame, forward and backward.

    Forward: the first dictionary on M rows of P numbers, every dictionary on the 3M rows of the block code, the
    two heads, every dictionary on the code of the decoder, the first dictionary onto 3P coordinates. Backward: the
    product for the operand and the one for the dictionary, twice the forward, but for the measurements, which
    need no gradient. Nothing elementwise is counted, nor the camera, the loss or Adam.
    """
    rows, last = 3 * columns, sizes[-1]
    pairs = sum(a * b for a, b in itertools.pairwise(sizes))
    first_layer = columns * points * 3 * sizes[0]
    heads = rows * last * last + rows * last
    forward = first_layer + rows * pairs + heads + pairs + 3 * points * sizes[0]
    return 2.0 * (3 * forward - first_layer)
