"""Drives one transfer: links, fetches, a timer; what to do next is the transfer's say."""

from collections.abc import Callable, Iterable, Sequence
from random import Random

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from p2pd import background
from p2pd.errors import Busy, NotFound, Refusal
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import Address
from p2pd.node.bans import Bans
from p2pd.node.entry import Entry
from p2pd.node.fetch import Fetch
from p2pd.node.neighbours import Neighbours
from p2pd.node.ports import PeerLink
from p2pd.node.rooms import Rooms
from p2pd.swarm.transfer import Limits, Request, Transfer

# Peers have this many seconds to say what they hold before an origin is asked for the rest.
_PEERS_FIRST = 1.0
# What is due is looked at so often at least: to find the exact time after all that happens would
# cost more.
_LOOK = 0.25
# Followers hear at once of a piece that one other has, or one in so many; of the rest later.
_RARE = 20
# Pieces that are arriving and being verified may take so many bytes before less is asked for.
_MOST_ROOM = 32 * 1024 * 1024


class Download:
    """One entry on its way from its first piece to the last.

    `slots` is shared by all downloads of the node and bounds the fetches under way; a slot is
    taken first and the pieces chosen then, so that the choice rests on the latest news. `rooms`
    is shared too: it lends the memory that pieces arrive in.
    `succeeded` and `failed` hear how it ended, once.
    """

    _log = Logger()

    def __init__(
        self,
        entry: Entry,
        *,
        clock: IReactorTime,
        slots: DeferredSemaphore,
        rooms: Rooms,
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
        self._rooms = rooms
        self._bans = bans
        self._succeeded = succeeded
        self._failed = failed
        torrent = entry.torrent
        sizes = [torrent.piece_size(index) for index in range(torrent.piece_count)]
        self.transfer = Transfer(sizes, entry.held.copy(), rng, wanted=entry.wanted, limits=limits)
        self._order = entry.order()
        self.transfer.urge(self._order)
        self._neighbours = Neighbours(
            links,
            self,
            torrent,
            clock=clock,
            bans=bans,
            rng=rng,
            most=entry.job.options.max_connections,
        )
        self._fetching: dict[tuple[str, int], tuple[Fetch, Deferred[None]]] = {}
        self._timer: IDelayedCall | None = None
        self._origins: IDelayedCall | None = None
        self._claim: Deferred[DeferredSemaphore] | None = None
        self._pumping = self._again = False
        self._running = True
        self._busy = 0
        self._idling: list[Deferred[None]] = []

    # -- peers

    def meet(self, addresses: Iterable[Address], *, near: bool = False) -> None:
        """Hear of peers that may hold pieces."""
        if self._running:
            for address in addresses:
                self._neighbours.meet(address, near=near)

    def use_origins(self, urls: Sequence[str]) -> None:
        """Hear of web seeds, to be asked for what no peer holds, but not before one could say."""
        if self._running and urls:
            self._origins = self._clock.callLater(_PEERS_FIRST, self._meet_origins, urls)

    def _meet_origins(self, urls: Sequence[str]) -> None:
        for url in urls:
            self._neighbours.meet(url, origin=True)

    def peer_joined(self, peer: str, *, origin: bool, near: bool) -> None:
        """Book a peer that a link was made to."""
        self.transfer.peer_joined(peer, self._clock.seconds(), origin=origin, near=near)

    def peer_left(self, peer: str) -> None:
        """Book that the link to a peer is closed."""
        self._drop(self.transfer.peer_left(peer, self._clock.seconds()))

    def idle(self, peer: str) -> bool:
        """Whether nothing is being fetched from a peer."""
        return all(asked != peer for asked, _ in self._fetching)

    def peer_has_bitfield(self, peer: str, bitfield: Bitfield) -> None:
        """Book what a peer holds; see `Follower`."""
        if self._neighbours.heard(peer):
            self.entry.met(Address(peer))
        self.transfer.peer_has_bitfield(peer, bitfield, self._clock.seconds())
        self._pump()

    def peer_has(self, peer: str, *indexes: int) -> None:
        """Book a peer's new pieces; see `Follower`."""
        self.transfer.peer_has(peer, indexes, self._clock.seconds())
        self._pump()

    def peer_promised(self, peer: str, *indexes: int) -> None:
        """Book that others get these pieces from the peer; see `Follower`."""
        self.transfer.peer_promised(peer, indexes, self._clock.seconds())

    def peer_lost(self, peer: str, index: int) -> None:
        """Book a piece that a peer lost; see `Follower`."""
        self.transfer.peer_lost(peer, index, self._clock.seconds())

    def peer_gone(self, peer: str, reason: str) -> None:
        """Book that a peer is gone, and drop what was asked of it; see `Follower`."""
        self._neighbours.gone(peer, reason)
        self.peer_left(peer)
        self._pump()

    def urge(self, indexes: Iterable[int]) -> None:
        """Fetch these pieces first, in this order: somebody is reading them."""
        first = [index for index in indexes if index not in self.entry.held]
        self.transfer.urge([*first, *self._order])
        self._pump()

    def reorder(self) -> None:
        """Fetch in the order that its user wants by now, from as many peers as that one wants."""
        self._order = self.entry.order()
        self._neighbours.bound(self.entry.job.options.max_connections)
        self.urge(())

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
        now = self._clock.seconds()
        request = None
        room = self._rooms.lent + self._rooms.planned
        if self._running and not (self._busy and room >= _MOST_ROOM):
            request = self.transfer.next_request(now)
        if request is None:
            slots.release()
            return
        requests = [request, *self.transfer.more_requests(request, now)]
        fetch = Fetch(
            requests,
            self._rooms,
            self.entry.download_limit,
            received=self._received,
            arrived=self._arrived,
        )
        for request in requests:
            if request.crossing:
                self.entry.promise(request.index)
        self._busy += 1
        fetching = Deferred.fromCoroutine(self._fetch(fetch))
        for index in fetch.indexes:
            self._fetching[fetch.peer, index] = fetch, fetching
        fetching.addBoth(self._fetched, fetch)
        self._pump()

    async def _fetch(self, fetch: Fetch) -> None:
        try:
            link = self._neighbours.link(fetch.peer)
            await link.fetch(self.entry.torrent, fetch.indexes, fetch)
        except NotFound:
            if fetch.next is not None:
                self.transfer.lacks(fetch.peer, fetch.next, self._clock.seconds())
        except Busy:
            for request in fetch.wanted:
                self.transfer.busy(fetch.peer, request.index, self._clock.seconds())
        except Refusal as refusal:
            self._broke(fetch, refusal.reason)
        for request in fetch.wanted:
            self.transfer.withdrawn(fetch.peer, request.index)

    def _broke(self, fetch: Fetch, reason: str) -> None:
        for request in fetch.wanted:
            self._log.debug(
                "piece {index} of {name} from {peer} failed: {reason}",
                index=request.index,
                name=self.entry.torrent.name,
                peer=fetch.peer,
                reason=reason,
            )
            self.transfer.failed(fetch.peer, request.index, self._clock.seconds())

    def _fetched(self, result: object, fetch: Fetch) -> None:
        fetch.close()
        for index in fetch.indexes:
            self._forget(fetch, index)
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("fetching pieces failed unexpectedly", failure=result)
            self._broke(fetch, "p2pd failed")
        self._slots.release()
        self._rest()
        self._pump()

    def _received(self, request: Request, count: int) -> None:
        self.transfer.received(request.peer, request.index, count, self._clock.seconds())

    def _forget(self, fetch: Fetch, index: int) -> None:
        of_fetch = self._fetching.get((fetch.peer, index))
        if of_fetch is not None and of_fetch[0] is fetch:
            del self._fetching[fetch.peer, index]

    def _arrived(self, fetch: Fetch, request: Request, room: memoryview) -> None:
        # What has arrived whole is kept: from here on nothing cancels it.
        self._forget(fetch, request.index)
        self._busy += 1
        background.start(self._keep(request, room), "keeping a piece").addBoth(self._kept, room)

    def _kept(self, _: None, room: memoryview) -> None:
        self._rooms.give(room)
        self._rest()
        self._pump()

    def _rest(self) -> None:
        self._busy -= 1
        while self._idling and not self._busy:
            self._idling.pop().callback(None)

    async def _keep(self, request: Request, data: memoryview) -> None:
        entry = self.entry
        alike = entry.torrent.indexes_of(entry.torrent.piece_ids[request.index])
        places = [index for index in alike if index not in entry.held]
        try:
            good = not places or await entry.content.write(places, data)
        except Refusal as refusal:
            self._fail(refusal.reason)
            return
        except Exception:
            self.transfer.failed(request.peer, request.index, self._clock.seconds())
            raise
        if not good:
            self._blame(request)
            return
        entry.downloaded += len(data)
        entry.received_from[request.peer] += len(data)
        now = entry.last_received = self._clock.seconds()
        self._drop(self.transfer.delivered(request.peer, request.index, now))
        few = max(1, self._neighbours.count // _RARE)
        for index in places:
            self._drop(self.transfer.filled(index))
            entry.got(index, rare=self.transfer.availability(index) <= few)
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

    def _drop(self, requests: Iterable[Request]) -> None:
        for request in requests:
            fetch, fetching = self._fetching.get((request.peer, request.index), (None, None))
            if fetch is not None and fetching is not None and fetch.drop(request.index):
                fetching.cancel()

    # -- time

    def _arm(self) -> None:
        deadline = self.transfer.next_deadline if self._running else None
        if self._timer is not None and self._timer.active():
            if deadline is None:
                self._timer.cancel()
            return
        if deadline is not None and (at := deadline()) is not None:
            delay = min(max(at - self._clock.seconds(), 0.01), _LOOK)
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
