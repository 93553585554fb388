"""The node: the one object its frontends talk to."""

import dataclasses
from collections.abc import Generator, Iterable
from pathlib import Path

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from p2pd import background
from p2pd.errors import Conflict, NotFound, Refusal
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import NO_ZONE, Address, NodeId, PieceId, Zone
from p2pd.metainfo.torrent import Torrent
from p2pd.node.announcer import Announcer
from p2pd.node.checkpoints import Checkpoints
from p2pd.node.entry import SETTLED, Entry
from p2pd.node.library import Library
from p2pd.node.ports import Extent, Resolved, TrackerLink
from p2pd.node.throttle import Throttle
from p2pd.node.transfers import Surroundings, Transfers
from p2pd.node.views import NodeView, TransferView, view_transfer
from p2pd.protocol.announcement import PeerRef
from p2pd.swarm.lifecycle import State

_CHECKPOINT = 5.0
_LEAVE_TIMEOUT = 2.0


class Node(MultiService):
    """One machine of the fleet.

    It talks to its trackers once `address` is set: the address at which others reach it is
    known only when it listens.  All that it sends and fetches passes `uplink` and `downlink`.
    Peers of its own `zone` are near.  `loaded` fires when all that an earlier run left is back.
    """

    _log = Logger()

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        node_id: NodeId,
        trackers: Iterable[TrackerLink] = (),
        parallel: int = 8,
        heartbeat_interval: float = 3.0,
        zone: Zone = NO_ZONE,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.node_id = node_id
        self.zone = zone
        self.address: Address | None = None
        self.library = Library()
        self.loaded: Deferred[None] = Deferred()
        self._with = surroundings
        self._clock = surroundings.clock
        self.uplink = surroundings.uplink or Throttle(self._clock)
        self.downlink = surroundings.downlink or Throttle(self._clock)
        self._checkpoints = Checkpoints(
            surroundings.table,
            surroundings.store,
            boot=surroundings.boot,
            threads=surroundings.threads,
        )
        self._transfers = Transfers(
            surroundings,
            self.library,
            parallel=parallel,
            downlink=self.downlink,
            own=lambda: self.address,
            changed=self._moved,
        )
        self._announcers = [self._announcer(link, heartbeat_interval) for link in trackers]
        timer = TimerService(_CHECKPOINT, self._checkpoint)
        timer.clock = self._clock
        timer.setServiceParent(self)

    def _announcer(self, link: TrackerLink, interval: float) -> Announcer:
        announcer = Announcer(
            link,
            self.library,
            clock=self._clock,
            node_id=self.node_id,
            zone=self.zone,
            address=lambda: self.address,
            interval=interval,
            rng=self._with.rng,
            met=self._met,
            eager=lambda entry: entry.state is State.DOWNLOADING,
        )
        announcer.setServiceParent(self)  # type: ignore[no-untyped-call]
        return announcer

    # -- its life

    def startService(self) -> None:
        """Bring back what an earlier run left, and go on with it."""
        super().startService()  # type: ignore[no-untyped-call]
        background.start(self._load(), "loading")

    def stopService(self) -> Deferred[None]:
        """Stop transfers, write everything down, tell the trackers; fires when that is done."""
        return Deferred.fromCoroutine(self._stop())

    async def _load(self) -> None:
        for entry, record in await self._checkpoints.load():
            self.library.add(entry)
            if record.state in (State.FAILED, State.PAUSED):
                entry.advance(State(record.state), record.error)
            elif record.state == State.COMPLETE or record.stamps:
                background.start(self._return(entry), "taking up a share")
            else:
                # Until the first checkpoint of this run the record must not pass for clean.
                await self._checkpoints.save(entry)
                self._transfers.launch(entry, verify=not record.clean)
        self.loaded.callback(None)

    async def _return(self, entry: Entry) -> None:
        """Take up a published entry again, verifying it only if it looks changed."""
        try:
            await entry.content.inspect()
        except Conflict as conflict:
            if not await self._verify_again(entry):
                self.damaged(entry, conflict.reason)
                return
        except Refusal as refusal:
            self.damaged(entry, refusal.reason)
            return
        self._take(entry)

    async def _verify_again(self, entry: Entry) -> bool:
        entry.advance(State.CHECKING)
        entry.drop_all()
        try:
            content = await self._with.store.adopt(entry.torrent, entry.content.path)
        except Refusal:
            return False
        # Booked when all is verified: a stop before that must not leave it behind as trusted.
        found = Bitfield(entry.torrent.piece_count)
        await content.check(range(entry.torrent.piece_count), found.add)
        if found.complete:
            entry.content = content
        return found.complete

    async def _stop(self) -> None:
        await self._transfers.stop()
        for announcer in self._announcers:
            leaving = Deferred.fromCoroutine(announcer.leave())
            leaving.addTimeout(_LEAVE_TIMEOUT, self._clock)
            leaving.addErrback(lambda _: None)  # the tracker will notice by itself
            await leaving
        await maybeDeferred(super().stopService)
        for entry in self.library:
            await self._leave_clean(entry)
        self._with.store.rest()

    async def _leave_clean(self, entry: Entry) -> None:
        # Before it downloads, its partial files may hold more than was looked through so far.
        clean = entry.state in (State.DOWNLOADING, State.COMPLETE)
        if entry.state is State.DOWNLOADING and entry.held.count:
            try:
                await entry.content.sync()
            except Refusal:
                clean = False
        await self._checkpoints.save(entry, clean=clean)

    # -- what the trackers say, and are told

    def _met(self, entry: Entry, peers: Iterable[PeerRef]) -> None:
        others = [peer for peer in peers if peer.node_id != self.node_id]
        for near in (True, False):
            addresses = [peer.address for peer in others if self._is_near(peer.zone) is near]
            self._transfers.meet(entry, addresses, near=near)

    def _is_near(self, zone: Zone) -> bool:
        return zone == self.zone != NO_ZONE

    def _moved(self, entry: Entry) -> None:
        """Follow a download into its next state."""
        background.start(self._checkpoints.save(entry), "a checkpoint")
        if entry.state is State.COMPLETE:
            background.start(self._supersede(entry), "dropping what was replaced")
        for announcer in self._announcers:
            if entry.state is State.DOWNLOADING:
                announcer.started(entry)
            elif entry.state is State.COMPLETE:
                announcer.completed(entry)
            elif entry.state is State.FAILED:
                announcer.stopped(entry)

    def _take(self, entry: Entry) -> None:
        """Serve an entry that is whole without having been downloaded now."""
        entry.hold_all()
        entry.advance(State.COMPLETE)
        background.start(self._checkpoints.save(entry), "a checkpoint")
        for announcer in self._announcers:
            announcer.started(entry)

    async def _supersede(self, entry: Entry) -> None:
        """Drop entries whose files were replaced by this one's."""
        for other in self.library:
            if other is entry or other.content.path != entry.content.path:
                continue
            if other.state not in SETTLED:
                continue
            try:
                await other.content.inspect()
            except Refusal:
                if other.state is State.COMPLETE:
                    other.damaged(f"replaced by {entry.filename}")
                self.library.remove(other.torrent.infohash)
                await self._checkpoints.forget(other)
                for announcer in self._announcers:
                    announcer.stopped(other)

    async def _checkpoint(self) -> None:
        try:
            for entry in self.library:
                await self._checkpoints.save(entry)
        except Exception:  # noqa: BLE001 - a timer whose body raises never runs again
            self._log.failure("writing a checkpoint failed")
        # A file that somebody deletes takes its room on the disk while it is open.
        self._with.store.rest()

    # -- verbs

    async def share(self, path: Path, name: str | None = None) -> Entry:
        """Share a file or directory where it lies, under a fleet filename.

        Returns when every tracker that answers knows it; the others are told later.  Raises
        `Unavailable` if it cannot be read, `Invalid` if it cannot be a torrent, `Conflict` if
        the same content is being downloaded.
        """
        await self.loaded
        torrent, content = await self._with.store.describe(path, name)
        filename = name or torrent.name
        entry = self.library.find(torrent.infohash)
        if entry is not None and entry.state not in (State.COMPLETE, State.FAILED):
            raise Conflict(f"{filename} is being downloaded to {entry.content.path}")
        if entry is None or entry.state is State.FAILED:
            entry = Entry(content, filename=filename, added=self._clock.seconds())
            entry.finished = entry.added
            self.library.add(entry)
            self._take(entry)
        elif not await self._intact(entry):
            entry.content = content
        entry.filename = filename
        for announcer in self._announcers:
            await announcer.publish(entry)
        return entry

    async def resolve(self, name: str) -> Resolved:
        """Find a torrent by filename or infohash: here, at the trackers, at the own origin.

        Raises `NotFound` if all say no, `Unavailable` if some could not say.
        """
        refusal: Refusal = NotFound(f"no file named {name} is known: share it first")
        for announcer in self._announcers:
            try:
                return await announcer.link.resolve(name)
            except NotFound:
                continue
            except Refusal as unanswered:
                refusal = unanswered
        if entry := self.library.named(name):
            return Resolved(entry.torrent, entry.filename, entry.torrent.web_seeds)
        if self._with.origin is not None:
            described = await self._with.origin.describe(name)
            return Resolved(described.torrent, name, (described.web_seed,))
        raise refusal

    async def start(self, name: str, *, destination: str = "", replace: bool = False) -> Entry:
        """Download by filename or infohash; see `resolve` and `add`."""
        found = await self.resolve(name)
        torrent = dataclasses.replace(found.torrent, web_seeds=found.web_seeds)
        return await self.add(torrent, found.filename, destination=destination, replace=replace)

    async def add(
        self, torrent: Torrent, filename: str, *, destination: str = "", replace: bool = False
    ) -> Entry:
        """Download a torrent; what is here or on its way already is not begun anew.

        Raises `Invalid` for a destination outside the download directory, `Conflict` if the
        torrent goes or went to another place.
        """
        await self.loaded
        content = self._with.store.begin(torrent, destination)
        known = self.library.find(torrent.infohash)
        if known is not None and not await self._intact(known):
            self.damaged(known, "it changed on disk, or is gone")
        entry = self.library.find(torrent.infohash)
        if entry is not None and entry.state is not State.FAILED:
            if destination and entry.content.path != content.path:
                raise Conflict(f"{entry.filename} is already at {entry.content.path}")
            return entry
        entry = Entry(content, filename=filename, added=self._clock.seconds(), replace=replace)
        self.library.add(entry)
        self._moved(entry)
        self._transfers.launch(entry, verify=True)
        return entry

    async def _intact(self, entry: Entry) -> bool:
        """Whether the files of a complete entry are as they were published."""
        try:
            if entry.state is State.COMPLETE:
                await entry.content.inspect()
        except Conflict:
            return False
        return True

    async def parse(self, metainfo: bytes) -> Torrent:
        """Read metainfo off the reactor thread, for that can take long; raises `Invalid`."""
        return await self._with.threads(Torrent.from_bytes, metainfo)

    def introduce(self, entry: Entry, address: Address, zone: Zone = NO_ZONE) -> None:
        """Hear from a peer itself that it is in a swarm."""
        self._transfers.meet(entry, [address], near=self._is_near(zone))

    def limit(
        self, entry: Entry | None = None, *, upload: int | None = None, download: int | None = None
    ) -> None:
        """Change limits (bytes/s, 0: none) of an entry, or of the node until it starts anew."""
        if upload is not None:
            self.uplink.set_rate(upload, entry.upload_limit if entry else None)
        if download is not None:
            self.downlink.set_rate(download, entry.download_limit if entry else None)
            self._transfers.relimit()
        if entry is not None:
            background.start(self._checkpoints.save(entry), "a checkpoint")

    def urge(self, entry: Entry, indexes: Iterable[int]) -> None:
        """Fetch these pieces first: somebody is reading them."""
        if download := self._transfers.get(entry):
            download.urge(indexes)

    def now(self) -> float:
        """The node's time."""
        return self._clock.seconds()

    # -- serving

    def find_piece(self, piece_id: PieceId) -> tuple[Entry, int]:
        """An entry that holds a piece, and its index there; raises `NotFound`."""
        return self.library.find_piece(piece_id)

    def open(
        self, entry: Entry, index: int, start: int, length: int
    ) -> Generator[Extent, None, None]:
        """Open a range of a held piece for a sender; see `Content.locate`.

        An entry whose files changed on disk is marked damaged, and not served: `NotFound`.
        `Unavailable` if the disk refuses.
        """
        try:
            return entry.content.locate(index, start, length)
        except Conflict as conflict:
            self.damaged(entry, conflict.reason)
            raise NotFound(f"{entry.filename} is damaged: {conflict.reason}") from conflict

    async def read_piece(self, piece_id: PieceId) -> tuple[Entry, bytes]:
        """The whole of a piece; as `open`, but if other entries hold it too, they serve."""
        while True:
            entry, index = self.library.find_piece(piece_id)
            try:
                return entry, await entry.content.read(index)
            except Conflict as conflict:
                self.damaged(entry, conflict.reason)

    def damaged(self, entry: Entry, reason: str) -> None:
        """Stop serving an entry whose files are not what was verified; twice is fine."""
        if entry.state is State.FAILED:
            return
        self._log.warn("{name} is damaged: {reason}", name=entry.filename, reason=reason)
        self._transfers.abandon(entry)
        entry.damaged(reason)
        self._moved(entry)

    # -- views

    def transfers(self) -> list[TransferView]:
        """Every entry, in the order they were added."""
        return [self.transfer(entry) for entry in self.library]

    def transfer(self, entry: Entry) -> TransferView:
        """One entry."""
        download = self._transfers.get(entry)
        return view_transfer(entry, download.transfer if download else None, self._clock.seconds())

    def view(self) -> NodeView:
        """The node itself."""
        return NodeView(
            self.node_id,
            self.address,
            int(self.uplink.rate),
            int(self.downlink.rate),
            tuple(announcer.view() for announcer in self._announcers),
        )
