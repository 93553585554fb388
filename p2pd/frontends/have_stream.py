"""What an entry holds, told to all who listen: lines that are written as pieces arrive."""

from collections.abc import Callable
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.server import Request

from p2pd.frontends.open_reply import OpenReply
from p2pd.node.entry import Entry
from p2pd.protocol.have import MOST_NAMED, Alive, Bye, Have, Holds, Promised, encode
from p2pd.swarm.news import News

_KEEP_ALIVE = 10.0


class Board:
    """Gathers the news of one entry, and tells them to all its listeners alike."""

    def __init__(self, entry: Entry, clock: IReactorTime) -> None:
        self.entry = entry
        self.clock = clock
        self._news = News()
        self._streams: dict[HaveStream, None] = {}
        self._timer: IDelayedCall | None = None
        self._unwatch: Callable[[], None] | None = None

    def join(self, stream: "HaveStream") -> None:
        """Tell one more."""
        self._streams[stream] = None
        if self._unwatch is None:
            self._unwatch = self.entry.watch(self)

    def leave(self, stream: "HaveStream") -> None:
        """Tell one less."""
        self._streams.pop(stream, None)
        if not self._streams and self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
            self._take()  # nobody is there to hear it

    def has(self, index: int, *, rare: bool) -> None:
        """Say that a piece is here; see `Watcher`."""
        self._news.had(index, self.clock.seconds(), rare=rare)
        self._arm()

    def promised(self, index: int) -> None:
        """Say that somebody is getting a piece; see `Watcher`."""
        self._news.promised(index, self.clock.seconds())
        self._arm()

    def gone(self) -> None:
        """Say that nothing is served any more, and end; see `Watcher`."""
        lines = self._take() + encode(Bye())
        for stream in tuple(self._streams):
            stream.end(lines)

    def _arm(self) -> None:
        if self._timer is not None:
            if self._timer.getTime() <= self._news.due:
                return
            self._timer.cancel()
        wait = max(self._news.due - self.clock.seconds(), 0.0)
        self._timer = self.clock.callLater(wait, self._tell)

    def _tell(self) -> None:
        self._timer = None
        lines = self._take()
        for stream in tuple(self._streams):
            stream.say(lines)

    def _take(self) -> bytes:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return lines_of(*self._news.take(self.clock.seconds()))


class Boards:
    """The boards of all entries that somebody listens to."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._boards: WeakValueDictionary[Entry, Board] = WeakValueDictionary()

    def of(self, entry: Entry) -> Board:
        """The board of an entry, which is there as long as somebody keeps it."""
        board = self._boards.get(entry)
        if board is None:
            board = self._boards[entry] = Board(entry, self._clock)
        return board


def lines_of(had: list[int], promised: list[int]) -> bytes:
    """Write news as lines of `p2pd.protocol.have`."""
    return _lines(Promised, promised) + _lines(Have, had)


def _lines(event: Callable[[tuple[int, ...]], Have | Promised], indexes: list[int]) -> bytes:
    starts = range(0, len(indexes), MOST_NAMED)
    return b"".join(encode(event(tuple(indexes[at : at + MOST_NAMED]))) for at in starts)


class HaveStream(OpenReply):
    """One listener: writes the lines of `p2pd.protocol.have` until either side ends it.

    What happens while the listener does not read is kept: at most two numbers a piece.
    """

    def __init__(self, request: Request, board: Board) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self.close())
        request.setHeader(b"Content-Type", b"text/plain; charset=us-ascii")
        request.setHeader(b"Cache-Control", b"no-store")
        super().__init__(
            request,
            board.clock,
            beat=encode(Alive()),
            every=_KEEP_ALIVE,
            closed=lambda: board.leave(self),
        )
        entry = board.entry
        self.say(encode(Holds(entry.held)) + lines_of([], list(entry.promised)))
        board.join(self)

    def end(self, lines: bytes) -> None:
        """Write the last lines."""
        self.close(lines)
        self.ended.callback(None)
