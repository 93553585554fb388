"""What operators may look at and change: torrents, lists, keys, users."""

from collections.abc import Callable
from dataclasses import dataclass

from p2pd.errors import NotFound, Unavailable
from p2pd.tracker.access import Access, Which
from p2pd.tracker.ports import PeerTable
from p2pd.tracker.records import Changes, KeyRecord, SwarmRecord, UserRecord


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are of what; `completed` are downloads."""

    torrents: int
    seeds: int
    leeches: int
    completed: int
    whitelist: int
    blacklist: int
    keys: int
    users: int


class Administration:
    """The one object that the admin API talks to. What it changes acts at once.

    Everything but `counts` raises Unavailable until `loaded` says that the tables have been: what
    is not known yet is not missing, and what was changed would be overwritten.
    """

    def __init__(
        self, table: PeerTable, access: Access, *, loaded: Callable[[], bool] = lambda: True
    ) -> None:
        self._peers = table
        self._policy = access
        self._loaded = loaded

    # -- torrents

    def torrent(self, infohash: bytes) -> SwarmRecord:
        """Return a torrent with its peers; raise NotFound for an unknown one."""
        record = self._table.record(infohash)
        if record is None:
            raise NotFound(f"this tracker does not know the torrent {infohash.hex()}")
        return record

    def put_torrent(self, infohash: bytes, completed: int | None = None) -> bool:
        """Create a torrent, or set how often it was completed; tell whether it is new."""
        return self._table.put(infohash, completed)

    def remove_torrent(self, infohash: bytes) -> bool:
        """Forget a torrent and its peers; tell whether it was known."""
        return self._table.remove(infohash)

    # -- lists

    def is_listed(self, which: Which, infohash: bytes) -> bool:
        """Tell whether a torrent is on a list."""
        return infohash in self._access.lists[which].members

    def put_listed(self, which: Which, infohash: bytes) -> bool:
        """Put a torrent on a list; tell whether it is new there."""
        return self._access.lists[which].put(infohash)

    def remove_listed(self, which: Which, infohash: bytes) -> bool:
        """Take a torrent off a list; tell whether it was there."""
        return self._access.lists[which].remove(infohash)

    # -- keys

    def key(self, key: bytes) -> KeyRecord | None:
        """Return a key that has not expired, None if there is none."""
        return self._access.keys.get(key)

    def put_key(self, key: bytes, timeout: int) -> bool:
        """Let a key be good for `timeout` seconds, 0: for ever; tell whether it is new."""
        return self._access.keys.put(key, timeout)

    def remove_key(self, key: bytes) -> bool:
        """Take a key back; tell whether it was good until now."""
        return self._access.keys.remove(key)

    # -- users

    def user(self, user_hash: bytes) -> UserRecord | None:
        """Return a user as of now, None for an unknown one."""
        return self._access.users.record(user_hash)

    def put_user(self, record: UserRecord) -> bool:
        """Create a user or overwrite all but its torrents; tell whether it is new.

        A passkey that was another user's is taken from it: it gets one that nobody knows.
        """
        return self._access.users.assign(record)

    def remove_user(self, user_hash: bytes) -> bool:
        """Forget a user; tell whether it was known."""
        return self._access.users.remove(user_hash)

    # -- all of it

    def merge(self, changes: Changes) -> None:
        """Make all of these changes.

        Raises Conflict, and changes nothing, if two users would have one passkey.
        """
        self._access.merge(changes)
        for infohash, completed in changes.counts.items():
            if completed is None:
                self._table.remove(infohash)
            else:
                self._table.put(infohash, completed)

    def counts(self) -> Counts:
        """Return how many there are of everything."""
        lists = self._policy.lists
        return Counts(
            *self._peers.totals(),
            whitelist=len(lists["whitelist"].members),
            blacklist=len(lists["blacklist"].members),
            keys=len(self._policy.keys),
            users=len(self._policy.users),
        )

    @property
    def _table(self) -> PeerTable:
        self._require_loaded()
        return self._peers

    @property
    def _access(self) -> Access:
        self._require_loaded()
        return self._policy

    def _require_loaded(self) -> None:
        if not self._loaded():
            raise Unavailable("the tracker is still loading its tables; try again in a minute")
