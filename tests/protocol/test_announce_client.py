"""Announces over HTTP as a client writes them, and replies as it reads them, sane or not."""

import struct
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.metainfo import bencode
from p2pd.protocol import announce
from p2pd.protocol.announce_client import (
    MOST_PEERS,
    TOLD_FAILURE,
    AnnounceFailed,
    AnnounceReply,
    BitTorrentAnnounce,
    announce_url,
    read_reply,
    write_query,
)
from p2pd.protocol.announcement import Event

ASKED = BitTorrentAnnounce(
    infohash=bytes(range(118, 138)),
    peer_id=b"-PD0001-&=%+ \xff567890"[:20],
    port=6881,
    uploaded=1,
    downloaded=2,
    left=3,
    key=0xBEEF,
    event=Event.STARTED,
)


def with_event(event, **changes):
    return BitTorrentAnnounce(b"i" * 20, b"p" * 20, 1, 0, 0, 0, 7, event, **changes)


def reply(**fields):
    return read_reply(
        bencode.encode({name.replace("_", " "): one for name, one in fields.items()})
    )


# -- queries


def test_our_own_tracker_reads_what_we_write():
    query = write_query(ASKED).encode()
    infohash, peer_id, *rest = announce.read_announce(query)
    assert (infohash, peer_id) == (ASKED.infohash, ASKED.peer_id)
    assert rest == [6881, 1, 2, 3, 2, 200, True, False, b""]


def test_a_query_in_full():
    asked = with_event(Event.COMPLETED, tracker_id="a b\xff")
    assert write_query(asked) == (
        "info_hash=iiiiiiiiiiiiiiiiiiii&peer_id=pppppppppppppppppppp&port=1&uploaded=0"
        "&downloaded=0&left=0&key=00000007&event=completed&numwant=200&compact=1&no_peer_id=1"
        "&trackerid=a%20b%FF"
    )


def test_what_there_is_not_is_not_written():
    query = write_query(with_event(Event.NONE))
    assert "event" not in query
    assert "trackerid" not in query


def test_who_stops_wants_no_peers():
    assert "event=stopped&numwant=0" in write_query(with_event(Event.STOPPED))


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("http://t.test/announce", "http://t.test/announce?info_hash="),
        ("http://t.test/x?passkey=1", "http://t.test/x?passkey=1&info_hash="),
        ("http://t.test/x#part", "http://t.test/x?info_hash="),
    ],
)
def test_the_query_is_put_to_the_url(url, start):
    made = announce_url(url, ASKED)
    assert made.startswith(start)
    assert not urlsplit(made).fragment


# -- replies


def test_a_reply_in_full():
    assert reply(
        interval=900,
        min_interval=60,
        complete=3,
        incomplete=2,
        downloaded=7,
        tracker_id=b"abc\xff",
        warning_message="look out",
        peers=bytes([10, 0, 0, 1, 0x1A, 0xE1]),
        peers6=bytes(15) + b"\x01\x00\x50",
    ) == AnnounceReply(
        interval=900,
        min_interval=60,
        complete=3,
        incomplete=2,
        downloaded=7,
        tracker_id="abc\xff",
        warning="look out",
        peers=(("10.0.0.1", 6881), ("::1", 80)),
    )


def test_what_a_reply_does_not_tell():
    assert reply() == AnnounceReply(interval=1800, min_interval=30)


def test_our_own_tracker_is_understood():
    body = announce.announce_reply(
        (3, 2, 7), announce.times(1800, 900), bytes(4), b"\x7f\0\0\1\0\x50"
    )
    assert read_reply(body) == AnnounceReply(
        interval=1800,
        min_interval=900,
        complete=3,
        incomplete=2,
        downloaded=7,
        peers=(("127.0.0.1", 80),),
    )


def test_peers_as_dictionaries():
    peers = [
        {"ip": "10.0.0.1", "port": 1, "peer id": b"x" * 20},
        {"ip": "2001:DB8::1", "port": 2},
        {"ip": "a.name.test", "port": 3},
        {"ip": "10.0.0.4", "port": 0},
        {"ip": "10.0.0.5", "port": 65536},
        {"port": 6},
        {"ip": 7, "port": "7"},
        "8",
    ]
    assert reply(peers=peers).peers == (("10.0.0.1", 1), ("2001:db8::1", 2))


def test_what_is_left_over_of_a_compact_list_is_no_peer():
    packed = bytes([10, 0, 0, 1, 0, 1, 10, 0, 0, 2, 0, 0, 10, 0])
    assert reply(peers=packed).peers == (("10.0.0.1", 1),)


def test_only_so_many_peers_are_kept():
    packed = b"".join(struct.pack(">IH", number, 1) for number in range(1, 5000))
    assert len(reply(peers=packed).peers) == MOST_PEERS
    assert len(reply(peers=[{"ip": "10.0.0.1", "port": 1}] * 5000).peers) == MOST_PEERS


@pytest.mark.parametrize(
    ("told", "kept"), [(1, 300), (0, 1800), (-5, 1800), (b"x", 1800), (10**15, 7 * 86400)]
)
def test_an_interval_is_a_sane_one(told, kept):
    assert reply(interval=told).interval == kept


@pytest.mark.parametrize("nonsense", [-1, b"5", [], {}])
def test_counts_that_are_none_are_not_told(nonsense):
    told = reply(complete=nonsense, incomplete=nonsense, downloaded=nonsense)
    assert (told.complete, told.incomplete, told.downloaded) == (None, None, None)


def test_texts_are_bounded():
    assert len(reply(warning_message="x" * 100_000).warning) == 1000
    assert reply(tracker_id="x" * 100_000).tracker_id == ""
    assert reply(warning_message=b"\xff").warning == "\ufffd"


# -- failures


@pytest.mark.parametrize(
    ("fields", "retry", "for_good"),
    [
        ({}, 1800, False),
        ({"interval": 600}, 600, False),
        ({"interval": 10}, 300, False),
        ({"retry_in": 5}, 300, False),
        ({"retry_in": 90, "interval": 600}, 5400, False),
        ({"retry_in": 10**18}, 7 * 86400, False),
        ({"retry_in": "never"}, 1800, True),
    ],
)
def test_a_failure_says_why_and_when_to_try_again(fields, retry, for_good):
    with pytest.raises(AnnounceFailed) as caught:
        reply(failure_reason="not registered", **fields)
    failed = caught.value
    assert (failed.reason, failed.message) == (TOLD_FAILURE, "not registered")
    assert (failed.retry, failed.for_good) == (retry, for_good)


@pytest.mark.parametrize("body", [b"", b"junk", b"le", b"i5e", b"d8:interval", b"d" * 1000])
def test_what_is_no_reply_is_a_failure(body):
    with pytest.raises(AnnounceFailed) as caught:
        read_reply(body)
    assert caught.value.retry == 1800
    assert caught.value.reason


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body):
    with suppress(AnnounceFailed):
        read_reply(body)


VALUES = st.recursive(
    st.integers() | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([b"ip", b"port"]), inner)
    ),
    max_leaves=5,
)
NAMES = [
    b"interval", b"min interval", b"complete", b"incomplete", b"downloaded", b"tracker id",
    b"warning message", b"failure reason", b"retry in", b"peers", b"peers6",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_no_values_raise_anything_else(fields):
    try:
        told = read_reply(bencode.encode(fields))
    except AnnounceFailed:
        return
    assert 300 <= told.interval <= 7 * 86400
    assert 0 <= told.min_interval <= 7 * 86400
    assert all(0 < port < 65536 for _, port in told.peers)
