"""The image network of the student: training step against PyTorch, what augmentation and decoding cost, lifting.

`python -m benchmarks.images [--json FILE] [--quick]`

The preset of a CPU (`Student()`), 19 points, batch 32. *step*: all that a step of the engine does, with patches cut
and coloured from resident uint8 canvases; *plain*: the same without augmentation, from patches at hand; both in a loop
on the device, as in training. PyTorch runs the same network from the same parameters on the patches at hand (its
outputs are checked against ours), forward, backward and Adam. *decode*: a JPEG of 640 x 480 opened and cut to its
canvas, once in a training; its share is that of 16 passes. Lifting: canvases to points, batch 1 and 64.
"""

import io
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks._common import alternate, compile_for, environment, figure, parser, report, summary
from jnrsfm import pixels
from jnrsfm.inputs import crops
from jnrsfm.methods.student import Student
from jnrsfm.methods.student.network import found_poses
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import PoseNetwork, bin_places

POINTS, BATCH = 19, 32


def steps(network, config, params, canvas, target, count: int, augmented: bool):
    """A function of `count` steps of Adam on the mean distance to `target`, in one loop."""
    optimizer = optax.adam(1e-3)
    how = config.augmentation
    plain = crops.patches(canvas[:BATCH], crops.unmoved((BATCH,)), config.size)

    def loss(params, key, i):
        if augmented:
            keys = jax.random.split(jax.random.fold_in(key, i))
            which = jax.random.randint(keys[0], (BATCH,), 0, len(canvas))
            maps = crops.drawn_maps(keys[1], BATCH, how)
            images = crops.coloured(keys[0], crops.patches(canvas[which], maps, config.size), how)
        else:
            images = plain
        return jnp.abs(network.module(params, {})(images).points - target).mean()

    def many(params, canvas, key):
        def body(i, carry):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params, key, i), state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, count, body, (params, optimizer.init(params)))

    return compile_for(many, params, canvas, jax.random.key(0))


def torch_steps(network, params, images: np.ndarray, target: np.ndarray, count: int):
    """The same steps in PyTorch without augmentation, and what there is to say; no function where it is absent."""
    try:
        import torch

        from benchmarks.torch_pose import PoseNet
    except ImportError as error:
        return None, {"absent": str(error)}
    net = PoseNet(params, network.config)
    x = torch.tensor(images.transpose(0, 3, 1, 2).copy())
    places = torch.tensor(np.asarray(bin_places(network.config.bins)))
    wanted = torch.tensor(target)
    with torch.no_grad():
        theirs = net(x, places).numpy()
    ours = np.asarray(network.module(params, {})(jnp.asarray(images)).points)
    if np.abs(ours - theirs).max() > 1e-4:
        raise AssertionError(f"not the same network: outputs differ by {np.abs(ours - theirs).max()}")
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def run():
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            (net(x, places) - wanted).abs().mean().backward()
            optimizer.step()
        return np.zeros(1)

    return run, {"version": torch.__version__, "threads": torch.get_num_threads(), "agrees_to": 1e-4}


def decoding(count: int, size: int) -> float:
    """Seconds to open a JPEG of 640 x 480 and cut its canvas."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (12, 16, 3), np.uint8)
    image = np.asarray(pixels.library().Image.fromarray(coarse).resize((640, 480)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jpg"
        path.write_bytes(io.BytesIO(pixels.jpeg(image)).getvalue())
        begun = time.perf_counter()
        for _ in range(count):
            pixels.cut(pixels.read_image(path), (320, 240), 300.0, crops.canvas_size(size))
        return (time.perf_counter() - begun) / count


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    args = parser(__doc__.splitlines()[0]).parse_args(argv)
    rounds, count = (3, 2) if args.quick else (9, 5)
    config = Student()
    network = Network.of(PoseNetwork, config.network(POINTS))
    params = network.init(jax.random.key(0))[0]
    side = crops.canvas_size(config.size)
    rng = np.random.default_rng(0)
    canvas = jnp.asarray(rng.integers(0, 255, (256, side, side, 3), np.uint8))
    target = jnp.asarray(rng.uniform(-0.4, 0.4, (BATCH, POINTS, 3)), jnp.float32)
    step, compile_s = steps(network, config, params, canvas, target, count, True)
    plain, _ = steps(network, config, params, canvas, target, count, False)
    images = np.asarray(crops.patches(canvas[:BATCH], crops.unmoved((BATCH,)), config.size))
    theirs, about = torch_steps(network, params, images, np.asarray(target), count)
    whole = np.asarray(canvas)
    lift = {f"lift_{n}": lambda n=n: found_poses(network, params, whole[:n]) for n in (1, 64)}
    functions = {"step": step, "plain": plain, **({"torch": theirs} if theirs else {}), **lift}
    times = alternate(functions, rounds)
    decode = decoding(10 if args.quick else 50, config.size)
    augmentation = float(np.median(1 - times["plain"] / times["step"]))
    per_image = float(np.median(times["step"])) / count / BATCH
    share = augmentation + decode / (16 * per_image)
    record = {
        "benchmark": "images", **environment(), "rounds": rounds, "steps_per_call": count, "compile_s": compile_s,
        "times": {n: summary(t, count if n in ("step", "plain", "torch") else 1) for n, t in times.items()},
        "decode_s": decode, "augmentation_share": augmentation, "torch": about,
        "figures": {
            "augmentation and decoding, share of a step": figure(share, "", "lower", 1.5, 0.25),
            "lifting, batch 1": figure(1 / float(np.median(times["lift_1"])), "images/s", "higher"),
            "lifting, batch 64": figure(64 / float(np.median(times["lift_64"])), "images/s", "higher"),
            "step": figure(1e3 * float(np.median(times["step"])) / count, "ms", "lower"),
            "compilation": figure(compile_s, "s", "lower", 2.0),
        },
    }  # fmt: skip
    if theirs:
        ratio = float(np.median(times["torch"] / times["plain"]))
        record["figures"]["PyTorch over ours, network step"] = figure(ratio, "x", "higher", 1.3, 1.0)
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
