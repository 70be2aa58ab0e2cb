"""Protocols: hand-computed values, the gauge that each forgives, merging of chunks, an independent scorer."""

import copy
import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jnrsfm import metrics
from jnrsfm.errors import InputError
from jnrsfm.types import Cameras, Landmarks, Reconstruction

EYE = np.eye(3)
NAMES = ("kong", "frame-mirror", "one-mirror", "one-mirror-scaled", "akhter", "c3dpo", "deep-nrsfm++")
seeds = st.integers(0, 2**31)


def record(points, rotations=None, **fields):
    points = np.asarray(points, float)
    rotations = np.broadcast_to(EYE, (len(points), 3, 3)) if rotations is None else rotations
    camera = {k: fields.pop(k) for k in ("scale", "translations", "model") if k in fields}
    return Reconstruction(points3d=points, cameras=Cameras(rotations=rotations, **camera), **fields)


def rotation(rng, n=None):
    q = np.linalg.qr(rng.normal(size=(n or 1, 3, 3)))[0]
    q = q * np.sign(np.linalg.det(q))[:, None, None]
    return q if n else q[0]


def pair(seed=0, frames=12, points=7, noise=0.2):
    """A reference and a noisy estimate of it, clips and categories included."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(frames, points, 3)) * [1.0, 2.0, 0.7]
    r = rotation(rng, frames)
    fields = {"sequence": np.arange(frames) // 5, "category": np.arange(frames) % 2, "categories": ("a", "b")}
    u, _, vt = np.linalg.svd(r + 0.1 * noise * rng.normal(size=r.shape))
    estimate = record(
        x + noise * rng.normal(size=x.shape), u @ vt, scale=rng.uniform(0.9, 1.1, frames), **fields
    )
    return estimate, record(x, r, **fields)


def score(estimate, reference, name):
    return metrics.evaluate(estimate, reference, [name])[name]


# A square of side 2 in the image plane, one corner lifted: centred, norm^2 = 8 + 4.
SQUARE = np.array([[1.0, 1, 1], [-1, 1, -1], [-1, -1, 1], [1, -1, -1]])


@pytest.mark.fast
def test_hand_computed_frame_mirror_and_one_mirror():
    # depths of 1 where the reference has 2: |S - S*| = sqrt(4 * 1), |S*| = sqrt(4 * (1 + 1 + 4))
    reference = record(np.stack([SQUARE * [1, 1, 2]] * 3), sequence=np.array([0, 0, 0]))
    estimate = record(np.stack([SQUARE, SQUARE * [1, 1, -1], SQUARE]) + 7.0)
    kept, flipped = 2 / np.sqrt(24), 6 / np.sqrt(24)
    np.testing.assert_allclose(score(estimate, reference, "frame-mirror")["normalized_error"], kept)
    got = score(estimate, reference, "one-mirror")
    np.testing.assert_allclose(got["normalized_error"], (2 * kept + flipped) / 3)
    np.testing.assert_allclose(got["handedness"], 2 / 3)
    # a clip of its own for the mirrored frame makes it agree
    split = reference.replace(sequence=np.array([4, 9, 4]))
    got = score(estimate, split, "one-mirror")
    np.testing.assert_allclose([got["normalized_error"], got["handedness"]], [kept, 1.0])


@pytest.mark.fast
def test_the_scaled_form_of_one_mirror_forgives_size_and_nothing_else(rng):
    estimate, reference = pair()
    sized = estimate.replace(points3d=estimate.points3d * rng.uniform(0.2, 5, (12, 1, 1)))
    got, again = (score(x, reference, "one-mirror-scaled") for x in (estimate, sized))
    assert got == pytest.approx(again)
    fine = reference.replace(points3d=3 * reference.points3d).flip(np.arange(12) // 5 == 1)
    assert score(fine, reference, "one-mirror-scaled") == pytest.approx(
        {"normalized_error": 0, "handedness": 1}, abs=1e-7
    )
    torn = fine.flip(np.arange(12) == 2)
    assert score(torn, reference, "one-mirror-scaled")["handedness"] == pytest.approx(11 / 12)
    assert score(torn, reference, "deep-nrsfm++")["normalized_error"] == pytest.approx(0, abs=1e-7)


@pytest.mark.fast
def test_hand_computed_kong():
    # after the size is matched, a flat square against one with depth: nothing left to rotate
    flat = SQUARE * [1, 1, 0]
    reference = record(SQUARE[None] * 3.0)
    s = flat * np.sqrt(12 / 8) * 3
    distance = np.linalg.norm(s - 3 * SQUARE, axis=1)
    got = score(record(flat[None] * 0.01), reference, "kong")
    np.testing.assert_allclose(got["normalized_error"], np.linalg.norm(s - 3 * SQUARE) / np.sqrt(108))
    np.testing.assert_allclose(got["mpjpe"], distance.mean())


@pytest.mark.fast
def test_hand_computed_akhter():
    # rows of SQUARE have deviation 1; one frame right, one with depths halved: distance 1/2 there
    reference = record(np.stack([SQUARE, SQUARE]))
    estimate = record(np.stack([SQUARE, SQUARE * [1, 1, 0.5]]))
    got = score(estimate, reference, "akhter")
    np.testing.assert_allclose(got["e3d"], 0.25)
    np.testing.assert_allclose(got["e3d_camera"], 0.25)
    np.testing.assert_allclose(got["rotation_error"], 0.0, atol=1e-12)
    # cameras a and -a about one axis: no common alignment helps, each differs from the identity by 2 sin(a/2)
    a = 0.2
    c, s = np.cos(a), np.sin(a)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    got = score(record(reference.points3d, np.stack([turn, turn.T])), reference, "akhter")
    np.testing.assert_allclose(got["rotation_error"], 2 * np.sin(a / 2))
    np.testing.assert_allclose(got["e3d"], 0.0, atol=1e-12)


@pytest.mark.fast
def test_hand_computed_c3dpo():
    # depth offset forgiven, mirror forgiven, x offset of 3 not; stress sees neither
    reference = record(SQUARE[None])
    estimate = record((SQUARE * [1, 1, -1] + [3, 0, 50])[None])
    got = score(estimate, reference, "c3dpo")
    np.testing.assert_allclose([got["mpjpe"], got["stress"]], [3.0, 0.0], atol=1e-12)
    got = metrics.evaluate(estimate, reference, [metrics.C3dpo(centre="xyz")])["c3dpo"]
    np.testing.assert_allclose(got["mpjpe"], 0.0, atol=1e-12)
    # twice the size about the root: distances are the distances from the root, 0 at the root itself
    got = metrics.evaluate(record(2 * SQUARE[None]), reference, [metrics.C3dpo(root=0)])["c3dpo"]
    np.testing.assert_allclose(got["mpjpe"], 3 * np.sqrt(8) / 4)
    # all pairs of SQUARE are sqrt(8) apart; doubled they are twice that
    np.testing.assert_allclose(got["stress"], np.sqrt(8))


@pytest.mark.fast
def test_categories_are_averaged_before_their_mean():
    # errors 1, 1, 1 in "a" and 5 in "b": 3, not 2
    offset = np.array([1.0, 1, 1, 5])[:, None, None] * [1, 0, 0]
    fields = {"category": np.array([0, 0, 0, 1]), "categories": ("a", "b")}
    reference = record(np.stack([SQUARE] * 4), **fields)
    estimate = record(SQUARE + offset)
    np.testing.assert_allclose(score(estimate, reference, "c3dpo")["mpjpe"], 3.0)
    parts = metrics.evaluate_by_category(estimate, reference, ["c3dpo"])
    np.testing.assert_allclose([parts[c]["c3dpo"]["mpjpe"] for c in "ab"], [1.0, 5.0])


@pytest.mark.fast
def test_hand_computed_deep_nrsfm_pp():
    # a quarter turn about z and a wrong size: the size is forgiven by all, the turn by PA and stress only
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    shape = SQUARE * [1, 2, 3]
    got = score(record((5 * shape @ quarter.T * [1, 1, -1])[None]), record(shape[None]), "deep-nrsfm++")
    turned = np.linalg.norm(shape @ quarter.T - shape, axis=1).mean()
    mirrored = np.linalg.norm(shape @ quarter.T * [1, 1, -1] - shape, axis=1).mean()
    np.testing.assert_allclose(got["mpjpe"], min(turned, mirrored))
    np.testing.assert_allclose([got["pa_mpjpe"], got["stress"]], [0, 0], atol=1e-12)
    assert got["normalized_error"] > 0.1


def test_stress_is_the_mean_over_pairs():
    # a unit edge stretched to 3 among the three pairs (1, 1, sqrt 2) -> (3, 1, sqrt 10)
    a = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    b = np.array([[[0.0, 0, 0], [3, 0, 0], [0, 1, 0]]])
    valid = np.ones((1, 3), bool)
    np.testing.assert_allclose(
        metrics.distances.stress(b, a, valid), [(2 + 0 + np.sqrt(10) - np.sqrt(2)) / 3]
    )
    assert np.isnan(metrics.distances.stress(b, a, np.array([[True, False, False]]))).all()


@pytest.mark.parametrize("name", NAMES)
def test_perfect_is_zero_and_the_gauge_is_spelled_out(name):
    _, reference = pair()
    got = score(reference, reference, name)
    assert got.pop("handedness", 1.0) == 1.0
    np.testing.assert_allclose(list(got.values()), 0.0, atol=1e-9)
    chosen = metrics.PROTOCOLS[name]
    assert set(chosen.metrics) >= set(got)
    assert chosen.gauge
    assert f"`{name}`" in type(chosen).__doc__


@settings(max_examples=25)
@given(seed=seeds, name=st.sampled_from(NAMES))
def test_chunks_merge_to_the_whole(seed, name):
    estimate, reference = pair(seed)
    p = metrics.protocol(name)
    cuts = np.sort(np.random.default_rng(seed).integers(0, 13, 2))
    state = {}
    for part in np.split(np.arange(12), cuts):
        if len(part):
            state = p.merge(state, p.update(estimate.select(part), reference.select(part)))
    want = score(estimate, reference, name)
    got = p.compute(state)
    np.testing.assert_allclose([got[k] for k in want], list(want.values()), rtol=1e-9)


def test_long_sets_are_scored_in_chunks(monkeypatch):
    estimate, reference = pair()
    want = metrics.evaluate(estimate, reference)
    monkeypatch.setattr(metrics.protocols, "_FRAMES_AT_ONCE", 5)
    got = metrics.evaluate(estimate, reference)
    for name in NAMES:
        np.testing.assert_allclose(list(got[name].values()), list(want[name].values()), rtol=1e-9)


def camera_shapes(estimate):
    """The estimate with its shapes in the camera frame, float64."""
    return estimate.replace(
        points3d=metrics.protocols.camera_points(estimate),
        cameras=Cameras(rotations=np.broadcast_to(EYE, (estimate.n_frames, 3, 3))),
    )


def same(a, b, reference, name):
    x, y = score(a, reference, name), score(b, reference, name)
    np.testing.assert_allclose(list(x.values()), list(y.values()), rtol=1e-6, atol=1e-9)


@settings(max_examples=15)
@given(seed=seeds)
def test_kong_forgives_every_frame_its_orthogonal_map_scale_and_place(seed):
    rng = np.random.default_rng(seed)
    estimate, reference = pair(seed)
    q = rotation(rng, 12) * rng.choice([-1.0, 1.0], 12)[:, None, None]
    moved = estimate.points3d @ q * rng.uniform(0.1, 9, (12, 1, 1)) + rng.normal(size=(12, 1, 3))
    same(estimate, estimate.replace(points3d=moved), reference, "kong")


@settings(max_examples=15)
@given(seed=seeds, name=st.sampled_from(["frame-mirror", "c3dpo", "deep-nrsfm++", "one-mirror"]))
def test_mirror_gauges(seed, name):
    rng = np.random.default_rng(seed)
    estimate, reference = pair(seed)
    choice = rng.random(12) < 0.5
    if name == "one-mirror":
        choice = choice[reference.sequence]
    same(estimate, estimate.flip(choice), reference, name)


@settings(max_examples=15)
@given(seed=seeds)
def test_akhter_forgives_one_orthogonal_map_of_the_set(seed):
    rng = np.random.default_rng(seed)
    estimate, reference = pair(seed)
    q = rotation(rng) * rng.choice([-1.0, 1.0])
    turned = estimate.replace(
        points3d=estimate.points3d @ q, cameras=estimate.cameras.replace(rotations=estimate.rotations @ q)
    )
    same(estimate, turned, reference, "akhter")


@settings(max_examples=15)
@given(seed=seeds, name=st.sampled_from(NAMES))
def test_invariant_to_place_and_point_order_and_frame_order(seed, name):
    rng = np.random.default_rng(seed)
    estimate, reference = pair(seed)
    shift = rng.normal(size=(12, 1, 3)) * ([0, 0, 1] if name == "c3dpo" else 1)
    if name == "c3dpo":
        estimate = camera_shapes(estimate)
    same(estimate, estimate.replace(points3d=estimate.points3d + shift), reference, name)
    points, frames = rng.permutation(7), rng.permutation(12)
    shuffled = [x.replace(points3d=x.points3d[:, points]).select(frames) for x in (estimate, reference)]
    want = score(estimate, reference, name)
    got = score(*shuffled, name)
    np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_strict_gauge_does_not_forgive(name):
    """Each protocol notices what is outside its gauge: no invariance by accident."""
    rng = np.random.default_rng(3)
    estimate, reference = pair(3, noise=0.02)
    outside = {
        "kong": estimate.replace(points3d=estimate.points3d * [1, 1, 1.5]),
        "akhter": estimate.flip(np.arange(12) % 2 == 0),
        "one-mirror": estimate.flip(np.arange(12) % 2 == 0),
    }.get(name, estimate.replace(cameras=estimate.cameras.replace(rotations=rotation(rng, 12))))
    error = {"akhter": "e3d", "c3dpo": "mpjpe"}.get(name, "normalized_error")
    assert score(outside, reference, name)[error] > 3 * score(estimate, reference, name)[error]


@pytest.mark.parametrize("name", NAMES)
def test_masked_points_never_leak(name):
    estimate, reference = pair(5)
    valid = np.random.default_rng(0).random((12, 7)) < 0.7
    valid[3] = False  # a frame without any 3D is not counted
    valid[4] = np.arange(7) == 2  # nor one with a single point
    reference = reference.replace(valid3d=valid)
    want = score(estimate, reference, name)
    for junk in (0.0, np.nan, 1e9):
        dirty = [
            x.replace(points3d=np.where(valid[..., None], x.points3d, junk)) for x in (estimate, reference)
        ]
        assert score(*dirty, name) == want
    # masked frames are as good as absent ones, and masked points as absent ones
    used = np.setdiff1d(np.arange(12), [3, 4])
    again = score(estimate.select(used), reference.select(used), name)
    np.testing.assert_allclose(list(again.values()), list(want.values()), rtol=1e-9)
    mask = np.broadcast_to(np.arange(7) < 4, (12, 7))
    cut = [x.replace(points3d=x.points3d[:, :4], valid3d=None) for x in (estimate, reference)]
    masked, want = score(estimate, reference.replace(valid3d=mask), name), score(*cut, name)
    np.testing.assert_allclose(list(masked.values()), list(want.values()), rtol=1e-9)


@pytest.mark.fast
def test_errors_of_the_user():
    estimate, reference = pair()
    with pytest.raises(InputError, match=r"unknown protocol 'konk'; choose from kong, .*deep-nrsfm\+\+"):
        metrics.evaluate(estimate, reference, ["konk"])
    with pytest.raises(InputError, match=r"12 frames of 6 points, the reference has 12 frames of 7 points"):
        metrics.evaluate(estimate.replace(points3d=estimate.points3d[:, :6]), reference)
    with pytest.raises(InputError, match=r"reference has 4 frames"):
        metrics.evaluate(estimate, reference.select(slice(0, 4)))
    named = [r.replace(names=tuple(n)) for r, n in ((estimate, "abcdefg"), (reference, "abcxefg"))]
    with pytest.raises(InputError, match="point 3 is 'd', but 'x' in the reference"):
        metrics.evaluate(*named)
    broken = estimate.points3d.copy()
    broken[2, 5, 1] = np.nan
    with pytest.raises(InputError, match=r"reconstruction: point 5 of frame 2 is not finite"):
        metrics.evaluate(estimate.replace(points3d=broken), reference, ["kong"])
    odd = copy.copy(reference)  # past the annotations of the record, which hold in tests only
    object.__setattr__(odd, "valid3d", np.ones((12, 6), bool))
    with pytest.raises(InputError, match=r"valid3d has shape \(12, 6\)"):
        metrics.protocol("kong").align(estimate, odd)
    nothing = reference.replace(valid3d=np.zeros((12, 7), bool))
    for name in NAMES:
        with pytest.raises(InputError, match="no frame can be scored"):
            metrics.evaluate(estimate, nothing, [name])
    with pytest.raises(InputError, match="root 7 is no point"):
        metrics.evaluate(estimate, reference, [metrics.C3dpo(root=7)])
    with pytest.raises(InputError, match="category indices"):
        metrics.evaluate(estimate, reference.replace(category=np.full(12, 2)), ["c3dpo"])


def test_overwriting_visible_xy():
    estimate, reference = pair(2)
    visible = np.random.default_rng(1).random((12, 7)) < 0.6
    observed = np.where(visible[..., None], camera_shapes(reference).points3d[..., :2], np.nan)
    landmarks = Landmarks(points2d=observed, visible=visible)
    got = metrics.overwrite_visible_xy(estimate, landmarks)
    before, after = camera_shapes(estimate).points3d, got.points3d
    np.testing.assert_array_equal(after[..., 2], before[..., 2])
    np.testing.assert_allclose(after[visible, :2], observed[visible])
    np.testing.assert_allclose(after[~visible], before[~visible])
    assert score(got, reference, "c3dpo")["mpjpe"] < score(estimate, reference, "c3dpo")["mpjpe"]
    perspective = estimate.replace(cameras=estimate.cameras.replace(model="perspective"))
    with pytest.raises(InputError, match="orthographic"):
        metrics.overwrite_visible_xy(perspective, landmarks)
    with pytest.raises(InputError, match="landmarks have 3 frames"):
        metrics.overwrite_visible_xy(estimate, landmarks.select(slice(0, 3)))


@pytest.fixture(scope="module")
def oracle(data_dir):
    folder = data_dir.parent
    path = folder / "tools" / "score.py"
    if not path.is_file():
        pytest.skip("no independent scorer beside the data")
    spec = importlib.util.spec_from_file_location("independent_scorer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.data
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_independent_scorer(oracle, seed):
    estimate, reference = pair(seed, frames=40, points=9, noise=[0.0, 0.1, 0.5, 2.0][seed])
    estimate = estimate.flip(np.random.default_rng(seed).random(40) < 0.3)
    a, b = (
        {"points3d": np.asarray(x.points3d, float), "rotations": np.asarray(x.rotations, float)}
        for x in (estimate, reference)
    )
    a["scale"], b["clip"] = estimate.scale, reference.sequence
    want = oracle.mirrors(a, b) | {"kong": oracle.kong(a, b)}
    got = metrics.evaluate(estimate, reference)
    for name, values in want.items():
        for key, value in values.items():
            np.testing.assert_allclose(got[name][key], value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(got["akhter"]["e3d"], oracle.akhter(a, b, False), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(got["akhter"]["e3d_camera"], oracle.akhter(a, b, True), rtol=1e-6, atol=1e-9)
