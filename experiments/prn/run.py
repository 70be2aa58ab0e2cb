"""Run the PRN experiments and rewrite this folder's README from their results.

    python -m experiments.prn.run                     every case that has no result yet
    python -m experiments.prn.run walking_missing_20  this case, anew
    python -m experiments.prn.run --tables            only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

import json
import sys
from pathlib import Path

from experiments.harness import main
from experiments.prn.cases import CASES
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
            percent = [f"{100 * p[k]['normalized_error']:.2f}" for k in ("frame-mirror", "one-mirror")]
            lines.append(
                (case.name, row["set"], row["setting"], *percent, f"{p['one-mirror']['handedness']:.3f}",
                 f"{100 * row['unseen']['frame-mirror']['normalized_error']:.2f}" if "unseen" in row else "",
                 "–" if row["heldout"] is None else f"{row['heldout']:.3f}", str(row["config"]["steps"]),
                 f"{row['seconds'] / 60:.1f}", row["device"], row["date"])
            )  # fmt: skip
    head = ("case", "set", "setting", "`frame-mirror` %", "`one-mirror` %", "handedness",
            "unseen frames, `frame-mirror` %", "held out / size", "steps", "minutes", "device", "date")  # fmt: skip
    path = HERE / "README.md"
    path.write_text(replace_between(path.read_text(), "results", markdown(head, lines)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HERE, CASES, write_tables))
