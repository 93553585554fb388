"""A reply that stays open: it says things when its client reads them, and shows that it lives."""

import math
from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.task import LoopingCall
from twisted.web.server import Request
from zope.interface import implementer

from p2pd.frontends.reader import Reader


@implementer(IPushProducer)
class OpenReply:
    """Writes what is said into a reply, and keeps it back while the client does not read.

    Each `every` seconds `beat` is written, so that a client that is gone is noticed.  One that
    lets more than `most_unread` bytes wait is cut off.  `closed` is called once nothing more is
    written, whoever ended it.
    """

    def __init__(
        self,
        request: Request,
        clock: IReactorTime,
        *,
        beat: bytes,
        every: float,
        closed: Callable[[], None],
        most_unread: float = math.inf,
    ) -> None:
        self._request = request
        self._closed = closed
        self._most_unread = most_unread
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._paused = False
        self._reader = Reader(request, clock)
        self._beating = LoopingCall(self._beat, beat)
        self._beating.clock = clock
        self._beating.start(every, now=False)
        request.registerProducer(self, True)

    @property
    def is_open(self) -> bool:
        """Whether anything more can be said."""
        return self._beating.running

    def say(self, text: bytes) -> None:
        """Write something, as soon as the client reads."""
        if not self._paused:
            self._request.write(text)
            return
        self._unread.append(text)
        self._unread_bytes += len(text)
        if self._unread_bytes > self._most_unread:
            self.close()
            cast("ITCPTransport", self._request.channel.transport).abortConnection()

    def close(self, last: bytes | None = None) -> None:
        """Say no more: with `last`, once what was kept back and this are written."""
        if not self.is_open:
            return
        if last is not None:
            self._write(last)
        self._beating.stop()
        self._reader.close()
        if self._request.channel is not None:
            self._request.unregisterProducer()
        self._closed()

    def _beat(self, beat: bytes) -> None:
        if not self._paused:
            self._request.write(beat)

    def _write(self, more: bytes = b"") -> None:
        text = b"".join([*self._unread, more])
        self._unread, self._unread_bytes = [], 0
        if text:
            self._request.write(text)

    def pauseProducing(self) -> None:
        """Keep back what is said until the client reads on."""
        self._paused = True
        self._reader.wait()

    def resumeProducing(self) -> None:
        """Write what was kept back."""
        self._paused = False
        self._reader.done()
        self._write()

    def stopProducing(self) -> None:
        """The client hung up."""
        self.close()
