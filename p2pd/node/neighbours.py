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

# Each followed peer costs a connection here and one there; rarest first over this many
# behaves like rarest first over the whole swarm.
_MOST_LINKS = 60
_MOST_SPARE = 1000
_FIRST_RETRY = 1.0
_LAST_RETRY = 60.0
_TRIES = 8


class Joining(Follower, Protocol):
    """A follower that is also told when a link is made."""

    def peer_joined(self, peer: str, *, origin: bool) -> None:
        """A link to this peer exists; what it holds is not known yet."""


@dataclass(slots=True)
class _Known:
    origin: bool
    link: PeerLink | None = None
    failures: int = 0
    retry: IDelayedCall | None = None


class Neighbours:
    """Links to some of a swarm's peers; the others known are spares."""

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
    ) -> None:
        self._make = links
        self._follower = follower
        self._torrent = torrent
        self._clock = clock
        self._bans = bans
        self._rng = rng
        self._known: dict[str, _Known] = {}
        self._linked = 0
        self._open = True

    def link(self, peer: str) -> PeerLink:
        """The link to a peer; raises `Unavailable` if there is none."""
        known = self._known.get(peer)
        if known is None or known.link is None:
            raise Unavailable(f"{peer} is gone")
        return known.link

    def meet(self, peer: str, *, origin: bool) -> None:
        """Hear of a peer: follow it if there is room, else keep it as a spare."""
        if peer not in self._known and len(self._known) < _MOST_SPARE:
            self._known[peer] = _Known(origin)
            self._follow(peer)

    def _follow(self, peer: str) -> None:
        known = self._known[peer]
        known.retry = None
        if known.link or self._linked >= _MOST_LINKS or not self._open:
            return
        if self._bans.banned(peer, self._clock.seconds()):
            return
        try:
            known.link = self._make(peer, known.origin)
        except Refusal as refusal:
            self._log.warn("{peer} is not used: {reason}", peer=peer, reason=refusal.reason)
            return
        self._linked += 1
        self._follower.peer_joined(peer, origin=known.origin)
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
        return known

    def _use_spares(self) -> None:
        if not self._open:
            return
        for peer, known in tuple(self._known.items()):
            if self._linked >= _MOST_LINKS:
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
