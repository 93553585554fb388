"""Persistence: what is written when, what a restart finds, and what happens when writing fails."""

import random

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from p2pd.errors import Invalid, Unavailable
from p2pd.store.admin_tables import MemoryAdminTables
from p2pd.store.snapshot import MemorySnapshot
from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.persistence import Persistence
from p2pd.tracker.records import COMPLETED, NONE, STARTED, Changes, KeyRecord, UserRecord
from p2pd.tracker.users import hash_of

NOW = 1_700_000_000
LIFETIME = 2700.0
A, B = b"a" * 20, b"b" * 20
ADDRESS = b"\x7f\0\0\1\x1a\xe1"
USER = UserRecord(hash_of("1"), "1", b"\xcd" * 20)


class Tables(MemoryAdminTables):
    """Tables that can be slow and broken; `writes` counts the attempts."""

    def __init__(self):
        super().__init__(portion=2)
        self.writes = 0
        self.error = None
        self.waiting = None

    async def load(self, after=None):
        if self.waiting is not None:
            await self.waiting
        return await super().load(after)

    async def write(self, changes):
        self.writes += 1
        if self.waiting is not None:
            await self.waiting
        if self.error is not None:
            raise self.error
        await super().write(changes)


class Running:
    """A tracker's tables and swarms at work, on what an earlier one left."""

    def __init__(self, tables, swarms, now, **options):
        self.clock = Clock()
        self.clock.advance(now)
        table = CompactTable(lifetime=LIFETIME, now=now, rng=random.Random(1))
        self.announcing = Announcing(table, Access(users=True, clock=self.clock.seconds))
        self.table, self.access = table, self.announcing.access
        self.persistence = Persistence(
            self.clock, self.announcing, tables, swarms, lifetime=LIFETIME, **options
        )
        self.persistence.startService()

    def announce(self, infohash, event=NONE, uploaded=0, peer_id=b"p" * 20):
        return self.announcing.announce(
            ("cd" * 20,), infohash, ADDRESS, peer_id, 0, uploaded, 0, event, 50
        )

    async def stop(self):
        await self.persistence.stopService()
        assert self.clock.getDelayedCalls() == []


@pytest.fixture
def tables():
    return Tables()


@pytest.fixture
def swarms():
    return MemorySnapshot()


@pytest.fixture
def start(tables, swarms):
    return lambda now=NOW, **options: Running(tables, swarms, now, **options)


async def test_opens_when_all_is_loaded(start, tables):
    tables.waiting = Deferred()
    tracker = start()
    assert not tracker.announcing.open
    assert not tracker.persistence.loaded.called
    with pytest.raises(Unavailable, match="starting"):
        tracker.announce(A)
    tables.waiting.callback(None)
    assert tracker.announcing.open
    await tracker.persistence.loaded
    await tracker.stop()


async def test_loads_what_is_in_the_tables(start, tables):
    counts = {bytes([at]) * 20: at for at in range(9)}
    await tables.write(
        Changes(counts, {A: True}, {B: True}, {A: KeyRecord(0, 0)}, {USER.user_hash: USER})
    )
    tracker = start()
    assert {each: tracker.table.scrape(each)[1] for each in counts} == counts
    assert A in tracker.access.lists["whitelist"].members
    assert B in tracker.access.lists["blacklist"].members
    assert A in tracker.access.keys
    assert tracker.access.users.record(USER.user_hash) == USER
    await tracker.stop()
    assert tables.writes == 1  # nothing had changed


async def test_writes_what_changed_within_the_window(start, tables):
    tracker = start(write_behind=1.0)
    tracker.access.users.put(USER)
    tracker.announce(A, STARTED, uploaded=5)
    tracker.announce(B, STARTED)
    tracker.clock.advance(0.9)
    assert tables.kept == Changes()
    tracker.clock.advance(0.1)
    (user,) = tables.kept.users.values()
    assert user.uploaded == 5
    tracker.table.put(A, 3)
    tracker.access.keys.put(A, 0)
    tracker.clock.advance(1.0)
    # A process that is killed here loses nothing: what counts is in the tables.
    assert tables.kept.counts == {A: 3}
    assert tables.kept.keys == {A: KeyRecord(0, 0)}
    for _ in range(9):
        tracker.clock.advance(1.0)
    assert tables.writes == 2
    await tracker.stop()


async def test_writes_the_rest_at_the_end(start, tables):
    tracker = start()
    tracker.table.put(A, 3)
    await tracker.stop()
    assert tables.kept.counts == {A: 3}


async def test_what_cannot_be_written_is_tried_again(start, tables, logged_errors):
    tracker = start()
    tables.error = Unavailable("the disk is full")
    tracker.table.put(A, 1)
    tracker.table.put(B, 1)
    for _ in range(3):
        tracker.clock.advance(1.0)
    assert len(logged_errors.flush(Unavailable)) == 1
    tracker.table.put(A, 2)
    tracker.clock.advance(1.0)
    tables.error = None
    tracker.clock.advance(1.0)
    assert tables.kept.counts == {A: 2, B: 1}
    tables.error = Unavailable("the disk is full again")
    tracker.table.put(A, 3)
    await tracker.stop()
    assert len(logged_errors.flush(Unavailable)) == 1


async def test_what_changes_during_a_write_is_written_next(start, tables):
    tracker = start()
    tables.waiting = Deferred()
    tracker.table.put(A, 1)
    tracker.clock.advance(1.0)
    tracker.table.put(A, 2)
    tracker.clock.advance(5.0)
    assert tables.writes == 1
    waiting, tables.waiting = tables.waiting, None
    waiting.callback(None)
    assert tables.kept.counts == {A: 1}
    tracker.clock.advance(1.0)
    assert tables.kept.counts == {A: 2}
    await tracker.stop()


async def test_an_end_waits_for_the_write_under_way(start, tables):
    tracker = start()
    tables.waiting = Deferred()
    tracker.table.put(A, 1)
    tracker.clock.advance(1.0)
    tracker.table.put(A, 2)
    stopping = Deferred.fromCoroutine(tracker.stop())
    assert not stopping.called
    waiting, tables.waiting = tables.waiting, None
    waiting.callback(None)
    await stopping
    assert tables.kept.counts == {A: 2}


async def test_exports_what_is_not_written_yet_too(start, tables):
    tracker = start()
    for at in range(5):
        tracker.table.put(bytes([at]) * 20, at)
    portion, mark = await tracker.persistence.export()
    found = dict(portion.counts)
    while mark:
        portion, mark = await tracker.persistence.export(mark)
        found |= portion.counts
    assert found == {bytes([at]) * 20: at for at in range(5)}
    await tracker.stop()


async def test_nothing_is_exported_or_written_before_all_is_loaded(start, tables):
    await tables.write(Changes(counts={A: 7}))
    tables.waiting = Deferred()
    tracker = start()
    tracker.table.count(A)
    with pytest.raises(Unavailable, match="starting"):
        await tracker.persistence.export()
    assert tables.writes == 1
    waiting, tables.waiting = tables.waiting, None
    waiting.callback(None)
    portion, _ = await tracker.persistence.export()
    assert portion.counts == {A: 8}
    await tracker.stop()


async def test_what_would_come_after_the_last_write_is_refused(start, tables):
    tracker = start()
    tracker.access.users.put(USER)
    tables.waiting = Deferred()
    stopping = Deferred.fromCoroutine(tracker.stop())
    assert not stopping.called
    with pytest.raises(Unavailable):
        tracker.announce(A, COMPLETED)
    waiting, tables.waiting = tables.waiting, None
    waiting.callback(None)
    await stopping


async def test_swarms_survive_a_restart(start, swarms):
    tracker = start(snapshot_interval=300.0)
    tracker.access.users.put(USER)
    tracker.announce(A, STARTED)
    tracker.clock.advance(299.0)
    assert swarms.portions == []
    tracker.clock.advance(1.0)
    assert swarms.portions
    tracker.announce(B, COMPLETED)
    await tracker.stop()
    tracker = start(NOW + 600)
    assert [tracker.table.scrape(each) for each in (A, B)] == [(1, 0, 0), (1, 1, 0)]
    await tracker.stop()


async def test_swarms_have_aged_over_a_restart(start):
    tracker = start()
    tracker.access.users.put(USER)
    tracker.announce(A, STARTED)
    await tracker.stop()
    tracker = start(NOW + 2 * LIFETIME)
    assert tracker.table.scrape(A) == (0, 0, 0)
    await tracker.stop()


async def test_a_damaged_snapshot_is_ignored(start, swarms):
    tracker = start()
    tracker.access.users.put(USER)
    tracker.announce(A, STARTED)
    await tracker.stop()
    swarms.portions = [*swarms.portions, b"nonsense", *swarms.portions]
    with pytest.raises(Invalid):
        tracker.table.restore(b"nonsense")
    tracker = start()
    assert tracker.announcing.open
    assert tracker.table.scrape(A) == (1, 0, 0)
    await tracker.stop()


async def test_a_snapshot_that_fails_is_logged_once(start, swarms, logged_errors):
    class Broken(MemorySnapshot):
        async def write(self, portions):
            raise Unavailable("the disk is full")

    tracker = Running(Tables(), Broken(), NOW, snapshot_interval=10.0)
    for _ in range(3):
        tracker.clock.advance(10.0)
    await tracker.stop()
    assert len(logged_errors.flush(Unavailable)) == 1


async def test_silent_clients_and_expired_keys_go(start, tables):
    tracker = start()
    tracker.access.users.put(USER)
    tracker.access.keys.put(A, 60)
    for at in range(100):
        tracker.announce(bytes([at]) * 20, STARTED)
    assert tracker.table.totals()[:2] == (100, 100)
    tracker.clock.pump([0.25] * int(LIFETIME * 4 * 1.15))
    assert tracker.table.totals()[:2] == (0, 0)
    assert tables.kept.keys == {}
    assert len(tracker.access.keys) == 0
    await tracker.stop()


async def test_an_end_while_it_loads_writes_nothing(start, tables, swarms):
    swarms.portions = [b"of the last run"]
    tables.waiting = Deferred()
    tracker = start()
    await tracker.stop()
    assert tables.writes == 0
    assert swarms.portions == [b"of the last run"]


async def test_what_keeps_it_from_loading_is_told(start, tables):
    tables.waiting = Deferred()
    tracker = start()
    tables.waiting.errback(Unavailable("the database is damaged"))
    with pytest.raises(Unavailable, match="damaged"):
        await tracker.persistence.loaded
    assert not tracker.announcing.open
    tracker.clock.advance(1000)
    await tracker.stop()
    assert tables.writes == 0
