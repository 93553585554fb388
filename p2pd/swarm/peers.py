"""How each peer behaves: what it holds, how fast it is, whether to ask it again and when."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from p2pd.swarm.picker import PieceSet
from p2pd.swarm.rates import Pace

PeerKey: TypeAlias = str  # an address or a URL; opaque here

_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How a transfer treats its peers; times in seconds, rates in bytes per second."""

    least_ahead: int = 1
    """Pieces that may be asked of a peer at the same time, however slow it is."""
    ahead: float = 0.25
    """What a peer should give within so long may be asked of it at the same time."""
    batch: float = 0.5
    """What a peer should give within so long may be asked of it with one request."""
    most_batch: int = 4 * 1024 * 1024
    """The most bytes to ask for with one request; but always at least one piece."""
    shares: int = 32
    """No request is for more than one piece in so many of those nobody was asked for."""
    endgame_copies: int = 2
    """Peers asked for one piece at the same time, once every piece has been asked for."""
    hurry: float = 1.0
    """The endgame leaves alone requests whose answers should be here within so long, and asks
    for a copy of one whose peer has been silent for so long."""
    endgame_gain: float = 2.0
    """Other copies are asked only of peers that should be this many times sooner."""
    stall: float = 10.0
    """A request is given up when its peer has sent nothing for so long."""
    min_timeout: float = 15.0
    """The least time a request is given in all."""
    patience: float = 4.0
    """A request is given this many times what the peer's rate promises."""
    assumed_rate: float = 1024 * 1024
    """The rate of a peer not yet measured, for its timeouts."""
    backoff_first: float = 0.5
    """How long a peer is left alone after its first failure; each further one doubles it."""
    busy: float = 0.25
    """How long a peer is left alone that has too many others to serve."""
    backoff_most: float = 60.0
    """The longest a peer is left alone."""
    backoff_jitter: float = 0.5
    """The part of a back-off that is random, so that peers do not come back together."""
    aside: float = 4.0
    """A peer left alone for longer than this no longer keeps its pieces from the origin."""
    rate_window: float = 5.0
    """The time over which the transfer's own rate is measured."""

    def batch_of(self, rate: float) -> int:
        """The bytes to ask for with one request of a peer of this rate, 0 if that is not known."""
        return min(int(rate * self.batch), self.most_batch)

    def wants_more(self, peer: "Peer") -> bool:
        """Tell whether to ask more of a peer before it has answered what it was asked."""
        rate = peer.pace.rate
        return peer.in_flight < self.least_ahead or peer.bytes_in_flight < rate * self.ahead

    def timeout(self, peer: "Peer", length: int) -> float:
        """The seconds that a peer is given for one request more, of so many bytes."""
        rate = peer.pace.rate or self.assumed_rate
        return max(self.min_timeout, self.patience * length * (peer.in_flight + 1) / rate)

    def throttled(self, rate: float, in_flight: int) -> "Limits":
        """Limits for who reads at no more than `rate` itself, with `in_flight` bytes asked for.

        What it makes its peers wait is no stall of theirs, and a copy of a piece would only wait
        with the first. A rate of 0 is no limit.
        """
        if not rate:
            return self
        wait = in_flight / rate
        return replace(
            self,
            endgame_copies=1,
            stall=self.stall + wait,
            min_timeout=self.min_timeout + self.patience * wait,
        )


@dataclass(slots=True, eq=False)
class Peer:
    """What is known of one peer."""

    key: PeerKey
    held: PieceSet = 0
    promised: PieceSet = 0
    origin: bool = False
    near: bool = True
    present: bool = False
    in_flight: int = 0
    bytes_in_flight: int = 0
    pace: Pace = field(default_factory=Pace)
    received: int = 0
    failures: int = 0  # in a row
    failed_at: float = -math.inf
    resting_until: float | None = None
    aside: bool = False
    banned: bool = False
    counted: bool = False  # in the availability of what it holds
    ready: bool = False  # may be sent a request now
    idle: bool = False  # ready, but holds nothing unasked

    @property
    def load(self) -> float:
        """Seconds it would take per byte of one more request; infinite if not measured yet."""
        return (self.in_flight + 1) / self.pace.rate if self.pace.rate else math.inf


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """What to show of a peer that is present; `rate` is in bytes per second while it works."""

    peer: PeerKey
    origin: bool
    pieces_held: int
    in_flight: int
    rate: float
    received_bytes: int
    failures: int
    banned: bool
    backing_off_until: float | None


class Peers:
    """The peers of one transfer, and the record of those that failed and left."""

    def __init__(self, piece_count: int, limits: Limits, rng: random.Random) -> None:
        self._piece_count = piece_count
        self.limits = limits
        self._rng = rng
        self._present: dict[PeerKey, Peer] = {}
        self._remembered: dict[PeerKey, Peer] = {}
        self._resting: dict[PeerKey, Peer] = {}
        self._origins: dict[PeerKey, Peer] = {}
        self._near = 0

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._present.values())

    def __getitem__(self, key: PeerKey) -> Peer:
        return self._present[key]

    def get(self, key: PeerKey) -> Peer | None:
        """Give a peer if it is present."""
        return self._present.get(key)

    def join(self, key: PeerKey, *, origin: bool, near: bool) -> Peer | None:
        """Let a peer in, with the failures and the ban it left with; None if it is in already.

        An origin holds every piece from the start, any other peer none.
        """
        if (present := self._present.get(key)) is not None:
            self._near += near - present.near
            present.near = near
            return None
        peer = self._remembered.pop(key, None) or Peer(key)
        peer.held = (1 << self._piece_count) - 1 if origin else 0
        peer.promised = 0
        peer.origin = origin
        peer.near = near
        peer.present = True
        self._present[key] = peer
        self._near += near
        if origin:
            self._origins[key] = peer
        if peer.resting_until is not None:
            self._resting[key] = peer
        return peer

    def leave(self, peer: Peer) -> None:
        """Let a peer out that is no longer present, and remember it only if it misbehaved."""
        del self._present[peer.key]
        self._near -= peer.near
        self._resting.pop(peer.key, None)
        self._origins.pop(peer.key, None)
        if peer.banned or peer.failures:
            self._remember(peer)

    def ban(self, key: PeerKey) -> Peer:
        """Never ask a peer again, present or not."""
        peer = self._present.get(key) or self._remembered.get(key)
        if peer is None:
            peer = Peer(key)
            self._remember(peer)
        peer.banned = True
        return peer

    def back_off(self, peer: Peer, now: float, *, at_least: float = 0.0) -> None:
        """Leave a peer alone after a failure, each time in a row for twice as long."""
        peer.failures += 1
        peer.failed_at = now
        doublings = min(peer.failures - 1, 32)
        delay = min(self.limits.backoff_first * 2.0**doublings, self.limits.backoff_most)
        self.rest(peer, now, max(delay, at_least))

    def rest(self, peer: Peer, now: float, delay: float) -> None:
        """Leave a peer alone for `delay` seconds, less a random part."""
        delay *= 1 - self.limits.backoff_jitter * self._rng.random()
        if peer.resting_until is None or now + delay > peer.resting_until:
            peer.resting_until = now + delay
            peer.aside = delay > self.limits.aside
            self._resting[peer.key] = peer

    def rested(self, now: float) -> list[Peer]:
        """Give the peers whose back-off is over, each once."""
        if not self._resting:
            return []
        done = [peer for peer in self._resting.values() if _rest_end(peer) <= now]
        for peer in done:
            del self._resting[peer.key]
            peer.resting_until = None
            peer.aside = False
        return done

    def next_rested(self) -> float | None:
        """Give the time at which the next back-off is over."""
        return min(map(_rest_end, self._resting.values()), default=None)

    def promised(self) -> PieceSet:
        """Give the pieces that any peer promised to somebody."""
        union = 0
        for peer in self:
            union |= peer.promised
        return union

    @property
    def any_origin(self) -> bool:
        """Whether some peer is an origin that may be asked."""
        return any(not peer.banned for peer in self._origins.values())

    @property
    def any_near(self) -> bool:
        """Whether some peer is near."""
        return self._near > 0

    @property
    def banned(self) -> frozenset[PeerKey]:
        """The peers never to be asked again, present or not."""
        known = (*self._present.values(), *self._remembered.values())
        return frozenset(peer.key for peer in known if peer.banned)

    def facts(self) -> list[PeerFacts]:
        """Give what there is to show of each peer that is present."""
        return [
            PeerFacts(
                peer=peer.key,
                origin=peer.origin,
                pieces_held=peer.held.bit_count(),
                in_flight=peer.in_flight,
                rate=peer.pace.rate,
                received_bytes=peer.received,
                failures=peer.failures,
                banned=peer.banned,
                backing_off_until=peer.resting_until,
            )
            for peer in self
        ]

    def _remember(self, peer: Peer) -> None:
        peer.held = 0
        self._remembered[peer.key] = peer
        if len(self._remembered) > _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]


def _rest_end(peer: Peer) -> float:
    return -math.inf if peer.resting_until is None else peer.resting_until
