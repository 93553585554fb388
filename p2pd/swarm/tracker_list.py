"""The trackers of one download: whom to announce to next, in tiers (BEP 12), and how each fared.

The facts kept of each are those of libtorrent's `announce_entry`, and what moves them is what
libtorrent does by default: of all trackers one that works is announced to, those before it that
failed are tried again ever less often, and one that fails goes to the end of its tier.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

_FIRST_RETRY = 5.0
_LAST_RETRY = 3600.0
_BACKOFF = 2.5
_MOST_FAILS = 127

Event = Literal["", "started", "completed", "stopped"]


@dataclass(slots=True)
class AnnounceState:
    """How announces of one infohash from one endpoint went; times in Unix seconds.

    `complete`, `incomplete` and `downloaded` are None until a tracker told them; `last_error` is
    the text of the last failure, None if there was none; `message` what the tracker said itself.
    """

    start_sent: bool = False
    complete_sent: bool = False
    updating: bool = False
    fails: int = 0
    last_error: str | None = None
    message: str = ""
    next_announce: float | None = None
    min_announce: float | None = None
    complete: int | None = None
    incomplete: int | None = None
    downloaded: int | None = None

    @property
    def earliest(self) -> float:
        """When it may be announced to again; 0 if at any time."""
        return max(self.next_announce or 0.0, self.min_announce or 0.0)


@dataclass(slots=True)
class TrackerEndpoint:
    """One local address that announces are sent from."""

    host: str
    port: int
    enabled: bool = True
    v1: AnnounceState = field(default_factory=AnnounceState)
    v2: AnnounceState = field(default_factory=AnnounceState)

    @property
    def states(self) -> tuple[AnnounceState, AnnounceState]:
        """Of both infohashes."""
        return self.v1, self.v2


@dataclass(slots=True)
class TrackerState:
    """One tracker of a download; `source` is a `TrackerSource`; no `endpoints` before contact."""

    url: str
    tier: int
    source: int
    fail_limit: int = 0
    tracker_id: str = ""
    verified: bool = False
    endpoints: list[TrackerEndpoint] = field(default_factory=list)


class Due(NamedTuple):
    """A tracker to announce to now, and with which event."""

    tracker: TrackerState
    event: Event


class Answer(Protocol):
    """What the list wants to know of a tracker's reply; times are seconds from now."""

    @property
    def interval(self) -> int:
        """After which to announce again."""

    @property
    def min_interval(self) -> int:
        """Before which not to announce again."""

    @property
    def complete(self) -> int | None:
        """Clients that have all of it."""

    @property
    def incomplete(self) -> int | None:
        """Clients that have not."""

    @property
    def downloaded(self) -> int | None:
        """How often it was downloaded."""

    @property
    def tracker_id(self) -> str:
        """What to repeat in the next announce."""

    @property
    def warning(self) -> str:
        """What the user should read."""


class TrackerList:
    """The trackers of one download, those to be tried first at the front.

    `local` gives the address that announces are sent from.  `v2` is set if it is the infohash of
    BEP 52 that is announced.
    """

    def __init__(self, local: Callable[[], tuple[str, int]], *, v2: bool = False) -> None:
        self._local = local
        self._v2 = v2
        self._complete_sent = False
        self._trackers: list[TrackerState] = []
        self._forced: set[str] = set()

    def __iter__(self) -> Iterator[TrackerState]:
        return iter(self._trackers)

    def find(self, url: str) -> TrackerState | None:
        """Give the tracker of that URL."""
        return next((tracker for tracker in self._trackers if tracker.url == url), None)

    def add(self, url: str, tier: int, source: int) -> None:
        """Announce to one more tracker, the last of its tier; of a known one note the source."""
        known = self.find(url)
        if known:
            known.source |= source
        else:
            self._insert(TrackerState(url, tier, source))

    def remove(self, url: str) -> TrackerState | None:
        """Announce to a tracker no more; give what was known of it."""
        tracker = self.find(url)
        if tracker:
            self._trackers.remove(tracker)
            self._forced.discard(url)
        return tracker

    # -- whom to announce to

    def due(self, now: float, *, complete: bool) -> list[Due]:
        """Give the trackers to announce to now, while the download is `complete` or is not."""
        return [
            Due(tracker, self._event(self._state(tracker), complete=complete))
            for tracker in self._asked()
            if self._may(tracker) and self._state(tracker).earliest <= now
        ]

    def next_deadline(self) -> float | None:
        """When there is somebody to announce to again; None if not before something happens."""
        times = (self._state(each).earliest for each in self._asked() if self._may(each))
        return min(times, default=None)

    def _asked(self) -> Iterator[TrackerState]:
        """Give the trackers up to the first that works, or may, and those the user asks for."""
        searching = True
        for tracker in self._trackers:
            if searching or tracker.url in self._forced:
                yield tracker
                searching = searching and self._state(tracker).fails > 0

    def _may(self, tracker: TrackerState) -> bool:
        state = self._state(tracker)
        given_up = 0 < tracker.fail_limit <= state.fails
        return not state.updating and not given_up

    def _event(self, state: AnnounceState, *, complete: bool) -> Event:
        if not state.start_sent:
            return "started"
        if complete and not (self._complete_sent or state.complete_sent):
            return "completed"
        return ""

    # -- how it went

    def begun(self, url: str, now: float) -> None:
        """Note that a tracker is being announced to."""
        if tracker := self.find(url):
            self._forced.discard(url)
            endpoint = self._endpoint(tracker)
            endpoint.host, endpoint.port = self._local()
            state = self._state(tracker)
            state.updating = True
            state.next_announce = state.min_announce = now

    def succeeded(self, url: str, now: float, event: Event, answer: Answer) -> None:
        """Note what a tracker answered to an announce with this event."""
        tracker = self.find(url)
        if tracker is None:
            return
        state = self._state(tracker)
        for name in ("complete", "incomplete", "downloaded"):
            told = getattr(answer, name)
            if told is not None:
                setattr(state, name, told)
        if event == "started":
            state.start_sent = True
        elif event == "completed":
            # Once is enough: other trackers, tried later, do not hear of it.
            state.complete_sent = self._complete_sent = True
        tracker.verified = True
        tracker.tracker_id = answer.tracker_id or tracker.tracker_id
        state.next_announce = now + answer.interval
        state.min_announce = now + answer.min_interval
        state.updating = False
        state.fails = 0
        state.last_error = None
        state.message = answer.warning

    def failed(
        self,
        url: str,
        now: float,
        error: str,
        message: str = "",
        *,
        retry: float = 0.0,
        for_good: bool = False,
    ) -> None:
        """Note that an announce failed, and what the tracker said to it, if it did.

        It is tried again after `retry` seconds at least, or never if it fails `for_good`.
        """
        tracker = self.find(url)
        if tracker is None:
            return
        state = self._state(tracker)
        state.fails = min(state.fails + 1, _MOST_FAILS)
        backoff = _FIRST_RETRY * (1 + state.fails**2 * _BACKOFF)
        state.next_announce = now + max(retry, min(backoff, _LAST_RETRY))
        state.updating = False
        state.last_error = error
        state.message = message
        if for_good:
            tracker.fail_limit = 1
        self._trackers.remove(tracker)
        self._insert(tracker)

    def abandoned(self, url: str) -> None:
        """Note that nobody waits for the answer any more."""
        if tracker := self.find(url):
            self._state(tracker).updating = False

    # -- what happens to the download

    def started(self, *, complete: bool) -> None:
        """Begin anew: for the trackers it is a new session, as after a pause.

        A download that is `complete` already is not announced as completed.
        """
        self._complete_sent = self._complete_sent or complete
        for state in self._states():
            state.start_sent = False
            state.next_announce = state.min_announce = None

    def completed(self, now: float) -> None:
        """Make it known at once that the download is complete."""
        for state in self._states():
            if not state.complete_sent:
                state.next_announce = state.min_announce = now

    def stopped(self, now: float) -> list[Due]:
        """Give the trackers that are to hear that the download stops."""
        for state in self._states():
            state.next_announce = state.min_announce = now
        self._forced.clear()
        return [
            Due(tracker, "stopped")
            for tracker in self._trackers
            if tracker.endpoints and self._state(tracker).start_sent
            if not self._state(tracker).fails
        ]

    def force(self, now: float, url: str | None = None) -> None:
        """Announce to a tracker as soon as it allows, whatever its tier; or to those in turn."""
        for tracker in self._trackers:
            if url in {None, tracker.url}:
                for state in self._endpoint(tracker).states:
                    state.next_announce = max(now, state.min_announce or 0.0)
        if url is not None:
            self._forced.add(url)

    # -- inside

    def _insert(self, tracker: TrackerState) -> None:
        after = sum(other.tier <= tracker.tier for other in self._trackers)
        self._trackers.insert(after, tracker)

    def _endpoint(self, tracker: TrackerState) -> TrackerEndpoint:
        """Give the one endpoint; from the first time that a tracker is considered there is one."""
        if not tracker.endpoints:
            tracker.endpoints.append(TrackerEndpoint(*self._local()))
        return tracker.endpoints[0]

    def _state(self, tracker: TrackerState) -> AnnounceState:
        return self._endpoint(tracker).states[self._v2]

    def _states(self) -> Iterator[AnnounceState]:
        for tracker in self._trackers:
            for endpoint in tracker.endpoints:
                yield from endpoint.states
