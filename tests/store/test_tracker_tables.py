"""The catalog's table and its twin keep one contract."""

import pytest
import pytest_twisted

from p2pd.store.sqlite import Database
from p2pd.store.tracker_tables import MIGRATIONS, MemoryCatalog, SqliteCatalog
from tests.contracts.catalog import CatalogContract, name, row
from tests.samples import torrent


class TestMemoryCatalog(CatalogContract):
    @pytest.fixture
    def table(self):
        return MemoryCatalog()


class TestSqliteCatalog(CatalogContract):
    @pytest_twisted.async_yield_fixture
    async def table(self, tmp_path):
        database = Database(tmp_path / "tracker.sqlite", MIGRATIONS)
        await database.open()
        yield SqliteCatalog(database)
        await database.close()


async def test_survives_a_restart(tmp_path):
    one = torrent()
    for stored in ([], [row(one)]):
        database = Database(tmp_path / "tracker.sqlite", MIGRATIONS)
        await database.open()
        table = SqliteCatalog(database)
        assert (await table.load())[0] == stored
        await table.put(row(one), name(one, "a"))
        await database.close()
