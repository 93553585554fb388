"""What survives a restart: tables that are written a little behind, and a file of the swarms."""

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import fields
from math import ceil
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from p2pd.errors import Invalid
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.ports import AdminTables, Mark, SwarmFile
from p2pd.tracker.records import Changes

_BEAT = 0.25
_ROUNDS = 20  # how often all torrents are swept within the lifetime of a peer

_log = Logger()


class Persistence(Service):
    """Loads the tables and the swarms when it starts, opens `announcing`, and keeps both up.

    What changes is written within `write_behind` seconds, and the swarms every
    `snapshot_interval` seconds; both at the end too. What cannot be written is kept and tried
    again. It also is the clock of the peer table, whose silent peers go after `lifetime` seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        announcing: Announcing,
        tables: AdminTables,
        swarms: SwarmFile,
        *,
        lifetime: float,
        write_behind: float = 1.0,
        snapshot_interval: float = 300.0,
    ) -> None:
        self._clock = clock
        self._announcing = announcing
        self._table = announcing.table
        self._access = announcing.access
        self._tables = tables
        self._swarms = swarms
        self._lifetime = lifetime
        self._write_behind = write_behind
        self._snapshot_interval = snapshot_interval
        self._unwritten = Changes()
        self._writing = DeferredLock()
        self._loops: list[tuple[LoopingCall, Deferred[LoopingCall]]] = []
        self._at_end: list[_Retried] = []
        self._loading: Deferred[None] = Deferred()
        self.loaded: Deferred[None] = Deferred()
        """Fires when all is loaded, or with what kept it from being."""

    def startService(self) -> None:
        """Begin to load."""
        super().startService()  # type: ignore[no-untyped-call]
        self._repeat(_BEAT, self._beat)
        self._loading = Deferred.fromCoroutine(self._load())
        self._loading.addCallbacks(self._keep_up, self._not_loaded)

    def stopService(self) -> Deferred[None]:
        """Write everything, if everything has been loaded."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def export(self, after: Mark | None = None) -> tuple[Changes, Mark | None]:
        """Return a portion of all that the tables keep, as of now; see `AdminTables.load`.

        Raises Unavailable, also until all has been loaded: what is counted before is no whole.
        """
        self._announcing.require_open()
        if after is None:
            await self._write()
        return await self._tables.load(after)

    # -- loading

    async def _load(self) -> None:
        self._table.tick(self._clock.seconds())
        portion, mark = await self._tables.load()
        self._take(portion)
        while mark is not None:
            portion, mark = await self._tables.load(mark)
            self._take(portion)
        await self._restore()

    def _take(self, stored: Changes) -> None:
        self._table.load((key, count) for key, count in stored.counts.items() if count is not None)
        self._access.load(stored)

    async def _restore(self) -> None:
        async with aclosing(self._swarms.read()) as portions:
            async for portion in portions:
                try:
                    self._table.restore(portion)
                except Invalid as refusal:
                    _log.warn("swarms are not restored: {why}", why=refusal.reason)
                    return

    def _keep_up(self, _: None) -> None:
        self._announcing.open = True
        written = _Retried("writing the tables", self._write)
        saved = _Retried("saving the swarms", self._save)
        self._repeat(self._write_behind, written)
        self._repeat(self._snapshot_interval, saved)
        self._at_end = [written, saved]
        self.loaded.callback(None)

    def _not_loaded(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.loaded.errback(failure)

    # -- keeping up

    def _beat(self) -> None:
        try:
            self._table.tick(self._clock.seconds())
            if self._announcing.open:
                torrents = self._table.totals()[0]
                self._table.sweep(ceil(torrents * _ROUNDS * _BEAT / self._lifetime))
                self._access.sweep()
        except Exception:  # noqa: BLE001 - the timer must survive whatever happens here
            _log.failure("the sweep failed")

    async def _write(self) -> None:
        await self._writing.acquire()
        try:
            changes = self._access.changes()
            changes.counts = self._table.changes()
            # What could not be written comes first, so that nothing newer is overwritten.
            self._unwritten = _merged(self._unwritten, changes)
            if self._unwritten:
                await self._tables.write(self._unwritten)
                self._unwritten = Changes()
        finally:
            self._writing.release()

    async def _save(self) -> None:
        await self._swarms.write(self._table.dump())

    def _repeat(self, seconds: float, call: Callable[[], object]) -> None:
        loop = LoopingCall(call)
        loop.clock = self._clock
        self._loops.append((loop, loop.start(seconds, now=False)))

    async def _stop(self) -> None:
        self._loading.cancel()
        self._announcing.open = False  # what came after the last write would be lost
        loops, self._loops = self._loops, []
        for loop, ended in loops:
            loop.stop()
            await ended
        for last in self._at_end:
            await last()


class _Retried:
    """Something that is tried again and again; the log hears of the first failure in a row."""

    def __init__(self, what: str, attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._what = what
        self._attempt = attempt
        self._failing = False

    def __call__(self) -> Deferred[None]:
        """Try once; fires when that has ended, however."""
        return Deferred.fromCoroutine(self._attempt()).addCallbacks(self._worked, self._failed)

    def _worked(self, _: None) -> None:
        if self._failing:
            _log.info("{what} works again", what=self._what)
        self._failing = False

    def _failed(self, failure: Failure) -> None:
        if not self._failing:
            _log.failure("{what} failed; it is tried again", failure=failure, what=self._what)
        self._failing = True


def _merged(older: Changes, newer: Changes) -> Changes:
    names = (field.name for field in fields(Changes))
    return Changes(**{name: getattr(older, name) | getattr(newer, name) for name in names})
