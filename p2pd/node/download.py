"""Drives one transfer: links, fetches, a timer; what to do next is the transfer's say."""

from collections.abc import Callable, Iterable, Sequence
from random import Random

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from p2pd.errors import NotFound, Refusal
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address
from p2pd.node.bans import Bans
from p2pd.node.entry import Entry
from p2pd.node.neighbours import Neighbours
from p2pd.node.ports import Buffer, PeerLink
from p2pd.swarm.transfer import Limits, Request, Transfer

# Peers have this many seconds to say what they hold before an origin is asked for the rest.
_PEERS_FIRST = 1.0


class Download:
    """One entry on its way from its first piece to the last.

    `slots` is shared by all downloads of the node and bounds the fetches under way; a slot is
    taken first and the piece chosen then, so that the choice rests on the latest news.
    `succeeded` and `failed` hear how it ended, once.
    """

    _log = Logger()

    def __init__(
        self,
        entry: Entry,
        *,
        clock: IReactorTime,
        slots: DeferredSemaphore,
        links: Callable[[str, bool], PeerLink],
        bans: Bans,
        rng: Random,
        limits: Limits,
        succeeded: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self.entry = entry
        self._clock = clock
        self._slots = slots
        self._bans = bans
        self._succeeded = succeeded
        self._failed = failed
        torrent = entry.torrent
        sizes = [torrent.piece_size(index) for index in range(torrent.piece_count)]
        self.transfer = Transfer(sizes, entry.held.copy(), rng, limits=limits)
        self._neighbours = Neighbours(links, self, torrent, clock=clock, bans=bans, rng=rng)
        self._fetching: dict[tuple[str, int], Deferred[None]] = {}
        self._dropped: set[tuple[str, int]] = set()
        self._timer: IDelayedCall | None = None
        self._origins: IDelayedCall | None = None
        self._claim: Deferred[DeferredSemaphore] | None = None
        self._pumping = self._again = False
        self._running = True
        self._busy = 0
        self._idling: list[Deferred[None]] = []

    # -- peers

    def meet(self, addresses: Iterable[Address]) -> None:
        """Hear of peers that may hold pieces."""
        if self._running:
            for address in addresses:
                self._neighbours.meet(address, origin=False)

    def use_origins(self, urls: Sequence[str]) -> None:
        """Hear of web seeds, to be asked for what no peer holds, but not before one could say."""
        if self._running and urls:
            self._origins = self._clock.callLater(_PEERS_FIRST, self._meet_origins, urls)

    def _meet_origins(self, urls: Sequence[str]) -> None:
        for url in urls:
            self._neighbours.meet(url, origin=True)

    def peer_joined(self, peer: str, *, origin: bool) -> None:
        """Book a peer that a link was made to."""
        self.transfer.peer_joined(peer, self._clock.seconds(), origin=origin)

    def peer_has_bitfield(self, peer: str, bitfield: Bitfield) -> None:
        """Book what a peer holds; see `Follower`."""
        if self._neighbours.heard(peer):
            self.entry.met(Address(peer))
        self.transfer.peer_has_bitfield(peer, bitfield, self._clock.seconds())
        self._pump()

    def peer_has(self, peer: str, index: int) -> None:
        """Book a peer's new piece; see `Follower`."""
        self.transfer.peer_has(peer, index, self._clock.seconds())
        self._pump()

    def peer_lost(self, peer: str, index: int) -> None:
        """Book a piece that a peer lost; see `Follower`."""
        self.transfer.peer_lost(peer, index, self._clock.seconds())

    def peer_gone(self, peer: str, reason: str) -> None:
        """Book that a peer is gone, and drop what was asked of it; see `Follower`."""
        self._neighbours.gone(peer, reason)
        self._drop(self.transfer.peer_left(peer, self._clock.seconds()))
        self._pump()

    def urge(self, indexes: Iterable[int]) -> None:
        """Fetch these pieces first, in this order: somebody is reading them."""
        self.transfer.urge([index for index in indexes if index not in self.entry.held])
        self._pump()

    # -- fetching

    def start(self) -> None:
        """Begin to ask for pieces; a download that lacks none succeeds at once."""
        if self.transfer.complete:
            self._finish()
        else:
            self._pump()

    def _pump(self) -> None:
        if self._pumping:
            self._again = True
            return
        self._pumping = self._again = True
        while self._again and self._running:
            self._again = False
            if self._claim is None:
                claim = self._slots.acquire()
                self._claim = claim
                claim.addCallbacks(self._granted, lambda failure: failure.trap(CancelledError))
        self._pumping = False
        self._arm()

    def _granted(self, slots: DeferredSemaphore) -> None:
        self._claim = None
        request = None
        if self._running:
            request = self.transfer.next_request(self._clock.seconds())
        if request is None:
            slots.release()
            return
        self._busy += 1
        fetching = Deferred.fromCoroutine(self._fetch(request))
        self._fetching[request.peer, request.index] = fetching
        fetching.addBoth(self._fetched, request)
        self._pump()

    async def _fetch(self, request: Request) -> None:
        peer, index = request.peer, request.index

        def received(count: int) -> None:
            self.transfer.received(peer, index, count, self._clock.seconds())

        try:
            data = await self._neighbours.link(peer).fetch(self.entry.torrent, index, received)
            # What has arrived whole is kept: from here on nothing cancels it.
            self._fetching.pop((peer, index), None)
        except NotFound:
            self.transfer.lacks(peer, index, self._clock.seconds())
        except Refusal as refusal:
            if (peer, index) in self._dropped:
                return
            self._log.debug(
                "piece {index} of {name} from {peer} failed: {reason}",
                index=index,
                name=self.entry.torrent.name,
                peer=peer,
                reason=refusal.reason,
            )
            self.transfer.failed(peer, index, self._clock.seconds())
        else:
            await self._keep(request, data)

    async def _keep(self, request: Request, data: Buffer) -> None:
        entry = self.entry
        alike = entry.torrent.indexes_of(entry.torrent.piece_ids[request.index])
        places = [index for index in alike if index not in entry.held]
        try:
            good = not places or await entry.content.write(places, data)
        except Refusal as refusal:
            self._fail(refusal.reason)
            return
        if not good:
            self._blame(request)
            return
        entry.downloaded += len(data)
        entry.received_from[request.peer] += len(data)
        now = self._clock.seconds()
        self._drop(self.transfer.delivered(request.peer, request.index, now))
        for index in places:
            self._drop(self.transfer.filled(index))
            entry.got(index)
        if self.transfer.complete:
            self._finish()

    def _blame(self, request: Request) -> None:
        now = self._clock.seconds()
        if not self._bans.banned(request.peer, now):
            self._log.warn(
                "{peer} sent bytes for piece {index} of {name} that fail its digest: banned",
                peer=request.peer,
                index=request.index,
                name=self.entry.torrent.name,
            )
            self._bans.ban(request.peer, now)
            self.entry.peers.pop(Address(request.peer), None)
        self._drop(self.transfer.corrupt(request.peer, request.index, now))
        self._neighbours.banned(request.peer)

    def _fetched(self, result: object, request: Request) -> None:
        self._fetching.pop((request.peer, request.index), None)
        self._dropped.discard((request.peer, request.index))
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("fetching a piece failed unexpectedly", failure=result)
            self.transfer.failed(request.peer, request.index, self._clock.seconds())
        self._busy -= 1
        self._slots.release()
        self._pump()
        while self._idling and not self._busy:
            self._idling.pop().callback(None)

    def _drop(self, requests: Iterable[Request]) -> None:
        for request in requests:
            if fetching := self._fetching.get((request.peer, request.index)):
                self._dropped.add((request.peer, request.index))
                fetching.cancel()

    # -- time

    def _arm(self) -> None:
        deadline = self.transfer.next_deadline() if self._running else None
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() == deadline:
                return
            self._timer.cancel()
        self._timer = None
        if deadline is not None:
            delay = max(deadline - self._clock.seconds(), 0.01)
            self._timer = self._clock.callLater(delay, self._tick)

    def _tick(self) -> None:
        expired = self.transfer.expired(self._clock.seconds())
        for request in expired:
            self._log.debug(
                "piece {index} of {name} from {peer} timed out",
                index=request.index,
                name=self.entry.torrent.name,
                peer=request.peer,
            )
        self._drop(expired)
        self._pump()

    # -- ending

    def stop(self) -> None:
        """Let go of everything; what was verified stays."""
        self._running = False
        if self._claim is not None:
            self._claim.cancel()
        if self._origins is not None and self._origins.active():
            self._origins.cancel()
        self._drop(self.transfer.outstanding())
        self._neighbours.close()
        self._arm()

    def when_idle(self) -> Deferred[None]:
        """Fires once nothing is being fetched or written; after `stop`, for good."""
        idle: Deferred[None] = Deferred()
        if self._busy:
            self._idling.append(idle)
        else:
            idle.callback(None)
        return idle

    def _finish(self) -> None:
        if self._running:
            self.stop()
            self._succeeded()

    def _fail(self, reason: str) -> None:
        if self._running:
            self.stop()
            self._failed(reason)
