"""What is looked at every few seconds: seeding rules, room on the disk."""

from collections.abc import Awaitable, Callable

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from p2pd.errors import Refusal
from p2pd.node.entry import Entry
from p2pd.node.events import Events, Kind
from p2pd.node.job import Level
from p2pd.node.node import Node
from p2pd.node.options import SeedingRule
from p2pd.node.ports import Store
from p2pd.node.settings import NodeSettings
from p2pd.swarm.lifecycle import State

_INTERVAL = 5.0


class Upkeep(TimerService):
    """Pauses seeds that have done what their rule asks, and downloads that would fill the disk."""

    _log = Logger()

    def __init__(
        self,
        node: Node,
        store: Store,
        events: Events,
        *,
        clock: IReactorTime,
        settings: Callable[[], NodeSettings],
    ) -> None:
        super().__init__(_INTERVAL, self._look)  # type: ignore[no-untyped-call]
        self.clock = clock
        self._node = node
        self._store = store
        self._events = events
        self._settings = settings

    async def _look(self) -> None:
        try:
            rule = self._settings().seeding
            for entry in self._node.library:
                if entry.state is State.COMPLETE and (reason := self._served(entry, rule)):
                    entry.job.note(self._node.now(), Level.DEBUG, f"paused, as {reason}")
                    await self._try(self._node.verbs.pause(entry))
            await self._look_at_space()
        except Exception:  # noqa: BLE001 - a timer whose body raises never runs again
            self._log.failure("looking after downloads failed")

    def _served(self, entry: Entry, usual: SeedingRule) -> str:
        """Why a seed has done what its rule asks, or the usual one; empty if it has not."""
        rule = entry.job.options.seeding or usual
        served = entry.uploaded / (entry.downloaded or entry.torrent.size or 1)
        if rule.ratio is not None and served >= rule.ratio:
            return f"its ratio is {served:.2f}"
        if rule.seconds is not None:
            seconds = entry.job.seeding_time(self._node.now())
            return f"it was served for {rule.seconds:g} s" if seconds >= rule.seconds else ""
        return ""

    async def _look_at_space(self) -> None:
        least = self._settings().least_free
        going = [entry for entry in self._node.library if entry.state is State.DOWNLOADING]
        for directory in {entry.content.path.parent for entry in going}:
            try:
                free = (await self._store.space(str(directory))).available
            except Refusal:
                continue
            if free >= least:
                continue
            self._events.publish(Kind.LOW_SPACE, path=str(directory), free=free)
            reason = f"only {free} bytes are free in {directory}: make room, then resume"
            for entry in going:
                if entry.content.path.parent == directory:
                    await self._try(self._node.verbs.fail(entry, reason))

    async def _try(self, verb: Awaitable[None]) -> None:
        try:
            await verb
        except Refusal as refusal:  # somebody else halted or removed it meanwhile
            self._log.debug("{reason}", reason=refusal.reason)
