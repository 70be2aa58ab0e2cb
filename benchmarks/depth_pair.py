"""Depth from two frames: the loss against its floor, a training step against PyTorch, the pipeline's frames a second.

`python -m benchmarks.depth_pair [--json FILE] [--quick]`

*nmg*: value and gradient of the normalised multiscale gradient loss of 8 maps of 384 x 224; *floor*: value and gradient
of the sum of absolute differences at the four spacings, of prediction and of disparity, which it cannot avoid. *step*:
forward and backward of the network `small` on 8 pairs of 128 x 80 with the loss, in a loop on the device; *torch*: the
same network by PyTorch (where it is installed), without the loss. *pipeline*: a side-by-side video of 1280 x 360 to
stored pairs, processor seconds a frame, and the growth of memory over its second half. All times are of the processor,
so that neighbours on the machine count little; cases alternate.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import environment, figure, parser, report
from jnrsfm.losses import depth as losses
from jnrsfm.methods import DepthPair
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import DepthNetwork

BATCH = 8


def processor_seconds(functions: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Median processor seconds of each, all once in every round after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, run in functions.items():
            start = time.process_time()
            jax.block_until_ready(run())
            if turn:
                times[name].append(time.process_time() - start)
    return {name: float(np.median(t)) for name, t in times.items()}


def floor(q, d, valid):
    """What the loss cannot avoid: the differences at four spacings of both maps, masked, and their absolute sums."""
    total = 0.0
    for k in losses.SPACINGS:
        for axis in (1, 2):
            cut = lambda x, a, b, axis=axis: jax.lax.slice_in_dim(x, a, b, axis=axis)
            n = q.shape[axis]
            both = cut(valid, k, n) & cut(valid, 0, n - k)
            for x in (q, d):
                total += jnp.sum(jnp.where(both, jnp.abs(cut(x, k, n) - cut(x, 0, n - k)), 0.0))
    return total


def _loss_functions(rounds: int) -> dict[str, float]:
    keys = jax.random.split(jax.random.key(0), 3)
    q, d = (jax.random.uniform(k, (BATCH, 224, 384), minval=0.1) for k in keys[:2])
    valid = jax.random.bernoulli(keys[2], 0.9, q.shape)
    nmg = jax.jit(jax.value_and_grad(lambda q, d, v: losses.nmg(q, d, v).sum()))
    base = jax.jit(jax.value_and_grad(floor))
    return processor_seconds({"nmg": lambda: nmg(q, d, valid), "floor": lambda: base(q, d, valid)}, rounds)


def _step_functions(rounds: int, count: int) -> dict[str, float]:
    config = DepthPair().network()
    network = Network.of(DepthNetwork, config)
    params, _ = network.init(jax.random.key(0))
    wide, high = config.size
    rng = np.random.default_rng(0)
    first, second = (rng.uniform(0, 255, (BATCH, high, wide, 3)).astype(np.float32) for _ in range(2))
    flow = rng.normal(0, 3, (BATCH, high, wide, 2)).astype(np.float32)
    d = jnp.asarray(rng.normal(size=(BATCH, high, wide)), jnp.float32)

    def objective(p, a, b, f):
        return losses.nmg(jnp.exp(-network.module(p)(a, b, f)), d, d == d).mean()

    def many(p, *x):
        step = lambda i, p: jax.tree.map(lambda w, g: w - 1e-4 * g, p, jax.grad(objective)(p, *x))
        return jax.lax.fori_loop(0, count, step, p)

    start = time.process_time()
    run = jax.jit(many).lower(params, first, second, flow).compile()
    compile_s = time.process_time() - start
    functions: dict[str, Callable] = {"step": lambda: run(params, first, second, flow)}
    try:
        from benchmarks import torch_depth
    except ImportError:
        torch_depth = None  # type: ignore[assignment]
    if torch_depth is not None:
        functions["torch"] = torch_depth.steps(config, first, second, flow, count)
    found = {name: t / count for name, t in processor_seconds(functions, rounds).items()}
    return found | {"compile": compile_s}


def _video(path: Path, frames: int) -> Path:
    """Side by side: a textured floor and a square that moves, another texture every 60 frames."""
    import av
    import cv2

    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1280, 360, "yuvj420p"
        for number in range(frames):
            if number % 60 == 0:
                coarse = rng.uniform(40, 215, (24, 48, 3)).astype(np.float32)
                floor_, tint = (
                    cv2.resize(coarse, (720, 360), interpolation=cv2.INTER_CUBIC),
                    rng.uniform(-60, 60, 3),
                )
                floor_ = (
                    floor_
                    + cv2.resize(rng.normal(0, 25, (180, 360, 3)).astype(np.float32), (720, 360))
                    + tint
                )
                square = rng.uniform(0, 255, (160, 160, 3)).astype(np.float32)
            x, y = np.meshgrid(np.arange(640, dtype=np.float32), np.arange(360, dtype=np.float32))
            shift = np.linspace(-6, 10, 360, dtype=np.float32)[:, None]
            place = 60 + 9 * (number % 40)
            eyes = []
            for side in (0, 1):
                eye = cv2.remap(floor_, x + 40 + side * shift, y, cv2.INTER_LINEAR)
                eye[100:260, place - 20 * side : place - 20 * side + 160] = square
                eyes.append(eye)
            frame = np.clip(np.concatenate(eyes, 1), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return path


def _pipeline(frames: int) -> dict[str, float]:
    from jnrsfm.io import stereo

    memory: dict[float, float] = {}

    def say(stage: str, done: int, count: int) -> None:
        if stage == "storing":
            share = done / count
            memory[0.5 if share <= 0.5 else 1.0] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        video = _video(folder / "a.avi", frames)
        start = time.process_time()
        index = stereo.convert_stereo(video, folder / "pairs", say=say)
        seconds = time.process_time() - start
        stored = sum(p["pairs"] for p in index["parts"])
    return {"pipeline": seconds / frames, "growth_mb": memory[1.0] - memory[0.5], "stored": stored}


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    args = parser(__doc__.splitlines()[0]).parse_args(argv)
    rounds, frames = (3, 120) if args.quick else (9, 600)
    loss = _loss_functions(3 * rounds)
    pipe = _pipeline(frames)
    step = _step_functions(rounds, 2)
    figures = {
        "nmg over its floor": figure(loss["nmg"] / loss["floor"], "", "lower", 1.5, 2.0),
        "nmg, 8 maps of 384 x 224": figure(1e3 * loss["nmg"], "ms", "lower"),
        "training step, 8 pairs of 128 x 80": figure(1e3 * step["step"], "ms", "lower"),
        "pipeline, frames a processor second": figure(1 / pipe["pipeline"], "1/s", "higher", 1.5, 5.0),
        "pipeline, growth of memory over its second half": figure(
            pipe["growth_mb"], "MB", "lower", None, 20.0
        ),
        "compilation of the step": figure(step["compile"], "s", "lower", 2.0),
    }
    if "torch" in step:
        figures["step over PyTorch's"] = figure(step["step"] / step["torch"], "", "lower", 1.5, 1.0)
    record = {
        "benchmark": "depth_pair", **environment(), "rounds": rounds, "frames": frames, "pairs": pipe["stored"],
        "figures": figures,
    }  # fmt: skip
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
