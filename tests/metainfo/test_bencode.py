import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.metainfo import bencode

scalars = st.integers(-(10**20) + 1, 10**20 - 1) | st.binary(max_size=30)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)
noise = st.binary(max_size=60) | st.text("0123456789:ilde-ab", max_size=60).map(str.encode)


def raw_item(data, key):
    """The encoded value of a key of the dict that `data` holds."""
    return bencode.decode_raw(data)[1].get(key)


@settings(deadline=None)
@given(values)
def test_what_is_encoded_is_decoded(value):
    encoded = bencode.encode(value)
    assert bencode.decode(encoded) == value
    if isinstance(value, dict):
        for key, item in value.items():
            assert raw_item(encoded, key) == bencode.encode(item)


@settings(deadline=None)
@given(noise)
def test_noise_decodes_to_a_value_or_is_invalid(data):
    try:
        value = bencode.decode(data)
    except Invalid:
        return
    assert bencode.decode(bencode.encode(value)) == value


@settings(deadline=None)
@given(noise)
def test_noise_has_an_item_or_is_invalid(data):
    try:
        raw = raw_item(b"d" + data, b"a")
    except Invalid:
        return
    assert bencode.decode(b"d" + data).get(b"a") == (bencode.decode(raw) if raw else None)


def test_text_tuples_and_text_keys_are_encoded():
    assert bencode.encode({"b": ("é", 1), b"a": -2}) == b"d1:ai-2e1:bl2:\xc3\xa9i1eee"


@pytest.mark.parametrize("value", [True, None, 1.5, {1: 2}, [None], bytearray(b"a")])
def test_what_bencode_lacks_is_a_type_error(value):
    with pytest.raises(TypeError):
        bencode.encode(value)


def test_two_spellings_of_one_key_are_an_error():
    with pytest.raises(ValueError, match="two keys"):
        bencode.encode({"a": 1, b"a": 2})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i1",
        b"ie",
        b"i-0e",
        b"i01e",
        b"i-e",
        b"i+1e",
        b"i1_0e",
        b"i" + b"9" * 21 + b"e",
        b"01:a",
        b"2:a",
        b"99999999999:a",
        b"-1:a",
        b"l",
        b"li1e",
        b"d1:a",
        b"d1:ae",
        b"di1ei1ee",
        b"d1:ai1e1:ai2ee",
        b"i1ei1e",
        b"x",
        b"e",
    ],
)
def test_malformed_data_is_refused(data):
    with pytest.raises(Invalid):
        bencode.decode(data)


def test_unsorted_keys_are_tolerated_and_kept_in_raw_items():
    data = b"d4:infod1:bi1e1:ai2eee"
    assert bencode.decode(data) == {b"info": {b"a": 2, b"b": 1}}
    assert raw_item(data, b"info") == b"d1:bi1e1:ai2ee"


def test_depth_is_bounded():
    assert bencode.decode(b"l" * 32 + b"e" * 32)
    with pytest.raises(Invalid, match="deep"):
        bencode.decode(b"l" * 33 + b"e" * 33)
    with pytest.raises(Invalid, match="deep"):
        bencode.decode(b"d1:a" * 1_000_000)


def test_the_number_of_values_is_bounded(monkeypatch):
    monkeypatch.setattr(bencode, "MAX_VALUES", 10)
    assert bencode.decode(b"l" + b"i1e" * 8 + b"e") == [1] * 8
    with pytest.raises(Invalid, match="more than 10 values"):
        bencode.decode(b"l" + b"i1e" * 9 + b"e")


def test_a_raw_item_needs_a_dict_around_it():
    with pytest.raises(Invalid):
        raw_item(b"l1:a1:be", b"a")
    with pytest.raises(Invalid):
        raw_item(b"d1:al", b"a")
    with pytest.raises(Invalid):
        raw_item(b"d1:a0:ei1e", b"a")
    assert raw_item(b"d1:a0:e", b"b") is None
    assert raw_item(b"d1:xl1:a1:be1:ali7eee", b"a") == b"li7ee"
