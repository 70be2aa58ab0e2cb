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
import datetime
import json
import os
import sys
import time
from pathlib import Path

import jax
import numpy as np
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))  # run from a checkout, installed or not

from experiments.tables import markdown, replace_between  # noqa: E402
from jnrsfm import io, metrics  # noqa: E402
from jnrsfm.config import from_plain  # noqa: E402
from jnrsfm.errors import InputError  # noqa: E402
from jnrsfm.methods import METHODS  # noqa: E402
from jnrsfm.training import Session  # noqa: E402
from jnrsfm.types import Landmarks  # noqa: E402

SEQUENCES = ("drink", "pickup", "yoga", "face1", "walking", "shark", "face_mocap80")
OBJECT_FRAME = ("drink", "pickup", "yoga")  # the classical tables score the rest in the camera frame
RANKS = {  # bmm: quoted with its released code; the others: usual in the literature, not checked against it
    "bmm": {"drink": 12, "pickup": 12, "yoga": 10, "face1": 7, "walking": 8, "shark": 4, "face_mocap80": 7},
    "trajectory": {
        "drink": 13,
        "pickup": 12,
        "yoga": 11,
        "face1": 5,
        "walking": 2,
        "shark": 9,
        "face_mocap80": 5,
    },
    "csf": {"drink": 6, "pickup": 6, "yoga": 7, "face1": 3, "walking": 2, "shark": 3, "face_mocap80": 3},
}
CURVE_SEQUENCES = ("pickup", "yoga", "face1")
NOISE = (
    0.0,
    0.01,
    0.03,
    0.1,
)  # standard deviation over the rms distance of an image point from its frame's centre
MISSING = (0.0, 0.1, 0.2, 0.4)  # share of points, at random
PUBLISHED = {  # e3D quoted with the released code of Dai, Li, He (2012)
    "bmm": {
        "drink": 0.0266,
        "pickup": 0.1731,
        "yoga": 0.1150,
        "face1": 0.0303,
        "walking": 0.1298,
        "shark": 0.2357,
    },
}
RELEASED_CPU = {  # CPU seconds of released code on these files (GNU Octave, one thread)
    "bmm": {"drink": 64, "pickup": 27, "yoga": 23, "face1": 27, "walking": 55, "shark": 150},
    "consensus": {"drink": 165, "pickup": 167, "yoga": 159, "face1": 147, "walking": 234, "shark": 225},
    "pnd": {"drink": 149, "pickup": 65, "yoga": 64, "walking": 79, "shark": 158},
}


def worsen(landmarks: Landmarks, noise: float, missing: float, seed: int) -> Landmarks:
    """With noise on the images and points hidden at random."""
    rng = np.random.default_rng(seed)
    image = np.asarray(landmarks.points2d, float)
    centred = image - image.mean(1, keepdims=True)
    size = np.sqrt((centred**2).sum(-1).mean())
    image = image + noise * size * rng.normal(size=image.shape)
    hidden = rng.random(image.shape[:2]) < missing
    return landmarks.replace(
        points2d=image.astype(np.float32), visible=np.asarray(landmarks.visible) & ~hidden
    )


def run(
    name: str, sequence: str, rank: str, overrides: dict, data: Path, seed: int, once: bool,
    noise: float = 0.0, missing: float = 0.0,
) -> dict:  # fmt: skip
    """One fit, scored and timed."""
    info = METHODS[name]
    path = data / "short_sequences" / f"{sequence}.npz"
    landmarks, reference = io.read_landmarks(path), io.read_reference(path)
    if noise or missing:
        landmarks = worsen(landmarks, noise, missing, seed)
    chosen = dict(overrides)
    if rank == "published" and sequence in RANKS.get(name, {}):
        chosen.setdefault("rank", RANKS[name][sequence])
    elif rank not in ("published", "auto"):
        chosen["rank"] = int(rank)
    config = from_plain(chosen, info.config(), f"method {name}")
    times = []
    for _ in range(1 if once else 2):
        wall, cpu = time.monotonic(), time.process_time()
        fitted = info.fit(landmarks, "orthographic", config, seed, Session(None))
        times.append((time.monotonic() - wall, time.process_time() - cpu))
    # programs found in a cache make the first fit's time meaningless
    first = None if os.environ.get("JAX_COMPILATION_CACHE_DIR") else round(times[0][1], 2)
    used = fitted.facts.get("rank", chosen.get("rank"))
    extra = [f"{k}={v}" for k, v in overrides.items()]
    extra += [f"{k} {v:g}" for k, v in (("noise", noise), ("missing", missing)) if v]
    how = "K chosen by held-out points" if rank == "auto" and name in RANKS else ""
    return {
        "set": sequence,
        "setting": ", ".join([*([f"K={used}"] if used else []), *([how] if how else []), *extra]),
        "method": name,
        "camera": "orthographic",
        "protocols": metrics.evaluate(
            fitted.reconstruction, reference, ["akhter", "frame-mirror", "one-mirror"]
        ),
        "seconds": round(times[0][0], 2),
        "cpu_seconds": first,
        "cpu_seconds_warm": None if once else round(times[1][1], 2),
        "device": f"{os.cpu_count()} CPU cores"
        if jax.default_backend() == "cpu"
        else jax.devices()[0].device_kind,
        "seed": seed,
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python", "experiments/factorization/run.py", *sys.argv[1:]]),
        "facts": fitted.facts,
        "noise": noise,
        "missing": missing,
    }


def e3d(row: dict) -> float:
    """e3D in the frame in which the classical tables score the sequence."""
    return row["protocols"]["akhter"]["e3d" if row["set"] in OBJECT_FRAME else "e3d_camera"]


def write(path: Path, rows: list) -> None:
    """Rows, one file, replaced at once."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(rows, indent=1) + "\n")
    beside.replace(path)


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
        classical.append(cells(stem, rows, lambda r: f"{e3d(r):.4f} ({r['facts'].get('rank', '-')})"))
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


def run_curves(name: str, parts: list, args: argparse.Namespace, overrides: dict, data: Path) -> None:
    """Errors over noise without gaps, and over gaps without noise."""
    path = HERE / "results" / ("-".join(["curves", *parts]) + ".json")
    rows = []
    for sequence in CURVE_SEQUENCES:
        for noise, missing in [(v, 0.0) for v in NOISE] + [(0.0, v) for v in MISSING[1:]]:
            row = run(name, sequence, args.rank, overrides, data, args.seed, True, noise, missing)
            rows.append(row)
            write(path, rows)
            error = row["protocols"]["frame-mirror"]["normalized_error"]
            print(f"{path.stem} {sequence}: noise {noise:g}, missing {missing:g}: {error:.4f}", flush=True)


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
    data = Path(os.environ.get("JNRSFM_DATA") or ROOT.parent / "shared" / "data")
    overrides = {k: yaml.safe_load(v) for k, v in (pair.split("=", 1) for pair in args.set)}
    (HERE / "results").mkdir(exist_ok=True)
    try:
        for name in args.methods:
            if name not in METHODS:
                raise InputError(f"unknown method {name!r}: choose from {', '.join(METHODS)}")
            parts = [name, *(["auto"] if args.rank == "auto" else []), *(str(v) for v in overrides.values())]
            path = HERE / "results" / ("-".join(parts) + ".json")
            rows = {r["set"]: r for r in json.loads(path.read_text())} if path.exists() else {}
            if args.curves:
                run_curves(name, parts, args, overrides, data)
                continue
            for sequence in args.sequences:
                row = rows[sequence] = run(name, sequence, args.rank, overrides, data, args.seed, args.once)
                write(path, list(rows.values()))
                print(
                    f"{path.stem} {sequence}: e3D {e3d(row):.4f}, frame-mirror "
                    f"{row['protocols']['frame-mirror']['normalized_error']:.4f}, "
                    f"{row['cpu_seconds'] or '-'} CPU s ({row['cpu_seconds_warm'] or '-'} warm)",
                    flush=True,
                )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    tables()
    return 0


if __name__ == "__main__":
    sys.exit(main())
