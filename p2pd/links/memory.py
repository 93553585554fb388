"""In-memory twins of the links: trackers and nodes in one process, without a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from p2pd import background
from p2pd.errors import Denied, NotFound, Unavailable
from p2pd.metainfo.ids import NO_ZONE, Address, NodeId, Zone
from p2pd.metainfo.torrent import Torrent
from p2pd.node.node import Node
from p2pd.node.ports import Follower, Landing, PeerLink, Resolved
from p2pd.protocol.announcement import Announcement, Handout
from p2pd.tracker.tracker import Tracker


class MemoryTracker:
    """A tracker in this process; implements `p2pd.node.ports.TrackerLink`.

    With `tracker` set to None it does not answer.
    """

    url = "memory:tracker"

    def __init__(self, tracker: Tracker | None) -> None:
        self.tracker = tracker

    def _reach(self) -> Tracker:
        if self.tracker is None:
            raise Unavailable(f"no answer from {self.url}")
        return self.tracker

    async def beat(self, node_id: NodeId, address: Address) -> str:
        """Say that the node lives; see `TrackerLink.beat`."""
        tracker = self._reach()
        tracker.beat(node_id, address)
        return tracker.instance

    async def leave(self, node_id: NodeId) -> None:
        """Say that the node stops; see `TrackerLink.leave`."""
        self._reach().leave(node_id)

    async def publish(self, torrent: Torrent, filename: str) -> None:
        """Make a torrent known; see `TrackerLink.publish`."""
        await self._reach().publish(torrent.to_bytes(), filename)

    async def resolve(self, name: str) -> Resolved:
        """Find a torrent; see `TrackerLink.resolve`."""
        found = await self._reach().resolve(name)
        return Resolved(found.torrent, found.filename, found.web_seeds)

    async def claim(self, name: str, node_id: NodeId) -> bool:
        """Be the one who makes a name known; see `TrackerLink.claim`."""
        return self._reach().claim(name, node_id)

    async def release(self, name: str, node_id: NodeId) -> None:
        """Let others claim a name; see `TrackerLink.release`."""
        self._reach().release(name, node_id)

    async def announce(self, announcement: Announcement) -> Handout:
        """Tell what the node holds; see `TrackerLink.announce`."""
        return self._reach().announce(announcement)


@dataclass
class MemoryNetwork:
    """Nodes by address, and links between them that take `latency` seconds a message."""

    clock: IReactorTime
    latency: float = 0.001
    nodes: dict[Address, Node] = field(default_factory=dict)
    _links: "list[MemoryPeer]" = field(default_factory=list)

    def peer(self, address: Address, own: Address | None) -> PeerLink:
        """A link to a node; see `Dialer.peer`."""
        link = MemoryPeer(self, address, own)
        self._links.append(link)
        return link

    def web_seed(self, url: str, *, strict: bool) -> PeerLink:  # noqa: ARG002 - there are none
        """Refuse: there is nothing here but nodes; see `Dialer.web_seed`."""
        raise Denied(f"web seed {url}: there is no HTTP here")

    def reach(self, address: Address) -> Node:
        """The node at an address; raises `Unavailable`."""
        if address not in self.nodes:
            raise Unavailable(f"no answer from {address}")
        return self.nodes[address]

    def zone(self, address: Address) -> Zone:
        """Where the node at an address is, none if there is no such node."""
        return self.nodes[address].zone if address in self.nodes else NO_ZONE

    def kill(self, address: Address) -> None:
        """Cut a node off, without a word from it."""
        del self.nodes[address]
        for link in [link for link in self._links if link.key == address]:
            link.broken()


class MemoryPeer:
    """A link to a node in this process; implements `p2pd.node.ports.PeerLink`."""

    origin = False

    def __init__(self, network: MemoryNetwork, address: Address, own: Address | None) -> None:
        self.key = address
        self._network = network
        self._own = own
        self._follower: Follower | None = None
        self._unwatch: Callable[[], None] | None = None

    def follow(self, torrent: Torrent, follower: Follower) -> None:
        """Listen to what the node holds; see `PeerLink.follow`."""
        self._follower = follower
        background.start(self._follow(torrent), "following in memory")

    async def _follow(self, torrent: Torrent) -> None:
        await deferLater(self._network.clock, self._network.latency)
        if self._follower is None:
            return
        try:
            node = self._network.reach(self.key)
            entry = node.library.get(torrent.infohash)
        except (Unavailable, NotFound) as refusal:
            self._end(refusal.reason)
            return
        if self._own is not None:
            node.introduce(entry, self._own, self._network.zone(self._own))
        self._unwatch = entry.watch(self)
        for index in entry.promised:
            self.promised(index)
        self._follower.peer_has_bitfield(self.key, entry.held.copy())

    def has(self, index: int, *, rare: bool) -> None:  # noqa: ARG002 - all news is told at once
        """Pass on a piece that the node got; see `Watcher`."""
        self._network.clock.callLater(self._network.latency, self._tell, index)

    def promised(self, index: int) -> None:
        """Pass on what the node is sending somebody; see `Watcher`."""
        self._network.clock.callLater(self._network.latency, self._warn, index)

    def _tell(self, index: int) -> None:
        if self._follower is not None:
            self._follower.peer_has(self.key, index)

    def _warn(self, index: int) -> None:
        if self._follower is not None:
            self._follower.peer_promised(self.key, index)

    def gone(self) -> None:
        """Pass on that the node serves the torrent no more; see `Watcher`."""
        self._end("it is leaving")

    def broken(self) -> None:
        """Tell the follower that the node does not answer any more."""
        self._end("the connection ended")

    def _end(self, reason: str) -> None:
        follower = self._follower
        self.close()
        if follower is not None:
            follower.peer_gone(self.key, reason)

    async def fetch(self, torrent: Torrent, indexes: Sequence[int], landing: Landing) -> None:
        """Get pieces; see `PeerLink.fetch`."""
        await deferLater(self._network.clock, self._network.latency)
        entry = self._network.reach(self.key).library.get(torrent.infohash)
        given = entry.offer(indexes).pieces
        if not given:
            raise NotFound(f"{self.key} does not hold piece {indexes[0]}")
        for index in given:
            entry.asked_for(index)
        for index in given:
            await deferLater(self._network.clock, self._network.latency)
            _, data = await self._network.reach(self.key).read_piece(torrent.piece_ids[index])
            entry.sent(self._own or "", len(data), self._network.clock.seconds())
            landing.room(index)[:] = data
            landing.received(index, len(data))
            landing.landed(index)

    def close(self) -> None:
        """Stop following; see `PeerLink.close`."""
        self._follower = None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
