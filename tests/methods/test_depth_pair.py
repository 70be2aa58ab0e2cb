"""Depth from two frames: the network's laws, a training from stereo pairs, videos in and maps out, metres."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnrsfm
from jnrsfm.cli import main
from jnrsfm.depth_maps import ArrayPairs, DepthMaps, FramePairs
from jnrsfm.errors import InputError
from jnrsfm.inputs import PairBatch, at_size, cut_pairs
from jnrsfm.methods import depth_pair
from jnrsfm.methods.depth_pair import DepthPair, DepthPairModel, Objective
from jnrsfm.models.functional import Network
from jnrsfm.models.vision import BackboneConfig, DepthNetwork, DepthNetworkConfig
from jnrsfm.models.vision.depth import enlarge, spread, squares, warp

SIZE = (32, 16)
NAMES = ("first", "second", "disparity", "flow", "valid")
CONFIG = DepthPair(preset="tiny", size=SIZE, steps=4, batch=4, chunk=2, average=0.0, checkpoint_seconds=0.0)


def scene(number, rng, wide=48, high=24):
    """A floor that is nearer below, and a bright square before it that moves to the right by 3 pixels."""
    floor = rng.integers(0, 120, (high, wide, 3)).astype(np.uint8)
    disparity = np.repeat(np.linspace(-2, 4, high)[:, None], wide, 1).astype(np.float32)
    flow = np.zeros((high, wide, 2), np.float32)
    x = 4 + number % 20
    first, second = floor.copy(), floor.copy()
    first[6:16, x : x + 12] = 220
    second[6:16, x + 3 : x + 15] = 220
    disparity[6:16, x : x + 12] = 9
    flow[6:16, x : x + 12, 0] = 3
    return first, second, disparity, flow, np.ones((high, wide), bool)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    made = [np.stack(x) for x in zip(*(scene(i, rng) for i in range(16)), strict=True)]
    return ArrayPairs(*made, shot=np.arange(16) // 2)


@pytest.fixture(scope="module")
def fitted(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return jnrsfm.fit(pairs, CONFIG, out=folder, progress=False), folder


def test_warping_follows_the_flow_and_repeats_the_border():
    h = jnp.arange(24.0).reshape(1, 4, 6, 1)
    flow = jnp.zeros((1, 4, 6, 2)).at[..., 0].set(1.0).at[..., 1].set(0.5)
    x, y = np.meshgrid(np.arange(6), np.arange(4))
    wanted = np.minimum(x + 1, 5) + 6 * np.minimum(y + 0.5, 3)
    np.testing.assert_allclose(warp(h, flow)[0, ..., 0], wanted)
    np.testing.assert_allclose(spread(squares(h, 2), 2), h[..., 0])
    line = jnp.broadcast_to(jnp.arange(6.0)[None, None, :, None], (1, 4, 6, 1))
    inner = enlarge(line, 2)[0, 0, 1:-1, 0]
    np.testing.assert_allclose(inner, np.arange(0.25, 5, 0.5))


@pytest.mark.parametrize("fusion", ["levels", pytest.param("bottom-up", marks=pytest.mark.slow)])
def test_the_network_sees_what_it_is_given(fusion):
    config = DepthNetworkConfig(SIZE, BackboneConfig(4, (8, 16), (1, 1)), (8, 8), 8, fusion=fusion)
    network = Network.of(DepthNetwork, config)
    params, _ = network.init(jax.random.key(0))
    a, b = jax.random.uniform(jax.random.key(1), (2, 1, SIZE[1], SIZE[0], 3), maxval=255.0)
    flow = jax.random.normal(jax.random.key(2), (1, SIZE[1], SIZE[0], 2))
    run = jax.jit(lambda p, *x: network.module(p)(*x))
    found = run(params, a, b, flow)
    assert found.shape == (1, SIZE[1], SIZE[0])
    for other in ((a, a, flow), (a, b, 0 * flow), (b, b, flow)):
        assert float(jnp.abs(run(params, *other) - found).max()) > 1e-5


def test_a_window_moves_pictures_labels_and_flow_together():
    """The flow of a scene in which a pixel's colour is its place leads to the same colour in the second frame."""
    n, high, wide = 64, 12, 20
    x = np.broadcast_to(np.arange(wide, dtype=np.uint8) * 10, (n, high, wide))
    first = np.repeat(x[..., None], 3, -1)
    second = np.roll(first, 2, 2)
    flow = np.zeros((n, high, wide, 2), np.float16)
    flow[..., 0] = 2
    batch = PairBatch(
        first, second, x.astype(np.float32), flow, np.ones(x.shape, bool), np.ones(n, np.float32)
    )
    cut = cut_pairs(PairBatch(*map(jnp.asarray, batch)), jax.random.key(0), (16, 8), 0.0)
    step = np.asarray(cut.flow[:, 0, 0, 0]).astype(int)
    assert set(step) == {-2, 2}  # both are drawn, mirrored ones move to the left
    for i in range(n):
        inside = slice(2, -2)
        here = np.arange(16)[inside]
        moved = np.asarray(cut.second[i, 3, here + step[i], 0])
        kept = np.asarray(cut.disparity[i, 3, inside]) < 10 * (wide - 2)
        np.testing.assert_array_equal(moved[kept], np.asarray(cut.first[i, 3, inside, 0])[kept])
    np.testing.assert_array_equal(cut.first[..., 0], cut.disparity)


def test_a_pair_at_another_size_keeps_edges_and_scales_its_flow(rng):
    made = scene(0, rng)
    disparity = made[2]
    small = at_size(dict(zip(NAMES, made, strict=True)), (24, 12))
    assert set(np.unique(small["flow"])) == {0.0, 1.5}
    assert set(np.unique(small["disparity"])) <= set(np.unique(disparity))


def test_labels_of_unknown_slope_and_offset_teach_the_same(pairs):
    network = Network.of(DepthNetwork, CONFIG.network())
    objective = Objective(network, CONFIG)
    params, _ = network.init(jax.random.key(0))
    read = [at_size(pairs.read(i), (36, 18)) for i in range(4)]
    batch = PairBatch(**{k: jnp.stack([r[k] for r in read]) for k in read[0]}, weight=jnp.ones(4))
    loss = jax.jit(lambda b: objective(params, {}, b, jax.random.key(1), {"progress": 0.0})[0])
    other = batch._replace(disparity=3 * batch.disparity - 50)
    np.testing.assert_allclose(loss(batch), loss(other), rtol=2e-4)
    hidden = batch._replace(valid=batch.valid.at[:, :, :6].set(False))
    spoilt = hidden._replace(disparity=hidden.disparity.at[:, :, :6].set(jnp.nan))
    np.testing.assert_array_equal(loss(hidden), loss(spoilt))


@pytest.mark.slow
def test_a_fit_writes_a_run_whose_model_lifts_pairs(pairs, fitted):
    result, folder = fitted
    assert isinstance(pairs, FramePairs)
    assert isinstance(result.result, DepthMaps)
    assert result.result.size == SIZE
    assert {i["name"] for i in result.quality["items"]} >= {"held_out_gradients", "free"}
    model = jnrsfm.load(folder)
    again = model.lift(pairs)
    assert again.n_frames == len(pairs)
    same = np.asarray(again.inverse_depth)[np.asarray(result.result.number)]
    np.testing.assert_allclose(same, result.result.inverse_depth, rtol=1e-4)
    stored = DepthMaps.load(folder / "depth.npz")
    np.testing.assert_array_equal(stored.inverse_depth, result.result.inverse_depth)
    assert "scale and a shift" in stored.resolved["scale"]
    page = (folder / "report.html").read_text()
    assert page.count("data:image/jpeg") == 5 * stored.n_frames
    assert "unknown" in page
    assert jnrsfm.write_run_report(folder).read_text() == page
    assert not list(folder.glob("canvas-*"))


@pytest.mark.slow
def test_pairs_that_do_not_fit_in_memory_are_streamed(pairs, tmp_path):
    result = jnrsfm.fit(pairs, dataclasses.replace(CONFIG, resident=0), out=tmp_path / "run", progress=False)
    assert np.isfinite(result.result.inverse_depth).all()
    assert not list((tmp_path / "run").glob("canvas-*"))


def test_whole_shots_are_held_out():
    shots = np.repeat(np.arange(10), 3)
    held = depth_pair.held_out(shots, 0.2, 0)
    assert held.sum() == 6
    assert len(np.unique(shots[held])) == 2
    assert not depth_pair.held_out(shots, 0.0, 0).any()
    np.testing.assert_array_equal(depth_pair.held_out(np.zeros(10), 0.2, 0), np.arange(10) >= 8)


@pytest.mark.parametrize(
    ("how", "words"),
    [({"size": (30, 16)}, "stride"), ({"holdout": 1.0}, "holdout"), ({"batch": 0}, "batch"),
     ({"contrast": -1.0}, "contrast")],
)  # fmt: skip
def test_settings_that_cannot_work_are_one_line(how, words):
    with pytest.raises(InputError, match=words) as error:
        dataclasses.replace(CONFIG, **how)
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------- videos, from the command line


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two shots of 6 frames."""
    pytest.importorskip("cv2")
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("video") / "a.avi"
    frames = []
    for seed, tint in ((0, 0), (1, 120)):
        rng = np.random.default_rng(seed)
        frames += [
            np.clip(scene(i, rng, 96, 64)[0].astype(int) + np.array([tint, 0, 0]), 0, 255).astype(np.uint8)
            for i in range(6)
        ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.slow
def test_a_video_becomes_depth_maps_and_metres(fitted, video, tmp_path, capsys):
    out = tmp_path / "depth"
    (tmp_path / "known.csv").write_text("frame,x,y,depth\n0,5,60,2.0\n0,40,5,6.0\n7,50,60,2.1\n11,8,40,3\n")
    argv = ["lift", str(fitted[1]), str(video), "--out", str(out), "--json"]
    assert main([*argv, "--known", str(tmp_path / "known.csv")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 12
    assert said["error_bar"] is True
    from jnrsfm.io import depth

    maps = next(iter(depth.read_depth_folder(out).parts()))
    np.testing.assert_array_equal(maps.number, np.arange(12))
    assert maps.metres.shape == maps.inverse_depth.shape
    assert "metres" in maps.gauge
    # at the end of a shot the frame before is the neighbour, and its flow is not kept
    assert not maps.flow[[5, 11]].any()
    assert (out / "depth.html").is_file()
    assert main(argv) == 0  # done before: says so again
    assert main([*argv[:2], "none.mp4", *argv[3:]]) == 2


@pytest.mark.slow
def test_a_stopped_video_goes_on(fitted, video, tmp_path, monkeypatch):
    from jnrsfm.io.depth import folder
    from jnrsfm.io.depth import video as frames

    whole = list(frames.depth_frames(frames.open_frames(video), (96, 64)))
    for start in (4, 6, 11):
        later = list(frames.depth_frames(frames.open_frames(video), (96, 64), start))
        assert [f.number for f in later] == list(range(start, 12))
        for a, b in zip(whole[start:], later, strict=True):
            np.testing.assert_array_equal(a.second, b.second)
            np.testing.assert_array_equal(a.flow, b.flow)
    # killed after its first part, the whole is what it is without
    monkeypatch.setattr(folder, "PART", 4)
    argv = ["lift", str(fitted[1]), str(video), "--quiet", "--out"]
    assert main([*argv, str(tmp_path / "whole")]) == 0
    add = folder.DepthFolder.add

    def once(self, maps):
        if self.done:
            raise KeyboardInterrupt
        add(self, maps)

    monkeypatch.setattr(folder.DepthFolder, "add", once)
    assert main([*argv, str(tmp_path / "stopped")]) == 130
    with pytest.raises(InputError, match="not finished"):
        folder.read_depth_folder(tmp_path / "stopped")
    monkeypatch.setattr(folder.DepthFolder, "add", add)
    assert main([*argv, str(tmp_path / "stopped")]) == 0
    one, two = (list(folder.read_depth_folder(tmp_path / n).parts()) for n in ("whole", "stopped"))
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.number, b.number)
        np.testing.assert_allclose(a.inverse_depth, b.inverse_depth, rtol=2e-3)


@pytest.mark.slow
def test_bad_videos_and_known_depths_are_one_line(fitted, video, tmp_path, capsys):
    import av

    from jnrsfm.io import depth

    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "one.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj444p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    (tmp_path / "cut.avi").write_bytes(video.read_bytes()[:900])
    cases = [
        ("sound.wav", "no video"),
        ("one.avi", "one frame"),
        ("cut.avi", "cut.avi"),
        ("none.mp4", "no such"),
    ]
    for name, words in cases:
        assert (
            main(["lift", str(fitted[1]), str(tmp_path / name), "--out", str(tmp_path / f"o-{name[:-4]}")])
            == 2
        )
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    known = tmp_path / "k.csv"
    for text, words in (
        ("x,y\n1,2\n", "frame,x,y,depth"), ("frame,x,y,depth\n0,1,a,2\n", "line 2"),
        ("frame,x,y,depth\n99,1,1,2\n", "frame 99"), ("frame,x,y,depth\n0,500,1,2\n", "outside"),
        ("frame,x,y,depth\n0,5,1,-2\n", "positive"),
    ):  # fmt: skip
        known.write_text(text)
        with pytest.raises(InputError, match=words):
            depth.read_known(known, 12, (96, 64))
    assert main(["fit", str(tmp_path), "--method", "depth-pair", "--out", str(tmp_path / "r")]) == 2
    assert "index.json" in capsys.readouterr().err
    few = ArrayPairs(*(x[None] for x in scene(0, np.random.default_rng(0))))
    with pytest.raises(InputError, match="at least 8"):
        jnrsfm.fit(few, "depth-pair", progress=False)
    with pytest.raises(InputError, match="takes FramePairs"):
        jnrsfm.fit(jnrsfm.Landmarks(np.zeros((9, 4, 2))), "depth-pair", progress=False)
    assert DepthPairModel.TAKES is FramePairs
