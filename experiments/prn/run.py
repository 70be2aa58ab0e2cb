"""Run the PRN experiments and rewrite this folder's README from their results.

    python -m experiments.prn.run                     every case that has no result yet
    python -m experiments.prn.run walking_missing_20  this case, anew
    python -m experiments.prn.run --tables            only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

import dataclasses
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jnrsfm
from experiments.tables import markdown, replace_between
from jnrsfm import Landmarks, Reconstruction, io, metrics, settings
from jnrsfm.methods import METHODS
from jnrsfm.types import Cameras

HERE = Path(__file__).resolve().parent
METHOD = METHODS["prn"]


@dataclasses.dataclass(frozen=True)
class Case:
    """One fit by the default configuration, but for `network`: `missing` is the share of points hidden at random."""

    name: str
    set: str
    file: str
    missing: float = 0.0
    network: str = "residual"
    headline: bool = False

    def load(self, folder: Path) -> tuple[Landmarks, Reconstruction]:
        """Landmarks and reference; where the file has a smooth camera (`rotations_orbit`), seen by that one."""
        path = folder / f"{self.file}.npz"
        landmarks, reference = io.read_landmarks(path), io.read_reference(path)
        assert reference is not None, path
        with np.load(path, allow_pickle=False) as file:
            if "rotations_orbit" in file:
                reference = reference.replace(cameras=Cameras(rotations=file["rotations_orbit"]))
        points = np.asarray(reference.points2d)
        visible = np.asarray(landmarks.visible)
        hidden = np.random.default_rng(0).random(visible.shape) < self.missing
        visible = np.where(visible.sum(1, keepdims=True) - (visible & hidden).sum(1, keepdims=True) < 4, visible,
                           visible & ~hidden)  # fmt: skip
        points = np.where(visible[..., None], points, 0).astype(np.float32)
        return landmarks.replace(points2d=points, visible=visible), reference

    @property
    def setting(self) -> str:
        """For the tables."""
        parts = ["free shapes"] if self.network == "none" else []
        return ", ".join(parts + ([f"{self.missing:.0%} of the points missing"] if self.missing else []))


CASES = [
    Case("drink_free", "drink", "short_sequences/drink", network="none", headline=True),
    Case("walking", "CMU walking, smooth camera", "cmu_mocap/cmu_walking", headline=True),
    *(
        Case(
            f"walking_missing_{m}",
            "CMU walking, smooth camera",
            "cmu_mocap/cmu_walking",
            m / 100,
            headline=m == 20,
        )
        for m in (5, 10, 15, 20)
    ),
    Case("walking_free", "CMU walking, smooth camera", "cmu_mocap/cmu_walking", network="none"),
]


def run(case: Case, folder: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """Fit a case and score it."""
    landmarks, reference = case.load(folder)
    config = settings.from_plain({"network": case.network, **overrides}, METHOD.config(), case.name)
    begun = time.monotonic()
    result = jnrsfm.fit(landmarks, method=METHOD.name, camera="orthographic", config=config, seed=0)
    seconds = time.monotonic() - begun
    cores = f"{os.cpu_count()} {platform.machine()} CPU cores"
    return {
        "set": case.set, "setting": case.setting, "method": METHOD.name, "camera": "orthographic",
        "protocols": metrics.evaluate(result.reconstruction, reference),
        "heldout": result.facts["search"][0]["heldout"], "objective": result.facts["search"][0]["objective"],
        "seconds": round(seconds, 1),
        "device": cores if jax.default_backend() == "cpu" else jax.devices()[0].device_kind,
        "headline": case.headline, "seed": 0, "config": settings.to_plain(config),
        "command": " ".join(["python -m experiments.prn.run", case.name, *(f"{k}={v}" for k, v in overrides.items())]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }  # fmt: skip


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
                 f"{row['heldout']:.3f}", str(row["config"]["steps"]), f"{row['seconds'] / 60:.1f}")
            )  # fmt: skip
    head = ("case", "set", "setting", "`frame-mirror` %", "`one-mirror` %", "handedness", "held out / size", "steps",
            "minutes")  # fmt: skip
    path = HERE / "README.md"
    path.write_text(replace_between(path.read_text(), "results", markdown(head, lines)))


def main(argv: list[str]) -> int:
    """Run what is asked for; `steps=N` trains shorter than by default, and is written into the result."""
    folder = Path(os.environ.get("JNRSFM_DATA", HERE.parents[2] / "shared" / "data"))
    names = {c.name: c for c in CASES}
    overrides = {k: int(v) for k, _, v in (a.partition("=") for a in argv) if k == "steps"}
    cases = [a for a in argv if a != "--tables" and not a.startswith("steps=")]
    unknown = [a for a in cases if a not in names]
    if unknown:
        print(f"unknown case {unknown[0]!r}: choose from {', '.join(names)}", file=sys.stderr)
        return 2
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    chosen = [names[a] for a in cases]
    if not cases and "--tables" not in argv:
        chosen = [c for c in CASES if not (results / f"{c.name}.json").exists()]
    for case in chosen:
        row = run(case, folder, overrides)
        beside = results / f"{case.name}.tmp"
        beside.write_text(json.dumps(row, indent=1) + "\n")
        beside.replace(results / f"{case.name}.json")
        print(case.name, {k: v.get("normalized_error") for k, v in row["protocols"].items()}, flush=True)
    write_tables()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
