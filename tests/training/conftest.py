"""A problem that needs no network: linear regression by seeds, with chance in every step."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.training import Engine, Phase, Problem, Resident, Session, TrainConfig

FRAMES = 40


def init(key):
    """Weights, and a number by which a seed can be told from another."""
    return {"w": jax.random.normal(key, (3,)), "mark": jax.random.uniform(jax.random.fold_in(key, 7))}, {}


def objective(params, model_state, batch, key, hyper):
    """Square error with inputs dropped at random, so that a wrong key shows."""
    kept = jax.random.bernoulli(key, 0.8, batch["x"].shape)
    loss = ((jnp.where(kept, batch["x"], 0.0) @ params["w"] - batch["y"]) ** 2).mean()
    return loss, ({"progress": hyper["progress"]}, model_state)


def criteria(params, model_state, batch, hyper):
    """The error of the frames, and another figure that ranks otherwise."""
    ones = jnp.ones(len(batch["y"]))
    return {
        "objective": ((batch["x"] @ params["w"] - batch["y"]) ** 2, ones),
        "heldout": ((params["mark"] - 0.5) ** 2 * ones, ones),
    }


def over_all(criteria, params, data):
    """Criteria of the whole set, in one piece."""
    return {k: float(t.sum() / w.sum()) for k, (t, w) in criteria(params, {}, data, {}).items()}


@pytest.fixture(scope="session")
def toy():
    """The parts of the toy; `engine(session=None, mesh=None, problem=..., **settings)`; `train(engine, key=...,
    name=..., steps=None, start=None, data=...)` of a phase; `criteria(params)` over all frames."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(FRAMES, 3)).astype(np.float32)
    noise = 0.1 * rng.normal(size=FRAMES)
    data = {"x": jnp.asarray(x), "y": jnp.asarray(x @ [1.0, -2.0, 0.5] + noise, jnp.float32)}
    problem = Problem(init, objective, criteria)
    plain = {"steps": 24, "chunk": 4, "batch": 8, "warmup": 0, "learning_rate": 0.05, "schedule": "constant"}

    def engine(session=None, mesh=None, problem=problem, **settings):
        return Engine(problem, TrainConfig(**(plain | settings)), session or Session(), mesh)

    first = jax.random.key(3)

    def train(engine, key=first, name="train", steps=None, start=None, data=data):
        source = Resident(data, engine.config.batch)
        return engine.train(Phase(name, steps or engine.config.steps, source, start=start), key)

    judged = lambda params: over_all(criteria, params, data)
    return SimpleNamespace(engine=engine, problem=problem, data=data, key=first, train=train, criteria=judged)
