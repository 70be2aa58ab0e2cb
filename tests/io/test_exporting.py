"""Results in the files of other tools: read back by our readers, and by the tools' own libraries where present."""

import json
import shutil
import struct
import subprocess

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.types import Cameras, Landmarks, Reconstruction

pytestmark = pytest.mark.fast
F = 7
NAMES = ("hip", "left knee", "right knee", "left foot", "right foot")
EDGES = np.array([[0, 1], [0, 2], [1, 3], [2, 4]], np.int32)


@pytest.fixture
def result(rng):
    """Stiff bones that turn, under a camera that turns: one point is unknown in two frames."""

    def chain(root, angles, lengths):
        out, turn = [root], 0.0
        for angle, length in zip(angles, lengths, strict=True):
            turn = turn + angle
            step = np.stack([0.3 + 0 * turn, np.cos(turn), np.sin(turn)], -1)
            out.append(out[-1] + length * step / np.linalg.norm(step, axis=-1, keepdims=True))
        return out

    t = np.linspace(0, 2, F)
    root = np.stack([t, 0 * t, 0 * t], -1)
    _, b, d = chain(root, [0.5 * np.sin(t), 0.6 * t], [1.0, 0.8])
    _, c, e = chain(root, [-0.5 * np.sin(t) - 0.4, 0.5 * t], [1.0, 0.8])
    points = np.stack([root, b, c, d, e], 1).astype(np.float32)
    angle = 0.2 * t
    o, i = 0 * t, 0 * t + 1
    r = np.stack([np.stack([np.cos(angle), o, np.sin(angle)], -1), np.stack([o, i, o], -1),
                  np.stack([-np.sin(angle), o, np.cos(angle)], -1)], 1).astype(np.float32)  # fmt: skip
    valid = np.ones((F, 5), bool)
    valid[[2, 3], 4] = False
    visible = valid & (rng.random((F, 5)) > 0.2)
    return Reconstruction(
        points, Cameras(r, scale=np.full(F, 2.0, np.float32), model="weak-perspective"), visible=visible,
        score=rng.uniform(0, 0.1, (F, 5)).astype(np.float32), valid3d=valid, edges=EDGES, names=NAMES,
        frame_index=np.arange(10, 10 + F, dtype=np.int32),
    )  # fmt: skip


@pytest.fixture
def stored(result, tmp_path):
    result.save(tmp_path / "reconstruction.npz")
    return tmp_path / "reconstruction.npz"


def camera_points(result):
    points = np.array(result.camera_points)
    return np.where(np.asarray(result.valid3d)[..., None], points, np.nan)


UP = np.array([1, -1, -1])


@pytest.mark.parametrize(
    ("name", "turn", "gaps"),
    [("a.csv", 1, True), ("a.long.csv", 1, True), ("a.anipose.csv", 1, True), ("a.trc", UP, True), ("a_3d.h5", 1, True),
     ("a.nc", 1, True), ("a.kpms.h5", 1, True), ("a.bvh", UP, False)],
)  # fmt: skip
def test_there_and_back_by_our_own_readers(result, stored, tmp_path, name, turn, gaps):
    if name.endswith((".h5", ".nc")):
        pytest.importorskip("h5py")
    (path,) = io.convert(stored, tmp_path / name)
    pose = io.parse(path)
    want = camera_points(result) * turn
    assert pose.world
    order = [pose.names.index(n.replace(" ", "_") if name == "a.bvh" else n) for n in NAMES]
    have = pose.points[:, 0][:, order]
    known = np.isfinite(want)
    np.testing.assert_allclose(have[known], want[known], atol=2e-5)
    if gaps:
        np.testing.assert_array_equal(np.isfinite(have), known)
    if name.endswith(("csv", "h5", ".nc")):
        score = pose.confidence[:, 0][:, order]
        seen = np.asarray(result.visible)
        assert (score[seen] > 0.85).all()
        assert (score[~seen & np.asarray(result.valid3d)] <= 0.5).all()
    reference = io.read_reference(path)
    assert (reference.valid3d is not None) == gaps
    assert "3D points" in io.info(path)["problem"]


def test_bvh_keeps_bones_and_says_nothing_of_gaps(result, tmp_path):
    """A figure whose bones stretch comes back with bones of constant length, near where it was."""
    points = np.array(result.points3d)
    points[3] *= 1.05
    (path,) = io.convert(_saved(result.replace(points3d=points, valid3d=None), tmp_path), tmp_path / "a.bvh")
    pose = io.parse(path)
    have = pose.points[:, 0]
    length = np.linalg.norm(
        have[:, [a for a, _ in pose.edges]] - have[:, [b for _, b in pose.edges]], axis=-1
    )
    np.testing.assert_allclose(length, np.broadcast_to(length[0], length.shape), rtol=1e-4)
    with pytest.raises(InputError, match="BVH needs a skeleton"):
        io.convert(_saved(result.replace(edges=None), tmp_path), tmp_path / "b.bvh")


def _saved(result, tmp_path):
    result.save(tmp_path / "other.npz")
    return tmp_path / "other.npz"


def test_glb_is_sound_gltf(result, stored, tmp_path):
    (path,) = io.convert(stored, tmp_path / "a.glb")
    data = path.read_bytes()
    magic, version, total = struct.unpack("<4sII", data[:12])
    assert (magic, version, total) == (b"glTF", 2, len(data))
    length, kind = struct.unpack("<I4s", data[12:20])
    assert kind == b"JSON"
    scene = json.loads(data[20 : 20 + length])
    size, kind = struct.unpack("<I4s", data[20 + length : 28 + length])
    assert kind == b"BIN\0"
    binary = data[28 + length :]
    assert len(binary) == size == scene["buffers"][0]["byteLength"]
    assert len(scene["nodes"]) == len(NAMES) + len(EDGES)

    def array(number):
        a = scene["accessors"][number]
        view = scene["bufferViews"][a["bufferView"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[a["type"]]
        kind = {5126: "<f4", 5123: "<u2"}[a["componentType"]]
        assert view["byteOffset"] % 4 == 0
        out = np.frombuffer(binary, kind, a["count"] * width, view["byteOffset"]).reshape(-1, width)
        assert out.nbytes == view["byteLength"]
        for bound, found in (("min", out.min(0)), ("max", out.max(0))):
            if bound in a:
                np.testing.assert_allclose(a[bound], found, rtol=1e-6)
        return out

    animation = scene["animations"][0]
    want = camera_points(result) * UP
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        times, values = array(sampler["input"]), array(sampler["output"])
        assert len(times) == len(values) == F
        assert (np.diff(times[:, 0]) > 0).all()
        node, what = channel["target"]["node"], channel["target"]["path"]
        if node < len(NAMES) and what == "translation":
            known = np.isfinite(want[:, node]).all(-1)
            np.testing.assert_allclose(values[known], want[known, node], atol=1e-5)
        if what == "rotation":
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)
            a, b = EDGES[node - len(NAMES)]
            x, y, z, w = values.T
            along = np.stack([2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)], -1)
            way = want[:, b] - want[:, a]
            way /= np.linalg.norm(way, axis=-1, keepdims=True)
            known = np.isfinite(way).all(-1)
            np.testing.assert_allclose(along[known], way[known], atol=1e-4)
    for mesh in scene["meshes"]:
        part = mesh["primitives"][0]
        assert array(part["indices"]).max() < len(array(part["attributes"]["POSITION"]))


def test_units_by_an_edge(result, stored, tmp_path):
    (path,) = io.convert(stored, tmp_path / "a.trc", scale_by="hip-left knee=0.45")
    points = io.parse(path).points[:, 0]
    np.testing.assert_allclose(np.linalg.norm(points[:, 0] - points[:, 1], axis=-1), 0.45, rtol=1e-4)
    (path,) = io.convert(stored, tmp_path / "a.trc", scale_by="2=0.2")
    points = io.parse(path).points[:, 0]
    np.testing.assert_allclose(np.linalg.norm(points[:, 1] - points[:, 3], axis=-1), 0.2, rtol=1e-4)
    for wish, says in (("hip=1", "there is no edge 'hip'"), ("hip-left knee", "give an edge and its length"),
                       ("hip-left knee=-1", "give an edge and its length")):  # fmt: skip
        with pytest.raises(InputError, match=says):
            io.convert(stored, tmp_path / "a.trc", scale_by=wish)


def test_a_file_for_each_clip(result, tmp_path):
    sequence = np.array([0, 0, 0, 1, 1, 1, 1], np.int32)
    files = io.convert(_saved(result.replace(sequence=sequence), tmp_path), tmp_path / "a.trc")
    assert [f.name for f in files] == ["a_0.trc", "a_1.trc"]
    assert [io.parse(f).n_frames for f in files] == [3, 4]


def test_a_run_folder(result, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    result.save(run / "reconstruction.npz")
    landmarks = Landmarks(np.asarray(result.points2d), np.asarray(result.visible), names=NAMES, fps=50.0)
    io.write_landmarks(run / "landmarks.npz", landmarks)
    (path,) = io.convert(run, tmp_path / "a.trc")
    assert io.parse(path).fps == 50
    io.convert(run, tmp_path / "b.npz")
    back = io.read_landmarks(tmp_path / "b.npz")
    np.testing.assert_array_equal(back.visible, result.visible)
    assert io.read_reference(tmp_path / "b.npz") is not None
    with pytest.raises(InputError, match="unknown format to write 'fbx': choose from npz"):
        io.convert(run, tmp_path / "a.fbx", to="fbx")


@pytest.mark.parametrize("name", ["a.csv", "a.long.csv", "aDLC.csv", "a.nc", "a.h5"])
def test_landmarks_too(landmarks, tmp_path, name):
    pytest.importorskip("h5py")
    landmarks = landmarks.replace(sequence=None, names=tuple("abcdef"))
    io.write_landmarks(tmp_path / "in.npz", landmarks)
    (path,) = io.convert(tmp_path / "in.npz", tmp_path / name)
    back = io.read_landmarks(path, min_confidence=0)
    np.testing.assert_array_equal(back.visible, landmarks.visible)
    np.testing.assert_allclose(back.points2d, landmarks.points2d, atol=1e-5)
    np.testing.assert_allclose(back.weights, landmarks.weights, atol=1e-5)
    assert back.names == landmarks.names
    with pytest.raises(InputError, match="trc holds 3D"):
        io.convert(tmp_path / "in.npz", tmp_path / "a.trc")


def test_a_reference_from_file_to_file_keeps_its_axes(result, stored, tmp_path):
    (trc,) = io.convert(stored, tmp_path / "a.trc")
    (again,) = io.convert(trc, tmp_path / "b.trc")
    np.testing.assert_allclose(io.parse(again).points, io.parse(trc).points, rtol=1e-6)
    with pytest.raises(InputError, match="holds 3D points, no landmarks: write one of"):
        io.convert(trc, tmp_path / "b.npz")


# ---------------------------------------------------------------- the tools' own libraries


def test_pandas_opens_the_table_of_deeplabcut(result, stored, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    (path,) = io.convert(stored, tmp_path / "a_3d.h5")
    table = pandas.read_hdf(path, "df_with_missing")
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    xyz = table.xs("jnrsfm", axis=1, level="scorer")["left knee"][["x", "y", "z"]].to_numpy()
    np.testing.assert_allclose(xyz, camera_points(result)[:, 1], rtol=1e-6)
    assert table.index.tolist() == list(range(10, 10 + F))
    # And back: what pandas writes, in both of its layouts, is read.
    for layout in ("fixed", "table"):
        table.to_hdf(tmp_path / "b.h5", key="df_with_missing", mode="w", format=layout)
        np.testing.assert_allclose(
            io.parse(tmp_path / "b.h5").points[:, 0, 1], camera_points(result)[:, 1], rtol=1e-6
        )


@pytest.mark.filterwarnings("ignore:numpy.ndarray size changed")  # netCDF4 says this of every newer NumPy
def test_xarray_and_movement_open_the_dataset(result, stored, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    (path,) = io.convert(stored, tmp_path / "a.nc")
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert data.position.dims == ("time", "space", "keypoints", "individuals")
        assert data.keypoints.to_numpy().tolist() == list(NAMES)
        have = data.position.transpose("time", "keypoints", "space", "individuals").to_numpy()[..., 0]
        np.testing.assert_allclose(have, camera_points(result), rtol=1e-6)
        assert data.attrs["source_software"] == "jnrsfm"
        assert float(data.attrs["fps"]) == 30
    validators = pytest.importorskip("movement.validators.datasets")
    with xarray.open_dataset(path) as data:
        validators.ValidPosesInputs.validate(data)


def test_ezc3d_writes_and_reads(result, stored, tmp_path):
    ezc3d = pytest.importorskip("ezc3d")
    (path,) = io.convert(stored, tmp_path / "a.c3d")
    want = camera_points(result) * UP
    found = ezc3d.c3d(str(path))
    assert found["parameters"]["POINT"]["LABELS"]["value"] == list(NAMES)
    np.testing.assert_allclose(found["data"]["points"][:3].transpose(2, 1, 0), want, rtol=1e-5, atol=1e-6)
    pose = io.parse(path)
    assert pose.names == NAMES
    np.testing.assert_allclose(pose.points[:, 0], want, rtol=1e-5, atol=1e-6)
    assert pose.fps == 30


def test_c3d_without_its_library_is_one_line(stored, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ezc3d", None)
    with pytest.raises(InputError, match="pip install ezc3d"):
        io.convert(stored, tmp_path / "a.c3d")


def test_trimesh_opens_the_scene(stored, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    (path,) = io.convert(stored, tmp_path / "a.glb")
    scene = trimesh.load(path)
    assert len(scene.graph.nodes_geometry) == len(NAMES) + len(EDGES)


VALIDATE = """require("gltf-validator").validateBytes(new Uint8Array(require("fs").readFileSync(process.argv[1])))
.then((r) => console.log(JSON.stringify(r.issues)))"""


def test_the_validator_of_gltf_finds_nothing(result, stored, tmp_path):
    """Khronos' own: `npm install gltf-validator`, `NODE_PATH` naming its folder."""
    bare = result.replace(edges=None).save(tmp_path / "bare.npz")
    for k, source in enumerate((stored, bare)):
        (path,) = io.convert(source, tmp_path / f"{k}.glb")
        if shutil.which("node") is None:
            pytest.skip("node is not here")
        done = subprocess.run(["node", "-e", VALIDATE, str(path)], capture_output=True, text=True)
        if "Cannot find module" in done.stderr:
            pytest.skip("gltf-validator is not here")
        assert json.loads(done.stdout)["messages"] == []


def test_sleap_io_and_we_agree(data_dir):
    sleap_io = pytest.importorskip("sleap_io")
    path = data_dir / "tool_files" / "sleap" / "minimal_mid_proofread.slp"
    if not path.exists():
        pytest.skip("tool_files/sleap is not here")
    want = sleap_io.load_slp(str(path), open_videos=False)
    pose = io.parse(path)
    assert list(pose.names) == want.skeleton.node_names
    np.testing.assert_allclose(pose.points[:, 0], want.numpy()[:, 0], rtol=1e-6)


def test_tables_in_memory(result):
    pandas = pytest.importorskip("pandas")
    xarray = pytest.importorskip("xarray")
    table = result.to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    np.testing.assert_allclose(
        table["hip"][["x", "y", "z"]].to_numpy(), camera_points(result)[:, 0], rtol=1e-5
    )
    data = result.to_xarray()
    assert isinstance(data, xarray.Dataset)
    flat = data.isel(space=[0, 1])
    back = io.as_landmarks(flat)
    np.testing.assert_array_equal(back.visible, np.asarray(result.valid3d))
    wide = pandas.DataFrame(
        {"nose_x": [1.0, 2], "nose_y": [3.0, np.nan], "tail_x": [1.0, 2], "tail_y": [0.5, 1]}
    )
    long = pandas.DataFrame(
        {"frame": [3, 3, 4], "point": ["nose", "tail", "nose"], "x": [1.0, 2, 3], "y": [4.0, 5, 6]}
    )
    found = io.as_landmarks(long)
    assert (found.names, found.visible.tolist()) == (("nose", "tail"), [[True, True], [True, False]])
    np.testing.assert_array_equal(found.frame_index, [3, 4])
    assert io.as_landmarks(wide).names == ("nose", "tail")
    assert io.as_landmarks(wide).visible.tolist() == [[True, True], [False, True]]


def test_arrays_are_landmarks(rng):
    xy = rng.normal(size=(4, 5, 2))
    xy[1, 2] = np.nan
    found = io.as_landmarks(xy)
    assert found.visible.sum() == 19
    assert Landmarks(xy.astype(np.float32)).visible.tolist() == found.visible.tolist()
    scored = io.as_landmarks(np.concatenate([xy, np.full((4, 5, 1), 0.5)], -1))
    assert scored.confidence.max() == 0.5
    turned = xy.transpose(2, 1, 0)
    for thing, says in ((xy[0], "expected numbers"), (turned, "expected numbers"), ("a.npz", "are a str"),
                        (np.ones((4, 5, 3)) * 7, "third number")):  # fmt: skip
        with pytest.raises(InputError, match=says):
            io.as_landmarks(thing)
