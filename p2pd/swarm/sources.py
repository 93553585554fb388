"""Whom to ask for a piece: the peers that could be sent a request now, and the best of them.

An origin (a web seed) holds everything and is the last resort: it is asked only for pieces that
no other peer holds, though those others may all be busy. A peer that is banned or set aside for
a long back-off holds nothing in this sense. Pieces that only an origin has are the rarest, so
they go first, and as ties are broken at random, nodes that start together spread over them.
"""

import math
import random
from collections import deque
from collections.abc import Container
from itertools import chain, islice

from p2pd.swarm.peers import Peer, PeerKey
from p2pd.swarm.picker import Picker, PieceSet, without

_ENOUGH = 8


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

    def least_load(self) -> float:
        """Give the load of the peer that would be quickest, as far as any is measured."""
        return min((peer.load for peer in self._peers.values()), default=math.inf)

    def source(self, index: int, asked: Container[PeerKey]) -> Peer | None:
        """Choose whom to ask for a piece: who has least to do for its speed, ties at random.

        Near peers come before far ones.  The best of a few holders, met at random, is nearly as
        good as the best of all.
        """
        peers = list(self._peers.values())
        start = self._rng.randrange(len(peers)) if peers else 0
        met = (
            peer
            for peer in chain(peers[start:], peers[:start])
            if index in peer.pieces and peer.key not in asked
        )
        holders = list(islice(met, _ENOUGH))
        if not holders:
            return None
        holders = [peer for peer in holders if peer.near] or holders
        # A peer not measured yet is taken to be as good as the best, or it never would be.
        best = max(peer.pace.rate for peer in holders) or 1.0
        loads = [(peer.in_flight + 1) / (peer.pace.rate or best) for peer in holders]
        least = min(loads)
        return self._rng.choice(
            [peer for peer, load in zip(holders, loads, strict=True) if load == least]
        )


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

    def promised(self, pieces: PieceSet, until: float) -> None:
        """Note that some peer will hold these pieces: until then no origin is asked for them."""
        self._promises.append((until, pieces))

    def reach(self, picker: Picker, now: float) -> PieceSet:
        """Give a set with all the unasked pieces for which there is a source."""
        reach = self._nodes.reach(picker.unasked)
        if self._origins:
            while self._promises and self._promises[0][0] <= now:
                self._promises.popleft()
            lacking = without(picker.unasked, picker.held)
            for _, pieces in self._promises:
                lacking = without(lacking, pieces)
            reach |= lacking
        return reach

    def choose(self, index: int, picker: Picker, asked: Container[PeerKey]) -> Peer | None:
        """Choose whom to ask for a piece, of those that were not asked for it."""
        pool = self._nodes if picker.held >> index & 1 else self._origins
        return pool.source(index, asked)

    def least_load(self) -> float:
        """Give the load of the peer that would be quickest, as far as any is measured."""
        return min(self._nodes.least_load(), self._origins.least_load())
