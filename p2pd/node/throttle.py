"""One direction of a node's traffic: keeps its rate limit and those of its torrents, fairly."""

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from p2pd.swarm.rates import TokenBucket
from p2pd.swarm.turns import Flow, Turns

# The clock's own grain would make a wait of less end at the same time that it began.
_LEAST_WAIT = 0.001


class Throttle:
    """Lets all that goes one way through, at most `rate` bytes/s of it (0: no limit).

    For example, for a sender of a torrent's pieces to a peer::

        stream = throttle.stream(peer, entry.upload_limit, go=self.send)
        count = stream.take(65536)  # so many may be sent now; 0: self.send(count) is called
        stream.give_back(count - sent)  # if the socket took less
        stream.close()
    """

    def __init__(self, clock: IReactorTime, rate: float = 0) -> None:
        self.clock = clock
        self.limit = TokenBucket(rate)
        self._turns = Turns()
        self._calls: dict[Flow, Callable[[int], None]] = {}
        self._timer: IDelayedCall | None = None
        self._letting = False

    @property
    def rate(self) -> float:
        """The limit in bytes/s; 0 is none."""
        return self.limit.rate

    def set_rate(self, rate: float, limit: TokenBucket | None = None) -> None:
        """Change the limit, or that of a torrent; who waits need not wait out the old one."""
        (limit or self.limit).set_rate(rate, self.clock.seconds())
        self._arm()

    def stream(self, party: Hashable, *limits: TokenBucket, go: Callable[[int], None]) -> "Stream":
        """Bytes that are about to come from or go to a party, which has one share in all.

        `go` hears how many bytes may go after `take` has given 0.
        """
        return Stream(self, Flow(party, (self.limit, *limits)), go)

    def _take(self, flow: Flow, most: int, go: Callable[[int], None]) -> int:
        count = self._turns.take(flow, most, self.clock.seconds())
        if not count:
            self._calls[flow] = go
            self._arm()
        elif self._calls.pop(flow, None):
            self._arm()
        return count

    def _leave(self, flow: Flow) -> None:
        if self._calls.pop(flow, None):
            self._turns.leave(flow)
            self._arm()

    def _let_go(self) -> None:
        self._timer = None
        self._letting = True
        try:
            while turn := self._turns.next(self.clock.seconds()):
                flow, count = turn
                self._calls.pop(flow)(count)
        finally:
            self._letting = False
            self._arm()

    def _arm(self) -> None:
        if self._letting:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self._turns.next_wait(self.clock.seconds()) if self._calls else None
        if wait is not None:
            self._timer = self.clock.callLater(max(wait, _LEAST_WAIT), self._let_go)


class Stream:
    """What goes between this node and one party, a chunk at a time."""

    def __init__(self, throttle: Throttle, flow: Flow, go: Callable[[int], None]) -> None:
        self._throttle = throttle
        self._flow = flow
        self._go = go

    @property
    def limited(self) -> bool:
        """Whether there is a limit now; if not, `take` gives all that it is asked for."""
        return bool(self._flow.limited())

    def take(self, most: int) -> int:
        """Give how many of `most` bytes may go now; 0: stand in line for them."""
        return self._throttle._take(self._flow, most, self._go) if self.limited else most  # noqa: SLF001 - two halves of one thing

    def give_back(self, count: int) -> None:
        """Say that bytes that were let go did not go."""
        if count and self.limited:
            self._throttle._turns.give_back(self._flow, count)  # noqa: SLF001 - as above

    def close(self) -> None:
        """Leave the line; what was let go and did not go is to be given back before."""
        self._throttle._leave(self._flow)  # noqa: SLF001 - as above
