"""How downloads begin: a source is followed to its metainfo, and an entry of the library made."""

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from p2pd import background
from p2pd.errors import Busy, Conflict, Invalid, NotFound, Refusal
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.magnet import Magnet, magnet_of
from p2pd.node.acquisition import Acquired, Acquisition
from p2pd.node.entries import ABSENT, HALTED
from p2pd.node.entry import Entry
from p2pd.node.events import Events, Kind
from p2pd.node.job import Job, Level, tid_of
from p2pd.node.node import Node
from p2pd.node.options import (
    NORMAL,
    UNWANTED,
    DownloadOptions,
    Trackers,
    TrackerSource,
    merge_trackers,
    trackers_of,
)
from p2pd.node.records import PendingRecord, ResumeTable
from p2pd.node.sources import Source, parse_source
from p2pd.swarm.lifecycle import State

_MOST_PENDING = 10_000


class Intake:
    """The downloads that have no metainfo yet, and the names that all downloads go by.

    `followed` hears of each download that got further trackers after it began.
    """

    _log = Logger()

    def __init__(
        self,
        node: Node,
        acquisition: Acquisition,
        table: ResumeTable,
        events: Events,
        *,
        clock: IReactorTime,
        followed: Callable[[Job], None],
    ) -> None:
        self._node = node
        self._acquisition = acquisition
        self._table = table
        self._events = events
        self._clock = clock
        self._followed = followed
        self._following: dict[Job, Deferred[None]] = {}
        self._asking: dict[Job, Deferred[Acquired]] = {}
        self._writing = DeferredLock()
        self._halted = False
        self._names: dict[str, Job] = {}
        self.pending: list[Job] = []

    # -- over a restart

    async def load(self) -> None:
        """Bring back what an earlier run left."""
        for entry in self._node.library:
            self.know(entry.job)
        for record in await self._table.load_pending():
            try:
                job = Job.from_json(record.job, record.number)
                state = State(record.state)
            except (Refusal, ValueError, TypeError):
                self._log.failure("pending download {number} cannot be read", number=record.number)
                continue
            job.infohash = record.infohash
            self._wait_for(job)
            if state in HALTED:
                job.advance(state, record.error)
            else:
                self._follow(job)

    async def stop(self) -> None:
        """Stop following sources, and write down how far that came."""
        for job in list(self._following):
            await self._halt(job)
            await self._save(job)

    # -- names

    def know(self, job: Job) -> None:
        """Let a download be found by the sources that it was asked for by."""
        for tid in job.tids:
            self._names[tid] = job

    def forget(self, job: Job) -> None:
        """Let a download be found no more."""
        for tid in job.tids:
            if self._names.get(tid) is job:
                del self._names[tid]

    def by_tid(self, tid: str) -> Job | None:
        """The download that was asked for by the source of this name."""
        return self._names.get(tid.lower())

    def by_infohash(self, infohash: InfoHash) -> Job | None:
        """The download of a torrent, be its metainfo known or not."""
        if entry := self._node.library.find(infohash):
            return entry.job
        return next((job for job in self.pending if job.infohash == infohash), None)

    def last_position(self) -> int:
        """The position of the last in the queue."""
        jobs = [*self.pending, *(entry.job for entry in self._node.library)]
        return max((job.position for job in jobs), default=0)

    # -- beginning

    async def add(self, source: str | bytes, options: DownloadOptions, *, wait: bool) -> Job:
        """Begin a download; see `Downloads.add`."""
        if isinstance(source, bytes):
            torrent = await self._node.parse(source)
            name = options.source or magnet_of(Magnet(torrent.infohash, torrent.name))
            job = await self._united(self._new(replace(options, source=name)), torrent.infohash)
            return (await self._begin(job, Acquired.of(torrent))).job
        found = parse_source(source)
        trackers = merge_trackers(options.trackers, _named_in(found))
        options = replace(options, source=source, trackers=trackers)
        job = await self._known(source, found, options) or await self._expect(
            self._new(options), found
        )
        if wait and job.infohash is None and job in self._following:
            await job.when_identified()
            await deferLater(self._clock, 0)  # for who follows it to be through with that
        if wait and job.refusal is not None:
            if job in self.pending:
                await self.remove(job)
            raise job.refusal
        return self.by_tid(job.tid) or job

    def _new(self, options: DownloadOptions) -> Job:
        job = Job(options, added=self._clock.seconds())
        job.position = self.last_position() + 1
        job.paused_at = job.added if options.paused else None
        return job

    async def _known(self, source: str, found: Source, options: DownloadOptions) -> Job | None:
        """Give the download that a source leads to, if it is here and did not fail."""
        job = self.by_tid(tid_of(source))
        if job is None and found.infohash is not None:
            job = self.by_infohash(found.infohash)
        if job is not None and job.state is not State.FAILED:
            await self._merge(job, source, options.trackers)
            return job
        if job is not None and job in self.pending:
            await self.remove(job)
        return None

    async def _expect(self, job: Job, found: Source) -> Job:
        """Begin to follow a source that nobody asked for before."""
        if len(self.pending) >= _MOST_PENDING:
            raise Busy(f"{_MOST_PENDING} downloads have no metainfo yet: remove some, or wait")
        job.infohash, job.magnet = found.infohash, found.magnet
        self._wait_for(job)
        if job.is_paused:
            job.advance(State.PAUSED)
        try:
            await self._save(job)
        except BaseException:
            self._drop(job)
            raise
        self._events.publish(Kind.ADDED, job.id, job.name)
        if job.state is State.QUEUED:
            self._follow(job)
        return job

    def _wait_for(self, job: Job) -> None:
        self.pending.append(job)
        self.know(job)

    def _drop(self, job: Job) -> None:
        """Let a download wait no more; what failed before under its names has them again."""
        self.pending.remove(job)
        self.forget(job)
        if job.infohash is not None and (older := self.by_infohash(job.infohash)):
            self.know(older)

    async def _merge(self, job: Job, source: str, trackers: Trackers) -> None:
        """Let a download that is here already be the one that was asked for."""
        job.also_from(source)
        merged = merge_trackers(job.options.trackers, trackers)
        if merged != job.options.trackers:
            job.change(trackers=merged)
            if job.entry is not None:
                self._followed(job)
        self.know(job)
        await self.written(job)

    async def written(self, job: Job) -> None:
        """Write down what was changed of a download."""
        if job.entry is None:
            await self._save(job)
        else:
            await self._node.entries.checkpoints.save(job.entry)

    # -- following a source

    def _follow(self, job: Job) -> None:
        if self._halted:
            return
        job.refusal = None
        job.advance(State.METAINFO)
        job.moved(self._clock.seconds())
        following = background.start(self._acquire(job), "following a source")

        def ended(_: None) -> None:
            self._following.pop(job, None)

        if not following.called:
            self._following[job] = following
            following.addCallback(ended)

    async def _acquire(self, job: Job) -> None:
        # To ask may be cancelled at any time, to begin what was found may not.
        asking = Deferred.fromCoroutine(self._acquisition.acquire(job))
        self._asking[job] = asking
        asked = job
        try:
            try:
                acquired = await asking
            finally:
                del self._asking[asked]
            job = await self._united(asked, acquired.torrent.infohash)
            await self._begin(job, acquired)
        except CancelledError:
            raise
        except Refusal as refusal:
            await self._fail(job, refusal)
        except Exception as error:
            await self._fail(job, Conflict("p2pd failed; its log tells why"))
            raise error from None
        finally:
            asked.identified()

    async def _united(self, job: Job, infohash: InfoHash) -> Job:
        """Give the download that waits for this torrent by another source; if none does, `job`.

        One that has found it at the same moment is left alone: the node knows which was first.
        """
        for other in self.pending:
            if other is job or other.infohash != infohash:
                continue
            if other in self._following and other not in self._asking:
                continue
            await self._halt(other)
            if job in self.pending:
                await self._table.forget_pending(job.number)
                self._drop(job)
            await self._merge(other, job.options.source, job.options.trackers)
            return other
        return job

    async def _fail(self, job: Job, refusal: Refusal) -> None:
        now = self._clock.seconds()
        job.refusal = refusal
        job.advance(State.FAILED, refusal.reason)
        job.moved(now)
        job.note(now, Level.FATAL, refusal.reason)
        self._events.publish(Kind.FAILED, job.id, job.name, reason=refusal.reason)
        await self._save(job)

    async def _begin(self, job: Job, acquired: Acquired) -> Entry:
        """Make a download an entry, or part of one that is here already."""
        torrent = acquired.torrent
        if not acquired.trusted:  # else a stranger's web seeds would pass for the fleet's
            told = (*torrent.web_seeds, *acquired.web_seeds)
            torrent = replace(torrent, web_seeds=tuple(dict.fromkeys(told)))
        job.trusted = acquired.trusted
        inside = trackers_of(torrent.trackers, TrackerSource.TORRENT)
        job.change(
            trackers=merge_trackers(job.options.trackers, (*acquired.trackers, *inside)),
            priorities=_priorities(job.options, acquired),
        )
        older = self._node.library.find(torrent.infohash)
        if acquired.content is not None:
            entry = await self._node.keep(acquired.content, acquired.filename, job, fetched=True)
        else:
            entry = await self._node.begin(torrent, acquired.filename, job)
        if job in self.pending:
            self.pending.remove(job)
        if entry.job is not job:
            self.forget(job)
            await self._table.forget_pending(job.number)
            await self._merge(entry.job, job.options.source, job.options.trackers)
        else:
            for source in older.job.sources if older else ():
                job.also_from(source)
            self.know(job)
            await self.written(job)
            self._events.publish(Kind.METAINFO, job.id, job.name)
        return entry

    async def _save(self, job: Job) -> None:
        """Write down a download, one at a time: the first time, it gets its number."""
        await self._writing.run(self._write, job)

    async def _write(self, job: Job) -> None:
        if job in self.pending:
            job.number = await self._table.save_pending(
                PendingRecord(
                    job.number,
                    job.infohash,
                    job.state.value,
                    job.error,
                    job.to_json(self._clock.seconds()),
                )
            )

    # -- verbs

    async def settled(self, job: Job) -> Entry | None:
        """Follow a source no further; gives the entry that it has become by then, if any.

        Raises `NotFound` for a download that is not here any more.
        """
        await self._halt(job)
        if job.entry is None and job not in self.pending:
            raise NotFound(ABSENT)
        return job.entry

    async def halt(self, *, halted: bool) -> None:
        """Follow no source at all, or all those again that wait for it."""
        self._halted = halted
        for job in tuple(self.pending):
            if not halted and job.state is State.QUEUED:
                self._follow(job)
            elif halted and job in self._following:
                await self._halt(job)
                if job.state is State.METAINFO:
                    job.advance(State.QUEUED)
                    job.moved(self._clock.seconds())

    async def _halt(self, job: Job) -> None:
        if asking := self._asking.get(job):
            asking.cancel()
        if following := self._following.get(job):
            await background.joined(following)

    async def pause(self, job: Job) -> None:
        """Let a download whose source is not followed stay so."""
        job.advance(State.PAUSED)
        job.moved(self._clock.seconds())
        await self._save(job)
        self._events.publish(Kind.PAUSED, job.id, job.name)

    async def resume(self, job: Job) -> None:
        """Follow its source again."""
        if job.state not in HALTED:
            raise Conflict(f"{job.name} is {job.state}")
        job.advance(State.QUEUED)
        await self._save(job)
        self._events.publish(Kind.RESUMED, job.id, job.name)
        self._follow(job)

    async def remove(self, job: Job) -> None:
        """Forget it, and what was read of its source."""
        await self._table.forget_pending(job.number)
        self._drop(job)
        self._events.publish(Kind.REMOVED, job.id, job.name)
        await self._acquisition.discard(job)


def _named_in(source: Source) -> Trackers:
    """The trackers that a magnet link names, each in a tier of its own."""
    urls = source.magnet.trackers if source.magnet else ()
    return trackers_of(([url] for url in urls), TrackerSource.MAGNET)


def _priorities(options: DownloadOptions, acquired: Acquired) -> tuple[int, ...]:
    """How much each file is wanted; `Invalid` if what was asked for does not fit the torrent."""
    paths = [file.path for file in acquired.torrent.files if not file.padding]
    given, selected = options.priorities, options.selected or acquired.selected
    if given and len(given) != len(paths):
        raise Invalid(f"there are {len(paths)} files: give each a priority, not {len(given)}")
    if given or not selected:
        return given
    meant = set(selected)
    chosen = tuple(
        NORMAL if {index, path[-1], "/".join(path)} & meant else UNWANTED
        for index, path in enumerate(paths)
    )
    if not any(chosen):
        raise Invalid("none of the selected files is in the torrent")
    return chosen
