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


def parser(description: str) -> argparse.ArgumentParser:
    """Command line of a benchmark, with the option that all have: where to write the JSON."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--json", metavar="FILE", help="also write the figures to this file")
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
