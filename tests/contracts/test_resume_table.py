"""The contract of `ResumeTable`, run against SQLite and its twin in memory."""

from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from p2pd.metainfo.ids import InfoHash
from p2pd.node.ports import Record
from p2pd.store.memory import MemoryResumeTable
from p2pd.store.node_tables import MIGRATIONS, SqliteResumeTable
from p2pd.store.sqlite import Database


@pytest.fixture(params=["sqlite", "memory"])
def table(request, tmp_path):
    if request.param == "memory":
        yield MemoryResumeTable()
        return
    database = Database(tmp_path / "node.sqlite3", MIGRATIONS)
    pytest_twisted.blockon(Deferred.fromCoroutine(database.open()))
    yield SqliteResumeTable(database)
    pytest_twisted.blockon(Deferred.fromCoroutine(database.close()))


def record(number, **changes):
    return replace(
        Record(
            infohash=InfoHash(bytes([number]) * 20),
            metainfo=b"d4:infodee",
            filename=f"file {number} \u2713",
            path=f"/there/{number}",
            stamps=b"[]",
            held=b"\xf0",
            state="downloading",
            added=1.5,
        ),
        **changes,
    )


async def test_what_is_saved_is_loaded_in_the_order_it_was_added(table):
    records = [
        record(3, clean=True, boot="b", upload_limit=1000, download_limit=2**40),
        record(1, finished=2.5),
        record(2, replace=True, peers=("a:1", "b:2")),
    ]
    for each in records:
        await table.save(each)
    assert await table.load() == records


async def test_saving_again_overwrites_and_keeps_the_place(table):
    for number in (1, 2):
        await table.save(record(number))
    changed = record(1, state="complete", held=b"\xff", uploaded=2**40, metainfo=b"d1:ai1ee")
    await table.save(changed)
    assert await table.load() == [changed, record(2)]


async def test_what_is_forgotten_is_gone(table):
    await table.save(record(1))
    await table.save(record(2))
    await table.forget(record(1).infohash)
    await table.forget(record(9).infohash)
    assert await table.load() == [record(2)]
