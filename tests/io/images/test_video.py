"""Frames of a video by number: the same in any order, in another process's copy, and in bounded memory."""

import pickle

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.io.video import VideoPixels

av = pytest.importorskip("av")
pytestmark = pytest.mark.fast
N, BITS = 30, 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """`clip(name, codec, **options)`: a video whose frame i shows the bits of i, white on black; its path."""

    def write(name, codec="mpeg4", size=(64, 48), **options):
        path = tmp_path_factory.mktemp("video") / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for key, value in options.items():
                setattr(stream.codec_context, key, value)
            for i in range(N):
                bits = (i >> np.arange(BITS)) & 1
                image = np.zeros((size[1], size[0], 3), np.uint8)
                image[:, : 12 * BITS] = 255 * np.repeat(bits, 12)[None, :, None]
                for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return path

    return write


def numbers(pixels, which):
    """Which frame each of those read is, by its bits."""

    def shown(image):
        bits = image[:, : 12 * BITS, 0].reshape(len(image), BITS, 12).mean((0, 2)) > 127
        return int((bits << np.arange(BITS)).sum())

    return [shown(pixels.read(i)) for i in which]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "mpeg4", {"gop_size": 8, "max_b_frames": 2}),
        ("b.mkv", "libx264", {"gop_size": 10}),
        ("c.avi", "mpeg4", {"gop_size": 5}),
        ("d.m4v", "mpeg4", {"gop_size": 7}),  # a bare stream: no time stamps
    ],
)
def test_any_order(clip, name, codec, options):
    if codec not in av.codecs_available:
        pytest.skip(f"av has no {codec} here")
    pixels = VideoPixels.of(clip(name, codec, **options))
    np.testing.assert_array_equal(pixels.sizes, [[64, 48]] * N)
    assert numbers(pixels, range(N)) == list(range(N))
    order = np.random.default_rng(0).permutation(N).tolist()
    assert numbers(pixels, order) == order
    assert numbers(pixels, [29, 0, 0, 15, 16, 14]) == [29, 0, 0, 15, 16, 14]
    assert numbers(pickle.loads(pickle.dumps(pixels)), [11]) == [11]
    pixels.close()
    assert numbers(pixels, [3]) == [3]
    with pytest.raises(InputError, match="has frames 0 to 29, not 30"):
        pixels.read(30)


def test_frames_in_turn_are_decoded_once(clip, monkeypatch):
    pixels = VideoPixels.of(clip("a.mp4", gop_size=8))
    searched = []
    frame = VideoPixels._frame
    monkeypatch.setattr(
        VideoPixels, "_frame", lambda self, number: (searched.append(self._frames), frame(self, number))[1]
    )
    pixels.close()
    assert numbers(pixels, range(N)) == list(range(N))
    assert searched[0] is None
    assert all(s is searched[1] for s in searched[1:])  # one decoder from first to last


def test_a_video_is_one_clip_without_labels(clip, tmp_path):
    path = clip("a.mp4")
    images = io.read_images(path)
    assert (len(images), images.landmarks.fps) == (N, 25)
    assert images.landmarks.points2d.shape == (N, 0, 2)
    np.testing.assert_array_equal(images.landmarks.sequence, np.zeros(N))
    assert not images.labelled.any()
    assert numbers(images.select(np.array([9, 4])).pixels, [0, 1]) == [9, 4]
    points = np.full((N, 2, 2), 20.0, np.float32)
    np.savez(tmp_path / "labels.npz", points2d=points, names=np.array(["a", "b"]))
    assert io.read_images(path, landmarks=str(tmp_path / "labels.npz")).labelled.all()
    points[4, 1] = 70
    np.savez(tmp_path / "labels.npz", points2d=points)
    with pytest.raises(InputError, match=r"image frame 4: point 1 is at \(70, 70\), outside its 64 x 48"):
        io.read_images(path, landmarks=str(tmp_path / "labels.npz"))


def test_what_is_no_video(clip, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    with pytest.raises(InputError, match="cannot be read as a video"):
        io.read_images(tmp_path / "a.mp4")
    whole = clip("b.avi", gop_size=30).read_bytes()
    (tmp_path / "b.avi").write_bytes(whole[: len(whole) // 2])
    try:
        cut = io.read_images(tmp_path / "b.avi")
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert 0 < len(cut) < N
