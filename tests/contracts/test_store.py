"""The contract of `Store` and `Content`, run against files on disk and their twin in memory."""

import os
import random
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from p2pd.errors import Conflict, Invalid, NotFound, Unavailable
from p2pd.store.files import FileStore
from p2pd.store.memory import MemoryStore

PIECE = 256 * 1024
DATA = random.Random(5).randbytes(3 * PIECE + 1000)


class OnDisk:
    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "downloads"
        self.elsewhere = tmp_path
        self.again()

    def again(self):
        self.store = FileStore(self.root, deferToThread)
        return self.store

    def put(self, name: str, data: bytes) -> Path:
        path = self.elsewhere / name
        path.write_bytes(data)
        return path

    def published(self, path: Path) -> bytes | None:
        return path.read_bytes() if path.exists() else None

    def lose(self, content) -> None:
        for partial in self.root.glob(".p2pd-*.part"):
            partial.unlink()


class InMemory:
    def __init__(self) -> None:
        self.root = Path("/memory")
        self.store = MemoryStore()

    def again(self):
        self.store = MemoryStore(self.store.disk)
        return self.store

    def put(self, name: str, data: bytes) -> Path:
        path = Path("/elsewhere", name)
        self.store.disk.published[path] = data
        return path

    def published(self, path: Path) -> bytes | None:
        return self.store.disk.published.get(path)

    def lose(self, content) -> None:
        self.store.disk.partial.clear()


@pytest.fixture(params=["files", "memory"])
def place(request, tmp_path):
    return OnDisk(tmp_path) if request.param == "files" else InMemory()


async def torrent_of(place, data=DATA, name="image"):
    torrent, _ = await place.store.describe(place.put(f"{name}.source", data), name)
    return torrent


def pieces_of(torrent, data=DATA):
    return [data[i * PIECE : (i + 1) * PIECE] for i in range(torrent.piece_count)]


async def fill(content, data=DATA):
    await content.allocate()
    for index, piece in enumerate(pieces_of(content.torrent, data)):
        assert await content.write([index], piece)


async def test_what_is_described_can_be_read(place):
    path = place.put("image", DATA)
    torrent, content = await place.store.describe(path, None)
    assert torrent.name == "image"
    assert content.path == path
    assert [await content.read(i) for i in range(torrent.piece_count)] == pieces_of(torrent)
    assert await content.read(1, 10, 20) == DATA[PIECE + 10 : PIECE + 30]


async def test_describing_what_is_not_there_is_refused(place):
    with pytest.raises(NotFound):
        await place.store.describe(Path("/nowhere/at/all"), None)


async def test_verified_pieces_are_kept_and_published_under_the_final_name_only(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    assert place.published(content.path) is None
    assert not await content.occupied()
    await content.publish()
    assert await content.occupied()
    assert place.published(content.path) == DATA
    assert await content.read(2) == pieces_of(torrent)[2]


async def test_a_piece_that_fails_its_digest_is_not_kept(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await content.allocate()
    assert not await content.write([0], bytes(PIECE))
    assert not await content.write([0], DATA[: PIECE - 1])
    found = []
    await content.check(range(torrent.piece_count), found.append)
    assert found == []


async def test_partial_content_is_found_again_by_its_digests(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await content.allocate()
    for index in (0, 3):
        await content.write([index], pieces_of(torrent)[index])
    resumed = place.again().resume(torrent, str(content.path), content.stamps())
    await resumed.allocate()
    found = []
    await resumed.check(range(torrent.piece_count), found.append)
    assert found == [0, 3]


async def test_equal_pieces_are_written_to_all_their_places(place):
    data = DATA[:PIECE] * 3
    torrent = await torrent_of(place, data)
    content = place.store.begin(torrent, "")
    await content.allocate()
    assert await content.write([0, 1, 2], DATA[:PIECE])
    await content.publish()
    assert place.published(content.path) == data


async def test_publishing_does_not_overwrite_unless_asked(place):
    old = await torrent_of(place, DATA[:PIECE], "old")
    first = place.store.begin(old, "same")
    await fill(first, DATA[:PIECE])
    await first.publish()
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "same")
    await fill(content)
    with pytest.raises(Conflict, match="already exists"):
        await content.publish()
    assert place.published(content.path) == DATA[:PIECE]
    await content.publish(replace=True)
    assert place.published(content.path) == DATA


async def test_what_disappeared_meanwhile_is_neither_written_nor_published(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await content.allocate()
    place.lose(content)
    with pytest.raises(Unavailable):
        await content.write([0], pieces_of(torrent)[0])
    content = place.store.begin(torrent, "")
    assert not await content.allocate()
    await fill(content)
    place.lose(content)
    with pytest.raises(Unavailable, match="disappeared"):
        await content.publish()
    assert place.published(content.path) is None


async def test_a_store_that_rests_goes_on_when_it_is_asked_to(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await content.allocate()
    for index, piece in enumerate(pieces_of(torrent)):
        place.store.rest()
        assert await content.write([index], piece)
        assert await content.read(index) == piece
    await content.publish()
    place.store.rest()
    assert await content.read(0) == DATA[:PIECE]


async def test_content_is_read_from_its_new_place_once_published(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    assert await content.read(0) == DATA[:PIECE]
    await content.publish()
    place.put("image.source", b"")
    assert await content.read(0) == DATA[:PIECE]
    assert content.stamps() == content.stamps() != b""


async def test_published_content_comes_back_by_its_stamps(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    await content.publish()
    back = place.again().resume(torrent, str(content.path), content.stamps())
    await back.inspect()
    assert await back.read(0) == DATA[:PIECE]


async def test_a_change_after_publishing_is_noticed(place):
    path = place.put("image", DATA)
    torrent, content = await place.store.describe(path, None)
    place.put("image", DATA[:-1] + b"x")
    with pytest.raises(Conflict, match="changed on disk"):
        await content.inspect()
    with pytest.raises(Conflict, match="changed on disk"):
        content.locate(0, 0, 10)
    with pytest.raises(Conflict, match="changed on disk"):
        await content.read(0)
    resumed = place.store.resume(torrent, str(path), content.stamps())
    with pytest.raises(Conflict):
        await resumed.inspect()


async def test_adopted_content_is_unverified_until_checked(place):
    torrent = await torrent_of(place)
    path = place.put("older", bytes(PIECE) + DATA[PIECE:])
    content = await place.store.adopt(torrent, path)
    found = []
    await content.check(range(torrent.piece_count), found.append)
    assert found == [1, 2, 3]


async def test_adopting_what_is_not_there_conflicts(place):
    torrent = await torrent_of(place)
    with pytest.raises(Conflict, match="gone"):
        await place.store.adopt(torrent, place.root / "nothing")


async def test_a_located_range_is_what_it_says(place):
    _, content = await place.store.describe(place.put("image", DATA), None)
    got = b""
    for extent in content.locate(3, 100, 500):
        got += os.pread(extent.fileno, extent.length, extent.offset)
    assert got == DATA[3 * PIECE + 100 : 3 * PIECE + 600]


async def test_discarded_content_leaves_nothing(place):
    torrent = await torrent_of(place)
    content = place.store.begin(torrent, "")
    await fill(content)
    await content.discard()
    found = []
    await place.store.begin(torrent, "").check(range(torrent.piece_count), found.append)
    assert found == []


@pytest.mark.parametrize("destination", ["../up", "/etc/passwd", "a/../../b", "a\0b", "a/./b"])
async def test_destinations_outside_are_refused(place, destination):
    torrent = await torrent_of(place)
    with pytest.raises(Invalid):
        place.store.begin(torrent, destination)


async def test_destinations_inside_are_relative_or_absolute(place):
    torrent = await torrent_of(place)
    assert place.store.begin(torrent, "").path == place.root / "image"
    assert place.store.begin(torrent, "a/b").path == place.root / "a/b"
    assert place.store.begin(torrent, str(place.root / "a/b")).path == place.root / "a/b"
