"""Files: landmarks and references in, reconstructions in and out. Formats live in one file each."""

from pathlib import Path
from typing import Any

from jnrsfm.errors import InputError
from jnrsfm.io import (
    bvh,
    c3d,
    c3dpo,
    coco,
    converting,
    cvat,
    deeplabcut,
    label_studio,
    matlab,
    mediapipe,
    mmpose,
    movement,
    movies,  # noqa: F401  (a module of the front door)
    npz,
    openpose,
    point_tracks,
    scenes,  # noqa: F401
    settle,
    sleap,
    stereo,
    tables,
    trc,
    videopose3d,
    write_hdf5,  # noqa: F401  (registers its writers)
    write_scenes,  # noqa: F401
    write_tables,  # noqa: F401
)
from jnrsfm.io._pose import Pose as Pose
from jnrsfm.io._pose import checked
from jnrsfm.io._registry import Format as Format
from jnrsfm.io._registry import by_name, check_options, detect, existing, for_writing
from jnrsfm.io._registry import formats as formats
from jnrsfm.io._registry import register as register
from jnrsfm.io.adjust import remarks as remarks
from jnrsfm.io.adjust import select_points as select_points
from jnrsfm.io.arrays import as_landmarks as as_landmarks
from jnrsfm.io.arrays import to_dataframe as to_dataframe
from jnrsfm.io.arrays import to_xarray as to_xarray
from jnrsfm.io.checks import check_landmarks as check_landmarks
from jnrsfm.io.checks import drop_empty as drop_empty
from jnrsfm.io.checks import usable_frames as usable_frames
from jnrsfm.io.converting import convert as convert
from jnrsfm.io.exporting import Export as Export
from jnrsfm.io.exporting import Writer as Writer
from jnrsfm.io.exporting import register_writer as register_writer
from jnrsfm.io.exporting import writers as writers
from jnrsfm.io.images import IMAGE_FORMATS as IMAGE_FORMATS
from jnrsfm.io.images import check_images as check_images
from jnrsfm.io.images import describe_images as describe_images
from jnrsfm.io.images import format_images as format_images
from jnrsfm.io.images import holds_images as holds_images
from jnrsfm.io.images import image_info as image_info
from jnrsfm.io.images import read_images as read_images
from jnrsfm.io.meshes import write_obj_frames as write_obj_frames
from jnrsfm.io.reading import Reading as Reading
from jnrsfm.io.reading import expand
from jnrsfm.io.reading import read as read
from jnrsfm.io.reconstruction import read_reconstruction as read_reconstruction
from jnrsfm.io.reconstruction import write_reconstruction as write_reconstruction
from jnrsfm.io.results import RESULTS as RESULTS
from jnrsfm.io.results import ResultFile as ResultFile
from jnrsfm.io.results import read_result as read_result
from jnrsfm.io.results import write_beside as write_beside
from jnrsfm.io.results import write_result as write_result
from jnrsfm.io.scenes import SCENE_FORMATS as SCENE_FORMATS
from jnrsfm.io.scenes import read_scene as read_scene
from jnrsfm.io.skeletons import SKELETONS as SKELETONS
from jnrsfm.io.skeletons import symmetric_of as symmetric_of
from jnrsfm.io.summary import UNUSED_INTRINSICS as UNUSED_INTRINSICS
from jnrsfm.io.summary import describe as describe
from jnrsfm.io.summary import format_info as format_info
from jnrsfm.types import Landmarks, Reconstruction

__all__ = [
    "IMAGE_FORMATS", "RESULTS", "SCENE_FORMATS", "SKELETONS", "Export", "Format", "Pose", "Reading", "ResultFile",
    "Writer", "as_landmarks", "check_images", "check_landmarks", "convert", "describe", "describe_images",
    "drop_empty", "format_images", "format_info", "formats", "holds_images", "image_info", "info", "parse", "read",
    "read_images", "read_landmarks", "read_reconstruction", "read_reference", "read_result", "read_scene", "register",
    "register_writer", "remarks", "select_points", "stereo", "symmetric_of", "to_dataframe", "to_xarray",
    "usable_frames", "write_beside", "write_landmarks", "write_obj_frames", "write_reconstruction", "write_result",
    "writers",
]  # fmt: skip

# One line a format; where several can claim a file, the first one is asked first.
register(npz.FORMAT)
register(matlab.FORMAT)
register(c3dpo.FORMAT)
register(deeplabcut.LIGHTNING)
register(deeplabcut.FORMAT)
register(sleap.FORMAT)
register(movement.FORMAT)
register(label_studio.FORMAT)
register(cvat.FORMAT)
register(coco.ANNOTATIONS)
register(coco.ALPHAPOSE)
register(coco.RESULTS)
register(openpose.FORMAT)
register(mmpose.FORMAT)
register(tables.ANIPOSE)
register(mediapipe.FORMAT)
register(videopose3d.FORMAT)
register(point_tracks.FORMAT)
register(trc.FORMAT)
register(c3d.FORMAT)
register(bvh.FORMAT)
register(tables.FORMAT)


def read_landmarks(path, format: str | None = None, **options) -> Landmarks:
    """Landmarks of a file in any registered format, structurally checked; of several files or a pattern, one set.

    `format` names the format; without it, the content or the extension decides. `options` are those of
    `jnrsfm.io.reading.Wishes` (points, rename, min_confidence, skeleton, fps, image_size, missing, y), `individual`
    for the files of pose tools, and the format's own. Missing points come back with `visible` False and coordinate 0.
    Whether the data suffice for a camera model is another question: `check_landmarks(landmarks, camera)`. `read` also
    says what was settled, and which coordinates look wrong.
    Raises InputError: one line with file, key or frame, and what to do.
    """
    return read(path, format, **options).landmarks


def parse(path, format: str | None = None) -> Pose:
    """What a pose tool's file holds, as stored: names, points, scores, individuals, and labels of its rows.

    Nothing is settled: no threshold, no choice of an individual. Raises InputError, also for formats that are not a
    pose tool's.
    """
    path = existing(path)
    fmt = by_name(format) if format else detect(path)
    if fmt.parse is None:
        raise InputError(f"{path}: is {fmt.name}, no file of a pose tool: read it with jnrsfm.read")
    return checked(fmt.parse(path), path)


def read_reference(path, format: str | None = None, **options) -> Reconstruction | None:
    """The reference 3D of a file with its cameras, `mirror="reference"`; None where it holds none.

    See `jnrsfm.io.schema.reference_from_fields` for which cameras it gets. Raises InputError.
    """
    path = existing(path)
    fmt = by_name(format) if format else detect(path)
    if fmt.read_reference is None:
        return None
    options = {k: v for k, v in options.items() if v is not None}
    check_options(fmt.read_reference, options, fmt)
    return fmt.read_reference(path, **options)


def write_landmarks(
    path, landmarks: Landmarks, reference: Reconstruction | None = None, format: str | None = None, **options
) -> None:
    """Write landmarks, and the reference 3D where given, in the extension's format. Raises InputError."""
    path = Path(path)
    fmt = for_writing(path, format)
    assert fmt.write is not None
    check_options(fmt.write, options, fmt)
    fmt.write(path, landmarks, reference, **options)


def info(path, format: str | None = None, **options) -> dict[str, Any]:
    """What a file (or several, or a pattern) holds: `path`, `format`, `notes` (what was settled), `remarks` (what looks
    wrong) and what `describe` says, as plain values. Raises InputError."""
    files = expand(path)
    name = ", ".join(map(str, files[:3])) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    fmt = by_name(format) if format else detect(existing(files[0]))
    if len(files) == 1 and fmt.parse is not None:
        pose = checked(fmt.parse(Path(files[0])), path)
        if pose.world:
            world, notes = settle.reference_of(pose, files[0], options.get("individual"))
            found = describe(converting.world_landmarks(world, pose.fps), world)
            found |= {"problem": "it holds 3D points, which are a reference (--reference), no landmarks"}
            return {"path": name, "format": fmt.name, "notes": list(notes), "remarks": [], **found}
    reading = read(files, format, **options)
    reference = converting._reference(reading.files, format, options)
    looks = list(reading.remarks)
    if reading.landmarks.intrinsics is not None and reading.landmarks.camera is None:
        looks.append(UNUSED_INTRINSICS)
    about = {"image_size": reading.image_size, "notes": list(reading.notes), "remarks": looks}
    return {
        "path": name,
        "format": ", ".join(reading.formats),
        **about,
        **describe(reading.landmarks, reference),
    }
