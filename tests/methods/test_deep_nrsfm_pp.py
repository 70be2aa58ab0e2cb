"""Deep NRSfM++: the parts of its loss by hand, what must not leak, its files, and real trainings."""

import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm import datasets
from jnrsfm.errors import Diverged, InputError
from jnrsfm.geometry.cameras import camera_model
from jnrsfm.inputs.observations import Normalizer, hold_out
from jnrsfm.methods import METHODS, Model
from jnrsfm.methods.deep_nrsfm_pp import Batch, DeepNRSfMpp, DeepNRSfMppModel, _Fit, _searched, fit, forward
from jnrsfm.methods.recipe import corrected_scale
from jnrsfm.models.functional import Network
from jnrsfm.training import Session, Trained
from jnrsfm.types import CAMERA_MODELS

TINY = {
    "update": "adam",
    "steps": 4,
    "chunk": 2,
    "batch": 8,
    "sizes": (16, 8, 4),
    "restarts": 2,
    "prune_at": (),
}


def few(camera="orthographic", frames=16, seed=2, **options):
    return datasets.make("walker", frames=frames, clips=2, camera=camera, missing=0.25, seed=seed, **options)[
        0
    ]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"holdout": 1.0}, "holdout"), ({"holdout": 0.0, "select": "heldout"}, "holdout is 0"),
        ({"bottleneck": 0}, "bottleneck"), ({"bottleneck": -1}, "bottleneck"), ({"preset": "humans"}, "preset"),
        ({"activation": "gelu"}, "activation"), ({"size": "median"}, "size"), ({"final": -0.5}, "final"),
        ({"scale_correction": -1}, "scale_correction"), ({"robust": -1.0}, "robust"), ({"lasso": -1.0}, "lasso"),
        ({"sizes": (8, 0)}, "sizes"), ({"sizes": ()}, "sizes"), ({"steps": 0}, "steps"),
        ({"roll": -1.0}, "roll"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_by_name(settings, line):
    with pytest.raises((InputError, TypeError), match=line) as caught:
        DeepNRSfMpp(**settings)
    assert isinstance(caught.value, InputError) or "jaxtyping" in type(caught.value).__module__


@pytest.mark.fast
def test_sizes_by_preset_and_by_rule():
    assert DeepNRSfMpp(preset="cmu").dictionary_sizes(28) == (512, 256, 128, 64, 32, 16, 8)
    assert DeepNRSfMpp(sizes=(5, 4)).dictionary_sizes(28) == (5, 4)
    assert DeepNRSfMpp().dictionary_sizes(28) == (256, 128, 64, 32, 16, 8)
    assert DeepNRSfMpp(bottleneck=10).dictionary_sizes(4) == (64, 32, 16, 10)
    assert DeepNRSfMpp().dictionary_sizes(1000)[0] == 512


# ------------------------------------------------------------------------------------ scale correction


@pytest.mark.parametrize("by", ["norm", "bones"])
@pytest.mark.parametrize("camera", ["weak-perspective", "perspective"])
def test_scale_correction_undoes_a_wrong_size(camera, by):
    """A frame whose measurements are too large by c gives a shape too large by c; once corrected, all have
    one size."""
    rng = np.random.default_rng(0)
    wrong = np.exp(rng.uniform(-1, 1, 6)).astype(np.float32)
    edges = np.array([[0, 1], [1, 2], [2, 3]])
    right = rng.normal(size=(1, 5, 3)).astype(np.float32)
    depth = np.full(6, 2.0, np.float32)
    if camera == "perspective":  # w~ = (u - mean u) t_z: a depth too large by c
        depth = depth * wrong
    data = Normalizer(camera, "rms")(few(camera, 6))[0]

    shapes = right * wrong[:, None, None]
    data = data._replace(depth=jnp.asarray(depth))
    found = np.asarray(corrected_scale(data, shapes, camera_model(camera), edges, by).depth)
    mean = np.exp(np.log(wrong).mean())
    expected = 2.0 * mean if camera == "perspective" else 2.0 * wrong / mean
    np.testing.assert_allclose(found, np.full(6, 1.0) * expected, rtol=1e-5)
    largest = wrong.argmax()  # a shape that comes out too large: nearer, or its measurements divided by more
    assert (found[largest] < depth[largest]) == (camera == "perspective")


class Known(Network):
    """A network that knows shapes and rotations by heart: they are its parameters."""

    def module(self, params, model_state=None):
        return lambda rows: (*params, None)


def test_a_reflected_frame_is_seen_for_what_it_is():
    """Perspective: of each frame the reflection that fits the image, if asked for."""
    landmarks, truth = datasets.make("walker", frames=6, clips=1, camera="perspective", missing=0.2, seed=3)
    seen, frames = Normalizer("perspective", "rms")(landmarks)
    with jax.enable_x64(True):
        x = np.asarray(truth.camera_points, np.float64) @ np.asarray(frames.turn, np.float64).mT
        size = np.sqrt(((x - x.mean(1, keepdims=True)) ** 2).sum(-1).mean())
        depth, shapes = x.mean(1)[:, 2] / size, (x - x.mean(1, keepdims=True)) / size
        wrong = np.arange(6) % 2 == 0
        found = np.where(wrong[:, None, None], shapes * [1, 1, -1], shapes)
        network = Known(type(None), None, None)
        params = jnp.asarray(found), jnp.broadcast_to(jnp.eye(3), (6, 3, 3))
        seen = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), seen)._replace(depth=jnp.asarray(depth))
        camera = camera_model("perspective")
        as_is, either = (forward(network, camera, params, seen, 1.0, e) for e in (0.0, 1.0))
        np.testing.assert_array_equal(
            np.asarray(as_is.misfits)[:, 0] > np.asarray(as_is.misfits)[:, 1], wrong
        )
        np.testing.assert_array_equal(either.misfits, as_is.misfits)
        shown = np.asarray(seen.weights)[..., None] > 0
        missed = np.abs(np.where(shown, as_is.residual, 0)).max((1, 2))
        assert missed[wrong].min() > 1e-2
        np.testing.assert_allclose(either.camera_points, shapes, atol=1e-12)
        np.testing.assert_allclose(np.where(shown, either.residual, 0), 0, atol=1e-5)


def ends(monkeypatch, camera="perspective", error=0.1, **config):
    """What `_searched` makes of searches that end at an error of 0.2, and with either reflection at `error` (None:
    diverged); the numbers that the phases had; the fit."""
    run = _Fit(few(camera, 6), camera, DeepNRSfMpp(**TINY, **config), 0, Session())
    said = []

    def train(name, stream, data, steps, start=None, hyper=None):
        said.append((name, stream, hyper["either"]))
        run.engine.lost += 1
        if hyper["either"] and error is None:
            raise Diverged("the loss is not finite")
        value = error if hyper["either"] else 0.2
        return Trained({}, {}, ({}, {}), (0,), ({"objective": value, "heldout": value},))

    monkeypatch.setattr(run, "train", train)
    found, hyper = _searched(run, 4, {"free": 0.0})
    return found.criteria[0]["heldout"], hyper["either"], said, run


@pytest.mark.fast
def test_the_search_that_predicts_better_goes_on_and_a_second_one_costs_nothing(monkeypatch):
    found, either, said, run = ends(monkeypatch)
    assert (found, either, run.engine.lost) == (0.1, 1.0, 1)
    assert [name for name, *_ in said] == ["search", "search, either reflection"]
    assert said[0][1] != said[1][1]  # other random numbers
    for error in (0.3, None):
        found, either, _, run = ends(monkeypatch, error=error)
        assert (found, either, run.engine.lost) == (0.2, 0.0, 1)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("camera", "config"),
    [("orthographic", {}), ("perspective", {"mirror": "none"}), ("perspective", {"final": 0.0})],
)
def test_reflected_frames_are_searched_only_where_something_resolves_them(monkeypatch, camera, config):
    found, either, said, _ = ends(monkeypatch, camera, **config)
    assert (found, either, len(said)) == (0.2, 0.0, 1)


def test_bones_need_what_they_are_measured_on():
    bare = few("perspective", 6).replace(edges=None)
    with pytest.raises(InputError, match="left-right bone pairs"):
        _Fit(bare, "perspective", DeepNRSfMpp(**TINY, bones=0.1), 0, Session())
    run = _Fit(bare, "perspective", DeepNRSfMpp(**TINY, scale_by="bones"), 0, Session())
    params, _ = run.network.init(jax.random.key(0))
    with pytest.raises(InputError, match="no edges"):
        run.rescaled(run.seen, run.shapes(params, run.seen)[0])


# -------------------------------------------------------------------------------------------- leaks


@pytest.mark.fast
@pytest.mark.first
@pytest.mark.parametrize("camera", ["orthographic", "perspective"])
def test_the_search_cannot_see_held_out_points(camera):
    """Move them: the loss, its gradient and the objective stay to the bit, and the held-out error moves."""
    landmarks = few(camera)
    run = _Fit(landmarks, camera, DeepNRSfMpp(**TINY, lasso=0.1, robust=0.1), 0, Session())
    data, _ = run.normalizer(landmarks)
    seen, held = hold_out(np.asarray(data.weights), 0.3, 5, 0)
    assert (held > 0).any(1).all()
    params, _ = run.network.init(jax.random.key(0))
    grad = jax.jit(jax.value_and_grad(run.objective, has_aux=True))
    criteria = jax.jit(lambda *given: {k: t.sum() / w.sum() for k, (t, w) in run.criteria(*given).items()})
    hyper = {"free": 0.0, "depth_weight": 1.0, "either": 1.0, "progress": 0.5}
    found = []
    for shift in (0.0, 3.0):
        points = np.asarray(data.points) + np.where(held[..., None] > 0, np.float32(shift), 0)
        hidden = data._replace(
            points=jnp.asarray(points), weights=jnp.asarray(seen), heldout=jnp.asarray(held)
        )
        hidden = run.normalizer.with_covariance(hidden).filled(hidden)
        batch: Batch = run.batch(hidden)
        found.append((grad(params, {}, batch, jax.random.key(1), hyper), criteria(params, {}, batch, hyper)))
    for a, b in zip(jax.tree.leaves(found[0][0]), jax.tree.leaves(found[1][0]), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert float(found[0][1]["objective"]) == float(found[1][1]["objective"])
    assert float(found[1][1]["heldout"]) > float(found[0][1]["heldout"]) + 0.5


@pytest.mark.parametrize(
    "camera",
    [
        "orthographic",
        *(pytest.param(c, marks=pytest.mark.slow) for c in CAMERA_MODELS if c != "orthographic"),
    ],
)
def test_what_is_stored_for_hidden_points_changes_nothing(camera):
    """A whole fit, and lifting by its model: the same to the bit for 0, NaN and 1e9 in the gaps."""
    landmarks = few(camera)
    results = []
    for stored in (0.0, np.nan, 1e9) if camera == "orthographic" else (0.0, np.nan):
        hidden = np.asarray(landmarks.visible)[..., None]
        given = landmarks.replace(points2d=np.where(hidden, landmarks.points2d, np.float32(stored)))
        found = fit(given, camera, DeepNRSfMpp(**TINY), 0, Session())
        results.append((found.reconstruction, found.heldout["error"], found.model.lift(given)))
    for other in results[1:]:
        for a, b in zip(jax.tree.leaves(results[0]), jax.tree.leaves(other), strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(results[0]))


# --------------------------------------------------------------------------------- the model on disk


@pytest.fixture(scope="module")
def fitted():
    landmarks = few(frames=16)
    return landmarks, fit(landmarks, "orthographic", DeepNRSfMpp(**TINY), 0, Session())


def test_a_fit_says_what_it_found(fitted):
    _, found = fitted
    assert found.restarts.shape == (2, 16, 19, 3)
    assert found.heldout["count"] > 0
    assert found.heldout["baseline"] > 0
    assert set(found.diagnostics) >= {"search", "final", "mirror", "restarts_kept"}
    assert isinstance(found.model, Model)
    assert METHODS["deep-nrsfm++"].load == DeepNRSfMppModel.load
    r = np.asarray(found.reconstruction.rotations)
    np.testing.assert_allclose(np.linalg.det(r), 1, atol=1e-4)
    np.testing.assert_allclose(np.asarray(found.reconstruction.points3d).mean(1), 0, atol=1e-4)


def test_a_model_comes_back_from_disk_to_the_bit(fitted, tmp_path):
    landmarks, found = fitted
    found.model.save(tmp_path / "model.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    again = DeepNRSfMppModel.load(tmp_path / "model.npz")
    assert isinstance(again, DeepNRSfMppModel)
    assert (again.camera, again.names, again.mirror) == ("orthographic", landmarks.names, found.model.mirror)
    other = few(frames=5, seed=9)
    a, b = found.model.lift(other), again.lift(other)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    assert a.mirror == b.mirror == found.model.mirror


def test_lifting_refuses_other_points_and_takes_one_frame(fitted):
    landmarks, found = fitted
    fewer = landmarks.replace(points2d=landmarks.points2d[:, 1:], visible=landmarks.visible[:, 1:])
    with pytest.raises(InputError, match=r"19 points.*18"):
        found.model.lift(fewer)
    one = found.model.lift(landmarks.select(slice(3, 4)))
    whole = found.model.lift(landmarks)
    np.testing.assert_allclose(one.camera_points, whole.camera_points[3:4], atol=1e-4)


@pytest.mark.parametrize(
    "damage", ["text", "empty", "cut", "flipped", "npy", "keys", "about", "sizes", "normalizer", "shape"]
)
def test_a_file_that_is_no_model_is_one_line(fitted, tmp_path, damage):
    path = tmp_path / "model.npz"
    fitted[1].model.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    whole = path.read_bytes()
    if damage == "text":
        path.write_text("hello")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        with zipfile.ZipFile(path) as z:
            at = z.getinfo("params['first'].npy").header_offset + 200
        path.write_bytes(whole[:at] + bytes(255 - b for b in whole[at : at + 64]) + whole[at + 64 :])
    elif damage == "npy":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
    else:
        if damage == "keys":
            del arrays["params['first']"]
        elif damage == "about":
            about = ["deep-nrsfm++"]
        elif damage == "sizes":
            about["network"]["sizes"] = [16, "x"]
        elif damage == "normalizer":
            about["normalizer"]["measur"] = about["normalizer"].pop("measure")
        elif damage == "shape":
            arrays["params['first']"] = np.zeros((3, 3))
        np.savez(path, **(arrays | {"about": np.array(json.dumps(about))}))
    with pytest.raises(InputError) as caught:
        DeepNRSfMppModel.load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: not a model of deep-nrsfm++")


def test_pickles_are_not_opened(fitted, tmp_path):
    path = tmp_path / "model.npz"

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.savez(path, about=np.array([Bomb()], object))
    with pytest.raises(InputError):
        DeepNRSfMppModel.load(path)


@pytest.mark.fast
def test_the_optimiser_and_its_steps_by_how_often_points_are_seen():
    seen = np.ones((1500, 5))
    one = DeepNRSfMpp().resolved(seen)
    assert (one.update, one.learning_rate, one.steps) == ("muon", 8e-3, 6_000)
    seen[60:, 2] = 0
    rare = DeepNRSfMpp().resolved(seen)
    assert (rare.update, rare.learning_rate, rare.steps) == ("adam", 1e-3, 37_500)
    named = DeepNRSfMpp(update="adam", learning_rate=2e-3, steps=7).resolved(seen)
    assert (named.update, named.learning_rate, named.steps) == ("adam", 2e-3, 7)
