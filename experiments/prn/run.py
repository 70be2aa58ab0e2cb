"""Run the PRN experiments and rewrite this folder's README from their results.

    python -m experiments.prn.run                     every case that has no result yet
    python -m experiments.prn.run walking_missing_20  this case, anew
    python -m experiments.prn.run --tables            only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.cases import Case, Data, cmu, hide_random
from experiments.fitting import main
from experiments.tables import markdown, replace_between
from jnrsfm.types import Cameras

HERE = Path(__file__).resolve().parent


def orbit(frames: int, step: float = 5.0, tilt: float = 10.0) -> np.ndarray:
    """`(frame, 3, 3)` rotations of a camera that turns by `step` degrees a frame about the vertical, y, and looks at
    it by `tilt` degrees from the side: the smooth camera of the CMU sets (`rotations_orbit`)."""
    a, t = np.deg2rad(step * np.arange(frames)), np.deg2rad(tilt)
    o, i = np.zeros(frames), np.ones(frames)
    yaw = np.stack([np.cos(a), o, np.sin(a), o, i, o, -np.sin(a), o, np.cos(a)], -1).reshape(-1, 3, 3)
    return np.array([[1, 0, 0], [0, np.cos(t), -np.sin(t)], [0, np.sin(t), np.cos(t)]]) @ yaw


def smooth(missing: float = 0.0) -> Callable[[Data], Data]:
    """Seen by that camera, a share of the points hidden at random."""

    def change(data: Data) -> Data:
        landmarks, reference = data
        reference = reference.replace(cameras=Cameras(rotations=np.float32(orbit(landmarks.n_frames))))
        points = np.asarray(reference.points2d, np.float32)
        return hide_random(missing)((landmarks.replace(points2d=points), reference))

    return change


def walking(name: str, setting: str = "", missing: float = 0.0, **fields) -> Case:
    """CMU walking by the smooth camera."""
    fields = {"method": "prn", **fields}
    return Case(
        name, "CMU walking, smooth camera", setting, cmu("walking"), "orthographic", smooth(missing), **fields
    )


DRINK = Case("drink_free", "drink", "free shapes", "short_sequences/drink", "orthographic", method="prn",
             overrides={"network": "none"}, headline=True)  # fmt: skip
START = "the start alone: pnd"
CASES = [
    DRINK,
    dataclasses.replace(DRINK, name="drink_pnd", setting=START, method="pnd", overrides={}, headline=False),
    walking("walking", headline=True),
    walking("walking_paul", "PAUL, to compare with", method="paul"),
    *(
        walking(f"walking_missing_{m}", f"{m} % of the points missing", m / 100, headline=m == 20)
        for m in (5, 10, 15, 20)
    ),
    walking("walking_free", "free shapes", overrides={"network": "none"}),
    walking("walking_pnd", START, method="pnd"),
    walking("walking_pnd_missing_20", f"{START}, 20 % of the points missing", 0.2, method="pnd"),
]


def write_tables() -> None:
    """The README's table from the results."""
    lines = []
    for case in CASES:
        path = HERE / "results" / f"{case.name}.json"
        if path.exists():
            row = json.loads(path.read_text())
            p = row["protocols"]
            percent = [f"{100 * p[k]['normalized_error']:.2f}" for k in ("frame-mirror", "one-mirror")]
            lines.append(
                (case.name, row["set"], row["setting"], *percent, f"{p['one-mirror']['handedness']:.3f}",
                 "–" if row["heldout"] is None else f"{row['heldout']:.3f}", str(row["config"]["steps"]),
                 f"{row['seconds'] / 60:.1f}", row["device"], row["date"])
            )  # fmt: skip
    head = ("case", "set", "setting", "`frame-mirror` %", "`one-mirror` %", "handedness", "held out / size", "steps",
            "minutes", "device", "date")  # fmt: skip
    path = HERE / "README.md"
    path.write_text(replace_between(path.read_text(), "results", markdown(head, lines)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HERE, CASES, write_tables))
