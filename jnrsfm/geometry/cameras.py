r"""Cameras: projections, pixels to rays, the virtual camera that looks at the object; and the camera models.

A method takes a `CameraModel` and has no branch on its name: `Orthographic`, `WeakPerspective`, `Perspective`. Another
one is a class and a line in `MODELS`, over which all tests of cameras run.

Points are rows; `x_cam = R @ x + t` with x right, y down, z forward (OpenCV). Every function takes leading
batch axes.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry import normalization as norm


def project_orthographic(points: Float[ArrayLike, "*batch point 3"]) -> Float[Array, "*batch point 2"]:
    """Orthographic image of camera-frame points: their x and y."""
    points = jnp.asarray(points)
    return points[..., :2]


def project_perspective(
    points: Float[ArrayLike, "*batch point 3"], intrinsics: Float[ArrayLike, "*#batch 3 3"] | None = None
) -> Float[Array, "*batch point 2"]:
    r"""Pinhole image `(K x)_{xy} / (K x)_z` of camera-frame points; `K = I` gives ray coordinates (x/z, y/z).

    Depth must not be zero; points behind the camera project through the centre as in any pinhole formula.

    >>> import numpy as np
    >>> k = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    >>> project_perspective(np.array([[1.0, -1, 5]]), k).tolist()  # right of the centre, and above it
    [[420.0, 140.0]]
    """
    points = jnp.asarray(points)
    if intrinsics is not None:
        points = jnp.einsum("...pj,...ij->...pi", points, intrinsics)
    return points[..., :2] / points[..., 2:]


def pixels_to_rays(
    pixels: Float[ArrayLike, "*batch point 2"], intrinsics: Float[ArrayLike, "*#batch 3 3"]
) -> Float[Array, "*batch point 2"]:
    r"""Ray coordinates `(u, v) = (K^{-1} [x, y, 1])_{xy}` of pixels, for upper-triangular K with `K[2, 2] = 1`.

    Written out for `K = [[fx, s, cx], [0, fy, cy], [0, 0, 1]]`: `v = (y - cy) / fy`, `u = (x - cx - s v) / fx`.
    """
    pixels, intrinsics = jnp.asarray(pixels), jnp.asarray(intrinsics)
    k = intrinsics[..., None, :, :]
    v = (pixels[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    u = (pixels[..., 0] - k[..., 0, 2] - k[..., 0, 1] * v) / k[..., 0, 0]
    return jnp.stack([u, v], -1)


def look_at(direction: Float[ArrayLike, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    r"""The smallest rotation G with `G d / |d| = (0, 0, 1)`: a virtual camera that looks along `d`.

    For a unit `d = (a, b, c)`, `c > -1`:

        G = [[1 - a^2/(1+c), -ab/(1+c), -a], [-ab/(1+c), 1 - b^2/(1+c), -b], [a, b, c]].

    The directions of image points have c > 0, so the formula is never near its singularity at c = -1.
    """
    direction = jnp.asarray(direction)
    a, b, c = jnp.moveaxis(direction / jnp.linalg.norm(direction, axis=-1, keepdims=True), -1, 0)
    h = 1.0 / (1.0 + c)
    rows = [[1 - a * a * h, -a * b * h, -a], [-a * b * h, 1 - b * b * h, -b], [a, b, c]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def rotate_rays(
    rays: Float[ArrayLike, "*batch point 2"], rotation: Float[ArrayLike, "*batch 3 3"]
) -> Float[Array, "*batch point 2"]:
    r"""Ray coordinates seen by a camera turned by `rotation` about its centre: the homography `G [u, v, 1]`.

    Turning a camera about its centre is exact for every scene, whatever the depths; undo it on camera-frame
    points with `points @ G` (that is `G.T @ x`).
    """
    rays, rotation = jnp.asarray(rays), jnp.asarray(rotation)
    x = jnp.einsum("...pj,...ij->...pi", rays, rotation[..., :2]) + rotation[..., None, :, 2]
    return x[..., :2] / x[..., 2:]


def posit_points(
    points: Float[ArrayLike, "*batch point 2"],
    depths: Float[ArrayLike, "*batch point"],
    weights: Float[ArrayLike, "*batch point"],
    nearness: Float[ArrayLike, "*batch"],
) -> Float[Array, "*batch point 2"]:
    r"""Image points as an orthographic camera would see them: `y (1 + nearness (z - z_mean))`, at least a tenth of y.

    `points` are rays times the depth of the object's centre, `depths` z those of the points with z_mean over the
    visible ones (`weights`), and `nearness` is one over the depth of the centre, 0 far away (POSIT: DeMenthon and
    Davis, IJCV 15, 1995).
    """
    return jnp.asarray(points) * _stretch(jnp.asarray(depths), weights, nearness)


def project_near(
    shape: Float[ArrayLike, "*batch point 3"],
    weights: Float[ArrayLike, "*batch point"],
    nearness: Float[ArrayLike, "*batch"],
) -> Float[Array, "*batch point 2"]:
    r"""Image `(x + t) / (1 + nearness (z - z_mean))` of camera-frame shapes, of which `posit_points` is the inverse.

    The translation t in the image plane puts the mean of the visible image points (`weights`) at 0.
    """
    shape = jnp.asarray(shape)
    over = 1 / _stretch(shape[..., 2], weights, nearness)
    share = jnp.asarray(weights)[..., None] * over
    middle = jnp.sum(share * shape[..., :2], -2, keepdims=True)
    return (shape[..., :2] - middle / jnp.maximum(jnp.sum(share, -2, keepdims=True), 1e-6)) * over


def _stretch(depths, weights, nearness):
    gap = depths[..., None] - norm.masked_mean(depths[..., None], jnp.asarray(weights))
    return jnp.maximum(1 + jnp.asarray(nearness)[..., None, None] * gap, 0.1)


# ---------------------------------------------------------------------------------------- camera models


class Placement(NamedTuple):
    """Where a camera model puts shapes: `rotations (frame, 3, 3)` and `translations (frame, 3)` of the user's camera,
    `scale (frame,)` or None where it is 1."""

    rotations: Any
    translations: Any
    scale: Any


@runtime_checkable
class CameraModel(Protocol):
    """What a method asks of a camera, so that it has no branch on its name.

    A frame's observations are `points (*batch, point, 2)` in the model's own coordinates (`view`), their `weights
    (*batch, point)`, 0 where hidden, and one number `depth (*batch,)` that ties the image to the object's unit. Camera-
    frame shapes `(*batch, point, 3)` have no translation: it is eliminated, as in `normalization`, whose equations
    these are.
    """

    name: str
    columns: int
    """Columns of the camera matrix that meet the measurements: 2, or 3 where depth shows in the image."""
    least_points: int
    """Points that a frame needs."""
    frame_scale: bool
    """Each frame has a scale of its own, which a shape can correct."""
    shows_reflection: bool
    """The images tell a shape from its depth reflection."""

    def project(self, points: Any, intrinsics: Any = None) -> Any:
        """Image `(*batch, point, 2)` of camera-frame points."""
        ...

    def view(self, points2d: Any, weights: Any, intrinsics: Any) -> tuple[Any, Any]:
        """`(plane, turn)`: the points in the model's coordinates, and the rotations `(frame, 3, 3)` to the camera that
        sees them so (None: the user's own). Raises InputError where intrinsics are needed and absent."""
        ...

    def frame_sizes(self, sizes: Any, whole: float) -> Any:
        """What 1 stands for in each image, of the `sizes (frame,)` of the frames and the size of the `whole` set."""
        ...

    def scaled(self, plane: Any, weights: Any, size: Any) -> tuple[Any, Any]:
        """`(points, depth)` of plane points of which `size (frame,)` is the object's."""
        ...

    def normalise(self, points: Any, weights: Any, depth: Any) -> Any:
        """Normalised measurements `(*batch, point, 2)`, in the object's unit."""
        ...

    def adjoint(self, measured: Any, points: Any, weights: Any) -> Any:
        """`(*batch, columns, point)`: the transposed normalised dictionary on measurements, short of the shared one."""
        ...

    def residual(self, shape: Any, points: Any, weights: Any, depth: Any) -> Any:
        """`(*batch, point, 2)` residual of the normalised equations, the shape centred on all its points."""
        ...

    def image_residual(self, shape: Any, points: Any, weights: Any, depth: Any) -> Any:
        """The same with the translation that fits the visible points best."""
        ...

    def prediction_error(self, shape: Any, points: Any, weights: Any, depth: Any) -> Any:
        """`(*batch, point, 2)` image of the shape minus the points, in the object's unit, translation from the points
        of positive weight: the error at those that were held out."""
        ...

    def orthographic(self, points: Any, depth: Any, z: Any = None) -> Any:
        """Points as an orthographic camera would see them in the object's unit, with depths `z (*batch, point)` of the
        points where they are known (POSIT: DeMenthon and Davis, IJCV 15, 1995)."""
        ...

    def rescaled(self, depth: Any, ratio: Any) -> Any:
        """`depth` after the shapes of frames turned out `ratio (frame,)` times too large."""
        ...

    def placed(
        self, shape: Any, rotations: Any, plane: Any, weights: Any, size: Any, depth: Any, turn: Any
    ) -> Placement:
        """The user's camera of camera-frame shapes and their rotations; `size`, `turn` as from `view` and
        `frame_sizes`."""
        ...

    def gauge(self, measure: str) -> str:
        """How the scale of a reconstruction was fixed, `measure` being that of 2D size."""
        ...


@dataclasses.dataclass(frozen=True)
class WeakPerspective:
    """Orthographic projection, each frame at a scale of its own: measurements are divided by the frame's size, and by
    `depth`, which is 1 until the shapes correct it."""

    name: ClassVar[str] = "weak-perspective"
    columns: ClassVar[int] = 2
    least_points: ClassVar[int] = 4
    frame_scale: ClassVar[bool] = True
    shows_reflection: ClassVar[bool] = False

    def project(self, points, intrinsics=None):
        """The x and y."""
        return project_orthographic(points)

    def view(self, points2d, weights, intrinsics):
        """The image as it is."""
        return points2d, None

    def frame_sizes(self, sizes, whole):
        """That of each frame."""
        return sizes

    def scaled(self, plane, weights, size):
        """Centred on the mean of the visible points, in units of the size."""
        total = weights.sum(-1)[..., None]
        middle = (weights[..., None] * plane).sum(-2) / total
        return (plane - middle[..., None, :]) / size[..., None, None], np.ones(len(plane))

    def normalise(self, points, weights, depth):
        """`measure_weak` over `depth`."""
        return norm.measure_weak(points, weights) / depth[..., None, None]

    def adjoint(self, measured, points, weights):
        """`adjoint_weak`."""
        return norm.adjoint_weak(measured, weights)

    def residual(self, shape, points, weights, depth):
        """`reproject_weak` minus the measurements."""
        return norm.reproject_weak(shape[..., :2], weights) - self.normalise(points, weights, depth)

    def image_residual(self, shape, points, weights, depth):
        """Without the masked mean of the image."""
        image = shape[..., :2]
        return image - norm.masked_mean(image, weights) - self.normalise(points, weights, depth)

    def prediction_error(self, shape, points, weights, depth):
        """In units of the frame's size."""
        image = shape[..., :2] * depth[..., None, None]
        return image + _mean_of(points - image, weights) - points

    def orthographic(self, points, depth, z=None):
        """Over the frame's scale."""
        return points / depth[..., None, None]

    def rescaled(self, depth, ratio):
        """Larger: the points of a frame are divided by it, and its shape comes out smaller."""
        return depth * ratio

    def placed(self, shape, rotations, plane, weights, size, depth, turn):
        """Scale from the frame, translation in the image plane."""
        scale = jnp.asarray(size) * jnp.asarray(depth)
        t = norm.translation_weak(shape[..., :2] * scale[:, None, None], jnp.asarray(plane), weights)
        return Placement(rotations, jnp.concatenate([t, jnp.zeros_like(t[:, :1])], -1), scale)

    def gauge(self, measure):
        """Of the frame."""
        return f"1 is the image size of the frame ({measure}); `scale` restores the input's units"


@dataclasses.dataclass(frozen=True)
class Orthographic(WeakPerspective):
    """One scale for the whole set: weak perspective whose frames share their size."""

    name: ClassVar[str] = "orthographic"
    frame_scale: ClassVar[bool] = False

    def frame_sizes(self, sizes, whole):
        """That of the set."""
        return np.full(len(sizes), whole)

    def gauge(self, measure):
        """Of the set."""
        return f"1 is the image size of the set ({measure}); `scale` restores the input's units"


@dataclasses.dataclass(frozen=True)
class Perspective:
    """A pinhole camera, turned (exactly, by a homography) to look at the object: points are rays of that virtual
    camera, and `depth` is t_z of the object's centre, in the object's unit."""

    name: ClassVar[str] = "perspective"
    columns: ClassVar[int] = 3
    least_points: ClassVar[int] = 5
    frame_scale: ClassVar[bool] = True
    shows_reflection: ClassVar[bool] = True

    def project(self, points, intrinsics=None):
        """`(K x)_xy / (K x)_z`."""
        return project_perspective(points, intrinsics)

    def view(self, points2d, weights, intrinsics):
        """Rays of the camera turned to look at the mean visible ray of each frame, and the rotations."""
        if intrinsics is None:
            raise InputError(
                "perspective needs intrinsics (3, 3): add them, or choose camera weak-perspective"
            )
        seen = weights[..., None] > 0
        rays = np.asarray(pixels_to_rays(jnp.asarray(points2d), jnp.asarray(intrinsics)))
        rays = np.where(seen, rays, 0.0)
        middle = (weights[..., None] * rays).sum(1) / weights.sum(1)[:, None]
        turn = np.asarray(look_at(jnp.asarray(np.concatenate([middle, np.ones((len(middle), 1))], 1))))
        return np.where(seen, np.asarray(rotate_rays(jnp.asarray(rays), jnp.asarray(turn))), 0.0), turn

    def frame_sizes(self, sizes, whole):
        """That of each frame."""
        return sizes

    def scaled(self, plane, weights, size):
        """The rays, and the depth at which an object of size 1 fills the image size."""
        return plane, 1.0 / size

    def normalise(self, points, weights, depth):
        """`measure_perspective`."""
        return norm.measure_perspective(points, weights, depth)

    def adjoint(self, measured, points, weights):
        """`adjoint_perspective`."""
        return norm.adjoint_perspective(measured, points, weights)

    def residual(self, shape, points, weights, depth):
        """`reproject_perspective` minus the measurements."""
        return norm.reproject_perspective(shape, points, weights) - self.normalise(points, weights, depth)

    def image_residual(self, shape, points, weights, depth):
        """Without the masked mean of `x - u z`."""
        image = shape[..., :2] - points * shape[..., 2:]
        target = norm.measure_weak(points, weights) * depth[..., None, None]
        return image - norm.masked_mean(image, weights) - target

    def prediction_error(self, shape, points, weights, depth):
        """Difference of rays times the object's depth."""
        depth = depth[..., None, None]
        z = shape[..., 2:] + depth
        t = _mean_of(points * z - shape[..., :2], weights)
        return ((shape[..., :2] + t) / jnp.maximum(z, 1e-3) - points) * depth

    def orthographic(self, points, depth, z=None):
        """Times the depth of the object's centre, or of each point."""
        depth = depth[..., None, None]
        return points * (depth if z is None else jnp.maximum(depth + z[..., None], 0.1 * depth))

    def rescaled(self, depth, ratio):
        """Nearer: a smaller object in the same image."""
        return depth / ratio

    def placed(self, shape, rotations, plane, weights, size, depth, turn):
        """Translation at the depth, all of it turned back from the virtual camera: x = G^T x_virtual."""
        t = norm.translation_perspective(shape, jnp.asarray(plane), weights, jnp.asarray(depth))
        g = jnp.asarray(turn, shape.dtype)
        rotations = jnp.einsum("fji,fjk->fik", g, rotations)
        return Placement(rotations, jnp.einsum("fji,fj->fi", g, t), None)

    def gauge(self, measure):
        """Image size times depth."""
        return f"1 is the object's image size ({measure}) times its depth over the focal length"


def _mean_of(values, weights):
    """Weighted mean over points, 0 where nothing has weight."""
    total = jnp.maximum(weights.sum(-1), 1e-6)[..., None, None]
    return (weights[..., None] * values).sum(-2, keepdims=True) / total


MODELS: tuple[CameraModel, ...] = (Orthographic(), WeakPerspective(), Perspective())  # type: ignore[assignment]


def camera_model(name: str) -> CameraModel:
    """The camera model of a name. Raises InputError for an unknown one."""
    for model in MODELS:
        if model.name == name:
            return model
    raise InputError(f"unknown camera {name!r}: choose from {', '.join(m.name for m in MODELS)}")
