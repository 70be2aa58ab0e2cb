"""Where a training step of the keypoint transformer goes, and how long one photograph takes.

`python -m benchmarks.keypoint_transformer [--json FILE] [--quick]`

Four categories of 19 to 28 keypoints, patches of 64 pixels, batch 32, the default network. *together*: a step of the
last phase (patches cut and coloured, transformer, matching, lifter, gradient), in a loop on the device. Its parts, each
compiled for itself and run in the same rounds: *backbone*: forward and backward of the convolutions alone;
*transformer*: of the whole detector, less the backbone; *matching* of every decoder layer; *lifter*: forward and
backward on places at given. Lifting: one canvas to category, keypoints and 3D.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import alternate, compile_for, environment, figure, parser, report, summary
from jnrsfm.inputs import crops
from jnrsfm.inputs.category_samples import Samples as LifterSamples
from jnrsfm.losses import matched
from jnrsfm.methods.keypoint_transformer import KeypointTransformer, System, SystemConfig
from jnrsfm.methods.keypoint_transformer.model import proposed
from jnrsfm.methods.keypoint_transformer.network import Objective, Samples, Slots, lifter_input
from jnrsfm.methods.multicategory.network import Networks
from jnrsfm.methods.multicategory.objectives import Objectives
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import Backbone
from jnrsfm.training import Session

COUNTS, BATCH = (19, 22, 21, 23), 32


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    args = parser(__doc__.splitlines()[0]).parse_args(argv)
    rounds, count = (3, 2) if args.quick else (9, 5)
    config = KeypointTransformer(lifter="ours")
    points = sum(COUNTS)
    keypoints = np.zeros((len(COUNTS), points), bool)
    for c, (end, n) in enumerate(zip(np.cumsum(COUNTS), COUNTS, strict=True)):
        keypoints[c, end - n : end] = True
    slots = Slots.of(keypoints, None)
    types = slots.columns.shape[1]
    lifter_config = config.lifter_config()
    lifter = Networks.of(lifter_config.network(points, len(COUNTS), types, context=config.context))
    system = System(SystemConfig(config.network(types, len(COUNTS)), lifter.config))
    layout = jnp.asarray(slots.layout(points))
    objective = Objective(
        system.detector, lifter, config, np.asarray(layout), Objectives(lifter, lifter_config, Session()), False,
        np.tile(np.eye(3), (len(COUNTS), 1, 1)),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    side, n = crops.canvas_size(config.size), 256
    category = np.arange(n) % len(COUNTS)
    defined = slots.defined[category]
    places = rng.uniform(-0.4, 0.4, (n, types, 2)).astype(np.float32)
    f32 = lambda *shape: jnp.zeros(shape, jnp.float32)
    own = LifterSamples(
        f32(n, points, 2), f32(n, points), f32(n, points), jnp.asarray(keypoints[category], jnp.float32),
        jnp.asarray(category, jnp.int32), f32(n, points, 3), jnp.broadcast_to(jnp.eye(3), (n, 3, 3)), f32(n),
    )  # fmt: skip
    data = jax.tree.map(jnp.asarray, Samples(
        rng.integers(0, 255, (n, side, side, 3), np.uint8), places, defined, np.zeros_like(defined), defined,
        slots.swap[category], category, own,
    ))  # fmt: skip
    key = jax.random.key(0)
    nets, state = lifter.init(key)
    params = {"detector": jax.jit(lambda k: system.detector.init(k)[0])(key), "nets": nets}
    hyper = {"fixed": 0.0, "progress": 0.5}

    def looped(gradient):
        """`count` steps of plain descent."""

        def many(params, data, key):
            def body(i, p):
                which = jax.random.randint(jax.random.fold_in(key, i), (BATCH,), 0, n)
                slope = gradient(p, jax.tree.map(lambda x: x[which], data), jax.random.fold_in(key, i))
                return jax.tree.map(lambda x, g: x - 1e-4 * g, p, slope)

            return jax.lax.fori_loop(0, count, body, params)

        return many

    together = looped(jax.grad(lambda p, b, k: objective.together(p, state, b, k, hyper)[0]))
    step, compile_s = compile_for(together, params, data, key)
    plain = lambda b: crops.patches(b.canvas, crops.unmoved((BATCH,)), config.size)
    total = lambda tree: sum(jnp.mean(x**2) for x in jax.tree.leaves(tree))
    backbone = Network.of(Backbone, system.config.detector.backbone)
    trunk = backbone.init(key)[0]
    detector = looped(jax.grad(lambda p, b, k: total(system.detector.module(p, {})(plain(b)))))
    convolutions = looped(jax.grad(lambda p, b, k: total(backbone.module(p, {})(plain(b)))))
    layers = config.layers[1]
    cost = jnp.asarray(rng.normal(size=(layers, BATCH, system.config.detector.queries, types)), jnp.float32)
    logits = jnp.asarray(rng.normal(size=(BATCH, len(COUNTS))), jnp.float32)
    context = f32(BATCH, config.context)

    def lifting(p, b, k):
        given = lifter_input(b.points, logits, context, layout)
        return total(lifter.lift(p, state, given.points, given.weights, "frozen", given.context)[0])

    functions = {
        "together": step,
        "detector": compile_for(detector, params["detector"], data, key)[0],
        "backbone": compile_for(convolutions, trunk, data, key)[0],
        "matching": compile_for(lambda c: matched(c), cost)[0],
        "lifter": compile_for(looped(jax.grad(lifting)), nets, data, key)[0],
    }

    def photograph(params, canvas):
        _, _, context, found = proposed(
            system.detector, config.size, params["detector"], canvas, jax.tree.map(jnp.asarray, slots), True
        )
        given = lifter_input(found.place, logits[:1], context, layout)
        return lifter.lift(params["nets"], state, given.points, given.weights, "frozen", given.context)[0]

    functions["photograph"] = compile_for(photograph, params, data.canvas[:1])[0]
    times = alternate(functions, rounds)
    per = {
        name: np.median(t) / (1 if name in ("matching", "photograph") else count) for name, t in times.items()
    }
    share = float(per["matching"] / per["together"])
    record = {
        "benchmark": "keypoint_transformer", **environment(), "rounds": rounds, "steps_per_call": count,
        "compile_s": compile_s,
        "times": {n: summary(t, 1 if n in ("matching", "photograph") else count) for n, t in times.items()},
        "figures": {
            "step of both": figure(1e3 * float(per["together"]), "ms", "lower"),
            "backbone, share of a step": figure(float(per["backbone"] / per["together"]), "", "lower", 2.0),
            "transformer, share of a step": figure(
                float((per["detector"] - per["backbone"]) / per["together"]), "", "lower", 2.0
            ),
            "matching, share of a step": figure(share, "", "lower", 2.0, 0.05),
            "lifter, share of a step": figure(float(per["lifter"] / per["together"]), "", "lower", 2.0),
            "one photograph": figure(1e3 * float(per["photograph"]), "ms", "lower"),
            "compilation": figure(compile_s, "s", "lower", 2.0),
        },
    }  # fmt: skip
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
