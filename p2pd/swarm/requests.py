"""Who was asked for what, and when a request has taken too long."""

import heapq
import math
from collections.abc import Iterator, KeysView
from dataclasses import dataclass

from p2pd.swarm.peers import Limits, PeerKey


@dataclass(frozen=True, slots=True)
class Request:
    """The wish to get one whole piece, `length` bytes, from one peer.

    It is `crossing` if the peer is an origin, or far though others are near: these others should
    rather get the piece from us afterwards.
    """

    peer: PeerKey
    index: int
    length: int
    crossing: bool = False


@dataclass(slots=True, eq=False)
class Outstanding:
    """A request that has no outcome yet."""

    request: Request
    asked: float
    deadline: float
    heard: float  # when its peer last sent anything, for this request or another
    received: int = 0

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return max(0, self.request.length - self.received)


class Requests:
    """All outstanding requests of one transfer, by piece and by peer."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._by_peer: dict[PeerKey, dict[int, Outstanding]] = {}
        self._by_piece: dict[int, dict[PeerKey, Outstanding]] = {}
        # Times at or before which each is due: progress only moves them away, so an entry is
        # looked at again when it comes up, not whenever bytes arrive.
        self._dues: list[tuple[float, int, Outstanding]] = []
        self._serial = 0

    def __iter__(self) -> Iterator[Outstanding]:
        for copies in self._by_piece.values():
            yield from copies.values()

    def __len__(self) -> int:
        return sum(map(len, self._by_piece.values()))

    def __bool__(self) -> bool:
        return bool(self._by_piece)

    def add(self, request: Request, now: float, deadline: float) -> None:
        """Book a request that is being sent."""
        outstanding = Outstanding(request, now, deadline, now)
        self._by_peer.setdefault(request.peer, {})[request.index] = outstanding
        self._by_piece.setdefault(request.index, {})[request.peer] = outstanding
        self._serial += 1
        heapq.heappush(self._dues, (self._due(outstanding), self._serial, outstanding))

    def get(self, peer: PeerKey, index: int) -> Outstanding | None:
        """Look up a request."""
        return self._by_piece.get(index, {}).get(peer)

    def in_flight(self, peer: PeerKey) -> int:
        """Count the requests outstanding at a peer."""
        return len(self._by_peer.get(peer, ()))

    def bytes_in_flight(self, peer: PeerKey) -> int:
        """Count the bytes that a peer has still to send."""
        return sum(one.left for one in self._by_peer.get(peer, {}).values())

    def asked(self, index: int) -> KeysView[PeerKey]:
        """Give the peers asked for a piece."""
        return self._by_piece.get(index, {}).keys()

    def copyable(self) -> Iterator[Outstanding]:
        """Give the requests still to be answered of which the endgame allows another copy."""
        for copies in self._by_piece.values():
            if len(copies) < self.limits.endgame_copies:
                for one in copies.values():
                    if one.received < one.request.length:
                        yield one

    def progress(self, outstanding: Outstanding, count: int, now: float) -> None:
        """Note that bytes came: the peer is alive, so none of its requests is stalled."""
        outstanding.received += count
        if outstanding.received >= outstanding.request.length > outstanding.received - count:
            # From here on it is our digest that takes time; but some end there must be.
            outstanding.deadline = max(outstanding.deadline, now + self.limits.stall)
        for one in self._by_peer[outstanding.request.peer].values():
            one.heard = now

    def drop(self, peer: PeerKey, index: int) -> Outstanding | None:
        """Forget a request, and give it if it was outstanding."""
        outstanding = self._by_peer.get(peer, {}).pop(index, None)
        if outstanding is not None:
            if not self._by_peer[peer]:
                del self._by_peer[peer]
            del self._by_piece[index][peer]
            if not self._by_piece[index]:
                del self._by_piece[index]
        return outstanding

    def drop_piece(self, index: int) -> list[Request]:
        """Forget and give all requests for a piece."""
        dropped = [one.request for one in self._by_piece.get(index, {}).values()]
        for request in dropped:
            self.drop(request.peer, request.index)
        return dropped

    def drop_peer(self, peer: PeerKey) -> list[Request]:
        """Forget and give all requests to a peer."""
        dropped = [one.request for one in self._by_peer.get(peer, {}).values()]
        for request in dropped:
            self.drop(request.peer, request.index)
        return dropped

    def expired(self, now: float) -> list[Outstanding]:
        """Forget and give the requests that have taken too long."""
        late = []
        while (due := self.next_due()) is not None and due <= now:
            outstanding = heapq.heappop(self._dues)[2]
            self.drop(outstanding.request.peer, outstanding.request.index)
            late.append(outstanding)
        return late

    def next_due(self) -> float | None:
        """Give the time at which the next request will have taken too long."""
        while self._dues:
            due, serial, outstanding = self._dues[0]
            current = self._due(outstanding)
            if current == math.inf:
                heapq.heappop(self._dues)
            elif current > due:
                heapq.heapreplace(self._dues, (current, serial, outstanding))
            else:
                return due
        return None

    def _due(self, outstanding: Outstanding) -> float:
        request = outstanding.request
        if self.get(request.peer, request.index) is not outstanding:
            return math.inf
        if not outstanding.left:
            return outstanding.deadline
        return min(outstanding.deadline, outstanding.heard + self.limits.stall)
