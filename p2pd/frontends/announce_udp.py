"""The UDP door: announces and scrapes by datagram (BEP 15), from any number of sockets."""

import os
import select
import socket
from collections.abc import Callable
from functools import lru_cache
from itertools import cycle

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from p2pd.errors import Refusal
from p2pd.frontends.datagrams import Exchange, exchange_over
from p2pd.protocol import udp
from p2pd.protocol.announce import read_place
from p2pd.tracker.announcing import Announcing, Tally
from p2pd.tracker.records import NONE, AccessDenied, Why

_WANTED = 50
_EVENTS = 4
_MAPPED = bytes(10) + b"\xff\xff"
_NO_PORT = b"\0\0"
_PORT_MISSING = "missing or invalid port"
_EXPIRED = "connection id expired"
_AT_ONCE = 4
"""How many batches are taken from one socket before the reactor has its turn."""
_ROOM = 4 << 20
"""What is asked of the kernel for datagrams that wait; it may give less."""

_WORDS = {
    Why.MISSING_KEY: "unknown key",
    Why.INVALID_KEY: "invalid authentication key",
    Why.UNKNOWN_KEY: "unknown key",
    Why.MISSING_USER_KEY: "unknown user key",
    Why.INVALID_USER_KEY: "invalid user key",
    Why.UNKNOWN_USER_KEY: "unknown user key",
    Why.INACTIVE_USER: "inactive user",
    Why.UNLISTED: "torrent not on whitelist",
    Why.FORBIDDEN: "torrent blacklist",
}

_log = Logger()


@implementer(IReadDescriptor)
class UdpDoor:
    """Answers datagrams; a reactor's reader, to be added once.

    Its descriptor is an epoll set of the sockets that it serves, so they come and go without the
    reactor. Sockets are not owned. Nobody is sent more bytes than came from there until it has
    shown, by its connection id, that it receives what is sent to its address.
    """

    def __init__(
        self,
        announcing: Announcing,
        *,
        clock: Callable[[], float],
        secret: bytes | None = None,
        over: Callable[[socket.socket], Exchange] = exchange_over,
    ) -> None:
        self._announcing = announcing
        self._ids = udp.ConnectionIds(secret or os.urandom(32), clock)
        self._intervals = cycle(announcing.intervals)
        self._over = over
        self._exchanges: dict[int, Exchange] = {}
        self._ready = select.epoll()
        self._ipv4 = Tally(), udp.room_for(6)
        self._ipv6 = Tally(), udp.room_for(18)

    def serve(self, sock: socket.socket) -> None:
        """Answer what comes to a bound, non-blocking UDP socket."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        self._exchanges[sock.fileno()] = self._over(sock)
        self._ready.register(sock, select.EPOLLIN)

    def leave(self, sock: socket.socket) -> None:
        """Answer it no longer; to be called before it is closed."""
        self._ready.unregister(sock)
        del self._exchanges[sock.fileno()]

    def close(self) -> None:
        """Leave all sockets; to be called after the reactor has let go of the door."""
        self._ready.close()
        self._exchanges.clear()

    def tallies(self) -> tuple[Tally, Tally]:
        """What came by IPv4 and by IPv6."""
        return self._ipv4[0], self._ipv6[0]

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return -1 if self._ready.closed else self._ready.fileno()

    def logPrefix(self) -> str:
        """See IReadDescriptor."""
        return "UdpDoor"

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - the interface's
        """See IReadDescriptor."""
        self.close()

    def doRead(self) -> None:
        """See IReadDescriptor."""
        for descriptor, _ in self._ready.poll(0):
            exchange = self._exchanges[descriptor]
            for _ in range(_AT_ONCE):
                if not exchange(self.answer):
                    break

    def answer(self, datagram: bytes, address: bytes) -> bytes:
        """Return what to send to a packed address, 4 or 16 bytes, for what came from there.

        Nothing, b"", for what is no request.
        """
        if len(address) == 4:
            tally, most = self._ipv4
        elif address.startswith(_MAPPED):
            address = address[12:]
            tally, most = self._ipv4
        else:
            tally, most = self._ipv6
        if len(datagram) < udp.ANNOUNCE_SIZE:
            return self._answer_other(datagram, address, tally)
        (
            connection,
            action,
            transaction,
            infohash,
            peer_id,
            downloaded,
            left,
            uploaded,
            event,
            wanted,
            port,
        ) = udp.read_announce(datagram)
        if action != udp.ANNOUNCE:
            return self._answer_other(datagram, address, tally)
        if not self._ids.prove(connection, address):
            return _failed(transaction, _EXPIRED, tally)
        if port == _NO_PORT:
            return _failed(transaction, _PORT_MISSING, tally)
        options = datagram[udp.ANNOUNCE_SIZE :]
        if not 0 <= wanted <= most:
            wanted = _WANTED if wanted < 0 else most
        try:
            complete, incomplete, _, peers = self._announcing.announce(
                _credentials(options) if options else (),
                infohash,
                address + port,
                peer_id,
                left,
                uploaded,
                downloaded,
                event if event < _EVENTS else NONE,
                wanted,
            )
        except Exception as failure:  # noqa: BLE001 - the door stays open whatever went wrong
            return _failed(transaction, _words(failure), tally)
        tally.announces += 1
        return (
            udp.announced(udp.ANNOUNCE, transaction, next(self._intervals), incomplete, complete)
            + peers
        )

    def _answer_other(self, datagram: bytes, address: bytes, tally: Tally) -> bytes:
        if len(datagram) >= udp.HEADER_SIZE:
            connection, action, transaction = udp.read_header(datagram)
            if action == udp.CONNECT and connection == udp.MAGIC:
                tally.connections += 1
                return udp.connected(transaction, self._ids.give(address))
            if action == udp.SCRAPE and len(datagram) >= udp.SCRAPE_SIZE:
                if not self._ids.prove(connection, address):
                    return _failed(transaction, _EXPIRED, tally)
                return self._scrape(datagram, transaction, tally)
        tally.malformed += 1
        return b""

    def _scrape(self, datagram: bytes, transaction: bytes, tally: Tally) -> bytes:
        try:
            counts = [
                self._announcing.scrape((), infohash) for infohash in udp.read_scrape(datagram)
            ]
        except Exception as failure:  # noqa: BLE001 - the door stays open whatever went wrong
            return _failed(transaction, _words(failure), tally)
        tally.scrapes += 1
        return udp.scraped(transaction, counts)


@lru_cache(1024)  # most clients send the same options, again and again
def _credentials(options: bytes) -> tuple[str, ...]:
    place = read_place(udp.read_path(options).partition(b"?")[0])
    return place.credentials if place else ()


def _words(failure: Exception) -> str:
    match failure:
        case AccessDenied(why=why):
            return _WORDS[why]
        case Refusal(reason=reason):
            return reason
    _log.failure("an announce or a scrape failed", Failure(failure))
    return "the tracker failed; its log tells why"


def _failed(transaction: bytes, why: str, tally: Tally) -> bytes:
    tally.failures += 1
    return udp.failed(transaction, why)
