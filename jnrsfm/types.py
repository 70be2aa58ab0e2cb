"""The records that everything passes (`Landmarks`, `Cameras`, `Reconstruction`), and what results share.

Frozen dataclasses registered as pytrees. Array fields are NumPy or JAX arrays, of the shapes in their annotations;
names and other static values are metadata. Conventions: points are rows, `x_cam = R @ x + t` as in OpenCV (x right, y
down, z forward), rotations are proper. What is stored at a point that is not `visible` is ignored.
"""

import dataclasses
import enum
import importlib
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jnrsfm.pixels import Chosen

CameraModel = Literal["orthographic", "weak-perspective", "perspective"]
CAMERA_MODELS: tuple[CameraModel, ...] = ("orthographic", "weak-perspective", "perspective")

if typing.TYPE_CHECKING:
    Array = Any  # which of the two it is, callers need not say
else:
    Array = jax.Array | np.ndarray


@typing.dataclass_transform(eq_default=False, frozen_default=True)
def _pytree(meta: tuple[str, ...]):
    """Freeze a dataclass and register it as a pytree whose fields named in `meta` are static.

    JAX rebuilds pytrees with placeholders for leaves (None, booleans, axes), so rebuilding does not go through
    `__init__`, whose annotations hold for arrays only and are checked in the tests.
    """

    def wrap(cls):
        cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
        data = tuple(f.name for f in dataclasses.fields(cls) if f.name not in meta)

        def flatten_with_keys(record):
            leaves = tuple((jax.tree_util.GetAttrKey(n), getattr(record, n)) for n in data)
            return leaves, tuple(getattr(record, n) for n in meta)

        def flatten(record):
            return tuple(getattr(record, n) for n in data), tuple(getattr(record, n) for n in meta)

        def unflatten(static, leaves):
            record = object.__new__(cls)
            for name, value in (*zip(data, leaves, strict=True), *zip(meta, static, strict=True)):
                object.__setattr__(record, name, value)
            return record

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        return cls

    return wrap


class ResultCode(enum.Enum):
    """How a fit ended. The value is its name in files and answers; `advice` says what to do."""

    CONVERGED = "converged"
    STEP_LIMIT = "step limit"
    RESTARTS_DROPPED = "diverged restarts dropped"
    NOT_CONVERGED = "not converged"

    @property
    def advice(self) -> str:
        """What the code means for the user, and what to do about it."""
        return _ADVICE[self]


_ADVICE = {
    ResultCode.CONVERGED: "The fit came to its end as planned: nothing to do.",
    ResultCode.STEP_LIMIT: "The steps ran out while the objective still fell: fit again with more `steps`.",
    ResultCode.RESTARTS_DROPPED: "Some restarts met values that are not finite and were dropped; the result is of "
    "those that are left: lower `learning_rate`, or check the landmarks for outliers.",
    ResultCode.NOT_CONVERGED: "The solver stopped at its most iterations above its tolerance: allow more of them, or "
    "scale the noise setting to the data.",
}


class _Record:
    """What the records share."""

    _per_frame: tuple[str, ...] = ()

    def replace(self, **changes):
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def select(self, frames):
        """The record at some frames: an integer array, a boolean mask or a slice over the frame axis."""
        changes = {}
        for name in self._per_frame:
            value = getattr(self, name)
            if isinstance(value, _Record):
                changes[name] = value.select(frames)
            elif value is not None and not (name == "intrinsics" and value.ndim == 2):
                changes[name] = value[frames]
        return self.replace(**changes)


R = TypeVar("R", bound="Result")


def _of_room(room: str, name: str) -> Any:
    """A function of a room that imports this module: looked up when it is called, so that records import nothing."""
    return getattr(importlib.import_module(f"jnrsfm.{room}"), name)


class Result(_Record):
    """The common face of what methods give: saved, loaded and drawn by type, and frank about what is not determined.

    `jnrsfm.io.RESULTS` holds how each type is written, `jnrsfm.report.PANELS` how it is drawn, `jnrsfm.metrics.CHECKS`
    what is checked of it without 3D labels.
    """

    def save(self, path: str | Path) -> Path:
        """Write it to one file, whole or not at all. Raises InputError where it cannot be written."""
        return _of_room("io", "write_result")(path, self)

    @classmethod
    def load(cls: type[R], path: str | Path) -> R:
        """Read what `save` wrote. Raises InputError, naming file and key, for what is no such file."""
        return _of_room("io", "read_result")(path, cls)

    @property
    def fig(self) -> Any:
        """A matplotlib figure of it, by the code that draws `report.png`. Raises InputError without matplotlib."""
        return _of_room("report", "figure")(self)

    def _repr_html_(self) -> str:
        return _of_room("report", "notebook_html")(self)

    @property
    def resolved(self) -> dict[str, Any]:
        """What one camera leaves open, how each was resolved, and how surely: plain values."""
        raise NotImplementedError


@_pytree(meta=("names", "categories", "camera", "fps"))
class Landmarks(_Record):
    """2D landmarks with gaps: the input of every method.

    Shapes: `points2d (frame, point, 2)` in pixels or plane units, `visible (frame, point)` bool, without which NaN is
    missing. Optional: `confidence (frame, point)` in [0, 1] weighs visible points; `defined (frame, point)` says
    which keypoints the sample's class has at all (visible implies defined); `intrinsics (3, 3)` or `(frame, 3, 3)`;
    `sequence (frame,)` integer clip id, the frames of a clip being in time order; `category (frame,)` index into
    `categories`; `frame_index (frame,)` the number of each frame in its source (a video, or the file before frames
    were left out); `edges (edge, 2)`; `symmetric (pair, 2)` left-right point pairs; `names`, one for each point;
    `camera`, the model that the file names; `fps`.

    >>> import numpy as np
    >>> Landmarks(np.zeros((5, 3, 2)), names=("nose", "neck", "tail")).visible.shape
    (5, 3)
    """

    points2d: Num[Array, "frame point 2"]
    visible: Bool[Array, "frame point"] = None  # type: ignore[assignment]  # `__post_init__` fills it in
    confidence: Num[Array, "frame point"] | None = None
    defined: Bool[Array, "frame point"] | None = None
    intrinsics: Num[Array, "3 3"] | Num[Array, "frame 3 3"] | None = None
    sequence: Int[Array, " frame"] | None = None
    category: Int[Array, " frame"] | None = None
    edges: Int[Array, "edge 2"] | None = None
    symmetric: Int[Array, "pair 2"] | None = None
    names: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    camera: str | None = None
    fps: float | None = None
    frame_index: Int[Array, " frame"] | None = None

    _per_frame = (
        "points2d", "visible", "confidence", "defined", "intrinsics", "sequence", "category", "frame_index",
    )  # fmt: skip

    def __post_init__(self):
        """Without `visible`, NaN is missing: `visible = ~isnan(points2d).any(-1)`, and 0 stands there."""
        if self.visible is None and np.ndim(self.points2d) == 3:
            points = np.asarray(self.points2d)
            seen = ~np.isnan(points).any(-1)
            object.__setattr__(self, "visible", seen)
            object.__setattr__(
                self, "points2d", np.where(seen[..., None], points, np.zeros((), points.dtype))
            )

    @property
    def n_frames(self) -> int:
        """Number of frames F."""
        return self.points2d.shape[0]

    @property
    def n_points(self) -> int:
        """Number of points P."""
        return self.points2d.shape[1]

    @property
    def weights(self):
        """`(frame, point)` float32: confidence of the visible points, 0 where not visible."""
        weights = jnp.asarray(self.visible, jnp.float32)
        return weights if self.confidence is None else weights * jnp.asarray(self.confidence, jnp.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledImages(_Record):
    """Photographs with 2D landmarks on some of them: the input of the image methods.

    `pixels`: the images, decoded when they are read (`jnrsfm.pixels`). `landmarks`: one frame for each image, in its
    pixels; an image without labels has nothing visible. `boxes (image, 4)`: left, top, right, bottom of the object in
    pixels, where something else than the labels says it (NaN: not said). `masks`: images of the same sizes, above 127
    on the object. Clips, categories, names, edges and left-right pairs are those of the landmarks.
    """

    pixels: Any
    landmarks: Landmarks
    boxes: Num[np.ndarray, "image 4"] | None = None
    masks: Any = None

    def __len__(self) -> int:
        return len(self.pixels.sizes)

    def select(self, frames):
        """The images at some places: an integer array, a boolean mask or a slice."""
        which = np.arange(len(self))[frames]
        return LabelledImages(
            Chosen(self.pixels, which),
            self.landmarks.select(which),
            None if self.boxes is None else self.boxes[which],
            None if self.masks is None else Chosen(self.masks, which),
        )

    @property
    def labelled(self) -> np.ndarray:
        """`(image,)` whether anything is labelled."""
        return np.any(np.asarray(self.landmarks.visible), axis=1)


@_pytree(meta=("model",))
class Cameras(_Record):
    """One camera a frame: `x_cam = scale * (R @ x) + t`.

    Shapes: `rotations (frame, 3, 3)` proper, `translations (frame, 3)`, `scale (frame,)`, `intrinsics (3, 3)` or
    `(frame, 3, 3)` for perspective. `model` is one of `CAMERA_MODELS`. Orthographic and weak-perspective images are the
    x and y of the camera points; perspective images are `K @ x_cam`, divided by its last coordinate.
    """

    rotations: Float[Array, "frame 3 3"]
    translations: Float[Array, "frame 3"] | None = None
    scale: Float[Array, " frame"] | None = None
    intrinsics: Num[Array, "3 3"] | Num[Array, "frame 3 3"] | None = None
    model: str = "orthographic"

    _per_frame = ("rotations", "translations", "scale", "intrinsics")

    def transform(self, points3d):
        """Camera-frame points `(frame, point, 3)` of object-frame points of the same shape."""
        x = jnp.einsum("fpj,fij->fpi", jnp.asarray(points3d), jnp.asarray(self.rotations))
        if self.scale is not None:
            x = x * jnp.asarray(self.scale)[:, None, None]
        return x if self.translations is None else x + jnp.asarray(self.translations)[:, None]

    def project(self, points3d):
        """Image points `(frame, point, 2)` of object-frame points `(frame, point, 3)`."""
        x = self.transform(points3d)
        if self.model != "perspective":
            return x[..., :2]
        if self.intrinsics is not None:
            k = jnp.broadcast_to(jnp.asarray(self.intrinsics), (x.shape[0], 3, 3))
            x = jnp.einsum("fpj,fij->fpi", x, k)
        return x[..., :2] / x[..., 2:]


@_pytree(meta=("names", "categories", "mirror", "gauge"))
class Reconstruction(Result):
    """3D shapes and cameras: the output of every method, and the reference that it is held against.

    `points3d (frame, point, 3)` in the object frame, `cameras` (see `Cameras`), so that
    `cameras.transform(points3d)` is the camera-frame shape. `visible (frame, point)`: which points had
    an observation. `score (frame, point)`: the spread over restarts, or how sure the method is of its points, in the
    units of `points3d`; `deviation (frame, point)`: the error to be expected of each point (`metrics.deviations`), in
    the same units, 0 where a point is not defined; `uncertainty` is the deviation, else the score.
    `valid3d (frame, point)`: where the 3D is known (references). `frame_index (frame,)` as in
    `Landmarks`. `gauge` says how scale was fixed.
    `mirror` says how the depth reflection of each frame was resolved: `"none"` (each frame's z may be
    flipped), `"sequence"` (continuity in time), `"set"` (synchronised over the set), `"perspective"`
    (the images themselves tell z from -z) or `"reference"`; `mirror_margin (frame,)` by how much: 0 is a
    coin toss, 1 certain; under perspective, how firmly the shapes of other frames agree.
    """

    points3d: Float[Array, "frame point 3"]
    cameras: Cameras
    visible: Bool[Array, "frame point"] | None = None
    score: Float[Array, "frame point"] | None = None
    deviation: Float[Array, "frame point"] | None = None
    valid3d: Bool[Array, "frame point"] | None = None
    sequence: Int[Array, " frame"] | None = None
    category: Int[Array, " frame"] | None = None
    mirror_margin: Float[Array, " frame"] | None = None
    edges: Int[Array, "edge 2"] | None = None
    symmetric: Int[Array, "pair 2"] | None = None
    names: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    mirror: str = "none"
    gauge: str = ""
    frame_index: Int[Array, " frame"] | None = None

    _per_frame = (
        "points3d", "cameras", "visible", "score", "deviation", "valid3d", "sequence", "category", "mirror_margin",
        "frame_index",
    )  # fmt: skip

    @property
    def n_frames(self) -> int:
        """Number of frames F."""
        return self.points3d.shape[0]

    @property
    def n_points(self) -> int:
        """Number of points P."""
        return self.points3d.shape[1]

    @property
    def uncertainty(self):
        """`(frame, point)` error to be expected of each point, else its spread, in the units of `points3d`; or None."""
        return self.score if self.deviation is None else self.deviation

    @property
    def rotations(self):
        """`(frame, 3, 3)` proper rotations, world to camera."""
        return self.cameras.rotations

    @property
    def translations(self):
        """`(frame, 3)` translations, or None."""
        return self.cameras.translations

    @property
    def scale(self):
        """`(frame,)` scale, or None where it is 1."""
        return self.cameras.scale

    @property
    def camera_points(self):
        """`(frame, point, 3)` camera-frame points."""
        return self.cameras.transform(self.points3d)

    @property
    def points2d(self):
        """`(frame, point, 2)` reprojection."""
        return self.cameras.project(self.points3d)

    @property
    def resolved(self) -> dict[str, Any]:
        """`camera`; `scale`, how it was fixed (`gauge`); `reflection`, how the depth reflection was resolved
        (`mirror`); `reflection_margin`, the median of `mirror_margin`: 0 a coin toss, 1 certain, None unknown."""
        margin = self.mirror_margin
        return {
            "camera": self.cameras.model,
            "scale": self.gauge or "not stated",
            "reflection": self.mirror,
            "reflection_margin": None if margin is None else float(np.median(np.asarray(margin))),
        }

    def to_dataframe(self) -> Any:
        """A pandas table of the camera-frame points (`io.to_dataframe`). Raises InputError without pandas."""
        return _of_room("io", "to_dataframe")(self)

    def to_xarray(self) -> Any:
        """An xarray dataset in movement's layout (`io.to_xarray`). Raises InputError without xarray."""
        return _of_room("io", "to_xarray")(self)

    def flip(self, frames):
        """The depth reflection at the frames where the boolean mask `frames (frame,)` is set.

        Under orthography (S, R) and (-S, diag(-1, -1, 1) R) have the same image: camera-frame shapes
        that differ by the sign of z, both with proper rotations. The translation is kept.

        >>> from jnrsfm import datasets
        >>> _, truth = datasets.make("hand", frames=4, clips=1, camera="orthographic")
        >>> twin = truth.flip([False, True, False, False])
        >>> bool(abs(twin.points2d - truth.points2d).max() < 1e-5)  # the same images
        True
        """
        frames = jnp.asarray(frames)
        sign = jnp.where(frames, -1.0, 1.0)
        roll = jnp.stack([sign, sign, jnp.ones_like(sign)], -1)
        rotations = jnp.asarray(self.rotations) * roll[:, :, None]
        return self.replace(
            points3d=jnp.asarray(self.points3d) * sign[:, None, None],
            cameras=self.cameras.replace(rotations=rotations),
        )


def reconstruction_of(
    landmarks: Landmarks,
    points3d: Any,
    cameras: Cameras,
    *,
    gauge: str,
    mirror: str = "none",
    mirror_margin: Any = None,
) -> Reconstruction:
    """The reconstruction of landmarks: shapes and cameras, and all that the landmarks say of frames and points."""
    return Reconstruction(
        points3d=points3d,
        cameras=cameras,
        visible=np.asarray(landmarks.visible),
        valid3d=None if landmarks.defined is None else np.asarray(landmarks.defined),
        sequence=landmarks.sequence,
        category=landmarks.category,
        edges=landmarks.edges,
        symmetric=landmarks.symmetric,
        names=landmarks.names,
        categories=landmarks.categories,
        mirror=mirror,
        mirror_margin=mirror_margin,
        gauge=gauge,
        frame_index=landmarks.frame_index,
    )
