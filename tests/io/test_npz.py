"""The npz schema: round trips, what each key means, and one clear line for each way to get it wrong."""

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.types import Cameras, Landmarks, Reconstruction

F, P = 5, 6


def clean(rng, **extra):
    """Keys of a small sound file."""
    return {"points2d": rng.normal(size=(F, P, 2)).astype(np.float32), **extra}


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def rotations(rng, n=F):
    q, _ = np.linalg.qr(rng.normal(size=(n, 3, 3)))
    return (q * np.sign(np.linalg.det(q))[:, None, None]).astype(np.float32)


def same_record(a, b):
    """All fields equal, arrays to the bit."""
    assert type(a) is type(b)
    for name in a.__dataclass_fields__:
        x, y = getattr(a, name), getattr(b, name)
        if isinstance(x, Cameras):
            same_record(x, y)
        elif hasattr(x, "shape"):
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=name)
            assert np.asarray(x).dtype == np.asarray(y).dtype, name
        else:
            assert x == y, name


def full_landmarks(rng):
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


def full_reconstruction(rng):
    return Reconstruction(
        points3d=rng.normal(size=(F, P, 3)).astype(np.float32),
        cameras=Cameras(
            rotations(rng),
            np.array([[0, 0, 9]] * F, np.float32),
            np.linspace(1, 2, F, dtype=np.float32),
            np.eye(3, dtype=np.float32),
            "perspective",
        ),
        visible=rng.random((F, P)) > 0.3,
        score=rng.random((F, P)).astype(np.float32),
        valid3d=rng.random((F, P)) > 0.0,
        sequence=np.array([0, 0, 1, 1, 1], np.int32),
        category=np.zeros(F, np.int32),
        mirror_margin=np.ones(F, np.float32),
        edges=np.array([[0, 1]], np.int32),
        symmetric=np.array([[0, 1]], np.int32),
        names=tuple("abcdef"),
        categories=("dog",),
        mirror="sequence",
        gauge="unit RMS",
    )


@pytest.mark.fast
def test_landmarks_round_trip(rng, tmp_path):
    landmarks = full_landmarks(rng)
    io.write_landmarks(tmp_path / "a.npz", landmarks)
    same_record(landmarks, io.read_landmarks(tmp_path / "a.npz"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_landmarks_with_reference_round_trip(rng, tmp_path):
    landmarks, reference = full_landmarks(rng), full_reconstruction(rng)
    io.write_landmarks(tmp_path / "a.npz", landmarks, reference)
    same_record(landmarks, io.read_landmarks(tmp_path / "a.npz"))
    back = io.read_reference(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.points3d, reference.points3d)
    np.testing.assert_array_equal(back.rotations, reference.rotations)


@pytest.mark.fast
def test_reconstruction_round_trip_and_reads_as_landmarks(rng, tmp_path):
    reconstruction = full_reconstruction(rng)
    io.write_reconstruction(tmp_path / "r.npz", reconstruction)
    same_record(reconstruction, io.read_reconstruction(tmp_path / "r.npz"))
    landmarks = io.read_landmarks(tmp_path / "r.npz")
    want = np.where(reconstruction.visible[..., None], reconstruction.points2d, 0)
    np.testing.assert_allclose(landmarks.points2d, want, rtol=1e-6)
    bare = Reconstruction(reconstruction.points3d, Cameras(reconstruction.rotations))
    io.write_reconstruction(tmp_path / "b.npz", bare)
    same_record(bare, io.read_reconstruction(tmp_path / "b.npz"))
