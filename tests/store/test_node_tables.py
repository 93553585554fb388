"""What only the node's table in SQLite can show: older schemas, and what is written to disk."""

import random
from dataclasses import replace

from p2pd.metainfo.ids import InfoHash
from p2pd.node.ports import Record
from p2pd.store.node_tables import MIGRATIONS, SqliteResumeTable
from p2pd.store.sqlite import Database

NOISE = random.Random(1).randbytes(1 << 20)
RECORD = Record(
    infohash=InfoHash(bytes(20)),
    metainfo=b"d4:infodee" + NOISE,
    filename="file",
    path="/there",
    stamps=NOISE,
    held=b"\xf0",
    state="complete",
    added=1.5,
)


async def test_stamps_that_an_older_version_wrote_are_found(tmp_path):
    database = Database(tmp_path / "node.sqlite3", MIGRATIONS[:2])
    await database.open()

    def insert(cursor):
        cursor.execute("INSERT INTO metainfo VALUES (?, ?)", (RECORD.infohash, RECORD.metainfo))
        cursor.execute(
            "INSERT INTO torrents (infohash, filename, path, stamps, held, state, added,"
            " downloaded, uploaded, error, replace, peers, clean, boot, upload_limit)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 0, 7, '', 0, '[]', 0, '', 8)",
            (RECORD.infohash, "file", "/there", RECORD.stamps, b"\xf0", "complete", 1.5),
        )

    await database.run(insert)
    await database.close()
    database = Database(tmp_path / "node.sqlite3", MIGRATIONS)
    await database.open()
    table = SqliteResumeTable(database)
    assert await table.load() == [replace(RECORD, uploaded=7, upload_limit=8)]
    await table.forget(RECORD.infohash)
    assert await table.load() == []
    await database.close()


async def test_a_checkpoint_writes_only_what_changed(tmp_path):
    database = Database(tmp_path / "node.sqlite3", MIGRATIONS)
    await database.open()
    table = SqliteResumeTable(database)
    await table.save(RECORD)
    log = tmp_path / "node.sqlite3-wal"
    before = log.stat().st_size
    for uploaded in (1, 1000, 1 << 40):
        await table.save(replace(RECORD, uploaded=uploaded))
    assert log.stat().st_size - before < 100_000
    assert await table.load() == [replace(RECORD, uploaded=1 << 40)]
    await table.save(replace(RECORD, stamps=b"[]"))
    assert await table.load() == [replace(RECORD, stamps=b"[]")]
    await database.close()
