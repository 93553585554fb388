"""The contract of `ResumeTable`, run against SQLite and its twin in memory."""

import json
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from p2pd.metainfo.ids import InfoHash
from p2pd.node.records import PendingRecord, Record
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
            job='{"added": 1.5}',
        ),
        **changes,
    )


async def test_what_is_saved_is_loaded_in_the_order_it_was_added(table):
    records = [
        record(3, clean=True, boot="b", job="{}"),
        record(1, finished=2.5),
        record(2, job='{"options": "\u2713"}', peers=("a:1", "b:2")),
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


def pending(number=0, **changes):
    return replace(PendingRecord(number, None, "queued", "", "{}"), **changes)


async def test_pending_records_are_numbered_and_changed_by_their_number(table):
    first = await table.save_pending(pending(job='{"a": 1}'))
    second = await table.save_pending(pending(infohash=InfoHash(b"i" * 20), error="no"))
    assert first != second
    changed = pending(first, state="failed", error="gone", infohash=InfoHash(b"j" * 20))
    assert await table.save_pending(changed) == first
    assert await table.load_pending() == [
        changed,
        pending(second, infohash=InfoHash(b"i" * 20), error="no"),
    ]


async def test_a_record_takes_the_place_of_a_pending_one(table):
    number = await table.save_pending(pending())
    other = await table.save_pending(pending())
    await table.save(record(1), settles=number)
    assert await table.load_pending() == [pending(other)]
    assert await table.load() == [record(1)]


async def test_what_was_pending_does_not_come_back_and_nothing_gets_its_number(table):
    number = await table.save_pending(pending())
    await table.forget_pending(number)
    await table.forget_pending(number)
    await table.save_pending(pending(number, state="failed"))
    assert await table.load_pending() == []
    assert await table.save_pending(pending()) > number


async def test_settings_keep_their_kinds_and_those_not_given_stay(table):
    assert await table.load_settings() == {}
    await table.save_settings({"rate": 5, "ratio": None, "paused": True})
    await table.save_settings({"ratio": 1.5, "lists": (1, 2)})
    expected = {"rate": 5, "ratio": 1.5, "paused": True, "lists": [1, 2]}
    assert await table.load_settings() == expected


async def test_places_are_written_together(table):
    await table.save(record(1, job='{"position": 1, "added": 5.0}'))
    await table.save(record(2, job='{"position": 2}'))
    number = await table.save_pending(PendingRecord(0, None, "paused", "", '{"position": 3}'))
    absent = InfoHash(bytes(20))
    await table.place({record(1).infohash: 3, absent: 9}, {number: 1, number + 1: 9})
    assert [json.loads(one.job) for one in await table.load()] == [
        {"position": 3, "added": 5.0},
        {"position": 2},
    ]
    assert [json.loads(one.job) for one in await table.load_pending()] == [{"position": 1}]
