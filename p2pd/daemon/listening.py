"""Listens on Twisted endpoints: all of them, before the reactor runs, or the daemon ends.

Whatever keeps a daemon from listening ends it with one line on standard error and status 1.
"""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from p2pd.daemon.addresses import Bound, is_loopback
from p2pd.daemon.announce_doors import HttpAnnounces
from p2pd.daemon.site import Site

AUTO = "auto"
AUTO_PORTS = range(48000, 49000)

_log = Logger()


class Listening(Service):
    """Serves one site on several endpoints, each a string as `serverFromString` takes it.

    `auto` is the first free port of 48000-48999 on 127.0.0.1. Unless `guarded` (by a token, or
    by the user's word), an endpoint off loopback is refused. `on_bound` is called with `bound`
    once everything listens, before any service starts. On plain TCP, `announces` accept, and
    leave to the site what is no announce. Raises SystemExit with the reason.
    """

    def __init__(
        self,
        reactor: Any,
        endpoints: Sequence[str],
        site: Site,
        *,
        guarded: bool,
        on_bound: Callable[[Sequence[Bound]], None],
        announces: HttpAnnounces | None = None,
    ) -> None:
        self.bound: list[Bound] = []
        self._reactor = reactor
        self._endpoints = endpoints
        self._site = site
        self._guarded = guarded
        self._on_bound = on_bound
        self._announces = announces
        if announces:
            announces.site = site
        self._ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Listen; twistd calls this before it gives up privileges and runs the reactor."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            for endpoint in self._endpoints:
                self._listen(endpoint)
        except SystemExit:
            self._stop_listening()
            raise
        self._on_bound(self.bound)

    def startService(self) -> None:
        """Tell where the listeners are, once they answer."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._tell)

    def _tell(self) -> None:
        for bound in self.bound:
            _log.info("listening on {url}", url=bound.url)

    def stopService(self) -> Deferred[Any]:
        """Stop listening and close all connections."""
        super().stopService()  # type: ignore[no-untyped-call]
        return gatherResults([self._stop_listening(), self._site.close()])

    def _stop_listening(self) -> Deferred[Any]:
        ports, self._ports, self.bound = self._ports, [], []
        for port in ports:
            if self._announces:
                self._announces.release(port)
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])

    def _listen(self, endpoint: str) -> None:
        bound = self._first_free() if endpoint == AUTO else self._bind(endpoint)
        if not (self._guarded or is_loopback(bound)):
            raise SystemExit(
                f"refusing to listen on {bound.url}, which other machines reach, without a token:"
                " give --token-file FILE (a control token does not guard what nodes ask of each"
                " other), or --insecure to let anyone use this daemon"
            )

    def _first_free(self) -> Bound:
        for port in AUTO_PORTS:
            try:
                return self._try(f"tcp:{port}:interface=127.0.0.1")
            except CannotListenError:
                continue
        raise SystemExit("cannot listen: every port of 48000-48999 on 127.0.0.1 is taken")

    def _bind(self, endpoint: str) -> Bound:
        try:
            return self._try(endpoint)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error)
        except Exception as error:  # noqa: BLE001 - endpoint plugins raise what they like
            lacks = isinstance(error, LookupError) and endpoint.startswith("systemd:")
            reason = (
                "systemd passed no such socket" if lacks else f"{type(error).__name__}: {error}"
            )
        raise SystemExit(f"cannot listen on {endpoint}: {reason}")

    def _try(self, endpoint: str) -> Bound:
        port = _at_once(serverFromString(self._reactor, endpoint).listen(self._site))
        self._ports.append(port)
        bound = Bound.at(port.getHost(), tls=endpoint.startswith("ssl:"))
        self.bound.append(bound)
        # A port with another factory is one that wraps the site: in TLS, or the PROXY protocol.
        if (
            self._announces
            and isinstance(port, Port)
            and bound.port
            and port.factory is self._site
        ):
            self._announces.take(port)
        return bound


def _at_once(listening: Deferred[IListeningPort]) -> IListeningPort:
    """Return what has fired already; every endpoint that merely binds a socket has."""
    fired: list[IListeningPort | Failure] = []
    listening.addBoth(fired.append)
    if not fired:
        listening.cancel()
        raise ValueError("this kind of endpoint takes its time, which is not supported")
    if isinstance(fired[0], Failure):
        fired[0].raiseException()
    return fired[0]
