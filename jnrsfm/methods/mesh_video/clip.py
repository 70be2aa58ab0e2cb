"""What is fitted: frames cut to squares around their object, with masks, distances, flow and keypoints."""

from typing import Any, NamedTuple

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.mesh import TriangleMesh
from jnrsfm.inputs.crops import Squares, squares
from jnrsfm.inputs.flow import flow_between
from jnrsfm.inputs.masks import mask_on_grid, mask_targets, on_grid, picture_on_grid
from jnrsfm.types import LabelledImages

LEAST_POINTS = 5  # visible keypoints that tell a camera
RIM = 128  # points on the edge of a mask


class Clip(NamedTuple):
    """Frames, leading axis frame: `index`; `next`: the frame after it in its clip (itself at the end), `pair` 1 where
    there is one; `centre (2,)` and `side`: the square in pixels; of its grid (size, size): `mask`, `inside` (the
    image), `image (..., 3)` uint8 colours, `away` (distance from the mask, in sides), `flow (..., 2)` to the next frame
    in pixels, `sound` (where it holds); `masked`: 1 with a mask; `rim (rim, 2)` pixels and `rim_weights`; `points
    (point, 2)` pixels and `weights`; `seen (camera, vertex)`."""

    index: Any
    next: Any
    pair: Any
    centre: Any
    side: Any
    mask: Any
    inside: Any
    image: Any
    away: Any
    flow: Any
    sound: Any
    masked: Any
    rim: Any
    rim_weights: Any
    points: Any
    weights: Any
    seen: Any


class Evidence(NamedTuple):
    """What the images say, at full size: `masks`: a bool image a frame, or None; `keypoints (point,)`: vertices of the
    points that landmarks and template share, `columns (point,)` of the landmarks; `where`: the squares; `known
    (frame,)`: there is a mask or enough keypoints; `told (frame,)`: enough keypoints to tell the camera; `made`: masks
    were made from keypoints."""

    masks: list[np.ndarray | None]
    keypoints: np.ndarray
    columns: np.ndarray
    where: Squares
    known: np.ndarray
    told: np.ndarray
    made: bool


def shared_points(images: LabelledImages, mesh: TriangleMesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and columns of the points that template and landmarks both name (or of all, where neither names)."""
    own, given = mesh.names, images.landmarks.names
    if mesh.keypoints is None or not images.landmarks.n_points:
        return np.zeros(0, int), np.zeros(0, int)
    if own is None or given is None:
        same = len(mesh.keypoints) == images.landmarks.n_points
        return (
            (np.asarray(mesh.keypoints), np.arange(len(mesh.keypoints))) if same else (np.zeros(0, int),) * 2
        )
    pairs = [(mesh.keypoints[own.index(n)], k) for k, n in enumerate(given) if n in own]
    found = np.array(pairs, int).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def evidence_of(images: LabelledImages, mesh: TriangleMesh, config: Any, needed: bool = True) -> Evidence:
    """Masks, shared keypoints and squares. Where it is `needed`, raises InputError if there is neither a mask nor
    keypoints to go by."""
    n = len(images)
    keypoints, columns = shared_points(images, mesh)
    if not config.use_keypoints:
        keypoints, columns = keypoints[:0], columns[:0]
    visible = np.asarray(images.landmarks.weights) > 0
    points = np.asarray(images.landmarks.points2d, np.float64)
    enough = visible[:, columns].sum(1) >= LEAST_POINTS
    masks: list[np.ndarray | None] = [None] * n
    if config.use_masks and images.masks is not None:
        masks = [images.masks.read(i)[..., 0] > 127 for i in range(n)]
        masks = [m if m is not None and m.sum() >= 16 else None for m in masks]
    has = np.array([m is not None for m in masks])
    known = has | enough
    if needed and not known.any():
        shared = (
            "" if mesh.keypoints is None else f", and names of keypoints as the template has ({_some(mesh)})"
        )
        raise InputError(
            "mesh-video: no frame has a mask or 5 keypoints that the template has: give masks (--option masks=FOLDER) "
            f"or keypoints (--option landmarks=FILE, keypoints=FILE.yaml){shared}"
        )
    boxes = np.full((n, 4), np.nan) if images.boxes is None else np.array(images.boxes, np.float64)
    for i in np.flatnonzero(known):
        mask = masks[i]
        if mask is not None:
            y, x = np.nonzero(mask)
            boxes[i] = x.min(), y.min(), x.max(), y.max()
        else:
            p = points[i, visible[i]]
            boxes[i] = around_points(np.concatenate([p.min(0), p.max(0)]))
    boxed = np.flatnonzero(np.isfinite(boxes).all(1))
    if len(boxed):  # frames without one have that of their neighbour in time
        boxes = boxes[boxed[np.abs(np.arange(n)[:, None] - boxed).argmin(1)]]
    where = squares(boxes, np.asarray(images.pixels.sizes))
    return Evidence(masks, keypoints, columns, where, known, enough, False)


def around_points(boxes: np.ndarray) -> np.ndarray:
    """Boxes `(*batch, 4)` of keypoints, a tenth of the longer side wider each way: the object reaches beyond."""
    grow = 0.1 * (boxes[..., 2:] - boxes[..., :2]).max(-1, keepdims=True)
    return boxes + grow * np.array([-1, -1, 1, 1])


def _some(mesh: TriangleMesh) -> str:
    return ", ".join((mesh.names or ())[:4]) + " ..."


def with_masks(found: Evidence, masks: list[np.ndarray]) -> Evidence:
    """With masks that were made, in the same squares."""
    kept = [m if m.sum() >= 16 else None for m in masks]
    return found._replace(masks=kept, made=True)


def clip_of(
    images: LabelledImages,
    found: Evidence,
    size: int,
    cameras: int,
    vertices: int,
    motion: bool,
    texture: bool = False,
) -> Clip:
    """The frames on grids of `size`; nothing is seen yet (`seen` is 0)."""
    n, landmarks = len(images), images.landmarks
    sequence = np.arange(n) if landmarks.sequence is None else np.asarray(landmarks.sequence)
    pair = np.r_[sequence[1:] == sequence[:-1], False]
    grid = np.zeros((n, size, size), np.float32)
    mask, inside, away, sound = grid.copy(), grid.copy(), grid.copy(), grid.copy()
    flow, rim, rim_weights = (
        np.zeros((*grid.shape, 2), np.float32),
        np.zeros((n, RIM, 2), np.float32),
        np.zeros((n, RIM), np.float32),
    )
    shown = np.zeros((*grid.shape, 3), np.uint8)
    before = None
    where = found.where
    for i in range(n):
        width, height = np.asarray(images.pixels.sizes)[i]
        square = where.centre[i], float(where.side[i]), size
        inside[i] = mask_on_grid(np.ones((height, width), bool), *square)
        given = found.masks[i]
        if given is not None:
            mask[i] = mask_on_grid(given, *square)
            targets = mask_targets(given, RIM)
            rim[i], rim_weights[i] = targets.rim, targets.weights
            away[i] = on_grid(targets.away[..., None], *square)[..., 0] / where.side[i] * inside[i]
        if texture:
            shown[i] = picture_on_grid(images.pixels.read(i), *square)
        if motion and pair[i] and given is not None:
            image = images.pixels.read(i) if before is None else before
            after = images.pixels.read(i + 1)
            before = after
            if after.shape != image.shape:
                continue
            moved = flow_between(image, after)
            flow[i] = on_grid(moved.move, *square)
            sound[i] = (on_grid(moved.sound[..., None].astype(np.float32), *square)[..., 0] > 0.99) & (
                mask[i] > 0.5
            )
        else:
            before = None
    points = np.asarray(landmarks.points2d, np.float32)[:, found.columns]
    weights = np.asarray(landmarks.weights, np.float32)[:, found.columns]
    index = np.arange(n, dtype=np.int32)
    return Clip(
        index, np.where(pair, index + 1, index).astype(np.int32), pair.astype(np.float32),
        where.centre.astype(np.float32), where.side.astype(np.float32), mask, inside, shown, away, flow, sound,
        np.array([m is not None for m in found.masks], np.float32), rim, rim_weights,
        np.where(weights[..., None] > 0, points, 0).astype(np.float32), weights,
        np.zeros((n, cameras, vertices), np.float32),
    )  # fmt: skip
