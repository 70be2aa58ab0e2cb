"""Mutated files over all readers: `python tests/io/fuzz.py --files 100000`.

Each file is read in a worker process, as `jnrsfm info` would: landmarks, or the reference. A worker that dies of a
signal, a read over 5 s, a growth over 500 MB and any error but `InputError` count as failures, and their files are kept
in `--keep`. Prints one JSON object; exit 1 where there was a failure.
"""

import argparse
import importlib.util
import io as streams
import json
import multiprocessing
import resource
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

SECONDS, MEGABYTES = 5, 500


def sound_files(folder: Path) -> list[Path]:
    """One small sound file of each format."""
    from scipy.io import savemat

    spec = importlib.util.spec_from_file_location("io_tools", Path(__file__).with_name("tools.py"))
    tools = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tools)
    files = []
    for k, (case, (write, name, _)) in enumerate(sorted(tools.TOOLS.items())):
        place = folder / str(k)
        place.mkdir()
        points, score = tools.example(individuals=1 if case in tools.ONE_ONLY else 2)
        write(place / name, points, score)
        files.append(next((place / name).iterdir()) if (place / name).is_dir() else place / name)
    rng = np.random.default_rng(0)
    w = rng.normal(size=(24, 9))
    for name, content in (("v5.mat", {"do_compression": False}), ("v7.mat", {"do_compression": True})):
        savemat(
            folder / name,
            {"W": w, "names": np.array(["a"] * 9, object), "s": {"x": 1}, "list": [[1, 2]]},
            **content,
        )
    savemat(folder / "v4.mat", {"W": w}, format="4")
    np.savez(
        folder / "own.npz",
        points2d=w.reshape(12, 9, 2),
        visible=np.ones((12, 9), bool),
        names=list("abcdefghi"),
    )
    sample = [{"kp_loc": w[:2].tolist(), "kp_vis": [1] * 9, "kp_loc_3d": w[:3].tolist()} for _ in range(3)]
    (folder / "c3dpo.json").write_text(json.dumps(sample))
    (folder / "a.trc").write_text(
        "PathFileType\t4\t(X/Y/Z)\ta.trc\nDataRate\tUnits\n30\tmm\nFrame#\tTime\tA\t\t\tB\t\t\n\t\tX1\tY1\tZ1\n\n"
        + "".join(f"{f}\t0.{f}\t1\t2\t3\t4\t5\t6\n" for f in range(1, 6))
    )
    (folder / "a.bvh").write_text(
        "HIERARCHY\nROOT a\n{ OFFSET 1 2 3 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
        "JOINT b { OFFSET 3 3 3 CHANNELS 3 Zrotation Xrotation Yrotation End Site { OFFSET 0 0 1 } } }\n"
        "MOTION\nFrames: 2\nFrame Time: 0.1\n0 0 0 0 0 0 0 0 0\n0 0 0 90 0 0 0 0 0\n"
    )
    data = bytearray(1536)
    data[:2], data[2:10] = b"\x02\x50", np.array([2, 0, 1, 2], "<u2").tobytes()
    data[12:16], data[16:18] = np.float32(-1).tobytes(), np.uint16(3).tobytes()
    data[20:24], data[514:516] = np.float32(50).tobytes(), b"\x01\x54"
    data[1024:1088] = rng.normal(size=16).astype("<f4").tobytes()
    (folder / "a.c3d").write_bytes(data)
    return files + [p for p in sorted(folder.iterdir()) if p.is_file()]


def mutated(whole: bytes, rng: np.random.Generator) -> bytes:
    """Byte flips, a cut, blocks of the head exchanged, or a number made huge."""
    data = bytearray(whole)
    kind = rng.integers(5)
    if kind == 0:
        return bytes(data[: int(rng.integers(1, len(data)))])
    if kind == 1 and len(data) > 64:
        size = int(rng.integers(4, min(64, len(data) // 4)))
        head = min(len(data), 4096) - size
        a, b = (int(v) for v in rng.integers(0, head, 2))
        data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    if kind == 2:
        at = int(rng.integers(0, max(len(data) - 8, 1)))
        data[at : at + 8] = [b"\xff" * 8, b"\0" * 8, np.int64(2**40).tobytes(), b"99999999"][
            int(rng.integers(4))
        ]
    for _ in range(int(rng.integers(1, 9))):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    return bytes(data)


def work(jobs, answers) -> None:
    """Read what comes, answer `(outcome, seconds, megabytes)`."""
    import warnings

    from jnrsfm import io
    from jnrsfm.errors import InputError

    warnings.simplefilter("ignore")

    def late(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    answers.put("ready")
    for path in iter(jobs.get, None):
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.alarm(20 * SECONDS)  # wall; the limit itself is held against the process's own time
        outcome = "read"
        try:
            io.info(path)
        except InputError as error:
            outcome = "refused" if str(error) else "silent"
        except BaseException as error:
            outcome = f"{type(error).__name__}: {str(error)[:120]}"
        signal.alarm(0)
        spent = min(time.process_time() - cpu, time.monotonic() - begun)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
        answers.put((outcome, spent, grown))


class Worker:
    """A process that reads, started again when it has died."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.jobs, self.answers = context.SimpleQueue(), context.SimpleQueue()
        self.process = context.Process(target=work, args=(self.jobs, self.answers), daemon=True)
        self.process.start()
        self.answers.get()

    def read(self, path: Path):
        """The worker's answer, or how it ended."""
        self.jobs.put(str(path))
        while self.answers.empty():
            if not self.process.is_alive():
                return f"died of signal {-(self.process.exitcode or 0)}", 0.0, 0.0
            time.sleep(0.0005)
        return self.answers.get()


def main() -> int:
    """Fuzz, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--keep", type=Path, default=None)
    wish = parser.parse_args()
    rng = np.random.default_rng(wish.seed)
    counts: dict[str, int] = {"read": 0, "refused": 0}
    failures: list[dict] = []
    slowest = largest = 0.0
    end = time.monotonic() + 60 * wish.minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sound").mkdir()
        sound = [(p, p.read_bytes()) for p in sound_files(folder / "sound")]
        worker = Worker()
        done = 0
        while done < wish.files and time.monotonic() < end:
            source, whole = sound[done % len(sound)]
            path = folder / f"mutated{source.suffix}"
            data = mutated(whole, rng)
            path.write_bytes(data)
            outcome, seconds, grown = worker.read(path)
            done += 1
            slowest, largest = max(slowest, seconds), max(largest, grown)
            late, large = seconds > SECONDS, grown > MEGABYTES
            if outcome in counts and not late and not large:
                counts[outcome] += 1
                continue
            failures.append(
                {"source": source.name, "outcome": outcome, "seconds": seconds, "megabytes": grown}
            )
            if wish.keep is not None:
                wish.keep.mkdir(parents=True, exist_ok=True)
                (wish.keep / f"{len(failures):04d}_{source.name}").write_bytes(data)
            if not worker.process.is_alive():
                worker = Worker()
        worker.jobs.put(None)
    found = {"files": done, **counts, "failed": len(failures), "slowest_s": round(slowest, 2),
             "largest_growth_mb": round(largest), "failures": failures[:40]}  # fmt: skip
    stream = streams.StringIO()
    json.dump(found, stream, indent=1)
    print(stream.getvalue())
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
