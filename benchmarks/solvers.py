"""Each solver's time against frames and against points, and the nuclear norm with its derivative.

`python -m benchmarks.solvers [--json FILE] [--quick] [--solvers NAME ...]`

A body of two shape bases that bend slowly under a turning camera; K = 2, the default settings otherwise. CPU seconds of
a second fit of the same size, when everything is compiled, and of compiling and the rest of the first one apart.
The nuclear norm of (frame, 3 point) shapes: value and gradient in one program against the forward pass of a plain
singular value decomposition, which no way to the value by singular values can avoid.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import alternate, compile_for, environment, figure, parser, report, summary
from jnrsfm.config import from_plain
from jnrsfm.linalg.proximal import nuclear_norm
from jnrsfm.methods import METHODS
from jnrsfm.training import Session
from jnrsfm.types import Landmarks

RANK = 2
FRAMES = (100, 1000, 10_000)
POINTS = (50, 500, 5000, 50_000)
# What a fit may hold at once bounds the rest: a covariance of modes^2 for each frame, a part for every few points.
LARGEST = {"pnd": (10_000, 5000), "consensus": (1000, 500), "bmm": (10_000, 5000)}
SOLVERS = ("rigid", "trajectory", "csf", "bmm", "pnd", "consensus")


def body(frames: int, points: int) -> Landmarks:
    """Orthographic landmarks of a bending body, one clip."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 2 * np.pi, frames)
    bases = rng.normal(size=(RANK, points, 3)) * [[[1.0]], [[0.3]]]
    shapes = np.einsum("fk,kpi->fpi", np.stack([np.ones(frames), np.sin(2 * t)], 1), bases)
    turn, tilt = 0.9 * t, 0.4 * np.sin(3 * t)
    row_x = np.stack([np.cos(turn), np.zeros(frames), -np.sin(turn)], 1)
    row_y = np.stack([np.sin(turn) * np.sin(tilt), np.cos(tilt), np.cos(turn) * np.sin(tilt)], 1)
    image = np.einsum("fpi,fai->fpa", shapes, np.stack([row_x, row_y], 1))
    return Landmarks(
        points2d=image.astype(np.float32), visible=np.ones((frames, points), bool),
        sequence=np.zeros(frames, np.int32),
    )  # fmt: skip


def seconds(name: str, frames: int, points: int) -> dict:
    """CPU seconds of a compiled fit, and what the first one took beyond it."""
    info, landmarks = METHODS[name], body(frames, points)
    fixed = {"rank": RANK} if name in ("trajectory", "csf", "bmm") else {}
    config = from_plain(fixed, info.config(), f"method {name}")
    taken = []
    for _ in range(2):
        start = time.process_time()
        info.fit(landmarks, "orthographic", config, 0, Session(None))
        taken.append(time.process_time() - start)
    return {"cpu_s": taken[1], "compile_cpu_s": max(taken[0] - taken[1], 0.0)}


def nuclear(frames: int, points: int, rounds: int) -> dict:
    """Seconds of value and gradient, and of the singular values alone."""
    x = np.random.default_rng(0).normal(size=(frames, 3 * points)).astype(np.float32)
    ours, _ = compile_for(jax.value_and_grad(nuclear_norm), x)
    floor, _ = compile_for(lambda m: jnp.linalg.svd(m, full_matrices=False), x)
    return alternate({"value and gradient": ours, "decomposition": floor}, rounds)


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--solvers", nargs="+", default=SOLVERS, choices=SOLVERS, help="which (default all)")
    args = p.parse_args(argv)
    frames, points = (FRAMES[:2], POINTS[:2]) if args.quick else (FRAMES, POINTS)
    runs: dict = {}
    figures = {}
    for name in args.solvers:
        most_frames, most_points = LARGEST.get(name, (FRAMES[-1], POINTS[-1]))
        sizes = {
            "frame": [(n, 50) for n in frames if n <= most_frames],
            "point": [(100, n) for n in points if n <= most_points],
        }
        runs[name] = {}
        for which, pairs in sizes.items():
            row = {pair[0] if which == "frame" else pair[1]: seconds(name, *pair) for pair in pairs}
            runs[name][f"{which}s"] = {str(n): times for n, times in row.items()}
            low, high = min(row), max(row)
            growth = row[high]["cpu_s"] / row[low]["cpu_s"] / (high / low)
            # 1 is linear; a constant part that the small size pays too makes it less
            figures[f"{name}: time a {which}, {high} over {low}"] = figure(growth, "x", "lower", 2.0)
    times = {}
    for shape in ((32, 17),) if args.quick else ((32, 17), (300, 50)):
        times[shape] = nuclear(*shape, 5 if args.quick else 15)
        ratio = np.median(times[shape]["value and gradient"] / times[shape]["decomposition"])
        title = f"nuclear norm and gradient over a decomposition, {shape[0]} frames, {shape[1]} points"
        figures[title] = figure(ratio, "x", "lower", 2.0)
        runs[title] = {k: summary(v) for k, v in times[shape].items()}
    record = {"benchmark": "solvers", **environment(), "figures": figures, "runs": runs}
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
