"""What a node remembers over a restart, in SQLite."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from p2pd.metainfo.ids import InfoHash
from p2pd.node.records import PendingRecord, Record
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
    (
        "ALTER TABLE torrents ADD COLUMN job TEXT NOT NULL DEFAULT '{}'",
        # The options are JSON in a string, which joining it to another one makes of it.
        """UPDATE torrents SET job = json_object(
            'options', json_object(
                'source', filename,
                'replace', json(iif(replace, 'true', 'false')),
                'upload_limit', upload_limit,
                'download_limit', download_limit
            ) || '',
            'added', added,
            'position', number
        )""",
        "ALTER TABLE torrents DROP COLUMN added",
        "ALTER TABLE torrents DROP COLUMN replace",
        "ALTER TABLE torrents DROP COLUMN upload_limit",
        "ALTER TABLE torrents DROP COLUMN download_limit",
        """CREATE TABLE pending (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            infohash BLOB,
            state TEXT NOT NULL,
            error TEXT NOT NULL,
            job TEXT NOT NULL
        )""",
        """CREATE TABLE settings (
            name TEXT PRIMARY KEY,
            value TEXT NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE accounts (
            name TEXT PRIMARY KEY,
            salt BLOB NOT NULL,
            digest BLOB NOT NULL,
            role TEXT NOT NULL,
            created REAL NOT NULL
        ) WITHOUT ROWID""",
    ),
)
_CONSTANT = ("metainfo", "stamps")
_NAMES = [field.name for field in fields(Record) if field.name not in _CONSTANT]
_COLUMNS = ", ".join(_NAMES)
_PLACES = ", ".join(f":{name}" for name in _NAMES)
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in _NAMES)


class SqliteResumeTable:
    """Implements `p2pd.node.records.ResumeTable` in a `Database` made with `MIGRATIONS`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[Record]:
        """All records; see `ResumeTable.load`."""
        return await self._database.run(_load)

    async def save(self, record: Record, *, settles: int | None = None) -> None:
        """Write a record; see `ResumeTable.save`."""
        await self._database.run(_save, record, settles)

    async def forget(self, infohash: InfoHash) -> None:
        """Delete a record; see `ResumeTable.forget`."""
        await self._database.run(_forget, infohash)

    async def load_pending(self) -> list[PendingRecord]:
        """All pending records; see `ResumeTable.load_pending`."""
        return await self._database.run(_load_pending)

    async def save_pending(self, record: PendingRecord) -> int:
        """Write a pending record; see `ResumeTable.save_pending`."""
        return await self._database.run(_save_pending, record)

    async def forget_pending(self, number: int) -> None:
        """Delete a pending record; see `ResumeTable.forget_pending`."""
        await self._database.run(_forget_pending, number)

    async def place(self, torrents: Mapping[InfoHash, int], pending: Mapping[int, int]) -> None:
        """Write positions; see `ResumeTable.place`."""
        await self._database.run(_place, torrents, pending)

    async def size(self) -> int:
        """How many bytes the file has; see `ResumeTable.size`."""
        return await self._database.run(_size)

    async def load_settings(self) -> dict[str, Any]:
        """The settings; see `ResumeTable.load_settings`."""
        return await self._database.run(_load_settings)

    async def save_settings(self, settings: Mapping[str, Any]) -> None:
        """Write settings; see `ResumeTable.save_settings`."""
        await self._database.run(_save_settings, settings)


def _load(cursor: sqlite3.Cursor) -> list[Record]:
    cursor.execute(
        f"SELECT metainfo, stamps, {_COLUMNS} FROM torrents"  # noqa: S608 - our names
        " JOIN metainfo USING (infohash) ORDER BY number"
    )
    records = []
    for row in cursor:
        values = dict(zip((*_CONSTANT, *_NAMES), row, strict=True))
        values["clean"] = bool(values["clean"])
        values["peers"] = tuple(json.loads(values["peers"]))
        records.append(Record(**values))
    return records


def _save(cursor: sqlite3.Cursor, record: Record, settles: int | None) -> None:
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
    if settles is not None:
        _forget_pending(cursor, settles)


def _forget(cursor: sqlite3.Cursor, infohash: InfoHash) -> None:
    cursor.execute("DELETE FROM torrents WHERE infohash = ?", (infohash,))
    cursor.execute("DELETE FROM metainfo WHERE infohash = ?", (infohash,))


def _place(
    cursor: sqlite3.Cursor, torrents: Mapping[InfoHash, int], pending: Mapping[int, int]
) -> None:
    for table, key, positions in (
        ("torrents", "infohash", torrents),
        ("pending", "number", pending),
    ):
        cursor.executemany(
            f"UPDATE {table} SET job = json_set(job, '$.position', ?)"  # noqa: S608 - our names
            f" WHERE {key} = ?",
            [(position, name) for name, position in positions.items()],
        )


def _load_pending(cursor: sqlite3.Cursor) -> list[PendingRecord]:
    cursor.execute("SELECT number, infohash, state, error, job FROM pending ORDER BY number")
    return [
        PendingRecord(number, InfoHash(infohash) if infohash else None, *rest)
        for number, infohash, *rest in cursor
    ]


def _save_pending(cursor: sqlite3.Cursor, record: PendingRecord) -> int:
    if record.number:
        cursor.execute(
            "UPDATE pending SET infohash = :infohash, state = :state, error = :error, job = :job"
            " WHERE number = :number",
            asdict(record),
        )
        return record.number
    cursor.execute(
        "INSERT INTO pending (infohash, state, error, job)"
        " VALUES (:infohash, :state, :error, :job) RETURNING number",
        asdict(record),
    )
    number: int = cursor.fetchone()[0]
    return number


def _forget_pending(cursor: sqlite3.Cursor, number: int) -> None:
    cursor.execute("DELETE FROM pending WHERE number = ?", (number,))


def _size(cursor: sqlite3.Cursor) -> int:
    cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    size: int = cursor.fetchone()[0]
    return size


def _load_settings(cursor: sqlite3.Cursor) -> dict[str, Any]:
    cursor.execute("SELECT name, value FROM settings ORDER BY name")
    return {name: json.loads(value) for name, value in cursor}


def _save_settings(cursor: sqlite3.Cursor, settings: Mapping[str, Any]) -> None:
    cursor.executemany(
        "INSERT OR REPLACE INTO settings VALUES (?, ?)",
        ((name, json.dumps(value)) for name, value in settings.items()),
    )
