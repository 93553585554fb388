"""How simulated nodes call each other: twins of the links, with delays and finite rates."""

from collections.abc import Sequence
from itertools import accumulate

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from p2pd.errors import Busy, Denied, NotFound, Refusal, Unavailable
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address, InfoHash
from p2pd.metainfo.torrent import Torrent
from p2pd.node.entry import Entry
from p2pd.node.ports import Follower, Landing
from p2pd.sim.clock import HeapClock
from p2pd.sim.fluid import Flow
from p2pd.sim.network import Host, Network
from p2pd.swarm.news import News
from p2pd.swarm.uploads import Upload


class Board:
    """Tells all who follow a host's entry what it gets, one latency later.

    Its news is gathered as that of a real node, see `p2pd.frontends.have_stream`. What a reader
    has by then is left out: it would change a count that matters no more, and take most of a
    simulation's time.
    """

    def __init__(self, clock: HeapClock, latency: float, address: Address, entry: Entry) -> None:
        self._clock = clock
        self._latency = latency
        self._address = address
        self._readers: dict[SimPeer, None] = {}
        self._news = News()
        self._timer: IDelayedCall | None = None
        self._unwatch = entry.watch(self)
        self.held = bytearray(entry.torrent.piece_count)
        for index in entry.held:
            self.held[index] = 1

    def join(self, reader: "SimPeer") -> None:
        """Let somebody read on from here."""
        self._readers[reader] = None

    def leave(self, reader: "SimPeer") -> None:
        """Somebody does not read on."""
        self._readers.pop(reader, None)

    def has(self, index: int, *, rare: bool) -> None:
        """Pass on a piece; see `Watcher`."""
        self.held[index] = 1
        self._news.had(index, self._clock.seconds(), rare=rare)
        self._arm()

    def promised(self, index: int) -> None:
        """Pass on a promise; see `Watcher`."""
        self._news.promised(index, self._clock.seconds())
        self._arm()

    def gone(self) -> None:
        """Pass on the end; see `Watcher`."""
        self._clock.soon(self._latency, self._end, "it is leaving")

    def broken(self) -> None:
        """All connections end."""
        self._unwatch()
        self._clock.soon(self._latency, self._end, "the connection ended")

    def _arm(self) -> None:
        if self._timer is not None:
            if self._timer.getTime() <= self._news.due:
                return
            self._timer.cancel()
        wait = max(0.0, self._news.due - self._clock.seconds())
        self._timer = self._clock.callLater(wait, self._tell)

    def _tell(self) -> None:
        self._timer = None
        had, promised = self._news.take(self._clock.seconds())
        self._clock.soon(self._latency, self._come, had, promised)

    def _come(self, had: list[int], promised: list[int]) -> None:
        address = self._address
        for reader in tuple(self._readers):
            follower = reader.follower
            if follower is None:
                continue
            if promised:
                follower.peer_promised(address, *promised)
            held = reader.held
            if len(had) == 1:  # mostly, and all of this is done more often than anything else
                if not held[had[0]]:
                    follower.peer_has(address, had[0])
            elif news := [index for index in had if not held[index]]:
                follower.peer_has(address, *news)

    def _end(self, reason: str) -> None:
        for reader in tuple(self._readers):
            reader.end(reason)


class SimDialer:
    """Makes links between the hosts of a network; implements `p2pd.node.ports.Dialer`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._boards: dict[tuple[Address, InfoHash], Board] = {}

    def peer(self, address: Address, own: Address | None) -> "SimPeer":
        """A link to a host; see `Dialer.peer`."""
        assert own is not None
        return SimPeer(self, self.network.hosts[address], self.network.hosts[own])

    def web_seed(self, url: str, *, strict: bool) -> "SimPeer":  # noqa: ARG002 - there are none
        """Refuse: there is nothing here but nodes; see `Dialer.web_seed`."""
        raise Denied(f"web seed {url}: there is no HTTP here")

    def board(self, host: Host, entry: Entry) -> Board:
        """Where a host says what it holds of a torrent; it has one from then on."""
        key = host.address, entry.torrent.infohash
        if key not in self._boards:
            board = Board(self.network.clock, self.network.latency, host.address, entry)
            self._boards[key] = board
            host.connections[board] = None
        return self._boards[key]


class SimPeer:
    """A link from one host to another; implements `p2pd.node.ports.PeerLink`."""

    __slots__ = ("_board", "_dialer", "_network", "_own", "_peer", "follower", "held", "key")
    origin = False

    def __init__(self, dialer: SimDialer, peer: Host, own: Host) -> None:
        self.key = peer.address
        self.follower: Follower | None = None
        self.held = bytearray()
        """What the reader has, as its own board shows it."""
        self._dialer = dialer
        self._network = dialer.network
        self._peer = peer
        self._own = own
        self._board: Board | None = None

    def follow(self, torrent: Torrent, follower: Follower) -> None:
        """Listen to what the peer holds; see `PeerLink.follow`."""
        self.follower = follower
        # There, back and there: a connection, then the request on it.
        network = self._network
        network.clock.soon(3 * network.latency + network.request_time, self._reach, torrent)

    def _reach(self, torrent: Torrent) -> None:
        if self.follower is None:
            return
        try:
            if not self._peer.alive:
                raise Unavailable(f"no answer from {self.key}")
            entry = self._peer.node.library.get(torrent.infohash)
        except Refusal as refusal:
            self._network.clock.soon(self._network.latency, self.end, refusal.reason)
            return
        self._peer.node.introduce(entry, self._own.address, self._own.zone)
        told = entry, entry.held.copy(), tuple(entry.promised)
        self._network.clock.soon(self._network.latency, self._joined, *told)

    def _joined(self, entry: Entry, held: Bitfield, promised: tuple[int, ...]) -> None:
        if self.follower is None:
            return
        if not self._peer.alive:
            self.end("the connection ended")
            return
        own = self._own.node.library.get(entry.torrent.infohash)
        self.held = self._dialer.board(self._own, own).held
        self._board = self._dialer.board(self._peer, entry)
        self._board.join(self)
        follower = self.follower
        follower.peer_has_bitfield(self.key, held)
        if promised:
            follower.peer_promised(self.key, *promised)

    def end(self, reason: str) -> None:
        """Tell the follower that nothing more will come."""
        follower = self.follower
        self.close()
        if follower is not None:
            follower.peer_gone(self.key, reason)

    async def fetch(self, torrent: Torrent, indexes: Sequence[int], landing: Landing) -> None:
        """Get pieces; see `PeerLink.fetch`."""
        parcel = Parcel(self._network, self._peer, self._own)
        parcel.ask(torrent, indexes, landing)
        await parcel.delivered

    def close(self) -> None:
        """Stop following; see `PeerLink.close`."""
        self.follower = None
        if self._board is not None:
            self._board.leave(self)
            self._board = None


class Parcel:
    """One request for pieces, from its sending to the last byte of the answer."""

    __slots__ = (
        "_entry",
        "_flow",
        "_indexes",
        "_landed",
        "_landing",
        "_marks",
        "_network",
        "_own",
        "_passed",
        "_peer",
        "_room",
        "_upload",
        "delivered",
    )

    def __init__(self, network: Network, peer: Host, own: Host) -> None:
        self._network = network
        self._peer = peer
        self._own = own
        self._landed = 0
        self._passed = 0
        self._room: memoryview | None = None
        self._entry: Entry | None = None
        self._upload: Upload | None = None
        self._flow: Flow | None = None
        self.delivered: Deferred[None] = Deferred(lambda _: self._let_go())

    def ask(self, torrent: Torrent, indexes: Sequence[int], landing: Landing) -> None:
        """Send the request; once."""
        self._indexes = indexes
        self._landing = landing
        self._marks = list(accumulate(map(torrent.piece_size, indexes)))
        self._network.clock.soon(self._network.latency, self._arrive, torrent)

    # -- at the peer

    def _arrive(self, torrent: Torrent) -> None:
        if self.delivered.called:
            return
        if not self._peer.alive:
            self._refuse(Unavailable(f"no answer from {self._peer.address}"))
            return
        entry = self._peer.node.library.find(torrent.infohash)
        if entry is None:
            self._refuse(NotFound(f"{self._peer.address} does not have the torrent"))
            return
        self._peer.connections[self] = None
        self._network.clock.soon(self._network.request_time, self._queue, entry)

    def _queue(self, entry: Entry) -> None:
        if self.delivered.called:
            return
        offer = entry.offer(self._indexes)
        self._marks = self._marks[: len(offer.pieces)]
        if not offer.pieces:
            self._turn_away(NotFound(f"{self._peer.address} does not have the piece"))
            return
        self._entry = entry
        self._upload = self._network.ask(
            self._peer, self._own.address, self._marks[-1], self._begin, offer.behind
        )
        if self._upload is None:
            self._turn_away(Busy(f"{self._peer.address} has too many others to serve"))
            return
        for index in offer.pieces:
            entry.asked_for(index)

    def _turn_away(self, refusal: Refusal) -> None:
        self._peer.connections.pop(self, None)
        self._refuse(refusal)

    def _begin(self) -> None:
        self._flow = self._network.send(self._peer, self._own, self._marks, self._moved)

    def _moved(self, count: int) -> None:
        if self._network.latency:
            self._network.clock.soon(self._network.latency, self._come, count)
        if count == self._marks[-1]:
            self._let_go()
        if not self._network.latency:
            self._come(count)

    def _let_go(self) -> None:
        """Stop sending, if anything is being sent."""
        self._peer.connections.pop(self, None)
        if self._flow is not None:
            sent = self._network.fluid.stop(self._flow)
            self._flow = None
            if self._entry is not None:
                now = self._network.clock.seconds()
                self._entry.sent(self._own.address, sent, now)
        if self._upload is not None:
            upload, self._upload = self._upload, None
            self._network.sent(self._peer, upload)

    def broken(self) -> None:
        """The peer has died."""
        self._let_go()
        self._refuse(Unavailable(f"{self._peer.address} hung up"))

    def _refuse(self, refusal: Refusal) -> None:
        self._network.clock.soon(self._network.latency, self._fail, refusal)

    # -- where the pieces go

    def _fail(self, refusal: Refusal) -> None:
        if not self.delivered.called:
            self.delivered.errback(refusal)

    def _come(self, count: int) -> None:
        while not self.delivered.called and self._landed < len(self._marks):
            index, mark = self._indexes[self._landed], self._marks[self._landed]
            here = min(count, mark)
            if here > self._passed:
                if self._room is None:
                    self._room = self._landing.room(index)
                    if self._peer.lies:
                        self._own.rooms.spoil(self._room)
                self._landing.received(index, here - self._passed)
                self._passed = here
            if here < mark:
                return
            self._landed += 1
            self._room = None
            self._landing.landed(index)
        if self.delivered.called:
            return
        self.delivered.callback(None)
