"""Two made-up categories in disjoint keypoint blocks, seen by cameras that stand upright around them."""

import numpy as np
import pytest

from jnrsfm.types import Cameras, Landmarks, Reconstruction

BLOCKS = {"table": 9, "bird": 11}


def samples(rng, each=80, hidden=0.1, names=tuple(BLOCKS)):
    """`(landmarks, reference)`: shapes of a mean and two modes, 10 % of the points hidden, in pixels."""
    n, p = each * len(names), sum(BLOCKS.values())
    points3d, defined, category = np.zeros((n, p, 3)), np.zeros((n, p), bool), np.zeros(n, int)
    made = np.random.default_rng(7)  # the categories themselves are always the same
    first = 0
    for c, (name, size) in enumerate(BLOCKS.items()):
        mean = made.normal(size=(size, 3)) * [1.0, 0.8, 0.6]
        modes = 0.25 * made.normal(size=(2, size, 3))
        if name in names:
            rows = slice(names.index(name) * each, (names.index(name) + 1) * each)
            shapes = mean + np.einsum("nk,kpi->npi", rng.normal(size=(each, 2)), modes)
            points3d[rows, first : first + size] = shapes - shapes.mean(1, keepdims=True)
            defined[rows, first : first + size] = True
            category[rows] = c
        first += size
    azimuth = rng.uniform(0, 2 * np.pi, n)
    elevation = np.deg2rad(rng.normal(20, 6, n))
    rotations = _turn(elevation, 0) @ _turn(azimuth, 1)
    camera = np.einsum("fpj,fij->fpi", points3d, rotations) * 40
    visible = defined & (rng.random((n, p)) >= hidden)
    visible |= defined & (visible.sum(1, keepdims=True) < 5)
    landmarks = Landmarks(
        points2d=np.where(visible[..., None], camera[..., :2] + 200, 0).astype(np.float32), visible=visible,
        defined=defined, category=category, categories=tuple(BLOCKS), camera="orthographic",
    )  # fmt: skip
    reference = Reconstruction(
        points3d * 40,
        Cameras(rotations, np.tile([200.0, 200.0, 0.0], (n, 1))),
        valid3d=defined,
        category=category,
        categories=tuple(BLOCKS),
    )
    return landmarks, reference


def _turn(angle, axis):
    """Rotations about x (0) or y (1)."""
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = (i, o, o, o, c, -s, o, s, c) if axis == 0 else (c, o, s, o, i, o, -s, o, c)
    return np.stack(rows, -1).reshape(-1, 3, 3)


@pytest.fixture(scope="session")
def make_categories():
    """`samples` above: `(rng, each, hidden, names) -> (landmarks, reference)`."""
    return samples
