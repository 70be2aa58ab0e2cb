"""What surrounds a training: its folder, its record of metrics, its progress line and its interruption."""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jnrsfm.runs import write_file


class Session:
    """One run: where checkpoints go, what is said and recorded, and whether it has been asked to stop.

    `folder=None` keeps everything in memory. With `resume` the phases go on from their last checkpoints, and
    `metrics.jsonl` is cut back to them. Ctrl-C or SIGTERM ask to stop: the engine finishes the dispatch under
    way, writes a checkpoint and raises KeyboardInterrupt.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        resume: bool = False,
        progress: bool = False,
        stream: Any = None,
    ):
        self.folder = None if folder is None else Path(folder)
        self.resume = resume
        self.history: list[dict[str, Any]] = []
        self.stop_requested = False
        # of several processes the first one writes and speaks
        self.first = jax.process_index() == 0
        self._stream = (stream or sys.stderr) if progress and self.first else None
        self._start = time.monotonic()
        self._last_line = 0.0
        self._offset = 0
        self._records = None
        if self.folder is not None and self.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._records = self.folder / "metrics.jsonl"
            if resume and self._records.exists():
                self.history = _read_records(self._records)
                self._start -= self.history[-1]["elapsed"] if self.history else 0.0

    def checkpoint_folder(self, phase: str) -> Path | None:
        """Where the checkpoints of a phase go, or None."""
        return None if self.folder is None else self.folder / "checkpoints" / phase

    def begin(self, phase: str) -> None:
        """A phase begins: its steps are counted on from those of the phases before it."""
        before = {r["phase"]: r["phase_step"] for r in self.history if r["phase"] != phase}
        self._offset = sum(before.values())

    def rewind(self, phase: str, step: int) -> None:
        """Forget what was recorded of a phase after `step`, and of everything that came after it."""
        kept: list[dict[str, Any]] = []
        for record in self.history:
            if record["phase"] == phase and record["phase_step"] > step:
                break
            kept.append(record)
        self.history = kept
        if self._records is not None:
            write_file(self._records, "".join(json.dumps(r) + "\n" for r in kept))

    def record(self, phase: str, step: int, steps: int, values: dict[str, Any], rate: float) -> None:
        """Record the metrics of a dispatch and show the progress."""
        elapsed = round(time.monotonic() - self._start, 3)
        entry = {"phase": phase, "step": self._offset + step, "phase_step": step, **values}
        entry |= {"steps_per_s": round(rate, 2), "elapsed": elapsed}
        self.history.append(entry)
        if self._records is not None:
            with self._records.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        left = (steps - step) / rate if rate > 0 else float("inf")
        loss = values.get("loss")
        many = isinstance(loss, Sequence) and len(loss) > 1
        text = f"{phase}: step {step}/{steps}"
        if loss is not None:
            text += f"  loss {min(loss) if isinstance(loss, Sequence) else loss:.4f}"
            text += f" (best of {len(loss)})" if many else ""
        self._progress(f"{text}  {rate:.0f} steps/s  {_clock(left)} left", last=step >= steps)

    def say(self, text: str) -> None:
        """A line on the progress stream."""
        if self._stream is not None:
            lead = "\r\x1b[K" if self._stream.isatty() else ""
            print(lead + text, file=self._stream, flush=True)

    def _progress(self, text: str, last: bool) -> None:
        if self._stream is None:
            return
        if self._stream.isatty():
            print("\r\x1b[K" + text, end="\n" if last else "", file=self._stream, flush=True)
        elif last or time.monotonic() - self._last_line > 5.0:  # a log file needs no line every second
            self._last_line = time.monotonic()
            print(text, file=self._stream, flush=True)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While inside, Ctrl-C and SIGTERM set `stop_requested`; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number, frame):
            if self.stop_requested:
                raise KeyboardInterrupt
            self.stop_requested = True
            self.say("stopping after this dispatch and its checkpoint (again to stop at once)")

        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a run; a last line cut short by a crash is dropped, since its step is trained again."""
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
