"""The residual lifter of C3DPO: training step and lifting against the machine's matrix products and PyTorch.

`python -m benchmarks.lifter [--json FILE] [--quick]`

`c3dpo-base` at its published size (1024 units, six blocks, batch normalisation; 115 keypoints, batch 256, two passes of
the network a step) with all that a step of the engine does, and the same step in eager PyTorch from the same weights:
batches gathered at random, turned in the plane, clipped, Adam. Lifting is the forward pass to camera-frame shapes with
kept statistics, in blocks of 1024 for throughput and of one sample for latency; the method's default does more, it
takes the posterior of each image under its category's distribution (both reflections, four steps), and is timed beside
it. The operations counted are those of the matrix products (backward: two each).
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import alternate, environment, figure, matrix_product, parser, report, summary
from jnrsfm.inputs.category_samples import Samples, centred
from jnrsfm.methods.multicategory import MultiCategory
from jnrsfm.methods.multicategory.network import Networks, _lift
from jnrsfm.methods.multicategory.objectives import Objectives
from jnrsfm.training import Resident, Session, TrainState, stacked

POINTS, SAMPLES, BATCH, BLOCK = 115, 4096, 256, 1024


def scene() -> Samples:
    """Samples of five blocks of keypoints, a tenth hidden: random numbers of the right shapes and sizes."""
    rng = np.random.default_rng(0)
    category = rng.integers(5, size=SAMPLES)
    defined = np.arange(POINTS) // (POINTS // 5) == category[:, None]
    weights = (defined & (rng.random((SAMPLES, POINTS)) > 0.1)).astype(np.float32)
    points = jnp.asarray(rng.normal(size=(SAMPLES, POINTS, 2)), jnp.float32)
    return Samples(
        centred(points, jnp.asarray(weights)), jnp.asarray(weights), jnp.zeros((SAMPLES, POINTS)),
        jnp.asarray(defined, jnp.float32), jnp.asarray(category, jnp.int32), jnp.zeros((SAMPLES, POINTS, 3)),
        jnp.broadcast_to(jnp.eye(3), (SAMPLES, 3, 3)), jnp.zeros(SAMPLES),
    )  # fmt: skip


def product_flops(config) -> float:
    """Operations of the matrix products of one forward pass of one sample."""
    wide, inner = config.width, config.inner
    block = 2 * wide * inner + inner * inner
    return 2.0 * (
        3 * config.n_points * wide + config.blocks * block + wide * (3 + config.basis)
        + config.basis * 3 * config.n_points
    )  # fmt: skip


def camera_frame(network, nets, statistics, points, weights):
    """Camera-frame shapes, the network frozen."""
    out, _ = network.lift(nets, statistics, points, weights)
    return jnp.einsum("npj,nij->npi", out.shape, out.rotation)


def torch_functions(nets, statistics, data: Samples, config: MultiCategory, count: int):
    """`(train, lift, loss, about)` in PyTorch from the same parameters, or None where it is absent."""
    try:
        import torch
    except ImportError:
        return None
    tensor = lambda x: torch.tensor(np.array(x), requires_grad=True)
    params = jax.tree.map(tensor, nets["lifter"], is_leaf=lambda x: hasattr(x, "shape"))
    kept = jax.tree.map(lambda x: torch.tensor(np.array(x)), statistics["lifter"])
    points, weights, defined = (torch.tensor(np.array(x)) for x in (data.points, data.weights, data.defined))
    normal = torch.nn.functional.batch_norm

    def dense(layer, x):
        return torch.addmm(layer["bias"], x, layer["kernel"])

    def norm(layer, of, x, training):
        if training:
            return normal(x, None, None, layer["scale"], layer["shift"], training=True)
        return normal(x, of["mean"], of["variance"], layer["scale"], layer["shift"])

    def lift(x, seen, training):
        trunk, known = params["trunk"], kept["trunk"]
        h = torch.cat([x.reshape(len(x), -1), seen], 1)
        h = torch.relu(norm(trunk["norm"], known["norm"], dense(trunk["stem"], h), training))
        for b in range(config.blocks):
            block, y = trunk["blocks"][b], h
            for i in range(3):
                y = norm(
                    block["norms"][i], known["blocks"][b]["norms"][i], dense(block["layers"][i], y), training
                )
                y = torch.relu(y if i < 2 else h + y)
            h = y
        omega = dense(params["pose"], h)
        x, y, z = omega.unbind(1)
        o = torch.zeros_like(x)
        cross = torch.stack([o, -z, y, z, o, -x, -y, x, o], 1).reshape(-1, 3, 3)
        angle = torch.sqrt((omega**2).sum(1) + 1e-12)[:, None, None]
        rotation = torch.eye(3) + torch.sin(angle) / angle * cross
        rotation = rotation + (1 - torch.cos(angle)) / angle**2 * (cross @ cross)
        shape = (dense(params["coefficients"], h) @ params["basis"]).reshape(len(h), -1, 3)
        return shape, rotation

    def loss(x, seen, known, turns):
        one, two = (x @ t.mT for t in turns)
        rotation = lift(one, seen, True)[1]
        shape = lift(two, seen, True)[0] * known[..., None]
        gap = one - shape @ rotation[:, :2].mT
        mean = (seen[..., None] * gap).sum(1, keepdim=True) / seen.sum(1)[:, None, None]
        square = ((gap - mean) ** 2).sum(-1)
        return (seen * 0.01 * (torch.sqrt(1 + square / 1e-4) - 1)).sum() / seen.sum()

    leaves = jax.tree.leaves(params)
    optimizer = torch.optim.Adam(leaves, lr=config.learning_rate, fused=True)

    def turn():
        angle = config.in_plane * (2 * torch.rand(BATCH) - 1)
        c, s = torch.cos(angle), torch.sin(angle)
        return torch.stack([c, -s, s, c], 1).reshape(-1, 2, 2)

    def train():
        for _ in range(count):
            rows = torch.randint(SAMPLES, (BATCH,))
            optimizer.zero_grad()
            loss(points[rows], weights[rows], defined[rows], (turn(), turn())).backward()
            torch.nn.utils.clip_grad_norm_(leaves, config.clip_norm)
            optimizer.step()

    def lifting(size):
        with torch.no_grad():
            shape, rotation = lift(points[:size], weights[:size], False)
            return shape @ rotation.mT

    with torch.no_grad():
        same = torch.eye(2).expand(BATCH, 2, 2)
        value = float(loss(points[:BATCH], weights[:BATCH], defined[:BATCH], (same, same)))
    about = {"version": torch.__version__, "threads": torch.get_num_threads(), "loss": value}
    return train, lifting, value, about


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    args = parser(__doc__.splitlines()[0]).parse_args(argv)
    count, rounds = (2, 3) if args.quick else (5, 9)
    config = MultiCategory(variant="c3dpo-base", batch=BATCH, microbatch=BATCH)
    network = Networks.of(config.network(POINTS, 5, POINTS // 5))
    data = scene()
    objectives = Objectives(network, config, Session())
    engine = objectives.engine(False)
    nets, statistics = network.init(jax.random.key(0))
    statistics = objectives.measured(nets, statistics, data)
    source = Resident(data, BATCH)
    lift = jax.jit(lambda n, x, w: camera_frame(network, n, statistics, x, w))
    params, done = stacked((nets, statistics)), 0
    state = TrainState(*params, jax.vmap(engine.optimizer.init)(params[0]), jnp.zeros(1, jnp.int32))

    def train_ours():
        nonlocal state, done  # a step gives up the state that it takes
        state, sums = engine.dispatch(
            state, jnp.arange(1), source, data, jax.random.key(0), done, count, 1_000_000
        )
        done += count
        return sums

    block, one = ((data.points[:n], data.weights[:n]) for n in (BLOCK, 1))
    product, flops = matrix_product(2048)
    cases = {
        "product": product,
        "train": train_ours,
        "lift a block": lambda: lift(nets, *block),
        "lift one": lambda: lift(nets, *one),
    }
    default = Networks.of(MultiCategory().network(POINTS, 5, POINTS // 5))
    model = default.blank()
    model["points"] = jnp.zeros((5, POINTS)).at[data.category].max(data.defined)
    samples = jax.tree.map(lambda x: x[:BLOCK], data)
    cases["lift a block with the prior"] = lambda: _lift(default, model, samples, None, 1.0).shape
    about = None
    theirs = torch_functions(nets, statistics, data, config, count)
    if theirs is not None:
        train, lifting, value, about = theirs
        still = Objectives(network, MultiCategory(variant="c3dpo-base", in_plane=0.0), Session())
        batch = jax.tree.map(lambda x: x[:BATCH], data)
        ours = float(still.objective(nets, statistics, batch, jax.random.key(0), {}, cycle=False)[0])
        shapes = np.asarray(lift(nets, *block)), lifting(BLOCK).numpy()
        if (
            abs(ours - value) > 1e-3 * ours
            or np.abs(shapes[0] - shapes[1]).max() > 1e-3 * np.abs(shapes[0]).max()
        ):
            raise AssertionError(f"not the same network: loss {ours} here and {value} in PyTorch")
        about["our_loss"] = ours
        cases |= {
            "PyTorch trains": train,
            "PyTorch lifts a block": lambda: lifting(BLOCK),
            "PyTorch lifts one": lambda: lifting(1),
        }
    times = alternate(cases, rounds)
    median = {name: float(np.median(t)) for name, t in times.items()}
    rate = flops / times["product"]
    forward = product_flops(network.config.lifter)
    figures = {
        "training": figure(count * BATCH / median["train"], "samples/s", "higher"),
        "training, fraction of the product rate": figure(
            np.median(6 * forward * BATCH * count / times["train"] / rate), "", "higher", 1.3
        ),
        "lifting": figure(BLOCK / median["lift a block"], "samples/s", "higher"),
        "lifting, fraction of the product rate": figure(
            np.median(forward * BLOCK / times["lift a block"] / rate), "", "higher", 1.3
        ),
        "lifting 1e6 samples at that rate": figure(1e6 * median["lift a block"] / BLOCK, "s", "lower"),
        "lifting with the default's prior": figure(
            BLOCK / median["lift a block with the prior"], "samples/s", "higher"
        ),
        "lifting one sample": figure(1e3 * median["lift one"], "ms", "lower"),
    }
    for name, mine, other in (
        ("PyTorch's eager training step over ours", "train", "PyTorch trains"),
        ("PyTorch's lifting of a block over ours", "lift a block", "PyTorch lifts a block"),
        ("PyTorch's lifting of one sample over ours", "lift one", "PyTorch lifts one"),
    ):
        if other in times:
            figures[name] = figure(np.median(times[other] / times[mine]), "x", "higher", 1.3)
    record = {
        "benchmark": "lifter", **environment(), "points": POINTS, "batch": BATCH, "block": BLOCK,
        "parameters": sum(x.size for x in jax.tree.leaves(nets)), "torch": about,
        "times": {name: summary(t, count if "train" in name else 1) for name, t in times.items()}, "figures": figures,
    }  # fmt: skip
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
