"""The cases of the articulated figure: real animals filmed by one camera."""

from typing import Any

import numpy as np

from experiments.degrade import Data
from experiments.harness import Case

CAMERAS = (1, 2, 3, 4, 5, 6)
VIEWS = 6  # of the file of baselines


def view(number: int):
    """One of the views that a file holds as clips."""

    def change(data: Data) -> Data:
        landmarks, reference = data
        sequence = np.asarray(landmarks.sequence)
        own = np.flatnonzero(sequence == np.unique(sequence)[number])
        return landmarks.select(own), reference.select(own)

    return change


def case(name: str, title: str, setting: str, file: str | tuple[str, ...], **fields: Any) -> Case:
    """A set, or several as one, under weak perspective."""
    files = f"animals/{file}" if isinstance(file, str) else tuple(f"animals/{one}" for one in file)
    return Case(name, title, setting, files, camera="weak-perspective", **fields)


CASES = [
    *(
        case(f"cheetah_cam{k}_{method}", f"cheetah, camera {k}", "all points, fisheye camera",
             f"cheetah_cam{k}", method=method, headline=method == "articulated")
        for method in ("articulated", "pnd") for k in CAMERAS
    ),
    *(
        case(f"cheetah_real_{k}_articulated", f"cheetah, real detections, view {k + 1}", "one camera",
             "cheetah_real/cheetah_real_baselines", method="articulated", change=view(k))
        for k in range(VIEWS)
    ),
    case("cheetah_pooled_articulated", "cheetah, six cameras as one set", "all points, fisheye cameras",
         tuple(f"cheetah_cam{k}" for k in CAMERAS), method="articulated", headline=True),
    case("mouse_pred_articulated", "mouse, tracked, 1,000 frames", "one camera", "mouse_dannce_pred1000",
         method="articulated"),
    case("mouse_labels_articulated", "mouse, hand labels", "six cameras, single views", "mouse_dannce_labels1",
         method="articulated"),
]  # fmt: skip
