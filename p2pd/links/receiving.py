"""Reads a response's body into memory, in large reads, at the rates that are allowed."""

import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

from twisted.internet import main
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from p2pd.errors import Unavailable
from p2pd.links.connection import Connection, connection_of, reason_of
from p2pd.node.throttle import Throttle
from p2pd.swarm.rates import TokenBucket

# The socket wakes us for so many bytes at once as it gives in so long, within bounds.
_WAKE_EVERY = 0.5
_LEAST_WATERMARK = 16 * 1024
_MOST_WATERMARK = 256 * 1024


class Rooms:
    """Memory to fill, one room after the other; `received` hears byte counts, `full` of each end.

    A room is asked for when its first bytes are there.
    """

    def __init__(
        self,
        rooms: Iterator[memoryview],
        length: int,
        *,
        received: Callable[[int], None],
        full: Callable[[], None] = lambda: None,
    ) -> None:
        self.length = length
        self.left = length
        self._rooms = rooms
        self._received = received
        self._full = full
        self._rest = memoryview(b"")
        self._closed = False

    def close(self) -> None:
        """Fill nothing more in."""
        self._closed = True

    def rest(self) -> memoryview:
        """What is still to be filled of the present room, which is never nothing."""
        if not self._rest:
            self._rest = next(self._rooms)
        return self._rest

    @property
    def wanted(self) -> int:
        """The bytes that are missing for something to be full."""
        return len(self._rest) or self.left

    def add(self, count: int) -> None:
        """Note that so many bytes more are in what `rest` gave."""
        self._rest = self._rest[count:]
        self.left -= count
        self._received(count)
        if not self._rest:
            self._full()

    def put(self, data: bytes) -> None:
        """Fill in bytes, of which there are no more than are left."""
        view = memoryview(data)
        while view and not self._closed:
            rest = self.rest()
            part = view[: len(rest)]
            rest[: len(part)] = part
            self.add(len(part))
            view = view[len(part) :]


def receive(
    response: IResponse, rooms: Rooms, throttle: Throttle, *limits: TokenBucket
) -> Deferred[None]:
    """Read a body that is as long as the rooms.

    Fails with `Unavailable` if it is shorter or longer, or cannot be read to its end.
    """
    connection = connection_of(response)
    receiving = _Receiving(rooms, connection, throttle, limits)
    response.deliverBody(receiving)
    receiving.take_over()
    return receiving.done


class _Receiving(Protocol):
    """Takes a body from the parser or, where it can, from the socket."""

    def __init__(
        self,
        rooms: Rooms,
        connection: Connection | None,
        throttle: Throttle,
        limits: tuple[TokenBucket, ...],
    ) -> None:
        self._rooms = rooms
        self._connection = connection
        self._clock: IReactorTime = throttle.clock
        # All that is read under the same limits has one share.
        self._stream = throttle.stream(limits or id(self), *limits, go=self._go)
        self._allowed = 0
        self._unpaid = 0
        self._direct: _Socket | None = None
        self._finished = False
        self._ended = False
        self._heard = False
        self._watching: IDelayedCall | None = None
        self.done: Deferred[None] = Deferred(lambda _: self._break_off())

    # -- from the parser

    def dataReceived(self, data: bytes) -> None:
        if self.done.called or self._finished:
            return
        if len(data) > self._rooms.left:
            self._fail("the body is longer than it should be")
            return
        self._rooms.put(data)
        if self._stream.limited:
            self._unpaid += len(data)
            self._pay()

    def _pay(self) -> None:
        while self._unpaid:
            count = self._stream.take(self._unpaid)
            if not count:
                self._pause()
                return
            self._unpaid -= count

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        if self._unpaid and not self._rooms.left and not self.done.called:
            return  # until all of it is paid for
        self._release()
        if self.done.called:
            return
        if not reason.check(ResponseDone, PotentialDataLoss):
            self._fail(f"the connection broke: {reason_of(reason.value)}")
        elif self._rooms.left:
            got = self._rooms.length - self._rooms.left
            self._fail(f"the body ended after {got} of {self._rooms.length} bytes")
        else:
            self.done.callback(None)

    # -- from the socket

    def take_over(self) -> None:
        """Read the socket from its next bytes on, where that can be.

        What was read with the head may still come from the parser.
        """
        if self._rooms.left and not self.done.called and self._connection is not None:
            taken = self._connection.take_over(self._read, self._rooms.left)
            if taken is not None:
                self._direct = _Socket(taken, self._clock.seconds())
                self._watch()

    def _watch(self) -> None:
        """Hear of every byte from who has become slow: it might pass for dead else."""
        assert self._direct is not None
        if not self._heard:
            self._direct.wake_at(1)
        self._heard = False
        self._watching = self._clock.callLater(_WAKE_EVERY, self._watch)

    def _read(self) -> object:
        assert self._direct is not None
        rest = self._rooms.rest()
        limited = self._stream.limited
        if limited:
            allowed = self._allowed or self._stream.take(len(rest))
            if not allowed:
                self._pause()
                return None
            self._allowed = allowed
            rest = rest[:allowed]
        count = self._direct.read_into(rest)
        if count is None:
            return None
        if not count:
            self._release()
            return main.CONNECTION_LOST
        if limited:
            self._stream.give_back(max(self._allowed - count, 0))
            self._allowed = 0
        self._heard = True
        self._rooms.add(count)
        if self.done.called:
            return None  # whoever heard of the bytes wants no more
        if not self._rooms.left:
            self._finish()
        elif limited:
            self._direct.wake_at(1)
        else:
            self._direct.adapt(count, self._rooms.wanted, self._clock.seconds())
        return None

    def _finish(self) -> None:
        self._release()
        self._finished = True
        assert self._connection is not None
        self._connection.body_ended()

    # -- both

    def _pause(self) -> None:
        cast("Any", self.transport).pauseProducing()

    def _go(self, count: int) -> None:
        if self._unpaid:
            self._unpaid -= count
            self._pay()
        else:
            self._allowed = count
        if self._unpaid:
            return
        if self._ended:
            self._release()
            self.done.callback(None)
        else:
            cast("Any", self.transport).resumeProducing()

    def _release(self) -> None:
        """Let go of the socket and of the place in line."""
        self._stream.give_back(self._allowed)
        self._allowed = 0
        self._stream.close()
        if self._watching is not None and self._watching.active():
            self._watching.cancel()
        if self._direct is not None and self._connection is not None:
            self._direct.wake_at(1)
            self._connection.hand_back()

    def _fail(self, reason: str) -> None:
        self._break_off()
        if not self.done.called:
            self.done.errback(Failure(Unavailable(reason)))

    def _break_off(self) -> None:
        self._rooms.close()
        self._release()
        if self.transport is not None:
            cast("Any", self.transport).loseConnection()


class _Socket:
    """Reads from a socket, woken for many bytes at once if they come fast."""

    def __init__(self, taken: socket.socket, now: float) -> None:
        self._socket = taken
        self._woken_at = 1
        self._began = now
        self._read = 0

    def read_into(self, room: memoryview) -> int | None:
        """Count the bytes read; None if there are none yet, 0 if there never will be."""
        try:
            return self._socket.recv_into(room)
        except BlockingIOError:
            return None
        except OSError:
            return 0

    def adapt(self, count: int, wanted: int, now: float) -> None:
        """Choose how many of `wanted` bytes to be woken for, having read some."""
        self._read += count
        fast = _WAKE_EVERY * self._read / max(now - self._began, 0.001)
        watermark = int(max(_LEAST_WATERMARK, min(_MOST_WATERMARK, fast)))
        self.wake_at(min(watermark, wanted))

    def wake_at(self, count: int) -> None:
        """Be woken when so many bytes are there, or the connection ends."""
        if count != self._woken_at and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._woken_at = count
