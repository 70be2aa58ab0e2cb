"""Run the PAUL experiments and rewrite this folder's README from their results.

    python -m experiments.paul.run                  every case that has no result yet
    python -m experiments.paul.run short_yoga ...   these cases, anew
    python -m experiments.paul.run --tables         only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

import json
import sys
from pathlib import Path

import numpy as np

from experiments.harness import CMU, main
from experiments.paul.cases import (
    ABLATED,
    BOTTLENECKS,
    CASES,
    ENCODERS,
    GRID,
    NOISES,
    SEEDS,
    SHORT,
    STARTS,
    VARIANTS,
)  # fmt: skip
from experiments.tables import markdown, replace_between, stored

HERE = Path(__file__).resolve().parent
PUBLISHED = {  # normalized error in percent: thesis, Table 2.1 (its drink, pickup, yoga, shark are these files)
    "PAUL": {"drink": 0.47, "pickup": 2.03, "yoga": 1.71, "shark": 0.37},
    "PND": {"drink": 0.37, "pickup": 3.72, "yoga": 1.40, "shark": 1.35},
    "CNS": {"drink": 3.04, "pickup": 9.18, "yoga": 11.15, "shark": 8.32},
    "BMM": {"drink": 2.66, "pickup": 17.31, "yoga": 11.50, "shark": 23.11},
    "Deep NRSfM": {"drink": 17.38, "pickup": 0.53, "yoga": 12.54, "shark": 21.83},
}


def _percent(row, protocol="frame-mirror", key="protocols") -> str:
    return "" if row is None or key not in row else f"{100 * row[key][protocol]['normalized_error']:.2f}"


def _choice(rows, name: str) -> str:
    """Error of the run with the least held-out error over the least error of all, over starts and seeds."""
    found = [rows.get(f"start_{start}_{seed}_{name}") for start in STARTS for seed in range(SEEDS)]
    ends = [(r["heldout"], r["protocols"]["frame-mirror"]["normalized_error"]) for r in found if r]
    return f"{min(ends)[1] / min(error for _, error in ends):.2f} x the best" if ends else ""


def write_tables() -> None:
    """The README's tables from the results."""
    rows = {p.stem: json.loads(p.read_text()) for p in sorted((HERE / "results").glob("*.json"))}
    get = rows.get
    tables = {}
    ours = [
        ("ours, `frame-mirror`", *(_percent(get(f"short_{n}")) for n in SHORT)),
        ("ours, `one-mirror`", *(_percent(get(f"short_{n}"), "one-mirror") for n in SHORT)),
        ("chosen start", *(stored(get(f"short_{n}", {}), "diagnostics").get("start", "") for n in SHORT)),
        (
            "minutes",
            *(f"{get(f'short_{n}')['seconds'] / 60:.1f}" if get(f"short_{n}") else "" for n in SHORT),
        ),
    ]
    published = [
        (f"{name}, published", *(str(values.get(n, "")) for n in SHORT)) for name, values in PUBLISHED.items()
    ]
    tables["short"] = markdown(("", *SHORT), ours + published)
    deep = {n: HERE.parent / "deep_nrsfm_pp" / "results" / f"cmu_{n}.json" for n in CMU}
    deep_rows = {n: json.loads(p.read_text()) for n, p in deep.items() if p.exists()}
    lines = []
    for what, protocol, key, name in (
        ("PAUL", "frame-mirror", "protocols", "cmu"), ("PAUL", "one-mirror", "protocols", "cmu"),
        ("PAUL, lifted frame by frame", "frame-mirror", "lifted", "cmu"),
        *(
            (f"PAUL, {kind} encoder{more}", "frame-mirror", key, f"encoder_{kind}")
            for kind in ENCODERS for more, key in (("", "protocols"), (", lifted frame by frame", "lifted"))
        ),
    ):  # fmt: skip
        cells = (_percent(get(f"{name}_{n}"), protocol, key) for n in CMU)
        lines.append((f"{what}, `{protocol}`", *cells))
    lines.append(("Deep NRSfM++, `frame-mirror`", *(_percent(deep_rows.get(n)) for n in CMU)))
    tables["cmu"] = markdown(("", *CMU), lines)
    tables["ablation"] = markdown(
        ("", *ABLATED), [(v, *(_percent(get(f"ablation_{v}_{n}")) for n in ABLATED)) for v in VARIANTS]
    )
    lines = []
    for start in STARTS:
        cells = []
        for n in ABLATED:
            found = [get(f"start_{start}_{seed}_{n}") for seed in range(SEEDS)]
            errors = [100 * r["protocols"]["frame-mirror"]["normalized_error"] for r in found if r]
            held = [r["heldout"] for r in found if r]
            cells.append(f"{min(errors):.2f} to {max(errors):.2f}; {np.median(held):.4f}" if errors else "")
        lines.append((start, *cells))
    lines.append(("chosen by held-out points", *(_choice(rows, n) for n in ABLATED)))
    tables["starts"] = markdown(("start", *ABLATED), lines)
    cells = [
        (f"{noise} %", *(_percent(get(f"grid_{noise}_{width}_{GRID}")) for width in BOTTLENECKS))
        for noise in NOISES
    ]
    tables["grid"] = markdown(("noise", *(f"bottleneck {b}" for b in BOTTLENECKS)), cells)
    names = [n for n in rows if n.startswith(("missing", "strong", "unseen", "dense"))]
    lines = [
        (n, rows[n]["set"], rows[n]["setting"], rows[n]["camera"], _percent(rows[n]), _percent(rows[n], "one-mirror"),
         _percent(rows[n], "deep-nrsfm++"), _percent(rows[n], key="unseen") if "unseen" in rows[n] else "")
        for n in names
    ]  # fmt: skip
    head = ("case", "set", "setting", "camera", "`frame-mirror` %", "`one-mirror` %", "`deep-nrsfm++` % (scale free)",
            "unseen, `frame-mirror` %")  # fmt: skip
    tables["more"] = markdown(head, lines)
    many = [(n, get(f"seeds_{n}")) for n in SHORT]
    lines = []
    for n, row in many:
        if row:
            ends = [end["heldout"] for end in stored(row, "diagnostics")["search"]["random"]]
            lines.append(
                (
                    n,
                    str(len(ends)),
                    f"{min(ends):.4f} to {max(ends):.4f}",
                    _percent(row),
                    f"{row['seconds'] / 60:.1f}",
                )
            )
    head = ("", "seeds", "held out / size, least to most", "`frame-mirror` % of the least", "minutes")
    tables["seeds"] = markdown(head, lines)
    tables["when"] = "; ".join(
        f"{d}, {t}" for d, t in sorted({(r["device"], r["date"]) for r in rows.values()})
    )
    text = (HERE / "README.md").read_text()
    for name, table in tables.items():
        text = replace_between(text, name, table)
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HERE, CASES, write_tables))
