"""One listener to what an entry holds: lines that are written as pieces arrive."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.web.server import Request
from zope.interface import implementer

from p2pd.frontends.ranges import Reader
from p2pd.node.entry import Entry
from p2pd.protocol.have import Alive, Bye, Event, Have, Holds, encode

_KEEP_ALIVE = 10.0


@implementer(IPushProducer)
class HaveStream:
    """Writes the lines of `p2pd.protocol.have` about one entry until either side ends it.

    What happens while the listener does not read is kept: at most one line a piece.
    """

    def __init__(self, request: Request, entry: Entry, clock: IReactorTime) -> None:
        self._request = request
        self._paused = False
        self._reader = Reader(request, clock)
        self._unsent: list[Event] = []
        self._timer = LoopingCall(self._keep_alive)
        self._timer.clock = clock
        self.ended: Deferred[None] = Deferred(lambda _: self._close())
        request.setHeader(b"Content-Type", b"text/plain; charset=us-ascii")
        request.setHeader(b"Cache-Control", b"no-store")
        request.registerProducer(self, True)
        self._unwatch = entry.watch(self)
        self._say(Holds(entry.held))
        self._timer.start(_KEEP_ALIVE, now=False)

    def has(self, index: int) -> None:
        """Say that a piece is here; see `Watcher`."""
        self._say(Have(index))

    def gone(self) -> None:
        """Say that nothing is served any more, and end; see `Watcher`."""
        self._say(Bye())
        self._close()
        self.ended.callback(None)

    def _keep_alive(self) -> None:
        if not self._paused:
            self._say(Alive())

    def _say(self, event: Event) -> None:
        if self._paused:
            self._unsent.append(event)
        else:
            self._request.write(encode(event))

    def pauseProducing(self) -> None:
        """Keep lines back until the listener reads on."""
        self._paused = True
        self._reader.wait()

    def resumeProducing(self) -> None:
        """Write what was kept back."""
        self._paused = False
        self._reader.done()
        unsent, self._unsent = self._unsent, []
        if unsent:
            self._request.write(b"".join(map(encode, unsent)))

    def stopProducing(self) -> None:
        """The listener hung up."""
        self._close()

    def _close(self) -> None:
        self._unwatch()
        self._reader.done()
        if self._timer.running:
            self._timer.stop()
        if self._request.channel is not None:
            self._request.unregisterProducer()
