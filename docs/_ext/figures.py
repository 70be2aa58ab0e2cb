"""Figures of the page on what works, from the committed result files: no figure is typed by hand."""

import json
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).resolve().parent.parent.parent / "experiments"
# name on the page: result file (and row, where it holds several), protocol, metric
PERCENT: dict[str, tuple[str, str, str]] = {
    "near_orthographic": ("paul/results/strong_orthographic", "deep-nrsfm++", "normalized_error"),
    "near_perspective": ("paul/results/strong_perspective", "deep-nrsfm++", "normalized_error"),
    "walking_paul": ("paul/results/cmu_walking", "one-mirror", "normalized_error"),
    "limbs_frame": ("deep_nrsfm_pp/results/limbs", "frame-mirror", "normalized_error"),
    "limbs_one": ("deep_nrsfm_pp/results/limbs", "one-mirror", "normalized_error"),
    "cars_orthographic": ("deep_nrsfm_pp/results/cars_orthographic", "deep-nrsfm++", "normalized_error"),
    "cars_perspective": ("deep_nrsfm_pp/results/cars_perspective", "deep-nrsfm++", "normalized_error"),
    "cheetah": ("deep_nrsfm_pp/results/cheetah", "deep-nrsfm++", "normalized_error"),
    "bones_clean": ("articulated/results/cheetah_cam2_articulated", "one-mirror-scaled", "normalized_error"),
    "bones_worst": ("articulated/results/cheetah_cam4_articulated", "one-mirror-scaled", "normalized_error"),
    "bones_pooled": (
        "articulated/results/cheetah_pooled_articulated",
        "one-mirror-scaled",
        "normalized_error",
    ),
    "missing_60": ("paul/results/missing_60_walking", "one-mirror", "normalized_error"),
    "missing_0": ("paul/results/short_walking", "one-mirror", "normalized_error"),
    "prn": ("prn/results/walking", "one-mirror", "normalized_error"),
    "prn_start": ("prn/results/walking_pnd", "one-mirror", "normalized_error"),
    "prior_category": ("multicategory/results/procrustean", "one-mirror", "normalized_error"),
    "c3dpo_category": ("multicategory/results/c3dpo", "one-mirror", "normalized_error"),
    "c3dpo_frame": ("multicategory/results/c3dpo", "frame-mirror", "normalized_error"),
}


def load(name: str) -> Any:
    """What a result file holds."""
    return json.loads((EXPERIMENTS / f"{name}.json").read_text())


def figures() -> dict[str, str]:
    """The figures by name."""
    found = {name: f"{100 * load(file)['protocols'][p][m]:.1f} %" for name, (file, p, m) in PERCENT.items()}
    for noise in ("0.0", "0.1"):
        rows = [r for r in load("factorization/results/curves-pnd") if not r["missing"]]
        row = next(r for r in rows if r["set"] == "yoga" and float(r["noise"] or 0) == float(noise))
        found[f"noise_{noise[2:]}"] = f"{100 * row['protocols']['frame-mirror']['normalized_error']:.1f} %"
    smoothed = load("quality/results/auto_yoga_noise")["protocols"]["frame-mirror"]["normalized_error"]
    found["noise_auto"] = f"{100 * smoothed:.1f} %"
    found["unseen"] = (
        f"{100 * load('paul/results/unseen')['unseen']['frame-mirror']['normalized_error']:.1f} %"
    )
    for name, file, numbers, protocol in (
        ("bones_detected", "cheetah_real_{}_articulated", range(6), "kong"),
        ("bones_mean", "cheetah_cam{}_articulated", range(1, 7), "one-mirror-scaled"),
    ):
        rows = [load("articulated/results/" + file.format(k)) for k in numbers]
        mean = sum(r["protocols"][protocol]["normalized_error"] for r in rows) / len(rows)
        found[name] = f"{100 * mean:.1f} %"
    student, teacher = (
        load(f"student/results/{n}") for n in ("many_clicked_conditional_0", "many_teacher_clicked")
    )
    for part in ("later", "others"):
        found[f"student_{part}"] = f"{100 * student[part]['pck_0.1']:.0f} %"
    found["student_depth"] = f"{100 * student['train']['depth']:.1f} %"
    found["teacher_depth"] = f"{100 * teacher['train']['depth']:.1f} %"
    known = load("quality/agreement")
    found["rank_auto"], found["rank_all"] = (f"{known[k]['rank correlation']:.2f}" for k in ("auto", "all"))
    found["bad_fits"] = f"{known['all']['bad']}"
    found["bad_but_good"] = f"{known['all']['bad but good']}"
    found["inside"] = f"{100 * known['all']['inside']:.0f} %"
    found["points_inside"] = f"{100 * known['all']['points inside']['0.9']:.0f} %"
    found["points_inside_auto"] = f"{100 * known['auto']['points inside']['0.9']:.0f} %"
    return found
