"""Tells of what happens to downloads: listeners, their logs, and their trackers."""

from collections.abc import Callable

from p2pd.node.entry import Entry
from p2pd.node.events import Events, Kind
from p2pd.node.intake import Intake
from p2pd.node.job import Job, Level
from p2pd.node.node import Node
from p2pd.node.tracking import Tracking
from p2pd.protocol.announce_client import AnnounceReply
from p2pd.swarm.lifecycle import State


class Telling:
    """Hears of every entry of a node that moves to another state, or is here no longer."""

    def __init__(
        self,
        node: Node,
        intake: Intake,
        tracking: Tracking,
        events: Events,
        *,
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._intake = intake
        self._tracking = tracking
        self._events = events
        self._now = now
        self._known: dict[Job, tuple[State, bool]] = {}
        """The state of each download that was told last, and whether it was paused."""
        node.listeners.append(self._moved)
        node.leavers.append(self._left)

    def begin(self) -> None:
        """Take what an earlier run left for known, and have it announced."""
        for entry in self._node.library:
            self._known[entry.job] = entry.state, entry.job.is_paused
            self._tracking.follow(entry.job)

    def told(self, job: Job, url: str, reply: AnnounceReply | None, message: str) -> None:
        """Tell what came of an announce; `message` is what was wrong, or what the tracker said."""
        if message:
            job.note(self._now(), Level.WARNING, f"{url}: {message}")
        answered = reply is not None
        self._events.publish(
            Kind.TRACKER, job.id, job.name, url=url, answered=answered, message=message
        )

    def _moved(self, entry: Entry) -> None:
        job = entry.job
        if self._intake.by_tid(job.tid) is not job:
            self._intake.know(job)
            self._events.publish(Kind.ADDED, job.id, job.name)
        if job not in self._known:
            self._tracking.follow(job)
        before, was_paused = self._known.get(job, (None, False))
        self._known[job] = entry.state, job.is_paused
        if before is not entry.state:
            self._tell(entry, before, was_paused=was_paused)
        self._tracking.moved(job)

    def _tell(self, entry: Entry, before: State | None, *, was_paused: bool) -> None:
        job, now = entry.job, self._now()
        self._events.publish(Kind.MOVED_ON, job.id, job.name, state=entry.state.value)
        job.note(now, Level.DEBUG, entry.state.value)
        if entry.state is State.FAILED:
            job.note(now, Level.FATAL, entry.error)
            self._events.publish(Kind.FAILED, job.id, job.name, reason=entry.error)
        elif job.is_paused and not was_paused:
            self._events.publish(Kind.PAUSED, job.id, job.name)
        elif not job.is_paused and (was_paused or before is State.FAILED):
            self._events.publish(Kind.RESUMED, job.id, job.name)
        if entry.state is State.COMPLETE and entry.fetched:
            self._events.publish(Kind.FINISHED, job.id, job.name)

    def _left(self, entry: Entry) -> None:
        """Forget an entry that is here no longer, or whose torrent has another one now."""
        job = entry.job
        self._tracking.drop(job)
        self._intake.forget(job)
        self._known.pop(job, None)
        if entry.torrent.infohash not in self._node.library:
            self._events.publish(Kind.REMOVED, job.id, job.name)
