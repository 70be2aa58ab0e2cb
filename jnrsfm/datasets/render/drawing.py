"""`render_figures`: from settings to images and their truth, a few at a time on the device."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jnrsfm.datasets.motion import Motion
from jnrsfm.datasets.render import kernel
from jnrsfm.datasets.render.appearance import WIDTHS, Light, Looks
from jnrsfm.datasets.render.cast import Shapes
from jnrsfm.datasets.render.config import RenderedFigures
from jnrsfm.datasets.render.figures import FIGURES
from jnrsfm.datasets.render.scene import BOXES, CONES, Clip, make_clip
from jnrsfm.datasets.render.shapes import image_bounds
from jnrsfm.datasets.render.truth import RenderedImages, boxes_of
from jnrsfm.types import Cameras, Landmarks, Reconstruction

BODY_CONES = 56
POSES = 8  # single images that share a body
PARALLEL = 16  # images in one call of the device


def _one_pose(motion: Motion, i: int) -> Motion:
    return dataclasses.replace(
        motion,
        points=motion.points[i : i + 1],
        heading=motion.heading[i : i + 1],
        sequence=motion.sequence[i : i + 1],
    )


def clips(config: RenderedFigures, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Clip]]:
    """The clips `start` to `stop` with the index of their figure, each from random streams of its own."""
    names = config.figures
    known: dict[str, tuple[int, Any]] = {}
    stop = config.images // config.clip if stop is None else stop
    for c in range(start, stop):
        which, turn = c % len(names), c // len(names)
        figure = FIGURES[names[which]]
        poses = POSES if config.clip == 1 else 1
        subject = turn // poses
        if names[which] not in known or known[names[which]][0] != subject:
            rng = np.random.default_rng([config.seed, 1, which, subject])
            # Single images: poses half a second apart.
            frames, fps = (POSES, 2.0) if config.clip == 1 else (config.clip, config.fps)
            motion = figure.motion(frames, fps, config.turning, rng.spawn(1)[0])
            known[names[which]] = subject, (motion, *figure.body(motion, rng))
        motion, body, dress = known[names[which]][1]
        if config.clip == 1:
            i = turn % poses
            motion = _one_pose(motion, i)
            body = dataclasses.replace(body, linear=body.linear[i : i + 1], origin=body.origin[i : i + 1])
        rng = np.random.default_rng([config.seed, 2, c])
        yield which, make_clip(config, figure, motion, body, dress(rng), BODY_CONES, rng)


def layout_of(config: RenderedFigures) -> kernel.Layout:
    """What is fixed at compilation."""
    width, height = config.shape
    return kernel.Layout(
        width, height, BODY_CONES + CONES, BOXES, config.smooth, config.shadows and config.lighting
    )


def picture(clip: Clip, frame: int, right: float = 0.0) -> kernel.Picture:
    """One frame of a clip for the device; `right`: by how many metres the camera is moved to its right."""
    rotation, translation = clip.rotations[frame], clip.translations[frame] - np.array([right, 0, 0])
    linear = rotation @ clip.linear[frame]
    centre = clip.origin[frame] @ rotation.T + translation
    inverse = np.linalg.inv(linear)
    eye = -np.einsum("kij,kj->ki", inverse, centre)
    bounds = image_bounds(linear, centre, clip.size, clip.live, BODY_CONES + CONES, BOXES)
    f32 = lambda x: np.asarray(x, np.float32)
    columns = np.split(f32(clip.looks), np.cumsum(WIDTHS)[:-1], axis=1)
    light = {k: (v[frame] if k == "seed" else f32(v[frame])) for k, v in clip.light.items()}
    return kernel.Picture(
        Shapes(f32(inverse), f32(eye), f32(clip.size), clip.live, f32(bounds)),
        Looks(*columns),
        Light(**light),
        f32(clip.camera),
    )


def render_figures(
    config: RenderedFigures, progress: Callable[[int, int], None] | None = None
) -> RenderedImages:
    """Draw the images of `config`, with their truth. `progress(done, total)` is called after each few images.

    The same settings give the same images whatever else is drawn, in whatever order.
    """
    layout = layout_of(config)
    found: list[tuple[int, Clip]] = []
    images, shape, depth, probes = [], [], [], []
    waiting: list[tuple[Clip, int]] = []

    def flush():
        if not waiting:
            return
        batch = [picture(*w) for w in waiting]
        real = len(batch)
        batch += [batch[-1]] * (PARALLEL - real)
        stacked = jax.tree.map(lambda *x: np.stack(x), *batch)
        seen = kernel.draw_all(stacked, layout)
        points = [_camera_points(*w) for w in waiting]
        width = max(len(p) for p in points)
        padded = np.ones((PARALLEL, max(32, width), 3), np.float32)
        for i, p in enumerate(points):
            padded[i, : len(p)] = p
        body = np.stack([w[0].label > 0 for w in waiting])
        body = np.concatenate([body, np.repeat(body[-1:], PARALLEL - real, 0)])
        mine, other = kernel.probe_all(stacked, body, layout, padded)
        mine, other = np.asarray(mine), np.asarray(other)
        for i, p in enumerate(points):
            probes.append((p, mine[i, : len(p)], other[i, : len(p)]))
        images.append(np.asarray(seen.image[:real]))
        shape.append(np.asarray(seen.shape[:real]))
        depth.append(np.asarray(seen.depth[:real]))
        waiting.clear()
        if progress is not None:
            progress(len(probes), config.images)

    for which, clip in clips(config):
        found.append((which, clip))
        for f in range(config.clip):
            waiting.append((clip, f))
            if len(waiting) == PARALLEL:
                flush()
    flush()
    return _record(
        config, found, np.concatenate(images), np.concatenate(shape), np.concatenate(depth), probes
    )


def _camera_points(clip: Clip, frame: int) -> np.ndarray:
    turn, path = clip.subject
    world = clip.motion.points[frame] @ turn[frame].T + path[frame]
    return (world @ clip.rotations[frame].T + clip.translations[frame]).astype(np.float32)


def _record(config: RenderedFigures, found, images, shape, depth, probes) -> RenderedImages:
    several = len(config.figures) > 1
    width, height = config.shape
    first = dict(reversed(found))
    starts: dict[int, int] = {}
    offset: dict[int, int] = {}
    names: list[str] = []
    part_names: list[str] = []
    edges: list[np.ndarray] = []
    pairs: list[np.ndarray] = []
    total = 0
    for which, name in enumerate(config.figures):
        if which not in first:
            continue
        m = first[which].motion
        starts[which] = total
        names += [f"{name}:{n}" if several else n for n in m.names]
        edges.append(m.edges + total)
        if m.symmetric is not None:
            pairs.append(m.symmetric + total)
        total += len(m.names)
        offset[which] = len(part_names)
        labels = sorted(set(first[which].body.labels))
        part_names += [f"{name}:{x}" if several else x for x in labels]
    n = config.images
    category = np.repeat(np.array([w for w, _ in found], np.int32), config.clip)
    points2d, points3d = np.zeros((n, total, 2), np.float32), np.zeros((n, total, 3), np.float32)
    defined, by_body, by_object, outside = (np.zeros((n, total), bool) for _ in range(4))
    parts = np.zeros(shape.shape, np.uint8)
    rotations, translations = np.zeros((n, 3, 3), np.float32), np.zeros((n, 3), np.float32)
    intrinsics = np.zeros((n, 3, 3), np.float32)
    row = 0
    for which, clip in found:
        label = np.where(clip.label > 0, clip.label + offset[which], 0).astype(np.uint8)
        turn, path = clip.subject
        f, cx, cy = clip.camera
        for t in range(config.clip):
            block = slice(starts[which], starts[which] + len(clip.motion.names))
            _, mine, other = probes[row]
            points3d[row, block] = clip.motion.points[t]
            # Float64 from the source: the truth is rounded once.
            world = clip.motion.points[t] @ turn[t].T + path[t]
            x = world @ clip.rotations[t].T + clip.translations[t]
            points2d[row, block] = f * x[:, :2] / x[:, 2:] + (cx, cy)
            defined[row, block] = True
            slack = 1.5 * clip.body.radius + 0.01 * clip.scale
            by_body[row, block] = mine < x[:, 2] - slack
            by_object[row, block] = other < x[:, 2] - slack
            rotations[row] = clip.rotations[t] @ turn[t]
            translations[row] = clip.rotations[t] @ path[t] + clip.translations[t]
            intrinsics[row] = [[f, 0, cx], [0, f, cy], [0, 0, 1]]
            parts[row] = label[shape[row]]
            row += 1
    xy = points2d
    inside = (xy >= -0.5).all(-1) & (xy[..., 0] <= width - 0.5) & (xy[..., 1] <= height - 0.5)
    outside = defined & ~inside
    hidden = {"outside": outside, "object": by_object, "body": by_body}
    visible = defined.copy()
    for name in config.hide:
        visible &= ~hidden[name]
    sequence = np.repeat(np.arange(n // config.clip, dtype=np.int32), config.clip)
    known: dict[str, Any] = {
        "sequence": sequence,
        "category": category if several else None,
        "categories": config.figures if several else None,
        "edges": np.concatenate(edges).astype(np.int32),
        "symmetric": np.concatenate(pairs).astype(np.int32) if pairs else None,
        "names": tuple(names),
    }
    cameras = Cameras(rotations, translations, intrinsics=intrinsics, model="perspective")
    landmarks = Landmarks(
        points2d=np.where(visible[..., None], points2d, 0).astype(np.float32),
        visible=visible,
        defined=defined if several else None,
        intrinsics=intrinsics,
        camera="perspective",
        fps=config.fps,
        **known,
    )
    reference = Reconstruction(
        points3d=points3d,
        cameras=cameras,
        visible=visible,
        valid3d=defined,
        mirror="reference",
        gauge="generated: metres",
        **known,
    )
    return RenderedImages(
        images=images,
        mask=parts > 0,
        parts=parts,
        depth=depth,
        landmarks=landmarks,
        reference=reference,
        hidden_by_body=by_body,
        hidden_by_object=by_object,
        outside=outside,
        boxes=boxes_of(parts > 0),
        sequence=sequence,
        category=category,
        categories=config.figures,
        part_names=tuple(part_names),
        config=config,
    )
