"""What is in a set of images: `describe_images` as plain values, `format_images` as text."""

from typing import Any

import numpy as np

from jnrsfm.types import LabelledImages


def describe_images(images: LabelledImages) -> dict[str, Any]:
    """What there is to say of a set of images, as plain values that JSON can hold.

    `images`, `files` (different names), `labelled` (images), `points`, `names`, `sizes` (`width`, `height`, `images`,
    the most frequent first), `visible` (share of the points of labelled images that they show), `by_point` (the same
    for each: `point`, `name`, `visible`), `fewest_visible` in a labelled image, `box_side` (least, median and greatest
    longer side of what is visible, in pixels, or None), `categories` (images by name, or None), `clips` (None, or
    `count`, `shortest`, `longest`), `boxes` (images that have one), `masks`, `edges`, `symmetric` (counts), `fps`.
    """
    landmarks = images.landmarks
    visible = np.asarray(landmarks.visible)
    defined = np.ones_like(visible) if landmarks.defined is None else np.asarray(landmarks.defined)
    labelled = images.labelled
    sizes, counts = np.unique(np.asarray(images.pixels.sizes), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    names = landmarks.names or tuple(str(p) for p in range(landmarks.n_points))
    share = lambda seen, of: float(seen.sum() / max(of.sum(), 1))
    clips = None
    if landmarks.sequence is not None:
        lengths = np.unique(np.asarray(landmarks.sequence), return_counts=True)[1]
        clips = {"count": len(lengths), "shortest": int(lengths.min()), "longest": int(lengths.max())}
    categories = None
    if landmarks.category is not None:
        of = landmarks.categories or tuple(str(c) for c in range(int(np.max(landmarks.category)) + 1))
        found = np.bincount(np.asarray(landmarks.category), minlength=len(of))
        categories = {str(name): int(count) for name, count in zip(of, found, strict=True)}
    return {
        "images": len(images),
        "files": len(set(images.pixels.names)),
        "labelled": int(labelled.sum()),
        "points": landmarks.n_points,
        "names": None if landmarks.names is None else list(landmarks.names),
        "sizes": [
            {"width": int(sizes[i, 0]), "height": int(sizes[i, 1]), "images": int(counts[i])} for i in order
        ],
        "visible": share(visible[labelled], defined[labelled]) if labelled.any() else None,
        "by_point": [
            {"point": p, "name": names[p], "visible": share(visible[labelled, p], defined[labelled, p])}
            for p in range(landmarks.n_points)
        ],
        "fewest_visible": int(visible[labelled].sum(1).min()) if labelled.any() else None,
        "box_side": _sides(images),
        "categories": categories,
        "clips": clips,
        "boxes": 0 if images.boxes is None else int(np.isfinite(images.boxes).all(1).sum()),
        "masks": images.masks is not None,
        "edges": 0 if landmarks.edges is None else len(landmarks.edges),
        "symmetric": 0 if landmarks.symmetric is None else len(landmarks.symmetric),
        "fps": landmarks.fps,
    }


def _sides(images: LabelledImages) -> dict[str, float] | None:
    if not images.labelled.any():
        return None
    chosen = images.landmarks.select(images.labelled)
    seen = np.asarray(chosen.visible)[..., None]
    points = np.asarray(chosen.points2d, float)
    extent = np.where(seen, points, -np.inf).max(1) - np.where(seen, points, np.inf).min(1)
    side = extent.max(1)
    return {"least": float(side.min()), "median": float(np.median(side)), "greatest": float(side.max())}


def format_images(found: dict[str, Any], rows: int = 20) -> str:
    """What `image_info` or `describe_images` found, as text for people; at most `rows` points, worst first."""
    lines = []

    def line(label: str, text: object) -> None:
        lines.append(f"{label:<14}{text}")

    if "path" in found:
        line("images in", f"{found['path']} ({found['format']})")
    same = found["files"] in (found["images"], 1)
    line("images", f"{found['images']}" + ("" if same else f", of {found['files']} names"))
    line("labelled", f"{found['labelled']} of {found['images']}")
    sizes = [f"{s['width']} x {s['height']} ({s['images']})" for s in found["sizes"]]
    line("sizes", ", ".join(sizes[:6]) + (f" and {len(sizes) - 6} more" if len(sizes) > 6 else ""))
    line("points", found["points"])
    line("skeleton", f"{found['edges']} edges, {found['symmetric']} left-right pairs")
    if found["visible"] is not None:
        line(
            "visible",
            f"{100 * found['visible']:.1f} % of the points, at least {found['fewest_visible']} an image",
        )
        side = found["box_side"]
        line("extent", f"{side['least']:.0f} to {side['greatest']:.0f} pixels, median {side['median']:.0f}")
    if found["clips"]:
        clips = found["clips"]
        line("clips", f"{clips['count']}, of {clips['shortest']} to {clips['longest']} images")
    else:
        line("clips", "none: single images")
    if found["fps"]:
        line("rate", f"{found['fps']:g} frames per second")
    if found["categories"]:
        line("categories", ", ".join(f"{name} {count}" for name, count in found["categories"].items()))
    line(
        "boxes",
        f"{found['boxes']} given" if found["boxes"] else "from the labels" if found["labelled"] else "none",
    )
    line("masks", "yes" if found["masks"] else "no")
    gaps = sorted((p for p in found["by_point"] if p["visible"] < 1), key=lambda p: p["visible"])
    if gaps and found["labelled"]:
        width = max(len(p["name"]) for p in gaps[:rows])
        lines.append(f"points with gaps ({len(gaps)} of {found['points']})")
        lines += [f"  {p['name']:<{width}}  {100 * p['visible']:5.1f} % visible" for p in gaps[:rows]]
        if len(gaps) > rows:
            lines.append(f"  and {len(gaps) - rows} more")
    if found["names"]:
        shown = found["names"][: 3 * rows]
        lines.append("names: " + ", ".join(shown) + (" ..." if len(found["names"]) > len(shown) else ""))
    return "\n".join(lines)
