"""What is written is read back the same, in every format, and a failed write leaves nothing behind."""

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.types import Cameras, Reconstruction


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "options"), [("a.npz", {}), ("a.mat", {}), ("a.mat", {"rows": "blocked"})], ids=str
)
def test_landmarks_round_trip(landmarks, reconstruction, same_record, tmp_path, name, options):
    path = tmp_path / name
    io.write_landmarks(path, landmarks, **options)
    same_record(landmarks, io.read_landmarks(path))
    assert io.read_reference(path) is None
    io.write_landmarks(path, landmarks, reconstruction, **options)
    same_record(landmarks, io.read_landmarks(path))
    back = io.read_reference(path)
    np.testing.assert_allclose(back.camera_points, reconstruction.camera_points, rtol=1e-5, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.npz", "a.mat"])
def test_intrinsics_of_each_frame(landmarks, same_record, tmp_path, name):
    k = np.tile(landmarks.intrinsics, (5, 1, 1)) * np.array([1, 1, 1], np.float32)
    k[:, 0, 0] += np.arange(5)
    landmarks = landmarks.replace(intrinsics=k)
    io.write_landmarks(tmp_path / name, landmarks)
    same_record(landmarks, io.read_landmarks(tmp_path / name))


@pytest.mark.fast
def test_reconstruction_round_trip_and_reads_as_landmarks(reconstruction, same_record, tmp_path):
    io.write_reconstruction(tmp_path / "r.npz", reconstruction)
    same_record(reconstruction, io.read_reconstruction(tmp_path / "r.npz"))
    landmarks = io.read_landmarks(tmp_path / "r.npz")
    want = np.where(reconstruction.visible[..., None], reconstruction.points2d, 0)
    np.testing.assert_allclose(landmarks.points2d, want, rtol=1e-6)
    bare = Reconstruction(reconstruction.points3d, Cameras(reconstruction.rotations))
    io.write_reconstruction(tmp_path / "b.npz", bare)
    same_record(bare, io.read_reconstruction(tmp_path / "b.npz"))


@pytest.mark.fast
@pytest.mark.parametrize("name", ["a.npz", "a.mat"])
def test_an_affine_reference_of_perspective_views_survives(landmarks, reconstruction, tmp_path, name):
    scaled = Cameras(reconstruction.rotations, None, reconstruction.scale, None, "weak-perspective")
    reference = reconstruction.replace(cameras=scaled)
    io.write_landmarks(tmp_path / name, landmarks.replace(intrinsics=None), reference)
    assert io.read_landmarks(tmp_path / name).camera == "perspective"
    back = io.read_reference(tmp_path / name)
    assert back.cameras.model == "weak-perspective"
    np.testing.assert_allclose(back.rotations, reference.rotations, atol=1e-6)
    np.testing.assert_allclose(back.scale, reference.scale, rtol=1e-6)


def test_convert(landmarks, reconstruction, same_record, tmp_path):
    io.write_landmarks(tmp_path / "a.npz", landmarks, reconstruction)
    io.convert(tmp_path / "a.npz", tmp_path / "b.mat")
    io.convert(tmp_path / "b.mat", tmp_path / "c.npz")
    same_record(landmarks, io.read_landmarks(tmp_path / "c.npz"))
    empty = landmarks.replace(visible=landmarks.visible & (np.arange(5) != 2)[:, None])
    io.write_landmarks(tmp_path / "d.npz", empty, reconstruction)
    io.convert(tmp_path / "d.npz", tmp_path / "e.npz", drop_empty=True)
    kept = io.usable_frames(empty, "perspective")
    assert not kept[2]
    assert io.read_landmarks(tmp_path / "e.npz").n_frames == kept.sum()
    want = reconstruction.points3d[kept]
    np.testing.assert_array_equal(io.read_reference(tmp_path / "e.npz").points3d, want)


def test_reconstruction_refusals(reconstruction, landmarks, tmp_path):
    io.write_landmarks(tmp_path / "a.npz", landmarks)
    with pytest.raises(InputError, match=r"'points3d' is absent"):
        io.read_reconstruction(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", points3d=reconstruction.points3d)
    with pytest.raises(InputError, match=r"'rotations' is absent"):
        io.read_reconstruction(tmp_path / "b.npz")
    points = np.where(np.arange(5)[:, None, None] == 3, np.nan, reconstruction.points3d)
    with pytest.raises(InputError, match=r"frame 3.*not finite"):
        io.write_reconstruction(tmp_path / "c.npz", reconstruction.replace(points3d=points, valid3d=None))


def test_writing_is_all_or_nothing(landmarks, reconstruction, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="does not exist"):
        io.write_landmarks(tmp_path / "no" / "a.npz", landmarks)
    with pytest.raises(InputError, match="is a folder"):
        io.write_reconstruction(tmp_path, reconstruction)
    with pytest.raises(InputError, match=r"extension '.xyz'"):
        io.write_landmarks(tmp_path / "a.xyz", landmarks)
    with pytest.raises(InputError, match=r"rows='auto'"):
        io.write_landmarks(tmp_path / "a.mat", landmarks, rows="auto")
    path = tmp_path / "a.npz"
    path.write_bytes(b"before")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(InputError, match=r"a\.npz: cannot be written \(No space left on device\)"):
        io.write_landmarks(path, landmarks)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
