"""The bound on codes: eq. 4.13 against a solver; above the true minimum, touching it at the teacher's depths."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from jnrsfm.losses import code_bound, code_terms, projected_code

pytestmark = pytest.mark.fast
P, K = 5, 14


def scene(seed=0):
    rng = np.random.default_rng(seed)
    dictionary = rng.standard_normal((P, 3, K))
    dictionary -= dictionary.mean(0)
    code = np.maximum(rng.standard_normal(K), 0)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    shape = dictionary @ code @ rotation.T
    points = shape[:, :2] + 0.1 * rng.standard_normal((P, 2))
    return dictionary, code, rotation, points, shape


def exact_cost(dictionary, rotation, points, weights, code, sparsity):
    b_xy = np.einsum("ai,pik,k->pa", rotation[:2], dictionary, code)
    gap = points - b_xy
    gap = gap - (weights[:, None] * gap).sum(0) / weights.sum()
    return np.sqrt((weights[:, None] * gap**2).sum()) + sparsity * np.abs(code).sum()


def true_minimum(dictionary, rotation, points, weights, depth, sparsity):
    """Eq. 4.10 by a solver of constrained convex problems: codes split in positive and negative parts, so that the L1
    norm is linear, and B_z code = depth as a constraint."""
    b_z = np.einsum("i,pik->pk", rotation[2], dictionary)
    depth = depth - depth.mean()
    split = np.hstack([np.eye(K), -np.eye(K)])
    b_xy = np.einsum("ai,pik->pak", rotation[:2], dictionary)
    centre = lambda x: x - np.tensordot(weights, x, 1) / weights.sum()
    root = np.sqrt(weights)[:, None, None]
    rows = (root * centre(b_xy)).reshape(-1, K) @ split
    target = (root[..., 0] * centre(points)).reshape(-1)

    def cost(x):
        gap = rows @ x - target
        norm = np.sqrt(gap @ gap + 1e-14)
        return norm + sparsity * x.sum(), rows.T @ gap / norm + sparsity

    constraint = {
        "type": "eq",
        "fun": lambda x: (b_z @ split @ x - depth)[:-1],
        "jac": lambda x: (b_z @ split)[:-1],
    }
    best = np.inf
    for first in (np.linalg.lstsq(b_z, depth, rcond=None)[0], np.zeros(K)):
        start = np.concatenate([np.maximum(first, 0), np.maximum(-first, 0)])
        found = minimize(
            cost, start, jac=True, bounds=[(0, None)] * (2 * K), constraints=[constraint], method="SLSQP",
            options={"ftol": 1e-13, "maxiter": 1000},
        )  # fmt: skip
        if np.abs(b_z @ split @ found.x - depth).max() < 1e-6:
            best = min(best, exact_cost(dictionary, rotation, points, weights, split @ found.x, sparsity))
    return best


def test_projection_is_that_of_a_constrained_solver():
    dictionary, code, rotation, _, _ = scene()
    depth = np.random.default_rng(1).standard_normal(P)
    with jax.enable_x64(True):
        terms = code_terms(jnp.asarray(dictionary), jnp.asarray(code), jnp.asarray(rotation), 1e-9)
        found = np.asarray(projected_code(jnp.asarray(dictionary), terms, jnp.asarray(depth)))
    b_z = np.einsum("i,pik->pk", rotation[2], dictionary)
    wanted = depth - depth.mean()
    constraint = {
        "type": "eq",
        "fun": lambda c: (b_z @ c - wanted)[:-1],
    }  # centred: one row follows from the others
    solved = minimize(
        lambda c: 0.5 * ((c - code) ** 2).sum(), code, jac=lambda c: c - code, constraints=[constraint],
        method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
    ).x  # fmt: skip
    np.testing.assert_allclose(b_z @ found, wanted, atol=1e-6)
    np.testing.assert_allclose(found, solved, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_bound_is_above_the_minimum_and_touches_it_where_the_teacher_is_best(seed):
    dictionary, _, rotation, points, _ = scene(seed)
    weights = np.ones(P)
    weights[1] = 0
    b_xy = np.einsum("ai,pik->pak", rotation[:2], dictionary)
    # the teacher: the code of least L1 norm whose image is exact, a minimum of the cost for a small weight
    rows = (weights[:, None, None] * (b_xy - (weights[:, None, None] * b_xy).sum(0) / weights.sum())).reshape(
        -1, K
    )
    middle = (weights[:, None] * points).sum(0) / weights.sum()
    target = (weights[:, None] * (points - middle)).reshape(-1)
    lp = linprog(np.ones(2 * K), A_eq=np.hstack([rows, -rows]), b_eq=target, bounds=(0, None))
    code = lp.x[:K] - lp.x[K:]
    sparsity = 1e-3
    b_z = np.einsum("i,pik->pk", rotation[2], dictionary)
    with jax.enable_x64(True):
        d = jnp.asarray(dictionary)
        terms = code_terms(d, jnp.asarray(code), jnp.asarray(rotation), 1e-9)
        bound = lambda z: float(
            code_bound(d, terms, jnp.asarray(z), jnp.asarray(points), jnp.asarray(weights), sparsity)
        )
        rng = np.random.default_rng(seed)
        for size in (0.0, 0.1, 1.0):
            depth = b_z @ code + size * rng.standard_normal(P)
            least = true_minimum(dictionary, rotation, points, weights, depth, sparsity)
            assert bound(depth) >= least - 1e-6
            if size == 0:
                np.testing.assert_allclose(bound(depth), sparsity * np.abs(code).sum(), atol=2e-6)
                np.testing.assert_allclose(bound(depth), least, atol=1e-4)


def test_offsets_of_depth_and_hidden_points_do_not_matter_and_gradients_are_right():
    dictionary, code, rotation, points, shape = scene()
    weights = np.array([1, 1, 0, 1, 1.0])
    with jax.enable_x64(True):
        d = jnp.asarray(dictionary)
        terms = code_terms(d, jnp.asarray(code), jnp.asarray(rotation))
        bound = jax.jit(lambda z, x: code_bound(d, terms, z, x, jnp.asarray(weights), 0.3))
        slope = jax.jit(jax.grad(bound))
        cost = lambda z, x=points: bound(z, jnp.asarray(x))
        z = jnp.asarray(shape[:, 2] + 0.1 * np.arange(P))
        chex.assert_trees_all_close(cost(z), cost(z + 7.0), rtol=1e-10)
        for junk in (1e9, np.nan):
            spoilt = points.copy()
            spoilt[2] = junk
            chex.assert_trees_all_close(cost(z), cost(z, spoilt), rtol=0, atol=0)
            assert bool(jnp.isfinite(slope(z, jnp.asarray(spoilt))).all())
        jax.test_util.check_grads(cost, (z,), 1, modes=("rev",), rtol=1e-5)
        at_rest = slope(jnp.asarray(shape[:, 2]), jnp.asarray(points))
        assert bool(jnp.isfinite(at_rest).all())
