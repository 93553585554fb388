"""Where BitTorrent clients come in: beside the site on its TCP listeners, and by UDP."""

import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.application.internet import TimerService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.web.server import Site

from p2pd.metainfo.ids import Address
from p2pd.tracker.announcing import Tally

# How often idle connections are looked for, in seconds.
_SWEEP = 5.0

_log = Logger()

HandOver = Callable[[int, bytes], None]
"""Takes a connection that is not for a door: its descriptor, and what came from it."""


class HttpDoor(Protocol):
    """An IReadDescriptor that answers announces on all listening sockets given to it."""

    def serve(self, listening: socket.socket) -> None:
        """Accept connections from a socket, which stays the caller's."""

    def leave(self, listening: socket.socket) -> None:
        """Accept no more of them."""

    def sweep(self) -> None:
        """Close connections that are idle or slow."""

    def close(self) -> None:
        """Close all connections."""

    def tallies(self) -> tuple[Tally, Tally]:
        """Return what was seen from clients with IPv4 and with IPv6."""


class UdpDoor(Protocol):
    """An IReadDescriptor that answers what comes to all UDP sockets given to it."""

    def serve(self, sock: socket.socket) -> None:
        """Answer what comes to a bound socket, which stays the caller's."""

    def close(self) -> None:
        """Answer no more."""

    def tallies(self) -> tuple[Tally, Tally]:
        """Return what was seen from clients with IPv4 and with IPv6."""


class HttpAnnounces(MultiService):
    """Lets a door accept the connections of listeners, and `site` have what it declines."""

    site: Site

    def __init__(self, reactor: Any, make_door: Callable[[HandOver], HttpDoor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self.door = make_door(self._hand_over)
        self._taken: list[Port] = []
        sweeping = TimerService(_SWEEP, self.door.sweep)
        sweeping.clock = reactor
        sweeping.setServiceParent(self)

    def take(self, port: Port) -> None:
        """Accept the connections of a port."""
        port.stopReading()
        self._taken.append(port)
        self.door.serve(port.socket)

    def release(self, port: IListeningPort) -> None:
        """Leave a port that is about to be closed, if it was taken."""
        for taken in [one for one in self._taken if one is port]:
            self._taken.remove(taken)
            self.door.leave(taken.socket)

    def startService(self) -> None:
        """Begin to answer."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.addReader(self.door)

    def stopService(self) -> Deferred[Any]:
        """Close all connections."""
        self._reactor.removeReader(self.door)
        self.door.close()
        return maybeDeferred(super().stopService)

    def _hand_over(self, descriptor: int, received: bytes) -> None:
        """Make a connection one of the site's, as if the site had accepted it."""
        with socket.socket(fileno=descriptor) as connected:
            try:
                # Twisted takes a copy of the descriptor.
                transport = self._reactor.adoptStreamConnection(
                    connected.fileno(), connected.family, self.site
                )
            except OSError:
                return  # it is gone already
        if transport is not None:
            transport.protocol.dataReceived(received)


class UdpAnnounces(Service):
    """Binds UDP sockets for a door. Raises SystemExit with the reason why one cannot be bound."""

    def __init__(self, reactor: Any, addresses: Sequence[Address], door: UdpDoor) -> None:
        self._reactor = reactor
        self._addresses = addresses
        self._door = door
        self._sockets: list[socket.socket] = []

    def privilegedStartService(self) -> None:
        """Bind; twistd calls this before it gives up privileges."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        for address in self._addresses:
            try:
                self._sockets.append(_bind(address))
            except OSError as error:
                self._close()
                raise SystemExit(f"cannot listen on udp {address}: {error.strerror}") from None

    def startService(self) -> None:
        """Begin to answer."""
        super().startService()  # type: ignore[no-untyped-call]
        for sock in self._sockets:
            self._door.serve(sock)
            host, port = sock.getsockname()[:2]
            shown = f"[{host}]" if sock.family is socket.AF_INET6 else host
            _log.info("answering announces at udp://{host}:{port}", host=shown, port=port)
        self._reactor.addReader(self._door)

    def stopService(self) -> None:
        """Answer no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._reactor.removeReader(self._door)
        self._door.close()
        self._close()

    def _close(self) -> None:
        while self._sockets:
            self._sockets.pop().close()


def _bind(address: Address) -> socket.socket:
    host, _, port = address.rpartition(":")
    family, kind, protocol, _, where = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if family == socket.AF_INET6:
            # So that 0.0.0.0 and [::] can be given together.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock
