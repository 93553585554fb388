"""Users, whom a passkey names, and what they moved."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from p2pd.errors import Conflict
from p2pd.metainfo.ids import InfoHash
from p2pd.tracker.records import COMPLETED, LARGEST, STARTED, STOPPED, UserRecord

_HASH = 20


def hash_of(name: str) -> bytes:
    """Return the hash of a user's name, a UUID or a number."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).digest()


@dataclass(slots=True)
class User:
    """A user as it is now; see `UserRecord`."""

    user_hash: bytes
    name: str
    passkey: bytes
    uploaded: int
    downloaded: int
    completed: int
    updated: int
    active: bool
    torrents: dict[bytes, int]


@dataclass(slots=True)
class _Session:
    """What one client of a user last told of one torrent, and when."""

    uploaded: int
    downloaded: int
    seen: int
    completed: bool = False


class Users:
    """The users by hash and passkey, and the sessions of their clients.

    A client tells how much it moved since it started. What counts is the difference to what the
    same client (user, torrent, peer id) told before, so that nothing counts twice, and a client
    that vanishes has been accounted up to its last announce. A total that is new here, or lower
    than the last, counts from zero if the client says that it starts. Otherwise it only is where
    the count goes on from: after a restart of the tracker nobody is credited with an old total
    again, and what was moved between the last announce before and the first one after is lost.

    Clients that are silent for `patience` seconds are forgotten, and beyond `most_sessions` those
    that have been silent longest.
    """

    def __init__(
        self, clock: Callable[[], float], *, patience: float, most_sessions: int = 500_000
    ) -> None:
        self._clock = clock
        self._patience = patience
        self._most_sessions = most_sessions
        self._users: dict[bytes, User] = {}
        self._passkeys: dict[bytes, User] = {}
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()  # the silent ones first
        self._changed: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._users)

    def of(self, passkey: bytes) -> User | None:
        """Return whose passkey this is, None if it is nobody's."""
        return self._passkeys.get(passkey)

    def record(self, user_hash: bytes) -> UserRecord | None:
        """Return a user as of now, None for an unknown one."""
        user = self._users.get(user_hash)
        if user is None:
            return None
        torrents = {InfoHash(infohash): at for infohash, at in user.torrents.items()}
        return _record(user, torrents)

    def put(self, *records: UserRecord) -> bool:
        """Create users or overwrite all but their torrents; tell whether any is new.

        Raises Conflict, and changes nothing, if two users would have one passkey.
        """
        known = len(self)
        self.load(records)
        self._changed.update(record.user_hash for record in records)
        return len(self) > known

    def assign(self, record: UserRecord) -> bool:
        """Create a user or overwrite all but its torrents; tell whether it is new.

        A passkey that was another user's is taken from it: it gets one that nobody knows.
        """
        holder = self._passkeys.get(record.passkey)
        if holder is not None and holder.user_hash != record.user_hash:
            self.put(replace(_record(holder, {}), passkey=secrets.token_bytes(_HASH)))
        return self.put(record)

    def remove(self, user_hash: bytes) -> bool:
        """Forget a user; tell whether it was known."""
        user = self._users.pop(user_hash, None)
        if user is None:
            return False
        del self._passkeys[user.passkey]
        self._changed.add(user_hash)
        return True

    def load(self, records: Iterable[UserRecord]) -> None:
        """Take in users as they were stored; `changes` does not tell of these.

        Raises as `put` does.
        """
        given = {record.user_hash: record for record in records}
        self._check_passkeys(given)
        formers = {user_hash: self._users.get(user_hash) for user_hash in given}
        for replaced in filter(None, formers.values()):
            del self._passkeys[replaced.passkey]
        for user_hash, record in given.items():
            former = formers[user_hash]
            user = _user(record, former.torrents if former else {})
            self._users[user_hash] = self._passkeys[user.passkey] = user

    def changes(self) -> dict[bytes, UserRecord | None]:
        """Return the users that changed since the last call; None: the user is gone.

        Their torrents are left out: they fill again within an interval.
        """
        changed, self._changed = self._changed, set()
        users = self._users
        return {each: _record(users[each], {}) if each in users else None for each in changed}

    def account(  # noqa: PLR0917 - called for every announce, where keywords cost
        self,
        user: User,
        infohash: bytes,
        peer_id: bytes,
        uploaded: int,
        downloaded: int,
        event: int,
    ) -> None:
        """Add what a client moved since it last announced to its user."""
        now = int(self._clock())
        session = self._session(user.user_hash + infohash + peer_id)
        if session is None:
            told = (0, 0) if event == STARTED else (uploaded, downloaded)
            session = self._remember(user.user_hash + infohash + peer_id, *told)
        anew = event == STARTED
        user.uploaded = _sum(user.uploaded, _moved(uploaded, session.uploaded, anew))
        user.downloaded = _sum(user.downloaded, _moved(downloaded, session.downloaded, anew))
        session.uploaded, session.downloaded, session.seen = uploaded, downloaded, now
        if event == COMPLETED and not session.completed:
            session.completed = True
            user.completed = _sum(user.completed, 1)
        if event == STOPPED:
            user.torrents.pop(infohash, None)
        else:
            user.torrents[infohash] = now
        user.updated = now
        self._changed.add(user.user_hash)

    def sweep(self) -> None:
        """Forget the clients that are silent too long, and what their users were active in."""
        too_old = self._clock() - self._patience
        sessions = self._sessions
        while sessions and next(iter(sessions.values())).seen < too_old:
            self._forget_oldest()

    def _check_passkeys(self, given: Mapping[bytes, UserRecord]) -> None:
        passkeys = {record.passkey for record in given.values()}
        holders = filter(None, map(self._passkeys.get, passkeys))
        if len(passkeys) < len(given) or any(one.user_hash not in given for one in holders):
            raise Conflict("this passkey is another user's: choose another one")

    def _session(self, name: bytes) -> _Session | None:
        session = self._sessions.get(name)
        if session is not None:
            self._sessions.move_to_end(name)
        return session

    def _remember(self, name: bytes, uploaded: int, downloaded: int) -> _Session:
        if len(self._sessions) >= self._most_sessions:
            self._forget_oldest()
        self._sessions[name] = session = _Session(uploaded, downloaded, 0)
        return session

    def _forget_oldest(self) -> None:
        name, session = self._sessions.popitem(last=False)
        user = self._users.get(name[:_HASH])
        infohash = name[_HASH : 2 * _HASH]
        # A younger client of the same user and torrent has put a later time there.
        if user is not None and user.torrents.get(infohash) == session.seen:
            del user.torrents[infohash]


def _moved(total: int, last: int, anew: bool) -> int:
    if total >= last:
        return total - last
    return total if anew else 0


def _sum(one: int, other: int) -> int:
    return min(one + other, LARGEST)


def _user(record: UserRecord, torrents: dict[bytes, int]) -> User:
    return User(
        user_hash=record.user_hash,
        name=record.name,
        passkey=record.passkey,
        uploaded=record.uploaded,
        downloaded=record.downloaded,
        completed=record.completed,
        updated=record.updated,
        active=record.active,
        torrents=torrents,
    )


def _record(user: User, torrents: dict[InfoHash, int]) -> UserRecord:
    return UserRecord(
        user_hash=user.user_hash,
        name=user.name,
        passkey=user.passkey,
        uploaded=user.uploaded,
        downloaded=user.downloaded,
        completed=user.completed,
        updated=user.updated,
        active=user.active,
        torrents=torrents,
    )
