"""Restarts at once: side by side by `vmap`, in turn within a dispatch, and one run after the other.

`python -m benchmarks.restarts [--json FILE] [--quick]`

Seconds per step and restart of 1, 4 and 16 restarts in both layouts, at the CMU preset and batch 128; and
8 restarts by the engine's default layout against 8 runs of one.
"""

import jax
import numpy as np

from benchmarks._common import alternate, environment, figure, parser, report, summary
from benchmarks._workload import Training


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--counts", type=int, nargs="+", help="restarts (default 1 4 16)")
    args = p.parse_args(argv)
    counts = args.counts or ([1, 4] if args.quick else [1, 4, 16])
    rounds, steps = (4, 4) if args.quick else (11, 10)
    settings = {"preset": "cmu", "batch": 128}
    engines = {layout: Training(layout=layout, **settings) for layout in ("vmap", "map", "auto")}
    functions = {
        f"{layout}_{n}": engines[layout].dispatch(n, steps) for layout in ("vmap", "map") for n in counts
    }
    functions["default_8"] = engines["auto"].dispatch(8, steps)
    single = engines["auto"].dispatch(1, steps)
    functions["runs_8"] = lambda: [single() for _ in range(8)]
    times = alternate(functions, rounds)
    results: dict = {"steps_per_call": steps, "rounds": rounds, "batch": 128}
    for name, seconds in times.items():
        count = int(name.rsplit("_", 1)[1])
        results[name] = summary(seconds, steps * count)  # for one step of one restart
    # On a GPU a run of one leaves most of it idle, and the default lays restarts side by side.
    ratio = float(np.median(times["runs_8"] / times["default_8"]))
    figures = {"8 runs in turn over 8 restarts at once": figure(ratio, "x", "higher", 1.3, 0.95)}
    for layout in ("vmap", "map"):
        base = times[f"{layout}_{counts[0]}"] / counts[0]
        for n in counts[1:]:
            gain = float(np.median(base / (times[f"{layout}_{n}"] / n)))
            figures[f"{layout}, {n} restarts: gain of each"] = figure(gain, "x", "higher", 1.5)
    record = {
        "benchmark": "restarts",
        **environment(),
        "default_layout": "map" if engines["auto"].engine.in_turn else "vmap",
        "backend": jax.default_backend(),
        "seconds_per_step_and_restart": results,
        "figures": figures,
    }
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
