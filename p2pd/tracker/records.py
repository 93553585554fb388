"""The values that the announce doors, the admin API and the tables exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from p2pd.errors import Denied
from p2pd.metainfo.ids import InfoHash

NONE, COMPLETED, STARTED, STOPPED, PAUSED = range(5)
"""Why a client announces: the numbers of BEP 15, and one for BEP 21."""

LARGEST = (1 << 63) - 1
"""The largest number that the tables keep; what would be more stays there."""


class Why(Enum):
    """Why an announce is refused; each door has its own words for it."""

    MISSING_KEY = "missing key"
    INVALID_KEY = "invalid key"
    UNKNOWN_KEY = "unknown key"
    MISSING_USER_KEY = "missing user key"
    INVALID_USER_KEY = "invalid user key"
    UNKNOWN_USER_KEY = "unknown user key"
    INACTIVE_USER = "inactive user"
    UNLISTED = "unknown info_hash"
    FORBIDDEN = "forbidden info_hash"


class AccessDenied(Denied):
    """An announce, a scrape or a request of the fleet that the access policy refuses."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """A BitTorrent client in a swarm; `address` is host:port, `updated` in Unix seconds.

    The byte counts have 24 significant bits, `updated` is exact to a 160th of a peer's lifetime.
    """

    peer_id: bytes
    address: str
    updated: float
    uploaded: int
    downloaded: int
    left: int


@dataclass(frozen=True, slots=True)
class SwarmRecord:
    """A torrent as the peer table knows it; `updated` in Unix seconds, 0 for never."""

    completed: int
    updated: float = 0.0
    seeds: tuple[PeerRecord, ...] = ()
    leeches: tuple[PeerRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class UserRecord:
    """One who announces with a passkey; times in Unix seconds.

    `name` is a UUID or a number; the SHA-1 of it, `user_hash`, is what the admin API calls the
    user. `torrents` are those the user is active in, each with the time of the last announce.
    """

    user_hash: bytes
    name: str
    passkey: bytes
    uploaded: int = 0
    downloaded: int = 0
    completed: int = 0
    updated: int = 0
    active: bool = True
    torrents: Mapping[InfoHash, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key that lets clients announce until `expires` (Unix seconds; 0: for ever).

    `timeout` are the seconds it was given for.
    """

    timeout: int
    expires: int


@dataclass(slots=True)
class Changes:
    """What is to be written to the tables, or was loaded from them; None means: deleted."""

    counts: dict[bytes, int | None] = field(default_factory=dict)
    """Completed downloads by infohash, of the torrents that outlive their last peer."""
    whitelist: dict[bytes, bool] = field(default_factory=dict)
    blacklist: dict[bytes, bool] = field(default_factory=dict)
    keys: dict[bytes, KeyRecord | None] = field(default_factory=dict)
    users: dict[bytes, UserRecord | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counts or self.whitelist or self.blacklist or self.keys or self.users)
