"""Run the cases of an experiment: a case is a file, the views made of it, and the settings of one fit.

Each experiment lists its cases and hands them to `main`, which fits, scores and writes one result file a case (or one
row of a file that several cases share), written beside and then renamed. No run looks at 3D: references are for
scoring. The form of a result is in `experiments/tables.py`.
"""

import dataclasses
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jnrsfm
from experiments.degrade import Change, Data, unchanged
from jnrsfm import Landmarks, Reconstruction, io, metrics
from jnrsfm.config import from_plain, to_plain
from jnrsfm.errors import InputError
from jnrsfm.methods import METHODS
from jnrsfm.training import Session

CMU = ("walking", "running", "jumping", "basketball", "directing_traffic")
Split = Callable[[Data], tuple[np.ndarray, np.ndarray]]


class Fit(NamedTuple):
    """A fit to score: what was fitted, what was held back for the model to lift, and what came out.

    `seconds` and `cpu_seconds` are of the fit, compiling included; `warm` are the CPU seconds of a second one."""

    case: "Case"
    landmarks: Landmarks
    reference: Reconstruction
    held: Data | None
    result: Any
    seconds: float
    cpu_seconds: float
    warm: float | None

    @property
    def diagnostics(self) -> dict[str, Any]:
        """Plain figures of the fit."""
        return getattr(self.result, "diagnostics", None) or getattr(self.result, "facts", {})

    @property
    def quality(self) -> dict[str, Any] | None:
        """Its quality report; none where the method ran alone."""
        return getattr(self.result, "quality", None) or getattr(self.result, "card", None)


def scored(fit: Fit) -> dict[str, Any]:
    """All protocols, and those of the frames held back, lifted."""
    row = {"protocols": metrics.evaluate(fit.result.reconstruction, fit.reference)}
    if fit.held:
        landmarks, reference = fit.held
        row["unseen"] = metrics.evaluate(fit.result.model.lift(landmarks), reference)
    return row


def scored_and_lifted(fit: Fit) -> dict[str, Any]:
    """`scored`, and the frames of the fit lifted one by one by its model."""
    lifted = (
        {} if fit.held else {"lifted": metrics.evaluate(fit.result.model.lift(fit.landmarks), fit.reference)}
    )
    return scored(fit) | lifted


@dataclasses.dataclass(frozen=True)
class Case:
    """One fit of `file`, a name below the data folder or several that make one set, seen as `change` makes it.

    `split` gives the frames to fit and those to lift afterwards (none: all are fitted); `score` makes the result's
    protocols and what else the experiment's tables show; `timed` fits by the method alone, `repeat` once more to time
    it compiled; `shared` names a result file of several rows; `table` is for the experiment's own use."""

    name: str
    set: str
    setting: str
    file: str | tuple[str, ...]
    camera: str = "orthographic"
    change: Change = unchanged
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    split: Split | None = None
    headline: bool = False
    picture: bool = False
    method: str = "deep-nrsfm++"
    seed: int = 0
    score: Callable[[Fit], dict[str, Any]] = scored
    timed: bool = False
    repeat: bool = False
    shared: str = ""
    table: str = ""

    def load(self, folder: Path) -> Data:
        """Landmarks and reference."""
        names = (self.file,) if isinstance(self.file, str) else self.file
        parts = []
        for path in (folder / f"{name}.npz" for name in names):
            reference = io.read_reference(path)
            assert reference is not None, path
            parts.append((io.read_landmarks(path), reference))
        return self.change(parts[0] if len(parts) == 1 else pooled(parts))


def pooled(parts: Sequence[Data]) -> Data:
    """Several sets of the same points as one, the clips of each apart; their cameras have scales of their own."""
    clips, first = [], 0
    for landmarks, _ in parts:
        own = np.unique(np.asarray(landmarks.sequence), return_inverse=True)[1]
        clips.append(first + own)
        first += own.max() + 1
    sequence = np.concatenate(clips)
    join = lambda values: np.concatenate([np.asarray(v) for v in values])
    (landmarks, reference), cameras = parts[0], [r.cameras for _, r in parts]
    return landmarks.replace(
        points2d=join(x.points2d for x, _ in parts), visible=join(x.visible for x, _ in parts), sequence=sequence
    ), reference.replace(
        points3d=join(r.points3d for _, r in parts),
        valid3d=None if reference.valid3d is None else join(r.valid3d for _, r in parts),
        visible=join(r.visible for _, r in parts), sequence=sequence,
        cameras=cameras[0].replace(
            rotations=join(c.rotations for c in cameras), translations=join(c.translations for c in cameras),
            scale=join(c.scale for c in cameras),
        ),
    )  # fmt: skip


def cmu(name: str) -> str:
    """File of a CMU set."""
    return f"cmu_mocap/cmu_{name}"


def short(name: str) -> str:
    """File of a short sequence."""
    return f"short_sequences/{name}"


def first_clips(share: float) -> Split:
    """Fit the first `share` of the clips, lift the rest."""

    def split(data: Data) -> tuple[np.ndarray, np.ndarray]:
        sequence = np.asarray(data[0].sequence)
        clips = np.unique(sequence)
        first = np.isin(sequence, clips[: round(share * len(clips))])
        return np.flatnonzero(first), np.flatnonzero(~first)

    return split


def today() -> str:
    """The date that results bear."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def device() -> str:
    """The device that results name; of a CPU, the cores that this process may use."""
    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    allowed = getattr(os, "sched_getaffinity", None)
    count = len(allowed(0)) if allowed else os.cpu_count()
    return f"{count} {platform.machine()} CPU core{'s' if count != 1 else ''}"


def run(case: Case, folder: Path, here: Path) -> dict[str, Any]:
    """Fit a case and score it; `here` is the folder of the experiment."""
    method = METHODS[case.method]
    landmarks, reference = data = case.load(folder)
    held = None
    if case.split:
        seen, rest = case.split(data)
        landmarks, reference = (x.select(seen) for x in data)
        held = (data[0].select(rest), data[1].select(rest))
    config = from_plain(case.overrides, method.config(), case.name)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run" if case.picture else None

        def fit() -> Any:
            if case.timed:
                return method.fit(landmarks, case.camera, config, case.seed, Session(None))
            options = {"camera": case.camera, "config": config, "seed": case.seed, "out": out}
            return jnrsfm.fit(landmarks, method.name, reference=reference, **options)

        wall, cpu = time.monotonic(), time.process_time()
        result = fit()
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        warm = None
        if case.repeat:
            warm = time.process_time()
            fit()
            warm = time.process_time() - warm
        if out is not None:
            (here / "pictures").mkdir(exist_ok=True)
            shutil.copy(out / "report.png", here / "pictures" / f"{case.name}.png")
    fitted = Fit(case, landmarks, reference, held, result, wall, cpu, warm)
    found = fitted.diagnostics
    return {
        "set": case.set, "setting": case.setting, "method": method.name, "camera": case.camera,
        "heldout": _chosen(found, "heldout"), "objective": _chosen(found, "objective"),
        "diagnostics": found, "quality": fitted.quality,
        "seconds": round(wall, 1), "cpu_seconds": round(cpu, 1),
        "device": device(), "headline": case.headline,
        "scale_free": "perspective" in (case.camera, reference.cameras.model) or case.camera == "weak-perspective",
        "seed": case.seed,
        "config": to_plain(config),
        "command": f"python -m experiments.{here.name}.run {case.name}",
        "date": today(),
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
        **case.score(fitted),
    }  # fmt: skip


def _chosen(found: dict[str, Any], name: str) -> float | None:
    """A criterion of the chosen search."""
    search = found.get("search")
    if isinstance(search, dict):
        search = search.get(found.get("start"))
    return search[0][name] if search else None


def write(path: Path, content: Any) -> None:
    """One result file, replaced at once."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    beside.replace(path)


def run_all(cases: Iterable[Case], here: Path, command: str = "") -> None:
    """Run cases and write each result as soon as it is there. `command` is what a row says made it, instead of the
    name of its case."""
    folder = Path(os.environ.get("JNRSFM_DATA") or here.parents[2] / "shared" / "data")
    for case in cases:
        print(f"== {case.name}", file=sys.stderr, flush=True)
        row = run(case, folder, here) | ({"command": command} if command else {})
        path = here / "results" / f"{case.shared or case.name}.json"
        if case.shared:
            rows = json.loads(path.read_text()) if path.exists() else []
            write(path, list({_view(r): r for r in [*rows, row]}.values()))
        else:
            write(path, row)
        errors = {p: v.get("normalized_error", v.get("mpjpe")) for p, v in row["protocols"].items()}
        print(case.name, errors, f"{row['seconds']} s", flush=True)
        jax.clear_caches()  # a process can map only so many compiled programs


def _view(row: dict[str, Any]) -> tuple:
    """By what rows of one file are told apart."""
    return row["set"], row.get("noise") or 0, row.get("missing") or 0


def setting(pair: str) -> tuple[str, Any]:
    """`NAME=VALUE` of a command line: a JSON value, or else text."""
    name, value = pair.split("=", 1)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(argv: Sequence[str], here: Path, cases: Sequence[Case], write_tables: Callable[[], None]) -> int:
    """Run the cases named, with the settings NAME=VALUE, or those without a result, then write the tables;
    `--tables`: only these."""
    known = {c.name: c for c in cases}
    names = [a for a in argv if "=" not in a and a != "--tables"]
    overrides = dict(setting(a) for a in argv if "=" in a)
    if unknown := [n for n in names if n not in known]:
        print(f"unknown case {unknown[0]!r}: choose from {', '.join(known)}", file=sys.stderr)
        return 2
    if overrides and not names:
        print(f"name the case that {', '.join(overrides)} is for", file=sys.stderr)
        return 2
    chosen = [known[n] for n in names]
    if not argv:
        chosen = [c for c in cases if not (here / "results" / f"{c.name}.json").exists()]
    chosen = [dataclasses.replace(c, overrides=c.overrides | overrides) for c in chosen]
    said = f"python -m experiments.{here.name}.run {' '.join(argv)}" if overrides else ""
    try:
        run_all(chosen, here, said)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    write_tables()
    return 0


class Work(NamedTuple):
    """A case that is more than one fit of a landmark file: what `set` and `setting` its row names, the method, and
    `run() -> dict`, which does all and gives the row's own part."""

    set: str
    setting: str
    method: str
    run: Callable[[], dict[str, Any]]


def main_of_works(
    argv: Sequence[str], here: Path, works: dict[str, Work], write_tables: Callable[[], None]
) -> int:
    """Run the works named, or those without a result, then write the tables; `--tables`: only these. The seed of a row
    is the digit that its name ends with."""
    if unknown := [n for n in argv if n not in works and n != "--tables"]:
        print(f"unknown case {unknown[0]!r}: choose from {', '.join(works)}", file=sys.stderr)
        return 2
    todo = [n for n in argv if n != "--tables"]
    if not argv:
        todo = [n for n in works if not (here / "results" / f"{n}.json").is_file()]
    for number, name in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {name}", file=sys.stderr, flush=True)
        work, wall, cpu = works[name], time.monotonic(), time.process_time()
        found = work.run()
        row = {
            "set": work.set, "setting": work.setting, "method": work.method, "camera": "weak-perspective",
            "protocols": {}, "seconds": round(time.monotonic() - wall, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1), "device": device(), "headline": False,
            "seed": int(name[-1]) if name[-1].isdigit() else 0,
            "command": f"python -m experiments.{here.name}.run {name}",
            "date": today(),
            "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
        }  # fmt: skip
        write(here / "results" / f"{name}.json", row | found)
    write_tables()
    return 0
