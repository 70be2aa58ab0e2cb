"""Run the experiments of the articulated figure and rewrite this folder's README from their results.

    python -m experiments.articulated.run                           every case that has no result yet
    python -m experiments.articulated.run cheetah_cam1_articulated  this case, anew
    python -m experiments.articulated.run --tables                  only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

import json
import sys
from pathlib import Path

from experiments.articulated.cases import CASES
from experiments.harness import main
from experiments.tables import markdown, replace_between

HERE = Path(__file__).resolve().parent


def write_tables() -> None:
    """The README's table from the results."""
    lines = []
    for case in CASES:
        path = HERE / "results" / f"{case.name}.json"
        if path.exists():
            row = json.loads(path.read_text())
            p = row["protocols"]
            one = p["one-mirror-scaled"]
            verdict = (row.get("quality") or {}).get("verdict", {}).get("word", "–")
            lines.append(
                (row["set"], row["setting"], row["method"], f"{100 * one['normalized_error']:.1f}",
                 f"{one['handedness']:.3f}", f"{100 * p['kong']['normalized_error']:.1f}", verdict,
                 f"{row['seconds'] / 60:.1f}", row["device"], row["date"])
            )  # fmt: skip
    head = ("set", "setting", "method", "`one-mirror-scaled` %", "handedness",
            "`kong` %", "verdict", "minutes", "device", "date")  # fmt: skip
    path = HERE / "README.md"
    path.write_text(replace_between(path.read_text(), "results", markdown(head, lines)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HERE, CASES, write_tables))
