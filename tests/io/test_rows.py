"""Rows of an array on disk."""

import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.io.rows import RowFile

pytestmark = pytest.mark.fast


def test_rows_come_in_the_order_asked_for(tmp_path, rng):
    x = rng.normal(size=(50, 4, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    rows = RowFile(tmp_path / "x.npy")
    assert (len(rows), rows.shape, rows.dtype) == (50, x.shape, x.dtype)
    for numbers in ([3], [], [0, 1, 2, 3], [49, 0, 1, 2, 7, 7, 6], rng.permutation(50)):
        np.testing.assert_array_equal(rows[np.array(numbers, int)], x[np.array(numbers, int)])
    rows.close()


@pytest.mark.parametrize("kind", ["missing", "text", "short", "fortran", "objects"])
def test_what_is_no_such_file_is_one_line(tmp_path, kind):
    path = tmp_path / "x.npy"
    if kind == "text":
        path.write_text("hello")
    elif kind == "short":
        np.save(path, np.zeros((40, 3)))
        path.write_bytes(path.read_bytes()[:-8])
    elif kind == "fortran":
        np.save(path, np.asfortranarray(np.ones((4, 3))))
    elif kind == "objects":
        np.save(path, np.array([{}, 1], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"x\.npy: ") as caught:
        RowFile(path)
    assert "\n" not in str(caught.value)
