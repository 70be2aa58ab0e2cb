"""Solvers on the classical short sequences, under the classical protocol and the per-frame one.

    JNRSFM_DATA=... python experiments/factorization/run.py bmm trajectory csf rigid
    python experiments/factorization/run.py bmm --set shape=smooth
    python experiments/factorization/run.py csf --rank auto --sequences drink shark
    python experiments/factorization/run.py csf pnd --curves    noise and missing points on three sequences
    python experiments/factorization/run.py --tables            only rewrite the tables of README.md

Any registered solver by name. Writes results/<method>[-setting].json, a row as soon as it is measured, and the
tables of README.md. Times: `seconds` and `cpu_seconds` of the first fit of a shape, compiling included, and
`cpu_seconds_warm` of a second fit (alone where JAX_COMPILATION_CACHE_DIR is set). Labels are read for scoring only.
"""

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))  # run from a checkout, installed or not

from experiments.factorization.cases import (  # noqa: E402
    CURVE_SEQUENCES,
    MISSING,
    NOISE,
    PUBLISHED,
    RANKS,
    RELEASED_CPU,
    SEQUENCES,
    cases,
    curve_cases,
    e3d,
)
from experiments.harness import run_all, setting  # noqa: E402
from experiments.tables import markdown, replace_between, stored  # noqa: E402
from jnrsfm.errors import InputError  # noqa: E402
from jnrsfm.methods import METHODS  # noqa: E402


def tables() -> None:
    """Rewrite what stands between the markers of README.md from the result files."""
    files = {
        p.stem: {r["set"]: r for r in json.loads(p.read_text())}
        for p in sorted(HERE.glob("results/*.json"))
        if not p.stem.startswith("curves-")
    }
    head = ("solver", *SEQUENCES)

    def cells(stem, rows, value):
        return (f"`{stem}`", *(value(rows[s]) if s in rows else "" for s in SEQUENCES))

    classical = []
    for stem, rows in files.items():
        classical.append(
            cells(stem, rows, lambda r: f"{e3d(r):.4f} ({stored(r, 'diagnostics').get('rank', '-')})")
        )
        if stem in PUBLISHED:
            known = PUBLISHED[stem]
            ranks = RANKS[stem]
            published = (f"{known[s]:.4f} ({ranks[s]})" if s in known else "" for s in SEQUENCES)
            classical.append((f"{stem}, published", *published))
    by_frame = lambda r: f"{r['protocols']['frame-mirror']['normalized_error']:.4f}"
    frame = [cells(stem, rows, by_frame) for stem, rows in files.items()]
    seconds = []
    for stem, rows in files.items():
        seconds.append(
            cells(stem, rows, lambda r: f"{r['cpu_seconds'] or '-'} ({r['cpu_seconds_warm'] or '-'})")
        )
        if stem in RELEASED_CPU:
            seconds.append(
                (f"{stem}, released code", *(str(RELEASED_CPU[stem].get(s, "")) for s in SEQUENCES))
            )
    text = (HERE / "README.md").read_text()
    for name, rows in (("akhter", classical), ("frame-mirror", frame), ("seconds", seconds)):
        text = replace_between(text, name, markdown(head, rows))
    for name, levels in (("noise", NOISE), ("missing", MISSING)):
        text = replace_between(
            text, name, markdown(("solver", "sequence", *map(str, levels)), curves(name, levels))
        )
    text = replace_between(text, "wins", wins(files))
    (HERE / "README.md").write_text(text)


def curves(kind: str, levels: tuple) -> list:
    """Rows of `frame-mirror` errors over the levels of noise or of missing points."""
    other = {"noise": "missing", "missing": "noise"}[kind]
    lines = []
    for path in sorted(HERE.glob("results/curves-*.json")):
        rows = [r for r in json.loads(path.read_text()) if not r[other]]
        for sequence in CURVE_SEQUENCES:
            found = {
                r[kind]: r["protocols"]["frame-mirror"]["normalized_error"]
                for r in rows
                if r["set"] == sequence
            }
            if found:
                cells = (f"{found[v]:.4f}" if v in found else "" for v in levels)
                lines.append((f"`{path.stem.removeprefix('curves-')}`", sequence, *cells))
    return lines


def wins(files: dict) -> str:
    """On how many sequences column space fitting beats trajectory space, by both measures."""
    both = [s for s in SEQUENCES if all(s in files.get(m, {}) for m in ("csf", "trajectory"))]
    mirror = lambda r: r["protocols"]["frame-mirror"]["normalized_error"]
    better = [sum(f(files["csf"][s]) < f(files["trajectory"][s]) for s in both) for f in (e3d, mirror)]
    return (
        f"`csf` beats `trajectory` on {better[0]} of {len(both)} sequences by e3D and on {better[1]} by "
        "`frame-mirror`."
    )


def main() -> int:
    """Run what was asked for, then the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--sequences", nargs="+", default=SEQUENCES)
    parser.add_argument("--rank", default="published", help="published, auto (held-out points), or a number")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the method")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--once", action="store_true", help="no second fit to time without compiling")
    parser.add_argument("--curves", action="store_true", help="noise and missing points, on three sequences")
    parser.add_argument("--tables", action="store_true")
    args = parser.parse_args()
    overrides = dict(setting(pair) for pair in args.set)
    command = " ".join(["python", "experiments/factorization/run.py", *sys.argv[1:]])
    try:
        for name in args.methods:
            if name not in METHODS:
                raise InputError(f"unknown method {name!r}: choose from {', '.join(METHODS)}")
            if args.curves:
                chosen = curve_cases(name, args.rank, overrides, args.seed)
            else:
                chosen = cases(name, args.sequences, args.rank, overrides, args.seed, args.once)
            run_all(chosen, HERE, command)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    tables()
    return 0


if __name__ == "__main__":
    sys.exit(main())
