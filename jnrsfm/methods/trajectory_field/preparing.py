"""From a scene to what trains a field: its coordinates, its frames, its pixels in memory."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.scene_space import SceneSpace, forward_facing
from jnrsfm.inputs import Chain, chained_flow
from jnrsfm.methods.trajectory_field.objective import Pixels, Track
from jnrsfm.methods.trajectory_field.rendering import Sampling
from jnrsfm.methods.trajectory_field.settings import TrajectoryFieldSettings
from jnrsfm.models.field import FieldConfig
from jnrsfm.scenes import DynamicScene, Motion2D

MOST_NODES = 40  # of planes along time, unless said
MOST_COSINES = 10


def n_times_of(scene: DynamicScene) -> int:
    """Frames of the clip, T: along a path the steps of its smallest gap in time, else the different times."""
    times = np.unique(np.asarray(scene.time))
    if len(times) < 2:
        raise InputError("all images of the scene have one time: give the time of each image")
    if not scene.path:
        return len(times)
    steps = round(1.0 / float(np.diff(times).min()))
    return min(steps, 4 * len(times)) + 1


def field_config(scene: DynamicScene, settings: TrajectoryFieldSettings) -> FieldConfig:
    """The structure of the field of a training scene."""
    n = n_times_of(scene)
    if settings.frequencies > n - 1:
        raise InputError(f"frequencies is {settings.frequencies}: a clip of {n} frames has at most {n - 1}")
    basis = (settings.frequencies or min(MOST_COSINES, n - 1)) if settings.paths else 0
    dynamic = settings.variant != "static"
    return FieldConfig(
        n_times=n, n_basis=basis, kind=settings.kind, basis=settings.basis, dynamic=dynamic,
        static=settings.static_part or not dynamic, width=settings.width, layers=settings.layers,
        resolution=settings.resolution, static_resolution=settings.static_resolution,
        coarse=settings.motion_resolution, time_resolution=settings.time_resolution or min(n, MOST_NODES),
        channels=settings.channels, timed_colour=settings.timed_colour,
    )  # fmt: skip


def space_of(scene: DynamicScene, kind: str, look: tuple[np.ndarray, float]) -> SceneSpace:
    """The coordinates of a scene; `look`: the point that the cameras look at and its depth."""
    if kind == "auto":
        kind = "box" if scene.background is not None else "ndc" if scene.facing else "contracted"
    poses = np.asarray(scene.camera_to_world)
    if kind == "ndc":
        width, height = scene.size
        k = np.asarray(scene.intrinsics)
        tangent = (float((0.5 * width / k[:, 0, 0]).max()), float((0.5 * height / k[:, 1, 1]).max()))
        return forward_facing(poses, tangent, float(np.asarray(scene.bounds)[:, 0].min()))
    point, depth = look
    wide = float(np.median(np.asarray(scene.intrinsics)[:, 0, 0])) / scene.size[0]
    # what an image shows at the depth that is looked at
    scale = depth * 0.5 / wide * (1.2 if kind == "box" else 1.0)
    return SceneSpace(kind, tuple(map(float, point)), float(scale))  # type: ignore[arg-type]


def sampling_of(space: SceneSpace, settings: TrajectoryFieldSettings) -> Sampling:
    """Evenly in depth through a box, evenly in disparity through all of space."""
    return Sampling(
        settings.samples, settings.coarse_samples, "depth" if space.kind == "box" else "disparity"
    )


def track_of(scene: DynamicScene, n_times: int) -> Track:
    """Cameras, bounds and times in frames, on the device."""
    arrays = (scene.camera_to_world, scene.intrinsics, scene.bounds, np.asarray(scene.time) * (n_times - 1))
    return Track(*(jnp.asarray(a, jnp.float32) for a in arrays))


def smaller(scene: DynamicScene, factor: int) -> DynamicScene:
    """The scene at images `factor` times smaller: mean colours, intrinsics and flow to match."""
    if factor == 1:
        return scene
    width, height = scene.size
    w, h = width // factor, height // factor
    if min(w, h) < 4:
        raise InputError(f"downscale is {factor}: images of {width} x {height} pixels would be {w} x {h}")
    cut = lambda x: x[:, : h * factor, : w * factor].reshape(len(x), h, factor, w, factor, *x.shape[3:])
    k = np.array(scene.intrinsics)
    k[:, :2, :2] /= factor
    k[:, :2, 2] = (k[:, :2, 2] + 0.5) / factor - 0.5
    motion = scene.motion
    if motion is not None:
        valid = [cut(v).any((2, 4)) for v in (motion.forward_valid, motion.backward_valid)]
        flows = [
            (
                cut(f * v[..., None]).sum((2, 4)) / np.maximum(cut(v).sum((2, 4)), 1)[..., None] / factor
            ).astype(np.float32)
            for f, v in ((motion.forward, motion.forward_valid), (motion.backward, motion.backward_valid))
        ]
        motion = Motion2D(flows[0], flows[1], valid[0], valid[1], cut(motion.moving).mean((2, 4)) > 0.25)
    depth = None
    if scene.depth is not None:
        known = np.isfinite(scene.depth)
        count = cut(known).sum((2, 4))
        total = cut(np.where(known, scene.depth, 0)).sum((2, 4))
        depth = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return dataclasses.replace(
        scene, pixels=_Smaller(scene.pixels, factor), intrinsics=k, motion=motion, depth=depth
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Smaller:
    base: Any
    factor: int

    @property
    def sizes(self) -> np.ndarray:
        return np.asarray(self.base.sizes) // self.factor

    @property
    def names(self) -> tuple[str, ...]:
        return self.base.names

    def read(self, number: int) -> np.ndarray:
        image, f = self.base.read(number), self.factor
        h, w = image.shape[0] // f, image.shape[1] // f
        mean = image[: h * f, : w * f].reshape(h, f, w, f, 3).mean((1, 3), dtype=np.float64)
        return np.round(mean).astype(np.uint8)


def _far(
    motion: Motion2D, frame: np.ndarray, place: np.ndarray, reach: int, rng: np.random.Generator
) -> Chain:
    """Pixels followed through the clip to frames at random within `reach`, one each."""
    frames = len(motion.moving)
    low, high = np.maximum(frame - reach, 0), np.minimum(frame + reach, frames - 1)
    wanted = rng.integers(low, high + 1) - frame
    after = chained_flow(motion.forward, motion.forward_valid, frame, place, wanted, 1)
    before = chained_flow(motion.backward, motion.backward_valid, frame, place, -wanted, -1)
    return Chain(np.where(wanted[:, None] > 0, after.place, before.place), after.steps + before.steps)


def pixels_of(scene: DynamicScene, share: float, reach: int, seed: int) -> Pixels:
    """All pixels in random order, moving ones repeated, so that `share` of what is drawn is drawn from them alone; flow
    is chained over at most `reach` frames, 1: not at all."""
    n, (width, height) = len(scene), scene.size
    count = n * height * width
    rng = np.random.default_rng(seed)
    motion = scene.motion
    order = np.arange(count)
    if motion is not None and share and motion.moving.any():
        inside = np.flatnonzero(motion.moving)
        order = np.concatenate([order, rng.choice(inside, round(count * share / (1 - share)))])
    order = rng.permutation(order)
    frame, place = np.divmod(order, height * width)
    y, x = np.divmod(place, width)
    colour = scene.images.reshape(count, 3)[order]
    flat = lambda a: np.asarray(a).reshape(count, *np.shape(a)[3:])[order]
    moving = np.zeros(len(order), bool) if motion is None else flat(motion.moving)
    flow = valid = None
    end = steps = None
    if motion is not None and reach > 1:
        far = _far(motion, frame, np.stack([x, y], 1).astype(np.float32), reach, rng)
        end, steps = far.place, far.steps.astype(np.int16)
    if motion is not None:
        flow = np.stack([flat(motion.backward), flat(motion.forward)], 1).astype(np.float32)
        valid = np.stack([flat(motion.backward_valid), flat(motion.forward_valid)], 1)
    depth = known = None
    if scene.depth is not None:
        depth = flat(scene.depth).astype(np.float32)
        known = np.isfinite(depth)
        depth = np.where(known, depth, 0)
    found = Pixels(
        frame.astype(np.int32),
        np.stack([x, y], 1).astype(np.int16),
        colour,
        moving,
        flow,
        valid,
        end,
        steps,
        depth,
        known,
    )
    return jax.tree.map(jnp.asarray, found)
