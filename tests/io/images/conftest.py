"""Small images written to a folder."""

import numpy as np
import pytest


@pytest.fixture
def draw():
    """`draw(folder, names, size=(24, 16))`: images with their number as grey value; the folder."""
    from PIL import Image

    def write(folder, names, size=(24, 16)):
        folder.mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(names):
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (10 * i, 10 * i, 10 * i)).save(place)
        return folder

    return write


@pytest.fixture
def labels():
    """`labels(n, p)`: points inside 24 x 16 pixels."""

    def make(n, p):
        return np.random.default_rng(0).uniform([0, 0], [23, 15], (n, p, 2)).astype(np.float32)

    return make
