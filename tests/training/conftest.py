"""A problem that needs no network: linear regression by seeds, with chance in every step."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.training import Engine, Problem, Session, TrainConfig

FRAMES = 40


def init(key):
    """Weights, and a number by which a seed can be told from another."""
    return {"w": jax.random.normal(key, (3,)), "mark": jax.random.uniform(jax.random.fold_in(key, 7))}


def objective(params, batch, key, progress):
    """Square error with inputs dropped at random, so that a wrong key shows."""
    kept = jax.random.bernoulli(key, 0.8, batch["x"].shape)
    loss = ((jnp.where(kept, batch["x"], 0.0) @ params["w"] - batch["y"]) ** 2).mean()
    return loss, {"progress": progress}


def criteria(params, data):
    """The error over all frames, and another figure that ranks otherwise."""
    return {
        "objective": ((data["x"] @ params["w"] - data["y"]) ** 2).mean(),
        "heldout": (params["mark"] - 0.5) ** 2,
    }


@pytest.fixture(scope="session")
def toy():
    """The parts of the toy, and `engine(session=None, mesh=None, problem=..., **settings)`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(FRAMES, 3)).astype(np.float32)
    noise = 0.1 * rng.normal(size=FRAMES)
    data = {"x": jnp.asarray(x), "y": jnp.asarray(x @ [1.0, -2.0, 0.5] + noise, jnp.float32)}
    problem = Problem(init, objective, criteria)
    plain = {"steps": 24, "chunk": 4, "batch": 8, "warmup": 0, "learning_rate": 0.05, "schedule": "constant"}

    def engine(session=None, mesh=None, problem=problem, **settings):
        return Engine(problem, TrainConfig(**(plain | settings)), session or Session(), mesh)

    return SimpleNamespace(engine=engine, problem=problem, data=data, key=jax.random.key(3))


class Stopping(Session):
    """A session that is asked to stop, or struck by an error, once so many dispatches are recorded."""

    def __init__(self, folder, after, error=None, **options):
        super().__init__(folder, **options)
        self._left, self._error = after, error

    def record(self, *args, **kwargs):
        """Count down."""
        super().record(*args, **kwargs)
        self._left -= 1
        if self._left == 0:
            if self._error is not None:
                raise self._error
            self.stop_requested = True


@pytest.fixture(scope="session")
def stopping():
    """`stopping(folder, after, error=None, resume=False)`: a session that does not last."""
    return Stopping
