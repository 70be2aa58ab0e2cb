"""Does the report know? `auto` and `rigid` at default settings on real landmarks: the error that the report expects
beside the true one; and this folder's README from the results.

    python -m experiments.quality.run               every case that has no result yet
    python -m experiments.quality.run auto_yoga     this case, anew
    python -m experiments.quality.run --tables      only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout. The
report never sees the reference.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from experiments.articulated.cases import VIEWS, view
from experiments.degrade import degraded, noise
from experiments.harness import Case, Fit, cmu, main, scored, short, write
from experiments.tables import markdown, replace_between
from jnrsfm import metrics

HERE = Path(__file__).resolve().parent
PROTOCOL = "one-mirror-scaled"
SHORT = ("drink", "pickup", "yoga", "shark", "walking", "face1", "face_mocap80")
PERSPECTIVE = ("cheetah", "mouse", "dinosaur")  # whose files say so
SAMPLE = (np.arange(40) + 0.5) / 40
CMU = ("running", "walking", "basketball", "jumping", "directing_traffic")


def against_flat(fit: Fit) -> dict[str, Any]:
    """All protocols, and the error of a flat shape: the true x and y, no depth."""
    x = np.array(fit.reference.camera_points)
    x[..., 2] = x[..., 2].mean(1, keepdims=True)
    axes = np.tile(np.eye(3), (len(x), 1, 1))
    flat = fit.result.reconstruction.replace(
        points3d=x, cameras=fit.result.reconstruction.cameras.replace(rotations=axes)
    )
    error = metrics.evaluate(flat, fit.reference)[PROTOCOL]["normalized_error"]
    return scored(fit) | {
        "flat": error,
        "points": away_in_deviations(fit.result.reconstruction, fit.reference),
    }


def away_in_deviations(result: Any, reference: Any) -> list[float]:
    """How far points are from the truth, in the deviations that were expected of them: a sample, evenly spread."""
    shapes = metrics.protocol(PROTOCOL).align(result, reference)
    count = np.maximum(shapes.valid.sum(1), 1)
    size = lambda x: np.sqrt((np.where(shapes.valid[..., None], x, 0) ** 2).sum((1, 2)) / count)[:, None]
    own = np.asarray(result.points3d, np.float64)
    own = own - own.mean(1, keepdims=True, where=shapes.valid[..., None])
    away = np.linalg.norm(shapes.estimate - shapes.reference, axis=-1) / size(shapes.reference)
    expected = np.asarray(result.deviation, np.float64) / size(own)
    there = shapes.valid & (expected > 0)
    return [round(float(q), 4) for q in np.quantile((away[there] / expected[there]), SAMPLE)]


def _cases() -> list[Case]:
    files = {
        **{name: (short(name), None) for name in SHORT},
        **{f"cheetah_cam{k}": (f"animals/cheetah_cam{k}", None) for k in range(1, 7)},
        **{
            f"cheetah_real_{k}": ("animals/cheetah_real/cheetah_real_baselines", view(k))
            for k in range(VIEWS)
        },
        "mouse_pred": ("animals/mouse_dannce_pred1000", None),
        "mouse_labels": ("animals/mouse_dannce_labels1", None),
        "dinosaur": ("real_tracks_2d/dinosaur_real", None),
        "chairs": ("category_shapes/keypointnet_chair_train", None),
        "back": ("dense_like/back_sparse", None),
        **{f"cmu_{name}": (cmu(name), None) for name in CMU},
        **{f"{name}_noise": (short(name), degraded(noise(0.1))) for name in ("yoga", "pickup", "walking")},
    }
    cases = []
    for name, (file, change) in files.items():
        for method in ("auto", "rigid"):
            fields: dict[str, Any] = {} if change is None else {"change": change}
            if name.startswith(PERSPECTIVE):
                fields["camera"] = "weak-perspective"
            title = name.replace("_noise", ", a tenth of noise")
            cases.append(
                Case(
                    f"{method}_{name}",
                    title,
                    "default settings",
                    file,
                    method=method,
                    score=against_flat,
                    **fields,
                )
            )
    return cases


CASES = _cases()


def agreement(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How the expected errors go with the true ones."""
    true = np.array([r["protocols"][PROTOCOL]["normalized_error"] for r in rows])
    said = [r["quality"]["verdict"] for r in rows]
    words = np.array([v["word"] for v in said])
    expected, low, high = (np.array([v[k] for v in said]) for k in ("error", "low", "high"))
    flat = np.array([r["flat"] for r in rows])
    bad = (true > 0.2) | (true > flat)
    away = np.array([r["points"] for r in rows if "points" in r])
    covered = {str(share): float((away <= radius).mean()) for share, radius in metrics.RADII.items()}
    return {
        "pairs": len(rows), "bad": int(bad.sum()), "right": int((true < 0.05).sum()),
        "rank correlation": float(spearmanr(expected, true).statistic),
        "inside": float(((true >= low) & (true <= high)).mean()),
        "bad but good": int((bad & (words == "good")).sum()),
        "bad but fair": int((bad & (words == "fair")).sum()),
        "right but poor": int(((true < 0.05) & (words == "poor")).sum()),
        "points inside": covered,
        "calibration error": float(np.mean([abs(v - float(k)) for k, v in covered.items()])),
    }  # fmt: skip


def write_tables() -> None:
    """The README's tables from the results."""
    rows, lines = [], []
    percent = lambda x: f"{100 * x:.1f}"
    for case in CASES:
        path = HERE / "results" / f"{case.name}.json"
        if not path.exists():
            continue
        row = json.loads(path.read_text())
        rows.append(row)
        verdict, found = row["quality"]["verdict"], row["diagnostics"]
        why = "; ".join(verdict["reasons"])
        said = f"{verdict['word']}: {why}" if why else verdict["word"]
        how = ", ".join(str(found[k]) for k in ("method", "camera") if k in found)
        lines.append(
            (row["set"], f"{row['method']}: {how}" if how else row["method"],
             percent(row["protocols"][PROTOCOL]["normalized_error"]), percent(row["flat"]), said,
             percent(verdict["error"]), f"{percent(verdict['low'])} to {percent(verdict['high'])}",
             f"{row['seconds'] / 60:.1f}", row["device"], row["date"])
        )  # fmt: skip
    head = ("set", "method", f"`{PROTOCOL}` %", "flat %", "verdict", "expected %", "interval %",
            "minutes", "device", "date")  # fmt: skip
    path = HERE / "README.md"
    text = replace_between(path.read_text(), "results", markdown(head, lines))
    if rows:
        a = agreement(rows)
        chosen = agreement([r for r in rows if r["method"] == "auto"])
        write(HERE / "agreement.json", {"all": a, "auto": chosen})
        whole = ("pairs", "bad", "bad but good", "bad but fair", "right", "right but poor")
        names = ("fits", "above 20 % or worse than flat", "of these called good", "of these called fair",
                 "below 5 %", "of these called poor")  # fmt: skip
        summary = [(name, str(chosen[k]), str(a[k])) for name, k in zip(names, whole, strict=True)]
        for name, k in (("rank correlation of expected and true error", "rank correlation"),
                        ("share of true errors of a whole inside the interval (nominal 0.90)", "inside")):  # fmt: skip
            summary.append((name, f"{chosen[k]:.2f}", f"{a[k]:.2f}"))
        each = (chosen, a)
        summary.append(
            (
                "share of points inside their 90 % interval",
                *(f"{x['points inside']['0.9']:.2f}" for x in each),
            )
        )
        summary.append(
            ("calibration error of the points' intervals", *(f"{x['calibration error']:.2f}" for x in each))
        )
        text = replace_between(text, "summary", markdown(("", "`auto`", "`auto` and `rigid`"), summary))
    if (HERE / "fuzz.json").exists():
        text = replace_between(text, "fuzz", fuzzed(json.loads((HERE / "fuzz.json").read_text())))
    path.write_text(text)


def fuzzed(found: dict[str, Any]) -> str:
    """The table of `experiments.quality.fuzz`, and what failed."""
    lines = [
        (name, str(n["fitted"]), str(n["refused"]), str(n["failed"])) for name, n in found["outcomes"].items()
    ]
    ends = ("fitted", "refused", "failed")
    lines.append(("all", *(str(sum(n[k] for n in found["outcomes"].values())) for k in ends)))
    words = found["verdicts_by_kind"]
    kinds = [(kind, *(str(n.get(w, 0)) for w in ("good", "fair", "poor"))) for kind, n in words.items()]
    parts = [
        markdown(("method", "fitted", "refused in one line", "failed"), lines),
        markdown(("kind of scene", "good", "fair", "poor"), kinds),
        f"`{found['command']}`: {found['scenes']} scenes, {found['device']}, {found['date']}.",
        *(f"* {one}" for one in found["failures"]),
    ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HERE, CASES, write_tables))
