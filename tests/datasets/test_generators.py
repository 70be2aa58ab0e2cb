"""Every generator: exact truth, cameras as asked, honest gaps, the same set from the same seed."""

import dataclasses

import jax
import numpy as np
import pytest

from jnrsfm.datasets import GENERATORS, DatasetConfig, configure, grid_faces, make
from jnrsfm.datasets.views import object_size
from jnrsfm.errors import InputError

FIGURES = ("walker", "quadruped", "hand", "sheet", "chair", "categories")
CAMERAS = ("orthographic", "weak-perspective", "perspective")


def small(name, **options):
    clips = {"chair": 1, "categories": 5}.get(name, 2)
    return make(name, **({"frames": 60, "clips": clips} | options))


def azimuths(truth):
    """Direction of the camera in the object's frame, around its vertical, in degrees."""
    z = np.asarray(truth.rotations)[:, 2]
    return np.degrees(np.arctan2(z[:, 0], z[:, 2]))


def elevations(truth):
    """How far the camera looks down on the object, in degrees."""
    return np.degrees(np.arcsin(np.clip(np.asarray(truth.rotations)[:, 2, 1], -1, 1)))


@pytest.mark.fast
@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("camera", CAMERAS)
def test_truth_reprojects_to_the_landmarks(name, camera):
    landmarks, truth = small(name, camera=camera, missing=0.1, seed=3)
    rotations = np.asarray(truth.rotations, np.float64)
    np.testing.assert_allclose(
        rotations @ rotations.mT, np.broadcast_to(np.eye(3), rotations.shape), atol=1e-6
    )
    assert (np.linalg.det(rotations) > 0).all()
    seen = landmarks.visible
    error = np.abs(np.asarray(truth.points2d) - landmarks.points2d)[seen]
    assert error.max() < (1e-5 if camera == "orthographic" else 5e-3)
    assert (landmarks.points2d[~seen] == 0).all()
    assert truth.cameras.model == landmarks.camera == camera
    assert truth.mirror == "reference"
    if camera == "perspective":
        assert (np.asarray(truth.camera_points)[..., 2][truth.valid3d] > 0).all()
        np.testing.assert_array_equal(landmarks.intrinsics, truth.cameras.intrinsics)
    # The exact truth of hidden points is there: the shape is whole whatever is seen.
    whole = small(name, camera=camera, seed=3)[1]
    np.testing.assert_array_equal(whole.points3d, truth.points3d)


@pytest.mark.parametrize("name", FIGURES)
def test_records_are_consistent(name):
    landmarks, truth = small(name)
    f, p = landmarks.n_frames, landmarks.n_points
    assert landmarks.points2d.shape == (f, p, 2)
    assert truth.points3d.shape == (f, p, 3)
    assert f == 60
    assert len(landmarks.names) == len(set(landmarks.names)) == p
    assert landmarks.edges.min() >= 0
    assert landmarks.edges.max() < p
    if landmarks.symmetric is not None:
        for a, b in landmarks.symmetric:
            assert landmarks.names[a].replace("left", "right") == landmarks.names[b]
            assert a != b
    assert (np.diff(landmarks.sequence) >= 0).all()
    for record in (landmarks, truth):
        for value in jax.tree.leaves(record):
            assert value.dtype in (np.float32, np.int32, bool)
            assert np.isfinite(value).all()
    if landmarks.defined is not None:
        assert not (landmarks.visible & ~landmarks.defined).any()


@pytest.mark.fast
@pytest.mark.parametrize("name", ["quadruped", "hand"])
def test_articulated_bones_keep_their_length(name):
    _, truth = make(name, frames=240, clips=4, seed=1)
    bones = truth.points3d[:, truth.edges[:, 0]] - truth.points3d[:, truth.edges[:, 1]]
    lengths = np.linalg.norm(bones, axis=-1)
    assert np.abs(lengths - lengths[:1]).max() < 1e-5
    shapes = (truth.points3d - truth.points3d.mean(1, keepdims=True)).reshape(240, -1)
    assert np.std(shapes, axis=0).max() > 0.02 * object_size(truth.points3d)


@pytest.mark.fast
def test_sheet_bends_without_stretching():
    _, truth = make("sheet", frames=120, clips=4, rows=7, cols=9, seed=2)
    bones = truth.points3d[:, truth.edges[:, 0]] - truth.points3d[:, truth.edges[:, 1]]
    lengths = np.linalg.norm(bones, axis=-1)
    flat = lengths.max(0)
    # A chord is shorter than its arc by a few percent where the sheet bends most, and never longer.
    assert (lengths / flat).min() > 0.93
    assert (lengths / flat).mean() > 0.995
    assert flat.min() > 0.95 / 8
    assert flat.max() < 1.4 / 8 * (1 + 1e-3)
    depth = np.ptp(truth.points3d[..., 2], axis=1)
    assert depth.max() > 0.25
    faces = grid_faces(7, 9)
    assert faces.shape == (2 * 6 * 8, 3)
    area = truth.points3d[0][faces]
    normal = np.cross(area[:, 1] - area[:, 0], area[:, 2] - area[:, 0])
    assert np.linalg.norm(normal, axis=-1).sum() / 2 == pytest.approx(1.4, rel=0.05)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["demo", "categories", "chair"])
def test_same_seed_same_set(name):
    options = {"clips": 2} if name == "demo" else {}
    one, two = (small(name, seed=7, confidence=True, noise=0.01, **options) for _ in range(2))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
    other = small(name, seed=8, **options)[1]
    assert np.abs(other.points3d - one[1].points3d).max() > 0.01


def test_streams_are_apart():
    """Another noise or camera leaves the motion as it is; another noise leaves the cameras too."""
    _, plain = small("walker")
    _, noisy = small("walker", noise=0.05, missing=0.2, limb_occlusion=0.1)
    _, turned = small("walker", view="random")
    np.testing.assert_array_equal(plain.points3d, noisy.points3d)
    np.testing.assert_array_equal(plain.rotations, noisy.rotations)
    np.testing.assert_array_equal(plain.points3d, turned.points3d)
    assert np.abs(plain.rotations - turned.rotations).max() > 0.1


@pytest.mark.fast
def test_views():
    still = {"frames": 400, "clips": 2, "turning": 0.0}
    _, ring = make("walker", view="ring", elevation=(10.0, 30.0), **still)
    assert elevations(ring).min() > 10 - 1e-3
    assert elevations(ring).max() < 30 + 1e-3
    quarters = np.histogram(azimuths(ring), 4, (-180, 180))[0]
    assert quarters.min() > 60

    _, orbit = make("walker", view="orbit", degrees_per_frame=2.0, elevation=(0.0, 20.0), **still)
    turn = np.diff(azimuths(orbit)[:200])
    turn = np.abs((turn + 180) % 360 - 180)
    np.testing.assert_allclose(turn, 2.0, atol=1e-2)

    _, fixed = make("walker", view="fixed", **still)
    step = np.asarray(fixed.rotations)[1:200] @ np.asarray(fixed.rotations)[:199].mT
    assert np.degrees(np.arccos(np.clip((np.trace(step, axis1=1, axis2=2) - 1) / 2, -1, 1))).max() < 1
    _, turned = make("walker", view="fixed", frames=400, clips=2, turning=3.0, gaits=("walk",))
    total = np.abs(np.diff(np.unwrap(np.radians(azimuths(turned)[:200])))).sum()
    assert np.degrees(total) > 250

    _, held = make("walker", view="handheld", elevation=(-10.0, 40.0), **still)
    assert elevations(held).min() > -10 - 1e-3
    assert elevations(held).max() < 40 + 1e-3
    assert np.ptp(elevations(held)) > 40

    _, tumble = make("walker", view="tumble", degrees_per_frame=4.0, frames=2000, clips=2, turning=0.0)
    rotations = np.asarray(tumble.rotations)
    assert np.abs(rotations[:, 2].mean(0)).max() < 0.35
    step = rotations[1:1000] @ rotations[:999].mT
    angle = np.degrees(np.arccos(np.clip((np.trace(step, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 3 < np.sqrt((angle**2).mean()) < 5
    assert angle.max() < 12

    # Haar: the mean of the rotations vanishes as 1 / sqrt(F).
    _, anyhow = make("walker", view="random", frames=2000, clips=2)
    assert np.abs(np.asarray(anyhow.rotations).mean(0)).max() < 0.06


def test_distance_focal_and_principal_point():
    options = {"distance": 2.0, "distance_variation": 0.0, "focal": 800.0, "principal": (310.0, 250.0)}
    landmarks, truth = make("walker", frames=80, clips=2, image_size=(640, 480), **options)
    size = object_size(truth.points3d)
    centre = np.asarray(truth.camera_points).mean(1)
    np.testing.assert_allclose(centre[:, 2], 2 * size, rtol=1e-4)
    np.testing.assert_allclose(centre[:, :2], 0, atol=1e-4)
    np.testing.assert_allclose(landmarks.intrinsics, [[800, 0, 310], [0, 800, 250], [0, 0, 1]])
    # Strong perspective: near and far points of a frame differ clearly in depth, hence in scale.
    depth = np.asarray(truth.camera_points)[..., 2]
    assert (depth.max(1) / depth.min(1)).mean() > 1.1
    aside, _ = make("walker", frames=80, clips=2, off_centre=0.1)
    assert np.ptp(aside.points2d.mean(1)[:, 0]) > 100


def test_weak_perspective_is_the_perspective_image_to_first_order():
    far = {"frames": 30, "clips": 1, "distance": 200.0, "off_centre": 0.05, "seed": 4}
    weak, _ = make("walker", camera="weak-perspective", **far)
    full, _ = make("walker", camera="perspective", **far)
    assert np.abs(weak.points2d - full.points2d).max() < 3


@pytest.mark.fast
@pytest.mark.parametrize("option", ["missing", "limb_occlusion", "bar_occlusion"])
@pytest.mark.parametrize("name", ["walker", "categories"])
def test_gaps_are_as_large_as_asked(option, name):
    landmarks, _ = make(name, frames=600, clips=6, min_visible=1, **{option: 0.2})
    defined = np.ones_like(landmarks.visible) if landmarks.defined is None else landmarks.defined
    assert 1 - landmarks.visible[defined].mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.fast
def test_limbs_vanish_whole_and_for_stretches():
    landmarks, _ = make("walker", frames=600, clips=6, limb_occlusion=0.15)
    hidden = ~landmarks.visible
    knee, ankle, toe = (hidden[:, landmarks.names.index(f"left_{p}")] for p in ("knee", "ankle", "toe"))
    assert knee.any()
    assert (ankle[knee] & toe[knee]).all()
    # Hidden runs are long: a point that is hidden was so in the frame before nearly always.
    stays = hidden[1:] & hidden[:-1] & (np.diff(landmarks.sequence) == 0)[:, None]
    assert stays.sum() / hidden.sum() > 0.9
    # At random a point is hidden again with the mean probability only.
    random, _ = make("walker", frames=600, clips=6, missing=0.15)
    gone = ~random.visible
    assert (gone[1:] & gone[:-1]).sum() / gone.sum() < 0.25


def test_bar_hides_what_is_under_it():
    landmarks, truth = make("walker", frames=300, clips=3, bar_occlusion=0.25, min_visible=1, turning=0.0)
    x = np.asarray(truth.points2d)[..., 0]
    for f in range(300):
        gone = np.sort(x[f][~landmarks.visible[f]])
        if len(gone) > 1:
            inside = (x[f] > gone[0]) & (x[f] < gone[-1])
            assert not landmarks.visible[f][inside].any()


@pytest.mark.parametrize("name", FIGURES)
def test_enough_points_stay_visible(name):
    landmarks, _ = small(name, missing=0.7, limb_occlusion=0.4, bar_occlusion=0.4, frames=200)
    assert landmarks.visible.sum(1).min() >= 6


@pytest.mark.fast
def test_noise_is_as_large_as_asked_and_confidence_tells():
    options = {"frames": 400, "clips": 2, "seed": 1}
    clean, _ = make("walker", **options)
    pixels, _ = make("walker", noise=3.0, noise_unit="pixels", confidence=True, **options)
    error = pixels.points2d - clean.points2d
    assert 2.7 < np.sqrt((error**2).mean()) < 4.0
    assert abs(error.mean()) < 0.15
    relative, _ = make("walker", noise=0.01, **options)
    box = np.linalg.norm(np.ptp(clean.points2d, axis=1), axis=-1).mean()
    assert 0.009 < np.std(relative.points2d - clean.points2d) / box < 0.0135

    size = np.linalg.norm(error, axis=-1)
    sure = pixels.confidence > np.median(pixels.confidence)
    assert size[sure].mean() < 0.8 * size[~sure].mean()
    assert pixels.confidence.min() >= 0.05
    assert pixels.confidence.max() <= 1
    wild, _ = make("walker", noise=0.002, outliers=0.05, confidence=True, **options)
    far = np.linalg.norm(wild.points2d - clean.points2d, axis=-1) > 0.03 * box
    assert 0.02 < far.mean() < 0.06
    assert wild.confidence[far].mean() < 0.2
    assert wild.confidence[~far].mean() > 0.6
    assert clean.confidence is None


@pytest.mark.fast
def test_categories_have_blocks_of_their_own():
    landmarks, truth = make("categories", frames=100, clips=10)
    assert landmarks.categories == ("walker", "quadruped", "hand", "sheet", "chair")
    used = np.zeros(landmarks.n_points, int)
    for c, name in enumerate(landmarks.categories):
        frames = landmarks.category == c
        assert frames.sum() == 20
        block = landmarks.defined[frames].any(0)
        used += block
        assert all(n.startswith(f"{name}:") for n in np.array(landmarks.names)[block])
        points, known = truth.points3d[frames], landmarks.defined[frames][..., None]
        centred = (points - (points * known).sum(1, keepdims=True) / known.sum(1, keepdims=True)) * known
        assert np.sqrt((centred**2).sum() / known.sum()) == pytest.approx(1, abs=1e-4)
    assert (used == 1).all()
    for a, b in (*landmarks.edges, *landmarks.symmetric):
        assert landmarks.names[a].split(":")[0] == landmarks.names[b].split(":")[0]
    for clip in np.unique(landmarks.sequence):
        assert len(np.unique(landmarks.category[landmarks.sequence == clip])) == 1
    two, _ = make("categories", frames=40, clips=4, members=("hand", "chair"))
    assert two.n_points == 21 + 16


def test_chairs_differ_and_lack_arms():
    landmarks, truth = make("chair", frames=100)
    arms = np.array([n.startswith("arm") for n in landmarks.names])
    has = landmarks.defined[:, arms].all(1)
    assert 30 < has.sum() < 70
    assert landmarks.defined[:, ~arms].all()
    assert not landmarks.defined[~has][:, arms].any()
    assert len(np.unique(landmarks.sequence)) == 100
    assert np.std(truth.points3d[:, ~arms], axis=0).max() > 0.05


@pytest.mark.fast
def test_demo_is_hard_enough_and_solvable():
    landmarks, truth = make("demo")
    assert 800 <= landmarks.n_frames <= 1600
    assert landmarks.camera == "perspective"
    assert 0.05 < 1 - landmarks.visible.mean() < 0.25
    assert landmarks.visible.sum(1).min() >= 6
    depth = np.asarray(truth.camera_points)[..., 2].mean(1) / object_size(truth.points3d)
    assert 2.5 < depth.mean() < 3.5
    # The camera goes round in every clip, all the way round in some, and up and down.
    turned = [np.ptp(np.unwrap(np.radians(azimuths(truth)[landmarks.sequence == c]))) for c in range(8)]
    assert np.degrees(min(turned)) > 50
    assert np.degrees(max(turned)) > 300
    assert np.ptp(elevations(truth)) > 45
    # All of it is in the image.
    assert truth.points2d.min() > 0
    assert truth.points2d.max() < 1000


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frame": 10}, "no option 'frame': it has frames, clips"),
        ({"camera": "fisheye"}, "choose one of orthographic"),
        ({"view": "top"}, "choose one of random"),
        ({"gaits": ("walk", "swim")}, "gaits"),
        ({"gaits": ()}, "gaits"),
        ({"missing": 0.95}, "between 0 and 0.8"),
        ({"missing": float("nan")}, "finite float"),
        ({"noise": -1.0}, "at least 0"),
        ({"noise": "loud"}, "expected finite float"),
        ({"frames": 3, "clips": 2}, "at least 2 frames"),
        ({"frames": 10.5}, "expected int"),
        ({"clips": 0}, "at least 1"),
        ({"distance": 0.9}, "one object size away"),
        ({"elevation": (40.0, 10.0)}, "low, high"),
        ({"elevation": (40.0,)}, "2 entries"),
        ({"fps": 0.0}, "above 0"),
        ({"focal": -5.0}, "above 0, or None"),
        ({"image_size": (0, 100)}, "width, height"),
        ({"confidence": 1.0}, "expected bool"),
        ({"noise_unit": "inch"}, "size, pixels"),
    ],
)
def test_options_are_checked(options, said):
    with pytest.raises(InputError, match=said) as caught:
        make("walker", **options)
    assert "\n" not in str(caught.value)


def test_other_mistakes():
    with pytest.raises(InputError, match="no generator 'horse': choose one of demo, walker"):
        make("horse")
    with pytest.raises(InputError, match="rows=1"):
        make("sheet", rows=1)
    with pytest.raises(InputError, match="leave clips at 1"):
        make("chair", clips=4)
    with pytest.raises(InputError, match="once"):
        make("categories", members=("hand", "hand"))
    with pytest.raises(InputError, match="clips=2"):
        make("categories", clips=2)


def test_registry_and_configs():
    for name, generator in GENERATORS.items():
        assert generator.description
        assert "\n" not in generator.description
        assert isinstance(generator.config, DatasetConfig)
        assert configure(name, {"distance": 4, "elevation": [0, 10]}).elevation == (0.0, 10.0)
        changed = configure(name, {"noise": 0.5})
        assert changed == dataclasses.replace(generator.config, noise=0.5)
        with pytest.raises(dataclasses.FrozenInstanceError):
            changed.noise = 0.1
