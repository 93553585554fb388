"""The node: the one object its frontends talk to."""

import dataclasses
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from p2pd import background
from p2pd.errors import Conflict, NotFound, Refusal
from p2pd.metainfo.ids import NO_ZONE, Address, NodeId, PieceId, Zone
from p2pd.metainfo.torrent import Torrent
from p2pd.node.announcer import Announcer
from p2pd.node.download import Download
from p2pd.node.entries import Entries
from p2pd.node.entry import Entry
from p2pd.node.job import Job
from p2pd.node.library import Library
from p2pd.node.options import DownloadOptions
from p2pd.node.ports import Content, Extent, Resolved, TrackerLink
from p2pd.node.throttle import Throttle
from p2pd.node.transfers import Surroundings, Transfers
from p2pd.node.verbs import Verbs
from p2pd.node.views import NodeView, TransferView, view_transfer
from p2pd.protocol.announcement import PeerRef
from p2pd.swarm.lifecycle import State

_CHECKPOINT = 5.0
_LEAVE_TIMEOUT = 2.0


class Node(MultiService):
    """One machine of the fleet.

    It talks to its trackers once `address` is set: the address at which others reach it is
    known only when it listens.  All that it sends and fetches passes `uplink` and `downlink`.
    Peers of its own `zone` are near.  `loaded` fires when all that an earlier run left is back;
    if it `waits`, as who starts it may say, nothing of that goes on before `entries.open`.
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
        self.waits = False
        self.listeners: list[Callable[[Entry], None]] = []
        """Hear of each entry that moved to another state."""
        self.leavers: list[Callable[[Entry], None]] = []
        """Hear of each entry that is here no longer."""
        self._transfers = Transfers(
            surroundings,
            self.library,
            parallel=parallel,
            downlink=self.downlink,
            own=lambda: self.address,
            changed=lambda entry: self.entries.moved(entry),  # noqa: PLW0108 - made below
        )
        self.entries = Entries(
            surroundings, self.library, self._transfers, changed=self._moved, gone=self._gone
        )
        self.verbs = Verbs(self.entries, self._transfers, surroundings.store)
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
        await self.entries.load()
        if not self.waits:
            self.entries.open()
        self.loaded.callback(None)

    async def _stop(self) -> None:
        await self.entries.stop()
        for announcer in self._announcers:
            leaving = Deferred.fromCoroutine(announcer.leave())
            leaving.addTimeout(_LEAVE_TIMEOUT, self._clock)
            leaving.addErrback(lambda _: None)  # the tracker will notice by itself
            await leaving
        await maybeDeferred(super().stopService)
        await self.entries.leave_clean()
        self._with.store.rest()

    # -- what the trackers say, and are told

    def _met(self, entry: Entry, peers: Iterable[PeerRef]) -> None:
        others = [peer for peer in peers if peer.node_id != self.node_id]
        for near in (True, False):
            addresses = [peer.address for peer in others if self._is_near(peer.zone) is near]
            self._transfers.meet(entry, addresses, near=near)

    def _is_near(self, zone: Zone) -> bool:
        return zone == self.zone != NO_ZONE

    def _moved(self, entry: Entry) -> None:
        """Tell the trackers of an entry's next state."""
        for announcer in self._announcers:
            if entry.state is State.DOWNLOADING:
                announcer.started(entry)
            elif entry.state is State.COMPLETE:
                (announcer.completed if entry.fetched else announcer.started)(entry)
            elif not entry.serves or entry.state is State.FAILED:
                announcer.stopped(entry)
        for listener in self.listeners:
            listener(entry)

    def _gone(self, entry: Entry) -> None:
        if entry.torrent.infohash not in self.library:
            for announcer in self._announcers:
                announcer.stopped(entry)
        for leaver in self.leavers:
            leaver(entry)

    async def _checkpoint(self) -> None:
        try:
            await self.entries.checkpoint()
        except Exception:  # noqa: BLE001 - a timer whose body raises never runs again
            self._log.failure("writing a checkpoint failed")
        # A file that somebody deletes takes its room on the disk while it is open.
        self._with.store.rest()

    # -- verbs

    def _job(self, source: str, **options: Any) -> Job:
        """What is wanted of an entry that is asked for by itself."""
        options_ = DownloadOptions(source=source, **options)
        return Job(options_, added=self._clock.seconds())

    async def share(self, path: Path, name: str | None = None, job: Job | None = None) -> Entry:
        """Share a file or directory where it lies, under a fleet filename.

        Returns when every tracker that answers knows it; the others are told later.  Raises
        `Unavailable` if it cannot be read, `Invalid` if it cannot be a torrent, `Conflict` if
        the same content is being downloaded.
        """
        await self.loaded
        torrent, content = await self._with.store.describe(path, name)
        job = job or self._job(name or torrent.name)
        job.shared = True
        return await self.keep(content, name or torrent.name, job)

    async def keep(
        self, content: Content, filename: str, job: Job, *, fetched: bool = False
    ) -> Entry:
        """Share content that is published already; returns as `share` does.

        `fetched` if that was done now, for this job.  The entry that is given has another job if
        the torrent is here already.
        """
        async with self.entries.alone_with(content.torrent.infohash):
            entry = self.library.find(content.torrent.infohash)
            if entry is None or entry.state is State.FAILED:
                entry = Entry(content, filename=filename, job=job)
                entry.fetched = fetched
                await self.entries.begin(entry, settles=job.number or None)
            elif entry.state is not State.COMPLETE:
                raise Conflict(f"{filename} is being downloaded to {entry.content.path}")
            elif not await self._intact(entry):
                entry.content = content
            entry.filename = filename
        await self._publish(entry)
        return entry

    async def _publish(self, entry: Entry) -> None:
        for announcer in self._announcers:
            await announcer.publish(entry)

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
        job = self._job(found.filename, destination=destination, replace=replace)
        return await self.begin(torrent, found.filename, job)

    async def add(
        self, torrent: Torrent, filename: str, *, destination: str = "", replace: bool = False
    ) -> Entry:
        """Download a torrent; what is here or on its way already is not begun anew.

        Raises `Invalid` for a destination outside the download directory, `Conflict` if the
        torrent goes or went to another place.
        """
        job = self._job(filename, destination=destination, replace=replace)
        job.trusted = False
        return await self.begin(torrent, filename, job)

    async def begin(self, torrent: Torrent, filename: str, job: Job) -> Entry:
        """Download a torrent as a job says; see `add`.

        The entry that is given has another job if the torrent is here or on its way already.
        """
        await self.loaded
        destination = job.options.destination
        content = self._with.store.begin(torrent, destination)
        async with self.entries.alone_with(torrent.infohash):
            entry = self.library.find(torrent.infohash)
            if entry is not None and not await self._intact(entry):
                self.entries.damaged(entry, "it changed on disk, or is gone")
            if entry is None or entry.state is State.FAILED:
                entry = Entry(content, filename=filename, job=job)
                await self.entries.begin(entry, settles=job.number or None)
            elif destination and entry.content.path != content.path:
                raise Conflict(f"{entry.filename} is already at {entry.content.path}")
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
        if entry is not None:
            limits = {"upload_limit": upload, "download_limit": download}
            entry.job.change(**{name: rate for name, rate in limits.items() if rate is not None})
            self.reconsider(entry)
            background.start(self.entries.checkpoints.save(entry), "a checkpoint")
            return
        if upload is not None:
            self.uplink.set_rate(upload)
        if download is not None:
            self.downlink.set_rate(download)
            self._transfers.relimit()

    def download(self, entry: Entry) -> Download | None:
        """What fetches an entry, while something does."""
        return self._transfers.get(entry)

    def reconsider(self, entry: Entry) -> None:
        """Take up the limits that an entry's user has changed."""
        options = entry.job.options
        self.uplink.set_rate(options.upload_limit, entry.upload_limit)
        self.downlink.set_rate(options.download_limit, entry.download_limit)
        self._transfers.reconsider(entry)

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
            self.entries.damaged(entry, conflict.reason)
            raise NotFound(f"{entry.filename} is damaged: {conflict.reason}") from conflict

    async def read_piece(self, piece_id: PieceId) -> tuple[Entry, bytes]:
        """The whole of a piece; as `open`, but if other entries hold it too, they serve."""
        while True:
            entry, index = self.library.find_piece(piece_id)
            try:
                return entry, await entry.content.read(index)
            except Conflict as conflict:
                self.entries.damaged(entry, conflict.reason)

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
