"""Text and lists of variable length in HDF5: as the library reads them, and never through it."""

import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.io._hdf5 import open_hdf5

h5py = pytest.importorskip("h5py")
TEXTS = np.array([["walk", "", "Pfötchen"], ["x" * 300, "b", "c"], ["d", "e", "f"]], object)
LISTS = [np.arange(n, dtype="i1") for n in (3, 0, 200)]


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        text, numbers = h5py.string_dtype(), h5py.vlen_dtype(np.dtype("i1"))
        file.create_dataset("plain", data=TEXTS, dtype=text)
        file.create_dataset("blocks", data=TEXTS, dtype=text, chunks=(2, 2))
        file.create_dataset("packed", data=TEXTS, dtype=text, chunks=(2, 2), compression="gzip", shuffle=True)
        file.create_dataset("one", data="alone", dtype=text)
        file.create_dataset("never written", (2,), dtype=text)
        file.create_dataset("none", (0,), dtype=text, maxshape=(None,))
        for name, more in (("lists", {}), ("packed lists", {"chunks": (2,), "compression": "gzip"})):
            item = file.create_dataset(name, (3,), numbers, **more)
            for i, values in enumerate(LISTS):
                item[i] = values
        file.create_dataset("records", (2,), np.dtype([("name", text), ("n", "i4")]))
        file.attrs["about"], file.attrs["several"] = "seconds " * 40, ["a", "b"]
    return tmp_path / "a.h5"


@pytest.mark.fast
def test_variable_length_reads_as_the_library_reads_it(path):
    with open_hdf5(path) as ours, h5py.File(path) as theirs:
        for name in ("plain", "blocks", "packed", "one", "never written", "none"):
            found, wanted = ours.array(name), np.asarray(theirs[name][()], object)
            assert found.shape == wanted.shape
            assert found.tolist() == wanted.tolist(), name
        for name in ("lists", "packed lists"):
            for i, values in enumerate(LISTS):
                np.testing.assert_array_equal(ours.row(name, i), values)
                np.testing.assert_array_equal(ours.array(name)[i], values)
                assert ours.row(name, i).dtype == values.dtype
        assert ours.texts("plain")[2] == "Pfötchen"
    with open_hdf5(path) as ours, pytest.raises(InputError, match="parts of variable length"):
        ours.array("records")


@pytest.mark.fast
def test_damage_anywhere_is_one_line_and_the_library_never_follows(path):
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    places = [i for i, byte in enumerate(whole) if byte]
    refused = []
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.choice(places, 3):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            with open_hdf5(path) as file:
                for name in ("plain", "blocks", "packed", "one", "lists", "packed lists"):
                    file.array(name)
        except InputError as error:
            refused.append(str(error))
    assert 5 < len(refused) < 60
    assert not any("\n" in line for line in refused)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("length", "said"), [(1, "not that of the heap"), (2**31, "text longer than the file")]
)
def test_a_length_that_the_heap_does_not_have(path, length, said):
    with h5py.File(path) as file:
        place = file["plain"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[place : place + 4] = np.uint32(length).tobytes()
    path.write_bytes(data)
    with pytest.raises(InputError, match=said), open_hdf5(path) as file:
        file.array("plain")


@pytest.mark.fast
def test_numbers_of_no_machine_are_not_converted(tmp_path):
    """The library wrote beside its memory ("double free or corruption") where it converted such a record."""
    path = tmp_path / "a.slp"
    with h5py.File(path, "w") as file:
        file["points"] = np.zeros(4, [("x", "f8"), ("seen", "?"), ("n", "i8")])
    data = bytearray(path.read_bytes())
    data[data.index(b"4\x0b\x004\xff\x03") + 4] = 0xED  # the bias of its exponent
    path.write_bytes(data)
    with (
        pytest.raises(InputError, match="floating-point numbers are of no known kind"),
        open_hdf5(path) as file,
    ):
        file.array("points")


def test_an_attribute_that_ends_the_process_that_reads_it(path):
    """HDF5 2.0 ends by a segmentation fault where an attribute's number in its heap is out of it."""
    with open_hdf5(path) as file:
        assert file.attribute("about") == "seconds " * 40
        assert file.attribute("several") == ""
    data = bytearray(path.read_bytes())
    place = data.index(np.uint32(320).tobytes(), data.index(b"about\0"))  # its length, its heap, its number
    data[place + 12] = 220
    path.write_bytes(data)
    with pytest.raises(InputError, match="attribute 'about' cannot be read"), open_hdf5(path) as file:
        file.attribute("about")
