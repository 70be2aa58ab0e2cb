"""The phases that landmark methods share: hold out, fill, search, scale, resolve the reflection, final.

A method subclasses `Recipe` with what is its own (the network, the objective, what a batch is) and writes its `fit` as
the sequence of the phases; each phase is one call of `train`. Keys of phases are told apart by the numbers of `Stream`,
so that a phase draws the same numbers whatever ran before it.
"""

import abc
import enum
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.factorization.initial_shapes import rigid_shapes
from jnrsfm.geometry.cameras import camera_model
from jnrsfm.geometry.depth_reflection import relabel, resolve_mirrors
from jnrsfm.inputs.observations import Normalizer, Observations, hold_out
from jnrsfm.methods import pnd
from jnrsfm.training import Engine, Phase, Resident, Session, Trained
from jnrsfm.types import Landmarks, Reconstruction, ResultCode

ScaleBy = Literal["auto", "norm", "bones"]


class Stream(enum.IntEnum):
    """What a phase's key is derived with; searches and rounds of scale count on from theirs."""

    SEARCH = 0
    FINAL = 1
    SCALE = 10
    REFLECTION = 20
    EITHER = 30
    INITIAL = 100


class Recipe(abc.ABC):
    """One fit on its way: the landmarks in the unit of the object, and what has been found out.

    `seen` are all observations, `hidden` the same without a share `config.holdout` of the points, which searches do
    not see. `heldout` is the item of the quality report, `diagnostics` plain figures for the record.
    """

    engine: Engine

    def __init__(
        self, landmarks: Landmarks, camera: str, config: Any, seed: int, session: Session, fill: bool
    ):
        self.landmarks, self.config, self.seed, self.session = landmarks, config, seed, session
        self.camera, self.key = camera_model(camera), jax.random.key(seed)
        self.sequence = None if landmarks.sequence is None else np.asarray(landmarks.sequence)
        self.edges = None if landmarks.edges is None else np.asarray(landmarks.edges)
        normalizer = Normalizer(camera, config.size).fitted(landmarks)
        seen, self.frames = normalizer(landmarks)
        kept, held = hold_out(np.asarray(seen.weights), config.holdout, self.camera.least_points, seed)
        hidden = seen._replace(weights=jnp.asarray(kept), heldout=jnp.asarray(held))
        if fill:
            # What fills the search's gaps must not have seen its held-out points.
            hidden = normalizer.with_covariance(hidden).filled(hidden, landmarks.defined)
            normalizer = normalizer.with_covariance(seen)
            seen = normalizer.filled(seen, landmarks.defined)
        self.normalizer, self.seen, self.hidden = normalizer, seen, hidden
        self.heldout: dict[str, Any] | None = None
        self.diagnostics: dict[str, Any] = {}

    @abc.abstractmethod
    def batch(self, seen: Observations) -> Any:
        """What the objective takes, a pytree with leading axis frame."""

    @abc.abstractmethod
    def shapes(self, params: Any, seen: Observations) -> tuple[np.ndarray, np.ndarray]:
        """Object-frame shapes `(frame, point, 3)` and rotations of all frames, on the host."""

    def train(
        self, name: str, stream: int, data: Any, steps: int, start: Any = None, hyper: Mapping[str, Any] | None = None
    ) -> Trained:  # fmt: skip
        """One phase, from `start` (a stack of restarts) or from fresh parameters."""
        phase = Phase(name, steps, Resident(data, self.config.batch), hyper or {}, start=start)
        return self.engine.train(phase, jax.random.fold_in(self.key, stream))

    def correct_scales(self, result: Trained, steps: int, hyper: Mapping[str, Any] | None = None) -> Trained:
        """Where frames have a scale of their own: the size of each is corrected by its shape, and training goes on."""
        if not self.camera.frame_scale:
            return result
        for turn in range(self.config.scale_correction):
            self.seen, self.hidden = (
                self.rescaled(d, self.sized_shapes(result.params, d)) for d in (self.seen, self.hidden)
            )
            name = f"scale-{turn + 1}"
            result = self.train(
                name, Stream.SCALE + turn, self.batch(self.hidden), steps, result.chosen, hyper
            )
            self.note(name, result)
        return result

    def sized_shapes(self, params: Any, seen: Observations) -> np.ndarray:
        """The shapes whose size corrects the scale."""
        return self.shapes(params, seen)[0]

    def rescaled(self, data: Observations, shapes: np.ndarray) -> Observations:
        """One round of scale correction of the data by their shapes."""
        return corrected_scale(data, shapes, self.camera, self.edges, self.config.scale_by)

    def note(self, name: str, result: Trained) -> None:
        """Keep the criteria of a phase, and the error at held-out points after it."""
        self.diagnostics[name] = list(result.criteria)
        self.heldout = heldout_item(result.criteria[0], self.hidden, self.config.holdout)

    def likelier_reflection(self, result: Trained, phases: Mapping[str, tuple[Any, Any]], steps: int):
        """`(name, Trained)`: training goes on from `result` on each of `phases`, name to `(data, hyper)`, and the one
        of the lower objective is kept. Perspective images tell the reflection of the whole, though a network may settle
        in the other: so both are tried."""
        ends = {
            name: self.train(f"reflection, {name}", Stream.REFLECTION, data, steps, result.chosen, hyper)
            for name, (data, hyper) in phases.items()
        }
        self.diagnostics["reflections"] = {name: end.criteria[0]["objective"] for name, end in ends.items()}
        return min(ends.items(), key=lambda item: item[1].criteria[0]["objective"])

    def record(self, shapes: np.ndarray, rotations: np.ndarray) -> Reconstruction:
        """The record in the user's units, of one reflection where `config.mirror` asks for it."""
        depth = np.asarray(self.seen.depth)
        best = self.normalizer.reconstruction(self.landmarks, self.frames, shapes, rotations, depth)
        if self.config.mirror == "auto":
            if self.camera.shows_reflection:  # the images have chosen: only say where the shapes disagree
                found = resolve_mirrors(best.points3d, best.sequence)
                best = best.replace(mirror_margin=np.where(found.flip, 0, found.margin).astype(np.float32))
            else:
                best, found = relabel(best)
            self.diagnostics["mirror"] = found.summary()
        return best

    @property
    def code(self) -> ResultCode:
        """How the fit ended."""
        return ResultCode.RESTARTS_DROPPED if self.engine.lost else ResultCode.CONVERGED

    def camera_points(self, params: Any) -> np.ndarray:
        """`(frame, point, 3)` camera-frame points of parameters, as they come."""
        depth = np.asarray(self.seen.depth)
        found = self.normalizer.reconstruction(
            self.landmarks, self.frames, *self.shapes(params, self.seen), depth
        )
        return np.asarray(found.camera_points)


def heldout_item(criteria: dict[str, float], hidden: Observations, share: float) -> dict[str, Any] | None:
    """The held-out error for the quality report; its baseline puts every hidden point at the mean of the seen ones."""
    count = int((hidden.heldout > 0).sum())
    if not count:
        return None
    total = jnp.maximum(hidden.weights.sum(1, keepdims=True), 1e-6)
    middle = (hidden.weights[..., None] * hidden.points).sum(1) / total
    gap = jnp.sqrt(((hidden.points - middle[:, None]) ** 2).sum(-1)) * hidden.depth[:, None]
    baseline = float((hidden.heldout * gap).sum() / hidden.heldout.sum())
    note = f"{share:.0%} of the observed points, hidden until the final phase, predicted at its start"
    return {"error": criteria["heldout"], "baseline": baseline, "count": count, "note": note}


def corrected_scale(
    data: Observations, shapes: np.ndarray, camera: Any, edges: np.ndarray | None, by: ScaleBy
) -> Observations:
    """One round of scale correction: the frame's scale over the size of its shape, relative to the mean size of all
    `shapes (frame, point, 3)`, so that all come out of one size (Frobenius norm, or mean bone length). The overall unit
    is kept."""
    if by == "bones" or (by == "auto" and edges is not None):
        if edges is None:
            raise InputError("scale_by is 'bones', but the landmarks have no edges: give edges, or say norm")
        ends = shapes[:, edges[:, 0]] - shapes[:, edges[:, 1]]
        size = np.linalg.norm(ends, axis=-1).mean(1)
    else:
        size = np.linalg.norm(shapes.reshape(len(shapes), -1), axis=1)
    ratio = np.clip(size / np.exp(np.log(np.maximum(size, 1e-9)).mean()), 0.25, 4.0)
    return data._replace(depth=camera.rescaled(data.depth, jnp.asarray(ratio, jnp.float32)))


def start_shapes(
    name: str, seen: Observations, camera: Any, solver_camera: str, sequence: Any, seed: int, session: Session
) -> np.ndarray:
    """Camera-frame shapes `(frame, point, 3)` of a solver ("pnd", "rigid", or "flat" for the rigid one without depth)
    on the points of positive weight, in the object's unit. `solver_camera` is the camera that "pnd" takes.

    Raises InputError where frames or points are too few for the solver.
    """
    weights, depth = np.asarray(seen.weights), np.asarray(seen.depth)
    points = np.asarray(camera.orthographic(np.asarray(seen.points), depth))
    if name == "pnd":
        landmarks = Landmarks(points2d=points.astype(np.float32), visible=weights > 0, sequence=sequence)
        found = pnd.fit(landmarks, solver_camera, pnd.Pnd(), seed, session)
        return np.asarray(found.reconstruction.camera_points)
    filled = np.asarray(camera.orthographic(np.asarray(seen.inputs), depth))
    rigid = rigid_shapes(points, weights, filled)
    return rigid * np.array([1, 1, 0]) if name == "flat" else rigid


def check_shared(config: Any) -> None:
    """Raise InputError if a setting that the learned methods share cannot work."""
    if not 0 <= config.holdout < 1:
        raise InputError(f"holdout is {config.holdout}: it must be at least 0 and below 1")
    if config.select == "heldout" and not config.holdout:
        raise InputError("select is 'heldout' but holdout is 0: say select objective, or hold points out")
