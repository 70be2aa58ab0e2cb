"""SLEAP: analysis files (`.h5`: `tracks (track, xy, node, frame)`), projects or predictions (`.slp`), and the 3D of
sleap-anipose (`.h5`: `tracks (frame, track, node, 3)`).

In `.slp` the order of points is `skeletons[0].nodes`, which are numbers into `nodes`; edges of type 2 are left-right
pairs. Files before format 1.1 count from the corner of the first pixel: half a pixel is taken off.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._hdf5 import Hdf5, as_text, is_hdf5, open_hdf5
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import start_of

EDGE, SYMMETRY = 1, 2  # types of a skeleton's links


def parse(path: Path) -> Pose:
    """What a SLEAP file holds. Raises InputError."""
    with open_hdf5(path) as file:
        if "tracks" in file:
            return _analysis(file)
        if "metadata" in file:
            return _project(file)
    raise InputError(f"{path}: no SLEAP file: it has neither 'tracks' nor 'metadata'")


def _analysis(file: Hdf5) -> Pose:
    tracks = file.array("tracks")
    if (
        tracks.ndim == 4
        and tracks.shape[-1] == 3
        and 2 not in tracks.shape[1:3]
        and tracks.dtype.kind in "fiu"
    ):
        return _world(file, tracks)
    if tracks.ndim != 4 or 2 not in (tracks.shape[1], tracks.shape[2]) or tracks.dtype.kind not in "fiu":
        raise InputError(f"{file.path}: 'tracks' has shape {tracks.shape}, expected (track, 2, node, frame)")
    if tracks.shape[1] == 2:
        points = tracks.transpose(3, 0, 2, 1)
    else:  # exported for Python: (frame, node, 2, track)
        points = tracks.transpose(0, 3, 1, 2)
    n_frames, n_tracks, n_nodes, _ = points.shape
    score = None
    if "point_scores" in file:
        score = file.array("point_scores")
        if score.shape == (n_tracks, n_nodes, n_frames):
            score = score.transpose(2, 0, 1)
        elif score.shape == (n_frames, n_nodes, n_tracks):
            score = score.transpose(0, 2, 1)
        else:
            raise InputError(
                f"{file.path}: 'point_scores' has shape {score.shape}, which is not that of 'tracks'"
            )
    names, tracks_called = file.texts("node_names"), file.texts("track_names")
    edges = None
    if "edge_inds" in file:
        found = file.array("edge_inds")
        if found.ndim == 2 and found.shape[1] == 2 and found.dtype.kind in "iu":
            edges = tuple((int(a), int(b)) for a, b in found)
    return Pose(
        points=points, confidence=score, names=names or None, edges=edges,
        individuals=tracks_called if len(tracks_called) == n_tracks else None,
    )  # fmt: skip


def _world(file: Hdf5, tracks: np.ndarray) -> Pose:
    """sleap-anipose's 3D: `tracks (frame, track, node, 3)`, `point_scores (frame, track, node)`."""
    score = file.array("point_scores") if "point_scores" in file else None
    if score is not None and score.shape != tracks.shape[:3]:
        raise InputError(
            f"{file.path}: 'point_scores' has shape {score.shape}, which is not that of 'tracks'"
        )
    return Pose(points=tracks, confidence=score, names=file.texts("node_names") or None, world=True)


def _project(file: Hdf5) -> Pose:
    path = file.path
    try:
        about = json.loads(as_text(file.attribute("json", "metadata")))
        called = [str(n["name"]) for n in about["nodes"]]
        skeleton = about["skeletons"][0]
        ids = [int(n["id"]) for n in skeleton["nodes"]]
        names = tuple(called[i] for i in ids)
        place = {i: k for k, i in enumerate(ids)}
        edges, symmetric = links_of(skeleton.get("links", []), place)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: its skeleton cannot be read ({type(error).__name__}): save it again"
        ) from error
    version = file.attribute("format_id", "metadata")
    shift = 0.5 if version is not None and float(np.asarray(version).reshape(-1)[0]) < 1.1 else 0.0
    frames, instances = file.array("frames"), file.array("instances")
    tables = {0: file.array("points") if "points" in file else None,
              1: file.array("pred_points") if "pred_points" in file else None}  # fmt: skip
    for array, what, needs in (
        (frames, "frames", {"frame_idx", "video", "instance_id_start", "instance_id_end"}),
        (instances, "instances", {"instance_type", "track", "point_id_start", "point_id_end"}),
        *((t, "points", {"x", "y", "visible"}) for t in tables.values() if t is not None),
    ):
        if not needs <= set(array.dtype.names or ()):
            raise InputError(
                f"{path}: '{what}' lacks {', '.join(sorted(needs - set(array.dtype.names or ())))}"
            )
    order = np.lexsort((frames["frame_idx"], frames["video"]))
    frames = frames[order]
    rows: list[list[tuple[int, np.ndarray, np.ndarray | None]]] = []
    for frame in frames:
        start, end = int(frame["instance_id_start"]), int(frame["instance_id_end"])
        if not 0 <= start <= end <= len(instances):
            raise InputError(f"{path}: a frame names instances {start} to {end}, there are {len(instances)}")
        rows.append(_instances(path, instances[start:end], tables, len(names)))
    tracks = [_track_name(t) for t in file.texts("tracks_json")]
    used = sorted({t for row in rows for t, _, _ in row if t >= 0})
    untracked = max((sum(t < 0 for t, _, _ in row) for row in rows), default=0)
    n = len(used) + untracked
    if not rows or not n:
        raise InputError(f"{path}: holds no labelled or predicted instances: predict, or label some frames")
    shape = (len(rows), n, len(names), 2)
    refuse_large(shape, path)
    points, score = np.full(shape, np.nan), np.full(shape[:3], np.nan)
    scored = False
    for f, row in enumerate(rows):
        free = len(used)
        for track, xy, value in row:
            column = used.index(track) if track >= 0 else free
            free += track < 0
            points[f, column] = xy - shift
            if value is not None:
                score[f, column] = value
                scored = True
    individuals = tuple(tracks[t] if t < len(tracks) else f"track {t}" for t in used)
    several = len(np.unique(frames["video"])) > 1
    numbers = frames["frame_idx"].astype(np.int64)
    return Pose(
        points=points, confidence=score if scored else None, names=names, edges=edges or None,
        individuals=(*individuals, *(f"untracked {i}" for i in range(untracked))) if used else None,
        labels=tuple(str(i) for i in numbers), numbers=numbers, symmetric=symmetric or None,
        clip=np.unique(frames["video"], return_inverse=True)[1] if several else None,
        linked=untracked <= (0 if used else 1),
    )  # fmt: skip


def links_of(links: Any, place: dict[int, int]):
    """`(edges, left-right pairs)` of a skeleton's links. The type of a link is written once, and then referred to by
    its number among the types, from 1 (jsonpickle); each pair stands twice, once a direction."""
    edges, pairs, kinds = [], set(), []
    for link in links:
        said = link.get("type", {})
        if "py/reduce" in said:
            kinds.append(int(said["py/reduce"][1]["py/tuple"][0]))
            kind = kinds[-1]
        else:
            kind = kinds[int(said["py/id"]) - 1] if "py/id" in said else EDGE
        a, b = place[int(link["source"])], place[int(link["target"])]
        if kind == EDGE:
            edges.append((a, b))
        elif kind == SYMMETRY:
            pairs.add((min(a, b), max(a, b)))
    return tuple(edges), tuple(sorted(pairs))


def _track_name(text: str) -> str:
    """`[0, "name"]` -> name."""
    try:
        return str(json.loads(text)[1])
    except (ValueError, IndexError, TypeError, KeyError, RecursionError):
        return text


def _instances(path: Path, instances: np.ndarray, tables: dict[int, Any], n_points: int):
    """`(track, points, scores)` of one frame; a prediction that a label replaced is left out."""
    replaced = set()
    if "from_predicted" in (instances.dtype.names or ()):
        replaced = {int(i["from_predicted"]) for i in instances if i["instance_type"] == 0}
    labelled = {int(i["track"]) for i in instances if i["instance_type"] == 0 and i["track"] >= 0}
    found = []
    for instance in instances:
        kind = int(instance["instance_type"])
        table = tables.get(kind)
        number = int(instance["instance_id"]) if "instance_id" in (instances.dtype.names or ()) else -2
        if kind == 1 and (number in replaced - {-1} or int(instance["track"]) in labelled):
            continue
        start, end = int(instance["point_id_start"]), int(instance["point_id_end"])
        if table is None or not 0 <= start <= end <= len(table) or end - start != n_points:
            raise InputError(
                f"{path}: an instance names points {start} to {end}, expected {n_points} of them"
            )
        part = table[start:end]
        seen = part["visible"].astype(bool)
        xy = np.where(seen[:, None], np.stack([part["x"], part["y"]], -1), np.nan)
        score = np.where(seen, part["score"], np.nan) if "score" in (table.dtype.names or ()) else None
        found.append((int(instance["track"]), xy, score))
    return found


def sniff(path: Path) -> bool:
    """Whether the file is HDF5 with SLEAP's names in it."""
    if not is_hdf5(path):
        return False
    start = start_of(path, 1 << 20)
    analysis = b"node_names" in start and b"tracks" in start
    return analysis or (b"pred_points" in start and b"tracks_json" in start)


FORMAT = pose_format(
    "sleap", (".slp", ".h5"), "SLEAP: analysis h5, and slp with labels or predictions", parse, sniff
)
