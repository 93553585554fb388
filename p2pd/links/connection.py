"""A client's connection: heads are bounded, and bodies can go past the parser into memory.

Twisted hands bodies on in copies of 64 KiB, which costs more than all else that happens to a
piece. Where the transport is plain TCP, `take_over` therefore lets its caller read the socket
itself; the parser is told when the body is through, and goes on with the next response as ever.
"""

import re
import socket
from collections.abc import Callable
from typing import Any, TypeVar, cast

from treq.response import _Response
from twisted.internet import tcp
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS, HTTP11ClientProtocol
from twisted.web.client import _HTTP11ClientFactory
from twisted.web.http import _IdentityTransferDecoder
from twisted.web.iweb import IResponse

from p2pd.links import tls

T = TypeVar("T")

_HEAD_LIMIT = 256 * 1024
# With a head comes little of its body, which no limit has let through yet.
_HEAD_READ = 4096
_OTHER = rb"(?:(?:Server|Date|Content-Type): [ -~]*\r\n)*"
# What a good answer to a GET begins with. Only its length matters here: nobody asks for the rest.
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 200 OK\r\n"
    + _OTHER
    + rb"Content-Length: ([1-9][0-9]{0,14})\r\n"
    + _OTHER
    + rb"\r\n"
)


class Connection(HTTP11ClientProtocol):
    """Breaks off when a response's head, interim ones included, does not end."""

    _head = 0
    _parsing = False
    _paused = False

    def request(self, request: Any) -> Deferred[IResponse]:
        """Send a request; its response remembers the connection it comes by."""
        self._head = 0
        self._paused = False
        transport = cast("Any", self.transport)
        plain = isinstance(transport, tcp.Connection)
        if plain:
            transport.bufferSize = _HEAD_READ
        answering: Deferred[IResponse] = super().request(request)
        if self._transportProxy is not None:
            self._transportProxy._producer = self  # noqa: SLF001 - see pauseProducing
        if plain and transport.connected:
            transport.doWrite()  # the reactor would only come back to it
        return answering.addCallback(self._sign)

    def _sign(self, response: IResponse) -> IResponse:
        vars(self.transport).pop("bufferSize", None)
        cast("Any", response).connection = self
        return response

    def dataReceived(self, data: bytes) -> None:
        """Parse some bytes."""
        self._parsing = True
        if data := self._skip_head(data):
            super().dataReceived(data)  # type: ignore[no-untyped-call]
        self._parsing = False
        if self._paused and self._parser is not None:
            cast("Any", self.transport).pauseProducing()
        if self._parser is not None and self._parser.state in (STATUS, HEADER):
            self._head += len(data)
            if self._head > _HEAD_LIMIT:
                cast("ITCPTransport", self.transport).abortConnection()

    def _skip_head(self, data: bytes) -> bytes:
        """Let the parser know of a plain head in short, and give what follows it.

        To parse all of it, line by line, would be a tenth of what a piece costs on this side.
        """
        parser = cast("Any", self._parser)
        if self._head or parser is None or parser.state != STATUS:
            return data
        plain = _PLAIN_HEAD.match(data) if parser.request.method == b"GET" else None
        if plain is None:
            return data
        parser.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % plain[1])
        return data[plain.end() :]

    # -- what the parser sees of the transport

    def pauseProducing(self) -> None:
        """Read no more, once what was read is parsed: the parser mostly reads on by then."""
        self._paused = True
        if not self._parsing:
            cast("Any", self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._paused = False
        cast("Any", self.transport).resumeProducing()

    def stopProducing(self) -> None:
        """Close the connection."""
        cast("Any", self.transport).stopProducing()

    def loseConnection(self) -> None:
        """Close the connection."""
        cast("ITCPTransport", self.transport).loseConnection()

    # -- bodies past the parser

    def take_over(self, read: Callable[[], object], left: int) -> socket.socket | None:
        """Call `read` whenever the socket has bytes of the body, until `hand_back`.

        Gives the socket; None if that cannot be: it is not plain TCP, or not `left` bytes are to
        come. `read` returns as `IReadDescriptor.doRead` does.
        """
        transport = self.transport
        decoder = getattr(self._parser, "bodyDecoder", None)
        if not isinstance(transport, tcp.Connection) or transport.disconnecting:
            return None
        if not isinstance(decoder, _IdentityTransferDecoder) or decoder.contentLength != left:
            return None
        cast("Any", transport).doRead = read
        return cast("socket.socket", transport.socket)

    def hand_back(self) -> None:
        """Let the transport read by itself again."""
        vars(self.transport).pop("doRead", None)

    def body_ended(self) -> None:
        """Let the parser know that all of the body was read, by the byte that it waits for."""
        parser = cast("Any", self._parser)
        parser.bodyDecoder.contentLength = 1
        parser.rawDataReceived(b"\0")


class QuietFactory(_HTTP11ClientFactory):
    """Logs nothing when a connection comes or goes."""

    noisy = False

    def buildProtocol(self, _address: Any) -> Connection:
        """Make a connection's protocol."""
        return Connection(self._quiescentCallback)  # type: ignore[no-untyped-call]


def connection_of(response: IResponse) -> Connection | None:
    """Return the connection that a response comes by, if it is one of ours."""
    signed = response.original if isinstance(response, _Response) else response
    return getattr(signed, "connection", None)


def bounded(asking: Deferred[T], seconds: float, clock: IReactorTime) -> Deferred[T]:
    """Give a request up after some time; it fails as any Deferred does then, or if cancelled."""
    return asking.addErrback(_unwrapped).addTimeout(seconds, clock)


def _unwrapped(failure: Failure) -> Failure:
    """Twisted's client wraps a cancellation among the reasons for which nothing came."""
    reasons = getattr(failure.value, "reasons", None) or ()
    return next((reason for reason in reasons if reason.check(CancelledError)), failure)


def reason_of(error: BaseException | None) -> str:
    """Return the words of an error; of the first one where Twisted wraps several."""
    reasons = getattr(error, "reasons", None)
    if reasons and isinstance(reasons[0], Failure):
        return reason_of(reasons[0].value)
    return tls.fault(error) or str(error) or type(error).__name__
