"""One download from many peers, as happenings in and wishes out.

Theory of operation. A Transfer is told what happens (peers come and go and gain pieces, bytes
arrive, requests end well or badly), and is asked what to do: `next_request` names a peer and a
piece to fetch from it, `expired` the requests to give up. It sends nothing, and knows no clock:
`now` is any clock that does not go back, in seconds. Its caller keeps to three rules:

1. After any happening, call `next_request` until it gives None (or until the caller has as much
   under way as it wants), and fetch what it names. Each request counts as outstanding from then
   on, and ends with exactly one of `delivered`, `corrupt`, `failed`, `lacks`, `busy`, `withdrawn`.
   `more_requests` adds what may go to the same peer in the same breath.
2. Cancel the requests that a call returns as dropped; a report that comes all the same is ignored.
3. At `next_deadline`, call `expired`, cancel what it gives, and go on with rule 1.

What is decided where: the Sources choose whom to ask next, the Picker the piece (urgent, then
rarest, ties at random), the Endgame what to ask of a second peer; the Requests know who was asked
for what and since when, the Peers how each one behaves. What is left for the Transfer is to keep
these in step: after any change to a peer, `_settle` makes its availability and its readiness true.
"""

import random
from collections.abc import Iterable, Sequence

from p2pd.errors import Invalid
from p2pd.metainfo.bitfield import Bitfield
from p2pd.swarm.endgame import Endgame
from p2pd.swarm.peers import Limits, Peer, PeerFacts, PeerKey, Peers
from p2pd.swarm.picker import Picker, PieceSet, piece_set, set_of, without
from p2pd.swarm.rates import Speedometer
from p2pd.swarm.requests import Outstanding, Request, Requests
from p2pd.swarm.sources import Sources

__all__ = ["Limits", "PeerFacts", "PeerKey", "Request", "Transfer"]

_DEFAULTS = Limits()


class Transfer:
    """What to fetch next, and from whom, until all wanted pieces are here.

    `sizes` are the lengths of the pieces in bytes; `have` says which are here, and is kept up to
    date; `wanted` says which to fetch, all by default. Happenings about absent peers, or requests
    that are not outstanding, are taken for late and do nothing, unless said otherwise. A piece
    index out of range raises IndexError.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        have: Bitfield,
        rng: random.Random,
        *,
        wanted: Bitfield | None = None,
        limits: Limits = _DEFAULTS,
    ) -> None:
        self._sizes = sizes
        self._wanted = Bitfield.full(len(sizes)) if wanted is None else wanted.copy()
        if not len(sizes) == len(have) == len(self._wanted):
            raise ValueError("sizes, have and wanted must be of one length")
        self._have = have
        self._limits = limits
        self._bytes_left = sum(sizes[index] for index in self._wanted if index not in have)
        self._picker = Picker(without(piece_set(self._wanted), piece_set(have)), rng)
        self._requests = Requests(limits)
        self._peers = Peers(len(sizes), limits, rng)
        self._sources = Sources(rng)
        self._speed = Speedometer(limits.rate_window)
        self._endgame = Endgame(self._requests, self._peers, limits)
        self._now = 0.0

    # -- happenings: peers

    def peer_joined(
        self, peer: PeerKey, now: float, *, origin: bool = False, near: bool = True
    ) -> None:
        """Let a peer in, holding nothing yet, or everything if it is an origin.

        One that was here before keeps its ban, and the back-off it left with.  `near` peers are
        asked before others.
        """
        joined = self._peers.join(peer, origin=origin, near=near)
        if joined is not None:
            self._wake(now)
            self._settle(joined)

    def peer_left(self, peer: PeerKey, now: float) -> list[Request]:
        """Let a peer go, and give its outstanding requests, which are dropped."""
        left = self._peers.get(peer)
        if left is None:
            return []
        self._wake(now)
        left.present = False
        dropped = self._drop_all(left)
        self._peers.leave(left)
        self._picker.promised = self._peers.promised()
        return dropped

    def peer_has_bitfield(self, peer: PeerKey, bitfield: Bitfield, now: float) -> None:
        """Note all that a peer holds, in place of what was known.

        Raises Invalid if the bitfield is not of this torrent's size.
        """
        if len(bitfield) != len(self._sizes):
            raise Invalid(f"a bitfield of {len(bitfield)} pieces, not {len(self._sizes)}")
        holder = self._holder(peer, now)
        if holder is not None:
            holds = piece_set(bitfield)
            self._lose(holder, without(holder.held, holds))
            self._gain(holder, without(holds, holder.held))

    def peer_has(self, peer: PeerKey, indexes: Iterable[int], now: float) -> None:
        """Note that a peer holds these pieces too."""
        holder = self._holder(peer, now)
        if holder is not None:
            self._gain(holder, without(set_of(indexes, len(self._sizes)), holder.held))

    def peer_promised(self, peer: PeerKey, indexes: Iterable[int], now: float) -> None:
        """Note that others are getting these pieces from a peer, and will have them soon."""
        if (source := self._peers.get(peer)) is not None:
            new = set_of(indexes, len(self._sizes))
            source.promised |= new
            self._picker.promised |= new
            self._sources.promised(new, now, now + self._limits.stall)

    def peer_lost(self, peer: PeerKey, index: int, now: float) -> None:
        """Note that a peer holds one piece less; a request for it may still succeed."""
        holder = self._holder(peer, now)
        if holder is not None:
            self._lose(holder, holder.held & set_of((index,), len(self._sizes)))

    # -- happenings: requests

    def received(self, peer: PeerKey, index: int, count: int, now: float) -> None:
        """Note that `count` more bytes of an outstanding request have arrived."""
        if (outstanding := self._requests.get(peer, index)) is not None:
            self._book(outstanding, count, now)

    def delivered(self, peer: PeerKey, index: int, now: float) -> list[Request]:
        """Note that a piece is here and verified, and give the requests for it that are moot.

        A piece whose request was dropped before is welcome all the same.
        """
        outstanding = self._requests.get(peer, index)
        if outstanding is not None:
            self._book(outstanding, outstanding.left, now)
            self._requests.drop(peer, index)
        source = self._peers.get(peer)
        if source is not None:
            source.failures = 0
            self._settle(source)
        return self.filled(index)

    def filled(self, index: int) -> list[Request]:
        """Note that a verified piece came from elsewhere, and give the requests for it."""
        if self._have.add(index) and index in self._wanted:
            self._bytes_left -= self._sizes[index]
        self._picker.close(index)
        moot = self._requests.drop_piece(index)
        for request in moot:
            self._settle(self._peers[request.peer])
        return moot

    def corrupt(self, peer: PeerKey, index: int, now: float) -> list[Request]:
        """Note that a peer sent a piece with a wrong digest: ban it.

        Gives its other requests, which are dropped. The ban stands even if this request was
        dropped before, or the peer has left.
        """
        self._wake(now)
        liar = self._peers.ban(peer)
        return [one for one in self._drop_all(liar) if one.index != index]

    def failed(self, peer: PeerKey, index: int, now: float) -> None:
        """Note that a request was refused, cut short or answered with rubbish: back off."""
        if (outstanding := self._requests.drop(peer, index)) is not None:
            self._give_up(outstanding, now)

    def lacks(self, peer: PeerKey, index: int, now: float) -> None:
        """Note that a peer, asked for a piece, said that it does not have it.

        It is left alone for a moment, or, as an origin that lacks something is broken, as if it
        had failed.
        """
        if self._requests.get(peer, index) is None:
            return
        if self._peers[peer].origin:
            self.failed(peer, index, now)
        else:
            self.busy(peer, index, now)
            self.peer_lost(peer, index, now)

    def busy(self, peer: PeerKey, index: int, now: float) -> None:
        """Note that a peer has too many others to serve: it is left alone for a moment."""
        if self._requests.drop(peer, index) is not None:
            self._peers.rest(self._peers[peer], now, self._limits.busy)
            self._free(index)
            self._settle(self._peers[peer])

    def withdrawn(self, peer: PeerKey, index: int) -> None:
        """Note that a request went unanswered by no fault of the peer."""
        if self._requests.drop(peer, index) is not None:
            self._free(index)
            self._settle(self._peers[peer])

    def urge(self, indexes: Iterable[int]) -> None:
        """Fetch these pieces first, in this order, instead of those urged before."""
        self._picker.urge(
            index for index in indexes if index in self._wanted and index not in self._have
        )

    def set_limits(self, limits: Limits, now: float) -> None:
        """Treat peers in another way from now on."""
        self._limits = limits
        for part in (self._requests, self._peers, self._endgame):
            part.limits = limits
        self._wake(now)
        for peer in self._peers:
            self._settle(peer)

    # -- wishes

    def next_request(self, now: float) -> Request | None:
        """Choose what to fetch next, and from whom; None if there is nothing to ask of anyone."""
        self._wake(now)
        chosen = self._sources.next(self._picker, now)
        if chosen is None:
            return self._next_copy(now)
        self._endgame.on = False
        return self._ask(*chosen, now)

    def more_requests(self, request: Request, now: float) -> list[Request]:
        """Choose what else to ask of the same peer together with a request just given."""
        peer = self._peers[request.peer]
        share = 0 if peer.origin else self._picker.unasked.bit_count() // self._limits.shares
        room = self._limits.batch_of(peer.pace.rate) - request.length
        more: list[Request] = []
        while len(more) < share:
            index = self._picker.pick(peer.held)
            if index is None or self._sizes[index] > room:
                break
            room -= self._sizes[index]
            more.append(self._ask(peer, index, now))
        return more

    def expired(self, now: float) -> list[Request]:
        """Give up the requests that have taken too long, and give them; their peers back off."""
        self._wake(now)
        late = self._requests.expired(now)
        for outstanding in late:
            # Silence is worse than an error: a second one would cost the same wait again.
            self._give_up(outstanding, now, at_least=self._limits.stall)
        return [outstanding.request for outstanding in late]

    def next_deadline(self) -> float | None:
        """Give the next time at which something changes though nothing happens."""
        times = (
            self._requests.next_due(),
            self._peers.next_rested(),
            self._endgame.next_hurried(self._now),
            self._sources.next_broken(self._now),
        )
        return min((time for time in times if time is not None), default=None)

    # -- facts

    @property
    def have(self) -> Bitfield:
        """The pieces that are here and verified."""
        return self._have

    @property
    def complete(self) -> bool:
        """Whether all wanted pieces are here."""
        return not self._bytes_left

    @property
    def bytes_left(self) -> int:
        """The lengths of the wanted pieces that are not here."""
        return self._bytes_left

    @property
    def banned(self) -> frozenset[PeerKey]:
        """The peers that sent a wrong digest, present or not: do not connect to them."""
        return self._peers.banned

    def rate(self, now: float) -> float:
        """Give the speed at which bytes have been coming, in bytes per second."""
        return self._speed.rate(now)

    def outstanding(self) -> list[Request]:
        """Give all requests that have no outcome yet."""
        return [one.request for one in self._requests]

    def availability(self, index: int) -> int:
        """Count the peers that hold a piece, leaving out origins and peers banned or set aside."""
        if not 0 <= index < len(self._sizes):
            raise IndexError(f"piece {index} of {len(self._sizes)}")
        return self._picker.availability(index)

    def copies(self) -> float:
        """Count the whole copies in sight, this one included, and the part there is more of."""
        seen = self._picker.copies(piece_set(self._have), len(self._sizes))
        return seen + self._peers.any_origin

    def peers(self) -> list[PeerFacts]:
        """Give what there is to show of each peer that is present."""
        return self._peers.facts()

    # -- keeping picker, requests and peers in step

    def _settle(self, peer: Peer) -> None:
        """Make a peer's availability and readiness true again after anything about it changed."""
        peer.in_flight = self._requests.in_flight(peer.key)
        peer.bytes_in_flight = self._requests.bytes_in_flight(peer.key)
        usable = peer.present and not peer.banned
        counted = usable and not peer.origin and not peer.aside
        if counted != peer.counted:
            peer.counted = counted
            (self._picker.add if counted else self._picker.remove)(peer.held)
        ready = usable and self._limits.wants_more(peer) and peer.resting_until is None
        self._sources.set_ready(peer, ready=ready)

    def _wake(self, now: float) -> None:
        self._now = now
        for peer in self._peers.rested(now):
            self._settle(peer)

    def _holder(self, key: PeerKey, now: float) -> Peer | None:
        """Look up a peer whose holdings may change: an origin's do not."""
        self._wake(now)
        peer = self._peers.get(key)
        return None if peer is None or peer.origin else peer

    def _gain(self, peer: Peer, pieces: PieceSet) -> None:
        peer.held |= pieces
        if peer.counted:
            self._picker.add(pieces)
        self._sources.gained(peer, pieces)

    def _lose(self, peer: Peer, pieces: PieceSet) -> None:
        peer.held = without(peer.held, pieces)
        if peer.counted:
            self._picker.remove(pieces)
        self._sources.lost(peer)

    def _book(self, outstanding: Outstanding, count: int, now: float) -> None:
        self._requests.progress(outstanding, count, now)
        self._speed.add(count, now)
        peer = self._peers[outstanding.request.peer]
        peer.received += count
        peer.pace.add(count, now)

    def _free(self, index: int) -> None:
        """Let a piece be asked for again, unless someone else still is."""
        if not self._requests.asked(index) and index not in self._have:
            self._picker.free(index)
            self._sources.freed()

    def _give_up(self, outstanding: Outstanding, now: float, *, at_least: float = 0.0) -> None:
        self._free(outstanding.request.index)
        peer = self._peers[outstanding.request.peer]
        # Requests sent before the last failure fail with it: one mishap, one back-off.
        if outstanding.asked > peer.failed_at:
            self._peers.back_off(peer, now, at_least=at_least)
        self._settle(peer)

    def _drop_all(self, peer: Peer) -> list[Request]:
        dropped = self._requests.drop_peer(peer.key)
        for request in dropped:
            self._free(request.index)
        self._settle(peer)
        return dropped

    # -- choosing

    def _ask(self, peer: Peer, index: int, now: float) -> Request:
        crossing = peer.origin or (not peer.near and self._peers.any_near)
        request = Request(peer.key, index, self._sizes[index], crossing)
        if not peer.in_flight:
            peer.pace.begin(now)
        self._picker.take(index)
        self._requests.add(request, now, now + self._limits.timeout(peer, request.length))
        self._settle(peer)
        return request

    # -- endgame

    def _next_copy(self, now: float) -> Request | None:
        """Ask a second peer for the slowest piece that is worth it."""
        unasked = self._picker.unasked
        askable = unasked if self._peers.any_origin else unasked & self._picker.held
        self._endgame.on = not askable and bool(self._requests)
        if not self._endgame.on or not self._sources:
            return None
        for one in self._endgame.slowest(now, self._sources.least_load):
            index = one.request.index
            source = self._sources.choose(index, self._picker, self._requests.asked(index))
            if source is not None and self._endgame.worth(one, source.load, now):
                return self._ask(source, index, now)
        return None
