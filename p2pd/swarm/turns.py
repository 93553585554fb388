"""Who may go next, where many flows of bytes share rate limits.

Theory of operation. A flow (one reply being sent, one body being received) is under some limits:
the node's, its torrent's. It takes a chunk at a time. If all its limits have the tokens, and no
flow before it waits for them, they are taken at once; else it stands in line, and `next` gives
it its chunk when it can be had. Tokens are taken from all limits at the moment the bytes go, so
each limit holds by itself whatever the others do, and a new rate counts for who is in line too.

The order is that of start-time fair queueing (Goyal, Vin, Cheng 1996): the virtual time is how
many bytes a party that always wanted more has had, and who has had least goes first. A party is
whoever is to have an equal share: a peer, a torrent; what it does not use is not saved up for it.
Who lacks the tokens of one limit holds up those behind him at that limit only: a torrent at its
own limit does not keep others from the node's.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from p2pd.swarm.rates import TokenBucket

_REMEMBERED = 1024


@dataclass(slots=True, eq=False)
class Flow:
    """Bytes that go to or come from a `party`, under `limits`."""

    party: Hashable
    limits: tuple[TokenBucket, ...]
    most: int = field(default=0, init=False)
    since: float = field(default=0.0, init=False)

    def limited(self) -> list[TokenBucket]:
        """The limits that are in force."""
        return [limit for limit in self.limits if limit.rate]

    def chunk(self) -> int:
        """How much to take at once of what is wanted."""
        return min((limit.chunk(self.most) for limit in self.limits), default=self.most)


class Turns:
    """Lets flows take bytes of the limits that they share; `now` is a clock in seconds."""

    def __init__(self) -> None:
        self._line: dict[Flow, None] = {}
        self._time = 0.0  # virtual
        self._had: dict[Hashable, float] = {}

    def take(self, flow: Flow, most: int, now: float) -> int:
        """Give how many of `most` bytes may go now; 0: the flow stands in line.

        A flow that stands there already keeps its place.
        """
        flow.most = most
        if flow not in self._line:
            flow.since = self._time
            self._line[flow] = None
        for first, wait in self._waits(now):
            if first is flow:
                return 0 if wait else self._grant(flow, now)
        return 0

    def give_back(self, flow: Flow, count: int) -> None:
        """Note that bytes that a flow was given did not go."""
        self._had[flow.party] = self._had.get(flow.party, 0.0) - count
        for limit in flow.limits:
            limit.give_back(count)

    def leave(self, flow: Flow) -> None:
        """Forget a flow that stands in line, if it does."""
        self._line.pop(flow, None)

    def next(self, now: float) -> tuple[Flow, int] | None:
        """Give the next flow in line that may go, and how many bytes, which are taken."""
        for flow, wait in self._waits(now):
            if not wait:
                return flow, self._grant(flow, now)
        return None

    def next_wait(self, now: float) -> float | None:
        """Give the seconds until `next` has something to give; None if nobody waits."""
        return min((wait for _, wait in self._waits(now)), default=None)

    def _waits(self, now: float) -> Iterator[tuple[Flow, float]]:
        """Give who is in line, in order, with the seconds until the tokens are there.

        Left out is who has to wait for one before him, and not for tokens.
        """
        claimed: set[TokenBucket] = set()
        for flow in sorted(self._line, key=self._start):
            count, limits = flow.chunk(), flow.limited()
            waits = {limit: limit.wait(count, now) for limit in limits}
            wait = max(waits.values(), default=0.0)
            if wait or claimed.isdisjoint(limits):
                yield flow, wait
                claimed.update(limit for limit in limits if waits[limit] or not wait)

    def _start(self, flow: Flow) -> float:
        return max(flow.since, self._had.get(flow.party, 0.0))

    def _grant(self, flow: Flow, now: float) -> int:
        del self._line[flow]
        count = flow.chunk()
        for limit in flow.limits:
            limit.take(count, now)
        start = self._start(flow)
        self._had[flow.party] = start + count
        # Where nobody waits, nobody is behind.
        self._time = max(self._time, start if self._line else start + count)
        if len(self._had) > _REMEMBERED:
            self._had = {party: had for party, had in self._had.items() if had > self._time}
        return count
