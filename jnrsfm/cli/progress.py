"""Progress of long verbs that train nothing: a line on standard error now and then."""

import sys
import time


class Progress:
    """A line on standard error at most once in two seconds, with the time that is left."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.stage, self.begun, self.said, self.from_ = "", 0.0, 0.0, 0

    def __call__(self, stage: str, done: int, count: int, start: int | None = None) -> None:
        """`done` of `count`; `start`: how many were there before this run."""
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self.begun, self.said, self.from_ = stage, now, now, done if start is None else start
        if self.quiet or now - self.said < 2 or done <= self.from_:
            return
        self.said = now
        rate = (done - self.from_) / max(now - self.begun, 1e-6)
        left = round((count - done) / rate)
        text = f"{stage}: {done}/{count}  {rate:.0f} a second  {left // 60}:{left % 60:02d} left"
        print(text, file=sys.stderr, flush=True)
