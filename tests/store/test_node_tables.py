"""What only the node's table in SQLite can show: older schemas, and what is written to disk."""

import random
from dataclasses import replace

from p2pd.metainfo.ids import InfoHash
from p2pd.node.job import Job
from p2pd.node.options import DownloadOptions
from p2pd.node.records import Record
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
)


COLUMNS = (
    "infohash, filename, path, held, state, added, finished, downloaded, uploaded, error, replace,"
    " peers, clean, boot, upload_limit, download_limit"
)


async def older(path, version, statements):
    """Make a database as the version with so many migrations left it."""
    database = Database(path, MIGRATIONS[:version])
    await database.open()

    def insert(cursor):
        for statement, values in statements:
            marks = ", ".join("?" for _ in values)
            cursor.execute(f"INSERT INTO {statement} VALUES ({marks})", values)

    await database.run(insert)
    await database.close()
    database = Database(path, MIGRATIONS)
    await database.open()
    return database


async def test_stamps_that_an_older_version_wrote_are_found(tmp_path):
    row = (RECORD.infohash, "file", "/there", b"\xf0", "complete", 1.5, None, 0, 7, "", 0, "[]")
    database = await older(
        tmp_path / "node.sqlite3",
        2,
        [
            ("metainfo", (RECORD.infohash, RECORD.metainfo)),
            (f"torrents ({COLUMNS}, stamps)", (*row, 0, "", 8, 0, RECORD.stamps)),
        ],
    )
    table = SqliteResumeTable(database)
    [loaded] = await table.load()
    assert loaded == replace(RECORD, uploaded=7, job=loaded.job)
    await table.forget(RECORD.infohash)
    assert await table.load() == []
    await database.close()


async def test_what_the_user_wanted_before_there_were_jobs_is_kept(tmp_path):
    first, second = InfoHash(b"1" * 20), InfoHash(b"2" * 20)
    rows = [
        (first, 'a "name" \u2713', "/a", b"", "paused", 1234.5678, 9.5, 3, 4, "", 1, '["p:1"]', 1),
        (second, "b", "/b", b"\x01", "failed", 2.0, None, 0, 0, "why", 0, "[]", 0),
    ]
    database = await older(
        tmp_path / "node.sqlite3",
        3,
        [
            ("metainfo", (first, b"m", b"[]")),
            ("metainfo", (second, b"n", b"")),
            (f"torrents ({COLUMNS})", (*rows[0], "boot", 1000, 2**40)),
            (f"torrents ({COLUMNS})", (*rows[1], "", 0, 0)),
        ],
    )
    table = SqliteResumeTable(database)
    one, other = await table.load()
    job = Job.from_json(one.job)
    assert job.added == 1234.5678
    assert job.options == DownloadOptions(
        source='a "name" \u2713', replace=True, upload_limit=1000, download_limit=2**40
    )
    assert one == Record(
        infohash=first,
        metainfo=b"m",
        filename='a "name" \u2713',
        path="/a",
        stamps=b"[]",
        held=b"",
        state="paused",
        job=one.job,
        finished=9.5,
        downloaded=3,
        uploaded=4,
        peers=("p:1",),
        clean=True,
        boot="boot",
    )
    assert Job.from_json(other.job).options == DownloadOptions(source="b")
    assert (other.state, other.error, other.held) == ("failed", "why", b"\x01")
    assert job.position < Job.from_json(other.job).position
    await table.save(replace(one, uploaded=5))
    assert await table.load() == [replace(one, uploaded=5), other]
    assert await table.load_pending() == []
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
