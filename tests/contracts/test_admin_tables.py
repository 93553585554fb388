"""What every `AdminTables` does; run against SQLite and its twin in memory."""

import random
from dataclasses import replace

import pytest_twisted

from p2pd.metainfo.ids import InfoHash
from p2pd.store.admin_tables import MemoryAdminTables, SqliteAdminTables
from p2pd.store.sqlite import Database
from p2pd.store.tracker_tables import MIGRATIONS
from p2pd.tracker.records import Changes, KeyRecord, UserRecord

PORTION = 3
MOST = 2**63 - 1


@pytest_twisted.async_yield_fixture(params=["memory", "sqlite"])
async def tables(request, tmp_path):
    if request.param == "memory":
        yield MemoryAdminTables(portion=PORTION)
        return
    database = Database(tmp_path / "tracker.sqlite", MIGRATIONS)
    await database.open()
    yield SqliteAdminTables(database, portion=PORTION)
    await database.close()


def digest(number):
    return random.Random(number).randbytes(20)


def user(number, **fields):
    return UserRecord(digest(number), str(number), digest(-number), **fields)


def users(*records):
    return {record.user_hash: record for record in records}


async def load(tables):
    """Return everything, and how many portions it took."""
    whole, portions = Changes(), 0
    mark = None
    while portions == 0 or mark is not None:
        portion, mark = await tables.load(mark)
        portions += 1
        for name in ("counts", "whitelist", "blacklist", "keys", "users"):
            found = getattr(portion, name)
            assert not getattr(whole, name).keys() & found.keys()
            getattr(whole, name).update(found)
    return whole, portions


FULL = Changes(
    counts={digest(1): 0, digest(2): 7, digest(3): MOST},
    whitelist={digest(4): True},
    blacklist={digest(5): True, digest(6): True},
    keys={digest(7): KeyRecord(0, 0), digest(8): KeyRecord(60, 1_700_000_060)},
    users=users(
        user(9, uploaded=MOST, downloaded=1, completed=2, updated=3, active=False), user(10)
    ),
)


async def test_is_empty_at_first(tables):
    assert (await load(tables))[0] == Changes()


async def test_gives_back_what_was_written(tables):
    await tables.write(FULL)
    assert (await load(tables))[0] == FULL


async def test_gives_it_in_portions(tables):
    await tables.write(Changes(counts={digest(at): at for at in range(100)}))
    whole, portions = await load(tables)
    assert whole.counts == {digest(at): at for at in range(100)}
    assert portions >= 100 // PORTION


async def test_goes_on_after_a_mark_that_is_gone(tables):
    await tables.write(Changes(counts={bytes([at]) * 20: at for at in range(5)}))
    _, mark = await tables.load()
    await tables.write(Changes(counts={bytes([2]) * 20: None}))
    rest, _ = await tables.load(mark)
    assert rest.counts == {bytes([3]) * 20: 3, bytes([4]) * 20: 4}


async def test_overwrites(tables):
    await tables.write(FULL)
    await tables.write(
        Changes(
            counts={digest(2): 8},
            whitelist={digest(4): True},
            keys={digest(7): KeyRecord(5, 6)},
            users=users(user(10, uploaded=5)),
        )
    )
    whole, _ = await load(tables)
    assert whole == replace(
        FULL,
        counts=FULL.counts | {digest(2): 8},
        keys=FULL.keys | {digest(7): KeyRecord(5, 6)},
        users=FULL.users | users(user(10, uploaded=5)),
    )


async def test_deletes(tables):
    await tables.write(FULL)
    await tables.write(
        Changes(
            counts={digest(1): None, digest(99): None},
            whitelist={digest(4): False, digest(99): False},
            blacklist={digest(5): False},
            keys={digest(7): None, digest(99): None},
            users={digest(9): None, digest(99): None},
        )
    )
    whole, _ = await load(tables)
    assert whole == Changes(
        counts={digest(2): 7, digest(3): MOST},
        blacklist={digest(6): True},
        keys={digest(8): KeyRecord(60, 1_700_000_060)},
        users=users(user(10)),
    )


async def test_does_not_keep_what_users_are_active_in(tables):
    await tables.write(Changes(users=users(user(1, torrents={InfoHash(digest(2)): 3}))))
    assert (await load(tables))[0].users == users(user(1))
