"""Folders with an npz, folders without labels, masks and boxes beside them, and what is refused."""

import json

import numpy as np
import pytest

import jnrsfm
from jnrsfm import cli, io
from jnrsfm.errors import InputError
from jnrsfm.inputs.crops import label_boxes, squares
from jnrsfm.report import contact_sheet
from jnrsfm.types import LabelledImages

pytestmark = pytest.mark.fast
NAMES = ("a.png", "b.png", "c.png", "d.png")


@pytest.fixture
def one(tmp_path, draw, labels):
    """A folder of four images and, beside it, what `write(**changes)` puts in their npz."""
    folder = draw(tmp_path / "set", NAMES)
    points = labels(4, 3)
    visible = np.ones((4, 3), bool)
    visible[1, 2] = visible[3] = False
    points[1, 2] = np.nan
    fields = {
        "files": np.array(NAMES), "points2d": points, "visible": visible, "names": np.array(["n", "l", "r"]),
        "edges": np.array([[0, 1]]), "swap": np.array([0, 2, 1]), "image_size": np.array([24, 16]),
    }  # fmt: skip

    def write(**changes):
        kept = {k: v for k, v in (fields | changes).items() if v is not None}
        np.savez(tmp_path / "set.npz", **kept)
        return folder

    write.fields = fields
    return write


def test_a_folder_with_its_npz(one):
    folder = one(time=np.array([3, 4, 5, 0]), score=np.full((4, 3), 1.2), fps=np.float32(9))
    for path in (folder, folder.with_name("set.npz")):
        images = io.read_images(path)
        assert images.pixels.names == NAMES
        np.testing.assert_array_equal(images.labelled, [True, True, True, False])
        np.testing.assert_array_equal(images.landmarks.sequence, [0, 0, 0, 1])
        np.testing.assert_array_equal(images.landmarks.symmetric, [[1, 2]])
        assert images.landmarks.fps == 9
        assert np.asarray(images.landmarks.confidence).max() == 1
        assert images.pixels.read(2)[0, 0].tolist() == [20, 20, 20]
    assert isinstance(jnrsfm.read(folder), LabelledImages)
    assert jnrsfm.read(folder.with_name("set.npz")).n_points == 3  # the npz alone is landmarks, as before
    found, _ = io.image_info(folder)
    assert (found["images"], found["labelled"], found["points"], found["fewest_visible"]) == (4, 3, 3, 2)
    assert found["visible"] == pytest.approx(8 / 9)
    assert found["clips"] == {"count": 2, "shortest": 1, "longest": 3}
    assert found["sizes"] == [{"width": 24, "height": 16, "images": 4}]
    assert "3 of 4" in io.format_images(found)


def test_individuals_splits_and_jumps_make_clips(one):
    folder = one(time=np.array([0, 0, 1, 1]), fly=np.array([7, 2, 7, 2]))
    images = io.read_images(folder)
    assert images.pixels.names == ("b.png", "d.png", "a.png", "c.png")
    np.testing.assert_array_equal(images.landmarks.sequence, [0, 0, 1, 1])
    np.testing.assert_array_equal(images.labelled, [True, False, True, True])
    folder = one(time=np.array([0, 1, 2, 30]), split=np.array(["val", "train", "train", "train"]))
    images = io.read_images(folder, split="train")
    assert images.pixels.names == ("b.png", "c.png", "d.png")
    np.testing.assert_array_equal(
        images.landmarks.sequence, [0, 0, 0]
    )  # two steps say nothing of a usual one
    from jnrsfm.io.images.npz_set import clips

    np.testing.assert_array_equal(clips(np.array([0, 1, 2, 3, 30, 31]), []), [0, 0, 0, 0, 1, 1])


def test_cameras_one_after_the_other(tmp_path, draw, labels):
    files = np.array([["l0.png", "r0.png"], ["l1.png", "r1.png"]])
    draw(tmp_path / "set", files.T.reshape(-1))
    points = labels(4, 3).reshape(2, 2, 3, 2)
    k = np.stack([np.diag([f, f, 1]) for f in (50.0, 60.0)]).astype(np.float32)
    np.savez(
        tmp_path / "set.npz", files=files, points2d=points, intrinsics=k, camera_names=np.array(["left", "right"]),
        time=np.array([0, 1]), visible=np.ones((2, 2, 3), bool),
    )  # fmt: skip
    images = io.read_images(tmp_path / "set")
    assert images.pixels.names == ("l0.png", "l1.png", "r0.png", "r1.png")
    np.testing.assert_array_equal(images.landmarks.sequence, [0, 0, 1, 1])
    np.testing.assert_array_equal(np.asarray(images.landmarks.intrinsics)[:, 0, 0], [50, 50, 60, 60])
    right = io.read_images(tmp_path / "set", camera="right")
    np.testing.assert_array_equal(right.landmarks.points2d, points[:, 1])
    assert np.asarray(right.landmarks.intrinsics).shape == (3, 3)
    assert right.pixels.read(1)[0, 0, 0] == 30
    with pytest.raises(InputError, match="no camera 'top': choose from left, right"):
        io.read_images(tmp_path / "set", camera="top")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"files": np.array([*NAMES[:3], "e.png"])}, "image 'e.png' is not in"),
        ({"files": np.array([*NAMES[:3], "a.png"])}, "'a.png' is named twice"),
        ({"files": np.array(NAMES[:3])}, "names 3 images"),
        ({"image_size": np.array([24, 17])}, r"a.png is 24 x 16 pixels, its labels state 24 x 17 .*4 such images"),
        ({"points2d": np.full((4, 3, 2), 23.0)}, r"a.png: point 'n' is at \(23, 23\), outside its 24 x 16 .*8 such"),
        ({"names": np.array(["n", "n", "r"])}, "two points are called 'n'"),
        ({"swap": np.array([0, 3, 1])}, "must name a point from 0 to 2"),
        ({"boxes": np.array([[0, 0, 9, 9]] * 3 + [[9, 9, 2, 2]])}, "d.png: its box .* is empty"),
        ({"masks": np.zeros((4, 15, 3), np.uint8)}, "'masks': has shape"),
        ({"split": np.array(["a"] * 4)}, "choose from a"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(one, changes, says):
    folder = one(**changes)
    options = {"split": "b"} if "split" in changes else {}
    with pytest.raises(InputError, match=says) as error:
        io.read_images(folder, **options)
    assert "\n" not in str(error.value)


def test_a_partner_that_has_another_is_said(one):
    folder = one(names=None, points2d=np.zeros((4, 4, 2)), visible=None, swap=np.array([1, 0, 3, 1]))
    with pytest.warns(UserWarning, match="point 2 has partner 3, which has partner 1"):
        images = io.read_images(folder)
    np.testing.assert_array_equal(images.landmarks.symmetric, [[0, 1], [2, 3]])


def test_points_outside_can_be_hidden(one):
    points = np.array(one.fields["points2d"])
    points[0, 1] = 200, 5
    folder = one(points2d=points)
    with pytest.raises(InputError, match=r"point 'l' is at \(200, 5\)"):
        io.read_images(folder)
    images = io.read_images(folder, outside="hide")
    assert not images.landmarks.visible[0, 1]
    assert np.asarray(images.landmarks.visible).sum() == one.fields["visible"].sum() - 1
    with pytest.raises(InputError, match="choose refuse or hide"):
        io.read_images(folder, outside="maybe")


def test_exif_says_which_way_is_up(one):
    from PIL import Image

    folder = one()
    image = Image.new("RGB", (24, 16))
    exif = image.getexif()
    exif[274] = 6
    image.save(folder / "a.png", exif=exif)
    with pytest.raises(
        InputError, match="EXIF turns it upright to 16 x 24 pixels, its labels state the unturned 24 x 16"
    ):
        io.read_images(folder)
    sizes = np.array([[16, 24]] + [[24, 16]] * 3)
    images = io.read_images(one(image_size=None, image_sizes=sizes, points2d=np.full((4, 3, 2), 9.0)))
    np.testing.assert_array_equal(images.pixels.sizes, sizes)


def test_files_that_are_no_8_bit_images(tmp_path, draw):
    from PIL import Image

    folder = draw(tmp_path / "set", ["a.png"])
    for name, mode, says in (("b.png", "I;16", "more than 8 bits"), ("b.jpg", "CMYK", "CMYK")):
        Image.new(mode, (4, 4)).save(folder / name)
        with pytest.raises(InputError, match=says):
            io.read_images(folder)
        (folder / name).unlink()
    (folder / "b.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"b.png: cannot be read as an image"):
        io.read_images(folder)


def test_images_without_labels(tmp_path, draw):
    folder = draw(tmp_path / "set", ["img10.png", "img2.png", "notes/x.png"])
    images = io.read_images(folder)
    assert images.pixels.names == ("img2.png", "img10.png")
    assert images.landmarks.points2d.shape == (2, 0, 2)
    assert images.landmarks.sequence is None
    assert not images.labelled.any()
    io.check_images(images)
    with pytest.raises(InputError, match="none of the 2 images has labels"):
        io.check_images(images, labels=True)
    assert squares(label_boxes(images), images.pixels.sizes).side.tolist() == [24, 24]
    np.testing.assert_array_equal(io.read_images(folder, clip=True, fps=5).landmarks.sequence, [0, 0])
    assert len(io.read_images(folder / "img2.png")) == 1
    assert not io.holds_images(tmp_path)  # of its folders only
    assert contact_sheet(images, side=32).ndim == 3
    with pytest.raises(InputError, match="no images in this folder"):
        io.read_images(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder is empty"):
        io.read_images(tmp_path / "empty")
    with pytest.raises(InputError, match="no such file or folder"):
        io.read_images(tmp_path / "none")
    with pytest.raises(InputError, match=r"has no option 'camra'.*landmarks, clip, fps, outside"):
        io.read_images(folder, camra=1)
    with pytest.raises(InputError, match="unknown image format 'foldr'"):
        io.read_images(folder, "foldr")


def test_a_run_folder_is_no_image_set(tmp_path, draw):
    folder = draw(tmp_path, ["report.png"])
    for name in ("config.yaml", "landmarks.npz"):
        (folder / name).touch()
    assert not io.holds_images(folder)


def test_landmarks_of_another_file(tmp_path, draw, landmarks):
    folder = draw(tmp_path / "set", [f"{i}.png" for i in range(5)], (400, 400))
    io.write_landmarks(tmp_path / "a.npz", landmarks.replace(points2d=np.abs(landmarks.points2d)))
    images = io.read_images(folder, landmarks=str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(images.landmarks.visible, landmarks.visible)
    draw(folder, ["6.png"])
    with pytest.raises(InputError, match=r"has 5 frames, .* has 6 images"):
        io.read_images(folder, landmarks=str(tmp_path / "a.npz"))


def test_masks_and_boxes_beside(tmp_path, draw, one):
    folder = one()
    masks = draw(tmp_path / "masks", ["a.png", "b.png", "c.png"])
    with pytest.raises(InputError, match=r"d.png has no mask"):
        io.read_images(folder, masks=masks)
    draw(masks, ["d.png"], (24, 17))
    with pytest.raises(InputError, match=r"d.png is 24 x 16 pixels, its mask 24 x 17"):
        io.read_images(folder, masks=masks)
    draw(masks, ["d.png"])
    table = tmp_path / "boxes.csv"
    table.write_text("name,left,top,right,bottom\nb.png, 1, 2, 10, 11.5\n")
    images = io.read_images(folder, masks=masks, boxes=table)
    assert images.masks.read(1)[0, 0, 0] == 10
    np.testing.assert_array_equal(images.boxes[1], [1, 2, 10, 11.5])
    assert np.isnan(images.boxes[[0, 2, 3]]).all()
    for row, says in (
        ("x.png,1,2,3,4", "no image 'x.png'"),
        ("b.png,1,2,3", "expected name, left"),
        ("a.png,5,5,1,1", "is empty or outside"),
    ):
        table.write_text(f"b.png,1,2,10,11\n{row}\n")
        with pytest.raises(InputError, match=says):
            io.read_images(folder, boxes=table)


def test_packed_masks(one):
    whole = np.random.default_rng(0).random((4, 16, 24)) > 0.5
    for stored in (np.packbits(whole, axis=-1), whole):
        images = io.read_images(one(masks=stored))
        np.testing.assert_array_equal(images.masks.read(3)[..., 1] == 255, whole[3])
        assert images.select(np.array([3])).masks.read(0).dtype == np.uint8


def test_info_and_its_contact_sheet(one, tmp_path, capsys):
    folder = one()
    assert cli.main(["info", str(folder), "--json", "--png", str(tmp_path / "sheet.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["format"]) == (4, "image-npz")
    assert len(io.read_images(tmp_path / "sheet.png")) == 1
    assert cli.main(["info", str(folder.with_name("set.npz")), "--format", "image-npz"]) == 0
    assert "3 of 4" in capsys.readouterr().out


def test_the_sheet_shows_a_point_where_it_is(tmp_path, draw):
    folder = draw(tmp_path / "set", ["a.png"], (101, 101))
    np.savez(
        tmp_path / "set.npz", files=np.array(["a.png"]), points2d=np.array([[[50.0, 50], [25, 50], [75, 50]]])
    )
    sheet = contact_sheet(io.read_images(folder), side=66).astype(int)
    red = (sheet[..., 0] > 200) & (sheet[..., 1:] < 60).all(-1)  # point 0
    y, x = np.argwhere(red).mean(0)
    assert abs(x - (4 + 32.5)) < 1
    assert abs(y - (4 + 32.5)) < 1
