"""Sends bytes of files as replies: by sendfile where the connection is plain TCP.

Every sender waits for its turn first, and then for what the rate limits allow.
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Generator, Sequence
from math import inf
from typing import Any, cast

from twisted.internet import main, tcp
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from p2pd.errors import Busy
from p2pd.frontends.reader import Reader, name_of
from p2pd.node.entry import Entry
from p2pd.node.ports import Extent
from p2pd.node.throttle import Throttle
from p2pd.swarm.uploads import Uploads

_CHUNK = 256 * 1024
_MOST_AT_ONCE = 1024 * 1024
_READ_AHEAD = 128 * 1024
# What lies in the socket cannot be held back any more, whoever else has its turn.
_UNSENT = 256 * 1024
_HUNG_UP = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ETIMEDOUT})


class Uplink:
    """What all senders of a node share: its upload slots and its rate limit."""

    def __init__(self, throttle: Throttle, uploads: Uploads) -> None:
        self.throttle = throttle
        self.clock = throttle.clock
        self._uploads = uploads
        self._turns: deque[Deferred[None]] = deque()
        self._beginning = False
        self._timer: IDelayedCall | None = None

    async def send(
        self,
        request: Request,
        entry: Entry,
        extents: Generator[Extent, None, None],
        size: int,
        *,
        pieces: Sequence[int] = (),
        behind: float = inf,
    ) -> None:
        """Send extents of `size` bytes as part of a reply's body, when it is their turn.

        Returns when the last byte was handed to the transport.  Raises `Busy` if too many wait
        already, or more than it would wait `behind`, or if the entry may have no more uploads,
        and else books that `pieces` were asked for.
        Raises ConnectionLost, or what kept the bytes from being read.
        """
        most = entry.job.options.max_uploads
        if most and entry.uploads >= most:
            raise Busy("as many as may are getting pieces of this download: ask again later")
        turn: Deferred[None] = Deferred()

        def begin() -> None:
            self._turns.append(turn)

        upload = self._uploads.ask(
            name_of(request), size, begin, self.clock.seconds(), behind=behind
        )
        if upload is None:
            raise Busy("too many are waiting for pieces of this node: ask again later")
        entry.uploads += 1
        try:
            for index in pieces:
                entry.asked_for(index)
            self._begin()
            await turn
            await Sending(request, extents, self.throttle, entry).done
        finally:
            entry.uploads -= 1
            extents.close()
            self._uploads.done(upload, self.clock.seconds())
            self._begin()

    def _begin(self) -> None:
        """Begin what has got a slot; in turn, for each may end, and free it, at once."""
        if self._beginning:
            return
        self._beginning = True
        while self._turns:
            self._turns.popleft().callback(None)
        self._beginning = False
        self._arm()

    def _arm(self) -> None:
        if not self._uploads.waiting:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            deadline = self._uploads.next_deadline()
            if deadline is not None:
                wait = max(deadline - self.clock.seconds(), 0.01)
                self._timer = self.clock.callLater(wait, self._look)

    def _look(self) -> None:
        self._timer = None
        self._uploads.overdue(self.clock.seconds())
        self._begin()


@implementer(IPushProducer)
class Sending:
    """Sends some extents at once, at the rate that is allowed.

    `done` fires when the last byte was handed to the transport, or fails with ConnectionLost,
    or with what kept the bytes from being read.
    """

    def __init__(
        self,
        request: Request,
        extents: Generator[Extent, None, None],
        throttle: Throttle,
        entry: Entry,
    ) -> None:
        self._request = request
        self._extents = extents
        self._clock = throttle.clock
        self._entry = entry
        self._peer = name_of(request)
        self._stream = throttle.stream(self._peer, entry.upload_limit, go=self._go)
        self._allowed = 0
        self._current = Extent(None, 0, 0)
        self._paused = False
        self._in_line = False
        self._reader = Reader(request, self._clock)
        self._direct: _Direct | None = None
        self.done: Deferred[None] = Deferred(lambda _: self._end())
        request.registerProducer(self, True)
        transport = request.channel.transport
        if isinstance(transport, tcp.Connection):
            self._guarded(lambda: self._begin(transport))
        else:
            self.resumeProducing()

    # -- as the transport's producer, where bytes must pass through the process

    def pauseProducing(self) -> None:
        """Hold back until the transport has room."""
        self._paused = True
        self._reader.wait()

    def resumeProducing(self) -> None:
        """Write until the transport has enough."""
        self._paused = False
        self._reader.done()
        while self._direct is None and not (self._paused or self._in_line or self.done.called):
            self._guarded(self._write)

    def stopProducing(self) -> None:
        """The peer hung up."""
        self._fail(ConnectionLost())

    def _write(self) -> None:
        if not self._advance():
            return
        count = self._let(_CHUNK)
        if count:
            data = self._read(count)
            self._sent(len(data))
            self._request.write(data)

    def _read(self, count: int) -> bytes:
        extent = self._current
        if extent.fileno is None:
            return bytes(_some(extent, count))
        data = os.pread(extent.fileno, count, extent.offset)
        if not data:
            raise OSError("the file became shorter")
        return data

    # -- in the transport's place, where the kernel can do it

    def _begin(self, transport: tcp.Connection) -> None:
        # What cannot be opened is refused before the head is out.
        if self._advance():
            self._request.write(b"")
            self._direct = _Direct(transport, self._send)
            self._direct.go_on()

    def _send(self) -> object:
        return self._guarded(self._send_some)

    def _send_some(self) -> object:
        assert self._direct is not None
        budget = _MOST_AT_ONCE
        while budget:
            if not self._advance():
                return None
            count = self._let(budget)
            if not count:
                self._direct.rest()
                return None
            try:
                sent = self._direct.send(self._current, count)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in _HUNG_UP:
                    raise
                self._direct.hand_back()
                return main.CONNECTION_LOST
            if not sent:
                raise OSError("the file became shorter")
            self._reader.done()
            self._sent(sent)
            budget = budget - sent if sent == count else 0  # there is no room for the rest
        self._reader.wait()
        self._direct.wait()
        return None

    # -- both

    def _guarded(self, step: Any) -> object:
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - whoever waits for `done` hears of it
            self._fail(error)
            return None

    def _advance(self) -> bool:
        """Come to an extent with bytes to send; False if there is none, and all is done."""
        while not self._current.length:
            following = next(self._extents, None)
            if following is None:
                self._end()
                self.done.callback(None)
                return False
            self._current = following
            if following.fileno is not None and following.length >= _READ_AHEAD:
                # Sending would wait for the disk; this does not.
                os.posix_fadvise(
                    following.fileno, following.offset, following.length, os.POSIX_FADV_WILLNEED
                )
        return True

    def _let(self, most: int) -> int:
        """Give how many bytes may go now; 0: `_go` will tell."""
        count = min(most, self._current.length)
        if not self._stream.limited:
            return count
        if not self._allowed:
            self._allowed = self._stream.take(count)
            self._in_line = not self._allowed
        return min(count, self._allowed)

    def _go(self, count: int) -> None:
        self._allowed = count
        self._in_line = False
        if self._direct is not None:
            self._direct.go_on()
        elif not self._paused:
            self.resumeProducing()

    def _sent(self, count: int) -> None:
        extent = self._current
        self._current = Extent(
            extent.fileno, extent.offset + count, extent.length - count, extent.memory
        )
        self._allowed = max(self._allowed - count, 0)
        self._entry.sent(self._peer, count, self._clock.seconds())

    def _end(self) -> None:
        if self._direct is not None:
            self._direct.hand_back()
        self._stream.give_back(self._allowed)
        self._allowed = 0
        self._stream.close()
        self._reader.close()
        if self._request.channel is not None:
            self._request.unregisterProducer()

    def _fail(self, error: Exception) -> None:
        if not self.done.called:
            self._end()
            self.done.errback(Failure(error))


class _Direct:
    """Stands in for a transport's writing, once all that was written before is out."""

    def __init__(self, transport: tcp.Connection, send: Any) -> None:
        self._transport = cast("Any", transport)
        self._socket: socket.socket = self._transport.socket
        self._send = send
        if self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        self._transport.doWrite = self._write
        self._transport.writeSomeData = self._write_before

    def _write(self) -> object:
        transport = self._transport
        if len(transport.dataBuffer) - transport.offset + transport._tempDataLen:  # noqa: SLF001
            result = type(transport).doWrite(transport)
            if result is not None:
                self.hand_back()
                return result
            if transport.dataBuffer:
                return None
        return self._send()

    def _write_before(self, data: bytes) -> int | Exception:
        """Write a head so that it leaves with the first bytes of the body."""
        try:
            return self._socket.send(data, socket.MSG_MORE)
        except BlockingIOError:
            return 0
        except OSError:
            return main.CONNECTION_LOST

    def send(self, extent: Extent, count: int) -> int:
        """Send up to `count` bytes of an extent; raises BlockingIOError if there is no room."""
        if extent.fileno is None:
            return self._socket.send(_some(extent, count))
        return os.sendfile(self._socket.fileno(), extent.fileno, extent.offset, count)

    def wait(self) -> None:
        """Ask for more as soon as there is room."""
        self._transport.startWriting()

    def rest(self) -> None:
        """Do not ask for more until `go_on`."""
        self._transport.stopWriting()

    def go_on(self) -> None:
        """Ask for more at once, for there is room most of the time."""
        if self._write() is not None:
            self._transport.abortConnection()

    def hand_back(self) -> None:
        """Let the transport write by itself again."""
        transport = self._transport
        if vars(transport).get("doWrite") == self._write:  # not if it was given up meanwhile
            del transport.doWrite, transport.writeSomeData
            transport.stopWriting()


def _some(extent: Extent, count: int) -> memoryview:
    return memoryview(extent.memory)[extent.offset : extent.offset + count]
