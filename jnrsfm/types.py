"""The three records that everything passes: `Landmarks`, `Cameras`, `Reconstruction`.

Frozen dataclasses registered as pytrees. Array fields may be NumPy or JAX arrays; strings, names and
other static facts are metadata. Conventions: points are rows, `x_cam = R @ x + t` as in OpenCV
(x right, y down, z forward), rotations are proper. A point that is not `visible` has no coordinate:
whatever is stored there is ignored everywhere.
"""

import dataclasses
import typing
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

CameraModel = Literal["orthographic", "weak-perspective", "perspective"]
CAMERA_MODELS: tuple[CameraModel, ...] = ("orthographic", "weak-perspective", "perspective")

Array = Any  # NumPy or JAX array; the shapes stand beside each field


@typing.dataclass_transform(eq_default=False, frozen_default=True)
def _pytree(meta: tuple[str, ...]):
    """Freeze a dataclass and register it as a pytree whose fields named in `meta` are static."""

    def wrap(cls):
        cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
        names = [f.name for f in dataclasses.fields(cls)]
        return partial(
            jax.tree_util.register_dataclass,
            data_fields=[n for n in names if n not in meta],
            meta_fields=list(meta),
        )(cls)

    return wrap


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


@_pytree(meta=("names", "categories", "camera", "fps"))
class Landmarks(_Record):
    """2D landmarks with gaps: the input of every method.

    Shapes: `points2d (frame, point, 2)` in pixels or plane units, `visible (frame, point)` bool.
    Optional: `confidence (frame, point)` in [0, 1] weighs visible points; `defined (frame, point)` says
    which keypoints the sample's class has at all (visible implies defined); `intrinsics (3, 3)` or
    `(frame, 3, 3)`; `sequence (frame,)` integer clip id, the frames of a clip being in time order;
    `category (frame,)` index into `categories`; `edges (edge, 2)`; `symmetric (pair, 2)` left-right
    point pairs; `names`, one for each point; `camera`, the model that the file names; `fps`.
    """

    points2d: Array
    visible: Array
    confidence: Array | None = None
    defined: Array | None = None
    intrinsics: Array | None = None
    sequence: Array | None = None
    category: Array | None = None
    edges: Array | None = None
    symmetric: Array | None = None
    names: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    camera: str | None = None
    fps: float | None = None

    _per_frame = ("points2d", "visible", "confidence", "defined", "intrinsics", "sequence", "category")

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


@_pytree(meta=("model",))
class Cameras(_Record):
    """One camera a frame: `x_cam = scale * (R @ x) + t`.

    Shapes: `rotations (frame, 3, 3)` proper, `translations (frame, 3)`, `scale (frame,)`,
    `intrinsics (3, 3)` or `(frame, 3, 3)` for perspective. `model` is one of `CAMERA_MODELS`.
    Orthographic and weak-perspective images are the x and y of the camera points; perspective images
    are `K @ x_cam`, divided by its last coordinate.
    """

    rotations: Array
    translations: Array | None = None
    scale: Array | None = None
    intrinsics: Array | None = None
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
class Reconstruction(_Record):
    """3D shapes and cameras: the output of every method, and the reference that it is held against.

    `points3d (frame, point, 3)` in the object frame, `cameras` (see `Cameras`), so that
    `cameras.transform(points3d)` is the camera-frame shape. `visible (frame, point)`: which points had
    an observation. `score (frame, point)`: uncertainty, the spread over restarts in the units of `points3d`.
    `valid3d (frame, point)`: where the 3D is known (references). `gauge` says how scale was fixed.
    `mirror` says how the depth mirror of each frame was resolved: `"none"` (each frame's z may be
    flipped), `"sequence"` (continuity in time), `"set"` (synchronised over the set), `"perspective"`
    (the images themselves tell z from -z) or `"reference"`; `mirror_margin (frame,)` by how much: 0 is a
    coin toss, 1 certain; under perspective, how firmly the shapes of other frames agree.
    """

    points3d: Array
    cameras: Cameras
    visible: Array | None = None
    score: Array | None = None
    valid3d: Array | None = None
    sequence: Array | None = None
    category: Array | None = None
    mirror_margin: Array | None = None
    edges: Array | None = None
    symmetric: Array | None = None
    names: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    mirror: str = "none"
    gauge: str = ""

    _per_frame = (
        "points3d", "cameras", "visible", "score", "valid3d", "sequence", "category", "mirror_margin",
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

    def flip(self, frames):
        """The depth-mirrored twin at the frames where the boolean mask `frames (frame,)` is set.

        Under orthography (S, R) and (-S, diag(-1, -1, 1) R) have the same image: camera-frame shapes
        that differ by the sign of z, both with proper rotations. The translation is kept.
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
    )
