"""The tracker: the one object that its frontends talk to."""

import random
import re
from collections.abc import Callable

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from p2pd.background import Threads
from p2pd.errors import Invalid, NotFound, Refusal, Unavailable
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address, InfoHash, NodeId, PieceId, parse_infohash
from p2pd.metainfo.origin import Origin
from p2pd.metainfo.paths import is_url, parse_filename
from p2pd.metainfo.torrent import Torrent
from p2pd.protocol.announcement import Announcement, Event, Handout, PeerRef
from p2pd.tracker import views
from p2pd.tracker.access import Access
from p2pd.tracker.catalog import Catalog, Entry
from p2pd.tracker.claims import Claims
from p2pd.tracker.handout import choose
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.ports import (
    CatalogTable,
    FileView,
    Limits,
    NameRow,
    PeerTable,
    Resolved,
    TrackerView,
)
from p2pd.tracker.registry import Registry
from p2pd.tracker.swarms import Reports, Swarm, Swarms

# For how long a silent node's holdings wait for its return.
_MEMORY = 3600.0
_SHORT_METAINFO = 256 * 1024
_MOST_DESCRIPTIONS = 100
_MOST_WEB_SEEDS = 20
_INFOHASH = re.compile(r"[0-9A-Fa-f]{40}")

_log = Logger()


class Tracker(MultiService):
    """Knows who is alive, who holds what, and which torrents there are.

    Nodes and swarms live in memory and refill within one interval; the catalog is kept in
    `table` and loaded by `startService`: until `loaded` has fired, whatever needs it raises
    Unavailable. `clients` are the BitTorrent clients of the same swarms, `access` says which
    torrents there may be, and `admitting` whether it knows that yet. `origin` describes files
    that nobody has published. `threads` parses long metainfo off the reactor thread; without it,
    that happens in place. Times are in seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        table: CatalogTable,
        *,
        clients: PeerTable | None = None,
        access: Access | None = None,
        admitting: Callable[[], bool] = lambda: True,
        heartbeat_timeout: float = 10.0,
        sweep_interval: float = 3.0,
        announce_interval: float = 30.0,
        origin: Origin | None = None,
        rng: random.Random | None = None,
        limits: Limits | None = None,
        threads: Threads | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        limits = limits or Limits()
        self._clock = clock
        self._table = table
        self._announce_interval = announce_interval
        self._origin = origin
        self._rng = rng or random.Random()  # noqa: S311 - for samples, not for secrets
        self._access = access or Access(clock=clock.seconds)
        self._admitting = admitting
        self._threads = threads
        self._registry = Registry(timeout=heartbeat_timeout, memory=_MEMORY, capacity=limits.nodes)
        self._swarms = Swarms(max_bytes=limits.held_bytes)
        self._reports = Reports(capacity=limits.reports)
        self._claims = Claims(timeout=heartbeat_timeout, capacity=limits.claims)
        self._catalog = Catalog(max_torrents=limits.torrents, max_pieces=limits.pieces)
        self._clients = clients or CompactTable(
            lifetime=_MEMORY, now=clock.seconds(), rng=self._rng
        )
        self._clients.nodes = self._swarms.live
        self._publishing = DeferredLock()
        self._describing: dict[str, list[Deferred[Entry]]] = {}
        self._is_loaded = False
        self.heartbeat_interval = heartbeat_timeout / 3
        """How often a node should beat, in seconds."""
        self.instance = f"{self._rng.getrandbits(64):016x}"
        """Changes when the tracker restarts, and with that forgets all nodes."""
        self.loaded: Deferred[None] = Deferred()
        sweeping = TimerService(sweep_interval, self._sweep)
        sweeping.clock = clock
        sweeping.setServiceParent(self)

    # -- its life

    def startService(self) -> None:
        """Begin to sweep and to load the catalog."""
        super().startService()  # type: ignore[no-untyped-call]
        if not self._is_loaded:
            Deferred.fromCoroutine(self._load()).chainDeferred(self.loaded)

    async def _load(self) -> None:
        torrents, names = await self._table.load()
        for row in torrents:
            try:
                self._catalog.put(await self._parse(row.metainfo), row)
            except Invalid as refusal:
                infohash = row.infohash.hex()
                _log.warn("{infohash} is not loaded: {why}", infohash=infohash, why=refusal.reason)
        for name in names:
            if self._catalog.find(name.infohash):
                self._catalog.name(name)
        self._is_loaded = True

    def _sweep(self) -> None:
        try:
            self._expire()
            for node in self._registry.forget(self._clock.seconds()):
                self._forget(node)
        except Exception:  # noqa: BLE001 - the timer must survive whatever happens here
            _log.failure("the sweep failed")

    def _expire(self) -> None:
        for node in self._registry.expire(self._clock.seconds()):
            self._swarms.hide(node)

    def _forget(self, node: NodeId) -> None:
        self._swarms.leave(node)
        self._reports.leave(node)

    # -- nodes

    def beat(self, node_id: NodeId, address: Address) -> None:
        """Note that a node is alive; raise Unavailable if the tracker knows too many."""
        self._expire()
        if self._registry.beat(node_id, address, self._clock.seconds()):
            self._swarms.show(node_id)

    def leave(self, node_id: NodeId) -> None:
        """Forget a node and all that it holds."""
        self._registry.leave(node_id)
        self._claims.leave(node_id)
        self._forget(node_id)

    def count_nodes(self) -> int:
        """Return how many nodes are alive."""
        self._expire()
        return len(self._registry)

    # -- who holds what

    def report(self, node_id: NodeId, piece_id: PieceId, progress: float, filename: str) -> None:
        """Note that a node holds a piece, and `progress` (0 to 1) of a file.

        The piece need not occur in any torrent. Raises Invalid or Unavailable.
        """
        if not 0 <= progress <= 1:
            raise Invalid("progress must be between 0 and 1")
        self._require_loaded()
        self._registry.remember(node_id, self._clock.seconds())
        entry = self._catalog.named(filename)
        if entry:
            self._access.check(entry.torrent.infohash)
        finished = self._reports.add(node_id, piece_id, progress, filename)
        if finished and entry:
            self._clients.count(entry.torrent.infohash)

    def holders(self, piece_id: PieceId) -> list[Address]:
        """Return where the live nodes listen that hold a piece, in random order."""
        self._expire()
        entries = list(self._catalog.containing(piece_id))
        allowed = list(filter(self._allowed, entries))
        if entries and not allowed:
            return []
        nodes = dict.fromkeys(self._reports.holders(piece_id))
        for entry in allowed:
            indexes = entry.torrent.indexes_of(piece_id)
            swarm = self._swarms.get(entry.torrent.infohash)
            for node, peer in swarm.peers.items() if swarm else ():
                if any(index in peer.held for index in indexes):
                    nodes[node] = None
        found = [address for node in nodes if (address := self._registry.address(node))]
        self._rng.shuffle(found)
        return found

    def announce(self, announcement: Announcement) -> Handout:
        """Note what a node holds of a torrent; return whom it may ask.

        Nodes that have not beaten lately are noted but not named. Raises NotFound for an unknown
        torrent, Denied for one that may not be shared, Invalid for a bitfield that does not fit,
        Unavailable.
        """
        self._expire()
        node = announcement.node_id
        if announcement.event is Event.STOPPED:
            self._swarms.stop(announcement.infohash, node)
            return Handout((), self._interval())
        entry = self._entry(announcement.infohash)
        held = Bitfield.from_bytes(announcement.bitfield, entry.torrent.piece_count)
        self._registry.remember(node, self._clock.seconds())
        peer = self._swarms.hold(announcement.infohash, node, held, announcement.zone)
        peer.uploaded = announcement.uploaded
        peer.downloaded = announcement.downloaded
        peer.left = announcement.left
        swarm = self._swarms.get(announcement.infohash)
        assert swarm is not None
        if node in self._registry:
            self._swarms.show(node, announcement.infohash)
        if announcement.event is Event.COMPLETED and held.complete and not peer.finished:
            peer.finished = True
            self._clients.count(announcement.infohash)
        return Handout(self._peers(swarm, announcement, held.complete), self._interval())

    def _peers(self, swarm: Swarm, asking: Announcement, seeding: bool) -> tuple[PeerRef, ...]:
        own = self._registry.address(asking.node_id)
        addresses = self._registry.address
        nodes = choose(
            swarm.everyone,
            swarm.zone(asking.zone),
            seeding=seeding,
            wanted=asking.wanted,
            # Where the asking node listens, nobody else does: that is its own former life.
            acceptable=lambda node: node != asking.node_id and addresses(node) != own,
            rng=self._rng,
        )
        return tuple(
            PeerRef(node, address, (peer := swarm.peers[node]).held.complete, peer.zone)
            for node in nodes
            if (address := addresses(node))
        )

    def _interval(self) -> float:
        return self._announce_interval * self._rng.uniform(0.8, 1.2)

    # -- torrents

    async def publish(self, metainfo: bytes, filename: str | None = None) -> Torrent:
        """Make a torrent known under a filename (its own name by default); return it.

        Whatever had that filename before stays reachable by its infohash. Raises Invalid,
        Denied, Unavailable.
        """
        self._require_loaded()
        torrent = await self._parse(metainfo)
        self._access.check(torrent.infohash)
        name = torrent.name if filename is None else filename
        parse_filename(name)
        await self._publishing.run(self._add, torrent, name, (), from_origin=False)
        return torrent

    async def resolve(self, name: str) -> Resolved:
        """Return the torrent with that infohash (40 hex digits) or filename.

        A filename that nobody has published is looked for at the origin, once for all who ask.
        Raises NotFound, Denied, Invalid (a name that cannot be looked for), Unavailable.
        """
        self._require_loaded()
        if _INFOHASH.fullmatch(name) and (known := self._catalog.find(parse_infohash(name))):
            return self._resolved(known, known.filename)
        entry = self._catalog.named(name)
        if self._origin and not is_url(name) and (entry is None or entry.names[name]):
            try:
                entry = await self._from_origin(name, self._origin)
            except Refusal as refusal:
                if entry is None:
                    raise
                _log.warn("no news of {name} from the origin: {why}", name=name, why=refusal)
        if entry is None:
            raise NotFound(f"nothing is published as {name[:80]!r}")
        return self._resolved(entry, name)

    def claim(self, name: str, node_id: NodeId) -> bool:
        """Note that a node is going to publish something as `name`; False if another one is.

        It must say so again with each heart beat. Raises Invalid, Unavailable.
        """
        return self._claims.take(name, node_id, self._clock.seconds())

    def release(self, name: str, node_id: NodeId) -> None:
        """Note that a node is not going to publish `name` after all."""
        self._claims.release(name, node_id)

    def torrent(self, infohash: InfoHash) -> Torrent:
        """Return a known torrent; raise NotFound, Denied, Unavailable."""
        return self._entry(infohash).torrent

    def metainfo(self, infohash: InfoHash) -> bytes:
        """Return a torrent's metainfo with its web seeds; raise NotFound, Denied, Unavailable."""
        entry = self._entry(infohash)
        return entry.torrent.to_bytes(web_seeds=entry.web_seeds)

    def metainfo_for_clients(self, infohash: InfoHash, announce: str) -> bytes:
        """Return metainfo that BitTorrent clients need no node of their own for.

        It names `announce` as its tracker, and some of the live complete nodes as web seeds
        (BEP 19). Raises NotFound, Denied, Unavailable.
        """
        self._expire()
        entry = self._entry(infohash)
        swarm = self._swarms.get(infohash)
        seeds = swarm.everyone.sample_seeds(_MOST_WEB_SEEDS, self._rng) if swarm else ()
        live = [
            f"http://{address}/files/{infohash.hex()}/"
            for node in seeds
            if (address := self._registry.address(node))
        ]
        web_seeds = [url for url in entry.web_seeds if not url.startswith("file:")]
        return entry.torrent.to_bytes(trackers=[[announce]], web_seeds=[*live, *web_seeds])

    def files(self) -> list[FileView]:
        """Return what every filename means now."""
        self._expire()
        return views.files(self._catalog, self._clients)

    def dump(self) -> TrackerView:
        """Return all the tracker knows; raise Unavailable if that is too much at once."""
        self._expire()
        return views.whole(self._registry, self._catalog, self._swarms, self._reports)

    async def _from_origin(self, name: str, origin: Origin) -> Entry:
        """Describe a file once, however many ask meanwhile; one who stops waiting stops none."""
        waiting: Deferred[Entry] = Deferred()
        if name in self._describing:
            self._describing[name].append(waiting)
            return await waiting
        if len(self._describing) >= _MOST_DESCRIPTIONS:
            raise Unavailable("too many files are being read from the origin; try again later")
        self._describing[name] = [waiting]

        def tell(outcome: object) -> None:
            for each in self._describing.pop(name):
                each.callback(outcome)  # type: ignore[arg-type]  # an entry or a Failure

        Deferred.fromCoroutine(self._describe(name, origin)).addBoth(tell)
        return await waiting

    async def _describe(self, name: str, origin: Origin) -> Entry:
        described = await origin.describe(name)
        seeds = (described.web_seed,)
        await self._publishing.run(self._add, described.torrent, name, seeds, from_origin=True)
        return self._catalog.entry(described.torrent.infohash)

    async def _add(
        self, torrent: Torrent, filename: str, web_seeds: tuple[str, ...], *, from_origin: bool
    ) -> None:
        """Write to the table, then to memory; only one of these runs at a time."""
        row = self._catalog.draft(torrent, web_seeds, self._clock.seconds())
        name = NameRow(filename, torrent.infohash, from_origin)
        known = self._catalog.find(torrent.infohash)
        if known and known.web_seeds == row.web_seeds and known.names.get(filename) is from_origin:
            return
        going = self._catalog.superseded(torrent, filename, self._swarms.empty)
        for old in going:
            await self._table.remove(old.torrent.infohash)
            self._catalog.remove(old)
            if not any(self._clients.scrape(old.torrent.infohash)[::2]):
                self._clients.remove(old.torrent.infohash)
        await self._table.put(row, name)
        self._catalog.put(torrent, row)
        self._catalog.name(name)

    async def _parse(self, metainfo: bytes) -> Torrent:
        if self._threads is None or len(metainfo) <= _SHORT_METAINFO:
            return Torrent.from_bytes(metainfo)
        return await self._threads(Torrent.from_bytes, metainfo)

    def _require_loaded(self) -> None:
        if not (self._is_loaded and self._admitting()):
            raise Unavailable("the tracker is still loading its tables; try again in a moment")

    def _entry(self, infohash: InfoHash) -> Entry:
        self._require_loaded()
        self._access.check(infohash)
        return self._catalog.entry(infohash)

    def _allowed(self, entry: Entry) -> bool:
        return self._access.allows(entry.torrent.infohash)

    def _resolved(self, entry: Entry, filename: str) -> Resolved:
        self._access.check(entry.torrent.infohash)
        return Resolved(entry.torrent, filename, entry.web_seeds)
