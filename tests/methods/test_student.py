"""The student on pictures whose colours tell the depth: it trains, lifts what it has not seen, and is saved."""

import dataclasses
import re

import chex
import jax
import numpy as np
import pytest

import jnrsfm
from jnrsfm import pixels
from jnrsfm.errors import InputError
from jnrsfm.inputs import crops
from jnrsfm.inputs.crops import Augmentation
from jnrsfm.methods import PrnImages, Student
from jnrsfm.methods.student import StudentModel, locator, samples_of
from jnrsfm.methods.student.network import Objective, found_poses
from jnrsfm.methods.student.teacher import run_teacher
from jnrsfm.models.vision import DEPTH
from jnrsfm.training import Session
from jnrsfm.types import LabelledImages, Landmarks

SIZE = 24
SHAPE = np.array([[-1, -1, 0.4], [1, -1, -0.8], [1, 1, 0.9], [-1, 1, -0.3], [0, 0, 0.6]])


def pictures(n, seed=0, hidden=0.0):
    """A rigid body turning about the vertical, each point a blob whose brightness falls with its depth."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-0.9, 0.9, n)
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros(n), np.ones(n)
    turn = np.stack([np.stack([c, o, s], -1), np.stack([o, i, o], -1), np.stack([-s, o, c], -1)], -2)
    shape = np.einsum("fij,pj->fpi", turn, SHAPE)
    points = 11 * shape[..., :2] + 24 + rng.uniform(-3, 3, (n, 1, 2))
    y, x = np.mgrid[:48, :48]
    images = np.zeros((n, 48, 48, 3))
    for p in range(len(SHAPE)):
        blob = np.exp(-((x - points[:, p, 0, None, None]) ** 2 + (y - points[:, p, 1, None, None]) ** 2) / 12)
        light = 0.55 - 0.35 * shape[:, p, 2, None, None]
        colour = np.array([[1, 0.2, 0.2], [0.2, 1, 0.2], [0.2, 0.2, 1], [1, 1, 0.2], [0.2, 1, 1]])[p]
        images = np.maximum(images, (blob * light)[..., None] * colour)
    visible = rng.random((n, len(SHAPE))) >= hidden
    points = np.where(visible[..., None], points, np.nan)
    landmarks = Landmarks(points.astype(np.float32), visible)
    images = LabelledImages(pixels.ArrayPixels((255 * images).round().astype(np.uint8)), landmarks)
    return images, 11 * (shape - shape.mean(1, keepdims=True))


QUICK = {
    "size": SIZE, "backbone": "tiny", "batch": 16, "chunk": 25, "learning_rate": 4e-3, "warmup": 20, "locate": "no",
}  # fmt: skip
PLAIN = Augmentation(turned=0.0, flip=0.0, occlusion=0.0)


def settings(kind=Student, **changes):
    return kind(**{**QUICK, "augmentation": PLAIN, "teacher": "rigid", **changes})


def depth_error(result, truth):
    z = np.asarray(result.camera_points)[..., 2]
    z = z - z.mean(1, keepdims=True)
    flips = [np.abs(s * z - truth[..., 2]).mean() for s in (1, -1)]  # one reflection for all
    return min(flips) / np.abs(truth[..., 2]).mean()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    images, truth = pictures(64, hidden=0.1)
    out = tmp_path_factory.mktemp("student") / "run"
    result = jnrsfm.fit(images, settings(steps=250), camera="orthographic", out=out, progress=False)
    return images, truth, result, out


@pytest.mark.slow
def test_it_lifts_photographs_that_it_has_not_seen(trained):
    _, _, result, _ = trained
    images, truth = pictures(16, seed=1)
    without = dataclasses.replace(
        images,
        landmarks=Landmarks(np.zeros((16, 5, 2), np.float32), np.zeros((16, 5), bool)),
        boxes=np.tile([10.0, 10, 38, 38], (16, 1)),
    )
    found = result.model.lift(without)
    gap = np.linalg.norm(np.asarray(found.points2d) - np.asarray(images.landmarks.points2d), axis=-1)
    assert np.mean(gap < 2.8) > 0.9  # a tenth of the box
    assert depth_error(found, truth) < 0.45  # flat depths have 1
    assert np.isfinite(np.asarray(found.score)).all()
    assert (np.asarray(found.score) > 0).all()


@pytest.mark.slow
def test_quality_photographs_and_page(trained):
    _, _, result, out = trained
    named = {i["name"]: i for i in result.quality["items"]}
    assert named["held_out_reprojection"]["value"] < 0.08
    assert result.diagnostics["pck"] > 0.8
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg;base64") == 64
    (out / "report.html").unlink()
    jnrsfm.write_run_report(out)
    again = (out / "report.html").read_text()
    photos = lambda text: re.findall(r'"src":"[^"]+","at":[^}]+', text)
    assert photos(again) == photos(page)


@pytest.mark.slow
def test_saved_and_loaded_it_gives_the_same(trained):
    images, _, result, out = trained
    again = jnrsfm.load(out).lift(images)
    np.testing.assert_array_equal(np.asarray(again.points3d), np.asarray(result.model.lift(images).points3d))
    assert isinstance(jnrsfm.load(out).model, StudentModel)


@pytest.mark.slow
def test_one_photograph_and_any_block_give_the_same(trained):
    images, _, result, _ = trained
    whole = result.model.lift(images)
    one = result.model.lift(images.select([5]))
    np.testing.assert_allclose(
        np.asarray(one.camera_points[0]), np.asarray(whole.camera_points[5]), rtol=2e-3, atol=2e-3
    )


@pytest.mark.slow
def test_a_mirrored_photograph_gives_the_mirrored_points(trained):
    images, _, result, _ = trained
    model, swap = result.model.model, (1, 0, 3, 2, 4)
    where = crops.squares(crops.label_boxes(images), images.pixels.sizes)
    canvas = crops.canvases(images, where, SIZE)
    points, spread = found_poses(model.network, model.params["pose"], canvas, swap)
    other, wide = found_poses(model.network, model.params["pose"], canvas[:, :, ::-1].copy(), swap)
    np.testing.assert_allclose(other[:, swap] * [-1, 1, 1], points, atol=1e-4)
    np.testing.assert_allclose(wide[:, swap], spread, atol=1e-4)
    plain, _ = found_poses(model.network, model.params["pose"], canvas)
    assert np.abs(plain - points).max() > 1e-3


@pytest.mark.slow
def test_what_is_stored_at_a_hidden_label_does_not_matter(trained):
    images, _, result, _ = trained
    model, visible = result.model.model, np.asarray(images.landmarks.visible)
    config, swap = settings(), np.arange(5)

    @jax.jit
    def loss(params, samples):
        objective = Objective(model.network, config, swap, None, False)
        return jax.value_and_grad(lambda p: objective(p, {}, samples, jax.random.key(0), {})[0])(params)

    found = []
    for junk in (np.nan, 1e6):
        points = np.where(visible[..., None], images.landmarks.points2d, junk).astype(np.float32)
        chosen = dataclasses.replace(images, landmarks=images.landmarks.replace(points2d=points))
        where = crops.squares(crops.label_boxes(chosen), chosen.pixels.sizes)
        teacher = run_teacher(chosen.landmarks, "orthographic", config, 0, Session())
        canvas = crops.canvases(chosen, where, SIZE)
        found.append(loss(model.params["pose"], samples_of(chosen, where, canvas, teacher, config, 0)))
    chex.assert_tree_all_finite(found[0])
    chex.assert_trees_all_equal(*found)


def test_depths_that_no_head_can_reach_are_brought_to_where_it_can():
    images, _ = pictures(8)
    config = settings()
    where = crops.squares(crops.label_boxes(images), images.pixels.sizes)
    teacher = run_teacher(images.landmarks, "orthographic", config, 0, Session())
    plain = samples_of(images, where, crops.canvases(images, where, SIZE), teacher, config, 0)
    assert np.abs(plain.depth * plain.unit[:, None]).max() < DEPTH
    absurd = teacher._replace(targets=teacher.targets._replace(pixels=30 * teacher.targets.pixels))
    found = samples_of(images, where, np.asarray(plain.canvas), absurd, config, 0)
    deepest = np.abs(found.depth * found.unit[:, None]).max(1)
    np.testing.assert_allclose(deepest, DEPTH, rtol=1e-5)
    np.testing.assert_array_equal(found.depth, plain.depth)


@pytest.mark.slow
def test_the_bound_of_the_thesis_trains_too():
    images, _ = pictures(16)
    more = ("steps=40", "restarts=1", "prune_at=[]", "sizes=[16, 4]")
    config = settings(steps=10, chunk=10, distill="codes", teacher="deep-nrsfm++", teacher_settings=more)
    fitted = jnrsfm.methods.METHODS["student"].fit(images, "weak-perspective", config, 0, Session())
    assert np.isfinite(np.asarray(fitted.reconstruction.points3d)).all()


@pytest.mark.slow
def test_an_object_is_found_in_a_whole_photograph():
    images, _ = pictures(48)
    config = settings(steps=300, backbone="tiny")
    boxes = crops.label_boxes(images)
    params = locator.train(images, boxes, config, jax.random.key(0), Session())
    found = locator.found_boxes(locator.network_of(config), params, images, SIZE)
    assert np.median(np.abs(found - boxes)) < 2.5  # boxes of 24 pixels move by 3 each way
    assert locator.is_needed(images, boxes, dataclasses.replace(config, locate="auto"))


@pytest.mark.slow
def test_procrustean_regression_through_the_network():
    images, truth = pictures(48)
    config = settings(PrnImages, steps=200)
    fitted = jnrsfm.methods.METHODS["prn-images"].fit(images, "orthographic", config, 0, Session())
    assert depth_error(fitted.reconstruction, truth) < 0.45


def test_bad_input_is_one_line():
    images, _ = pictures(12)
    few = images.select(slice(0, 5))
    run = jnrsfm.methods.METHODS["student"].fit
    with pytest.raises(InputError, match="label at least 8"):
        run(few, "orthographic", settings(steps=2), 0, Session())
    with pytest.raises(InputError, match="teacher 'pnx' is unknown"):
        run(images, "orthographic", settings(steps=2, teacher="pnx"), 0, Session())
    with pytest.raises(InputError, match="no setting 'modez'"):
        run(
            images,
            "orthographic",
            settings(steps=2, teacher="pnd", teacher_settings=("modez=3",)),
            0,
            Session(),
        )
    with pytest.raises(InputError, match="only deep-nrsfm"):
        settings(distill="codes")
    with pytest.raises(InputError, match="divide by"):
        settings(size=30)
    with pytest.raises(InputError, match="takes LabelledImages"):
        jnrsfm.fit(images.landmarks, settings())
    assert jax.tree.leaves(images.landmarks)
