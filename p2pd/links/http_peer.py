"""A node as a source of pieces, over HTTP: raw pieces, and a stream of what it holds."""

from collections.abc import Callable
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from p2pd import background
from p2pd.errors import Invalid, NotFound, Refusal, Unavailable
from p2pd.links.http import Caller
from p2pd.metainfo.ids import Address
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Buffer, Follower
from p2pd.protocol.have import Alive, Bye, Event, Have, HaveDecoder, Holds, Lost

# The other side says at least "alive" every ten seconds.
_SILENCE = 25.0
_ERROR_BODY = 65536
# A stream that says more is closed: who is honest will be followed anew.
_SAID_OF_A_PIECE = 20


class HttpPeer:
    """A link to one node; implements `p2pd.node.ports.PeerLink`."""

    origin = False

    def __init__(self, address: Address, caller: Caller, *, own: Address | None = None) -> None:
        self.key = address
        self._caller = caller
        self._own = own
        self._following: Deferred[None] | None = None
        self._closed = False

    def follow(self, torrent: Torrent, follower: Follower) -> None:
        """Listen to what the node says it holds; see `PeerLink.follow`."""
        self._following = background.start(self._follow(torrent, follower), "following a peer")

    async def _follow(self, torrent: Torrent, follower: Follower) -> None:
        url = f"http://{self.key}/swarms/{torrent.infohash.hex()}/have"
        if self._own is not None:
            url += f"?from={quote(self._own)}"
        try:
            response = await self._caller.send("GET", url)
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

    async def fetch(self, torrent: Torrent, index: int, received: Callable[[int], None]) -> Buffer:
        """Get one piece; see `PeerLink.fetch`."""
        url = f"http://{self.key}/pieces/{torrent.piece_ids[index].hex()}"
        response = await self._caller.send("GET", url)
        if response.code == 404:
            await self._caller.read(response, _ERROR_BODY)
            raise NotFound(f"{self.key} does not hold piece {index}")
        if response.code != 200:
            await self._caller.read(response, _ERROR_BODY)
            raise Unavailable(f"{url} answered {response.code}")
        data = bytearray(torrent.piece_size(index))
        await self._caller.fill(response, memoryview(data), received)
        return data

    def close(self) -> None:
        """Stop following; see `PeerLink.close`."""
        self._closed = True
        if self._following is not None:
            self._following.cancel()


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
            self._left -= self._pieces if isinstance(event, Holds) else 1
            if self._left < 0:
                self._end("it repeats itself without end")
            if not self.ended.called:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        match event:
            case Holds(pieces):
                self._follower.peer_has_bitfield(self._peer, pieces)
            case Have(index):
                self._follower.peer_has(self._peer, index)
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
