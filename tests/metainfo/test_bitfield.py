import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.metainfo.bitfield import Bitfield


@settings(deadline=None)
@given(st.integers(0, 70), st.data())
def test_a_bitfield_behaves_as_a_set_of_indexes(size, data):
    bitfield, model = Bitfield(size), set()
    indexes = st.integers(0, size - 1)
    steps = st.lists(st.tuples(st.booleans(), indexes)) if size else st.just([])
    for adding, index in data.draw(steps):
        if adding:
            assert bitfield.add(index) is (index not in model)
            model.add(index)
        else:
            assert bitfield.discard(index) is (index in model)
            model.discard(index)
    assert list(bitfield) == sorted(model)
    assert list(bitfield.missing()) == sorted(set(range(size)) - model)
    assert bitfield.count == len(model)
    assert bitfield.complete is (len(model) == size)
    assert all((index in bitfield) is (index in model) for index in range(-3, size + 3))
    assert Bitfield.from_bytes(bitfield.to_bytes(), size) == bitfield
    assert Bitfield.from_bytes(bitfield.to_bytes(), size).count == bitfield.count


@settings(deadline=None)
@given(st.integers(0, 70))
def test_a_full_bitfield_has_every_index(size):
    full = Bitfield.full(size)
    assert full.complete
    assert list(full) == list(range(size))
    assert Bitfield.from_bytes(full.to_bytes(), size) == full


@settings(deadline=None)
@given(st.binary(max_size=4), st.integers(0, 32))
def test_bytes_are_read_exactly_or_refused(data, size):
    try:
        bitfield = Bitfield.from_bytes(data, size)
    except Invalid:
        return
    assert bitfield.to_bytes() == data


def test_the_first_piece_is_the_highest_bit():
    bitfield = Bitfield(10)
    bitfield.add(0)
    bitfield.add(9)
    assert bitfield.to_bytes() == b"\x80\x40"
    assert len(bitfield) == 10


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_outside_is_an_error(index):
    with pytest.raises(IndexError):
        Bitfield(10).add(index)
    with pytest.raises(IndexError):
        Bitfield(10).discard(index)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x00\x01", b"\x00\x00\x00"])
def test_wrong_length_and_spare_bits_are_refused(data):
    with pytest.raises(Invalid):
        Bitfield.from_bytes(data, 10)


def test_a_copy_changes_by_itself():
    bitfield = Bitfield.full(10)
    copy = bitfield.copy()
    copy.discard(3)
    assert bitfield.complete
    assert copy != bitfield
    assert copy.count == 9
