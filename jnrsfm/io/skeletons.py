"""Common skeletons by name, and left-right pairs from the names of points.

Points and edges are those that the tools and data sets publish: COCO keypoints, Halpe full body, MediaPipe pose and
hands, Human3.6M's 17 joints, AP-10K, OpenPose's BODY_25, and DeepLabCut's SuperAnimal models.
"""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from jnrsfm.errors import InputError


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """Names of points, edges between them, and left-right pairs, all by index."""

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    @property
    def symmetric(self) -> tuple[tuple[int, int], ...]:
        """Left-right pairs, by name."""
        return symmetric_of(self.names)


def _skeleton(names: str, edges: str) -> Skeleton:
    """From words; edges are chains of names, `a-b-c`, or of numbers."""
    words = tuple(names.split())
    pairs: list[tuple[int, int]] = []
    for chain in edges.split():
        links = [int(n) if n.isdigit() else words.index(n) for n in chain.split("-")]
        pairs += itertools.pairwise(links)
    return Skeleton(words, tuple(pairs))


_COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
_COCO_EDGES = "15-13-11-5-7-9 16-14-12-6-8-10 11-12 5-6 0-1-3-5 0-2-4-6 1-2"
_HAND = "wrist " + " ".join(
    f"{finger}_{joint}"
    for finger, joints in (
        ("thumb", ("cmc", "mcp", "ip", "tip")),
        *((f, ("mcp", "pip", "dip", "tip")) for f in ("index", "middle", "ring", "pinky")),
    )
    for joint in joints
)
_PAWS = "{0}_thai-{0}_knee-{0}_paw"

SKELETONS: dict[str, Skeleton] = {
    "coco-17": _skeleton(_COCO, _COCO_EDGES),
    "halpe-26": _skeleton(
        _COCO + " head neck hip left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel",
        "17-18-19 18-5-7-9 18-6-8-10 19-11-13-15 19-12-14-16 0-1-3 0-2-4 0-17 15-24-20 24-22 16-25-21 25-23",
    ),
    "mediapipe-33": _skeleton(
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
        "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
        "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle left_heel right_heel left_foot_index right_foot_index",
        "0-1-2-3-7 0-4-5-6-8 9-10 11-12-24-23-11 11-13-15-17-19-15-21 12-14-16-18-20-16-22 23-25-27-29-31-27 "
        "24-26-28-30-32-28",
    ),
    "hand-21": _skeleton(_HAND, "0-1-2-3-4 0-5-6-7-8 0-9-10-11-12 0-13-14-15-16 0-17-18-19-20"),
    "h36m-17": _skeleton(
        "hip right_hip right_knee right_foot left_hip left_knee left_foot spine thorax nose head left_shoulder "
        "left_elbow left_wrist right_shoulder right_elbow right_wrist",
        "0-1-2-3 0-4-5-6 0-7-8-9-10 8-11-12-13 8-14-15-16",
    ),
    "ap-10k-17": _skeleton(
        "left_eye right_eye nose neck root_of_tail left_shoulder left_elbow left_front_paw right_shoulder right_elbow "
        "right_front_paw left_hip left_knee left_back_paw right_hip right_knee right_back_paw",
        "0-1-2-0 2-3-4 3-5-6-7 3-8-9-10 4-11-12-13 4-14-15-16",
    ),
    "body-25": _skeleton(
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip "
        "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe "
        "left_small_toe left_heel right_big_toe right_small_toe right_heel",
        "0-1-8 1-2-3-4 1-5-6-7 8-9-10-11-22-23 11-24 8-12-13-14-19-20 14-21 0-15-17 0-16-18",
    ),
    "body-25b": _skeleton(
        _COCO + " upper_neck head_top left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel",
        "0-1-3 0-2-4 0-17-18 17-5-7-9 17-6-8-10 5-11-13-15-19-20 15-21 6-12-14-16-22-23 16-24 11-12 5-6",
    ),
    "superanimal-quadruped": _skeleton(
        "nose upper_jaw lower_jaw mouth_end_right mouth_end_left right_eye right_earbase right_earend "
        "right_antler_base right_antler_end left_eye left_earbase left_earend left_antler_base left_antler_end "
        "neck_base neck_end throat_base throat_end back_base back_end back_middle tail_base tail_end front_left_thai "
        "front_left_knee front_left_paw front_right_thai front_right_knee front_right_paw back_left_paw "
        "back_left_thai back_right_thai back_left_knee back_right_knee back_right_paw belly_bottom "
        "body_middle_right body_middle_left",
        "nose-upper_jaw-lower_jaw upper_jaw-right_eye-right_earbase-right_earend "
        "upper_jaw-left_eye-left_earbase-left_earend right_earbase-neck_base left_earbase-neck_base "
        "neck_base-neck_end-back_base-back_middle-back_end-tail_base-tail_end throat_base-throat_end "
        "back_base-front_left_thai back_base-front_right_thai tail_base-back_left_thai tail_base-back_right_thai "
        + " ".join(_PAWS.format(leg) for leg in ("front_left", "front_right", "back_left", "back_right"))
        + " body_middle_right-belly_bottom-body_middle_left",
    ),
    "superanimal-topviewmouse": _skeleton(
        "nose left_ear right_ear left_ear_tip right_ear_tip left_eye right_eye neck mid_back mouse_center mid_backend "
        "mid_backend2 mid_backend3 tail_base tail1 tail2 tail3 tail4 tail5 left_shoulder left_midside left_hip "
        "right_shoulder right_midside right_hip tail_end head_midpoint",
        "nose-head_midpoint-neck-mid_back-mouse_center-mid_backend-mid_backend2-mid_backend3-tail_base-tail1-tail2-"
        "tail3-tail4-tail5-tail_end left_eye-nose-right_eye left_ear_tip-left_ear-head_midpoint "
        "head_midpoint-right_ear-right_ear_tip "
        "neck-left_shoulder-left_midside-left_hip-tail_base neck-right_shoulder-right_midside-right_hip-tail_base",
    ),
}  # fmt: skip
"""The library: name -> skeleton. `--skeleton NAME` takes one of these or a YAML file."""

_SIDES = (("left", "right"), ("near", "far"), ("l", "r"))
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^A-Za-z\d]+")


def _words(name: str) -> list[str]:
    return [w.lower() for w in _WORD.findall(name)]


def symmetric_of(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Left-right pairs of points from their names: left/right, near/far, L/R, _l/_r, as words of the name, in camel
    case, or glued to a number (`forelegL4`); `leftear` and `rightear` too. The left point comes first.

    >>> symmetric_of(("nose", "left_ear", "right_ear", "hipL", "hipR"))
    ((1, 2), (3, 4))"""
    index = {name: i for i, name in enumerate(names)}
    keys = {tuple(_words(name)): i for name, i in reversed(list(index.items()))}
    lower = {name.lower(): i for name, i in index.items()}
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for name, i in index.items():
        words = _words(name)
        options = []
        for left, right in _SIDES:
            options += [
                keys.get((*words[:k], right, *words[k + 1 :])) for k, word in enumerate(words) if word == left
            ]
            if len(left) > 1:
                options += [lower.get(name.lower().replace(left, right, 1))] if left in name.lower() else []
        # L1A and R1A, lfoot and rfoot: a letter before anything.
        if name[:1] in "Ll" and len(name) > 1:
            options.append(index.get({"L": "R", "l": "r"}[name[0]] + name[1:]))
        if name[-1:] in "Ll" and len(name) > 1:
            options.append(index.get(name[:-1] + {"L": "R", "l": "r"}[name[-1]]))
        for j in options:
            if j is not None and j != i and not {i, j} & taken:
                pairs.append((i, j))
                taken |= {i, j}
                break
    return tuple(pairs)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def known_skeleton(names: Sequence[str]) -> str | None:
    """The library's skeleton whose points have these names (or are among them), None where there is none."""
    have = {_plain(n) for n in names}
    for key, skeleton in SKELETONS.items():
        if have == {_plain(n) for n in skeleton.names}:
            return key
    for key in ("superanimal-quadruped", "superanimal-topviewmouse"):
        if len(have) >= 12 and have <= {_plain(n) for n in SKELETONS[key].names}:
            return key
    return None


def edges_by_name(skeleton: Skeleton, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The edges of a skeleton between points of these names; those to absent points are left out."""
    index = {_plain(n): i for i, n in enumerate(names)}
    place = [index.get(_plain(n), -1) for n in skeleton.names]
    return tuple((place[a], place[b]) for a, b in skeleton.edges if place[a] >= 0 and place[b] >= 0)


def read_skeleton(name: str, names: Sequence[str] | None, n_points: int) -> Skeleton:
    """The skeleton that a user names: one of `SKELETONS`, or a YAML file with `edges` (pairs of names or of numbers
    from 0) and optionally `names` and `symmetric`, or a DeepLabCut config.yaml with `skeleton`.

    Its points are those of the data: by name where these have names, else by place. Raises InputError.
    """
    if name in SKELETONS:
        found = SKELETONS[name]
        if names is None:
            if len(found.names) != n_points:
                raise InputError(
                    f"skeleton {name} has {len(found.names)} points, the file {n_points}, without names: name another"
                )
            return found
        edges = edges_by_name(found, names)
        if not edges:
            raise InputError(
                f"skeleton {name}: none of its points ({', '.join(found.names[:4])}, ...) are in the file"
            )
        return Skeleton(tuple(names), edges)
    if not name.lower().endswith((".yaml", ".yml")):
        raise InputError(
            f"unknown skeleton {name!r}: choose from {', '.join(SKELETONS)}, or give a .yaml file"
        )
    import yaml

    path = Path(name).expanduser()
    try:
        if path.stat().st_size > 1_000_000:
            raise InputError(f"{path}: is too large for a skeleton")
        plain = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: write lines of 'edges: [[nose, neck], ...]'") from error
    listed = plain.get("edges", plain.get("skeleton")) if isinstance(plain, dict) else None
    if not isinstance(listed, list):
        raise InputError(f"{path}: has no list 'edges' (or 'skeleton') of pairs of points")
    own = plain.get("names")
    if own is not None and (not isinstance(own, list) or (names is None and len(own) != n_points)):
        raise InputError(f"{path}: 'names' must be a list of {n_points} names, one for each point")
    called = tuple(names) if names is not None else tuple(map(str, own or range(n_points)))
    pairs: list[tuple[int, int]] = []
    for pair in listed:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise InputError(f"{path}: edge {str(pair)[:40]} is no pair of points")
        pairs.append((_place(pair[0], called, path), _place(pair[1], called, path)))
    return Skeleton(called, tuple(pairs))


def _place(point: object, names: tuple[str, ...], path: Path) -> int:
    if isinstance(point, int) and not isinstance(point, bool) and 0 <= point < len(names):
        return point
    if str(point) in names:
        return names.index(str(point))
    raise InputError(f"{path}: there is no point {point!r}: points are {', '.join(names[:12])}")
