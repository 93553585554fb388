"""One download as its user knows it, from the moment it is asked for, whatever becomes of it."""

import hashlib
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from p2pd.errors import Refusal
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.magnet import Magnet
from p2pd.node.options import DownloadOptions
from p2pd.node.sources import public
from p2pd.swarm.lifecycle import State, advance

if TYPE_CHECKING:
    from p2pd.node.entry import Entry

_MOST_LINES = 100
_LONGEST_LINE = 500
_MOST_ALIASES = 100
_KEPT = (
    "position",
    "started",
    "paused_at",
    "active",
    "seeded",
    "aliases",
    "moving_to",
    "removing",
    "shared",
    "trusted",
)
_RUNNING = frozenset({State.METAINFO, State.ALLOCATING, State.CHECKING, State.DOWNLOADING})


class Removal(StrEnum):
    """What of a download's content goes with it: what is unfinished, or all."""

    NO = ""
    UNFINISHED = "unfinished"
    ALL = "all"


class Level(StrEnum):
    """How grave a line of a download's log is."""

    DEBUG = "debug"
    WARNING = "warning"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a download's log; `time` is in Unix seconds."""

    time: float
    level: Level
    text: str


@lru_cache(1024)
def tid_of(source: str) -> str:
    """What names a download by its source: the SHA-1 of it, 40 hex digits."""
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Job:
    """What its user asked for, and all that is remembered of it beside its content.

    Until its metainfo is known it has no `entry`, and its state is its own: fetching metainfo,
    queued, paused or failed.  From then on the state is the entry's.  Times are Unix seconds.
    `total` is None as long as nobody knows it.
    """

    def __init__(self, options: DownloadOptions, *, added: float, number: int = 0) -> None:
        self.number = number
        """What its row in the table of those without metainfo is called."""
        self.options = options
        self.infohash: InfoHash | None = None
        self.entry: Entry | None = None
        self.added = added
        self.position = 0
        self.started: float | None = None
        self.paused_at: float | None = None
        self.active = 0.0
        self.seeded = 0.0
        self.log: deque[Line] = deque(maxlen=_MOST_LINES)
        self.aliases: tuple[str, ...] = ()
        """Other sources that turned out to be the same torrent."""
        self.moving_to = ""
        self.removing = Removal.NO
        """What a removal, once begun, ends with even after a restart."""
        self.shared = False
        """Whether its files were here before, and so are not ours to delete."""
        self.trusted = True
        """Whether the web seeds of its metainfo are our trackers' or our user's."""
        self.magnet: Magnet | None = None
        self.refusal: Refusal | None = None
        """What was wrong with its source, when that was last followed."""
        self.received = 0
        self.total: int | None = None
        self._called = "", "", ""
        self._state = State.QUEUED
        self._error = ""
        self._active_since: float | None = None
        self._seeding_since: float | None = None
        self._identifying: list[Deferred[None]] = []

    # -- how it stands

    @property
    def state(self) -> State:
        """What it is doing."""
        return self.entry.state if self.entry else self._state

    @property
    def error(self) -> str:
        """Why it failed; empty if it did not."""
        return self.entry.error if self.entry else self._error

    @property
    def tid(self) -> str:
        """What names it by its source."""
        return self._names()[1]

    @property
    def sources(self) -> tuple[str, ...]:
        """All that it was asked for by."""
        return self.options.source, *self.aliases

    @property
    def tids(self) -> Iterator[str]:
        """All names by sources that it goes by."""
        return map(tid_of, self.sources)

    @property
    def id(self) -> str:
        """Its infohash; what names it by its source as long as that is not known."""
        return self.infohash.hex() if self.infohash else self.tid

    @property
    def name(self) -> str:
        """What to call it."""
        if self.options.name:
            return self.options.name
        if self.entry:
            return self.entry.torrent.name
        return (self.magnet.name if self.magnet else "") or self.shown_source

    @property
    def shown_source(self) -> str:
        """Its source as others may see it: without a password."""
        return self._names()[2]

    def _names(self) -> tuple[str, str, str]:
        """Its source, what it is called by that, and how others may see it; lists ask often."""
        source = self.options.source
        if not self._called[1] or self._called[0] != source:
            self._called = source, tid_of(source), public(source)
        return self._called

    @property
    def is_paused(self) -> bool:
        """Whether its user halted it; it may be verified meanwhile."""
        return self.paused_at is not None

    @property
    def complete(self) -> bool:
        """Whether all that is wanted of it is here, each file by its final name."""
        entry = self.entry
        return (
            entry is not None
            and entry.wanted_left == 0
            and entry.content.covers(entry.wanted_files)
        )

    def elapsed(self, now: float) -> float:
        """Seconds that it spent downloading."""
        since = self._active_since
        return self.active + (now - since if since is not None else 0.0)

    def seeding_time(self, now: float) -> float:
        """Seconds that it was complete and served."""
        since = self._seeding_since
        return self.seeded + (now - since if since is not None else 0.0)

    # -- what happens to it

    def advance(self, state: State, error: str = "") -> None:
        """Move to another state while there is no entry; `Conflict` as the lifecycle says."""
        self._state = advance(self._state, state)
        self._error = error

    def moved(self, now: float) -> None:
        """Note the time of a change of state."""
        self.active, self.seeded = self.elapsed(now), self.seeding_time(now)
        self._active_since = now if self.state in _RUNNING else None
        self._seeding_since = now if self.state is State.COMPLETE else None
        if self.state in _RUNNING and self.started is None:
            self.started = now
        if self.state is State.PAUSED:
            self.paused_at = now if self.paused_at is None else self.paused_at
        elif self.state is not State.CHECKING:  # a recheck leaves it paused
            self.paused_at = None

    def note(self, now: float, level: Level, text: str) -> None:
        """Write a line into its log."""
        self.log.append(Line(now, level, text[:_LONGEST_LINE]))

    def change(self, **changes: Any) -> None:
        """Change some of its options; raises `Invalid` for what is out of bounds."""
        self.options = replace(self.options, **changes)

    def also_from(self, source: str) -> None:
        """Note another source that it was asked for by."""
        if source and source not in self.sources and len(self.sources) <= _MOST_ALIASES:
            self.aliases = (*self.aliases, source)

    def when_identified(self) -> Deferred[None]:
        """Fires once it is known whether its source leads to anything: look at `state` then."""
        waiting: Deferred[None] = Deferred()
        self._identifying.append(waiting)
        return waiting

    def identified(self) -> None:
        """Say that its source leads to something, or to nothing."""
        waiting, self._identifying = self._identifying, []
        for one in waiting:
            one.callback(None)

    # -- what a restart needs

    def marks(self) -> tuple[object, ...]:
        """What differs whenever anything did that must survive a restart."""
        last = self.log[-1] if self.log else None
        times = self.started, self.paused_at, self._active_since, self._seeding_since
        aims = self.moving_to, self.removing
        facts = self.position, self.aliases, self.shared, self.trusted
        return self.options, *times, *aims, *facts, last

    def to_json(self, now: float) -> str:
        """Write what must survive a restart."""
        return json.dumps(
            {name: getattr(self, name) for name in _KEPT}
            | {
                "options": self.options.to_json(),
                "added": self.added,
                "active": self.elapsed(now),
                "seeded": self.seeding_time(now),
                "log": [[line.time, line.level, line.text] for line in self.log],
            }
        )

    @classmethod
    def from_json(cls, text: str, number: int = 0) -> "Job":
        """Read what `to_json` wrote; raises ValueError or TypeError for anything else."""
        kept: dict[str, Any] = json.loads(text)
        options = DownloadOptions.from_json(kept.get("options", ""))
        job = cls(options, added=kept.get("added", 0.0), number=number)
        for name in _KEPT:
            setattr(job, name, kept.get(name, getattr(job, name)))
        job.aliases = tuple(job.aliases)
        job.removing = Removal(job.removing)
        job.log.extend(Line(time, Level(level), line) for time, level, line in kept.get("log", ()))
        return job
