"""What the benchmarks share: device and date, compile and run time apart, JSON written beside and renamed."""

import argparse
import contextlib
import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np


def environment() -> dict:
    """Device, date (UTC), versions and the machine's size, to stand beside every figure."""
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": _processor() if device.platform == "cpu" else device.device_kind,
        "platform": device.platform,
        "device_count": jax.device_count(),
        "cpu_cores": cores,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def measure(function: Callable, *args, repeats: int = 15) -> dict:
    """Compile `function` for `args` and time it: seconds of compilation, median and fastest run."""
    return measure_in_turns({"": (function, args)}, repeats)[""]


def measure_in_turns(cases: dict[str, tuple[Callable, tuple]], repeats: int = 15) -> dict[str, dict]:
    """`measure` for several functions with their arguments, by name, one run of each in turn.

    In turns, so that what else the machine does falls on all of them. Arguments are put on the device
    before, one run of each warms up, each run is waited for.
    """
    programs, result = {}, {}
    for name, (function, args) in cases.items():
        args = jax.device_put(args)
        start = time.perf_counter()
        # A new function, so that nothing compiled before is found again.
        program = jax.jit(lambda *args, function=function: function(*args)).lower(*args).compile()
        result[name] = {"compile_s": time.perf_counter() - start}
        jax.block_until_ready(program(*args))
        programs[name] = (program, args)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, (program, args) in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*args))
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        result[name] |= {"run_s": statistics.median(seconds), "run_s_min": min(seconds), "repeats": repeats}
    return result


def write_json(path: str | os.PathLike, record: dict) -> None:
    """Write a record beside `path` and rename it, so that a reader never meets half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(record, indent=2, default=_plain) + "\n")
        os.replace(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


def figure(
    value: float, unit: str, better: str, tolerance: float | None = None, target: float | None = None
) -> dict:
    """One number of a record. `better`: "higher" or "lower"; `tolerance`: by which factor it may fall behind the
    committed baseline (None: for reading only); `target`: what the project asks of it."""
    return {"value": float(value), "unit": unit, "better": better, "tolerance": tolerance, "target": target}


def alternate(functions: dict[str, Callable], rounds: int) -> dict[str, np.ndarray]:
    """Seconds `(round,)` of each function, all of them once in every round after one to warm up.

    What disturbs the machine for longer than a round then disturbs all of them alike, and leaves the ratios
    within a round. A pause lets the threads of one library go to sleep before the next begins.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            time.sleep(0.01)
            start = time.perf_counter()
            jax.block_until_ready(function())
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: np.array(t) for name, t in times.items()}


def compile_for(function: Callable, *args, **options) -> tuple[Callable, float]:
    """A function without arguments that runs `function(*args)`, compiled, and the seconds of compilation."""
    args = jax.device_put(args)
    start = time.perf_counter()
    compiled = jax.jit(function, **options).lower(*args).compile()
    return lambda: compiled(*args), time.perf_counter() - start


def summary(seconds: np.ndarray, count: int = 1) -> dict:
    """Median and fastest of the rounds, for each of `count` repeats in one call."""
    return {"median_s": float(np.median(seconds)) / count, "fastest_s": float(seconds.min()) / count}


def matrix_product(size: int) -> tuple[Callable, float]:
    """A square float32 product at JAX's default precision, and its floating-point operations."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    run, _ = compile_for(lambda a: a @ a, a)
    return run, 2.0 * size**3


def parser(description: str) -> argparse.ArgumentParser:
    """Command line of a benchmark, with the option that all have: where to write the JSON."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    p.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    return p


def report(record: dict, path: str | None) -> None:
    """Print a record, and write it where a path is given."""
    print(json.dumps(record, indent=2, default=_plain))
    if path:
        write_json(path, record)


def _plain(value):
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    raise TypeError(f"not JSON: {type(value).__name__}")


def _processor() -> str:
    """The processor's name; `platform.processor` is empty or only the architecture on Linux."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
