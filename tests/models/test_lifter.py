"""The residual lifter: rotations, normalisation and its modes, the cone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jnrsfm.errors import InputError
from jnrsfm.models.lifter import Canonizer, Lifter, LifterConfig, Norm, rotation_from

pytestmark = pytest.mark.fast
P, N = 6, 7  # points, samples: of one size, so that little is compiled


def lifter(**changes):
    config = LifterConfig(**{"n_points": P, "basis": 4, "width": 16, "inner": 8, "blocks": 1, **changes})
    return Lifter(config, rngs=nnx.Rngs(0))


@pytest.mark.first
@pytest.mark.parametrize("kind", ["exponential", "6d", "9d"])
def test_rotations_are_proper_and_begin_at_the_identity(rng, kind):
    n = {"exponential": 3, "6d": 6, "9d": 9}[kind]
    r = rotation_from(jnp.asarray(rng.normal(size=(5, 2, n)), jnp.float32), kind)
    np.testing.assert_allclose(
        r @ jnp.swapaxes(r, -1, -2), np.broadcast_to(np.eye(3), (5, 2, 3, 3)), atol=1e-5
    )
    np.testing.assert_allclose(jnp.linalg.det(r), 1, atol=1e-5)
    zero = jnp.zeros(n)
    np.testing.assert_allclose(rotation_from(zero, kind), np.eye(3), atol=1e-6)
    slope = jax.jit(jax.jacobian(lambda v: rotation_from(v, kind)))(zero)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0.1  # a head that starts at 0 can learn


def test_batch_statistics_measured_on_a_set_are_those_of_the_set(rng):
    norm = Norm(3, "batch", rngs=nnx.Rngs(0))
    x = jnp.asarray(5 + 3 * rng.normal(size=(40, 3)), jnp.float32)
    assert not np.allclose(norm(x, "frozen"), norm(x, "batch"), atol=0.1)
    measured = norm(x, "measure")
    np.testing.assert_allclose(measured, norm(x, "batch"))
    np.testing.assert_allclose(norm(x, "frozen"), measured, atol=1e-5)
    np.testing.assert_allclose(norm(x[:1], "frozen"), measured[:1], atol=1e-5)
    grads = nnx.grad(lambda m: jnp.sum(m(x[:5], "frozen") ** 2))(norm)  # statistics are no parameters
    assert set(grads) == {"scale", "shift"}
    assert np.abs(grads["scale"][...]).max() > 0


@pytest.mark.first
@pytest.mark.parametrize("norm", ["layer", "none"])
def test_a_sample_does_not_depend_on_its_batch_but_under_batch_normalisation(rng, norm):
    points, seen = jnp.asarray(rng.normal(size=(N, P, 2)), jnp.float32), jnp.ones((N, P))
    others = points.at[2:].set(jnp.asarray(rng.normal(size=(N - 2, P, 2)), jnp.float32))
    one = lifter(norm=norm)
    for a, b in zip(one(points, seen, "batch"), one(others, seen, "batch"), strict=True):
        np.testing.assert_allclose(a[:2], b[:2], atol=1e-6)
    batch = lifter(norm="batch")
    assert not np.allclose(batch(points, seen, "batch").code[:2], batch(others, seen, "batch").code[:2])


def test_the_cone_and_the_linear_space(rng):
    points, seen = jnp.asarray(rng.normal(size=(N, P, 2)), jnp.float32), jnp.ones((N, P))
    cone = lifter(nonnegative=True, norm="layer")
    out = cone(points, seen, "batch")
    assert (np.asarray(out.code) >= 0).all()
    by_hand = np.asarray(out.code) @ np.asarray(cone.basis[...]) + np.asarray(cone.apex[...])
    np.testing.assert_allclose(out.shape, by_hand.reshape(N, P, 3), atol=1e-6)
    linear = lifter(nonnegative=False, norm="layer")
    assert (np.asarray(linear(points, seen, "batch").code) < 0).any()
    np.testing.assert_allclose(linear.shape(jnp.zeros(4)), 0)


def test_without_a_basis_there_is_only_a_rotation(rng):
    out = lifter(basis=0)(jnp.asarray(rng.normal(size=(N, P, 2)), jnp.float32), jnp.ones((N, P)), "batch")
    assert out.shape is None
    assert out.code is None
    assert out.rotation.shape == (N, 3, 3)


def test_the_canonizer_gives_coefficients(rng):
    config = LifterConfig(P, 4, 16, 8, 0)
    code = Canonizer(config, rngs=nnx.Rngs(0))(jnp.asarray(rng.normal(size=(N, P, 3)), jnp.float32), "batch")
    assert code.shape == (N, 4)
    assert np.isfinite(code).all()


def tokens(**changes):
    return lifter(**{"trunk": "transformer", "token_width": 8, "heads": 2, "rotation": "9d", **changes})


def some(rng):
    """Points of which each sample sees three to five of six."""
    seen = jnp.asarray(rng.permuted(np.repeat([[1, 1, 1, 0.5, 0, 0]], N, 0), axis=1), jnp.float32)
    points = jnp.asarray(rng.normal(size=(N, P, 2)), jnp.float32) * (seen > 0)[..., None]
    return points, seen


@pytest.mark.first
@pytest.mark.parametrize("basis", [0, 4])
def test_tokens_follow_a_permutation_of_the_keypoints(rng, basis):
    """With their embeddings, and the basis: the rotation and the coefficients stay, the shape is permuted."""
    points, seen = some(rng)
    one, other = tokens(basis=basis), tokens(basis=basis)
    order = rng.permutation(P)
    other.trunk.names[...] = one.trunk.names[...][order]
    if basis:
        other.basis[...] = one.basis[...].reshape(basis, P, 3)[:, order].reshape(basis, -1)
    before, after = one(points, seen, "batch"), other(points[:, order], seen[:, order], "batch")
    np.testing.assert_allclose(after.rotation, before.rotation, atol=1e-5)
    if basis:
        np.testing.assert_allclose(after.code, before.code, atol=1e-5)
        np.testing.assert_allclose(after.shape, before.shape[:, order], atol=1e-5)
    # embeddings that stay behind say that the points are others
    unnamed = one(points[:, order], seen[:, order], "batch")
    assert np.abs(np.asarray(unnamed.rotation - before.rotation)).max() > 1e-4


def test_hidden_points_and_those_of_other_categories_are_no_tokens(rng):
    points, seen = some(rng)
    few, all_ = tokens(members=4), tokens()
    one = few(points, seen, "batch")
    stored = jnp.where(seen[..., None] > 0, points, 55.0)
    np.testing.assert_allclose(few(stored, seen, "batch").rotation, one.rotation, atol=1e-6)
    # what the sample does not see may have any embedding
    slope = nnx.grad(lambda m: jnp.sum(m(points[:1], seen[:1], "batch").rotation ** 3))(few).trunk.names[...]
    np.testing.assert_array_equal(np.abs(slope).max(1) > 0, seen[0] > 0)
    # and the padding to the largest category changes nothing
    np.testing.assert_allclose(all_(points, seen, "batch").rotation, one.rotation, atol=1e-5)


def test_tokens_weigh_as_their_points_are_seen_and_nothing_seen_is_finite(rng):
    points, seen = some(rng)
    one = tokens()
    full = one(points, (seen > 0).astype(jnp.float32), "batch")
    assert np.abs(np.asarray(one(points, seen, "batch").rotation - full.rotation)).max() > 1e-5
    nothing = jax.grad(lambda x: jnp.sum(one(x, 0 * seen, "batch").rotation))(0 * points)
    assert np.isfinite(nothing).all()


def test_the_context_reaches_the_tokens(rng):
    points, seen = some(rng)
    one = tokens(context=3)
    said = one(points, seen, "batch", jnp.ones((N, 3))).rotation
    assert np.abs(np.asarray(one(points, seen, "batch").rotation - said)).max() > 1e-4
    np.testing.assert_array_equal(
        one(points, seen, "batch").rotation, one(points, seen, "batch", jnp.zeros((N, 3))).rotation
    )


@pytest.mark.parametrize(
    "change",
    [{"width": 0}, {"blocks": -1}, {"n_points": 0}, {"basis": -1}, {"heads": 5}, {"layers": 0}],
)
def test_what_is_no_network_is_refused(change):
    with pytest.raises(InputError, match="width is"):
        LifterConfig(**{"n_points": P, **change})
