"""Whom to ask next, of the peers that could be sent a request now, and then for which piece.

Urgent pieces go first. Then comes what only an origin has, and then whatever the peer holds that
has least to do for us: of its pieces the rarest.

An origin (a web seed) holds everything and is the last resort: it is asked only for pieces that
no other peer holds, though those others may all be busy, and that nobody was promised. A peer
that is banned or set aside for a long back-off holds nothing in this sense. As ties are broken at
random, nodes that start together spread over the pieces of an origin.
"""

import math
import random
from collections import deque
from collections.abc import Container
from itertools import chain, islice

from p2pd.swarm.peers import Peer, PeerKey
from p2pd.swarm.picker import Picker, PieceSet, without

_ENOUGH = 8
_FAR_SLOWER = 8
_MOMENT = 1.0


class Ready:
    """The peers that could be sent a request now, and what they hold between them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._peers: dict[PeerKey, Peer] = {}
        self._union: PieceSet | None = 0

    def __bool__(self) -> bool:
        return bool(self._peers)

    def add(self, peer: Peer) -> None:
        """Let a peer in."""
        self._peers[peer.key] = peer
        self.gained(peer, peer.held)

    def remove(self, peer: Peer) -> None:
        """Let a peer out."""
        del self._peers[peer.key]
        self._union = None

    def gained(self, peer: Peer, pieces: PieceSet) -> None:
        """Note that one of the peers holds these pieces too."""
        peer.idle = False
        if self._union is not None:
            self._union |= pieces

    def lost(self) -> None:
        """Note that one of the peers holds less than before."""
        self._union = None

    def freed(self) -> None:
        """Note that a piece is to be asked for again: it may be one an idle peer holds."""
        self._union = None
        for peer in self._peers.values():
            peer.idle = False

    def reach(self, unasked: PieceSet) -> PieceSet:
        """Give a set with all the unasked pieces that a ready peer holds, and none no one does.

        It is kept until a peer goes; then only peers that still had something to offer are
        looked at again.
        """
        if self._union is None:
            self._union = 0
            for peer in self._peers.values():
                if not peer.idle:
                    useful = peer.held & unasked
                    peer.idle = not useful
                    self._union |= useful
        return self._union

    def best(self, unasked: PieceSet) -> Peer | None:
        """Choose a peer that holds something unasked: who has least to do for us.

        Near peers come before far ones; ties are broken at random.
        """
        useful = []
        for peer in self._peers.values():
            if not peer.idle:
                if peer.held & unasked:
                    useful.append(peer)
                else:
                    peer.idle = True
        return self._least_loaded(useful)

    def _least_loaded(self, peers: list[Peer]) -> Peer | None:
        if not peers:
            return None
        peers = [peer for peer in peers if peer.near] or peers
        # What a peer gives says more about how busy it was than about how fast it is: only one
        # that is slower by far comes after the others.
        slow = max(peer.pace.rate for peer in peers) / _FAR_SLOWER
        loads = [(0 < peer.pace.rate < slow, peer.in_flight) for peer in peers]
        least = min(loads)
        return self._rng.choice(
            [peer for peer, load in zip(peers, loads, strict=True) if load == least]
        )

    def least_load(self) -> float:
        """Give the load of the peer that would be quickest, as far as any is measured."""
        return min((peer.load for peer in self._peers.values()), default=math.inf)

    def source(self, index: int, asked: Container[PeerKey]) -> Peer | None:
        """Choose whom to ask for a piece: who has least to do for us, ties at random.

        Near peers come before far ones.  The best of a few holders, met at random, is nearly as
        good as the best of all.
        """
        peers = list(self._peers.values())
        start = self._rng.randrange(len(peers)) if peers else 0
        met = (
            peer
            for peer in chain(peers[start:], peers[:start])
            if peer.held >> index & 1 and peer.key not in asked
        )
        return self._least_loaded(list(islice(met, _ENOUGH)))


class Sources:
    """All that could be asked now; origins are asked only for what no other peer holds."""

    def __init__(self, rng: random.Random) -> None:
        self._nodes = Ready(rng)
        self._origins = Ready(rng)
        self._promises: deque[tuple[float, PieceSet]] = deque()

    def __bool__(self) -> bool:
        return bool(self._nodes or self._origins)

    def set_ready(self, peer: Peer, *, ready: bool) -> None:
        """Let a peer in or out."""
        if ready != peer.ready:
            peer.ready = ready
            pool = self._origins if peer.origin else self._nodes
            (pool.add if ready else pool.remove)(peer)

    def gained(self, peer: Peer, pieces: PieceSet) -> None:
        """Note that a peer, whether in or not, holds these pieces too."""
        if peer.ready:
            self._nodes.gained(peer, pieces)

    def lost(self, peer: Peer) -> None:
        """Note that a peer, whether in or not, holds less than before."""
        if peer.ready:
            self._nodes.lost()

    def freed(self) -> None:
        """Note that a piece is to be asked for again."""
        self._nodes.freed()

    def promised(self, pieces: PieceSet, now: float, until: float) -> None:
        """Note that some peer will hold these pieces: until then no origin is asked for them."""
        while self._promises and self._promises[0][0] <= now:
            self._promises.popleft()
        # Those of a moment end together, so that no number of promises takes much memory.
        if self._promises and 0 <= until - self._promises[-1][0] < _MOMENT:
            until, others = self._promises.pop()
            pieces |= others
        self._promises.append((until, pieces))

    def next(self, picker: Picker, now: float) -> tuple[Peer, int] | None:
        """Choose a peer, and what to ask it for; None if nobody has anything unasked.

        Whom to ask comes first: if all asked for the rarest piece first, all would wait for the
        few that hold it, while other uplinks have nothing to do.
        """
        lacking = self._lacking(picker, now)
        index = None
        if picker.urgent:
            reach = self._nodes.reach(picker.unasked) | lacking
            index = picker.pick(reach & picker.urgent)
        if index is None:
            index = picker.pick(lacking)
        if index is not None:
            source = self.choose(index, picker, ())
            return None if source is None else (source, index)
        peer = self._nodes.best(picker.unasked)
        index = None if peer is None else picker.pick(peer.held)
        return None if peer is None or index is None else (peer, index)

    def _lacking(self, picker: Picker, now: float) -> PieceSet:
        """Give what only origins have, if one could be asked now."""
        if not self._origins:
            return 0
        lacking = without(picker.unasked, picker.held)
        for until, pieces in self._promises:
            if until > now:
                lacking = without(lacking, pieces)
        return lacking

    def next_broken(self, now: float) -> float | None:
        """Give the next time at which an origin may be asked for what was promised till then."""
        if not self._origins:
            return None
        return min((until for until, _ in self._promises if until > now), default=None)

    def choose(self, index: int, picker: Picker, asked: Container[PeerKey]) -> Peer | None:
        """Choose whom to ask for a piece, of those that were not asked for it."""
        pool = self._nodes if picker.held >> index & 1 else self._origins
        return pool.source(index, asked)

    def least_load(self) -> float:
        """Give the load of the peer that would be quickest, as far as any is measured."""
        return min(self._nodes.least_load(), self._origins.least_load())
