"""Who may announce what: lists of torrents, keys, and users with passkeys."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal

from p2pd.tracker.keys import Keys
from p2pd.tracker.records import AccessDenied, Changes, Why
from p2pd.tracker.users import User, Users

Mode = Literal["open", "whitelist", "blacklist"]
Which = Literal["whitelist", "blacklist"]

_DIGITS = 40


class Listed:
    """A list of infohashes; `members` stays the same set for ever, so that others can hold it."""

    def __init__(self) -> None:
        self.members: set[bytes] = set()
        self.version = 0
        """Another number whenever `members` may have changed."""
        self._changed: set[bytes] = set()

    def put(self, infohash: bytes) -> bool:
        """List a torrent; tell whether it is new."""
        new = infohash not in self.members
        self.members.add(infohash)
        self.version += 1
        self._changed.add(infohash)
        return new

    def remove(self, infohash: bytes) -> bool:
        """Take a torrent off; tell whether it was listed."""
        known = infohash in self.members
        self.members.discard(infohash)
        self.version += 1
        self._changed.add(infohash)
        return known

    def merge(self, changes: Mapping[bytes, bool]) -> None:
        """Make all of these changes."""
        for infohash, listed in changes.items():
            if listed:
                self.put(infohash)
            else:
                self.remove(infohash)

    def load(self, infohashes: Iterable[bytes]) -> None:
        """Take in what was stored; `changes` does not tell of these."""
        self.members.update(infohashes)
        self.version += 1

    def changes(self) -> dict[bytes, bool]:
        """Return what changed since the last call, and whether it is listed now."""
        changed, self._changed = self._changed, set()
        return {infohash: infohash in self.members for infohash in changed}


class Access:
    """The access policy of both doors. Every change acts at once, in any mode lists are kept.

    `mode` says which list governs, `require_keys` and `users` what must stand in an announce's
    path. A client of a user that is silent for `patience` seconds, which should be longer than
    the announce interval, is accounted anew. `clock` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        mode: Mode = "open",
        require_keys: bool = False,
        users: bool = False,
        clock: Callable[[], float],
        patience: float = 10_800.0,
    ) -> None:
        self.lists: Mapping[Which, Listed] = {"whitelist": Listed(), "blacklist": Listed()}
        self.keys = Keys(clock)
        self.users = Users(clock, patience=patience)
        self.listed: AbstractSet[bytes] | None = (
            self.lists["whitelist"].members if mode == "whitelist" else None
        )
        """The only torrents that may be announced; None: all."""
        self.banned: AbstractSet[bytes] = (
            self.lists["blacklist"].members if mode == "blacklist" else frozenset()
        )
        self.named = require_keys or users
        """Whether `admit` wants credentials."""
        self._require_keys = require_keys
        self._require_users = users
        self.account = self.users.account

    def admit(self, credentials: tuple[str, ...]) -> User | None:
        """Check the key and the passkey, as far as they are required; return whose passkey it is.

        A passkey stands after the key, or first if no keys are required. Raises AccessDenied.
        """
        given = iter(credentials)
        if self._require_keys:
            key = _digits(next(given, ""), Why.MISSING_KEY, Why.INVALID_KEY)
            if key not in self.keys:
                raise AccessDenied(Why.UNKNOWN_KEY)
        if not self._require_users:
            return None
        passkey = _digits(next(given, ""), Why.MISSING_USER_KEY, Why.INVALID_USER_KEY)
        user = self.users.of(passkey)
        if user is None:
            raise AccessDenied(Why.UNKNOWN_USER_KEY)
        if not user.active:
            raise AccessDenied(Why.INACTIVE_USER)
        return user

    def enabled(self) -> dict[str, bool]:
        """Tell what of "whitelist", "blacklist", "keys" and "users" governs."""
        return {
            "whitelist": self.listed is not None,
            "blacklist": self.banned is self.lists["blacklist"].members,
            "keys": self._require_keys,
            "users": self._require_users,
        }

    @property
    def version(self) -> int:
        """Another number whenever `allows` may tell otherwise than before."""
        return self.lists["whitelist"].version + self.lists["blacklist"].version

    def allows(self, infohash: bytes) -> bool:
        """Tell whether the lists let a torrent in."""
        return (self.listed is None or infohash in self.listed) and infohash not in self.banned

    def check(self, infohash: bytes) -> None:
        """Raise AccessDenied if the lists keep a torrent out."""
        if self.listed is not None and infohash not in self.listed:
            raise AccessDenied(Why.UNLISTED)
        if infohash in self.banned:
            raise AccessDenied(Why.FORBIDDEN)

    def load(self, stored: Changes) -> None:
        """Take in what was stored; `changes` does not tell of it."""
        self.lists["whitelist"].load(stored.whitelist)
        self.lists["blacklist"].load(stored.blacklist)
        self.keys.load((key, record) for key, record in stored.keys.items() if record)
        self.users.load(filter(None, stored.users.values()))

    def merge(self, changes: Changes) -> None:
        """Make all of these changes, but for the counts.

        Raises Conflict, and changes nothing, if two users would have one passkey.
        """
        self.users.put(*filter(None, changes.users.values()))
        for user_hash, user in changes.users.items():
            if user is None:
                self.users.remove(user_hash)
        for key, record in changes.keys.items():
            if record is None:
                self.keys.remove(key)
            else:
                self.keys.restore(key, record)
        self.lists["whitelist"].merge(changes.whitelist)
        self.lists["blacklist"].merge(changes.blacklist)

    def changes(self) -> Changes:
        """Return what changed since the last call."""
        return Changes(
            whitelist=self.lists["whitelist"].changes(),
            blacklist=self.lists["blacklist"].changes(),
            keys=self.keys.changes(),
            users=self.users.changes(),
        )

    def sweep(self) -> None:
        """Forget keys that have expired and clients of users that are silent too long."""
        self.keys.sweep()
        self.users.sweep()


def _digits(text: str, missing: Why, invalid: Why) -> bytes:
    if not text:
        raise AccessDenied(missing)
    try:
        found = bytes.fromhex(text) if len(text) == _DIGITS else b""
    except ValueError:
        found = b""
    if 2 * len(found) != _DIGITS:  # `fromhex` ignores spaces
        raise AccessDenied(invalid)
    return found
