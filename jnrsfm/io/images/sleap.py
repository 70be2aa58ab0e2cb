"""SLEAP's label files (`.slp`), with frames embedded (`.pkg.slp`) or in videos and images beside them.

HDF5 (the extra `files`): `frames`, `instances`, `points` (labels), `pred_points`, `videos_json`, and in `metadata` the
skeletons. One item for each animal that is labelled in a frame; where people labelled in a frame, the predictions in it
are left out. Files before format 1.1 count from the corner of a pixel: half a pixel is taken off. Format as sleap-io
reads it.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._hdf5 import Hdf5, as_text, open_hdf5
from jnrsfm.io.images.record import assembled, image_files
from jnrsfm.io.sleap import links_of
from jnrsfm.io.video import VideoPixels
from jnrsfm.pixels import Chosen, FilePixels, read_image
from jnrsfm.types import LabelledImages, Landmarks

LABEL, PREDICTION = 0, 1


def finds(path: Path) -> bool:
    """Whether this is a file of SLEAP labels, or a folder with just one."""
    return _file(path) is not None


def _file(path: Path) -> Path | None:
    if path.is_dir():
        found = sorted(path.glob("*.slp"))
        if len(found) > 1:
            raise InputError(
                f"{path}: labels stand in {found[0].name} and in {found[1].name}: name the file to read"
            )
        return found[0] if found else None
    return path if path.is_file() and path.suffix.lower() == ".slp" else None


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddedPixels:
    """Frames that stand in an HDF5 file as PNG or JPEG, each decoded when it is read. `sizes (image, 2)`."""

    file: Path
    dataset: str
    sizes: np.ndarray
    bgr: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Their places in the file."""
        return tuple(f"{self.dataset} {i}" for i in range(len(self.sizes)))

    def read(self, number: int) -> np.ndarray:
        """Image `number`. Raises InputError."""
        with open_hdf5(self.file) as file:
            row = file.row(self.dataset, number)
        image = read_image(self.file, row.astype(np.uint8, copy=False).tobytes())
        return image[..., ::-1] if self.bgr else image


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
    """Several sets of images, one after the other."""

    parts: tuple[Any, ...]

    @property
    def sizes(self) -> np.ndarray:
        """`(image, 2)` width and height."""
        return np.concatenate([p.sizes for p in self.parts])

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(name for p in self.parts for name in p.names)

    def read(self, number: int) -> np.ndarray:
        """Image `number` of all."""
        for part in self.parts:
            count = len(part.sizes)
            if number < count:
                return part.read(number)
            number -= count
        raise IndexError(number)


def read(path: Path, *, images: str | None = None, outside: str = "refuse") -> LabelledImages:
    """Labelled frames. `images`: the folder with the videos or images that the file names (else its own). Raises
    InputError."""
    where = _file(path)
    if where is None:
        raise InputError(f"{path}: holds no .slp file: name one")
    roots = [where.parent] if images is None else [Path(images).expanduser()]
    with open_hdf5(where) as file:
        try:
            held = _held(where, file)
            videos = [json.loads(text) for text in file.texts("videos_json")]
            pixels, numbers = _pixels(where, file, videos, held, roots)
        except InputError:
            raise
        # A damaged file can raise nearly anything from the parsers.
        except Exception as error:
            cause = f"{type(error).__name__}: {error}".splitlines()[0][:160]
            raise InputError(f"{where}: cannot be read as SLEAP labels ({cause}): save them again") from error
    points = held.points
    visible = np.isfinite(points).all(-1)
    landmarks = Landmarks(
        np.where(visible[..., None], points, 0).astype(np.float32),
        visible,
        edges=np.array(held.edges, np.int32) if held.edges else None,
        symmetric=np.array(held.symmetric, np.int32) if held.symmetric else None,
        names=held.names,
    )
    return assembled(where, Chosen(pixels, numbers), landmarks, outside=outside)


@dataclasses.dataclass(frozen=True, eq=False)
class _Held:
    """Labels by item: `video (item,)`, `frame (item,)` number in it, `points (item, point, 2)`."""

    video: np.ndarray
    frame: np.ndarray
    points: np.ndarray
    names: tuple[str, ...]
    edges: list[tuple[int, int]]
    symmetric: list[tuple[int, int]]


def _held(where: Path, file: Hdf5) -> _Held:
    document = json.loads(as_text(file.attribute("json", "metadata")))
    nodes = [str(n["name"]) for n in document["nodes"]]
    skeleton = document["skeletons"][0]
    order = [int(n["id"]) for n in skeleton["nodes"]]
    edges, symmetric = links_of(skeleton.get("links", []), {node: i for i, node in enumerate(order)})
    frames, instances = file.array("frames"), file.array("instances")
    version = file.attribute("format_id", "metadata")
    shift = 0.5 if version is not None and float(np.asarray(version).reshape(-1)[0]) < 1.1 else 0.0
    stored = {LABEL: file.array("points"), PREDICTION: file.array("pred_points")}
    video, number, points = [], [], []
    for row in frames:
        mine = instances[int(row["instance_id_start"]) : int(row["instance_id_end"])]
        labelled = mine[mine["instance_type"] == LABEL]
        for instance in labelled if len(labelled) else mine:
            if int(instance["skeleton"]) != 0:
                raise InputError(f"{where}: has several skeletons: split the file by skeleton")
            table = stored[int(instance["instance_type"])]
            part = table[int(instance["point_id_start"]) : int(instance["point_id_end"])]
            xy = np.stack([part["x"], part["y"]], -1).astype(float) - shift
            xy[~np.asarray(part["visible"], bool)] = np.nan
            if len(xy) != len(order):
                raise InputError(
                    f"{where}: an instance has {len(xy)} points, the skeleton {len(order)}: save it again"
                )
            video.append(int(row["video"]))
            number.append(int(row["frame_idx"]))
            points.append(xy)
    if not points:
        raise InputError(f"{where}: no frame is labelled: label some")
    names = tuple(nodes[i] for i in order)
    return _Held(np.array(video), np.array(number), np.array(points), names, list(edges), list(symmetric))


def _pixels(
    where: Path, file: Hdf5, videos: list[dict[str, Any]], held: _Held, roots: Sequence[Path]
) -> tuple[Joined, np.ndarray]:
    """The images of the videos that are labelled, and which of them each item is."""
    parts: list[Any] = []
    numbers = np.zeros(len(held.video), int)
    start = 0
    for v in np.unique(held.video).tolist():
        mine = held.video == v
        said = videos[v].get("backend") or {}
        dataset = str(said.get("dataset") or "")
        names = said.get("filenames") or said.get("filename") or videos[v].get("filename") or ""
        part: Any
        if dataset and dataset in file:
            part, index = _embedded(where, file, dataset)
            unknown = [n for n in held.frame[mine].tolist() if n not in index]
            if unknown:
                raise InputError(
                    f"{where}: frame {unknown[0]} of {dataset} is labelled but not embedded: save it again"
                )
            numbers[mine] = start + np.array([index[n] for n in held.frame[mine].tolist()])
        else:
            if isinstance(names, list):
                part = FilePixels.of(image_files([str(n) for n in names], roots, where))
            else:
                part = VideoPixels.of(image_files([str(names)], roots, where)[0])
            late = held.frame[mine].max()
            if late >= len(part.sizes):
                raise InputError(
                    f"{where}: frame {late} is labelled, {names} has {len(part.sizes)}: name another video"
                )
            numbers[mine] = start + held.frame[mine]
        parts.append(part)
        start += len(part.sizes)
    return Joined(tuple(parts)), numbers


def _embedded(where: Path, file: Hdf5, dataset: str) -> tuple[EmbeddedPixels, dict[int, int]]:
    count = int(file.shape(dataset)[0])
    if not file.has_attribute("format", dataset):
        raise InputError(f"{where}: {dataset} holds raw pixels: export the package again with images as PNG")
    numbers = list(range(count))
    beside = dataset.rpartition("/")[0] + "/frame_numbers"
    if beside in file:
        numbers = [int(n) for n in file.array(beside)]
    width, height = file.attribute("width", dataset), file.attribute("height", dataset)
    if count and width is not None and height is not None:
        size = (int(width), int(height))
    else:
        row = file.row(dataset, 0).astype(np.uint8, copy=False).tobytes()
        tall, wide = read_image(where, row).shape[:2]
        size = (wide, tall)
    order = file.attribute("channel_order", dataset)
    bgr = order is not None and as_text(order).upper() == "BGR"
    return EmbeddedPixels(where, dataset, np.tile(np.array(size), (count, 1)), bgr), dict(
        zip(numbers, range(count), strict=True)
    )
