"""A toy training that uses all that the engine carries, as a program: running statistics, a frozen part, two learning
rates, an average of the parameters, numbers of the phase, and a source that streams from disk.

`python everything.py FOLDER [--resume] [--hosts ADDRESS COUNT INDEX] [--steps N]` trains in FOLDER and writes what came
of it to `FOLDER/found-INDEX.npz`. `python everything.py` alone starts such trainings on demand (`serve`).
"""

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jnrsfm.models.functional import Network
from jnrsfm.training import (
    Engine,
    Phase,
    Problem,
    Resident,
    Session,
    Streamed,
    TrainConfig,
    averaged,
    scheduled,
)

ITEMS, WIDTH = 96, 5


class Net(nnx.Module):
    """A frozen map, batch normalisation with running statistics, and a head."""

    def __init__(self, config, *, rngs: nnx.Rngs):
        self.frozen = nnx.Linear(WIDTH, 8, rngs=rngs)
        self.backbone = nnx.Linear(8, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.head = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x, train: bool):
        h = jnp.tanh(self.backbone(jnp.tanh(self.frozen(x))))
        return self.head(self.norm(h, use_running_average=not train))[..., 0]


def problem():
    """The toy as pure functions."""
    network = Network.of(Net, None)

    def objective(params, state, batch, key, hyper):
        net = network.module(params, state)
        noise = 0.01 * jax.random.normal(key, batch["y"].shape)
        error = net(batch["x"], True) - batch["y"] - noise
        loss = hyper["weight"] * jnp.mean(error**2)
        return loss, ({"mse": jnp.mean(error**2)}, network.parts(net)[1])

    def criteria(params, state, batch, hyper):
        error = network.module(params, state)(batch["x"], False) - batch["y"]
        return {"objective": (error**2, jnp.ones(len(error)))}

    return Problem(network.init, objective, criteria)


def optimizer(decay: float = 0.98):
    """Two rates, a frozen part, and the average."""
    rate = lambda peak: lambda step, steps: peak * (1 - step / steps)
    groups = {
        "slow": optax.chain(optax.scale_by_adam(), scheduled(rate(1e-3))),
        "fast": optax.chain(optax.scale_by_adam(), scheduled(rate(1e-2))),
        "frozen": optax.set_to_zero(),
    }
    names = {"frozen": "frozen", "backbone": "slow", "norm": "fast", "head": "fast"}
    label = lambda params: {k: jax.tree.map(lambda _, k=k: names[k], v) for k, v in params.items()}
    return averaged(optax.multi_transform(groups, label), decay)


def data(folder: Path) -> dict[str, np.ndarray]:
    """On disk, read through a map of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "items.npy"
    if not path.exists():
        rng = np.random.default_rng(0)
        x = rng.normal(size=(ITEMS, WIDTH)).astype(np.float32)
        beside = folder / f"items-{np.random.default_rng().integers(1 << 30)}.npy"
        np.save(beside, np.concatenate([x, np.sin(x[:, :1])], 1))
        beside.replace(path)
    return np.load(path, mmap_mode="r")


def main(argv: list[str]) -> None:
    """Train both phases."""
    p = argparse.ArgumentParser()
    p.add_argument("folder", type=Path)
    p.add_argument("--resume", action="store_true")
    p.add_argument("--hosts", nargs=3)
    p.add_argument("--steps", type=int, default=60)
    args = p.parse_args(argv)
    index = 0
    if args.hosts:
        index = int(args.hosts[2])
        jax.distributed.initialize(args.hosts[0], int(args.hosts[1]), index)
    items = data(args.folder)
    read = lambda numbers: {"x": np.array(items[numbers, :WIDTH]), "y": np.array(items[numbers, WIDTH])}
    config = TrainConfig(steps=args.steps, batch=16, chunk=5, restarts=2, checkpoint_seconds=0.0)
    engine = Engine(problem(), config, Session(args.folder, resume=args.resume), optimizer=optimizer())
    streamed = Streamed(read, ITEMS, config.batch, seed=1, block=32)
    first = engine.train(Phase("streamed", args.steps, streamed, {"weight": 1.0}), jax.random.key(0))
    resident = Resident(read(np.arange(ITEMS)), config.batch, block=32)
    last = engine.train(
        Phase("resident", args.steps // 2, resident, {"weight": 0.5}, start=first.alive), jax.random.key(1)
    )
    arrays = {f"{k}": np.asarray(v) for k, v in enumerate(jax.tree.leaves((first.alive, last.alive)))}
    objective = [c["objective"] for c in last.criteria]
    np.savez(args.folder / f"found-{index}.npz", objective=objective, restarts=last.restarts, **arrays)


def serve() -> None:
    """Each line of the standard input is an order, a JSON list: `["start", log file, environment, arguments]` is
    answered by the number of a new process, `["status", number, whether to wait]` by how it ended, null while it runs.

    The processes are forks of this one, which has imported all and computed nothing: they cost no imports.
    """
    for line in sys.stdin:
        order, *rest = json.loads(line)
        if order == "start":
            number = os.fork()
            if number == 0:
                _run(*rest)
            answer = number
        else:
            number, status = os.waitpid(rest[0], 0 if rest[1] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if number else None
        print(json.dumps(answer), flush=True)


def _run(log: str, environment: dict[str, str], arguments: list[str]) -> None:
    """The program in this process, to its end; what it prints goes to a file."""
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    code = 1
    try:
        main(arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1:])
    else:
        serve()
