"""Run the multi-category experiments and rewrite this folder's README from their results.

    python -m experiments.multicategory.run                 every case that has no result yet
    python -m experiments.multicategory.run c3dpo steps=50  this case anew, with another setting
    python -m experiments.multicategory.run --tables        only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

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
from experiments.fitting import device
from experiments.multicategory.cases import CASES, Case
from experiments.tables import markdown, replace_between
from jnrsfm import Landmarks, Reconstruction, io, metrics
from jnrsfm.config import from_plain, to_plain
from jnrsfm.inputs.category_samples import category_names
from jnrsfm.methods import METHODS
from jnrsfm.methods.multicategory import low_confidence

HERE = Path(__file__).resolve().parent
METHOD = METHODS["multicategory"]
HIDDEN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def held_out_tenth(landmarks: Landmarks, reference: Reconstruction, seed: int = 0) -> np.ndarray:
    """`(frame,)` bool: of each category about a tenth of the samples, split by source: samples of one 3D shape, seen
    by several cameras, stand on one side. (The 3D is used to tell sources apart, and for no more.)"""
    rng, names = np.random.default_rng(seed), category_names(landmarks)
    held = np.zeros(len(names), bool)
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        shapes = np.round(np.asarray(reference.points3d)[rows], 4).reshape(len(rows), -1)
        source = np.unique(shapes, axis=0, return_inverse=True)[1].reshape(-1)
        left = len(rows) // 10
        for group in rng.permutation(source.max() + 1):
            if 0 < (size := (source == group).sum()) <= left:
                held[rows[source == group]] = True
                left -= size
    return held


def hide(landmarks: Landmarks, share: float, seed: int = 0, least: int = 3) -> Landmarks:
    """The landmarks with a random share of each sample's visible points hidden, never leaving fewer than `least`."""
    visible = np.asarray(landmarks.visible)
    order = np.argsort(np.where(visible, np.random.default_rng(seed).random(visible.shape), np.inf), axis=1)
    rank = np.argsort(order, axis=1)
    count = visible.sum(1)
    gone = np.minimum(np.round(share * count).astype(int), np.maximum(count - least, 0))
    visible = visible & (rank >= gone[:, None])
    points = np.where(visible[..., None], np.asarray(landmarks.points2d), 0)
    return landmarks.replace(points2d=points.astype(np.float32), visible=visible)


def score(landmarks: Landmarks, found: Reconstruction, reference: Reconstruction) -> dict[str, Any]:
    """Protocols over the set (means over categories where the protocol says so) and by category."""
    reference = reference.replace(valid3d=np.asarray(landmarks.defined))
    named = reference.replace(sequence=np.asarray(landmarks.category))  # one mirror for each category
    overwritten = metrics.overwrite_visible_xy(found, landmarks)
    names = ["c3dpo", "frame-mirror", "deep-nrsfm++"]
    by_category = metrics.protocols.evaluate_by_category(overwritten, named, [*names, "one-mirror"])
    return {
        "protocols": metrics.evaluate(overwritten, named, [*names, "one-mirror"]),
        "by_category": by_category,
        "c3dpo_own_xy": metrics.evaluate(found, named, ["c3dpo"])["c3dpo"],
    }


def coherence(model: Any) -> float | None:
    """Largest absolute cosine between two of the rows that make the coefficients (Table 5), None with a prior."""
    nets = model.params["nets"]["lifter"]
    if "coefficients" not in nets:
        return None
    w = np.asarray(nets["coefficients"]["kernel"]).T
    w = w / np.linalg.norm(w, axis=1, keepdims=True)
    return float(np.max(np.abs(w @ w.T) - np.eye(len(w))))


def run(case: Case, folder: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """Train a case on nine tenths and score it on the tenth."""
    path = folder / "multi_category" / "mixed5_train.npz"
    landmarks, reference = io.read_landmarks(path), io.read_reference(path)
    held = held_out_tenth(landmarks, reference)
    if case.categories:
        chosen = np.isin(category_names(landmarks), case.categories)
        landmarks, reference, held = landmarks.select(chosen), reference.select(chosen), held[chosen]
    config = from_plain({**case.settings, **overrides}, METHOD.config(), case.name)
    begun, cpu = time.monotonic(), time.process_time()
    result = jnrsfm.fit(
        landmarks.select(~held), method=METHOD.name, camera="orthographic", config=config, seed=case.seed
    )
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    test, truth = landmarks.select(held), reference.select(held)
    curve = {}
    for share in HIDDEN if case.curve else ():
        seen = hide(test, share)
        found = result.model.lift(seen)
        curve[str(share)] = score(seen, found, truth)["protocols"]["c3dpo"]["mpjpe"]
    if case.curve:
        seen = hide(test, 1.0)
        found = result.model.lift(seen)
        flagged = low_confidence(found)
        curve["three points"] = {
            "mpjpe": score(seen, found, truth)["protocols"]["c3dpo"]["mpjpe"],
            "finite": bool(np.isfinite(np.asarray(found.points3d)).all()),
            "flagged": float(flagged.mean()),
            "flagged_when_all_is_seen": float(low_confidence(result.model.lift(test)).mean()),
        }
    return {
        "set": "mixed5, held-out tenth" + (f", {', '.join(case.categories)}" if case.categories else ""),
        "setting": case.what, "method": METHOD.name, "camera": "orthographic",
        **score(test, result.model.lift(test), truth),
        "train": score(landmarks.select(~held), result.reconstruction, reference.select(~held))["protocols"]["c3dpo"],
        "heldout_points": result.diagnostics["heldout"], "curve": curve, "coherence": coherence(result.model.model),
        "facts": result.diagnostics, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1),
        "samples": {"train": int((~held).sum()), "test": int(held.sum())},
        "device": device(),
        "categories": list(case.categories),
        "headline": case.headline, "seed": case.seed, "config": to_plain(config),
        "command": " ".join(
            ["python -m experiments.multicategory.run", case.name, *(f"{k}={v}" for k, v in overrides.items())]
        ),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }  # fmt: skip


def _scores(row: dict[str, Any]) -> tuple[str, ...]:
    """A result's line of scores, for `_HEAD`."""
    p, held = row["protocols"], row["heldout_points"] or {}
    return (*map(_number, (
        p["c3dpo"]["mpjpe"], row["c3dpo_own_xy"]["mpjpe"], p["frame-mirror"]["normalized_error"],
        p["one-mirror"]["normalized_error"], p["one-mirror"]["handedness"], p["deep-nrsfm++"]["pa_mpjpe"],
        held.get("error"), row["coherence"],
    )), str(row["config"]["steps"]), f"{row['cpu_seconds']:.0f}")  # fmt: skip


_HEAD = ("method", "`c3dpo` MPJPE", "own x, y", "`frame-mirror`", "`one-mirror`", "handedness", "PA-MPJPE",
         "held-out points", "coherence", "steps", "CPU s")  # fmt: skip


_RATIOS = (
    ("c3dpo", "c3dpo_base", "0.80 (published 0.71)"),
    ("ours", "c3dpo", "0.85 (published 0.93)"),
    ("procrustean", "c3dpo", "0.70"),
)


def _number(x: float | None) -> str:
    return "" if x is None else f"{x:.3f}"


def _mpjpe(row: dict[str, Any]) -> float:
    return row["protocols"]["c3dpo"]["mpjpe"]


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {
        c.name: json.loads(p.read_text())
        for c in CASES
        if (p := HERE / "results" / f"{c.name}.json").exists()
    }
    by_table = {
        name: {c.name: rows[c.name] for c in CASES if c.table == name and c.name in rows}
        for name in ("methods", "alone", "cycle")
    }
    methods = by_table["methods"]
    parts = [markdown(_HEAD, [(row["setting"], *_scores(row)) for row in methods.values()])]
    ratios = [
        (
            f"{methods[a]['setting']} over {methods[b]['setting']}",
            f"{_mpjpe(methods[a]) / _mpjpe(methods[b]):.2f}",
            to,
        )
        for a, b, to in _RATIOS
        if a in methods and b in methods
    ]
    parts.append(markdown(("ratio of `c3dpo` MPJPE", "here", "asked: at most"), ratios))
    names = sorted({c for row in methods.values() for c in row["by_category"]})
    each = [
        (row["setting"], *(
            "{:.3f} / {:.2f}".format(v["c3dpo"]["mpjpe"], v["one-mirror"]["handedness"])
            if (v := row["by_category"].get(c)) else "" for c in names
        )) for row in methods.values()
    ]  # fmt: skip
    parts.append("By category, `c3dpo` MPJPE / handedness:\n\n" + markdown(("method", *names), each))
    curves = [
        (row["setting"], *(_number(row["curve"][str(h)]) for h in HIDDEN), _number(last["mpjpe"]),
         f"{last['flagged']:.0%}", f"{last['flagged_when_all_is_seen']:.0%}")
        for row in methods.values() if row["curve"] and (last := row["curve"]["three points"])
    ]  # fmt: skip
    if curves:
        shares = [f"{h:.0%} hidden" for h in HIDDEN]
        head = ("method", *shares, "3 points left", "flagged then", "flagged as they are")
        parts.append(
            "`c3dpo` MPJPE with more of the held-out samples' visible points hidden, and how many are flagged as of "
            "low confidence:\n\n" + markdown(head, curves)
        )
    alone = {row["categories"][0]: row for row in by_table["alone"].values()}
    if alone and "procrustean" in methods:
        whole = methods["procrustean"]["by_category"]
        values = [(c, _mpjpe(row), whole[c]["c3dpo"]["mpjpe"]) for c, row in alone.items()]
        values.append(("mean", *np.mean([v[1:] for v in values], axis=0)))
        lines = [(c, _number(one), _number(five)) for c, one, five in values]
        parts.append(
            "One class against all five (the paper's Table 4), Procrustean prior, `c3dpo` MPJPE on the same held-out "
            "samples; a class alone is trained for a fifth of the steps, as many samples of it as among the five:\n\n"
            + markdown(("class", "alone", "five in one"), lines)
        )
    if cycle := by_table["cycle"]:
        lines = [(row["setting"], *_scores(row)) for row in cycle.values()]
        parts.append("The cycle with and without batch statistics, short runs:\n\n" + markdown(_HEAD, lines))
    readme = HERE / "README.md"
    readme.write_text(replace_between(readme.read_text(), "results", "\n\n".join(parts)))


def main(arguments: list[str]) -> int:
    """See the module docstring."""
    overrides = {k: _plain(v) for k, v in (a.split("=", 1) for a in arguments if "=" in a)}
    names = [a for a in arguments if "=" not in a and not a.startswith("--")]
    unknown = [n for n in names if n not in {c.name for c in CASES}]
    if unknown:
        print(f"unknown case {unknown[0]!r}: choose from {', '.join(c.name for c in CASES)}", file=sys.stderr)
        return 2
    folder = Path(os.environ.get("JNRSFM_DATA", HERE.parents[2] / "shared" / "data"))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    for case in () if "--tables" in arguments else CASES:
        path = results / f"{case.name}.json"
        if case.name in names or (not names and not path.exists()):
            row = run(case, folder, overrides)
            print(case.name, row["protocols"]["c3dpo"], f"{row['cpu_seconds']} CPU s", flush=True)
            beside = path.with_suffix(".tmp")
            beside.write_text(json.dumps(row, indent=1) + "\n")
            beside.replace(path)
    write_tables()
    return 0


def _plain(text: str) -> Any:
    """A setting of the command line: a JSON value, or else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
