"""A node as a source of pieces, over HTTP: raw pieces, and a stream of what it holds."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from p2pd import background
from p2pd.errors import Busy, Invalid, NotFound, Refusal, Unavailable
from p2pd.links.http import Caller
from p2pd.links.receiving import Rooms
from p2pd.metainfo.ids import NO_ZONE, Address, Zone
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Follower, Landing
from p2pd.protocol.have import Alive, Bye, Event, Have, HaveDecoder, Holds, Lost, Promised

# The other side says at least "alive" every ten seconds.
_SILENCE = 25.0
_ERROR_BODY = 65536
# A stream that says more is closed: who is honest will be followed anew.
_SAID_OF_A_PIECE = 20


class HttpPeer:
    """A link to one node; implements `p2pd.node.ports.PeerLink`.

    The node hears that ours is reached at `own`, and in which `zone` that is.
    """

    origin = False

    def __init__(
        self,
        address: Address,
        caller: Caller,
        *,
        own: Address | None = None,
        zone: Zone = NO_ZONE,
        scheme: str = "http",
    ) -> None:
        self.key = address
        self._url = f"{scheme}://{address}"
        self._caller = caller
        self._introduction = _introduction(own, zone)
        self._following: Deferred[None] | None = None
        self._closed = False

    def follow(self, torrent: Torrent, follower: Follower) -> None:
        """Listen to what the node says it holds; see `PeerLink.follow`."""
        self._following = background.start(self._follow(torrent, follower), "following a peer")

    async def _follow(self, torrent: Torrent, follower: Follower) -> None:
        url = f"{self._url}/swarms/{torrent.infohash.hex()}/have{self._introduction}"
        try:
            response = await self._caller.get(url)
            if response.code != 200:
                await self._caller.read(response, _ERROR_BODY)
                raise Unavailable(f"{url} answered {response.code}")
            stream = _HaveStream(self.key, torrent.piece_count, follower, self._caller)
            response.deliverBody(stream)
            await stream.ended
        except Refusal as refusal:
            reason = refusal.reason
        else:
            reason = "it closed the stream"
        if not self._closed:
            follower.peer_gone(self.key, reason)

    async def fetch(self, torrent: Torrent, indexes: Sequence[int], landing: Landing) -> None:
        """Get pieces with one request; see `PeerLink.fetch`."""
        numbers = ",".join(map(str, indexes))
        url = f"{self._url}/swarms/{torrent.infohash.hex()}/pieces/{numbers}"
        response = await self._caller.get(url)
        if response.code == 404:
            await self._caller.read(response, _ERROR_BODY)
            raise NotFound(f"{self.key} does not hold piece {indexes[0]}")
        if response.code == 429:
            await self._caller.read(response, _ERROR_BODY)
            raise Busy(f"{self.key} has too many others to serve")
        if response.code != 200:
            await self._caller.read(response, _ERROR_BODY)
            raise Unavailable(f"{url} answered {response.code}")
        length = response.length if isinstance(response.length, int) else 0
        given = _given(torrent, indexes, length)
        if given is None:
            await self._caller.read(response, _ERROR_BODY)
            raise Unavailable(f"{url} answered with {length or 'untold'} bytes, no sum of pieces")
        await self._caller.receive(response, _rooms(given, length, landing), landing.limit)

    def close(self) -> None:
        """Stop following; see `PeerLink.close`."""
        self._closed = True
        if self._following is not None:
            self._following.cancel()


def _given(torrent: Torrent, indexes: Sequence[int], length: int) -> Sequence[int] | None:
    """The first of some pieces that are `length` bytes together; None if there are no such."""
    for place, index in enumerate(indexes):
        length -= torrent.piece_size(index)
        if length <= 0:
            return indexes[: place + 1] if not length else None
    return None


def _rooms(indexes: Sequence[int], length: int, landing: Landing) -> Rooms:
    landed = iter(indexes)
    present = indexes[0]

    def rooms() -> Iterator[memoryview]:
        nonlocal present
        for present in indexes:
            yield landing.room(present)

    return Rooms(
        rooms(),
        length,
        received=lambda count: landing.received(present, count),
        full=lambda: landing.landed(next(landed)),
    )


def _introduction(own: Address | None, zone: Zone) -> str:
    if own is None:
        return ""
    return f"?{urlencode({'from': own, 'zone': zone} if zone else {'from': own})}"


class _HaveStream(Protocol):
    """Tells a follower what the lines of a have stream say."""

    def __init__(self, peer: str, pieces: int, follower: Follower, caller: Caller) -> None:
        self._peer = peer
        self._decoder = HaveDecoder(pieces)
        self._pieces = pieces
        self._left = _SAID_OF_A_PIECE * (pieces + 1000)
        self._follower = follower
        self._clock = caller.clock
        self._silence: IDelayedCall | None = None
        self.ended: Deferred[None] = Deferred(lambda _: self._close())

    def connectionMade(self) -> None:
        self._silence = self._clock.callLater(_SILENCE, self._end, "it fell silent")

    def dataReceived(self, data: bytes) -> None:
        if self.ended.called:
            return
        if self._silence is not None and self._silence.active():
            self._silence.reset(_SILENCE)
        try:
            events = self._decoder.feed(data)
        except Invalid as invalid:
            self._end(f"it sent garbage: {invalid.reason}")
            return
        for event in events:
            self._left -= self._cost(event)
            if self._left < 0:
                self._end("it repeats itself without end")
            if not self.ended.called:
                self._tell(event)

    def _cost(self, event: Event) -> int:
        match event:
            case Holds():
                return self._pieces
            case Have(indexes) | Promised(indexes):
                return len(indexes)
            case _:
                return 1

    def _tell(self, event: Event) -> None:
        match event:
            case Holds(pieces):
                self._follower.peer_has_bitfield(self._peer, pieces)
            case Have(indexes):
                self._follower.peer_has(self._peer, *indexes)
            case Promised(indexes):
                self._follower.peer_promised(self._peer, *indexes)
            case Lost(index):
                self._follower.peer_lost(self._peer, index)
            case Bye():
                self._end("it is leaving")
            case Alive():
                pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(f"the connection ended: {reason.getErrorMessage()}")

    def _end(self, reason: str) -> None:
        if not self.ended.called:
            self.ended.errback(Failure(Unavailable(reason)))
        self._close()

    def _close(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        if self.transport is not None:
            self.transport.loseConnection()
