"""The development data, every file: it reads, its reference explains its 2D, and it suffices for a fit."""

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError

pytestmark = pytest.mark.data

FOLDERS = (
    "short_sequences", "cmu_mocap", "animals", "cars", "category_shapes", "multi_category", "surfaces",
    "rigid", "real_tracks_2d", "dense_like",
)  # fmt: skip

# Largest distance of a visible point from the projected reference, as a fraction of the extent of the 2D:
# what the data's description documents (rounding where it names none), with a little room.
RESIDUAL = {
    "mouse_dannce_labels1": 0.015,  # lens distortion
    "sleap_mouse_3cam": 0.11,  # poor calibration
    "tshirt": 5e-4,
    "model_house": 0.015,
    "cheetah": 0.04,  # fisheye under a scaled-orthographic fit
    "dinosaur_real": 0.1,  # approximate reference
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_reads(data_dir, tmp_path, same_record, folder):
    files = sorted((data_dir / folder).glob("*.npz"))
    if not files:
        pytest.skip(f"{folder} is not here")
    for path in files:
        landmarks, reference = io.read_landmarks(path), io.read_reference(path)
        with np.load(path) as stored:
            assert landmarks.points2d.shape == stored["points2d"].shape
            assert (reference is not None) == ("points3d" in stored)
            if "clip" in stored:
                np.testing.assert_array_equal(landmarks.sequence, stored["clip"])
        camera = landmarks.camera
        if camera == "perspective" and landmarks.intrinsics is None:
            with pytest.raises(InputError, match="intrinsics"):
                io.check_landmarks(landmarks, camera, path.name)
            camera = "weak-perspective"
        io.check_landmarks(landmarks, camera, path.name)
        assert io.format_info(io.info(path))
        io.write_landmarks(tmp_path / "a.npz", landmarks, reference)
        same_record(landmarks, io.read_landmarks(tmp_path / "a.npz"))
        if reference is None:
            continue
        assert reference.mirror == "reference"
        known = np.array(landmarks.visible)
        if reference.valid3d is not None:
            known &= reference.valid3d
        gap = np.linalg.norm(np.asarray(reference.points2d) - landmarks.points2d, axis=-1)[known]
        extent = np.ptp(landmarks.points2d[known], axis=0).max()
        limit = next((v for k, v in RESIDUAL.items() if path.stem.startswith(k)), 2e-6)
        assert gap.max() <= limit * extent, (path.name, gap.max() / extent)


def test_matlab_row_orders_of_real_sequences(data_dir, tmp_path):
    """From W alone, the order of every smooth sequence is found."""
    for stem in ("drink", "pickup", "yoga", "shark", "walking", "face1"):
        path = data_dir / "short_sequences" / f"{stem}.npz"
        if not path.exists():
            pytest.skip("short_sequences is not here")
        landmarks = io.read_landmarks(path)
        for rows in ("interleaved", "blocked"):
            _write_without_the_word(tmp_path / "a.mat", landmarks, None, rows)
            back = io.read_landmarks(tmp_path / "a.mat")
            np.testing.assert_array_equal(back.points2d, landmarks.points2d, err_msg=f"{stem} {rows}")


def test_matlab_row_orders_of_random_cameras(data_dir, tmp_path):
    path = data_dir / "cmu_mocap" / "cmu_jumping.npz"
    if not path.exists():
        pytest.skip("cmu_mocap is not here")
    landmarks, reference = io.read_landmarks(path), io.read_reference(path)
    for rows in ("interleaved", "blocked"):
        _write_without_the_word(tmp_path / "a.mat", landmarks, reference, rows)
        np.testing.assert_array_equal(io.read_landmarks(tmp_path / "a.mat").points2d, landmarks.points2d)
        _write_without_the_word(tmp_path / "a.mat", landmarks, None, rows)
        with pytest.raises(InputError, match="rows='interleaved'"):
            io.read_landmarks(tmp_path / "a.mat")


def _write_without_the_word(path, landmarks, reference, rows):
    """A MATLAB file as others write it: no text that says the row order."""
    from scipy.io import loadmat, savemat

    io.write_landmarks(path, landmarks, reference, rows=rows)
    savemat(path, {k: v for k, v in loadmat(path).items() if k in ("W", "S", "Rs", "mask")})
