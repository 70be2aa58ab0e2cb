"""Run the benchmarks and compare them with the committed baseline.

`python -m benchmarks [NAME ...] [--quick] [--out FOLDER] [--update]`

Each runs in a process of its own, one after the other. `FOLDER/<name>-<cpu or kind of GPU>.json` is written
beside the figures' device, date, versions and command; `--update` writes to the baseline `benchmarks/results/`
instead, which is then to be committed. Exit 1 where a figure is worse than the baseline by more than its
tolerance, or a benchmark failed.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._common import write_json

NAMES = (
    "training_step",
    "restarts",
    "perspective",
    "rotations",
    "memory",
    "stream",
    "paul_step",
    "alignment",
    "solvers",
    "lifter",
    "render",
    "images",
    "keypoint_transformer",
    "mesh",
    "field",
    "depth_pair",
)
BASELINE = Path(__file__).parent / "results"


def kind(record: dict) -> str:
    """ "cpu", or the name of the accelerator, as part of a file name."""
    if record["platform"] == "cpu":
        return "cpu"
    return re.sub(r"[^a-z0-9]+", "-", record["device"].lower()).strip("-")


def run(name: str, quick: bool) -> dict | None:
    """The record of one benchmark, or None where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        options = ["--quick"] if quick else []
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(path), *options]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode or not path.exists():
            return None
        shown = " ".join(["python", "-m", f"benchmarks.{name}", *options])
        return {**json.loads(path.read_text()), "command": shown, "quick": quick}


def verdict(figure: dict, before: dict | None) -> tuple[str, bool]:
    """What there is to say of a figure, and whether it is worse than the baseline allows."""
    said, worse = [], False
    value, higher = figure["value"], figure["better"] == "higher"
    if before is not None and before["value"] > 0 and value > 0:
        behind = before["value"] / value if higher else value / before["value"]
        if figure["tolerance"] is not None and behind > figure["tolerance"]:
            worse = True
            said.append(f"WORSE x {behind:.2f}, allowed {figure['tolerance']:g}")
    target = figure["target"]
    if target is not None:
        met = value >= target if higher else value <= target
        said.append(f"{'meets' if met else 'MISSES'} {'>=' if higher else '<='} {target:g}")
    return ", ".join(said), worse


def table(record: dict, baseline: dict | None) -> bool:
    """Print the figures beside the baseline's; whether one is worse than allowed."""
    print(f"\n{record['benchmark']} on {record['device']} ({record['cpu_cores']} cores), {record['date']}")
    old = (baseline or {}).get("figures", {})
    if baseline is None:
        print("  no baseline for this device")
    elif baseline["quick"] != record["quick"]:
        print("  the baseline has other sizes (--quick): shown, not compared")
    regressed = False
    width = max(len(name) for name in record["figures"])
    for name, figure in record["figures"].items():
        before = old.get(name)
        comparable = before if baseline and baseline["quick"] == record["quick"] else None
        said, worse = verdict(figure, comparable)
        regressed |= worse
        shown = "-" if before is None else f"{before['value']:.4g}"
        print(f"  {name:{width}}  {figure['value']:10.4g} {figure['unit']:4} was {shown:>9}  {said}")
    return regressed


def main(argv: list[str] | None = None) -> int:
    """Run the named benchmarks, or all of them."""
    p = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    p.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    p.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    p.add_argument("--out", type=Path, default=Path(".benchmarks"), help="folder of the records")
    p.add_argument("--update", action="store_true", help="write the baseline, benchmarks/results, instead")
    args = p.parse_args(argv)
    unknown = set(args.names) - set(NAMES)
    if unknown:
        p.error(f"no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(NAMES)}")
    folder = BASELINE if args.update else args.out
    failed = False
    for name in args.names or NAMES:
        print(f"{name} ...", file=sys.stderr)
        record = run(name, args.quick)
        if record is None:
            print(f"{name} failed", file=sys.stderr)
            failed = True
            continue
        path = f"{name}-{kind(record)}.json"
        committed = BASELINE / path
        baseline = json.loads(committed.read_text()) if committed.exists() else None
        failed |= table(record, baseline)
        write_json(folder / path, record)
        print(f"  written to {folder / path}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
