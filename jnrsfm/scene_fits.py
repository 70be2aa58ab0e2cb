"""`fit` of methods that make a field of a filmed scene: their runs have no landmarks."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jnrsfm import io, metrics
from jnrsfm.config import to_plain
from jnrsfm.geometry import rays
from jnrsfm.inputs import chained_flow
from jnrsfm.methods import Fitted, MethodInfo
from jnrsfm.pixels import resized
from jnrsfm.result_runs import keep_result, open_result_run
from jnrsfm.scenes import DynamicScene, FieldShow, TrajectoryField
from jnrsfm.training import Session

TITLE = "A scene in motion"
WIDE = 160  # pixels of the views of the page, at most
PAIRS, AROUND, TIMES, PATHS = 6, 16, 16, 160
FEWEST_CHAINS = 20
ORBIT_FILE, CLIP_FILE = "frozen_time.mp4", "time.mp4"


def fit_scene(
    scene: DynamicScene,
    info: MethodInfo,
    config: Any,
    seed: int,
    folder: Path | None,
    resume: bool,
    progress: bool,
) -> dict[str, Any]:
    """Fit a field to a scene, into a run folder: `config.yaml`, `metrics.jsonl`, `checkpoints/`, `field.npz`,
    `quality.json`, `report.html`, and two videos where `av` is installed. Returns the fields of `api.FitResult`.

    Optical flow is worked out where the scene follows one path, has none, and OpenCV is there. Raises InputError."""
    record = {
        "method": info.name, "seed": seed, "images": len(scene), "size": list(scene.size), "config": to_plain(config),
    }  # fmt: skip
    open_result_run(folder, info, record, resume)
    begun = time.monotonic()
    session = Session(folder, resume=resume, progress=progress)
    train = scene.part("train")
    warnings: list[str] = []
    if train.path and train.motion is None and getattr(config, "variant", "full") != "static":
        if io.scenes.has_flow_library():
            session.say(f"{info.name}: optical flow of {len(train)} images")
            train = io.scenes.with_motion(train)
        else:
            warnings.append("no optical flow: OpenCV is not installed (pip install 'jnrsfm[field]')")
    fitted: Fitted = info.fit(train, "perspective", config, seed, session)
    made: Any = fitted.reconstruction
    with session.interruptible():
        field: TrajectoryField = dataclasses.replace(made, show=show_of(made, scene, train, config, session))
    quality = quality_of(field, fitted, warnings)
    kept = keep_result(folder, info, record, config, session, fitted, field, quality, begun, TITLE)
    if folder is not None and session.first:
        _write_movies(folder, field)
    return kept


def _write_movies(folder: Path, field: TrajectoryField) -> None:
    if field.show is None or not io.movies.has_av():
        return
    there_and_back = lambda x: np.concatenate([x, x[-2:0:-1]])
    io.movies.write_movie(folder / ORBIT_FILE, there_and_back(field.show.frozen))
    io.movies.write_movie(folder / CLIP_FILE, there_and_back(field.show.moving))


def quality_of(field: TrajectoryField, fitted: Fitted, warnings: list[str]) -> dict[str, Any]:
    """The quality report (`metrics.assess_field`) of what the page shows."""
    show = field.show
    assert show is not None
    moving = fitted.diagnostics.get("moving_pixels")
    if moving is not None and moving < 0.002 and field.config.n_basis:
        warnings = [*warnings, "hardly anything was found to move: the paths are not to be trusted"]
    return metrics.assess_field(
        show.scores,
        len(show.found),
        show.held_out,
        flow_share=show.scores.get("flow_share"),
        remarks=warnings,
    )


def _size(field: TrajectoryField) -> tuple[int, int]:
    width, height = field.size
    share = min(1.0, WIDE / width)
    return max(round(width * share), 11), max(round(height * share), 11)


def show_of(
    field: TrajectoryField, scene: DynamicScene, train: DynamicScene, config: Any, session: Session
) -> FieldShow:
    """Render what the page shows. Ctrl-C ends it between two views."""
    size = _size(field)
    seen = scene.part("test")
    held_out = len(seen) > 0
    seen = seen if held_out else train
    which = np.unique(np.linspace(0, len(seen) - 1, PAIRS).astype(int))
    total, done = len(which) + AROUND + TIMES, 0

    def view(pose, at, k=None, bounds=None):
        nonlocal done
        if session.stop_requested:
            raise KeyboardInterrupt
        found = field.render(pose, float(at), intrinsics=k, size=size, bounds=bounds)
        done += 1
        if done % 8 == 0:
            session.say(f"views of the page: {done}/{total}")
        return found

    truth, found, captions, figures = [], [], [], []
    for i in which:
        image = resized(seen.pixels.read(int(i)), size)
        k = scaled(seen.intrinsics[i], scene.size, size)
        mine = view(seen.camera_to_world[i], seen.time[i], k, seen.bounds[i]).image
        figure = {
            "psnr": metrics.images.psnr(mine, image / 255),
            "ssim": metrics.images.ssim(mine, image / 255),
        }
        if held_out:
            copy = resized(train.pixels.read(int(np.argmin(_apart(train, seen, int(i))))), size) / 255
            figure["gain_over_copy"] = figure["psnr"] - metrics.images.psnr(copy, image / 255)
        figures.append(figure)
        truth.append(image)
        found.append(_bytes(mine))
        captions.append(f"{seen.pixels.names[i]}, time {seen.time[i]:.2f}: {figure['psnr']:.1f} dB")
    middle = len(train) // 2
    around = orbit(field, train.camera_to_world[middle])
    frozen = [_bytes(view(p, train.time[middle]).image) for p in around]
    moving = [_bytes(view(train.camera_to_world[middle], t).image) for t in np.linspace(0, 1, TIMES)]
    paths, colours, starts = _paths(field, train, middle)
    scores = {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}
    share = flow_share(field, train, middle, starts)
    if share is not None:
        scores["flow_share"] = share
    return FieldShow(
        np.stack(truth), np.stack(found), tuple(captions), held_out, np.stack(frozen), np.stack(moving), paths,
        colours, np.asarray(train.camera_to_world[middle], np.float64), scores,
    )  # fmt: skip


def orbit(field: TrajectoryField, pose: Any, count: int = AROUND) -> np.ndarray:
    """`(count, 3, 4)` cameras on a circle about what `pose` looks at, 8 degrees to either side, 25 of a scene that is
    seen from around."""
    pose = np.asarray(pose, np.float64)
    depth = float(2 / (1 / field.bounds).sum(1).mean())
    aim = pose[:, 3] + depth * pose[:, 2]
    up = pose[:, 1]
    out = []
    for angle in np.radians(
        np.linspace(-25, 25, count) if field.space.kind == "box" else np.linspace(-8, 8, count)
    ):
        cross = np.array([[0, -up[2], up[1]], [up[2], 0, -up[0]], [-up[1], up[0], 0]])
        turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        out.append(np.concatenate([turn @ pose[:, :3], (aim + turn @ (pose[:, 3] - aim))[:, None]], 1))
    return np.stack(out)


def _apart(train: DynamicScene, seen: DynamicScene, number: int) -> np.ndarray:
    """How far the training images are from image `number` of `seen`: in time, then, less, in place."""
    place = np.linalg.norm(train.camera_to_world[:, :, 3] - seen.camera_to_world[number][:, 3], axis=1)
    return np.abs(train.time - seen.time[number]) + 1e-6 * place / max(float(place.max()), 1e-12)


def _paths(
    field: TrajectoryField, train: DynamicScene, frame: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paths of points of what moves (else of all) in a training frame, as the field has them, their colours, and where
    they begin in the world."""
    times = np.linspace(0, 1, 24)
    none = np.zeros((0, len(times), 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros((0, 3))
    if not field.config.n_basis:
        return none
    pose, at = train.camera_to_world[frame], float(train.time[frame])
    size = _size(field)
    view = field.render(pose, at, intrinsics=scaled(train.intrinsics[frame], train.size, size), size=size)
    inside = view.dynamic > 0.5
    inside = inside if inside.sum() > 20 else view.opacity > 0.5
    pixels = np.argwhere(inside)[:, ::-1]
    if not len(pixels):
        return none
    pixels = pixels[np.unique(np.linspace(0, len(pixels) - 1, PATHS).astype(int))]
    k = scaled(train.intrinsics[frame], train.size, size)
    z = view.depth[pixels[:, 1], pixels[:, 0]][:, None]
    local = np.concatenate([(pixels - k[:2, 2]) / np.diag(k)[:2], np.ones((len(pixels), 1))], 1) * z
    points = local @ pose[:, :3].T + pose[:, 3]
    return (
        field.trajectories(points, at, times),
        _bytes(view.image)[pixels[:, 1], pixels[:, 0]],
        points,
    )


def flow_share(field: TrajectoryField, train: DynamicScene, frame: int, points: np.ndarray) -> float | None:
    """How far the paths of surface `points (point, 3)` of a training frame are from where chained flow leads, in the
    images, as a share of how far they are from it if they stand still; None without flow or with fewer than 20 chains.

    Points that the flow of the camera alone explains say nothing: only those that `train.motion` calls moving count."""
    motion = train.motion
    if motion is None or not train.path or not len(points):
        return None
    cameras, lenses = jnp.asarray(train.camera_to_world), jnp.asarray(train.intrinsics)
    seen = lambda x, f: np.asarray(rays.project(cameras[f], lenses[f], jnp.asarray(x)))
    start = seen(points, frame)
    width, height = train.size
    x, y = np.clip(np.round(start), 0, (width - 1, height - 1)).astype(int).T
    keep = motion.moving[frame][y, x]
    points, start = points[keep], np.clip(start[keep], 0, (width - 1, height - 1))
    paths = field.trajectories(points, float(train.time[frame]), train.time)
    gaps, stills = [], []
    for flow, valid, way in (
        (motion.forward, motion.forward_valid, 1), (motion.backward, motion.backward_valid, -1)
    ):  # fmt: skip
        for reach in (1, 2, 4, 8):
            full = np.full(len(points), reach)
            found = chained_flow(flow, valid, np.full(len(points), frame), start, full, way)
            whole = np.abs(found.steps) == reach
            if whole.any():
                there = frame + way * reach
                away = lambda x, there=there, whole=whole, found=found: np.linalg.norm(
                    seen(x[whole], there) - found.place[whole], axis=1
                )
                gaps.extend(away(paths[:, there]))
                stills.extend(away(points))
    if len(gaps) < FEWEST_CHAINS:
        return None
    return float(np.median(gaps) / max(float(np.median(stills)), 1e-6))


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def scaled(intrinsics: np.ndarray, size: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """The camera matrix of images of `size` seen on `new` pixels (width, height)."""
    share = np.array([new[0] / size[0], new[1] / size[1]])
    k = np.array(intrinsics, np.float64)
    k[:2, :2] *= share[:, None]
    k[:2, 2] = (k[:2, 2] + 0.5) * share - 0.5
    return k
