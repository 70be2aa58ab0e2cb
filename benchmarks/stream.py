"""A million frames streamed from disk through Deep NRSfM++: memory, and the rate of steps and of lifting.

`python -m benchmarks.stream [--json FILE] [--quick]`

Frames of 28 points lie in a file of 2D landmarks. Training streams them: each batch is read by position, normalised on
the host while the device works on the one before, and stepped by the engine; the same steps from a set that is resident
on the device alternate with it in one process. Lifting reads blocks of 4096 frames, each while the one before is
lifted, and writes them; resident lifting has its landmarks in memory. Peak memory is that of processes of their own for
fewer and for all frames.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import alternate, environment, figure, parser, report
from benchmarks._workload import POINTS, Training, landmarks
from jnrsfm.io.rows import RowFile
from jnrsfm.methods.deep_nrsfm_pp import DeepNRSfMppModel
from jnrsfm.training import Streamed, hosts
from jnrsfm.types import Landmarks

BATCH, BLOCK, CHUNK = 128, 4096, 50


def write(path: Path, frames: int) -> None:
    """Landmarks of so many frames, a part at a time."""
    out = np.lib.format.open_memmap(path, "w+", np.float32, (frames, POINTS, 2))
    for first in range(0, frames, 65_536):
        count = min(65_536, frames - first)
        out[first : first + count] = np.asarray(landmarks(count, seed=first).points2d)
    out.flush()
    del out


class Streams:
    """A training whose frames lie on disk."""

    def __init__(self, path: Path):
        self.rows = RowFile(path)
        self.training = Training(batch=BATCH, frames=8192)
        self.normalizer = self.training.fit.normalizer
        self.source = Streamed(self.read, len(self.rows), BATCH)

    def frames(self, numbers) -> Landmarks:
        """Landmarks of some frames."""
        points = self.rows[np.asarray(numbers)]
        return Landmarks(points2d=points, visible=np.ones(points.shape[:2], bool))

    def read(self, numbers):
        """A batch as the objective takes it, on the host."""
        seen, _ = self.normalizer(self.frames(numbers))
        return jax.tree.map(np.asarray, self.training.fit.batch(seen))

    def stepping(self, dispatches: int):
        """A function that runs so many dispatches of the engine, read ahead."""
        engine, state, first = self.training.engine, self.training.state(1), 0

        def run():
            nonlocal state, first
            spans = [(first + i * CHUNK, CHUNK) for i in range(dispatches)]
            for span, data in zip(spans, hosts.batches(self.source, spans, CHUNK, None), strict=True):
                rest = (self.source, data, self.training.key, span[0], CHUNK, 1_000_000, self.training.hyper)
                state, sums = engine.dispatch(state, jnp.arange(1), *rest)
            first = spans[-1][0] + CHUNK
            return sums

        return run


def lift(streams: Streams, model, out: Path, frames: int) -> float:
    """Lift from disk to disk; seconds. A block is read while the one before is lifted; what is written through a file,
    and not through a map of it, is no memory of this process."""
    begun = time.perf_counter()
    numbers = lambda first: np.arange(first, min(first + BLOCK, frames))
    head = {"descr": "<f4", "fortran_order": False, "shape": (frames, POINTS, 3)}
    with open(out, "wb") as file, ThreadPoolExecutor(1) as ahead:
        np.lib.format.write_array_header_1_0(file, head)
        coming = ahead.submit(streams.frames, numbers(0))
        for first in range(0, frames, BLOCK):
            seen, coming = (
                coming.result(),
                ahead.submit(streams.frames, numbers(min(first + BLOCK, frames - 1))),
            )
            file.write(np.ascontiguousarray(model.lift(seen).camera_points, np.float32).data)
    return time.perf_counter() - begun


def model_of(training: Training) -> DeepNRSfMppModel:
    """A model to lift with; its values do not matter."""
    return DeepNRSfMppModel(
        training.fit.network, training.state().params, training.fit.normalizer, None, "none"
    )


def probe(task: str, path: str) -> dict:
    """Peak memory of this process after streaming through a file."""
    streams = Streams(Path(path))
    if task == "steps":
        jax.block_until_ready(streams.stepping(4)())
        for first in range(0, len(streams.rows), BLOCK):  # every frame once
            streams.read(np.arange(first, min(first + BLOCK, len(streams.rows))))
    else:
        with tempfile.TemporaryDirectory() as folder:
            lift(streams, model_of(streams.training), Path(folder) / "lifted.npy", len(streams.rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"frames": len(streams.rows), "peak_bytes": peak}


def main(argv: list[str] | None = None) -> dict | None:
    """Run, print and return the record."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--probe", nargs=2, metavar=("TASK", "FILE"), help="one point, in this process")
    args = p.parse_args(argv)
    if args.probe:
        print(json.dumps(probe(*args.probe)))
        return None
    counts = [20_000, 50_000] if args.quick else [50_000, 1_000_000]
    rounds, dispatches = (3, 1) if args.quick else (9, 4)
    memory: dict[str, list] = {"steps": [], "lift": []}
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            path = Path(folder) / f"{count}.npy"
            write(path, count)
            for task, rows in memory.items():
                command = [sys.executable, "-m", "benchmarks.stream", "--probe", task, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
                rows.append(json.loads(done.stdout.splitlines()[-1]))
        streams = Streams(path)
        resident, steps = streams.training.dispatch(1, CHUNK), CHUNK * dispatches
        times = alternate(
            {
                "resident": lambda: [resident() for _ in range(dispatches)][-1],
                "streamed": streams.stepping(dispatches),
            },
            rounds,
        )
        model = model_of(streams.training)
        some = streams.frames(np.arange(min(16 * BLOCK, counts[-1])))
        np.asarray(model.lift(some).camera_points)
        begun = time.perf_counter()
        np.asarray(model.lift(some).camera_points)
        in_memory = len(some.points2d) / (time.perf_counter() - begun)
        seconds = lift(streams, model, Path(folder) / "lifted.npy", counts[-1])
    ratio = times["resident"] / times["streamed"]
    growth = {k: (rows[-1]["peak_bytes"] - rows[0]["peak_bytes"]) / 2**20 for k, rows in memory.items()}
    figures = {
        "streamed over resident step rate": figure(float(np.median(ratio)), "x", "higher", 1.2, 0.9),
        "steps: peak memory": figure(memory["steps"][-1]["peak_bytes"] / 2**30, "GiB", "lower", 1.3),
        "steps: growth from the fewest to all frames": figure(growth["steps"], "MiB", "lower", None, 64.0),
        "lifting: peak memory": figure(memory["lift"][-1]["peak_bytes"] / 2**30, "GiB", "lower", 1.3),
        "lifting: growth from the fewest to all frames": figure(growth["lift"], "MiB", "lower", None, 64.0),
        "lifting from disk to disk over lifting in memory": figure(
            counts[-1] / seconds / in_memory, "x", "higher", 1.3, 0.9
        ),
        "frames lifted a second": figure(counts[-1] / seconds, "1/s", "higher"),
    }
    record = {
        "benchmark": "stream", **environment(), "frames": counts, "points": POINTS, "batch": BATCH,
        "steps_per_call": steps, "rounds": rounds, "memory": memory,
        "step_s": {k: float(np.median(v) / steps) for k, v in times.items()}, "figures": figures,
    }  # fmt: skip
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
