"""Views of a fitted field, a few rays at a time; and the paths of its points."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.methods.trajectory_field.rendering import Sampling, rays_of, rendered
from jnrsfm.models import field
from jnrsfm.scenes import TrajectoryField, check_poses

CHUNK = 4096  # rays at a time: what a view takes of memory


class View(NamedTuple):
    """A rendered view: `image (h, w, 3)` in [0, 1]; `depth (h, w)`, of the camera, where there is something; `opacity`
    and `dynamic (h, w)`, the part of it that moves."""

    image: np.ndarray
    depth: np.ndarray
    opacity: np.ndarray
    dynamic: np.ndarray


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _render(params, config, space, sampling, background, pose, intrinsics, bounds, time, pixels):
    ones = (len(pixels),)
    rays = rays_of(
        jnp.broadcast_to(pose, (*ones, 3, 4)), jnp.broadcast_to(intrinsics, (*ones, 3, 3)), pixels,
        jnp.broadcast_to(bounds, (*ones, 2)), jnp.broadcast_to(time, ones),
    )  # fmt: skip
    return rendered(params, config, space, sampling, rays, background)


def render(
    found: TrajectoryField,
    camera_to_world: Any,
    time: float,
    *,
    intrinsics: Any = None,
    size: tuple[int, int] | None = None,
    bounds: Any = None,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> View:
    """`TrajectoryField.render`: whatever the size of the view, `chunk` rays at a time are in memory. `progress(done,
    total)` is called after each; an exception that it raises ends the rendering."""
    pose = np.asarray(camera_to_world, np.float32)
    pose = pose[:3] if pose.shape == (4, 4) else pose
    if pose.shape != (3, 4):
        raise InputError(f"the camera has shape {pose.shape}: give camera to world as 3 x 4 [R | t]")
    check_poses(pose[None], "the view")
    if not np.isfinite(time):
        raise InputError(f"time is {time}: give a number, 0 the first frame and 1 the last")
    if chunk < 1:
        raise InputError(f"chunk is {chunk}: render at least one ray at a time")
    near = int(np.argmin(np.linalg.norm(found.camera_to_world[:, :, 3] - pose[:, 3], axis=1)))
    k = np.asarray(found.intrinsics[near] if intrinsics is None else intrinsics, np.float32)
    limits = np.asarray(found.bounds[near] if bounds is None else bounds, np.float32)
    width, height = found.size if size is None else size
    if size is not None and intrinsics is None:  # the same view on more or fewer pixels
        scale = np.array([width / found.size[0], height / found.size[1]], np.float32)
        k = k.copy()
        k[:2, :2] *= scale[:, None]
        k[:2, 2] = (k[:2, 2] + 0.5) * scale - 0.5
    sampling = Sampling(**found.sampling)
    out = [np.zeros((height * width, *s), np.float32) for s in ((3,), (), (), ())]
    frame = np.float32(time * (found.config.n_times - 1))
    for first in range(0, height * width, chunk):
        index = np.minimum(np.arange(first, first + chunk), height * width - 1)
        pixels = np.stack(np.divmod(index, width)[::-1], 1).astype(np.float32)
        parts = _render(
            found.params,
            found.config,
            found.space,
            sampling,
            found.background,
            pose,
            k,
            limits,
            frame,
            pixels,
        )
        last = min(first + chunk, height * width)
        for whole, part in zip(out, parts, strict=True):
            whole[first:last] = np.asarray(part)[: last - first]
        if progress is not None:
            progress(last, height * width)
    return View(*(x.reshape(height, width, *x.shape[1:]) for x in out))


@partial(jax.jit, static_argnums=(1, 2))
def _paths(params, config, space, points, time, at):
    start = space.field_from_world(points)
    found = field.dynamic_field(params, config, start, jnp.broadcast_to(time, points.shape[:1]))
    rows = field.basis_at(params, config, at) - field.basis_at(params, config, time)
    moved = start[:, None] + jnp.einsum("tk,pkd->ptd", rows, found.coefficients)
    return space.world_from_field(moved)


def trajectories(found: TrajectoryField, points: Any, time: float, at: Any = None) -> np.ndarray:
    """`TrajectoryField.trajectories`. A field without paths leaves points where they are."""
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"points have shape {points.shape}: give (point, 3) in the world")
    frames = (found.config.n_times - 1) * np.asarray(found.times if at is None else at, np.float32)
    if not found.config.n_basis or not found.config.dynamic:
        return np.repeat(points[:, None], len(frames), 1)
    frame = np.float32(time * (found.config.n_times - 1))
    parts = [
        np.asarray(_paths(found.params, found.config, found.space, points[i : i + CHUNK], frame, frames))
        for i in range(0, len(points), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, len(frames), 3), np.float32)


def surface_points(
    found: TrajectoryField, camera_to_world: Any, time: float, pixels: Any, **options: Any
) -> np.ndarray:
    """`(point, 3)` world points that whole `pixels (point, 2)` (x, y) of a view show, at its rendered depth."""
    view = render(found, camera_to_world, time, **options)
    pixels = np.asarray(pixels, int)
    near = int(
        np.argmin(np.linalg.norm(found.camera_to_world[:, :, 3] - np.asarray(camera_to_world)[:, 3], axis=1))
    )
    k = np.asarray(options["intrinsics"] if options.get("intrinsics") is not None else found.intrinsics[near])
    depth = view.depth[pixels[:, 1], pixels[:, 0]]
    local = (
        np.concatenate([(pixels - k[:2, 2]) / np.diag(k)[:2], np.ones((len(pixels), 1))], 1) * depth[:, None]
    )
    pose = np.asarray(camera_to_world)
    return local @ pose[:, :3].T + pose[:, 3]
