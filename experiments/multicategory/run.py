"""Run the multi-category experiments and rewrite this folder's README from their results.

    python -m experiments.multicategory.run                 every case that has no result yet
    python -m experiments.multicategory.run c3dpo steps=50  this case anew, with another setting
    python -m experiments.multicategory.run --tables        only the README

A result is `results/<case>.json`. The data folder is JNRSFM_DATA, by default ../shared/data beside the checkout.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness import main
from experiments.multicategory.cases import CASES, HIDDEN
from experiments.tables import markdown, replace_between

HERE = Path(__file__).resolve().parent


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
    ("ours_all", "ours", "(published 0.83)"),
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
        for name in ("methods", "alone", "trunk", "perspective", "cycle")
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
    like = {
        "human_transformer": "only_human",
        "procrustean_transformer": "procrustean",
        "ours_transformer": "ours",
    }
    trunk = [rows[n] for name in by_table["trunk"] for n in (like[name], name) if n in rows]
    if by_table["trunk"]:
        fields = lambda row: (
            row["setting"] + ("" if row["config"].get("trunk") else ", residual"),
            _number(_mpjpe(row)), _number(row["train"]["mpjpe"]),
            _number(row["by_category"]["human"]["c3dpo"]["mpjpe"]),
            _number(row["by_category"]["human"]["one-mirror"]["handedness"]),
            _number(row["heldout_points"]["error"]), str(row["config"]["steps"]), f"{row['cpu_seconds']:.0f}",
        )  # fmt: skip
        head = ("trunk", "`c3dpo` MPJPE", "that of the training samples", "people", "handedness of people",
                "held-out points", "steps", "CPU s")  # fmt: skip
        parts.append(
            "A transformer over keypoints in place of the residual network:\n\n"
            + markdown(head, [fields(row) for row in trunk])
        )
    if near := by_table["perspective"]:
        names = sorted({c for row in near.values() for c in row["by_category"]})
        lines = [
            (row["setting"], *map(_number, (
                (p := row["protocols"])["deep-nrsfm++"]["normalized_error"], p["deep-nrsfm++"]["pa_mpjpe"],
                p["one-mirror-scaled"]["normalized_error"], p["one-mirror-scaled"]["handedness"],
                *(row["by_category"][c]["deep-nrsfm++"]["normalized_error"] for c in names),
                row["heldout_points"]["error"],
            )), str(row["config"]["steps"]), f"{row['cpu_seconds']:.0f}") for row in near.values()
        ]  # fmt: skip
        head = ("camera", "`deep-nrsfm++`", "PA-MPJPE", "`one-mirror-scaled`", "handedness", *names,
                "held-out points", "steps", "CPU s")  # fmt: skip
        parts.append(
            "Seen by a camera at three times the objects' size, Procrustean prior, short runs; each sample rescaled, "
            "`deep-nrsfm++` by category too:\n\n" + markdown(head, lines)
        )
    if cycle := by_table["cycle"]:
        lines = [(row["setting"], *_scores(row)) for row in cycle.values()]
        parts.append("The cycle with and without batch statistics, short runs:\n\n" + markdown(_HEAD, lines))
    readme = HERE / "README.md"
    readme.write_text(replace_between(readme.read_text(), "results", "\n\n".join(parts)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HERE, CASES, write_tables))
