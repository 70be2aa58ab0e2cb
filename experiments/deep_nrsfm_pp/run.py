"""Run the Deep NRSfM++ experiments and rewrite this folder's README from their results.

    python -m experiments.deep_nrsfm_pp.run                  every case that has no result yet
    python -m experiments.deep_nrsfm_pp.run cmu_walking ...  these cases, anew
    python -m experiments.deep_nrsfm_pp.run --tables         only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jnrsfm
from experiments.deep_nrsfm_pp.cases import CASES, Case, split_clips
from experiments.tables import markdown, replace_between
from jnrsfm import metrics, settings
from jnrsfm.methods import METHODS

HERE = Path(__file__).resolve().parent
METHOD = METHODS["deep-nrsfm++"]
# Published for the same kind of data by other cameras, points and frames: a yardstick, not a comparison.
PUBLISHED = {
    "CMU motion capture, 8 subjects, 31 points, `kong`": "0.020 to 0.230 (block soft threshold), "
    "0.030 to 0.393 (ReLU): paper, Table 2",
    "Apollo 3D cars, test, MPJPE in metres": "0.591 weak perspective, 0.145 perspective, 0.124 with scale correction: "
    "paper, Table 6",
}


def device() -> str:
    """The device that results name."""
    kind = jax.devices()[0].device_kind
    return f"{os.cpu_count()} {platform.machine()} CPU cores" if jax.default_backend() == "cpu" else kind


def run(case: Case, folder: Path) -> dict[str, Any]:
    """Fit a case and score it."""
    landmarks, reference = case.load(folder)
    config = settings.from_plain(case.overrides, METHOD.config(), case.name)
    extra: dict[str, Any] = {}
    begun = time.monotonic()
    out = Path(tempfile.mkdtemp()) / "run" if case.picture else None
    options = {"camera": case.camera, "config": config, "seed": 0, "out": out}
    if case.unseen:
        seen, rest = split_clips(landmarks, case.unseen)
        result = jnrsfm.fit(landmarks.select(seen), **options)
        lifted = result.model.lift(landmarks.select(rest))
        reference, held = reference.select(seen), reference.select(rest)
        extra["unseen"] = metrics.evaluate(lifted, held)
    else:
        result = jnrsfm.fit(landmarks, reference=reference, **options)
    seconds = time.monotonic() - begun
    if out is not None:
        (HERE / "pictures").mkdir(exist_ok=True)
        shutil.copy(out / "report.png", HERE / "pictures" / f"{case.name}.png")
    row = {
        "set": case.set, "setting": case.setting, "method": METHOD.name, "camera": case.camera,
        "protocols": metrics.evaluate(result.reconstruction, reference),
        **extra,
        "heldout": result.facts["search"][0]["heldout"], "objective": result.facts["search"][0]["objective"],
        "facts": result.facts, "card": result.card,
        "seconds": round(seconds, 1), "device": device(), "headline": case.headline,
        "scale_free": reference.cameras.model == "perspective", "seed": 0,
        "config": settings.to_plain(result.config),
        "command": f"python -m experiments.deep_nrsfm_pp.run {case.name}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }  # fmt: skip
    return row


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {p.stem: json.loads(p.read_text()) for p in sorted((HERE / "results").glob("*.json"))}
    by_case = [(c, rows[c.name]) for c in CASES if c.name in rows]

    def percent(row, protocol, metric="normalized_error"):
        return f"{100 * row['protocols'][protocol][metric]:.2f}"

    head = ("case", "set", "setting", "camera", "`frame-mirror` %", "`one-mirror` %", "handedness",
            "`deep-nrsfm++` % (scale free)", "MPJPE", "held out / size", "minutes")  # fmt: skip
    lines = [
        (c.name, r["set"], r["setting"], r["camera"], percent(r, "frame-mirror"), percent(r, "one-mirror"),
         f"{r['protocols']['one-mirror']['handedness']:.3f}", percent(r, "deep-nrsfm++"),
         f"{r['protocols']['deep-nrsfm++']['mpjpe']:.4g}", f"{r['heldout']:.3f}", f"{r['seconds'] / 60:.1f}")
        for c, r in by_case if not c.name.startswith("ablation")
    ]  # fmt: skip
    sets = [
        c.set for c, _ in by_case if c.name.startswith("ablation_bst") and f"ablation_relu_{_end(c)}" in rows
    ]
    ablation = [
        (
            s,
            *(
                percent(rows[f"ablation_{kind}_{s.removeprefix('CMU ')}"], "frame-mirror")
                for kind in ("bst", "relu")
            ),
        )
        for s in sets
    ]
    text = (HERE / "README.md").read_text()
    text = replace_between(text, "results", markdown(head, lines))
    wins = sum(float(bst) < float(relu) for _, bst, relu in ablation)
    verdict = f"\n\nThe block soft threshold is better on {wins} of {len(ablation)} sets."
    table = markdown(("set", "block soft threshold", "ReLU"), ablation) + verdict
    text = replace_between(text, "ablation", table)
    unseen = rows.get("unseen")
    if unseen:
        line = (
            percent(unseen, "frame-mirror"),
            f"{100 * unseen['unseen']['frame-mirror']['normalized_error']:.2f}",
            percent(unseen, "one-mirror"),
            f"{100 * unseen['unseen']['one-mirror']['normalized_error']:.2f}",
        )
        head = ("`frame-mirror` %, trained on", "unseen", "`one-mirror` %, trained on", "unseen")
        text = replace_between(text, "unseen", markdown(head, [line]))
    text = replace_between(text, "published", markdown(("what", "value, source"), list(PUBLISHED.items())))
    when = sorted({(r["device"], r["date"]) for r in rows.values()})
    text = replace_between(text, "when", "; ".join(f"{d}, {t}, seed 0" for d, t in when))
    (HERE / "README.md").write_text(text)


def _end(case: Case) -> str:
    return case.name.split("_", 2)[2]


def main(argv: list[str]) -> int:
    """Run what is asked for."""
    folder = Path(os.environ.get("JNRSFM_DATA", HERE.parents[2] / "shared" / "data"))
    names = {c.name: c for c in CASES}
    unknown = [a for a in argv if a not in names and a != "--tables"]
    if unknown:
        print(f"unknown case {unknown[0]!r}: choose from {', '.join(names)}", file=sys.stderr)
        return 2
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    chosen = [names[a] for a in argv if a in names]
    if not argv:
        chosen = [c for c in CASES if not (results / f"{c.name}.json").exists()]
    for case in chosen:
        print(f"== {case.name}", file=sys.stderr, flush=True)
        row = run(case, folder)
        beside = results / f"{case.name}.tmp"
        beside.write_text(json.dumps(row, indent=1) + "\n")
        beside.replace(results / f"{case.name}.json")
        print(
            case.name,
            {p: v.get("normalized_error") for p, v in row["protocols"].items()},
            row["seconds"],
            flush=True,
        )
    write_tables()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
