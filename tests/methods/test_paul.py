"""PAUL: its lower level against a brute-force optimiser, what must not leak, its files, and a real training."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from jnrsfm import datasets
from jnrsfm.errors import InputError
from jnrsfm.geometry.cameras import Orthographic, Perspective
from jnrsfm.inputs.observations import Observations
from jnrsfm.methods import METHODS, Model, paul
from jnrsfm.methods.paul.network import forward, lower_level
from jnrsfm.metrics import evaluate
from jnrsfm.training import Session, Trained
from jnrsfm.types import Cameras, Landmarks, Reconstruction

TINY = {
    "steps": 6,
    "chunk": 3,
    "refine": 3,
    "sizes": (12, 6),
    "bottleneck": 3,
    "dictionaries": (16, 8),
}
_lower = jax.jit(lower_level, static_argnums=(3, 4))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _all_of(both, seen, camera, solver):
    """Everything that the lower level gives, and the gradient of its misfit."""

    def value(s):
        found = lower_level(s[0], s[1], seen, camera, solver)
        return jnp.sum(found[3]), found

    return jax.value_and_grad(value, has_aux=True)(both)


KINDS = ("generic", "planar", "collinear", "zero", "equal")


def observations(points, weights, depth=None, dtype=jnp.float32):
    points, weights = jnp.asarray(points, dtype), jnp.asarray(weights, dtype)
    depth = jnp.ones(len(points), dtype) if depth is None else jnp.asarray(depth, dtype)
    nothing = jnp.zeros_like(weights)
    return Observations(points, weights, points, weights, depth, nothing)


def case(kind, rng, frames=4, points=7):
    """D, A and observed points of one frame after another."""
    first = rng.normal(size=(frames, points, 3))
    second = first + 0.2 * rng.normal(size=first.shape)
    if kind == "planar":
        first[..., 2] = second[..., 2] = 0
    if kind == "collinear":
        first[..., 1:] = second[..., 1:] = 0
    if kind == "zero":
        first, second = 0 * first, 0 * second
    if kind == "equal":
        second = first.copy()
    first, second = (s - s.mean(1, keepdims=True) for s in (first, second))
    turn = Rotation.random(frames, random_state=3).as_matrix()
    w = np.einsum("fpj,fij->fpi", first, turn)[..., :2] + 0.1 * rng.normal(size=(frames, points, 2))
    return first, second, w


def few(camera="orthographic", frames=14, **options):
    return datasets.make("quadruped", frames=frames, clips=2, camera=camera, seed=1, **options)[0]


# ------------------------------------------------------------------------------------------------ lower level


@pytest.mark.fast
@pytest.mark.first
@pytest.mark.parametrize("kind", ["generic", "planar"])
def test_exact_lower_level_is_the_minimum_over_cameras_depths_and_hidden_points(kind):
    """Against SciPy over a rotation and all free entries of x, from many starts."""
    rng = np.random.default_rng(0)
    first, second, w = case(kind, rng, frames=1, points=5)
    weights = np.ones((1, 5))
    weights[0, 2] = 0
    with jax.enable_x64(True):
        seen = observations(w, weights, dtype=jnp.float64)
        misfit = _lower(jnp.asarray(first), jnp.asarray(second), seen, Orthographic(), "exact")[3]
        found = float(jnp.sqrt(jnp.sum(misfit**2)))
    visible = weights[0] > 0
    target = w[0] - w[0][visible].mean(0)

    def value(v):
        r = Rotation.from_rotvec(v[:3]).as_matrix()
        z, hidden = v[3:8], v[8:10]
        total = 0.0
        for s in (first[0], second[0]):
            s = (s - s[visible].mean(0)) @ r.T
            x = np.c_[target, z]
            x[2, :2] = hidden
            total += np.mean(((s - x) ** 2).sum(1))
        return np.sqrt(total)

    starts = Rotation.random(6, random_state=1).as_rotvec()
    best = min(
        minimize(value, np.r_[v, np.zeros(7)], method="BFGS", options={"gtol": 1e-9}).fun for v in starts
    )
    assert found == pytest.approx(best, rel=1e-6)


def test_gradient_needs_none_through_the_exact_solver():
    """The derivative with the camera held, against finite differences that solve anew."""
    rng = np.random.default_rng(1)
    first, second, w = case("generic", rng)
    with jax.enable_x64(True):
        seen = observations(w, np.ones(w.shape[:2]), dtype=jnp.float64)

        def loss(s):
            return jnp.mean(jnp.sqrt(jnp.sum(_lower(s[0], s[1], seen, Orthographic(), "exact")[3] ** 2, -1)))

        both = jnp.stack([jnp.asarray(first), jnp.asarray(second)])
        grad = jax.jit(jax.grad(loss))(both)
        for seed in range(2):
            way = np.random.default_rng(seed).normal(size=both.shape)
            h = 1e-5
            finite = (loss(both + h * way) - loss(both - h * way)) / (2 * h)
            np.testing.assert_allclose(float(jnp.sum(grad * way)), float(finite), rtol=1e-5)


@pytest.mark.fast
def test_linear_solver_is_the_stacked_least_squares_of_the_paper_and_differentiable():
    rng = np.random.default_rng(2)
    first, second, w = case("generic", rng, frames=2)
    w = w - w.mean(1, keepdims=True)
    with jax.enable_x64(True):
        seen = observations(w, np.ones(w.shape[:2]), dtype=jnp.float64)
        low = lambda a, b: _lower(a, b, seen, Orthographic(), "linear")
        _, rotation, turned, _ = low(jnp.asarray(first), jnp.asarray(second))
        for f in range(2):
            stacked = np.r_[first[f], second[f]]
            m = np.linalg.lstsq(stacked, np.r_[w[f], w[f]], rcond=None)[0].T  # (2, 3)
            u, _, vt = np.linalg.svd(m, full_matrices=False)
            np.testing.assert_allclose(np.asarray(rotation[f])[:2], u @ vt, atol=1e-6)
            z = 0.5 * (first[f] + second[f]) @ np.asarray(rotation[f])[2]
            np.testing.assert_allclose(np.asarray(turned[f])[:, 2], z, atol=1e-6)
        loss = lambda s: jnp.mean(low(s[0], s[1])[3])
        both = jnp.stack([jnp.asarray(first), jnp.asarray(second)])
        way = rng.normal(size=both.shape)
        slope = jnp.sum(jax.grad(loss)(both) * way)
        finite = (loss(both + 1e-6 * way) - loss(both - 1e-6 * way)) / 2e-6
        np.testing.assert_allclose(float(slope), float(finite), rtol=1e-5)


@pytest.mark.fast
@pytest.mark.first
@pytest.mark.parametrize("solver", ["exact", "linear"])
@pytest.mark.parametrize("camera", [Orthographic(), Perspective()], ids=lambda c: c.name)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_finite_in_float32(kind, camera, solver):
    first, second, w = case(kind, np.random.default_rng(3))
    weights = np.ones(w.shape[:2])
    weights[0, 3:] = 0  # three points left
    seen = observations(0.2 * w, weights, np.full(len(w), 5.0))
    both = jnp.stack([jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32)])
    chex.assert_tree_all_finite(_all_of(both, seen, camera, solver))


@pytest.mark.fast
@pytest.mark.first
@pytest.mark.parametrize("perspective", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_lower_level_finds_the_camera_of_an_exact_image(perspective):
    rng = np.random.default_rng(4)
    shape, _, _ = case("equal", rng)
    turn = Rotation.random(4, random_state=5).as_matrix()
    camera = np.einsum("fpj,fij->fpi", shape, turn)
    depth = np.full(4, 8.0)
    image = camera[..., :2] / (camera[..., 2:] + 8.0) if perspective else camera[..., :2]
    weights = np.ones(image.shape[:2])
    weights[:, 0] = 0
    with jax.enable_x64(True):
        seen = observations(image, weights, depth if perspective else None, dtype=jnp.float64)
        found = _lower(
            jnp.asarray(shape),
            jnp.asarray(shape),
            seen,
            Perspective() if perspective else Orthographic(),
            "exact",
        )
    limit = 2e-2 if perspective else 1e-6  # three rounds of POSIT at a depth of four times the object's size
    np.testing.assert_allclose(np.asarray(found[1]), turn, atol=limit)


# ------------------------------------------------------------------------------------------------------ leaks


@pytest.mark.parametrize(
    ("codes", "camera"),
    [("free", "orthographic"), pytest.param("block-sparse", "perspective", marks=pytest.mark.slow)],
)
def test_hidden_points_do_not_leak(codes, camera):
    landmarks = few(camera, missing=0.2)
    stored = [
        np.where(np.asarray(landmarks.visible)[..., None], landmarks.points2d, x) for x in (7.0, np.nan)
    ]
    results = []
    for points in stored:
        info = METHODS["paul"]
        config = paul.Paul(**TINY, codes=codes, starts=("random",), solver="linear", scale_correction=0)
        found = info.fit(landmarks.replace(points2d=points), camera, config, 0, Session())
        results.append(np.asarray(found.reconstruction.camera_points))
        assert np.isfinite(results[-1]).all()
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("codes", ["free", "residual"])
def test_an_encoder_can_do_without_its_start(monkeypatch, codes):
    """Where the solver refuses, free codes, which begin at its shapes, go no further."""
    landmarks, begun = few(), []
    config = paul.Paul(**TINY, codes=codes, starts=("pnd",)).resolved(landmarks.n_frames)
    run = paul._Fit(landmarks, "orthographic", config, 0, Session())

    def start(name, seen):
        raise InputError("pnd needs more frames")

    def train(name, stream, data, steps, first, hyper):
        begun.append((name, hyper["free"]))
        return Trained({}, {}, ({}, {}), (0,), ({"objective": 1.0, "heldout": 1.0},))

    monkeypatch.setattr(run, "start", start)
    monkeypatch.setattr(run, "train", train)
    if codes == "free":
        with pytest.raises(InputError, match="more frames"):
            run.search()
    else:
        assert [name for *_, name in run.search()] == ["random"]
        assert begun == [("search, random", 0.0)]


@pytest.mark.fast
def test_starts_and_their_steps_by_codes_and_frames():
    rule = lambda n, **kind: (lambda c: (c.codes, c.starts, c.steps))(paul.Paul(**kind).resolved(n))
    assert rule(300) == ("free", ("pnd", "random"), 2500)
    assert rule(2000) == ("free", ("pnd",), 2500)
    assert rule(5000) == ("block-sparse", ("pnd",), 2500)
    assert rule(7000) == ("block-sparse", ("random",), 60_000)
    assert rule(7000, codes="free") == ("free", ("pnd",), 2500)
    assert rule(1000, codes="residual", starts=("random",)) == ("residual", ("random",), 25_000)


@pytest.mark.slow
def test_observed_points_keep_their_place():
    landmarks = few(missing=0.2)
    config = paul.Paul(**TINY, starts=("rigid",))
    found = METHODS["paul"].fit(landmarks, "orthographic", config, 0, Session()).reconstruction
    visible = np.asarray(landmarks.visible)
    image = np.asarray(found.camera_points)[..., :2]
    np.testing.assert_allclose(
        image[visible],
        np.asarray(landmarks.points2d)[visible],
        atol=1e-3 * np.ptp(landmarks.points2d[visible]),
    )


# -------------------------------------------------------------------------------------------------- objective


def value_and_terms(change, start=None, floor=0.0, progress=1.0):
    """Loss of a network as initialised, its terms, and the fit."""
    landmarks = few()
    config = paul.Paul(**TINY, solver="linear", **change).resolved(landmarks.n_frames)
    run = paul._Fit(landmarks, "orthographic", config, 0, Session())
    data = run.batch(run.seen, start)
    params, _ = run.network.init(jax.random.key(0))
    known = float(start is not None)
    hyper = {"free": 1.0, "anchor_weight": known, "anchor_floor": floor, "progress": progress}
    value = jax.jit(
        lambda p, d: (
            run.objective(p, {}, d, jax.random.key(1), hyper)[0],
            forward(run.network, run.rule, p, d, 1.0),
        )
    )
    loss, terms = value(params, data)
    return float(loss), jax.tree.map(np.asarray, terms), run


def test_the_floor_of_the_anchor_weight_stays_to_the_end():
    start = np.random.default_rng(0).normal(size=(14, few().n_points, 3))
    free, terms, _ = value_and_terms({}, start)
    held, _, _ = value_and_terms({}, start, 0.25)
    away = sum(np.sqrt(((s - start) ** 2).sum(-1).mean(-1)).mean() for s in (terms.first, terms.second))
    assert held - free == pytest.approx(0.25 * away, rel=1e-4)
    early, _, _ = value_and_terms({}, start, 0.25, progress=0.1)  # half of it has faded
    assert early - free == pytest.approx(0.5 * away, rel=1e-4)


def test_smoothness_is_the_second_difference_within_clips():
    plain, terms, run = value_and_terms({})
    smooth, _, _ = value_and_terms({"smooth": 2.0})
    clips = [np.flatnonzero(run.sequence == c) for c in np.unique(run.sequence)]
    bent = np.concatenate([np.diff(terms.shape[c], 2, axis=0) for c in clips])
    assert len(bent) == 14 - 2 * len(clips)
    assert smooth - plain == pytest.approx(2.0 * np.sqrt((bent**2).sum(-1).mean(-1)).mean(), rel=1e-3)


def test_nuclear_norm_is_that_of_the_shapes_of_the_decoder():
    plain, terms, _ = value_and_terms({"prior": "adl"})
    nuclear, _, _ = value_and_terms({"prior": "adl-nuclear", "nuclear": 0.5})
    rows = terms.first.reshape(14, -1) / np.sqrt(14 * terms.first.shape[1])
    assert nuclear - plain == pytest.approx(0.5 * np.linalg.svd(rows, compute_uv=False).sum(), rel=1e-3)


# ------------------------------------------------------------------------------------------------------ model


@pytest.mark.slow
def test_model_lifts_and_is_saved(tmp_path):
    landmarks = few(frames=40)
    config = paul.Paul(**{**TINY, "steps": 9}, codes="free", batch=0, starts=("random",), solver="linear")
    fitted = METHODS["paul"].fit(landmarks, "orthographic", config, 0, Session())
    assert isinstance(fitted.model, Model)
    lifted = fitted.model.lift(landmarks)
    path = tmp_path / "model.npz"
    fitted.model.save(path)
    again = METHODS["paul"].load(path).lift(landmarks)
    np.testing.assert_array_equal(lifted.points3d, again.points3d)
    one = fitted.model.lift(landmarks.select(np.array([3])))
    np.testing.assert_allclose(one.points3d[0], lifted.points3d[3], atol=1e-4 * np.abs(lifted.points3d).max())


def test_bad_settings_are_one_line():
    landmarks = few()
    for bad in ({"bottleneck": 0}, {"holdout": 1.0}, {"starts": ()}, {"smooth": -1.0}, {"anchor_floor": 1.5}):
        with pytest.raises(InputError):
            METHODS["paul"].fit(landmarks, "orthographic", paul.Paul(**{**TINY, **bad}), 0, Session())


# --------------------------------------------------------------------------------------------------- training


@pytest.mark.slow
def test_training_recovers_a_deforming_shape_and_a_broken_solver_would_not():
    """A turning shape with two nonlinear modes, from a random start: the paper's method at work. A camera that is wrong
    leaves the error of a flat shape. Frames that training has not seen come out nearly as well."""
    rng = np.random.default_rng(0)
    frames, points = 80, 12
    t = np.arange(frames)
    basis = rng.normal(size=(3, points, 3))
    shape = basis[0] + 0.3 * np.sin(0.21 * t)[:, None, None] * basis[1]
    shape = shape + 0.3 * np.cos(0.13 * t)[:, None, None] ** 2 * basis[2]
    shape = shape - shape.mean(1, keepdims=True)
    turn = Rotation.from_rotvec(np.c_[0.02 * t, 0.12 * t, 0 * t]).as_matrix()
    camera = np.einsum("fpj,fij->fpi", shape, turn)
    reference = Reconstruction(points3d=shape, cameras=Cameras(rotations=turn))
    landmarks = Landmarks(points2d=camera[..., :2], visible=np.ones((frames, points), bool))
    config = paul.Paul(
        steps=500,
        chunk=250,
        warmup=50,
        sizes=(48, 24, 12),
        bottleneck=3,
        starts=("random",),
        final=2.0,
    )
    unseen = t % 10 == 5
    seen, rest = np.flatnonzero(~unseen), np.flatnonzero(unseen)
    fitted = METHODS["paul"].fit(landmarks.select(seen), "orthographic", config, 0, Session())
    error = lambda found, truth: evaluate(found, truth, ["frame-mirror"])["frame-mirror"]["normalized_error"]
    flat = dataclasses.replace(
        fitted.reconstruction,
        points3d=camera[seen] * np.array([1, 1, 0]),
        cameras=Cameras(rotations=np.tile(np.eye(3), (len(seen), 1, 1))),
    )
    assert error(flat, reference.select(seen)) > 0.3
    assert error(fitted.reconstruction, reference.select(seen)) < 0.08
    assert error(fitted.model.lift(landmarks.select(rest)), reference.select(rest)) < 0.1
