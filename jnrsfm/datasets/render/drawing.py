"""`render_figures`: from settings to images and their truth, a few at a time on the device."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jnrsfm.datasets.motion import Motion
from jnrsfm.datasets.render import kernel
from jnrsfm.datasets.render.anatomy import Body, Dress, posed
from jnrsfm.datasets.render.appearance import WIDTHS, Light, Looks
from jnrsfm.datasets.render.cast import Shapes
from jnrsfm.datasets.render.config import RenderedFigures
from jnrsfm.datasets.render.figures import FIGURES
from jnrsfm.datasets.render.scene import BODY_BOXES, BODY_CONES, BOXES, CONES, Clip, make_clip
from jnrsfm.datasets.render.shapes import bounds_of
from jnrsfm.datasets.render.truth import RenderedImages, record

POSES = 8  # single images that share a body
PARALLEL = 16  # images in one call of the device


def _one_pose(motion: Motion, i: int) -> Motion:
    cut = slice(i, i + 1)
    return dataclasses.replace(
        motion,
        points=motion.points[cut],
        heading=motion.heading[cut],
        sequence=motion.sequence[cut],
        defined=None if motion.defined is None else motion.defined[cut],
    )


def _turns(config: RenderedFigures, clip: int) -> tuple[int, int, int]:
    """Index of the figure of a clip, which of its subjects, and which pose of it."""
    poses = POSES if config.clip == 1 else 1
    turn, which = divmod(clip, len(config.figures))
    return which, *divmod(turn, poses)


def subject(config: RenderedFigures, clip: int, apart: bool = False) -> tuple[Motion, Body, Dress]:
    """The subject of a clip: its motion, its body, and what draws its looks.

    A subject has as many frames as the clip, or, where images are single, all the poses of it that are
    drawn. With `apart` the body's first frame is another one, before those of the motion: the figure with
    its limbs apart."""
    which, number, _ = _turns(config, clip)
    figure = FIGURES[config.figures[which]]
    rng = np.random.default_rng([config.seed, 1, which, number])
    # Single images: poses half a second apart.
    frames, fps = (POSES, 2.0) if config.clip == 1 else (config.clip, config.fps)
    motion = figure.motion(frames, fps, config.turning, rng.spawn(1)[0])
    whole = motion
    if apart:
        first = motion.points[:1]
        if figure.skeleton is not None:
            first = posed(figure.skeleton, motion.points, figure.apart)
        join = lambda x: np.concatenate([x[:1], x])
        whole = dataclasses.replace(
            motion,
            points=np.concatenate([first, motion.points]),
            heading=join(motion.heading),
            sequence=join(motion.sequence),
            defined=None if motion.defined is None else join(motion.defined),
        )
    return motion, *figure.body(whole, rng)


def clips(config: RenderedFigures, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Clip]]:
    """The clips `start` to `stop` with the index of their figure, each from random streams of its own."""
    known: dict[int, tuple[int, Any]] = {}
    for c in range(start, config.images // config.clip if stop is None else stop):
        which, number, pose = _turns(config, c)
        if which not in known or known[which][0] != number:
            known[which] = number, subject(config, c)
        motion, body, dress = known[which][1]
        if config.clip == 1:
            motion = _one_pose(motion, pose)
            cut = slice(pose, pose + 1)
            body = dataclasses.replace(body, linear=body.linear[cut], origin=body.origin[cut])
        rng = np.random.default_rng([config.seed, 2, c])
        yield which, make_clip(config, FIGURES[config.figures[which]], motion, body, dress(rng), rng)


def layout_of(config: RenderedFigures) -> kernel.Layout:
    """What is fixed at compilation."""
    width, height = config.shape
    return kernel.Layout(width, height, BODY_CONES + CONES, BODY_BOXES + BOXES, config.smooth, config.shadows)


def _f32(x):
    return np.asarray(x, np.float32)


def placed(clip: Clip, frame: int, right: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Camera from local coordinates of all shapes at one frame; `right`: the camera moved to its right,
    metres."""
    rotation, translation = clip.rotations[frame], clip.translations[frame] - np.array([right, 0, 0])
    return rotation @ clip.linear[frame], clip.origin[frame] @ rotation.T + translation


def picture(clip: Clip, frame: int, right: float = 0.0) -> kernel.Picture:
    """One frame of a clip for the device; `right` as in `placed`."""
    linear, centre = placed(clip, frame, right)
    inverse = np.linalg.inv(linear)
    eye = -np.einsum("kij,kj->ki", inverse, centre)
    kinds = (clip.size, clip.live, BODY_CONES + CONES, BODY_BOXES + BOXES)
    lamp = clip.light["direction"][frame]
    side = np.cross(lamp, np.eye(3)[np.argmin(np.abs(lamp))])
    side /= np.linalg.norm(side)
    across = np.stack([side, np.cross(lamp, side)])
    light = {k: (v[frame] if k == "seed" else _f32(v[frame])) for k, v in clip.light.items()}
    shade = _f32(bounds_of(linear, centre, *kinds, across))
    columns = np.split(_f32(clip.looks), np.cumsum(WIDTHS)[:-1], axis=1)
    return kernel.Picture(
        Shapes(_f32(inverse), _f32(eye), _f32(clip.size), clip.live, _f32(bounds_of(linear, centre, *kinds))),
        Looks(*columns),
        Light(**light, across=_f32(across), bounds=shade),
        _f32(clip.camera + np.array([0, clip.camera[0] * right * clip.convergence, 0])),
    )


def _stacked(records: list, count: int):
    """Records one after the other in a batch of `count`, the last one repeated."""
    records = records + [records[-1]] * (count - len(records))
    return jax.tree.map(lambda *x: np.stack(x), *records)


def camera_points(clip: Clip, frame: int) -> np.ndarray:
    """Landmarks `(point, 3)` in the camera frame, float64."""
    turn, path = clip.subject
    world = clip.motion.points[frame] @ turn[frame].T + path[frame]
    return world @ clip.rotations[frame].T + clip.translations[frame]


def _draw(
    waiting: list[tuple[Clip, int]], config: RenderedFigures, layout: kernel.Layout
) -> dict[str, np.ndarray]:
    """Pixels and probes of some frames, a row for each."""
    here = _stacked([picture(*w) for w in waiting], PARALLEL)
    seen = kernel.draw_all(here, layout)
    points = np.ones((len(waiting), 48, 3), np.float32)
    for row, w in zip(points, waiting, strict=True):
        x = camera_points(*w)
        row[: len(x)] = x
    body = _stacked([w[0].label > 0 for w in waiting], PARALLEL)
    mine, other = kernel.probe_all(here, body, layout, _stacked(list(points), PARALLEL))
    out: dict[str, Any] = {
        "image": seen.image,
        "shape": seen.shape,
        "depth": seen.depth,
        "mine": mine,
        "other": other,
    }

    def follow(name: str, there, moved):
        frames = _stacked([kernel.Placed(*map(_f32, m)) for m in moved], PARALLEL)
        out[f"flow_{name}"], out[f"hidden_{name}"] = kernel.follow_all(
            seen.shape, seen.local, frames, there, layout
        )

    if config.flow:
        for name, step in (("forward", 1), ("backward", -1)):
            near = [(c, min(max(f + step, 0), config.clip - 1)) for c, f in waiting]
            follow(name, _stacked([picture(*w) for w in near], PARALLEL), [placed(*w) for w in near])
    if config.stereo:
        right = [(c, f, c.baseline) for c, f in waiting]
        there = _stacked([picture(*w) for w in right], PARALLEL)
        second = kernel.draw_all(there, layout)
        out |= {"right_image": second.image, "right_depth": second.depth, "right_shape": second.shape}
        follow("right", there, [placed(*w) for w in right])
    return {name: np.asarray(x)[: len(waiting)] for name, x in out.items()}


def render_figures(
    config: RenderedFigures, progress: Callable[[int, int], None] | None = None
) -> RenderedImages:
    """Draw the images of `config`, with their truth. `progress(done, total)` is called after each few images.

    The same settings give the same images whatever else is drawn, in whatever order.
    """
    layout = layout_of(config)
    found: list[tuple[int, Clip]] = []
    rows: list[dict[str, np.ndarray]] = []
    waiting: list[tuple[Clip, int]] = []
    done = 0
    for which, clip in clips(config):
        found.append((which, clip))
        for frame in range(config.clip):
            waiting.append((clip, frame))
            done += 1
            if len(waiting) == PARALLEL or done == config.images:
                rows.append(_draw(waiting, config, layout))
                waiting = []
                if progress is not None:
                    progress(done, config.images)
    drawn = {name: np.concatenate([r[name] for r in rows]) for name in rows[0]}
    return record(config, found, drawn)
