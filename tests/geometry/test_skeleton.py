"""Bones that are each other's left-right image."""

import numpy as np
import pytest

from jnrsfm.geometry.skeleton import twin_bones


@pytest.mark.fast
def test_twin_bones_by_hand():
    # 0 spine, 1-2 left arm, 3-4 right arm; the shoulders' bone and the spine's are their own images.
    edges = np.array([[0, 1], [1, 2], [3, 0], [4, 3], [1, 3], [0, 5]])
    symmetric = np.array([[1, 3], [2, 4]])
    np.testing.assert_array_equal(twin_bones(edges, symmetric), [[0, 2], [1, 3]])
    assert twin_bones(edges, None).shape == twin_bones(None, symmetric).shape == (0, 2)
    assert twin_bones(edges[:2], symmetric).shape == (0, 2)
