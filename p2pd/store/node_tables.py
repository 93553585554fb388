"""What a node remembers over a restart, in SQLite."""

import json
import sqlite3
from dataclasses import asdict, fields

from p2pd.metainfo.ids import InfoHash
from p2pd.node.ports import Record
from p2pd.store.sqlite import Database, Migration

MIGRATIONS: tuple[Migration, ...] = (
    (
        # Apart from what changes often, for it can be large.
        """CREATE TABLE metainfo (
            infohash BLOB PRIMARY KEY,
            metainfo BLOB NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE torrents (
            infohash BLOB NOT NULL UNIQUE,
            filename TEXT NOT NULL,
            path TEXT NOT NULL,
            stamps BLOB NOT NULL,
            held BLOB NOT NULL,
            state TEXT NOT NULL,
            added REAL NOT NULL,
            finished REAL,
            downloaded INTEGER NOT NULL,
            uploaded INTEGER NOT NULL,
            error TEXT NOT NULL,
            replace INTEGER NOT NULL,
            peers TEXT NOT NULL,
            clean INTEGER NOT NULL,
            boot TEXT NOT NULL,
            number INTEGER PRIMARY KEY
        )""",
    ),
    (
        "ALTER TABLE torrents ADD COLUMN upload_limit INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE torrents ADD COLUMN download_limit INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # The stamps of many files are as large, and change as seldom.
        "ALTER TABLE metainfo ADD COLUMN stamps BLOB NOT NULL DEFAULT x''",
        """UPDATE metainfo SET stamps = coalesce(
            (SELECT stamps FROM torrents WHERE torrents.infohash = metainfo.infohash), x''
        )""",
        """CREATE TABLE changing (
            infohash BLOB NOT NULL UNIQUE,
            filename TEXT NOT NULL,
            path TEXT NOT NULL,
            held BLOB NOT NULL,
            state TEXT NOT NULL,
            added REAL NOT NULL,
            finished REAL,
            downloaded INTEGER NOT NULL,
            uploaded INTEGER NOT NULL,
            error TEXT NOT NULL,
            replace INTEGER NOT NULL,
            peers TEXT NOT NULL,
            upload_limit INTEGER NOT NULL,
            download_limit INTEGER NOT NULL,
            clean INTEGER NOT NULL,
            boot TEXT NOT NULL,
            number INTEGER PRIMARY KEY
        )""",
        """INSERT INTO changing SELECT
            infohash, filename, path, held, state, added, finished, downloaded, uploaded, error,
            replace, peers, upload_limit, download_limit, clean, boot, number
            FROM torrents""",
        "DROP TABLE torrents",
        "ALTER TABLE changing RENAME TO torrents",
    ),
)
_CONSTANT = ("metainfo", "stamps")
_NAMES = [field.name for field in fields(Record) if field.name not in _CONSTANT]
_COLUMNS = ", ".join(_NAMES)
_PLACES = ", ".join(f":{name}" for name in _NAMES)
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in _NAMES)


class SqliteResumeTable:
    """Implements `p2pd.node.ports.ResumeTable` in a `Database` made with `MIGRATIONS`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[Record]:
        """All records; see `ResumeTable.load`."""
        return await self._database.run(_load)

    async def save(self, record: Record) -> None:
        """Write a record; see `ResumeTable.save`."""
        await self._database.run(_save, record)

    async def forget(self, infohash: InfoHash) -> None:
        """Delete a record; see `ResumeTable.forget`."""
        await self._database.run(_forget, infohash)


def _load(cursor: sqlite3.Cursor) -> list[Record]:
    cursor.execute(
        f"SELECT metainfo, stamps, {_COLUMNS} FROM torrents"  # noqa: S608 - our names
        " JOIN metainfo USING (infohash) ORDER BY number"
    )
    records = []
    for row in cursor:
        values = dict(zip((*_CONSTANT, *_NAMES), row, strict=True))
        values["replace"] = bool(values["replace"])
        values["clean"] = bool(values["clean"])
        values["peers"] = tuple(json.loads(values["peers"]))
        records.append(Record(**values))
    return records


def _save(cursor: sqlite3.Cursor, record: Record) -> None:
    values = {**asdict(record), "peers": json.dumps(record.peers)}
    cursor.execute(
        "INSERT INTO metainfo VALUES (:infohash, :metainfo, :stamps) ON CONFLICT DO UPDATE"
        " SET metainfo = excluded.metainfo, stamps = excluded.stamps"
        " WHERE metainfo != excluded.metainfo OR stamps != excluded.stamps",
        values,
    )
    cursor.execute(
        f"INSERT INTO torrents ({_COLUMNS}) VALUES ({_PLACES})"  # noqa: S608 - our names
        f" ON CONFLICT (infohash) DO UPDATE SET {_CHANGES}",
        values,
    )


def _forget(cursor: sqlite3.Cursor, infohash: InfoHash) -> None:
    cursor.execute("DELETE FROM torrents WHERE infohash = ?", (infohash,))
    cursor.execute("DELETE FROM metainfo WHERE infohash = ?", (infohash,))
