"""The client at the other end of a reply: who it is, and whether it still reads."""

from typing import cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.web.server import Request

_PATIENCE = 60.0


def name_of(request: Request) -> str:
    """The name that a peer gives itself, or its address."""
    name = request.getHeader(b"p2pd-node")
    if name:
        return name.decode("latin-1")[:128]
    return str(getattr(request.getClientAddress(), "host", "a local socket"))


class Reader:
    """Breaks a reply off if its client takes nothing for a minute; `close` must be called."""

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._waiting_since: float | None = None
        self._timer: IDelayedCall | None = None

    def wait(self) -> None:
        """Note that the client must read before more can be written."""
        if self._waiting_since is None:
            self._waiting_since = self._clock.seconds()
            if self._timer is None:
                self._timer = self._clock.callLater(_PATIENCE, self._look)

    def done(self) -> None:
        """Note that it has read."""
        self._waiting_since = None

    def close(self) -> None:
        """Note that nothing more is to be written."""
        self._waiting_since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._waiting_since is None:
            return
        left = self._waiting_since + _PATIENCE - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look)
        elif self._request.channel is not None:
            cast("ITCPTransport", self._request.channel.transport).abortConnection()
