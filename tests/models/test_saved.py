"""A trained network on disk: what a method beyond those of the registry gets by naming its network."""

import dataclasses
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.inputs.observations import Normalizer
from jnrsfm.models.saved import NetworkModel
from jnrsfm.types import Landmarks

pytestmark = pytest.mark.fast


@dataclasses.dataclass(frozen=True)
class Config:
    n_points: int
    sizes: tuple[int, ...]


class Network(NamedTuple):
    config: Config

    def init(self, key):
        params = {"layers": [jnp.zeros(n) for n in self.config.sizes], "bias": jax.random.normal(key, (2,))}
        return params, {}


@dataclasses.dataclass(frozen=True, eq=False)
class Mine(NetworkModel):
    METHOD = "mine"
    categories: tuple[str, ...] | None = None

    @staticmethod
    def network_of(config):
        return Network(Config(**config))


def mine(**changes):
    network = Network(Config(4, (3, 5)))
    normalizer = Normalizer("orthographic", "rms", 2.5, np.eye(4, dtype=np.float32))
    fields = {"params": network.init(jax.random.key(1))[0], "names": None, "mirror": "set"} | changes
    return Mine(network=network, normalizer=normalizer, **fields)


def test_everything_comes_back(tmp_path):
    model = mine(names=("a", "b", "c", "d"), categories=("cat", "dog"))
    model.save(tmp_path / "model.npz")
    again = Mine.load(tmp_path / "model.npz")
    assert again.network == model.network
    assert (again.names, again.mirror, again.categories) == (model.names, "set", model.categories)
    assert (again.camera, again.normalizer.measure, again.normalizer.scale) == ("orthographic", "rms", 2.5)
    np.testing.assert_array_equal(again.normalizer.covariance, np.eye(4))
    assert jax.tree.structure(again.params) == jax.tree.structure(model.params)
    np.testing.assert_array_equal(again.params["bias"], model.params["bias"])


def test_a_save_that_fails_leaves_the_file_before_it(tmp_path):
    path = tmp_path / "model.npz"
    mine().save(path)
    with pytest.raises(TypeError):  # no JSON of an array
        mine(names=np.zeros(3)).save(path)
    assert Mine.load(path).mirror == "set"


def test_another_methods_model_and_an_unknown_field_are_refused(tmp_path):
    path = tmp_path / "model.npz"
    mine().save(path)

    class Other(Mine):
        METHOD = "other"

    with pytest.raises(InputError, match=r"model.npz: not a model of other \(it is one of mine\)"):
        Other.load(path)
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays.pop("about"))) | {"colour": 1}
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    with pytest.raises(InputError, match="colour"):
        Mine.load(path)


def test_other_points_are_refused():
    landmarks = Landmarks(points2d=np.zeros((2, 3, 2), np.float32), visible=np.ones((2, 3), bool))
    with pytest.raises(InputError, match="4 points and the landmarks 3"):
        mine().observed(landmarks)
