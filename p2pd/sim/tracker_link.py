"""How simulated nodes call their tracker: a twin of the link, with delays and a queue."""

from p2pd.errors import Unavailable
from p2pd.metainfo.ids import Address, NodeId
from p2pd.metainfo.torrent import Torrent
from p2pd.node.ports import Resolved
from p2pd.protocol.announcement import Announcement, Handout
from p2pd.sim.clock import HeapClock
from p2pd.sim.network import Host
from p2pd.tracker.tracker import Tracker


class TrackerDesk:
    """The one tracker that all hosts call: it does one request after the other."""

    def __init__(self, clock: HeapClock, tracker: Tracker, latency: float, time: float) -> None:
        self._clock = clock
        self._tracker: Tracker | None = tracker
        self._latency = latency
        self._time = time
        self._free_at = 0.0
        self.arrivals: list[float] = []
        """When each request came."""

    def close(self) -> None:
        """The tracker ends: nobody answers any more."""
        self._tracker = None

    async def reach(self, own: Host) -> Tracker:
        """Bring a request to the tracker, and wait for its turn; raises `Unavailable`."""
        if not own.alive:
            raise Unavailable("this host is dead")
        await self._clock.pause(self._latency)
        if self._tracker is not None:
            now = self._clock.seconds()
            self.arrivals.append(now)
            self._free_at = max(self._free_at, now) + self._time
            await self._clock.pause(self._free_at - now)
        if self._tracker is None:
            await self.back()
            raise Unavailable("no answer from the tracker")
        return self._tracker

    async def back(self) -> None:
        """Let an answer travel."""
        await self._clock.pause(self._latency)


class SimTracker:
    """The tracker, from one host; implements `p2pd.node.ports.TrackerLink`."""

    url = "sim:tracker"

    def __init__(self, desk: TrackerDesk, own: Host) -> None:
        self._desk = desk
        self._own = own

    async def beat(self, node_id: NodeId, address: Address) -> str:
        """Say that the node lives; see `TrackerLink.beat`."""
        tracker = await self._desk.reach(self._own)
        tracker.beat(node_id, address)
        await self._desk.back()
        return tracker.instance

    async def leave(self, node_id: NodeId) -> None:
        """Say that the node stops; see `TrackerLink.leave`."""
        tracker = await self._desk.reach(self._own)
        tracker.leave(node_id)
        await self._desk.back()

    async def publish(self, torrent: Torrent, filename: str) -> None:
        """Make a torrent known; see `TrackerLink.publish`."""
        tracker = await self._desk.reach(self._own)
        await tracker.publish(torrent.to_bytes(), filename)
        await self._desk.back()

    async def resolve(self, name: str) -> Resolved:
        """Find a torrent; see `TrackerLink.resolve`."""
        tracker = await self._desk.reach(self._own)
        found = await tracker.resolve(name)
        await self._desk.back()
        return Resolved(found.torrent, found.filename, found.web_seeds)

    async def claim(self, name: str, node_id: NodeId) -> bool:
        """Be the one who makes a name known; see `TrackerLink.claim`."""
        tracker = await self._desk.reach(self._own)
        granted = tracker.claim(name, node_id)
        await self._desk.back()
        return granted

    async def release(self, name: str, node_id: NodeId) -> None:
        """Let others claim a name; see `TrackerLink.release`."""
        tracker = await self._desk.reach(self._own)
        tracker.release(name, node_id)
        await self._desk.back()

    async def announce(self, announcement: Announcement) -> Handout:
        """Tell what the node holds; see `TrackerLink.announce`."""
        tracker = await self._desk.reach(self._own)
        handout = tracker.announce(announcement)
        await self._desk.back()
        return handout
