"""Whatever a file holds, a reader answers with a record or with one `InputError` line."""

import io as streams

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.io import savemat

from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.io.matlab import VARIABLES
from jnrsfm.io.schema import KEYS
from jnrsfm.types import Landmarks, Reconstruction

relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def survives(path, **options):
    """Read everything that can be read; sound records must then be writable and describable."""
    refusals: list[str] = []
    for read in (io.read_landmarks, io.read_reference, io.read_reconstruction):
        try:
            record = read(path) if read is io.read_reconstruction else read(path, **options)
        except InputError as error:
            refusals.append(str(error))
            continue
        if isinstance(record, Landmarks):
            assert np.isfinite(record.points2d).all()
            io.format_info(io.describe(record))
            io.write_landmarks(path.with_suffix(".out.npz"), record)
        else:
            assert record is None or isinstance(record, Reconstruction)
    for text in refusals:
        assert "\n" not in text
        assert str(path) in text


dtypes = st.one_of(
    st.sampled_from(["f4", "f8", "i4", "u1", "i8", "b1", "U2", "S3", "c8", "f2", "M8[s]"]).map(np.dtype)
)
dims = st.integers(0, 4)
anything = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


@st.composite
def nearly_sound(draw):
    """A sound set of keys with a few of them replaced or dropped: gets past the first checks."""
    f, p = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    number = hnp.from_dtype(np.dtype("f4"), allow_infinity=True, allow_nan=True)
    arrays = {
        "points2d": draw(hnp.arrays("f4", (f, p, 2), elements=number)),
        "visible": draw(hnp.arrays("b1", (f, p))),
        "confidence": draw(hnp.arrays("f4", (f, p), elements=st.floats(0, 1, width=32))),
        "points3d": draw(hnp.arrays("f4", (f, p, 3), elements=number)),
        "rotations": np.tile(np.eye(3), (f, 1, 1)),
        "scale": draw(hnp.arrays("f4", (f,), elements=st.floats(0.5, 2, width=32))),
        "clip": draw(hnp.arrays("i4", (f,))),
        "edges": draw(hnp.arrays("i4", (2, 2), elements=st.integers(-1, p))),
        "names": np.array(["a"] * p),
    }
    for key in draw(st.sets(st.sampled_from(sorted(arrays)), max_size=6)):
        del arrays[key]
    for key in draw(st.sets(st.sampled_from(KEYS), max_size=2)):
        arrays[key] = draw(anything)
    return arrays


@pytest.mark.fast
@relaxed
@given(arrays=nearly_sound())
def test_npz_of_any_arrays(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    survives(tmp_path / "a.npz")


def sound_npz():
    stream = streams.BytesIO()
    np.savez(stream, points2d=np.ones((3, 4, 2)), visible=np.ones((3, 4), bool), names=np.array(list("abcd")))
    return stream.getvalue()


def sound_mat():
    stream = streams.BytesIO()
    savemat(
        stream,
        {"W": np.arange(48.0).reshape(6, 8), "list": np.ones((1, 2)), "names": np.array(["a"], object)},
    )
    return stream.getvalue()


@pytest.mark.fast
@pytest.mark.parametrize(("name", "make"), [("a.npz", sound_npz), ("a.mat", sound_mat)])
@relaxed
@given(data=st.data())
def test_truncated_and_damaged_files(tmp_path, name, make, data):
    whole = bytearray(make())
    whole = whole[: data.draw(st.integers(1, len(whole)), "length")]
    for _ in range(data.draw(st.integers(0, 4), "changes")):
        whole[data.draw(st.integers(0, len(whole) - 1), "place")] = data.draw(st.integers(0, 255), "byte")
    (tmp_path / name).write_bytes(whole)
    survives(tmp_path / name)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["a.npz", "a.mat", "a.xyz"])
@relaxed
@given(
    content=st.binary(min_size=0, max_size=200), start=st.sampled_from([b"", b"PK\x03\x04", b"MATLAB 5.0 "])
)
@example(content=b"\x89HDF\r\n\x1a\n" + b"\0" * 60, start=b"")
def test_random_bytes(tmp_path, name, content, start):
    (tmp_path / name).write_bytes(start + content)
    survives(tmp_path / name)


def can_be_matlab(array):
    """SciPy writes no dates, and no text that UTF-8 cannot hold."""
    return array.dtype.kind not in "MSU" or (array.dtype.kind == "U" and "".join(array.ravel()).isascii())


@relaxed
@given(
    arrays=st.dictionaries(st.sampled_from(VARIABLES), anything.filter(can_be_matlab), max_size=4),
    rows=st.sampled_from(["auto", "blocked", "interleaved"]),
)
def test_mat_of_any_arrays(tmp_path, arrays, rows):
    savemat(tmp_path / "a.mat", arrays)
    survives(tmp_path / "a.mat", rows=rows)
