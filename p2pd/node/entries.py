"""The entries of a library over a restart, in the queue, and from one state to the next."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from p2pd import background
from p2pd.errors import Conflict, NotFound, Refusal
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import InfoHash
from p2pd.node.checkpoints import Checkpoints
from p2pd.node.entry import SETTLED, Entry
from p2pd.node.job import Removal
from p2pd.node.library import Library
from p2pd.node.records import Record
from p2pd.node.transfers import Surroundings, Transfers
from p2pd.swarm import queue
from p2pd.swarm.lifecycle import State

HALTED = frozenset({State.PAUSED, State.FAILED})
ABSENT = "this download does not exist"


class Entries:
    """What happens to a node's entries; `changed` hears of each one that moved to another state.

    Those that are queued begin as far as the bounds allow, 0 being none; nothing begins before
    `open`.
    """

    _log = Logger()

    def __init__(
        self,
        surroundings: Surroundings,
        library: Library,
        transfers: Transfers,
        *,
        changed: Callable[[Entry], None],
        gone: Callable[[Entry], None],
    ) -> None:
        self._with = surroundings
        self._library = library
        self._transfers = transfers
        self._changed = changed
        self._gone = gone
        self._open = False
        self._arranging = self._again = False
        self.halted = False
        """Whether nothing may be active at all."""
        self._locks: dict[InfoHash, DeferredLock] = {}
        self.downloads = self.seeds = 0
        self.checkpoints = Checkpoints(
            surroundings.table,
            surroundings.store,
            boot=surroundings.boot,
            threads=surroundings.threads,
            now=surroundings.clock.seconds,
        )

    def now(self) -> float:
        """The node's time."""
        return self._with.clock.seconds()

    # -- over a restart

    async def load(self) -> None:
        """Bring back what an earlier run left; nothing begins yet."""
        for entry, record in await self.checkpoints.load():
            if entry.job.removing:
                await self.forget(entry)
                continue
            self._library.add(entry)
            await self._come_back(entry, record)

    async def _come_back(self, entry: Entry, record: Record) -> None:
        if entry.job.moving_to:
            background.start(self._end_move(entry), "moving a download", NotFound)
        state = State(record.state)
        if entry.job.is_paused:  # be it that a recheck was going on
            state = State.PAUSED
        if state in HALTED:
            entry.advance(state, record.error)
        elif not entry.content.covers(entry.wanted_files):
            # Until the first checkpoint of this run the record must not pass for clean.
            entry.verify = not record.clean
            await self.checkpoints.save(entry)

    async def _return(self, entry: Entry) -> None:
        """Take up a published entry again, verifying it only if it looks changed."""
        async with self.alone(entry):
            wrong = ""
            if entry.wanted_files is not None and entry.wanted_left:
                wrong = "some of it was never verified"
            try:
                await entry.content.inspect()
            except Conflict as conflict:
                wrong = conflict.reason
            except Refusal as refusal:
                self.damaged(entry, refusal.reason)
                return
            if wrong:
                entry.advance(State.CHECKING)
                whole, _ = await self.look(entry)
                if not whole:
                    self.damaged(entry, wrong)
                    return
            self.take(entry)

    async def _end_move(self, entry: Entry) -> None:
        """Go on with a move that was cut short."""
        async with self.alone(entry):
            try:
                await entry.content.move(Path(entry.job.moving_to))
                entry.job.shared = False
            except Refusal as refusal:
                self._log.warn(
                    "{name} stays where it is: {reason}",
                    name=entry.filename,
                    reason=refusal.reason,
                )
            entry.job.moving_to = ""
            await self.checkpoints.save(entry)

    async def look(self, entry: Entry) -> tuple[bool, Bitfield]:
        """Verify what lies where an entry was published, as it is now.

        Gives whether that is all that is wanted, and which pieces are there.
        """
        entry.drop_all()
        torrent, wanted = entry.torrent, entry.wanted_files
        found = Bitfield(torrent.piece_count)
        try:
            content = await self._with.store.adopt(torrent, entry.content.path, wanted)
        except Refusal:
            return False, found
        # Booked when all is verified: a stop before that must not leave it behind as trusted.
        await content.check(range(torrent.piece_count), found.add)
        whole = content.covers(wanted) and all(index in found for index in entry.wanted)
        if whole:
            entry.content = content
            entry.hold(found)
        return whole, found

    def open(self) -> None:
        """Let those that are queued begin."""
        self._open = True
        self.arrange()

    async def stop(self) -> None:
        """Stop all transfers; returns when nothing is being written."""
        self._open = False
        await self._transfers.stop()

    async def leave_clean(self) -> None:
        """Write everything down for the next run."""
        for entry in self._library:
            if not self._is_here(entry):
                continue
            # Before it downloads, its partial files may hold more than was looked through so far.
            clean = entry.state in (State.DOWNLOADING, State.COMPLETE)
            if entry.state is State.DOWNLOADING and entry.held.count:
                try:
                    await entry.content.sync()
                except Refusal:
                    clean = False
            await self.checkpoints.save(entry, clean=clean)

    async def checkpoint(self) -> None:
        """Write down what changed."""
        for entry in self._library:
            if self._is_here(entry) and not self.checkpoints.written(entry):
                await self.checkpoints.save(entry)

    def _is_here(self, entry: Entry) -> bool:
        return self._library.find(entry.torrent.infohash) is entry

    # -- the queue

    def bound(self, downloads: int, seeds: int) -> None:
        """Let so many be active at a time, 0 being no bound."""
        self.downloads, self.seeds = downloads, seeds
        self.arrange()

    def arrange(self) -> None:
        """Begin and put back entries so that the first in the queue are active."""
        self._again = True
        if not self._open or self._arranging:
            return
        self._arranging = True
        try:
            while self._again:
                self._again = False
                self._arrange()
        finally:
            self._arranging = False

    def _arrange(self) -> None:
        willing = [entry for entry in self._library if self._is_willing(entry)]
        willing.sort(key=lambda entry: entry.job.position)
        chosen = set(
            queue.active(
                [(entry, self._is_seed(entry)) for entry in willing],
                downloads=self.downloads,
                seeds=self.seeds,
            )
        )
        for entry in willing:
            self._let(entry, may=not self.halted and entry in chosen)

    def _is_willing(self, entry: Entry) -> bool:
        return entry.state not in HALTED and entry.torrent.infohash not in self._locks

    def _is_seed(self, entry: Entry) -> bool:
        # One that has just become complete is still active at this moment.
        done = entry.state is State.COMPLETE or not self._transfers.active(entry)
        return done and not entry.wanted_left

    def _let(self, entry: Entry, *, may: bool) -> None:
        waiting = entry.state is State.QUEUED and not self._transfers.active(entry)
        if may and waiting:
            if entry.content.covers(entry.wanted_files):
                background.start(self._return(entry), "taking up a share", NotFound)
            else:
                self._transfers.launch(entry)
        elif not may and not waiting:
            background.start(self._put_back(entry), "putting a download back", NotFound)

    async def _put_back(self, entry: Entry) -> None:
        async with self.alone(entry):
            await self._transfers.halt(entry)
            if entry.state not in (*HALTED, State.QUEUED):
                self.move(entry, State.QUEUED)

    @asynccontextmanager
    async def alone(self, entry: Entry) -> AsyncIterator[None]:
        """Let one verb at a time work on an entry, which the queue leaves alone meanwhile.

        Raises `NotFound` for one that is not here any more.
        """
        async with self.alone_with(entry.torrent.infohash):
            if not self._is_here(entry):
                raise NotFound(ABSENT)
            yield

    @asynccontextmanager
    async def alone_with(self, infohash: InfoHash) -> AsyncIterator[None]:
        """Let nobody else begin, change or end an entry of this torrent."""
        lock = self._locks.setdefault(infohash, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()  # from here on, the next one may be at work, or through with it
            if not lock.locked and self._locks.get(infohash) is lock:
                del self._locks[infohash]
            self.arrange()

    # -- what happens

    async def begin(self, entry: Entry, *, settles: int | None = None) -> None:
        """Take in a new entry; it begins when its turn comes.  Returns when it is written down.

        `settles` is the row of the download without metainfo that it was before.
        """
        last = max((other.job.position for other in self._library), default=0)
        entry.job.position = entry.job.position or last + 1
        if entry.content.covers():
            entry.hold_all()
            entry.finished = self.now()
            entry.advance(State.COMPLETE)
        elif entry.job.is_paused:
            entry.advance(State.PAUSED)
        entry.job.moved(self.now())
        try:
            await self.checkpoints.save(entry, settles=settles)
        except BaseException:
            entry.job.entry = None
            raise
        failed = self._library.find(entry.torrent.infohash)
        self._library.add(entry)
        if failed is not None:
            self._gone(failed)
        self.moved(entry)
        if entry.state is State.COMPLETE:
            await self._supersede(entry)

    def take(self, entry: Entry) -> None:
        """Serve an entry whose wanted files are published, without having been fetched now."""
        if entry.wanted_files is None:
            entry.hold_all()
        entry.fetched = False
        entry.finished = self.now() if entry.finished is None else entry.finished
        self.move(entry, State.COMPLETE)

    def moved(self, entry: Entry) -> None:
        """Follow an entry into the state that it moved to."""
        entry.job.moved(self.now())
        self._changed(entry)
        background.start(self.checkpoints.save(entry), "a checkpoint")
        if entry.state is State.COMPLETE and entry.fetched:
            background.start(self._supersede(entry), "dropping what was replaced")
        self.arrange()

    def move(self, entry: Entry, state: State, error: str = "") -> None:
        """Move an entry to another state."""
        entry.advance(state, error)
        self.moved(entry)

    def damaged(self, entry: Entry, reason: str) -> None:
        """Stop serving an entry whose files are not what was verified; twice is fine."""
        if entry.state is State.FAILED:
            return
        self._log.warn("{name} is damaged: {reason}", name=entry.filename, reason=reason)
        self._transfers.abandon(entry)
        entry.damaged(reason)
        self.moved(entry)

    def drop(self, entry: Entry) -> None:
        """Let an entry be on this node no longer."""
        if entry.state not in HALTED:
            entry.advance(State.PAUSED)
        self._library.remove(entry.torrent.infohash)
        self._gone(entry)

    async def forget(self, entry: Entry) -> None:
        """Delete an entry's record, and as much of its content as was asked for."""
        content = entry.content
        try:
            await (content.delete() if entry.job.removing is Removal.ALL else content.discard())
        except Refusal as refusal:
            self._log.warn(
                "files of {name} stay: {reason}", name=entry.filename, reason=refusal.reason
            )
        await self.checkpoints.forget(entry)

    async def _supersede(self, entry: Entry) -> None:
        """Drop entries whose files were replaced by this one's."""
        for other in self._library:
            if other is entry or other.content.path != entry.content.path:
                continue
            if other.state not in SETTLED:
                continue
            try:
                await other.content.inspect()
            except Refusal:
                if other.state is State.COMPLETE:
                    other.damaged(f"replaced by {entry.filename}")
                if self._is_here(other):
                    self.drop(other)
                    await self.checkpoints.forget(other)
