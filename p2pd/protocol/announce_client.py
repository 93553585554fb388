"""The announce of BitTorrent clients by HTTP, as a client: queries out, replies in.

BEP 3 (the protocol), 7 (IPv6), 23 (compact lists), 31 (retry in).  Trackers are anybody's: all
that a reply tells is checked and bounded, and what is of no use is left out.
"""

import ipaddress
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop
from urllib.parse import quote

from p2pd.errors import Invalid, Unavailable
from p2pd.metainfo import bencode
from p2pd.protocol.announce import NEVER, split_peers
from p2pd.protocol.announcement import Event

WANTED = 200
MIN_INTERVAL = 300
MOST_PEERS = 1000
TOLD_FAILURE = "tracker sent a failure message"
"""What the error is called if a tracker says itself what is wrong."""

_INTERVAL = 1800
_MIN_INTERVAL = 30
_LONGEST_INTERVAL = 7 * 86400
_LONGEST_TEXT = 1000
_LONGEST_ID = 256
_MOST_COUNTED = (1 << 31) - 1
_UNRESERVED = "!*'()"

_Fields = Mapping[bytes, bencode.Value]
Peer = tuple[str, int]


@dataclass(frozen=True, slots=True)
class BitTorrentAnnounce:
    """What a client tells a tracker; byte counts are of the session, `key` is up to 32 bits."""

    infohash: bytes
    peer_id: bytes
    port: int
    uploaded: int
    downloaded: int
    left: int
    key: int
    event: Event = Event.NONE
    tracker_id: str = ""

    @property
    def wanted(self) -> int:
        """How many peers to ask for: who stops needs none."""
        return 0 if self.event is Event.STOPPED else WANTED


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceReply:
    """What a tracker told; times are seconds from now, None is what it did not tell."""

    interval: int
    min_interval: int
    complete: int | None = None
    incomplete: int | None = None
    downloaded: int | None = None
    tracker_id: str = ""
    warning: str = ""
    peers: tuple[Peer, ...] = ()


class AnnounceFailed(Unavailable):
    """An announce failed for this reason; `message` is what the tracker said itself, if it did.

    `retry` are the seconds to wait at least; `for_good` says that trying again is of no use.
    """

    def __init__(
        self, reason: str, message: str = "", *, retry: float = 0.0, for_good: bool = False
    ) -> None:
        super().__init__(reason)
        self.message = message
        self.retry = retry
        self.for_good = for_good


def announce_url(url: str, asked: BitTorrentAnnounce) -> str:
    """Give the URL to get to announce this to the tracker of that URL."""
    base, _, _ = url.partition("#")
    return f"{base}{'&' if '?' in base else '?'}{write_query(asked)}"


def write_query(asked: BitTorrentAnnounce) -> str:
    """Write the query of an announce."""
    fields: dict[str, object] = {
        "info_hash": quote(asked.infohash, safe=_UNRESERVED),
        "peer_id": quote(asked.peer_id, safe=_UNRESERVED),
        "port": asked.port,
        "uploaded": asked.uploaded,
        "downloaded": asked.downloaded,
        "left": asked.left,
        "key": f"{asked.key:08X}",
        "event": asked.event,
        "numwant": asked.wanted,
        "compact": 1,
        "no_peer_id": 1,
        "trackerid": quote(asked.tracker_id.encode("latin-1"), safe=_UNRESERVED),
    }
    return "&".join(f"{name}={value}" for name, value in fields.items() if value != "")


def read_reply(body: bytes) -> AnnounceReply:
    """Read the body of a reply; raises `AnnounceFailed` for one that tells of a failure."""
    try:
        fields = bencode.decode(body)
    except Invalid as error:
        raise AnnounceFailed(error.reason, retry=_INTERVAL) from error
    if not isinstance(fields, dict):
        raise AnnounceFailed("the tracker's reply is no dictionary", retry=_INTERVAL)
    interval = clamp_interval(_count(fields, b"interval") or _INTERVAL)
    if b"failure reason" in fields:
        raise _failure(fields, interval)
    min_interval = _count(fields, b"min interval")
    return AnnounceReply(
        interval=interval,
        min_interval=_MIN_INTERVAL
        if min_interval is None
        else min(min_interval, _LONGEST_INTERVAL),
        complete=_count(fields, b"complete"),
        incomplete=_count(fields, b"incomplete"),
        downloaded=_count(fields, b"downloaded"),
        tracker_id=_tracker_id(fields),
        warning=_text(fields, b"warning message"),
        peers=tuple(_peers(fields))[:MOST_PEERS],
    )


def clamp_interval(interval: int) -> int:
    """Give an interval that neither burdens a tracker nor forgets it."""
    return min(max(interval, MIN_INTERVAL), _LONGEST_INTERVAL)


def read_compact(packed: bytes, address_size: int) -> Iterator[Peer]:
    """Read a compact list of addresses with 4 or 16 bytes, and their ports."""
    family = AF_INET if address_size == 4 else AF_INET6
    for peer in split_peers(packed, address_size):
        if len(peer) == address_size + 2:
            (port,) = struct.unpack_from(">H", peer, address_size)
            if port:
                yield inet_ntop(family, peer[:address_size]), port


def _failure(fields: _Fields, interval: int) -> AnnounceFailed:
    message = _text(fields, b"failure reason")
    minutes = _count(fields, b"retry in")
    return AnnounceFailed(
        TOLD_FAILURE,
        message,
        retry=interval if minutes is None else min(60 * minutes, _LONGEST_INTERVAL),
        for_good=fields.get(b"retry in") == NEVER.encode(),
    )


def _peers(fields: _Fields) -> Iterator[Peer]:
    peers = fields.get(b"peers")
    if isinstance(peers, bytes):
        yield from read_compact(peers[: 6 * MOST_PEERS], 4)
    elif isinstance(peers, list):
        yield from filter(None, map(_listed, peers[:MOST_PEERS]))
    peers6 = fields.get(b"peers6")
    if isinstance(peers6, bytes):
        yield from read_compact(peers6[: 18 * MOST_PEERS], 16)


def _listed(peer: bencode.Value) -> Peer | None:
    """Read a peer of a list; None if it has a name instead of an address, or nonsense."""
    if not isinstance(peer, dict):
        return None
    host, port = peer.get(b"ip"), peer.get(b"port")
    if not isinstance(host, bytes) or not isinstance(port, int) or not 0 < port < 65536:
        return None
    try:
        return str(ipaddress.ip_address(host.decode("ascii", "replace"))), port
    except ValueError:
        return None


def _count(fields: _Fields, name: bytes) -> int | None:
    value = fields.get(name)
    return min(value, _MOST_COUNTED) if isinstance(value, int) and value >= 0 else None


def _text(fields: _Fields, name: bytes) -> str:
    value = fields.get(name)
    return as_text(value) if isinstance(value, bytes) else ""


def as_text(raw: bytes) -> str:
    """Read what a tracker says to a person."""
    return raw[:_LONGEST_TEXT].decode("utf-8", "replace")


def _tracker_id(fields: _Fields) -> str:
    value = fields.get(b"tracker id")
    # Whatever bytes it has, the same ones are to be sent back.
    known = isinstance(value, bytes) and len(value) <= _LONGEST_ID
    return value.decode("latin-1") if known and isinstance(value, bytes) else ""
