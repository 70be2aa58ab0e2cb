"""The development image sets: all read, with the counts that their description gives."""

import json

import numpy as np
import pytest

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.report import contact_sheet

pytestmark = pytest.mark.data

# images, points, share of labelled points that is visible (None: not stated), clips
SETS = {
    "keypoints/openfield_mouse": (87, 4, 1.0, None),
    "keypoints/reaching_mouse": (42, 5, 0.85, None),
    "keypoints/mirror_mouse": (68, 17, 0.91, None),
    "keypoints/fly_top": (75, 32, 1.0, None),
    "keypoints/deepfly_7cam": (77, 38, None, 7),
    "keypoints/sleap_mouse_3cam": (69, 15, None, 3),
    "keypoints/sleap_mouse_4cam": (360, 15, None, 4),
    "keypoints/fly_pair": (414, 24, 0.92, 2),
    "video/horse_walk": (231, 22, 0.80, 1),
    "video/horses_masked": (226, 0, None, None),
}


@pytest.mark.filterwarnings("ignore:.*key 'swap'")  # fly_top's table has a slip
@pytest.mark.parametrize("name", SETS)
def test_counts(data_dir, name):
    folder = data_dir / "images" / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not here")
    count, points, share, clips = SETS[name]
    found, images = io.image_info(folder)
    assert (found["images"], found["points"]) == (count, points)
    assert found["masks"] == (name == "video/horses_masked")
    assert (found["clips"] and found["clips"]["count"]) == clips
    if share is not None:
        assert found["visible"] == pytest.approx(share, abs=0.005)
    io.check_images(images, labels=points > 0)
    assert contact_sheet(images, most=4, side=48).std() > 10
    with np.load(folder.with_suffix(".npz")) as stored:
        if "points2d" in stored:
            assert np.asarray(images.landmarks.visible).sum() == stored["visible"].sum()
    if name == "keypoints/deepfly_7cam":
        assert found["labelled"] == 66  # the frontal camera has no 2D
        assert not io.read_images(folder, camera=3).labelled.any()
    if name == "keypoints/fly_top":
        left = [a for a, _ in np.asarray(images.landmarks.symmetric).tolist()]
        names = np.array(images.landmarks.names)
        pairs = names[np.asarray(images.landmarks.symmetric)]
        assert len(left) == 14
        assert all(
            a.replace("L", "?").replace("R", "?") == b.replace("L", "?").replace("R", "?") for a, b in pairs
        )


def test_tables_of_tools_without_their_images(data_dir):
    """Label files that came without images say what is missing, and are landmarks to `jnrsfm.read`."""
    files = data_dir / "tool_files"
    if not files.is_dir():
        pytest.skip("tool_files is not here")
    for name in (
        "coco/test_coco.json",
        "coco/test_zebra.json",
        "deeplabcut/dlc_testdata.csv",
        "deeplabcut/madlc_testdata_v2.csv",
        "deeplabcut/maudlc_testdata.csv",
        "sleap/minimal_instance.slp",
        "sleap/pred_test.slp",
    ):
        assert not io.holds_images(files / name)
        with pytest.raises(InputError, match=r"is not in .*: put the images there"):
            io.read_images(files / name)


def test_labels_of_tools_on_made_images(data_dir, tmp_path, draw):
    """The real tables over empty images of the right names: what they say is what `expected.json` says."""
    files = data_dir / "tool_files"
    if not files.is_dir():
        pytest.skip("tool_files is not here")
    coco = json.loads((files / "coco" / "test_coco.json").read_text())
    for picture in coco["images"]:
        draw(tmp_path, [picture["file_name"]], (picture["width"], picture["height"]))
    images = io.read_images(files / "coco" / "test_coco.json", images=str(tmp_path))
    assert images.landmarks.n_points == 17
    assert len(images) == len([a for a in coco["annotations"] if not a["iscrowd"]])
    assert np.asarray(images.landmarks.visible).sum() == sum(a["num_keypoints"] for a in coco["annotations"])
    assert images.masks.read(0).shape[:2] == (images.pixels.sizes[0, 1], images.pixels.sizes[0, 0])
    for name in ("dlc_testdata", "madlc_testdata_v2", "maudlc_testdata"):
        expected = json.loads((files / "deeplabcut" / "expected.json").read_text())[f"{name}.csv"]
        folder = draw(tmp_path / name, [f"labeled-data/video/img{i:03d}.png" for i in range(4)], (100, 100))
        (folder / "CollectedData.csv").write_bytes((files / "deeplabcut" / f"{name}.csv").read_bytes())
        images = io.read_images(folder)
        total = 4 * (
            len(expected["individuals"])
            if isinstance(expected["individuals"], list)
            else expected["individuals"]
        )
        visible = int(np.asarray(images.landmarks.visible).sum())
        assert visible == total * images.landmarks.n_points - expected["missing"]
