"""The tracker's catalog in SQLite, and its twin in memory."""

import json
import sqlite3

from p2pd.metainfo.ids import InfoHash
from p2pd.store.sqlite import Database, Migration
from p2pd.tracker.ports import NameRow, TorrentRow

MIGRATIONS: tuple[Migration, ...] = (
    (
        """CREATE TABLE torrents (
            number INTEGER PRIMARY KEY,
            infohash BLOB NOT NULL UNIQUE,
            metainfo BLOB NOT NULL,
            web_seeds TEXT NOT NULL,
            added REAL NOT NULL,
            completed INTEGER NOT NULL
        )""",
        """CREATE TABLE names (
            filename TEXT NOT NULL UNIQUE,
            number INTEGER PRIMARY KEY,
            infohash BLOB NOT NULL REFERENCES torrents (infohash) ON DELETE CASCADE,
            from_origin INTEGER NOT NULL
        )""",
        "CREATE INDEX names_of_torrent ON names (infohash)",
    ),
    (
        """CREATE TABLE counts (
            infohash BLOB PRIMARY KEY,
            completed INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "CREATE TABLE whitelist (infohash BLOB PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE blacklist (infohash BLOB PRIMARY KEY) WITHOUT ROWID",
        """CREATE TABLE keys (
            key BLOB PRIMARY KEY,
            timeout INTEGER NOT NULL,
            expires INTEGER NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE users (
            user_hash BLOB PRIMARY KEY,
            name TEXT NOT NULL,
            passkey BLOB NOT NULL,
            uploaded INTEGER NOT NULL,
            downloaded INTEGER NOT NULL,
            completed INTEGER NOT NULL,
            updated INTEGER NOT NULL,
            active INTEGER NOT NULL
        ) WITHOUT ROWID""",
        "INSERT INTO counts SELECT infohash, completed FROM torrents WHERE completed > 0",
        "ALTER TABLE torrents DROP COLUMN completed",
    ),
)


class SqliteCatalog:
    """Implements `p2pd.tracker.ports.CatalogTable` in a `Database` made with `MIGRATIONS`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> tuple[list[TorrentRow], list[NameRow]]:
        """Return everything; see `CatalogTable.load`."""
        return await self._database.run(_load)

    async def put(self, torrent: TorrentRow, name: NameRow) -> None:
        """Write a torrent and a name; see `CatalogTable.put`."""
        await self._database.run(_put, torrent, name)

    async def remove(self, infohash: InfoHash) -> None:
        """Delete a torrent and its names; see `CatalogTable.remove`."""
        await self._database.run(_remove, infohash)


def _load(cursor: sqlite3.Cursor) -> tuple[list[TorrentRow], list[NameRow]]:
    cursor.execute("SELECT infohash, metainfo, web_seeds, added FROM torrents ORDER BY number")
    torrents = [
        TorrentRow(InfoHash(infohash), metainfo, tuple(json.loads(seeds)), added)
        for infohash, metainfo, seeds, added in cursor
    ]
    cursor.execute("SELECT filename, infohash, from_origin FROM names ORDER BY number")
    names = [
        NameRow(filename, InfoHash(infohash), bool(from_origin))
        for filename, infohash, from_origin in cursor
    ]
    return torrents, names


def _put(cursor: sqlite3.Cursor, torrent: TorrentRow, name: NameRow) -> None:
    cursor.execute(
        "INSERT INTO torrents (infohash, metainfo, web_seeds, added) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (infohash) DO UPDATE SET metainfo = excluded.metainfo,"
        " web_seeds = excluded.web_seeds, added = excluded.added",
        (torrent.infohash, torrent.metainfo, json.dumps(torrent.web_seeds), torrent.added),
    )
    # Deleted first, so that the newest name of a torrent comes last when loaded.
    cursor.execute("DELETE FROM names WHERE filename = ?", (name.filename,))
    cursor.execute(
        "INSERT INTO names (filename, infohash, from_origin) VALUES (?, ?, ?)",
        (name.filename, name.infohash, name.from_origin),
    )


def _remove(cursor: sqlite3.Cursor, infohash: InfoHash) -> None:
    cursor.execute("DELETE FROM torrents WHERE infohash = ?", (infohash,))


class MemoryCatalog:
    """Implements `p2pd.tracker.ports.CatalogTable` in dicts."""

    def __init__(self) -> None:
        self._torrents: dict[InfoHash, TorrentRow] = {}
        self._names: dict[str, NameRow] = {}

    async def load(self) -> tuple[list[TorrentRow], list[NameRow]]:
        """Return everything; see `CatalogTable.load`."""
        return list(self._torrents.values()), list(self._names.values())

    async def put(self, torrent: TorrentRow, name: NameRow) -> None:
        """Write a torrent and a name; see `CatalogTable.put`."""
        self._torrents[torrent.infohash] = torrent
        self._names.pop(name.filename, None)
        self._names[name.filename] = name

    async def remove(self, infohash: InfoHash) -> None:
        """Delete a torrent and its names; see `CatalogTable.remove`."""
        self._torrents.pop(infohash, None)
        for name in [name for name in self._names.values() if name.infohash == infohash]:
            del self._names[name.filename]
