"""Records of filmed scenes: `DynamicScene`, images of a moving camera with poses, and `TrajectoryField`, what is made
of one: a field over space and time that renders views and knows the path of every point.

Conventions are the house's: x right, y down, z forward in the camera, `camera_to_world = [R | t]`, pixel centres at
integers.
"""

import dataclasses
import importlib
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jnrsfm.errors import InputError
from jnrsfm.pixels import Chosen
from jnrsfm.types import Result


@dataclasses.dataclass(frozen=True, eq=False)
class Motion2D:
    """Optical flow between frames of a scene that follow each other: `forward`, `backward (frame, h, w, 2)` in pixels
    to the frame after and before, and where they are to be trusted, `forward_valid`, `backward_valid (frame, h, w)`.
    The last (first) frame has nothing valid. `moving (frame, h, w)`: pixels whose flow the camera's motion does not
    explain."""

    forward: Float[np.ndarray, "frame h w 2"]
    backward: Float[np.ndarray, "frame h w 2"]
    forward_valid: Bool[np.ndarray, "frame h w"]
    backward_valid: Bool[np.ndarray, "frame h w"]
    moving: Bool[np.ndarray, "frame h w"]

    def select(self, which: Any) -> "Motion2D":
        """Of some frames, where these still follow each other."""
        return Motion2D(*(getattr(self, f.name)[which] for f in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True, eq=False)
class DynamicScene:
    """Images of a scene in motion, with the camera and the time of each.

    `pixels`: images of one size (`jnrsfm.pixels`). `camera_to_world (frame, 3, 4)` `[R | t]`; `intrinsics
    (frame, 3, 3)`; `time (frame,)` in [0, 1], one unit the whole clip; `bounds (frame, 2)`: nearest and farthest depth.
    `split`: "train" or another word for each image, None: all train. `motion`: optical flow and what moves, of images
    in order of time. `depth (frame, h, w)`: inverse depth up to a scale and an offset for each image, NaN where
    unknown. `path`: images follow each other along one camera path. `background (3,)`: the colour, in [0, 1], of what
    lies behind everything; None: there is always something. `facing`: views that face forward; None: not said.
    """

    pixels: Any
    camera_to_world: Float[np.ndarray, "frame 3 4"]
    intrinsics: Float[np.ndarray, "frame 3 3"]
    time: Float[np.ndarray, " frame"]
    bounds: Float[np.ndarray, "frame 2"]
    split: tuple[str, ...] | None = None
    motion: Motion2D | None = None
    depth: Float[np.ndarray, "frame h w"] | None = None
    path: bool = True
    background: tuple[float, float, float] | None = None
    facing: bool | None = None

    def __len__(self) -> int:
        return len(self.time)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        width, height = np.asarray(self.pixels.sizes)[0]
        return int(width), int(height)

    def select(self, frames: Any) -> "DynamicScene":
        """The scene at some images: an integer array, a boolean mask or a slice. Optical flow is kept only where the
        images still follow each other as before."""
        which = np.arange(len(self))[frames]
        follow = np.array_equal(which, np.arange(which[0], which[0] + len(which))) if len(which) else False
        motion = self.motion.select(which) if self.motion is not None and follow else None
        return dataclasses.replace(
            self,
            pixels=Chosen(self.pixels, which),
            camera_to_world=self.camera_to_world[which],
            intrinsics=self.intrinsics[which],
            time=self.time[which],
            bounds=self.bounds[which],
            split=None if self.split is None else tuple(self.split[i] for i in which),
            motion=motion,
            depth=None if self.depth is None else self.depth[which],
        )

    def part(self, name: str) -> "DynamicScene":
        """The images of one split, in order of time; all of them are "train" where nothing is said."""
        words = np.array(self.split if self.split is not None else ("train",) * len(self))
        which = np.flatnonzero(words == name)
        return self.select(which[np.argsort(self.time[which], kind="stable")])

    @property
    def images(self) -> np.ndarray:
        """`(frame, h, w, 3)` uint8, decoded now."""
        return np.stack([self.pixels.read(i) for i in range(len(self))])


@dataclasses.dataclass(frozen=True)
class FieldConfig:
    """Structure of a field. `n_times` T; `n_basis` K < T (0: no paths); `basis`: the DCT, or one that starts there and
    learns. `resolution` and `channels` of the planes, `time_resolution` (0: T) of their time axis; `coarse`: resolution
    of further planes, for motion, which is smoother than what moves. `width`, `layers`: of the perceptron.
    `frequencies` of the encodings of space and time (mlp), `view_frequencies` of direction and time in the colour."""

    n_times: int
    n_basis: int
    kind: Literal["planes", "mlp"] = "planes"
    basis: Literal["dct", "learned"] = "dct"
    dynamic: bool = True
    static: bool = True
    width: int = 64
    layers: int = 1
    embedding: int = 16
    resolution: int = 64
    static_resolution: int = 96
    coarse: int = 16
    time_resolution: int = 0
    channels: int = 8
    frequencies: int = 10
    view_frequencies: int = 4
    timed_colour: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class FieldShow:
    """What a report shows of a field, worked out when it is fitted. Views of one size, uint8.

    `truth`, `found (view, h, w, 3)`: images that training did not see (else training images) and the field's, named by
    `captions`; `held_out`: whether training did not see them. `frozen`: views around the scene at one time; `moving`:
    views of one camera as time goes by. `paths (point, time, 3)` of points in the world with their `colours (point,
    3)`, and the camera `eye (3, 4)` to look from. `scores`: figures by name."""

    truth: UInt8[np.ndarray, "view h w 3"]
    found: UInt8[np.ndarray, "view h w 3"]
    captions: tuple[str, ...]
    held_out: bool
    frozen: UInt8[np.ndarray, "around h w 3"]
    moving: UInt8[np.ndarray, "time h w 3"]
    paths: Float[np.ndarray, "point step 3"]
    colours: UInt8[np.ndarray, "point 3"]
    eye: Float[np.ndarray, "3 4"]
    scores: dict[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class TrajectoryField(Result):
    """A fitted field: density and colour at every place and time, and every point's path.

    `params`: a nested dict (and lists) of arrays; `config`: the structure of the field (`models.field.FieldConfig`);
    `space`: the map from the world to the field (`geometry.scene_space.SceneSpace`); `sampling`: plain numbers of how
    rays are sampled; `cameras`, `times`, `bounds`, `size`: of the images that it was fitted to, to look around from.
    """

    params: Any
    config: FieldConfig
    space: Any
    sampling: dict[str, Any]
    camera_to_world: Float[np.ndarray, "frame 3 4"]
    intrinsics: Float[np.ndarray, "frame 3 3"]
    times: Float[np.ndarray, " frame"]
    bounds: Float[np.ndarray, "frame 2"]
    size: tuple[int, int]
    background: tuple[float, float, float] | None = None
    show: FieldShow | None = None
    """What the report shows."""

    def render(self, camera_to_world: Any, time: float, **options: Any) -> Any:
        """A view, `methods.trajectory_field.views.View`: `image (h, w, 3)` in [0, 1], `depth`, `opacity`, `dynamic`.

        `camera_to_world (3, 4)`; `time` in [0, 1]. Options: `intrinsics (3, 3)`, `size` (width, height), `bounds`,
        `chunk` rays at a time, `progress(done, total)`. Raises InputError for a pose that is no rigid motion.
        """
        return _views().render(self, camera_to_world, time, **options)

    def trajectories(self, points: Any, time: float, at: Any = None) -> np.ndarray:
        """`(point, time, 3)` where world `points (point, 3)` of `time` in [0, 1] are at the times `at` (None: those of
        the frames)."""
        return _views().trajectories(self, points, time, at)

    @property
    def resolved(self) -> dict[str, Any]:
        """Poses fix the scale of the scene; `space`: how it is mapped to the field; `paths`: whether it knows any."""
        return {
            "camera": "given poses",
            "scale": "that of the poses",
            "space": self.space.kind,
            "paths": f"DCT with {self.config.n_basis} frequencies" if self.config.n_basis else "none",
        }


def _views() -> Any:
    return importlib.import_module("jnrsfm.methods.trajectory_field.views")


def check_scene(scene: DynamicScene, where: Any = "the scene") -> None:
    """Raise InputError, one line, for what no field can be made of: no pose or a pose that is no rigid motion, images
    of several sizes, missing times, one frame, bounds out of order."""
    n = len(np.asarray(scene.pixels.sizes))
    poses = np.asarray(scene.camera_to_world)
    if poses.shape != (n, 3, 4):
        raise InputError(
            f"{where}: poses have shape {poses.shape} for {n} images: give one 3 x 4 [R | t] for each"
        )
    if np.shape(scene.time) != (n,):
        raise InputError(
            f"{where}: times have shape {np.shape(scene.time)} for {n} images: give one for each"
        )
    bad = ~np.isfinite(np.asarray(scene.time))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise InputError(f"{where}: image {scene.pixels.names[i]} has no time: give the time of each image")
    check_poses(poses, where, scene.pixels.names)
    sizes = np.asarray(scene.pixels.sizes)
    other = (sizes != sizes[:1]).any(1)
    if other.any():
        i = int(np.flatnonzero(other)[0])
        raise InputError(
            f"{where}: image {scene.pixels.names[i]} is {sizes[i, 0]} x {sizes[i, 1]} pixels, the first is "
            f"{sizes[0, 0]} x {sizes[0, 1]}: give images of one size"
        )
    if n < 2 or len(scene.part("train")) < 2:
        raise InputError(
            f"{where}: has {n} images, of them {len(scene.part('train'))} to train on: give at least 2"
        )
    k = np.asarray(scene.intrinsics)
    if (
        k.shape != (n, 3, 3)
        or not np.isfinite(k).all()
        or not (k[:, 0, 0] > 0).all()
        or not (k[:, 1, 1] > 0).all()
    ):
        raise InputError(
            f"{where}: intrinsics must be one 3 x 3 matrix for each image with focal lengths above 0"
        )
    low, high = np.asarray(scene.bounds).T
    if not ((low > 0) & (high > low)).all():
        raise InputError(f"{where}: bounds must be 0 < near < far for each image")


def check_poses(poses: np.ndarray, where: Any, names: Any = None) -> None:
    """Raise InputError for a pose `(frame, 3, 4)` that is not finite, or not a rotation and a translation."""
    called = lambda i: f"image {names[i]}" if names is not None else f"image {i}"
    finite = np.isfinite(poses).all((1, 2))
    if not finite.all():
        raise InputError(
            f"{where}: {called(int(np.flatnonzero(~finite)[0]))} has no pose: give one for each image"
        )
    turn = np.asarray(poses[..., :3], np.float64)
    off = np.abs(turn @ turn.mT - np.eye(3)).max((1, 2))
    flipped = np.linalg.det(turn) < 0
    bad = (off > 1e-2) | flipped
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        what = "mirrors" if flipped[i] and off[i] <= 1e-2 else "stretches"
        raise InputError(
            f"{where}: {called(i)}: its pose {what} space: the 3 x 3 part must be a proper rotation (camera to world)"
        )
