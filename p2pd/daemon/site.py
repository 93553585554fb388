"""The web site that daemons listen with: HTTP/1.1 only, so many connections, no access log.

Imports klein, and with it the reactor: import this inside `makeService` only.
"""

from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from twisted.web.resource import IResource

from p2pd.frontends.site import Site as BoundedSite

MAX_CONNECTIONS = 4096
"""Of all listeners together; the limit of open files must leave room for as many."""

_log = Logger()


class Channel(HTTPChannel):
    """One connection, known to its site for as long as it lasts."""

    site: "Site"

    def connectionMade(self) -> None:
        """Join the site's connections."""
        self.site.connections.add(self)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave them."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.site.lost(self)


class Site(BoundedSite):
    """A site that closes new connections beyond `max_connections` and idle ones after `timeout`.

    Nothing is logged of a request: a path can name files, a query can hold what was meant to
    be secret.
    """

    protocol = cast("Any", Channel)
    noisy = False

    def __init__(
        self,
        root: IResource,
        *,
        reactor: Any,
        timeout: float = 60.0,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        super().__init__(root, timeout=timeout, reactor=reactor)
        self.connections: set[Channel] = set()
        self._max_connections = max_connections
        self._full = False
        self._drained: Deferred[None] | None = None

    def acceptableProtocols(self) -> list[bytes]:
        """Keep TLS clients from negotiating HTTP/2, which `Channel` does not speak."""
        return [b"http/1.1"]

    def buildProtocol(self, address: IAddress | None) -> Any:
        """Make a connection's protocol, or None to close it at once: there are too many."""
        full = len(self.connections) >= self._max_connections
        if full and not self._full:
            _log.warn(
                "{count} connections are open: no more are accepted", count=len(self.connections)
            )
        self._full = full
        return None if full else super().buildProtocol(address)  # type: ignore[no-untyped-call]

    def log(self, request: Request) -> None:
        """Write no access log."""

    def lost(self, channel: Channel) -> None:
        """Forget a closed connection."""
        self.connections.discard(channel)
        if self._drained and not self.connections:
            self._drained.callback(None)
            self._drained = None

    def close(self) -> Deferred[None]:
        """Close every connection at once; fires when all are gone."""
        if not self.connections:
            return succeed(None)
        self._drained = Deferred()
        for channel in list(self.connections):
            cast("Any", channel.transport).abortConnection()
        return self._drained
