"""Polar factors and the alignment of frames on the host."""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jnrsfm.geometry.polar import align_frames, polar_factor
from jnrsfm.geometry.procrustes import align_orthogonal, align_rigid, apply

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (3, 3), (5, 2, 3)])
def test_the_polar_factor_is_the_nearest_orthonormal_matrix(rng, shape):
    m = rng.normal(size=shape)
    q = polar_factor(m)
    gram = q @ q.mT if shape[-2] <= shape[-1] else q.mT @ q
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(min(shape[-2:])), gram.shape), atol=1e-14)
    for _ in range(20):
        other = polar_factor(rng.normal(size=shape))
        assert (np.linalg.norm(m - q, axis=(-2, -1)) <= np.linalg.norm(m - other, axis=(-2, -1))).all()
    np.testing.assert_allclose(polar_factor(q), q, atol=1e-14)


@pytest.mark.parametrize("mirror", [False, True])
def test_frames_are_aligned_as_by_the_differentiable_alignment(rng, mirror):
    target = rng.normal(size=(6, 8, 3))
    target -= target.mean(1, keepdims=True)
    source = target @ Rotation.random(6, random_state=0).as_matrix() + 0.1 * rng.normal(size=target.shape)
    source[::2] *= [1, 1, -1]
    source -= source.mean(1, keepdims=True)
    with jax.enable_x64(True):
        found = (align_orthogonal if mirror else align_rigid)(source, target, translate=False)
        expected = np.asarray(apply(found, source))
    np.testing.assert_allclose(align_frames(source, target, mirror=mirror), expected, atol=1e-9)
