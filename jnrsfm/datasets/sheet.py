"""A sheet of paper or cloth that bends without stretching.

Each frame is a generalised cylinder: with rulings at angle a to the vertical and s the flat distance across
them, a point moves along a plane curve of tangent angle `theta(s)`,

    d(s) = (integral of cos theta, integral of sin theta),

so that every length measured along the sheet is kept exactly. The curvature `theta'` is a few cosines in s
with slowly changing weights, and the rulings turn slowly.
"""

import dataclasses

import numpy as np

from jnrsfm.datasets.config import DatasetConfig, within
from jnrsfm.datasets.motion import Motion, clip_lengths, drift, heading_of
from jnrsfm.errors import InputError


@dataclasses.dataclass(frozen=True)
class SheetConfig(DatasetConfig):
    """A sheet of `rows` by `cols` points, 1 by `aspect` (height by width) units; `bending` is the typical
    angle, in degrees, by which the tangent turns over the sheet."""

    rows: int = 6
    cols: int = 8
    aspect: float = 1.4
    bending: float = 100.0

    def __post_init__(self):
        """Check the values."""
        super().__post_init__()
        if self.rows < 2 or self.cols < 2:
            raise InputError(f"rows={self.rows}, cols={self.cols}: a sheet needs at least 2 of each")
        within(self, "aspect", 0.1, 10)
        within(self, "bending", 0, 240)


def grid_faces(rows: int, cols: int):
    """Triangles `(2 (rows - 1) (cols - 1), 3)` int32 of a grid whose points run along the rows."""
    corner = (np.arange(rows - 1)[:, None] * cols + np.arange(cols - 1)).ravel()
    upper = np.stack([corner, corner + cols, corner + 1], 1)
    lower = np.stack([corner + 1, corner + cols, corner + cols + 1], 1)
    return np.concatenate([upper, lower]).astype(np.int32)


def _bend(flat, angle, weights):
    """Isometric bending of `flat (point, 2)`: rulings at `angle (frame,)`, `weights (frame, mode)` radians.

    The tangent angle is `sum_k weights_k sin(k pi s / (2 r)) / k`, r the radius of the sheet; the curve is
    integrated by Simpson's rule on a fine grid, then read off by linear interpolation.
    """
    radius = np.linalg.norm(flat, axis=1).max()
    fine = np.linspace(-radius, radius, 401)
    middle = (fine[1:] + fine[:-1]) / 2
    k = np.arange(1, weights.shape[1] + 1)
    out = np.empty((len(angle), len(flat), 3))
    for f, (a, w) in enumerate(zip(angle, weights, strict=True)):

        def theta(s, w=w):
            return np.sin(np.multiply.outer(s, k) * np.pi / (2 * radius)) @ (w / k)

        ends, mids = np.exp(1j * theta(fine)), np.exp(1j * theta(middle))
        curve = np.concatenate([[0], np.cumsum((ends[1:] + 4 * mids + ends[:-1]) / 6)]) * (fine[1] - fine[0])
        curve -= np.interp(0.0, fine, curve.real) + 1j * np.interp(0.0, fine, curve.imag)
        across = np.cos(a) * flat[:, 0] + np.sin(a) * flat[:, 1]
        along = -np.sin(a) * flat[:, 0] + np.cos(a) * flat[:, 1]
        moved, depth = np.interp(across, fine, curve.real), np.interp(across, fine, curve.imag)
        out[f] = np.stack(
            [np.cos(a) * moved - np.sin(a) * along, np.sin(a) * moved + np.cos(a) * along, depth], 1
        )
    return out


def sheet(config: SheetConfig, rng: np.random.Generator) -> Motion:
    """Clips of a bending sheet; its parts that are hidden together are the quarters."""
    rows, cols = config.rows, config.cols
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, cols) * config.aspect, np.linspace(-0.5, 0.5, rows))
    flat = np.stack([u.ravel(), v.ravel()], 1)
    parts, headings = [], []
    lengths = clip_lengths(config.frames, config.clips)
    size = np.radians(config.bending) / 2
    for n in lengths:
        time = np.arange(n) / config.fps
        weights = np.stack([size * s * drift(rng, time, (1.5, 5.0)) for s in (0.8, 0.7, 0.5, 0.3)], 1)
        angle = rng.uniform(0, np.pi) + 0.5 * drift(rng, time)
        parts.append(_bend(flat, angle, weights))
        headings.append(heading_of(time, config.turning, rng))
    index = np.arange(rows * cols).reshape(rows, cols)
    neighbours = ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:]))
    edges = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in neighbours])
    halves = {"upper": index[: (rows + 1) // 2], "lower": index[rows // 2 :]}
    return Motion(
        points=np.concatenate(parts),
        heading=np.concatenate(headings),
        sequence=np.repeat(np.arange(config.clips, dtype=np.int32), lengths),
        names=tuple(f"row{r}_col{c}" for r in range(rows) for c in range(cols)),
        edges=edges.astype(np.int32),
        symmetric=None,
        groups={
            f"{name} {side}": tuple(int(i) for i in block.ravel())
            for name, half in halves.items()
            for side, block in (("left", half[:, : (cols + 1) // 2]), ("right", half[:, cols // 2 :]))
        },
    )
