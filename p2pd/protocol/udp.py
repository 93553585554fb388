"""The tracker protocol over UDP (BEP 15), with the options of BEP 41.

All numbers are big-endian. A client first asks for a connection id, which only reaches it at the
address that it sent from; every further request proves the address by repeating the id.

    connect   magic, 0, transaction            ->  0, transaction, connection id
    announce  connection id, 1, transaction,   ->  1, transaction, interval, incomplete,
              what `read_announce` returns,            complete, peers
              options
    scrape    connection id, 2, transaction,   ->  2, transaction, (complete, downloaded,
              infohashes                               incomplete) of each
                                               ->  3, transaction, text of a failure
"""

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b

from p2pd.errors import Invalid

CONNECT, ANNOUNCE, SCRAPE, FAILED = (bytes((0, 0, 0, action)) for action in range(4))
MAGIC = bytes.fromhex("0000041727101980")
HEADER_SIZE = 16
ANNOUNCE_SIZE = 98
SCRAPE_SIZE = 36
"""Of the smallest; each further torrent takes 20 more."""
MOST_OPTIONS = 512
"""How many bytes of options an announce may carry; a path with two keys takes 93."""
MOST_SCRAPED = 74
LARGEST_REPLY = 1200
"""So that replies pass through any network in one piece."""

EPOCH = 120.0
"""Seconds for which new connection ids are the same; they are good for as long again."""

read_header = struct.Struct(">8s4s4s").unpack_from
"""(connection id, action, transaction)"""

read_announce = struct.Struct(">8s4s4s20s20sQQQI8xi2s").unpack_from
"""What an announce tells, in the order of its fields: (connection id, action, transaction,
infohash, peer id, downloaded, left, uploaded, event, wanted, port).

The port is left packed. The client's own address and its `key` are not looked at.
"""

_START = 20

announced = struct.Struct(">4s4sIII").pack
"""Start a reply: (ANNOUNCE, transaction, interval, incomplete, complete); the peers follow."""

_counts = struct.Struct(">III").pack
_MOST_COUNTED = (1 << 32) - 1
_END, _NOP, URL_DATA = range(3)


def room_for(size: int) -> int:
    """Return how many peers of that many bytes fit into a reply."""
    return (LARGEST_REPLY - _START) // size


def connected(transaction: bytes, connection: bytes) -> bytes:
    """Write the reply to a connect."""
    return CONNECT + transaction + connection


def scraped(transaction: bytes, counts: Iterable[tuple[int, int, int]]) -> bytes:
    """Write the reply to a scrape; the counts are (complete, downloaded, incomplete)."""
    return (
        SCRAPE
        + transaction
        + b"".join(_counts(*(min(count, _MOST_COUNTED) for count in each)) for each in counts)
    )


def failed(transaction: bytes, why: str) -> bytes:
    """Write the reply that tells why there is no other."""
    return FAILED + transaction + why.encode()


def read_scrape(datagram: bytes) -> list[bytes]:
    """Return the infohashes that are asked for; raise Invalid if there are too many."""
    count = (len(datagram) - HEADER_SIZE) // 20
    if count > MOST_SCRAPED:
        raise Invalid(f"at most {MOST_SCRAPED} torrents in a scrape")
    return [
        datagram[start : start + 20] for start in range(HEADER_SIZE, HEADER_SIZE + 20 * count, 20)
    ]


def read_path(options: bytes) -> bytes:
    """Return path and query of the URL that an announce was sent to, from its options (BEP 41).

    Empty if the client does not tell. Raises Invalid for options that break off, or too many.
    """
    if len(options) > MOST_OPTIONS:
        raise Invalid(f"at most {MOST_OPTIONS} bytes of options in an announce")
    path = b""
    rest = options
    while rest and rest[0] != _END:
        if rest[0] == _NOP:
            rest = rest[1:]
            continue
        end = 2 + rest[1] if len(rest) > 1 else 2
        if end > len(rest):
            raise Invalid("the options of the announce break off")
        if rest[0] == URL_DATA:
            path += rest[2:end]
        rest = rest[end:]
    return path


class ConnectionIds:
    """Connection ids that need no memory: keyed digests of the client's address and the epoch.

    Of the address without the port, for what an id proves is that its bearer receives what is
    sent to that host; and a router between may give the next datagram another port. Digests
    lately made are at hand, a few thousand at most: who asks for an id soon comes back with it.
    The secret has 1 to 64 bytes.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float]) -> None:
        def make(address: bytes, epoch: float) -> bytes:
            message = struct.pack(">d", epoch) + address
            return blake2b(message, key=secret, digest_size=8).digest()

        self._clock = clock
        self._make = lru_cache(maxsize=4096)(make)

    def give(self, address: bytes) -> bytes:
        """Return the id for a packed address, 8 bytes."""
        return self._make(address, self._clock() // EPOCH)

    def prove(self, connection: bytes, address: bytes) -> bool:
        """Tell whether an id was given to this address in this epoch or the former."""
        epoch = self._clock() // EPOCH
        return connection == self._make(address, epoch) or connection == self._make(
            address, epoch - 1
        )
