"""One listener to what an entry holds: lines that are written as pieces arrive."""

from collections.abc import Callable
from math import inf

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.web.server import Request
from zope.interface import implementer

from p2pd.frontends.reader import Reader
from p2pd.node.entry import Entry
from p2pd.protocol.have import MOST_NAMED, Alive, Bye, Have, Holds, Promised, encode

_KEEP_ALIVE = 10.0
# What happens within so long of the last lines is told together, for each packet costs both
# sides more than all that it says.  Promises keep a seed from sending a piece twice: they hurry.
_GATHERED = 0.1
_HURRIED = 0.02


@implementer(IPushProducer)
class HaveStream:
    """Writes the lines of `p2pd.protocol.have` about one entry until either side ends it.

    What happens while the listener does not read is kept: at most two numbers a piece.
    """

    def __init__(self, request: Request, entry: Entry, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._paused = False
        self._reader = Reader(request, clock)
        self._had: list[int] = []
        self._promised: list[int] = list(entry.promised)
        self._written = -inf
        self._gathering: IDelayedCall | None = None
        self._timer = LoopingCall(self._keep_alive)
        self._timer.clock = clock
        self.ended: Deferred[None] = Deferred(lambda _: self._close())
        request.setHeader(b"Content-Type", b"text/plain; charset=us-ascii")
        request.setHeader(b"Cache-Control", b"no-store")
        request.registerProducer(self, True)
        self._unwatch = entry.watch(self)
        request.write(encode(Holds(entry.held)))
        self._tell(0.0)
        self._timer.start(_KEEP_ALIVE, now=False)

    def has(self, index: int) -> None:
        """Say that a piece is here; see `Watcher`."""
        self._had.append(index)
        self._tell(_GATHERED)

    def promised(self, index: int) -> None:
        """Say that somebody is getting a piece; see `Watcher`."""
        self._promised.append(index)
        self._tell(_HURRIED)

    def gone(self) -> None:
        """Say that nothing is served any more, and end; see `Watcher`."""
        self._write(self._gathered() + encode(Bye()))
        self._close()
        self.ended.callback(None)

    def _keep_alive(self) -> None:
        if not self._paused:
            self._write(encode(Alive()))

    def _tell(self, gathered: float) -> None:
        if self._paused:
            return
        now = self._clock.seconds()
        due = self._written + gathered
        if due <= now:
            self._gather()
        elif self._gathering is None:
            self._gathering = self._clock.callLater(due - now, self._gather)
        elif due < self._gathering.getTime():
            self._gathering.reset(due - now)

    def _gather(self) -> None:
        if self._gathering is not None and self._gathering.active():
            self._gathering.cancel()
        self._gathering = None
        if not self._paused and (lines := self._gathered()):
            self._write(lines)

    def _gathered(self) -> bytes:
        """Take what there is to tell, as lines."""
        had, self._had = self._had, []
        promised, self._promised = self._promised, []
        return _lines(Promised, promised) + _lines(Have, had)

    def _write(self, lines: bytes) -> None:
        self._written = self._clock.seconds()
        self._request.write(lines)

    def pauseProducing(self) -> None:
        """Keep lines back until the listener reads on."""
        self._paused = True
        self._reader.wait()

    def resumeProducing(self) -> None:
        """Write what was kept back."""
        self._paused = False
        self._reader.done()
        self._tell(0.0)

    def stopProducing(self) -> None:
        """The listener hung up."""
        self._close()

    def _close(self) -> None:
        self._unwatch()
        self._reader.close()
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._timer.running:
            self._timer.stop()
        if self._request.channel is not None:
            self._request.unregisterProducer()


def _lines(event: Callable[[tuple[int, ...]], Have | Promised], indexes: list[int]) -> bytes:
    starts = range(0, len(indexes), MOST_NAMED)
    return b"".join(encode(event(tuple(indexes[at : at + MOST_NAMED]))) for at in starts)
