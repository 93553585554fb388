from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.metainfo.bitfield import Bitfield
from p2pd.protocol.have import (
    MOST_NAMED,
    Alive,
    Bye,
    Have,
    HaveDecoder,
    Holds,
    Lost,
    Promised,
    encode,
)

SIZE = 20


def field(indexes):
    made = Bitfield(SIZE)
    for index in indexes:
        made.add(index)
    return made


INDEXES = st.integers(0, SIZE - 1)
NAMED = st.lists(INDEXES, min_size=1, max_size=5).map(tuple)
HOLDS = st.builds(Holds, st.builds(field, st.sets(INDEXES)))
LATER = st.one_of(
    HOLDS,
    st.builds(Have, NAMED),
    st.builds(Promised, NAMED),
    st.builds(Lost, INDEXES),
    st.just(Alive()),
)


def started(size=SIZE):
    decoder = HaveDecoder(size)
    decoder.feed(encode(Holds(Bitfield(size))))
    return decoder


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Holds(field([0, 19])), b"bitfield 800010\n"),
        (Have((7,)), b"have 7\n"),
        (Have((7, 0, 19)), b"have 7,0,19\n"),
        (Promised((3, 4)), b"promised 3,4\n"),
        (Lost(0), b"lost 0\n"),
        (Alive(), b"alive\n"),
        (Bye(), b"bye\n"),
    ],
)
def test_each_event_has_its_line(event, line):
    assert encode(event) == line
    decoder = HaveDecoder(SIZE) if isinstance(event, Holds) else started()
    assert decoder.feed(line) == [event]


@given(HOLDS, st.lists(LATER), st.booleans(), st.data())
def test_what_is_written_is_read_however_it_is_cut(first, later, bye, data):
    events = [first, *later, *([Bye()] if bye else [])]
    stream = b"".join(map(encode, events))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = HaveDecoder(SIZE)
    read = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        read += decoder.feed(stream[start:end])
    assert read == events


def test_byte_by_byte():
    decoder = HaveDecoder(SIZE)
    stream = encode(Holds(field([3]))) + encode(Have((19,))) + encode(Bye())
    read = [event for byte in stream for event in decoder.feed(bytes([byte]))]
    assert read == [Holds(field([3])), Have((19,)), Bye()]


@pytest.mark.parametrize("line", [b"have 1\n", b"lost 1\n", b"alive\n", b"bye\n"])
def test_the_first_line_must_be_a_bitfield(line):
    with pytest.raises(Invalid, match="must begin with a bitfield"):
        HaveDecoder(SIZE).feed(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"have",
        b"have ",
        b"have  1",
        b"have 1,",
        b"have ,1",
        b"have 1,,2",
        b"have 1, 2",
        b"have 1,02",
        b"promised",
        b"lost 1,2",
        b"have 1 ",
        b"have 01",
        b"have -1",
        b"have +1",
        b"have 1_0",
        b"have 0x1",
        b"have 1\r",
        "have \u0661".encode(),
        b"HAVE 1",
        b"hello",
        b"alive 1",
        b"bye\0",
        b"bitfield",
        b"bitfield 0000",
        b"bitfield 00000000",
        b"bitfield 00000",
        b"bitfield 00 00 0",
        b"bitfield FFFFF0",
        b"bitfield 00000g",
        b"bitfield 000001",
    ],
)
def test_malformed_lines_are_refused(line):
    with pytest.raises(Invalid):
        started().feed(line + b"\n")


@pytest.mark.parametrize("digits", ["20", "1000000000", "1" + "0" * 12], ids=len)
@pytest.mark.parametrize("word", [b"have ", b"have 1,", b"promised ", b"lost "])
def test_a_piece_there_is_not_is_refused(word, digits):
    with pytest.raises(Invalid):
        started().feed(word + digits.encode() + b"\n")


def test_an_index_of_thousands_of_digits_is_refused():
    with pytest.raises(Invalid):
        started(100_000).feed(b"have 1" + b"0" * 5000 + b"\n")


def test_an_index_too_large_by_one_says_so():
    with pytest.raises(Invalid, match="piece 20 of a torrent of 20"):
        started().feed(b"have 20\n")


@pytest.mark.parametrize("size", [1, 20, 100_000])
def test_a_line_without_end_is_refused_early(size):
    decoder = started(size)
    lines = (Holds(Bitfield(size)), Promised((size,) * MOST_NAMED))
    longest = max(len(encode(event)) for event in lines)
    for _ in range(longest - 1):
        assert decoder.feed(b"0") == []
    with pytest.raises(Invalid, match="longer than"):
        decoder.feed(b"0")


def test_nothing_follows_bye():
    for rest in (b"x", b"alive\n", b"bye\n"):
        with pytest.raises(Invalid, match="after bye"):
            started().feed(b"bye\n" + rest)
        decoder = started()
        decoder.feed(b"bye\n")
        assert decoder.feed(b"") == []
        with pytest.raises(Invalid, match="after bye"):
            decoder.feed(rest)


def test_the_longest_lines_fit():
    decoder = HaveDecoder(100_000)
    assert decoder.feed(encode(Holds(Bitfield.full(100_000)))) == [Holds(Bitfield.full(100_000))]
    assert decoder.feed(b"have 99999\n") == [Have((99_999,))]
    many = Promised((99_999,) * MOST_NAMED)
    assert decoder.feed(encode(many)) == [many]
    assert HaveDecoder(1).feed(b"bitfield 80\nlost 0\n") == [Holds(Bitfield.full(1)), Lost(0)]


@given(st.binary(max_size=200), st.integers(0, 40))
def test_rubbish_is_read_or_refused(data, size):
    with suppress(Invalid):
        started(size).feed(data)
