"""Announces over UDP as a client writes and reads them; our tracker reads and writes too."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.protocol import udp, udp_client
from p2pd.protocol.announce_client import TOLD_FAILURE, AnnounceFailed, BitTorrentAnnounce
from p2pd.protocol.announcement import Event

TRANSACTION = b"\x12\x34\x56\x78"
CONNECTION = b"connect!"
ASKED = BitTorrentAnnounce(b"i" * 20, b"p" * 20, 6881, 1, 2, 3, 0xDEADBEEF, Event.STARTED)


def test_a_connect_is_what_a_tracker_reads():
    sent = udp_client.write_connect(TRANSACTION)
    assert udp.read_header(sent) == (udp.MAGIC, udp.CONNECT, TRANSACTION)
    assert len(sent) == udp.HEADER_SIZE


def test_a_connection_id_is_read():
    reply = udp.connected(TRANSACTION, CONNECTION)
    assert udp_client.transaction_of(reply) == TRANSACTION
    assert udp_client.read_connected(reply) == CONNECTION


@pytest.mark.parametrize(
    ("event", "number"),
    [(Event.NONE, 0), (Event.COMPLETED, 1), (Event.STARTED, 2), (Event.STOPPED, 3)],
)
def test_an_announce_is_what_a_tracker_reads(event, number):
    asked = BitTorrentAnnounce(b"i" * 20, b"p" * 20, 6881, 1, 2, 3, 0xDEADBEEF, event)
    sent = udp_client.write_announce(CONNECTION, TRANSACTION, asked, b"")
    wanted = 0 if event is Event.STOPPED else 200
    assert udp.read_announce(sent) == (
        CONNECTION, udp.ANNOUNCE, TRANSACTION, b"i" * 20, b"p" * 20, 2, 3, 1, number, wanted,
        (6881).to_bytes(2, "big"),
    )  # fmt: skip
    assert len(sent) == udp.ANNOUNCE_SIZE
    assert sent[88:92] == bytes.fromhex("deadbeef")


@pytest.mark.parametrize("path", [b"/announce", b"/key/announce?x=1", b"/" + b"x" * 300])
def test_the_path_of_the_url_goes_along(path):
    sent = udp_client.write_announce(CONNECTION, TRANSACTION, ASKED, path)
    assert udp.read_path(sent[udp.ANNOUNCE_SIZE :]) == path


@pytest.mark.parametrize(
    ("packed", "size", "peers"),
    [
        (bytes([10, 0, 0, 1, 0, 80]), 4, (("10.0.0.1", 80),)),
        (bytes(15) + b"\x01\x00\x50", 16, (("::1", 80),)),
        (b"", 4, ()),
    ],
)
def test_a_reply_is_read(packed, size, peers):
    told = udp_client.read_announced(
        udp.announced(udp.ANNOUNCE, TRANSACTION, 900, 2, 3) + packed, size
    )
    assert (told.interval, told.min_interval) == (900, 60)
    assert (told.complete, told.incomplete, told.downloaded) == (3, 2, None)
    assert told.peers == peers


def test_a_failure_says_why():
    with pytest.raises(AnnounceFailed) as caught:
        udp_client.read_announced(udp.failed(TRANSACTION, "go away"), 4)
    failed = caught.value
    assert (failed.reason, failed.message, failed.retry) == (TOLD_FAILURE, "go away", 30)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (udp.ANNOUNCE + TRANSACTION, "length"),
        (udp.CONNECT + TRANSACTION + bytes(20), "action"),
        (b"", "action"),
    ],
)
def test_what_is_no_reply_is_a_failure(reply, why):
    with pytest.raises(AnnounceFailed, match=f"invalid tracker .*{why}"):
        udp_client.read_announced(reply, 4)


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_else(datagram):
    for read in (udp_client.read_connected, lambda one: udp_client.read_announced(one, 16)):
        with suppress(AnnounceFailed):
            read(datagram)
