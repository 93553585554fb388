"""Requests that go to one peer together, and the memory that their pieces arrive in."""

from collections.abc import Callable, Iterator, Sequence

from p2pd.node.rooms import Rooms
from p2pd.swarm.rates import TokenBucket
from p2pd.swarm.transfer import Request


class Fetch:
    """Some requests to one peer; implements `p2pd.node.ports.Landing`.

    `received` hears of bytes of a request, `arrived` of a whole piece, unverified: its room is
    then the listener's to give back.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        rooms: Rooms,
        limit: TokenBucket,
        *,
        received: Callable[[Request, int], None],
        arrived: Callable[["Fetch", Request, memoryview], None],
    ) -> None:
        self.peer = requests[0].peer
        self.indexes = [request.index for request in requests]
        self._requests = {request.index: request for request in requests}
        self._wanted = {request.index: request for request in requests}
        self.limit = limit
        self._rooms = rooms
        self._received = received
        self._arrived = arrived
        self._lent: memoryview | None = None
        self._landed = 0
        self._plan = 0
        self._plan_for(sum(request.length for request in requests))

    def _plan_for(self, count: int) -> None:
        self._plan += count
        self._rooms.planned += count

    @property
    def next(self) -> int | None:
        """The piece that lands next, wanted or not."""
        return self.indexes[self._landed] if self._landed < len(self.indexes) else None

    @property
    def wanted(self) -> Iterator[Request]:
        """The requests that have not landed and that nobody dropped."""
        return iter(tuple(self._wanted.values()))

    def drop(self, index: int) -> bool:
        """Want a piece no more; whether that was the last one wanted."""
        return self._wanted.pop(index, None) is not None and not self._wanted

    def room(self, index: int) -> memoryview:
        """Lend a room; see `Landing.room`."""
        length = self._requests[index].length
        self._plan_for(-length)
        self._lent = self._rooms.take(length)
        return self._lent

    def received(self, index: int, count: int) -> None:
        """Pass on progress; see `Landing.received`."""
        self._received(self._requests[index], count)

    def landed(self, index: int) -> None:
        """Pass on a whole piece, even one wanted no more; see `Landing.landed`."""
        room, self._lent = self._lent, None
        assert room is not None
        self._wanted.pop(index, None)
        self._landed += 1
        self._arrived(self, self._requests[index], room)

    def close(self) -> None:
        """Take back the room of a piece that did not arrive whole, and plan for no more."""
        self._plan_for(-self._plan)
        if self._lent is not None:
            self._rooms.give(self._lent)
            self._lent = None
