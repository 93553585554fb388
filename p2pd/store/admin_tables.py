"""Counts, lists, keys and users in SQLite, and their twin in memory."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from p2pd.store.sqlite import Database
from p2pd.tracker.ports import Mark
from p2pd.tracker.records import Changes, KeyRecord, UserRecord

_PORTION = 20_000


@dataclass(frozen=True, slots=True)
class _Section:
    """A field of `Changes`, and the table of the same name that keeps it.

    `row` makes the columns beside the key of a value, and `value` a value of a whole row.
    """

    name: str
    key: str
    columns: tuple[str, ...] = ()
    row: Callable[[Any], tuple[Any, ...]] = lambda _: ()
    value: Callable[..., Any] = lambda _: True

    def of(self, changes: Changes) -> dict[bytes, Any]:
        """Return what changes there are, by key."""
        changed: dict[bytes, Any] = getattr(changes, self.name)
        return changed

    def read(self, cursor: sqlite3.Cursor, after: bytes, most: int) -> dict[bytes, Any]:
        """Return the next rows."""
        names = ", ".join((self.key, *self.columns))
        cursor.execute(
            f"SELECT {names} FROM {self.name}"  # noqa: S608 - names of ours, here and below
            f" WHERE {self.key} > ? ORDER BY {self.key} LIMIT ?",
            (after, most),
        )
        return {row[0]: self.value(*row) for row in cursor}

    def write(self, cursor: sqlite3.Cursor, changed: dict[bytes, Any]) -> None:
        """Overwrite and delete rows."""
        marks = ", ".join("?" for _ in (self.key, *self.columns))
        cursor.executemany(
            f"INSERT OR REPLACE INTO {self.name} VALUES ({marks})",  # noqa: S608
            ((key, *self.row(value)) for key, value in changed.items() if not _gone(value)),
        )
        cursor.executemany(
            f"DELETE FROM {self.name} WHERE {self.key} = ?",  # noqa: S608
            ((key,) for key, value in changed.items() if _gone(value)),
        )


def _gone(value: object) -> bool:
    return value is None or value is False


def _user_row(user: UserRecord) -> tuple[Any, ...]:
    moved = (user.uploaded, user.downloaded, user.completed)
    return (user.name, user.passkey, *moved, user.updated, user.active)


def _user(*columns: Any) -> UserRecord:
    user = UserRecord(*columns)
    return replace(user, active=bool(user.active))


_SECTIONS = (
    _Section("counts", "infohash", ("completed",), lambda count: (count,), lambda _, count: count),
    _Section("whitelist", "infohash"),
    _Section("blacklist", "infohash"),
    _Section(
        "keys",
        "key",
        ("timeout", "expires"),
        lambda key: (key.timeout, key.expires),
        lambda _, *times: KeyRecord(*times),
    ),
    _Section(
        "users",
        "user_hash",
        ("name", "passkey", "uploaded", "downloaded", "completed", "updated", "active"),
        _user_row,
        _user,
    ),
)
_NAMES = [section.name for section in _SECTIONS]


class SqliteAdminTables:
    """Implements `p2pd.tracker.ports.AdminTables` in a `Database` of `tracker_tables.MIGRATIONS`.

    The torrents that users are active in are not kept: they fill again within an interval.
    """

    def __init__(self, database: Database, *, portion: int = _PORTION) -> None:
        self._database = database
        self._portion = portion

    async def load(self, after: Mark | None = None) -> tuple[Changes, Mark | None]:
        """Read a portion; see `AdminTables.load`."""
        return await self._database.run(self._load, after)

    async def write(self, changes: Changes) -> None:
        """Write all changes, or none; see `AdminTables.write`."""
        await self._database.run(_write, changes)

    def _load(self, cursor: sqlite3.Cursor, after: Mark | None) -> tuple[Changes, Mark | None]:
        return _portion(after, self._portion, lambda section, *which: section.read(cursor, *which))


def _write(cursor: sqlite3.Cursor, changes: Changes) -> None:
    for section in _SECTIONS:
        section.write(cursor, section.of(changes))


def _portion(
    after: Mark | None, most: int, read: Callable[[_Section, bytes, int], dict[bytes, Any]]
) -> tuple[Changes, Mark | None]:
    """Return up to `most` rows of one section, and the mark of the last."""
    name, last = after or (_NAMES[0], b"")
    at = _NAMES.index(name)
    found = read(_SECTIONS[at], last, most)
    changes = Changes(**{name: found})
    if len(found) == most:
        return changes, (name, next(reversed(found)))
    return changes, (_NAMES[at + 1], b"") if at + 1 < len(_NAMES) else None


class MemoryAdminTables:
    """Implements `p2pd.tracker.ports.AdminTables` in dicts."""

    def __init__(self, *, portion: int = _PORTION) -> None:
        self.kept = Changes()
        self._portion = portion

    async def load(self, after: Mark | None = None) -> tuple[Changes, Mark | None]:
        """Read a portion; see `AdminTables.load`."""
        return _portion(after, self._portion, self._read)

    async def write(self, changes: Changes) -> None:
        """Write all changes; see `AdminTables.write`."""
        for section in _SECTIONS:
            kept = section.of(self.kept)
            for key, value in section.of(changes).items():
                if _gone(value):
                    kept.pop(key, None)
                else:
                    kept[key] = section.value(key, *section.row(value))

    def _read(self, section: _Section, after: bytes, most: int) -> dict[bytes, Any]:
        kept = section.of(self.kept)
        following = sorted(key for key in kept if key > after)[:most]
        return {key: kept[key] for key in following}
