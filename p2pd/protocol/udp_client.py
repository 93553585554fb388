"""The tracker protocol over UDP (BEP 15, 41), as a client: requests out, replies in.

The counterpart of `protocol/udp`, where the forms are described.
"""

import struct

from p2pd.protocol.announce_client import (
    MOST_PEERS,
    TOLD_FAILURE,
    AnnounceFailed,
    AnnounceReply,
    BitTorrentAnnounce,
    as_text,
    clamp_interval,
    read_compact,
)
from p2pd.protocol.announcement import Event
from p2pd.protocol.udp import ANNOUNCE, CONNECT, FAILED, MAGIC, URL_DATA

RETRY = 30.0
"""Seconds to wait at least after a failure."""
TRANSACTION_SIZE = 4
CONNECTION_SIZE = 8

_MIN_INTERVAL = 60
_EVENTS = {Event.NONE: 0, Event.COMPLETED: 1, Event.STARTED: 2, Event.STOPPED: 3}
_LONGEST_OPTION = 255
_announce = struct.Struct(">20s20sQQQI4xIiH").pack
_announced = struct.Struct(">III")


def write_connect(transaction: bytes) -> bytes:
    """Ask for a connection id."""
    return MAGIC + CONNECT + transaction


def write_announce(
    connection: bytes, transaction: bytes, asked: BitTorrentAnnounce, path: bytes
) -> bytes:
    """Write an announce to the tracker at that path, with its query, of a URL."""
    fields = _announce(
        asked.infohash,
        asked.peer_id,
        asked.downloaded,
        asked.left,
        asked.uploaded,
        _EVENTS[asked.event],
        asked.key,
        asked.wanted,
        asked.port,
    )
    parts = (
        path[start : start + _LONGEST_OPTION] for start in range(0, len(path), _LONGEST_OPTION)
    )
    options = b"".join(bytes((URL_DATA, len(part))) + part for part in parts)
    return connection + ANNOUNCE + transaction + fields + options


def transaction_of(datagram: bytes) -> bytes:
    """Give what names the request that a datagram answers."""
    return datagram[4:8]


def read_connected(datagram: bytes) -> bytes:
    """Read the reply to a connect: the connection id.  Raises `AnnounceFailed`."""
    return _body(datagram, CONNECT, CONNECTION_SIZE)[:CONNECTION_SIZE]


def read_announced(datagram: bytes, address_size: int) -> AnnounceReply:
    """Read the reply to an announce, with addresses of 4 or 16 bytes.  Raises `AnnounceFailed`."""
    body = _body(datagram, ANNOUNCE, _announced.size)
    interval, incomplete, complete = _announced.unpack_from(body)
    return AnnounceReply(
        interval=clamp_interval(interval),
        min_interval=_MIN_INTERVAL,
        complete=complete,
        incomplete=incomplete,
        peers=tuple(read_compact(body[_announced.size :], address_size))[:MOST_PEERS],
    )


def _body(datagram: bytes, action: bytes, size: int) -> bytes:
    told, body = datagram[:4], datagram[8:]
    if told == FAILED:
        raise AnnounceFailed(TOLD_FAILURE, as_text(body), retry=RETRY)
    if told != action:
        raise AnnounceFailed("invalid tracker action", retry=RETRY)
    if len(body) < size:
        raise AnnounceFailed("invalid tracker response length", retry=RETRY)
    return body
