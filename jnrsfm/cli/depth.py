"""`lift` of a model of depth: a video of any length into a folder of depth maps, metres where depths are known."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.cli.answers import Answer
from jnrsfm.cli.progress import Progress
from jnrsfm.errors import InputError

PAGE = "depth.html"
_SHOWN = 24


def lift(
    run: Path, model: Any, video: Path, out: Path, known: Path | None, page: Path | None, quiet: bool
) -> Answer:
    """Depth of every frame, the flow by dense inverse search inside; a stopped one goes on after its last part."""
    from jnrsfm import metrics, report
    from jnrsfm.depth_maps import DepthMaps
    from jnrsfm.inputs import at_size
    from jnrsfm.io import depth

    if out.suffix:
        raise InputError(f"{out}: depth of a video is a folder of maps: give --out a name without an ending")
    frames = depth.open_frames(video)
    count, size = len(frames.names), tuple(int(x) for x in frames.sizes[0])
    points = None if known is None else depth.read_known(known, count, (size[0], size[1]))
    about = {"video": video.name, "frames": count, "size": list(size), "model": str(run.resolve().name)}
    folder, say = depth.DepthFolder(out, about), Progress(quiet)
    started = folder.done
    at_work = depth.depth_frames(frames, model.working, folder.done) if folder.done < count else iter(())
    while part := list(itertools.islice(at_work, depth.folder.PART)):
        rows = [at_size({"first": f.first, "second": f.second, "flow": f.flow}, model.size) for f in part]
        first, second, flow = (np.stack([r[name] for r in rows]) for name in ("first", "second", "flow"))
        q = model.inverse_depth(first, second, flow)
        # flow that does not lead to the next frame is not kept: the pair is the last of its shot
        ends = np.array([f.ends for f in part])
        flow = np.where(ends[:, None, None, None], 0, flow).astype(np.float32)
        number = np.array([f.number for f in part])
        folder.add(DepthMaps(q, first, flow, number, fps=getattr(frames, "fps", None)))
        say("depth", folder.done, count, started)
    if hasattr(frames, "close"):
        frames.close()
    said = _metres(folder, points, (size[0], size[1])) if points is not None else {}
    measured = _flicker(folder)
    folder.finish(flicker=measured, **said)
    shown = _shown(folder)
    quality = metrics.assess(None, shown)
    lines = [
        f"{count} frames of {size[0]} x {size[1]}: depth maps of {shown.size[0]} x {shown.size[1]} in {out}"
    ]
    lines.append(f"known: {shown.gauge}")
    if measured is not None:
        lines.append(
            f"flicker {measured[1]:.3f} a frame along the flow ({measured[0]:.3f} before scale and shift are fitted)"
        )
    contents = report.Contents(shown, quality=quality, settings=about, title=f"Depth of {video.name}")
    path = report.write_report(page or out / PAGE, contents)
    data = {"out": out, "page": path, "frames": count, "flicker": measured, **said, **shown.resolved}
    return Answer(data, "\n".join([*lines, f"open {path}"]))


def _flicker(folder: Any) -> list[float] | None:
    """Median flicker, raw and aligned, over the parts."""
    from jnrsfm import metrics

    found = [f for f in (metrics.clip_flicker(maps) for maps in folder.parts()) if f is not None]
    return np.median(np.array(found), 0).tolist() if found else None


def _shown(folder: Any) -> Any:
    """Frames for the page, spread over the video, two in a row each, so that flicker can be seen."""
    from jnrsfm.depth_maps import DepthMaps

    total = folder.done
    starts = np.unique(np.linspace(0, max(total - 2, 0), _SHOWN // 2).round().astype(int))
    wanted = np.unique(np.concatenate([starts, np.minimum(starts + 1, total - 1)]))
    rows: list[DepthMaps] = []
    for maps in folder.parts():
        here = np.flatnonzero(np.isin(np.asarray(maps.number), wanted))
        if len(here):
            rows.append(maps.select(here))
    names = [n for n in DepthMaps._per_frame if getattr(rows[0], n) is not None]
    return rows[0].replace(**{n: np.concatenate([np.asarray(getattr(r, n)) for r in rows]) for n in names})


def _metres(folder: Any, known: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Metres into the parts. A frame with three known depths or more has a line of its own; the others share one,
    through all known depths of the video: scale and shift drift a little from frame to frame, which its error bar
    holds as far as the points show it."""
    from jnrsfm.metrics.depth import known_line

    values: list[float] = []
    frame: list[int] = []
    for maps in folder.parts():
        for i in np.flatnonzero(np.isin(known.frame, np.asarray(maps.number))):
            row = int(np.flatnonzero(np.asarray(maps.number) == known.frame[i])[0])
            wide, high = maps.size
            x = min(int((known.pixels[i, 0] + 0.5) * wide / size[0]), wide - 1)
            y = min(int((known.pixels[i, 1] + 0.5) * high / size[1]), high - 1)
            values.append(float(maps.inverse_depth[row, y, x]))
            frame.append(int(i))
    order = np.argsort(frame)
    q = np.array(values)[order]
    shared = known_line(q, known.depth)
    own = {}
    for f in np.unique(known.frame):
        here = known.frame == f
        if here.sum() >= 3:
            own[int(f)] = known_line(q[here], known.depth[here])
    gauge = f"metres (the unit of {len(q)} known depths in {len(np.unique(known.frame))} frames)"
    for number, maps in enumerate(folder.parts()):
        found = [
            own.get(int(n), shared).metric(np.asarray(one, np.float64))
            for n, one in zip(np.asarray(maps.number), np.asarray(maps.inverse_depth), strict=True)
        ]
        metres, deviation = (
            np.stack([getattr(f, n) for f in found]).astype(np.float32) for n in ("depth", "deviation")
        )
        folder.replace(number, maps.replace(metres=metres, deviation=deviation, gauge=gauge))
    sure = bool(np.isfinite(shared.variance))
    return {"known": len(q), "scale_and_shift": [shared.scale, shared.shift], "error_bar": sure}
