"""Byte ranges for raw resources: the head of a reply, and a body sent from open files."""

import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.python.failure import Failure
from twisted.web.http import CACHED
from twisted.web.server import Request
from werkzeug.http import parse_range_header
from zope.interface import implementer

from p2pd.node.entry import Entry
from p2pd.node.ports import Extent
from p2pd.swarm.rates import TokenBucket

_CHUNK = 256 * 1024
_SMALLEST_CHUNK = 4096
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Uplink:
    """What all senders of a node share: its clock and its upload limit."""

    clock: IReactorTime
    limit: TokenBucket


class Reader:
    """The client that reads a reply: broken off if it takes nothing for a minute."""

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._deadline: IDelayedCall | None = None

    def wait(self) -> None:
        """Note that the client must read before more can be written."""
        if self._deadline is None:
            self._deadline = self._clock.callLater(_PATIENCE, self._give_up)

    def done(self) -> None:
        """Note that it has read, or that nothing more is to be written."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._request.channel is not None:
            cast("ITCPTransport", self._request.channel.transport).abortConnection()


def begin(request: Request, length: int, etag: bytes, content_type: bytes) -> range | None:
    """Write the head of a reply; the range of bytes to send, or None if no body follows.

    Knows Range (one range), If-Range, If-None-Match and HEAD (RFC 9110).
    """
    headers = request.responseHeaders
    headers.setRawHeaders(b"Content-Type", [content_type])
    headers.setRawHeaders(b"Accept-Ranges", [b"bytes"])
    headers.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
    if request.setETag(b'"%b"' % etag) is CACHED:
        return None
    wanted = range(length)
    asked = request.getHeader(b"range")
    if (
        asked
        and request.method == b"GET"
        and request.getHeader(b"if-range") in (None, b'"%b"' % etag)
    ):
        parsed = parse_range_header(asked.decode("latin-1"))
        if parsed is not None and parsed.units == "bytes" and len(parsed.ranges) == 1:
            bounds = parsed.range_for_length(length)
            if bounds is None:
                request.setResponseCode(416)
                headers.setRawHeaders(b"Content-Range", [b"bytes */%d" % length])
                headers.setRawHeaders(b"Content-Length", [b"0"])
                return None
            wanted = range(*bounds)
            request.setResponseCode(206)
            headers.setRawHeaders(
                b"Content-Range", [b"bytes %d-%d/%d" % (wanted.start, wanted.stop - 1, length)]
            )
    headers.setRawHeaders(b"Content-Length", [b"%d" % len(wanted)])
    return None if request.method == b"HEAD" else wanted


def sender_of(request: Request) -> str:
    """The name that a peer gives itself, or its address."""
    name = request.getHeader(b"p2pd-node")
    return name.decode("latin-1")[:128] if name else str(request.getClientAddress().host)


@implementer(IPushProducer)
class Sending:
    """Sends some extents as part of a reply's body, at the uplink's rate.

    `done` fires when the last byte was handed to the transport, or fails with ConnectionLost,
    or with what kept the bytes from being read.
    """

    def __init__(
        self,
        request: Request,
        extents: Generator[Extent, None, None],
        uplink: Uplink,
        entry: Entry,
    ) -> None:
        self._request = request
        self._extents = extents
        self._uplink = uplink
        self._entry = entry
        self._peer = sender_of(request)
        self._current: Extent | None = None
        self._paused = False
        self._reader = Reader(request, uplink.clock)
        self._wait: IDelayedCall | None = None
        rate = uplink.limit.rate
        self._chunk = min(_CHUNK, max(_SMALLEST_CHUNK, int(rate / 8))) if rate else _CHUNK
        self.done: Deferred[None] = Deferred(lambda _: self._end())
        request.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Hold back until the transport has room."""
        self._paused = True
        self._reader.wait()

    def resumeProducing(self) -> None:
        """Write until the transport has enough."""
        self._paused = False
        self._reader.done()
        while not (self._paused or self._wait or self.done.called):
            try:
                data = self._next()
            except Exception as error:  # noqa: BLE001 - whoever waits for `done` hears of it
                self._fail(error)
                return
            if data is None:
                self._end()
                self.done.callback(None)
                return
            now = self._uplink.clock.seconds()
            delay = self._uplink.limit.reserve(len(data), now)
            if delay > 0:
                self._wait = self._uplink.clock.callLater(delay, self._write_late, data)
            else:
                self._write(data)

    def stopProducing(self) -> None:
        """The peer hung up."""
        self._fail(ConnectionLost())

    def _next(self) -> bytes | None:
        while self._current is None or not self._current.length:
            self._current = next(self._extents, None)
            if self._current is None:
                return None
        extent = self._current
        count = min(self._chunk, extent.length)
        if extent.fileno is None:
            data = bytes(count)
        else:
            data = os.pread(extent.fileno, count, extent.offset)
            if not data:
                raise OSError("the file became shorter")
        self._current = Extent(extent.fileno, extent.offset + len(data), extent.length - len(data))
        return data

    def _write_late(self, data: bytes) -> None:
        self._wait = None
        self._write(data)
        if not self._paused:
            self.resumeProducing()

    def _write(self, data: bytes) -> None:
        self._entry.sent(self._peer, len(data), self._uplink.clock.seconds())
        self._request.write(data)

    def _end(self) -> None:
        self._extents.close()
        self._reader.done()
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None
        if self._request.channel is not None:
            self._request.unregisterProducer()

    def _fail(self, error: Exception) -> None:
        if not self.done.called:
            self._end()
            self.done.errback(Failure(error))
