r"""Procrustean regression through an image network: photographs in, shapes of low rank once they are aligned.

The network of the student (`methods.student`) gives the shapes of a group of images; their cost is that of `prn`,

    J = mean_f 1/2 mean_p |xy_fp - u_fp|^2 + weight * g(align(X_1 ... X_L) / sqrt(L P)),

with u the labels and g the log-determinant of the deviations from the mean shape, or the nuclear norm. No camera is
estimated and no depth is given, but for a start: the depths of a solver, whose anchor weight falls, as in `prn`.

Shapes are compared in the coordinates of the photographs, not of the augmented patches: so every image of a group may
be turned, scaled and flipped in its own way. (One augmentation for a whole group would be needed where the outputs were
compared as they come, and flips would mirror shapes.)

Source: Park, Lee, Kwak, Procrustean Regression Networks, ECCV 2020, and its supplement (PRN-CNN).
"""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from jnrsfm.errors import InputError
from jnrsfm.methods import prn
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.methods.student import StudentModel, fit_network
from jnrsfm.methods.student.network import Objective, Samples
from jnrsfm.methods.student.settings import Student
from jnrsfm.training import Session
from jnrsfm.types import LabelledImages


@dataclasses.dataclass(frozen=True)
class PrnImages(Student):
    """Settings of Procrustean regression through an image network; the images of a batch are one group."""

    distill: Literal["depths"] = "depths"  # type: ignore[assignment]
    """The teacher gives depths to start from, and no more."""
    batch: int = 48
    """Images of a group, aligned with each other."""
    cost: Literal["log-determinant", "nuclear"] = "log-determinant"
    """Low-rank cost of the aligned shapes."""
    weight: float = 0.03
    """Weight of the low-rank cost against the squared reprojection error."""
    epsilon: float = 0.02
    """Singular values below this share of the object's size are taken for noise."""
    epsilon_start: float = 0.05
    """`epsilon` at the beginning; it falls to its end at two thirds of the training."""
    start_share: float = 0.3
    """Share of the training during which the anchor weight of the teacher's depths falls to its floor."""
    anchor_floor: float = 0.1
    """Anchor weight that stays to the end."""

    def __post_init__(self):
        """Raise InputError if a setting cannot work."""
        super().__post_init__()
        if self.batch < 3:
            raise InputError(f"batch is {self.batch}: give at least 3 images to align")
        if not 0 < self.epsilon <= self.epsilon_start or self.weight < 0 or not 0 <= self.anchor_floor <= 1:
            raise InputError(
                f"epsilon is {self.epsilon}, epsilon_start {self.epsilon_start}, weight {self.weight}, anchor_floor "
                f"{self.anchor_floor}: give 0 < epsilon <= epsilon_start, weight >= 0, a floor between 0 and 1"
            )


class _Objective(Objective):
    """The student's objective with the Procrustean cost in place of the depth targets."""

    config: Any

    def start_weight(self, hyper):
        """As the anchor."""
        c = self.config
        fade = jnp.clip(1 - hyper["progress"] / c.start_share, 0, 1) if c.start_share else 0.0
        return jnp.maximum(fade, c.anchor_floor)

    def depth_loss(self, shapes, batch: Samples, hyper):
        """The cost of the group, and the anchor of its start."""
        c, progress = self.config, hyper["progress"]
        done = jnp.clip(1.5 * progress, 0, 1)
        epsilon = c.epsilon * (c.epsilon_start / c.epsilon) ** (1 - done)
        present = (batch.confidence > 0).astype(shapes.dtype)
        loss, metrics = prn.procrustean_cost(
            shapes[None], batch.centred[None], batch.weights[None], present[None], c, epsilon
        )
        gap = shapes[..., 2] - shapes[..., 2].mean(-1, keepdims=True) - batch.depth
        away = jnp.sum(present * jnp.sqrt(jnp.mean(gap**2, -1) + 1e-6)) / jnp.maximum(present.sum(), 1e-6)
        return loss + self.start_weight(hyper) * batch.unit.mean() * away, metrics | {"from_start": away}


class PrnImagesModel(StudentModel):
    """A trained network: lifts photographs that it has not seen."""

    METHOD = "prn-images"


def fit(images: LabelledImages, camera: str, config: PrnImages, seed: int, session: Session) -> Fitted:
    """Train on labelled images: the module docstring. Raises InputError where too few are labelled."""
    return fit_network(images, camera, config, seed, session, _Objective, PrnImagesModel)


INFO = MethodInfo(
    name=PrnImagesModel.METHOD,
    kind="learned",
    summary="image network trained through the Procrustes alignment of its own shapes; photographs with 2D labels in",
    cameras=("orthographic", "weak-perspective", "perspective"),
    missing=True,
    needs_order=False,
    unseen=True,
    source="Park, Lee, Kwak 2020 (PRN-CNN)",
    cites=("park2020prn", "sun2018integral"),
    state="experimental",
    config=PrnImages,
    fit=fit,
    load=PrnImagesModel.load,
    takes=LabelledImages,
)
