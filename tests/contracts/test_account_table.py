"""The contract of `AccountTable`, run against SQLite and its twin in memory."""

from dataclasses import replace

import pytest
import pytest_twisted

from p2pd.errors import Conflict
from p2pd.node.accounts import Account
from p2pd.roles import Role
from p2pd.store.account_table import MemoryAccountTable, SqliteAccountTable
from p2pd.store.node_tables import MIGRATIONS
from p2pd.store.sqlite import Database


@pytest_twisted.async_yield_fixture(params=["sqlite", "memory"])
async def table(request, tmp_path):
    if request.param == "memory":
        yield MemoryAccountTable()
        return
    database = Database(tmp_path / "node.sqlite3", MIGRATIONS)
    await database.open()
    yield SqliteAccountTable(database)
    await database.close()


ALICE = Account("alice ✓", bytes(range(16)), b"\x00\xff" * 32, Role.ADMIN, 1_700_000_000.25)
BOB = Account("bob", b"\x01" * 16, b"", Role.READER, 1_600_000_000.0)


async def test_is_empty_at_first(table):
    assert await table.load() == []


async def test_what_is_added_is_loaded_the_oldest_first(table):
    await table.add(ALICE)
    await table.add(BOB)
    assert await table.load() == [BOB, ALICE]


async def test_a_name_is_taken_once(table):
    await table.add(ALICE)
    with pytest.raises(Conflict, match="alice"):
        await table.add(replace(ALICE, role=Role.READER))
    assert await table.load() == [ALICE]
