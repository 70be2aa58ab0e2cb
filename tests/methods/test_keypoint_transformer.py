"""The keypoint transformer: its network, the input of the lifter, and a small training on rendered figures."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jnrsfm
from jnrsfm.errors import InputError
from jnrsfm.geometry import random_rotations
from jnrsfm.inputs.crops import Augmentation, canvas_size, drawn_maps, squares
from jnrsfm.methods import KeypointTransformer
from jnrsfm.methods import keypoint_transformer as kt
from jnrsfm.methods.keypoint_transformer.model import found_2d
from jnrsfm.methods.keypoint_transformer.network import (
    Chosen,
    Slots,
    chosen,
    lifter_input,
    patch_rotation,
    peak,
    placed,
    type_targets,
    with_reflected,
)
from jnrsfm.models import Network
from jnrsfm.models.attention import Attention
from jnrsfm.models.vision import BackboneConfig, KeypointTransformerConfig, Proposals
from jnrsfm.models.vision import KeypointTransformer as Transformer
from jnrsfm.pixels import ArrayPixels
from jnrsfm.types import LabelledImages, Landmarks

CONFIG = KeypointTransformerConfig(
    3, 2, 16, BackboneConfig.preset("tiny"), queries=4, width=16, heads=2, encoder=1, decoder=2, context=5
)


@pytest.fixture(scope="module")
def network():
    made = Network.of(Transformer, CONFIG)
    return made, jax.jit(lambda k: made.init(k)[0])(jax.random.key(0))


@pytest.fixture(scope="module")
def images():
    return 255 * jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))


@pytest.fixture(scope="module")
def run(network):
    return jax.jit(lambda params, x, mask: network[0].module(params, {})(x, mask))


@pytest.fixture(scope="module")
def all_seen():
    return jnp.ones((2, 64), bool)


@pytest.mark.fast
def test_every_layer_proposes_with_gradients(network, images, run, all_seen):
    found = run(network[1], images, all_seen)
    for field, shape in zip(
        found, [(4, 2), (4, 2), (4, 4), (4,), (2,), (5,), (4, 8, 8), (2, 3, 8, 8)], strict=True
    ):
        chex.assert_shape(field, (2, 2, *shape))
    total = lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(run(p, images, all_seen)))
    chex.assert_tree_all_finite(jax.jit(jax.grad(total))(network[1]))
    assert (np.asarray(found.spread) > 0).all()
    assert np.abs(np.asarray(found.place)).max() < 0.8


@pytest.mark.fast
def test_permuting_the_queries_permutes_the_proposals_and_nothing_else(network, images, run, all_seen):
    _, params = network
    order = np.array([2, 0, 3, 1, 4])  # the context query stays last
    moved = jax.tree.map(lambda x: x, params)
    moved["queries"] = params["queries"][order]
    one, two = run(params, images, all_seen), run(moved, images, all_seen)
    for name in ("place", "types", "seen", "spread"):
        chex.assert_trees_all_close(getattr(two, name), getattr(one, name)[:, :, order[:4]], atol=1e-5)
    chex.assert_trees_all_close((two.category, two.context), (one.category, one.context), atol=1e-5)


@pytest.mark.fast
def test_a_masked_token_is_not_looked_at():
    """What a masked token holds changes nothing."""
    layer = Attention(8, 2, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(2), (1, 3, 8))
    tokens = jax.random.normal(jax.random.key(3), (1, 5, 8))
    mask = jnp.array([[True, True, False, True, False]])
    other = tokens.at[:, jnp.array([2, 4])].set(7.0)
    one, two = layer(x, tokens, tokens, mask), layer(x, other, other, mask)
    chex.assert_trees_all_close(one, two, atol=1e-6)
    assert float(jnp.abs(layer(x, other, other) - one).max()) > 1e-3


KEYPOINTS = np.array([[True, True, True, False, False], [False, False, True, True, False]])
PAIRS = np.array([[0, 1], [3, 4]])


def test_points_that_no_category_has_stay_in_the_record(network):
    """As where one kind is chosen from a file of several."""
    keypoints = np.array([[1, 1, 0, 1, 0, 0], [0, 1, 1, 0, 0, 0]], bool)
    canvas = np.zeros((2, canvas_size(16), canvas_size(16), 3), np.uint8)
    where = squares(np.array([[0.0, 0, 10, 10], [5, 5, 20, 25]]), np.array([[40, 40], [40, 40]]))
    found = found_2d(network[0], network[1], canvas, where, Slots.of(keypoints, None), 6)
    chex.assert_shape(found.points, (2, 6, 2))
    np.testing.assert_array_equal(found.defined, keypoints[found.category])


@pytest.mark.fast
def test_slots_name_the_keypoints_of_each_category():
    slots = Slots.of(KEYPOINTS, PAIRS)
    np.testing.assert_array_equal(slots.columns, [[0, 1, 2], [2, 3, 0]])
    np.testing.assert_array_equal(slots.defined, [[True, True, True], [True, True, False]])
    np.testing.assert_array_equal(
        slots.swap, [[1, 0, 2], [0, 1, 2]]
    )  # point 4 is in no category: 3 has no partner
    layout = slots.layout(5)
    np.testing.assert_array_equal(layout.sum(1), KEYPOINTS.astype(float))


@pytest.mark.fast
def test_a_smaller_category_never_emits_the_surplus(rng):
    found = Proposals(
        place=jnp.ones((2, 4, 2)), spread=jnp.ones((2, 4, 2)), types=jnp.asarray(rng.normal(size=(2, 4, 4))),
        seen=jnp.zeros((2, 4)), category=None, context=None,
    )  # fmt: skip
    own = placed(chosen(found, 3), jnp.asarray(Slots.of(KEYPOINTS, PAIRS).defined))
    assert (np.asarray(own.place[1, 2]) == 0).all()
    assert float(own.sure[1, 2]) == 0
    assert (np.asarray(own.place[0]) == 1).all()


@pytest.mark.fast
def test_of_two_likely_places_one_is_taken_and_not_the_middle():
    where = jnp.zeros((1, 1, 16, 16)).at[0, 0, 3, 2].set(0.55).at[0, 0, 3, 13].set(0.45)
    np.testing.assert_allclose(peak(where)[0, 0], [(2 + 0.5) / 16 - 0.5, (3 + 0.5) / 16 - 0.5], atol=1e-6)
    # a bump between cells is found to a fraction of a cell
    at = (np.arange(16) + 0.5) / 16 - 0.5
    bump = np.exp(-0.5 * (((at - 0.11)[None, :] * 16 / 0.8) ** 2 + ((at + 0.23)[:, None] * 16 / 0.8) ** 2))
    np.testing.assert_allclose(peak(jnp.asarray(bump / bump.sum())), [0.11, -0.23], atol=0.1 / 16)


@pytest.mark.fast
def test_a_mirror_image_says_the_same_of_a_network_that_sees_it_mirrored(rng):
    """Whatever a patch says, its exact reflection, types exchanged, adds nothing."""
    swap = jnp.array([[1, 0, 2]])
    f32 = lambda *shape: jnp.asarray(rng.random(shape), jnp.float32)
    where = f32(1, 3, 8, 8)
    own = Chosen(f32(1, 3, 2), f32(1, 3, 2), f32(1, 3), f32(1, 3), where / where.sum((-2, -1), keepdims=True))
    turn = lambda x: jnp.take_along_axis(x, swap.reshape(1, 3, *[1] * (x.ndim - 2)), 1)
    other = Chosen(*map(turn, own))
    other = other._replace(place=other.place * jnp.array([-1.0, 1.0]), map=other.map[..., ::-1])
    chex.assert_trees_all_close(with_reflected(own, other, swap), own, atol=1e-5)
    unlike = other._replace(place=other.place + 0.2, map=jnp.full_like(where, 1 / 64))
    both = with_reflected(own, unlike, swap)
    chex.assert_trees_all_close(both.place, own.place + 0.1 * jnp.array([-1.0, 1.0]), atol=1e-5)
    assert float(both.map.max()) < float(own.map.max())


@pytest.mark.fast
def test_types_are_asked_of_the_matched_queries():
    match = jnp.array([[2, 0, 3]])
    wanted = type_targets(match, jnp.array([[True, True, False]]), 4)
    np.testing.assert_array_equal(wanted, [[1, 3, 0, 3]])  # 3: none


@pytest.mark.fast
def test_the_lifter_input_is_centred_of_size_one_and_soft(rng):
    layout = jnp.asarray(Slots.of(KEYPOINTS, PAIRS).layout(5))
    place = jnp.asarray(rng.normal(size=(2, 3, 2)), jnp.float32)
    sure = lifter_input(place, jnp.array([[50.0, 0.0], [0.0, 50.0]]), None, layout)
    np.testing.assert_allclose(sure.weights, KEYPOINTS, atol=1e-6)
    own = np.asarray(place[1, :2])
    middle = own.mean(0)
    np.testing.assert_allclose(sure.middle[1], middle, atol=1e-5)
    size = np.sqrt(((own - middle) ** 2).sum(1).mean())
    np.testing.assert_allclose(sure.points[1, 2:4], (own - middle) / size, atol=1e-4)
    assert (np.asarray(sure.points)[~KEYPOINTS] == 0).all()
    half = lifter_input(place, jnp.zeros((2, 2)), None, layout)
    np.testing.assert_allclose(half.weights[0], [0.5, 0.5, 1.0, 0.5, 0.0], atol=1e-6)
    # point 2 is the third type of the one category and the first of the other
    moved = np.asarray(half.points[0, 2] * half.unit[0] + half.middle[0])
    np.testing.assert_allclose(moved, np.asarray(place[0, 0] + place[0, 2]) / 2, atol=1e-5)


SHAPES = (
    np.array([[-1, -1, 0.4], [1, -1, -0.8], [1, 1, 0.9], [-1, 1, -0.3]]),
    np.array([[-1, 0, 0.5], [0.6, -1, -0.4], [0.6, 1, 0.0], [0, 0, 0.8], [1.2, 0, 0.3]]),
)


@pytest.fixture(scope="module")
def figures():
    """Two kinds of rigid bodies, turning about the vertical, each point a blob of a colour of its own."""
    rng, n, total = np.random.default_rng(0), 96, sum(map(len, SHAPES))
    colours = rng.uniform(0.2, 1.0, (total, 3))
    y, x = np.mgrid[:32, :32]
    images = np.zeros((n, 32, 32, 3))
    points, defined = np.zeros((n, total, 2), np.float32), np.zeros((n, total), bool)
    for i, angle in enumerate(rng.uniform(-0.6, 0.6, n)):
        shape, first = SHAPES[i % 2], (i % 2) * len(SHAPES[0])
        own = np.arange(first, first + len(shape))
        turned = shape[:, 0] * np.cos(angle) + shape[:, 2] * np.sin(angle)
        points[i, own] = 7 * np.stack([turned, shape[:, 1]], -1) + 15.5 + rng.uniform(-2, 2, 2)
        defined[i, own] = True
        for p in own:
            blob = np.exp(-((x - points[i, p, 0]) ** 2 + (y - points[i, p, 1]) ** 2) / 6)
            images[i] = np.maximum(images[i], blob[..., None] * colours[p])
    visible = defined & (rng.random(defined.shape) < 0.95)
    landmarks = Landmarks(
        points, visible, defined=defined, category=np.arange(n) % 2, categories=("box", "kite"),
        names=tuple("abcdefghi"),
    )  # fmt: skip
    return LabelledImages(ArrayPixels((255 * images).round().astype(np.uint8)), landmarks)


SETTINGS = KeypointTransformer(
    size=16, backbone="tiny", width=16, layers=(0, 1), blocks=1, context=4, steps=160, together=1.0, slow=1.0,
    lifter_steps=20, batch=16, lifter="ours", augmentation=Augmentation.none(), average=0.9, chunk=20, warmup=10,
    learning_rate=1e-2,
)  # fmt: skip


@pytest.mark.slow
def test_it_tells_kinds_apart_finds_points_and_lifts(figures, tmp_path):
    fitted = kt.fit(figures, "weak-perspective", SETTINGS, 0, jnrsfm.training.Session())
    about, model = fitted.diagnostics, fitted.model
    assert about["category_accuracy"] == 1.0
    assert about["heldout_error"] < 0.12  # the mean place of each point: 0.19
    assert about["pck"] > 0.6
    found, lifted = model.find(figures), fitted.reconstruction
    assert (np.asarray(lifted.valid3d) == found.defined).all()
    np.testing.assert_array_equal(lifted.category, found.category)
    chex.assert_tree_all_finite(lifted.points3d)
    # colours that no training image had, one over all: nothing of it looks like a kind
    grey = dataclasses.replace(figures, pixels=ArrayPixels(np.full((96, 32, 32, 3), 128, np.uint8)))
    assert model.find(grey).confidence.max() < np.median(found.confidence)
    model.save(tmp_path / "model.npz")
    again = kt.KeypointTransformerModel.load(tmp_path / "model.npz").lift(figures)
    chex.assert_trees_all_equal(again.points3d, lifted.points3d)


@pytest.mark.slow
def test_phases_can_be_run_one_by_one_and_go_on_from_what_is_there(figures):
    """A transformer goes on slowly from the parameters that it is given, whichever lifter stands beside it."""
    session = jnrsfm.training.Session()
    setup = kt.prepare(figures, SETTINGS, 0, session)
    same = kt.prepare(figures, SETTINGS, 0, session, setup.lifter)
    assert same.lifter is setup.lifter
    chex.assert_trees_all_equal(same.samples, setup.samples)
    fresh, other = (setup.system.detector.init(jax.random.key(k))[0] for k in (5, 6))
    on, _ = kt.find(setup, dataclasses.replace(SETTINGS, slow=0.01), 20, 0, session, fresh)
    far = lambda a: sum(
        float(jnp.abs(x - y).sum()) for x, y in zip(*map(jax.tree.leaves, (a, fresh)), strict=True)
    )
    assert 0 < far(on) < 0.1 * far(other)


@pytest.mark.fast
def test_the_rotation_in_a_patch_is_that_of_its_image(rng):
    """A body that is its own reflection with left and right exchanged, seen through turned and flipped patches."""
    half = rng.normal(size=(2, 3))
    mirror = np.diag([-1.0, 1, 1])
    body = np.concatenate([half, half @ mirror, [[0.0, 1, 0.5]]]).astype(
        np.float32
    )  # pairs (0, 2), (1, 3); one middle
    swap = np.array([2, 3, 0, 1, 4])
    maps = drawn_maps(jax.random.key(4), 6, Augmentation(turned=1.0))
    assert 0 < np.asarray(maps.flipped).sum() < 6
    rotation = random_rotations(jax.random.key(2), (6,), jnp.float32)
    image = jnp.einsum("fai,pi->fpa", rotation[:, :2], body)
    seen = maps.to_patch(image + maps.shift[:, None], swap)  # the shift has no part in a rotation
    turned = patch_rotation(maps, rotation, jnp.broadcast_to(jnp.asarray(mirror, jnp.float32), (6, 3, 3)))
    expected = maps.scale[:, None, None] * jnp.einsum("fai,pi->fpa", turned[:, :2], body)
    chex.assert_trees_all_close(seen, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(np.asarray(turned)), 1.0, atol=1e-5)


@pytest.mark.fast
def test_bad_settings_and_too_few_images_say_so(figures):
    with pytest.raises(InputError, match="holdout"):
        KeypointTransformer(holdout=1.0)
    with pytest.raises(InputError, match="at least one query for each type"):
        KeypointTransformerConfig(5, 1, queries=4)
    with pytest.raises(InputError, match="label at least 24"):
        kt.fit(figures.select(slice(0, 10)), "weak-perspective", SETTINGS, 0, jnrsfm.training.Session())
