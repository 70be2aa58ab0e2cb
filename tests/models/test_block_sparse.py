"""The network against the equations that it unrolls, written densely and in another layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jnrsfm.errors import InputError
from jnrsfm.geometry.normalization import (
    adjoint_perspective,
    adjoint_weak,
    dictionary_perspective,
    dictionary_weak,
    measure_perspective,
    measure_weak,
)
from jnrsfm.linalg.proximal import block_ista_step
from jnrsfm.models.block_sparse import BlockSparseConfig, BlockSparseNetwork

FRAMES, POINTS, SIZES = 5, 7, (16, 8, 4)


def build(columns=2, sizes=SIZES, seed=0, **options):
    """A network whose thresholds differ, some blocks dying and some not, and whose biases are not zero."""
    net = BlockSparseNetwork(BlockSparseConfig(POINTS, sizes, columns, **options), rngs=nnx.Rngs(params=seed))
    rng = np.random.default_rng(seed)
    for t in net.thresholds:
        t[...] = jnp.asarray(rng.uniform(0.05, 1.2, t.shape))
    for b in net.biases:
        b[...] = jnp.asarray(rng.normal(size=b.shape))
    return net


def observe(seed=0):
    """Rays, weights with hidden points and confidences, depths."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.3, 1.0, (FRAMES, POINTS)) * (rng.random((FRAMES, POINTS)) < 0.7)
    weights[:, :3] = 1
    depth = rng.uniform(2, 4, FRAMES)
    return jnp.asarray(rng.normal(size=(FRAMES, POINTS, 2))), jnp.asarray(weights), jnp.asarray(depth)


def blocks(code, columns):
    """`(batch, K, 3, M)` of the network's `(batch, 3 M, K)`, where row 3 m + i holds the entry (i, m)."""
    code = np.asarray(code).reshape(len(code), columns, 3, -1)
    return code.transpose(0, 3, 2, 1)


def shrink(psi, thresholds):
    """Block soft threshold of `(batch, K, 3, M)` in NumPy."""
    norm = np.linalg.norm(psi.reshape(*psi.shape[:2], -1), axis=-1)
    return psi * np.maximum(1 - np.asarray(thresholds) / np.maximum(norm, 1e-300), 0)[..., None, None]


@pytest.mark.fast
def test_first_layer_is_the_threshold_of_the_dense_normalised_dictionary_weak():
    with jax.enable_x64(True):
        net = build(2, sizes=(16,))
        points, weights, _ = observe()
        measured = measure_weak(points, weights)
        found = blocks(net.encode(adjoint_weak(measured, weights)), 2)
        dense = np.stack([dictionary_weak(net.first[:, i], weights) for i in range(3)])  # (3, batch, P, K)
        plain = np.einsum("ibpk,bp,bpm->bkim", dense, weights, measured)
        expected = shrink(plain, net.thresholds[0][...])
        np.testing.assert_allclose(found, expected, atol=1e-12)
        dead = (expected == 0).all((2, 3))
        assert dead.any()
        assert not dead.all()


@pytest.mark.fast
def test_first_layer_is_the_threshold_of_the_dense_normalised_dictionary_perspective():
    with jax.enable_x64(True):
        net = build(3, sizes=(16,))
        rays, weights, depth = observe()
        measured = measure_perspective(rays, weights, depth)
        found = blocks(net.encode(adjoint_perspective(measured, rays, weights)), 3)
        dense = np.stack([dictionary_perspective(net.first[:, i], rays, weights) for i in range(3)])
        dense = dense.reshape(3, FRAMES, POINTS, 2, 3, 16)  # columns [x | y | z] of K each
        plain = np.einsum("ibprmk,bp,bpr->bkim", dense, weights, measured)
        np.testing.assert_allclose(found, shrink(plain, net.thresholds[0][...]), atol=1e-11)


@pytest.mark.parametrize("columns", [2, 3])
def test_every_layer_is_a_block_ista_step_from_zero(columns):
    """In the layout (batch, K, 3, M), by the proximal step that has its own tests."""
    with jax.enable_x64(True):
        net = build(columns)
        measured = jnp.asarray(np.random.default_rng(1).normal(size=(FRAMES, columns, POINTS)))
        first = jnp.swapaxes(net.first[...], 1, 2)  # (row, atom, 3)
        zero = lambda k, a, m: jnp.zeros((FRAMES, k, a, m))
        code = block_ista_step(
            zero(16, 3, columns), jnp.swapaxes(measured, 1, 2), first, net.thresholds[0][...]
        )
        for layer, dictionary in enumerate(net.dictionaries, 1):
            k = SIZES[layer]
            x = code.reshape(FRAMES, SIZES[layer - 1], 3 * columns)
            step = block_ista_step(
                zero(k, 1, 3 * columns), x, dictionary[..., None], net.thresholds[layer][...]
            )
            code = step.reshape(FRAMES, k, 3, columns)
        assert float(jnp.abs(code).max()) > 0.1
        np.testing.assert_allclose(blocks(net.encode(measured), columns), code, atol=1e-11)


def test_relu_shifts_by_a_free_bias_and_cuts_each_number():
    with jax.enable_x64(True):
        net = build(2, activation="relu")
        net.thresholds[0][...] = net.thresholds[0][...].at[::2].multiply(-1.0)
        measured = np.random.default_rng(1).normal(size=(FRAMES, 2, POINTS))
        x = np.einsum("bmp,pik->bkim", measured, net.first[...])
        x = np.maximum(x - np.asarray(net.thresholds[0][...])[:, None, None], 0)
        for layer, dictionary in enumerate(net.dictionaries, 1):
            x = np.einsum("bkim,kn->bnim", x, dictionary[...])
            x = np.maximum(x - np.asarray(net.thresholds[layer][...])[:, None, None], 0)
        np.testing.assert_allclose(blocks(net.encode(jnp.asarray(measured)), 2), x, atol=1e-11)


def test_a_threshold_that_training_drives_below_zero_lengthens_its_block():
    net, bare = build(2, sizes=(16,)), build(2, sizes=(16,))
    net.thresholds[0][...] = jnp.full(16, -0.7)
    bare.thresholds[0][...] = jnp.zeros(16)
    measured = jnp.asarray(np.random.default_rng(1).normal(size=(FRAMES, 2, POINTS)), jnp.float32)
    found, plain = np.asarray(net.encode(measured)), np.asarray(bare.encode(measured))
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(found, plain * (1 + 0.7 / lengths), rtol=1e-4)


@pytest.mark.parametrize("columns", [2, 3])
def test_the_camera_is_the_nearest_rotation_and_the_code_a_full_contraction(columns):
    with jax.enable_x64(True):
        net = build(columns)
        code = np.random.default_rng(2).normal(size=(FRAMES, 3 * columns, 4))
        phi, rotation = net.factor(jnp.asarray(code))
        head = np.asarray(net.code_head[...]).reshape(3 * columns, 4, 4)
        np.testing.assert_allclose(phi, np.einsum("brk,rkn->bn", code, head), atol=1e-12)
        matrix = np.einsum("bkim,k->bmi", blocks(code, columns), net.camera_head[...])  # rows of R
        u, _, vt = np.linalg.svd(matrix, full_matrices=False)
        if columns == 3:
            u[..., -1] *= np.linalg.det(u @ vt)[:, None]
        np.testing.assert_allclose(np.asarray(rotation)[:, :columns], u @ vt, atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-9)


def test_the_decoder_is_relu_layers_and_a_centred_shape():
    with jax.enable_x64(True):
        net = build(2)
        phi = np.random.default_rng(3).normal(size=(FRAMES, 4))
        shape, first = net.decode(jnp.asarray(phi))
        for dictionary, bias in reversed(list(zip(net.dictionaries, net.biases, strict=True))):
            phi = np.maximum(phi @ np.asarray(dictionary[...]).T + np.asarray(bias[...]), 0)
        np.testing.assert_allclose(first, phi, atol=1e-12)
        plain = np.einsum("pik,bk->bpi", net.first[...], phi)
        np.testing.assert_allclose(shape, plain - plain.mean(1, keepdims=True), atol=1e-12)
        assert np.abs(plain.mean(1)).max() > 0.01


@pytest.mark.fast
@pytest.mark.first
@pytest.mark.parametrize("columns", [2, 3])
def test_outputs_are_centred_proper_and_finite_with_their_gradients(columns):
    """Also for a frame of zeros, where every block is zero, and for a huge one."""
    net = build(columns)
    measured = np.random.default_rng(4).normal(size=(FRAMES, columns, POINTS))
    measured[0], measured[1] = 0, measured[1] * 1e6
    graph, state = nnx.split(net)

    @jax.jit
    def forward(state, measured):
        shape, rotation, first = nnx.merge(graph, state)(measured)
        return jnp.sum(jnp.sin(shape)) + jnp.sum(rotation * jnp.arange(3.0)), (shape, rotation, first)

    grad = jax.jit(jax.grad(forward, argnums=(0, 1), has_aux=True))
    grads, (shape, rotation, first) = grad(state, jnp.asarray(measured, jnp.float32))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((grads, shape, rotation, first)))
    size = np.abs(shape).max((1, 2))
    assert (np.abs(np.mean(shape, 1)).max(1) <= 1e-5 * size + 1e-6).all()
    np.testing.assert_allclose(
        rotation @ jnp.swapaxes(rotation, 1, 2), np.eye(3)[None] + 0 * rotation, atol=2e-5
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=2e-5)


def test_points_in_another_order_come_out_in_that_order():
    with jax.enable_x64(True):
        net, other = build(3), build(3)
        order = np.random.default_rng(5).permutation(POINTS)
        other.first[...] = net.first[order]
        rays, weights, depth = observe(1)

        def lift(net, rays, weights):
            return net(adjoint_perspective(measure_perspective(rays, weights, depth), rays, weights))

        shape, rotation, first = lift(net, rays, weights)
        found = lift(other, rays[:, order], weights[:, order])
        for a, b in zip(found, (shape[:, order], rotation, first), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.fast
def test_parameters_are_those_of_the_paper_and_are_tied():
    net = build(3)
    shapes = {}
    for path, leaf in jax.tree.leaves_with_path(nnx.to_pure_dict(nnx.state(net))):
        shapes[jax.tree_util.keystr(path, simple=True, separator=".")] = leaf.shape
    assert shapes == {
        "first": (POINTS, 3, 16),
        "dictionaries.0": (16, 8),
        "dictionaries.1": (8, 4),
        "thresholds.0": (16,),
        "thresholds.1": (8,),
        "thresholds.2": (4,),
        "biases.0": (16,),
        "biases.1": (8,),
        "code_head": (9 * 4, 4),
        "camera_head": (4,),
    }
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(net))} == {jnp.dtype("float32")}
    again, other = build(3), build(3, seed=1)
    np.testing.assert_array_equal(again.first[...], net.first[...])
    assert not np.array_equal(other.first[...], net.first[...])


@pytest.mark.fast
@pytest.mark.parametrize("wrong", [{"sizes": ()}, {"sizes": (8, 0)}, {"columns": 4}])
def test_what_is_no_network_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong)).rstrip("s")):
        BlockSparseConfig(**({"n_points": 5, "sizes": (8, 4), "columns": 2} | wrong))
