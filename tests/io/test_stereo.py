"""Stereo videos become frame pairs: what is of use is kept, planted faults are refused for their reason."""

import dataclasses
import json

import numpy as np
import pytest

from jnrsfm import report
from jnrsfm.cli import main
from jnrsfm.errors import InputError
from jnrsfm.io import stereo
from jnrsfm.io.stereo import pairs

cv2 = pytest.importorskip("cv2")
av = pytest.importorskip("av")
WIDE, HIGH, FRAMES = 160, 96, 6
SETTINGS = stereo.StereoSettings(part=4)
NEAR = 14.0  # disparity of the figure; the floor's goes from -4 to 6


def texture(seed, wide=WIDE + 80):
    """Coarse and fine, as pictures are."""
    rng, found = np.random.default_rng(seed), np.zeros((HIGH, wide, 3))
    for step in (32, 16, 8, 4):
        small = rng.uniform(-1, 1, (HIGH // step + 1, wide // step + 1, 3))
        found += step**0.5 * cv2.resize(small, (wide, HIGH), interpolation=cv2.INTER_CUBIC)
    found += 4 * rng.uniform(-1, 1, 3)  # each of another colour
    return np.clip(128 + 12 * found, 0, 255).astype(np.uint8)


def eyes(number, seed=0, still=False):
    """Left and right: a floor, nearer below, and a square that moves by 9 pixels a frame."""
    floor, figure = texture(seed), texture(seed + 100, 48)[:48, :40]
    place = 30 if still else 20 + 9 * number
    rows = np.linspace(-4, 6, HIGH)
    x, y = np.meshgrid(np.arange(WIDE, dtype=np.float32), np.arange(HIGH, dtype=np.float32))
    shift = rows[:, None].astype(np.float32)
    left, right = (cv2.remap(floor, x + 40 + part * shift, y, cv2.INTER_LINEAR) for part in (0, 1))
    left[24:72, place : place + 40] = figure
    right[24:72, place - int(NEAR) : place - int(NEAR) + 40] = figure
    return left, right


def distorted(image):
    """A barrel."""
    x, y = np.meshgrid(np.linspace(-1, 1, WIDE), np.linspace(-1, 1, HIGH))
    r = 1 + 0.04 * (x**2 + y**2)
    return cv2.remap(
        image, ((x * r + 1) * (WIDE - 1) / 2).astype(np.float32), ((y * r + 1) * (HIGH - 1) / 2).astype(np.float32),
        cv2.INTER_LINEAR,
    )  # fmt: skip


FAULTS = {
    None: lambda left, right: (left, right),
    "black": lambda left, right: (left // 20, right // 20),
    "flat": lambda left, right: (left, left),
    "vertical": lambda left, right: (left, np.roll(right, 4, 0)),
    "inconsistent": lambda left, right: (left, texture(77)[:, :WIDE]),
}


def shot(fault, seed, **how):
    return [np.concatenate(FAULTS[fault](*eyes(i, seed, **how)), 1) for i in range(FRAMES)]


def write(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuvj444p"
        stream.options = {"q": "2"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    parts = [shot(fault, 10 * i) for i, fault in enumerate(FAULTS)]
    parts.append(shot(None, 60, still=True))
    bent = [(left, distorted(right)) for left, right in (eyes(i, 70) for i in range(FRAMES))]
    parts.append([np.concatenate(pair, 1) for pair in bent])
    return write(tmp_path_factory.mktemp("video") / "a.avi", [f for part in parts for f in part])


@pytest.fixture(scope="module")
def converted(video, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "out"
    return stereo.convert_stereo(video, folder, SETTINGS), folder


def test_planted_faults_are_refused_for_their_reason(converted):
    index, _ = converted
    assert [s["reason"] for s in index["shots"]] == [*FAULTS, None, "vertical"]
    assert [s["first"] for s in index["shots"]] == list(range(0, 7 * FRAMES, FRAMES))
    assert not index["swapped"]
    assert index["layout"] == "full"
    assert index["static"] == FRAMES - 1
    assert [n for p in index["parts"] for n in p["frames"]] == list(range(FRAMES - 1))


def test_disparity_and_flow_are_those_of_the_scene(converted):
    found = stereo.read_pairs(converted[1])
    assert len(found) == FRAMES - 1
    assert found.size == (WIDE, HIGH)
    one = found.read(2)
    inside = one["disparity"][34:62, 48:68], one["valid"][34:62, 48:68]
    assert inside[1].mean() > 0.9
    np.testing.assert_allclose(np.median(inside[0][inside[1]]), NEAR, atol=0.5)
    below = one["valid"][85:92, 40:]
    np.testing.assert_allclose(
        np.median(one["disparity"][85:92, 40:][below]), np.linspace(-4, 6, HIGH)[88], atol=0.6
    )
    np.testing.assert_allclose(np.median(one["flow"][34:62, 48:68, 0]), 9, atol=0.7)
    np.testing.assert_array_equal(one["second"], found.read(3)["first"])
    assert found.read(2)["flow"].dtype == np.float32


def test_stopped_and_gone_on_with_it_is_the_whole(video, converted, tmp_path):
    whole, folder = converted

    class Stop(Exception):
        pass

    for moment in (3, 5, 7):

        def say(stage, done, count, moment=moment):
            if stage == "storing" and done == moment:
                raise Stop

        with pytest.raises(Stop):
            stereo.convert_stereo(video, tmp_path / "out", dataclasses.replace(SETTINGS, part=2), say)
    index = stereo.convert_stereo(video, tmp_path / "out", dataclasses.replace(SETTINGS, part=2))
    assert index["static"] == whole["static"]
    one, two = stereo.read_pairs(folder), stereo.read_pairs(tmp_path / "out")
    assert len(one) == len(two)
    for i in range(len(one)):
        for name, value in one.read(i).items():
            np.testing.assert_array_equal(value, two.read(i)[name])
    with pytest.raises(InputError, match="other settings"):
        stereo.convert_stereo(video, tmp_path / "out", dataclasses.replace(SETTINGS, flow=3.0))


def test_swapped_eyes_are_found_and_turned_and_two_files_are_one(tmp_path):
    frames = [eyes(i) for i in range(4)]
    write(tmp_path / "s.avi", [np.concatenate([r, left], 1) for left, r in frames])
    index = stereo.convert_stereo(tmp_path / "s.avi", tmp_path / "s", SETTINGS)
    assert index["swapped"]
    for k, name in enumerate(("l.avi", "r.avi")):
        write(tmp_path / name, [f[k] for f in frames])
    both = [tmp_path / "l.avi", tmp_path / "r.avi"]
    stereo.convert_stereo(both, tmp_path / "f", dataclasses.replace(SETTINGS, layout="files"))
    one, two = (stereo.read_pairs(tmp_path / n).read(0) for n in "sf")
    gap = np.abs(one["disparity"] - two["disparity"])[one["valid"] & two["valid"]]
    assert np.median(gap) < 0.2


def test_squeezed_pictures_are_told_by_their_shape_and_the_command_writes_a_page(tmp_path, capsys):
    squeezed = [
        cv2.resize(np.concatenate(eyes(i), 1), (WIDE, HIGH), interpolation=cv2.INTER_AREA) for i in range(4)
    ]
    write(tmp_path / "h.avi", squeezed)
    argv = ["convert", str(tmp_path / "h.avi"), str(tmp_path / "h"), "--stereo", "side-by-side", "--json"]
    assert main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pairs"] == 3
    index = pairs.read_index(tmp_path / "h")
    assert index["layout"] == "half"
    assert index["size"] == [WIDE, HIGH]
    page = (tmp_path / "h" / "pairs.html").read_text()
    assert page.count("data:image/jpeg") == 6


def test_bad_input_is_one_line(tmp_path, video):
    write(tmp_path / "mono.avi", [texture(i)[:, :WIDE] for i in range(6)])
    (tmp_path / "cut.avi").write_bytes(video.read_bytes()[:3000])
    odd = np.zeros((HIGH, 90, 3), np.uint8)
    write(tmp_path / "one.avi", [odd] * 3)
    write(tmp_path / "other.avi", [odd] * 4)
    cases = [
        (tmp_path / "mono.avi", {}, "no shot is of use"),
        (tmp_path / "none.avi", {}, "none.avi"),
        (tmp_path / "cut.avi", {}, "cut.avi"),
        ([video, video], {}, "2 videos for the layout"),
        (video, {"layout": "files"}, "1 videos for the layout"),
        ([tmp_path / "one.avi", tmp_path / "other.avi"], {"layout": "files"}, "one length"),
    ]
    for i, (files, how, words) in enumerate(cases):
        with pytest.raises(InputError, match=words) as error:
            stereo.convert_stereo(files, tmp_path / f"o{i}", dataclasses.replace(SETTINGS, **how))
        assert "\n" not in str(error.value)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.txt").write_text("mine")
    with pytest.raises(InputError, match="name a new folder"):
        stereo.convert_stereo(video, tmp_path / "full", SETTINGS)
    with pytest.raises(InputError, match=r"holds no index\.json"):
        stereo.read_pairs(tmp_path)
    with pytest.raises(InputError, match="consistent"):
        stereo.StereoSettings(consistent=2.0)


def test_a_damaged_part_is_one_line(converted, tmp_path):
    _, folder = converted
    (tmp_path / "index.json").write_text((folder / "index.json").read_text())
    for name in ("part_00000.npz", "part_00001.npz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:500])
    with pytest.raises(InputError, match="part_00000"):
        stereo.read_pairs(tmp_path).read(0)


@pytest.mark.parametrize(
    "change",
    [
        {"parts": None},
        {"parts": [{"file": "../a.npz", "pairs": 0, "frames": []}]},
        {"size": 3},
        {"kind": "x"},
    ],
)
def test_a_damaged_index_is_one_line(converted, tmp_path, change):
    index = json.loads((converted[1] / "index.json").read_text()) | change
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="is no index of stereo pairs") as error:
        stereo.read_pairs(tmp_path)
    assert "\n" not in str(error.value)


def test_the_page_says_what_there_is_to_say(tmp_path):
    sample = report.StereoSample("a <b>", [np.zeros((4, 4, 3), np.uint8)])
    page = report.write_stereo_page(tmp_path / "p.html", "T & t", ["line <1>"], [sample]).read_text()
    assert "T &amp; t" in page
    assert "line &lt;1&gt;" in page
    assert "a &lt;b&gt;" in page


@pytest.mark.fast
def test_rows_that_a_lens_bends_are_told_from_wrong_matches():
    y, x = np.mgrid[:60, :80].astype(np.float32)
    u, v = x / 40 - 1, y / 30 - 1
    bent = (3 * v * (1 + u**2) + 2).astype(np.float32)
    rng = np.random.default_rng(0)
    wrong = rng.random(bent.shape) < 0.2
    bent[wrong] += rng.normal(0, 20, wrong.sum())
    good = np.ones(bent.shape, bool)
    zero = np.zeros_like(bent)
    of = lambda vertical: stereo.shots._smooth(
        stereo.matching.Stereo(zero, vertical, zero, good), good, stereo.StereoSettings()
    )
    assert of(bent) < 0.22  # what is wrong stays
    assert of(rng.normal(0, 5, bent.shape).astype(np.float32)) > 0.7
