"""The sets of these experiments: rendered moving scenes with labels of unknown slope and offset (made once, kept in a
scratch folder), and crops of real stereo scenes."""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jnrsfm.datasets import RenderedFigures, render_figures
from jnrsfm.depth_maps import ArrayPairs
from jnrsfm.inputs import at_size
from jnrsfm.inputs.flow import flow_between
from jnrsfm.pixels import read_image

SCRATCH = Path(os.environ.get("JNRSFM_SCRATCH", tempfile.gettempdir())) / "jnrsfm-rendered"
FIGURES = ("walker", "quadruped", "bird", "car")
SIZE = (96, 64)  # as rendered
CLIP = 3


class Moving(NamedTuple):
    """Rendered pairs: `pairs` (their disparity is the label), `depth (pair, y, x)` true, `moves (pair, y, x)`: a figure
    that moves by itself is seen there."""

    pairs: ArrayPairs
    depth: np.ndarray
    moves: np.ndarray


def rendered(clips: int, seed: int) -> Moving:
    """Pairs of neighbouring frames of `clips` clips of three: figures walking through textured rooms, a hand-held
    camera that moves on by about three degrees a frame. Flow is exact. Labels: a / depth + c, slope and offset drawn
    for each clip as a rig of unknown baseline and convergence has them: disparities are negative in most images."""
    path = SCRATCH / f"moving-{clips}-{SIZE[0]}x{SIZE[1]}-{seed}.npz"
    if not path.is_file():
        config = RenderedFigures(
            figures=FIGURES, images=clips * CLIP, clip=CLIP, size=SIZE, flow=True, travel=True, seed=seed, fps=8.0,
            degrees_per_frame=3.0, distance=(1.5, 5.0), fill=(0.35, 0.8), off_centre=0.12, rooms=0.8, clutter=4.0,
        )  # fmt: skip
        made = render_figures(config)
        SCRATCH.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(
            beside, images=made.images, depth=made.depth, flow=made.flow_forward.astype(np.float16), mask=made.mask
        )  # fmt: skip
        beside.replace(path)
    with np.load(path, allow_pickle=False) as file:
        a = {name: file[name] for name in file.files}
    first = np.flatnonzero(np.arange(clips * CLIP) % CLIP < CLIP - 1)
    depth = a["depth"][first].astype(np.float32)
    rng = np.random.default_rng(seed)
    inverse = 1 / depth
    slope = np.exp(rng.uniform(np.log(0.3), np.log(3.0), clips)).astype(np.float32)
    offset = rng.uniform(-1.0, 0.2, clips).astype(np.float32)
    clip = first // CLIP
    size = np.median(inverse, (1, 2))[:, None, None]
    label = 10 * slope[clip][:, None, None] * (inverse / size + offset[clip][:, None, None])
    pairs = ArrayPairs(
        a["images"][first], a["images"][first + 1], label.astype(np.float32), a["flow"][first].astype(np.float32),
        np.ones(depth.shape, bool), clip,
    )  # fmt: skip
    return Moving(pairs, depth, a["mask"][first])


def mixed(crops: ArrayPairs, made: ArrayPairs, size: tuple[int, int]) -> ArrayPairs:
    """Crops and rendered pairs, as single frames of one `size`."""
    rows = [at_size(made.read(i), size) for i in range(len(made))]
    a = {name: np.stack([r[name] for r in rows]) for name in ("first", "disparity", "valid")}
    join = lambda name: np.concatenate([getattr(crops, name), a[name]])
    first, disparity = join("first"), join("disparity").astype(np.float32)
    shots = np.concatenate([np.asarray(crops.shots), 1000 + np.asarray(made.shots)])
    flow = np.zeros((*disparity.shape, 2), np.float32)
    return ArrayPairs(first, first, disparity, flow, join("valid"), shots)


# Two times of a real scene: the folder and name of both, the key of the first time's disparity or depth.
REAL_PAIRS = (
    ("motion_stereo", "things", "things_left_0.jpg", "things_left_1.jpg", "disparity_left_0"),
    ("motion_stereo", "kitti00", "kitti00_left_0.png", "kitti00_left_1.png", "disparity_left_0"),
    ("rgbd", "room5", "room5_0.jpg", "room5_1.jpg", "depth_raw"),
    ("rgbd", "room5", "room5_3.jpg", "room5_4.jpg", "depth_raw"),
    ("rgbd", "office5", "office5_0.jpg", "office5_1.jpg", "depth_raw"),
    ("rgbd", "office5", "office5_2.jpg", "office5_3.jpg", "depth_raw"),
    ("rgbd", "tum_desk_pair", "tum_desk_pair_0.jpg", "tum_desk_pair_1.jpg", "depth_raw"),
)


def real_pairs(folder: Path, size: tuple[int, int]) -> tuple[list[str], ArrayPairs]:
    """Real pairs with known depth, cut in the middle to the aspect of `size` and brought to it; the label is the
    inverse depth or the disparity. Flow by dense inverse search, at full size."""
    rows, names = [], []
    for group, name, one, two, key in REAL_PAIRS:
        first, second = (read_image(folder / group / n) for n in (one, two))
        with np.load(folder / group / f"{name}.npz", allow_pickle=False) as file:
            if key == "depth_raw":
                raw = file[key]
                raw = raw[int(one.removesuffix(".jpg").rsplit("_", 1)[1])] if raw.ndim == 3 else raw
                depth = raw.astype(np.float32) / float(file["depth_scale"])
                label = np.where(depth > 0, 1 / np.maximum(depth, 1e-6), 0).astype(np.float32)
            else:
                label = file[key].astype(np.float32) / float(file["disparity_scale"])
        flow = flow_between(first, second).move
        high, wide = label.shape
        tall, broad = min(high, int(wide * size[1] / size[0])), min(wide, int(high * size[0] / size[1]))
        top, left = (high - tall) // 2, (wide - broad) // 2
        cut = lambda x, y=top, u=left, h=tall, w=broad: x[y : y + h, u : u + w]
        pair = {"first": cut(first), "second": cut(second), "flow": cut(flow), "disparity": cut(label)}
        rows.append(at_size({**pair, "valid": cut(label) > 0}, size))
        names.append(f"{name} {one.rsplit('_', 1)[1].split('.')[0]}")
    a = {k: np.stack([r[k] for r in rows]) for k in rows[0]}
    return names, ArrayPairs(**a, shot=np.arange(len(rows)))


TRAIN_SCENES = ("Art", "Books", "Laundry", "Cones", "Motorcycle", "eth3d_playground")
TEST_SCENES = ("Dolls", "Teddy")


def stereo_crops(
    folder: Path, scenes: tuple[str, ...], each: int, size: tuple[int, int], seed: int
) -> ArrayPairs:
    """Crops of the left pictures of real stereo scenes, each of a half to all of the scene's height and of the aspect
    of `size`, its disparity by a slope and an offset of its own. Single frames: the second is the first, no flow.
    `each` 1: the whole middle of each scene."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, name in enumerate(scenes):
        image = read_image(folder / f"{name}_left.png")
        with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
            disparity = file["disparity_left"].astype(np.float32) / float(file["disparity_scale"])
        high, wide = disparity.shape
        most = min(high, int(wide * size[1] / size[0]))
        for _ in range(each):
            tall = most if each == 1 else int(most * rng.uniform(0.5, 1.0))
            broad = int(tall * size[0] / size[1])
            top, left = (
                ((high - tall) // 2, (wide - broad) // 2)
                if each == 1
                else (rng.integers(0, high - tall + 1), rng.integers(0, wide - broad + 1))
            )
            y = (top + (np.arange(size[1]) + 0.5) * tall / size[1]).astype(int)
            x = (left + (np.arange(size[0]) + 0.5) * broad / size[0]).astype(int)
            cut = disparity[y][:, x]
            picture = _shrunk(image[top : top + tall, left : left + broad], size)
            slope, offset = (np.exp(rng.uniform(-1, 1)), rng.uniform(-60, 20)) if each > 1 else (1.0, 0.0)
            rows.append((picture, slope * cut + offset, cut > 0, number))
    pictures, labels, valid, number = (np.stack(x) for x in zip(*rows, strict=True))
    flow = np.zeros((*labels.shape, 2), np.float32)
    return ArrayPairs(pictures, pictures, labels.astype(np.float32), flow, valid, number)


def _shrunk(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from jnrsfm.pixels import resized

    return resized(image, size)
