"""Keeps the BitTorrent trackers of all downloads told, and knows how each of them fares."""

from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from p2pd import background
from p2pd.errors import NotFound
from p2pd.node.job import Job
from p2pd.node.options import TrackerSource
from p2pd.node.ports import AnnounceLink
from p2pd.protocol.announce_client import (
    AnnounceFailed,
    AnnounceReply,
    BitTorrentAnnounce,
    Peer,
)
from p2pd.protocol.announcement import Event
from p2pd.swarm.lifecycle import State
from p2pd.swarm.tracker_list import Due, TrackerList, TrackerState

_AT_ONCE = 50
_MOST_PEERS = 1000
_LEFT_UNKNOWN = 16 * 1024
_FAREWELL = 5.0
_ANNOUNCED = frozenset({State.METAINFO, State.DOWNLOADING, State.COMPLETE})

Tell = Callable[[Job, str, AnnounceReply | None, str], None]


def new_peer_id(rng: Random) -> bytes:
    """Make a peer id that no other client has (BEP 20)."""
    return b"-PD0001-" + rng.randbytes(12)


class Tracking(Service):
    """Announces each download that it follows to the trackers of the download's options, on time.

    `local` is the address that announces are sent from, `port` where peers may call.  `tell`
    hears of each reply, or of what was wrong instead.
    """

    _log = Logger()

    def __init__(
        self,
        link: AnnounceLink,
        *,
        clock: IReactorTime,
        rng: Random,
        peer_id: bytes,
        port: Callable[[], int],
        local: Callable[[], tuple[str, int]],
        tell: Tell,
    ) -> None:
        self._link = link
        self._clock = clock
        self._rng = rng
        self._peer_id = peer_id
        self._port = port
        self._local = local
        self._tell = tell
        self._followed: dict[Job, _Followed] = {}
        self._slots = DeferredSemaphore(_AT_ONCE)
        self._farewells: set[Deferred[None]] = set()

    def startService(self) -> None:
        """Announce from now on."""
        super().startService()  # type: ignore[no-untyped-call]
        for job in self._followed:
            self.moved(job)

    def stopService(self) -> Deferred[None]:
        """Tell the trackers that all downloads stop; fires when they heard it, or soon."""
        super().stopService()  # type: ignore[no-untyped-call]
        for followed in self._followed.values():
            self._stop(followed)
        leaving = DeferredList([*self._farewells]).addTimeout(_FAREWELL, self._clock)
        return leaving.addCallback(lambda _: self._link.close())

    # -- which downloads

    def follow(self, job: Job) -> None:
        """Announce a download whenever it is active, to what is new in its options too."""
        followed = self._followed.get(job)
        if followed is None:
            key = self._rng.getrandbits(32)
            self._followed[job] = _Followed(job, self._new_list(job), key)
        else:
            _add_all(followed.trackers, job)
        self.moved(job)

    def moved(self, job: Job) -> None:
        """Tell the trackers, if need be, that the state of a download is another."""
        followed = self._followed.get(job)
        if followed is None or not self.running:
            return
        if job.infohash is None or job.state not in _ANNOUNCED:
            self._stop(followed)
        elif not followed.active:
            followed.begin()
        elif followed.complete() and not followed.was_complete:
            followed.trackers.completed(self._clock.seconds())
        followed.was_complete = followed.complete()
        self._announce_due(followed)

    def drop(self, job: Job) -> None:
        """Tell the trackers that a download stops, and forget it."""
        followed = self._followed.pop(job, None)
        if followed is not None:
            self._stop(followed)

    # -- their trackers

    def states(self, job: Job) -> list[TrackerState]:
        """The trackers of a download, in the order in which they are tried."""
        followed = self._followed.get(job)
        return list(followed.trackers if followed else self._new_list(job))

    def counts(self, job: Job) -> tuple[int | None, int | None]:
        """How many clients have all of it and how many have not, as trackers told."""
        for tracker in self.states(job):
            for endpoint in tracker.endpoints:
                for state in endpoint.states:
                    if state.complete is not None or state.incomplete is not None:
                        return state.complete, state.incomplete
        return None, None

    def peers(self, job: Job) -> list[Peer]:
        """Clients that trackers named, the latest last."""
        followed = self._followed.get(job)
        return list(followed.peers) if followed else []

    def remove(self, job: Job, url: str) -> None:
        """Announce to a tracker no more; raises `NotFound`."""
        followed = self._followed.get(job)
        if followed is None or followed.trackers.remove(url) is None:
            raise _unknown(url)
        followed.abandon(url)
        self._announce_due(followed)

    def force(self, job: Job, url: str | None = None) -> None:
        """Announce as soon as the trackers, or this one, allow; raises `NotFound`.

        A download that is not active is announced anyway once it is.
        """
        followed = self._followed.get(job)
        if followed is None or (url is not None and followed.trackers.find(url) is None):
            raise _unknown(url or "any")
        if followed.active:
            followed.trackers.force(self._clock.seconds(), url)
            self._announce_due(followed)

    def _new_list(self, job: Job) -> TrackerList:
        torrent = job.entry.torrent if job.entry else None
        v2 = torrent is not None and torrent.v2_infohash[:20] == torrent.infohash
        trackers = TrackerList(self._local, v2=v2)
        _add_all(trackers, job)
        return trackers

    # -- announces

    def _announce_due(self, followed: "_Followed") -> None:
        """Announce to all whose time has come, and set the timer for the next."""
        if not followed.active:
            return
        now = self._clock.seconds()
        for due in followed.trackers.due(now, complete=followed.complete()):
            followed.trackers.begun(due.tracker.url, now)
            self._start(followed, due)
        self._wait(followed)

    def _wait(self, followed: "_Followed") -> None:
        """Set the timer for the next announce, which may be due now."""
        followed.wait(self._clock, partial(self._announce_due, followed))

    def _start(self, followed: "_Followed", due: Due) -> Deferred[None]:
        url = due.tracker.url
        announcing = background.start(self._announce(followed, due), "an announce")
        followed.announcing[url] = announcing

        def ended(_: object) -> None:
            if followed.announcing.get(url) is announcing:
                del followed.announcing[url]

        return announcing.addCallback(ended)

    async def _announce(self, followed: "_Followed", due: Due) -> None:
        tracker, event = due
        complete = followed.complete()
        reply: AnnounceReply | None = None
        try:
            reply = await self._slots.run(self._ask, followed, tracker, event)
        except CancelledError:
            raise
        except AnnounceFailed as failed:
            message = self._failed(followed, tracker.url, failed)
        except Exception:  # noqa: BLE001 - a tracker that is not told of is not tried again
            self._log.failure("an announce to {url} failed", url=tracker.url)
            message = self._failed(followed, tracker.url, AnnounceFailed("the node failed"))
        else:
            now = self._clock.seconds()
            followed.trackers.succeeded(tracker.url, now, event, reply)
            if followed.complete() and not complete:
                followed.trackers.completed(now)
            followed.meet(reply.peers)
            message = reply.warning
        self._wait(followed)
        self._tell(followed.job, tracker.url, reply, message)

    async def _ask(
        self, followed: "_Followed", tracker: TrackerState, event: str
    ) -> AnnounceReply:
        asked = followed.announce(
            Event(event), tracker.tracker_id, peer_id=self._peer_id, port=self._port()
        )
        strict = not tracker.source & TrackerSource.CLIENT
        return await self._link.announce(tracker.url, asked, strict=strict)

    def _failed(self, followed: "_Followed", url: str, failed: AnnounceFailed) -> str:
        """Note a failure, and give the words for it."""
        followed.trackers.failed(
            url,
            self._clock.seconds(),
            failed.reason,
            failed.message,
            retry=failed.retry,
            for_good=failed.for_good,
        )
        return failed.message or failed.reason

    def _stop(self, followed: "_Followed") -> None:
        """Tell the trackers that know of a download that it is not active any more."""
        if not followed.active:
            return
        followed.end()
        now = self._clock.seconds()
        for due in followed.trackers.stopped(now):
            followed.trackers.begun(due.tracker.url, now)
            farewell = self._start(followed, due)
            self._farewells.add(farewell)
            farewell.addCallback(partial(self._said, farewell))

    def _said(self, farewell: Deferred[None], _: None) -> None:
        self._farewells.discard(farewell)


def _add_all(trackers: TrackerList, job: Job) -> None:
    """Announce to all trackers of a job's options; those that are known stay as they are."""
    for choice in job.options.trackers:
        trackers.add(choice.url, choice.tier, choice.source)


class _Followed:
    """A download that is announced, its trackers, and what came of it."""

    def __init__(self, job: Job, trackers: TrackerList, key: int) -> None:
        self.job = job
        self.trackers = trackers
        self.active = False
        self.was_complete = False
        self.peers: dict[Peer, None] = {}
        self.announcing: dict[str, Deferred[None]] = {}
        self._key = key
        self._before = 0, 0
        self._timer: IDelayedCall | None = None

    def complete(self) -> bool:
        """Whether all of it is here, wanted or not."""
        return self.job.entry is not None and self.job.entry.bytes_left == 0

    def begin(self) -> None:
        """Be active from now on; what was moved before does not count any more."""
        self._abandon_all()
        self.active = True
        self._before = self._moved()
        self.trackers.started(complete=self.complete())

    def end(self) -> None:
        """Be active no more."""
        self.active = False
        self._cancel_timer()
        self._abandon_all()

    def abandon(self, url: str) -> None:
        """Wait no more for what a tracker answers."""
        announcing = self.announcing.pop(url, None)
        if announcing is not None:
            announcing.cancel()
            self.trackers.abandoned(url)

    def _abandon_all(self) -> None:
        for url in tuple(self.announcing):
            self.abandon(url)

    def wait(self, clock: IReactorTime, call: Callable[[], Any]) -> None:
        """Call when there is a tracker to announce to."""
        self._cancel_timer()
        deadline = self.trackers.next_deadline()
        if deadline is not None and self.active:
            self._timer = clock.callLater(max(0.0, deadline - clock.seconds()), call)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def announce(
        self, event: Event, tracker_id: str, *, peer_id: bytes, port: int
    ) -> BitTorrentAnnounce:
        """What to tell a tracker now."""
        assert self.job.infohash is not None, "none is announced without"
        uploaded, downloaded = self._moved()
        return BitTorrentAnnounce(
            infohash=self.job.infohash,
            peer_id=peer_id,
            port=port,
            uploaded=max(0, uploaded - self._before[0]),
            downloaded=max(0, downloaded - self._before[1]),
            left=self.job.entry.bytes_left if self.job.entry else _LEFT_UNKNOWN,
            key=self._key,
            event=event,
            tracker_id=tracker_id,
        )

    def meet(self, peers: Iterable[Peer]) -> None:
        """Remember peers, the latest of them."""
        for peer in peers:
            self.peers.pop(peer, None)
            self.peers[peer] = None
        for peer in list(self.peers)[: max(0, len(self.peers) - _MOST_PEERS)]:
            del self.peers[peer]

    def _moved(self) -> tuple[int, int]:
        entry = self.job.entry
        return (entry.uploaded, entry.downloaded) if entry else (0, 0)


def _unknown(url: str) -> NotFound:
    return NotFound(f"the download has no tracker {url}")
