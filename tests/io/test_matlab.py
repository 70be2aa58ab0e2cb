"""MATLAB files: both row orders, versions 5 and 7.3, gaps, and when the order cannot be told."""

import builtins

import numpy as np
import pytest
from scipy.io import savemat

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.io.matlab import to_frames, to_rows

F, P = 24, 9
ORDERS = ("interleaved", "blocked")


@pytest.fixture
def scene(rng):
    """A bending body under a camera that turns 6 degrees a frame: 3D, rotations, image."""
    base, mode = rng.normal(size=(2, P, 3))
    shape = base + 0.2 * np.sin(np.arange(F) / 4)[:, None, None] * mode
    angle = np.deg2rad(6 * np.arange(F))
    c, s, o, i = np.cos(angle), np.sin(angle), 0 * angle, 0 * angle + 1
    r = np.stack([np.stack([c, o, s], -1), np.stack([o, i, o], -1), np.stack([-s, o, c], -1)], 1)
    return shape, r, np.einsum("fpj,fij->fpi", shape, r)[..., :2]


def variables(scene, rows):
    shape, r, image = scene
    cameras = to_rows(r[:, :2].transpose(0, 2, 1), rows)
    return {"W": to_rows(image, rows), "S": to_rows(shape, rows), "Rs": cameras}


def save_hdf5(path, arrays):
    """As MATLAB 7.3 does: 512 bytes of header, axes reversed, the class as an attribute."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays.items():
            if isinstance(value, str):
                data, kind = np.frombuffer(value.encode("utf-16-le"), "<u2")[:, None], "char"
            elif isinstance(value, list):
                refs = []
                for i, text in enumerate(value):
                    cell = file.create_dataset(
                        f"#refs#/{name}{i}", data=np.frombuffer(text.encode("utf-16-le"), "<u2")[:, None]
                    )
                    refs.append(cell.ref)
                data, kind = np.array(refs, h5py.ref_dtype)[None], "cell"
            else:
                value = np.asarray(value)
                data, kind = value.T.astype(np.uint8 if value.dtype == bool else value.dtype), "double"
            file.create_dataset(name, data=data).attrs["MATLAB_class"] = np.bytes_(kind)
    with open(path, "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(512))
    return path


def save_classic(path, arrays):
    savemat(path, {k: np.array(v, object) if isinstance(v, list) else v for k, v in arrays.items()})
    return path


@pytest.mark.fast
def test_row_orders_by_hand():
    interleaved = np.array([[1, 2], [10, 20], [3, 4], [30, 40], [5, 6], [50, 60]])  # x1 y1 x2 y2 x3 y3
    blocked = interleaved[[0, 2, 4, 1, 3, 5]]
    for order, w in zip(ORDERS, (interleaved, blocked), strict=True):
        frames = to_frames(w, 2, order)
        np.testing.assert_array_equal(frames[1], [[3, 30], [4, 40]])
        np.testing.assert_array_equal(to_rows(frames, order), w)
    np.testing.assert_array_equal(to_frames(frames.transpose(2, 1, 0), 2, "either"), frames)


@pytest.mark.fast
@pytest.mark.parametrize("save", [save_classic, save_hdf5])
@pytest.mark.parametrize("rows", ORDERS)
@pytest.mark.parametrize("keep", [("W", "S", "Rs"), ("W", "Rs"), ("W",), ("S", "Rs")])
def test_the_order_is_found(scene, tmp_path, save, rows, keep):
    path = save(tmp_path / "a.mat", {k: v for k, v in variables(scene, rows).items() if k in keep})
    shape, r, image = scene
    np.testing.assert_allclose(io.read_landmarks(path).points2d, image, rtol=1e-6, atol=1e-6)
    reference = io.read_reference(path)
    if "S" not in keep:
        assert reference is None
        return
    np.testing.assert_allclose(reference.points3d, shape, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(reference.rotations, r, atol=1e-6)


@pytest.mark.parametrize("rows", ORDERS)
def test_camera_frame_shapes_without_cameras(scene, tmp_path, rows):
    shape, r, image = scene
    seen = np.einsum("fpj,fij->fpi", shape, r)
    path = save_classic(tmp_path / "a.mat", {"W": to_rows(image, rows), "P3_gt": to_rows(seen, rows)})
    reference = io.read_reference(path)
    np.testing.assert_allclose(reference.points3d, seen, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(reference.rotations, np.tile(np.eye(3), (F, 1, 1)))


def test_unordered_frames_ask_for_the_option(scene, rng, tmp_path):
    image = rng.normal(size=(F, P, 2))
    path = save_classic(tmp_path / "a.mat", {"W": to_rows(image, "blocked")})
    with pytest.raises(InputError, match=r"a\.mat.*--option rows=interleaved.*rows=blocked"):
        io.read_landmarks(path)
    for rows in ORDERS:
        want = to_frames(to_rows(image, "blocked"), 2, rows)
        np.testing.assert_allclose(io.read_landmarks(path, rows=rows).points2d, want, rtol=1e-6)
    with pytest.raises(InputError, match="rows='columns'"):
        io.read_landmarks(path, rows="columns")
    with pytest.raises(InputError, match=r"no option 'row'.*rows"):
        io.read_landmarks(path, row="blocked")


def test_arrays_of_three_axes(scene, tmp_path):
    shape, r, image = scene
    arrays = {"W": image.transpose(2, 1, 0), "S": shape.transpose(2, 1, 0), "Rs": r.transpose(1, 2, 0)}
    path = save_classic(tmp_path / "a.mat", arrays)
    np.testing.assert_allclose(io.read_landmarks(path).points2d, image, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(io.read_reference(path).rotations, r, atol=1e-6)


@pytest.mark.parametrize("save", [save_classic, save_hdf5])
@pytest.mark.parametrize("how", ["nan", "mask", "M", "rows of W", "MD"])
def test_gaps(scene, rng, tmp_path, how, save):
    visible = rng.random((F, P)) > 0.2
    arrays = variables(scene, "interleaved")
    if how == "nan":
        arrays["W"] = to_rows(np.where(visible[..., None], scene[2], np.nan))
    elif how == "rows of W":
        arrays["mask"] = np.repeat(visible, 2, axis=0)
    elif how == "MD":
        arrays["MD"] = ~visible
    else:
        arrays[how] = visible.astype(float)
    landmarks = io.read_landmarks(save(tmp_path / "a.mat", arrays))
    np.testing.assert_array_equal(landmarks.visible, visible)
    assert (landmarks.points2d[~visible] == 0).all()


def test_a_motion_matrix_called_m_is_no_mask(scene, tmp_path):
    arrays = {**variables(scene, "blocked"), "M": np.ones((2 * F, 12))}
    assert io.read_landmarks(save_classic(tmp_path / "a.mat", arrays)).visible.all()


def test_scaled_cameras_become_scale(scene, tmp_path):
    shape, r, image = scene
    scale = np.linspace(2, 3, F)
    arrays = variables((shape, r * scale[:, None, None], image * scale[:, None, None]), "interleaved")
    reference = io.read_reference(save_classic(tmp_path / "a.mat", arrays))
    np.testing.assert_allclose(reference.scale, scale, rtol=1e-6)
    np.testing.assert_allclose(reference.rotations, r, atol=1e-6)


@pytest.mark.parametrize("save", [save_classic, save_hdf5])
def test_edges_count_from_one_and_names_are_cells(scene, tmp_path, save):
    arrays = {
        **variables(scene, "blocked"),
        "list": np.array([[1.0, 2], [8, 9]]),
        "names": [f"p{i}é" for i in range(P)],
    }
    landmarks = io.read_landmarks(save(tmp_path / "a.mat", arrays))
    np.testing.assert_array_equal(landmarks.edges, [[0, 1], [7, 8]])
    assert landmarks.names == tuple(f"p{i}é" for i in range(P))
    arrays["list"] = np.array([[0.0, 1], [7, 8], [2, 3]]).T  # 0 says that the author counts from 0
    np.testing.assert_array_equal(
        io.read_landmarks(save(tmp_path / "b.mat", arrays)).edges, [[0, 1], [7, 8], [2, 3]]
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"W": None}, ["'W'", "absent", "Rs"]),
        ({"W": np.ones((2 * F + 1, P))}, ["'W'", "(49, 9)"]),
        ({"W": np.ones((3, 3, 3))}, ["'W'", "(3, 3, 3)"]),
        ({"W": "text"}, ["'W'", "<U4"]),
        ({"W": np.ones((2 * F, P), complex)}, ["'W'", "complex"]),
        ({"W": np.full((2 * F, P), np.inf)}, ["'W'", "infinite"]),
        ({"W": {"a": 1}}, ["'W'"]),
        ({"S": np.ones((3 * F, P + 1))}, ["'S'", "(24, 10)", "(24, 9)"]),
        ({"Rs": np.ones((F, 3))}, ["'Rs'", "(24, 3)"]),
        ({"Rs": np.full((2 * F, 3), np.nan)}, ["'Rs'", "NaN"]),
        ({"Rs": np.ones((2 * F, 3))}, ["'Rs'", "not a rotation"]),
        ({"mask": np.ones((F, P - 1))}, ["'mask'", "(24, 8)"]),
        ({"mask": np.full((F, P), 0.5)}, ["'mask'", "0 and 1"]),
        ({"list": np.array([[1, 10]])}, ["'list'", "point 9"]),
        ({"names": np.arange(P)}, ["'names'", "text"]),
    ],
)
def test_one_clear_line(scene, tmp_path, change, words):
    arrays = {**variables(scene, "interleaved"), "rows": "interleaved", **change}
    if change.get("W", 0) is None:
        del arrays["W"], arrays["S"]
    path = save_classic(tmp_path / "a.mat", arrays)
    with pytest.raises(InputError) as error:
        io.info(path)
    message = str(error.value)
    assert "\n" not in message
    for word in [str(path), *words]:
        assert word in message, message


def test_broken_files(scene, tmp_path):
    path = save_classic(tmp_path / "a.mat", variables(scene, "blocked"))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:100], b"not a file of MATLAB at all" * 9):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.mat"):
            io.read_landmarks(path)
    path = save_hdf5(tmp_path / "b.mat", variables(scene, "blocked"))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"b\.mat: cannot be read as (a MATLAB file|HDF5)"):
        io.read_landmarks(path)


def test_without_h5py_the_extra_is_named(scene, tmp_path, monkeypatch):
    path = save_hdf5(tmp_path / "a.mat", variables(scene, "blocked"))
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="pip install h5py"):
        io.read_landmarks(path)
