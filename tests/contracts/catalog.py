"""What every `CatalogTable` does; run against the table in SQLite and its twin in memory."""

from dataclasses import replace

import pytest

from p2pd.tracker.ports import NameRow, TorrentRow
from tests.samples import torrent


def row(sample, *, added=1.5, web_seeds=()):
    return TorrentRow(sample.infohash, sample.to_bytes(), web_seeds, added)


def name(sample, filename, *, from_origin=False):
    return NameRow(filename, sample.infohash, from_origin)


class CatalogContract:
    """Inherit, and give a `table` fixture that is empty at first."""

    @pytest.fixture
    def table(self):
        raise NotImplementedError

    async def test_is_empty_at_first(self, table):
        assert await table.load() == ([], [])

    async def test_gives_back_what_was_put(self, table):
        first, second = torrent("a", seed=1), torrent("b", seed=2)
        rows = [
            row(second, web_seeds=("http://x/ä b", "http://y/")),
            row(first, added=0.25),
        ]
        names = [name(second, "dir/ä b"), name(first, "a", from_origin=True)]
        for each in zip(rows, names, strict=True):
            await table.put(*each)
        assert await table.load() == (rows, names)

    async def test_the_newest_torrent_has_the_name(self, table):
        old, new = torrent("a", seed=1), torrent("a", seed=2)
        await table.put(row(old), name(old, "a"))
        await table.put(row(new), name(new, "a"))
        torrents, names = await table.load()
        assert [each.infohash for each in torrents] == [old.infohash, new.infohash]
        assert names == [name(new, "a")]

    async def test_one_torrent_may_have_many_names_the_newest_last(self, table):
        one = torrent()
        for filename in ("a", "b", "a"):
            await table.put(row(one), name(one, filename))
        torrents, names = await table.load()
        assert torrents == [row(one)]
        assert [each.filename for each in names] == ["b", "a"]

    async def test_overwrites_a_torrent_in_its_place(self, table):
        first, second = torrent("a", seed=1), torrent("b", seed=2)
        await table.put(row(first), name(first, "a"))
        await table.put(row(second), name(second, "b"))
        changed = replace(row(first), web_seeds=("http://x/",))
        await table.put(changed, name(first, "a"))
        assert (await table.load())[0] == [changed, row(second)]

    async def test_removes_a_torrent_with_its_names(self, table):
        gone, kept = torrent("a", seed=1), torrent("b", seed=2)
        await table.put(row(gone), name(gone, "a"))
        await table.put(row(gone), name(gone, "other"))
        await table.put(row(kept), name(kept, "b"))
        await table.remove(gone.infohash)
        await table.remove(gone.infohash)
        assert await table.load() == ([row(kept)], [name(kept, "b")])
