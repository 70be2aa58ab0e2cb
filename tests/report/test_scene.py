"""What is shown: frames, alignments, guesses; all against what is known of the walker."""

import dataclasses

import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.geometry import guess_links
from jnrsfm.report.links import pairs_from_names
from jnrsfm.report.scene import HIDDEN, SEEN, UNDEFINED, build_scene, pick_frames
from jnrsfm.report.steady import steady_rotations, upright
from jnrsfm.types import Cameras, Landmarks, Reconstruction

pytestmark = pytest.mark.fast


def test_steady_rotations_undo_the_cameras_of_a_rigid_shape(walker, rng):
    body = walker.walker_shape(1)[0]
    body -= body.mean(0)
    turns = walker.random_rotations(rng, 20)
    drawn = rng.random((20, 15)) > 0.1
    a, _ = steady_rotations(np.einsum("fij,pj->fpi", turns, body), np.ones((20, 15), bool))
    together = a @ turns  # one and the same rotation for all frames
    np.testing.assert_allclose(together, np.broadcast_to(together[0], together.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(a), 1.0, atol=1e-12)
    noise = np.where(drawn[..., None], 0.0, 1e6)  # what is not drawn has no part, however wild
    b, _ = steady_rotations(np.einsum("fij,pj->fpi", turns, body) + noise, drawn)
    together = b @ turns
    np.testing.assert_allclose(together, np.broadcast_to(together[0], together.shape), atol=1e-6)


def test_mirrored_frames_are_not_mirrored_back(walker, rng):
    body = walker.walker_shape(1)[0]
    shape = np.stack([body, body * [1, 1, -1]]) - body.mean(0) * [1, 1, 0]
    shape -= shape.mean(1, keepdims=True)
    a, _ = steady_rotations(shape, np.ones((2, 15), bool))
    np.testing.assert_allclose(np.linalg.det(a), 1.0, atol=1e-12)


def test_the_walker_stands_up_under_random_cameras(walker):
    landmarks, result, _ = walker.example(60, cameras="random", noise=0.0)
    scene = build_scene(landmarks, result)
    assert scene.up_from == "the point names"
    shown = np.einsum("fij,fpj->fpi", scene.steady, scene.shape)
    names = list(walker.NAMES)
    head, feet = (
        shown[:, names.index("head"), 1],
        shown[:, [names.index("left foot"), names.index("right foot")], 1],
    )
    assert (head < feet.min(1) - 1.0).all()  # y points down, and the walker is 1.6 high
    across = shown[:, names.index("left hip")] - shown[:, names.index("right hip")]
    assert (across[:, 0] > 0.15).all()  # it faces us: its left on our right
    np.testing.assert_allclose(np.linalg.det(scene.steady), 1.0, atol=1e-9)


@pytest.mark.parametrize(("cameras", "ordered"), [("orbit", True), ("random", False)])
def test_an_unmarked_video_is_told_from_a_set_of_pictures(walker, cameras, ordered):
    landmarks, result, _ = walker.example(48, cameras=cameras, fps=None)
    assert build_scene(landmarks, result).ordered is ordered


def test_up_comes_from_the_images_where_they_agree(walker):
    landmarks, result, _ = walker.example(48)
    scene = build_scene(landmarks, result)
    assert (scene.up_from, scene.start_view) == ("the images", "camera")


@pytest.mark.parametrize("degenerate", ["point", "line"])
def test_upright_is_a_rotation_for_degenerate_shapes(degenerate):
    mean = np.zeros((4, 3))
    if degenerate == "line":
        mean[:, 0] = np.arange(4) - 1.5
    rotation, _ = upright(mean, np.stack([np.eye(3), np.diag([1.0, -1.0, -1.0])]))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_guessed_links_are_the_bones_of_an_articulated_body(walker):
    shape = walker.walker_shape(40)
    shape = np.delete(
        shape, [0, 1, 2, 3, 6, 9, 12], axis=1
    )  # the limbs' ends: knees to feet, elbows to hands
    links = {tuple(e) for e in guess_links(shape, np.ones(shape.shape[:2], bool)).tolist()}
    assert {(0, 1), (2, 3), (4, 5), (6, 7)} <= links
    assert len(links) == 7  # a tree over 8 points


def test_points_never_drawn_together_are_not_linked(rng):
    drawn = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)
    assert guess_links(rng.normal(size=(2, 4, 3)), drawn).tolist() == [[0, 1], [2, 3]]
    assert guess_links(np.zeros((2, 1, 3)), np.ones((2, 1), bool)).shape == (0, 2)
    same = guess_links(np.zeros((3, 4, 3)), np.ones((3, 4), bool))  # all points coincide: still a tree
    assert len(same) == 3


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("nose", "Left_Eye", "Right_Eye"), [[1, 2]]),
        (("root", "lfoot", "rfoot", "lhand", "rhand"), [[1, 2], [3, 4]]),
        (("hip_L", "hip_R", "knee.L", "knee.R"), [[0, 1], [2, 3]]),
        (("lip", "rip"), []),
        (None, []),
    ],
)
def test_pairs_from_names(names, pairs):
    assert pairs_from_names(names).tolist() == pairs


def test_frames_are_thinned_within_clips():
    clip = np.repeat([0, 1, 2], [7, 1, 10])
    kept, stride = pick_frames(clip, 5, limit=8)
    assert (kept.tolist(), stride) == ([0, 3, 6, 7, 8, 11, 14, 17], 3)
    kept, stride = pick_frames(clip, 5, limit=18)
    assert (len(kept), stride) == (18, 1)
    kept, _ = pick_frames(np.arange(5000), 5)  # every frame its own clip
    assert len(kept) == 1500
    kept, _ = pick_frames(np.zeros(5000, int), 4000)  # many points, fewer frames
    assert len(kept) <= 100


def test_states_and_errors_by_hand():
    points3d = np.array([[[0, 0, 0], [3, 0, 1], [0, 3, 2], [9, 9, 9]]], float)
    seen = np.array([[True, True, False, False]])
    defined = np.array([[True, True, True, False]])
    landmarks = Landmarks(points3d[..., :2] + [[[0.0, 0], [0, 3], [77, 77], [0, 0]]], seen, defined=defined)
    scene = build_scene(landmarks, Reconstruction(points3d, Cameras(np.eye(3)[None], np.zeros((1, 3)))))
    assert scene.state.tolist() == [[SEEN, SEEN, HIDDEN, UNDEFINED]]
    # residuals 0 and 3, so RMS 3/sqrt(2); the box of the two seen points (0,0), (3,3) has side 3
    assert scene.error2d[0] == pytest.approx(0.5**0.5)
    np.testing.assert_allclose(scene.shape[0, 0], [-1, -1, -1])
    assert np.isnan(scene.observed[0, 2:]).all()


def test_a_reconstruction_without_translations_is_drawn_where_the_points_are(walker):
    landmarks, _, truth = walker.example(6)
    scale = np.asarray(truth.scale)[:, None, None]
    centred = Reconstruction(np.asarray(truth.points3d) * scale, Cameras(truth.rotations))
    scene = build_scene(landmarks, centred)
    assert np.nanmax(scene.error2d) < 0.05


def test_hidden_coordinates_never_leak(walker):
    landmarks, result, truth = walker.example(10)
    wild = np.where(np.asarray(landmarks.visible)[..., None], landmarks.points2d, np.nan)
    one, two = (build_scene(x, result, truth) for x in (landmarks, landmarks.replace(points2d=wild)))
    for field in dataclasses.fields(one):
        np.testing.assert_equal(getattr(two, field.name), getattr(one, field.name))


def test_the_reference_is_fitted_by_one_scale_and_a_mirror_for_each_clip(walker):
    landmarks, _, truth = walker.example(20, clips=2)
    result = truth.replace(points3d=np.asarray(truth.points3d) * 4.0).flip(np.arange(20) >= 10)
    scene = build_scene(landmarks, result, truth)
    assert scene.flipped == (1,)
    np.testing.assert_allclose(scene.error3d, 0.0, atol=1e-5)
    np.testing.assert_allclose(scene.reference, scene.shape, atol=1e-4)
    # one mirrored frame within a clip stays wrong: that is what the reader is to see
    scene = build_scene(landmarks, truth.flip(np.arange(20) == 3), truth)
    assert scene.flipped == ()
    assert scene.error3d[3] > 0.1
    assert np.delete(scene.error3d, 3).max() < 1e-5


def test_unknown_reference_points_are_left_out(walker):
    landmarks, _, truth = walker.example(4)
    known = np.ones((4, 15), bool)
    known[1, 5], known[2] = False, False
    wild = np.where(known[..., None], truth.points3d, 1e9)
    scene = build_scene(landmarks, truth, truth.replace(points3d=wild, valid3d=known))
    assert np.isnan(scene.reference[~known]).all()
    np.testing.assert_allclose(scene.reference[known], scene.shape[known], atol=1e-6)
    assert np.isnan(scene.error3d[2])


def test_mismatches_are_named(walker):
    landmarks, result, truth = walker.example(6)
    with pytest.raises(
        InputError, match="reconstruction has 5 frames x 15 points, the landmarks have 6 x 15"
    ):
        build_scene(landmarks, result.select(slice(5)))
    with pytest.raises(InputError, match="reference has 3 frames"):
        build_scene(landmarks, result, truth.select(slice(3)))
    with pytest.raises(InputError, match="nothing to show, the landmarks have 0 frames"):
        build_scene(landmarks.select(slice(0)), result.select(slice(0)))
