"""A training step of PAUL against the machine's matrix products and PyTorch; cost against points; seeds side by side.

`python -m benchmarks.paul_step [--json FILE] [--quick]`

Free codes, all frames in a step, everything that a step of the engine does. The operations counted are those of the
autoencoder's matrix products, forward and backward (three each); cameras, norms and Adam come on top. The machine's
rate is that of a square float32 product in the same process, in every round between the steps. PyTorch runs the same
step, eagerly, from the same parameters with the paper's lower level (linear; as ours does in that comparison).
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import alternate, environment, figure, matrix_product, parser, report, summary
from jnrsfm import Landmarks
from jnrsfm.methods import paul
from jnrsfm.methods.paul.network import forward
from jnrsfm.training import Resident, Session, TrainState


def scene(frames: int, points: int) -> Landmarks:
    """Orthographic views of a bending shape by random cameras."""
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(4, points, 3))
    shape = basis[0] + 0.3 * np.einsum("fk,kpi->fpi", rng.normal(size=(frames, 3)), basis[1:])
    turn = np.linalg.qr(rng.normal(size=(frames, 3, 3)))[0]
    image = np.einsum("fpj,fij->fpi", shape, turn)[..., :2].astype(np.float32)
    return Landmarks(points2d=image, visible=np.ones((frames, points), bool))


class Steps:
    """The engine's step on a scene, `count` at a time."""

    def __init__(
        self, frames: int, points: int, count: int, solver: str, restarts: int = 1, layout: str = "auto"
    ):
        config = paul.Paul(solver=solver, restarts=restarts, layout=layout, starts=("random",)).resolved(
            frames
        )
        landmarks = scene(frames, points)
        self.fit = paul._Fit(landmarks, "orthographic", config, 0, Session())
        self.data = self.fit.batch(self.fit.seen)
        self.source = Resident(self.data, 0)
        self.params, model_state = self.fit.initial(jax.random.key(0), None)
        opt = jax.vmap(self.fit.engine.optimizer.init)(self.params)
        self.state = TrainState(self.params, model_state, opt, jnp.zeros(restarts, jnp.int32))
        # the first step gives up the state that it takes
        self.params = jax.tree.map(jnp.array, self.params)
        self.numbers, self.count, self.done = jnp.arange(restarts), count, 0

    def __call__(self):
        """Run, from where the call before has left off."""
        hyper = {"free": 0.0, "anchor_weight": 0.0, "anchor_floor": 0.0}
        rest = (self.source, self.data, jax.random.key(0), self.done, self.count, 1_000_000, hyper)
        self.state, sums = self.fit.engine.dispatch(self.state, self.numbers, *rest)
        self.done += self.count
        return sums


def product_flops(frames: int, points: int, config: paul.Paul) -> float:
    """Operations of the autoencoder's products in a step: decoder twice, encoder once, forward and two backward."""
    sizes = (3 * points, *config.sizes, config.bottleneck)
    return 3 * 3 * 2.0 * frames * sum(m * n for m, n in itertools.pairwise(sizes))


def torch_steps(steps: Steps, count: int):
    """The same step in PyTorch, or None where it is absent; and our loss beside theirs."""
    try:
        import torch
    except ImportError:
        return None, {}
    tensor = lambda x: torch.tensor(np.array(x[0]), requires_grad=True)
    params = jax.tree.map(tensor, steps.params)
    leaves = jax.tree.leaves(params)
    seen = steps.data.seen
    w = torch.tensor(np.array(seen.points - seen.points.mean(1, keepdims=True)))
    config = steps.fit.config
    optimizer = torch.optim.Adam(leaves, lr=config.learning_rate)

    def net(layers, x):
        for i in range(len(layers)):
            x = x @ layers[i]["kernel"] + layers[i]["bias"]
            x = torch.nn.functional.gelu(x, approximate="tanh") if i < len(layers) - 1 else x
        return x

    def decode(code):
        shape = net(params["decoder"]["layers"], code).reshape(len(code), -1, 3)
        return shape - shape.mean(1, keepdim=True)

    def loss():
        code = params["codes"]
        first = decode(code)
        second = decode(net(params["encoder"]["layers"], first.reshape(len(code), -1)))
        stacked = torch.cat([first, second], 1)
        gram = torch.einsum("fpi,fpj->fij", stacked, stacked)
        gram = gram + 1e-6 * torch.eye(3)
        cross = torch.einsum("fpi,fpj->fij", torch.cat([w, w], 1), stacked)
        u, _, vt = torch.linalg.svd(torch.linalg.solve(gram, cross.mT).mT, full_matrices=False)
        rows = u @ vt
        rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
        one, two = (torch.einsum("fpj,fij->fpi", s, rotation) for s in (first, second))
        z = 0.5 * (one[..., 2:] + two[..., 2:])
        x = torch.cat([w, z], -1)
        norm = lambda s: torch.sqrt(((s - x) ** 2).sum(-1).mean(-1) + 1e-12)
        decay = sum((layer["kernel"] ** 2).sum() for layer in params["decoder"]["layers"].values())
        value = (norm(one) + norm(two)).mean() + config.code_weight * (code**2).sum(-1).mean()
        return value + config.decay * decay

    def run():
        for _ in range(count):
            optimizer.zero_grad()
            loss().backward()
            torch.nn.utils.clip_grad_norm_(leaves, config.clip_norm)
            optimizer.step()

    with torch.no_grad():
        theirs = float(loss())
    one = jax.tree.map(lambda x: x[0], steps.params)
    data = steps.data
    terms = forward(steps.fit.network, steps.fit.rule, one, data, 1.0)
    ours = float(steps.fit.cost(one, terms, data)[0])
    if abs(ours - theirs) > 1e-3 * abs(ours):
        raise AssertionError(f"not the same objective: {ours} here and {theirs} in PyTorch")
    return run, {"version": torch.__version__, "loss": theirs, "our_loss": ours}


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    args = parser(__doc__.splitlines()[0]).parse_args(argv)
    frames, points, count = 300, 41, 4 if args.quick else 20
    rounds = 5 if args.quick else 15
    exact, linear = (Steps(frames, points, count, solver) for solver in ("exact", "linear"))
    product, flops = matrix_product(2048)
    theirs, about = torch_steps(linear, count)
    cases = {"product": product, "exact": exact, "linear": linear}
    if theirs is not None:
        cases["torch"] = theirs
    times = alternate(cases, rounds)
    step_flops = product_flops(frames, points, exact.fit.config)
    fraction = (step_flops * count / times["exact"]) / (flops / times["product"])
    figures = {
        "fraction of the product rate": figure(np.median(fraction), "", "higher", 1.3),
        "step, exact lower level": figure(1e3 * np.median(times["exact"]) / count, "ms", "lower"),
        "exact over linear lower level": figure(
            np.median(times["exact"] / times["linear"]), "x", "lower", 1.3
        ),
    }
    if theirs is not None:
        ratio = float(np.median(times["torch"] / times["linear"]))
        figures["PyTorch's eager step over ours, linear"] = figure(ratio, "x", "higher", 1.3)

    sizes = (41, 400, 4000) if args.quick else (41, 500, 5000, 50_000)
    by_points = {}
    for p in sizes:
        # so many points leave no room for a twin of Adam's state: few frames, as a batch of a dense set has
        step = Steps(32, p, 2, "exact")
        by_points[str(p)] = summary(alternate({"step": step}, 3)["step"], 2)
        by_points[str(p)]["megabytes"] = 4e-6 * sum(x.size for x in jax.tree.leaves(step.state))
        del step
    big, small = str(sizes[-1]), str(sizes[-2])
    growth = by_points[big]["median_s"] / by_points[small]["median_s"]
    figures[f"time of {big} over {small} points, 32 frames"] = figure(
        growth, "x", "lower", 1.5, 1.3 * sizes[-1] / sizes[-2]
    )
    figures[f"parameters and Adam's state, {big} points"] = figure(by_points[big]["megabytes"], "MB", "lower")

    seeds = 4 if args.quick else 10
    turn, side = (Steps(frames, points, count, "exact", seeds, layout) for layout in ("map", "vmap"))
    many = alternate({"turn": turn, "side": side}, 3)
    figures[f"{seeds} seeds in turn over side by side (vmap)"] = figure(
        np.median(many["turn"] / many["side"]), "x", "higher"
    )
    record = {
        "benchmark": "paul_step", **environment(), "frames": frames, "points": points, "torch": about,
        "times": {name: summary(t, count) for name, t in times.items()}, "by_points": by_points, "figures": figures,
    }  # fmt: skip
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
