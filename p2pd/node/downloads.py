"""The downloads of a node and all that its user may do with them: what every API calls."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred

from p2pd import background
from p2pd.errors import Conflict, Invalid, NotFound
from p2pd.metainfo.ids import Address, InfoHash, parse_infohash
from p2pd.metainfo.magnet import Magnet, magnet_of
from p2pd.metainfo.paths import safe_name
from p2pd.metainfo.torrent import Torrent
from p2pd.node import snapshots
from p2pd.node.creation import create
from p2pd.node.download_views import (
    Counters,
    DownloadView,
    FileView,
    LinkView,
    Space,
    Statistics,
)
from p2pd.node.entries import ABSENT, HALTED
from p2pd.node.entry import Entry
from p2pd.node.events import Events, Kind
from p2pd.node.intake import Intake
from p2pd.node.job import Job
from p2pd.node.node import Node
from p2pd.node.options import (
    DownloadOptions,
    TrackerChoice,
    TrackerSource,
    merge_trackers,
    trackers_of,
)
from p2pd.node.outfit import Outfit
from p2pd.node.settings import NodeSettings
from p2pd.node.telling import Telling
from p2pd.node.upkeep import Upkeep
from p2pd.swarm.tracker_list import TrackerState


class Downloads(MultiService):
    """All downloads of a node, and the verbs of its user.

    A verb changes the state at once and returns when that is written down; what takes long goes
    on by itself, and `events` tells of it.  Verbs raise `NotFound`, `Invalid`, `Conflict`,
    `Denied` and `Unavailable` with reasons for the user.  The node runs as a part of this.
    """

    def __init__(self, node: Node, outfit: Outfit) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        around = outfit.surroundings
        self.node = node
        self.settings = outfit.settings
        self.events = Events(around.clock.seconds)
        self.loaded: Deferred[None] = Deferred()
        self._clock = around.clock
        self._store = around.store
        self._table = around.table
        self._acquisition = outfit.acquisition
        self._tracking = outfit.tracking
        self._started = around.clock.seconds()
        self._intake = Intake(
            node,
            outfit.acquisition,
            around.table,
            self.events,
            clock=around.clock,
            followed=self._tracking.follow,
        )
        now = around.clock.seconds
        self._telling = Telling(node, self._intake, self._tracking, self.events, now=now)
        self.told = self._telling.told  # as `Tracking` tells
        upkeep = Upkeep(
            node, around.store, self.events, clock=around.clock, settings=lambda: self.settings
        )
        for part in (node, upkeep, self._tracking):
            part.setServiceParent(self)  # type: ignore[no-untyped-call]

    # -- its life

    def startService(self) -> None:
        """Bring back what an earlier run left, and go on with it."""
        self.node.waits = True
        super().startService()  # type: ignore[no-untyped-call]
        background.start(self._load(), "loading downloads")

    async def _load(self) -> None:
        await background.joined(self.node.loaded)
        await self._apply(self.settings.kept(await self._table.load_settings()))
        await self._intake.load()
        self._telling.begin()
        self.node.entries.open()
        self.loaded.callback(None)

    def stopService(self) -> Deferred[None]:
        """Stop everything and write it down."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._intake.stop()
        await maybeDeferred(super().stopService)

    # -- who is there

    def jobs(self) -> list[Job]:
        """Every download, in the order of the queue."""
        jobs = [*self._intake.pending, *(entry.job for entry in self.node.library)]
        return sorted(jobs, key=lambda job: job.position)

    def find(self, name: str) -> Job:
        """The download with this infohash (40 hex digits), or with this tid; `NotFound`."""
        job = self.by_tid(name)
        if job is None:
            try:
                job = self.by_infohash(parse_infohash(name))
            except Invalid:
                job = None
        if job is None:
            raise NotFound(ABSENT)
        return job

    def by_infohash(self, infohash: InfoHash) -> Job | None:
        """The download of a torrent."""
        return self._intake.by_infohash(infohash)

    def by_tid(self, tid: str) -> Job | None:
        """The download that was asked for by a source whose SHA-1 this is, in hex."""
        return self._intake.by_tid(tid)

    # -- beginning

    async def add(
        self, source: str | bytes, options: DownloadOptions | None = None, *, wait: bool = True
    ) -> Job:
        """Begin a download, and give it; of what is here already, its trackers are merged.

        `source` is metainfo (bytes), or: an http(s) URL of a .torrent or of any file, a `file:`
        URL of a .torrent below the allowed roots, a magnet link, an infohash, or the name of a
        file of the fleet.  With `wait` it returns once the source is known to lead somewhere, and
        raises what is wrong with it, in which case nothing is added; without, at once, and a bad
        source makes a failed download.  Not waited for in any case: a torrent whose infohash is
        known already, a plain file that is being read.
        """
        await background.joined(self.loaded)
        return await self._intake.add(source, options or DownloadOptions(), wait=wait)

    async def share(
        self, path: str, name: str = "", options: DownloadOptions | None = None
    ) -> Job:
        """Share a file or directory of this machine where it lies; see `Node.share`."""
        await background.joined(self.loaded)
        options = options or DownloadOptions()
        source = options.source or name or Path(path).name
        job = Job(replace(options, source=source), added=self._clock.seconds())
        return (await self.node.share(Path(path), name or None, job)).job

    async def inspect(self, source: str) -> Torrent:
        """The torrent that a source leads to, without beginning anything; see `add`.

        Raises `Unavailable` if nobody answers in time.
        """
        return await self._acquisition.inspect(source)

    # -- verbs

    async def pause(self, job: Job) -> None:
        """Stop it until `resume`; `Conflict` if it is paused or failed."""
        self._require(job)
        if job.state in HALTED:
            raise Conflict(f"{job.name} is {job.state} already")
        if entry := await self._intake.settled(job):
            await self.node.verbs.pause(entry)
        else:
            await self._intake.pause(job)

    async def resume(self, job: Job) -> None:
        """Go on with what was paused or failed; `Conflict` if it is neither."""
        self._require(job)
        if job.entry is not None:
            await self.node.verbs.resume(job.entry)
        else:
            await self._intake.resume(job)

    async def recheck(self, job: Job) -> None:
        """Verify all that is on disk again; it goes on as it was, paused if it was."""
        await self.node.verbs.recheck(self._entry(job))

    async def remove(self, job: Job, *, data: bool) -> None:
        """Forget it; what is unfinished is deleted, finished files only with `data`.

        What was shared in place is never deleted.
        """
        if entry := await self._intake.settled(job):
            await self.node.verbs.remove(entry, data=data)
        else:
            await self._intake.remove(job)

    async def move(self, job: Job, directory: str, *, replace: bool = False) -> None:
        """Move its files into another directory below the allowed roots.

        Returns when they are there.  `Conflict` if something is there and not to be replaced.
        """
        into = directory.rstrip("/") + "/"
        if job.entry is not None:
            await self._relocate(job.entry, into, replace=replace)
        job.change(destination=into)
        await self._intake.written(job)

    async def _relocate(self, entry: Entry, destination: str, *, replace: bool) -> None:
        await self.node.verbs.move(entry, destination, replace=replace)
        path = str(entry.content.path)
        self.events.publish(Kind.RELOCATED, entry.job.id, entry.job.name, path=path)

    async def rename(self, job: Job, name: str) -> None:
        """Give its file or directory another name in the same place."""
        entry = self._entry(job)
        place = entry.content.path.with_name(safe_name(name))
        await self._relocate(entry, str(place), replace=False)

    async def select(self, job: Job, priorities: Sequence[int]) -> None:
        """Say how much each file is wanted, 0 to 7; see `DownloadOptions`."""
        await self.node.verbs.select(self._entry(job), priorities)
        self.events.publish(Kind.CHANGED, job.id, job.name)

    async def change(self, job: Job, **changes: Any) -> None:
        """Change options: limits, category, tags, metadata, seeding, sequential, ...

        `changes` are fields of `DownloadOptions`; `Invalid` for what is out of bounds.
        """
        self._require(job)
        job.change(**changes)
        if job.entry is not None:
            self.node.reconsider(job.entry)
        await self._intake.written(job)
        self.events.publish(Kind.CHANGED, job.id, job.name)

    async def place(self, job: Job, position: int) -> None:
        """Move it to a position of the queue, 0 being the first."""
        self._require(job)
        jobs = self.jobs()
        jobs.remove(job)
        jobs.insert(max(position, 0), job)
        moved = {one: at for at, one in enumerate(jobs, 1) if one.position != at}
        await self._table.place(
            {one.entry.torrent.infohash: at for one, at in moved.items() if one.entry},
            {one.number: at for one, at in moved.items() if one.entry is None},
        )
        for one, at in moved.items():
            one.position = at
        self.node.entries.arrange()
        self.events.publish(Kind.CHANGED, job.id, job.name)

    def _require(self, job: Job) -> None:
        """Raise `NotFound` for a download that is not here any more."""
        entry = job.entry
        here = entry is not None and self.node.library.find(entry.torrent.infohash) is entry
        if not here and job not in self._intake.pending:
            raise NotFound(ABSENT)

    def _entry(self, job: Job) -> Entry:
        self._require(job)
        if job.entry is None:
            raise Conflict(f"{job.name} has no metainfo yet: wait until it has")
        return job.entry

    # -- trackers and peers

    def trackers(self, job: Job) -> list[TrackerState]:
        """The trackers of a download, by tier."""
        if job.entry is not None:
            return self._tracking.states(job)
        return [TrackerState(one.url, one.tier, one.source) for one in job.options.trackers]

    async def add_trackers(self, job: Job, urls: Iterable[str], tier: int | None = None) -> None:
        """Announce to these trackers too; known ones are left as they are."""
        known = job.options.trackers
        last = max((one.tier for one in known), default=-1)
        tier = last + 1 if tier is None else tier
        named = tuple(TrackerChoice(url, tier, TrackerSource.CLIENT) for url in urls)
        await self.change(job, trackers=merge_trackers(known, named))
        if job.entry is not None:
            self._tracking.follow(job)

    async def remove_tracker(self, job: Job, url: str) -> None:
        """Announce to this tracker no more; `NotFound`."""
        left = tuple(one for one in job.options.trackers if one.url != url)
        if left == job.options.trackers:
            raise NotFound(f"{job.name} has no tracker {url}")
        await self.change(job, trackers=left)
        if job.entry is not None:
            self._tracking.remove(job, url)

    async def force_announce(self, job: Job, url: str | None = None) -> None:
        """Announce as soon as the trackers, or this one, allow."""
        self._tracking.force(job, url)

    def add_peers(self, job: Job, addresses: Iterable[Address]) -> None:
        """Try these nodes."""
        entry = self._entry(job)
        for address in addresses:
            self.node.introduce(entry, address)

    # -- looking

    def view(self, job: Job) -> DownloadView:
        """A download as it stands."""
        download = self.node.download(job.entry) if job.entry else None
        known = self._tracking.counts(job) if job.entry else (None, None)
        return snapshots.view_job(job, download, self._clock.seconds(), known)

    def files(self, job: Job) -> list[FileView]:
        """Its files; none as long as they are not known."""
        return snapshots.view_files(job.entry) if job.entry else []

    def links(self, job: Job) -> list[LinkView]:
        """Its peers."""
        if job.entry is None:
            return []
        download = self.node.download(job.entry)
        return snapshots.view_links(job.entry, download, self._clock.seconds())

    def bitfield(self, job: Job) -> bytes:
        """Which pieces are here and verified (BEP 3); empty as long as there are none."""
        return job.entry.held.to_bytes() if job.entry else b""

    def metainfo(self, job: Job) -> bytes:
        """Its .torrent file; `NotFound` as long as there is none."""
        if job.entry is None:
            raise NotFound(f"the metainfo of {job.name} is not known yet")
        return job.entry.published.to_bytes()

    def counters(self) -> Counters:
        """How many downloads there are of each kind."""
        return snapshots.count(self.jobs())

    async def statistics(self) -> Statistics:
        """The node as a whole."""
        size = await self._table.size()
        now = self._clock.seconds()
        return snapshots.sum_up(map(self.view, self.jobs()), self._started, now, size)

    async def space(self, path: str = "") -> Space:
        """Room where downloads go, or at a path below the allowed roots."""
        found = await self._store.space(path)
        return Space(path or str(self._store.root), *found)

    # -- the node

    async def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Change the node's settings, for good; `Invalid`, naming the setting."""
        changed = self.settings.changed(changes)
        await self._table.save_settings(dict(changes))
        await self._apply(changed)
        self.events.publish(Kind.SETTINGS, **changes)

    async def _apply(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.node.limit(upload=settings.max_upload_rate, download=settings.max_download_rate)
        self._store.least_free = settings.least_free
        self.node.entries.halted = settings.paused
        self.node.entries.bound(settings.max_active_downloads, settings.max_active_seeds)
        await self._intake.halt(halted=settings.paused)

    async def create(
        self,
        paths: Sequence[str],
        *,
        name: str = "",
        trackers: Sequence[str] = (),
        comment: str = "",
        download: bool = False,
    ) -> bytes:
        """Make a .torrent of files below the allowed roots, and share it if `download`.

        Several paths must lie in one directory, which is then what is shared of them.
        """
        made = await create(self._store, paths, name, trackers=trackers, comment=comment)
        torrent, content = made
        if download:
            await background.joined(self.loaded)
            source = magnet_of(Magnet(torrent.infohash, torrent.name))
            named = trackers_of(torrent.trackers, TrackerSource.TORRENT)
            options = DownloadOptions(source=source, trackers=named)
            job = Job(options, added=self._clock.seconds())
            job.shared = True
            await self.node.keep(content, torrent.name, job)
        return torrent.to_bytes()
