"""The links of one download: whom it follows, and when it tries a lost one again."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from p2pd.errors import Refusal, Unavailable
from p2pd.metainfo.torrent import Torrent
from p2pd.node.bans import Bans
from p2pd.node.ports import Follower, PeerLink

# Each followed peer costs a connection here and one there; what is rare among this many is rare
# in the whole swarm.
_MOST_LINKS = 60
_MOST_SPARE = 1000
_FIRST_RETRY = 1.0
_LAST_RETRY = 60.0
_TRIES = 8


class Joining(Follower, Protocol):
    """A follower that is also told when a link is made."""

    def peer_joined(self, peer: str, *, origin: bool, near: bool) -> None:
        """A link to this peer exists; what it holds is not known yet.

        Said again of a linked peer that turns out to be near.
        """

    def peer_left(self, peer: str) -> None:
        """The link to this peer is closed."""

    def idle(self, peer: str) -> bool:
        """Whether nothing is being fetched from this peer."""


@dataclass(slots=True)
class _Known:
    origin: bool
    near: bool
    link: PeerLink | None = None
    failures: int = 0
    retry: IDelayedCall | None = None


class Neighbours:
    """Links to some of a swarm's peers; the others known are spares.

    Near peers (of our zone) go first, up to three quarters of all links, of which there are at
    most `most`, or as many as are good for a swarm if that is 0 or more.
    """

    _log = Logger()

    def __init__(
        self,
        links: Callable[[str, bool], PeerLink],
        follower: Joining,
        torrent: Torrent,
        *,
        clock: IReactorTime,
        bans: Bans,
        rng: Random,
        most: int = 0,
    ) -> None:
        self._make = links
        self._follower = follower
        self._torrent = torrent
        self._clock = clock
        self._bans = bans
        self._rng = rng
        self._known: dict[str, _Known] = {}
        self._linked = self._linked_near = 0
        self._open = True
        self.bound(most)

    def bound(self, most: int) -> None:
        """Have at most so many links from now on, 0 being as many as are good; see the class."""
        self._most = min(most or _MOST_LINKS, _MOST_LINKS)
        # The rest is for peers of other zones, lest the zones fall apart.
        self._most_near = max(1, self._most * 3 // 4)
        linked = [peer for peer, known in self._known.items() if known.link is not None]
        for peer in linked[self._most :]:
            self._unlink(peer)
            self._follower.peer_left(peer)
        self._use_spares()

    @property
    def count(self) -> int:
        """How many links there are."""
        return self._linked

    def link(self, peer: str) -> PeerLink:
        """The link to a peer; raises `Unavailable` if there is none."""
        known = self._known.get(peer)
        if known is None or known.link is None:
            raise Unavailable(f"{peer} is gone")
        return known.link

    def meet(self, peer: str, *, origin: bool = False, near: bool = False) -> None:
        """Hear of a peer: follow it if there is room, else keep it as a spare."""
        known = self._known.get(peer)
        if known is not None:
            if near and not known.near:
                self._is_near(peer, known)
        elif len(self._known) < _MOST_SPARE:
            known = self._known[peer] = _Known(origin, near)
            if not self._has_room(near=near):
                self._mix(known)
            self._follow(peer)

    def _is_near(self, peer: str, known: _Known) -> None:
        """Correct what was heard from somebody who did not know."""
        known.near = True
        if known.link is not None:
            self._linked_near += 1
            self._follower.peer_joined(peer, origin=known.origin, near=True)

    def _mix(self, new: _Known) -> None:
        """Let go of a link now and then: all who were ever met should be as likely to have one.

        Those who came first would else follow each other only, and be followed by all the rest.
        """
        kind = new.near, new.origin
        alike = [peer for peer, known in self._known.items() if (known.near, known.origin) == kind]
        linked = [peer for peer in alike if self._known[peer].link is not None]
        if not self._open or self._rng.random() * len(alike) >= len(linked):
            return
        idle = [peer for peer in linked if self._follower.idle(peer)]
        if idle:
            peer = self._rng.choice(idle)
            self._unlink(peer)
            self._follower.peer_left(peer)

    def _has_room(self, *, near: bool) -> bool:
        if self._linked >= self._most or not self._open:
            return False
        return not near or self._linked_near < self._most_near

    def _follow(self, peer: str) -> None:
        known = self._known[peer]
        known.retry = None
        if known.link or not self._has_room(near=known.near):
            return
        if self._bans.banned(peer, self._clock.seconds()):
            return
        try:
            known.link = self._make(peer, known.origin)
        except Refusal as refusal:
            self._log.warn("{peer} is not used: {reason}", peer=peer, reason=refusal.reason)
            return
        self._linked += 1
        self._linked_near += known.near
        self._follower.peer_joined(peer, origin=known.origin, near=known.near)
        known.link.follow(self._torrent, self._follower)

    def heard(self, peer: str) -> bool:
        """Book that a peer answers; whether it is one to remember, which an origin is not."""
        known = self._known.get(peer)
        if known is None:
            return False
        known.failures = 0
        return not known.origin

    def gone(self, peer: str, reason: str) -> None:
        """Close a link that broke; try again later, a few times, and let a spare in."""
        self._log.debug("lost {peer}: {reason}", peer=peer, reason=reason)
        known = self._unlink(peer)
        if known is None:
            return
        known.failures += 1
        if known.failures >= _TRIES and not known.origin:
            del self._known[peer]
        else:
            delay = min(_FIRST_RETRY * 2 ** (known.failures - 1), _LAST_RETRY)
            known.retry = self._clock.callLater(
                delay * self._rng.uniform(0.75, 1.25), self._follow, peer
            )
        self._use_spares()

    def banned(self, peer: str) -> None:
        """Close the link to a peer that was banned, for good."""
        self._unlink(peer)
        self._use_spares()

    def _unlink(self, peer: str) -> _Known | None:
        known = self._known.get(peer)
        if known is None or known.link is None:
            return None
        known.link.close()
        known.link = None
        self._linked -= 1
        self._linked_near -= known.near
        return known

    def _use_spares(self) -> None:
        if not self._open:
            return
        for peer, known in sorted(self._known.items(), key=lambda item: not item[1].near):
            if self._linked >= self._most:
                return
            if known.link is None and known.retry is None:
                self._follow(peer)

    def close(self) -> None:
        """Close every link."""
        self._open = False
        for peer, known in self._known.items():
            if known.retry is not None and known.retry.active():
                known.retry.cancel()
            self._unlink(peer)
