"""Readers of filmed scenes: the same scene by three formats, and one clear line for what is wrong."""

import json

import numpy as np
import pytest

from jnrsfm import pixels
from jnrsfm.errors import InputError
from jnrsfm.io.scenes import motion, read_scene
from jnrsfm.io.scenes.record import look_point

pytestmark = pytest.mark.fast
N, W, H, FOCAL = 4, 12, 8, 20.0


def poses() -> np.ndarray:
    """Cameras on an arc that look at (0, 0, 3)."""
    angle = np.radians(np.linspace(-20, 20, N))
    turn = np.stack([[[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]] for a in angle])
    return np.concatenate([turn, np.array([0, 0, 3])[None, :, None] - 3 * turn[:, :, 2:]], -1)


def save_images(folder, count=N, size=(W, H)):
    folder.mkdir(parents=True, exist_ok=True)
    pil = pixels.library()
    for i in range(count):
        image = np.random.default_rng(i).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        pil.Image.fromarray(image).save(folder / f"{i:03d}.png")
    return [f"{i:03d}.png" for i in range(count)]


def npz_scene(root, **changes):
    k = np.array([[FOCAL, 0, (W - 1) / 2], [0, FOCAL, (H - 1) / 2], [0, 0, 1]])
    arrays = {
        "files": np.array(save_images(root / "clip")), "cam_to_world": poses(), "time": np.linspace(0, 1, N),
        "intrinsics": k, "bounds": np.tile([1.5, 4.5], (N, 1)),
    } | changes  # fmt: skip
    np.savez(root / "clip.npz", **{k: v for k, v in arrays.items() if v is not None})
    return root / "clip"


def llff_scene(root, count=N):
    save_images(root / "images", count)
    p = poses()
    turn = np.stack([p[:, :, 1], p[:, :, 0], -p[:, :, 2]], -1)  # down, right, backwards
    hwf = np.tile([[2 * H], [2 * W], [2 * FOCAL]], (N, 1, 1))  # the images are half as large as stated
    rows = np.concatenate(
        [np.concatenate([turn, p[:, :, 3:], hwf], -1).reshape(N, 15), np.tile([1.5, 4.5], (N, 1))], 1
    )
    np.save(root / "poses_bounds.npy", rows)
    return root


def dnerf_scene(root, **changes):
    p = np.concatenate([poses(), np.tile([[[0, 0, 0, 1.0]]], (N, 1, 1))], 1) @ np.diag([1.0, -1, -1, 1])
    save_images(root / "train")
    frames = [
        {"file_path": f"./train/{i:03d}", "time": i / (N - 1), "transform_matrix": p[i].tolist()} | changes
        for i in range(N)
    ]
    frames = [{k: v for k, v in f.items() if v is not None} for f in frames]
    about = {"camera_angle_x": 2 * np.arctan(W / 2 / FOCAL), "frames": frames}
    (root / "transforms_train.json").write_text(json.dumps(about))
    return root


def colmap_scene(root, model="PINHOLE"):
    save_images(root / "images")
    (root / "sparse" / "0").mkdir(parents=True)
    lines, p = [], poses()
    for i in range(N):
        turn = p[i, :, :3].T
        half = np.arctan2(turn[0, 2], turn[0, 0]) / 2  # about y
        shift = -turn @ p[i, :, 3]
        numbers = [np.cos(half), 0, np.sin(half), 0, *shift]
        lines += [f"{i + 1} {' '.join(map(str, numbers))} 1 {i:03d}.png", ""]
    (root / "sparse" / "0" / "images.txt").write_text("\n".join(["# a comment", *lines[2:], *lines[:2]]))
    camera = f"1 {model} {W} {H} {FOCAL} {FOCAL} {W / 2} {H / 2}"
    (root / "sparse" / "0" / "cameras.txt").write_text(camera)
    tracks = " ".join(f"{i + 1} 0" for i in range(N))
    points = [f"{j} 0 0 {z} 0 0 0 0.5 {tracks}" for j, z in enumerate((3, 3, 3, 3))]
    (root / "sparse" / "0" / "points3D.txt").write_text("\n".join(points))
    return root


def test_a_model_of_colmap(tmp_path):
    scene = read_scene(colmap_scene(tmp_path))
    np.testing.assert_allclose(scene.camera_to_world, poses(), atol=1e-12)
    np.testing.assert_allclose(scene.intrinsics[0], [[FOCAL, 0, 5.5], [0, FOCAL, 3.5], [0, 0, 1]])
    np.testing.assert_allclose(scene.bounds, np.tile([2.7, 3.3], (N, 1)))
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="undistort"):
        read_scene(colmap_scene(tmp_path / "b", "OPENCV"))


@pytest.mark.parametrize("make", [npz_scene, llff_scene, dnerf_scene])
def test_one_scene_by_three_formats(make, tmp_path):
    scene = read_scene(make(tmp_path))
    np.testing.assert_allclose(scene.camera_to_world, poses(), atol=1e-12)
    np.testing.assert_allclose(scene.intrinsics[2], [[FOCAL, 0, 5.5], [0, FOCAL, 3.5], [0, 0, 1]], rtol=1e-9)
    np.testing.assert_allclose(scene.time, np.linspace(0, 1, N))
    np.testing.assert_allclose(scene.bounds, np.tile([1.5, 4.5], (N, 1)), rtol=1e-6)  # dnerf's: from the axes
    assert (scene.size, scene.path, scene.facing, scene.background) == ((W, H), True, True, None)
    assert scene.images.shape == (N, H, W, 3)


def test_every_nth_image_is_held_out_and_parts_are_in_order_of_time(tmp_path):
    scene = read_scene(npz_scene(tmp_path, time=np.linspace(1, 0, N)), hold_out=2)
    assert scene.split == ("train", "test", "train", "test")
    np.testing.assert_allclose(scene.part("train").time, [1 / 3, 1])
    np.testing.assert_allclose(scene.part("test").camera_to_world[0], poses()[3])


WRONG = [
    ({"time": None}, "time"),
    ({"time": np.array([0, 0.5, np.nan, 1])}, "image 2 has no time"),
    ({"cam_to_world": None}, "no pose"),
    ({"cam_to_world": np.where(np.arange(N)[:, None, None] == 1, np.nan, poses())}, "001.png has no pose"),
    ({"cam_to_world": poses() * 1.1}, "stretches space"),
    ({"cam_to_world": poses() * np.array([1, 1, -1, 1])}, "mirrors space"),
    ({"bounds": np.tile([2.0, 1.0], (N, 1))}, "near < far"),
    ({"intrinsics": np.zeros((2, 2))}, "intrinsics"),
    ({"split": np.array(["train"] * 3 + ["spare"])}, "spare"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG)
def test_what_is_wrong_is_one_line(changes, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        read_scene(npz_scene(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_other_mistakes_are_one_line(tmp_path):
    root = npz_scene(tmp_path / "a" if (tmp_path / "a").mkdir() is None else tmp_path)
    pixels.library().Image.new("RGB", (W + 1, H)).save(root / "002.png")
    with pytest.raises(InputError, match="images of one size"):
        read_scene(root)
    (tmp_path / "b").mkdir()
    one = {"files": np.array(["000.png"]), "cam_to_world": poses()[:1], "time": np.zeros(1), "bounds": None}
    with pytest.raises(InputError, match="at least 2"):
        read_scene(npz_scene(tmp_path / "b", **one))
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="frame 0 has no time"):
        read_scene(dnerf_scene(tmp_path / "c", time=None))
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="frame 0 has no pose"):
        read_scene(dnerf_scene(tmp_path / "d", transform_matrix=None))
    (tmp_path / "e").mkdir()
    with pytest.raises(InputError, match="4 poses for 3 images"):
        read_scene(llff_scene(tmp_path / "e", count=3))
    (tmp_path / "f").mkdir()
    with pytest.raises(InputError, match="no scene with camera poses"):
        read_scene(tmp_path / "f")
    with pytest.raises(InputError, match="no option"):
        read_scene(root, folder=1)


def test_transparent_parts_show_the_background(tmp_path):
    root = dnerf_scene(tmp_path)
    image = np.zeros((H, W, 4), np.uint8)
    image[2:5, 2:5] = [200, 100, 0, 255]
    image[3, 3, 3] = 51  # a fifth
    for i in range(N):
        pixels.library().Image.fromarray(image).save(root / "train" / f"{i:03d}.png")
    scene = read_scene(root)
    assert scene.background == (0.0, 0.0, 0.0)
    np.testing.assert_array_equal(scene.images[0, 3, 3], [40, 20, 0])
    white = read_scene(root, background="white")
    np.testing.assert_array_equal(white.images[0, 0, 0], [255, 255, 255])


def test_the_point_that_cameras_look_at():
    point, depth = look_point(poses())
    np.testing.assert_allclose(point, [0, 0, 3], atol=1e-9)
    assert depth == pytest.approx(3)


def test_flow_of_a_still_plane_is_on_epipolar_lines_and_of_a_moving_one_is_not():
    p, k = poses(), np.array([[FOCAL, 0, 5.5], [0, FOCAL, 3.5], [0, 0, 1]])
    x, y = np.meshgrid(np.arange(W), np.arange(H))
    local = np.stack([(x - 5.5) / FOCAL, (y - 3.5) / FOCAL, np.ones_like(x)], -1) * 3.0
    world = local @ p[0, :, :3].T + p[0, :, 3]
    flow = lambda world: _seen(world, p[1], k) - np.stack([x, y], -1)
    still = motion.epipolar_distance(flow(world), p[0], p[1], k, k)
    moved = motion.epipolar_distance(flow(world + np.array([0, 0.3, 0])), p[0], p[1], k, k)
    assert still.max() < 1e-6
    assert moved.min() > 0.5
    turned = p[0].copy()  # a camera that turns in place has no epipolar lines
    turned[:, :3] = p[1][:, :3]
    assert (
        motion.epipolar_distance(_seen(world, turned, k) - np.stack([x, y], -1), p[0], turned, k, k).max()
        < 1e-6
    )


def _seen(world, pose, k):
    local = (world - pose[:, 3]) @ pose[:, :3]
    return local[..., :2] / local[..., 2:] * FOCAL + k[:2, 2]


def test_flow_that_comes_back_is_trusted():
    there, back = np.full((6, 8, 2), [2.0, 0.0]), np.full((6, 8, 2), [-2.0, 0.0])
    found = motion.comes_back(there, back)
    assert found[:, :6].all()  # and what leaves the image is not
    assert not found[:, 6:].any()
    assert not motion.comes_back(there, 2 * back).any()
