"""Records with every field filled, and how to compare them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from jnrsfm.types import Cameras, Landmarks, Reconstruction

F, P = 5, 6


def _same_record(a, b):
    assert type(a) is type(b)
    for name in a.__dataclass_fields__:
        x, y = getattr(a, name), getattr(b, name)
        if isinstance(x, Cameras):
            _same_record(x, y)
        elif hasattr(x, "shape"):
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=name)
            assert np.asarray(x).dtype == np.asarray(y).dtype, name
        else:
            assert x == y, name


@pytest.fixture
def same_record():
    """Asserts that all fields are equal, arrays to the bit and in their type."""
    return _same_record


@pytest.fixture
def rotations(rng):
    """Proper random rotations."""
    q, _ = np.linalg.qr(rng.normal(size=(F, 3, 3)))
    return (q * np.sign(np.linalg.det(q))[:, None, None]).astype(np.float32)


@pytest.fixture
def landmarks(rng):
    """Perspective landmarks with gaps."""
    visible = rng.random((F, P)) > 0.3
    return Landmarks(
        points2d=np.where(visible[..., None], rng.normal(size=(F, P, 2)), 0).astype(np.float32),
        visible=visible,
        confidence=rng.uniform(0.1, 1, (F, P)).astype(np.float32),
        defined=np.ones((F, P), bool),
        intrinsics=np.array([[500, 1, 320], [0, 500, 240], [0, 0, 1]], np.float32),
        sequence=np.array([0, 0, 0, 3, 3], np.int32),
        category=np.array([1, 1, 0, 0, 1], np.int32),
        edges=np.array([[0, 1], [1, 2]], np.int32),
        symmetric=np.array([[3, 4]], np.int32),
        names=tuple("abcdéf"),
        categories=("dog", "cat"),
        camera="perspective",
        fps=25.0,
    )


@pytest.fixture
def reconstruction(rng, rotations):
    """A perspective reconstruction."""
    return Reconstruction(
        points3d=rng.normal(size=(F, P, 3)).astype(np.float32),
        cameras=Cameras(
            rotations,
            np.array([[0, 0, 9]] * F, np.float32),
            np.linspace(1, 2, F, dtype=np.float32),
            np.eye(3, dtype=np.float32),
            "perspective",
        ),
        visible=rng.random((F, P)) > 0.3,
        score=rng.random((F, P)).astype(np.float32),
        valid3d=np.ones((F, P), bool),
        sequence=np.array([0, 0, 1, 1, 1], np.int32),
        category=np.zeros(F, np.int32),
        mirror_margin=np.ones(F, np.float32),
        edges=np.array([[0, 1]], np.int32),
        symmetric=np.array([[0, 1]], np.int32),
        names=tuple("abcdéf"),
        categories=("dog",),
        mirror="sequence",
        gauge="unit RMS",
    )


@pytest.fixture(scope="session")
def tools() -> ModuleType:
    """The module `tools.py` beside this file: small files in the layouts of other tools."""
    spec = importlib.util.spec_from_file_location("io_tools", Path(__file__).with_name("tools.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
