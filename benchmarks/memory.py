"""Memory and time against the number of frames and of points: training steps, and reconstruction of all frames.

`python -m benchmarks.memory [--json FILE] [--quick]`

Each point is a process of its own, whose peak resident memory the system reports; the same process with the
imports and no data is subtracted by the fit of a line, bytes = a + b F (or P). Training holds the frames on the
device and works on batches of 128; reconstruction streams blocks of frames, so that b is what the landmarks and
the result themselves need, times the copies that are alive at once.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks._common import environment, figure, parser, report

STEPS = 20
SIZES = (64, 32, 16, 8)  # a small network: what is measured is how memory and time grow with the data


def probe(task: str, frames: int, points: int) -> dict:
    """One point, in this process: seconds and peak memory."""
    import jax

    from benchmarks._workload import Training, landmarks
    from jnrsfm.methods.deep_nrsfm_pp import DeepNRSfMppModel

    if task == "steps":
        training = Training(frames=frames, points=points, sizes=SIZES, batch=128)
        run = training.dispatch(1, STEPS)
        jax.block_until_ready(run())
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds = (time.perf_counter() - start) / STEPS
    else:
        training = Training(frames=1000, points=points, sizes=SIZES, batch=128)
        normalizer = training.fit.normalizer
        model = DeepNRSfMppModel(training.fit.network, training.state().params, normalizer, None, "none")
        marks = landmarks(frames, points)
        model.lift(marks.select(slice(0, min(frames, 4096))))  # compiled before the clock starts
        start = time.perf_counter()
        found = model.lift(marks)
        seconds = time.perf_counter() - start
        assert found.points3d.shape == (frames, points, 3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    device = jax.devices()[0].memory_stats() or {}
    return {"seconds": seconds, "peak_bytes": peak, "device_peak_bytes": device.get("peak_bytes_in_use")}


def in_process(task: str, frames: int, points: int) -> dict:
    """`probe` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--probe", task, str(frames), str(points)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    print(f"{task}: {frames} frames, {points} points", file=sys.stderr)
    return {"frames": frames, "points": points, **json.loads(done.stdout.splitlines()[-1])}


def line(x: list[int], y: list[float]) -> dict:
    """Least-squares `y = intercept + slope x`, and the largest deviation as a fraction of the largest y."""
    slope, intercept = np.polyfit(x, y, 1)
    gap = np.abs(np.polyval([slope, intercept], x) - y).max() / max(y)
    return {"slope": slope, "intercept": intercept, "largest_deviation": gap}


def main(argv: list[str] | None = None) -> dict | None:
    """Run, print and return the record."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument(
        "--probe", nargs=3, metavar=("TASK", "FRAMES", "POINTS"), help="one point, in this process"
    )
    args = p.parse_args(argv)
    if args.probe:
        task, frames, points = args.probe
        print(json.dumps(probe(task, int(frames), int(points))))
        return None
    frames = [1000, 10_000, 50_000] if args.quick else [1000, 10_000, 100_000, 300_000, 1_000_000]
    points = [10, 100] if args.quick else [10, 30, 100, 300]
    few = 2000 if args.quick else 20_000
    tasks, figures = {}, {}
    for task in ("steps", "reconstruct"):
        by_frames = [in_process(task, n, 28) for n in frames]
        by_points = [in_process(task, few, n) for n in points]
        memory = line(frames, [r["peak_bytes"] for r in by_frames])
        tasks[task] = {
            "by_frames": by_frames,
            "by_points": by_points,
            "bytes_by_frames": memory,
            "bytes_by_points": line(points, [r["peak_bytes"] for r in by_points]),
            "seconds_by_frames": line(frames, [r["seconds"] for r in by_frames]),
        }
        figures[f"{task}: bytes a frame (28 points)"] = figure(memory["slope"], "B", "lower", 1.3)
        figures[f"{task}: peak at {frames[-1]:,} frames"] = figure(
            by_frames[-1]["peak_bytes"] / 2**30, "GiB", "lower", 1.3
        )
    step = tasks["steps"]["by_frames"]
    figures["step at most over fewest frames"] = figure(
        step[-1]["seconds"] / step[0]["seconds"], "x", "lower", 2.0
    )
    last = tasks["reconstruct"]["by_frames"][-1]
    figures["frames reconstructed a second"] = figure(last["frames"] / last["seconds"], "1/s", "higher")
    record = {
        "benchmark": "memory",
        **environment(),
        "network": SIZES,
        "landmark_bytes_a_frame": 28 * (2 * 4 + 1),
        "result_bytes_a_frame": 28 * 3 * 4,
        "tasks": tasks,
        "figures": figures,
    }
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
