"""A contact sheet of labelled images: crops in a grid, landmarks and edges drawn in."""

import colorsys
import io
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import runs
from jnrsfm.pixels import cut, library
from jnrsfm.types import LabelledImages

MOST = 36
"""Crops on a sheet."""
GAP = 4
CAPTION = 14
ROOM = 1.3
"""Side of a crop over the longer side of what it shows."""
LEAST = 0.2
"""Side of a crop over the longer side of the image, where a point or two are labelled."""
INK, PAPER = (235, 235, 235), (24, 24, 24)


def contact_sheet(images: LabelledImages, most: int = MOST, side: int = 176) -> np.ndarray:
    """`(height, width, 3)` uint8: at most `most` crops of `side` pixels, spread evenly over the labelled images (over
    all where none is), around box or labels; each point in the colour of its number. Raises InputError for images that
    cannot be decoded."""
    pil = library()
    chosen = np.flatnonzero(images.labelled) if images.labelled.any() else np.arange(len(images))
    if len(chosen) > most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, most).round().astype(int)]
    columns = int(np.ceil(np.sqrt(len(chosen))))
    rows = -(-len(chosen) // columns)
    step = (side + GAP, side + CAPTION + GAP)
    sheet = pil.Image.new("RGB", (columns * step[0] + GAP, rows * step[1] + GAP), PAPER)
    draw = pil.ImageDraw.Draw(sheet)
    font = pil.ImageFont.load_default(10)
    names = images.pixels.names
    for k, i in enumerate(chosen.tolist()):
        x, y = GAP + (k % columns) * step[0], GAP + (k // columns) * step[1]
        crop = pil.Image.fromarray(_crop(images, i, side))
        sheet.paste(crop, (x, y))
        name = names[i] if len(names[i]) <= side // 6 else "..." + names[i][3 - side // 6 :]
        draw.text((x + 2, y + side + 1), name, fill=INK, font=font)
    return np.asarray(sheet)


def write_contact_sheet(path: str | Path, images: LabelledImages, most: int = MOST) -> Path:
    """Write the sheet as PNG, whole or not at all. Raises InputError."""
    stream = io.BytesIO()
    library().Image.fromarray(contact_sheet(images, most)).save(stream, "PNG")
    return runs.write_file(path, stream.getvalue())


def _crop(images: LabelledImages, i: int, side: int) -> np.ndarray:
    """One crop with its labels, drawn at twice its size and shrunk, for smooth lines."""
    pil = library()
    landmarks = images.landmarks
    seen = np.asarray(landmarks.visible)[i]
    points = np.asarray(landmarks.points2d, np.float64)[i]
    width, height = (float(n) for n in images.pixels.sizes[i])
    box = None if images.boxes is None else np.asarray(images.boxes, np.float64)[i]
    if (box is None or not np.isfinite(box).all()) and seen.any():
        box = np.concatenate([points[seen].min(0), points[seen].max(0)])
    if box is None or not np.isfinite(box).all():
        centre, extent = np.array([width - 1, height - 1]) / 2, max(width, height)
    else:
        centre = (box[:2] + box[2:]) / 2
        extent = max(ROOM * float((box[2:] - box[:2]).max()), LEAST * max(width, height))
    image = pil.Image.fromarray(cut(images.pixels.read(i), centre, extent, 2 * side))
    draw = pil.ImageDraw.Draw(image)
    at = ((points - centre) / extent + 0.5) * 2 * side - 0.5
    n = max(len(points), 1)
    colours = [_colour(p / n) for p in range(n)]
    for a, b in [] if landmarks.edges is None else np.asarray(landmarks.edges).tolist():
        if seen[a] and seen[b]:
            draw.line([tuple(at[a]), tuple(at[b])], fill=_mixed(colours[a], colours[b]), width=3)
    for p in np.flatnonzero(seen).tolist():
        px, py = at[p]
        draw.ellipse([px - 6, py - 6, px + 6, py + 6], fill=colours[p], outline=(0, 0, 0))
    return np.asarray(image.resize((side, side), pil.Image.Resampling.BOX))


def _colour(share: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(0.9 * share, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _mixed(a: Any, b: Any) -> tuple[int, int, int]:
    return (a[0] + b[0]) // 2, (a[1] + b[1]) // 2, (a[2] + b[2]) // 2
