"""Bones: likely ones, their tree, left-right images."""

import numpy as np
import pytest

from jnrsfm.geometry.skeleton import bone_tree, guess_links, twin_bones


@pytest.mark.fast
def test_twin_bones_by_hand():
    # 0 spine, 1-2 left arm, 3-4 right arm; the shoulders' bone and the spine's are their own images.
    edges = np.array([[0, 1], [1, 2], [3, 0], [4, 3], [1, 3], [0, 5]])
    symmetric = np.array([[1, 3], [2, 4]])
    np.testing.assert_array_equal(twin_bones(edges, symmetric), [[0, 2], [1, 3]])
    assert twin_bones(edges, None).shape == twin_bones(None, symmetric).shape == (0, 2)
    assert twin_bones(edges[:2], symmetric).shape == (0, 2)


def test_a_bone_without_a_joint_hangs_on_nothing():
    parent, below = bone_tree(np.array([[0, 1], [3, 4]]), 6)
    assert (parent[[2, 5]] == -1).all()
    assert below[2].sum() == 1
    assert sorted(parent[[0, 1]]) in ([-1, 0], [-1, 1])


def test_pairs_of_constant_distance_are_found():
    rng = np.random.default_rng(0)
    x = np.zeros((60, 4, 3))
    for i in range(1, 4):  # a chain in this order: neighbours keep their distance
        way = rng.normal(size=(60, 3))
        x[:, i] = x[:, i - 1] + way / np.linalg.norm(way, axis=1, keepdims=True)
    found = guess_links(x, np.ones(x.shape[:2], bool))
    assert sorted(tuple(sorted(map(int, p))) for p in found) == [(0, 1), (1, 2), (2, 3)]
