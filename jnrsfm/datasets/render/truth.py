"""What rendering gives: `RenderedImages`, and how it is put together."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from jnrsfm.datasets.render.config import RenderedFigures
from jnrsfm.datasets.render.scene import Clip
from jnrsfm.pixels import ArrayPixels
from jnrsfm.types import Cameras, LabelledImages, Landmarks, Reconstruction


@dataclasses.dataclass(frozen=True, eq=False)
class RenderedImages:
    """Images of figures and what is exactly true of them; NumPy arrays, `frame` counting all images, clip
    after clip. Metres, pixels; pixel centres are at integers.

    `images (frame, h, w, 3)` uint8; `mask (frame, h, w)`: the figure is what the pixel's centre shows;
    `parts (frame, h, w)`: 0 where it is not, else one more than the index into `part_names`; `depth (frame,
    h, w)`: z in the camera frame, everywhere.

    `landmarks`: 2D, `visible` as `RenderedFigures.hide` says, with names, edges, `sequence`, `category`.
    `reference`: the 3D points in the figure's own frame and the cameras from there; its `visible` is the
    landmarks'. `hidden_by_body`, `hidden_by_object`, `outside (frame, point)`: a point is hidden where its
    ray meets something before the point by more than one and a half times the depth at which it lies under
    the skin, and a hundredth of the figure's size. `boxes (frame, 4)`: x0, y0, x1, y1 of the mask's pixels,
    edges half a pixel out; NaN where nothing of the figure is seen.

    `cameras`: from the world, which stands still during a clip. `shape (frame, h, w)`: index of the shape
    that the pixel's centre shows, and `placed (frame, shape, 3, 4)` where that shape is in the world at
    that time, float64: `carry` follows points by them.

    With `flow`: `flow_forward`, `flow_backward (frame, h, w, 2)` in pixels to the frame after and before,
    for every pixel, and `hidden_forward`, `hidden_backward`: the point is out of sight there. The last
    (first) frame of a clip has flow 0 and everything hidden. With `stereo`: `right_images`, `right_depth`,
    `disparity (frame, h, w)` of the left images, f b (1 / z - c), so that x_right = x_left - disparity;
    `hidden_right`; `baseline (frame,)` b; `convergence (frame,)` c, over the depth of disparity 0."""

    images: UInt8[np.ndarray, "frame h w 3"]
    mask: Bool[np.ndarray, "frame h w"]
    parts: UInt8[np.ndarray, "frame h w"]
    depth: Float[np.ndarray, "frame h w"]
    landmarks: Landmarks
    reference: Reconstruction
    hidden_by_body: Bool[np.ndarray, "frame point"]
    hidden_by_object: Bool[np.ndarray, "frame point"]
    outside: Bool[np.ndarray, "frame point"]
    boxes: Float[np.ndarray, "frame 4"]
    sequence: Int[np.ndarray, " frame"]
    category: Int[np.ndarray, " frame"]
    categories: tuple[str, ...]
    part_names: tuple[str, ...]
    cameras: Cameras
    shape: UInt8[np.ndarray, "frame h w"]
    placed: Float[np.ndarray, "frame shape 3 4"]
    config: RenderedFigures
    flow_forward: Float[np.ndarray, "frame h w 2"] | None = None
    flow_backward: Float[np.ndarray, "frame h w 2"] | None = None
    hidden_forward: Bool[np.ndarray, "frame h w"] | None = None
    hidden_backward: Bool[np.ndarray, "frame h w"] | None = None
    right_images: UInt8[np.ndarray, "frame h w 3"] | None = None
    right_depth: Float[np.ndarray, "frame h w"] | None = None
    right_mask: Bool[np.ndarray, "frame h w"] | None = None
    disparity: Float[np.ndarray, "frame h w"] | None = None
    hidden_right: Bool[np.ndarray, "frame h w"] | None = None
    baseline: Float[np.ndarray, " frame"] | None = None
    convergence: Float[np.ndarray, " frame"] | None = None

    @property
    def intrinsics(self):
        """`(frame, 3, 3)` camera matrices."""
        return self.reference.cameras.intrinsics

    def labelled(self) -> LabelledImages:
        """The images with their landmarks as labels, as methods take them; the boxes are those of the labels."""
        return LabelledImages(ArrayPixels(self.images), self.landmarks)

    def carry(self, frame: int, to: int, pixels=None):
        """World points `(..., 3)` at frame `to` of the surface points that `pixels (..., 2)` (x, y,
        integers; None: all, `(h, w)`) see in `frame`, both of the same clip; `cameras` of any frame project
        them.

        With X the camera-frame point of a pixel and M the map that places its shape: `M_to M_frame^-1 (R^T
        (X - t))`. Raises ValueError for frames of different clips."""
        if self.sequence[frame] != self.sequence[to]:
            raise ValueError(f"frames {frame} and {to} belong to different clips")
        if pixels is None:
            h, w = self.depth.shape[1:]
            pixels = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1)
        x, y = np.moveaxis(np.asarray(pixels), -1, 0)
        k = np.asarray(self.intrinsics, np.float64)[frame]
        z = self.depth[frame, y, x].astype(np.float64)
        seen = np.stack([(x - k[0, 2]) / k[0, 0] * z, (y - k[1, 2]) / k[1, 1] * z, z], -1)
        r = np.asarray(self.cameras.rotations, np.float64)[frame]
        t = np.asarray(self.cameras.translations, np.float64)[frame]
        world = (seen - t) @ r
        index = self.shape[frame, y, x]
        here, there = self.placed[frame, index], self.placed[to, index]
        local = np.linalg.solve(here[..., :3], (world - here[..., 3])[..., None])
        return (there[..., :3] @ local)[..., 0] + there[..., 3]


def boxes_of(mask):
    """`(frame, 4)` bounds of the true pixels of `mask (frame, h, w)`; NaN where there are none."""
    out = np.full((len(mask), 4), np.nan, np.float32)
    for axis, (low, high) in ((1, (0, 2)), (2, (1, 3))):
        seen = mask.any(axis)
        some = seen.any(1)
        out[some, low] = seen[some].argmax(1) - 0.5
        out[some, high] = seen.shape[1] - 1 - seen[some, ::-1].argmax(1) + 0.5
    return out


def _skeleton(config: RenderedFigures, first: dict[int, Clip]) -> tuple[dict[str, Any], dict[int, int], int]:
    """Names, edges, pairs of the landmarks; where the block of each figure begins; how many there are."""
    several = len(config.figures) > 1
    names: list[str] = []
    edges, pairs, starts = [], [], {}
    for which, name in enumerate(config.figures):
        if which in first:
            m, starts[which] = first[which].motion, len(names)
            edges.append(m.edges + len(names))
            if m.symmetric is not None:
                pairs.append(m.symmetric + len(names))
            names += [f"{name}:{n}" if several else n for n in m.names]
    known = {
        "names": tuple(names),
        "edges": np.concatenate(edges).astype(np.int32),
        "symmetric": np.concatenate(pairs).astype(np.int32) if pairs else None,
    }
    return known, starts, len(names)


def _part_names(config: RenderedFigures, first: dict[int, Clip]) -> tuple[list[str], dict[int, int]]:
    """Names of all parts, and where those of each figure begin."""
    names: list[str] = []
    offset = {}
    for which, name in enumerate(config.figures):
        if which in first:
            offset[which] = len(names)
            labels = first[which].label_names
            names += [f"{name}:{x}" if len(config.figures) > 1 else x for x in labels]
    return names, offset


def record(
    config: RenderedFigures, found: list[tuple[int, Clip]], drawn: dict[str, np.ndarray]
) -> RenderedImages:
    """The record of the clips `found`, with the index of their figures, and what the device made of their
    frames."""
    several = len(config.figures) > 1
    width, height = config.shape
    first = dict(reversed(found))
    known, starts, total = _skeleton(config, first)
    part_names, offset = _part_names(config, first)
    n, length = config.images, config.clip
    points2d, points3d = np.zeros((n, total, 2), np.float32), np.zeros((n, total, 3), np.float32)
    defined, by_body, by_object = (np.zeros((n, total), bool) for _ in range(3))
    parts = np.zeros(drawn["shape"].shape, np.uint8)
    right_mask = np.zeros(drawn["shape"].shape, bool)
    own: list[np.ndarray] = []  # cameras from the figure's frame
    for c, (which, clip) in enumerate(found):
        rows = slice(c * length, (c + 1) * length)
        block = slice(starts[which], starts[which] + len(clip.motion.names))
        turn, path = clip.subject
        # Float64 from the source: the truth is rounded once.
        rotation = clip.rotations @ turn
        translation = np.einsum("fij,fj->fi", clip.rotations, path) + clip.translations
        x = np.einsum("fij,fpj->fpi", rotation, clip.motion.points) + translation[:, None]
        points3d[rows, block] = clip.motion.points
        points2d[rows, block] = clip.camera[0] * x[..., :2] / x[..., 2:] + clip.camera[1:]
        defined[rows, block] = True if clip.motion.defined is None else clip.motion.defined
        slack = 1.5 * clip.body.radius + 0.01 * clip.scale
        here = slice(0, x.shape[1])
        by_body[rows, block] = drawn["mine"][rows, here] < x[..., 2] - slack
        by_object[rows, block] = drawn["other"][rows, here] < x[..., 2] - slack
        label = np.where(clip.label > 0, clip.label + offset[which], 0).astype(np.uint8)
        parts[rows] = label[drawn["shape"][rows]]
        if config.stereo:
            right_mask[rows] = label[drawn["right_shape"][rows]] > 0
        own.append(np.concatenate([rotation, translation[..., None]], -1))
    camera = np.concatenate([np.tile(clip.camera, (length, 1)) for _, clip in found])
    intrinsics = np.tile(np.eye(3, dtype=np.float32), (n, 1, 1))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = camera[:, 0]
    intrinsics[:, :2, 2] = camera[:, 1:]
    xy = points2d
    inside = (xy >= -0.5).all(-1) & (xy[..., 0] <= width - 0.5) & (xy[..., 1] <= height - 0.5)
    hidden = {"outside": defined & ~inside, "object": by_object & defined, "body": by_body & defined}
    visible = defined.copy()
    for name in config.hide:
        visible &= ~hidden[name]
    sequence = np.repeat(np.arange(n // length, dtype=np.int32), length)
    category = np.repeat(np.array([w for w, _ in found], np.int32), length)
    whole = bool(defined.all())
    known |= {
        "sequence": sequence,
        "category": category if several else None,
        "categories": config.figures if several else None,
    }
    views = np.concatenate(own).astype(np.float32)
    cameras = Cameras(views[..., :3], views[..., 3], intrinsics=intrinsics, model="perspective")
    outer = np.concatenate([np.concatenate([c.rotations, c.translations[..., None]], -1) for _, c in found])
    outer = outer.astype(np.float32)
    return RenderedImages(
        images=drawn["image"],
        mask=parts > 0,
        parts=parts,
        depth=drawn["depth"],
        landmarks=Landmarks(
            points2d=np.where(visible[..., None], points2d, 0).astype(np.float32),
            visible=visible,
            defined=None if whole else defined,
            intrinsics=intrinsics,
            camera="perspective",
            fps=config.fps if length > 1 else None,
            **known,
        ),
        reference=Reconstruction(
            points3d=points3d,
            cameras=cameras,
            visible=visible,
            valid3d=defined,
            mirror="reference",
            gauge="generated: metres",
            **known,
        ),
        hidden_by_body=hidden["body"],
        hidden_by_object=hidden["object"],
        outside=hidden["outside"],
        boxes=boxes_of(parts > 0),
        sequence=sequence,
        category=category,
        categories=config.figures,
        part_names=tuple(part_names),
        cameras=Cameras(outer[..., :3], outer[..., 3], intrinsics=intrinsics, model="perspective"),
        shape=drawn["shape"].astype(np.uint8),
        placed=np.concatenate([np.concatenate([c.linear, c.origin[..., None]], -1) for _, c in found]),
        config=config,
        **_motion(config, found, drawn, right_mask),
    )


def _motion(config: RenderedFigures, found, drawn, right_mask) -> dict[str, Any]:
    """The fields of flow and stereo."""
    out: dict[str, Any] = {}
    if config.flow:
        position = np.arange(config.images) % config.clip
        for name, end in (("forward", config.clip - 1), ("backward", 0)):
            none = (position == end)[:, None, None]
            out[f"flow_{name}"] = np.where(none[..., None], 0, drawn[f"flow_{name}"]).astype(np.float32)
            out[f"hidden_{name}"] = none | drawn[f"hidden_{name}"]
    if config.stereo:
        base = np.repeat([clip.baseline for _, clip in found], config.clip)
        focal = np.repeat([clip.camera[0] for _, clip in found], config.clip)
        converge = np.repeat([clip.convergence for _, clip in found], config.clip)
        out |= {
            "right_images": drawn["right_image"],
            "right_depth": drawn["right_depth"],
            "right_mask": right_mask,
            "hidden_right": drawn["hidden_right"],
            "disparity": (
                (focal * base)[:, None, None] * (1 / drawn["depth"] - converge[:, None, None])
            ).astype(np.float32),
            "convergence": converge.astype(np.float32),
            "baseline": base.astype(np.float32),
        }
    return out


def contact_sheet(images, columns: int = 8):
    """One image `(rows h, columns w, 3)` uint8 of `images (frame, h, w, 3)`, row after row; grey where
    there are none."""
    images = np.asarray(images)
    n, h, w = images.shape[:3]
    rows = -(-n // columns)
    sheet = np.full((rows * columns, h, w, 3), 128, np.uint8)
    sheet[:n] = images
    return sheet.reshape(rows, columns, h, w, 3).swapaxes(1, 2).reshape(rows * h, columns * w, 3)
