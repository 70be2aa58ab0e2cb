"""`convert --stereo`: a stereo video to frame pairs with disparity and flow, and a page on what was kept."""

from pathlib import Path
from typing import Any

from jnrsfm.cli.answers import Answer
from jnrsfm.cli.progress import Progress

PAGE = "pairs.html"
_SHOWN, _REFUSED = 12, 12


def convert(src: Path, second: Path | None, dst: Path, **settings: Any) -> Answer:
    """Convert, write the page, and say what came of it."""
    from jnrsfm import report
    from jnrsfm.io import stereo

    files = [src] if second is None else [src, second]
    chosen = stereo.StereoSettings(**settings)
    index = stereo.convert_stereo(files, dst, chosen, Progress())
    lines = stereo.summary(index).splitlines()
    samples = [report.StereoSample(*s) for s in stereo.samples(files, dst, index, _SHOWN, _REFUSED)]
    page = report.write_stereo_page(dst / PAGE, f"Stereo pairs of {src.name}", lines, samples)
    count = sum(p["pairs"] for p in index["parts"])
    about = {"dst": dst, "pairs": count, "static": index["static"], "swapped": index["swapped"], "page": page}
    about["shots"] = [{k: s[k] for k in ("first", "last", "reason")} for s in index["shots"]]
    return Answer(about, "\n".join([*lines, f"open {page}"]))
