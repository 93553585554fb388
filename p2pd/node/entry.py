"""One torrent on this node: what is held of it, its state, and who waits for it."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Protocol

from twisted.internet.defer import Deferred

from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.files import FileEntry
from p2pd.metainfo.ids import Address
from p2pd.metainfo.torrent import Torrent
from p2pd.node.job import Job
from p2pd.node.options import NORMAL, UNWANTED
from p2pd.node.ports import Content
from p2pd.node.records import Record
from p2pd.swarm.lifecycle import State, advance
from p2pd.swarm.rates import Speedometer, TokenBucket

# Names that peers give themselves are counted apart up to here, then together.
_NAMED_PEERS = 1000
_REMEMBERED_PEERS = 50
_SPEED_WINDOW = 5.0
BEHIND = 4
"""A node that would wait for an upload slot behind more others had better ask somebody else."""
SETTLED = frozenset({State.COMPLETE, State.FAILED, State.PAUSED})
_SILENT = frozenset({State.QUEUED, State.PAUSED})


@dataclass(frozen=True, slots=True)
class Offer:
    """Pieces to send together, if they need not wait `behind` more than so many transfers."""

    pieces: list[int]
    behind: int


class Watcher(Protocol):
    """Hears what changes in one entry's holdings."""

    def has(self, index: int, *, rare: bool) -> None:
        """A verified piece is here now, which few others have if it is `rare`."""

    def promised(self, index: int) -> None:
        """Somebody is getting this piece from here, and will have it soon."""

    def gone(self) -> None:
        """Nothing of this entry is served any more."""


class Entry:
    """A torrent this node has or is fetching; `job` is what its user wants of it.

    `wanted_files` are the indexes of those of `files` that are wanted, None for all of them;
    `wanted` are their pieces, and `wanted_left` the bytes of those that are not here.  The other
    counts are of the whole torrent.
    """

    def __init__(self, content: Content, *, filename: str, job: Job) -> None:
        self.content = content
        self.torrent: Torrent = content.torrent
        self.filename = filename
        self.job = job
        job.infohash = self.torrent.infohash
        self.state = State.QUEUED
        self.error = ""
        self.held = Bitfield(self.torrent.piece_count)
        self.select()
        self.verify = True
        """Whether there may be more in its partial files than `held` says."""
        self.finished: float | None = None
        self.fetched = False
        """Whether it became complete by what was fetched in this run."""
        self.downloaded = job.received
        self.uploaded = 0
        self.downloaded_before = 0
        self.uploaded_before = 0
        self.reused = 0
        self.upload_speed = Speedometer(_SPEED_WINDOW)
        self.upload_limit = TokenBucket(job.options.upload_limit)
        self.download_limit = TokenBucket(job.options.download_limit)
        self.sent_to: Counter[str] = Counter()
        self.readers: dict[str, Speedometer] = {}
        """How fast each peer of `sent_to` gets what it asks for."""
        self.received_from: Counter[str] = Counter()
        self.last_sent: float | None = None
        self.last_received: float | None = None
        self.peers: dict[Address, None] = {}
        self.playing = 0
        """How many are reading a file of it in order, whether it is here or not."""
        self.uploads = 0
        """How many transfers of its pieces to others go on, or wait for their turn."""
        self._watchers: list[Watcher] = []
        self._settling: list[Deferred[None]] = []
        self._arriving: dict[int, list[Deferred[None]]] = {}
        self.promised: dict[int, None] = {}
        """Pieces that somebody got from here, or is getting."""
        job.entry = self

    @property
    def web_seeds(self) -> tuple[str, ...]:
        """Where else the content is, by its metainfo and by its user."""
        return tuple(dict.fromkeys((*self.torrent.web_seeds, *self.job.options.web_seeds)))

    @property
    def published(self) -> Torrent:
        """The torrent as others may see it: where files lie on this machine is its own affair.

        Web seeds that strangers named are not passed on, for others would believe them of us.
        """
        told = self.torrent.web_seeds if self.job.trusted else ()
        public = [url for url in told if not url.startswith("file:")]
        return replace(self.torrent, web_seeds=tuple(public))

    @property
    def replace(self) -> bool:
        """Whether it takes the place of what is at its destination."""
        return self.job.options.replace

    @property
    def serves(self) -> bool:
        """Whether others may have what is held."""
        return self.state not in _SILENT

    # -- which files are wanted

    @cached_property
    def files(self) -> list[FileEntry]:
        """The torrent's files, padding left out: users count these."""
        return [file for file in self.torrent.files if not file.padding]

    @property
    def priorities(self) -> tuple[int, ...]:
        """How much each of `files` is wanted."""
        return self.job.options.priorities or (NORMAL,) * len(self.files)

    def select(self) -> None:
        """Take up the priorities that its user gave."""
        chosen = frozenset(at for at, much in enumerate(self.priorities) if much != UNWANTED)
        self.wanted_files: frozenset[int] | None = chosen
        if len(chosen) == len(self.files):
            self.wanted_files = None
        if self.wanted_files is None:
            self.wanted = Bitfield.full(self.torrent.piece_count)
        else:
            self.wanted = Bitfield(self.torrent.piece_count)
            for at in chosen:
                for index in self.torrent.pieces_of(self.files[at]):
                    self.wanted.add(index)
        self.wanted_size = sum(file.length for at, file in enumerate(self.files) if at in chosen)
        self.hold(self.held)

    def order(self) -> list[int]:
        """The pieces to fetch before all others, the first of them first."""
        if self.job.options.sequential:
            return list(self.wanted)
        levels = set(self.priorities) - {UNWANTED}
        if len(levels) < 2:
            return []
        ranks: dict[int, int] = {}
        for file, priority in zip(self.files, self.priorities, strict=True):
            for index in self.torrent.pieces_of(file):
                ranks[index] = max(ranks.get(index, UNWANTED), priority)
        above = [index for index, rank in ranks.items() if rank > min(levels)]
        return sorted(above, key=lambda index: -ranks[index])

    # -- what happens to it

    def advance(self, state: State, error: str = "") -> None:
        """Move to a state that the lifecycle allows (`Conflict` otherwise)."""
        self.state = advance(self.state, state)
        self.error = error
        if state in SETTLED:
            self._fire(self._settling)
        if state is State.FAILED or not self.serves:
            self._close()

    def got(self, index: int, *, rare: bool = True) -> None:
        """Book a verified piece and tell all who wait for it; see `Watcher.has`."""
        if self.held.add(index):
            self.bytes_left -= self.torrent.piece_size(index)
            if index in self.wanted:
                self.wanted_left -= self.torrent.piece_size(index)
            for watcher in tuple(self._watchers):
                watcher.has(index, rare=rare)
            self._fire(self._arriving.pop(index, []))

    def offer(self, indexes: Iterable[int]) -> Offer:
        """Choose what to send together of the pieces that a node asks for.

        That is all up to the first that is not here. A seed would rather send what it has not
        sent before: not in one go with what it has, and that only if nobody waits.
        """
        pieces = list(takewhile(self.held.__contains__, indexes))
        again = bool(pieces) and self.held.complete and pieces[0] in self.promised
        if self.held.complete:
            pieces = list(takewhile(lambda index: (index in self.promised) is again, pieces))
        return Offer(pieces, 0 if again else BEHIND)

    def asked_for(self, index: int) -> None:
        """Book that a peer gets a piece; one that holds all says so, for the sake of its uplink.

        The others then ask it for something else, and the peer for this piece.
        """
        if self.held.complete:
            self.promise(index)

    def promise(self, index: int) -> None:
        """Say that a piece which few have will soon be had by one more."""
        if index not in self.promised:
            self.promised[index] = None
            for watcher in tuple(self._watchers):
                watcher.promised(index)

    def hold(self, pieces: Bitfield) -> None:
        """Book that exactly these pieces are here, without telling anyone."""
        self.held = pieces
        missing = list(pieces.missing())
        self.bytes_left = sum(map(self.torrent.piece_size, missing))
        self.wanted_left = sum(
            self.torrent.piece_size(index) for index in missing if index in self.wanted
        )

    def hold_all(self) -> None:
        """Book every piece at once."""
        self.hold(Bitfield.full(self.torrent.piece_count))

    def drop_all(self) -> None:
        """Book that no piece is known to be here."""
        self.hold(Bitfield(self.torrent.piece_count))

    def damaged(self, reason: str) -> None:
        """Stop serving: what is on disk is not what was verified."""
        self.drop_all()
        self.advance(State.FAILED, f"damaged: {reason}")

    def met(self, peer: Address) -> None:
        """Remember a peer that answered, and the latest of them over a restart."""
        self.peers.pop(peer, None)
        self.peers[peer] = None
        if len(self.peers) > _REMEMBERED_PEERS:
            del self.peers[next(iter(self.peers))]

    def sent(self, peer: str, count: int, now: float) -> None:
        """Book bytes that went to a peer."""
        named = peer if len(self.sent_to) < _NAMED_PEERS or peer in self.sent_to else ""
        self.uploaded += count
        self.last_sent = now
        self.upload_speed.add(count, now)
        self.sent_to[named] += count
        if named not in self.readers:
            self.readers[named] = Speedometer(_SPEED_WINDOW)
        self.readers[named].add(count, now)

    def _close(self) -> None:
        for watcher in tuple(self._watchers):
            watcher.gone()
        for waiting in self._arriving.values():
            self._fire(waiting)
        self._arriving.clear()

    @staticmethod
    def _fire(waiting: list[Deferred[None]]) -> None:
        while waiting:
            waiting.pop().callback(None)

    # -- who waits for it

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` of every change; the returned call ends that."""
        self._watchers.append(watcher)

        def unwatch() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

        return unwatch

    def when_settled(self) -> Deferred[None]:
        """Fires once the entry is complete, failed or paused."""
        return self._wait(self._settling, done=self.state in SETTLED)

    def when_held(self, index: int) -> Deferred[None]:
        """Fires once a piece is here, or never will be: look at `held` then."""
        if index in self.held or self.state in (State.FAILED, State.PAUSED):
            return self._wait([], done=True)
        return self._wait(self._arriving.setdefault(index, []), done=False)

    @staticmethod
    def _wait(waiting: list[Deferred[None]], *, done: bool) -> Deferred[None]:
        deferred: Deferred[None] = Deferred(
            lambda cancelled: waiting.remove(cancelled) if cancelled in waiting else None
        )
        if done:
            deferred.callback(None)
        else:
            waiting.append(deferred)
        return deferred

    # -- what a restart needs

    def record(self, now: float, *, clean: bool, boot: str) -> Record:
        """What to remember of this entry."""
        return Record(
            infohash=self.torrent.infohash,
            metainfo=self.torrent.to_bytes(),
            filename=self.filename,
            path=str(self.content.path),
            stamps=self.content.stamps(),
            held=self.held.to_bytes(),
            state=self.state.value,
            finished=self.finished,
            downloaded=self.downloaded,
            uploaded=self.uploaded,
            error=self.error,
            peers=tuple(self.peers),
            job=self.job.to_json(now),
            clean=clean,
            boot=boot,
        )
