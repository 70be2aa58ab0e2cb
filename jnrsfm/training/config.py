"""What the engine can be told. A method's own `Config` inherits these fields."""

import dataclasses
import typing
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from jnrsfm.errors import InputError
from jnrsfm.training.muon import scale_by_muon
from jnrsfm.training.optimizers import averaged, scheduled, share_done, warm_up


def _is_matrix(path, leaf) -> bool:
    """A map between features: free codes are unknowns of their own, one row for each frame."""
    return leaf.ndim > 1 and not any(getattr(key, "key", None) == "codes" for key in path)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run, whatever the method."""

    steps: int = 20_000
    """Optimiser steps of the main phase."""
    batch: int = 128
    """Frames in a step, drawn at random; 0: all of them, in order."""
    microbatch: int = 0
    """Most frames in a slice of a batch, whose gradients are added up; 0: what the cache holds (128) on CPU,
    the whole batch elsewhere."""
    update: Literal["adam", "muon"] = "adam"
    """Optimiser: Adam, or Muon for the matrices (free codes apart) and Adam for the rest."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "exponential", "constant"] = "cosine"
    """Decay: cosine to 1 % of the peak, linear to 0, exponential by 0.95 eight times a run (as published), or none."""
    warmup: int = 200
    """Steps of linear warm-up."""
    clip_norm: float = 1.0
    """Clip the gradient to this global norm; 0 for never."""
    average: float = 0.0
    """Decay of an exponential moving average of the parameters, with which a phase ends; 0: none."""
    restarts: int = 1
    """Seeds trained at once."""
    prune_at: tuple[float, ...] = ()
    """Fractions of the steps at which the worse half of the restarts is dropped."""
    select: Literal["objective", "heldout"] = "objective"
    """Label-free criterion that ranks restarts: the objective over all frames, or the reprojection error of
    observed points that training does not see."""
    chunk: int = 250
    """Steps in one dispatch to the device."""
    layout: Literal["auto", "vmap", "map"] = "auto"
    """Restarts side by side (vmap) or in turn (map) within a dispatch; auto: in turn on CPU."""
    devices: int = 0
    """Devices that share the frames of each batch; 0: all accelerators where the batch divides by their number,
    one on CPU."""
    checkpoint_seconds: float = 20.0
    """Least time between checkpoints."""

    def __post_init__(self):
        """Refuse what cannot work."""
        for name, hint in typing.get_type_hints(type(self)).items():
            if typing.get_origin(hint) is Literal and getattr(self, name) not in typing.get_args(hint):
                known = ", ".join(map(repr, typing.get_args(hint)))
                raise InputError(f"{name} is {getattr(self, name)!r}: choose from {known}")
        if self.batch < 0:
            raise InputError(f"batch is {self.batch}: a number of frames, or 0 for all of them")
        for name in ("steps", "restarts", "chunk"):
            value = getattr(self, name)
            if value is not None and value < 1:  # a method may leave the steps to a rule of its own
                raise InputError(f"{name} is {value}: it must be at least 1")
        if self.devices < 0:
            raise InputError(f"devices is {self.devices}: a number of devices, or 0 for all accelerators")
        if self.microbatch < 0:
            raise InputError(f"microbatch is {self.microbatch}: a number of frames, or 0 to choose it here")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is {self.learning_rate}: it must be above 0")
        for name in ("warmup", "clip_norm", "checkpoint_seconds"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0")
        if not 0 <= self.average < 1:
            raise InputError(f"average is {self.average}: it must be at least 0 and below 1")
        if any(not 0 < p < 1 for p in self.prune_at) or list(self.prune_at) != sorted(set(self.prune_at)):
            raise InputError(f"prune_at is {self.prune_at}: fractions between 0 and 1 in rising order")

    def mesh(self) -> jax.sharding.Mesh | None:
        """A mesh over the devices that share each batch, or None for one. Several processes share it by all their
        devices. Raises InputError for a number of devices that are not there or that the batch does not divide by."""
        there = jax.device_count()
        count = self.devices
        if jax.process_count() > 1:
            if count not in (0, there):
                raise InputError(
                    f"devices is {count}: {jax.process_count()} processes share all their {there}"
                )
            count = there
        elif count == 0:
            count = 1 if jax.default_backend() == "cpu" else there
            count = count if self.batch and self.batch % count == 0 else 1
        if count > 1 and not self.batch:
            raise InputError(f"devices is {count}: give a batch that they can share, or say 1")
        if count > there or self.batch % count:
            raise InputError(
                f"devices is {count}: there are {there}, and a batch of {self.batch} must divide by their number"
            )
        if count == 1:
            return None
        kind = (jax.sharding.AxisType.Auto,)
        return jax.make_mesh((count,), ("frame",), axis_types=kind, devices=jax.devices()[:count])

    def slices(self, backend: str, devices: int = 1, batch: int | None = None) -> int:
        """Number of equal slices of a batch: the fewest that are no longer than `microbatch`, or one where
        only slices below a quarter of that would be equal (a prime batch). Each divides by `devices`."""
        batch = self.batch if batch is None else batch
        if not batch:
            return 1
        most = self.microbatch or (128 if backend == "cpu" else batch)
        fits = [n for n in range(-(-batch // most), batch + 1) if batch % (n * devices) == 0]
        return fits[0] if fits and batch // fits[0] >= most / 4 else 1

    def optimizer(self) -> optax.GradientTransformation:
        """Adam or Muon on the clipped gradient by the schedule, with an average of the parameters if one is asked for.
        A method with groups of parameters builds its own."""
        links = [optax.clip_by_global_norm(self.clip_norm)] if self.clip_norm > 0 else []
        update = optax.scale_by_adam() if self.update == "adam" else scale_by_muon(_is_matrix)
        chain = optax.chain(*links, update, scheduled(self.rate))
        return averaged(chain, self.average) if self.average else chain

    def rate(self, step, steps):
        """Learning rate at a step of `steps`; both may be traced, so that one compiled step serves all
        phases."""
        done = share_done(step, steps, self.warmup)
        if self.schedule == "cosine":
            decay = 0.01 + 0.99 * 0.5 * (1 + jnp.cos(jnp.pi * done))
        elif self.schedule == "linear":
            decay = 1.0 - done
        elif self.schedule == "exponential":
            decay = 0.95 ** (8 * done)
        else:
            decay = jnp.ones_like(done)
        return self.learning_rate * warm_up(step, steps, self.warmup) * decay
