"""Mutated files over all readers: `python tests/io/fuzz.py --files 100000`.

Each file is read in a worker process, as `jnrsfm info` would: landmarks, or the reference. A worker that ends by a
signal, a read over 5 processor seconds, one that needs over 500 MB and any error but an `InputError` of one line are
failures, and their files are kept in `--keep`; what is slow or large is read again in a process of its own before it
counts. Mutation number n of a seed is always the same, so that a run can go on with `--first`. Prints one JSON object;
exit 1 where there was a failure.

The memory of a file is the peak of the resident set while it is read, less the resident set once the sound files were
read: the kernel's mark of the peak (`VmHWM`) is set back before each file. It is an upper bound, for it holds what
earlier files left behind. Where the mark cannot be set back (other systems than Linux) no memory is measured, and the
result says so.
"""

import argparse
import importlib.util
import io
import json
import multiprocessing
import os
import re
import resource
import struct
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np

SECONDS, MEGABYTES = 5, 500
HANG = 120  # wall seconds after which a worker is ended: the machine may be busy


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
            {
                "W": w,
                "rows": "interleaved",
                "names": np.array(["a"] * 9, object),
                "s": {"x": 1},
                "list": [[1, 2]],
            },
            **content,
        )
    savemat(folder / "v4.mat", {"W": w, "rows": "interleaved"}, format="4")
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


TOKENS = (
    b"-1",
    b"0",
    b"null",
    b"NaN",
    b"1e999",
    b"-7e307",
    b"99999999999",
    b"1.5",
    b'"a"',
    b"[]",
    b"{}",
    b"",
    b",,",
    b"\n",
)


def mutated(whole: bytes, rng: np.random.Generator) -> bytes:
    """Byte flips, a cut, blocks of the head exchanged, a number made huge; of text mostly another number or word."""
    data = bytearray(whole)
    kind = rng.integers(5)
    if b"\0" not in whole and rng.random() < 0.6:
        return retold(whole, rng)
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


def retold(whole: bytes, rng: np.random.Generator) -> bytes:
    """Text with one to three of its numbers or words changed, so that it still reads as its language."""
    words = list(re.finditer(rb"[A-Za-z_]+|-?[0-9.]+", whole))
    changes = {}
    for _ in range(int(rng.integers(1, 4))):
        word = words[int(rng.integers(len(words)))]
        other = words[int(rng.integers(len(words)))].group()
        changes[word.span()] = other if rng.random() < 0.4 else TOKENS[int(rng.integers(len(TOKENS)))]
    out, end = [], 0
    for (a, b), new in sorted(changes.items()):
        out += [whole[end:a], new]
        end = b
    return b"".join([*out, whole[end:]])


def inside(whole: bytes, rng: np.random.Generator) -> bytes:
    """A packed file with one of its parts mutated and packed again, so that its checksums hold."""
    out = io.BytesIO()
    if whole[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(out, "w") as new:
            chosen = int(rng.integers(len(old.infolist())))
            for i, part in enumerate(old.infolist()):
                content = old.read(part)
                new.writestr(part.filename, mutated(content, rng) if i == chosen else content)
        return out.getvalue()
    parts, at = [], 128  # MATLAB: a header, then the variables, each with its type and length
    while at + 8 <= len(whole):
        kind, length = struct.unpack_from("<II", whole, at)
        parts.append((kind, whole[at + 8 : at + 8 + length]))
        at += 8 + length
    chosen = int(rng.integers(len(parts)))
    kind, content = parts[chosen]
    parts[chosen] = (kind, zlib.compress(mutated(zlib.decompress(content), rng)))
    return whole[:128] + b"".join(struct.pack("<II", k, len(c)) + c for k, c in parts)


def mutation(whole: bytes, seed: int, number: int) -> bytes:
    """The mutation of that number: the same each time."""
    rng = np.random.default_rng([seed, number])
    packed = whole[:2] == b"PK" or (whole[:6] == b"MATLAB" and whole[128:129] == b"\x0f")
    return inside(whole, rng) if packed and rng.random() < 0.7 else mutated(whole, rng)


def judged(read, path: Path) -> str:
    """How reading the file ends: read, refused, or a fault."""
    try:
        read(path)
    except Exception as error:
        from jnrsfm.errors import InputError

        text = str(error)
        if not isinstance(error, InputError):
            return f"{type(error).__name__}: {text[:120]}"
        return "refused" if text and "\n" not in text else "no line of text"
    return "read"


def resident(key: str) -> float:
    """`VmRSS` or `VmHWM`, the resident set now or its peak, in megabytes; NaN where there is no such thing."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(key))
    except (OSError, StopIteration):
        return float("nan")


def peak_set_back() -> bool:
    """Set the mark of the peak back to the resident set of now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def work(folder: Path, sound: list[tuple[str, bytes]], seed: int, numbers: list[int], at, answers) -> None:
    """Read the mutations of these numbers; `at` holds the number and the time of the one that is read."""
    import warnings

    from jnrsfm import io as records

    warnings.simplefilter("ignore")
    path, read = folder / "mutated", lambda p: records.info(str(p))
    read_once = [judged(read, folder / name) for name, _ in sound]  # what is made once is not the mutation's
    assert "refused" not in read_once, read_once
    base, peak = resident("VmRSS"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    limit = int((peak + 4 * MEGABYTES) * 1e6)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # an error here, and not the end of the machine
    parent = os.getppid()
    for number in numbers:
        if os.getppid() != parent:  # it was ended, and nobody listens
            return
        name, whole = sound[number % len(sound)]
        mine = path.with_suffix(Path(name).suffix)
        mine.write_bytes(mutation(whole, seed, number))
        known = peak_set_back()
        at[0], at[1] = number, time.monotonic()
        outcome = judged(read, mine)
        spent = time.monotonic() - at[1]
        answers.send((number, outcome, spent, resident("VmHWM") - base if known else float("nan")))
    answers.send(None)


class Watch:
    """Workers, one at a time: whoever dies or hangs is replaced, and what it read is a fault."""

    def __init__(self, folder: Path, sound: list[tuple[str, bytes]], seed: int):
        self.folder, self.sound, self.seed = folder, sound, seed
        self.context = multiprocessing.get_context("spawn")

    def answers(self, numbers: list[int]):
        """`(number, outcome, seconds, megabytes)` of each."""
        left = list(numbers)
        while left:
            at = self.context.RawArray("d", [-1.0, 0.0])
            ours, theirs = self.context.Pipe(duplex=False)
            process = self.context.Process(
                target=work, args=(self.folder, self.sound, self.seed, left, at, theirs), daemon=True
            )
            process.start()
            theirs.close()
            done = 0
            try:
                while True:
                    if not ours.poll(HANG):
                        process.kill()
                        raise EOFError
                    answer = ours.recv()
                    if answer is None:
                        return
                    done += 1
                    yield answer
            except EOFError:
                process.join()
            if at[0] < 0:
                raise SystemExit("the worker ended before its first file")
            yield left[done], f"ended by signal {-(process.exitcode or 0)}", 0.0, 0.0
            left = left[done + 1 :]

    def alone(self, number: int) -> tuple[str, float, float]:
        """The same file again in a process of its own, its time in processor seconds."""
        name, whole = self.sound[number % len(self.sound)]
        path = self.folder / f"again{Path(name).suffix}"
        path.write_bytes(mutation(whole, self.seed, number))
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=measured, args=(path, self.folder / name, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            found = ours.recv() if ours.poll(10 * HANG) else ("hangs", float(HANG), 0.0)
        except EOFError:
            process.join()
            found = f"ended by signal {-(process.exitcode or 0)}", 0.0, 0.0
        process.kill()
        return found


def measured(path: Path, sound: Path, answers) -> None:
    """One file: outcome, processor seconds, growth in megabytes."""
    import warnings

    from jnrsfm import io as records

    warnings.simplefilter("ignore")
    judged(lambda p: records.info(str(p)), sound)
    known, before, cpu = peak_set_back(), resident("VmRSS"), time.process_time()
    outcome = judged(lambda p: records.info(str(p)), path)
    spent = time.process_time() - cpu
    answers.send((outcome, spent, resident("VmHWM") - before if known else float("nan")))


def main() -> int:
    """Fuzz, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", default=(), help="ends of the names of the sound files to mutate"
    )
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument(
        "--out", type=Path, default=None, help="JSON of results, written every thousand files"
    )
    wish = parser.parse_args()
    found: dict = {
        "command": f"python tests/io/fuzz.py --files {wish.files} --first {wish.first} --seed {wish.seed}"
        + "".join(f" --only {' '.join(wish.only)}" for _ in wish.only[:1]),
        "date": time.strftime("%Y-%m-%d"), "seed": wish.seed, "first": wish.first, "files": 0, "read": 0, "refused": 0,
        "failed": 0, "slowest_s": 0.0, "slowest_file": "", "largest_memory_mb": 0.0, "largest_memory_file": "",
        "memory": "peak of the resident set while a file is read, less that after the sound files (an upper bound)",
        "by_source": {}, "failures": [],
    }  # fmt: skip
    end = time.monotonic() + 60 * wish.minutes
    with tempfile.TemporaryDirectory(dir=next((p for p in ("/dev/shm",) if Path(p).is_dir()), None)) as place:
        folder = Path(place)
        (folder / "sound").mkdir()
        paths = sound_files(folder / "sound")
        paths = [p for p in paths if not wish.only or p.name.endswith(tuple(wish.only))]
        sound = [(str(p.relative_to(folder)), p.read_bytes()) for p in paths]
        found["sources"] = len(sound)
        watch = Watch(folder, sound, wish.seed)
        for number, outcome, seconds, grown in watch.answers(
            list(range(wish.first, wish.first + wish.files))
        ):
            source = sound[number % len(sound)][0].removeprefix("sound/")
            if outcome not in ("read", "refused") or seconds > SECONDS / 2 or grown > MEGABYTES / 5:
                outcome, seconds, grown = watch.alone(number)
            for value, key in ((seconds, "slowest"), (grown, "largest_memory")):
                unit = "s" if key == "slowest" else "mb"
                if value > found[f"{key}_{unit}"]:
                    found[f"{key}_{unit}"], found[f"{key}_file"] = round(value, 2), f"{source} {number}"
            if outcome in ("read", "refused") and (seconds > SECONDS or grown > MEGABYTES):
                outcome = f"{outcome}, in {seconds:.1f} s and {grown:.0f} MB"
            if grown != grown:
                found["memory"] = "not measured: this system does not set the mark of the peak back"
            found["files"] += 1
            part = found["by_source"].setdefault(source, {"read": 0, "refused": 0, "failed": 0})
            kind = outcome if outcome in ("read", "refused") else "failed"
            part[kind] += 1
            found[kind] += 1
            if kind == "failed":
                found["failures"].append({"number": number, "source": source, "outcome": outcome})
                if wish.keep is not None:
                    wish.keep.mkdir(parents=True, exist_ok=True)
                    data = mutation(sound[number % len(sound)][1], wish.seed, number)
                    (wish.keep / f"{number}_{source.replace('/', '_')}").write_bytes(data)
            if wish.out is not None and found["files"] % 1000 == 0:
                wish.out.write_text(json.dumps(found, indent=1) + "\n")
            if time.monotonic() > end:
                break
    if wish.out is not None:
        wish.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found | {"failures": found["failures"][:40]}, indent=1))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
