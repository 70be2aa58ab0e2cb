"""The networks of the multi-category lifter as pure functions, and the lifting of samples by them."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.inputs.category_samples import Samples
from jnrsfm.models.functional import Network
from jnrsfm.models.lifter import Canonizer, Lifter, LifterConfig, Mode
from jnrsfm.shape_prior import category_prior

BLOCK = 1024  # samples at a time, outside training


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """A lifter for categories of at most `members` keypoints: with a canonicalisation network or without, with so many
    modes of a Procrustean prior (0: none), whose likelihood improves the rotation in `polish` steps; for images of a
    near camera (`perspective`) or not."""

    n_points: int
    n_categories: int
    members: int
    lifter: LifterConfig
    canonical: bool
    modes: int
    polish: int
    perspective: bool = False


class Networks(NamedTuple):
    """The lifter and, where there is one, the canonicalisation network."""

    config: NetworkConfig
    lifter: Network
    canonizer: Network | None

    @classmethod
    def of(cls, config: NetworkConfig) -> "Networks":
        """Their structure, without arrays."""
        canonizer = Network.of(Canonizer, config.lifter) if config.canonical else None
        return cls(config, Network.of(Lifter, config.lifter), canonizer)

    def init(self, key) -> tuple[dict[str, Any], dict[str, Any]]:
        """Fresh parameters and model state, by the name of the network."""
        kinds = {"lifter": self.lifter} | ({"canonizer": self.canonizer} if self.canonizer else {})
        keys = jax.random.split(key, 2)
        both = {name: kind.init(k) for k, (name, kind) in zip(keys, kinds.items(), strict=False)}
        return {n: p for n, (p, _) in both.items()}, {n: s for n, (_, s) in both.items()}

    def blank(self) -> dict[str, Any]:
        """What a model is saved as: the parameters and statistics; which points a category has, and its size; its
        prior."""
        n, p = self.config.n_categories, self.config.n_points
        nets, state = self.init(jax.random.key(0))
        model = {"nets": nets, "model_state": state, "points": jnp.zeros((n, p)), "size": jnp.ones(n)}
        if self.config.modes:
            model["prior"] = category_prior.empty(n, p, self.config.modes)._asdict()
        return model

    def lift(self, nets, state, points, seen, mode: Mode = "frozen", context=None):
        """`(Lifted, state)`: shape, rotation and code of samples; with `mode` "measure" the statistics of these."""
        module = self.lifter.module(nets["lifter"], state["lifter"])
        out = module(points, seen, mode, context)
        return out, state | {"lifter": self.lifter.parts(module)[1]} if mode == "measure" else state

    def canonical(self, nets, state, shape, mode: Mode):
        """The shape that the canonicalisation network sees in a turned one."""
        assert self.canonizer is not None
        code = self.canonizer.module(nets["canonizer"], state["canonizer"])(shape, mode)
        return self.lifter.module(nets["lifter"], state["lifter"]).shape(code)


class Found(NamedTuple):
    """Shapes, rotations, and of a prior's posterior the spread of the points and the margin of the reflection."""

    shape: Any
    rotation: Any
    spread: Any
    margin: Any


@partial(jax.jit, static_argnums=0)
def _lift(network: Networks, model, samples: Samples, context, precision) -> Found:
    out, _ = network.lift(
        model["nets"], model["model_state"], samples.points, samples.weights, context=context
    )
    if out.shape is not None:
        return Found(out.shape, out.rotation, None, None)
    # only the keypoints of a sample's own category, padded to the largest one's count
    columns = jnp.argsort(model["points"] <= 0, axis=1, stable=True)[:, : network.config.members]
    prior = category_prior.Prior(**model["prior"])
    each = jax.vmap(lambda x, c: x[c])
    prior = prior._replace(mean=each(prior.mean, columns), basis=each(prior.basis, columns))
    own = columns[samples.category]
    posterior = category_prior.posterior(
        prior, each(samples.points, own), each(samples.weights * samples.defined * precision, own),
        samples.category, out.rotation, network.config.polish,
        samples.nearness if network.config.perspective else None,
    )  # fmt: skip
    back = jax.vmap(lambda x, c, like: jnp.zeros_like(like).at[c].set(x))
    return Found(
        back(posterior.shape, own, samples.shape), posterior.rotation,
        back(posterior.spread, own, samples.weights), posterior.margin,
    )  # fmt: skip


def lifted(network: Networks, model, samples: Samples, context=None, precision=None) -> Found:
    """On the host, a block at a time; samples are padded, so that few sizes are compiled. `context (frame, number)` of
    their images; `precision (frame, point)` in [0, 1]: how much of a point's weight a prior's posterior gives it."""
    n = len(samples.points)
    size = min(BLOCK, 1 << (n - 1).bit_length())
    count = -(-n // size)
    precision = jnp.ones_like(samples.weights) if precision is None else jnp.asarray(precision)
    pad = lambda x: jnp.concatenate([x, jnp.zeros((count * size - n, *x.shape[1:]), x.dtype)])
    split = lambda x: pad(x).reshape(count, size, *x.shape[1:])
    blocks = jax.tree.map(split, (samples, context, precision))
    found = [
        jax.tree.map(np.asarray, _lift(network, model, *jax.tree.map(lambda x, i=i: x[i], blocks)))
        for i in range(count)
    ]
    return jax.tree.map(lambda *x: np.concatenate(x)[:n], *found)
