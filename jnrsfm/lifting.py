"""Trained models on unseen frames: checked as `fit` checks its input, points matched by name."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import io
from jnrsfm.depth_maps import FramePairs
from jnrsfm.errors import InputError
from jnrsfm.geometry.depth_reflection import resolve_mirrors
from jnrsfm.inputs.empty_frames import put_back
from jnrsfm.methods import Model
from jnrsfm.types import LabelledImages, Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model that checks what it is given, as `fit` does; `model` is the method's own.

    The checks: structure of the landmarks, enough points for its camera, at least one frame.
    """

    model: Model
    names: tuple[str, ...] | None = None

    @property
    def camera(self) -> str:
        """The camera model that it was trained for."""
        return self.model.camera

    @property
    def takes(self) -> type:
        """The type of what it lifts."""
        return getattr(self.model, "TAKES", Landmarks)

    def lift(self, landmarks: Any, where: str = "landmarks") -> Any:
        """3D of unseen frames with the same points (in the order of the landmarks), or of unseen photographs: a
        `Reconstruction`, or what else the method gives; of pairs of frames, their `DepthMaps`.

        Where the model and the landmarks both name their points, they are matched by name. Frames that show too little
        come back as from `fit`; `mirror_margin` says how firmly the shapes agree on one reflection. Raises InputError,
        led by `where`, for landmarks that are unsound, do not suffice, or have other points.
        """
        takes: Any = self.takes
        if not isinstance(landmarks, takes):
            kinds: dict[Any, str] = {
                Landmarks: "2D landmarks", LabelledImages: "photographs", FramePairs: "pairs of frames",
            }  # fmt: skip
            raise InputError(f"{where}: the model lifts {kinds[takes]}: give a file of these")
        if takes is FramePairs:
            return self.model.lift(landmarks)
        if isinstance(landmarks, LabelledImages):
            io.check_images(landmarks, where)
            return self.model.lift(landmarks)
        io.check_landmarks(landmarks, where=where)
        used = io.usable_frames(landmarks, self.camera)
        shown = landmarks if used.all() or not used.any() else landmarks.select(used)
        io.check_landmarks(shown, self.camera, where, min_frames=1)
        lifted = _with_margin(self._matched(shown, where))
        return lifted if shown is landmarks else put_back(lifted, landmarks, used)

    def _matched(self, landmarks: Landmarks, where: str) -> Reconstruction:
        """Lifted with the points in the model's order, and back in that of the landmarks."""
        own, given = self.names, landmarks.names
        if own is None or given is None or own == given:
            return self.model.lift(landmarks)
        if set(own) != set(given):
            other = ", ".join([n for n in given if n not in own][:4]) or "none"
            lacking = ", ".join([n for n in own if n not in given][:4]) or "none"
            raise InputError(
                f"{where}: its points are not those of the model (unknown: {other}; absent: {lacking}): "
                "rename them (--rename), or choose with --points"
            )
        lifted = self.model.lift(io.select_points(landmarks, own, where))
        order = np.array([own.index(n) for n in given])
        return _reordered(lifted, order, landmarks)

    def save(self, path: str | Path) -> None:
        """Write it to one npz file. Raises InputError where it cannot be written."""
        self.model.save(Path(path))


def lift(model: Model | TrainedModel, landmarks: Any, where: str = "landmarks") -> Any:
    """3D of unseen frames by a trained model, checked as `fit` checks its input. Raises InputError, led by `where`."""
    model = model if isinstance(model, TrainedModel) else TrainedModel(model)
    return model.lift(landmarks, where)


def _with_margin(lifted: Reconstruction) -> Reconstruction:
    """With the margin of the reflection where the model gives none: how firmly a frame is tied to the others, 0 where
    they ask for its reflection. The shapes stay as they are."""
    if lifted.mirror_margin is not None or lifted.n_frames < 2 or lifted.n_points < 4:
        return lifted
    found = resolve_mirrors(lifted.points3d, lifted.sequence)
    return lifted.replace(mirror_margin=np.where(found.flip, 0, found.margin).astype(np.float32))


def _reordered(lifted: Reconstruction, order: np.ndarray, landmarks: Landmarks) -> Reconstruction:
    """A reconstruction with its points in another order, named and joined as the landmarks are."""
    columns = {
        name: None if getattr(lifted, name) is None else np.asarray(getattr(lifted, name))[:, order]
        for name in ("points3d", "visible", "score", "deviation", "valid3d")
    }
    return lifted.replace(
        **columns, names=landmarks.names, edges=landmarks.edges, symmetric=landmarks.symmetric
    )
