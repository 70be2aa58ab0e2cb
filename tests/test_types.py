"""The records: pytrees with any leaves while JAX rebuilds them, arrays of one shape when a user builds them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.by_type import ByType
from jnrsfm.errors import InputError
from jnrsfm.types import Cameras, Landmarks, Reconstruction, ResultCode

pytestmark = pytest.mark.fast
F, P = 3, 4


@pytest.fixture
def record(rng):
    cameras = Cameras(np.tile(np.eye(3), (F, 1, 1)), np.zeros((F, 3)), model="weak-perspective")
    return Reconstruction(
        rng.normal(size=(F, P, 3)), cameras, names=tuple("abcd"), mirror="set", gauge="unit size"
    )


def test_a_record_is_a_pytree_with_placeholders_for_leaves(record):
    leaves, structure = jax.tree.flatten(record)
    assert len(leaves) == 3
    for value in (None, 0, True, object()):
        filled = jax.tree.map(lambda _, value=value: value, record)
        assert filled.cameras.rotations is value
        assert filled.names == record.names
    assert jax.tree.structure(jax.tree.unflatten(structure, leaves)) == structure
    assert structure != jax.tree.structure(record.replace(mirror="none"))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(record)]
    assert paths == [".points3d", ".cameras.rotations", ".cameras.translations"]


def test_it_passes_through_the_transformations(record):
    doubled = jax.jit(lambda r: r.replace(points3d=2 * r.points3d))(record)
    np.testing.assert_allclose(doubled.points3d, 2 * record.points3d, rtol=1e-6)
    assert (doubled.mirror, doubled.cameras.model) == ("set", "weak-perspective")
    axes = jax.tree.map(lambda _: 0, record)
    total = jax.vmap(lambda r: r.points3d.sum() + r.cameras.rotations.sum(), in_axes=(axes,))(record)
    assert total.shape == (F,)
    shapes = jax.eval_shape(lambda r: r, record)
    assert shapes.points3d.shape == (F, P, 3)
    slope = jax.grad(lambda r: (r.points3d**2).sum())(jax.tree.map(jnp.asarray, record))
    assert slope.cameras.rotations.shape == (F, 3, 3)


def test_shapes_are_checked_where_a_record_is_built(record):
    if not hasattr(Landmarks.__init__, "__wrapped__"):
        pytest.skip("the tests run without --jaxtyping-packages")
    points, seen = np.zeros((F, P, 2)), np.ones((F, P), bool)
    Landmarks(jnp.asarray(points), seen, intrinsics=np.eye(3))
    Landmarks(points, seen, intrinsics=np.tile(np.eye(3), (F, 1, 1)))
    wrong = (
        {"visible": np.ones((F, P + 1), bool)}, {"visible": seen.astype(float)}, {"sequence": np.zeros(F + 1, int)},
        {"edges": np.zeros((2, 3), int)}, {"points2d": np.zeros((F, P, 3))}, {"intrinsics": np.eye(4)},
    )  # fmt: skip
    for change in wrong:
        with pytest.raises(Exception, match="Type-check error"):
            Landmarks(**({"points2d": points, "visible": seen} | change))
    with pytest.raises(Exception, match="Type-check error"):
        record.replace(mirror_margin=np.zeros(F + 1))


def test_what_was_resolved(record):
    assert record.resolved == {
        "camera": "weak-perspective", "scale": "unit size", "reflection": "set", "reflection_margin": None
    }  # fmt: skip
    sure = record.replace(mirror_margin=np.array([0.2, 0.9, 0.5]))
    assert sure.resolved["reflection_margin"] == 0.5


def test_entries_by_type():
    entries: ByType[int] = ByType("colour")
    entries.register(Reconstruction, 1)

    class Finer(Reconstruction):
        pass

    assert entries[Finer] == 1
    assert (Finer in entries, Landmarks in entries) == (True, False)
    entries.register(Finer, 2)
    assert (entries[Finer], entries[Reconstruction]) == (2, 1)
    with pytest.raises(InputError, match="a Landmarks has no colour: there is one for Reconstruction, Finer"):
        entries[Landmarks]
    with pytest.raises(ValueError, match="Finer has its colour already"):
        entries.register(Finer, 3)


def test_every_code_says_what_to_do():
    assert all(code.advice.endswith(".") for code in ResultCode)
    assert len({code.advice for code in ResultCode}) == len(ResultCode)
