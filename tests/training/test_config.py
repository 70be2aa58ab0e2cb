"""Settings of a training: what is refused, the rate by hand, the clipped gradient."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jnrsfm.errors import InputError
from jnrsfm.training import TrainConfig, orthogonalized, scheduled
from jnrsfm.training.optimizers import evaluated

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0), ("batch", -1), ("restarts", -1), ("chunk", 0), ("learning_rate", 0.0),
        ("learning_rate", float("nan")), ("prune_at", (0.5, 0.2)), ("prune_at", (0.2, 0.2)),
        ("prune_at", (1.0,)), ("microbatch", -1),
        ("average", 1.0), ("warmup", -1), ("clip_norm", -1.0), ("clip_norm", float("nan")),
        ("checkpoint_seconds", -1.0),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=name) as caught:
        TrainConfig(**{name: value})
    assert "\n" not in str(caught.value)


def rates(steps, at, **settings):
    config = TrainConfig(learning_rate=0.2, **settings)
    return np.asarray([config.rate(jnp.int32(i), jnp.float32(steps)) for i in at])


def test_cosine_rate():
    found = rates(1010, [0, 4, 9, 10, 510, 1010], warmup=10)
    half = 0.01 + 0.99 * 0.5
    np.testing.assert_allclose(found, 0.2 * np.array([0.1, 0.5, 1, 1, half, 0.01]), rtol=1e-5)


def test_exponential_rate_decays_eight_times_by_five_percent():
    found = rates(800, [0, 100, 400, 800], warmup=0, schedule="exponential")
    np.testing.assert_allclose(found, 0.2 * 0.95 ** np.array([0, 1, 4, 8.0]), rtol=1e-5)


def test_constant_rate_and_no_more_than_a_quarter_of_warm_up():
    found = rates(40, [0, 4, 9, 10, 39], warmup=200, schedule="constant")
    np.testing.assert_allclose(found, 0.2 * np.array([0.1, 0.5, 1, 1, 1]), rtol=1e-5)


@pytest.mark.parametrize(
    ("batch", "microbatch", "backend", "devices", "slices"),
    [
        (128, 0, "cpu", 1, 1), (1024, 0, "cpu", 1, 8), (1000, 0, "cpu", 1, 8), (1024, 0, "gpu", 1, 1),
        (1021, 0, "cpu", 1, 1), (24, 9, "gpu", 1, 3), (48, 9, "cpu", 4, 6), (2, 1, "cpu", 1, 2),
    ],
)  # fmt: skip
def test_slices_are_equal_and_divide_by_the_devices(batch, microbatch, backend, devices, slices):
    found = TrainConfig(batch=batch, microbatch=microbatch).slices(backend, devices)
    assert found == slices


@pytest.mark.parametrize(("limit", "norm"), [(1.0, 1.0), (200.0, 50.0), (0.0, 50.0)])
def test_the_gradient_is_clipped_by_its_global_norm(limit, norm):
    gradient = {"a": jnp.array([30.0]), "b": jnp.array([0.0, -40.0])}  # norm 50
    optimizer = TrainConfig(clip_norm=limit).optimizer()
    params = {"a": jnp.zeros(1), "b": jnp.zeros(2)}
    _, state = optimizer.update(gradient, optimizer.init(params), params, step=0, steps=10.0)
    (mu,) = [s.mu for s in state if hasattr(s, "mu")]  # Adam's first moment is a tenth of what it was given
    np.testing.assert_allclose(mu["a"], [0.1 * norm * 0.6], rtol=1e-5)
    np.testing.assert_allclose(mu["b"], [0, -0.1 * norm * 0.8], rtol=1e-5)


def test_the_average_of_the_parameters_is_that_of_its_formula():
    optimizer = TrainConfig(
        clip_norm=0.0, average=0.5, warmup=0, schedule="constant", learning_rate=0.1
    ).optimizer()
    params = jnp.array([1.0])
    state, average = optimizer.init(params), params
    for step in range(6):
        updates, state = optimizer.update(jnp.array([1.0]), state, params, step=step, steps=6.0)
        params = params + updates
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * params
    np.testing.assert_allclose(evaluated(params, state), average, rtol=1e-6)
    np.testing.assert_allclose(params, 1 - 0.6, rtol=1e-4)
    assert evaluated(params, TrainConfig().optimizer().init(params)) is params


def test_muon_steps_along_the_orthogonal_factor_and_leaves_vectors_to_adam():
    """Singular values come near each other whatever they were; a vector is updated as by Adam; free codes as well."""
    rng = np.random.default_rng(0)
    u, _, vt = np.linalg.svd(rng.normal(size=(6, 9)), full_matrices=False)
    gradient = jnp.asarray(u * np.geomspace(1, 0.05, 6) @ vt, jnp.float32)
    found = np.linalg.svd(orthogonalized(gradient), compute_uv=False)
    assert found.max() < 2
    assert found.max() / found.min() < 8 < 20
    np.testing.assert_allclose(orthogonalized(gradient.T), orthogonalized(gradient).T, atol=1e-6)
    assert not np.asarray(orthogonalized(jnp.zeros((3, 4)))).any()
    params = {
        "w": jnp.zeros((6, 9)),
        "cube": jnp.zeros((2, 3, 9)),
        "b": jnp.zeros(9),
        "codes": jnp.zeros((5, 3)),
    }
    grads = {
        "w": gradient,
        "cube": gradient.reshape(2, 3, 9),
        "b": jnp.arange(9.0),
        "codes": jnp.ones((5, 3)),
    }
    settings = {"warmup": 0, "schedule": "constant", "learning_rate": 1.0, "clip_norm": 0.0}
    muon, adam = (TrainConfig(update=name, **settings).optimizer() for name in ("muon", "adam"))
    ours, theirs = (o.update(grads, o.init(params), params, step=0, steps=1.0)[0] for o in (muon, adam))
    for name in ("b", "codes"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
    size = np.linalg.norm(ours["w"]) / np.sqrt(6)
    assert size == pytest.approx(0.2 * np.sqrt(9), rel=0.4)  # entries move as far as Adam's typically do
    np.testing.assert_allclose(ours["cube"].reshape(6, 9), ours["w"], atol=1e-6)
    signs = np.sign(np.sum(np.asarray(ours["w"]) * np.asarray(gradient)))
    assert signs == -1


def test_groups_of_parameters_go_at_rates_of_their_own_and_frozen_ones_stand_still():
    """`optax.multi_transform` passes the phase's numbers on to the schedules of its groups."""
    label = {"backbone": "slow", "head": "fast", "fixed": "frozen"}
    optimizer = optax.multi_transform(
        {
            "slow": scheduled(lambda step, steps: 0.1 * (1 - step / steps)),
            "fast": scheduled(lambda step, steps: 1.0),
            "frozen": optax.set_to_zero(),
        },
        label,
    )
    params = dict.fromkeys(label, jnp.ones(1))
    updates, _ = optimizer.update(params, optimizer.init(params), params, step=5, steps=10.0)
    np.testing.assert_allclose([updates[k][0] for k in label], [-0.05, -1.0, 0.0])
