"""The admin tables in SQLite: all or nothing, and what an older version has left there."""

import sqlite3

import pytest

from p2pd.store.admin_tables import SqliteAdminTables
from p2pd.store.sqlite import Database
from p2pd.store.tracker_tables import MIGRATIONS
from p2pd.tracker.records import Changes


async def test_writes_all_or_nothing(tmp_path):
    database = Database(tmp_path / "tracker.sqlite", MIGRATIONS)
    await database.open()
    tables = SqliteAdminTables(database)
    with pytest.raises(sqlite3.IntegrityError):
        await tables.write(Changes(counts={b"a" * 20: 1}, whitelist={None: True}))
    assert await tables.load() == (Changes(), ("whitelist", b""))
    await database.close()


async def test_takes_over_the_counts_of_the_catalog(tmp_path):
    path = tmp_path / "tracker.sqlite"
    old = Database(path, MIGRATIONS[:1])
    await old.open()
    rows = [(b"a" * 20, 3), (b"b" * 20, 0)]
    insert = (
        "INSERT INTO torrents (infohash, metainfo, web_seeds, added, completed)"
        " VALUES (?, 'd', '[]', 1.5, ?)"
    )
    await old.run(lambda cursor: cursor.executemany(insert, rows) and None)
    await old.close()
    new = Database(path, MIGRATIONS)
    await new.open()
    portion, _ = await SqliteAdminTables(new).load()
    assert portion.counts == {b"a" * 20: 3}
    await new.close()


async def test_survives_a_restart(tmp_path):
    for before in ({}, {b"a" * 20: 1}):
        database = Database(tmp_path / "tracker.sqlite", MIGRATIONS)
        await database.open()
        tables = SqliteAdminTables(database)
        assert (await tables.load())[0].counts == before
        await tables.write(Changes(counts={b"a" * 20: 1}))
        await database.close()
