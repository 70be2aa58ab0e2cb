"""Augmentation leaves the 3D as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.inputs.augmentation import rolled


@pytest.mark.fast
def test_a_roll_turns_the_images_of_a_frame_together():
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(300, 5, 2)), jnp.float32) for _ in range(2))
    as_complex = lambda x: np.asarray(x)[..., 0] + 1j * np.asarray(x)[..., 1]
    for most in (30.0, 180.0):
        one, two = rolled((a, b), jax.random.key(0), most)
        turn = as_complex(one) / as_complex(a)
        np.testing.assert_allclose(np.abs(turn), 1, atol=1e-4)
        np.testing.assert_allclose(turn, turn[:, :1] + 0 * turn, atol=1e-3)
        np.testing.assert_allclose(as_complex(two) / as_complex(b), turn, atol=1e-3)
        angle = np.degrees(np.angle(turn[:, 0]))
        assert 0.9 * most < np.abs(angle).max() <= most + 1e-3
        assert abs(angle.mean()) < 0.15 * most
