"""Matching of proposals to keypoints: against SciPy, at ties, with nothing labelled, and what it must not see."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from jnrsfm.losses import matched, matching_cost

pytestmark = pytest.mark.fast
QUERIES, TYPES = 6, 4


def _total(cost, queries):
    return cost[queries, np.arange(cost.shape[1])].sum()


@given(st.integers(0, 10**6), st.sampled_from(["random", "ties", "zero", "huge"]))
def test_the_assignment_is_the_cheapest(seed, kind):
    rng = np.random.default_rng(seed)
    cost = rng.normal(size=(2, QUERIES, TYPES)).astype(np.float32)
    if kind == "ties":
        cost = np.round(cost)
    elif kind == "zero":
        cost[:] = 0
    elif kind == "huge":
        cost[0, 0, 0], cost[1, 2, 1] = np.inf, np.nan
    found = np.asarray(jax.jit(matched)(cost))
    safe = np.clip(np.nan_to_num(cost, nan=1e4, posinf=1e4), -1e4, 1e4)
    for one, queries in zip(safe, found, strict=True):
        assert len(set(queries)) == TYPES
        rows, columns = linear_sum_assignment(one.T)
        np.testing.assert_allclose(_total(one, queries), one.T[rows, columns].sum(), atol=1e-5)


def _case(rng, n=3):
    place, types = rng.normal(size=(n, QUERIES, 2)), rng.normal(size=(n, QUERIES, TYPES + 1))
    points = rng.normal(size=(n, TYPES, 2))
    labelled = np.array([[True] * TYPES, [False] * TYPES, [True, False, True, False]])
    defined = np.array([[True] * TYPES, [True, True, False, False], [True, True, True, False]])
    return place, types, points, labelled, defined


@pytest.mark.parametrize("kind", ["probability", "cross-entropy"])
def test_costs_by_hand(rng, kind):
    place, types, points, labelled, defined = _case(rng)
    run = jax.jit(lambda *a: matching_cost(*a, 5.0, kind))
    cost = np.asarray(run(place, types, points, labelled, defined))
    chance = np.exp(types) / np.exp(types).sum(-1, keepdims=True)
    for i, q, k in np.ndindex(3, QUERIES, TYPES):
        said = -chance[i, q, k] if kind == "probability" else -np.log(chance[i, q, k])
        away = 5 * np.abs(place[i, q] - points[i, k]).sum() if labelled[i, k] else 0.0
        np.testing.assert_allclose(cost[i, q, k], said + away if defined[i, k] else 0.0, rtol=1e-5, atol=1e-6)


def test_what_is_stored_for_unlabelled_points_and_the_order_of_the_queries_change_nothing(rng):
    place, types, points, labelled, defined = _case(rng)
    run = jax.jit(lambda *a: matched(matching_cost(*a)))
    one = np.asarray(run(place, types, points, labelled, defined))
    other = np.where(labelled[..., None], points, 99.0)
    np.testing.assert_array_equal(run(place, types, other, labelled, defined), one)
    order = rng.permutation(QUERIES)
    turned = np.asarray(run(place[:, order], types[:, order], points, labelled, defined))
    # undefined types take what is left over: only defined ones are the same query
    np.testing.assert_array_equal(np.where(defined, order[turned], -1), np.where(defined, one, -1))


def test_gradients_do_not_pass_through_the_choice(rng):
    cost = jnp.asarray(rng.normal(size=(QUERIES, TYPES)), jnp.float32)
    gradient = jax.grad(lambda c: jnp.sum(c[matched(c), jnp.arange(TYPES)]))(cost)
    assert float(gradient.sum()) == TYPES  # one for each pair that was taken, nothing else
    chex.assert_tree_all_finite(gradient)


def test_too_few_queries_say_so():
    with pytest.raises(ValueError, match="2 queries cannot answer for 3 types"):
        matched(jnp.zeros((2, 3)))
