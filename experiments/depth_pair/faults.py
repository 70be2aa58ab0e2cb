"""Known faults planted in side-by-side videos of rendered clips, and what the conversion says of each shot."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.depth_pair.scenes import FIGURES, SCRATCH
from jnrsfm.datasets import RenderedFigures, render_figures
from jnrsfm.io import stereo

SIZE, CLIP, CLIPS, PER_FAULT = (384, 216), 4, 20, 4
Eyes = tuple[np.ndarray, np.ndarray]


def clips() -> tuple[np.ndarray, np.ndarray]:
    """Left and right `(clip, frame, y, x, 3)` of rigs toed in at random, walking figures, a moving camera."""
    path = SCRATCH / f"stereo-{CLIPS}-{SIZE[0]}x{SIZE[1]}.npz"
    if not path.is_file():
        config = RenderedFigures(
            figures=FIGURES, images=CLIPS * CLIP, clip=CLIP, size=SIZE, stereo=True, travel=True, seed=3, fps=8.0,
            degrees_per_frame=5.0, distance=(2.0, 4.0), fill=(0.5, 0.8), rooms=1.0, clutter=4.0, baseline=(0.08, 0.16),
            convergence=(0.8, 2.0),
        )  # fmt: skip
        made = render_figures(config)
        assert made.right_images is not None
        SCRATCH.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(beside, left=made.images, right=made.right_images)
        beside.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return tuple(file[n].reshape(CLIPS, CLIP, *file[n].shape[1:]) for n in ("left", "right"))  # type: ignore[return-value]


def bent(image: np.ndarray) -> np.ndarray:
    """A barrel: 5 % at the corners."""
    from jnrsfm.io.stereo.matching import library

    cv2 = library()
    x, y = np.meshgrid(np.linspace(-1, 1, SIZE[0]), np.linspace(-1, 1, SIZE[1]))
    r = 1 + 0.05 * (x**2 + y**2) / 2
    u, v = ((a * r + 1) * (n - 1) / 2 for a, n in ((x, SIZE[0]), (y, SIZE[1])))
    return cv2.remap(image, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)


def _mono(left: np.ndarray, right: np.ndarray) -> Eyes:
    return left[:, : SIZE[0]], np.ascontiguousarray(left[:, ::-1])


# name: (what is done to the eyes, the reason that is right)
FAULTS: dict[str, tuple[Callable[[np.ndarray, np.ndarray], Eyes], str]] = {
    "one picture twice": (lambda a, b: (a, a), "flat"),
    "mono: two halves of one picture": (_mono, "inconsistent"),
    "vertical offset, 4 pixels": (lambda a, b: (a, np.roll(b, 4, 0)), "vertical"),
    "radial distortion of one eye": (lambda a, b: (a, bent(b)), "vertical"),
    "black": (lambda a, b: (a // 24, b // 24), "black"),
}


def write(path: Path, frames: list[np.ndarray]) -> Path:
    """A video of frames, hardly compressed."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuvj444p"
        stream.bit_rate = 100_000_000  # else it is that of a thumbnail
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode(None))
    return path


def run() -> dict[str, Any]:
    """Good shots and faulty ones in one video; the good ones again with their eyes swapped."""
    left, right = clips()
    settings = stereo.StereoSettings(flow=2.0, range=3.0)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        side = lambda a, b: np.concatenate([a, b], 1)
        good = [[side(a, b) for a, b in zip(left[i], right[i], strict=True)] for i in range(CLIPS)]
        planted = []
        for k, (change, _) in enumerate(FAULTS.values()):
            for i in range(k * PER_FAULT, (k + 1) * PER_FAULT):
                planted.append([side(*change(a, b)) for a, b in zip(left[i], right[i], strict=True)])
        frames = [f for shot in (*good, *planted) for f in shot]
        index = stereo.convert_stereo(write(folder / "a.avi", frames), folder / "a", settings)
        # black shots in a row are one shot: each planted one is asked by its middle frame
        middle = [i * CLIP + CLIP // 2 for i in range(CLIPS + len(planted))]
        reasons = [next(s["reason"] for s in index["shots"] if s["first"] <= m <= s["last"]) for m in middle]
        kept = sum(r is None for r in reasons[:CLIPS])
        rows.append(_row("none: good shots", reasons[:CLIPS], [None]))
        for k, (name, (_, right_reason)) in enumerate(FAULTS.items()):
            start = CLIPS + k * PER_FAULT
            rows.append(_row(name, reasons[start : start + PER_FAULT], [right_reason]))
        turned = [side(b, a) for shot in range(CLIPS) for a, b in zip(left[shot], right[shot], strict=True)]
        again = stereo.convert_stereo(write(folder / "b.avi", turned), folder / "b", settings)
        rows.append({"fault": "swapped eyes (the whole video)", "found": "turned" if again["swapped"] else "not turned",
                     "shots": CLIPS, "right": bool(again["swapped"]) and not index["swapped"]})  # fmt: skip
    return {
        "rows": rows,
        "good_kept": kept / CLIPS,
        "config": {"flow": settings.flow, "range": settings.range},
    }


def _row(name: str, reasons: list[str | None], right: list[str | None]) -> dict[str, Any]:
    told = [r or "kept" for r in reasons]
    found = ", ".join(f"{t} ({told.count(t)})" for t in dict.fromkeys(told))
    return {"fault": name, "found": found, "shots": len(reasons), "right": all(r in right for r in reasons)}
