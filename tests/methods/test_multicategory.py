"""The multi-category lifter: variants train, gaps do not leak, a model lifts what it knows and refuses the rest."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnrsfm
from experiments.degrade import perspective_views
from jnrsfm import io
from jnrsfm.cli import main
from jnrsfm.errors import InputError
from jnrsfm.inputs.observations import Normalizer
from jnrsfm.methods import multicategory as mc
from jnrsfm.methods.multicategory import objectives
from jnrsfm.metrics import evaluate
from jnrsfm.training import Session

SMALL = {
    "steps": 6,
    "chunk": 3,
    "warmup": 20,
    "learning_rate": 3e-3,
    "batch": 32,
    "microbatch": 32,
    "width": 64,
    "blocks": 0,
    "rotation": "exponential",
    "modes": 3,
}  # small programs: compiling them takes most of the time
EACH = 100  # samples of a category, in all tests: compiled programs are shared


@pytest.fixture(scope="module")
def trained(make_categories):
    """One short real training of the default variant, on two categories."""
    landmarks, reference = make_categories(np.random.default_rng(1), EACH)
    config = mc.MultiCategory(**{**SMALL, "steps": 400, "chunk": 200})
    return mc.fit(landmarks, "orthographic", config, 0, Session()), landmarks, reference


# ------------------------------------------------------------------------------------------------------ parts


@pytest.mark.fast
def test_reprojection_knows_no_translation_and_no_hidden_point(rng):
    shape, points = rng.normal(size=(4, 6, 3)), rng.normal(size=(4, 6, 2))
    weights = np.ones((4, 6))
    weights[:, 2] = 0
    r = np.broadcast_to(np.eye(3), (4, 3, 3))
    f32 = lambda *x: (jnp.asarray(a, jnp.float32) for a in x)
    gap = mc.reprojection(*f32(shape, r, points, weights))
    moved = mc.reprojection(*f32(shape + np.array([3, -2, 9]), r, points, weights))
    seen = weights > 0
    np.testing.assert_allclose(gap[seen], moved[seen], atol=1e-5)
    np.testing.assert_allclose((weights[..., None] * np.asarray(gap)).sum(1), 0, atol=1e-5)
    points[:, 2] = 77
    np.testing.assert_allclose(mc.reprojection(*f32(shape, r, points, weights))[seen], gap[seen], atol=1e-6)


@pytest.mark.fast
def test_pseudo_huber_is_square_near_and_linear_far():
    assert objectives._huber(1e-6) == pytest.approx(0.5 * 1e-6 / 0.01, rel=0.01)
    assert objectives._huber(4.0) == pytest.approx(2.0, rel=0.01)
    assert np.isfinite(jax.grad(lambda d: objectives._huber(jnp.sum(d**2)))(jnp.zeros(2))).all()


@pytest.mark.fast
@pytest.mark.parametrize("camera", mc.INFO.cameras)
def test_the_record_reprojects_to_the_landmarks_in_their_units(make_categories, camera):
    """From the true shapes in the units that a network sees, turned to the camera."""
    landmarks, reference = make_categories(np.random.default_rng(4), 5)
    if camera == "perspective":
        landmarks, reference = perspective_views(3.0)((landmarks, reference))
    category, seen = np.asarray(landmarks.category), np.asarray(landmarks.visible)
    keypoints = mc.keypoints_of(landmarks, category, 2)
    samples, frames = mc.observe(landmarks, category, keypoints, np.float32([40, 30]), camera)
    truth = np.asarray(reference.camera_points)
    if camera == "perspective":  # in the camera that looks at the object, at the depth that the unit says
        truth = np.einsum("fpj,fij->fpi", truth, frames.turn)
        depth = (np.where(seen, truth[..., 2], 0).sum(1) / seen.sum(1))[:, None, None]
        assert np.ptp(depth) > 0.1  # of the visible points' mean
        np.testing.assert_allclose(samples.nearness, frames.size, rtol=1e-6)
        truth = truth / (depth * frames.size[:, None, None])
    else:
        truth = truth / frames.size[:, None, None]
        assert not np.asarray(samples.nearness).any()
    found = mc.Found(truth, np.tile(np.eye(3, dtype=np.float32), (10, 1, 1)), None, None)
    gap = mc.reprojection(truth, found.rotation, samples.points, samples.weights, samples.nearness)
    np.testing.assert_allclose(np.asarray(gap)[seen], 0, atol=3e-3)
    record = mc.reconstruct(landmarks, samples, frames, found, Normalizer(camera, "rms"), "none")
    image, given = np.asarray(record.points2d), np.asarray(landmarks.points2d)
    np.testing.assert_allclose(image[seen], given[seen], atol=3e-4 * np.abs(given[seen]).max())
    assert (np.asarray(record.points3d)[~np.asarray(landmarks.defined)] == 0).all()
    if camera == "orthographic":
        z, z0 = (np.where(seen, np.asarray(r.camera_points)[..., 2], 0) for r in (record, reference))
        mean = lambda x: x - np.where(seen, x.sum(1, keepdims=True) / seen.sum(1, keepdims=True), 0)
        np.testing.assert_allclose(mean(z), mean(z0), atol=0.01)


@pytest.mark.fast
def test_a_variant_has_the_network_it_was_published_with():
    base = mc.MultiCategory(variant="c3dpo").network(20, 2, 11)
    assert base.canonical
    assert (base.lifter.norm, base.lifter.rotation, base.lifter.nonnegative) == (
        "batch",
        "exponential",
        False,
    )
    assert (base.lifter.width, base.lifter.inner, base.lifter.blocks, base.modes) == (1024, 256, 6, 0)
    ours = mc.MultiCategory(variant="ours", norm="none", rotation="6d").network(20, 2, 11)
    assert (ours.lifter.norm, ours.lifter.rotation, ours.lifter.nonnegative) == ("none", "6d", True)
    assert not ours.canonical
    prior = mc.MultiCategory().network(20, 2, 11)
    assert (prior.lifter.basis, prior.modes) == (0, 20)
    tokens = mc.MultiCategory(variant="c3dpo", trunk="transformer", heads=2).network(20, 2, 11).lifter
    assert (tokens.trunk, tokens.norm, tokens.members, tokens.heads) == ("transformer", "layer", 11, 2)
    hidden = [mc.MultiCategory(variant=v).most_hidden for v in ("procrustean", "ours", "c3dpo")]
    assert hidden == [0.5, 0, 0]
    assert mc.MultiCategory(variant="ours", hide=0.2).most_hidden == 0.2


@pytest.mark.fast
@pytest.mark.parametrize(
    "change",
    [
        {"holdout": 1.0},
        {"cycle": 1.5},
        {"hide": 1.0},
        {"modes": 0},
        {"polish": -1},
        {"cycle": 1.0, "variant": "ours", "norm": "batch"},
        {"select": "heldout"},
        {"trunk": "transformer", "norm": "batch"},
    ],
)
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        mc.MultiCategory(**change)


@pytest.mark.fast
def test_partners_are_of_the_same_category_and_each_is_taken_once():
    category = jnp.asarray([0, 1, 1, 2, 0, 1, 0, 0, 2])
    other = np.asarray(objectives._partners(jax.random.key(0), category))
    assert sorted(other) == list(range(9))
    np.testing.assert_array_equal(category[other], category)
    assert (other != np.asarray(objectives._partners(jax.random.key(1), category))).any()


# -------------------------------------------------------------------------------------------------- trainings


@pytest.mark.parametrize(
    ("variant", "norm"), [("c3dpo", "variant"), pytest.param("ours", "batch", marks=pytest.mark.slow)]
)
def test_variants_without_a_prior_train_and_are_saved(make_categories, variant, norm, tmp_path):
    """`c3dpo` has batch statistics and two networks, `ours` the cone and the cycle."""
    landmarks, _ = make_categories(np.random.default_rng(2), EACH)
    config = mc.MultiCategory(variant=variant, norm=norm, holdout=0.0, **SMALL)
    fitted = mc.fit(landmarks, "orthographic", config, 0, Session())
    shapes = np.asarray(fitted.reconstruction.points3d)
    assert np.isfinite(shapes).all()
    assert (shapes[~np.asarray(landmarks.defined)] == 0).all()
    assert ("cycle" in fitted.diagnostics) == (variant == "ours")
    if variant == "ours":  # the model lifts under the statistics that the cycle was trained with
        seen = np.asarray(landmarks.visible)[..., None]
        camera = np.asarray(fitted.reconstruction.camera_points)[..., :2]
        gap = np.where(seen, np.asarray(landmarks.points2d) - camera, 0)
        gap = np.where(seen, gap - gap.sum(1, keepdims=True) / seen.sum(1, keepdims=True), 0)
        error = (
            np.linalg.norm(gap, axis=-1)
            / np.asarray(fitted.model.params["size"])[landmarks.category][:, None]
        )
        assert fitted.diagnostics["cycle"][0]["objective"] == pytest.approx(
            error.sum() / seen.sum(), rel=1e-3
        )
    fitted.model.save(tmp_path / "model.npz")
    again = mc.MultiCategoryModel.load(tmp_path / "model.npz").lift(landmarks)
    np.testing.assert_array_equal(again.points3d, fitted.reconstruction.points3d)
    part = np.arange(50, 190)  # frozen statistics: no matter who else is lifted
    alone = fitted.model.lift(landmarks.select(part))
    np.testing.assert_allclose(alone.points3d, shapes[part], atol=1e-3 * np.abs(shapes).max())


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["ours", "procrustean"])
def test_a_transformer_learns_cameras_and_is_saved(make_categories, variant, tmp_path):
    landmarks, reference = make_categories(np.random.default_rng(1), EACH)
    config = mc.MultiCategory(
        variant=variant, trunk="transformer", token_width=16, heads=2, layers=1,
        **{**SMALL, "steps": 200, "chunk": 100, "rotation": "9d"},
    )  # fmt: skip
    fitted = mc.fit(landmarks, "orthographic", config, 0, Session())
    error = lambda model: evaluate(model.lift(landmarks), reference, ["c3dpo"])["c3dpo"]["mpjpe"]
    fresh = fitted.model.network.init(jax.random.key(0))[0]
    untrained = dataclasses.replace(fitted.model, params=fitted.model.params | {"nets": fresh})
    assert error(fitted.model) < 0.8 * error(untrained)
    fitted.model.save(tmp_path / "model.npz")
    again = mc.MultiCategoryModel.load(tmp_path / "model.npz").lift(landmarks)
    np.testing.assert_array_equal(again.points3d, fitted.reconstruction.points3d)
    # stored values of hidden points, as with the other trunk
    hidden = ~np.asarray(landmarks.visible)
    stored = np.where(hidden[..., None], np.nan, np.asarray(landmarks.points2d))
    found = fitted.model.lift(landmarks.replace(points2d=stored))
    np.testing.assert_array_equal(found.points3d, again.points3d)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "most"), [("ours", 1.2), ("procrustean", 0.4)])
def test_a_near_camera_is_better_taken_as_it_is(make_categories, variant, most):
    """By far with a prior; a short training by reprojection gains nothing yet, and loses little."""
    near = perspective_views(2.0)
    landmarks, _ = near(make_categories(np.random.default_rng(1), EACH))
    unseen, truth = near(make_categories(np.random.default_rng(99), EACH))
    errors = {}
    for camera in ("weak-perspective", "perspective"):
        config = mc.MultiCategory(variant=variant, **{**SMALL, "steps": 400, "chunk": 200, "modes": 8})
        fitted = mc.fit(landmarks, camera, config, 0, Session())
        found = fitted.model.lift(unseen)
        assert found.cameras.model == camera
        errors[camera] = evaluate(found, truth, ["deep-nrsfm++"])["deep-nrsfm++"]["normalized_error"]
    assert errors["perspective"] < most * errors["weak-perspective"]
    with pytest.raises(InputError, match="perspective needs intrinsics"):
        fitted.model.lift(unseen.replace(intrinsics=None))


@pytest.mark.slow
def test_the_prior_learns_to_lift_unseen_samples_of_both_categories(trained, make_categories):
    fitted, landmarks, reference = trained
    unseen, truth = make_categories(np.random.default_rng(99), EACH)
    for given, true in ((landmarks, reference), (unseen, truth)):
        found = fitted.model.lift(given)
        error = evaluate(found, true, ["c3dpo"])["c3dpo"]["mpjpe"]
        camera = np.asarray(true.camera_points)
        flat = np.where(np.asarray(true.valid3d), np.abs(camera[..., 2]), 0).sum() / np.sum(true.valid3d)
        assert error < 0.35 * flat
        assert (
            evaluate(found, true.replace(sequence=given.category), ["one-mirror"])["one-mirror"]["handedness"]
            > 0.9
        )
    assert fitted.heldout["error"] < 0.35 * fitted.heldout["baseline"]
    for diagnostics in fitted.diagnostics["prior"].values():
        assert diagnostics["agreement"] > 5  # the cameras stand upright
        assert diagnostics["evidence"][diagnostics["start"]] == max(diagnostics["evidence"].values())
    np.testing.assert_allclose(np.linalg.det(np.asarray(found.rotations)), 1, atol=1e-4)


@pytest.mark.slow
def test_what_is_stored_at_a_hidden_point_never_matters(trained):
    fitted, landmarks, _ = trained
    hidden = ~np.asarray(landmarks.visible)
    found = []
    for stored in (np.nan, 1e5):
        points = np.where(hidden[..., None], stored, np.asarray(landmarks.points2d))
        found.append(fitted.model.lift(landmarks.replace(points2d=points)))
    np.testing.assert_array_equal(found[0].points3d, found[1].points3d)
    np.testing.assert_array_equal(found[0].points3d, fitted.reconstruction.points3d)


@pytest.mark.slow
def test_lifting_follows_scale_shift_and_order_of_the_samples(trained):
    fitted, landmarks, _ = trained
    found = np.asarray(fitted.reconstruction.points3d)
    moved = fitted.model.lift(
        landmarks.replace(points2d=np.asarray(landmarks.points2d) + np.float32([50, -20]))
    )
    np.testing.assert_allclose(moved.points3d, found, atol=0.02 * np.abs(found).max())
    np.testing.assert_allclose(
        fitted.model.lift(landmarks.select(np.arange(2 * EACH)[::-1])).points3d[::-1],
        found,
        atol=1e-3 * np.abs(found).max(),
    )


@pytest.mark.slow
def test_three_points_lift_with_a_flag(trained):
    fitted, landmarks, _ = trained
    rank = np.cumsum(np.asarray(landmarks.visible), 1)
    three = landmarks.replace(visible=np.asarray(landmarks.visible) & (rank <= 3))
    found = jnrsfm.lift(fitted.model, three)
    assert np.isfinite(np.asarray(found.points3d)).all()
    assert mc.low_confidence(found).all()
    assert mc.low_confidence(fitted.model.lift(landmarks)).mean() < 0.2
    assert np.mean(found.score) > np.mean(fitted.reconstruction.score)  # fewer points, less certain


@pytest.mark.slow
def test_what_the_model_does_not_know_is_refused_in_one_line(trained):
    fitted, landmarks, _ = trained
    names = ("table", "fish")
    for bad, says in (
        (landmarks.replace(categories=names), r"category 'fish' was not in the training \(table, bird\)"),
        (landmarks.replace(category=None, categories=None), "have no category: name one of table, bird"),
        (
            landmarks.replace(
                points2d=landmarks.points2d[:, :5],
                visible=landmarks.visible[:, :5],
                defined=landmarks.defined[:, :5],
            ),
            "the model has 20",
        ),
    ):
        with pytest.raises(InputError, match=says) as error:
            fitted.model.lift(bad)
        assert "\n" not in str(error.value)
    few = landmarks.select(np.r_[0:8, 100:200])
    with pytest.raises(InputError, match="table: 8 samples with at least 4 of 9 points"):
        mc.fit(few, "orthographic", mc.MultiCategory(**SMALL), 0, Session())


@pytest.mark.slow
def test_a_users_c3dpo_file_trains_with_one_command(make_categories, tmp_path, capsys):
    landmarks, reference = make_categories(np.random.default_rng(3), EACH)
    io.write_landmarks(tmp_path / "mine.json", landmarks.replace(category=None, categories=None), reference)
    small = [f"--{k}={v}" for k, v in SMALL.items()]
    run = tmp_path / "run"
    code = main(["fit", str(tmp_path / "mine.json"), "--method", "multicategory", "--out", str(run), *small])
    assert code == 0, capsys.readouterr().err
    assert io.read_reconstruction(run / "reconstruction.npz").categories == ("class 0", "class 1")
    samples = json.loads((tmp_path / "mine.json").read_text())
    for sample in samples:
        sample["category"] = "bicycle"
    (tmp_path / "other.json").write_text(json.dumps(samples))
    capsys.readouterr()
    assert main(["lift", str(run), str(tmp_path / "other.json"), "--out", str(tmp_path / "x.npz")]) == 2
    error = capsys.readouterr().err.strip()
    assert "category 'bicycle' was not in the training (class 0, class 1)" in error
    assert len(error.splitlines()) == 1
