"""Run the Deep NRSfM++ experiments and rewrite this folder's README from their results.

    python -m experiments.deep_nrsfm_pp.run                  every case that has no result yet
    python -m experiments.deep_nrsfm_pp.run cmu_walking ...  these cases, anew
    python -m experiments.deep_nrsfm_pp.run --tables         only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

import json
import sys
from pathlib import Path

from experiments.deep_nrsfm_pp.cases import CASES
from experiments.harness import Case, main
from experiments.tables import markdown, replace_between

HERE = Path(__file__).resolve().parent
# Published for the same kind of data by other cameras, points and frames: a yardstick, not a comparison.
PUBLISHED = {
    "CMU motion capture, 8 subjects, 31 points, `kong`": "0.020 to 0.230 (block soft threshold), "
    "0.030 to 0.393 (ReLU): paper, Table 2",
    "Apollo 3D cars, test, MPJPE in metres": "0.591 weak perspective, 0.145 perspective, 0.124 with scale correction: "
    "paper, Table 6",
}


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {p.stem: json.loads(p.read_text()) for p in sorted((HERE / "results").glob("*.json"))}
    by_case = [(c, rows[c.name]) for c in CASES if c.name in rows]

    def percent(row, protocol, metric="normalized_error"):
        return f"{100 * row['protocols'][protocol][metric]:.2f}"

    head = ("case", "set", "setting", "camera", "`frame-mirror` %", "`one-mirror` %", "handedness",
            "`deep-nrsfm++` % (scale free)", "MPJPE", "held out / size", "minutes", "CPU minutes")  # fmt: skip
    lines = [
        (c.name, r["set"], r["setting"], r["camera"], percent(r, "frame-mirror"), percent(r, "one-mirror"),
         f"{r['protocols']['one-mirror']['handedness']:.3f}", percent(r, "deep-nrsfm++"),
         f"{r['protocols']['deep-nrsfm++']['mpjpe']:.4g}", f"{r['heldout']:.3f}", f"{r['seconds'] / 60:.1f}",
         f"{r['cpu_seconds'] / 60:.1f}" if "cpu_seconds" in r else "")
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HERE, CASES, write_tables))
