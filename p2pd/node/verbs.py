"""What a user does with one entry: pause, resume, recheck, remove, move, select files."""

from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred

from p2pd import background
from p2pd.errors import Conflict, Invalid, Refusal
from p2pd.metainfo.bitfield import Bitfield
from p2pd.node.entries import HALTED, Entries
from p2pd.node.entry import Entry
from p2pd.node.job import Removal
from p2pd.node.ports import Store
from p2pd.node.transfers import Transfers
from p2pd.swarm.lifecycle import State


class Verbs:
    """Each verb returns when what it did is written down, and works on an entry alone."""

    def __init__(self, entries: Entries, transfers: Transfers, store: Store) -> None:
        self._entries = entries
        self._transfers = transfers
        self._store = store

    async def pause(self, entry: Entry) -> None:
        """Halt an entry until `resume`; `Conflict` if it is halted."""
        async with self._entries.alone(entry):
            if entry.state in HALTED:
                raise Conflict(f"{entry.filename} is {entry.state} already")
            await self._halt(entry, State.PAUSED)

    async def fail(self, entry: Entry, reason: str) -> None:
        """Halt an entry for a reason that its user must look at."""
        async with self._entries.alone(entry):
            await self._halt(entry, State.FAILED, reason)

    async def _halt(self, entry: Entry, state: State, error: str = "") -> None:
        await self._transfers.halt(entry)
        if entry.state not in HALTED:
            self._entries.move(entry, state, error)
        await self._entries.checkpoints.save(entry)

    async def resume(self, entry: Entry) -> None:
        """Go on with an entry that was paused or failed; `Conflict` if it is neither.

        What is damaged is verified first, to be fetched as far as it is not there any more.
        """
        async with self._entries.alone(entry):
            if entry.state not in HALTED:
                raise Conflict(f"{entry.filename} is {entry.state}")
            lacks = entry.wanted_left and entry.content.covers(entry.wanted_files)
            damaged = entry.state is State.FAILED and lacks
            if not damaged:
                self._entries.move(entry, State.QUEUED)
                await self._entries.checkpoints.save(entry)
        if damaged:
            await self.recheck(entry)

    async def recheck(self, entry: Entry) -> None:
        """Verify all that is on disk, then go on as before; returns when it has begun."""
        begun: Deferred[None] = Deferred()
        background.start(self._recheck(entry, begun), "a recheck")
        await begun

    async def _recheck(self, entry: Entry, begun: Deferred[None]) -> None:
        try:
            async with self._entries.alone(entry):
                await self._transfers.halt(entry)
                entry.drop_all()
                if entry.state is not State.CHECKING:
                    self._entries.move(entry, State.CHECKING)
                await self._entries.checkpoints.save(entry)
                begun.callback(None)
                await self._verify(entry)
        except Refusal as refusal:
            if begun.called:
                raise
            begun.errback(refusal)

    async def _verify(self, entry: Entry) -> None:
        try:
            state = await self._check(entry)
        except Refusal as refusal:
            self._entries.move(entry, State.FAILED, f"damaged: {refusal.reason}")
        else:
            entry.fetched = False
            self._entries.move(entry, State.PAUSED if entry.job.is_paused else state)

    async def _check(self, entry: Entry) -> State:
        """Find out which pieces are there, and what the entry is to do then."""
        if entry.content.covers(entry.wanted_files):
            whole, found = await self._entries.look(entry)
            if whole:
                return State.COMPLETE
            if entry.job.shared:
                raise Conflict("it changed on disk, or is gone: share it again")
            await self._begin_anew(entry, found)
        else:
            await entry.content.check(range(entry.torrent.piece_count), entry.got)
            entry.verify = False
        return State.QUEUED

    async def _begin_anew(self, entry: Entry, found: Bitfield) -> None:
        """Fetch those files again of which pieces lack; they are replaced when all is there."""
        torrent, path = entry.torrent, entry.content.path
        good = [
            at
            for at, file in enumerate(entry.files)
            if (entry.wanted_files is None or at in entry.wanted_files)
            and all(index in found for index in torrent.pieces_of(file))
        ]
        try:
            content = await self._store.adopt(torrent, path, good)
        except Conflict:
            content = self._store.begin(torrent, str(path))
        entry.content = content
        entry.verify = True
        entry.job.change(replace=True)

    async def remove(self, entry: Entry, *, data: bool) -> None:
        """Forget an entry, with its finished files if `data`; shared ones stay."""
        async with self._entries.alone(entry):
            await self._transfers.halt(entry)
            # From here on a restart ends what is begun.
            whole = data and not entry.job.shared
            entry.job.removing = Removal.ALL if whole else Removal.UNFINISHED
            await self._entries.checkpoints.save(entry)
            self._entries.drop(entry)
            await self._entries.forget(entry)

    async def move(self, entry: Entry, destination: str, *, replace: bool) -> None:
        """Move an entry's files, finished or not; `destination` is what `Store.begin` takes."""
        async with self._entries.alone(entry):
            path = self._store.place(entry.torrent, destination)
            if path == entry.content.path:
                return
            running = self._transfers.active(entry)
            await self._transfers.halt(entry)
            entry.job.moving_to = str(path)
            await self._entries.checkpoints.save(entry)
            try:
                await entry.content.move(path, replace=replace)
                entry.job.shared = False
            finally:
                entry.job.moving_to = ""
                if running and entry.state not in (*HALTED, State.COMPLETE):
                    self._entries.move(entry, State.QUEUED)
                await self._entries.checkpoints.save(entry)

    async def select(self, entry: Entry, priorities: Sequence[int]) -> None:
        """Take up other priorities for an entry's files."""
        if len(priorities) != len(entry.files):
            raise Invalid(f"{entry.filename} has {len(entry.files)} files: give each a priority")
        options = replace(entry.job.options, priorities=tuple(priorities))
        async with self._entries.alone(entry):
            await self._transfers.halt(entry)
            entry.job.change(priorities=options.priorities)
            entry.select()
            if entry.state not in (*HALTED, State.QUEUED):
                self._entries.move(entry, State.QUEUED)
            await self._entries.checkpoints.save(entry)
