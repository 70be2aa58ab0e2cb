"""Run the cases of an experiment: one result file each, written beside and then renamed."""

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jnrsfm
from experiments.cases import Case, split_clips
from jnrsfm import metrics
from jnrsfm.config import from_plain, to_plain
from jnrsfm.methods import METHODS
from jnrsfm.runs import write_file


def device() -> str:
    """The device that results name."""
    kind = jax.devices()[0].device_kind
    return f"{os.cpu_count()} {platform.machine()} CPU cores" if jax.default_backend() == "cpu" else kind


def run(case: Case, folder: Path, here: Path) -> dict[str, Any]:
    """Fit a case and score it; `here` is the folder of the experiment."""
    method = METHODS[case.method]
    landmarks, reference = case.load(folder)
    config = from_plain(case.overrides, method.config(), case.name)
    extra: dict[str, Any] = {}
    begun = time.monotonic()
    out = Path(tempfile.mkdtemp()) / "run" if case.picture else None
    options = {"method": method.name, "camera": case.camera, "config": config, "seed": case.seed, "out": out}
    if case.unseen:
        seen, rest = split_clips(landmarks, case.unseen)
        result = jnrsfm.fit(landmarks.select(seen), **options)
        lifted = result.model.lift(landmarks.select(rest))
        reference, held = reference.select(seen), reference.select(rest)
        extra["unseen"] = metrics.evaluate(lifted, held)
    else:
        result = jnrsfm.fit(landmarks, reference=reference, **options)
    seconds = time.monotonic() - begun
    if result.model is not None and not case.unseen and method.name == "paul":
        extra["lifted"] = metrics.evaluate(result.model.lift(landmarks), reference)
    if out is not None:
        (here / "pictures").mkdir(exist_ok=True)
        shutil.copy(out / "report.png", here / "pictures" / f"{case.name}.png")
    row = {
        "set": case.set, "setting": case.setting, "method": method.name, "camera": case.camera,
        "protocols": metrics.evaluate(result.reconstruction, reference),
        **extra,
        "heldout": _first(result.diagnostics, "heldout"), "objective": _first(result.diagnostics, "objective"),
        "facts": result.diagnostics, "card": result.quality,
        "seconds": round(seconds, 1), "device": device(), "headline": case.headline,
        "scale_free": reference.cameras.model == "perspective", "seed": case.seed,
        "config": to_plain(result.config),
        "command": f"python -m experiments.{here.name}.run {case.name}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }  # fmt: skip
    return row


def _first(facts: dict[str, Any], name: str) -> float | None:
    """A criterion of the chosen search."""
    search = facts.get("search")
    if isinstance(search, dict):
        search = search[facts["start"]]
    return search[0][name] if search else None


def main(argv: Sequence[str], here: Path, cases: Sequence[Case], write_tables: Callable[[], None]) -> int:
    """Run the cases named, or those without a result, then write the tables; `--tables`: only these."""
    folder = Path(os.environ.get("JNRSFM_DATA", here.parents[2] / "shared" / "data"))
    names = {c.name: c for c in cases}
    unknown = [a for a in argv if a not in names and a != "--tables"]
    if unknown:
        print(f"unknown case {unknown[0]!r}: choose from {', '.join(names)}", file=sys.stderr)
        return 2
    results = here / "results"
    results.mkdir(exist_ok=True)
    chosen = [names[a] for a in argv if a in names]
    if not argv:
        chosen = [c for c in cases if not (results / f"{c.name}.json").exists()]
    for case in chosen:
        print(f"== {case.name}", file=sys.stderr, flush=True)
        row = run(case, folder, here)
        write_file(results / f"{case.name}.json", json.dumps(row, indent=1) + "\n")
        errors = {p: v.get("normalized_error") for p, v in row["protocols"].items()}
        print(case.name, errors, row["seconds"], flush=True)
    write_tables()
    return 0
