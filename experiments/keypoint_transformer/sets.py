"""The image sets of these experiments: rendered figures of several kinds, and real labelled sets as one problem."""

import os
from pathlib import Path

import numpy as np

from experiments.student import sets
from experiments.student.sets import SCRATCH, Rendered
from jnrsfm import Landmarks
from jnrsfm.datasets import RenderedFigures, render_figures
from jnrsfm.pixels import ArrayPixels
from jnrsfm.types import LabelledImages

KINDS = ("walker", "quadruped", "hand", "bird")
FIELDS = ("points2d", "visible", "defined", "category", "edges", "symmetric")


def figures(count: int, seed: int, size: int = 96, kinds: tuple[str, ...] = KINDS, clip: int = 1) -> Rendered:
    """Photographs of figures of several kinds, each a category with keypoints of its own."""
    path = SCRATCH / f"figures-{'-'.join(kinds)}-{count}-{clip}-{size}-{seed}.npz"
    if not path.is_file():
        made = render_figures(RenderedFigures(figures=kinds, images=count, clip=clip, size=size, seed=seed))
        marks = made.landmarks
        SCRATCH.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.npz")
        arrays = {name: np.asarray(getattr(marks, name)) for name in FIELDS}
        np.savez(
            beside, images=made.images, points3d=np.asarray(made.reference.camera_points),
            names=np.array(marks.names), categories=np.array(marks.categories),
            sequence=np.asarray(made.sequence), **arrays,
        )  # fmt: skip
        beside.replace(path)
    with np.load(path, allow_pickle=False) as file:
        a = {name: file[name] for name in file.files}
    marks = Landmarks(
        a["points2d"].astype(np.float32), a["visible"], defined=a["defined"], category=a["category"],
        edges=a["edges"], symmetric=a["symmetric"], names=tuple(map(str, a["names"])),
        categories=tuple(map(str, a["categories"])), sequence=a["sequence"] if clip > 1 else None,
    )  # fmt: skip
    return Rendered(LabelledImages(ArrayPixels(a["images"]), marks), a["points3d"], a["points2d"])


REAL = ("openfield_mouse", "reaching_mouse", "mirror_mouse", "fly_top", "sleap_mouse_4cam", "horse_walk")


def real_together(folder: Path, side: int = 160) -> tuple[LabelledImages, np.ndarray]:
    """The real sets as categories of one set, patches around their boxes of `side` pixels; and which images are of the
    last fifth of their set. Labels are moved with the patches."""
    from jnrsfm.inputs import crops

    parts, names, category, last, canvases, marks = [], [], [], [], [], []
    for number, name in enumerate(REAL):
        images = sets.real(name, folder)
        images = images.select(np.flatnonzero(np.asarray(images.landmarks.visible).sum(1) >= 4))
        where = crops.squares(crops.label_boxes(images), images.pixels.sizes)
        pixels = crops.canvases(images, where, side)
        canvas = pixels.shape[1]
        points = where.to_crop(np.asarray(images.landmarks.points2d, np.float64))
        points = (points / crops.MARGIN + 0.5) * canvas - 0.5
        n = len(images)
        parts.append((points, np.asarray(images.landmarks.visible), images.landmarks.symmetric))
        names += [f"{name}:{p}" for p in images.landmarks.names or range(points.shape[1])]
        category += [number] * n
        last += list(np.arange(n) >= int(0.8 * n))
        canvases.append(pixels)
    total = sum(p.shape[1] for p, _, _ in parts)
    at, symmetric = 0, []
    for points, visible, pairs in parts:
        n, p = visible.shape
        block = np.zeros((n, total, 2), np.float32), np.zeros((n, total), bool), np.zeros((n, total), bool)
        inside = visible & (points >= 0).all(-1) & (points <= canvases[0].shape[1] - 1).all(-1)
        block[0][:, at : at + p] = np.where(inside[..., None], points, 0)
        block[1][:, at : at + p], block[2][:, at : at + p] = inside, True
        symmetric += [] if pairs is None else [(a + at, b + at) for a, b in np.asarray(pairs)]
        marks.append(block)
        at += p
    points2d, visible, defined = (np.concatenate(x) for x in zip(*marks, strict=True))
    landmarks = Landmarks(
        points2d, visible, defined=defined, category=np.array(category), categories=REAL, names=tuple(names),
        symmetric=np.array(symmetric, int).reshape(-1, 2) if symmetric else None,
    )  # fmt: skip
    return LabelledImages(ArrayPixels(np.concatenate(canvases)), landmarks), np.array(last)
