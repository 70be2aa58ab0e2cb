"""VideoPose3D's 2D npz: `positions_2d` {subject: {action: [camera]}} of (frame, point, 2), and `metadata`.

The dictionaries are pickled; they are read without unpickling, and anything but plain values and arrays is refused.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io import _archive
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import number, start_of


def parse(path: Path) -> Pose:
    """What the file holds, a clip for each subject, action and camera. Raises InputError."""
    _archive.check_sizes(path)
    positions = _archive.load(path, "positions_2d")
    about = _archive.load(path, "metadata") if "metadata" in _archive.names(path) else {}
    about = about if isinstance(about, dict) else {}
    clips: list[np.ndarray] = []
    if not isinstance(positions, dict):
        raise InputError(f"{path}: 'positions_2d' is no dictionary of subjects")
    for subject, actions in positions.items():
        for action, cameras in (actions if isinstance(actions, dict) else {}).items():
            for camera in cameras if isinstance(cameras, list | tuple) else [cameras]:
                array = np.asarray(camera) if isinstance(camera, np.ndarray) else np.zeros(0)
                if array.ndim != 3 or array.shape[-1] not in (2, 3) or array.dtype.kind not in "fiu":
                    raise InputError(
                        f"{path}: {subject}, {action}: expected (frame, point, 2), found {array.shape}"
                    )
                clips.append(array[..., :2].astype(np.float64))
    if not clips or len({c.shape[1] for c in clips}) > 1:
        raise InputError(f"{path}: holds no clips of one number of points")
    points = np.concatenate(clips)[:, None]
    refuse_large(points.shape, path)
    n = points.shape[2]
    pairs = about.get("keypoints_symmetry")
    symmetric = None
    if (
        isinstance(pairs, list | tuple)
        and len(pairs) == 2
        and all(isinstance(s, list | tuple) for s in pairs)
    ):
        ids = [
            (int(number(a)), int(number(b)))
            for a, b in zip(*pairs, strict=False)
            if number(a) >= 0 and number(b) >= 0
        ]
        symmetric = tuple((a, b) for a, b in ids if a < n and b < n and a != b) or None
    layout = str(about.get("layout_name", ""))
    return Pose(
        points=points,
        clip=np.repeat(np.arange(len(clips)), [len(c) for c in clips]) if len(clips) > 1 else None,
        symmetric=symmetric,
        skeleton={"coco": "coco-17", "h36m": "h36m-17"}.get(layout, "h36m-17" if n == 17 else None),
        image_size=_size(about.get("video_metadata")),
    )


def _size(about: Any) -> tuple[float, float] | None:
    """Width and height where all videos have the same."""
    if not isinstance(about, dict):
        return None
    sizes = {(number(v.get("w")), number(v.get("h"))) for v in about.values() if isinstance(v, dict)}
    size = sizes.pop() if len(sizes) == 1 else None
    return size if size is not None and size[0] > 0 and size[1] > 0 else None


def sniff(path: Path) -> bool:
    """Whether the archive has `positions_2d`."""
    return start_of(path, 2) == b"PK" and "positions_2d" in _archive.names(path)


FORMAT = pose_format(
    "videopose3d", (".npz",), "VideoPose3D 2D npz: positions_2d by subject and action", parse, sniff
)
