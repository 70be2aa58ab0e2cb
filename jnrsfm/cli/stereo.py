"""`convert --stereo`: a stereo video to frame pairs with disparity and flow, and a page on what was kept."""

import sys
import time
from pathlib import Path
from typing import Any

from jnrsfm.cli.answers import Answer

PAGE = "pairs.html"
_SHOWN, _REFUSED = 12, 12


def convert(src: Path, second: Path | None, dst: Path, **settings: Any) -> Answer:
    """Convert, write the page, and say what came of it."""
    from jnrsfm import report
    from jnrsfm.io import stereo

    files = [src] if second is None else [src, second]
    chosen = stereo.StereoSettings(**settings)
    index = stereo.convert_stereo(files, dst, chosen, _Progress())
    lines = stereo.summary(index).splitlines()
    samples = [report.StereoSample(*s) for s in stereo.samples(files, dst, index, _SHOWN, _REFUSED)]
    page = report.write_stereo_page(dst / PAGE, f"Stereo pairs of {src.name}", lines, samples)
    count = sum(p["pairs"] for p in index["parts"])
    about = {"dst": dst, "pairs": count, "static": index["static"], "swapped": index["swapped"], "page": page}
    about["shots"] = [{k: s[k] for k in ("first", "last", "reason")} for s in index["shots"]]
    return Answer(about, "\n".join([*lines, f"open {page}"]))


class _Progress:
    """A line on standard error at most once in two seconds, with the time that is left."""

    def __init__(self):
        self.stage, self.begun, self.said, self.from_ = "", 0.0, 0.0, 0

    def __call__(self, stage: str, done: int, count: int) -> None:
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self.begun, self.said, self.from_ = stage, now, now, done
        if now - self.said < 2 or done <= self.from_:
            return
        self.said = now
        rate = (done - self.from_) / (now - self.begun)
        left = round((count - done) / rate)
        text = f"{stage}: {done}/{count}  {rate:.0f} a second  {left // 60}:{left % 60:02d} left"
        print(text, file=sys.stderr, flush=True)
