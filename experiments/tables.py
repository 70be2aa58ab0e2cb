"""Write the tables of README.md: methods from the registry, results from the committed result files.

    make tables                                rewrite what stands between the markers
    python experiments/tables.py --check       exit 1 where README.md is not what the sources give

A result file is `experiments/<paper>/results/<name>.json`: one row or a list of rows, each an object with

    set        what was reconstructed, "CMU walking"
    setting    what was varied, "30 % of points missing"; may be empty
    method     name in the registry
    camera     camera model
    protocols  {protocol: {metric: value}}, as `jnrsfm eval --json` prints it
    seconds    time of the fit on `device`
    device     "2 CPU cores"
    diagnostics, quality   plain figures of the fit, and its quality report, where there are
    headline   true for the rows that README.md shows (all rows stand in the experiment's own README)
    scale_free true where the unit of the 3D is free (perspective views): only protocols that fit it are shown
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OLD_KEYS = {"diagnostics": "facts", "quality": "card"}  # of result files that were written before
KEYS = ("set", "setting", "method", "camera", "protocols", "seconds", "device")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def replace_between(text: str, name: str, content: str) -> str:
    """`text` with `content` between `<!-- name:begin ... -->` and `<!-- name:end -->`. Raises ValueError."""
    begin, end = text.find(f"<!-- {name}:begin"), text.find(f"<!-- {name}:end")
    if begin < 0 or end < begin:
        raise ValueError(f"the markers <!-- {name}:begin --> and <!-- {name}:end --> are not there")
    start = text.index("-->", begin) + len("-->")
    return f"{text[:start]}\n{content}\n{text[end:]}"


def stored(row: dict[str, Any], key: str) -> dict[str, Any]:
    """What a result says under `key`, or under the name that the key had before; else nothing."""
    return row.get(key) or row.get(OLD_KEYS[key]) or {}


def methods_table() -> str:
    """One row a method of the registry."""
    from jnrsfm.methods import METHODS

    head = ("method", "what", "cameras", "gaps", "needs time order", "lifts unseen frames", "state", "source")
    rows = [
        (
            f"`{m.name}`",
            m.summary,
            ", ".join(m.cameras),
            *map(_yes, (m.missing, m.needs_order, m.unseen)),
            m.state,
            m.source,
        )
        for m in METHODS.values()
    ]
    return markdown(head, rows)


def load_results(root: Path = ROOT) -> list[dict[str, Any]]:
    """All rows of all result files, by file name. Raises ValueError where a key is absent."""
    rows = []
    for path in sorted(root.glob("experiments/*/results/*.json")):
        content = json.loads(path.read_text())
        for row in content if isinstance(content, list) else [content]:
            absent = [key for key in KEYS if key not in row]
            if absent:
                raise ValueError(f"{path}: a row has no {', '.join(absent)}")
            rows.append(row)
    return rows


def results_table(rows: Sequence[dict[str, Any]]) -> str:
    """The headline rows: errors in percent, the fit's minutes."""
    head = (
        "set", "setting", "method, camera", "`frame-mirror`", "`one-mirror`", "handedness",
        "`deep-nrsfm++`", "fit",
    )  # fmt: skip
    lines = [
        (
            row["set"],
            row["setting"],
            f"{row['method']}, {row['camera']}",
            *(
                # protocols that fit no scale say nothing where the unit of each frame is free
                ("", "", "")
                if row.get("scale_free", row["camera"] != "orthographic")
                else (
                    _percent(row, "frame-mirror", "normalized_error"),
                    _percent(row, "one-mirror", "normalized_error"),
                    _value(row, "one-mirror", "handedness"),
                )
            ),
            _percent(row, "deep-nrsfm++", "normalized_error"),
            f"{row['seconds'] / 60:.1f} min, {row['device']}",
        )
        for row in rows
        if row.get("headline")
    ]
    return markdown(head, lines) if lines else "No result is committed yet."


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _get(row: dict[str, Any], protocol: str, metric: str) -> float | None:
    return row["protocols"].get(protocol, {}).get(metric)


def _percent(row: dict[str, Any], protocol: str, metric: str) -> str:
    value = _get(row, protocol, metric)
    return "" if value is None else f"{100 * value:.1f} %"


def _value(row: dict[str, Any], protocol: str, metric: str) -> str:
    value = _get(row, protocol, metric)
    return "" if value is None else f"{value:.3f}"


def build(text: str) -> str:
    """README.md as the sources give it."""
    text = replace_between(text, "methods", methods_table())
    return replace_between(text, "results", results_table(load_results()))


def main(argv: Sequence[str]) -> int:
    """Rewrite README.md, or compare with `--check`."""
    path = ROOT / "README.md"
    before = path.read_text()
    after = build(before)
    if list(argv) == ["--check"]:
        if before != after:
            print("README.md is not what the sources give: run make tables", file=sys.stderr)
        return int(before != after)
    path.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
