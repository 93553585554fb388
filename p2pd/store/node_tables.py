"""What a node remembers over a restart, in SQLite."""

import sqlite3
from dataclasses import astuple, fields

from p2pd.metainfo.ids import InfoHash
from p2pd.node.ports import Record
from p2pd.store.sqlite import Database, Migration

MIGRATIONS: tuple[Migration, ...] = (
    (
        """CREATE TABLE torrents (
            infohash BLOB NOT NULL UNIQUE,
            metainfo BLOB NOT NULL,
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
            clean INTEGER NOT NULL,
            boot TEXT NOT NULL,
            number INTEGER PRIMARY KEY
        )""",
    ),
)
_COLUMNS = ", ".join(field.name for field in fields(Record))
_PLACES = ", ".join("?" for _ in fields(Record))
_CHANGES = ", ".join(f"{field.name} = excluded.{field.name}" for field in fields(Record))


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
    cursor.execute(f"SELECT {_COLUMNS} FROM torrents ORDER BY number")  # noqa: S608 - our names
    records = []
    for row in cursor:
        values = dict(zip((field.name for field in fields(Record)), row, strict=True))
        values["replace"] = bool(values["replace"])
        values["clean"] = bool(values["clean"])
        records.append(Record(**values))
    return records


def _save(cursor: sqlite3.Cursor, record: Record) -> None:
    cursor.execute(
        f"INSERT INTO torrents ({_COLUMNS}) VALUES ({_PLACES})"  # noqa: S608 - our names
        f" ON CONFLICT (infohash) DO UPDATE SET {_CHANGES}",
        astuple(record),
    )


def _forget(cursor: sqlite3.Cursor, infohash: InfoHash) -> None:
    cursor.execute("DELETE FROM torrents WHERE infohash = ?", (infohash,))
