"""A trained network on disk: one npz of arrays and one JSON string. Nothing is unpickled.

    class MyModel(NetworkModel):
        METHOD = "my-method"
        network_of = staticmethod(lambda config: Network.of(MyModule, MyConfig(**config)))

has `save(path)` and `load(path)`. A subclass that is a frozen dataclass with further fields that JSON holds (numbers,
strings, flat tuples, None) has them written and read too; arrays belong in `params`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.inputs.observations import Frames, Normalizer, Observations
from jnrsfm.runs import write_arrays
from jnrsfm.types import Landmarks

_Model = TypeVar("_Model", bound="NetworkModel")  # beartype refuses Self on single methods


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkModel:
    """What every trained network needs to lift frames: itself, its parameters (a pytree), and the way to and from its
    unit. `network` has a `config` (a dataclass that JSON holds, with `n_points`)."""

    METHOD: ClassVar[str]
    TAKES: ClassVar[type] = Landmarks

    network: Any
    params: Any
    normalizer: Normalizer
    names: tuple[str, ...] | None
    mirror: str

    @staticmethod
    def network_of(config: dict[str, Any]) -> Any:
        """The network of a config's fields, without arrays."""
        raise NotImplementedError

    @staticmethod
    def blank(network: Any) -> Any:
        """Parameters of the right shapes, whatever their values."""
        return network.init(jax.random.key(0))[0]

    @property
    def camera(self) -> str:
        """The camera model that it was trained for."""
        return self.normalizer.camera

    def check_points(self, landmarks: Landmarks) -> None:
        """Raises InputError where the number of points is not that of the training."""
        if landmarks.n_points != self.network.config.n_points:
            raise InputError(
                f"the model has {self.network.config.n_points} points and the landmarks {landmarks.n_points}: "
                "lift the points that it was fitted on, in the same order"
            )

    def observed(self, landmarks: Landmarks) -> tuple[Observations, Frames]:
        """The landmarks in the network's unit. Raises InputError where the number of points is another."""
        self.check_points(landmarks)
        return self.normalizer(landmarks)

    def save(self, path: Path) -> None:
        """Write parameters and settings to one npz, beside and then renamed."""
        arrays = packed(self.params)
        normalizer = _fields(self.normalizer)
        covariance = normalizer.pop("covariance")
        if covariance is not None:
            arrays["covariance"] = np.asarray(covariance)
        about = _fields(self) | {
            "method": self.METHOD,
            "network": dataclasses.asdict(self.network.config),
            "normalizer": normalizer,
        }
        del about["params"]
        write_arrays(path, {"about": np.array(json.dumps(about)), **arrays})

    @classmethod
    def load(cls: type[_Model], path: Path) -> _Model:
        """Read what `save` wrote. Raises InputError for a file that is not such a model."""
        try:
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                about = {k: _tuples(v) for k, v in json.loads(str(file["about"])).items()}
                if (method := about.pop("method")) != cls.METHOD:
                    raise ValueError(f"it is one of {method}")
                network = cls.network_of(about.pop("network"))
                normalizer = Normalizer(**about.pop("normalizer"), covariance=file.get("covariance"))
                params = unpacked(file, jax.eval_shape(lambda: cls.blank(network)))
                return cls(network=network, params=params, normalizer=normalizer, **about)
        except (
            Exception
        ) as error:  # a damaged file raises of every kind: zip, zlib, JSON, NumPy's SystemError
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise InputError(
                f"{path}: not a model of {cls.METHOD} ({reason}): fit again, or name another run"
            ) from error


def packed(params: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree by the keys that they have in a file."""
    return {_key(k): np.asarray(v) for k, v in jax.tree.leaves_with_path(params)}


def unpacked(file: Any, like: Any) -> Any:
    """What `packed` wrote, of the structure, shapes and types of `like`. KeyError for a leaf that is not there."""
    return jax.tree_util.tree_map_with_path(
        lambda k, leaf: jnp.asarray(file[_stored(file, k)], leaf.dtype).reshape(leaf.shape), like
    )


def _key(path) -> str:
    return "params" + jax.tree_util.keystr(path)


def _stored(file, path) -> str:
    """The key of a leaf; files of version 0.1 kept running statistics among the parameters."""
    key = _key(path)
    old = key.replace("['model_state']", "['nets']")
    return key if key in file or old not in file else old


def _fields(record) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}


def _tuples(value):
    """JSON has no tuples: lists come back as such, in dicts too."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
