"""What an announce and a scrape mean, whichever door they come by."""

import random
from dataclasses import astuple, dataclass
from operator import add

from p2pd.errors import Unavailable
from p2pd.tracker.access import Access
from p2pd.tracker.handout import nearest
from p2pd.tracker.ports import PeerTable
from p2pd.tracker.records import AccessDenied, Why
from p2pd.tracker.zones import Zones

_CLOSED = "the tracker is starting or stopping; try again in a minute"
_MOST_DRAWN = 800


@dataclass(slots=True)
class Tally:
    """What a door has seen from clients of one address family since the daemon started."""

    connections: int = 0
    """Accepted ones; for UDP, connection ids handed out."""
    announces: int = 0
    """Answered ones, the failed not among them; so are the scrapes."""
    scrapes: int = 0
    failures: int = 0
    """Requests answered with a failure reason."""
    malformed: int = 0
    """Packets and requests that were dropped without an answer."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*map(add, astuple(self), astuple(other)))


class Announcing:
    """Asks the access policy, then the peer table; `interval` in seconds.

    Refuses everything unless `open` is set: from when the tables have been loaded until the last
    write to them.
    """

    def __init__(
        self,
        table: PeerTable,
        access: Access,
        *,
        interval: int = 1800,
        zones: Zones | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.table = table
        self.access = access
        self.open = False
        self.zones = zones
        """If given, clients hear first of those in their own zone."""
        self._rng = rng = rng or random.Random()  # noqa: S311 - for spreading, not for secrets
        self.intervals = [max(round(interval * rng.uniform(0.8, 1.2)), 1) for _ in range(256)]
        """What clients are told, one or another, so that they do not come all at once."""
        self.min_interval = max(interval // 2, 1)

    def require_open(self) -> None:
        """Raise Unavailable before the tables have been loaded, and after the last write."""
        if not self.open:
            raise Unavailable(_CLOSED)

    def announce(  # noqa: PLR0917 - called a million times: keywords cost
        self,
        credentials: tuple[str, ...],
        infohash: bytes,
        address: bytes,
        peer_id: bytes,
        left: int,
        uploaded: int,
        downloaded: int,
        event: int,
        wanted: int,
    ) -> tuple[int, int, int, bytes]:
        """Note a client; return (complete, incomplete, downloaded, peers to try).

        `credentials` are the key and the passkey in the path, if any; `address` is the packed
        address and port, 6 or 18 bytes, and the peers are of the same kind, one after the other
        (BEP 23, BEP 7). Raises AccessDenied, Unavailable.
        """
        if not self.open:
            self.require_open()
        access = self.access
        user = access.admit(credentials) if access.named else None
        if access.listed is not None and infohash not in access.listed:
            raise AccessDenied(Why.UNLISTED)
        if infohash in access.banned:
            raise AccessDenied(Why.FORBIDDEN)
        if user is not None:
            access.account(user, infohash, peer_id, uploaded, downloaded, event)
        zones = self.zones
        if zones is None:
            return self.table.announce(
                infohash, address, peer_id, left, uploaded, downloaded, event, wanted
            )
        drawn = min(4 * wanted, _MOST_DRAWN)
        complete, incomplete, completed, peers = self.table.announce(
            infohash, address, peer_id, left, uploaded, downloaded, event, drawn
        )
        near = nearest(address, peers, wanted, zones, self._rng)
        return complete, incomplete, completed, near

    def scrape(self, credentials: tuple[str, ...], infohash: bytes) -> tuple[int, int, int]:
        """Return (complete, downloaded, incomplete) of a torrent, zeros for an unknown one.

        Raises AccessDenied for a missing or wrong key, Unavailable.
        """
        self.require_open()
        if self.access.named:
            self.access.admit(credentials)
        return self.table.scrape(infohash)
