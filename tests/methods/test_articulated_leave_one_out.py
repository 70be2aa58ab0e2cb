"""Depths of a window of frames from the shapes of the other windows."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jnrsfm.datasets import make
from jnrsfm.factorization.measurements import measure
from jnrsfm.inputs.jittery import NOISY, noise_of
from jnrsfm.methods import articulated
from jnrsfm.methods.articulated import Articulated, Start
from jnrsfm.methods.articulated.leave_one_out import candidates, from_others, likeliest_path, normal_of
from jnrsfm.methods.articulated.tracks import sigmas_of, tracks_of
from jnrsfm.shape_prior import ProcrusteanNormal
from jnrsfm.shape_prior.articulated import Figure
from jnrsfm.training import Session

NOTHING = Figure(None, None, None, None)


def few_poses(rng, frames, sigma, points=9, modes=2, near=0.0):
    """`(shapes, normal, image)`: camera-frame shapes of a normal distribution, and their image by a near camera."""
    mean = rng.normal(size=(points, 3))
    mean -= mean.mean(0)
    directions = 0.1 * rng.normal(size=(modes, points, 3))
    directions -= directions.mean(1, keepdims=True)
    # as of aligned shapes: no mode turns the mean
    turns = np.stack([np.cross(axis, mean).ravel() for axis in np.eye(3)])
    flat = directions.reshape(modes, -1)
    directions = (flat - flat @ np.linalg.pinv(turns) @ turns).reshape(directions.shape)
    shapes = mean + np.einsum("fm,mpi->fpi", rng.normal(size=(frames, modes)), directions)
    shapes = np.einsum("fpj,fij->fpi", shapes, Rotation.random(frames, random_state=rng).as_matrix())
    image = shapes[..., :2] / (1 + near * shapes[..., 2:])
    basis = np.moveaxis(directions, 0, -1)
    return shapes, ProcrusteanNormal(*map(jnp.asarray, (mean, basis, sigma**2))), image


@pytest.mark.parametrize("near", [0.0, 0.1, -0.1])
def test_the_cheapest_candidate_is_the_shape_and_hidden_points_follow(rng, near):
    with jax.enable_x64(True):
        shapes, normal, image = few_poses(rng, 12, 1e-2, near=near)
        weights = np.ones(image.shape[:2])
        weights[::2, 3] = 0
        image[::2, 3] = 1e3  # what hidden points say must not matter
        image += rng.normal(size=(12, 1, 2)) * 0.01 if not near else 0  # nor where the object is
        starts = jnp.asarray(Rotation.random(32, random_state=1).as_matrix())
        found, cost = candidates(
            jnp.asarray(image),
            jnp.asarray(weights),
            jnp.full(12, near),
            normal,
            starts,
            turns=60,
        )
        best = np.asarray(found)[np.arange(12), np.asarray(cost).argmin(1)]
    np.testing.assert_allclose(best, shapes - shapes.mean(1, keepdims=True), atol=0.1)


def test_a_candidate_costs_its_negative_log_likelihood(rng):
    """By the dense covariance, the translation projected out."""
    with jax.enable_x64(True):
        sigma = 0.3
        _, normal, image = few_poses(rng, 1, sigma)
        p = image.shape[1]
        turn = Rotation.random(random_state=2).as_matrix()
        cost = candidates(
            jnp.asarray(image),
            jnp.ones((1, p)),
            jnp.zeros(1),
            normal,
            jnp.asarray(turn[None]),
            turns=1,
        )[1][0, 0]
    centre = np.kron(np.eye(p) - 1 / p, np.eye(2))
    rows = np.einsum("ij,pjk->kpi", turn, np.asarray(normal.basis))[..., :2].reshape(2, -1) @ centre
    gap = centre @ (image[0] - (np.asarray(normal.mean) @ turn.T)[:, :2]).ravel()
    covariance = rows.T @ rows + sigma**2 * np.eye(2 * p)
    expected = gap @ np.linalg.solve(covariance, gap) / 2 + np.linalg.slogdet(covariance / sigma**2)[1] / 2
    assert float(cost) == pytest.approx(expected, rel=1e-9)


@pytest.mark.fast
def test_the_path_equals_enumeration(rng):
    shapes, cost = rng.normal(size=(5, 3, 4, 3)), rng.normal(size=(5, 3))
    follows = np.array([1.0, 1, 0, 1])
    ends = {}
    for path in itertools.product(range(3), repeat=5):
        own = shapes[np.arange(5), path]
        step = ((own[1:] - own[:-1]) ** 2).sum(-1) / 0.5**2
        ends[path] = cost[np.arange(5), path].sum() + (follows * (2.5 * np.log1p(step / 4)).sum(-1)).sum()
    least = min(ends, key=ends.get)
    np.testing.assert_allclose(likeliest_path(shapes, cost, follows, 0.5), shapes[np.arange(5), least])


@pytest.mark.fast
def test_candidates_that_are_no_numbers_are_passed_over_and_none_at_all_is_flat(rng):
    shapes, cost = rng.normal(size=(2, 3, 4, 3)), np.array([[np.nan, 1.0, 2.0], [np.nan] * 3])
    found = likeliest_path(shapes, cost, np.zeros(1), 1.0)
    np.testing.assert_array_equal(found[0], shapes[0, 1])
    np.testing.assert_array_equal(found[1], 0)


@pytest.mark.fast
def test_modes_are_those_of_the_covariance(rng):
    shapes = rng.normal(size=(50, 2, 3))
    normal = normal_of(shapes, 0.25)
    basis = np.asarray(normal.basis).reshape(6, 6)
    np.testing.assert_allclose(basis @ basis.T, np.cov(shapes.reshape(50, 6).T, bias=True), atol=1e-5)
    np.testing.assert_allclose(normal.mean, shapes.mean(0), atol=1e-6)
    assert normal.noise == 0.25


@pytest.fixture(scope="module")
def animal():
    """Clips of a quadruped, one of which starts out reflected: landmarks, truth, start, wrong frames."""
    landmarks, truth = make(
        "quadruped", seed=3, frames=120, clips=4, camera="orthographic", view="tumble", degrees_per_frame=4.0
    )
    x = np.asarray(truth.camera_points, np.float64)
    x = x - x.mean(1, keepdims=True)
    wrong = np.asarray(landmarks.sequence) == 2
    start = np.where(wrong[:, None, None], x * [1, 1, -1], x)
    return landmarks, x, Start("pnd", "orthographic", start, 0.004), wrong


def test_a_reflected_clip_takes_the_side_of_the_others(animal):
    landmarks, x, start, wrong = animal
    tracks = tracks_of(landmarks, measure(landmarks, "orthographic", 3), np.asarray(landmarks.edges))
    known, config = noise_of(landmarks), Articulated(rounds=1)
    sigmas = sigmas_of(tracks, known, config, "orthographic", 0.004)
    state = articulated._descended(start, tracks, sigmas, config, "orthographic", Session())
    windows = articulated._windows(landmarks, len(x))
    found = from_others(state.figure, np.asarray(state.rotations, np.float64), tracks, sigmas, windows)
    same = lambda z: (z * x[..., 2]).sum(1) / np.sqrt((z**2).sum(1) * (x[..., 2] ** 2).sum(1))
    before, after = same(np.asarray(state.figure.x)[..., 2]), same(np.asarray(found.x)[..., 2])
    assert before[wrong].max() < -0.8
    assert np.median(after[wrong]) > 0.9
    assert (after > 0.8).mean() > 0.95
    np.testing.assert_array_equal(found.x[..., :2], state.figure.x[..., :2])  # all points are seen


def test_looks_lower_the_energy_where_a_clip_started_reflected(animal, monkeypatch):
    landmarks, x, start, _ = animal
    monkeypatch.setattr(articulated, "_starts", lambda *_: [start])
    errors, energies = [], []
    for looks in (0, 1):
        found = articulated.fit(
            landmarks, "orthographic", Articulated(rounds=20, sweeps=0, looks=looks), 0, Session()
        )
        points = np.asarray(found.reconstruction.camera_points, np.float64)
        points = points - points.mean(1, keepdims=True)
        gaps = [np.linalg.norm(points * [1, 1, s] - x) for s in (1, -1)]
        errors.append(min(gaps) / np.linalg.norm(x))
        energies.append(found.diagnostics["energy"])
    assert energies[1] < energies[0] - 1
    assert errors[1] < 0.15 < 0.4 < errors[0]


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_noisy_tracks_are_held_to_their_width_and_not_looked_at_anew(animal, monkeypatch, noise):
    landmarks, _, start, _ = animal
    away = (
        noise
        * np.random.default_rng(0).normal(size=landmarks.points2d.shape)
        * np.asarray(landmarks.points2d).std()
    )
    landmarks = landmarks.replace(points2d=(np.asarray(landmarks.points2d) + away).astype(np.float32))
    known = noise_of(landmarks)
    assert (known.noise > NOISY) == (noise > 0)
    tracks = tracks_of(landmarks, measure(landmarks, "orthographic", 3), np.asarray(landmarks.edges))
    sigmas = sigmas_of(tracks, known, Articulated(), "orthographic", 0.004)
    tight = min(sigmas.depth / sigmas.extent, sigmas.relief)  # one of the two speaks
    assert tight <= 1 < 100 < max(sigmas.depth / sigmas.extent, sigmas.relief)
    assert (sigmas.relief > 100) == (noise > 0)
    looked = []
    monkeypatch.setattr(articulated, "from_others", lambda figure, *_: looked.append(1) or figure)
    articulated.refine(
        landmarks, "orthographic", [start], Articulated(rounds=2, looks=2, sweeps=0), Session()
    )
    assert bool(looked) == (noise == 0)


@pytest.mark.fast
def test_only_ends_that_are_nearly_as_likely_are_another_opinion():
    ends = [articulated._State(str(e), NOTHING, None, energy=e) for e in (40.0, 41.5, 44.0, 40.2)]
    assert [s.name for s in articulated._rivals(ends[0], ends)] == ["40.2", "41.5"]
    assert [s.name for s in articulated._rivals(ends[0], [ends[0], ends[2]])] == ["44.0"]
    better = articulated._State("searched", NOTHING, None, energy=39.0)  # of none of the starts
    assert [s.name for s in articulated._rivals(better, ends)] == ["40.0", "40.2"]
