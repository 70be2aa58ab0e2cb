"""Crops and points stay in register, whatever the augmentation; masked or missing things never matter."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm import pixels
from jnrsfm.errors import InputError
from jnrsfm.inputs import crops
from jnrsfm.inputs.crops import Augmentation
from jnrsfm.types import LabelledImages, Landmarks

pytestmark = pytest.mark.fast
SIZE = 32
SWAP = np.array([1, 0, 2])


def dots(seed=0, n=6, at=None):
    """Grey images with three coloured blobs, and where they are."""
    rng = np.random.default_rng(seed)
    height, width = 90, 120
    points = rng.uniform([30, 25], [90, 65], (n, 3, 2)) if at is None else np.broadcast_to(at, (n, 3, 2))
    y, x = np.mgrid[:height, :width]
    images = np.zeros((n, height, width, 3))
    for i in range(n):
        for k in range(3):
            distance = (x - points[i, k, 0]) ** 2 + (y - points[i, k, 1]) ** 2
            images[i, ..., k] = 255 * np.exp(-distance / (2 * 2.0**2))
    landmarks = Landmarks(points.astype(np.float32), np.ones((n, 3), bool), symmetric=np.array([[0, 1]]))
    return LabelledImages(pixels.ArrayPixels(images.round().astype(np.uint8)), landmarks)


def peaks(patch):
    """Centre of mass of each channel, in patch coordinates; and how much of it there is."""
    size = patch.shape[1]
    at = (np.arange(size) + 0.5) / size - 0.5
    mass = patch.astype(np.float64) ** 2
    total = mass.sum((1, 2))
    x = (mass.sum(1) * at[None, :, None]).sum(1) / total
    y = (mass.sum(2) * at[None, :, None]).sum(1) / total
    return np.stack([x, y], -1), total


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_dot_is_found_where_the_map_says(flip):
    images = dots(at=np.array([[60.0, 40], [52.3, 49.1], [70, 47.7]]))
    where = crops.squares(np.tile([40.0, 30, 80, 60], (6, 1)), images.pixels.sizes)
    canvas = crops.canvases(images, where, SIZE)
    maps = crops.drawn_maps(
        jax.random.key(1), 6, Augmentation(scale=0.2, flip=flip, colour=0.0, occlusion=0.0)
    )
    patch = np.asarray(crops.patches(canvas, maps, SIZE))
    truth = where.to_crop(np.asarray(images.landmarks.points2d))
    expected = np.asarray(maps.to_patch(jnp.asarray(truth, jnp.float32), SWAP))
    found, _ = peaks(patch)
    if flip:  # the channels are those of the points: a flipped image exchanges the labels, not the colours
        expected = expected[:, SWAP]
    assert np.abs(found - expected).max() < 0.35 / SIZE
    chex.assert_trees_all_close(
        maps.from_patch(maps.to_patch(jnp.asarray(truth), SWAP), SWAP), jnp.asarray(truth), atol=1e-5
    )


def test_without_augmentation_the_patch_is_the_cut():
    images = dots()
    where = crops.squares(crops.label_boxes(images), images.pixels.sizes)
    canvas = crops.canvases(images, where, SIZE)
    patch = np.asarray(crops.patches(canvas, crops.unmoved((6,)), SIZE))
    edge = (crops.canvas_size(SIZE) - SIZE) // 2
    np.testing.assert_allclose(patch, canvas[:, edge : edge + SIZE, edge : edge + SIZE], atol=1e-2)
    found, _ = peaks(patch)
    assert np.abs(found - where.to_crop(np.asarray(images.landmarks.points2d))).max() < 0.3 / SIZE


def test_depth_follows_scale_and_swap():
    maps = crops.drawn_maps(jax.random.key(0), 8, Augmentation(flip=0.5))
    points = jax.random.normal(jax.random.key(1), (8, 3, 3))
    moved = maps.to_patch(points, SWAP)
    z = np.where(np.asarray(maps.flipped)[:, None], np.asarray(points)[:, SWAP, 2], points[..., 2])
    np.testing.assert_allclose(moved[..., 2], z * np.asarray(maps.scale)[:, None], rtol=1e-5)
    # lengths in the image scale too: a shape stays a shape
    length = lambda p: jnp.linalg.norm(p[:, 0] - p[:, 2], axis=-1)
    unflipped = ~np.asarray(maps.flipped)
    np.testing.assert_allclose(length(moved)[unflipped], (length(points) * maps.scale)[unflipped], rtol=1e-4)


def test_boxes_of_hidden_points_and_unlabelled_images():
    images = dots()
    landmarks = images.landmarks
    visible = np.ones((6, 3), bool)
    visible[0, 1], visible[2] = False, False
    spoilt = np.array(landmarks.points2d)
    spoilt[0, 1] = np.nan
    boxes = crops.label_boxes(
        LabelledImages(images.pixels, landmarks.replace(visible=visible, points2d=spoilt))
    )
    assert np.isnan(boxes[2]).all()
    assert np.isfinite(boxes[[0, 1, 3, 4, 5]]).all()
    spoilt[0, 1] = 1e9
    again = crops.label_boxes(
        LabelledImages(images.pixels, landmarks.replace(visible=visible, points2d=spoilt))
    )
    np.testing.assert_array_equal(boxes, again)
    where = crops.squares(boxes, images.pixels.sizes)
    assert where.side[2] == 120
    assert tuple(where.centre[2]) == (59.5, 44.5)


def test_cut_outside_the_image_is_black_and_in_place():
    image = np.full((20, 30, 3), 200, np.uint8)
    found = pixels.cut(image, (0.0, 0.0), 20.0, 40)  # a quarter of it lies inside
    assert (found[20:, 20:][1:-1, 1:-1] == 200).all()
    assert (found[:19] == 0).all()
    assert (found[:, :19] == 0).all()
    assert (pixels.cut(image, (500.0, 0.0), 20.0, 8) == 0).all()


def test_colour_and_occlusion_keep_the_shape_and_the_range():
    images = jnp.full((4, SIZE, SIZE, 3), 100.0)
    same = crops.coloured(jax.random.key(0), images, Augmentation.none())
    chex.assert_trees_all_close(same, images)
    found = np.asarray(crops.coloured(jax.random.key(0), images, Augmentation(occlusion=1.0, colour=0.0)))
    share = (found != 100).any(-1).mean((1, 2))
    assert (share > 0).all()
    assert (share < 0.3).all()


def test_bad_settings_and_bad_images_say_so(tmp_path):
    with pytest.raises(InputError, match="scale"):
        Augmentation(scale=-1.0)
    with pytest.raises(InputError, match="uint8"):
        pixels.ArrayPixels(np.zeros((2, 3, 3)))
    with pytest.raises(InputError, match="no such image"):
        pixels.FilePixels.of([tmp_path / "a.png"])
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read as an image"):
        pixels.FilePixels.of([tmp_path / "b.png"])
    from PIL import Image

    Image.new("CMYK", (4, 4)).save(tmp_path / "c.jpg")
    with pytest.raises(InputError, match="CMYK"):
        pixels.FilePixels.of([tmp_path / "c.jpg"])
    Image.new("I;16", (4, 4)).save(tmp_path / "d.png")
    with pytest.raises(InputError, match="more than 8 bits"):
        pixels.FilePixels.of([tmp_path / "d.png"])
    whole = pixels.jpeg(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    (tmp_path / "e.jpg").write_bytes(whole[: len(whole) // 2])
    files = pixels.FilePixels.of([tmp_path / "e.jpg"])
    with pytest.raises(InputError, match="breaks off"):
        files.read(0)


def test_exif_turns_the_image_upright(tmp_path):
    from PIL import Image

    image = Image.fromarray(np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    files = pixels.FilePixels.of([tmp_path / "turned.png"])
    assert tuple(files.sizes[0]) == (4, 6)
    assert files.read(0).shape == (6, 4, 3)


def test_one_landmark_makes_no_box():
    points = np.array([[[3.0, 4.0], [9.0, 9.0]], [[3.0, 4.0], [9.0, 8.0]]], np.float32)
    visible = np.array([[True, False], [True, True]])
    images = LabelledImages(
        pixels.ArrayPixels(np.zeros((2, 16, 16, 3), np.uint8)), Landmarks(points, visible)
    )
    boxes = crops.label_boxes(images)
    assert np.isnan(boxes[0]).all()
    np.testing.assert_array_equal(boxes[1], [3, 4, 9, 8])
