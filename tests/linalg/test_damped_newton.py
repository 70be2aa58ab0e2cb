"""Damped Newton: the linear algebra of a step, the rules of a descent, and known minima."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from jax.test_util import check_grads

from jnrsfm.linalg.damped_newton import Damping, accept, damped_step, minimise, shorten

pytestmark = pytest.mark.fast


def systems(rng, *batch, n=4):
    """Positive definite matrices, right-hand sides and ridges."""
    j = rng.normal(size=(*batch, 9, n))
    return np.swapaxes(j, -1, -2) @ j, rng.normal(size=(*batch, n)), rng.uniform(0, 2, (*batch, n))


class Step(chex.TestCase):
    """The solve and the limit of its length."""

    @chex.all_variants(with_pmap=False)
    @parameterized.product(batch=[(), (5,), (2, 3)], positive=[False, True])
    def test_solves_the_damped_system(self, batch, positive):
        with jax.enable_x64(True):
            h, g, ridge = systems(np.random.default_rng(0), *batch)
            found = self.variant(lambda *a: damped_step(*a, positive=positive))(h, g, ridge)
            system = h + ridge[..., None] * np.eye(4)
            np.testing.assert_allclose(np.einsum("...ij,...j->...i", system, found), g, atol=1e-12)

    @chex.all_variants(with_pmap=False)
    def test_one_ridge_for_all_unknowns_broadcasts(self):
        with jax.enable_x64(True):
            h, g, ridge = systems(np.random.default_rng(0), 5)
            found = self.variant(damped_step)(h, g, ridge[:, :1])
            same = damped_step(h, g, np.repeat(ridge[:, :1], 4, 1))
            np.testing.assert_allclose(found, same, rtol=1e-12)

    @chex.all_variants(with_pmap=False)
    def test_shortens_what_is_too_long_and_nothing_else(self):
        steps = jnp.asarray([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
        found = self.variant(lambda s: shorten(s, 1.0))(steps)
        np.testing.assert_allclose(found, [[0.6, 0.8], [0.3, 0.4], [0, 0]], rtol=1e-6)

    @chex.all_variants(with_pmap=False)
    def test_the_length_may_be_that_of_a_part(self):
        found = self.variant(lambda s: shorten(s, 1.0, jnp.abs(s[..., 0])))(jnp.asarray([[2.0, 8.0]]))
        np.testing.assert_allclose(found, [[1, 4]])

    def test_derivatives(self):
        with jax.enable_x64(True):
            h, g, ridge = systems(np.random.default_rng(0), 2)
            for positive in (False, True):
                check_grads(
                    jax.jit(lambda h, g, r, p=positive: damped_step((h + h.mT) / 2, g, r, positive=p)),
                    (h, g, ridge), order=2, modes=("fwd", "rev"),
                )  # fmt: skip
            short = jax.jit(lambda s: shorten(s, 0.5))
            check_grads(short, (jnp.asarray([[3.0, 4.0], [0.1, 0.2]]),), order=2)
            at_zero = jax.jit(jax.jacobian(short))(jnp.zeros(3))
            np.testing.assert_array_equal(at_zero, np.eye(3))


class Rules(chex.TestCase):
    """Damping and acceptance."""

    @chex.all_variants(with_pmap=False)
    def test_damping_follows_success_within_its_bounds(self):
        schedule = Damping(fall=2, rise=3, lift=0.5, lowest=0.1, highest=5.0)
        damping = jnp.asarray([1.0, 0.15, 1.0, 4.0])
        better = jnp.asarray([True, True, False, False])
        np.testing.assert_allclose(self.variant(schedule.update)(damping, better), [0.5, 0.1, 3.5, 5.0])

    @chex.all_variants(with_pmap=False)
    def test_acceptance_is_by_problem_in_every_leaf(self):
        new = {"a": jnp.ones((2, 3)), "b": jnp.ones(2)}
        found = self.variant(accept)(jnp.asarray([True, False]), new, jax.tree.map(jnp.zeros_like, new))
        np.testing.assert_array_equal(found["a"], [[1, 1, 1], [0, 0, 0]])
        np.testing.assert_array_equal(found["b"], [1, 0])


def rosenbrock(x):
    """Residuals whose squares sum to Rosenbrock's function; the minimum 0 at (1, 1)."""
    return jnp.stack([10 * (x[..., 1] - x[..., 0] ** 2), 1 - x[..., 0]], -1)


def descend(x, steps=200, **options):
    """Levenberg-Marquardt on Rosenbrock's function from the points x `(*batch, 2)`."""
    cost = lambda x: jnp.sum(rosenbrock(x) ** 2, -1)
    jacobian = jax.jacfwd(rosenbrock)
    for _ in x.shape[:-1]:
        jacobian = jax.vmap(jacobian)

    def propose(x, damping):
        j = jacobian(x)
        h = j.mT @ j
        ridge = jnp.diagonal(h, axis1=-2, axis2=-1)
        new = x - damped_step(h, jnp.einsum("...ij,...i->...j", j, rosenbrock(x)), ridge, damping)
        return new, cost(new)

    options = {"tolerance": 1e-14, "smallest": 1e-28, "give_up": 1e10, **options}
    schedule = Damping(fall=5, rise=4)
    return minimise(propose, x, cost(x), damping=1e-2, schedule=schedule, steps=steps, **options)


class Descent(chex.TestCase):
    """The loop."""

    @chex.all_variants(with_pmap=False)
    @parameterized.parameters((), ((5,),), ((2, 3),))
    def test_finds_the_minimum_of_every_problem(self, batch=()):
        with jax.enable_x64(True):
            x = jnp.asarray(np.random.default_rng(0).normal(size=(*batch, 2)))
            found = self.variant(descend)(x)
            np.testing.assert_allclose(found.point, np.ones((*batch, 2)), atol=1e-8)
            assert np.asarray(found.stopped).all()
            assert found.steps < 200

    def test_a_problem_does_not_depend_on_the_others_of_its_batch(self):
        with jax.enable_x64(True):
            x = jnp.asarray(np.random.default_rng(1).normal(size=(6, 2)))
            together, alone, mapped = descend(x), [descend(p) for p in x], jax.vmap(descend)(x)
            for k, one in enumerate(alone):
                np.testing.assert_allclose(together.point[k], one.point, atol=1e-12)
                np.testing.assert_allclose(mapped.cost[k], one.cost, atol=1e-20)

    def test_the_cost_never_rises_and_steps_are_counted(self):
        with jax.enable_x64(True):
            x = jnp.asarray([-1.2, 1.0])
            costs = [float(descend(x, steps).cost) for steps in range(12)]
            assert (np.diff(costs) <= 0).all()
            assert int(descend(x, 7).steps) == 7
            assert not bool(descend(x, 7).stopped)
            assert int(descend(x, 7, tolerance=None, smallest=0.0).steps) == 7

    def test_a_candidate_that_is_not_finite_is_never_taken(self):
        nan = lambda x, damping: (x * jnp.nan, jnp.full_like(damping, jnp.nan))
        found = minimise(
            nan, jnp.ones(2), jnp.asarray(3.0), damping=1.0, schedule=Damping(2, 10), steps=50,
            tolerance=1e-6, give_up=1e5,
        )  # fmt: skip
        np.testing.assert_array_equal(found.point, 1)
        assert float(found.cost) == 3
        assert bool(found.stopped)
        assert int(found.steps) == 7

    def test_the_number_of_steps_may_be_traced(self):
        x = jnp.asarray([-1.2, 1.0])
        chex.clear_trace_counter()
        counted = jax.jit(chex.assert_max_traces(lambda steps: descend(x, steps).cost, n=1))
        assert float(counted(3)) >= float(counted(9))
