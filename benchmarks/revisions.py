"""The same benchmarks at two revisions of the project, in turns: whether a change of the code changed its speed.

`python -m benchmarks.revisions REVISION [NAME ...] [--json FILE] [--quick] [--rounds N]`

The other revision is checked out beside this one, in a folder for the time of the run, and each benchmark runs there
and here, one process after the other, in rounds: what else the machine does falls on both. The record has every figure
that both know, here over there, by the median over rounds; for times, below 1 is faster here.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._common import environment, figure, report

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("training_step", "paul_step", "lifter")


def run(root: Path, name: str, quick: bool) -> dict:
    """Figures of one benchmark in the tree at `root`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        # PyTorch, which takes most of the time, is no part of this: a module that cannot be imported hides it
        (Path(folder) / "torch.py").write_text('raise ImportError("hidden: two revisions are compared")\n')
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(path)]
        command += ["--quick"] if quick else []
        # the package is installed from this tree: the path puts the one that is asked for before it
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), folder))}
        subprocess.run(command, cwd=root, env=environ, stdout=subprocess.DEVNULL, check=True)
        return json.loads(path.read_text())["figures"]


def compare(other: Path, name: str, quick: bool, rounds: int) -> dict:
    """Values there and here of each figure that both have, and their ratio."""
    there, here = [], []
    for turn in range(rounds):
        print(f"{name}: round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        there.append(run(other, name, quick))
        here.append(run(ROOT, name, quick))
    middle = lambda records, key: statistics.median(record[key]["value"] for record in records)
    return {
        key: {
            "unit": here[0][key]["unit"],
            "better": here[0][key]["better"],
            "there": middle(there, key),
            "here": middle(here, key),
            "ratio": middle(here, key) / middle(there, key),
        }
        for key in here[0]
        if key in there[0] and middle(there, key)
    }


def main() -> None:
    """Compare, and write the record."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("revision", help="a revision that git knows")
    p.add_argument("names", nargs="*", default=NAMES, help=f"benchmarks, {', '.join(NAMES)} by default")
    p.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    p.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    p.add_argument("--rounds", type=int, default=2, help="runs of each benchmark at each revision")
    args = p.parse_args()
    git = lambda *words: subprocess.run(
        ["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True
    )
    compared: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "tree"
        git("worktree", "add", "--detach", str(other), args.revision)
        try:
            for name in args.names:
                compared[name] = compare(other, name, args.quick, args.rounds)
                # after each: a benchmark that fails at one of the revisions leaves what is known
                report(_record(compared, args, git), args.json)
        finally:
            git("worktree", "remove", "--force", str(other))


def _record(compared: dict[str, dict], args, git) -> dict:
    """What is known so far."""
    revision = lambda name: git("rev-parse", "--short", name).stdout.strip()
    return {
        "benchmark": "revisions",
        **environment(),
        "there": revision(args.revision),
        "here": revision("HEAD"),
        "rounds": args.rounds,
        "quick": args.quick,
        "command": " ".join(["python", "-m", "benchmarks.revisions", *sys.argv[1:]]),
        "compared": compared,
        "figures": {
            f"{name}: {key}, here over there": figure(row["ratio"], "x", "lower")
            for name, rows in compared.items()
            for key, row in rows.items()
            if row["unit"] in ("s", "ms")
        },
    }


if __name__ == "__main__":
    main()
