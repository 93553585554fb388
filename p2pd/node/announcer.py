"""Keeps one tracker told: heart beats, announcements, published torrents."""

from collections.abc import Callable, Iterable
from heapq import nsmallest
from random import Random

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from p2pd import background
from p2pd.errors import NotFound, Refusal, Unavailable
from p2pd.metainfo.ids import Address, InfoHash, NodeId, Zone
from p2pd.node.entry import Entry
from p2pd.node.library import Library
from p2pd.node.ports import TrackerLink
from p2pd.node.views import TrackerView
from p2pd.protocol.announcement import Announcement, Event, PeerRef
from p2pd.swarm.lifecycle import State

_LAST_RETRY = 30.0
_AT_ONCE = 4
# A large library must neither keep the node busy nor the tracker: so many entries that look for
# peers are announced with each beat, in turn, and all entries together so seldom.
_LOOKING = 4
_APART = 1.0
_TOLD = frozenset({State.DOWNLOADING, State.COMPLETE})


class Announcer(MultiService):
    """Beats to one tracker and announces the library's entries to it.

    While the tracker is away it is tried less and less often, and that is said once.  `met`
    hears of the peers that the tracker names for an entry.
    """

    _log = Logger()

    def __init__(
        self,
        link: TrackerLink,
        library: Library,
        *,
        clock: IReactorTime,
        node_id: NodeId,
        zone: Zone,
        address: Callable[[], Address | None],
        interval: float,
        rng: Random,
        met: Callable[[Entry, Iterable[PeerRef]], None],
        eager: Callable[[Entry], bool],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.link = link
        self._library = library
        self._clock = clock
        self._node_id = node_id
        self._zone = zone
        self._address = address
        self._rng = rng
        self._met = met
        self._eager = eager
        self._interval = interval
        self._told = interval  # seconds between two announces of an entry, as told last
        self._instance = ""
        self._failures = 0
        self._retry_at = 0.0
        self._message = "not contacted yet"
        self._due: dict[InfoHash, float] = {}
        self._to_publish: dict[InfoHash, Entry] = {}
        self._events: dict[InfoHash, Event] = {}
        self._announcing: set[InfoHash] = set()
        self._slots = DeferredSemaphore(_AT_ONCE)
        timer = TimerService(interval, self._round)
        timer.clock = clock
        timer.setServiceParent(self)

    def view(self) -> TrackerView:
        """How the tracker answers."""
        return TrackerView(self.link.url, bool(self._instance), self._message)

    # -- what the node asks for

    async def publish(self, entry: Entry) -> None:
        """Make an entry known under its filename, now or when the tracker is back."""
        self._to_publish[entry.torrent.infohash] = entry
        self._events[entry.torrent.infohash] = Event.STARTED
        await self._slots.run(self._announce, entry)

    def started(self, entry: Entry) -> None:
        """Announce an entry at once."""
        self._soon(entry, Event.STARTED)

    def completed(self, entry: Entry) -> None:
        """Announce at once that an entry became complete."""
        self._soon(entry, Event.COMPLETED)

    def stopped(self, entry: Entry) -> None:
        """Announce at once that an entry is served no more."""
        self._soon(entry, Event.STOPPED)
        self._due.pop(entry.torrent.infohash, None)

    async def leave(self) -> None:
        """Tell the tracker that the node stops."""
        if self._instance:
            try:
                await self.link.leave(self._node_id)
            except Refusal as refusal:
                self._lost(refusal)

    def _soon(self, entry: Entry, event: Event) -> None:
        self._due[entry.torrent.infohash] = self._clock.seconds()
        self._events[entry.torrent.infohash] = event
        if self._instance and self.running:
            self._start(entry)

    def _start(self, entry: Entry) -> None:
        """Announce beside the round: a beat must not wait for a thousand announcements."""
        infohash = entry.torrent.infohash
        if infohash not in self._announcing:
            self._announcing.add(infohash)
            announcing = background.start(self._tell(entry), "announcing")
            announcing.addCallback(lambda _: self._announcing.discard(infohash))

    async def _tell(self, entry: Entry) -> None:
        told = await self._slots.run(self._announce, entry)
        while told and entry.torrent.infohash in self._events:
            told = await self._slots.run(self._announce, entry)

    # -- the rounds

    async def _round(self) -> None:
        address = self._address()
        if address is None or self._clock.seconds() < self._retry_at:
            return
        try:
            self._greeted(await self.link.beat(self._node_id, address))
            for entry in self._pressing():
                self._start(entry)
        except Refusal as refusal:
            self._lost(refusal)
        except Exception:  # noqa: BLE001 - a timer whose body raises never runs again
            self._log.failure("a round of announcements failed")

    def _greeted(self, instance: str) -> None:
        if self._failures or not self._instance:
            self._log.info("tracker {url} answers", url=self.link.url)
        restarted = instance != self._instance
        if self._failures or restarted:
            # It is new, has restarted or may have forgotten: tell it all again, but not all nodes
            # at the same moment.
            now = self._clock.seconds()
            for entry in self._library:
                if entry.torrent.infohash not in self._events:
                    wait = 0.0 if not self._instance else self._rng.uniform(0, self._told)
                    before = now + wait if restarted else self._due_at(entry)
                    self._due[entry.torrent.infohash] = min(before, now + wait)
        self._instance = instance
        self._failures = 0
        self._message = ""

    def _lost(self, refusal: Refusal) -> None:
        if not self._failures:
            self._log.warn(
                "tracker {url} {fault}, trying on: {reason}",
                url=self.link.url,
                fault="does not answer"
                if isinstance(refusal, Unavailable)
                else "refuses this node",
                reason=refusal.reason,
            )
        self._failures += 1
        self._message = refusal.reason
        wait = min(self._interval * 2 ** (self._failures - 1), _LAST_RETRY)
        self._retry_at = self._clock.seconds() + wait * self._rng.uniform(0.5, 1)

    def _pressing(self) -> list[Entry]:
        """The entries whose time has come, and those whose turn it is to look for peers."""
        now = self._clock.seconds()
        told = [entry for entry in self._library if entry.state in _TOLD]
        looking = [entry for entry in told if self._due_at(entry) > now and self._eager(entry)]
        due = [entry for entry in told if self._due_at(entry) <= now]
        return [*due, *nsmallest(_LOOKING, looking, key=self._due_at)]

    def _due_at(self, entry: Entry) -> float:
        return self._due.get(entry.torrent.infohash, 0.0)

    async def _announce(self, entry: Entry) -> bool:
        """Announce with the event that is not told yet, if there is one; whether it was heard."""
        infohash = entry.torrent.infohash
        event = self._events.get(infohash, Event.NONE)
        try:
            if self._to_publish.get(infohash) is entry:
                await self.link.publish(entry.published, entry.filename)
                self._to_publish.pop(infohash, None)
            announcement = self._announcement(entry, event)
            try:
                handout = await self.link.announce(announcement)
            except NotFound:
                await self.link.publish(entry.published, entry.filename)
                handout = await self.link.announce(announcement)
        except Unavailable as refusal:
            self._lost(refusal)
            return False
        except Refusal as refusal:
            self._log.warn(
                "tracker {url} refuses {name}: {reason}",
                url=self.link.url,
                name=entry.filename,
                reason=refusal.reason,
            )
            self._due[infohash] = self._clock.seconds() + _LAST_RETRY
            return False
        if self._events.get(infohash) is event:
            del self._events[infohash]
        if event is not Event.STOPPED:
            self._told = handout.interval
            wait = max(handout.interval, len(self._library) * _APART)
            self._due[infohash] = self._clock.seconds() + wait
            self._met(entry, handout.peers)
        return True

    def _announcement(self, entry: Entry, event: Event) -> Announcement:
        torrent = entry.torrent
        return Announcement(
            node_id=self._node_id,
            infohash=torrent.infohash,
            bitfield=entry.held.to_bytes(),
            event=event,
            uploaded=entry.uploaded,
            downloaded=entry.downloaded,
            left=entry.bytes_left,
            wanted=50 if entry.state is State.DOWNLOADING else 0,
            zone=self._zone,
        )
