"""From what a pose tool stored (`Pose`) to landmarks: which individual, which score counts, what is missing.

Each choice that the file does not make itself is said in one line (`notes`), with the option that changes it.
"""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose
from jnrsfm.io.skeletons import SKELETONS, edges_by_name, known_skeleton, symmetric_of
from jnrsfm.types import Cameras, Landmarks, Reconstruction

SHORT_GAP = 30  # frames without any detection that are filled with empty ones; after more, a new clip begins
_NEAR = 1.0  # of the size of a body: farther than this between two detections, it is somebody else
_FORGET = 30  # frames after which somebody unseen is forgotten


def landmarks_of(
    pose: Pose, where: Path | str, individual: str | None = None
) -> tuple[Landmarks, tuple[str, ...]]:
    """Landmarks of a pose file, and what was settled, a line each.

    `individual`: the name (or number, from 0) of one; `"all"` makes a clip of each; None takes the one that is seen
    most. Raises InputError for a name that there is not, and for 3D points, which are a reference and no landmarks.
    """
    if pose.world:
        raise InputError(
            f"{where}: holds 3D points, no image points: give it as --reference, or convert what one camera saw"
        )
    notes = list(pose.notes)
    if pose.points.shape[-1] == 3:
        notes.append("its z is the tool's guess, and is not used")
        pose = pose.replace(points=pose.points[..., :2])
    pose, said = _one_row_a_frame(pose)
    notes += said
    points, score, columns, clips, frames, said = _chosen(pose, where, individual)
    notes += said
    missing = ~np.isfinite(points).all(-1)
    confidence = None
    if score is not None:
        score = np.where(
            missing, 0.0, np.where(np.isfinite(score), score, 1.0)
        )  # a label without score is sure
        missing |= score <= 0
    if score is not None and not pose.flags:
        if score.max(initial=0) > 1.005:
            notes.append(f"scores go up to {score.max():.3g}: those above 1 count as 1")
        confidence = np.clip(score, 0, 1).astype(np.float32)
    visible = ~missing
    names, edges, symmetric, said = _skeleton(pose, columns, points, visible)
    notes += said
    defined = None
    if individual == "all" and pose.defined is not None and not pose.defined[:, columns].all():
        whose = np.repeat(np.arange(pose.points.shape[1]), pose.n_frames)
        defined = pose.defined[:, columns][whose] if len(whose) == len(points) else None
    landmarks = Landmarks(
        points2d=np.where(visible[..., None], points, 0).astype(np.float32),
        visible=visible,
        confidence=confidence,
        defined=None if defined is None else defined | visible,
        sequence=None if clips is None else clips.astype(np.int32),
        edges=edges,
        symmetric=symmetric,
        names=names,
        fps=None if pose.fps is None else float(pose.fps),
        frame_index=None if frames is None else frames.astype(np.int32),
    )
    return landmarks, tuple(notes)


def reference_of(
    pose: Pose, where: Path | str, individual: str | None = None
) -> tuple[Reconstruction, tuple[str, ...]]:
    """3D points of a file as a reference: their own axes, the identity as camera. Raises InputError."""
    points, _, columns, clips, _, notes = _chosen(pose, where, individual)
    known = np.isfinite(points).all(-1)
    names, edges, symmetric, _ = _skeleton(pose, columns, points, known)
    return (
        Reconstruction(
            points3d=np.where(known[..., None], points, 0).astype(np.float32),
            cameras=Cameras(np.tile(np.eye(3, dtype=np.float32), (len(points), 1, 1))),
            valid3d=None if known.all() else known,
            sequence=None if clips is None else clips.astype(np.int32),
            edges=edges,
            symmetric=symmetric,
            names=names,
            mirror="reference",
            gauge=f"units of the file{f' ({pose.units})' if pose.units else ''}",
        ),
        (*pose.notes, *notes),
    )


def _one_row_a_frame(pose: Pose) -> tuple[Pose, list[str]]:
    """Rows that are detections become rows that are frames; frames that nobody was seen in come back, empty."""
    notes: list[str] = []
    if pose.confidence is not None and not pose.linked and (pose.confidence <= 0).any():
        pose = pose.replace(points=np.where((pose.confidence <= 0)[..., None], np.nan, pose.points))
    if pose.image is not None:
        pose = _stack_detections(pose)
    if not pose.linked and pose.ordered and pose.points.shape[1] > 1:
        pose = link(pose)
        notes.append(
            f"people are unordered in the file: followed from frame to frame by place, {pose.points.shape[1]} tracks"
        )
    if pose.ordered and pose.numbers is not None and len(pose.numbers) > 1:
        pose, filled = _fill(pose)
        if filled:
            notes.append(f"{filled} frames without a detection are kept, empty")
    return pose, notes


def _stack_detections(pose: Pose) -> Pose:
    """One row for each image, its detections beside each other: by track where they have one."""
    assert pose.image is not None
    images, row = np.unique(pose.image, return_inverse=True)
    track = np.full(pose.n_frames, -1) if pose.track is None else np.asarray(pose.track)
    if (track >= 0).all():
        ids, column = np.unique(track, return_inverse=True)
        twice = len(np.unique(row * len(ids) + column)) != len(row)
    else:
        ids, twice = np.zeros(0), True
    if twice:  # no identities: in the order of the file
        order = np.argsort(row, kind="stable")
        start = np.searchsorted(row[order], np.arange(len(images)))
        column = np.empty(len(row), int)
        column[order] = np.arange(len(row)) - start[row[order]]
    most = int(column.max()) + 1
    if float(len(images)) * most * pose.points[0].size > 4e8:
        raise InputError("too many detections in one image: split the file")
    points = np.full((len(images), most, *pose.points.shape[2:]), np.nan)
    points[row, column] = pose.points[:, 0]
    confidence = None
    if pose.confidence is not None:
        confidence = np.full(points.shape[:3], np.nan)
        confidence[row, column] = pose.confidence[:, 0]
    first = np.unique(row, return_index=True)[1]
    return pose.replace(
        points=points, confidence=confidence, image=None, track=None, linked=not twice or most == 1,
        individuals=None if twice else tuple(str(int(i)) for i in ids),
        labels=None if pose.labels is None else tuple(pose.labels[i] for i in first),
        numbers=None if pose.numbers is None else pose.numbers[first],
    )  # fmt: skip


def link(pose: Pose) -> Pose:
    """Follow unordered individuals from row to row: the nearest one, by the median distance of common points in units
    of body size; who is gone for 30 frames, or stands farther off than his size, is somebody new."""
    from scipy.optimize import linear_sum_assignment

    points = pose.points
    seen = ~pose.missing
    last: list[np.ndarray] = []
    when: list[int] = []
    column = np.full(points.shape[:2], -1)
    with np.errstate(invalid="ignore"):
        for f in range(len(points)):
            here = np.flatnonzero(seen[f].any(-1))
            open_ = [t for t in range(len(last)) if f - when[t] <= _FORGET]
            cost = np.full((len(here), len(open_)), 1e3)
            for a, i in enumerate(here):
                size = _size(points[f, i], seen[f, i])
                for b, t in enumerate(open_):
                    gap = np.linalg.norm(points[f, i] - last[t], axis=-1)
                    gap = gap[np.isfinite(gap)]
                    if len(gap):
                        cost[a, b] = np.median(gap) / size
            for r, c in zip(*linear_sum_assignment(cost), strict=True):
                if cost[r, c] <= _NEAR:
                    column[f, here[r]] = open_[c]
            for i in here:
                if column[f, i] < 0:
                    column[f, i] = len(last)
                    last.append(points[f, i].copy())
                    when.append(f)
                t = column[f, i]
                last[t] = np.where(seen[f, i][:, None], points[f, i], last[t])
                when[t] = f
    # Whoever is seen most comes first; short scraps are not worth a column each.
    counts = np.bincount(column[column >= 0], minlength=len(last)) if len(last) else np.zeros(1, int)
    kept = np.argsort(-counts, kind="stable")[:32]
    out = np.full((len(points), len(kept), *points.shape[2:]), np.nan)
    score = None if pose.confidence is None else np.full(out.shape[:3], np.nan)
    for k, t in enumerate(kept):
        rows, at = np.nonzero(column == t)
        out[rows, k] = points[rows, at]
        if score is not None and pose.confidence is not None:
            score[rows, k] = pose.confidence[rows, at]
    return pose.replace(points=out, confidence=score, linked=True, individuals=None)


def _size(points: np.ndarray, seen: np.ndarray) -> float:
    spread = np.ptp(points[seen], axis=0)
    return max(float(np.linalg.norm(spread)) / 2, 1e-9)


def _fill(pose: Pose) -> tuple[Pose, int]:
    """Rows in the order of their numbers, short gaps filled with empty rows; a long gap begins another clip."""
    numbers = np.asarray(pose.numbers, np.int64)
    if (np.diff(numbers) == 1).all():
        return pose, 0
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    if (np.diff(numbers) == 0).any() or pose.clip is not None:
        return pose, 0
    step = np.diff(numbers)
    usual = int(np.median(step))
    missing = np.where(
        (step > usual) & (step % usual == 0) & (step // usual <= SHORT_GAP), step // usual - 1, 0
    )
    place = np.r_[0, np.cumsum(1 + missing)]
    clip = np.zeros(place[-1] + 1, int)
    clip[place[1:]] = (step // usual > SHORT_GAP) | (step % usual != 0)
    clip = np.cumsum(clip)
    every = np.interp(np.arange(place[-1] + 1), place, numbers).round().astype(np.int64)

    def spread(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        out = np.full((place[-1] + 1, *values.shape[1:]), np.nan)
        out[place] = values[order]
        return out

    points = spread(pose.points)
    assert points is not None
    filled = pose.replace(
        points=points, confidence=spread(pose.confidence), numbers=every, labels=None,
        clip=clip if clip[-1] else None,
    )  # fmt: skip
    return filled, int(missing.sum())


def _chosen(pose: Pose, where: Path | str, individual: str | None):
    """Points, scores, columns, clips, frame numbers and notes of the individual (or all of them)."""
    n = pose.points.shape[1]
    called = list(pose.individuals) if pose.individuals is not None else [str(i) for i in range(n)]
    notes: list[str] = []
    seen = (~pose.missing).any(-1).sum(0)
    each_apart = not pose.ordered or not pose.linked
    if individual == "all" or (individual is None and each_apart and n > 1):
        order = [i for i in range(n) if seen[i]] or [0]
        if each_apart:
            # A set of pictures: every instance is a sample, a clip of its own.
            rows, who = np.nonzero((~pose.missing).any(-1))
            if not len(rows):
                raise InputError(f"{where}: not one point has coordinates: check the file")
            points, score = (
                pose.points[rows, who],
                None if pose.confidence is None else pose.confidence[rows, who],
            )
            notes.append(f"{len(rows)} instances in {pose.n_frames} images: each is a clip of its own")
            numbers = None if pose.numbers is None else pose.numbers[rows]
            return points, score, np.arange(points.shape[1]), np.arange(len(rows)), numbers, notes
        clip = np.zeros(pose.n_frames, int) if pose.clip is None else np.asarray(pose.clip)
        points = np.concatenate([pose.points[:, i] for i in range(n)])
        score = None if pose.confidence is None else np.concatenate([pose.confidence[:, i] for i in range(n)])
        clips = np.concatenate([clip + k * (int(clip.max()) + 1) for k in range(n)])
        numbers = None if pose.numbers is None else np.tile(pose.numbers, n)
        notes.append(f"{len(order)} individuals ({', '.join(called[i] for i in order)}): a clip of each")
        return points, score, np.arange(points.shape[1]), clips, numbers, notes
    if individual is not None:
        if individual in called:
            chosen = called.index(individual)
        elif str(individual).isdigit() and int(individual) < n:
            chosen = int(individual)
        else:
            raise InputError(
                f"{where}: there is no individual {individual!r}: they are {', '.join(called[:20])}"
            )
        notes.append(f"individual {called[chosen]}")
    else:
        chosen = int(np.argmax(seen))
        if n > 1:
            notes.append(
                f"{n} individuals ({', '.join(called[:8])}{', ...' if n > 8 else ''}): took {called[chosen]}, seen in "
                f"{seen[chosen]} of {pose.n_frames} frames (--individual NAME takes another, all makes a clip of each)"
            )
    if not seen[chosen]:
        raise InputError(
            f"{where}: individual {called[chosen]} has not one point with coordinates: check the file"
        )
    columns = np.arange(pose.points.shape[2])
    if pose.defined is not None:
        columns = np.flatnonzero(pose.defined[chosen])
    points = pose.points[:, chosen][:, columns]
    score = None if pose.confidence is None else pose.confidence[:, chosen][:, columns]
    apart: np.ndarray | None = pose.clip
    if not pose.ordered and pose.n_frames > 1:
        apart = np.arange(pose.n_frames)
        notes.append("frames are labelled pictures, not in time order: each is a clip of its own")
    return points, score, columns, apart, pose.numbers, notes


def _skeleton(pose: Pose, columns: np.ndarray, points: np.ndarray, visible: np.ndarray):
    """Names, edges and left-right pairs of the chosen points, and where they come from."""
    where = {int(c): i for i, c in enumerate(columns)}
    names = None if pose.names is None else [pose.names[c] for c in columns]
    notes: list[str] = []

    def kept(pairs):
        pairs = [(where[a], where[b]) for a, b in pairs if a in where and b in where]
        return np.array(sorted(set(pairs), key=pairs.index), np.int32) if pairs else None

    edges = None if pose.edges is None else kept(pose.edges)
    symmetric = None if pose.symmetric is None else kept(pose.symmetric)
    key = pose.skeleton if pose.skeleton in SKELETONS else None
    if key == "body-25" and not _hips_in_the_middle(points, visible):
        key = "body-25b"
    if edges is None and names is not None:
        found = known_skeleton(names)
        if found is not None:
            edges = kept([(columns[a], columns[b]) for a, b in edges_by_name(SKELETONS[found], names)])
            notes.append(f"skeleton {found}, by the names of its points")
    elif edges is None and key is not None and len(columns) == len(SKELETONS[key].names):
        edges = kept(SKELETONS[key].edges)
        symmetric = kept(SKELETONS[key].symmetric)
        notes.append(f"skeleton {key}, by the number of points (--skeleton NAME says another)")
        names = list(SKELETONS[key].names) if names is None else names
    if symmetric is None and names is not None:
        symmetric = kept([(columns[a], columns[b]) for a, b in symmetric_of(names)])
    return None if names is None else tuple(names), edges, symmetric, notes


def _hips_in_the_middle(points: np.ndarray, visible: np.ndarray) -> bool:
    """Whether point 8 lies between points 9 and 12, as the middle of the hips does in OpenPose's BODY_25; in its
    BODY_25B, which has as many points, it is an elbow."""
    if points.shape[1] != 25:
        return False
    seen = visible[:, [8, 9, 12]].all(1)
    if not seen.any():
        return True
    a, b, c = (points[seen, i] for i in (8, 9, 12))
    gap = np.linalg.norm(a - (b + c) / 2, axis=-1)
    size = [_size(p, v) for p, v in zip(points[seen], visible[seen], strict=True)]
    return bool(np.median(gap / np.array(size)) < 0.1)
