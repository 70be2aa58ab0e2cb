"""Mirrored frames: distances against an SVD, exact chains against enumeration, recovery of known flips."""

import itertools
import time

import numpy as np
import pytest
import scipy.sparse as sparse
from scipy.spatial.transform import Rotation

from jnrsfm.errors import InputError
from jnrsfm.geometry.depth_reflection import relabel, resolve_mirrors
from jnrsfm.geometry.mirror_evidence import mirror_distances
from jnrsfm.linalg.sign_synchronization import solve_chain, synchronize_signs
from jnrsfm.types import Cameras, Reconstruction

FLIP_Z = np.array([1.0, 1.0, -1.0])


def random_rotations(rng, n):
    return Rotation.random(n, random_state=rng).as_matrix()


def chain_motion(rng, n_frames, n_points=12, speed=0.08):
    """A chain of unit bones whose directions wander smoothly: `(frame, point, 3)`, centred."""
    t = np.arange(n_frames) * speed
    n_bones = n_points - 1
    rest = rng.normal(size=(n_bones, 3))
    turn = sum(
        rng.normal(size=(n_bones, 3))
        * 0.5
        / k
        * np.sin(k * t[:, None, None] + rng.uniform(0, 6, (n_bones, 3)))
        for k in (1, 2)
    )
    bones = rest + turn
    bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
    points = np.concatenate([np.zeros((n_frames, 1, 3)), np.cumsum(bones, 1)], 1)
    return points - points.mean(1, keepdims=True)


def observed(rng, shapes, noise, flip):
    """Camera-frame shapes under random cameras, scales and offsets, noisy, mirrored in depth where `flip`."""
    n, p, _ = shapes.shape
    x = np.einsum("fpj,fij->fpi", shapes, random_rotations(rng, n))
    size = np.sqrt((x**2).sum((1, 2)) / p)[:, None, None]
    x = x + rng.normal(size=x.shape) * noise * size / np.sqrt(3)
    x = np.where(flip[:, None, None], x * FLIP_Z, x)
    return x * rng.uniform(0.5, 2, (n, 1, 1)) + rng.normal(size=(n, 1, 3))


def handedness(found, true, clip):
    """Share of the frames that agree with one mirror for each clip."""
    right = 0
    for c in np.unique(clip):
        same = np.sum(found[clip == c] == true[clip == c])
        right += max(same, np.sum(clip == c) - same)
    return right / len(true)


# --- distances ---------------------------------------------------------------------------------------------


@pytest.mark.fast
@pytest.mark.parametrize("flatness", [1.0, 1e-3, 1e-6, 0.0])
def test_distances_equal_the_alignment_by_svd(rng, flatness):
    a = rng.normal(size=(40, 9, 3)) * [1, 0.7, flatness]
    b = np.einsum(
        "fpj,fij->fpi", a + rng.normal(size=a.shape) * [0.3, 0.3, 0.3 * flatness], random_rotations(rng, 40)
    )
    w = rng.uniform(0.1, 1, (40, 9))
    expected = []
    for x, y, c in zip(a, b * 3.0 + 5.0, w, strict=True):
        x, y = x - c @ x / c.sum(), y - c @ y / c.sum()
        x, y = x / np.sqrt(c @ (x**2).sum(1)), y / np.sqrt(c @ (y**2).sum(1))
        row = []
        for z in (y, y * FLIP_Z):
            u, _, vt = np.linalg.svd((c[:, None] * z).T @ x)
            d = np.diag([1, 1, np.linalg.det(u @ vt)])
            row.append(np.sum(c[:, None] * (x - z @ u @ d @ vt) ** 2))
        expected.append(row)
    found = np.stack(mirror_distances(a, b * 3.0 + 5.0, w), 1)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    if flatness == 0:
        np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-14)


@pytest.mark.fast
def test_distances_of_degenerate_pairs_are_no_evidence(rng):
    line = np.outer(np.arange(6.0), [1, 2, 3])
    point = np.ones((6, 3))
    body = rng.normal(size=(6, 3))
    for x, y in [(line, line), (line, body), (point, body), (point, point), (body * 0, body)]:
        same, mirrored = mirror_distances(x[None], y[None])
        assert np.isfinite(same).all()
        np.testing.assert_allclose(same, mirrored, atol=1e-7)
    same, mirrored = mirror_distances(body[None], body[None], np.zeros((1, 6)))
    assert same == mirrored == 2.0


# --- signs from votes --------------------------------------------------------------------------------------


def energy(links, sign):
    return sum(
        (links[k - 1, k:] * sign[..., k:] * sign[..., :-k]).sum(-1)
        for k in range(1, min(len(links), sign.shape[-1] - 1) + 1)
    )


@pytest.mark.fast
@pytest.mark.parametrize(("n", "lag"), [(2, 1), (7, 1), (8, 2), (12, 3), (11, 6), (4, 6)])
def test_chain_equals_enumeration(rng, n, lag):
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=n)))
    for _ in range(5):
        links = rng.normal(size=(lag, n))
        mask, loss = solve_chain(links)
        values = energy(links, signs)
        best = values.max()
        assert energy(links, np.where(mask, -1.0, 1.0)) == pytest.approx(best)
        assert 2 * mask.sum() <= n
        # The loss must be that of the opposite relation to one same frame, for all the others.
        optimum = np.where(mask, -1, 1)
        relation = signs[:, :, None] * signs[:, None, :] == optimum[:, None] * optimum[None]
        table = best - np.where(relation, -np.inf, values[:, None, None]).max(0)
        agree = np.isclose(table, loss[None], atol=1e-9) | np.eye(n, dtype=bool)
        assert agree.all(1).any()


@pytest.mark.fast
@pytest.mark.parametrize("n", [1, 2, 9, 14, 60, 600])
def test_synchronization_recovers_planted_signs(rng, n):
    planted = rng.choice([-1.0, 1.0], n)
    i, j = np.triu_indices(n, 1)
    keep = (rng.random(len(i)) < 40 / n) | (j == i + 1)
    i, j = i[keep], j[keep]
    wrong = (rng.random(len(i)) < 0.1) & (n > 14)
    votes = rng.uniform(0.2, 1, len(i)) * planted[i] * planted[j] * np.where(wrong, -1, 1)
    upper = sparse.coo_matrix((votes, (i, j)), (n, n)).tocsr()
    mask, gap = synchronize_signs((upper + upper.T).tocsr())
    relative = np.where(mask, -1, 1) * planted
    assert abs(relative.mean()) == 1.0
    assert 0 <= gap <= 1


# --- clips -------------------------------------------------------------------------------------------------


@pytest.mark.fast
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_clips_recovered_and_joined(rng, noise):
    body = chain_motion(rng, 240)
    clip = np.repeat([7, 3, 9], 80)
    flip = rng.random(240) < 0.5
    found = resolve_mirrors(observed(rng, body, noise, flip), clip)
    assert found.method == "sequence"
    assert handedness(found.flip, flip, clip) == 1.0
    assert found.clips.tolist() == [3, 7, 9]
    assert found.n_components == 1
    assert handedness(found.flip, flip, np.zeros(240)) == 1.0
    assert np.median(found.margin) > (0.5 if noise == 0 else 0.2)
    assert (found.clip_margin > 0.05).all()


@pytest.mark.fast
def test_global_mirror_rotation_and_scale_change_nothing(rng):
    flip = rng.random(90) < 0.5
    shapes = observed(rng, chain_motion(rng, 90), 0.08, flip)
    clip = np.repeat([0, 1], 45)
    first = resolve_mirrors(shapes, clip)
    moved = (
        np.einsum("fpj,fij->fpi", shapes, random_rotations(rng, 90)) * rng.uniform(0.1, 9, (90, 1, 1)) + 3.0
    )
    for other in (resolve_mirrors(shapes * FLIP_Z, clip), resolve_mirrors(moved, clip)):
        assert np.array_equal(first.flip, other.flip)
        np.testing.assert_allclose(first.margin, other.margin, atol=1e-6)


@pytest.mark.fast
def test_interleaved_clips_equal_contiguous_ones(rng):
    flip = rng.random(80) < 0.5
    shapes = observed(rng, chain_motion(rng, 80), 0.05, flip)
    clip = np.repeat([0, 1], 40)
    mixed = np.argsort(np.r_[np.arange(40) * 2, np.arange(40) * 2 + 1], kind="stable")
    first, second = resolve_mirrors(shapes, clip), resolve_mirrors(shapes[mixed], clip[mixed])
    assert handedness(first.flip[mixed], second.flip, np.zeros(80)) == 1.0
    np.testing.assert_allclose(first.margin[mixed], second.margin, atol=1e-9)


@pytest.mark.fast
def test_one_bad_frame_does_not_cut_the_chain(rng):
    flip = rng.random(60) < 0.5
    shapes = observed(rng, chain_motion(rng, 60), 0.05, flip)
    shapes[30] = rng.normal(size=shapes[30].shape)
    found = resolve_mirrors(shapes, np.zeros(60, int))
    good = np.arange(60) != 30
    assert handedness(found.flip[good], flip[good], np.zeros(59)) == 1.0
    assert found.margin[30] < 0.1
    assert found.margin[good].min() > 0.15
    # With neighbours only, nothing ties the two sides together.
    assert resolve_mirrors(shapes, np.zeros(60, int), window=1).clip_margin[0] < 0.1 < found.clip_margin[0]


@pytest.mark.fast
def test_margin_falls_at_a_cut_and_says_so(rng):
    """Two takes spliced into one clip: inside each the hand is sure, across the splice it is not."""
    a, b = chain_motion(rng, 50), chain_motion(np.random.default_rng(5), 30)
    flip = rng.random(80) < 0.5
    found = resolve_mirrors(observed(rng, np.concatenate([a, b]), 0.03, flip), np.zeros(80, int))
    assert handedness(found.flip[:50], flip[:50], np.zeros(50)) == 1.0
    assert handedness(found.flip[50:], flip[50:], np.zeros(30)) == 1.0
    assert found.clip_margin[0] < 0.1
    assert found.margin[:50].min() > 0.2  # the longer side stands for the clip
    assert found.margin[50:].max() < 0.1


@pytest.mark.fast
@pytest.mark.parametrize("seed", range(6))
def test_one_toss_of_a_coin_does_not_spoil_a_set_of_one_hand(seed):
    """Two takes of one motion; in the middle of the first the body is flat for longer than the window, so that time
    alone could only guess. The neighbours in the other take know that the hands are right as they are."""
    rng = np.random.default_rng(seed)
    motion = chain_motion(np.random.default_rng(7), 80)
    shapes = np.concatenate([motion, motion + 0.02 * rng.normal(size=motion.shape)])
    shapes[34:46, :, 2] *= 0.0
    shapes[34:46] += 0.02 * rng.normal(size=(12, 12, 3))  # what evidence there is, is noise
    clip = np.repeat([0, 1], 80)
    found = resolve_mirrors(observed(rng, shapes, 0.0, np.zeros(160, bool)), clip)
    assert found.n_components == 1
    assert handedness(found.flip[:34], np.zeros(34), np.zeros(34)) == 1.0
    sure = np.r_[0:34, 46:160]  # the flat frames themselves are anyone's guess
    assert found.flip[sure].mean() in (0.0, 1.0)


@pytest.mark.fast
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_planar_shapes_have_no_hand(rng, dtype):
    flat = chain_motion(rng, 40) * [1, 1, 0]
    shapes = observed(rng, flat, 0.0, np.zeros(40, bool)).astype(dtype)
    for clip in (np.zeros(40, int), np.repeat([0, 1], 20), None):
        found = resolve_mirrors(shapes, clip)
        assert found.method == "none"
        assert not found.flip.any()
        assert (found.margin == 0).all()
        assert (found.clip_margin == 0).all()


@pytest.mark.fast
def test_clips_of_different_things_keep_a_hand_each(rng):
    """Clips do not link in time, and shapes that have nothing in common are not joined."""
    parts = [chain_motion(np.random.default_rng(s), 40) for s in range(4)]
    clip = np.repeat(np.arange(4), 40)
    flip = rng.random(160) < 0.5
    found = resolve_mirrors(observed(rng, np.concatenate(parts), 0.02, flip), clip)
    assert handedness(found.flip, flip, clip) == 1.0
    assert found.set_margin < 0.3
    apart = resolve_mirrors(observed(rng, np.concatenate(parts), 0.02, flip), clip, join=False)
    assert apart.n_components == 4
    assert apart.set_margin == 0.0
    # A clip on its own gives the same answer as among others.
    alone = resolve_mirrors(observed(np.random.default_rng(1), parts[1], 0.0, flip[40:80]), np.zeros(40, int))
    inside = observed(np.random.default_rng(1), parts[1], 0.0, flip[40:80])
    among = observed(rng, np.concatenate(parts), 0.0, flip)
    among[40:80] = inside
    np.testing.assert_allclose(
        resolve_mirrors(among, clip, join=False).margin[40:80], alone.margin, atol=1e-12
    )


@pytest.mark.fast
def test_hidden_points_do_not_count(rng):
    flip = rng.random(60) < 0.5
    shapes = observed(rng, chain_motion(rng, 60), 0.03, flip)
    weights = (rng.random((60, 12)) < 0.8).astype(float)
    first = resolve_mirrors(shapes, np.repeat([0, 1], 30), weights)
    shapes[weights == 0] = np.nan
    second = resolve_mirrors(shapes, np.repeat([0, 1], 30), weights)
    assert np.array_equal(first.flip, second.flip)
    assert np.array_equal(first.margin, second.margin)
    assert handedness(first.flip, flip, np.zeros(60)) == 1.0


# --- sets --------------------------------------------------------------------------------------------------


@pytest.mark.fast
@pytest.mark.parametrize("noise", [0.0, 0.08])
def test_unordered_family_recovered(rng, noise):
    """A smooth family of shapes (mean and two modes), no order, as object categories have it."""
    mean, modes = rng.normal(size=(15, 3)), rng.normal(size=(2, 15, 3)) * 0.4
    shapes = mean + np.einsum("fk,kpi->fpi", rng.normal(size=(400, 2)), modes)
    flip = rng.random(400) < 0.5
    found = resolve_mirrors(observed(rng, shapes, noise, flip))
    assert found.method == "set"
    assert handedness(found.flip, flip, np.zeros(400)) >= 0.995
    assert found.set_margin > 0.3
    assert found.set_frustration < 0.05


@pytest.mark.fast
def test_shapes_without_a_family_are_left_alone(rng):
    found = resolve_mirrors(rng.normal(size=(300, 10, 3)))
    assert found.method == "none"
    assert not found.flip.any()
    assert (found.margin == 0).all()
    assert found.n_components == 300


@pytest.mark.fast
def test_lone_frames_join_the_clips(rng):
    body = chain_motion(rng, 100)
    flip = rng.random(100) < 0.5
    clip = np.zeros(100, int)
    clip[::10] = np.arange(1, 11)
    found = resolve_mirrors(observed(rng, body, 0.03, flip), clip)
    assert found.method == "sequence"
    assert handedness(found.flip, flip, np.zeros(100)) == 1.0
    assert (found.margin[::10] > 0).all()


def test_more_frames_than_landmarks(rng):
    mean, modes = rng.normal(size=(8, 3)), rng.normal(size=(2, 8, 3)) * 0.3
    shapes = mean + np.einsum("fk,kpi->fpi", rng.normal(size=(12_000, 2)), modes)
    flip = rng.random(12_000) < 0.5
    found = resolve_mirrors(observed(rng, shapes, 0.03, flip))
    assert handedness(found.flip, flip, np.zeros(12_000)) >= 0.995
    assert found.n_components == 1
    assert (found.margin > 0).mean() > 0.99


# --- the rest ----------------------------------------------------------------------------------------------


@pytest.mark.fast
def test_relabel_gives_one_hand_and_keeps_the_image(rng):
    flip = rng.random(40) < 0.5
    seen = observed(rng, chain_motion(rng, 40), 0.0, flip).astype(np.float32)
    rotations = random_rotations(rng, 40).astype(np.float32)
    shapes = np.einsum("fpi,fij->fpj", seen, rotations)
    before = Reconstruction(shapes, Cameras(rotations), sequence=np.zeros(40, int))
    after, found = relabel(before)
    np.testing.assert_allclose(after.points2d, before.points2d, atol=1e-4)
    assert after.mirror == "sequence"
    assert np.array_equal(after.mirror_margin, found.margin.astype(np.float32))
    assert not resolve_mirrors(after.points3d, after.sequence).flip.any()
    with pytest.raises(InputError, match="perspective"):
        relabel(before.replace(cameras=Cameras(rotations, model="perspective")))


@pytest.mark.fast
def test_small_sets_and_summary(rng):
    shapes = rng.normal(size=(3, 5, 3))
    assert resolve_mirrors(shapes[:0]).flip.shape == (0,)
    assert resolve_mirrors(shapes[:1], np.zeros(1, int)).method == "none"
    pair = resolve_mirrors(np.stack([shapes[0], shapes[0] * FLIP_Z]), np.zeros(2, int))
    assert pair.flip.sum() == 1
    assert pair.margin == pytest.approx([1.0, 1.0])
    summary = pair.summary()
    assert summary["mirror"] == "sequence"
    assert summary["flipped"] == 0.5
    assert resolve_mirrors(shapes[:0]).summary()["margin_median"] is None


@pytest.mark.fast
def test_bad_input_is_named(rng):
    good = rng.normal(size=(5, 6, 3))
    nan = good.copy()
    nan[3, 2, 1] = np.nan
    with pytest.raises(InputError, match="fewer than 4"):
        resolve_mirrors(good[:, :3])
    with pytest.raises(InputError, match="frame 3"):
        resolve_mirrors(nan)
    with pytest.raises(InputError, match="window is 0"):
        resolve_mirrors(good, window=0)
    with pytest.raises(InputError, match="weights"):
        resolve_mirrors(good, weights=-np.ones((5, 6)))
    with pytest.raises(InputError, match="sequence"):
        resolve_mirrors(good, np.zeros(4, int))


def test_time_grows_with_the_frames_and_not_faster(rng):
    body = chain_motion(rng, 5000)
    shapes = observed(rng, body, 0.05, rng.random(5000) < 0.5)
    resolve_mirrors(shapes[:100], np.zeros(100, int))
    seconds = []
    for n in (1250, 5000):
        runs = []
        for _ in range(3):
            start = time.process_time()
            resolve_mirrors(shapes[:n], np.zeros(n, int))
            runs.append(time.process_time() - start)
        seconds.append(min(runs))
    assert seconds[1] < 2.0
    assert seconds[1] < 8 * seconds[0]


# --- motion capture ----------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("noise", [0.05, 0.1, 0.15])
@pytest.mark.parametrize("name", ["cmu_walking", "cmu_basketball"])
@pytest.mark.parametrize("where", ["random", "pose"])
def test_motion_capture(data_dir, rng, name, noise, where):
    """Flips at random, or by pose as networks make them: at the boundary the depth is too flat as well.

    The pose variable is the leading principal component of the shapes; the depth of the frames near its
    median, where the sign flips, shrinks to as little as 0.3, and all depths are 7 % too flat.
    """
    with np.load(data_dir / "cmu_mocap" / f"{name}.npz", allow_pickle=False) as data:
        shapes, rotations, clip = (
            data["points3d"].astype(float),
            data["rotations"].astype(float),
            data["clip"],
        )
    seen = np.einsum("fpj,fij->fpi", shapes, rotations)
    seen[..., 2] *= 0.93
    flip = rng.random(len(seen)) < 0.5
    if where == "pose":
        flat = (shapes - shapes.mean(0)).reshape(len(shapes), -1)
        u = np.linalg.svd(flat, full_matrices=False)[0]
        pose = u[:, 0] - np.median(u[:, 0])
        flip = pose > 0
        seen[..., 2] *= np.clip(np.abs(pose) / (0.3 * pose.std()), 0.3, 1)[:, None]
    size = np.sqrt((seen**2).sum((1, 2)) / seen.shape[1])[:, None, None]
    seen += rng.normal(size=seen.shape) * noise * size / np.sqrt(3)
    seen = np.where(flip[:, None, None], seen * FLIP_Z, seen)
    found = resolve_mirrors(seen, clip)
    assert handedness(found.flip, flip, clip) >= 0.98
    assert handedness(found.flip, flip, np.zeros(len(flip))) >= 0.98  # the clips are joined
    if where == "random" or noise <= 0.05:
        assert np.quantile(found.margin, 0.05) > 0.02


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "step"), [("cmu_walking", 3), ("cmu_walking_extra", 2), ("cmu_basketball", 3)]
)
def test_motion_capture_at_low_frame_rate(data_dir, rng, name, step):
    """At 15 to 20 frames a second six frames are half a stride: the long links vote wrong together."""
    with np.load(data_dir / "cmu_mocap" / f"{name}.npz", allow_pickle=False) as data:
        shapes, clip = data["points3d"].astype(float), data["clip"]
    frames = np.concatenate([np.flatnonzero(clip == c)[::step] for c in np.unique(clip)])[:2000]
    flip = rng.random(len(frames)) < 0.5
    found = resolve_mirrors(observed(rng, shapes[frames], 0.1, flip), clip[frames], join=False)
    assert handedness(found.flip, flip, clip[frames]) >= 0.98
