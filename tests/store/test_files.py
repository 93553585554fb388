"""What only files on disk can show: trees, modes, links, full and unwritable disks."""

import dataclasses
import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from twisted.internet import task
from twisted.internet.threads import deferToThread

from p2pd.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from p2pd.store.files import FileStore

RNG = random.Random(3)
PIECE = 256 * 1024


@pytest.fixture
def clock():
    return task.Clock()


@pytest.fixture
def store(tmp_path, clock):
    return FileStore(tmp_path / "downloads", deferToThread, clock=clock.seconds)


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def make_tree(root: Path) -> Path:
    (root / "sub/deep").mkdir(parents=True)
    (root / "large.bin").write_bytes(RNG.randbytes(700_000))
    (root / "sub/small.txt").write_text("small")
    (root / "sub/empty").touch()
    (root / "sub/deep/middle").write_bytes(RNG.randbytes(300_000))
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    return root


async def copy(store, source, destination=""):
    torrent, original = await store.describe(source, None)
    content = store.begin(torrent, destination)
    await content.allocate()
    for index in range(torrent.piece_count):
        assert await content.write([index], await original.read(index))
    return content


async def test_a_tree_arrives_whole_with_modes_and_empty_files(store, tmp_path):
    source = make_tree(tmp_path / "release")
    content = await copy(store, source)
    assert content.path.name == "release"
    assert not content.path.exists()
    await content.publish()
    assert tree(content.path) == tree(source)
    assert os.access(content.path / "run.sh", os.X_OK)
    assert not os.access(content.path / "large.bin", os.X_OK)
    assert [path.name for path in content.path.parent.iterdir()] == ["release"]


async def test_a_tree_replaces_an_older_one(store, tmp_path):
    source = make_tree(tmp_path / "release")
    content = await copy(store, source)
    content.path.mkdir(parents=True)
    (content.path / "old").touch()
    with pytest.raises(Conflict):
        await content.publish()
    assert (content.path / "old").exists()
    await content.publish(replace=True)
    assert tree(content.path) == tree(source)
    assert [path.name for path in content.path.parent.iterdir()] == ["release"]


async def test_one_file_changed_in_a_tree_is_noticed(store, tmp_path):
    source = make_tree(tmp_path / "release")
    _, content = await store.describe(source, None)
    (source / "sub/small.txt").write_text("SMALL")
    with pytest.raises(Conflict, match=r"small\.txt changed"):
        await content.inspect()
    (source / "sub/small.txt").unlink()
    with pytest.raises(Conflict, match=r"small\.txt is gone"):
        await content.inspect()


async def test_reading_goes_on_while_it_is_published(store, tmp_path):
    content = await copy(store, make_tree(tmp_path / "release"))
    before = await content.read(2)
    extents = content.locate(2, 0, PIECE)
    await content.publish()
    assert read_with(extents) == before
    assert await content.read(2) == before


async def test_an_unwritable_directory_is_said_so(store, tmp_path):
    torrent, _ = await store.describe(make_tree(tmp_path / "release"), None)
    (tmp_path / "downloads").write_text("a file where the directory should be")
    with pytest.raises(Unavailable, match=r"cannot write to .*downloads: "):
        await store.begin(torrent, "").allocate()


async def test_a_disk_without_room_is_said_so_before_anything_is_written(store, tmp_path):
    source = tmp_path / "huge"
    with source.open("wb") as file:
        file.truncate(1 << 20)
    torrent, _ = await store.describe(source, None)
    [file] = torrent.files
    huge = dataclasses.replace(torrent, files=(dataclasses.replace(file, length=1 << 60),))
    with pytest.raises(Unavailable, match="bytes free, huge needs"):
        await store.begin(huge, "").allocate()
    assert not list((tmp_path / "downloads").iterdir())


async def test_a_link_in_the_download_directory_leads_nowhere_outside(store, tmp_path):
    torrent, _ = await store.describe(make_tree(tmp_path / "release"), None)
    (tmp_path / "downloads").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "downloads/link").symlink_to(tmp_path / "outside")
    with pytest.raises(Invalid, match="by a link"):
        store.begin(torrent, "link/release")


async def test_a_link_at_the_place_of_a_partial_file_is_not_followed(store, tmp_path):
    source = tmp_path / "image"
    source.write_bytes(b"x" * 1000)
    torrent, _ = await store.describe(source, None)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    (downloads / f".p2pd-{torrent.infohash.hex()}.part").symlink_to(victim)
    with pytest.raises(Unavailable):
        await store.begin(torrent, "").allocate()
    assert victim.read_text() == "keep me"


async def partial_beside_a_taken_destination(store, tmp_path):
    source = tmp_path / "image"
    source.write_bytes(RNG.randbytes(600_000))
    torrent, original = await store.describe(source, None)
    content = store.begin(torrent, "")
    await content.allocate()
    content.path.write_bytes(b"somebody else's")
    (content.path.parent / f".p2pd-{torrent.infohash.hex()}.part").unlink()
    return content, await original.read(0)


async def test_what_is_at_the_destination_is_neither_read_nor_written(store, tmp_path):
    content, piece = await partial_beside_a_taken_destination(store, tmp_path)
    with pytest.raises(Unavailable):
        await content.write([0], piece)
    with pytest.raises(Unavailable):
        await content.read(0)
    assert content.path.read_bytes() == b"somebody else's"


async def test_what_a_replacement_that_was_cut_short_left_is_deleted(store, tmp_path):
    content = await copy(store, make_tree(tmp_path / "release"))
    partial = content.path.parent / f".p2pd-{content.torrent.infohash.hex()}.part"
    make_tree(partial.with_name(f"{partial.name}.old"))
    await content.publish(replace=True)
    assert [path.name for path in content.path.parent.iterdir()] == ["release"]


def partial_of(content):
    return content.path.parent / f".p2pd-{content.torrent.infohash.hex()}.part"


async def test_a_file_of_a_tree_is_made_when_it_is_written_to(store, tmp_path):
    source = make_tree(tmp_path / "release")
    torrent, original = await store.describe(source, None)
    content = store.begin(torrent, "")
    await content.allocate()
    assert tree(partial_of(content)) == {}
    await content.write([0], await original.read(0))
    made = tree(partial_of(content))
    assert {name: len(data) for name, data in made.items()} == {"large.bin": 700_000}


def make_many(root: Path) -> Path:
    for number in range(300):
        place = root / f"{number % 7}/{number}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(RNG.randbytes(number * 10))
    return root


async def test_many_small_files_arrive(store, tmp_path):
    source = make_many(tmp_path / "many")
    content = await copy(store, source)
    await content.sync()
    await content.publish()
    assert tree(content.path) == tree(source)
    await store.resume(content.torrent, str(content.path), content.stamps()).inspect()


async def test_small_files_are_located_together(store, tmp_path):
    _, content = await store.describe(make_many(tmp_path / "many"), None)
    piece = await content.read(0)
    [extent] = content.locate(0, 0, PIECE)
    assert bytes_of(extent) == piece
    for start, length in ((0, 1), (17, 5000), (PIECE - 1, 1), (100, PIECE - 200)):
        assert read_with(content.locate(0, start, length)) == piece[start : start + length]


async def test_only_small_files_and_padding_are_read_into_memory(store, tmp_path):
    _, content = await store.describe(make_tree(tmp_path / "release"), None)
    located = [
        [(each.fileno is None, each.length) for each in content.locate(index, 0, PIECE)]
        for index in (2, 4)
    ]
    assert located == [[(False, 175_712), (True, 86_432)], [(False, 37_856), (True, 5)]]


async def test_no_more_than_a_mebibyte_is_gathered(store, tmp_path):
    source = tmp_path / "many"
    source.mkdir()
    for number in range(60):
        (source / f"{number:02}").write_bytes(RNG.randbytes(60_000))
    torrent, _ = await store.describe(source, None)
    torrent = dataclasses.replace(torrent, piece_length=4 << 20, piece_ids=(b"",))
    content = await store.adopt(torrent, source)
    extents = list(content.locate(0, 0, torrent.length))
    assert max(extent.length for extent in extents) <= 1 << 20
    assert b"".join(map(bytes_of, extents)) == await content.read(0)
    (source / "59").write_text("other")
    with pytest.raises(Conflict, match="59 changed"):
        content.locate(0, 0, torrent.length)


async def test_a_small_file_that_became_shorter_is_not_served(store, tmp_path):
    content = await copy(store, make_many(tmp_path / "many"))
    os.truncate(partial_of(content) / "0/7", 3)
    with pytest.raises(Unavailable, match="0/7 became shorter"):
        content.locate(0, 0, PIECE)


@pytest.mark.parametrize("harm", [Path.unlink, Path.touch, lambda path: path.write_text("SHORT")])
async def test_what_was_changed_meanwhile_is_not_published(store, tmp_path, harm):
    content = await copy(store, make_tree(tmp_path / "release"))
    victim = partial_of(content) / "sub/deep/middle"
    if harm is Path.touch:
        victim.rename(victim.with_name("away"))
    harm(victim)
    with pytest.raises(Unavailable, match=r"middle (disappeared|changed) while release was being"):
        await content.publish()
    assert not content.path.exists()


async def test_a_file_that_disappeared_is_not_made_again(store, tmp_path):
    torrent, original = await store.describe(make_tree(tmp_path / "release"), None)
    content = store.begin(torrent, "")
    await content.allocate()
    await content.write([0], await original.read(0))
    (partial_of(content) / "large.bin").unlink()
    store.rest()
    with pytest.raises(Unavailable, match="cannot write"):
        await content.write([1], await original.read(1))


async def test_partial_files_get_their_length_again(store, tmp_path):
    torrent, original = await store.describe(make_tree(tmp_path / "release"), None)
    content = store.begin(torrent, "")
    await content.allocate()
    await content.write([0], await original.read(0))
    os.truncate(partial_of(content) / "large.bin", 300_000)
    resumed = store.resume(torrent, str(content.path), b"")
    assert await resumed.allocate()
    assert (partial_of(content) / "large.bin").stat().st_size == 700_000
    found = []
    await resumed.check(range(torrent.piece_count), found.append)
    assert found == [0]


async def shared(store, tmp_path):
    source = tmp_path / "shared" / "image"
    source.parent.mkdir()
    source.write_bytes(RNG.randbytes(3 * PIECE))
    _, content = await store.describe(source, None)
    return source, content


def bytes_of(extent):
    if extent.fileno is None:
        return extent.memory[extent.offset : extent.offset + extent.length]
    return os.pread(extent.fileno, extent.length, extent.offset)


def read_with(extents):
    return b"".join(map(bytes_of, extents))


def open_on(path):
    links = Path("/proc/self/fd").iterdir()
    return [int(link.name) for link in links if os.path.realpath(link) == str(path)]


async def test_a_long_file_is_opened_once(store, tmp_path):
    source, content = await shared(store, tmp_path)
    for index in range(3):
        assert len(read_with(content.locate(index, 0, PIECE))) == PIECE
    assert len(open_on(source)) == 1
    store.rest()
    assert open_on(source) == []
    assert len(read_with(content.locate(0, 0, PIECE))) == PIECE


async def test_what_a_sender_uses_stays_open(store, tmp_path):
    source, content = await shared(store, tmp_path)
    expected = source.read_bytes()[:PIECE]
    extents = content.locate(0, 0, PIECE)
    extent = next(extents)
    store.rest()
    assert os.pread(extent.fileno, extent.length, extent.offset) == expected
    extents.close()
    assert open_on(source) == []


def replaced(source):
    other = source.with_name("other")
    other.write_bytes(bytes(source.stat().st_size))
    os.utime(other, ns=(0, source.stat().st_mtime_ns))
    other.rename(source)


def written(source):
    with source.open("r+b") as file:
        file.write(b"other")


@pytest.mark.parametrize("harm", [replaced, written, Path.unlink])
async def test_an_open_file_that_changed_is_noticed_at_once(store, tmp_path, harm):
    source, content = await shared(store, tmp_path)
    read_with(content.locate(0, 0, PIECE))
    harm(source)
    with pytest.raises(Conflict, match=r"image (changed on|is gone from) disk"):
        content.locate(1, 0, PIECE)


async def test_an_open_file_whose_directory_is_gone_is_noticed_soon(store, tmp_path, clock):
    source, content = await shared(store, tmp_path)
    read_with(content.locate(0, 0, PIECE))
    source.parent.rename(tmp_path / "moved")
    clock.advance(1)
    with pytest.raises(Conflict, match="image is gone from disk"):
        content.locate(1, 0, PIECE)


async def test_nothing_is_left_open_for_writing_once_published(store, tmp_path):
    source, _ = await shared(store, tmp_path)
    content = await copy(store, source)
    assert open_on(partial_of(content))
    await content.publish()
    assert open_on(content.path) == []


async def test_zeros_take_no_room(store, tmp_path):
    source = tmp_path / "image"
    with source.open("wb") as file:
        file.write(RNG.randbytes(PIECE + 5))
        file.truncate(50 * PIECE)
    content = await copy(store, source)
    await content.write(range(2, 50), bytes(PIECE))
    await content.publish()
    assert content.path.read_bytes() == source.read_bytes()
    assert content.path.stat().st_blocks * 512 <= 4 * PIECE


# -- roots


async def test_what_a_link_leads_to_counts(tmp_path):
    for name in ("downloads", "second/inner", "outside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "outside/file").touch()
    (tmp_path / "second/inner/file").touch()
    (tmp_path / "downloads/out").symlink_to(tmp_path / "outside")
    (tmp_path / "downloads/over").symlink_to(tmp_path / "second/inner")
    (tmp_path / "downloads/loop").symlink_to("loop")
    (tmp_path / "entrance").symlink_to(tmp_path / "second")
    roots = [tmp_path / "second", tmp_path / "second/inner", tmp_path / "entrance"]
    store = FileStore(tmp_path / "downloads", deferToThread, roots)
    inner = tmp_path / "second/inner"
    assert await store.allowed(f"{tmp_path}/downloads/over/file") == inner / "file"
    assert await store.allowed(f"{tmp_path}/entrance/inner") == inner
    for path in ("downloads/out/file", "downloads/out", "downloads/over/../../outside/file"):
        with pytest.raises(Denied, match="outside of what"):
            await store.allowed(f"{tmp_path}/{path}")
    with pytest.raises(NotFound):
        await store.allowed(f"{tmp_path}/downloads/loop")
    torrent, _ = await store.describe(make_tree(tmp_path / "release"), None)
    assert store.place(torrent, "over/x") == tmp_path / "downloads/over/x"
    assert store.place(torrent, f"{inner}/x") == inner / "x"
    with pytest.raises(Invalid, match="by a link"):
        store.place(torrent, "out/x")


# -- publishing in parts


async def test_files_published_before_a_kill_are_found_again(store, tmp_path):
    content = await copy(store, make_tree(tmp_path / "release"))
    begun = content.stamps()
    await content.publish(wanted={0, 1})
    assert len(list(content.path.parent.glob(".p2pd-*.published"))) == 1
    resumed = store.resume(content.torrent, str(content.path), begun)
    assert not await resumed.occupied()
    assert resumed.covers({0, 1})
    assert await resumed.allocate()
    await resumed.publish()
    assert tree(content.path) == tree(tmp_path / "release")
    assert [path.name for path in content.path.parent.iterdir()] == ["release"]


async def test_a_journal_that_was_cut_short_is_not_believed(store, tmp_path):
    content = await copy(store, make_tree(tmp_path / "release"))
    [journal] = [partial_of(content).with_name(f"{partial_of(content).name}.published")]
    journal.write_bytes(b"[[7")
    assert not await content.occupied()
    await content.publish()
    assert tree(content.path) == tree(tmp_path / "release")


async def test_files_are_not_published_through_a_link(store, tmp_path):
    content = await copy(store, make_tree(tmp_path / "release"))
    outside = tmp_path / "outside"
    outside.mkdir()
    content.path.mkdir()
    (content.path / "sub").symlink_to(outside)
    for replace in (False, True):
        with pytest.raises(Conflict, match="sub is in the way"):
            await content.publish(wanted=set(range(4)), replace=replace)
    assert list(outside.iterdir()) == []


async def test_partly_published_content_is_read_while_more_of_it_is(store, tmp_path):
    content = await copy(store, make_tree(tmp_path / "release"))
    before = [await content.read(index) for index in range(content.torrent.piece_count)]
    for number in range(5):
        extents = content.locate(2, 0, PIECE)
        await content.publish(wanted={number})
        assert read_with(extents) == before[2]
        after = [await content.read(index) for index in range(content.torrent.piece_count)]
        assert after == before


# -- moving and deleting


@pytest.fixture
def other_disk(tmp_path):
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    with tempfile.TemporaryDirectory(dir=elsewhere) as directory:
        yield Path(directory)


async def test_content_moves_to_another_file_system(store, tmp_path, other_disk):
    source = make_tree(tmp_path / "release")
    content = await copy(store, source)
    await content.publish(wanted={0})
    old = content.path.parent
    await content.move(other_disk / "new/release")
    assert list(old.iterdir()) == []
    await content.inspect()
    await content.publish()
    assert tree(content.path) == tree(source)
    assert os.access(content.path / "run.sh", os.X_OK)
    assert [path.name for path in content.path.parent.iterdir()] == ["release"]


async def test_holes_stay_holes_on_another_file_system(store, tmp_path, other_disk):
    source = tmp_path / "image"
    with source.open("wb") as file:
        file.seek(10 * PIECE)
        file.write(RNG.randbytes(PIECE))
        file.truncate(50 * PIECE)
    expected = source.read_bytes()
    _, content = await store.describe(source, None)
    await content.move(other_disk / "image")
    assert content.path.read_bytes() == expected
    assert content.path.stat().st_blocks * 512 <= 4 * PIECE
    assert not source.exists()


async def test_a_disk_without_room_takes_nothing(store, tmp_path, other_disk):
    source = make_tree(tmp_path / "release")
    _, content = await store.describe(source, None)
    before = tree(source)
    store.least_free = 1 << 60
    with pytest.raises(Unavailable, match="bytes free, release needs"):
        await content.move(other_disk / "release")
    assert tree(source) == before
    assert list(other_disk.iterdir()) == []
    await content.inspect()


async def test_content_is_read_while_it_moves(store, tmp_path, other_disk):
    source, content = await shared(store, tmp_path)
    expected = source.read_bytes()
    for place in (tmp_path / "near", other_disk / "far"):
        extents = content.locate(0, 0, PIECE)
        await content.move(place)
        assert read_with(extents) == expected[:PIECE]
        assert read_with(content.locate(1, 0, PIECE)) == expected[PIECE : 2 * PIECE]


async def test_a_file_replaced_meanwhile_is_left_when_the_others_are_deleted(store, tmp_path):
    content = await copy(store, make_tree(tmp_path / "release"))
    await content.publish()
    victim = tmp_path / "victim"
    make_tree(victim)
    (content.path / "sub/small.txt").unlink()
    (content.path / "sub/small.txt").symlink_to(victim / "large.bin")
    shutil.rmtree(content.path / "sub/deep")
    (content.path / "sub/deep").symlink_to(victim / "sub/deep")
    (content.path / "empty").mkdir()
    before = tree(victim)
    await content.delete()
    assert tree(victim) == before
    left = {str(path.relative_to(content.path)) for path in content.path.rglob("*")}
    assert left == {"sub", "sub/small.txt", "sub/deep", "empty"}


async def test_a_link_at_the_top_is_not_followed_to_delete(store, tmp_path):
    content = await copy(store, make_tree(tmp_path / "release"))
    await content.publish()
    content.path.rename(tmp_path / "away")
    content.path.symlink_to(tmp_path / "away")
    before = tree(tmp_path / "away")
    await content.delete()
    assert tree(tmp_path / "away") == before
